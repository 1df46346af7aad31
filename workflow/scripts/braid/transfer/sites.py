"""The test of transfer for one network and one subject: one row per site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError
from braid.encoding.design import (
    Source,
    check_aligned,
    name_of,
    open_design,
    open_response,
)
from braid.encoding.fit import backend_of, grid_of, memory_limit
from braid.encoding.grid import Grid
from braid.encoding.solver import centred, plan_for, prepare, select_alpha
from braid.inference.decision import (
    bh,
    group_targets,
    max_t,
    p_values,
    site_maxima,
    studentised,
)
from braid.inference.nulls import Draws
from braid.inference.permutation import draw_scores
from braid.inference.sites import best_targets, check_fit, draws_of
from braid.transfer.pair import Joined, check_pair, join, match_targets
from braid.transfer.tuning import TUNINGS, tuned

TRANSFER_COLUMNS = {
    "transfer": "Transfer of the config",
    "subject": "Subject label",
    "model": "Network, its untrained twin (_untrained) or a combination",
    "layer": "Layer of the source's network: that with the highest mean validation r in the source",
    "tuning": "What is done about tuning of opposite sign: none, sign_loo, gain_loo or abs",
    "worth": "What the score is then: raw, held out (the sign is that of the other runs) or biased",
    "site": "Electrode, voxel or parcel",
    "region": "Region label of the site",
    "x": "Position, mm",
    "y": "Position, mm",
    "z": "Position, mm",
    "score": "Pearson r of the source's model with the target's responses, mean over the target's "
    "runs; the highest over the bins of an electrode, each predicted from the same bin",
    "sign": "Sign of the raw score",
    "score_within": "Held-out Pearson r of the target analysis' own fit, in the layer chosen there;"
    " the highest over the bins of an electrode",
    "relative": "score / score_within, where the target analysis' own test has p <= .05; n/a else",
    "null_mean": "Mean of the null draws for the target that gives the score, Pearson r",
    "null_sd": "Standard deviation of the null draws for that target, Pearson r",
    "p": "One-sided permutation p of the studentised maximum over the site's targets, "
    "(k + 1) / (n_draws + 1)",
    "q": "Benjamini-Hochberg false discovery rate over the sites of this subject and model",
    "p_fwe": "Family-wise p over the same sites, from the maximum statistic of each draw",
    "significant": "Whether q is at most the level of the source analysis",
    "n_draws": "Draws of the null",
    "null": "Kind of null: how the source's responses were moved before training",
}


def transfer_sites(
    source_design: Source,
    source_response: xr.DataArray | Source,
    source_fit: xr.Dataset,
    target_design: Source,
    target_response: xr.DataArray | Source,
    target_fit: xr.Dataset,
    params: Mapping[str, Any],
    seed: int,
    target_sites: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Test at which sites a model of one analysis predicts the responses of another.

    The model is trained on all rows of the source, in the layer that the source's inner folds
    choose, with penalties chosen per target on the source's folds; it sees no response of the
    target. The score is Pearson r per run of the target, averaged over runs as `tuning` says.
    Under the null the source's responses are moved within their runs and the model is trained
    again; the observed score is computed as a draw that moves nothing. Targets are matched by
    name.

    Parameters
    ----------
    source_design, target_design : xarray.Dataset or path
        Of one network and one subject.
    source_response, target_response : xarray.DataArray, xarray.Dataset or path
        `(sample, target)`. Targets with a missing value in either are left untested (NaN).
    source_fit, target_fit : xarray.Dataset
        What `fit_encoding` gave for them.
    params : mapping
        `folds`, `ridge` and `test` of the source analysis, as for `test_sites`; the first of
        `test.nulls` gives p. `tuning`: options of `braid.transfer.tuning` (default `none` alone).
        `layers`: those to choose from; all of them if None.
    seed : int
        The same seed gives models of the same samples the same draws.
    target_sites : pandas.DataFrame, optional
        The target analysis' own test, `site` and `p`, for `relative`.

    Returns
    -------
    pandas.DataFrame
        Columns of `TRANSFER_COLUMNS`, a row per option of `tuning` and site, in the order of the
        target's sites; its `attrs` tell `n_matched`, `n_source` and `n_target` (numbers of
        targets) and `n_untested`.

    Raises
    ------
    InputError
        If the inputs do not belong together, layers, features or delays differ, no target is in
        both, or a run of the source is too short for the null.
    """
    source = open_design(source_design), open_response(source_response)
    target = open_design(target_design), open_response(target_response)
    for (design, response), fit in ((source, source_fit), (target, target_fit)):
        check_aligned(design, response)
        check_fit(fit, response)
    layer = _chosen_layer(source_fit, params.get("layers"))
    tunings = list(params.get("tuning") or ["none"])
    check_pair(source[0], target[0], layer)
    in_source, in_target = match_targets(source[1], target[1])
    matched = source[1].isel(target=in_source), target[1].isel(target=in_target)
    finite = _finite(*matched)
    kept = [response.isel(target=np.flatnonzero(finite)) for response in matched]
    halves = any(name.endswith("_loo") for name in tunings)
    joined = join((source[0], kept[0]), (target[0], kept[1]), layer, params, halves)
    drawn = _draws(source[0], kept[0], joined, params, seed)
    scores = np.full((len(drawn.rows) + 1, len(tunings) + 1, len(finite)), np.nan)
    # the raw scores first, for the signs
    scores[:, :, finite] = _scores(joined, drawn, params, ["none", *tunings])
    within = target_fit["score"].sel(layer=target_fit.attrs["chosen_layer"]).values[in_target]
    labels = {
        "transfer": "n/a",
        "subject": target[1].attrs.get("subject", "n/a"),
        "model": target_fit.attrs.get("model", "n/a"),
        "layer": layer,
    }
    tested = _tested(matched[1], target_sites)
    table = pd.concat(
        [
            _table(
                matched[1],
                {**labels, "tuning": name, "worth": TUNINGS[name]},
                scores[:, number],
                scores[0, 0],
                within.astype(np.float64),
                tested,
                drawn.kind,
                params,
            )
            for number, name in enumerate(tunings, start=1)
        ],
        ignore_index=True,
    )
    table.attrs = {
        "n_matched": len(finite),
        "n_source": int(source[1].sizes["target"]),
        "n_target": int(target[1].sizes["target"]),
        "n_untested": int(np.count_nonzero(~finite)),
    }
    return table


