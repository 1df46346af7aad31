"""Does one model predict better than another? A swap test on held-out predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, rng
from braid.encoding.design import Source, name_of, open_response
from braid.encoding.solver import mean_over_folds
from braid.inference.decision import Sites, bh, group_targets, p_values, site_maxima, studentised
from braid.inference.sites import best_targets, check_fit

COMPARISONS_COLUMNS = {
    "analysis": "Analysis of the config",
    "subject": "Subject label",
    "comparison": "Name of the comparison in the config",
    "a": "Model that is asked to be better",
    "b": "Model that it is compared with",
    "site": "Electrode, voxel or parcel",
    "region": "Region label of the site",
    "score_a": "Held-out Pearson r of a, mean over outer folds, at the target of the site where "
    "the studentised difference is highest",
    "score_b": "Held-out Pearson r of b at the same target",
    "difference": "score_a - score_b",
    "p": "One-sided p of a > b by the swap test, (k + 1) / (n_draws + 1), of the maximum over the "
    "site's targets",
    "q": "Benjamini-Hochberg false discovery rate over the sites of this subject and comparison",
    "significant": "Whether q is at most the level of the analysis",
    "n_draws": "Draws of the swap test",
}
_AT_ONCE = 2048  # targets


def compare_models(
    fits: Mapping[str, xr.Dataset],
    response: xr.DataArray | Source,
    pairs: Mapping[str, Sequence[str]],
    params: Mapping[str, Any],
    seed: int,
    sites: Sequence[pd.DataFrame] = (),
) -> pd.DataFrame:
    """Test at which sites model a predicts held-out responses better than model b.

    If the two predict alike, their predictions can be exchanged. In each draw, each block of
    held-out samples exchanges the two models' predictions with probability 1/2; the statistic
    is the difference of the mean held-out r. Predictions are standardised within each fold
    first, which leaves r as it is and lets models of different shrinkage be exchanged. A site's
    statistic is the maximum of the studentised difference over its targets.

    With cross-validation the folds' differences are not independent: of two folds each trains the
    model that the other tests, and in a linear model without true effect the two differences that
    follow are the same number, y_f' (K_a - K_b) y_g. Every such pair counts twice, so that the
    variance is twice that of independent folds (Monte Carlo: 11 to 12 % of p <= .05 without the
    correction). Null differences are therefore widened by sqrt(2) where there is more than one
    fold. Where the models predict much, noise in training matters less and the test is
    conservative, by at most that factor.

    A permutation of the responses would not do: it tests that neither model predicts.

    Parameters
    ----------
    fits : mapping of str to xarray.Dataset
        Fits by model, of the same samples, targets and folds.
    response : xarray.DataArray, xarray.Dataset or path
    pairs : mapping of str to (a, b)
        The config's `compare`.
    params : mapping
        The config's `swap`: `n`, `block` (s; at least the autocorrelation time) and `among`:
        "all" sites, or those "significant" for at least one of the two models, which treats a and
        b alike and so does not bias the difference; and `fdr`, the level.
    seed : int
        All comparisons share their draws.
    sites : sequence of pandas.DataFrame
        Tables of sites (`test_sites`) of both models of each pair, for `among: significant`.

    Returns
    -------
    pandas.DataFrame
        Columns of `COMPARISONS_COLUMNS`.

    Raises
    ------
    InputError
        If a fit is missing or made of other samples, targets or folds.
    """
    response = open_response(response)
    among = params.get("among", "all")
    if among not in ("all", "significant"):
        raise InputError(f"swap.among: '{among}' is not one of all, significant")
    groups = group_targets(response["site"].values)
    blocks = swap_blocks(
        _fold_of(fits, pairs, response),
        response["run"].values,
        response["time"].values.astype(float),
        float(params.get("block", 20.0)),
    )
    swaps = draw_swaps(int(blocks.max()) + 1, int(params.get("n", 1000)), seed)
    tables = []
    for name, (a, b) in pairs.items():
        score_a, score_b, null = _null_differences(fits[a], fits[b], response, blocks, swaps)
        entering = np.array([True] * len(groups.names))
        if among == "significant":
            entering = np.isin(
                groups.names, sorted(_significant(sites, a) | _significant(sites, b))
            )
        table = _table(response, groups, score_a, score_b, null, entering)
        table.insert(0, "comparison", name)
        table.insert(1, "a", a)
        table.insert(2, "b", b)
        level = float(params.get("fdr", 0.05))
        table["significant"] = table["q"].fillna(1.0) <= level
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=list(COMPARISONS_COLUMNS))
    first = next(iter(fits.values()))
    table = pd.concat(tables, ignore_index=True)
    table["analysis"] = first.attrs.get("analysis", "n/a")
    table["subject"] = response.attrs.get("subject", "n/a")
    return table[list(COMPARISONS_COLUMNS)]


def widening(n_folds: int) -> float:
    """Factor of null differences that makes up for folds that train each other's models."""
    return float(np.sqrt(2.0)) if n_folds > 1 else 1.0


