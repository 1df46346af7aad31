"""The permutation test of one network and one subject: one row per site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError
from braid.encoding.design import (
    Source,
    check_aligned,
    delays_of,
    name_of,
    open_design,
    open_response,
    read_design,
)
from braid.encoding.fit import check_device, finite_targets, grid_of
from braid.encoding.folds import Fold, folds_of, run_labels
from braid.encoding.planner import MEMORY_MB
from braid.inference.decision import (
    Sites,
    bh,
    group_targets,
    max_t,
    p_values,
    site_maxima,
    studentised,
)
from braid.inference.nulls import Draws, draw_permutations
from braid.inference.permutation import null_problem, null_scores

BESIDE = 200  # draws at most of nulls that only show their width beside the primary one
SITES_COLUMNS = {
    "analysis": "Analysis of the config",
    "subject": "Subject label",
    "model": "Network, its untrained twin (_untrained) or a combination",
    "layer": "Layer with the highest r in the inner folds",
    "site": "Electrode, voxel or parcel",
    "region": "Region label of the site",
    "x": "Position, mm",
    "y": "Position, mm",
    "z": "Position, mm",
    "n_targets": "Targets of the site that were tested (time bins of an electrode)",
    "best_bin": "Start of the window with the highest score relative to the event, s",
    "score": "Held-out Pearson r, mean over outer folds; the highest over the bins of an electrode",
    "score_validation": "Mean Pearson r of the inner folds for the target that gives the score",
    "statistic": "Highest studentised score over the site's targets: minus the mean, over the "
    "standard deviation, of the n_draws + 1 values with the observed one",
    "null_mean": "Mean of the null draws for the target that gives the score, Pearson r",
    "null_sd": "Standard deviation of the null draws for that target, Pearson r",
    "p": "One-sided permutation p of the statistic, (k + 1) / (n_draws + 1)",
    "q": "Benjamini-Hochberg false discovery rate over the sites of this subject and model",
    "p_fwe": "Family-wise p over the same sites, from the maximum statistic of each draw",
    "significant": "Whether q is at most the level of the analysis",
    "n_draws": "Draws of the null",
    "null": "Kind of null that p comes from",
}


def test_sites(
    design: Source,
    response: xr.DataArray | Source,
    fit: xr.Dataset,
    params: Mapping[str, Any],
    seed: int,
    device: str = "cpu",
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Test at which sites the chosen layer predicts held-out responses.

    The null moves responses within runs and trains every outer fold again. A site's statistic
    is the maximum over its targets of the studentised score, so that an electrode with many
    bins is not favoured. The layer stays the one that was chosen on the observed responses.

    Parameters
    ----------
    design : xarray.Dataset or path
    response : xarray.DataArray, xarray.Dataset or path
    fit : xarray.Dataset
        What `fit_encoding` gave for them.
    params : mapping
        `folds`, `ridge` as for `fit_encoding`; `test` with `nulls` (the first gives p; of
        the others, whose width alone is reported, at most `BESIDE` draws are made), `n`,
        `min_shift` (s), `block` (s), `alpha` ("fixed" or "reselect") and `fdr`. Optional
        `labels` with `analysis`, `subject`, `model`.
    seed : int
        The same seed gives models of the same samples the same draws.
    device : {"cpu", "auto", "cuda"}

    Returns
    -------
    nulls : xarray.Dataset
        Per kind `null_{kind}(draw, site)` (the statistic of each draw), `null_mean_{kind}` and
        `null_sd_{kind}(target)` (of the score), and `statistic(site)`; attributes `draws`,
        `distinct`, `notes` (JSON by kind), `naive_sd` (of the score if held-out samples and folds
        were independent) and `q_floor` (the smallest q that one site alone can reach).
    sites : pandas.DataFrame
        Columns of `SITES_COLUMNS`.

    Raises
    ------
    InputError
        If the inputs do not belong together, or a run is too short for a null.
    """
    check_device(device)
    design, response = open_design(design), open_response(response)
    check_aligned(design, response)
    check_fit(fit, response)
    ridge, test = dict(params.get("ridge") or {}), dict(params.get("test") or {})
    folds = folds_of(response, params.get("folds") or {"scheme": "blocks", "n": 5})
    _check_folds(fit, folds)
    layer = str(fit.attrs["chosen_layer"])
    sites = group_targets(response["site"].values)
    observed = fit["score"].sel(layer=layer).values.astype(np.float64)
    kinds = list(test.get("nulls") or ["circular_shift"])
    draws = draws_of(design, response, folds, kinds, test, seed)
    null = _all_null_scores(design, response, fit, layer, folds, draws, ridge, test, seed)
    parts = {kind: studentised(observed, null[kind]) for kind in kinds}
    nulls = _nulls_dataset(response, sites, draws, null, parts, folds)
    return nulls, _sites_table(response, fit, layer, sites, observed, null, parts, params)


