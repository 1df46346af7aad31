"""From null distributions to decisions: studentised maxima, p, FDR and max-T."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from braid.common import InputError

METHODS = ("bh", "by")


@dataclass(frozen=True)
class Sites:
    """Targets grouped into sites.

    Attributes
    ----------
    names : list of str
        In the order of first appearance.
    code : numpy.ndarray of int, (targets,)
        Site of each target.
    """

    names: list[str]
    code: np.ndarray

    def count(self) -> np.ndarray:
        """Targets of each site."""
        return np.bincount(self.code, minlength=len(self.names))


def group_targets(site: Sequence[str] | np.ndarray) -> Sites:
    """Group targets by the name of their site."""
    names = list(dict.fromkeys(map(str, site)))
    number = {name: position for position, name in enumerate(names)}
    return Sites(names, np.array([number[str(name)] for name in site]))


def studentised(
    observed: np.ndarray, null: np.ndarray, centre: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Put targets on one scale.

    Mean and standard deviation are those of all n + 1 values, the observed one among them: then
    observed and drawn values remain exchangeable under the null, and a maximum over targets
    keeps its level exactly.

    Parameters
    ----------
    observed : array, (targets,)
    null : array, (draws, targets)
    centre : bool
        Subtract the mean; if not, the scale is the root mean square about 0, for statistics
        whose null is symmetric about 0.

    Returns
    -------
    observed, null : numpy.ndarray
        Studentised; NaN where the observed value is NaN or nothing varies.
    """
    every = np.concatenate([observed[None], null]).astype(np.float64)
    finite = np.isfinite(every)
    count = np.maximum(finite.sum(axis=0), 1)
    filled = np.where(finite, every, 0.0)
    mean = filled.sum(axis=0) / count if centre else np.zeros(every.shape[1])
    spread = np.sqrt(np.where(finite, (filled - mean) ** 2, 0.0).sum(axis=0) / count)
    spread[~np.isfinite(observed) | (spread <= 1e-12)] = np.nan
    every -= mean
    every /= spread
    return every[0], every[1:]


def site_maxima(values: np.ndarray, sites: Sites) -> np.ndarray:
    """Maximum over the targets of each site, (..., sites); NaN only where all are NaN."""
    order = np.argsort(sites.code, kind="stable")
    starts = np.searchsorted(sites.code[order], np.arange(len(sites.names)))
    return np.fmax.reduceat(values[..., order], starts, axis=-1)


def p_values(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """One-sided p = (k + 1) / (n + 1), k draws at or above the observed value.

    A draw without a value counts as one above. NaN where the observed value is NaN.

    Parameters
    ----------
    observed : array, (sites,)
    null : array, (draws, sites)
    """
    # draws that equal the observed value up to rounding count as ties
    reached = null >= observed - 1e-9 * np.maximum(1.0, np.abs(observed))
    exceed = np.sum(reached | np.isnan(null), axis=0)
    return np.where(np.isfinite(observed), (exceed + 1.0) / (len(null) + 1.0), np.nan)


def max_t(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Family-wise p over all sites from the maximum of each draw, (sites,).

    Of raw scores, a site with a wide null sets the bar for all; of studentised ones (the
    default of `test_sites`), all sites count alike.
    """
    tested = np.isfinite(observed)
    if not tested.any():
        return np.full(observed.shape, np.nan)
    highest = np.fmax.reduce(null[:, tested], axis=1)
    return p_values(observed, np.repeat(highest[:, None], len(observed), axis=1))


def fdr(p: np.ndarray, method: str = "bh") -> np.ndarray:
    """Compute false discovery rates q over the finite p; NaN stays NaN and does not count.

    Parameters
    ----------
    p : array, (sites,)
    method : {"bh", "by"}
        Benjamini-Hochberg, valid for independent or positively dependent p; Benjamini-Yekutieli,
        valid for any dependence, at the price of a factor of about log(sites).

    Raises
    ------
    InputError
        For another method.
    """
    if method not in METHODS:
        raise InputError(f"test.fdr_method: '{method}' is not one of {', '.join(METHODS)}")
    q = np.full(p.shape, np.nan)
    finite = np.isfinite(p)
    values = p[finite]
    order, ranks = np.argsort(values), np.arange(1, len(values) + 1)
    tests = len(values) * (np.sum(1.0 / ranks) if method == "by" else 1.0)
    # the smallest rate at which a site and all that come before it are called
    rate = np.minimum.accumulate((values[order] * tests / ranks)[::-1])[::-1]
    found = np.empty(len(values))
    found[order] = np.minimum(rate, 1.0)
    q[finite] = found
    return q


def bh(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q (see `fdr`)."""
    return fdr(p, "bh")


def smallest_q(n_sites: int, n_draws: int, method: str = "bh", n_found: int = 1) -> float:
    """Smallest q that `n_found` sites at the smallest p, 1 / (n_draws + 1), can reach together.

    With few draws and many sites no single site can be significant: 500 draws and 100 sites
    give 0.2 for one site alone.
    """
    penalty = np.sum(1.0 / np.arange(1, n_sites + 1)) if method == "by" else 1.0
    return float(min(1.0, penalty * n_sites / (max(n_found, 1) * (n_draws + 1))))
