"""Null scores by permutation, with every fold trained again on the permuted responses.

Permuted responses are further targets: Gram matrices and eigenbases of the folds stay, and a
draw costs the products with the responses only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from braid.common import InputError, progress
from braid.encoding.fit import backend_of, memory_limit
from braid.encoding.folds import Fold
from braid.encoding.grid import Grid
from braid.encoding.planner import MEMORY_MB
from braid.encoding.smoother import Arranged, Smoothers, arrangements, groups_of, pays
from braid.encoding.solver import (
    Problem,
    cross_validate,
    mean_over_folds,
    plan_for,
    prepare,
    score_fixed,
)
from braid.inference.nulls import Draws
from braid.inference.sequential import STOP, Stopped, sequential_p

Over = Callable[[np.ndarray], np.ndarray]
"""Sums up the scores of folds, (folds, ...): gives (...), or (kinds, ...) for several sums."""

ALPHAS = ("fixed", "reselect", "hybrid")
CHECKED = 50  # draws that `hybrid` scores both ways
_COLUMNS = 2048  # targets x draws in one product
_BLOCK = 32  # targets whose scores of all folds and draws are held at a time
_READ = 0.1  # share of the memory for responses that are read in blocks
_NARROW = 0.10  # difference in width that is worth a warning


@dataclass(frozen=True)
class Agreement:
    """How null scores with fixed penalties compare with those that choose penalties anew.

    Attributes
    ----------
    draws : int
        Draws that were scored both ways.
    width : float
        Standard deviation with penalties chosen anew over that with fixed ones; root mean
        squares over these draws and all targets.
    ks_fixed, ks_widened : float
        Kolmogorov-Smirnov distance of the scores with penalties chosen anew from the fixed ones,
        as they are and widened; all targets together, each in its own standard deviations.
    tail : float
        Share of the scores with penalties chosen anew above the 95 % quantile of their target's
        widened null; 0.05 if they agree.
    """

    draws: int
    width: float
    ks_fixed: float
    ks_widened: float
    tail: float

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, for an attribute."""
        return {name: round(value, 5) for name, value in asdict(self).items()}

    def note(self) -> str:
        """One sentence for the reader; a warning where the two differ much."""
        text = (
            f"penalties fixed; null scores widened by {self.width:.3f}, as {self.draws} draws "
            "with penalties chosen anew ask for"
        )
        if abs(self.width - 1.0) > _NARROW:
            text += "; WARNING: the two differ much, so test.alpha: reselect is safer"
        return text


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
        backend=backend_of(ridge),
        memory_mb=memory_limit(ridge, backend_of(ridge)),
    )


def draw_scores(
    x: np.ndarray,
    folds: list[Fold],
    grid: Grid,
    ridge: Mapping[str, Any],
    y: Any,
    draws: Sequence[Draws],
    alpha: np.ndarray,
    how: str = "fixed",
    over: Over = mean_over_folds,
) -> tuple[list[np.ndarray], Agreement | None]:
    """Null scores of several nulls with penalties treated as `test.alpha` says.

    `fixed` keeps the penalties that the observed responses chose. Draws did not choose them, so
    their scores vary a little less than the observed one: p comes out somewhat too small where
    features are many for the rows. `reselect` chooses penalties in every draw, which makes draws
    and observed scores exchangeable, at many times the cost. `hybrid` keeps them, chooses them
    anew in the first `CHECKED` draws, and widens the fixed null by the ratio of the standard
    deviations (one number for all targets); it does so for the first null, and keeps penalties
    for the others.

    Parameters
    ----------
    x : array, (n, p)
    folds, grid, ridge
        Of the observed fit.
    y : array, (n, targets)
        Without NaN. What is no array, but has a `shape` and gives columns as `y[:, part]`, is
        read in blocks of targets.
    draws : sequence of Draws
    alpha : array, (folds, targets)
        Penalties of the observed fit.
    how : {"fixed", "reselect", "hybrid"}
    over : callable
        How folds are summed up.

    Returns
    -------
    scores : list of numpy.ndarray of float32, (draws, targets) or (draws, kinds, targets)
        One for each of `draws`.
    agreement : Agreement or None
        For `hybrid` only; of the first kind.

    Raises
    ------
    InputError
        If `how` is unknown or the penalties belong to other folds.
    """
    if how not in ALPHAS:
        raise InputError(f"test.alpha: '{how}' is not one of {', '.join(ALPHAS)}")

    def scored(some: Sequence[Draws], reselect: bool) -> list[np.ndarray]:
        problem = null_problem(x, folds, grid, ridge, alpha, reselect)
        select, memory = ridge.get("select", "r"), memory_limit(ridge, problem.form.backend)
        parts: list[list[np.ndarray]] = [[] for _ in some]
        for part in _blocks_of(y, memory):
            block = y[:, part]
            for found, one in zip(parts, some, strict=True):
                found.append(
                    null_scores(
                        problem, block, one, alpha[:, part], grid, select, reselect, memory, over
                    )
                )
        return [found[0] if len(found) == 1 else np.concatenate(found, -1) for found in parts]

    scores = scored(draws, how == "reselect")
    if how != "hybrid":
        return scores, None
    (anew,) = scored([replace(draws[0], rows=draws[0].rows[:CHECKED])], True)
    if anew.ndim == 2:
        scores[0], agreement = widened(scores[0], anew)
        return scores, agreement
    kinds = [widened(scores[0][:, kind], anew[:, kind]) for kind in range(anew.shape[1])]
    scores[0] = np.stack([found for found, _ in kinds], axis=1)
    return scores, kinds[0][1]


