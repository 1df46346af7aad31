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

import json
from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError, progress
from braid.encoding.backend import backend_for
from braid.encoding.folds import Fold
from braid.encoding.grid import Grid
from braid.encoding.planner import MEMORY_MB
from braid.encoding.solver import cross_validate, mean_over_folds
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
    device: str = "cpu",
    backend: str | None = None,
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
    device : {"cpu", "auto", "cuda"}
    backend : {"numpy", "torch"}, optional
        Array library, instead of the device's own (for tests).

    Returns
    -------
    xarray.Dataset
        `r2(subset, target)`: f, the mean over outer folds of 1 - SSE / SST with SST around the
        mean of the test rows; `variance(part, target)`: the parts; `r2_fold` and `alpha`
        (absolute) over (fold, subset, target); `member(subset, space)` and
        `part_member(part, space)`. Subsets and parts are named "a", "b", "a+b", ...: part "a" is
        what a alone explains, "a+b" what a and b share and nothing else has. Attributes: `form`,
        `select`, `missing` (targets), `retries` (JSON list: what was repeated where memory ran
        out).

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
    member, finite = subsets(len(joined.names)), finite_columns(y, rows_in_use(folds))
    shape = (len(folds), len(member), y.shape[1])
    r2, alpha = np.full(shape, np.nan), np.full(shape, np.nan)
    fit = SpacesFit(
        joined.x, joined.space_of, y if len(finite) == y.shape[1] else y[:, finite], folds, grid,
        standardize, form, dtype, backend_for(device, backend), memory_mb, bases=1,
    )  # fmt: skip

    def work(spaces: Spaces, part: slice) -> None:
        tiles, at = fit.tiles(spaces, fit.y[:, part]), finite[part]
        for number, gamma in enumerate(progress(member.astype(np.float64), "variance partition")):
            found = cross_validate(spaces.weighted(gamma), tiles, grid, select, "r2")
            alpha[:, number, at], r2[:, number, at] = found.alpha, found.score

    fit.run(work)
    f = mean_over_folds(list(r2))
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
        attrs={
            "form": fit.form,
            "select": select,
            "missing": y.shape[1] - len(finite),
            "retries": json.dumps(fit.retries),
        },
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
