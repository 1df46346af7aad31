"""Trends, slow drifts and confounds, taken out of time series in one regression."""

from __future__ import annotations

import numpy as np

from braid.common import InputError

_DEGREE = {"none": 0, "linear": 1, "quadratic": 2}


def clean_run(
    series: np.ndarray,
    repetition_time: float,
    detrend: str = "none",
    high_pass: float | None = None,
    confounds: np.ndarray | None = None,
    name: str = "run",
) -> np.ndarray:
    """Remove nuisance regressors and the mean from the time series of one run.

    Polynomials, the cosine basis and the confounds enter one design matrix, because regressing
    them out one after the other brings earlier ones back (Lindquist et al. 2019, Human Brain
    Mapping 40:2358).

    Parameters
    ----------
    series : numpy.ndarray
        (volumes, targets).
    repetition_time : float
        s.
    detrend : {"none", "linear", "quadratic"}
    high_pass : float, optional
        Hz; slower components are removed by a discrete cosine basis.
    confounds : numpy.ndarray, optional
        (volumes, confounds).
    name : str
        Run to name in an error.

    Returns
    -------
    numpy.ndarray
        Residuals with zero mean, float64, same shape.

    Raises
    ------
    InputError
        If there are as many regressors as volumes.
    """
    design = nuisance(len(series), repetition_time, detrend, high_pass, confounds)
    if design.shape[1] + 1 >= len(series):
        raise InputError(
            f"{name}: {design.shape[1]} nuisance regressors for {len(series)} volumes leave "
            "nothing to analyse; lower `preprocess.high_pass`, or use fewer confounds or spikes"
        )
    centred = series - series.mean(axis=0, dtype=np.float64)
    if not design.shape[1]:
        return centred
    return centred - design @ np.linalg.lstsq(design, centred, rcond=None)[0]


def nuisance(
    n: int,
    repetition_time: float,
    detrend: str,
    high_pass: float | None,
    confounds: np.ndarray | None,
) -> np.ndarray:
    """Build the design matrix of everything that is to be removed.

    `nilearn.signal.clean` is not used for the whole: it leaves its cosine basis out, with a
    warning only, when a confound happens to resemble one of the cosines.

    Returns
    -------
    numpy.ndarray
        (volumes, regressors), centred and of unit norm, constant columns left out.
    """
    line = np.linspace(-1.0, 1.0, n)
    columns = [line[:, None] ** power for power in range(1, _DEGREE[detrend] + 1)]
    if high_pass:
        if high_pass * repetition_time >= 0.5:
            raise InputError(
                f"preprocess.high_pass: {high_pass:g} Hz would remove everything from volumes "
                f"{repetition_time:g} s apart; 0.01 Hz is usual"
            )
        columns.append(cosines(n, repetition_time, high_pass))
    if confounds is not None:
        columns.append(confounds[:, np.ptp(confounds, axis=0) > 0])
    if not columns:
        return np.empty((n, 0))
    design = np.hstack(columns)
    design -= design.mean(axis=0)
    return design / np.linalg.norm(design, axis=0)


def cosines(n: int, repetition_time: float, high_pass: float) -> np.ndarray:
    """Discrete cosine basis of slow drifts, as SPM and nilearn have it, without the constant.

    Parameters
    ----------
    n : int
        Volumes.
    repetition_time : float
        s.
    high_pass : float
        Hz; cosine k has a frequency of k / (2 n repetition_time), and all up to this one are there.

    Returns
    -------
    numpy.ndarray
        (volumes, cosines), of unit norm.
    """
    # the small term keeps a cosine at the very cut-off, which rounding could lose
    highest = min(n - 1, int(2 * n * high_pass * repetition_time + 1e-9))
    orders = np.arange(1, highest + 1)
    return np.sqrt(2 / n) * np.cos(np.pi / n * (np.arange(n)[:, None] + 0.5) * orders)


def zscore(series: np.ndarray) -> np.ndarray:
    """Z-score columns with the population standard deviation; constant ones become NaN."""
    centred = series - series.mean(axis=0, dtype=np.float64)
    sd = np.sqrt(np.mean(centred**2, axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred / np.where(sd > 0, sd, np.nan)


def left_without_variance(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mark columns whose residual is rounding error: nothing but nuisance was in them."""
    return after.std(axis=0) <= 1e-6 * before.std(axis=0)