def widened(fixed: np.ndarray, anew: np.ndarray) -> tuple[np.ndarray, Agreement]:
    """Widen fixed-penalty null scores about each target's mean to those of fewer, better draws.

    Parameters
    ----------
    fixed : array, (draws, targets)
    anew : array, (some draws, targets)
        The first of the same draws, with penalties chosen anew.

    Returns
    -------
    scores : numpy.ndarray of float32, (draws, targets)
    agreement : Agreement
    """
    from scipy.stats import ks_2samp

    usable = np.isfinite(fixed).all(axis=0) & np.isfinite(anew).all(axis=0)
    mean = fixed[:, usable].mean(axis=0, dtype=np.float64)
    sd = fixed[:, usable].std(axis=0, dtype=np.float64)
    usable[usable] = sd > 0
    mean, sd = mean[sd > 0], sd[sd > 0]
    if not usable.any() or len(anew) < 2:
        return fixed, Agreement(len(anew), 1.0, np.nan, np.nan, np.nan)
    z_fixed, z_anew = (fixed[:, usable] - mean) / sd, (anew[:, usable] - mean) / sd
    # of the same draws both ways, so that what is common to them leaves the ratio
    same = z_fixed[: len(anew)]
    width = float(np.sqrt(np.mean(z_anew.var(axis=0)) / np.mean(same.var(axis=0))))
    limit = np.quantile(z_fixed, 0.95, axis=0) * width
    found = Agreement(
        draws=len(anew),
        width=width,
        ks_fixed=float(ks_2samp(z_fixed.ravel(), z_anew.ravel()).statistic),
        ks_widened=float(ks_2samp(z_fixed.ravel() * width, z_anew.ravel()).statistic),
        tail=float(np.mean(z_anew > limit)),
    )
    scores = fixed.copy()
    scores[:, usable] = mean + (fixed[:, usable] - mean) * width
    return scores, found


