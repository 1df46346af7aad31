"""What changes in a film: motion energy, and cuts between scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from braid.common import InputError
from braid.features.pictures import duration_of, iter_stretches, picture_order
from braid.features.units import Unit, stimulus_path
from braid.features.windows import Rows, averaged, needed_blocks, stretches

_BLOCK = 64
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of red, green and blue (ITU-R BT.709)."""

_SPREAD = 0.56
"""Standard deviation of a Gabor filter's envelope, in wavelengths: one octave of bandwidth."""

_SPACING = 3.5
"""Distance between the centres of neighbouring filters, in standard deviations."""

_TEMPORAL_SPREAD = 0.1
"""Standard deviation of the temporal envelope, s."""

Measure = Callable[[Sequence[np.ndarray], int], np.ndarray]
"""Takes frames (row, column, 3) and how many of them to leave out at both ends."""


def motion_energy(units: Sequence[Unit], root: str | Path, settings: Mapping[str, Any]) -> Rows:
    """Energy of motion in the film, by place, spatial frequency, speed and direction.

    Amplitudes of quadrature pairs of spatiotemporal Gabor filters (Adelson & Bergen 1985, applied
    to films as by Nishimoto et al. 2011), averaged over `window` s from the unit's frame on. A unit
    without a frame is all zeros.

    Parameters
    ----------
    units : sequence of Unit
    root : path-like
    settings : mapping
        `window` (s), `rate` (frames per second), `size` (pixels of the height to which frames are
        shrunk), `spatial_frequencies` (cycles per height of the picture), `temporal_frequencies`
        (Hz), `directions` (number, even; a frequency of 0 Hz has half as many, orientations).

    Yields
    ------
    rows, values
        See `braid.features.controls`; features by temporal frequency, direction, and filter.
    """
    rate, size = float(settings["rate"]), int(settings["size"])
    frequencies = [float(f) for f in settings["spatial_frequencies"]]
    speeds = [float(f) for f in settings["temporal_frequencies"]]
    angles = int(settings["directions"]) // 2
    half = int(np.ceil(3 * _TEMPORAL_SPREAD * rate))
    banks: dict[tuple[int, int], np.ndarray] = {}

    def measure(frames: Sequence[np.ndarray], margin: int) -> np.ndarray:
        small = np.array([_shrunk(frame, size) for frame in frames])
        shape = (small.shape[1], small.shape[2])
        if shape not in banks:
            bank = gabor_bank(shape, frequencies, angles)
            banks[shape] = np.concatenate([bank.real, bank.imag]).T
        parts = small.reshape(len(small), -1) @ banks[shape]
        real, imaginary = np.split(parts, 2, axis=1)
        return energies(real + 1j * imaginary, speeds, rate, margin)

    return _over_films(units, root, float(settings["window"]), rate, half, measure, "mean")


def scene_cuts(units: Sequence[Unit], root: str | Path, settings: Mapping[str, Any]) -> Rows:
    """Change of the picture, and cuts between scenes.

    The change from frame to frame is the share of pixels that change their place in a histogram of
    8 x 8 x 8 colours, which motion within a scene hardly alters.

    Parameters
    ----------
    units, root
        See `motion_energy`.
    settings : mapping
        `window` (s), `rate` (frames per second), `threshold` (change above which it is a cut).

    Yields
    ------
    rows, values
        Largest change within `window` s from the unit's frame on, and 1 if it is a cut, else 0.
    """
    threshold = float(settings["threshold"])

    def measure(frames: Sequence[np.ndarray], _: int) -> np.ndarray:
        histograms = np.array([_histogram(frame) for frame in frames])
        change = np.abs(np.diff(histograms, axis=0)).sum(axis=1) / 2
        # as long as the block: the change into each frame
        return np.column_stack([change[:-1], change[:-1] > threshold])

    window, rate = float(settings["window"]), float(settings["rate"])
    return _over_films(units, root, window, rate, 1, measure, "max")


