"""Regions of an object detector, given by the user, for networks that take them for pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from braid.common import InputError
from braid.features.pictures import Loader
from braid.features.units import Unit
from braid.models import LoadedModel
from braid.stimuli.arrays import array_digest, check_there, open_store


def iter_regions(
    model: LoadedModel, units: Sequence[Unit], root: str | Path
) -> Iterator[Loader | None]:
    """Give for each unit a function that gives the regions of its picture.

    The file that the entry's `regions` names holds one row per picture: `features` (picture,
    region, feature), `stimulus` (picture): path of the film or picture in the root of the data
    set, `time` (picture): second of the film, as `frame_time` in the table of units, which may be
    left out where all are pictures, and `count` (picture): number of regions, where not all rows
    are full. Other arrays (boxes, classes) are not read: these networks take none.

    Parameters
    ----------
    model : LoadedModel
        With `regions`.
    units : sequence of Unit
    root : path-like
        Root of the data set.

    Yields
    ------
    callable or None
        Gives float32 (region, feature); None for a unit without a picture.

    Raises
    ------
    InputError
        If the file is missing, lacks an array or a picture, has a picture twice, regions are as
        wide as another network's, or a value is not finite (by the function); names file and row.
    """
    path = _path(model, root)
    features, counts, rows = _opened(path, model)
    for unit in units:
        if unit.frame_time is None:
            yield None
            continue
        row = rows.get((unit.stimulus, _milliseconds(unit.frame_time)))
        if row is None:
            raise InputError(
                f"{path}: it has no regions of {unit.stimulus} at {unit.frame_time:.3f} s (unit "
                f"{unit.name}); detect them in the frames that the table of units names, and add "
                "them"
            )
        yield partial(_regions, path, features, row, int(counts[row]))


def regions_content(model: LoadedModel, root: str | Path) -> str:
    """Digest of the file of regions, for the key of the features."""
    path = _path(model, root)
    check_there(path)
    return array_digest(path)


def _path(model: LoadedModel, root: str | Path) -> Path:
    """Path of the file of regions."""
    return Path(root) / str(model.entry["regions"])


def _opened(path: Path, model: LoadedModel) -> tuple[Any, np.ndarray, dict[tuple[str, int], int]]:
    """Features, numbers of regions, and the row of each picture."""
    store = open_store(path)
    for name in ("features", "stimulus"):
        if name not in store:
            raise InputError(f"{path}: the array '{name}' is missing; add it")
    features = store["features"]
    if len(features.shape) != 3 or features.shape[2] != model.regions:
        raise InputError(
            f"{path}: features of shape {tuple(features.shape)} are not (picture, region, "
            f"{model.regions}), which {model.name} takes; use the detector of its training"
        )
    n = features.shape[0]
    stimuli = [_text(name) for name in store["stimulus"][:]]
    times = np.asarray(store["time"][:] if "time" in store else np.zeros(n), dtype=float)
    counts = np.asarray(store["count"][:] if "count" in store else np.full(n, features.shape[1]))
    for name, values in (("stimulus", stimuli), ("time", times), ("count", counts)):
        if len(values) != n:
            raise InputError(
                f"{path}: {len(values)} entries of '{name}' for {n} pictures; give one each"
            )
    wrong = np.flatnonzero((counts < 1) | (counts > features.shape[1]))
    if len(wrong):
        raise InputError(
            f"{path}: row {wrong[0]}: count {counts[wrong[0]]} must lie between 1 and "
            f"{features.shape[1]}"
        )
    rows: dict[tuple[str, int], int] = {}
    for row, (stimulus, time) in enumerate(zip(stimuli, times, strict=True)):
        key = (stimulus, _milliseconds(time))
        if key in rows:
            raise InputError(
                f"{path}: rows {rows[key]} and {row} are both of {stimulus} at {time:.3f} s; each "
                "picture must occur once"
            )
        rows[key] = row
    return features, counts, rows


def _regions(path: Path, features: Any, row: int, count: int) -> np.ndarray:
    """Read the regions of one picture."""
    values = np.asarray(features[row], dtype=np.float32)[:count]
    if not np.isfinite(values).all():
        raise InputError(f"{path}: row {row} holds a value that is not a finite number")
    return values


def _milliseconds(time: float) -> int:
    return round(1000 * float(time))


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