def swap_blocks(fold: np.ndarray, runs: np.ndarray, times: np.ndarray, length: float) -> np.ndarray:
    """Give numbers to contiguous blocks of held-out samples, about `length` seconds long.

    No block crosses a fold's or a run's border. A last piece shorter than half a block joins
    the one before it.

    Returns
    -------
    numpy.ndarray of int, (samples,)
        -1 for samples that no fold tests.
    """
    blocks = np.full(len(fold), -1)
    borders = np.flatnonzero((np.diff(fold) != 0) | (np.diff(runs) != 0)) + 1
    count = 0
    for start, stop in zip(np.r_[0, borders], np.r_[borders, len(fold)], strict=True):
        if fold[start] < 0:
            continue
        passed = times[start:stop] - times[start]
        last = max(int(np.floor(passed[-1] / length + 0.5)) - 1, 0)
        number = np.minimum(np.floor(passed / length).astype(int), last)
        _, number = np.unique(number, return_inverse=True)
        blocks[start:stop] = count + number
        count += int(number.max()) + 1
    if count < 2:
        raise InputError(
            f"swap.block: the held-out samples hold fewer than two blocks of {length:g} s; "
            "use shorter blocks"
        )
    return blocks


def draw_swaps(n_blocks: int, n: int, seed: int) -> np.ndarray:
    """Which blocks exchange the predictions, (draws, blocks) of 0 and 1.

    If there are at most `n` ways to exchange, besides exchanging nothing, each comes once.
    """
    if n_blocks < 20 and 2**n_blocks - 1 <= n:
        number = np.arange(1, 2**n_blocks)
        return ((number[:, None] >> np.arange(n_blocks)) & 1).astype(np.float64)
    return rng(seed, "swap").integers(0, 2, size=(n, n_blocks)).astype(np.float64)


def _fold_of(
    fits: Mapping[str, xr.Dataset], pairs: Mapping[str, Sequence[str]], response: xr.DataArray
) -> np.ndarray:
    """Outer fold of each sample, the same in all fits."""
    names = sorted({model for pair in pairs.values() for model in pair})
    for model in names:
        if model not in fits:
            raise InputError(
                f"compare: there is no fit of model '{model}'; the fits are {', '.join(fits)}"
            )
        check_fit(fits[model], response)
        if not np.array_equal(fits[model]["fold"].values, fits[names[0]]["fold"].values):
            raise InputError(
                f"compare: {name_of(fits[model])} and {name_of(fits[names[0]])} (models {model} "
                f"and {names[0]}) were made with different folds; fit them with the same"
            )
    if not names:
        return np.zeros(response.sizes["sample"], dtype=int)
    return np.asarray(fits[names[0]]["fold"].values)


