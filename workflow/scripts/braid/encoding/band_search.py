"""Random search over the weights of feature spaces, per target or per group of targets.

Each draw of weights costs one decomposition per training set, shared by all targets and penalties.
Random search for banded ridge: Dupre la Tour et al. (2022),
https://doi.org/10.1016/j.neuroimage.2022.119728.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from braid.common import InputError, rng
from braid.encoding.folds import Fold
from braid.encoding.grid import CRITERIA, choose
from braid.encoding.solver import inner_scores, mean_over_folds
from braid.encoding.spaces import Spaces, SpacesFit

N_ITER = 100
PRUNE = 0.25
_TIE = 1e-10
_CONCENTRATIONS = (1.0, 0.1)  # even and sparse weightings in turn
_SPREAD = 20.0  # concentration of draws around a winner


@dataclass(frozen=True)
class Trials:
    """What a search tried.

    Attributes
    ----------
    gammas : numpy.ndarray of float64, (draws, spaces)
    score : numpy.ndarray of float64, (draws, targets)
        Mean of the criterion over the inner folds at the best penalty; NaN for draws that were
        dropped after the first fold.
    index : numpy.ndarray of int, (draws, targets)
        That penalty's position in the grid.
    kept : numpy.ndarray of bool, (draws,)
    """

    gammas: np.ndarray
    score: np.ndarray
    index: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class Choice:
    """What a search found for each target.

    Attributes
    ----------
    gammas : numpy.ndarray of float64, (draws, spaces)
    draw : numpy.ndarray of int, (targets,)
        Winner among `gammas`.
    index : numpy.ndarray of int, (targets,)
        Position of the penalty in the grid.
    validation : numpy.ndarray of float64, (targets,)
        Mean of the criterion over the inner folds.
    """

    gammas: np.ndarray
    draw: np.ndarray
    index: np.ndarray
    validation: np.ndarray

    @property
    def gamma(self) -> np.ndarray:
        """Weights of the spaces, (spaces, targets)."""
        return self.gammas[self.draw].T

    def winners(self, part: slice) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each winning gamma of a block of targets, with the targets' positions in the block."""
        for draw in np.unique(self.draw[part]):
            yield self.gammas[draw], np.flatnonzero(self.draw[part] == draw)


def draw_gammas(n_spaces: int, n_iter: int = N_ITER, seed: int = 0) -> np.ndarray:
    """Draw weights of the feature spaces.

    Parameters
    ----------
    n_spaces : int
    n_iter : int
        Random draws, from Dirichlet distributions of concentration 1 and 0.1 in turn.
    seed : int

    Returns
    -------
    numpy.ndarray of float64, (1 + n_spaces + n_iter, n_spaces)
        First the uniform point and the corners (one space alone), then the random draws; for one
        space the only point there is.

    Raises
    ------
    InputError
        If `n_iter` is negative.
    """
    if n_iter < 0:
        raise InputError(f"n_iter: {n_iter} draws are not possible; give 0 or more")
    if n_spaces == 1:
        return np.ones((1, 1))
    random = rng(seed, "banded ridge", "draws")
    drawn = [
        random.dirichlet(np.full(n_spaces, _CONCENTRATIONS[number % len(_CONCENTRATIONS)]))
        for number in range(n_iter)
    ]
    return np.vstack([np.full((1, n_spaces), 1.0 / n_spaces), np.eye(n_spaces), *drawn])


def refined_gammas(choice: Choice, n: int, seed: int = 0) -> np.ndarray:
    """Draw weights around the winners of a search, more around those of more targets.

    Parameters
    ----------
    choice : Choice
    n : int
    seed : int

    Returns
    -------
    numpy.ndarray of float64, (n, spaces)
    """
    random = rng(seed, "banded ridge", "refinement")
    winners = choice.gammas[random.choice(choice.draw, size=n)]
    return np.stack([random.dirichlet(_SPREAD * winner + _CONCENTRATIONS[1]) for winner in winners])


def check_gammas(gammas: Any, n_spaces: int) -> np.ndarray:
    """Weights that a caller gives, checked and scaled to sum to 1.

    Raises
    ------
    InputError
        If the shape is wrong, a weight is negative or not finite, or a row is all 0.
    """
    gammas = np.asarray(gammas, dtype=np.float64)
    if gammas.ndim != 2 or gammas.shape[1] != n_spaces or len(gammas) == 0:
        raise InputError(
            f"gammas: shape {gammas.shape} is not (draws, {n_spaces}); give one weight per space"
        )
    wrong = ~(np.isfinite(gammas) & (gammas >= 0)).all(axis=1) | (gammas.sum(axis=1) <= 0)
    if wrong.any():
        raise InputError(
            f"gammas: row {int(np.argmax(wrong))} is no weighting; give weights of 0 or more, "
            "one of them positive"
        )
    return gammas / gammas.sum(axis=1, keepdims=True)


