"""Banded ridge: feature spaces with weights of their own, chosen per target.

Space b is penalised by alpha / gamma_b with gamma on the simplex (Nunez-Elizalde, Huth and Gallant
2019, https://doi.org/10.1016/j.neuroimage.2019.04.012). Weights and penalties come from
`braid.encoding.band_search`; one refit at the end takes the targets grouped by winning gamma.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import progress
from braid.encoding.band_search import (
    N_ITER,
    PRUNE,
    Choice,
    check_gammas,
    choose_bands,
    draw_gammas,
)
from braid.encoding.folds import Fold
from braid.encoding.grid import Grid
from braid.encoding.planner import MEMORY_MB
from braid.encoding.spaces import (
    Blocks,
    blocks_of,
    checked_targets,
    count_sets,
    finite_columns,
    join_spaces,
    labels_of_targets,
    prepare_spaces,
)
from braid.encoding.weighted import Weighted, column_dot, scores, shrunk

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class SplitR2:
    """R2 of held-out rows, split over the feature spaces.

    Attributes
    ----------
    parts : numpy.ndarray of float64, (spaces, targets)
    offset : numpy.ndarray of float64, (targets,)
        Share of no space: what a constant costs that is not the test rows' mean.
    total : numpy.ndarray of float64, (targets,)
        1 - SSE / SST with SST around the mean of the test rows; parts and offset add up to it.
    """

    parts: np.ndarray
    offset: np.ndarray
    total: np.ndarray


@dataclass(frozen=True)
class OuterScores:
    """Scores of one outer fold: `r`, `alpha` (absolute) and `split.total` are (targets,)."""

    r: np.ndarray
    alpha: np.ndarray
    split: SplitR2


def cross_validate_banded(
    spaces: Mapping[str, np.ndarray],
    y: np.ndarray,
    folds: Sequence[Fold],
    grid: Grid,
    *,
    n_iter: int = N_ITER,
    gammas: Any = None,
    select: str = "r2",
    standardize: bool = True,
    form: str = "auto",
    prune: float = PRUNE,
    groups: Sequence[Hashable] | None = None,
    refine: int = 0,
    seed: int = 0,
    memory_mb: float = MEMORY_MB,
    dtype: Any = np.float32,
) -> xr.Dataset:
    """Banded ridge with nested folds: weights and penalties from inner folds, scores from outer.

    Parameters
    ----------
    spaces : mapping of str to array, (n, p_b)
    y : array, (n, targets)
        Targets with a missing value in the rows in use are left out: NaN in every result.
    folds : sequence of Fold
    grid : Grid
    n_iter : int
        Random weightings beside the uniform one and the corners.
    gammas : array, (draws, spaces), optional
        Weightings to try instead.
    select : {"r", "r2", "mse"}
        What the inner folds maximise (`mse`: minimise).
    standardize, form, dtype
        As for `prepare_spaces`.
    prune, groups, refine, seed
        As for `choose_bands`.
    memory_mb : float

    Returns
    -------
    xarray.Dataset
        `r`, `r2`, `alpha` (absolute), `validation` (the criterion on the inner folds) and `offset`
        over (fold, target); `gamma` and `split` over (fold, space, target). `r2` is 1 - SSE / SST
        with SST around the mean of the test rows; `split` over the spaces and `offset` add up to
        it. Attributes: `form`, `draws`, `dropped` (draws dropped per fold), `missing` (targets).

    Raises
    ------
    InputError
        If a space, the targets or an option is not possible.
    BraidError
        If the problem does not fit the memory limit.
    """
    import xarray as xr

    joined = join_spaces(spaces)
    y = checked_targets(y, len(joined.x))
    labels = labels_of_targets(groups, y.shape[1])
    made = prepare_spaces(joined.x, joined.space_of, folds, grid, standardize, form, dtype)
    finite = finite_columns(y, made.layout.order)
    tried = (
        draw_gammas(made.n_spaces, n_iter, seed)
        if gammas is None
        else check_gammas(gammas, made.n_spaces)
    )
    blocks = banded_blocks(
        made, y if len(finite) == y.shape[1] else y[:, finite], tried, grid, folds, memory_mb
    )
    shape = (len(folds), y.shape[1])
    flat = {name: np.full(shape, np.nan) for name in ("r", "r2", "alpha", "validation", "offset")}
    deep = {
        name: np.full((shape[0], made.n_spaces, shape[1]), np.nan) for name in ("gamma", "split")
    }
    dropped = []
    some = None if labels is None else labels[finite]
    for number, fold in enumerate(progress(folds, "banded ridge")):
        choice, trials = choose_bands(
            made, blocks, fold, grid, tried, select, prune, some, refine, seed
        )
        outer = score_outer(made, blocks, fold, grid, choice)
        flat["r"][number, finite], flat["alpha"][number, finite] = outer.r, outer.alpha
        flat["r2"][number, finite], flat["offset"][number, finite] = (
            outer.split.total,
            outer.split.offset,
        )
        flat["validation"][number, finite] = choice.validation
        deep["gamma"][number][:, finite] = choice.gamma
        deep["split"][number][:, finite] = outer.split.parts
        dropped.append(int(np.count_nonzero(~trials.kept)))
    return xr.Dataset(
        {
            **{name: (("fold", "target"), values) for name, values in flat.items()},
            **{name: (("fold", "space", "target"), values) for name, values in deep.items()},
        },
        coords={"fold": [fold.label for fold in folds], "space": list(joined.names)},
        attrs={
            "form": made.form,
            "select": select,
            "draws": len(trials.gammas),
            "dropped": dropped,
            "missing": y.shape[1] - len(finite),
        },
    )


def banded_blocks(
    made: Weighted,
    y: np.ndarray,
    gammas: np.ndarray,
    grid: Grid,
    folds: Sequence[Fold],
    memory_mb: float,
    outer: bool = True,
) -> Blocks:
    """Blocks of targets that fit the memory limit.

    Counted are the first inner fold's scores of all draws, and with `outer` the predictions from
    each space for the outer test rows.
    """
    extra = 8.0 * (len(gammas) + 4) * len(grid.values)
    if outer:
        rows = max(len(fold.test) for fold in folds)
        extra += made.dtype.itemsize * (made.n_spaces + 3.0) * rows
    sets = count_sets(made, folds)
    return Blocks(made, y, blocks_of(made, y.shape[1], sets, extra, memory_mb))


def score_outer(
    made: Weighted, blocks: Blocks, fold: Fold, grid: Grid, choice: Choice
) -> OuterScores:
    """Score one outer fold's test rows with the weights and penalties chosen inside it."""
    n_targets = blocks.y.shape[1]
    r, alpha = np.full(n_targets, np.nan), np.full(n_targets, np.nan)
    split = SplitR2(
        np.full((made.n_spaces, n_targets), np.nan), r.copy(), np.full(n_targets, np.nan)
    )
    for part, crossed in blocks:
        for gamma, targets in choice.winners(part):
            at = np.arange(part.start, part.stop)[targets]
            basis = made.basis(gamma, fold.train)
            alpha[at] = grid.absolute(basis.mean_value)[choice.index[at]]
            some = crossed.take(targets)
            b = shrunk(basis, made.project(basis, some), alpha[at])
            held, start = made.held(basis, fold.test), some.mean(basis.members, basis.n)
            r[at] = scores(basis, held, made.targets(basis, held, some), b, start, alpha[at])["r"]
            y = some.y[made.layout.positions(held.members)]
            found = split_r2(y, list(made.parts(basis, fold.test, b)), start)
            split.parts[:, at], split.offset[at] = found.parts, found.offset
            split.total[at] = found.total
    return OuterScores(r, alpha, split)


