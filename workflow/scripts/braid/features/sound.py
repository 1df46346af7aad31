"""Sound of films and recordings: envelope and mel spectrogram.

Decoded and resampled by FFmpeg through PyAV, which decodes the pictures too; the spectra need no
more than NumPy. Packages for audio would bring several hundred megabytes for the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from braid.common import InputError
from braid.features.units import Unit, stimulus_path
from braid.features.windows import Rows, averaged, stretches

_RATE = 16_000
"""Samples per second to which sound is brought."""

_HOP = 160
"""Samples from one frame of the spectrogram to the next: 10 ms."""

_LENGTH = 400
"""Samples of a frame: 25 ms."""

_SPECTRUM = 512
_BLOCK = 1000
"""Frames at a time: 10 s."""

_FLOOR = 1e-10
_TOLERANCE = 0.1
"""Seconds that a unit may begin after the end: logged times are not exact."""


def sound_envelope(units: Sequence[Unit], root: str | Path, settings: Mapping[str, Any]) -> Rows:
    """Broadband envelope: root mean square over 10 ms frames, to the power 0.6.

    The exponent stands for the compression of the inner ear (Biesmans et al. 2017).

    Parameters
    ----------
    units : sequence of Unit
        Their `time` is when they begin in the stimulus; one without a stimulus is zero.
    root : path-like
    settings : mapping
        `window`: s from the unit's beginning on over which the mean is taken.

    Yields
    ------
    rows, values
        See `braid.features.controls`; one feature.
    """
    return _over_sounds(units, root, float(settings["window"]), envelope)


def mel_spectrogram(units: Sequence[Unit], root: str | Path, settings: Mapping[str, Any]) -> Rows:
    """Mel spectrogram in decibels, mean over `window` s from the unit's beginning on.

    Parameters
    ----------
    units, root
        See `sound_envelope`.
    settings : mapping
        `window` (s), `bands` (number), `low` and `high` (Hz).

    Yields
    ------
    rows, values
        See `braid.features.controls`; one feature per band, low to high.
    """
    bands, low, high = int(settings["bands"]), float(settings["low"]), float(settings["high"])
    if not 0 <= low < high <= _RATE / 2:
        raise InputError(
            f"mel_spectrogram: low {low:g} Hz and high {high:g} Hz must rise between 0 and "
            f"{_RATE // 2} Hz"
        )
    filters = mel_filters(bands, low, high)
    return _over_sounds(
        units, root, float(settings["window"]), lambda frames: decibels(frames, filters)
    )


def envelope(frames: np.ndarray) -> np.ndarray:
    """Compressed root mean square of the middle 10 ms of each frame.

    Parameters
    ----------
    frames : numpy.ndarray
        (frame, sample) of 25 ms.

    Returns
    -------
    numpy.ndarray
        (frame, 1).
    """
    start = (_LENGTH - _HOP) // 2
    middle = frames[:, start : start + _HOP].astype(np.float64)
    return np.sqrt((middle**2).mean(axis=1, keepdims=True)) ** 0.6


def decibels(frames: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Power of Hann-windowed frames in each band, 10 log10.

    Parameters
    ----------
    frames : numpy.ndarray
        (frame, sample) of 25 ms.
    filters : numpy.ndarray
        From `mel_filters`.

    Returns
    -------
    numpy.ndarray
        (frame, band).
    """
    window = np.hanning(_LENGTH + 1)[:-1]
    spectrum = np.fft.rfft(frames * window, _SPECTRUM, axis=1)
    return 10 * np.log10(np.abs(spectrum) ** 2 @ filters.T + _FLOOR)


