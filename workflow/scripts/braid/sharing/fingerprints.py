"""Fingerprints of numbers that an archive does not hold: arrays, and tables of stimuli.

A fingerprint is one row per variable of an array or column of a table: a digest of its values,
which tells whether they are equal, and their range, mean and spread, which tell by how much they
are not.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError, progress
from braid.sharing.tables import Tolerance, read_text_table

COLUMNS = {
    "file": "File in the results",
    "variable": "Variable of the array, or column of the table",
    "type": "Type of its values: NumPy's name, or text",
    "shape": "Its shape, rows x columns and so on; () for a single value",
    "sha256": "SHA-256 of its values (little-endian, C order; text joined by a NUL character)",
    "missing": "Values that are NaN, or n/a",
    "low": "Smallest of the other values; n/a for text",
    "high": "Largest of the other values; n/a for text",
    "mean": "Mean of the other values; n/a for text",
    "sd": "Standard deviation of the other values (by n); n/a for text",
}
_MEASURES = ("low", "high", "mean", "sd")
_CHUNK = 1 << 24
"""Values that are read at a time."""


def fingerprints_of(results: Path, names: Iterable[str]) -> pd.DataFrame:
    """Fingerprint arrays (`.nc`) and tables (`.tsv`) of a study's results.

    Parameters
    ----------
    results : pathlib.Path
    names : iterable of str
        Paths in the results.

    Returns
    -------
    pandas.DataFrame
        Columns as in `COLUMNS`, one row per variable; files in the order given.
    """
    rows = [
        {"file": name, **row}
        for name in progress(list(names), "fingerprinting arrays and tables")
        for row in (_of_array if name.endswith(".nc") else _of_table)(results / name)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def differing(
    here: pd.DataFrame, there: pd.DataFrame, tolerance: Tolerance
) -> Iterator[tuple[str, str]]:
    """Compare the fingerprints of one file.

    Values are equal if their digests are. With a tolerance, numbers are also taken for equal
    whose shape and missing values agree and whose range, mean and spread differ by no more than
    `atol + rtol * m`, with m the largest absolute value of the variable in the archive: single
    values may then differ by more.

    Parameters
    ----------
    here, there : pandas.DataFrame
        Of this run, and of the archive.
    tolerance : Tolerance

    Yields
    ------
    tuple of str
        The variable, and how it differs.
    """
    ours, theirs = (
        {
            str(row["variable"]): {str(key): row[key] for key in row}
            for row in frame.to_dict("records")
        }
        for frame in (here, there)
    )
    for name in sorted(theirs.keys() ^ ours.keys()):
        yield name, "not here" if name in theirs else "only here"
    for name, old in theirs.items():
        if name in ours and ours[name]["sha256"] != old["sha256"]:
            change = _change(ours[name], old, tolerance)
            if change:
                yield name, change


def _change(new: dict[str, Any], old: dict[str, Any], tolerance: Tolerance) -> str:
    """How two fingerprints with different digests differ; nothing if within the tolerance."""
    for key in ("shape", "type", "missing"):
        if str(new[key]) != str(old[key]):
            return f"{key} {new[key]} here, {old[key]} in the archive"
    pairs = [(key, _number(new[key]), _number(old[key])) for key in _MEASURES]
    if any(math.isnan(value) for _, *values in pairs for value in values):
        return "other values"
    scale = max(abs(_number(old["low"])), abs(_number(old["high"])))
    if tolerance.exact:
        shown = [pair for pair in pairs if pair[1] != pair[2]]
        return ", ".join(_said(*pair) for pair in shown) or "other values of equal range and mean"
    bound = tolerance.atol + tolerance.rtol * scale
    return ", ".join(_said(*pair) for pair in pairs if not abs(pair[1] - pair[2]) <= bound)


def _number(written: Any) -> float:
    return math.nan if written == "n/a" else float(written)


def _said(key: str, new: float, old: float) -> str:
    return f"{key} {new!r} here, {old!r} in the archive"


def _of_array(path: Path) -> Iterator[dict[str, Any]]:
    """One row per variable and coordinate of a netCDF file, by name."""
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            for name in sorted(map(str, dataset.variables)):
                variable = dataset[name].variable
                yield {"variable": name, **_summary(_pieces(variable), variable.shape)}
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read as netCDF4 ({error}); remove it and make it again"
        ) from None


def _pieces(variable: Any) -> Iterator[np.ndarray]:
    """Values of a variable in slices along its first axis."""
    if not variable.ndim or variable.size <= _CHUNK:
        yield np.asarray(variable.values)
        return
    step = max(1, _CHUNK * variable.shape[0] // variable.size)
    for start in range(0, variable.shape[0], step):
        yield np.asarray(variable[start : start + step].values)


def _of_table(path: Path) -> Iterator[dict[str, Any]]:
    """One row per column of a table, as text; the range of columns of numbers beside it."""
    table = read_text_table(path)
    for name in table.columns:
        column = table[name].to_numpy(dtype=object)
        row = {"variable": str(name), **_summary(iter([column]), column.shape)}
        given = table[name][table[name] != "n/a"]
        numbers = pd.to_numeric(given, errors="coerce")
        row["missing"] = len(column) - len(given)
        if len(given) and not numbers.isna().any():
            measured = _summary(iter([numbers.to_numpy(dtype=float)]), given.shape)
            row |= {key: measured[key] for key in _MEASURES}
        yield row


def _summary(pieces: Iterator[np.ndarray], shape: tuple[int, ...]) -> dict[str, Any]:
    digest = hashlib.sha256()
    kind, missing, count = "text", 0, 0
    low, high, total, squares = math.inf, -math.inf, 0.0, 0.0
    for piece in pieces:
        if piece.dtype.kind not in "biuf":
            text = [str(value) for value in piece.ravel()]
            digest.update("".join(f"{value}\0" for value in text).encode())
            continue
        kind = piece.dtype.name
        there = piece[~np.isnan(piece)] if piece.dtype.kind == "f" else piece.ravel()
        missing += piece.size - there.size
        digest.update(_bytes(piece))
        if there.size:
            numbers = there.astype(np.float64)
            count += numbers.size
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
            total += float(numbers.sum())
            squares += float(np.square(numbers).sum())
    mean = total / count if count else math.nan
    return {
        "type": kind,
        "shape": "x".join(map(str, shape)) or "()",
        "sha256": digest.hexdigest(),
        "missing": missing,
        "low": low if count else math.nan,
        "high": high if count else math.nan,
        "mean": mean,
        "sd": math.sqrt(max(0.0, squares / count - mean**2)) if count else math.nan,
    }


def _bytes(piece: np.ndarray) -> bytes:
    """Bytes of numbers that are the same on every machine; all NaN alike."""
    if piece.dtype.kind == "f":
        piece = np.where(np.isnan(piece), piece.dtype.type(np.nan), piece)
    return np.ascontiguousarray(piece, dtype=piece.dtype.newbyteorder("<")).tobytes()
