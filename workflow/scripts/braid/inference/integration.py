"""Integration sites: which electrodes a network that joins vision and language predicts best.

The logic of Subramaniam et al. 2024 (arXiv 2406.14481), from the event bootstraps of all models
(`integration_bootstrap`): bins whose validation score is above 0 are kept; the candidate of a
side is its best model on validation; candidates are compared on test scores by a second-order
bootstrap over bins; false discovery rates are pooled over electrodes and alignments; five tests
follow. Where one side only has a model with enough bins, it wins by default; the setting
`defaults` says whether that stands apart, untested, or is tested like the rest.

The filter does not make a test score one of unseen data. Of two folds each trains the model that
the other validates and tests, so that validation and test scores share what noise has in common:
on noise (200 events, 20 data sets of 80 electrodes) the mean r is .11 in the bins that were kept.
Only differences between models are tested here; whether a model predicts an electrode at all is
what permutations say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, seed_for
from braid.inference.bootstrap import bootstrap_bins, draw_bins, interval
from braid.inference.decision import bh, group_targets

RESAMPLES = ("block", "iid")
EVENTS = ("resampled", "fixed")
BINS = ("union", "own")
DEFAULTS = ("tested", "apart")
ORDERS = ("after_nobs", "before_nobs")
STATUS = ("tested", "default_a", "default_b", "neither")
TESTS = ("multimodal", "matched", "nonlinear")
SCOPES = ("weak", "strict")  # in any alignment, in all of them

_RECOMMENDED: dict[str, Any] = {
    # cross-validation and ridge
    "folds": 5,
    "embargo": 4.2,  # s, the length of the signal that the bins of an event take
    "alphas": {"low": -1, "high": 5, "n": 7},
    "alpha_scale": "absolute",
    "standardize": True,
    # event bootstrap
    "draws": 1000,
    "event_block": 1,
    "level": 0.95,
    # comparisons
    "min_bins": 10,
    "bins": "union",
    "defaults": "tested",
    "resample": "block",
    "events": "resampled",
    "block_bins": 8,  # 200 ms windows every 25 ms share samples with 7 neighbours
    "bin_draws": 1000,
    "fdr_order": "after_nobs",
    "q": 0.05,
}
PROFILES: dict[str, dict[str, Any]] = {
    "recommended": _RECOMMENDED,
    # how the paper chose bins and ordered its corrections is known from its released notebook
    # only; `own` bins are the plainest reading of it
    "paper2024": {
        **_RECOMMENDED,
        "embargo": 0.0,
        "bins": "own",
        "defaults": "apart",
        "resample": "iid",
        "events": "fixed",
        "fdr_order": "before_nobs",
    },
}
COMPARISONS_COLUMNS = {
    "subject": "Subject label",
    "alignment": "What events are: words (language) or scene cuts (vision)",
    "comparison": "What is asked: see the study's settings",
    "site": "Electrode",
    "a": "Model that is asked to be better; the candidate of its side",
    "b": "Model that it is compared with",
    "n_bins_a": "Time bins of a whose validation interval lies above 0",
    "n_bins_b": "The same of b",
    "score_a": "Mean over the bins compared of the bootstrapped test score of a, Pearson r",
    "score_b": "The same of b",
    "effect": "score_a - score_b",
    "low": "Lower end of the interval of the effect, bootstrap over bins",
    "high": "Upper end of that interval",
    "p": "One-sided p of a > b, (1 + draws with a difference of at most 0) / (draws + 1)",
    "status": "tested: both have enough bins; default_a, default_b: only that one has, and wins by "
    "default; neither",
    "q": "Benjamini-Hochberg false discovery rate over the electrodes of all subjects and "
    "alignments, per comparison",
    "significant": "Whether q is at most the level of the study",
}


def settings(profile: str = "recommended", **changes: Any) -> dict[str, Any]:
    """Give the settings of a profile, some of them changed.

    Raises
    ------
    InputError
        For a profile, a key or a value that there is not.
    """
    if profile not in PROFILES:
        raise InputError(f"profile: '{profile}' is not one of {', '.join(PROFILES)}")
    unknown = sorted(set(changes) - set(PROFILES[profile]))
    if unknown:
        raise InputError(
            f"{unknown[0]}: no setting of the integration tests; they are "
            f"{', '.join(PROFILES[profile])}"
        )
    found = {**PROFILES[profile], **changes}
    for key, allowed in (
        ("resample", RESAMPLES),
        ("events", EVENTS),
        ("bins", BINS),
        ("defaults", DEFAULTS),
        ("fdr_order", ORDERS),
    ):
        if found[key] not in allowed:
            raise InputError(f"{key}: '{found[key]}' is not one of {', '.join(allowed)}")
    if found["bins"] == "own" and found["defaults"] == "tested":
        raise InputError(
            "defaults: a model without bins of its own cannot be tested with 'bins: own'; "
            "use 'defaults: apart' or 'bins: union'"
        )
    return found


def stack_models(summaries: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Put the summaries of one subject's models side by side, by electrode and bin.

    Parameters
    ----------
    summaries : mapping of str to xarray.Dataset
        By model, from `summarise_events`, of the same targets.

    Returns
    -------
    xarray.Dataset
        `validation`, `test` and `kept(model, site, bin)`: bootstrapped means, and whether the
        validation interval lies above 0; `target(site, bin)`, the position of each target; the
        site's coordinates.

    Raises
    ------
    InputError
        If models differ in their targets, or electrodes in their bins.
    """
    if not summaries:
        raise InputError("integration: there are no models; give the bootstraps of at least two")
    first = next(iter(summaries.values()))
    for model, one in summaries.items():
        if not np.array_equal(one["target"].values, first["target"].values):
            raise InputError(
                f"integration: model {model} was bootstrapped on other targets than "
                f"{next(iter(summaries))}; use the same responses for all models"
            )
    target = _grid_of(first)

    def stacked(name: str) -> np.ndarray:
        return np.stack([one[name].values for one in summaries.values()])[:, target]

    dims = ("model", "site", "bin")
    at = target[:, 0]
    return xr.Dataset(
        {
            "validation": (dims, stacked("validation")),
            "test": (dims, stacked("test")),
            "kept": (dims, stacked("validation_low") > 0),
            "target": (("site", "bin"), target),
        },
        {
            "model": list(summaries),
            "site": first["site"].values[at].astype(str),
            "bin": first["bin"].values[target[0]],
            **{
                name: ("site", first[name].values[at])
                for name in ("region", "x", "y", "z")
                if name in first.coords
            },
        },
        {"subject": first.attrs.get("subject", "n/a")},
    )


