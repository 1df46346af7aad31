"""The transfer matrix: models of one analysis on its own runs and on another's, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError
from braid.encoding.design import Source, name_of, read_design
from braid.encoding.fit import grid_of
from braid.encoding.folds import folds_of, run_labels
from braid.encoding.solver import mean_over_folds
from braid.inference.ceilings import normalise
from braid.inference.decision import bh, max_t, p_values, studentised
from braid.inference.permutation import draw_scores
from braid.inference.sites import draws_of
from braid.transfer.pair import Stacked
from braid.transfer.scores import (
    Pair,
    chosen_layer,
    observed_by_run,
    open_pair,
    penalties,
    scores_of,
    source_draws,
    source_layers,
)

EVERYWHERE = "all"
MATRIX_COLUMNS = {
    "transfer": "Transfer of the config",
    "subject": "Subject label",
    "model": "Network, its untrained twin (_untrained), a combination, or a pair of an alignment",
    "train": "Analysis whose responses the model is trained on",
    "test": "Analysis whose responses it predicts: the same, with its runs held out in turn, or "
    "the transfer's target",
    "layer": "Layer of the source's network",
    "chosen": "Whether the source's inner folds choose this layer",
    "region": "Region label, or all for all sites with a score",
    "n_sites": "Sites of the region with a score",
    "score": "Pearson r, mean over runs (folds, within) and over the region's sites, of electrodes "
    "over their bins first; raw, whatever the sign",
    "normalised": "Pearson r over the highest that noise allows, in runs that are means over "
    "repeats and at sites whose ceiling is at least 0.05; n/a without repeats",
    "null_mean": "Mean of score over the draws",
    "null_sd": "Standard deviation of score over the draws",
    "p": "One-sided permutation p of the score, (k + 1) / (n_draws + 1)",
    "q": "Benjamini-Hochberg false discovery rate over the layers and regions of this subject, "
    "model, train and test",
    "p_fwe": "Family-wise p over the same, from the maximum of the studentised scores of each draw",
    "n_draws": "Draws of the null: the source's responses are moved and the model trained again",
}


def transfer_matrix(
    source_design: Source,
    source_response: xr.DataArray | Source,
    source_fit: xr.Dataset,
    target_design: Source,
    target_response: xr.DataArray | Source,
    target_fit: xr.Dataset,
    params: Mapping[str, Any],
    seed: int,
    ceilings: Mapping[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """Score every layer within its sense and across senses, by region, each with its null.

    Within, the model is that of the source's fit, every outer fold held out in turn. Across, it is
    trained on all of the source's rows and predicts the target's runs. Both nulls move the source's
    responses within runs, the same way, and train again. Choosing the best layer by this table
    would use the scores that are reported: `chosen` marks the one that training data choose.

    Parameters
    ----------
    source_design, source_response, source_fit, target_design, target_response, target_fit
        As for `transfer_sites`.
    params : mapping
        `folds`, `ridge` and `test` of the source analysis; `draws`: how many (default those of
        `test.n`); `layers`: those to score, all of them if None; `train` and `test_on`: names of
        the two analyses.
    seed : int
    ceilings : mapping of str to pandas.DataFrame, optional
        By `source` and `target`: a row per target with `target`, `ceiling` (share of the variance
        of the mean over repeats that can be explained) and `run` (the mean over repeats).

    Returns
    -------
    pandas.DataFrame
        Columns of `MATRIX_COLUMNS`, a row per test, layer and region.
    """
    pair = open_pair(
        source_design, source_response, source_fit, target_design, target_response, target_fit
    )
    test = {**(params.get("test") or {})}
    settings = {**params, "test": {**test, "n": int(params.get("draws") or test.get("n", 1000))}}
    best = chosen_layer(source_fit, params.get("layers"))
    layers = source_layers(source_fit, params.get("layers"))
    names = str(params.get("train", "source")), str(params.get("test_on", "target"))
    regions = _regions(pair)
    labels = {
        "transfer": "n/a",
        "subject": pair.target[1].attrs.get("subject", "n/a"),
        "model": target_fit.attrs.get("model", "n/a"),
        "train": names[0],
    }
    parts = []
    for side, tested in zip(("source", "target"), names, strict=True):
        known = _ceilings(pair, side, (ceilings or {}).get(side))
        rows, null = [], []
        for layer in layers:
            if side == "source":
                by_run, drawn, runs = _within(pair, source_fit, layer, settings, seed)
            else:
                by_run, drawn, runs = _across(pair, layer, settings, seed)
            found = _by_region(by_run, drawn, _normalised(by_run, runs, known), regions)
            rows += [{"layer": layer, "chosen": layer == best, **row} for row, _ in found]
            null += [draws for _, draws in found]
        parts.append(_tested(pd.DataFrame(rows), null).assign(**labels, test=tested))
    return pd.concat(parts, ignore_index=True)[list(MATRIX_COLUMNS)]


def _within(
    pair: Pair, fit: xr.Dataset, layer: str, params: Mapping[str, Any], seed: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Held-out scores of the source's own fit: by fold, of every draw, and the folds' labels."""
    design, response = pair.source
    ridge, test = dict(params.get("ridge") or {}), dict(params["test"])
    folds = folds_of(response, params.get("folds") or {"scheme": "blocks", "n": 5})
    kind = (list(test.get("nulls") or []) or ["circular_shift"])[:1]
    drawn = draws_of(design, response, folds, kind, test, seed)
    at = pair.tested[0]
    alpha = fit["alpha"].sel(layer=layer).values.astype(np.float64)[:, at]
    y = Stacked([response], [at])
    how = str(test.get("alpha", "fixed"))
    x = read_design(design, layer)
    (null,), _ = draw_scores(x, folds, grid_of(ridge), ridge, y, drawn, alpha, how)
    observed = fit["score_fold"].sel(layer=layer).values[:, at]
    return observed, null, [fold.label for fold in folds]


