"""Filters of iEEG, on blocks (channels, samples) of one run in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.fft import next_fast_len
from scipy.ndimage import maximum_filter1d
from scipy.signal import (
    butter,
    filtfilt,
    hilbert,
    iirnotch,
    lfilter,
    lfilter_zi,
    resample_poly,
    sosfiltfilt,
)


def notch(
    block: np.ndarray, rate: float, lines: Sequence[float], params: Mapping[str, Any]
) -> np.ndarray:
    """Remove line noise.

    Parameters
    ----------
    block : numpy.ndarray
        (channels, samples).
    rate : float
        Hz.
    lines : sequence of float
        Hz.
    params : mapping
        `notch_method`; for `iir` (of second order, one per line) `notch_q`, the line over the width
        at half power, and `notch_phase`: `zero` runs each filter forwards and backwards, `causal`
        forwards only, which delays what is near a line.
    """
    if not lines:
        return block
    if params["notch_method"] == "iir":
        return _iir_notch(block, rate, lines, params["notch_q"], params["notch_phase"])
    import mne

    if params["notch_method"] == "spectrum_fit":
        return mne.filter.notch_filter(
            block, rate, lines, method="spectrum_fit", filter_length="10s", verbose="ERROR"
        )
    return mne.filter.notch_filter(block, rate, lines, phase="zero", verbose="ERROR")


def _iir_notch(
    block: np.ndarray, rate: float, lines: Sequence[float], q: float, phase: str
) -> np.ndarray:
    """Filter with one second-order notch after the other."""
    for line in lines:
        b, a = iirnotch(line, q, fs=rate)
        if phase == "zero":
            block = filtfilt(b, a, block, axis=1)
        else:
            # starts as if the first sample had lasted forever: offsets do not ring
            start = lfilter_zi(b, a)[None, :] * block[:, :1]
            block, _ = lfilter(b, a, block, axis=1, zi=start)
    return block


def band_pass(block: np.ndarray, rate: float, params: Mapping[str, Any]) -> np.ndarray:
    """Band-pass with zero phase; either side of `band` may be open.

    `band_method` `fir` is MNE's windowed sinc; `butterworth` has order `band_order` and runs
    forwards and backwards.
    """
    low, high = params["band"] or (None, None)
    if low is None and high is None:
        return block
    if low is not None:
        # the filter's stop band leaves 0.2 % of a constant, and offsets can be millivolts
        block = block - block.mean(axis=1, keepdims=True)
    if params["band_method"] == "butterworth":
        kind = "bandpass" if low and high else ("highpass" if low else "lowpass")
        edges = (low, high) if low and high else (low or high)
        sos = butter(params["band_order"], edges, kind, fs=rate, output="sos")
        return np.asarray(sosfiltfilt(sos, block, axis=1))
    import mne

    return mne.filter.filter_data(block, rate, low, high, phase="zero", verbose="ERROR")


def envelope(block: np.ndarray, log: bool) -> np.ndarray:
    """Amplitude envelope, channel by channel."""
    # padded to a length that the FFT likes, then cut
    n = next_fast_len(block.shape[1])
    found = np.stack([np.abs(hilbert(channel, n))[: block.shape[1]] for channel in block])
    # the floor keeps the logarithm finite where the band is empty for a moment
    return np.log(np.maximum(found, 1e-6)) if log else found


def standardize(block: np.ndarray) -> np.ndarray:
    """Z-score each channel (population standard deviation); constant ones become zero."""
    sd = block.std(axis=1, keepdims=True)
    return (block - block.mean(axis=1, keepdims=True)) / np.where(sd > 0, sd, 1.0)


def despike(
    block: np.ndarray, rate: float, params: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Quench large deflections.

    Samples whose z-score over the run exceeds `despike_threshold` on either side are masked, with
    those around them, `despike_width` s in all per sample. `attenuate` multiplies the signal there
    by `despike_factor`, which leaves a step at both ends of a mask; `interpolate` draws a straight
    line between its ends.

    Returns
    -------
    block : numpy.ndarray
        (channels, samples).
    share : numpy.ndarray
        (channels,): share of samples masked.
    """
    around = round(params["despike_width"] * rate) // 2
    large = np.abs(standardize(block)) > params["despike_threshold"]
    mask = maximum_filter1d(large.view(np.uint8), 2 * around + 1, axis=1, mode="constant") > 0
    if params["despike"] == "attenuate":
        return np.where(mask, params["despike_factor"] * block, block), mask.mean(axis=1)
    result = block.copy()
    for channel, masked in zip(result, mask, strict=True):
        kept = np.flatnonzero(~masked)
        if masked.any() and kept.size:
            channel[masked] = np.interp(np.flatnonzero(masked), kept, channel[kept])
    return result, mask.mean(axis=1)


def resample(block: np.ndarray, rate: float, new: float | None) -> np.ndarray:
    """Resample with a zero-phase anti-aliasing filter; the first sample stays at time zero.

    Polyphase, because MNE's FFT method pads by whole samples of the old rate and thereby shifts the
    result by up to a sample of the new one where the rates have no small ratio.
    """
    if not new or new == rate:
        return block
    ratio = Fraction(float(new) / rate).limit_denominator(10_000)
    return resample_poly(block, ratio.numerator, ratio.denominator, axis=1, padtype="line")
