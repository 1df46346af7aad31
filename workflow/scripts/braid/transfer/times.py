"""Transfer of electrodes from time to time: trained in one window, tested in every other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, progress
from braid.encoding.design import Source, name_of
from braid.encoding.fit import backend_of, grid_of, memory_limit
from braid.encoding.solver import Problem, predict_fixed, prepare
from braid.inference.decision import bh, max_t, p_values, studentised
from braid.transfer.matrix import EVERYWHERE
from braid.transfer.pair import Joined
from braid.transfer.scores import (
    Pair,
    chosen_layer,
    open_pair,
    penalties,
    ridge_of,
    source_draws,
    unmoved,
)

TIMES_COLUMNS = {
    "transfer": "Transfer of the config",
    "subject": "Subject label",
    "model": "Network, its untrained twin (_untrained), a combination, or a pair of an alignment",
    "region": "Region label, or all for all electrodes",
    "time_train": "Start of the window that the model is trained in, relative to the event, s",
    "time_test": "Start of the window that it predicts, relative to the event, s",
    "n_sites": "Electrodes of the region",
    "score": "Pearson r, mean over the target's runs and the region's electrodes",
    "null_mean": "Mean of score over the draws",
    "null_sd": "Standard deviation of score over the draws",
    "p": "One-sided permutation p of the score, (k + 1) / (n_draws + 1)",
    "q": "Benjamini-Hochberg false discovery rate over the windows of this region",
    "p_fwe": "Family-wise p over the same, from the maximum of the studentised scores of each draw",
    "n_draws": "Draws of the null: the source's responses are moved and the model trained again",
}
_BATCH = 2048  # targets x draws that are predicted at a time


def transfer_times(
    source_design: Source,
    source_response: xr.DataArray | Source,
    source_fit: xr.Dataset,
    target_design: Source,
    target_response: xr.DataArray | Source,
    target_fit: xr.Dataset,
    params: Mapping[str, Any],
    seed: int,
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Predict every window of the target's electrodes by models of every window of the source's.

    What is trained in one window and predicts another is a code that lasts, or comes back later:
    on the diagonal stands what `transfer_sites` scores.

    Parameters
    ----------
    source_design, source_response, source_fit, target_design, target_response, target_fit
        As for `transfer_sites`; responses with a coordinate `bin(target)` (s).
    params : mapping
        `folds`, `ridge`, `test` of the source analysis; `draws` (default those of `test.n`);
        `layers` to choose from. Penalties of draws are those of the observed responses.
    seed : int

    Returns
    -------
    by_site : xarray.Dataset
        `score`, `p` and `p_fwe(site, time_train, time_test)`; p_fwe over the windows of a site.
    by_region : pandas.DataFrame
        Columns of `TIMES_COLUMNS`.

    Raises
    ------
    InputError
        If electrodes have no windows, or not all the same ones.
    """
    pair = open_pair(
        source_design, source_response, source_fit, target_design, target_response, target_fit
    )
    test = dict(params.get("test") or {})
    settings = {**params, "test": {**test, "n": int(params.get("draws") or test.get("n", 1000))}}
    sites, times, order = _windows(pair)
    joined = pair.join(chosen_layer(source_fit, params.get("layers")), params)
    drawn = source_draws(*pair.source, joined, settings, seed)
    alpha = penalties(joined, params)
    every = np.concatenate([unmoved(drawn).rows, drawn.rows])
    problem = _trained(joined, alpha, params)
    shape = len(every), len(sites), len(times), len(times)
    scores = np.empty(shape, dtype=np.float32)
    blocks = range(0, len(sites), max(1, _BATCH // len(times)))
    for start in progress(blocks, "from time to time"):
        some = order[start : start + blocks.step]
        responses = _responses(joined, some)
        for draws, predicted in _predicted(problem, joined, some, alpha, every):
            found = [_correlations(predicted[rows], response) for rows, response in responses]
            scores[draws, start : start + blocks.step] = np.mean(found, axis=0)
    return _by_site(scores, sites, times), _by_region(scores, pair, sites, times, target_fit)


def _windows(pair: Pair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Electrodes, windows (s), and the tested target of each, (electrodes, windows)."""
    about = pair.about.isel(target=np.flatnonzero(pair.finite))
    name = name_of(pair.target[1])
    if "bin" not in about.coords or not np.isfinite(about["bin"].values.astype(float)).all():
        raise InputError(f"{name}: its targets have no windows; time by time is for electrodes")
    site, bins = about["site"].values.astype(str), about["bin"].values.astype(float)
    sites, times = np.array(list(dict.fromkeys(site))), np.unique(bins)
    table = pd.DataFrame({"site": site, "bin": bins, "at": np.arange(len(site))})
    wide = table.pivot(index="site", columns="bin", values="at").reindex(index=sites, columns=times)
    kept = wide.notna().all(axis=1)
    if not kept.any():
        raise InputError(f"{name}: no electrode has all windows; check the preprocessing")
    return sites[kept.to_numpy()], times, wide[kept].to_numpy().astype(int)


def _trained(joined: Joined, alpha: np.ndarray, params: Mapping[str, Any]) -> Problem:
    """Problem at fixed penalties, which predicts the target's runs."""
    ridge = ridge_of(params)
    backend = backend_of(ridge)
    return prepare(
        joined.x, joined.folds, grid_of(ridge), False, ridge.get("form", "auto"), nested=False,
        alpha_floor=float(np.nanmin(alpha)), backend=backend,
        memory_mb=memory_limit(ridge, backend),
    )  # fmt: skip


def _responses(joined: Joined, targets: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and standardised responses of every run, (electrodes, rows, windows)."""
    y = joined.y[:, targets.ravel()].reshape(-1, *targets.shape)
    return [(fold.test, _standardised(y[fold.test])) for fold in joined.folds]


def _predicted(
    problem: Problem,
    joined: Joined,
    targets: np.ndarray,
    alpha: np.ndarray,
    every: np.ndarray,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Predictions of some electrodes for batches of draws, (rows, draws, electrodes, windows)."""
    flat = targets.ravel()
    y = joined.y[:, flat]
    y = y - y[joined.whole.train].mean(axis=0, dtype=np.float64).astype(y.dtype)
    step = max(1, _BATCH // len(flat))
    for start in range(0, len(every), step):
        draws = slice(start, min(start + step, len(every)))
        moved = y[every[draws].T].reshape(len(y), -1)
        out = np.empty(moved.shape, dtype=np.float32)
        wide = np.tile(alpha[flat], (len(joined.folds), moved.shape[1] // len(flat)))
        predict_fixed(problem, problem.arrange(moved), wide, out, np.zeros(moved.shape[1]))
        yield draws, out.reshape(len(y), -1, *targets.shape)


def _correlations(predicted: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Pearson r of every window trained with every window tested.

    Parameters
    ----------
    predicted : array, (rows, draws, electrodes, windows)
    response : array, (electrodes, rows, windows)
        Standardised.

    Returns
    -------
    numpy.ndarray, (draws, electrodes, windows trained, windows tested)
    """
    rows, n_draws = predicted.shape[:2]
    p = _standardised(predicted.reshape(rows, -1, predicted.shape[-1]))
    p = p.reshape(n_draws, -1, *p.shape[1:])
    return np.asarray(np.swapaxes(p, -1, -2) @ response / rows)


def _standardised(values: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 over rows, (rows, electrodes, windows) to (electrodes, rows, windows).

    What is constant becomes NaN.
    """
    values = np.swapaxes(values, 0, 1).astype(np.float32)
    values = values - values.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    sd = values.std(axis=1, keepdims=True, dtype=np.float64)
    return values / np.where(sd > 0, sd, np.nan).astype(np.float32)


def _by_site(scores: np.ndarray, sites: np.ndarray, times: np.ndarray) -> xr.Dataset:
    """Scores, p and family-wise p of every electrode."""
    flat = scores.reshape(*scores.shape[:2], -1)
    p = np.stack([p_values(flat[0, k], flat[1:, k]) for k in range(len(sites))])
    fwe = np.stack([max_t(*studentised(flat[0, k], flat[1:, k])) for k in range(len(sites))])
    dims, shape = ("site", "time_train", "time_test"), scores.shape[1:]
    return xr.Dataset(
        {
            "score": (dims, scores[0], {"long_name": "Pearson r", "units": "1"}),
            "p": (dims, p.reshape(shape).astype(np.float32), {"units": "1"}),
            "p_fwe": (
                dims,
                fwe.reshape(shape).astype(np.float32),
                {"long_name": "family-wise p over the windows of the electrode", "units": "1"},
            ),
        },
        coords={
            "site": sites,
            "time_train": ("time_train", times, {"units": "s"}),
            "time_test": ("time_test", times, {"units": "s"}),
        },
        attrs={"n_draws": len(scores) - 1},
    )


def _by_region(
    scores: np.ndarray, pair: Pair, sites: np.ndarray, times: np.ndarray, fit: xr.Dataset
) -> pd.DataFrame:
    """Means over the electrodes of each region, with their nulls."""
    about = pair.about
    region = np.full(len(sites), "n/a", dtype=object)
    if "region" in about.coords:
        known = dict(
            zip(about["site"].values.astype(str), about["region"].values.astype(str), strict=True)
        )
        region = np.array([known[site] for site in sites], dtype=object)
    members = {EVERYWHERE: np.ones(len(sites), dtype=bool)}
    members |= {name: region == name for name in dict.fromkeys(region) if name not in ("n/a", "")}
    train, test = np.meshgrid(times, times, indexing="ij")
    parts = []
    for name, chosen in members.items():
        found = np.nanmean(scores[:, chosen], axis=1, dtype=np.float64).reshape(len(scores), -1)
        p = p_values(found[0], found[1:])
        parts.append(
            pd.DataFrame(
                {
                    "transfer": "n/a",
                    "subject": pair.target[1].attrs.get("subject", "n/a"),
                    "model": fit.attrs.get("model", "n/a"),
                    "region": name,
                    "time_train": train.ravel(),
                    "time_test": test.ravel(),
                    "n_sites": int(chosen.sum()),
                    "score": found[0],
                    "null_mean": found[1:].mean(axis=0),
                    "null_sd": found[1:].std(axis=0),
                    "p": p,
                    "q": bh(p),
                    "p_fwe": max_t(*studentised(found[0], found[1:])),
                    "n_draws": len(found) - 1,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)[list(TIMES_COLUMNS)]
