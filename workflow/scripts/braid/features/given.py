"""Given features: rows of arrays in NumPy, HDF5 and Zarr files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braid.common import InputError
from braid.features.units import Unit, stimulus_path
from braid.features.windows import Rows
from braid.stimuli.arrays import array_digest, check_there, open_any, open_array, split_dataset

_BLOCK = 4096
_COLUMNS = ("unit", "stimulus", "text", "word")
"""Columns of the units table by which rows can be found."""


def given_rows(
    name: str, units: Sequence[Unit], root: str | Path, settings: Mapping[str, Any]
) -> Rows:
    """Rows of given arrays for the units.

    Without the setting `path` each unit's own stimulus is the array and its `row` the row. With it
    one array serves all units: row by the units' `row`, or by `key`, a column of the units table
    whose entries are looked up in `keys`, the names of the array's rows.

    Parameters
    ----------
    name : str
        Name of the model, used in messages.
    units : sequence of Unit
    root : path-like
        Root of the data set, to which relative paths belong.
    settings : mapping
        `path` and `keys` (see `open_array`; `keys` may also be a text file with one name per line),
        `key`.

    Yields
    ------
    rows, values
        See `braid.features.controls`.

    Raises
    ------
    InputError
        If a file is missing or not such an array, arrays differ in width, a row or name is absent,
        names and rows are unequal in number, or a value is not finite; names file and row.
    """
    if settings["path"]:
        path = Path(root) / str(settings["path"])
        values = open_array(path)
        rows = _rows_in(name, units, path, values.shape[0], root, settings)
        yield from _read(path, values, np.arange(len(units)), rows)
        return
    widths: dict[str, int] = {}
    for stimulus in sorted({unit.stimulus for unit in units}):
        positions = np.array([k for k, unit in enumerate(units) if unit.stimulus == stimulus])
        rows = _own_rows(name, [units[k] for k in positions], "a file of features")
        path = stimulus_path(units[positions[0]], root)
        values = open_array(path)
        widths[str(path)] = values.shape[1]
        if len(set(widths.values())) > 1:
            told = ", ".join(f"{file} {width}" for file, width in widths.items())
            raise InputError(f"model '{name}': files differ in their features ({told})")
        yield from _read(path, values, positions, rows)


def given_content(root: str | Path, settings: Mapping[str, Any]) -> list[str]:
    """Digests of the files that the settings name, for the key of the features."""
    found = []
    for key in ("path", "keys"):
        if settings[key]:
            file, dataset = split_dataset(Path(root) / str(settings[key]))
            check_there(file)
            found.append(f"{dataset} {array_digest(file)}")
    return found


def _own_rows(name: str, units: Sequence[Unit], what: str) -> np.ndarray:
    """Rows that units name themselves."""
    for unit in units:
        if unit.row is None:
            raise InputError(
                f"model '{name}': unit {unit.name} names no row of {what}; use it with units of "
                "kind rows"
            )
    return np.array([unit.row for unit in units], dtype=int)


def _rows_in(
    name: str,
    units: Sequence[Unit],
    path: Path,
    n_rows: int,
    root: str | Path,
    settings: Mapping[str, Any],
) -> np.ndarray:
    """Rows of the one array that belong to the units."""
    column = settings["key"]
    if bool(column) != bool(settings["keys"]):
        raise InputError(
            f"model '{name}': 'key' (a column of the units) and 'keys' (names of the rows of "
            f"{path.name}) belong together; give both or neither"
        )
    if not column:
        return _own_rows(name, units, str(path.name))
    if column not in _COLUMNS:
        raise InputError(f"model '{name}': key '{column}' must be one of {', '.join(_COLUMNS)}")
    file = Path(root) / str(settings["keys"])
    keys = _names(file)
    if len(keys) != n_rows:
        raise InputError(
            f"{file}: {len(keys)} names for the {n_rows} rows of {path}; give one name per row"
        )
    position = {key: k for k, key in enumerate(keys)}
    if len(position) != n_rows:
        again = next(key for k, key in enumerate(keys) if position[key] != k)
        raise InputError(f"{file}: the name '{again}' stands in several rows; each must occur once")
    wanted = [str(getattr(unit, "name" if column == "unit" else column)) for unit in units]
    for unit, key in zip(units, wanted, strict=True):
        if key not in position:
            raise InputError(
                f"{file}: no row is named '{key}', the {column} of unit {unit.name}; add its "
                "features, or correct 'key'"
            )
    return np.array([position[key] for key in wanted], dtype=int)


def _names(path: Path) -> list[str]:
    """Names of rows: lines of a text file, or a one-dimensional array of text or numbers."""
    file, _ = split_dataset(path)
    check_there(file)
    if file.suffix in (".txt", ".tsv", ".csv"):
        return file.read_text(encoding="utf-8-sig").splitlines()
    values = open_any(path)
    if len(values.shape) != 1:
        raise InputError(f"{path}: names must be a list, not of shape {tuple(values.shape)}")
    return [key.decode() if isinstance(key, bytes) else str(key) for key in values[:]]


def _read(path: Path, values: Any, positions: np.ndarray, rows: np.ndarray) -> Rows:
    """Read rows in blocks, in the order in which they are stored."""
    there = values.shape[0]
    if not 0 <= rows.min() <= rows.max() < there:
        wrong = rows[(rows < 0) | (rows >= there)][0]
        raise InputError(
            f"{path}: row {wrong} is asked for but the file has {there} rows; "
            "features and events must be equal in number"
        )
    order = np.argsort(rows, kind="stable")
    for start in range(0, len(order), _BLOCK):
        part = order[start : start + _BLOCK]
        # stores read ascending distinct rows
        distinct, again = np.unique(rows[part], return_inverse=True)
        found = np.asarray(values[distinct], dtype=np.float32)
        bad = ~np.isfinite(found).all(axis=1)
        if bad.any():
            raise InputError(
                f"{path}: row {distinct[bad][0]} holds a value that is not a finite number"
            )
        yield positions[part], found[again]
