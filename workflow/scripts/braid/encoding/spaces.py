"""Feature spaces side by side: joining them, choosing the form, and blocks of targets."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braid.common import BraidError, InputError
from braid.encoding.folds import Fold
from braid.encoding.grid import Grid
from braid.encoding.layout import layout_of
from braid.encoding.planner import MEMORY_MB
from braid.encoding.weighted import Crossed, Weighted
from braid.encoding.weighted_forms import GramWeighted, KernelWeighted

FORMS = ("auto", "gram", "kernel")
_GUARD = 1e-3  # largest tolerated relative error of the weakest penalised direction
_FLOOR = 64  # targets; below this a block no longer pays
_CAP = 4096  # targets; above this larger blocks no longer gain speed


@dataclass(frozen=True)
class Joined:
    """Feature spaces as columns of one matrix.

    Attributes
    ----------
    x : numpy.ndarray, (n, p)
        float32, or float64 if a space is.
    space_of : numpy.ndarray of int, (p,)
        Space of each column.
    names : tuple of str, (spaces,)
    """

    x: np.ndarray
    space_of: np.ndarray
    names: tuple[str, ...]


def join_spaces(spaces: Mapping[str, np.ndarray]) -> Joined:
    """Put feature spaces side by side.

    Parameters
    ----------
    spaces : mapping of str to array, (n, p_b)
        At least one; names may not hold "+", which joins the names of a subset.

    Raises
    ------
    InputError
        If a space is empty, has another number of rows than the others, or holds a value that is
        not finite.
    """
    if not spaces:
        raise InputError("feature spaces: none was given; name at least one")
    arrays = {name: np.asarray(values) for name, values in spaces.items()}
    n = len(next(iter(arrays.values())))
    for name, values in arrays.items():
        if "+" in name:
            raise InputError(f"feature space '{name}': a name may not hold '+'; rename it")
        if values.ndim != 2 or values.shape[1] == 0:
            raise InputError(
                f"feature space '{name}': shape {values.shape} is not (rows, features); give at "
                "least one feature"
            )
        if len(values) != n:
            raise InputError(
                f"feature space '{name}': {len(values)} rows, but the first space has {n}; build "
                "all spaces for the same samples"
            )
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise InputError(
                f"feature space '{name}': row {int(np.argmin(finite))} has a value that is not "
                "finite; mend the features or leave the row out"
            )
    wide = any(values.dtype == np.float64 for values in arrays.values())
    x = np.concatenate(list(arrays.values()), axis=1).astype(np.float64 if wide else np.float32)
    sizes = [values.shape[1] for values in arrays.values()]
    return Joined(x, np.repeat(np.arange(len(sizes)), sizes), tuple(arrays))


def spaces_of_groups(groups: Sequence[Hashable] | None, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Give each feature the number of its space; spaces are numbered in order of appearance.

    Parameters
    ----------
    groups : sequence of labels, (p,), or None
        None: all features are one space.
    p : int

    Returns
    -------
    space_of : numpy.ndarray of int, (p,)
    labels : numpy.ndarray, (spaces,)
    """
    if groups is None:
        return np.zeros(p, dtype=int), np.array([0])
    labels = np.asarray(groups)
    if labels.shape != (p,):
        raise InputError(f"groups: {labels.shape} labels for {p} features; give one per feature")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[inverse.ravel()], labels[np.sort(first)]


def prepare_spaces(
    x: np.ndarray,
    space_of: np.ndarray,
    folds: Sequence[Fold],
    grid: Grid,
    standardize: bool = False,
    form: str = "auto",
    dtype: Any = np.float32,
) -> Weighted:
    """Choose the form and make the matrices from which every weighting is solved.

    Parameters
    ----------
    x : array, (n, p)
    space_of : array of int, (p,)
        Space of each feature.
    folds : sequence of Fold
        Outer folds with their inner folds.
    grid : Grid
    standardize : bool
        Scale features by their standard deviation: over each training set in the Gram form, over
        all rows in use in the kernel form.
    form : {"auto", "gram", "kernel"}
        `auto`: kernels where there are more features than rows in the smallest outer training
        set, else Gram matrices.
    dtype : numpy dtype
        Of the products with targets, at least: the Gram form goes over to float64 where
        ``eps * L_max / alpha_min > 1e-3`` for a space or for all together.

    Raises
    ------
    InputError
        If the form is unknown, or the smallest penalty is too small even for float64.
    """
    if form not in FORMS:
        raise InputError(f"ridge.form: '{form}' is not one of {', '.join(FORMS)}")
    layout = layout_of(len(x), folds)
    if form == "kernel" or (form == "auto" and x.shape[1] > min(len(fold.train) for fold in folds)):
        return KernelWeighted(x, layout, space_of, standardize, dtype)
    made = GramWeighted(x, layout, space_of, standardize, dtype)
    condition = _condition(made, grid)
    if np.finfo(np.float64).eps * condition > _GUARD:
        raise InputError(
            f"ridge.alphas: the smallest penalty is {condition:.0e} times smaller than the largest "
            "eigenvalue, too small to solve with; raise it"
        )
    if np.finfo(made.dtype).eps * condition > _GUARD:
        return GramWeighted(x, layout, space_of, standardize, np.float64)
    return made


