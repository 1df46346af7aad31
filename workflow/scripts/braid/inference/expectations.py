"""Figures that a study is known to give, checked against its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from braid.common import InputError

EVALUATION_COLUMNS = {
    "stage": "Part of the study that the check is about",
    "measure": "What is measured",
    "value": "The number found",
    "threshold": "What the number should be",
    "pass": "Whether it is",
}

_REDUCE: dict[str, Callable[[pd.Series], float]] = {
    "mean": lambda values: float(values.mean()),
    "max": lambda values: float(values.max()),
    "min": lambda values: float(values.min()),
    "median": lambda values: float(values.median()),
    "sum": lambda values: float(values.sum()),
}


def check_expectations(
    tables: Mapping[str, pd.DataFrame], expect: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Read each expected figure from the tables and say whether it lies where it should.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        The tables of a study by name (sites, models, ...).
    expect : mapping
        The config's `expect`: per check `table`, `column`, and optionally `where` (columns and
        the value their rows must have), `reduce` (mean, max, min, median, sum, count, or
        mean_of_subjects: the mean over subjects of each subject's mean), `above` (with count:
        rows above this value), `low`, `high`.

    Returns
    -------
    pandas.DataFrame
        Columns of `EVALUATION_COLUMNS`, one row per check, stage `expected`.

    Raises
    ------
    InputError
        If a check names a column that the table does not have, or no row is left.
    """
    rows = []
    for name, check in expect.items():
        value = _figure(name, tables[check["table"]], check)
        low, high = check.get("low"), check.get("high")
        bounds = [f">= {low}"] * (low is not None) + [f"<= {high}"] * (high is not None)
        passed = (low is None or value >= low) and (high is None or value <= high)
        rows.append(
            {
                "stage": "expected",
                "measure": name,
                "value": value,
                "threshold": " and ".join(bounds) or "none",
                "pass": bool(passed),
            }
        )
    return pd.DataFrame(rows, columns=list(EVALUATION_COLUMNS))


def _figure(name: str, table: pd.DataFrame, check: Mapping[str, Any]) -> float:
    """Compute one number from a table."""
    where = check.get("where", {})
    for column in (*where, check["column"]):
        if column not in table.columns:
            raise InputError(
                f"expect.{name}: table '{check['table']}' has no column '{column}' "
                f"(it has: {', '.join(table.columns)})"
            )
    for column, value in where.items():
        table = table[table[column] == value]
    if table.empty:
        raise InputError(f"expect.{name}: no row of table '{check['table']}' matches {where}")
    reduce, values = check.get("reduce", "mean"), table[check["column"]]
    if reduce == "count":
        above = check.get("above")
        return float(values.notna().sum() if above is None else (values > above).sum())
    if reduce == "mean_of_subjects":
        return float(values.groupby(table["subject"]).mean().mean())
    return _REDUCE[reduce](values)