def compare_candidates(
    scores: xr.Dataset,
    roles: Mapping[str, Any],
    params: Mapping[str, Any],
    seed: int,
    draws: Mapping[str, xr.Dataset] | None = None,
) -> pd.DataFrame:
    """Compare the candidates of one subject and alignment at every electrode.

    Candidates are ranked by the mean validation score over bins that count, and compared on the
    bootstrapped mean of the test score. With `bins: own` each model's mean runs over the bins that
    it keeps itself; with `union` both run over the bins that either keeps (and models are ranked
    over those that any of the two sides' keeps), so that a difference never compares different
    times, and a side without bins can be compared too (`defaults: tested`).

    Each draw of the second-order bootstrap takes bins from the whole time axis and leaves out
    those that do not count, the same for both models; draws without such a bin are left out.
    `resample: iid` takes bins one by one, as the paper does; `block` in moving blocks of
    `block_bins`. With `events: fixed`, as in the paper, every draw sees the bootstrapped means: a
    difference is then one at these events, and all bins share what these events did. With
    `resampled` each draw sees another replicate of the event bootstrap.

    Why `resampled` is recommended: simulated electrodes that are driven by one sense, or by the sum
    of two, and a network that joins them and has their products as well (200 events, 36
    electrodes of a kind). Of those without interaction the nonlinear test called .14 to .22 with
    the settings of `paper2024`, .11 to .22 with blocks of bins and fixed events, none with
    resampled ones; of electrodes driven by a product 1.00, 1.00 and .94 (wins by default counted
    in the first). On AR(1) noise (1,600 electrodes; 183 are left to compare by the bin filter) the
    multimodal test calls .034 with the settings of `paper2024`, defaults counted, .030 and .029
    with fixed events and bins drawn one by one and in blocks, none with resampled ones; p is at
    most .05 in 49, 52 and 1 of the 183, so that resampling is conservative there.

    Parameters
    ----------
    scores : xarray.Dataset
        From `stack_models`.
    roles : mapping
        `multimodal`, `unimodal` and `linear`: lists of models (`linear`: combinations without
        interaction); `matched`: a pair of models that differ in one thing; `pairs`: further named
        pairs; `untrained`: the untrained twin of models by name. What is absent is not compared.
    params : mapping
        Of `settings`.
    seed : int
    draws : mapping of str to xarray.Dataset, optional
        `test(draw, target)` by model, from `bootstrap_events`; for `events: resampled` only.

    Returns
    -------
    pandas.DataFrame
        Columns of `COMPARISONS_COLUMNS` but for `q` and `significant`, one row per comparison and
        electrode: `multimodal` (best multimodal against best unimodal), `matched`,
        `over_{model}` (best multimodal against a linear model), `first` (best multimodal against
        second best), `trained` and `untrained` (models against their twins, both ways), and the
        further pairs.

    Raises
    ------
    InputError
        If a model was not bootstrapped, or its draws are missing.
    """
    if params["events"] == "resampled" and draws is None:
        raise InputError(
            "events: 'resampled' needs the draws of the event bootstrap; give them, or use 'fixed'"
        )
    block = 1 if params["resample"] == "iid" else params["block_bins"]
    bins = draw_bins(scores.sizes["bin"], params["bin_draws"], seed_for(seed, "bins"), block)
    tables = []
    for name, a, b in _questions(scores, roles):
        of_a, of_b = (_candidate(scores, side, [*a[0], *b[0]], params) for side in (a, b))
        table = _compared(scores, of_a, of_b, params, bins, draws)
        table.insert(0, "comparison", name)
        tables.append(table)
    if not tables:
        raise InputError("integration: no comparison has its models; name them in the study")
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "subject", scores.attrs["subject"])
    return table


