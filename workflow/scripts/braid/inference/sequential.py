"""Sequential stopping: no more draws for targets that are clearly not significant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from braid.common import InputError

STOP = 10  # exceedances
_BATCH = 50  # draws


@dataclass(frozen=True)
class Stopped:
    """What sequential testing gives.

    Attributes
    ----------
    p : numpy.ndarray of float64, (targets,)
        NaN where the observed statistic is NaN.
    n_draws : numpy.ndarray of int, (targets,)
        Draws that each p rests on; 0 where p is NaN.
    """

    p: np.ndarray
    n_draws: np.ndarray


def sequential_p(
    observed: np.ndarray,
    draw: Callable[[slice, np.ndarray], np.ndarray],
    n: int,
    stop: int = STOP,
    batch: int = _BATCH,
    correction: str = "fdr",
) -> Stopped:
    """One-sided p values that stop a target after `stop` draws at or above its observed value.

    Besag and Clifford (1991, Biometrika 78, 301-304): a target that reaches `stop` exceedances
    at draw l has p = stop / l; one that does not within `n` draws has the usual
    p = (k + 1) / (n + 1). Such p are valid, so a false discovery rate may be computed from
    them. A target without an effect needs about stop * (1 + log(n / stop)) draws instead of n.

    Parameters
    ----------
    observed : array, (targets,)
        Statistic, compared with draws of the same target only: not studentised by the draws.
    draw : callable
        `draw(part, targets)` gives the statistics of the draws `part` (a slice of 0..n) for the
        given targets (positions), (draws, targets). Called with targets that are still open.
    n : int
        Draws at most.
    stop : int
    batch : int
        Draws made at a time; those beyond a target's stopping draw are not used.
    correction : {"fdr"}
        A family-wise maximum needs every target in every draw.

    Raises
    ------
    InputError
        With another correction, or numbers below 1.

    Examples
    --------
    >>> null = np.random.default_rng(0).standard_normal((1000, 2))
    >>> sequential_p(np.array([0.0, 9.0]), lambda part, t: null[part][:, t], 1000).n_draws
    array([  24, 1000])
    """
    if correction != "fdr":
        raise InputError(
            "test.stop: sequential stopping drops targets, but a family-wise maximum needs every "
            "target in every draw; leave one of the two out"
        )
    if min(n, stop, batch) < 1:
        raise InputError(f"test.stop: {stop} exceedances in {n} draws; both must be at least 1")
    observed = np.asarray(observed, dtype=np.float64)
    p, used = np.full(observed.shape, np.nan), np.zeros(observed.shape, dtype=int)
    exceeded = np.zeros(observed.shape, dtype=int)
    open_targets = np.flatnonzero(np.isfinite(observed))
    for start in range(0, n, batch):
        if not len(open_targets):
            break
        part = slice(start, min(start + batch, n))
        null = draw(part, open_targets)
        limit = observed[open_targets]
        # ties up to rounding, and draws without a value, count as above
        reached = (null >= limit - 1e-9 * np.maximum(1.0, np.abs(limit))) | np.isnan(null)
        count = exceeded[open_targets] + np.cumsum(reached, axis=0)
        done = count[-1] >= stop
        at = start + 1 + np.argmax(count >= stop, axis=0)
        stopped = open_targets[done]
        p[stopped], used[stopped] = stop / at[done], at[done]
        exceeded[open_targets] = count[-1]
        open_targets = open_targets[~done]
    p[open_targets] = (exceeded[open_targets] + 1.0) / (n + 1.0)
    used[open_targets] = n
    return Stopped(p, used)
