"""Bootstraps: of events or blocks with every fold trained again, of held-out samples, of bins.

Refits cost little because a replicate only reweights what is there already: one decomposition per
fold (see `braid.encoding.reweighted`). Blocks are drawn within the part of the data that one fold
tests, and keep their fold: copies of a row are never on both sides of a split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from braid.common import InputError, progress, rng
from braid.encoding.folds import Fold
from braid.encoding.planner import MEMORY_MB
from braid.encoding.reweighted import Reweighted
from braid.encoding.solver import mean_over_folds
from braid.inference.swap import swap_blocks

METHODS = ("percentile", "bca")


@dataclass(frozen=True)
class Blocks:
    """Rows that are drawn together.

    Attributes
    ----------
    number : numpy.ndarray of int, (n,)
        Block of each row; -1 for rows that no fold uses.
    role : numpy.ndarray of int, (blocks,)
        Outer fold that tests the block; the number of folds for rows that only train.
    """

    number: np.ndarray
    role: np.ndarray


@dataclass(frozen=True)
class Difference:
    """Paired comparison of two models from shared draws.

    Attributes
    ----------
    difference : numpy.ndarray, (targets,)
        a minus b, observed.
    low, high : numpy.ndarray, (targets,)
        Interval of the difference.
    p : numpy.ndarray, (targets,)
        One-sided, a > b: (1 + draws with a difference of at most 0) / (draws + 1).
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def make_blocks(
    folds: Sequence[Fold],
    runs: np.ndarray,
    times: np.ndarray,
    length: float | None = None,
    units: np.ndarray | None = None,
) -> Blocks:
    """Divide rows into the blocks that a bootstrap draws.

    Parameters
    ----------
    folds : sequence of Fold
    runs, times : array, (n,)
        Run and time (s) of each row, in order.
    length : float, optional
        Contiguous blocks of about this many seconds, inside runs and folds; at least the
        autocorrelation time of the responses. Without it, and without `units`, every row is
        drawn by itself, which suits events whose responses are independent.
    units : array, (n,), optional
        All repeats of a unit (a picture) are drawn together, within each fold.

    Raises
    ------
    InputError
        If a fold has fewer than two blocks, or both `length` and `units` are given.
    """
    if length is not None and units is not None:
        raise InputError("bootstrap: give either 'length' or 'units', not both")
    n = len(runs)
    role = np.full(n, -1)
    for fold in folds:
        role[fold.train] = len(folds)
    for number, fold in enumerate(folds):
        role[fold.test] = number
    if length is not None:
        block = swap_blocks(role, runs, times, length)
    else:
        names = np.arange(n) if units is None else np.unique(units, return_inverse=True)[1].ravel()
        block = np.full(n, -1)
        used = role >= 0
        pairs = role[used] * (names.max() + 1) + names[used]
        block[used] = np.unique(pairs, return_inverse=True)[1].ravel()
    role_of = np.zeros(block.max() + 1, dtype=int)
    role_of[block[block >= 0]] = role[block >= 0]
    few = [number for number in np.unique(role_of) if np.sum(role_of == number) < 2]
    if few:
        name = folds[few[0]].label if few[0] < len(folds) else "of training rows"
        raise InputError(f"bootstrap: part {name} holds fewer than two blocks; use shorter blocks")
    return Blocks(block, role_of)


def draw_weights(blocks: Blocks, n: int, seed: int) -> np.ndarray:
    """How often each block is drawn, (n, blocks): with replacement, within each fold's part.

    The same blocks and seed give every model the same draws.
    """
    generator = rng(seed, "bootstrap")
    weights = np.zeros((n, len(blocks.role)))
    for role in np.unique(blocks.role):
        members = np.flatnonzero(blocks.role == role)
        chances = np.full(len(members), 1.0 / len(members))
        weights[:, members] = generator.multinomial(len(members), chances, size=n)
    return weights


def leave_one_out(blocks: Blocks) -> np.ndarray:
    """Weights that leave out one block each, (blocks, blocks), for the acceleration of BCa."""
    return 1.0 - np.eye(len(blocks.role))


