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
from braid.encoding.fit import finite_targets, grid_of
from braid.encoding.folds import Fold, folds_of, run_labels
from braid.inference.decision import (
    Sites,
    fdr,
    group_targets,
    max_t,
    p_values,
    site_maxima,
    smallest_q,
    studentised,
)
from braid.inference.nulls import Draws, draw_permutations
from braid.inference.permutation import Agreement, draw_scores

BESIDE = 200  # draws at most of nulls that only show their width beside the primary one
MAXIMA = ("studentised", "raw")
LAYERS = ("chosen", "any")
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
    "statistic": "Highest studentised score over the site's targets (and over layers, if the "
    "analysis asks for any layer): minus the mean, over the standard deviation, of the "
    "n_draws + 1 values with the observed one",
    "null_mean": "Mean of the null draws for the target that gives the score, Pearson r",
    "null_sd": "Standard deviation of the null draws for that target, Pearson r",
    "p": "One-sided permutation p of the statistic, (k + 1) / (n_draws + 1)",
    "q": "False discovery rate over the sites of this subject and model (Benjamini-Hochberg "
    "unless the analysis asks for Benjamini-Yekutieli); sites without a p do not count",
    "p_fwe": "Family-wise p over the same sites, from the maximum of each draw (of studentised "
    "scores unless the analysis asks for raw ones)",
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
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Test at which sites the chosen layer predicts held-out responses.

    The null moves responses within runs and trains every outer fold again. A site's statistic
    is the maximum over its targets of the studentised score, so that an electrode with many
    bins is not favoured. The layer is the one that was chosen on the observed responses, which
    favours them: little where many sites, some of them driven, choose one layer together, much
    where a few silent sites choose for themselves. With `layer: any` the statistic is the
    maximum over layers as well, so that nothing is chosen.

    Parameters
    ----------
    design : xarray.Dataset or path
    response : xarray.DataArray, xarray.Dataset or path
    fit : xarray.Dataset
        What `fit_encoding` gave for them.
    params : mapping
        `folds`, `ridge` as for `fit_encoding`; `test` with `nulls` (the first gives p; of
        the others, whose width alone is reported, at most `BESIDE` draws are made), `n`,
        `min_shift` (s), `block` (s), `alpha` ("fixed", "reselect" or "hybrid", see
        `draw_scores`), `layer` ("chosen" or "any"), `max_t` ("studentised" or "raw"), `fdr`
        and `fdr_method` ("bh" or "by"). The null `image` needs a coordinate `unit(sample)`.
        Optional `labels` with `analysis`, `subject`, `model`.
    seed : int
        The same seed gives models of the same samples the same draws.

    Returns
    -------
    nulls : xarray.Dataset
        Per kind `null_{kind}(draw, site)` (the statistic of each draw), `null_mean_{kind}` and
        `null_sd_{kind}(target)` (of the score), `statistic(site)`, and `p(target)` of the chosen
        layer's score by the first kind, for which nothing is corrected; attributes `draws`,
        `distinct`, `notes` (JSON by kind), `layer` (the chosen one), `naive_sd` (of the score if
        held-out samples and folds were independent), `q_floor` (the
        smallest q that one site alone can reach), `n_untested` (sites without a p), `alpha`, and
        `agreement` (JSON: fixed against reselected penalties, where `alpha` is "hybrid").
    sites : pandas.DataFrame
        Columns of `SITES_COLUMNS`.

    Raises
    ------
    InputError
        If the inputs do not belong together, or a run is too short for a null.
    """
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
    null, agreement = _all_null_scores(design, response, fit, layer, folds, draws, ridge, test)
    parts = {kind: studentised(observed, null[kind]) for kind in kinds}
    raw = observed, null[kinds[0]]
    for other in _further_layers(fit, layer, test):
        found, _ = _all_null_scores(design, response, fit, other, folds, draws[:1], ridge, test)
        score = fit["score"].sel(layer=other).values.astype(np.float64)
        parts[kinds[0]] = _higher(parts[kinds[0]], studentised(score, found[kinds[0]]))
        raw = _higher(raw, (score, found[kinds[0]]))
    nulls = _nulls_dataset(response, sites, draws, null, parts, folds)
    nulls["p"] = ("target", p_values(observed, null[kinds[0]]).astype(np.float32))
    table = _sites_table(response, fit, layer, sites, observed, null, parts, raw, params)
    nulls.attrs.update(_attributes(draws, agreement, table, test), layer=layer)
    return nulls, table


def _further_layers(fit: xr.Dataset, chosen: str, test: Mapping[str, Any]) -> list[str]:
    """Layers that enter the statistic besides the chosen one."""
    which = test.get("layer", "chosen")
    if which not in LAYERS:
        raise InputError(f"test.layer: '{which}' is not one of {', '.join(LAYERS)}")
    names = [str(name) for name in fit["layer"].values]
    return [name for name in names if name != chosen] if which == "any" else []


def _higher(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Higher of two statistics, observed and of every draw; NaN only where both are."""
    return np.fmax(one[0], other[0]), np.fmax(one[1], other[1])


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
            units=response["unit"].values[moved] if "unit" in response.coords else None,
            roles=tested_by(folds, len(runs))[moved],
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