def _across(
    pair: Pair, layer: str, params: Mapping[str, Any], seed: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Scores in the target: by run, of every draw, and the runs' labels."""
    joined = pair.join(layer, params)
    drawn = source_draws(*pair.source, joined, params, seed)
    alpha = penalties(joined, params)
    by_run = observed_by_run(joined, drawn, alpha, params)
    null = scores_of(joined, drawn, alpha, params, mean_over_folds)
    return by_run, null, [fold.label for fold in joined.folds]


def _regions(pair: Pair) -> dict[str, np.ndarray]:
    """Averaging weights of the tested targets by region, sites alike, each (targets,).

    The targets of a site (bins of an electrode) share its weight.
    """
    about = pair.about
    sites = about["site"].values.astype(str)[pair.finite]
    _, code, count = np.unique(sites, return_inverse=True, return_counts=True)
    weight = 1.0 / count[code]
    regions = {EVERYWHERE: weight}
    if "region" in about.coords:
        labels = about["region"].values.astype(str)[pair.finite]
        for label in dict.fromkeys(labels):
            if label not in ("n/a", "", EVERYWHERE):
                regions[label] = np.where(labels == label, weight, 0.0)
    return regions


def _by_region(
    by_run: np.ndarray,
    drawn: np.ndarray,
    normalised: np.ndarray,
    regions: Mapping[str, np.ndarray],
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Row of each region, and its scores in every draw."""
    score, found = mean_over_folds(by_run), []
    for region, weight in regions.items():
        null = _mean(drawn, weight)
        row = {
            "region": region,
            "n_sites": round(float(weight[np.isfinite(score)].sum())),
            "score": _mean(score[None], weight)[0],
            "normalised": _mean(normalised[None], weight)[0],
            "null_mean": null.mean(),
            "null_sd": null.std(),
            "n_draws": len(null),
        }
        found.append((row, null))
    return found


def _tested(rows: pd.DataFrame, null: list[np.ndarray]) -> pd.DataFrame:
    """Rows with p, q and family-wise p over all of them."""
    observed, draws = rows["score"].to_numpy(float), np.stack(null, axis=1)
    p = p_values(observed, draws)
    return rows.assign(p=p, q=bh(p), p_fwe=max_t(*studentised(observed, draws)))


def _mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean over targets, NaN left out, (..., targets) to (...)."""
    usable = np.isfinite(values) * weight
    total = usable.sum(axis=-1)
    summed = (np.nan_to_num(values) * usable).sum(axis=-1, dtype=np.float64)
    return np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0)


def _ceilings(pair: Pair, side: str, table: pd.DataFrame | None) -> dict[str, np.ndarray]:
    """Ceilings of the tested targets, by run."""
    if table is None or table.empty:
        return {}
    number = ("source", "target").index(side)
    response = (pair.source, pair.target)[number][1]
    names = response["target"].values.astype(str)[pair.tested[number]]
    known = {
        str(run): part.set_index(part["target"].astype(str))["ceiling"].reindex(names).to_numpy()
        for run, part in table.groupby("run")
    }
    unknown = sorted(set(known) - set(run_labels(response)))
    if unknown:
        raise InputError(
            f"{name_of(response)} has no run {unknown[0]}, of which there is a ceiling; make both "
            "from the same recordings"
        )
    return {run: np.asarray(ceiling, dtype=float) for run, ceiling in known.items()}


def _normalised(by_run: np.ndarray, runs: list[str], known: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pearson r over its ceiling, mean over the runs that are means over repeats, (targets,)."""
    shares = [
        normalise(by_run[runs.index(run)], ceiling).score
        for run, ceiling in known.items()
        if run in runs
    ]
    return mean_over_folds(np.stack(shares)) if shares else np.full(by_run.shape[1], np.nan)
