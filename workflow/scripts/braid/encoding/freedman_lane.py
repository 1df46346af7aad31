"""Significance of a feature space's unique part, by permuting what the other spaces leave.

Freedman and Lane (1983), https://doi.org/10.2307/1391660; permutation in the general linear model:
Winkler et al. (2014), https://doi.org/10.1016/j.neuroimage.2014.01.060. With fit the out-of-fold
prediction of the reduced model (all spaces but one), each draw makes new targets

    Y* = fit + P (Y - fit),

refits the joint and the reduced model, and takes the difference of their cross-validated R2. The
features do not change, so that all draws share the decompositions of the observed data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError, progress
from braid.encoding.folds import Fold, Split
from braid.encoding.grid import Grid
from braid.encoding.partition import nested_r2, outer_r2
from braid.encoding.planner import MEMORY_MB
from braid.encoding.spaces import (
    Blocks,
    blocks_of,
    checked_targets,
    count_sets,
    finite_columns,
    join_spaces,
    prepare_spaces,
)
from braid.encoding.weighted import Crossed, Weighted, mean_over_folds, shrunk

if TYPE_CHECKING:
    import xarray as xr

ALPHA = ("reselect", "fixed")
_WIDTH = 1024  # columns of targets and draws in one product


@dataclass(frozen=True)
class _Task:
    """The two models, and how their penalties are set in the draws."""

    made: Weighted
    folds: Sequence[Fold]
    grid: Grid
    select: str
    models: tuple[np.ndarray, np.ndarray]  # weights of the joint and of the reduced model
    reselect: bool


def unique_part_test(
    spaces: Mapping[str, np.ndarray],
    y: np.ndarray,
    space: str,
    folds: Sequence[Fold],
    grid: Grid,
    draws: np.ndarray,
    *,
    alpha: str = "reselect",
    select: str = "r2",
    standardize: bool = True,
    form: str = "auto",
    memory_mb: float = MEMORY_MB,
    dtype: Any = np.float32,
) -> xr.Dataset:
    """Test whether one feature space explains what the others do not.

    Parameters
    ----------
    spaces : mapping of str to array, (n, p_b)
        At least two.
    y : array, (n, targets)
        Targets with a missing value in the rows in use are left out: NaN in every result.
    space : str
        The space to test.
    folds : sequence of Fold
        Every row in use must be a test row of an outer fold or of an inner fold.
    grid : Grid
    draws : array of int, (draws, n)
        Permutations of the rows that keep the residuals' dependence over time, for example
        circular shifts within runs: row i of a draw's residuals is row draws[d, i] of the
        observed ones.
    alpha : {"reselect", "fixed"}
        `reselect`: each draw chooses its penalties anew, as the observed data did. `fixed`: those
        chosen on the observed data hold in all draws, which is cheaper by the inner folds and
        penalties, but slightly anti-conservative: in simulations without a unique part (150 or 400
        rows, 4 or 20 features, 4000 targets each) p <= .05 on .052 to .063 of the targets, where
        `reselect` gave .021 to .051.
    select, standardize, form, memory_mb, dtype
        As for `variance_partition`.

    Returns
    -------
    xarray.Dataset
        `unique` (observed f(all) - f(all but the space)), `null_mean`, `null_sd` and the one-sided
        `p` = (k + 1) / (draws + 1) over `target`, with k the draws that reach the observed value;
        `null(draw, target)`. Attributes: `space`, `draws`, `alpha`, `form`, `missing`.

    Raises
    ------
    InputError
        If the space is unknown or the only one, the draws do not fit, a row in use is never
        tested, or an option is not possible.
    BraidError
        If the problem does not fit the memory limit.
    """
    import xarray as xr

    if alpha not in ALPHA:
        raise InputError(f"alpha: '{alpha}' is not one of {', '.join(ALPHA)}")
    if space not in spaces or len(spaces) < 2:
        raise InputError(
            f"feature space '{space}': its unique part needs it and at least one other among "
            f"{', '.join(spaces) or 'none'}"
        )
    joined = join_spaces(spaces)
    y = checked_targets(y, len(joined.x))
    made = prepare_spaces(joined.x, joined.space_of, folds, grid, standardize, form, dtype)
    draws = _checked(draws, made.layout.order, len(joined.x))
    reduced = np.array([name != space for name in joined.names], dtype=np.float64)
    task = _Task(
        made, folds, grid, select, (np.ones_like(reduced), reduced), reselect=alpha == "reselect"
    )
    finite = finite_columns(y, made.layout.order)
    unique = np.full(y.shape[1], np.nan)
    null = np.full((len(draws), y.shape[1]), np.nan)
    sets = count_sets(made, folds)
    # besides the observed targets, their fit and residual, the permuted targets and their products
    extra = 64.0 * len(grid.values) + (4.0 * made.dtype.itemsize + y.itemsize) * len(y)
    extra += made.bytes_per_target(sets)
    width = blocks_of(made, max(len(finite), _WIDTH), 2 * sets, extra, memory_mb)[0].stop
    for start in range(0, len(finite), width):
        at = finite[start : start + width]
        unique[at], null[:, at] = _block(task, y[:, at], draws, min(width, _WIDTH))
    return xr.Dataset(
        {
            "unique": ("target", unique),
            "null_mean": ("target", null.mean(axis=0)),
            "null_sd": ("target", null.std(axis=0)),
            "p": ("target", _p_values(unique, null, made.dtype)),
            "null": (("draw", "target"), null.astype(np.float32)),
        },
        attrs={
            "space": space,
            "draws": len(draws),
            "alpha": alpha,
            "form": made.form,
            "missing": y.shape[1] - len(finite),
        },
    )


def out_of_fold(
    made: Weighted,
    crossed: Crossed,
    folds: Sequence[Fold],
    gamma: np.ndarray,
    alpha: np.ndarray,
) -> np.ndarray:
    """Predict every row from training rows that do not hold it.

    Rows that no outer fold tests, as with a hold-out, are predicted by the inner folds.

    Parameters
    ----------
    made : Weighted
    crossed : Crossed
    folds : sequence of Fold
    gamma : array, (spaces,)
    alpha : array, (folds, targets)

    Returns
    -------
    numpy.ndarray, (rows in use, targets)
        In the layout's order, for the centred targets.

    Raises
    ------
    InputError
        If a row in use is never tested.
    """
    layout = made.layout
    out = np.full(crossed.y.shape, np.nan, dtype=made.dtype)
    sets: list[tuple[Fold | Split, np.ndarray]] = list(zip(folds, alpha, strict=True))
    inner = [(split, one) for fold, one in zip(folds, alpha, strict=True) for split in fold.inner]
    missing = np.ones(layout.n_atoms, dtype=bool)
    for one, penalty in [*sets, *inner]:
        if not missing[layout.members(one.test)].any():
            continue
        basis = made.basis(gamma, one.train)
        b = shrunk(basis, made.project(basis, crossed), penalty)
        predicted = sum(made.parts(basis, one.test, b))
        predicted = predicted + crossed.mean(basis.members, basis.n).astype(made.dtype)
        new = layout.members(one.test) & missing
        rows = layout.positions(layout.members(one.test))
        fresh = new[layout.atom[layout.order[rows]]]
        out[np.arange(len(out))[rows][fresh]] = predicted[fresh]
        missing &= ~new
    if missing.any():
        row = int(layout.order[layout.positions(missing)][0])
        raise InputError(
            f"folds: row {row} trains but is never tested, so it has no out-of-fold residual to "
            "permute; use a scheme that tests every row"
        )
    return out


def _block(
    task: _Task, y: np.ndarray, draws: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Observed difference of a block of targets, (targets,), and the draws', (draws, targets)."""
    made, order = task.made, task.made.layout.order
    n_targets = y.shape[1]
    block = Blocks(made, y, [slice(0, n_targets)])
    (alpha, joint), (reduced_alpha, reduced) = (
        nested_r2(made, block, task.folds, task.grid, gamma, task.select) for gamma in task.models
    )
    ((_, crossed),) = block
    fit = np.full(y.shape, np.nan, dtype=made.dtype)
    fit[order] = out_of_fold(made, crossed, task.folds, task.models[1], reduced_alpha)
    rest = np.full(y.shape, np.nan, dtype=made.dtype)
    rest[order] = crossed.y - fit[order]
    null = []
    step = max(1, width // n_targets)
    for start in progress(range(0, len(draws), step), "permuting residuals"):
        some = draws[start : start + step]
        targets = np.concatenate([fit + rest[draw] for draw in some], axis=1)
        null.append(
            _differences(task, targets, (alpha, reduced_alpha)).reshape(len(some), n_targets)
        )
    return mean_over_folds(joint) - mean_over_folds(reduced), np.concatenate(null)


def _differences(task: _Task, y: np.ndarray, alphas: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """R2 of the joint minus that of the reduced model, for columns of permuted targets."""
    made, columns = task.made, y.shape[1]
    block = Blocks(made, y, [slice(0, columns)])
    found = []
    for gamma, alpha in zip(task.models, alphas, strict=True):
        if task.reselect:
            _, r2 = nested_r2(made, block, task.folds, task.grid, gamma, task.select)
        else:
            ((_, crossed),) = block
            tiled = np.tile(alpha, columns // alpha.shape[1])
            r2 = np.stack(
                [
                    outer_r2(made, crossed, fold, gamma, tiled[number])
                    for number, fold in enumerate(task.folds)
                ]
            )
        found.append(mean_over_folds(r2))
    return found[0] - found[1]


def _checked(draws: np.ndarray, order: np.ndarray, n: int) -> np.ndarray:
    """Draws, if each permutes the rows in use among themselves."""
    draws = np.asarray(draws)
    if draws.ndim != 2 or draws.shape[1] != n or len(draws) == 0 or draws.dtype.kind not in "iu":
        raise InputError(
            f"draws: {draws.dtype} of shape {draws.shape} are not row numbers (draws, {n})"
        )
    used = np.sort(order)
    for number, draw in enumerate(draws):
        if not np.array_equal(np.sort(draw[order]), used):
            raise InputError(
                f"draws: draw {number} does not permute the rows in use among themselves; "
                "draw within the rows that the folds use"
            )
    return draws


def _p_values(observed: np.ndarray, null: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """(k + 1) / (n + 1); equality up to rounding and a draw without a value count as reached."""
    slack = 32 * np.finfo(dtype).eps
    reached = (null >= observed - slack) | np.isnan(null)
    return np.where(np.isnan(observed), np.nan, (reached.sum(axis=0) + 1) / (len(null) + 1))