def _chosen_layer(source_fit: xr.Dataset, among: Sequence[str] | None) -> str:
    """Layer with the highest mean validation r in the source, of all or of some."""
    if among is None:
        return str(source_fit.attrs["chosen_layer"])
    common = [name for name in source_fit["layer"].values.astype(str) if name in among]
    if not common:
        raise InputError(
            f"{name_of(source_fit)}: none of the layers {', '.join(among)} was fitted, which are "
            "aligned; fit all layers of the source analysis"
        )
    mean = source_fit["score_validation"].sel(layer=common).mean("target")
    return common[int(np.argmax(mean.values))]


def _tested(response: xr.DataArray, table: pd.DataFrame | None) -> np.ndarray:
    """Whether the target's own test has p <= .05 at each site, in the order of `group_targets`."""
    names = group_targets(response["site"].values).names
    if table is None:
        return np.zeros(len(names), dtype=bool)
    p = table.set_index(table["site"].astype(str))["p"].astype(float)
    return np.asarray(p.reindex(names).le(0.05))


def _finite(source: xr.DataArray, target: xr.DataArray) -> np.ndarray:
    """Mask of the matched targets that have no missing value in either response."""
    finite = np.logical_and(
        *(np.isfinite(response.values).all(axis=0) for response in (source, target))
    )
    if not finite.any():
        raise InputError(
            f"every target in common of {name_of(source)} and {name_of(target)} has missing "
            "values; check the preprocessing"
        )
    return finite


def _draws(
    design: xr.Dataset,
    response: xr.DataArray,
    joined: Joined,
    params: Mapping[str, Any],
    seed: int,
) -> Draws:
    """Draws that move the source's rows only."""
    test = dict(params.get("test") or {})
    kind = (list(test.get("nulls") or []) or ["circular_shift"])[0]
    (drawn,) = draws_of(design, response, joined.source_folds, [kind], test, seed)
    rows = np.tile(np.arange(len(joined.x), dtype=np.int32), (len(drawn.rows), 1))
    rows[:, : joined.n_source] = drawn.rows
    return Draws(drawn.kind, rows, drawn.distinct, drawn.note)