def correct_comparisons(
    tables: Mapping[str, Sequence[pd.DataFrame]], params: Mapping[str, Any]
) -> pd.DataFrame:
    """Join the comparisons of all subjects and alignments, and control false discoveries.

    Benjamini-Hochberg per comparison, over the electrodes of all subjects and alignments: with
    `fdr_order: after_nobs` over those that are tested, with `before_nobs` (the paper's notebook)
    over all where there is something to compare, before those with too few bins are dropped.

    Parameters
    ----------
    tables : mapping of str to sequence of pandas.DataFrame
        By alignment, from `compare_candidates`.
    params : mapping

    Returns
    -------
    pandas.DataFrame
        Columns of `COMPARISONS_COLUMNS`.
    """
    reserved = [alignment for alignment in tables if alignment in SCOPES]
    if reserved:
        raise InputError(
            f"integration: an alignment cannot be named '{reserved[0]}', which says in how many "
            "alignments a test passes; rename it"
        )
    parts = [one.assign(alignment=alignment) for alignment, some in tables.items() for one in some]
    if not parts:
        raise InputError("integration: there are no comparisons to correct; compare models first")
    table = pd.concat(parts, ignore_index=True)
    tested = table["status"] == "tested"
    if params["defaults"] == "tested":
        tested |= table["status"].isin(STATUS[1:3])
    entering = table["p"] if params["fdr_order"] == "before_nobs" else table["p"].where(tested)
    q = entering.groupby(table["comparison"]).transform(lambda p: bh(p.to_numpy(dtype=float)))
    table["q"] = q.where(tested)
    # what was not tested shows no p either: it did not enter the decision
    table[["p", "low", "high"]] = table[["p", "low", "high"]].where(tested)
    table["significant"] = table["q"].le(params["q"]) & tested
    return table[list(COMPARISONS_COLUMNS)]


