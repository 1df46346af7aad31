"""Significance of a feature space's unique part, by permuting what the other spaces leave.

Freedman and Lane (1983), https://doi.org/10.2307/1391660; permutation in the general linear model:
Winkler et al. (2014), https://doi.org/10.1016/j.neuroimage.2014.01.060. With fit the out-of-fold
prediction of the reduced model (all spaces but one), each draw makes new targets

    Y* = fit + P (Y - fit),

refits the joint and the reduced model, and takes the difference of their cross-validated R2. The
features do not change, so that all draws share the decompositions of the observed data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError, progress
from braid.encoding.backend import backend_for
from braid.encoding.folds import Fold, Split
from braid.encoding.grid import Grid
from braid.encoding.planner import MEMORY_MB
from braid.encoding.solver import (
    Tiles,
    cross_validate,
    mean_over_folds,
    predict_fixed,
    score_fixed,
)
from braid.encoding.spaces import (
    Spaces,
    SpacesFit,
    checked_targets,
    finite_columns,
    join_spaces,
    rows_in_use,
)

if TYPE_CHECKING:
    import xarray as xr

ALPHA = ("reselect", "fixed")
_WIDTH = 1024  # columns of targets and draws in one product


@dataclass(frozen=True)
class _Task:
    """The two models, and how their penalties are set in the draws."""

    fit: SpacesFit
    spaces: Spaces
    models: tuple[Spaces, Spaces]  # the joint and the reduced one
    select: str
    reselect: bool

    def differences(self, y: np.ndarray, alphas: Sequence[np.ndarray]) -> np.ndarray:
        """R2 of the joint minus that of the reduced model, for columns of permuted targets."""
        tiles, found = self.fit.tiles(self.spaces, y), []
        for model, alpha in zip(self.models, alphas, strict=True):
            if self.reselect:
                r2 = cross_validate(model, tiles, self.fit.grid, self.select, "r2").score
            else:
                r2 = score_fixed(model, tiles, alpha, "r2")
            found.append(mean_over_folds(list(r2)))
        return found[0] - found[1]


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
    device: str = "cpu",
    backend: str | None = None,
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
    select, standardize, form, memory_mb, dtype, device, backend
        As for `variance_partition`.

    Returns
    -------
    xarray.Dataset
        `unique` (observed f(all) - f(all but the space)), `null_mean`, `null_sd` and the one-sided
        `p` = (k + 1) / (draws + 1) over `target`, with k the draws that reach the observed value;
        `null(draw, target)`. Attributes: `space`, `draws`, `alpha`, `form`, `missing`, `retries`
        (JSON list: what was repeated where memory ran out).

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
    used = rows_in_use(folds)
    draws, finite = _checked(draws, used, len(joined.x)), finite_columns(y, used)
    reduced = np.array([name != space for name in joined.names], dtype=np.float64)
    unique = np.full(y.shape[1], np.nan)
    null = np.full((len(draws), y.shape[1]), np.nan)
    # besides the observed targets: their fit and residual, permuted targets and their products
    itemsize = max(np.dtype(dtype).itemsize, y.itemsize)
    extra = 64.0 * len(grid.values) + 5.0 * itemsize * len(y)
    fit = SpacesFit(
        joined.x, joined.space_of, y if len(finite) == y.shape[1] else y[:, finite], folds, grid,
        standardize, form, dtype, backend_for(device, backend), memory_mb, extra,
        bases=2, columns=_WIDTH, copies=2,
    )  # fmt: skip

    def work(spaces: Spaces, part: slice) -> None:
        models = spaces.kept(np.ones_like(reduced)), spaces.kept(reduced)
        task = _Task(fit, spaces, models, select, alpha == "reselect")
        unique[finite[part]], null[:, finite[part]] = _block(task, part, draws)

    fit.run(work)
    precision = fit.made(fit.form)[0].form.dtype
    return xr.Dataset(
        {
            "unique": ("target", unique),
            "null_mean": ("target", null.mean(axis=0)),
            "null_sd": ("target", null.std(axis=0)),
            "p": ("target", _p_values(unique, null, precision)),
            "null": (("draw", "target"), null.astype(np.float32)),
        },
        attrs={
            "space": space,
            "draws": len(draws),
            "alpha": alpha,
            "form": fit.form,
            "missing": y.shape[1] - len(finite),
            "retries": json.dumps(fit.retries),
        },
    )


def out_of_fold(model: Spaces, y: Tiles, alpha: np.ndarray, dtype: Any) -> np.ndarray:
    """Predict every row from training rows that do not hold it.

    Rows that no outer fold tests, as with a hold-out, are predicted by the inner folds.

    Parameters
    ----------
    model : Spaces
    y : Tiles
    alpha : array, (folds, targets)
    dtype : numpy dtype

    Returns
    -------
    numpy.ndarray, (n, targets)
        For the centred targets; NaN in rows that are not in use.

    Raises
    ------
    InputError
        If a row in use is never tested.
    """
    layout = model.form.layout
    sets: list[tuple[Fold | Split, np.ndarray]] = list(zip(model.folds, alpha, strict=True))
    sets += [(split, one) for fold, one in zip(model.folds, alpha, strict=True)
             for split in fold.inner]  # fmt: skip
    missing = np.ones(layout.n_atoms, dtype=bool)
    chosen: list[Fold] = []
    penalties: list[np.ndarray] = []
    for one, penalty in sets:
        test = layout.members(one.test)
        if missing[test].any():
            # the last to write a row counts, and the first set that tests it shall
            chosen.insert(0, Fold("", one.train, one.test, ()))
            penalties.insert(0, penalty)
            missing &= ~test
    if missing.any():
        row = int(layout.order[layout.positions(missing)][0])
        raise InputError(
            f"folds: row {row} trains but is never tested, so it has no out-of-fold residual to "
            "permute; use a scheme that tests every row"
        )
    out = np.full((len(layout.atom), y.shape[1]), np.nan, dtype=dtype)
    predict_fixed(replace(model, folds=chosen), y, np.stack(penalties), out, np.zeros(y.shape[1]))
    return out


def _block(task: _Task, part: slice, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Observed difference of a block of targets, (targets,), and the draws', (draws, targets)."""
    fit, form = task.fit, task.spaces.form
    y = fit.y[:, part].astype(np.result_type(fit.y, form.dtype))
    y -= y[form.layout.order].mean(axis=0)
    tiles = fit.tiles(task.spaces, y)
    joint, reduced = (
        cross_validate(model, tiles, fit.grid, task.select, "r2") for model in task.models
    )
    explained = out_of_fold(task.models[1], tiles, reduced.alpha, y.dtype)
    del tiles
    rest, null, n_targets = y - explained, [], y.shape[1]
    step = max(1, min(fit.plan.block, _WIDTH * n_targets // fit.y.shape[1]) // n_targets)
    for start in progress(range(0, len(draws), step), "permuting residuals"):
        some = draws[start : start + step]
        permuted = np.concatenate([explained + rest[draw] for draw in some], axis=1)
        found = task.differences(permuted, (joint.alpha, reduced.alpha))
        null.append(found.reshape(len(some), n_targets))
    observed = mean_over_folds(list(joint.score)) - mean_over_folds(list(reduced.score))
    return observed, np.concatenate(null)


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