def _condition(made: Weighted, grid: Grid) -> float:
    """Largest ratio of an eigenvalue to the smallest penalty, over each space and all of them."""
    rows = made.layout.order
    worst = 0.0
    for gamma in np.unique(np.vstack([np.eye(made.n_spaces), np.ones(made.n_spaces)]), axis=0):
        basis = made.basis(gamma, rows)
        alpha = float(grid.absolute(basis.mean_value)[0])
        if alpha > 0:
            worst = max(worst, float(basis.values.max(initial=0.0)) / alpha)
    return worst


def count_sets(made: Weighted, folds: Sequence[Fold]) -> int:
    """Count the distinct sets of rows of outer and inner folds that are more than one atom."""
    outer = [rows for fold in folds for rows in (fold.train, fold.test)]
    inner = [rows for fold in folds for one in fold.inner for rows in (one.train, one.test)]
    members = [made.layout.members(rows) for rows in (*outer, *inner)]
    return max(1, len({one.tobytes() for one in members if one.sum() > 1}))


def blocks_of(
    made: Weighted,
    n_targets: int,
    sets: int,
    extra: float = 0.0,
    memory_mb: float = MEMORY_MB,
) -> list[slice]:
    """Cut the targets into blocks that fit the memory limit, and hold `made` to it.

    Parameters
    ----------
    made : Weighted
    n_targets : int
    sets : int
        Sets of rows in use for one block (see `count_sets`); as many bases are kept where they
        fit.
    extra : float
        Further bytes per target, such as the scores of all weightings and penalties.
    memory_mb : float
        Limit, the caller's own arrays not counted.

    Raises
    ------
    BraidError
        If even the smallest block does not fit.
    """
    fixed, each = made.bytes_fixed(), made.bytes_per_basis()
    column = made.bytes_per_target(sets) + extra
    least = min(n_targets, _FLOOR)
    free = memory_mb * 2.0**20 - fixed - each
    if free < column * least:
        need = (fixed + each + column * least) / 2.0**20
        raise BraidError(
            f"ridge: {len(made.space_of)} features of {made.n_spaces} spaces and "
            f"{len(made.layout.order)} rows need {need:.0f} MB in the {made.form} form, but "
            f"ridge.memory_mb allows {memory_mb:.0f}; raise it or use fewer features"
        )
    block = int(min(n_targets, _CAP, free // column))
    made.keep = int(max(1, min(sets, 1 + (free - column * block) // each)))
    return [slice(start, min(start + block, n_targets)) for start in range(0, n_targets, block)]


class Blocks:
    """Blocks of targets with their cross-products; the last block made is kept.

    Parameters
    ----------
    made : Weighted
    y : array, (n, targets)
    slices : list of slice
    """

    def __init__(self, made: Weighted, y: np.ndarray, slices: list[slice]) -> None:
        self.made, self.y, self.slices = made, y, slices
        self._last: tuple[slice, Crossed] | None = None

    def __len__(self) -> int:
        return len(self.slices)

    def __iter__(self) -> Iterator[tuple[slice, Crossed]]:
        for part in self.slices:
            if self._last is None or self._last[0] != part:
                self._last = None  # so that two blocks are never held at a time
                self._last = (part, self.made.cross(self.y[:, part]))
            yield self._last


def checked_targets(y: np.ndarray, n: int) -> np.ndarray:
    """Targets as a matrix of floating-point numbers with `n` rows.

    Raises
    ------
    InputError
        If the shape is another.
    """
    y = np.asarray(y)
    if y.ndim != 2 or len(y) != n or y.shape[1] == 0:
        raise InputError(
            f"targets: shape {y.shape} is not ({n}, targets); give one row per row of the features"
        )
    return y if y.dtype.kind == "f" else y.astype(np.float64)


def labels_of_targets(groups: Sequence[Hashable] | None, n_targets: int) -> np.ndarray | None:
    """Labels that group the targets, checked.

    Raises
    ------
    InputError
        If there is not one label per target.
    """
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n_targets,):
        raise InputError(
            f"groups of targets: {labels.shape} labels for {n_targets} targets; give one each"
        )
    return labels


def finite_columns(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Targets without a missing value in the rows in use, as positions.

    Raises
    ------
    InputError
        If a value is infinite, or every target has a missing value.
    """
    finite = np.ones(y.shape[1], dtype=bool)
    for start in range(0, y.shape[1], _CAP):
        used = y[rows, start : start + _CAP]
        infinite = np.isinf(used)
        if infinite.any():
            row, target = (int(at[0]) for at in np.nonzero(infinite))
            raise InputError(
                f"target {start + target}: the value in row {int(rows[row])} is infinite; mend the "
                "responses"
            )
        finite[start : start + _CAP] = ~np.isnan(used).any(axis=0)
    if not finite.any():
        raise InputError("targets: every one has missing values; check the preprocessing")
    return np.flatnonzero(finite)
