"""What all tests of transfer share: the matched pair, its draws, penalties, scores, predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from braid.common import InputError
from braid.encoding.design import Source, check_aligned, name_of, open_design, open_response
from braid.encoding.fit import backend_of, grid_of, memory_limit
from braid.encoding.solver import centred, plan_for, predict_fixed, prepare, select_alpha
from braid.inference.nulls import Draws
from braid.inference.permutation import draw_scores
from braid.inference.sites import check_fit, draws_of
from braid.transfer.pair import Joined, check_pair, join, match_targets


@dataclass(frozen=True)
class Pair:
    """Designs and responses of a source and a target whose targets are matched by name.

    Attributes
    ----------
    source, target : tuple of xarray.Dataset and xarray.DataArray
        Design and response.
    columns : tuple of numpy.ndarray of int, (matched targets,)
        Matched targets in the source's and in the target's response.
    finite : numpy.ndarray of bool, (matched targets,)
        Whether neither response misses a value.
    """

    source: tuple[xr.Dataset, xr.DataArray]
    target: tuple[xr.Dataset, xr.DataArray]
    columns: tuple[np.ndarray, np.ndarray]
    finite: np.ndarray

    @property
    def tested(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns without missing values."""
        return self.columns[0][self.finite], self.columns[1][self.finite]

    @property
    def about(self) -> xr.Dataset:
        """Coordinates of the matched targets, as the target's response has them."""
        return self.target[1].coords.to_dataset().isel(target=self.columns[1])

    def join(self, layer: str, params: Mapping[str, Any], halves: bool = False) -> Joined:
        """Join the two in one layer."""
        check_pair(self.source[0], self.target[0], layer)
        return join(self.source, self.target, self.tested, layer, params, halves)

    def counts(self) -> dict[str, int]:
        """Numbers of targets: matched, of the source, of the target, and untested."""
        return {
            "n_matched": len(self.finite),
            "n_source": int(self.source[1].sizes["target"]),
            "n_target": int(self.target[1].sizes["target"]),
            "n_untested": int(np.count_nonzero(~self.finite)),
        }


def open_pair(
    source_design: Source,
    source_response: xr.DataArray | Source,
    source_fit: xr.Dataset,
    target_design: Source,
    target_response: xr.DataArray | Source,
    target_fit: xr.Dataset,
) -> Pair:
    """Open both analyses, check that inputs belong together, and match their targets.

    Raises
    ------
    InputError
        If they do not belong together, no target is in both, or all have missing values.
    """
    source = open_design(source_design), open_response(source_response)
    target = open_design(target_design), open_response(target_response)
    for (design, response), fit in ((source, source_fit), (target, target_fit)):
        check_aligned(design, response)
        check_fit(fit, response)
    columns = match_targets(source[1], target[1])
    finite = np.logical_and(
        *(
            np.isfinite(response.values).all(axis=0)[chosen]
            for (_, response), chosen in zip((source, target), columns, strict=True)
        )
    )
    if not finite.any():
        raise InputError(
            f"every target in common of {name_of(source[1])} and {name_of(target[1])} has missing "
            "values; check the preprocessing"
        )
    return Pair(source, target, columns, finite)


def source_layers(source_fit: xr.Dataset, among: Sequence[str] | None) -> list[str]:
    """Layers of a fit, or those of them that are `among` some, in order.

    Raises
    ------
    InputError
        If none is.
    """
    names = [str(name) for name in source_fit["layer"].values]
    common = names if among is None else [name for name in names if name in among]
    if not common:
        raise InputError(
            f"{name_of(source_fit)}: none of the layers {', '.join(among or [])} was fitted, which "
            "are aligned; fit all layers of the source analysis"
        )
    return common


def chosen_layer(source_fit: xr.Dataset, among: Sequence[str] | None) -> str:
    """Layer with the highest mean validation r in the source, of all or of some."""
    if among is None:
        return str(source_fit.attrs["chosen_layer"])
    common = source_layers(source_fit, among)
    mean = source_fit["score_validation"].sel(layer=common).mean("target")
    return common[int(np.argmax(mean.values))]


def source_draws(
    design: xr.Dataset,
    response: xr.DataArray,
    joined: Joined,
    params: Mapping[str, Any],
    seed: int,
) -> Draws:
    """Draws of the first of `test.nulls` that move the source's rows only."""
    test = dict(params.get("test") or {})
    kind = (list(test.get("nulls") or []) or ["circular_shift"])[0]
    (drawn,) = draws_of(design, response, joined.source_folds, [kind], test, seed)
    rows = np.tile(np.arange(len(joined.x), dtype=np.int32), (len(drawn.rows), 1))
    rows[:, : joined.n_source] = drawn.rows
    return Draws(drawn.kind, rows, drawn.distinct, drawn.note)


