"""The test of transfer for one network and one subject: one row per site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.encoding.design import Source
from braid.encoding.solver import mean_over_folds
from braid.inference.decision import (
    Sites,
    bh,
    group_targets,
    max_t,
    p_values,
    site_maxima,
    studentised,
)
from braid.inference.nulls import Draws
from braid.inference.sites import best_targets
from braid.transfer.dimensions import DIMENSIONS, dim_sign_scores
from braid.transfer.pair import Joined
from braid.transfer.relative import relative_interval, run_scores
from braid.transfer.scores import (
    Pair,
    chosen_layer,
    observed_by_run,
    open_pair,
    penalties,
    predict_blocks,
    scores_of,
    source_draws,
)
from braid.transfer.tuning import HELD_OUT, TUNINGS, tuned

_WIDE = 2048  # targets whose predictions are scored at a time
_TESTED = 0.05  # p of the target's own test from which on a relative score is given

TRANSFER_COLUMNS = {
    "transfer": "Transfer of the config",
    "subject": "Subject label",
    "model": "Network, its untrained twin (_untrained) or a combination",
    "layer": "Layer of the source's network: that with the highest mean validation r in the source",
    "tuning": "What is done about tuning of opposite sign: none, sign_loo, gain_loo, dim_sign or "
    "abs",
    "worth": "What the score is then: raw, held out (the sign is that of the other runs) or biased",
    "site": "Electrode, voxel or parcel",
    "region": "Region label of the site",
    "x": "Position, mm",
    "y": "Position, mm",
    "z": "Position, mm",
    "score": "Pearson r of the source's model with the target's responses, mean over the target's "
    "runs; the highest over the bins of an electrode, each predicted from the same bin",
    "sign": "Sign of the raw score",
    "score_within": "Held-out Pearson r of the target analysis' own fit, in the layer chosen there,"
    " mean over the target's runs; the highest over the bins of an electrode",
    "relative": "score / score_within, where the target analysis' own test has p <= .05; n/a else",
    "relative_low": "Lower end of the 95 % interval of relative: blocks of the target's time drawn "
    "again (the models are not trained again); n/a for dim_sign",
    "relative_high": "Upper end of that interval",
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
    pair = open_pair(
        source_design, source_response, source_fit, target_design, target_response, target_fit
    )
    layer = chosen_layer(source_fit, params.get("layers"))
    tunings = list(params.get("tuning") or ["none"])
    joined = pair.join(layer, params, halves=any(name in HELD_OUT for name in tunings))
    drawn = source_draws(*pair.source, joined, params, seed)
    alpha = penalties(joined, params)
    by_run = observed_by_run(joined, drawn, alpha, params)
    scores = _all_scores(joined, drawn, alpha, by_run, tunings, params)
    runs = [fold.test - joined.n_source for fold in joined.folds]
    views = pair.target[1].values, target_fit["prediction"].values
    within = _within(*views, pair.columns[1], runs)
    about, sites = pair.about, group_targets(pair.about["site"].values)
    raw = _spread(mean_over_folds(by_run), pair.finite)
    own = best_targets(within, sites)
    given = _tested(sites, target_sites) & (within[own] > 0)
    spread = {name: _spread(scores[name], pair.finite) for name in tunings}
    best = {name: best_targets(found[0], sites) for name, found in spread.items()}
    ends = _intervals(pair, joined, alpha, runs, views[1], best, own, given, params, seed)
    labels = {
        "transfer": "n/a",
        "subject": pair.target[1].attrs.get("subject", "n/a"),
        "model": target_fit.attrs.get("model", "n/a"),
        "layer": layer,
    }
    parts = []
    for name in tunings:
        found, at = spread[name], best[name]
        part = _table(about, sites, found, at, params, drawn.kind)
        score, own_score = found[0][at], within[own]
        usable = given & np.isfinite(score)
        parts.append(
            part.assign(
                **labels,
                tuning=name,
                worth=TUNINGS[name],
                sign=np.sign(raw[at]),
                score_within=own_score,
                relative=np.divide(score, own_score, out=np.full(len(at), np.nan), where=usable),
                relative_low=ends[name][0],
                relative_high=ends[name][1],
            )[list(TRANSFER_COLUMNS)]
        )
    table = pd.concat(parts, ignore_index=True)
    table.attrs.update(pair.counts())
    return table


def _all_scores(
    joined: Joined,
    drawn: Draws,
    alpha: np.ndarray,
    by_run: np.ndarray,
    tunings: Sequence[str],
    params: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    """By option: the observed scores above those of every draw, (1 + draws, targets), float32."""
    plain = [name for name in tunings if name != "dim_sign"]
    found = {}
    if plain:
        over = tuned(plain, len(joined.folds))
        null = scores_of(joined, drawn, alpha, params, over)
        every = np.concatenate([over(by_run)[None].astype(np.float32), null])
        found = {name: every[:, number] for number, name in enumerate(plain)}
    if "dim_sign" in tunings:
        n = int(params.get("dimensions", DIMENSIONS))
        found["dim_sign"] = dim_sign_scores(joined, drawn, alpha, params, n)
    return found


def _spread(values: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Values of the tested targets among all matched ones, (..., targets); NaN elsewhere."""
    if finite.all():
        return values
    out = np.full((*values.shape[:-1], len(finite)), np.nan, dtype=values.dtype)
    out[..., finite] = values
    return out