def bootstrap_scores(
    x: np.ndarray,
    y: np.ndarray,
    folds: Sequence[Fold],
    alpha: np.ndarray,
    blocks: Blocks,
    weights: np.ndarray,
    standardize: bool = True,
    memory_mb: float = MEMORY_MB,
) -> np.ndarray:
    """Held-out scores of every replicate, with every fold trained again on the drawn blocks.

    Parameters
    ----------
    x : array, (n, p)
        With more features than rows, they are scaled by their standard deviation over all rows
        in use and rotated onto the rows without loss.
    y : array, (n, targets)
        Without NaN.
    folds : sequence of Fold
    alpha : array, (folds, targets)
        Penalties of the observed fit; replicates keep them.
    blocks : Blocks
    weights : array, (replicates, blocks)
        From `draw_weights` or `leave_one_out`. All 1 gives the observed score.
    standardize : bool
        Scale features by their standard deviation over the drawn training rows.
    memory_mb : float

    Returns
    -------
    numpy.ndarray of float32, (replicates, targets)
        Mean over outer folds of the held-out Pearson r.
    """
    folds = list(folds)
    if alpha.shape != (len(folds), y.shape[1]):
        raise InputError(
            f"bootstrap: penalties for {alpha.shape} folds and targets, but there are "
            f"{len(folds)} folds and {y.shape[1]} targets; take those of the same fit"
        )
    made = Reweighted(x, folds, blocks.number, standardize, memory_mb)
    width, batch = made.width(y.shape[1]), made.batch
    jobs = [
        (slice(start, min(start + width, y.shape[1])), slice(first, first + batch))
        for start in range(0, y.shape[1], width)
        for first in range(0, len(weights), batch)
    ]
    out = np.full((len(weights), y.shape[1]), np.nan, dtype=np.float32)
    for part, some in progress(jobs, "bootstrap"):
        if some.start == 0:
            ready = made.ready(y[:, part])
        out[some, part] = made.scores(ready, weights[some], alpha[:, part])
    return out


def bootstrap_predictions(
    y: np.ndarray, prediction: np.ndarray, blocks: Blocks, weights: np.ndarray
) -> np.ndarray:
    """Held-out scores of replicates that draw test samples only; nothing is trained again.

    Cheaper than `bootstrap_scores`, and narrower: it leaves out what training on other samples
    would change. Label it "test-only".

    Parameters
    ----------
    y, prediction : array, (n, targets)
        `prediction` as the fit stores it: held out.
    blocks : Blocks
    weights : array, (replicates, blocks)

    Returns
    -------
    numpy.ndarray of float32, (replicates, targets)
        Mean over outer folds of the Pearson r.
    """
    scores = []
    tested = np.isfinite(prediction).any(axis=1)
    folds = np.unique(blocks.role[blocks.number[tested & (blocks.number >= 0)]])
    for fold in folds:
        members = np.flatnonzero(blocks.role == fold)
        rows = np.flatnonzero(np.isin(blocks.number, members))
        rows = rows[np.argsort(blocks.number[rows], kind="stable")]
        starts = np.searchsorted(blocks.number[rows], members)
        a, b = prediction[rows].astype(np.float64), y[rows].astype(np.float64)
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        chosen = weights[:, members]
        n = (chosen @ np.diff(np.r_[starts, len(rows)]))[:, None]
        of_a, of_b, aa, bb, ab = (
            chosen @ np.add.reduceat(values, starts, axis=0) / n
            for values in (a, b, a * a, b * b, a * b)
        )
        scores.append(_r(ab - of_a * of_b, aa - of_a**2, bb - of_b**2, aa, bb))
    return mean_over_folds(np.stack(scores)).astype(np.float32)


