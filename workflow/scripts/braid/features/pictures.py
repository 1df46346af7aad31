"""The pictures of units, decoded once and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from braid.common import BraidError, InputError
from braid.features.units import Unit, stimulus_path

_STILL = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}

Loader = Callable[[], np.ndarray]
"""Gives a picture, uint8 (row, column, 3), or a clip, (frame, row, column, 3)."""


def picture_order(unit: Unit) -> tuple[bool, str, float]:
    """Sort so that each film is decoded once, from its start."""
    shown = unit.frame_time is not None
    return (not shown, unit.stimulus if shown else "", unit.frame_time or 0.0)


def iter_pictures(units: Sequence[Unit], root: str | Path) -> Iterator[np.ndarray | None]:
    """Give the picture of each unit; arguments and errors as for `iter_loaders`.

    Yields
    ------
    numpy.ndarray or None
        uint8 (row, column, 3); None for a unit without a picture.
    """
    last: Loader | None = None
    picture: np.ndarray | None = None
    for load in iter_loaders(units, root):
        if load is None:
            yield None
            continue
        if load is not last:
            last, picture = load, load()
        yield picture


@dataclass(frozen=True)
class Clip:
    """A stretch of film in place of a picture.

    Attributes
    ----------
    seconds : float
        Its length, from the unit's frame on.
    frames : int
        Number of frames, evenly spaced; the first is the unit's own.
    """

    seconds: float
    frames: int

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds

    def times(self, start: float, end: float) -> np.ndarray:
        """Give the times of the frames (s); the film stands still after its end."""
        return np.minimum(start + np.arange(self.frames) / self.rate, max(start, end))


def iter_loaders(
    units: Sequence[Unit], root: str | Path, clip: Clip | None = None
) -> Iterator[Loader | None]:
    """Give for each unit a function that gives its picture.

    Frames of films are decoded here, one after the other; picture files are read and decoded only
    when their function is called, which can be done in several threads.

    Parameters
    ----------
    units : sequence of Unit
        Sorted by `picture_order`.
    root : path-like
        Root of the data set.
    clip : Clip, optional
        Give clips, (frame, row, column, 3), instead of pictures.

    Yields
    ------
    callable or None
        The same for units that show the same picture file; None for a unit without a picture.

    Raises
    ------
    InputError
        If a file is absent, changed or cannot be decoded (by the function where it is a picture),
        a film ends before a unit, or a clip is asked for of a picture.
    """
    for shown, group in groupby(units, key=lambda u: (u.frame_time is not None, u.stimulus)):
        same = list(group)
        if not shown[0]:
            yield from (None for _ in same)
        elif clip is not None:
            yield from _clips(same, root, clip)
        elif Path(same[0].stimulus).suffix.lower() in _STILL:
            load = partial(_still, same[0], root)
            yield from (load for _ in same)
        else:
            times = [float(unit.frame_time or 0.0) for unit in same]
            yield from _frames(stimulus_path(same[0], root), times)


def _frames(path: Path, times: list[float]) -> Iterator[Loader]:
    """Decode frames of a film, one per time."""
    from braid.stimuli import iter_frames

    count = 0
    for frame in iter_frames(path, times):
        count += 1
        yield partial(_decoded, frame)
    if count != len(times):
        raise BraidError(f"{path}: decoding gave {count} of {len(times)} frames")


def _clips(units: Sequence[Unit], root: str | Path, clip: Clip) -> Iterator[Loader]:
    """Decode the clips of units that show one film."""
    path = stimulus_path(units[0], root)
    end = duration_of(path, units)
    times = [clip.times(float(unit.frame_time or 0.0), end) for unit in units]
    for frames in iter_stretches(path, times):
        yield partial(_decoded, np.stack(frames))


def iter_stretches(path: Path, times: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Frames of stretches of a film that may overlap; each frame is decoded once.

    Parameters
    ----------
    path : pathlib.Path
    times : sequence of numpy.ndarray
        Times of the frames of each stretch (s), ascending; stretches by their beginning.

    Yields
    ------
    list of numpy.ndarray
        uint8 (row, column, 3). Memory is that of the frames of one stretch.
    """
    from braid.stimuli import iter_frames

    distinct, inverse = np.unique(np.concatenate(times), return_inverse=True)
    numbers = np.split(inverse, np.cumsum([len(stretch) for stretch in times])[:-1])
    decoded = enumerate(iter_frames(path, distinct))
    kept: dict[int, np.ndarray] = {}
    for wanted in numbers:
        for number in [number for number in kept if number < wanted[0]]:
            del kept[number]
        while wanted[-1] not in kept:
            number, frame = next(decoded)
            if number >= wanted[0]:
                kept[number] = frame
        yield [kept[number] for number in wanted]


def duration_of(path: Path, units: Sequence[Unit]) -> float:
    """Length of a film (s), after it was checked that units do not lie beyond its end.

    Raises
    ------
    InputError
        If one does, or the file is a picture.
    """
    from braid.stimuli.films import TOLERANCE, open_film

    duration = open_film(path).duration
    if not np.isfinite(duration):
        raise InputError(f"{path}: a picture has no motion; use this model with films")
    for unit in units:
        if (unit.frame_time or 0.0) > duration + TOLERANCE:
            raise InputError(
                f"{path}: a frame is asked for at {unit.frame_time:.3f} s (unit {unit.name}) but "
                f"the film ends at {duration:.3f} s; check stim_time in the events, or the file"
            )
    return duration


def _decoded(frame: np.ndarray) -> np.ndarray:
    """Give a frame that is there already."""
    return frame


def _still(unit: Unit, root: str | Path) -> np.ndarray:
    """Read a picture file."""
    from PIL import Image, UnidentifiedImageError

    path = stimulus_path(unit, root)
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{path}: cannot be decoded as a picture ({error})") from None