def _significant(sites: Sequence[pd.DataFrame], model: str) -> set[str]:
    """Sites where a model is significant."""
    for table in sites:
        rows = table[table["model"] == model]
        if len(rows):
            return set(rows.loc[rows["significant"].astype(bool), "site"].astype(str))
    raise InputError(
        f"swap.among: 'significant' needs the tested sites of model '{model}' too; "
        "a selection by one of the two models alone would bias their difference"
    )


def _null_differences(
    a: xr.Dataset, b: xr.Dataset, response: xr.DataArray, blocks: np.ndarray, swaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of both models, (targets,), and differences of each draw, (draws, targets)."""
    fold = a["fold"].values
    n_targets = response.sizes["target"]
    score = np.full((2, n_targets), np.nan)
    null = np.full((len(swaps), n_targets), np.nan, dtype=np.float32)
    for start in range(0, n_targets, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        observed, drawn = [], []
        for number in range(int(fold.max()) + 1):
            rows = np.flatnonzero(fold == number)
            found = _fold_differences(
                response.values[rows, part],
                a["prediction"].values[rows, part],
                b["prediction"].values[rows, part],
                blocks[rows],
                swaps,
            )
            observed.append(found[0])
            drawn.append(found[1])
        score[:, part] = mean_over_folds(np.stack(observed))
        null[:, part] = mean_over_folds(np.stack(drawn)) * widening(len(drawn))
    return score[0], score[1], null


def _fold_differences(
    y: np.ndarray, a: np.ndarray, b: np.ndarray, blocks: np.ndarray, swaps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Held-out r of both models, (2, targets), and null differences, (draws, targets), of a fold.

    Each block's sums of p, p^2 and p y are exchanged, not its samples.
    """
    y, a, b = _standardised(y), _standardised(a), _standardised(b)
    order = np.argsort(blocks, kind="stable")
    names, starts = np.unique(blocks[order], return_index=True)
    chosen = swaps[:, names]
    n = len(y)
    sums: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for function in (lambda p: p, lambda p: p * p, lambda p: p * y):
        of_a = np.add.reduceat(function(a)[order], starts, axis=0)
        of_b = np.add.reduceat(function(b)[order], starts, axis=0)
        moved = chosen @ (of_b - of_a)
        total_a, total_b = of_a.sum(axis=0), of_b.sum(axis=0)
        sums.append((total_a, total_b, moved))
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = np.stack([_r([of[i] for of in sums], n) for i in (0, 1)])
        difference = _r([of[0] + of[2] for of in sums], n) - _r([of[1] - of[2] for of in sums], n)
    return observed, difference


def _standardised(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1, float64; NaN where a column is constant."""
    values = values.astype(np.float64)
    values -= values.mean(axis=0)
    sd = values.std(axis=0)
    size = np.abs(values).max(axis=0, initial=0.0)
    return values / np.where((sd > 0) & (size > 0), sd, np.nan)


def _r(sums: list[np.ndarray], n: int) -> np.ndarray:
    """Pearson r with targets of mean 0 and variance 1, from the sums of p, p^2 and p y."""
    p, pp, py = sums
    mean = p / n
    return py / n / np.sqrt(pp / n - mean**2)


def _table(
    response: xr.DataArray,
    groups: Sites,
    score_a: np.ndarray,
    score_b: np.ndarray,
    null: np.ndarray,
    entering: np.ndarray,
) -> pd.DataFrame:
    """One row per site that enters."""
    observed, drawn = studentised(score_a - score_b, null, centre=False)
    best = best_targets(observed, groups)
    p = p_values(site_maxima(observed, groups), site_maxima(drawn, groups))
    p = np.where(entering, p, np.nan)
    region = (
        response["region"].values.astype(str)
        if "region" in response.coords
        else np.full(response.sizes["target"], "n/a")
    )
    table = pd.DataFrame(
        {
            "site": groups.names,
            "region": region[best],
            "score_a": score_a[best],
            "score_b": score_b[best],
            "difference": (score_a - score_b)[best],
            "p": p,
            "q": bh(p),
            "n_draws": len(null),
        }
    )
    return table[entering].reset_index(drop=True)
