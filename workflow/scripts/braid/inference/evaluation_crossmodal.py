"""Transfer between what is seen and what is heard, against the planted truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from braid.common import InputError
from braid.inference.evaluation import (
    FOUND,
    NOMINAL,
    found_of,
    lower_bound,
    row_of,
    true_of,
    upper_bound,
)
from braid.inference.expectations import EVALUATION_COLUMNS

STAGE = "crossmodal_transfer"
RECOVERED = 0.9  # correlation with the planted places on a dimension
HELD_OUT = "sign_loo"
COVERED = 0.9  # share of 95 % intervals that must hold the truth, see `evaluate_ceilings`
NEIGHBOURS = 3  # voxels' noise is partly shared: as many of them count as one


def evaluate_crossmodal(
    tables: Mapping[str, pd.DataFrame], truth: pd.DataFrame, multimodal: Mapping[str, str]
) -> pd.DataFrame:
    """Compare transfers through an alignment with what was planted.

    Measures, per transfer:

    - clearly driven shared voxels that a pair of networks finds (raw score, q): at least the 5 %
      binomial bound of 0.8.
    - vision-only, language-only and silent voxels with p <= .05 and called significant, per pair:
      at most the 95 % binomial bound of .05.
    - clearly driven inverted voxels: the share whose raw score is below 0, and the share called
      significant once the sign is taken from the other runs, both likewise at least 0.8; silent
      voxels called significant with that sign, at most the bound of .05.
    - the multimodal pair (one network for both) minus each pair of two networks, mean r over the
      driven shared voxels: above 0 in a one-sided paired t test over voxels.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        By transfer: all rows of its subjects and pairs, columns of `TRANSFER_COLUMNS`.
    truth : pandas.DataFrame
        See `evaluate`.
    multimodal : mapping of str to str
        By transfer, the pair that is one network; transfers without one are not compared.

    Returns
    -------
    pandas.DataFrame
        Columns of `EVALUATION_COLUMNS`, of the stage `crossmodal_transfer`.

    Raises
    ------
    InputError
        If no voxel of a transfer is in the truth.
    """
    planted = truth[truth["kind_of_recording"] == "bold"][["subject", "site", "kind", "clear"]]
    rows: list[dict[str, Any]] = []
    for name, table in tables.items():
        sites = table.merge(planted, on=["subject", "site"])
        if sites.empty:
            raise InputError(
                f"truth: none of the sites of transfer '{name}' is in it; subjects and sites must "
                "be named alike"
            )
        raw = sites[sites["tuning"] == "none"]
        rows += _shared(name, raw)
        for pair, part in raw.groupby("model", sort=False):
            rows += _mistakes(name, str(pair), part)
        rows += _inverted(name, sites)
        rows += _compared(name, raw, multimodal.get(name))
    return pd.DataFrame(rows, columns=list(EVALUATION_COLUMNS))


def evaluate_shared(
    name: str, table: pd.DataFrame, arrays: Mapping[str, xr.Dataset], truth: pd.DataFrame
) -> pd.DataFrame:
    """Compare shared components with the planted shared dimensions, in both directions.

    Measures, per direction and planted dimension k: the magnitude of the correlation, over the
    shared and inverted voxels that enter, of the projections on component k with the planted
    places on dimension k, each as long as the voxel's score, as weights are (at least 0.9; in the
    language's space inverted voxels have the opposite place); and whether the two models'
    projections on it agree (q at most the level of the study). Per direction: the share of shuffled
    data sets in which any component is called, at most the 95 % binomial bound of .05.

    Parameters
    ----------
    name : str
        Name of the shared components in the config.
    table : pandas.DataFrame
        Columns of `SHARED_COLUMNS`.
    arrays : mapping of str to xarray.Dataset
        By direction: `projection(site, component)` with `subject` and `score` of each site.
    truth : pandas.DataFrame
        See `evaluate`; with `dimension_1`, ....

    Returns
    -------
    pandas.DataFrame
        Columns of `EVALUATION_COLUMNS`, of the stage `crossmodal_transfer`.
    """
    places = [str(column) for column in truth if str(column).startswith("dimension_")]
    planted = truth[truth["kind"].isin(["shared", "inverted"])]
    rows: list[dict[str, Any]] = []
    for direction, found in arrays.items():
        sites = pd.DataFrame(
            {
                "subject": found["subject"].values.astype(str),
                "site": found["site"].values.astype(str),
                "score": found["score"].values.astype(float),
                "row": np.arange(found.sizes["site"]),
            }
        ).merge(planted, on=["subject", "site"])
        turned = (sites["kind"] == "inverted") & (direction == "language")
        sign = np.where(turned, -1.0, 1.0)
        own = table[table["direction"] == direction]
        q = dict(zip(own["component"].astype(int), own["q"].astype(float), strict=True))
        for number, column in enumerate(places[: found.sizes["component"]], start=1):
            place = sites[column].astype(float) * sites["score"] * sign
            projection = found["projection"].values[sites["row"], number - 1]
            r = abs(float(np.corrcoef(projection, place)[0, 1])) if len(sites) > 2 else np.nan
            where = f"{name}, {direction}: component {number}"
            rows += [
                row_of(
                    STAGE,
                    f"{where}, |r| with the planted dimension over {len(sites)} voxels",
                    r,
                    f">= {RECOVERED}",
                    r >= RECOVERED,
                ),
                row_of(
                    STAGE,
                    f"{where}, q of the agreement of both models",
                    q[number],
                    "<= 0.05",
                    q[number] <= NOMINAL,
                ),
            ]
        n = int(own["n_shuffled"].iloc[0]) if len(own) else 0
        if n:
            share, bound = float(own["shuffled_any"].iloc[0]), upper_bound(n)
            where = f"{name}, {direction}: share of {n} shuffled data sets"
            measure = f"{where} with a component called significant"
            threshold = f"<= {bound:.4f} (95 % binomial bound of {NOMINAL})"
            rows.append(row_of(STAGE, measure, share, threshold, share <= bound))
    return pd.DataFrame(rows, columns=list(EVALUATION_COLUMNS))


def evaluate_ceilings(
    tables: Mapping[tuple[str, str], pd.DataFrame], truth: pd.DataFrame
) -> pd.DataFrame:
    """Compare ceilings estimated from repeats with the planted ones.

    A voxel's estimate is the share of the variance of one repeat that repeats, of which its ceiling
    is a monotonic function. The truth states the share that was planted, and the standard deviation
    that the estimate must have, from the covariance of the planted noise (`repeated_truth` of the
    room `simulate`). Of 95 % intervals drawn with it, 0.95 hold the truth if that noise is all
    there is; 0.9 is asked for, since the theory knows nothing of what drifts and moving edges leave
    behind, and takes true movements out where an analysis takes estimated ones.

    Measures, per analysis:

    - driven voxels, and silent ones, whose interval holds the truth: at least the 5 % binomial
      bound of 0.9.
    - mean estimate over silent voxels: within 1.96 standard errors of 0. Neighbours share 0.36 of
      the variance of their noise, falling with distance d (voxels) as exp(-d^2 / 4); products of
      two repeats share its square, which sums up to 2.9 voxels: three count as one.
    - correlation of estimate and truth over driven voxels: at least the lower 5 % bound, with a
      third of the voxels, of the value that the true variance of the shares and the expected errors
      give.

    Parameters
    ----------
    tables : mapping of (analysis, subject) to pandas.DataFrame
        Columns of `CEILINGS_COLUMNS`.
    truth : pandas.DataFrame
        See `evaluate`; with `repeated_signal` and `repeated_sd`, without which there is no check.

    Returns
    -------
    pandas.DataFrame
        Columns of `EVALUATION_COLUMNS`, of the stage `crossmodal_transfer`.

    Raises
    ------
    InputError
        If no voxel of an analysis is in the truth.
    """
    rows: list[dict[str, Any]] = []
    if "repeated_sd" not in truth:
        return pd.DataFrame(rows, columns=list(EVALUATION_COLUMNS))
    planted = truth[truth["repeated_sd"].notna()][
        ["subject", "site", "repeated_signal", "repeated_sd"]
    ]
    for name in dict.fromkeys(analysis for analysis, _ in tables):
        own = [
            table.assign(subject=subject)
            for (analysis, subject), table in tables.items()
            if analysis == name
        ]
        sites = pd.concat(own).merge(planted, on=["subject", "site"]).dropna(subset=["signal"])
        if sites.empty:
            raise InputError(
                f"truth: none of the sites with a ceiling of analysis '{name}' is in it; subjects "
                "and sites must be named alike"
            )
        rows += _ceilings_of(name, sites)
    return pd.DataFrame(rows, columns=list(EVALUATION_COLUMNS))


def _ceilings_of(name: str, sites: pd.DataFrame) -> list[dict[str, Any]]:
    """Check the ceilings of one analysis."""
    error = sites["signal"] - sites["repeated_signal"]
    held = error.abs() <= stats.norm.ppf(0.975) * sites["repeated_sd"]
    driven, rows = sites["repeated_signal"] > 0, []
    for kind, part in (("driven", held[driven]), ("silent", held[~driven])):
        if len(part):
            share, bound = float(part.mean()), lower_bound(len(part), COVERED)
            rows.append(
                row_of(
                    STAGE,
                    f"{name}: share of {len(part)} {kind} voxels whose true ceiling lies in the "
                    "95 % interval of the estimate from repeats",
                    share,
                    f">= {bound:.4f} (5 % binomial bound of {COVERED})",
                    share >= bound,
                )
            )
    silent = sites[~driven]
    if len(silent):
        mean = float(silent["signal"].mean())
        se = float(np.sqrt(NEIGHBOURS * np.mean(silent["repeated_sd"] ** 2) / len(silent)))
        bound = float(stats.norm.ppf(0.975)) * se
        rows.append(
            row_of(
                STAGE,
                f"{name}: mean share of signal over {len(silent)} silent voxels, from repeats",
                mean,
                f"within {bound:.4f} of 0 (1.96 standard errors)",
                abs(mean) <= bound,
            )
        )
    own = sites[driven]
    if len(own) > 4 * NEIGHBOURS:
        true = own["repeated_signal"].astype(float)
        r = float(np.corrcoef(true, own["signal"])[0, 1])
        variance, noise = float(true.var()), float(np.mean(own["repeated_sd"] ** 2))
        expected = np.sqrt(variance / (variance + noise))
        se = 1 / np.sqrt(len(own) / NEIGHBOURS - 3)
        bound = float(np.tanh(np.arctanh(expected) - stats.norm.ppf(0.95) * se))
        rows.append(
            row_of(
                STAGE,
                f"{name}: r of estimated and true shares of signal over {len(own)} driven voxels",
                r,
                f">= {bound:.4f} (5 % bound of the expected {expected:.4f})",
                r >= bound,
            )
        )
    return rows


def _clear(sites: pd.DataFrame, kind: str) -> pd.DataFrame:
    return sites[(sites["kind"] == kind) & true_of(sites["clear"])]


def _at_least(measure: str, hits: pd.Series) -> list[dict[str, Any]]:
    """Ask that most of some voxels are found."""
    if hits.empty:
        return []
    share, bound = float(hits.mean()), lower_bound(len(hits), FOUND)
    threshold = f">= {bound:.4f} (5 % binomial bound of {FOUND})"
    return [row_of(STAGE, measure.format(n=len(hits)), share, threshold, share >= bound)]


def _at_most(measure: str, hits: pd.Series) -> list[dict[str, Any]]:
    """Bound the share of voxels that are called though they should not be."""
    if hits.empty:
        return []
    share, bound = float(hits.mean()), upper_bound(len(hits))
    threshold = f"<= {bound:.4f} (95 % binomial bound of {NOMINAL})"
    return [row_of(STAGE, measure.format(n=len(hits)), share, threshold, share <= bound)]


def _shared(name: str, raw: pd.DataFrame) -> list[dict[str, Any]]:
    hits = found_of(_clear(raw, "shared"))
    return _at_least(f"{name}: share of {{n}} clearly driven shared voxels found", hits)


def _mistakes(name: str, pair: str, raw: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for kind in ("vision", "language", "silent"):
        part = raw[(raw["kind"] == kind) & raw["p"].notna()]
        where = f"{name}: share of {{n}} {kind} voxels"
        rows += _at_most(f"{where} with p <= .05 by {pair}", part["p"] <= NOMINAL)
        rows += _at_most(f"{where} called significant by {pair}", true_of(part["significant"]))
    return rows


def _inverted(name: str, sites: pd.DataFrame) -> list[dict[str, Any]]:
    raw, turned = (sites[sites["tuning"] == tuning] for tuning in ("none", HELD_OUT))
    clear = _clear(raw, "inverted")
    below = (clear["score"] < 0).groupby([clear["subject"], clear["site"]]).all()
    rows = _at_least(
        f"{name}: share of {{n}} clearly driven inverted voxels with a negative raw score", below
    )
    where = "with the sign of the other runs"
    hits = found_of(_clear(turned, "inverted"))
    rows += _at_least(f"{name}: share of {{n}} clearly driven inverted voxels found {where}", hits)
    for pair, part in turned[turned["kind"] == "silent"].groupby("model", sort=False):
        measure = f"{name}: share of {{n}} silent voxels called significant by {pair} {where}"
        rows += _at_most(measure, true_of(part["significant"]))
    return rows


def _compared(name: str, raw: pd.DataFrame, multimodal: str | None) -> list[dict[str, Any]]:
    """Compare the pair that is one network with those of two."""
    shared = raw[raw["kind"] == "shared"].set_index(["subject", "site"])
    scores = {str(pair): part["score"] for pair, part in shared.groupby("model", sort=False)}
    if multimodal not in scores:
        return []
    rows = []
    for pair in scores:
        if pair == multimodal:
            continue
        difference = (scores[multimodal] - scores[pair]).dropna()
        if len(difference) < 2:
            continue
        p = float(stats.ttest_1samp(difference, 0.0, alternative="greater").pvalue)
        rows.append(
            row_of(
                STAGE,
                f"{name}: {multimodal} minus {pair}, mean r over {len(difference)} shared voxels",
                float(np.mean(difference)),
                f"> 0 with p < .05, paired t test over sites (p = {p:.2g})",
                float(np.mean(difference)) > 0 and p < NOMINAL,
            )
        )
    return rows
