"""Thumbnails of what was shown: pictures and frames of films, read from the stimuli."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from braid.common import InputError
from braid.report.results import Results
from braid.stimuli import iter_frames

HEIGHT = 128
"""Rows of a thumbnail, pixels."""

APART = 4.0
"""Seconds by which two units of one stimulus must differ to be shown both."""

Shown = tuple[str, float]
"""Stimulus file, relative to the root of its data set, and time of the frame in it (s)."""


def apart(units: pd.DataFrame, most: int) -> pd.DataFrame:
    """Choose the first units of an ordered table that are not moments of the same scene.

    Parameters
    ----------
    units : pandas.DataFrame
        Columns `stimulus`, `time` (s, may be NaN) and `text`, the most extreme unit first.
    most : int
    """
    stimuli, times = units["stimulus"].to_numpy(), units["time"].to_numpy(float)
    kept: list[int] = []
    for place in range(len(units)):
        near = (
            stimuli[place] == stimuli[other] and abs(times[place] - times[other]) < APART
            for other in kept
        )
        if len(kept) < most and not any(near):
            kept.append(place)
    return units.iloc[kept]


def frames_of(results: Results, analysis: str, units: Iterable[str]) -> dict[str, Shown]:
    """Stimulus and frame of each unit of an analysis that shows a picture."""
    table = results.units(analysis)
    if table is None:
        return {}
    wanted = set(units)
    times = pd.to_numeric(table["frame_time"], errors="coerce").to_numpy(float)
    return {
        str(unit): (str(stimulus), float(time))
        for unit, stimulus, time in zip(table["unit"], table["stimulus"], times, strict=True)
        if np.isfinite(time) and str(unit) in wanted
    }


def thumbnails(
    root: Path, shown: Iterable[Shown], height: int = HEIGHT
) -> tuple[dict[Shown, np.ndarray], str]:
    """Decode frames, each film once, and shrink them.

    Parameters
    ----------
    root : pathlib.Path
        Root of the data set.
    shown : iterable of (str, float)
    height : int
        Rows of a thumbnail; smaller pictures stay as they are.

    Returns
    -------
    dict
        uint8 (row, column, 3) by stimulus and time.
    str
        A sentence on what could not be read; empty if all could.
    """
    by_file: dict[str, set[float]] = {}
    for stimulus, time in shown:
        by_file.setdefault(stimulus, set()).add(time)
    found: dict[Shown, np.ndarray] = {}
    failed: list[str] = []
    for stimulus, wanted in by_file.items():
        times = sorted(wanted)
        try:
            # a film is read to the last frame asked for, and no further
            for time, frame in zip(times, iter_frames(root / stimulus, times), strict=True):
                found[stimulus, time] = shrunk(frame, height)
        except (InputError, OSError, ImportError):
            failed.append(stimulus)
    return found, _failed(failed)


def shrunk(frame: np.ndarray, height: int) -> np.ndarray:
    """Shrink a picture to some height; a smaller one stays as it is."""
    from PIL import Image

    if frame.shape[0] <= height:
        return np.array(frame)
    width = max(1, round(frame.shape[1] * height / frame.shape[0]))
    return np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))


def _failed(failed: Sequence[str]) -> str:
    """Say which stimuli could not be read."""
    if not failed:
        return ""
    others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"The pictures of {failed[0]}{others} could not be read, so they are not shown."
