"""The table of planted truth, and which of its sites count as clearly driven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from braid.common import provenance, write_table

POWER = 0.9
NETWORK_SHARE = 0.5
NETWORK_FEATURES = {"ieeg": 64, "bold": 64 * 4}
ALPHA = {"ieeg": 0.025 / 10, "bold": 0.025}

CRITERION = (
    "A site is *clear* if an encoding analysis ought to find it. The criterion is fixed from "
    "the planted signal-to-noise ratio alone, by a power calculation, before any network is "
    "fitted: 1. Where `snr` is the ratio of the variances of the planted response and of the "
    "noise, the best encoding model has a correlation rho with rho^2 = snr / (1 + snr). "
    "Fitted on n independent samples with p regressors, a linear model is expected to reach, "
    "on new data, r = rho^2 / sqrt(rho^2 + (p / n) (1 - rho^2)), the estimation error of its "
    "p weights being what separates it from rho (column `expected_r`). 2. Autocorrelated "
    "samples are worth fewer independent ones. The variance of the correlation of two "
    "independent series is (1 / n) sum_l rho_x(l) rho_y(l) (Bartlett 1946), so their "
    "effective number is n / sum_l rho_x(l) rho_y(l), taken between the planted response and "
    "the noise of the site (column `n_effective`). The null distribution of r has a standard "
    "deviation of about 1 / sqrt(n_effective). 3. A network is not the truth: it is granted a "
    "correlation of `NETWORK_SHARE` rho, a quarter of the variance that the site's latents "
    "explain, and it spends `NETWORK_FEATURES` regressors on it (a layer of 64 features; in BOLD "
    "at 4 delays), which the formula of 1. charges for. 4. A site is clear if the correlation "
    "expected of such a network lies at least z(1 - ALPHA) + z(POWER) null standard deviations "
    "above zero: it is then found with probability POWER. ALPHA is the level that one window of "
    "a site faces: the "
    "false-discovery rate of 0.05 with about half of the sites found (p below 0.025), divided by "
    "the ten separate windows of 0.2 s over which the maximum of an electrode is taken (-0.5 "
    "to 1.5 s); a voxel has only one."
)
"""What the column `clear` stands for."""

COLUMNS = {
    "kind_of_recording": "ieeg or bold",
    "subject": "Subject label, without 'sub-'",
    "site": "Channel name, or voxel as i-j-k (indices from 0)",
    "region": "Region that the site lies in",
    "kind": "What drives the site: vision, language, sum (of both), joint (whether what is said "
    "agrees with what is seen), shared (the same of what is seen and what is said), inverted "
    "(likewise, with opposite sign) or silent (nothing)",
    "snr": "Variance of the planted response over that of the noise, where an analysis looks "
    "(iEEG: 0.2 s windows around the peak after each word, above 0.1 Hz, average reference; "
    "BOLD: volumes of the films, of people who hear stories beside silent films of the stories "
    "unless the site only sees, above 0.01 Hz); 0 for silent sites",
    "latency": "Time from a word or scene cut (iEEG), or from the stimulus (BOLD), to the peak of "
    "the response, s",
    "n_effective": "Effective number of independent samples for this site",
    "expected_r": "Held-out correlation expected of a fit on the true latents",
    "clear": "True if an analysis ought to find the site (see Criterion)",
    "autocorrelated": "True for silent sites whose noise is strongly autocorrelated",
    "weights": "First 12 hexadecimal digits of the SHA-256 of the site's weights",
}
REPEATED_COLUMNS = {
    "repeated_signal": "Correlation expected between two runs of the film that is shown several "
    "times, mean over pairs: the share of the planted response in their variance, above 0.01 Hz "
    "and without what follows the head's movements and their first differences",
    "repeated_ceiling": "The same share of the mean over those runs (Spearman-Brown)",
    "repeated_sd": "Standard deviation that the mean correlation of all pairs of those runs, an "
    "estimate of repeated_signal, is expected to have; to first order, for Gaussian noise",
}
_DIMENSION = "dimension_"  # columns of sites that both senses drive alike


def expected_correlation(
    snr: np.ndarray, n_effective: np.ndarray, regressors: np.ndarray
) -> np.ndarray:
    """Held-out correlation that a linear fit on the true latents is expected to reach.

    Parameters
    ----------
    snr, n_effective, regressors : ndarray of shape (sites,)

    Returns
    -------
    ndarray of shape (sites,)
        0 where `snr` is 0.
    """
    ceiling = snr / (1 + snr)
    error = regressors / n_effective * (1 - ceiling)
    return ceiling / np.sqrt(np.maximum(ceiling + error, np.finfo(float).tiny))


def effective_samples(response: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Effective number of independent samples in the correlation of two series (Bartlett 1946).

    Parameters
    ----------
    response, noise : ndarray of shape (samples, sites)
        Autocorrelations are taken up to a tenth of the samples, with a linear taper.

    Returns
    -------
    ndarray of shape (sites,)
        Never more than the number of samples.
    """
    n = len(response)
    lags = max(n // 10, 1)
    taper = 1 - np.arange(1, lags + 1)[:, None] / (lags + 1)
    product = _autocorrelation(response, lags) * _autocorrelation(noise, lags)
    return n / np.maximum(1 + 2 * (taper * product).sum(axis=0), 1.0)


def is_clear(recording: str, snr: np.ndarray, n_effective: np.ndarray) -> np.ndarray:
    """Apply the `CRITERION` of clearly driven sites.

    Parameters
    ----------
    recording : str
        `ieeg` or `bold`.
    snr, n_effective : ndarray of shape (sites,)

    Returns
    -------
    ndarray of bool, shape (sites,)
    """
    needed = norm.isf(ALPHA[recording]) + norm.ppf(POWER)
    seen = NETWORK_SHARE**2 * snr / (1 + snr)
    features = np.full(len(snr), float(NETWORK_FEATURES[recording]))
    # as a ratio of variances again: what the network cannot see is noise to it
    r = expected_correlation(seen / (1 - seen), n_effective, features)
    return r * np.sqrt(n_effective) >= needed


def truth_of(
    recording: str,
    sites: pd.DataFrame,
    response: np.ndarray,
    noise: np.ndarray,
    regressors: Mapping[str, int],
) -> pd.DataFrame:
    """Complete the truth table of one subject.

    Parameters
    ----------
    recording : str
        `ieeg` or `bold`.
    sites : pandas.DataFrame
        One row per site, with every column of `COLUMNS` that is planted.
    response, noise : ndarray of shape (samples, sites)
        Planted response and noise of each site, as an analysis samples them.
    regressors : mapping of str to int
        Number of latent dimensions per kind.

    Returns
    -------
    pandas.DataFrame
        The columns of `COLUMNS`.
    """
    driven = (sites["kind"] != "silent").to_numpy()
    n_effective = np.full(len(sites), float(len(noise)))
    n_effective[driven] = effective_samples(response[:, driven], noise[:, driven])
    count = sites["kind"].map(dict(regressors)).to_numpy(dtype=float)
    expected = expected_correlation(sites["snr"].to_numpy(), n_effective, count)
    table = sites.assign(
        kind_of_recording=recording,
        n_effective=np.where(driven, n_effective.round(1), np.nan),
        expected_r=expected.round(4),
        clear=driven & is_clear(recording, sites["snr"].to_numpy(), n_effective),
    )
    return table[[*COLUMNS, *(name for name in table if str(name).startswith(_DIMENSION))]]


def repeated_truth(
    responses: np.ndarray, phi: np.ndarray, noise: Sequence[Mapping[float, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Find what repeats of one stimulus should say of each voxel.

    A repeat is s_a + e_a, s_a fixed and e_a of covariance C_a. Repeats differ in s_a if they lose
    different parts of it, to the regressors of their own movements. With
    D_a = s_a's_a + tr(C_a), two repeats correlate by r_ab = s_a's_b / sqrt(D_a D_b). To first
    order, the observed mean over the m pairs differs from the mean of r_ab by

        (1 / m) sum_ab [(s_a'e_b + s_b'e_a + e_a'e_b) / sqrt(D_a D_b)
                        - r_ab / 2 ((2 s_a'e_a + e_a'e_a - tr C_a) / D_a + the same of b)],

    whose parts linear in e_a, quadratic in e_a, and products of two repeats are uncorrelated.

    Parameters
    ----------
    responses : ndarray of shape (repeats, volumes, voxels)
        Planted response s_a, as an analysis sees it.
    phi : ndarray of shape (voxels,)
        Which noise a voxel has.
    noise : sequence of mapping of float to ndarray of shape (volumes, volumes)
        For each repeat, the covariance C_a of each noise.

    Returns
    -------
    dict of str to ndarray of shape (voxels,)
        The columns `REPEATED_COLUMNS`.
    """
    n = len(responses)
    pairs = n * (n - 1) / 2
    rho, sd = np.zeros(len(phi)), np.zeros(len(phi))
    for value in np.unique(phi):
        own, c = phi == value, [one[value] for one in noise]
        s = responses[:, :, own]
        d = np.sqrt((s**2).sum(axis=1) + np.array([np.trace(one) for one in c])[:, None])
        z = s / d[:, None]
        r = np.einsum("atv,btv->abv", z, z)
        r[np.arange(n), np.arange(n)] = 0
        rho[own] = r.sum(axis=(0, 1)) / 2 / pairs
        variance = np.zeros(int(own.sum()))
        for a in range(n):
            others = np.delete(z, a, axis=0).sum(axis=0) - z[a] * r[a].sum(axis=0)
            linear = others / d[a] / pairs
            variance += np.einsum("tv,tu,uv->v", linear, c[a], linear)
            quadratic = r[a].sum(axis=0) / 2 / pairs / d[a] ** 2
            variance += 2 * quadratic**2 * np.sum(c[a] ** 2)
            for b in range(a):
                variance += np.sum(c[a] * c[b]) / (d[a] * d[b] * pairs) ** 2
        sd[own] = np.sqrt(variance)
    return {
        "repeated_signal": rho.round(5),
        "repeated_ceiling": (n * rho / (1 + (n - 1) * rho)).round(5),
        "repeated_sd": sd.round(5),
    }


def write_truth(path: Path, tables: list[pd.DataFrame], parameters: Mapping[str, Any]) -> None:
    """Write the truth of all subjects, with the criterion that `clear` stands for."""
    table = pd.concat(tables, ignore_index=True)
    places = [str(name) for name in table if str(name).startswith(_DIMENSION)]
    about = {name: f"Place on shared dimension {name.removeprefix(_DIMENSION)}" for name in places}
    about |= {name: text for name, text in REPEATED_COLUMNS.items() if name in table}
    for name in ("snr", "latency"):
        table[name] = table[name].astype(float).round(5)
    write_table(
        path,
        table,
        {**COLUMNS, **about},
        Criterion={
            "Description": CRITERION,
            "Power": POWER,
            "NetworkShare": NETWORK_SHARE,
            "NetworkFeatures": NETWORK_FEATURES,
            "Alpha": ALPHA,
        },
        Note="Channels marked bad in channels.tsv are not listed.",
        **provenance(parameters=parameters),
    )


def _autocorrelation(series: np.ndarray, lags: int) -> np.ndarray:
    """Autocorrelation at lags 1 to `lags`, shape (lags, sites)."""
    centred = series - series.mean(axis=0)
    n = len(centred)
    spectrum = np.fft.rfft(centred, 2 * n, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[: lags + 1]
    return covariance[1:] / np.maximum(covariance[0], np.finfo(float).tiny)
