"""Relative scores: what a model of another sense predicts of what the site's own model predicts.

Both scores follow one rule: Pearson r per run of the target, mean over runs. The interval of their
ratio comes from drawing blocks of time again, the same ones for both, within runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from braid.common import rng
from braid.encoding.solver import mean_over_folds

DRAWS = 500
_WIDE = 512  # sites that are worked on at a time


def run_scores(
    prediction: np.ndarray, response: np.ndarray, runs: Sequence[np.ndarray]
) -> np.ndarray:
    """Pearson r of each run, (runs, targets).

    Parameters
    ----------
    prediction, response : array, (rows, targets)
        Rows without any prediction are left out.
    runs : sequence of array of int
        Rows of each run.
    """
    counted = np.isfinite(prediction).any(axis=1)
    found = []
    for rows in runs:
        kept = rows[counted[rows]]
        sums = _sums(prediction[kept], response[kept], np.zeros(len(kept), dtype=int), 1)
        found.append(_correlation(sums[:, 0]))
    return np.stack(found)


def relative_interval(
    cross: np.ndarray,
    cross_response: np.ndarray,
    within: np.ndarray,
    within_response: np.ndarray,
    runs: Sequence[np.ndarray],
    block: int,
    seed: int,
    over: Callable[[np.ndarray], np.ndarray] = mean_over_folds,
    draws: int = DRAWS,
    level: float = 0.95,
) -> np.ndarray:
    """Interval of the score across over the score within, by a bootstrap of blocks of time.

    Runs stay as they are; in each, as many blocks are drawn with replacement as it has, and both
    scores are computed on the same ones. Quantiles are moved away from the ratio as few blocks
    ask for: by the t over the normal quantile and sqrt(blocks / (blocks - runs)) (the expanded
    percentile interval of Hesterberg 2015). The models are not fitted again: the interval says how
    far the ratio hangs on the stretch of stimulus that was recorded, not on the training data.

    Parameters
    ----------
    cross, within : array, (rows, sites)
        Predictions by the source's model and by the target's own.
    cross_response, within_response : array, (rows, sites)
        Responses of the targets (bins of an electrode) that they predict.
    runs : sequence of array of int
        Rows of each run.
    block : int
        Rows of a block; the last one of a run may be shorter.
    seed : int
    over : callable
        How runs are summed up in the score across, (runs, ...) to (...) or (kinds, ...), for the
        options of `braid.transfer.tuning`; the mean over runs within.
    draws : int
    level : float

    Returns
    -------
    numpy.ndarray, (2, ..., sites)
        Lower and upper end; (2, kinds, sites) if `over` gives kinds. NaN where a score is not
        defined.
    """
    from scipy.special import ndtri, stdtrit

    counted = np.isfinite(cross).any(axis=1) & np.isfinite(within).any(axis=1)
    blocks = [_blocks(rows[counted[rows]], block) for rows in runs]
    generator = rng(seed, "relative")
    weights = []
    for _, starts in blocks:
        again = generator.multinomial(len(starts), np.full(len(starts), 1 / len(starts)), draws)
        weights.append(np.concatenate([np.ones((1, len(starts)), int), again]))  # as recorded
    tail = np.array([(1 - level) / 2, (1 + level) / 2])
    n_blocks = sum(len(starts) for _, starts in blocks)
    spare = max(n_blocks - len(blocks), 1)
    wider = stdtrit(spare, tail[1]) / ndtri(tail[1]) * np.sqrt(n_blocks / spare)
    ends = []
    for start in range(0, cross.shape[1], _WIDE):
        part = slice(start, start + _WIDE)
        scores = []
        for prediction, response in ((cross, cross_response), (within, within_response)):
            by_run = []
            for (rows, starts), weight in zip(blocks, weights, strict=True):
                code = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(rows)]))
                sums = _sums(prediction[rows, part], response[rows, part], code, len(starts))
                by_run.append(_correlation(np.einsum("db,kbt->kdt", weight, sums, optimize=True)))
            scores.append(np.stack(by_run))
        across, own = over(scores[0]), mean_over_folds(scores[1])
        ratio = np.divide(across, own, out=np.full(across.shape, np.nan), where=own != 0)
        # draws are the last axis but one
        ratio, centre = ratio[..., 1:, :], ratio[..., 0, :]
        ends.append(centre + wider * (np.quantile(ratio, tail, axis=-2) - centre))
    return np.concatenate(ends, axis=-1)


def _blocks(rows: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a run, and where its blocks start among them."""
    starts = np.arange(0, len(rows), max(1, block))
    if len(starts) > 1 and len(rows) - starts[-1] < block / 2:
        starts = starts[:-1]  # a short rest goes with the block before it
    return rows, starts


def _sums(
    prediction: np.ndarray, response: np.ndarray, code: np.ndarray, n_blocks: int
) -> np.ndarray:
    """Sum 1, p, y, p p, y y and p y over each block, float64, (6, blocks, targets)."""
    p, y = prediction.astype(np.float64), response.astype(np.float64)
    p, y = p - p.mean(axis=0), y - y.mean(axis=0)
    member = (code == np.arange(n_blocks)[:, None]).astype(np.float64)
    terms = (np.ones_like(p), p, y, p * p, y * y, p * y)
    return np.stack([member @ term for term in terms])


def _correlation(sums: np.ndarray) -> np.ndarray:
    """Pearson r from sums of 1, p, y, p p, y y and p y."""
    n, p, y, pp, yy, py = sums
    n = np.maximum(n, 1)
    spread = np.maximum(pp - p * p / n, 0) * np.maximum(yy - y * y / n, 0)
    covariance = py - p * y / n
    least = np.finfo(float).eps * pp * yy
    return np.divide(
        covariance, np.sqrt(spread), out=np.full(n.shape, np.nan), where=spread > least
    )
