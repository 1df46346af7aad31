"""What simulated recordings hold beside the planted responses: background, drift and artefacts."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

_FLOOR = 0.05  # Hz: below it the background is flat


def power_law(
    exponents: np.ndarray, n_samples: int, sampling_frequency: float, random: np.random.Generator
) -> np.ndarray:
    """Draw noise with power proportional to 1/f^exponent above 0.05 Hz, of unit variance.

    Parameters
    ----------
    exponents : ndarray of shape (n,)
        1 gives pink noise, 2 brown noise.
    n_samples : int
    sampling_frequency : float
        Hz.
    random : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, n_samples), float32
    """
    length = next_fast_len(n_samples, real=True)
    frequency = np.maximum(rfftfreq(length, 1 / sampling_frequency), _FLOOR)
    noise = np.empty((len(exponents), n_samples), dtype=np.float32)
    for row, exponent in enumerate(exponents):
        spectrum = rfft(random.normal(size=length)) * frequency ** (-exponent / 2)
        spectrum[0] = 0
        drawn = irfft(spectrum, length)[:n_samples]
        noise[row] = drawn / drawn.std()
    return noise


def slow_drift(
    n_samples: int,
    channels: int,
    sampling_frequency: float,
    fastest: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Draw slow drifts: a slope and four waves, none faster than `fastest` Hz.

    Returns
    -------
    ndarray of shape (channels, n_samples), float32
        Of unit standard deviation.
    """
    time = (np.arange(n_samples) - n_samples / 2) / sampling_frequency
    drift = random.normal(size=(channels, 1)) * time / time.std()
    for _ in range(4):
        rate = fastest * random.uniform(0.1, 1, (channels, 1))
        phase = random.uniform(0, 2 * np.pi, (channels, 1))
        height = random.normal(size=(channels, 1))
        drift = drift + height * np.sin(2 * np.pi * rate * time + phase)
    drift -= drift.mean(axis=1, keepdims=True)
    return (drift / drift.std(axis=1, keepdims=True)).astype(np.float32)


def line_noise(
    n_samples: int, channels: int, sampling_frequency: float, random: np.random.Generator
) -> np.ndarray:
    """Draw 50 Hz line noise of about unit amplitude, with a weaker harmonic at 100 Hz.

    Returns
    -------
    ndarray of shape (channels, n_samples), float32
    """
    time = np.arange(n_samples) / sampling_frequency
    wander = 0.3 * np.sin(2 * np.pi * time / 97.0 + random.uniform(0, 2 * np.pi))
    phase = 2 * np.pi * 50.0 * time + wander
    waves = np.stack([np.sin(phase), np.cos(phase), np.sin(2 * phase), np.cos(2 * phase)])
    angle = random.normal(0, 0.4, (channels, 2))
    size = random.uniform(0.6, 1.4, channels)[:, None]
    mixing = np.stack(
        [
            np.cos(angle[:, 0]),
            np.sin(angle[:, 0]),
            0.4 * np.cos(angle[:, 1]),
            0.4 * np.sin(angle[:, 1]),
        ],
        axis=1,
    )
    return ((size * mixing) @ waves).astype(np.float32)


def autoregressive(coefficients: np.ndarray, innovations: np.ndarray) -> np.ndarray:
    """Turn innovations into AR(1) noise of the same variance.

    Parameters
    ----------
    coefficients : ndarray of shape (sites,)
    innovations : ndarray of shape (time, sites)

    Returns
    -------
    ndarray of shape (time, sites)
    """
    noise = np.empty_like(innovations)
    for coefficient in np.unique(coefficients):
        columns = coefficients == coefficient
        chosen = innovations[:, columns] * np.sqrt(1 - coefficient**2)
        # a stationary start: the first volume already has the process's variance
        chosen[0] = innovations[0, columns]
        noise[:, columns] = lfilter([1.0], [1.0, -coefficient], chosen, axis=0)
    return noise


def spatial_noise(
    n_volumes: int, shape: tuple[int, ...], random: np.random.Generator
) -> np.ndarray:
    """Draw noise that neighbouring voxels partly share, of unit variance.

    Returns
    -------
    ndarray of shape (n_volumes, *shape)
    """
    white = random.normal(size=(n_volumes, *shape))
    smooth = gaussian_filter(
        random.normal(size=(n_volumes, *shape)), sigma=(0, 1, 1, 1), mode="wrap"
    )
    return 0.8 * white + 0.6 * smooth / smooth.std()


def head_translations(
    n_volumes: int, size: float, spikes: int, random: np.random.Generator
) -> np.ndarray:
    """Draw a head's translations: a slow random walk and a few sudden, brief movements.

    Parameters
    ----------
    n_volumes : int
    size : float
        Standard deviation of the slow part, mm.
    spikes : int
        Number of sudden movements, each of about five times `size` and one or two volumes long.

    Returns
    -------
    ndarray of shape (n_volumes, 3)
        mm, relative to the run's mean position.
    """
    walk = np.cumsum(random.normal(size=(n_volumes, 3)), axis=0)
    walk -= walk.mean(axis=0)
    moves = size * walk / np.maximum(walk.std(axis=0), 1e-12)
    for start in random.choice(n_volumes, size=min(spikes, n_volumes), replace=False):
        moves[start : start + int(random.integers(1, 3))] += random.normal(0, 5 * size, 3)
    return moves