def _within(
    response: np.ndarray, prediction: np.ndarray, columns: np.ndarray, runs: list[np.ndarray]
) -> np.ndarray:
    """Held-out r of the target's own model, mean over runs, of matched targets."""
    found = []
    for start in range(0, len(columns), _WIDE):
        part = columns[start : start + _WIDE]
        found.append(mean_over_folds(run_scores(prediction[:, part], response[:, part], runs)))
    return np.concatenate(found)


def _tested(sites: Sites, table: pd.DataFrame | None) -> np.ndarray:
    """Whether the target's own test has p <= .05 at each site."""
    if table is None:
        return np.zeros(len(sites.names), dtype=bool)
    p = table.set_index(table["site"].astype(str))["p"].astype(float)
    return np.asarray(p.reindex(sites.names).le(_TESTED))


def _intervals(
    pair: Pair,
    joined: Joined,
    alpha: np.ndarray,
    runs: list[np.ndarray],
    prediction: np.ndarray,
    best: Mapping[str, np.ndarray],
    own: np.ndarray,
    given: np.ndarray,
    params: Mapping[str, Any],
    seed: int,
) -> dict[str, np.ndarray]:
    """By option, ends of the interval of the relative score, (2, sites); NaN where none is given.

    One sign per dimension has no prediction of its own, so it has no interval.
    """
    response = pair.target[1].values
    position = np.cumsum(pair.finite) - 1  # of a matched target among the tested ones
    ends = {name: np.full((2, len(own)), np.nan) for name in best}
    block = _block_rows(pair.target[1], params)
    for name, at in best.items():
        chosen = np.flatnonzero(given & pair.finite[at])
        if name == "dim_sign" or not len(chosen):
            continue
        over = tuned([name], len(runs))
        for part, predicted in predict_blocks(joined, alpha, params, position[at[chosen]]):
            some = chosen[part]
            mine, theirs = pair.columns[1][own[some]], pair.columns[1][at[some]]
            found = relative_interval(
                predicted, response[:, theirs], prediction[:, mine], response[:, mine],
                runs, block, seed, over,
            )  # fmt: skip
            ends[name][:, some] = found[:, 0]
    return ends


def _block_rows(response: xr.DataArray, params: Mapping[str, Any]) -> int:
    """Rows of a block of the bootstrap: `test.block` seconds."""
    seconds = float((params.get("test") or {}).get("block", 20.0))
    step = np.diff(response["time"].values.astype(float))
    typical = np.median(step[step > 0]) if (step > 0).any() else seconds
    return max(1, round(seconds / float(typical)))


def _table(
    about: xr.Dataset,
    sites: Sites,
    scores: np.ndarray,
    best: np.ndarray,
    params: Mapping[str, Any],
    kind: str,
) -> pd.DataFrame:
    """One row per site; `scores` holds the observed ones first, then those of the draws."""
    observed, null = scores[0], scores[1:]
    parts = studentised(observed, null)
    statistic, drawn = site_maxima(parts[0], sites), site_maxima(parts[1], sites)
    p = p_values(statistic, drawn)
    q = bh(p)
    scored = np.isfinite(observed[best])
    at_best = null[:, best].astype(np.float64)
    level = float((params.get("test") or {}).get("fdr", 0.05))
    return pd.DataFrame(
        {
            "site": sites.names,
            **{name: coordinate(about, name)[best] for name in ("region", "x", "y", "z")},
            "score": observed[best].astype(np.float64),
            "null_mean": np.where(scored, at_best.mean(axis=0), np.nan),
            "null_sd": np.where(scored, at_best.std(axis=0), np.nan),
            "p": p,
            "q": q,
            "p_fwe": max_t(statistic, drawn),
            "significant": np.isfinite(q) & (np.nan_to_num(q, nan=1.0) <= level),
            "n_draws": len(null),
            "null": kind,
        }
    )


def coordinate(about: xr.Dataset, name: str) -> np.ndarray:
    """Coordinate of the targets, or what stands for a missing one."""
    if name in about.coords:
        return np.asarray(about[name].values)
    return np.full(about.sizes["target"], "n/a" if name == "region" else np.nan, dtype=object)