def _scores(
    joined: Joined, drawn: Draws, params: Mapping[str, Any], tunings: Sequence[str]
) -> np.ndarray:
    """Observed scores and those of every draw, (1 + draws, tunings, targets).

    The source's folds choose the penalties, of draws too where these are chosen anew.
    """
    ridge, test = dict(params.get("ridge") or {}), dict(params.get("test") or {})
    grid = grid_of(ridge)
    alpha = _alphas(joined, grid, ridge, memory_limit(ridge, backend_of(ridge)))
    alpha = np.repeat(alpha[None], len(joined.folds), axis=0)
    # the features are scaled already
    plain = {**ridge, "standardize": False}
    fixed = joined.x, joined.folds, grid, plain, joined.y
    still = replace(drawn, rows=np.arange(len(joined.x), dtype=np.int32)[None])
    over = tuned(tunings, len(joined.folds))
    (observed,), _ = draw_scores(*fixed, [still], alpha, "fixed", over)
    (null,), _ = draw_scores(*fixed, [drawn], alpha, str(test.get("alpha", "fixed")), over)
    return np.concatenate([observed, null])


def _alphas(joined: Joined, grid: Grid, ridge: Mapping[str, Any], memory_mb: float) -> np.ndarray:
    """Penalty of every target, chosen on the source's folds."""
    x, y = joined.x[: joined.n_source], joined.y[: joined.n_source]
    problem = prepare(
        x, [joined.whole], grid, ridge.get("standardize", True), ridge.get("form", "auto"),
        backend=backend_of(ridge), memory_mb=memory_mb,
    )  # fmt: skip
    plan = plan_for(problem, x.shape[1], y.shape[1], len(grid.values), memory_mb=memory_mb)
    select = ridge.get("select", "r")
    parts = [
        select_alpha(
            problem,
            centred(problem.arrange(y[:, start : start + plan.block]))[0],
            joined.whole,
            grid,
            select,
        )[0]
        for start in range(0, y.shape[1], plan.block)
    ]
    return np.concatenate(parts)


def _table(
    response: xr.DataArray,
    labels: Mapping[str, Any],
    scores: np.ndarray,
    raw: np.ndarray,
    within: np.ndarray,
    tested: np.ndarray,
    kind: str,
    params: Mapping[str, Any],
) -> pd.DataFrame:
    """One row per site; `scores` holds the observed ones first, then those of the draws."""
    sites = group_targets(response["site"].values)
    observed, null = scores[0], scores[1:]
    parts = studentised(observed, null)
    statistic, drawn = site_maxima(parts[0], sites), site_maxima(parts[1], sites)
    p = p_values(statistic, drawn)
    q = bh(p)
    best, own = best_targets(observed, sites), site_maxima(within, sites)
    scored = np.isfinite(observed[best])
    level = float((params.get("test") or {}).get("fdr", 0.05))
    table = pd.DataFrame(
        {
            **labels,
            "site": sites.names,
            **{name: _coordinate(response, name)[best] for name in ("region", "x", "y", "z")},
            "score": observed[best],
            "sign": np.sign(raw[best]),
            "score_within": own,
            "relative": np.divide(
                observed[best], own, out=np.full(len(own), np.nan), where=tested & (own > 0)
            ),
            "null_mean": np.where(scored, null[:, best].mean(axis=0), np.nan),
            "null_sd": np.where(scored, null[:, best].std(axis=0), np.nan),
            "p": p,
            "q": q,
            "p_fwe": max_t(statistic, drawn),
            "significant": np.isfinite(q) & (np.nan_to_num(q, nan=1.0) <= level),
            "n_draws": len(null),
            "null": kind,
        }
    )
    return table[list(TRANSFER_COLUMNS)]


def _coordinate(response: xr.DataArray, name: str) -> np.ndarray:
    """Coordinate of the targets, or what stands for a missing one."""
    if name in response.coords:
        return np.asarray(response[name].values)
    return np.full(response.sizes["target"], "n/a" if name == "region" else np.nan, dtype=object)