def search(
    fit: SpacesFit,
    fold: Fold,
    gammas: np.ndarray,
    select: str = "r2",
    prune: float = PRUNE,
) -> Trials:
    """Score weights and penalties on the inner folds of one fold.

    Parameters
    ----------
    fit : SpacesFit
    fold : Fold
        Only its inner folds are read.
    gammas : array, (draws, spaces)
    select : {"r", "r2", "mse"}
    prune : float
        Draws that lie in the worst share `prune` of the draws for every target after the first
        inner fold are dropped; 0 keeps all.

    Raises
    ------
    InputError
        If `select` or `prune` is not possible, or the fold has no inner folds.
    """
    if select not in CRITERIA:
        raise InputError(f"select: '{select}' is not one of {', '.join(CRITERIA)}")
    if not 0 <= prune < 1:
        raise InputError(f"prune: {prune} is no share of the draws; give 0 or more and less than 1")
    if not fold.inner:
        raise InputError(f"folds: fold {fold.label} has no inner folds to choose weights on")
    kept, first = np.ones(len(gammas), dtype=bool), None
    if len(fold.inner) > 1 and int(prune * len(gammas)) > 0:
        kept, first = _screen(fit, fold, gammas, select, prune)

    def work(spaces: Spaces, part: slice) -> tuple[np.ndarray, np.ndarray]:
        tiles = fit.tiles(spaces, fit.y[:, part])
        score = np.full((len(gammas), tiles.shape[1]), np.nan)
        index = np.zeros(score.shape, dtype=np.int16)
        for draw in np.flatnonzero(kept):
            view = spaces.weighted(gammas[draw])
            found = [] if first is None else [first[draw][:, part]]
            for split in fold.inner[len(found) :]:
                found.append(inner_scores(view, tiles, split, fit.grid, select))
            mean = mean_over_folds(found)
            index[draw] = choose(mean)
            score[draw] = np.take_along_axis(mean, index[draw][None], axis=0)[0]
        return score, index

    score, index = (np.concatenate(parts, axis=1) for parts in zip(*fit.run(work), strict=True))
    return Trials(gammas, score, index, kept)


def pick(trials: Trials, groups: np.ndarray | None = None) -> Choice:
    """Choose a draw for each target, or for each group of targets; ties go to the earlier draw.

    Parameters
    ----------
    trials : Trials
    groups : array, (targets,), optional
        Labels; targets of one group share the draw with the highest mean over them, and keep
        penalties of their own.
    """
    score = np.where(np.isfinite(trials.score), trials.score, -np.inf)
    if groups is None:
        draw = _first_best(score)
    else:
        _, code = np.unique(groups, return_inverse=True)
        live = np.isfinite(trials.score[trials.kept]).any(axis=0)
        member = np.zeros((score.shape[1], int(code.max()) + 1))
        member[np.flatnonzero(live), code.ravel()[live]] = 1.0
        mean = np.full((len(score), member.shape[1]), -np.inf)
        filled = np.nan_to_num(trials.score[trials.kept])
        mean[trials.kept] = filled @ member / np.maximum(member.sum(axis=0), 1.0)
        draw = _first_best(mean)[code.ravel()]
    at = np.arange(score.shape[1])
    return Choice(trials.gammas, draw, trials.index[draw, at], trials.score[draw, at])


def choose_bands(
    fit: SpacesFit,
    fold: Fold,
    gammas: np.ndarray,
    select: str = "r2",
    prune: float = PRUNE,
    groups: np.ndarray | None = None,
    refine: int = 0,
    seed: int = 0,
) -> tuple[Choice, Trials]:
    """Search the inner folds of one fold, and search again around the winners if asked to.

    Parameters
    ----------
    fit, fold, gammas, select, prune
        As for `search`.
    groups : array, (targets,), optional
        As for `pick`.
    refine : int
        Further draws around the winners.
    seed : int
        Of these draws.
    """
    trials = search(fit, fold, gammas, select, prune)
    choice = pick(trials, groups)
    if refine > 0 and gammas.shape[1] > 1:
        more = search(fit, fold, refined_gammas(choice, refine, seed), select, prune)
        trials = Trials(
            np.concatenate([trials.gammas, more.gammas]),
            np.concatenate([trials.score, more.score]),
            np.concatenate([trials.index, more.index]),
            np.concatenate([trials.kept, more.kept]),
        )
        choice = pick(trials, groups)
    return choice, trials


def _first_best(score: np.ndarray) -> np.ndarray:
    """First row within 1e-10 of the best, for each column."""
    return np.argmax(score >= score.max(axis=0) - _TIE, axis=0)


def _screen(
    fit: SpacesFit, fold: Fold, gammas: np.ndarray, select: str, prune: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Draws to go on with after the first inner fold, and its scores if one block held them."""

    def work(spaces: Spaces, part: slice) -> tuple[np.ndarray, np.ndarray | None]:
        tiles = fit.tiles(spaces, fit.y[:, part])
        first = np.empty((len(gammas), len(fit.grid.values), tiles.shape[1]))
        for draw, gamma in enumerate(gammas):
            view = spaces.weighted(gamma)
            first[draw] = inner_scores(view, tiles, fold.inner[0], fit.grid, select)
        best = np.where(np.isfinite(first), first, -np.inf).max(axis=1)
        rank = np.argsort(np.argsort(best, axis=0, kind="stable"), axis=0)
        kept = ((rank >= int(prune * len(gammas))) & np.isfinite(best)).any(axis=1)
        return kept, first if first.shape[2] == fit.y.shape[1] else None

    parts = fit.run(work)
    kept = np.any([good for good, _ in parts], axis=0)
    return kept if kept.any() else np.ones_like(kept), parts[0][1]