def null_scores(
    problem: Problem,
    y: np.ndarray,
    draws: Draws,
    alpha: np.ndarray,
    grid: Grid,
    select: str = "r",
    reselect: bool = False,
    memory_mb: float = MEMORY_MB,
    over: Over = mean_over_folds,
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
    over : callable
        How folds are summed up.

    Returns
    -------
    numpy.ndarray of float32, (draws, targets) or (draws, kinds, targets)
        Mean over outer folds of held-out r, or what `over` makes of them.
    """
    if alpha.shape != (len(problem.folds), y.shape[1]):
        raise InputError(
            f"fit: it has penalties for {alpha.shape[0]} folds, but the analysis has "
            f"{len(problem.folds)}; fit again"
        )
    if not reselect:
        arranged = arrangements(problem.form.layout, draws.rows)
        # arrangements are NumPy's; on a device products are cheaper than gathering them
        once = arranged.few() and problem.form.backend.name == "numpy"
        if pays(problem, alpha, memory_mb, arranged.share() if once else 1.0):
            return _through_smoothers(problem, y, draws, alpha, arranged if once else None, over)
    return _through_features(problem, y, draws, alpha, grid, select, reselect, memory_mb, over)


def sequential_scores(
    problem: Problem,
    y: np.ndarray,
    draws: Draws,
    observed: np.ndarray,
    alpha: np.ndarray,
    grid: Grid,
    select: str = "r",
    reselect: bool = False,
    memory_mb: float = MEMORY_MB,
    stop: int = STOP,
    correction: str = "fdr",
) -> Stopped:
    """One-sided p of each target's score, with no more draws for targets that are not significant.

    Makes choosing penalties anew in every draw affordable. Parameters as for `null_scores` and
    `sequential_p`; `observed` (targets,) is the score that is tested.
    """

    def draw(part: slice, targets: np.ndarray) -> np.ndarray:
        some = replace(draws, rows=draws.rows[part])
        return null_scores(
            problem, y[:, targets], some, alpha[:, targets], grid, select, reselect, memory_mb
        )

    return sequential_p(observed, draw, len(draws.rows), stop=stop, correction=correction)


def _through_features(
    problem: Problem,
    y: np.ndarray,
    draws: Draws,
    alpha: np.ndarray,
    grid: Grid,
    select: str,
    reselect: bool,
    memory_mb: float,
    over: Over = mean_over_folds,
) -> np.ndarray:
    """Null scores of blocks of targets, several draws side by side."""
    out = _empty(problem, draws, y, over)
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
        out[draw : draw + batch, ..., part] = _by_draw(over(score), chosen.shape[1])
    return out


def _through_smoothers(
    problem: Problem,
    y: np.ndarray,
    draws: Draws,
    alpha: np.ndarray,
    arranged: Arranged | None = None,
    over: Over = mean_over_folds,
) -> np.ndarray:
    """Null scores of blocks of targets, or of groups of them that share their penalties."""
    out = _empty(problem, draws, y, over)
    order = problem.form.layout.order
    y = _centred(y, order).astype(problem.form.dtype, copy=False)
    smoothers, label = Smoothers(problem), f"null {draws.kind}"
    if arranged is not None:
        for start in progress(range(0, y.shape[1], _BLOCK), label):
            part = slice(start, start + _BLOCK)
            found = over(smoothers.score_arranged(y[:, part], arranged, alpha[:, part]))
            out[..., part] = np.moveaxis(found, -2, 0)
        return out
    rows = np.ascontiguousarray(draws.rows[:, order].T)
    for penalties, targets in progress(list(groups_of(alpha)), label):
        block = np.ascontiguousarray(y[:, targets])
        batch = max(1, _COLUMNS // len(targets))
        for draw in range(0, len(draws.rows), batch):
            chosen = rows[:, draw : draw + batch]
            score = smoothers.score(block[chosen].reshape(len(order), -1), penalties)
            out[draw : draw + batch, ..., targets] = _by_draw(over(score), chosen.shape[1])
    return out


def _blocks_of(y: Any, memory_mb: float) -> list[slice]:
    """Blocks of the targets that are not in memory; all targets at once of an array."""
    n, targets = y.shape
    if isinstance(y, np.ndarray):
        return [slice(0, targets)]
    width = max(_COLUMNS, int(_READ * memory_mb * 2**20 / (4 * n)))
    return [slice(start, min(start + width, targets)) for start in range(0, targets, width)]


def _empty(problem: Problem, draws: Draws, y: np.ndarray, over: Over) -> np.ndarray:
    """Room for the scores, (draws, ..., targets)."""
    kinds = over(np.zeros((len(problem.folds), 1))).shape[:-1]
    return np.full((len(draws.rows), *kinds, y.shape[1]), np.nan, dtype=np.float32)


def _by_draw(found: np.ndarray, n_draws: int) -> np.ndarray:
    """Take sums of draws side by side, (..., draws x targets), apart: (draws, ..., targets)."""
    return np.moveaxis(found.reshape(*found.shape[:-1], n_draws, -1), -2, 0)


def _centred(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Centre targets on their mean over the rows in use, which draws do not change."""
    return y - y[rows].mean(axis=0, dtype=np.float64).astype(y.dtype)
