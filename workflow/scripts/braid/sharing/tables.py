"""Comparison of tables, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from braid.common import InputError


@dataclass(frozen=True)
class Tolerance:
    """Numbers a (here) and b (archive) are equal if `|a - b| <= atol + rtol * |b|`.

    With both at 0 the text of the cells must be equal.
    """

    rtol: float = 0.0
    atol: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether only equal text is equal."""
        return not (self.rtol or self.atol)


@dataclass(frozen=True)
class Difference:
    """What differs in one file: in which column, how much of it, and the first cells."""

    file: str
    what: str
    examples: tuple[str, ...] = ()


def read_text_table(path: Path | IO[bytes]) -> pd.DataFrame:
    """Read a table as it is written: every cell is text, `n/a` included.

    Raises
    ------
    InputError
        If it is no tab-separated table.
    """
    try:
        return pd.read_csv(
            path, sep="\t", dtype=str, na_filter=False, encoding="utf-8", index_col=False
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as a tab-separated table ({error})") from None


def compare_tables(
    file: str, here: pd.DataFrame, there: pd.DataFrame, tolerance: Tolerance, show: int = 3
) -> list[Difference]:
    """Compare a table of this run with that of the archive.

    Parameters
    ----------
    file : str
        Its name, for the differences.
    here, there : pandas.DataFrame
        Both as text (see `read_text_table`).
    tolerance : Tolerance
    show : int
        How many cells to name per column.

    Returns
    -------
    list of Difference
        One per column that differs; rows are counted from 1, below the header.
    """
    found = []
    absent = [name for name in there.columns if name not in here.columns]
    added = [name for name in here.columns if name not in there.columns]
    if absent or added:
        said = [f"without {', '.join(absent)}"] if absent else []
        said += [f"with {', '.join(added)} besides"] if added else []
        found.append(Difference(file, f"other columns here: {'; '.join(said)}"))
    if len(here) != len(there):
        # rows no longer stand beside each other
        found.append(Difference(file, f"{len(here)} rows here, {len(there)} in the archive"))
        return found
    for name in there.columns:
        if name in here.columns:
            found += _compare_columns(file, name, here[name], there[name], tolerance, show)
    return found


def _compare_columns(
    file: str, name: str, here: pd.Series, there: pd.Series, tolerance: Tolerance, show: int
) -> list[Difference]:
    unlike = np.flatnonzero(here.to_numpy() != there.to_numpy())
    ours = pd.to_numeric(here.iloc[unlike], errors="coerce").to_numpy(dtype=float)
    theirs = pd.to_numeric(there.iloc[unlike], errors="coerce").to_numpy(dtype=float)
    gaps = np.abs(ours - theirs)
    if not tolerance.exact:
        # a cell that is no number gives NaN, which is within no bound
        apart = ~(gaps <= tolerance.atol + tolerance.rtol * np.abs(theirs))
        unlike, gaps = unlike[apart], gaps[apart]
    if not unlike.size:
        return []
    largest = f", by up to {np.nanmax(gaps):.3g}" if np.isfinite(gaps).any() else ""
    examples = tuple(
        f"row {row + 1}: {here.iloc[row]} here, {there.iloc[row]} in the archive"
        for row in unlike[:show]
    )
    return [
        Difference(file, f"column {name}: {unlike.size} of {len(there)} rows{largest}", examples)
    ]