def mel_filters(bands: int, low: float, high: float) -> np.ndarray:
    """Triangular filters that are evenly spaced in mel, each of unit sum.

    mel = 2595 log10(1 + f / 700) (O'Shaughnessy 1987).

    Parameters
    ----------
    bands : int
    low, high : float
        Hz, where the first filter begins and the last one ends.

    Returns
    -------
    numpy.ndarray
        (band, frequency), for the frequencies of the spectrum.

    Raises
    ------
    InputError
        If a filter would be narrower than the spectrum resolves.
    """
    ends = 2595 * np.log10(1 + np.array([low, high]) / 700)
    mel = np.linspace(ends[0], ends[1], bands + 2)
    corners = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.fft.rfftfreq(_SPECTRUM, 1 / _RATE)
    rising = (frequencies - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - frequencies) / np.diff(corners)[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    total = filters.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise InputError(
            f"mel_spectrogram: {bands} bands from {low:g} to {high:g} Hz are narrower than the "
            f"spectrum resolves ({frequencies[1]:.0f} Hz); take fewer"
        )
    return filters / total


def _over_sounds(units: Sequence[Unit], root: str | Path, window: float, measure: Any) -> Rows:
    """Give the mean of a measure over each unit's stretch of its stimulus."""
    heard = [k for k, unit in enumerate(units) if unit.stimulus and unit.time is not None]
    if not heard:
        raise InputError("sound: no unit has a stimulus and a time in it; use units of films")
    heard.sort(key=lambda k: (units[k].stimulus, units[k].time or 0.0))
    width = 0
    for _, group in groupby(heard, key=lambda k: units[k].stimulus):
        rows = np.array(list(group))
        path = stimulus_path(units[rows[0]], root)
        times = np.array([units[k].time for k in rows], dtype=float)
        spans = stretches(times, window, _RATE / _HOP)
        last = (units[rows[-1]].name, float(times.max()))
        blocks = (
            (start, measure(frames)) for start, frames in _frames(path, int(spans.max()), last)
        )
        for positions, values in averaged(spans, blocks):
            width = values.shape[1]
            yield rows[positions], values
    without = np.array(sorted({*range(len(units))} - {*heard}), dtype=int)
    if len(without):
        yield without, np.zeros((len(without), width), dtype=np.float32)


def _frames(path: Path, count: int, last: tuple[str, float]) -> Iterator[tuple[int, np.ndarray]]:
    """Overlapping frames of the sound from its start on, a block at a time.

    Frame k is centred on sample (k + 1/2) hop, the middle of its 10 ms; there is silence before
    the start and after the end.
    """
    before = (_LENGTH - _HOP) // 2
    kept = np.zeros(before, dtype=np.float32)
    start, heard, sound = 0, 0, iter_sound(path)
    ended = False
    while start < count:
        size = min(_BLOCK, count - start)
        needed = (size - 1) * _HOP + _LENGTH
        pieces = [kept]
        while not ended and sum(map(len, pieces)) < needed:
            piece = next(sound, None)
            ended = piece is None
            if piece is not None:
                heard += len(piece)
                pieces.append(piece)
        kept = np.concatenate(pieces)
        if ended and last[1] > heard / _RATE + _TOLERANCE:
            raise InputError(
                f"{path}: sound is asked for at {last[1]:.3f} s (unit {last[0]}) but it ends at "
                f"{heard / _RATE:.3f} s; check stim_time in the events, or the file"
            )
        kept = np.pad(kept, (0, max(0, needed - len(kept))))
        windows = np.lib.stride_tricks.sliding_window_view(kept, _LENGTH)
        yield start, windows[: (size - 1) * _HOP + 1 : _HOP]
        kept = kept[size * _HOP :]
        start += size


def iter_sound(path: Path) -> Iterator[np.ndarray]:
    """Give the first sound stream of a file, the mean of its channels, at 16 kHz.

    Yields
    ------
    numpy.ndarray
        float32, between -1 and 1, pieces of any length. Time 0 is that of the file, so that a
        stream that starts later is preceded by silence.

    Raises
    ------
    InputError
        If the file has no sound or cannot be decoded.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise InputError(f"{path}: it has no sound; use stimuli with a sound track")
            # mixed here, for FFmpeg weights channels differently in different formats
            resampler = av.AudioResampler(format="fltp", rate=_RATE)
            first = True
            for frame in container.decode(container.streams.audio[0]):
                if first and frame.time:
                    yield np.zeros(max(0, round(float(frame.time) * _RATE)), dtype=np.float32)
                first = False
                # a stream whose clock has gaps would be refused
                frame.pts = None
                for piece in resampler.resample(frame):
                    yield piece.to_ndarray().mean(axis=0)
            for piece in resampler.resample(None):
                yield piece.to_ndarray().mean(axis=0)
    except (av.FFmpegError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: its sound cannot be decoded ({reason}); copy it again, or convert it to WAV"
        ) from None
