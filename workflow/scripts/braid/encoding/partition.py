"""Variance partitioning: every subset of feature spaces from one set of matrices.

Concatenate m spaces; the Gram matrices (or one kernel per space) and the cross-products with the
targets are made once, and each of the 2^m - 1 subsets is solved from their sub-blocks. With f(U)
the cross-validated R2 of subset U and f(empty) = 0, the variance that exactly the spaces of S
share is

    part(S) = sum over U in S of (-1)^(|U| + 1) f((N minus S) + U)

so that unique_a = f(ab) - f(b) and shared_ab = f(a) + f(b) - f(ab), and all parts add up to f(N).
Under cross-validation a part can be negative; it is reported as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError, progress
from braid.encoding.band_search import search
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
    prepare_spaces,
)
from braid.encoding.weighted import Crossed, Weighted, mean_over_folds, scores, shrunk

if TYPE_CHECKING:
    import xarray as xr

MOST = 6  # spaces; beyond it the number of parts is more than anyone can read


def variance_partition(
    spaces: Mapping[str, np.ndarray],
    y: np.ndarray,
    folds: Sequence[Fold],
    grid: Grid,
    *,
    select: str = "r2",
    standardize: bool = True,
    form: str = "auto",
    force: bool = False,
    memory_mb: float = MEMORY_MB,
    dtype: Any = np.float32,
) -> xr.Dataset:
    """Cross-validated R2 of every subset of feature spaces, and what exactly each subset shares.

    Parameters
    ----------
    spaces : mapping of str to array, (n, p_b)
    y : array, (n, targets)
        Targets with a missing value in the rows in use are left out: NaN in every result.
    folds : sequence of Fold
        Each subset chooses a penalty per target and outer fold on the inner folds.
    grid : Grid
    select : {"r", "r2", "mse"}
        What the inner folds maximise (`mse`: minimise).
    standardize, form, dtype
        As for `prepare_spaces`.
    force : bool
        Allow more than 6 spaces.
    memory_mb : float

    Returns
    -------
    xarray.Dataset
        `r2(subset, target)`: f, the mean over outer folds of 1 - SSE / SST with SST around the
        mean of the test rows; `variance(part, target)`: the parts; `r2_fold` and `alpha`
        (absolute) over (fold, subset, target); `member(subset, space)` and
        `part_member(part, space)`. Subsets and parts are named "a", "b", "a+b", ...: part "a" is
        what a alone explains, "a+b" what a and b share and nothing else has. Attributes: `form`,
        `select`, `missing` (targets).

    Raises
    ------
    InputError
        If there are more than 6 spaces without `force`, or a space, the targets or an option is
        not possible.
    BraidError
        If the problem does not fit the memory limit.
    """
    import xarray as xr

    if len(spaces) > MOST and not force:
        raise InputError(
            f"variance partition: {len(spaces)} feature spaces give {2 ** len(spaces) - 1} models; "
            f"join some of them (at most {MOST}), or pass force=True"
        )
    joined = join_spaces(spaces)
    y = checked_targets(y, len(joined.x))
    made = prepare_spaces(joined.x, joined.space_of, folds, grid, standardize, form, dtype)
    member = subsets(len(joined.names))
    finite = finite_columns(y, made.layout.order)
    shape = (len(folds), len(member), y.shape[1])
    r2, alpha = np.full(shape, np.nan), np.full(shape, np.nan)
    # scores of all penalties, and the block's own copy of the targets
    extra = 64.0 * len(grid.values) + y.itemsize * len(y)
    blocks = blocks_of(made, len(finite), count_sets(made, folds), extra, memory_mb)
    for part in progress(blocks, "variance partition"):
        block = Blocks(made, y[:, finite[part]], [slice(0, part.stop - part.start)])
        for number, gamma in enumerate(member.astype(np.float64)):
            alpha[:, number, finite[part]], r2[:, number, finite[part]] = nested_r2(
                made, block, folds, grid, gamma, select
            )
    f = mean_over_folds(r2)
    parts = parts_of(f, member)
    total = parts.sum(axis=0)
    assert np.allclose(total, f[-1], rtol=0, atol=1e-9 * 2 ** len(member[0]), equal_nan=True)
    names = ["+".join(np.array(joined.names)[one]) for one in member]
    return xr.Dataset(
        {
            "r2": (("subset", "target"), f),
            "r2_fold": (("fold", "subset", "target"), r2),
            "alpha": (("fold", "subset", "target"), alpha),
            "variance": (("part", "target"), parts),
            "member": (("subset", "space"), member),
            "part_member": (("part", "space"), member),
        },
        coords={
            "subset": names,
            "part": names,
            "space": list(joined.names),
            "fold": [fold.label for fold in folds],
        },
        attrs={"form": made.form, "select": select, "missing": y.shape[1] - len(finite)},
    )


def subsets(n_spaces: int) -> np.ndarray:
    """Every subset but the empty one, (subsets, spaces), bool: by size, the whole set last."""
    found = chain.from_iterable(
        combinations(range(n_spaces), size) for size in range(1, n_spaces + 1)
    )
    return np.stack([np.isin(np.arange(n_spaces), one) for one in found])


def parts_of(f: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Variance that exactly the spaces of each subset share, by inclusion and exclusion.

    Parameters
    ----------
    f : array, (subsets, targets)
        R2 of each subset.
    member : array of bool, (subsets, spaces)
        Every subset but the empty one.

    Returns
    -------
    numpy.ndarray of float64, (subsets, targets)
    """
    codes = member @ (1 << np.arange(member.shape[1]))
    row = {int(code): at for at, code in enumerate(codes)}
    whole = (1 << member.shape[1]) - 1
    signs = np.zeros((len(member), len(member)))
    for at, code in enumerate(codes):
        for chosen in range(whole + 1):
            inside = (whole & ~int(code)) | chosen
            if chosen & ~int(code) or inside == 0:
                continue
            signs[at, row[inside]] += (-1) ** (chosen.bit_count() + 1)
    return signs @ np.asarray(f, dtype=np.float64)


def outer_r2(
    made: Weighted, crossed: Crossed, fold: Fold, gamma: np.ndarray, alpha: np.ndarray
) -> np.ndarray:
    """R2 of one outer fold's test rows at given penalties, (targets,)."""
    basis = made.basis(gamma, fold.train)
    held = made.held(basis, fold.test)
    start = crossed.mean(basis.members, basis.n)
    b = shrunk(basis, made.project(basis, crossed), alpha)
    return scores(basis, held, made.targets(basis, held, crossed), b, start, alpha)["r2"]


def nested_r2(
    made: Weighted,
    block: Blocks,
    folds: Sequence[Fold],
    grid: Grid,
    gamma: np.ndarray,
    select: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a penalty inside each outer fold and score it outside.

    Parameters
    ----------
    made : Weighted
    block : Blocks
        A single block of targets.
    folds, grid, select
        As for `variance_partition`.
    gamma : array, (spaces,)
        1 for the spaces of the model, 0 for the others.

    Returns
    -------
    alpha, r2 : numpy.ndarray of float64, (folds, targets)
        Absolute penalty, and R2 of the test rows.
    """
    alpha, r2 = [], []
    for fold in folds:
        index = search(made, block, fold, grid, gamma[None], select, prune=0.0).index[0]
        basis = made.basis(gamma, fold.train)
        alpha.append(grid.absolute(basis.mean_value)[index])
        for _, crossed in block:
            r2.append(outer_r2(made, crossed, fold, gamma, alpha[-1]))
    return np.stack(alpha), np.stack(r2)