def draws_of(
    design: xr.Dataset,
    response: xr.DataArray,
    folds: list[Fold],
    kinds: list[str],
    test: Mapping[str, Any],
    seed: int,
) -> list[Draws]:
    """Draw the permutations of each kind, for the runs that the folds use."""
    runs, times = response["run"].values, response["time"].values.astype(float)
    delays = delays_of(design)
    used = np.unique(np.concatenate([np.r_[fold.train, fold.test] for fold in folds]))
    moved = np.isin(runs, np.unique(runs[used]))
    n = int(test.get("n", 1000))
    found = []
    for number, kind in enumerate(kinds):
        drawn = draw_permutations(
            kind,
            runs[moved],
            times[moved],
            n if number == 0 else min(n, BESIDE),
            seed,
            min_shift=float(test.get("min_shift", 20.0)),
            block=float(test.get("block", 20.0)),
            span=max(delays) - min(delays),
            run_labels=run_labels(response),
        )
        rows = np.tile(np.arange(len(runs), dtype=np.int32), (len(drawn.rows), 1))
        rows[:, moved] = np.flatnonzero(moved)[drawn.rows]
        found.append(Draws(kind, rows, drawn.distinct, drawn.note))
    return found


def check_fit(fit: xr.Dataset, response: xr.DataArray) -> None:
    """Refuse a fit that was not made of this response."""
    same = fit.sizes["target"] == response.sizes["target"] and np.array_equal(
        fit["target"].values.astype(str), response["target"].values.astype(str)
    )
    if not same or fit.sizes["sample"] != response.sizes["sample"]:
        raise InputError(
            f"{name_of(fit)} was not fitted to {name_of(response)}: targets or samples differ; "
            "fit again"
        )


def naive_sd(folds: list[Fold]) -> float:
    """Compute the score's standard deviation for independent held-out samples and folds."""
    return float(np.sqrt(sum(1.0 / len(fold.test) for fold in folds)) / len(folds))


def _check_folds(fit: xr.Dataset, folds: list[Fold]) -> None:
    """Refuse a fit that was made with other folds."""
    tested = np.full(fit.sizes["sample"], -1)
    for number, fold in enumerate(folds):
        tested[fold.test] = number
    if not np.array_equal(tested, fit["fold"].values):
        raise InputError(
            f"{name_of(fit)} was made with other folds than this test's; fit again with the "
            "same folds"
        )


def _all_null_scores(
    design: xr.Dataset,
    response: xr.DataArray,
    fit: xr.Dataset,
    layer: str,
    folds: list[Fold],
    draws: list[Draws],
    ridge: Mapping[str, Any],
    test: Mapping[str, Any],
    seed: int,
) -> dict[str, np.ndarray]:
    """Null scores of every kind, (draws, targets); NaN for targets without a fit."""
    y, finite = finite_targets(response)
    grid = grid_of(ridge)
    alpha = fit["alpha"].sel(layer=layer).values.astype(np.float64)[:, finite]
    reselect = test.get("alpha", "fixed") == "reselect"
    x = read_design(design, layer)
    problem = null_problem(x, folds, grid, ridge, alpha, reselect)
    found = {}
    for drawn in draws:
        null = np.full((len(drawn.rows), len(finite)), np.nan, dtype=np.float32)
        null[:, finite] = null_scores(
            problem,
            y,
            drawn,
            alpha,
            grid,
            ridge.get("select", "r"),
            reselect,
            ridge.get("memory_mb", MEMORY_MB),
        )
        found[drawn.kind] = null
    return found


