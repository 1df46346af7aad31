"""Pauses: when a stimulus stood still, and the stretches of a run between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError

UNPAUSE = "unpause"  # trial type that ends a pause without a duration
_TOLERANCE = 1e-3  # s; a film may seem to last this much into a pause, by rounding


def pauses_of(table: pd.DataFrame, path: Path, params: Mapping[str, Any]) -> np.ndarray:
    """Find the pauses of a run.

    A pause is a row of one of `pause_types`. It lasts its duration, or, where it has none, until
    the next row of type `unpause`.

    Parameters
    ----------
    table : pandas.DataFrame
        From `read_events`.
    path : pathlib.Path
        Its file, for error messages.
    params : mapping
        `analysis.units` with defaults; `pause_types`.

    Returns
    -------
    numpy.ndarray
        float64, (pauses, 2): start and end on the recording's clock, s, ascending, without overlap.

    Raises
    ------
    InputError
        If a pause has no onset, or nothing says when it ends.
    """
    types = params.get("pause_types") or []
    if "trial_type" not in table.columns or not table["trial_type"].isin(types).any():
        return np.empty((0, 2))
    ends = np.sort(table.loc[table["trial_type"] == UNPAUSE, "onset"].dropna().to_numpy(float))
    found = []
    for _, row in table[table["trial_type"].isin(types)].iterrows():
        start, duration = float(row["onset"]), float(row["duration"])
        later = ends[ends >= start]
        if np.isfinite(start) and duration > 0:
            found.append((start, start + duration))
        elif np.isfinite(start) and later.size:
            found.append((start, float(later[0])))
        else:
            what = "onset" if not np.isfinite(start) else f"duration, and no {UNPAUSE} row after it"
            raise InputError(
                f"{path}: row {row['row']}: a pause without {what}; add it, since responses must "
                "not run over a pause"
            )
    return _joined(np.array(sorted(found)))


def _joined(spans: np.ndarray) -> np.ndarray:
    """Join spans that touch or overlap; they are sorted."""
    joined = [spans[0].copy()]
    for start, end in spans[1:]:
        if start <= joined[-1][1]:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append(np.array([start, end]))
    return np.stack(joined)


def stretch_of(onset: float, pauses: np.ndarray, duration: float) -> tuple[float, float]:
    """Give the stretch between two pauses in which a moment lies; empty within a pause.

    Parameters
    ----------
    onset : float
        s on the recording's clock.
    pauses : numpy.ndarray
        From `pauses_of`.
    duration : float
        Of the recording, s.
    """
    before = int(np.searchsorted(pauses[:, 0], onset, side="right"))
    if before and onset < pauses[before - 1, 1]:
        return onset, onset
    start = float(pauses[before - 1, 1]) if before else 0.0
    end = float(pauses[before, 0]) if before < len(pauses) else duration
    return start, end


def shown_stretches(films: pd.DataFrame, pauses: np.ndarray) -> pd.DataFrame:
    """Split rows that present a stimulus where it stood still.

    A row that lasts over a pause becomes one row per stretch: the film goes on after the pause
    where it was stopped. Rows that end where a pause starts stay as they are.

    Parameters
    ----------
    films : pandas.DataFrame
        Rows of the events table, in order of onset.
    pauses : numpy.ndarray
        From `pauses_of`.
    """
    if not len(pauses):
        return films
    rows = []
    for _, row in films.iterrows():
        start, last = float(row["onset"]), np.inf
        if row["duration"] > 0:
            last = start + float(row["duration"])
        time = float(np.nan_to_num(row.get("stim_time", 0.0)))
        for pause_start, pause_end in pauses:
            if start < pause_start < last - _TOLERANCE:
                rows.append(_stretch(row, start, float(pause_start), time))
                time += float(pause_start) - start
                start = float(pause_end)
        if start < last:
            rows.append(_stretch(row, start, last, time))
    return pd.DataFrame(rows).infer_objects() if rows else films


def _stretch(row: pd.Series, start: float, end: float, time: float) -> pd.Series:
    """Part of a row, from a time of the stimulus on; of unknown duration if it has no end."""
    part = row.copy()
    part["onset"], part["stim_time"] = start, time
    part["duration"] = end - start if np.isfinite(end) else np.nan
    return part