def tested_by(folds: list[Fold], n: int) -> np.ndarray:
    """Outer fold that tests each of `n` samples, -1 where none does."""
    tested = np.full(n, -1)
    for number, fold in enumerate(folds):
        tested[fold.test] = number
    return tested


def _check_folds(fit: xr.Dataset, folds: list[Fold]) -> None:
    """Refuse a fit that was made with other folds."""
    if not np.array_equal(tested_by(folds, fit.sizes["sample"]), fit["fold"].values):
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
) -> tuple[dict[str, np.ndarray], Agreement | None]:
    """Null scores of every kind, (draws, targets); NaN for targets without a fit."""
    y, finite = finite_targets(response)
    alpha = fit["alpha"].sel(layer=layer).values.astype(np.float64)[:, finite]
    x, how = read_design(design, layer), str(test.get("alpha", "fixed"))
    scores, agreement = draw_scores(x, folds, grid_of(ridge), ridge, y, draws, alpha, how)
    found = {}
    for drawn, of_finite in zip(draws, scores, strict=True):
        null = np.full((len(drawn.rows), len(finite)), np.nan, dtype=np.float32)
        null[:, finite] = of_finite
        found[drawn.kind] = null
    return found, agreement


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
            "naive_sd": naive_sd(folds),
            "n_test": int(sum(len(fold.test) for fold in folds)),
        },
    )


def _attributes(
    draws: list[Draws],
    agreement: Agreement | None,
    table: pd.DataFrame,
    test: Mapping[str, Any],
) -> dict[str, Any]:
    """Describe what a reader must know about the nulls and the decisions made from them."""
    notes = {drawn.kind: [drawn.note] if drawn.note else [] for drawn in draws}
    if agreement is not None:
        notes[draws[0].kind].append(agreement.note())
    n_tested = int(table["p"].notna().sum())
    return {
        "notes": json.dumps({kind: "; ".join(said) for kind, said in notes.items() if said}),
        "alpha": str(test.get("alpha", "fixed")),
        "agreement": json.dumps(agreement.to_dict() if agreement else {}),
        "n_untested": len(table) - n_tested,
        "q_floor": smallest_q(n_tested, len(draws[0].rows), str(test.get("fdr_method", "bh"))),
    }


def _sites_table(
    response: xr.DataArray,
    fit: xr.Dataset,
    layer: str,
    sites: Sites,
    observed: np.ndarray,
    null: Mapping[str, np.ndarray],
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
    raw: tuple[np.ndarray, np.ndarray],
    params: Mapping[str, Any],
) -> pd.DataFrame:
    """One row per site, from the first null."""
    kind = next(iter(parts))
    statistic = site_maxima(parts[kind][0], sites)
    drawn = site_maxima(parts[kind][1], sites)
    test = params.get("test") or {}
    p = p_values(statistic, drawn)
    q = fdr(p, str(test.get("fdr_method", "bh")))
    best = best_targets(observed, sites)
    scored = np.isfinite(observed[best])
    labels = {
        "analysis": fit.attrs.get("analysis", "n/a"),
        "subject": response.attrs.get("subject", "n/a"),
        "model": fit.attrs.get("model", "n/a"),
        **(params.get("labels") or {}),
    }
    level = float(test.get("fdr", 0.05))
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
            "p_fwe": _family_wise(statistic, drawn, raw, sites, test),
            "significant": np.isfinite(q) & (np.nan_to_num(q, nan=1.0) <= level),
            "n_draws": len(drawn),
            "null": kind,
        }
    )
    return table[list(SITES_COLUMNS)]


def _family_wise(
    statistic: np.ndarray,
    drawn: np.ndarray,
    raw: tuple[np.ndarray, np.ndarray],
    sites: Sites,
    test: Mapping[str, Any],
) -> np.ndarray:
    """Family-wise p of each site, from studentised or raw maxima."""
    which = test.get("max_t", "studentised")
    if which not in MAXIMA:
        raise InputError(f"test.max_t: '{which}' is not one of {', '.join(MAXIMA)}")
    if which == "raw":
        return max_t(site_maxima(raw[0], sites), site_maxima(raw[1], sites))
    return max_t(statistic, drawn)


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
