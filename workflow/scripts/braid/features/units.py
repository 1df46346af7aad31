"""The units table as networks need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError
from braid.models.digests import digest
from braid.stimuli.arrays import array_digest, split_dataset

_ABSENT = ("", "n/a")
_TOLERANCE = 1e-6  # s; frame times are rounded so


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


def mismatched(units: Sequence[Unit], pairing: Mapping[str, Any] | None) -> list[Unit]:
    """Units whose pictures, or whose texts, are those of another time of the same film.

    What a network gains by joining the two inputs must vanish when they do not belong together. In
    each film the units with both, in the order of their frames, take the picture (or the text) of
    the unit a fixed number of places later, past the end from the beginning: each picture and each
    text is used as often as before, and both keep their own course. The number is the smallest with
    which every unit takes what belongs to a frame at least `seconds` away. Units that lack one of
    the two stay as they are.

    Parameters
    ----------
    units : sequence of Unit
    pairing : mapping or None
        `shift` (`pictures` or `text`) and `seconds`; None leaves the units as they are.

    Raises
    ------
    InputError
        If a film is too short to be shifted so far.
    """
    if not pairing:
        return list(units)
    found = list(units)
    films: dict[str, list[int]] = {}
    for number, unit in enumerate(units):
        if unit.frame_time is not None and unit.text:
            films.setdefault(unit.stimulus, []).append(number)
    for film, numbers in films.items():
        times = np.array([units[number].frame_time for number in numbers], dtype=float)
        order = np.argsort(times, kind="stable")
        places = _places(times[order], pairing["seconds"], film)
        for here, there in zip(order, np.roll(order, -places), strict=True):
            own, other = units[numbers[here]], units[numbers[there]]
            found[numbers[here]] = (
                replace(own, frame_time=other.frame_time)
                if pairing["shift"] == "pictures"
                else replace(own, text=other.text, target=other.target, word=other.word)
            )
    return found


def _places(times: np.ndarray, seconds: float, film: str) -> int:
    """Places by which ascending times are shifted, so that each moves at least so far."""
    for places in range(1, len(times)):
        if np.all(np.abs(np.roll(times, -places) - times) >= seconds - _TOLERANCE):
            return places
    raise InputError(
        f"{film}: its units with picture and text span {times[-1] - times[0]:g} s, too little to "
        f"shift each by {seconds:g} s or more; give 'pairing' fewer seconds"
    )


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
    if array_digest(file) != unit.sha256:
        raise InputError(
            f"{file}: the file has changed since the units table was made; run the workflow again "
            "from the units"
        )
    return path


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
        sha256 = array_digest(file)
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