def _nulls_dataset(
    response: xr.DataArray,
    sites: Sites,
    draws: list[Draws],
    null: Mapping[str, np.ndarray],
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    folds: list[Fold],
) -> xr.Dataset:
    """Null distributions as a labelled array; kinds with fewer draws are filled with NaN."""
    most = max(len(drawn.rows) for drawn in draws)
    variables: dict[str, Any] = {}
    for drawn in draws:
        kind, statistic = drawn.kind, site_maxima(parts[drawn.kind][1], sites)
        filled = np.full((most, len(sites.names)), np.nan, dtype=np.float32)
        filled[: len(statistic)] = statistic
        about = {"long_name": f"studentised maximum over targets, null {kind}", "units": "1"}
        variables[f"null_{kind}"] = (("draw", "site"), filled, about)
        finite = np.isfinite(null[kind]).any(axis=0)
        for name, function in (("mean", np.nanmean), ("sd", np.nanstd)):
            values = np.full(null[kind].shape[1], np.nan, dtype=np.float32)
            values[finite] = function(null[kind][:, finite].astype(np.float64), axis=0)
            about = {"long_name": f"{name} of the score over draws, null {kind}", "units": "1"}
            variables[f"null_{name}_{kind}"] = ("target", values, about)
    primary = draws[0].kind
    variables["statistic"] = (
        "site",
        site_maxima(parts[primary][0], sites).astype(np.float32),
        {"long_name": f"studentised maximum over targets, null {primary}", "units": "1"},
    )
    kept = {
        name: response.coords[name]
        for name in ("target", "bin", "region")
        if name in response.coords
    }
    kept["target_site"] = ("target", np.asarray(response["site"].values, dtype=str))
    return xr.Dataset(
        variables,
        coords={**kept, "site": sites.names},
        attrs={
            "primary": primary,
            "draws": json.dumps({drawn.kind: len(drawn.rows) for drawn in draws}),
            "distinct": json.dumps({drawn.kind: drawn.distinct for drawn in draws}),
            "notes": json.dumps({drawn.kind: drawn.note for drawn in draws if drawn.note}),
            "naive_sd": naive_sd(folds),
            "n_test": int(sum(len(fold.test) for fold in folds)),
            "q_floor": min(1.0, len(sites.names) / (len(draws[0].rows) + 1)),
        },
    )


def _sites_table(
    response: xr.DataArray,
    fit: xr.Dataset,
    layer: str,
    sites: Sites,
    observed: np.ndarray,
    null: Mapping[str, np.ndarray],
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    params: Mapping[str, Any],
) -> pd.DataFrame:
    """One row per site, from the primary null."""
    kind = next(iter(parts))
    statistic = site_maxima(parts[kind][0], sites)
    drawn = site_maxima(parts[kind][1], sites)
    p = p_values(statistic, drawn)
    q = bh(p)
    best = best_targets(observed, sites)
    scored = np.isfinite(observed[best])
    labels = {
        "analysis": fit.attrs.get("analysis", "n/a"),
        "subject": response.attrs.get("subject", "n/a"),
        "model": fit.attrs.get("model", "n/a"),
        **(params.get("labels") or {}),
    }
    level = float((params.get("test") or {}).get("fdr", 0.05))
    at_best = null[kind][:, best].astype(np.float64)
    table = pd.DataFrame(
        {
            **labels,
            "layer": layer,
            "site": sites.names,
            **{name: _coordinate(response, name)[best] for name in ("region", "x", "y", "z")},
            "n_targets": np.bincount(
                sites.code, weights=np.isfinite(observed), minlength=len(sites.names)
            ).astype(int),
            "best_bin": np.where(scored, _coordinate(response, "bin")[best], np.nan),
            "score": observed[best],
            "score_validation": fit["score_validation"].sel(layer=layer).values[best],
            "statistic": statistic,
            "null_mean": np.where(scored, at_best.mean(axis=0), np.nan),
            "null_sd": np.where(scored, at_best.std(axis=0), np.nan),
            "p": p,
            "q": q,
            "p_fwe": max_t(statistic, drawn),
            "significant": np.isfinite(q) & (np.nan_to_num(q, nan=1.0) <= level),
            "n_draws": len(drawn),
            "null": kind,
        }
    )
    return table[list(SITES_COLUMNS)]


def best_targets(score: np.ndarray, sites: Sites) -> np.ndarray:
    """Target with the highest score of each site; the first where none has a score."""
    filled = np.where(np.isfinite(score), score, -np.inf)
    order = np.lexsort((-filled, sites.code))
    return order[np.searchsorted(sites.code[order], np.arange(len(sites.names)))]


def _coordinate(response: xr.DataArray, name: str) -> np.ndarray:
    """Coordinate of the targets; NaN or `n/a` where the response has none."""
    if name in response.coords:
        values = response[name].values
        return values.astype(str).astype(object) if name == "region" else values.astype(float)
    missing = response.sizes["target"]
    return np.full(missing, "n/a", dtype=object) if name == "region" else np.full(missing, np.nan)
