"""Events of a recording: reading them, and whether they lie inside it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from braid.bids.files import check_fetched
from braid.common import InputError, read_table


def read_events(
    path: str | os.PathLike[str], required: tuple[str, ...] = ("onset", "duration")
) -> pd.DataFrame:
    """Read an `events.tsv`.

    Parameters
    ----------
    path : path-like
    required : tuple of str
        Columns that must be there.

    Returns
    -------
    pandas.DataFrame
        As in the file, plus `row` (int, from 1, the header not counted), which error messages
        use; `onset`, `duration` and `stim_time`, where present, as float64 seconds (`n/a` is NaN).

    Raises
    ------
    InputError
        If the file or a required column is missing, a time is no number, or a quotation mark is
        never closed; names the file and the row.
    """
    path = Path(path)
    check_fetched(path)
    table = read_table(path, required=required)
    table["row"] = np.arange(1, len(table) + 1)
    _check_quotes(table, path)
    for name in ("onset", "duration", "stim_time"):
        if name in table.columns:
            table[name] = seconds(table[name], name, path)
    return table


def _check_quotes(table: pd.DataFrame, path: Path) -> None:
    """Refuse a cell that runs over lines: a quotation mark there swallows the rows that follow."""
    for name, column in table.select_dtypes(exclude="number").items():
        long = np.flatnonzero([isinstance(cell, str) and "\n" in cell for cell in column])
        if long.size:
            raise InputError(
                f"{path}: row {long[0] + 1}: {name} begins with a quotation mark that is "
                "closed on a later line; remove it, or write it twice within quotation marks"
            )


def seconds(column: pd.Series, name: str, path: Path) -> pd.Series:
    """Convert a column to float64; the first cell that is no number is named."""
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    wrong = np.flatnonzero(numbers.isna() & column.notna())
    if wrong.size:
        raise InputError(
            f"{path}: row {wrong[0] + 1}: {name} '{column.iloc[wrong[0]]}' is not a number of "
            "seconds; correct it, or write n/a"
        )
    return numbers


def check_events_inside(
    events: pd.DataFrame,
    path: Path,
    recording: Path,
    duration: float,
    tolerance: float,
    before: float = 0.0,
    after: float = 0.0,
) -> None:
    """Raise an `InputError` for the first event that lies outside its recording.

    Parameters
    ----------
    events : pandas.DataFrame
        From `read_events`.
    path, recording : pathlib.Path
        Files to name.
    duration : float
        Of the recording, s.
    tolerance : float
        Allowed before the start and after the end, s.
    before, after : float
        What was cut off the start and the end, s; events may lie there.
    """
    onset = events["onset"].to_numpy(float)
    end = onset + np.nan_to_num(events["duration"].to_numpy(float))
    outside = np.flatnonzero((onset < -before - tolerance) | (end > duration + after + tolerance))
    if outside.size:
        first = outside[0]
        more = f" (and {outside.size - 1} further rows)" if outside.size > 1 else ""
        raise InputError(
            f"{path}: row {events['row'].iloc[first]}: event from {onset[first]:.3f} s to "
            f"{end[first]:.3f} s lies outside the recording {recording.name}, which lasts "
            f"{duration:.3f} s{more}; correct onset or duration, or remove the row"
        )