def draw_bins(n_bins: int, n: int, seed: int, block: int = 1) -> np.ndarray:
    """Bins of each replicate, (n, n_bins): drawn one by one, or in moving blocks.

    Bins of overlapping windows, or of slow responses, resemble their neighbours; drawn one by
    one their mean looks more certain than it is. `block` should span that resemblance.
    """
    if not 1 <= block <= n_bins:
        raise InputError(
            f"bootstrap.bins: blocks of {block} bins, but there are {n_bins}; use shorter blocks"
        )
    generator = rng(seed, "bootstrap", "bins")
    count = -(-n_bins // block)
    starts = generator.integers(n_bins - block + 1, size=(n, count))
    return (starts[:, :, None] + np.arange(block)).reshape(n, -1)[:, :n_bins]


def bootstrap_bins(score: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Mean score over the bins of each replicate, (replicates, ...), NaN left out.

    Parameters
    ----------
    score : array, (bins, ...)
        Scores of one model; share `bins` between models that are to be compared.
    bins : array of int, (replicates, bins)
        From `draw_bins`.
    """
    count = np.zeros((len(bins), len(score)))
    np.add.at(count, (np.arange(len(bins))[:, None], bins), 1.0)
    finite = np.isfinite(score)
    total = np.tensordot(count, np.where(finite, score, 0.0), axes=1)
    number = np.tensordot(count, finite.astype(float), axes=1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def interval(
    draws: np.ndarray,
    level: float = 0.95,
    observed: np.ndarray | None = None,
    jackknife: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap interval of each target; NaN where a draw has no value.

    Percentile, or, with `observed` and `jackknife`, bias-corrected and accelerated (Efron 1987,
    J. Am. Stat. Assoc. 82, 171-185).

    Parameters
    ----------
    draws : array, (replicates, targets)
    level : float
    observed : array, (targets,), optional
    jackknife : array, (blocks, targets), optional
        Scores with one block left out each.

    Returns
    -------
    low, high : numpy.ndarray of float64, (targets,)
    """
    ends = np.array([0.5 - level / 2, 0.5 + level / 2])
    draws = np.asarray(draws, dtype=np.float64)
    if (observed is None) != (jackknife is None):
        raise InputError("bootstrap: BCa needs both the observed scores and the jackknife")
    if observed is None or jackknife is None:
        low, high = np.quantile(draws, ends, axis=0)
        return low, high
    below = (np.sum(draws < observed, axis=0) + np.sum(draws <= observed, axis=0)) / 2
    bias = ndtri(below / len(draws))
    deviation = np.mean(jackknife, axis=0, dtype=np.float64) - jackknife
    square = np.sum(deviation**2, axis=0)
    cube = np.sum(deviation**3, axis=0)
    skew = np.divide(cube, 6 * square**1.5, out=np.zeros_like(square), where=square > 0)
    z = bias + ndtri(ends)[:, None]
    with np.errstate(invalid="ignore"):
        shares = ndtr(bias + z / (1 - skew * z))
    found = np.full((2, draws.shape[1]), np.nan)
    for target in np.flatnonzero(np.isfinite(shares).all(axis=0)):
        found[:, target] = np.quantile(draws[:, target], shares[:, target])
    return found[0], found[1]


def compare_draws(
    observed_a: np.ndarray,
    observed_b: np.ndarray,
    draws_a: np.ndarray,
    draws_b: np.ndarray,
    level: float = 0.95,
) -> Difference:
    """Compare two models from draws that they share.

    The draws are centred on what was observed and not on "no difference": an interval for the
    size of a difference. Whether there is one is the swap test's question (`compare_models`).

    Parameters
    ----------
    observed_a, observed_b : array, (targets,)
    draws_a, draws_b : array, (replicates, targets)
        Of the same weights (`draw_weights`) or bins (`draw_bins`).
    level : float
    """
    if draws_a.shape != draws_b.shape:
        raise InputError(
            f"bootstrap: {draws_a.shape} and {draws_b.shape} draws cannot be paired; "
            "use the same draws for both models"
        )
    drawn = np.asarray(draws_a, dtype=np.float64) - draws_b
    low, high = interval(drawn, level)
    defined = np.isfinite(drawn).all(axis=0)
    p = np.where(defined, (1.0 + np.sum(drawn <= 0, axis=0)) / (len(drawn) + 1.0), np.nan)
    return Difference(np.asarray(observed_a) - observed_b, low, high, p)


def _r(
    covariance: np.ndarray,
    variance_a: np.ndarray,
    variance_b: np.ndarray,
    square_a: np.ndarray,
    square_b: np.ndarray,
) -> np.ndarray:
    """Pearson r from moments; NaN where what is left of a variance is rounding."""
    eps = 64 * np.finfo(np.float64).eps
    varies = (variance_a > eps * square_a) & (variance_b > eps * square_b)
    r = np.full(covariance.shape, np.nan)
    product = np.sqrt(np.where(varies, variance_a * variance_b, 1.0))
    np.divide(covariance, product, out=r, where=varies)
    return np.clip(r, -1.0, 1.0)
