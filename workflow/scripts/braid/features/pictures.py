"""The pictures of units, decoded once and in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from braid.common import BraidError, InputError
from braid.features.units import Unit, stimulus_path

_STILL = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def iter_pictures(units: Sequence[Unit], root: str | Path) -> Iterator[np.ndarray | None]:
    """Give the picture of each unit.

    Parameters
    ----------
    units : sequence of Unit
        Sorted by stimulus and frame time, so that each film is decoded once.
    root : path-like
        Root of the data set.

    Yields
    ------
    numpy.ndarray or None
        uint8 (row, column, 3); None for a unit without a picture.

    Raises
    ------
    InputError
        If a file is absent, changed or cannot be decoded.
    """
    for shown, group in groupby(units, key=lambda u: (u.frame_time is not None, u.stimulus)):
        same = list(group)
        if not shown[0]:
            yield from (None for _ in same)
            continue
        path = stimulus_path(same[0], root)
        if path.suffix.lower() in _STILL:
            picture = _still(path)
            yield from (picture for _ in same)
            continue
        yield from _frames(path, [float(unit.frame_time or 0.0) for unit in same])


def _frames(path: Path, times: list[float]) -> Iterator[np.ndarray]:
    """Decode frames of a film, one per time."""
    from braid.stimuli import iter_frames

    count = 0
    for frame in iter_frames(path, times):
        count += 1
        yield frame
    if count != len(times):
        raise BraidError(f"{path}: decoding gave {count} of {len(times)} frames")


def _still(path: Path) -> np.ndarray:
    """Read a picture file."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: cannot be decoded as a picture ({error})") from None
