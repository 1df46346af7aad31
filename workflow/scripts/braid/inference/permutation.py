"""Null scores by permutation, with every fold trained again on the permuted responses.

Permuted responses are further targets: Gram matrices and eigenbases of the folds stay, and a
draw costs the products with the responses only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from braid.common import InputError, progress
from braid.encoding.folds import Fold
from braid.encoding.grid import Grid
from braid.encoding.planner import MEMORY_MB
from braid.encoding.smoother import Smoothers, groups_of, pays
from braid.encoding.solver import (
    Problem,
    cross_validate,
    plan_for,
    prepare,
    score_fixed,
)
from braid.inference.nulls import Draws

_COLUMNS = 2048  # targets x draws in one product


def null_problem(
    x: np.ndarray,
    folds: list[Fold],
    grid: Grid,
    ridge: Mapping[str, Any],
    alpha: np.ndarray,
    reselect: bool,
) -> Problem:
    """Make the design ready for draws with fixed penalties, or with all inner folds."""
    return prepare(
        x,
        folds,
        grid,
        ridge.get("standardize", True),
        ridge.get("form", "auto"),
        nested=reselect,
        alpha_floor=None if reselect else float(np.nanmin(alpha)),
    )


def null_scores(
    problem: Problem,
    y: np.ndarray,
    draws: Draws,
    alpha: np.ndarray,
    grid: Grid,
    select: str = "r",
    reselect: bool = False,
    memory_mb: float = MEMORY_MB,
) -> np.ndarray:
    """Score every draw as the observed responses were scored.

    Parameters
    ----------
    problem : Problem
    y : array, (n, targets)
        Responses in the original order of the rows, without NaN.
    draws : Draws
    alpha : array, (folds, targets)
        Penalties of the observed fit; not used with `reselect`.
    grid, select
        Of the observed fit.
    reselect : bool
        Choose penalties anew in every draw.
    memory_mb : float

    Returns
    -------
    numpy.ndarray of float32, (draws, targets)
        Mean over outer folds of held-out r.
    """
    if alpha.shape != (len(problem.folds), y.shape[1]):
        raise InputError(
            f"fit: it has penalties for {alpha.shape[0]} folds, but the analysis has "
            f"{len(problem.folds)}; fit again"
        )
    if not reselect and pays(problem, alpha, memory_mb):
        return _through_smoothers(problem, y, draws, alpha)
    return _through_features(problem, y, draws, alpha, grid, select, reselect, memory_mb)


def _through_features(
    problem: Problem,
    y: np.ndarray,
    draws: Draws,
    alpha: np.ndarray,
    grid: Grid,
    select: str,
    reselect: bool,
    memory_mb: float,
) -> np.ndarray:
    """Null scores of blocks of targets, several draws side by side."""
    out = np.full((len(draws.rows), y.shape[1]), np.nan, dtype=np.float32)
    order = problem.form.layout.order
    # (rows, draws): a batch of draws then gathers whole rows of a block of targets
    rows = np.ascontiguousarray(draws.rows[:, order].T)
    first = problem.form.basis(problem.form.layout.members(problem.folds[0].train))
    plan = plan_for(
        problem,
        first.eigenvalues.size,
        len(draws.rows) * y.shape[1],
        len(grid.values) if reselect else 1,
        reselect,
        memory_mb,
    )
    width = min(y.shape[1], plan.block)
    batch = max(1, plan.block // width)
    jobs = [
        (slice(start, min(start + width, y.shape[1])), draw)
        for start in range(0, y.shape[1], width)
        for draw in range(0, len(draws.rows), batch)
    ]
    for part, draw in progress(jobs, f"null {draws.kind}"):
        if draw == 0:
            block = _centred(y[:, part], order)
        chosen = rows[:, draw : draw + batch]
        permuted = block[chosen].reshape(len(order), -1)
        if reselect:
            score = cross_validate(problem, permuted, grid, select).score
        else:
            score = score_fixed(problem, permuted, alpha[:, part])
        out[draw : draw + batch, part] = mean_over_folds(score).reshape(chosen.shape[1], -1)
    return out


def _through_smoothers(
    problem: Problem, y: np.ndarray, draws: Draws, alpha: np.ndarray
) -> np.ndarray:
    """Null scores of groups of targets that share their penalties, many draws side by side."""
    out = np.full((len(draws.rows), y.shape[1]), np.nan, dtype=np.float32)
    order = problem.form.layout.order
    rows = np.ascontiguousarray(draws.rows[:, order].T)
    y = _centred(y, order).astype(problem.form.dtype, copy=False)
    smoothers = Smoothers(problem)
    for penalties, targets in progress(list(groups_of(alpha)), f"null {draws.kind}"):
        block = np.ascontiguousarray(y[:, targets])
        batch = max(1, _COLUMNS // len(targets))
        for draw in range(0, len(draws.rows), batch):
            chosen = rows[:, draw : draw + batch]
            score = smoothers.score(block[chosen].reshape(len(order), -1), penalties)
            found = mean_over_folds(score).reshape(chosen.shape[1], -1)
            out[draw : draw + batch, targets] = found
    return out


def _centred(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Centre targets on their mean over the rows in use, which draws do not change."""
    return y - y[rows].mean(axis=0, dtype=np.float64).astype(y.dtype)


def mean_over_folds(score: np.ndarray) -> np.ndarray:
    """Mean of (folds, ...) over the folds that have a score; NaN where none has."""
    count = np.isfinite(score).sum(axis=0)
    return np.divide(
        np.nansum(score, axis=0), count, out=np.full(score.shape[1:], np.nan), where=count > 0
    )
