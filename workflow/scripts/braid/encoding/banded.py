"""Banded ridge: feature spaces with weights of their own, chosen per target.

Space b is penalised by alpha / gamma_b with gamma on the simplex (Nunez-Elizalde, Huth and Gallant
2019, https://doi.org/10.1016/j.neuroimage.2019.04.012). Weights and penalties come from
`braid.encoding.band_search`; one refit at the end takes the targets grouped by winning gamma.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import progress
from braid.encoding.backend import NUMPY, backend_for
from braid.encoding.band_search import (
    N_ITER,
    PRUNE,
    Choice,
    check_gammas,
    choose_bands,
    draw_gammas,
)
from braid.encoding.folds import Fold
from braid.encoding.forms import shrunk
from braid.encoding.grid import Grid
from braid.encoding.planner import MEMORY_MB
from braid.encoding.solver import centred, cross_tiles, fit_fixed, score_fixed
from braid.encoding.spaces import (
    Spaces,
    SpacesFit,
    checked_targets,
    finite_columns,
    join_spaces,
    labels_of_targets,
    rows_in_use,
)

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
    device: str = "cpu",
    backend: str | None = None,
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
    device : {"cpu", "auto", "cuda"}
    backend : {"numpy", "torch"}, optional
        Array library, instead of the device's own (for tests).

    Returns
    -------
    xarray.Dataset
        `r`, `r2`, `alpha` (absolute), `validation` (the criterion on the inner folds) and `offset`
        over (fold, target); `gamma` and `split` over (fold, space, target). `r2` is 1 - SSE / SST
        with SST around the mean of the test rows; `split` over the spaces and `offset` add up to
        it. Attributes: `form`, `select`, `draws`, `dropped` (draws dropped per fold), `missing`
        (targets), `retries` (JSON list: what was repeated where memory ran out).

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
    finite, n_spaces = finite_columns(y, rows_in_use(folds)), len(joined.names)
    tried = (
        draw_gammas(n_spaces, n_iter, seed) if gammas is None else check_gammas(gammas, n_spaces)
    )
    fit = SpacesFit(
        joined.x, joined.space_of, y if len(finite) == y.shape[1] else y[:, finite], folds, grid,
        standardize, form, dtype, backend_for(device, backend), memory_mb,
        banded_bytes(joined.x.shape, tried, grid, folds),
    )  # fmt: skip
    shape = (len(folds), y.shape[1])
    flat = {name: np.full(shape, np.nan) for name in ("r", "r2", "alpha", "validation", "offset")}
    deep = {name: np.full((shape[0], n_spaces, shape[1]), np.nan) for name in ("gamma", "split")}
    dropped = []
    some = None if labels is None else labels[finite]
    for number, fold in enumerate(progress(folds, "banded ridge")):
        choice, trials = choose_bands(fit, fold, tried, select, prune, some, refine, seed)
        outer = score_outer(fit, fold, choice)
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
            "form": fit.form,
            "select": select,
            "draws": len(trials.gammas),
            "dropped": dropped,
            "missing": y.shape[1] - len(finite),
            "retries": json.dumps(fit.retries),
        },
    )


def banded_bytes(
    shape: tuple[int, ...], gammas: np.ndarray, grid: Grid, folds: Sequence[Fold]
) -> float:
    """Bytes per target beyond the solver's own, for features of a shape (n, p).

    The larger of the first inner fold's scores of all draws, and of what the predictions from each
    space for the outer test rows take.
    """
    rows, n_spaces = max(len(fold.test) for fold in folds), gammas.shape[1]
    scores = (len(gammas) + 4) * len(grid.values)
    return 8.0 * max(scores, (n_spaces + 3) * rows + 3 * min(shape))


def score_outer(fit: SpacesFit, fold: Fold, choice: Choice) -> OuterScores:
    """Score one outer fold's test rows with the weights and penalties chosen inside it."""
    n_targets, n_spaces = fit.y.shape[1], choice.gammas.shape[1]
    r, alpha, offset, total = (np.full(n_targets, np.nan) for _ in range(4))
    shares = np.full((n_spaces, n_targets), np.nan)

    def work(spaces: Spaces, part: slice) -> None:
        form, layout = spaces.form, spaces.form.layout
        train, test = layout.members(fold.train), layout.members(fold.test)
        for gamma, targets in choice.winners(part):
            at = np.arange(part.start, part.stop)[targets]
            view = spaces.weighted(gamma, [replace(fold, inner=())])
            block, _ = centred(view.arrange(fit.y[:, at]))
            tiles = cross_tiles(view, block, apart=False)
            basis = view.form.basis(train)
            alpha[at] = fit.grid.absolute(basis.mean_eigenvalue)[choice.index[at]]
            r[at] = score_fixed(view, tiles, alpha[None, at])[0]
            b = shrunk(form.backend, basis, view.form.project(basis, tiles.crossed[0]), alpha[at])
            parts = [
                form.backend.to_numpy(view.form.predict(basis, test, b, space))
                for space in range(n_spaces)
            ]
            start = block[layout.positions(train)].mean(axis=0, dtype=np.float64)
            found = split_r2(block[layout.positions(test)], parts, start)
            shares[:, at], offset[at], total[at] = found.parts, found.offset, found.total

    fit.run(work)
    return OuterScores(r, alpha, SplitR2(shares, offset, total))


def refit(
    fit: SpacesFit, rows: np.ndarray, choice: Choice
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit a set of rows once, the targets grouped by their winning gamma.

    Returns
    -------
    weights : numpy.ndarray, (p, targets)
        In the precision of the targets.
    intercept : numpy.ndarray of float64, (targets,)
    alpha : numpy.ndarray of float64, (targets,)
        Absolute.
    """
    n_targets = fit.y.shape[1]
    weights = np.zeros((fit.x.shape[1], n_targets), dtype=fit.y.dtype)
    intercept, alpha = np.empty(n_targets), np.empty(n_targets)

    def work(spaces: Spaces, part: slice) -> None:
        for gamma, targets in choice.winners(part):
            at = np.arange(part.start, part.stop)[targets]
            view = spaces.weighted(gamma, [Fold("all", rows, rows, ())])
            block, mean = centred(view.arrange(fit.y[:, at]))
            basis = view.form.basis(view.form.layout.members(rows))
            alpha[at] = fit.grid.absolute(basis.mean_eigenvalue)[choice.index[at]]
            weights[:, at], added = fit_fixed(view, block, rows, alpha[at])
            intercept[at] = added + mean

    fit.run(work)
    return weights, intercept, alpha


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
    sst, live = NUMPY.column_dot(centred, centred), np.ptp(y, axis=0) > 0
    scale = np.where(live, 1.0 / np.where(live, sst, 1.0), np.nan)
    against = 2 * centred - whole
    shares = np.stack([NUMPY.column_dot(one, against) for one in parts]) * scale
    error = centred - whole
    return SplitR2(
        shares,
        -added * whole.sum(axis=0, dtype=np.float64) * scale,
        np.where(live, 1.0 - NUMPY.column_dot(error, error) * scale, np.nan),
    )