def refit(
    made: Weighted, blocks: Blocks, rows: np.ndarray, grid: Grid, choice: Choice
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fit a set of rows once, the targets grouped by their winning gamma.

    Returns
    -------
    weights : numpy.ndarray of float64, (p, targets)
    intercept : numpy.ndarray of float64, (targets,)
    alpha : numpy.ndarray of float64, (targets,)
        Absolute.
    mean : numpy.ndarray of float64, (p,)
        Training means of the features.
    """
    n_targets = blocks.y.shape[1]
    weights = np.zeros((len(made.space_of), n_targets))
    intercept, alpha = np.empty(n_targets), np.empty(n_targets)
    mean = np.zeros(len(made.space_of))
    for part, crossed in blocks:
        for gamma, targets in choice.winners(part):
            at = np.arange(part.start, part.stop)[targets]
            basis, some = made.basis(gamma, rows), crossed.take(targets)
            alpha[at] = grid.absolute(basis.mean_value)[choice.index[at]]
            b = shrunk(basis, made.project(basis, some), alpha[at])
            weights[:, at], mean = made.weights(basis, b)
            start = some.centre + some.mean(basis.members, basis.n)
            intercept[at] = start - mean @ weights[:, at]
    return weights, intercept, alpha, mean


def split_r2(y: np.ndarray, parts: Sequence[np.ndarray], constant: np.ndarray) -> SplitR2:
    """Split the R2 of held-out rows over feature spaces by the product measure.

    With predictions p = sum of p_b + constant and targets y counted from their test mean,

        R2 = sum(p (2 y - p)) / SST,   so that   R2_b = sum(p_b (2 y - p)) / SST

    add up to R2 but for the constant's own term. A space's part is its unique contribution and
    its share of what the spaces predict together; it can be negative.

    Parameters
    ----------
    y : array, (n, targets)
        Held-out targets.
    parts : sequence of arrays, (n, targets)
        Prediction from each space, its features counted from their training means.
    constant : array, (targets,)
        Added to the parts: the training mean of the targets.
    """
    mean = y.mean(axis=0, dtype=np.float64)
    centred = y - mean.astype(y.dtype)
    added = np.asarray(constant, dtype=np.float64) - mean
    whole = sum(parts[1:], parts[0]) + added.astype(y.dtype)
    sst, live = column_dot(centred, centred), np.ptp(y, axis=0) > 0
    scale = np.where(live, 1.0 / np.where(live, sst, 1.0), np.nan)
    against = 2 * centred - whole
    shares = np.stack([column_dot(one, against) for one in parts]) * scale
    error = centred - whole
    return SplitR2(
        shares,
        -added * whole.sum(axis=0, dtype=np.float64) * scale,
        np.where(live, 1.0 - column_dot(error, error) * scale, np.nan),
    )
