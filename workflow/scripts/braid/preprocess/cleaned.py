"""What preprocessing gives: a labelled signal, what was left out, and quality measures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

EXCLUDED_COLUMNS = {
    "target": "Channel, voxel or parcel that was left out",
    "reason": "Why, in a few words",
    "detail": "Figures or the data set's own words behind the reason",
}
QUALITY_COLUMNS = {
    "run": "Run label, or all",
    "measure": "What was measured",
    "value": "Its value",
    "unit": "Its unit",
}


@dataclass(frozen=True)
class Cleaned:
    """Clean signals of one subject.

    Attributes
    ----------
    signal : xarray.DataArray
        `signal(time, target)`, float32, all runs one after the other, with the coordinates and
        attributes of the contract in `workflow/README.md`.
    excluded : pandas.DataFrame
        Columns `EXCLUDED_COLUMNS`, one row per target and reason.
    quality : pandas.DataFrame
        Columns `QUALITY_COLUMNS`.
    """

    signal: xr.DataArray
    excluded: pd.DataFrame
    quality: pd.DataFrame


def assemble(
    runs: Mapping[str, np.ndarray],
    rate: float,
    targets: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
) -> xr.DataArray:
    """Join the runs of a subject into one labelled array.

    Parameters
    ----------
    runs : mapping of str to numpy.ndarray
        Run label to float32 array (time, target).
    rate : float
        Samples per second.
    targets : mapping of str to numpy.ndarray
        Coordinates along `target`, among them `target` itself.
    attributes : mapping
        Attributes; mappings and lists are stored as JSON text, None is left out.
    """
    lengths = [len(values) for values in runs.values()]
    first = next(iter(runs.values()))
    # filled run by run: joining a list would hold everything twice
    values = np.empty((sum(lengths), first.shape[1]), dtype=np.float32)
    start = 0
    for one in runs.values():
        values[start : start + len(one)] = one
        start += len(one)
    coordinates: dict[str, Any] = {
        "run": ("time", np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)),
        "time": ("time", np.concatenate([np.arange(n) / rate for n in lengths])),
        **{name: ("target", content) for name, content in targets.items()},
    }
    attrs = {"sampling_frequency": rate, "runs": list(runs), **attributes}
    plain = {
        key: json.dumps(value) if isinstance(value, list | dict) else value
        for key, value in attrs.items()
        if value is not None
    }
    return xr.DataArray(values, coordinates, ("time", "target"), name="signal", attrs=plain)


def note_unusable(series: np.ndarray, run: str, unusable: dict[int, tuple[str, str]]) -> None:
    """Note the targets that are not finite or constant in a run.

    Parameters
    ----------
    series : numpy.ndarray
        (volumes, targets).
    run : str
        Run label.
    unusable : dict
        Number of a target to reason and detail; the first reason found stays.
    """
    finite = np.isfinite(series).all(axis=0)
    constant = np.ptp(np.where(np.isfinite(series), series, 0.0), axis=0) == 0
    for i in np.flatnonzero(~finite):
        unusable.setdefault(int(i), ("NaN", f"values that are not finite in {run}"))
    for i in np.flatnonzero(finite & constant):
        unusable.setdefault(int(i), ("flat", f"constant in {run}"))


def excluded_table(rows: Sequence[tuple[str, str, str]]) -> pd.DataFrame:
    """Table of what was left out."""
    return pd.DataFrame(list(dict.fromkeys(rows)), columns=list(EXCLUDED_COLUMNS))


def quality_table(rows: Sequence[tuple[str, str, float, str]]) -> pd.DataFrame:
    """Table of quality measures."""
    return pd.DataFrame(list(rows), columns=list(QUALITY_COLUMNS))
