"""Principal components with a rule for signs, and how well those of others carry over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    share = singular[: len(loadings)] ** 2 / (total if total > 0 else 1.0)
    return signed(loadings), share


def signed(loadings: np.ndarray) -> np.ndarray:
    """Turn each row so that its value of largest magnitude is positive."""
    top = np.abs(loadings).argmax(axis=1)
    signs = np.sign(loadings[np.arange(len(loadings)), top])
    return np.asarray(loadings * signs[:, None])


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


@dataclass(frozen=True)
class LeftOut:
    """Components of all subjects but one, matched to given ones.

    Attributes
    ----------
    subject : int
        Number of the one that is left out.
    mine : numpy.ndarray of int, (matched,)
        Numbers of the given components that have a match.
    theirs : numpy.ndarray of float64, (matched, features)
        The others' components, in the order of `mine`; signs as they come.
    rotated : numpy.ndarray of float64, (matched, features)
        The same, rotated together onto the given ones (orthogonal Procrustes).
    """

    subject: int
    mine: np.ndarray
    theirs: np.ndarray
    rotated: np.ndarray


def left_out(parts: Sequence[np.ndarray], loadings: np.ndarray) -> Iterator[LeftOut]:
    """Leave each subject out, and match the others' components to the given ones.

    They are matched one to one by the magnitude of their cosines (Hungarian method). A subject
    with fewer than two rows, or whose others have fewer than two, is not left out.

    Parameters
    ----------
    parts : sequence of array, (rows, features)
        One per subject.
    loadings : array, (components, features)
    """
    for number, own in enumerate(parts):
        others = [part for other, part in enumerate(parts) if other != number]
        if len(own) < 2 or sum(map(len, others)) < 2:
            continue
        theirs, _ = principal(np.concatenate(others), len(loadings))
        mine, match = linear_sum_assignment(-np.abs(loadings @ theirs.T))
        theirs = theirs[match]
        left, _, right = scipy.linalg.svd(theirs @ loadings[mine].T)
        yield LeftOut(number, mine, theirs, (left @ right).T @ theirs)


def explained(rows: np.ndarray, loadings: np.ndarray) -> np.ndarray:
    """Share of the rows' variance along each of the loadings, (components,)."""
    spread = rows - rows.mean(axis=0)
    total = float(np.sum(spread**2))
    along = np.sum((spread @ loadings.T) ** 2, axis=0)
    return np.asarray(along / total if total > 0 else np.full(len(loadings), np.nan))


def left_out_shares(parts: Sequence[np.ndarray], loadings: np.ndarray) -> np.ndarray:
    """Share of a left-out subject's variance that the others' components explain.

    Parameters
    ----------
    parts : sequence of array, (rows, features)
        One per subject; each is centred on its own mean when it is left out.
    loadings : array, (components, features)

    Returns
    -------
    numpy.ndarray of float64, (components,)
        Mean over the subjects that could be left out (see `left_out`); NaN where there is none.
    """
    found = np.full((len(parts), len(loadings)), np.nan)
    for part in left_out(parts, loadings):
        found[part.subject, part.mine] = explained(parts[part.subject], part.theirs)
    return mean_of_finite(found)


def mean_of_finite(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    total = np.where(finite, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(values.shape[1:], np.nan), where=count > 0)
