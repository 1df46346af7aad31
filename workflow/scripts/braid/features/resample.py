"""From events to the times of volumes."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from braid.common import InputError


def lanczos_matrix(
    times: np.ndarray,
    new_times: np.ndarray,
    lobes: int = 3,
    cutoff_mult: float = 1.0,
    normalise: bool = False,
) -> sparse.csr_matrix:
    """Weights of Lanczos resampling from uneven to even times.

    With u = (new - old) fc, and fc = cutoff_mult / mean(diff(new)), the weight is
    sinc(u) sinc(u / lobes) where abs(u) <= lobes, and 0 elsewhere, as in the deep-fMRI-dataset code
    of LeBel, Huth et al. (2023). Rows are not normalised by default, so that the result also
    carries the rate of events.

    Parameters
    ----------
    times : numpy.ndarray
        Times of the events (s), in any order.
    new_times : numpy.ndarray
        Times to resample to (s), evenly spaced and increasing; at least two.
    lobes : int
        Lobes of the kernel on each side.
    cutoff_mult : float
        Multiplies the cut-off frequency.
    normalise : bool
        Divide each row by its sum, where that is not zero.

    Returns
    -------
    scipy.sparse.csr_matrix
        float64, (new time, event).

    Raises
    ------
    InputError
        If there are fewer than two new times.
    """
    times, new_times = np.asarray(times, float), np.asarray(new_times, float)
    if len(new_times) < 2:
        raise InputError("Lanczos resampling needs a run of at least two volumes")
    cutoff = cutoff_mult / np.mean(np.diff(new_times))
    order = np.argsort(times, kind="stable")
    reach = lobes / cutoff * (1 + 1e-9)
    first = np.searchsorted(times[order], new_times - reach, side="left")
    last = np.searchsorted(times[order], new_times + reach, side="right")
    counts = last - first
    starts = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, counts)
    columns = order[within]
    lag = (np.repeat(new_times, counts) - times[columns]) * cutoff
    weights = np.sinc(lag) * np.sinc(lag / lobes)
    weights[np.abs(lag) > lobes] = 0.0
    matrix = sparse.csr_matrix((weights, columns, starts), shape=(len(new_times), len(times)))
    if normalise:
        total = np.asarray(matrix.sum(axis=1)).ravel()
        scale = np.divide(1.0, total, out=np.zeros_like(total), where=np.abs(total) > 1e-12)
        matrix = sparse.csr_matrix(sparse.diags(scale) @ matrix)
    return matrix


def lanczos_resample(
    values: np.ndarray,
    times: np.ndarray,
    new_times: np.ndarray,
    lobes: int = 3,
    cutoff_mult: float = 1.0,
    rectify: bool = False,
) -> np.ndarray:
    """Resample features at events to new times (see `lanczos_matrix`).

    Parameters
    ----------
    values : numpy.ndarray
        (event, feature).
    times, new_times : numpy.ndarray
        Seconds.
    lobes, cutoff_mult
        See `lanczos_matrix`.
    rectify : bool
        Resample negative and positive parts apart, and give both side by side.

    Returns
    -------
    numpy.ndarray
        float64, (new time, feature), twice as wide if `rectify`.
    """
    matrix = lanczos_matrix(times, new_times, lobes, cutoff_mult)
    if rectify:
        parts = [np.minimum(values, 0.0), np.maximum(values, 0.0)]
        return np.hstack([matrix @ part for part in parts])
    return matrix @ np.asarray(values, float)


def boxcar_matrix(
    onsets: np.ndarray, durations: np.ndarray, volume_times: np.ndarray
) -> sparse.csr_matrix:
    """Weights of box-cars: 1 where the middle of a volume lies in [onset, onset + duration).

    Events that overlap add up.

    Parameters
    ----------
    onsets, durations : numpy.ndarray
        Seconds, one per event.
    volume_times : numpy.ndarray
        Middle of each volume (s), increasing.

    Returns
    -------
    scipy.sparse.csr_matrix
        float64, (volume, event).
    """
    onsets, durations = np.asarray(onsets, float), np.asarray(durations, float)
    # a microsecond of grace, for onsets that decimal rounding put beside a volume's middle
    first = np.searchsorted(volume_times, onsets - 1e-6, side="left")
    last = np.searchsorted(volume_times, onsets + durations - 1e-6, side="left")
    counts = np.maximum(last - first, 0)
    events = np.repeat(np.arange(len(onsets)), counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    volumes = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, counts)
    return sparse.csr_matrix(
        (np.ones(len(events)), (volumes, events)), shape=(len(volume_times), len(onsets))
    )
