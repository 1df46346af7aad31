"""How well could any model predict these responses? Ceilings from repeats and from subjects.

Ceilings describe responses and must not choose the targets that are fitted: a target selected by
the noise of its test repeats scores too high in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from braid.common import InputError, rng
from braid.encoding.folds import Fold
from braid.encoding.grid import Grid
from braid.encoding.planner import MEMORY_MB
from braid.encoding.solver import centred, cross_validate, mean_over_folds, plan_for, prepare

LOWEST = 0.05  # ceilings below this are too uncertain to divide by


@dataclass(frozen=True)
class Repeats:
    """What repeats of the same stimulus say about each target.

    Attributes
    ----------
    explainable : numpy.ndarray, (targets,)
        Variance of the mean over repeats, over the mean of their variances. Biased upwards: 1/R
        for pure noise.
    signal : numpy.ndarray, (targets,)
        Share of the variance of one repeat that repeats (rho); unbiased, so it may be negative.
    ceiling : numpy.ndarray, (targets,)
        Share of the variance of the mean over repeats that a perfect model explains.
    n : int
        Repeats.
    """

    explainable: np.ndarray
    signal: np.ndarray
    ceiling: np.ndarray
    n: int


@dataclass(frozen=True)
class Normalised:
    """Scores over their ceilings.

    Attributes
    ----------
    score : numpy.ndarray, (targets,)
        NaN where the ceiling is too low to divide by; above 1 where chance has it so.
    n_dropped : int
        Targets with a score whose ceiling is below the limit, or unknown.
    """

    score: np.ndarray
    n_dropped: int


def from_repeats(responses: np.ndarray) -> Repeats:
    """Explainable variance and ceiling from repeats of one stimulus.

    With R repeats, each z-scored over time, ev = var(mean) / mean(var), and corrected for bias
    rho = ev - (1 - ev) / (R - 1); this is the mean correlation of all pairs of repeats. A model
    that predicts the mean over repeats perfectly, but for their noise, explains
    R rho / (1 + (R - 1) rho) of its variance.

    Parameters
    ----------
    responses : array, (repeats, time, targets)

    Raises
    ------
    InputError
        With fewer than two repeats or samples.
    """
    z = _standardised(_checked(responses))
    n = len(z)
    # each repeat has variance 1
    explainable = z.mean(axis=0).var(axis=0)
    signal = explainable - (1 - explainable) / (n - 1)
    return Repeats(explainable, signal, ceiling_of_mean(signal, n), n)


def ceiling_of_mean(signal: np.ndarray, n: int) -> np.ndarray:
    """Share of explainable variance of a mean of n repeats, from that of one (Spearman-Brown).

    A negative share is an estimate of none, and gives 0.
    """
    signal = np.where(np.isfinite(signal), np.maximum(signal, 0.0), np.nan)
    return n * signal / (1 + (n - 1) * signal)


def normalise(score: np.ndarray, ceiling: np.ndarray, lowest: float = LOWEST) -> Normalised:
    """Pearson r over the highest r that noise allows, sqrt(ceiling).

    Parameters
    ----------
    score : array, (targets,)
        Pearson r with the responses that the ceiling describes: with the mean over repeats, if
        it is the ceiling of that mean.
    ceiling : array, (targets,)
        Share of explainable variance (an r of a ceiling must be squared first).
    lowest : float
        Ceilings below it give NaN.
    """
    usable = np.nan_to_num(np.asarray(ceiling, dtype=np.float64), nan=-1.0) >= lowest
    root = np.sqrt(np.where(usable, ceiling, 1.0))
    found = np.where(usable, np.asarray(score, dtype=np.float64) / root, np.nan)
    return Normalised(found, int(np.sum(np.isfinite(score) & ~usable)))


def split_half(responses: np.ndarray, seed: int, n: int = 100) -> np.ndarray:
    """Reliability of the mean over repeats, from halves of them, (targets,).

    Mean over splits of the correlation between the means of both halves, corrected for their
    size (Spearman-Brown: 2 r / (1 + r)). With an odd number of repeats each split leaves one out.

    Parameters
    ----------
    responses : array, (repeats, time, targets)
    seed : int
    n : int
        Splits; all of them, each once, if there are no more.
    """
    responses = _checked(responses)
    repeats, half = len(responses), len(responses) // 2
    if comb(repeats, half) <= n:
        first = [np.array(chosen) for chosen in combinations(range(repeats), half)]
        rest = [np.setdiff1d(np.arange(repeats), chosen)[:half] for chosen in first]
    else:
        generator = rng(seed, "split half")
        orders = [generator.permutation(repeats) for _ in range(n)]
        first = [order[:half] for order in orders]
        rest = [order[half : 2 * half] for order in orders]
    r = [
        _correlation(responses[a].mean(axis=0), responses[b].mean(axis=0))
        for a, b in zip(first, rest, strict=True)
    ]
    mean = np.mean(r, axis=0)
    return 2 * mean / (1 + mean)


def ncsnr(betas: np.ndarray, n: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noise-ceiling signal-to-noise ratio of single-trial estimates.

    Parameters
    ----------
    betas : array, (images, repeats, targets)
        Z-scored per session: the total variance is taken to be 1.
    n : int
        Trials that are averaged before they are predicted.

    Returns
    -------
    ratio : numpy.ndarray, (targets,)
        Standard deviation of the signal over that of the noise of one trial.
    ceiling : numpy.ndarray, (targets,)
        Share of explainable variance, ratio^2 / (ratio^2 + 1/n).
    """
    if betas.ndim != 3 or betas.shape[1] < 2:
        raise InputError(
            f"ceiling: betas of shape {betas.shape}; give (images, repeats, targets), "
            "with at least 2 repeats"
        )
    noise = betas.var(axis=1, ddof=1, dtype=np.float64).mean(axis=0)
    signal = np.sqrt(np.maximum(0.0, 1.0 - noise))
    ratio = np.divide(signal, np.sqrt(noise), out=np.full_like(noise, np.nan), where=noise > 0)
    return ratio, ratio**2 / (ratio**2 + 1.0 / n)