def integration_tests(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Decide the tests at every electrode and alignment.

    `multimodal` (the paper's T1, in both alignments T2): the best multimodal model beats the best
    unimodal one. `matched` (T3, T4): of two models of the same architecture and data, the one
    trained with language is better. `nonlinear` (T5): the best multimodal model beats every
    linear combination; its p, q and effect are those of the comparison with the largest q, an
    intersection-union test.

    Parameters
    ----------
    comparisons : pandas.DataFrame
        From `correct_comparisons`.

    Returns
    -------
    pandas.DataFrame
        `subject site alignment test a b effect low high p q status passes default`. `default`:
        whether it would pass if every win by default counted, and does not.
    """
    parts = []
    for test in TESTS:
        name = comparisons["comparison"]
        part = comparisons[name.str.startswith("over_") if test == "nonlinear" else name == test]
        if len(part):
            parts.append(_weakest(part).assign(test=test))
    if not parts:
        raise InputError("integration: none of the tests has its comparison; name the models")
    table = pd.concat(parts, ignore_index=True)
    return table[
        [
            *("subject", "site", "alignment", "test", "a", "b", "effect", "low", "high", "p", "q"),
            *("status", "passes", "default"),
        ]
    ]


def weak_and_strict(tests: pd.DataFrame, column: str = "passes") -> pd.DataFrame:
    """Decide per electrode in which alignments it passes: any (weak), all of them (strict).

    Strict is an intersection at each electrode, not an agreement of counts, and needs two
    alignments at least. An electrode that an alignment lacks cannot pass in it.

    Parameters
    ----------
    tests : pandas.DataFrame
        From `integration_tests`: `subject`, `site`, `alignment`, `test` and the column.
    column : str
        What counts as passing.

    Returns
    -------
    pandas.DataFrame
        `subject site test`, one column per alignment, `weak`, `strict`.
    """
    wide = tests.pivot(index=["subject", "site", "test"], columns="alignment", values=column)
    wide = wide.reindex(columns=list(dict.fromkeys(tests["alignment"])))
    wide = wide.eq(True)
    wide.columns.name = None
    strict = wide.all(axis=1) & (wide.shape[1] > 1)
    return wide.assign(weak=wide.any(axis=1), strict=strict).reset_index()


def _grid_of(summary: xr.Dataset) -> np.ndarray:
    """Position of the target of each electrode and bin, (sites, bins)."""
    sites = group_targets(summary["site"].values)
    time = summary["bin"].values.astype(float)
    order = np.lexsort((time, sites.code))
    counts = sites.count()
    ragged = np.flatnonzero(counts != counts[0])
    if len(ragged):
        raise InputError(
            f"integration: electrode {sites.names[ragged[0]]} has {counts[ragged[0]]} bins but "
            f"{sites.names[0]} has {counts[0]}; make the responses anew with the same windows"
        )
    target = order.reshape(len(sites.names), -1)
    if not np.array_equal(time[target], np.broadcast_to(time[target[0]], target.shape)):
        raise InputError("integration: electrodes differ in their bins; make the responses anew")
    return target


Side = tuple[list[str], int]  # models, rank of the one that is meant


def _questions(scores: xr.Dataset, roles: Mapping[str, Any]) -> list[tuple[str, Side, Side]]:
    """Comparisons that the roles ask for."""
    multimodal = list(roles.get("multimodal", ()))
    unimodal = list(roles.get("unimodal", ()))
    found: list[tuple[str, Side, Side]] = []
    if multimodal and unimodal:
        found.append(("multimodal", (multimodal, 0), (unimodal, 0)))
    if multimodal:
        linear = roles.get("linear", ())
        found += [(f"over_{one}", (multimodal, 0), ([one], 0)) for one in linear]
    if len(multimodal) > 1:
        found.append(("first", (multimodal, 0), (multimodal, 1)))
    matched = {"matched": roles["matched"]} if roles.get("matched") else {}
    for name, (a, b) in {**matched, **roles.get("pairs", {})}.items():
        found.append((name, ([a], 0), ([b], 0)))
    for trained, untrained in roles.get("untrained", {}).items():
        found.append(("trained", ([trained], 0), ([untrained], 0)))
        found.append(("untrained", ([untrained], 0), ([trained], 0)))
    have = set(scores["model"].values.tolist())
    for name, a, b in found:
        missing = [model for model in (*a[0], *b[0]) if model not in have]
        if missing:
            raise InputError(
                f"integration: comparison {name} needs model '{missing[0]}', which was not "
                f"bootstrapped; the models are {', '.join(sorted(have))}"
            )
    return found


def _candidate(
    scores: xr.Dataset, side: Side, both: Sequence[str], params: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Candidate of a side at each electrode.

    Models with enough bins come before those with fewer; of either, the one with the higher mean
    validation score.

    Returns
    -------
    model : numpy.ndarray of int, (sites,)
        Position in `scores`.
    n_bins : numpy.ndarray of int, (sites,)
        Bins that it keeps.
    """
    models, rank = side
    at = _positions(scores, models)
    counted = kept = scores["kept"].values[at]
    if params["bins"] == "union":
        # the same bins for all, so that no model ranks high by keeping few
        every = scores["kept"].values[_positions(scores, both)]
        counted = np.broadcast_to(every.any(axis=0), kept.shape)
    n_bins = kept.sum(axis=2)
    mean = _mean(np.where(counted, scores["validation"].values[at], np.nan))
    # models without a mean come last
    key = np.where(np.isfinite(mean), -mean, np.inf)
    chosen = np.lexsort((key, n_bins < params["min_bins"]), axis=0)[rank]
    return at[chosen], np.take_along_axis(n_bins, chosen[None], axis=0)[0]


def _positions(scores: xr.Dataset, models: Sequence[str]) -> np.ndarray:
    """Positions of models in the scores."""
    every = scores["model"].values.tolist()
    return np.array([every.index(model) for model in models])


def _compared(
    scores: xr.Dataset,
    a: tuple[np.ndarray, np.ndarray],
    b: tuple[np.ndarray, np.ndarray],
    params: Mapping[str, Any],
    bins: np.ndarray,
    draws: Mapping[str, xr.Dataset] | None,
) -> pd.DataFrame:
    """Compare two candidates at each electrode: one row each."""
    kept, test = scores["kept"].values, scores["test"].values.astype(np.float64)
    sites = np.arange(scores.sizes["site"])
    (model_a, bins_a), (model_b, bins_b) = a, b
    counted = [kept[model_a, sites], kept[model_b, sites]]
    if params["bins"] == "union":
        counted = [counted[0] | counted[1]] * 2
    sides = [
        np.where(used, test[model, sites], np.nan)
        for used, model in zip(counted, (model_a, model_b), strict=True)
    ]
    mean_a, mean_b = (_mean(side) for side in sides)
    if params["events"] == "resampled" and draws is not None:
        drawn = _from_events(scores, (model_a, model_b), counted, bins, draws)
    else:
        of_a, of_b = (bootstrap_bins(side.T, bins) for side in sides)
        drawn = of_a - of_b
    low, high, p = _verdict(drawn, params["level"])
    enough_a, enough_b = bins_a >= params["min_bins"], bins_b >= params["min_bins"]
    names = scores["model"].values
    has_a, has_b = np.isfinite(mean_a), np.isfinite(mean_b)
    return pd.DataFrame(
        {
            "site": scores["site"].values,
            "a": np.where(has_a, names[model_a], "n/a"),
            "b": np.where(has_b, names[model_b], "n/a"),
            "n_bins_a": bins_a,
            "n_bins_b": bins_b,
            "score_a": mean_a,
            "score_b": mean_b,
            "effect": mean_a - mean_b,
            "low": low,
            "high": high,
            "p": p,
            "status": np.select(
                [enough_a & enough_b, enough_a, enough_b], list(STATUS[:3]), STATUS[3]
            ),
        }
    )


def _from_events(
    scores: xr.Dataset,
    models: tuple[np.ndarray, np.ndarray],
    counted: Sequence[np.ndarray],
    bins: np.ndarray,
    draws: Mapping[str, xr.Dataset],
) -> np.ndarray:
    """Differences of each draw of bins, taken from one replicate of the events, (draws, sites)."""
    names, target = scores["model"].values, scores["target"].values
    out = np.zeros((len(bins), len(target)))
    for sign, model, used in zip((1.0, -1.0), models, counted, strict=True):
        for number in np.unique(model):
            if names[number] not in draws:
                raise InputError(
                    f"integration: the draws of model {names[number]} were not kept; "
                    "bootstrap it anew"
                )
            test = draws[names[number]]["test"].values
            at = np.flatnonzero(model == number)
            for draw, chosen in enumerate(bins):
                values = np.where(used[at], test[draw % len(test)][target[at]], np.nan)
                out[draw, at] += sign * bootstrap_bins(values.T, chosen[None])[0]
    return out


def _verdict(drawn: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interval and p of differences, (draws, sites), without draws that have no value."""
    low, high, p = (np.full(drawn.shape[1], np.nan) for _ in range(3))
    for site in range(drawn.shape[1]):
        values = drawn[np.isfinite(drawn[:, site]), site]
        if len(values):
            ends = interval(values[:, None], level)
            low[site], high[site] = ends[0][0], ends[1][0]
            p[site] = (1.0 + np.sum(values <= 0)) / (len(values) + 1.0)
    return low, high, p


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis, NaN left out; NaN where there is nothing else."""
    count = np.isfinite(values).sum(axis=-1)
    total = np.nansum(values, axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _weakest(part: pd.DataFrame) -> pd.DataFrame:
    """Join the comparisons of a test: it passes where all of them do."""
    by = ["subject", "site", "alignment"]
    part = part.assign(
        default_a=part["status"] == "default_a",
        # what was decided by default has no q: a tested comparison is the weaker one
        order=part["q"].fillna(-1.0).where(part["status"].isin(STATUS[:2]), 2.0),
    )
    groups = part.groupby(by, sort=False)
    passes = groups["significant"].all()
    won = (part["significant"] | part["default_a"]).groupby([part[name] for name in by], sort=False)
    worst = part.loc[groups["order"].idxmax()].set_index(by)
    worst["passes"] = passes
    worst["default"] = won.all() & ~passes
    return worst.reset_index()
