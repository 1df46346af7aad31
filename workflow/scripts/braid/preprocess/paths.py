"""Paths in the config that stand for one file per subject or run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from braid.bids import check_fetched, fill_pattern
from braid.common import InputError


def resolve(
    pattern: str,
    root: Path,
    row: pd.Series,
    key: str,
    further: Mapping[str, str] | None = None,
) -> Path:
    """Fill a pattern for a row of the index and find the file.

    The path is relative to the root; its placeholders are those of `fill_pattern`, and `further`.

    Raises
    ------
    InputError
        If a placeholder has no value here, or there is no such file.
    """
    path = root / fill_pattern(pattern, row["run"], row["subject"], f"preprocess.{key}", further)
    check_fetched(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; correct `preprocess.{key}` in the config")
    return path


def of_kind(index: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Check that the rows are the recordings of one subject, of the kind that is asked for."""
    if index.empty:
        raise InputError(f"the index has no {kind} recording of this subject")
    subjects = sorted(set(index["subject"]))
    if len(subjects) > 1 or set(index["kind"]) != {kind}:
        raise ValueError(f"expected {kind} rows of one subject, got subjects {subjects}")
    return index.reset_index(drop=True)