def inter_subject_correlation(responses: np.ndarray) -> np.ndarray:
    """Correlation of each subject with the mean of all others: a between-subject ceiling.

    Not a noise ceiling: it misses what is reliable in one subject but not shared, and with few
    others their mean is noisy too.

    Parameters
    ----------
    responses : array, (subjects, time, targets)
        Of the same stimulus on the same clock, targets in correspondence.

    Returns
    -------
    numpy.ndarray, (subjects, targets)
        Pearson r.
    """
    z = _standardised(_checked(responses))
    total = z.sum(axis=0)
    return np.stack([_correlation(one, (total - one) / (len(z) - 1)) for one in z])


def cross_subject_scores(
    responses: Sequence[np.ndarray],
    target: int,
    folds: Sequence[Fold],
    grid: Grid,
    ridge: Mapping[str, Any] | None = None,
    n_subsets: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Predict one subject's responses from those of others, by how many others there are.

    Ridge from all targets of the others, through the solver of the encoding models, with
    penalties chosen on inner folds. A between-subject ceiling that needs no correspondence of
    targets.

    Parameters
    ----------
    responses : sequence of array, (n, targets of the subject)
        Same rows in all subjects.
    target : int
        The subject that is predicted.
    folds, grid, ridge
        As for an encoding model.
    n_subsets : int
        Sets of others, at most, for each number of them.
    seed : int

    Returns
    -------
    numpy.ndarray, (subjects - 1, targets)
        Held-out r, mean over folds and sets, from 1, 2, ... others.
    """
    if len({len(one) for one in responses}) != 1:
        raise InputError(
            f"ceiling: subjects have {', '.join(str(len(one)) for one in responses)} samples; "
            "keep the samples of the stimulus that all of them saw"
        )
    others = [number for number in range(len(responses)) if number != target]
    if not others:
        raise InputError("ceiling: predicting one subject from others needs at least 2 subjects")
    ridge = dict(ridge or {})
    generator = rng(seed, "cross-subject", target)
    y = np.asarray(responses[target], dtype=np.float32)
    found = []
    for size in range(1, len(others) + 1):
        sets = list(combinations(others, size))
        if len(sets) > n_subsets:
            sets = [sets[i] for i in generator.choice(len(sets), n_subsets, replace=False)]
        scores = [
            _predicted(np.hstack([responses[one] for one in chosen]), y, list(folds), grid, ridge)
            for chosen in sets
        ]
        found.append(np.mean(scores, axis=0))
    return np.stack(found)


def extrapolate(scores: np.ndarray) -> np.ndarray:
    """Score that infinitely many other subjects would give: v0 of v0 (1 - exp(-k / tau)).

    A curve through few points that levels off fast: where scores still grow slowly (as ridge
    from noisy others does), it ends too low, at times below the score from all others. Report
    both.

    Parameters
    ----------
    scores : array, (k, targets)
        From 1, 2, ... others (`cross_subject_scores`).

    Returns
    -------
    numpy.ndarray, (targets,)
        Least squares over tau from 0.1 to 10 times the number of others; NaN where a score is.

    Raises
    ------
    InputError
        With fewer than 3 points, which two parameters would fit whatever they are.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if len(scores) < 3:
        raise InputError(
            f"ceiling: {len(scores)} other subjects are too few to extrapolate; report the score "
            "from all of them"
        )
    k = np.arange(1, len(scores) + 1)
    tau = np.geomspace(0.1, 10 * len(scores), 200)
    curve = 1 - np.exp(-k / tau[:, None])
    # for each tau the best v0 has a closed form
    level = curve @ scores / np.sum(curve**2, axis=1)[:, None]
    error = np.sum(scores**2, axis=0) - level**2 * np.sum(curve**2, axis=1)[:, None]
    best = np.argmin(np.nan_to_num(error, nan=np.inf), axis=0)
    return np.take_along_axis(level, best[None], axis=0)[0]


def _predicted(
    x: np.ndarray, y: np.ndarray, folds: list[Fold], grid: Grid, ridge: Mapping[str, Any]
) -> np.ndarray:
    """Held-out r of a cross-validated ridge, mean over folds."""
    problem = prepare(
        np.asarray(x, dtype=np.float32),
        folds,
        grid,
        ridge.get("standardize", True),
        ridge.get("form", "auto"),
    )
    plan = plan_for(
        problem,
        x.shape[1],
        y.shape[1],
        len(grid.values),
        memory_mb=ridge.get("memory_mb", MEMORY_MB),
    )
    parts = []
    for start in range(0, y.shape[1], plan.block):
        block = centred(problem.arrange(y[:, start : start + plan.block]))[0]
        found = cross_validate(problem, block, grid, ridge.get("select", "r"))
        parts.append(mean_over_folds(found.score))
    return np.concatenate(parts)


def _checked(responses: np.ndarray) -> np.ndarray:
    """Refuse what cannot be correlated."""
    responses = np.asarray(responses, dtype=np.float64)
    if responses.ndim != 3 or len(responses) < 2 or responses.shape[1] < 2:
        raise InputError(
            f"ceiling: responses of shape {responses.shape}; give (repeats or subjects, time, "
            "targets) with at least 2 of the first two"
        )
    return responses


def _standardised(values: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over time (the last but one axis); NaN where constant."""
    values = values - values.mean(axis=-2, keepdims=True)
    sd = values.std(axis=-2, keepdims=True)
    return values / np.where(sd > 1e-12 * np.abs(values).max(initial=1.0), sd, np.nan)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson r of columns."""
    return np.mean(_standardised(a) * _standardised(b), axis=-2)
