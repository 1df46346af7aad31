"""The units table as networks need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError
from braid.models.digests import digest, file_digest

_ABSENT = ("", "n/a")


@dataclass(frozen=True)
class Unit:
    """One unit of stimulus.

    Attributes
    ----------
    name : str
    stimulus : str
        Path relative to the root of the data set; empty if none.
    sha256 : str
        Of that file.
    frame_time : float or None
        Second of the film whose picture is shown.
    text : str
        Empty if nothing is said.
    target : (int, int) or None
        First and last character (excluded) of the word itself within `text`.
    word : str
    row : int or None
        Row of a file of given features.
    time : float or None
        Second of the stimulus at which the unit begins.
    """

    name: str
    stimulus: str
    sha256: str
    frame_time: float | None
    text: str
    target: tuple[int, int] | None
    word: str
    row: int | None
    time: float | None = None


def read_units(table: pd.DataFrame, root: str | Path) -> list[Unit]:
    """Turn a units table into units, in its order.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `unit` and those of the contract that there are; `n/a` and NaN mean absent.
    root : path-like
        Root of the data set, for the digests of files whose `sha256` is not given.

    Returns
    -------
    list of Unit

    Raises
    ------
    InputError
        If the table is empty, has no column `unit`, or repeats a unit; or if a unit has a frame
        but no film.
    """
    if "unit" not in table.columns:
        raise InputError("units table: column 'unit' is missing")
    if table.empty:
        raise InputError("units table: it is empty; check the tasks and units of the analysis")
    repeated = table["unit"][table["unit"].duplicated()]
    if len(repeated):
        raise InputError(
            f"units table: unit {repeated.iloc[0]} stands in several rows; each must occur once"
        )
    return [_unit(row, Path(root)) for row in table.to_dict("records")]


def blanked(units: Sequence[Unit], what: str | None) -> list[Unit]:
    """Units without their `pictures` or without their `text`; as they are if `what` is None.

    A network that takes both is then given one of the two alone, as each unit has it.
    """
    if what == "pictures":
        return [replace(unit, frame_time=None) for unit in units]
    if what == "text":
        return [replace(unit, text="", target=None, word="") for unit in units]
    return list(units)


def units_digest(units: Sequence[Unit]) -> str:
    """SHA-256 over the content of all units, order included."""
    return digest(
        [
            [u.name, u.sha256, u.frame_time, u.text, u.target, u.word, u.row, not u.stimulus]
            for u in units
        ]
    )


def stimulus_path(unit: Unit, root: str | Path) -> Path:
    """Path of a unit's stimulus, after the file's digest was compared with the table's.

    Raises
    ------
    InputError
        If the file is absent, or is not the one that the units table was made from.
    """
    path = Path(root) / unit.stimulus
    file, _ = split_dataset(path)
    if not file.exists():
        raise InputError(f"{file}: no such file (the stimulus of unit {unit.name})")
    if stimulus_digest(file) != unit.sha256:
        raise InputError(
            f"{file}: the file has changed since the units table was made; run the workflow again "
            "from the units"
        )
    return path


def split_dataset(path: str | Path) -> tuple[Path, str]:
    """Split `file::dataset`, the name of a data set in a file, into both; it may have none."""
    file, _, dataset = str(path).partition("::")
    return Path(file), dataset


def stimulus_digest(path: Path) -> str:
    """SHA-256 of a file; of the names and contents of all files where it is a folder (Zarr)."""
    if not path.is_dir():
        return file_digest(path)
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    return digest([[file.relative_to(path).as_posix(), file_digest(file)] for file in inside])


def _unit(row: dict[Any, Any], root: Path) -> Unit:
    """One row of the table."""
    name, stimulus = str(row["unit"]), _text(row.get("stimulus"))
    frame, start, end = (_number(row.get(k)) for k in ("frame_time", "target_start", "target_end"))
    number = _number(row.get("row"))
    if frame is not None and not stimulus:
        raise InputError(f"units table: unit {name} has a frame_time but no stimulus")
    sha256 = _text(row.get("sha256"))
    file, _ = split_dataset(root / stimulus)
    if stimulus and not sha256 and file.exists():
        sha256 = stimulus_digest(file)
    return Unit(
        name=name,
        stimulus=stimulus,
        sha256=sha256,
        frame_time=None if frame is None else round(frame, 6),
        text=_text(row.get("text")),
        target=None if start is None or end is None else (int(start), int(end)),
        word=_text(row.get("word")),
        row=None if number is None else int(number),
        time=_number(row.get("stimulus_time")),
    )


def _text(value: Any) -> str:
    """Read the text of a cell; absent becomes empty."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    text = str(value)
    return "" if text in _ABSENT else text


def _number(value: Any) -> float | None:
    """Read a number in a cell; absent becomes None."""
    if value is None or (isinstance(value, str) and value in _ABSENT):
        return None
    number = float(value)
    return None if np.isnan(number) else number