def gabor_bank(shape: tuple[int, int], frequencies: Sequence[float], angles: int) -> np.ndarray:
    """Complex spatial Gabor filters on a grid for each frequency.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the picture.
    frequencies : sequence of float
        Cycles per height of the picture.
    angles : int
        Number of orientations over 180 degrees.

    Returns
    -------
    numpy.ndarray
        complex64, (filter, pixel); filters by frequency, place (row by row) and orientation. Each
        gives 0 for an even grey and 1 for its own grating of contrast 1 (luminance 0 to 1).
    """
    rows, columns = shape
    y, x = np.meshgrid(
        (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / rows, indexing="ij"
    )
    filters = []
    for frequency in frequencies:
        spread = _SPREAD / frequency
        for centre_y in _grid(1.0, _SPACING * spread):
            for centre_x in _grid(columns / rows, _SPACING * spread):
                square = (y - centre_y) ** 2 + (x - centre_x) ** 2
                envelope = np.exp(-square / (2 * spread**2))
                for k in range(angles):
                    angle = np.pi * k / angles
                    along = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
                    wave = envelope * np.exp(-2j * np.pi * frequency * along)
                    # what an even grey would give is taken out, within the envelope
                    wave -= envelope * (wave.sum() / envelope.sum())
                    filters.append((wave * 4 / envelope.sum()).ravel())
    return np.array(filters, dtype=np.complex64)


def energies(
    responses: np.ndarray, frequencies: Sequence[float], rate: float, margin: int
) -> np.ndarray:
    """Amplitudes of motion in both directions, from the spatial filters' responses in time.

    With z the complex response of a spatial filter and g a Gaussian of unit sum, the amplitude of
    motion along the filter's direction is | sum_s g(s) exp(2 i pi f s) z(t + s) |, and against it
    the same with -f.

    Parameters
    ----------
    responses : numpy.ndarray
        complex (frame, filter).
    frequencies : sequence of float
        Hz.
    rate : float
        Frames per second.
    margin : int
        Frames at both ends that only serve as surroundings.

    Returns
    -------
    numpy.ndarray
        float32 (frame - 2 margin, feature).
    """
    steps = np.arange(-margin, margin + 1)
    envelope = np.exp(-((steps / rate) ** 2) / (2 * _TEMPORAL_SPREAD**2))
    envelope /= envelope.sum()
    length = len(responses) - 2 * margin
    found = []
    for frequency in frequencies:
        for sign in (1, -1) if frequency else (1,):
            kernel = envelope * np.exp(sign * 2j * np.pi * frequency * steps / rate)
            shifted = (
                weight * responses[k : k + length]
                for k, weight in enumerate(kernel.astype(np.complex64))
            )
            found.append(np.abs(sum(shifted)))
    return np.concatenate(found, axis=1).astype(np.float32)


def _over_films(
    units: Sequence[Unit],
    root: str | Path,
    window: float,
    rate: float,
    margin: int,
    measure: Measure,
    how: str,
) -> Rows:
    """Give the mean or maximum of a measure over each unit's stretch of its film."""
    shown = [k for k, unit in enumerate(units) if unit.frame_time is not None]
    shown.sort(key=lambda k: picture_order(units[k]))
    width = 0
    for _, group in groupby(shown, key=lambda k: units[k].stimulus):
        rows = np.array(list(group))
        path = stimulus_path(units[rows[0]], root)
        times = np.array([units[k].frame_time for k in rows], dtype=float)
        duration = duration_of(path, [units[k] for k in rows])
        spans = stretches(times, window, rate)
        frames = _framed(path, duration, needed_blocks(spans, _BLOCK), rate, margin, measure)
        for positions, values in averaged(spans, frames, how):
            if width and values.shape[1] != width:
                raise InputError(
                    f"{path}: it has another shape than the films before it and so another number "
                    "of features; make all films of one shape"
                )
            width = values.shape[1]
            yield rows[positions], values
    without = np.array([k for k, unit in enumerate(units) if unit.frame_time is None], dtype=int)
    if len(without):
        yield without, np.zeros((len(without), width), dtype=np.float32)


def _framed(
    path: Path,
    duration: float,
    blocks: Sequence[tuple[int, int]],
    rate: float,
    margin: int,
    measure: Measure,
) -> Iterator[tuple[int, np.ndarray]]:
    """Measure blocks of frames with their surroundings; the film stands still beyond its ends."""
    wanted = [np.arange(first - margin, last + margin) for first, last in blocks]
    times = [np.clip(block / rate, 0.0, duration) for block in wanted]
    for (first, _), frames in zip(blocks, iter_stretches(path, times), strict=True):
        yield first, measure(frames, margin)


def _shrunk(frame: np.ndarray, rows: int) -> np.ndarray:
    """Luminance, 0 to 1, of a frame shrunk to some rows."""
    from PIL import Image

    columns = max(1, round(rows * frame.shape[1] / frame.shape[0]))
    small = Image.fromarray(frame).resize((columns, rows), Image.Resampling.BOX)
    return (np.asarray(small) @ _LUMINANCE / 255.0).astype(np.float32)


def _histogram(frame: np.ndarray) -> np.ndarray:
    """Shares of pixels in 8 x 8 x 8 colours."""
    level = (frame >> 5).astype(np.int32)
    colours = (level[..., 0] * 8 + level[..., 1]) * 8 + level[..., 2]
    return np.bincount(colours.ravel(), minlength=512) / colours.size


def _grid(length: float, step: float) -> np.ndarray:
    """Centres of filters, evenly spaced and centred within a length."""
    count = max(1, int(length / step))
    return length / 2 + (np.arange(count) - (count - 1) / 2) * step
