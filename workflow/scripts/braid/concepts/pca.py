"""Principal components with a rule for signs, and how well those of others carry over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from scipy.optimize import linear_sum_assignment


def principal(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """First components of the rows of a matrix, centred on their mean.

    The sign rule: the loading of largest magnitude is positive.

    Parameters
    ----------
    values : array, (rows, features)
    n : int
        Components wanted; fewer come back where the rows span fewer dimensions.

    Returns
    -------
    loadings : numpy.ndarray of float64, (components, features)
        Of length 1, in descending order of variance.
    share : numpy.ndarray of float64, (components,)
        Share of the variance.
    """
    spread = values - values.mean(axis=0)
    _, singular, right = scipy.linalg.svd(spread, full_matrices=False)
    total = float(np.sum(singular**2))
    tolerance = max(spread.shape) * np.finfo(np.float64).eps * max(singular[0], 1e-300)
    rank = int(np.count_nonzero(singular > tolerance))
    loadings = right[: min(n, rank)]
    top = np.abs(loadings).argmax(axis=1)
    signs = np.sign(loadings[np.arange(len(loadings)), top])
    return loadings * signs[:, None], singular[: len(loadings)] ** 2 / (total if total > 0 else 1.0)


def shares(values: np.ndarray, n: int) -> np.ndarray:
    """Shares of variance of the first `n` components, filled with 0 beyond the rank."""
    singular = scipy.linalg.svdvals(values - values.mean(axis=0))[:n]
    total = float(np.sum((values - values.mean(axis=0)) ** 2))
    found = np.zeros(n)
    if total > 0:
        found[: len(singular)] = singular**2 / total
    return found


def of_the_rest(share: np.ndarray) -> np.ndarray:
    """Share of each component in the variance that those before it leave.

    A strong first component makes the shares of all others small; this does not.

    Parameters
    ----------
    share : array, (..., components)
        Shares of the whole variance, in descending order.
    """
    rest = 1.0 - np.cumsum(share, axis=-1) + share
    # what rounding leaves of nothing is nothing
    return np.divide(share, rest, out=np.zeros_like(share), where=rest > 1e-9)


def left_out_shares(parts: Sequence[np.ndarray], loadings: np.ndarray) -> np.ndarray:
    """Share of a left-out subject's variance that the others' components explain.

    The others' components are matched one to one to the given ones by the magnitude of their
    cosines (Hungarian method). A subject with fewer than two rows, or whose others have fewer
    than two, is not left out.

    Parameters
    ----------
    parts : sequence of array, (rows, features)
        One per subject; each is centred on its own mean when it is left out.
    loadings : array, (components, features)

    Returns
    -------
    numpy.ndarray of float64, (components,)
        Mean over the subjects that could be left out; NaN where there is none.
    """
    found = np.full((len(parts), len(loadings)), np.nan)
    for number, own in enumerate(parts):
        others = [part for other, part in enumerate(parts) if other != number]
        if len(own) < 2 or sum(map(len, others)) < 2:
            continue
        theirs, _ = principal(np.concatenate(others), len(loadings))
        mine, match = linear_sum_assignment(-np.abs(loadings @ theirs.T))
        spread = own - own.mean(axis=0)
        explained = np.sum((spread @ theirs.T) ** 2, axis=0) / np.sum(spread**2)
        found[number, mine] = explained[match]
    count = np.isfinite(found).sum(axis=0)
    total = np.nansum(found, axis=0)
    return np.divide(total, count, out=np.full(len(loadings), np.nan), where=count > 0)