def unmoved(drawn: Draws) -> Draws:
    """Make the draw that moves nothing."""
    return replace(drawn, rows=np.arange(drawn.rows.shape[1], dtype=np.int32)[None])


def ridge_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Give the ridge its settings for joined features, which are scaled already."""
    return {**(params.get("ridge") or {}), "standardize": False}


def penalties(joined: Joined, params: Mapping[str, Any]) -> np.ndarray:
    """Penalty of every target, chosen on the source's folds, (targets,)."""
    ridge = dict(params.get("ridge") or {})
    grid, backend = grid_of(ridge), backend_of(ridge)
    memory_mb = memory_limit(ridge, backend)
    x, targets = joined.x[: joined.n_source], joined.y.shape[1]
    problem = prepare(
        x, [joined.whole], grid, ridge.get("standardize", True), ridge.get("form", "auto"),
        backend=backend, memory_mb=memory_mb,
    )  # fmt: skip
    plan = plan_for(problem, x.shape[1], targets, len(grid.values), memory_mb=memory_mb)
    select, found = str(ridge.get("select", "r")), []
    for start in range(0, targets, plan.block):
        block = joined.y[slice(0, joined.n_source), slice(start, start + plan.block)]
        block = centred(problem.arrange(block))[0]
        found.append(select_alpha(problem, block, joined.whole, grid, select)[0])
    return np.concatenate(found)


def scores_of(
    joined: Joined,
    draws: Draws,
    alpha: np.ndarray,
    params: Mapping[str, Any],
    over: Callable[[np.ndarray], np.ndarray],
    observed: bool = False,
) -> np.ndarray:
    """Scores of draws, runs summed up by `over`, (draws, ..., targets).

    Parameters
    ----------
    joined : Joined
    draws : Draws
    alpha : array, (targets,)
    params : mapping
        `ridge` and `test` of the source analysis.
    over : callable
        See `draw_scores`.
    observed : bool
        Keep the penalties, whatever `test.alpha` says: they were chosen for these responses.
    """
    ridge, test = ridge_of(params), dict(params.get("test") or {})
    how = "fixed" if observed else str(test.get("alpha", "fixed"))
    wide = np.repeat(alpha[None], len(joined.folds), axis=0)
    (found,), _ = draw_scores(
        joined.x, joined.folds, grid_of(ridge), ridge, joined.y, [draws], wide, how, over
    )
    return found


def observed_by_run(
    joined: Joined, draws: Draws, alpha: np.ndarray, params: Mapping[str, Any]
) -> np.ndarray:
    """Observed Pearson r of every run of the target, (runs, targets), float32."""
    found: np.ndarray = scores_of(
        joined, unmoved(draws), alpha, params, lambda runs: runs, observed=True
    )[0]
    return found


def predict_blocks(
    joined: Joined, alpha: np.ndarray, params: Mapping[str, Any], targets: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Predict the target's responses with the source's model, a block of targets at a time.

    Parameters
    ----------
    joined : Joined
    alpha : array, (targets,)
    params : mapping
        `ridge` of the source analysis.
    targets : array of int, optional
        Default: all.

    Yields
    ------
    part : slice
        Of `targets`.
    predicted : numpy.ndarray of float32, (target rows, targets of the part)
        From full delays, in the units of the source's responses; NaN in rows that no run tests.
    """
    ridge = ridge_of(params)
    backend = backend_of(ridge)
    chosen = np.arange(joined.y.shape[1]) if targets is None else targets
    problem = prepare(
        joined.x, joined.folds, grid_of(ridge), False, ridge.get("form", "auto"), nested=False,
        alpha_floor=float(np.nanmin(alpha)), backend=backend,
        memory_mb=memory_limit(ridge, backend),
    )  # fmt: skip
    memory_mb = memory_limit(ridge, backend)
    width = plan_for(problem, joined.x.shape[1], len(chosen), 1, False, memory_mb).block
    for start in range(0, len(chosen), width):
        part = slice(start, min(start + width, len(chosen)))
        block = joined.y[:, chosen[part]]
        mean = block[joined.whole.train].mean(axis=0, dtype=np.float64)
        out = np.full(block.shape, np.nan, dtype=np.float32)
        wide = np.repeat(alpha[chosen[part]][None], len(joined.folds), axis=0)
        arranged = problem.arrange(block - mean.astype(block.dtype))
        predict_fixed(problem, arranged, wide, out, mean)
        yield part, out[joined.n_source :]


def predictions(joined: Joined, alpha: np.ndarray, params: Mapping[str, Any]) -> np.ndarray:
    """Predictions of all targets at once, (target rows, targets); see `predict_blocks`."""
    return np.concatenate([found for _, found in predict_blocks(joined, alpha, params)], axis=1)
