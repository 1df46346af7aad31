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
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, seed_for
from braid.inference.bootstrap import bootstrap_bins, draw_bins, interval
from braid.inference.decision import bh, group_targets

STATUS = ("tested", "default_a", "default_b", "neither")
TESTS = ("multimodal", "matched", "nonlinear")
CHECKS = ("over_low_level", "beyond_low_level")  # what a low-level advantage would not pass
SCOPES = ("weak", "strict")  # in any alignment, in all of them

COMPARISONS_COLUMNS = {
    "subject": "Subject label",
    "alignment": "What events are: words (language) or scene cuts (vision)",
    "comparison": "What is asked: see the study's settings",
    "site": "Electrode",
    "a": "Model that is asked to be better; the candidate of its side, or the first of those "
    "averaged",
    "b": "Model that it is compared with",
    "n_bins_a": "Time bins of a that are kept: its validation interval lies above 0 (or, if the "
    "study says so, its permutation test passes)",
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
CANDIDATES_COLUMNS = {
    name: about
    for name, about in COMPARISONS_COLUMNS.items()
    if name not in ("alignment", "q", "significant")
}


def stack_models(
    summaries: Mapping[str, xr.Dataset],
    permuted: Mapping[str, xr.Dataset] | None = None,
    level: float = 0.95,
) -> xr.Dataset:
    """Put the summaries of one subject's models side by side, by electrode and bin.

    A bin counts for a model where the interval of its validation score lies above 0
    (`bin_filter: boot_ci`); or, where permutation tests are given (`perm_fdr`), where the model
    predicts the bin at a false discovery rate of at most 1 - `level` over all electrodes and bins
    (Benjamini-Hochberg). These permute responses within runs and train every fold again, on folds
    of their own, with the same layer.

    Parameters
    ----------
    summaries : mapping of str to xarray.Dataset
        By model, from `summarise_events`, of the same targets.
    permuted : mapping of str to xarray.Dataset, optional
        By model, `p(target)` and the attribute `layer`, as `test_sites` gives them with its null
        distributions.
    level : float
        As the intervals'.

    Returns
    -------
    xarray.Dataset
        `validation`, `test` and `kept(model, site, bin)`: bootstrapped means, and whether the
        bin counts; `target(site, bin)`, the position of each target; the site's coordinates;
        attribute `bin_filter`.

    Raises
    ------
    InputError
        If models differ in their targets, electrodes in their bins, or permutation tests in
        either or in their layer.
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

    if permuted is None:
        kept = stacked("validation_low") > 0
    else:
        kept = np.stack(
            [_predicted(name, one, permuted, level) for name, one in summaries.items()]
        )[:, target]

    dims = ("model", "site", "bin")
    at = target[:, 0]
    return xr.Dataset(
        {
            "validation": (dims, stacked("validation")),
            "test": (dims, stacked("test")),
            "kept": (dims, kept),
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
        {
            "subject": first.attrs.get("subject", "n/a"),
            "bin_filter": "boot_ci" if permuted is None else "perm_fdr",
        },
    )


def _predicted(
    model: str, summary: xr.Dataset, permuted: Mapping[str, xr.Dataset], level: float
) -> np.ndarray:
    """Whether a model predicts each target, by its permutation test, (targets,) of bool."""
    if model not in permuted:
        raise InputError(
            f"bin_filter: 'perm_fdr' needs the permutation test of model {model}; fit and test it, "
            "or use 'boot_ci'"
        )
    test = permuted[model]
    same = "p" in test and np.array_equal(
        test["target"].values.astype(str), summary["target"].values.astype(str)
    )
    if not same:
        raise InputError(
            f"bin_filter: the permutation test of model {model} has no p of the targets that were "
            "bootstrapped; test it anew on the same responses"
        )
    layers = [str(one.attrs.get("layer", "n/a")) for one in (test, summary)]
    if layers[0] != layers[1]:
        raise InputError(
            f"bin_filter: the permutation test of model {model} is of layer {layers[0]}, its "
            f"bootstrap of layer {layers[1]}; name the tested layer in the integration's `layers`, "
            "or use 'boot_ci'"
        )
    return np.nan_to_num(bh(test["p"].values.astype(float)), nan=1.0) <= 1 - level


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
    `block_bins`.

    More candidates on one side are an advantage by themselves: the best of seven on a validation
    score that shares noise with the test score lies above the best of five. With `equalise` a
    larger multimodal side is therefore scored as the best of as many models as the unimodal side
    has: exactly the mean over all such subsets, in which the model of rank r among n is the best
    of k with the chance C(n-1-r, k-1) / C(n, k). Subsets drawn at random would add noise of their
    own. The unimodal side is never reduced: at an electrode that only sees, networks that read
    are no competitors, and to leave out one that sees would favour the multimodal side. Linear
    combinations keep standing against the best of all multimodal models, as each of them has to
    lose.

    With `events: fixed`, as in the paper, every draw sees the bootstrapped means: a
    difference is then one at these events, and all bins share what these events did. With
    `resampled` each draw sees another replicate of the event bootstrap; with more draws of bins
    than replicates these are used in turn, so that a p below 1/(replicates + 1) rests on the spread
    over bins around them and not on more events.

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
        pairs; `untrained`: the untrained twin of models by name; `low_level`: a model or
        combination of low-level features; `with_low_level`: by multimodal and unimodal model, the
        combination of its features with the low-level ones. What is absent is not compared.
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
        second best), `trained` and `untrained` (models against their twins, both ways), the
        further pairs, and two checks of what low-level features explain: `over_low_level` (best
        multimodal model against them) and `beyond_low_level` (`multimodal` once more, with them
        beside the features of every candidate).

    Raises
    ------
    InputError
        If a model was not bootstrapped, or its draws are missing.
    """
    tables = []
    for question in _questions(scores, roles):
        table = compare_sides(scores, question, params, seed, draws)
        table.insert(0, "comparison", question.name)
        tables.append(table)
    if not tables:
        raise InputError("integration: no comparison has its models; name them in the study")
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "subject", scores.attrs["subject"])
    return table


@dataclass(frozen=True)
class Question:
    """A comparison: whether the best of some models is better than the best of others.

    Attributes
    ----------
    name : str
    a, b : list of str
        Models of either side.
    second : bool
        Whether the second best of `b` is meant.
    even : bool
        Whether `equalise` applies.
    """

    name: str
    a: list[str]
    b: list[str]
    second: bool = False
    even: bool = False


def compare_sides(
    scores: xr.Dataset,
    question: Question,
    params: Mapping[str, Any],
    seed: int,
    draws: Mapping[str, xr.Dataset] | None = None,
) -> pd.DataFrame:
    """Compare the candidates of two sides at every electrode (see `compare_candidates`).

    Returns
    -------
    pandas.DataFrame
        Columns `site a b n_bins_a n_bins_b score_a score_b effect low high p status`.
    """
    if params["events"] == "resampled" and draws is None:
        raise InputError(
            "events: 'resampled' needs the draws of the event bootstrap; give them, or use 'fixed'"
        )
    if params["bin_filter"] != scores.attrs.get("bin_filter", "boot_ci"):
        raise InputError(
            f"bin_filter: '{params['bin_filter']}' is asked for, but bins were kept by "
            f"'{scores.attrs.get('bin_filter', 'boot_ci')}'; stack the models anew"
        )
    block = 1 if params["resample"] == "iid" else params["block_bins"]
    bins = draw_bins(scores.sizes["bin"], params["bin_draws"], seed_for(seed, "bins"), block)
    both = [*question.a, *question.b]
    best_of = len(question.b) if question.even and params["equalise"] else None
    a = _candidate(scores, question.a, 0, both, params, best_of)
    b = _candidate(scores, question.b, int(question.second), both, params)
    return _compared(scores, a, b, params, bins, draws)


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
    tested = is_tested(table["status"], params)
    entering = table["p"] if params["fdr_order"] == "before_nobs" else table["p"].where(tested)
    q = entering.groupby(table["comparison"]).transform(lambda p: bh(p.to_numpy(dtype=float)))
    table["q"] = q.where(tested)
    # what was not tested shows no p either: it did not enter the decision
    table[["p", "low", "high"]] = table[["p", "low", "high"]].where(tested)
    table["significant"] = table["q"].le(params["q"]) & tested
    return table[list(COMPARISONS_COLUMNS)]


def is_tested(status: pd.Series, params: Mapping[str, Any]) -> pd.Series:
    """Tell which comparisons are tested, and do not stand apart as wins by default."""
    return status.isin(STATUS[:3] if params["defaults"] == "tested" else STATUS[:1])


def integration_tests(comparisons: pd.DataFrame, tests: Sequence[str] = TESTS) -> pd.DataFrame:
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
    tests : sequence of str
        Of `TESTS` and `CHECKS`; a check is its comparison.

    Returns
    -------
    pandas.DataFrame
        `subject site alignment test a b effect low high p q status passes default`. `default`:
        whether it would pass if every win by default counted, and does not.
    """
    parts = []
    name = comparisons["comparison"]
    for test in tests:
        linear = name.str.startswith("over_") & ~name.isin(CHECKS)
        part = comparisons[linear if test == "nonlinear" else name == test]
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


def _questions(scores: xr.Dataset, roles: Mapping[str, Any]) -> list[Question]:
    """Comparisons that the roles ask for."""
    multimodal = list(roles.get("multimodal", ()))
    unimodal = list(roles.get("unimodal", ()))
    found: list[Question] = []
    if multimodal and unimodal:
        found.append(Question("multimodal", multimodal, unimodal, even=True))
    if multimodal:
        found += [Question(f"over_{one}", multimodal, [one]) for one in roles.get("linear", ())]
    if len(multimodal) > 1:
        found.append(Question("first", multimodal, multimodal, second=True))
    matched = {"matched": roles["matched"]} if roles.get("matched") else {}
    for name, (a, b) in {**matched, **roles.get("pairs", {})}.items():
        found.append(Question(name, [a], [b]))
    found += _low_level(multimodal, unimodal, roles)
    names = [question.name for question in found]
    taken = [name for name in names if names.count(name) > 1]
    if taken:
        raise InputError(f"integration: two comparisons are named '{taken[0]}'; rename one")
    for trained, untrained in roles.get("untrained", {}).items():
        found.append(Question("trained", [trained], [untrained]))
        found.append(Question("untrained", [untrained], [trained]))
    have = set(scores["model"].values.tolist())
    for question in found:
        missing = [model for model in (*question.a, *question.b) if model not in have]
        if missing:
            raise InputError(
                f"integration: comparison {question.name} needs model '{missing[0]}', which was "
                f"not bootstrapped; the models are {', '.join(sorted(have))}"
            )
    return found


def _low_level(
    multimodal: list[str], unimodal: list[str], roles: Mapping[str, Any]
) -> list[Question]:
    """Comparisons that show what low-level features explain."""
    found = []
    if roles.get("low_level") and multimodal:
        found.append(Question(CHECKS[0], multimodal, [roles["low_level"]]))
    joined = roles.get("with_low_level") or {}
    if joined and multimodal and unimodal:
        alone = [model for model in (*multimodal, *unimodal) if model not in joined]
        if alone:
            raise InputError(
                f"with_low_level: model '{alone[0]}' has no combination with the low-level "
                "features; give one for every multimodal and unimodal model"
            )
        a, b = ([joined[model] for model in side] for side in (multimodal, unimodal))
        found.append(Question(CHECKS[1], a, b, even=True))
    return found


@dataclass(frozen=True)
class _Candidate:
    """What stands for a side: one model at each electrode, or the mean of several.

    Attributes
    ----------
    models : numpy.ndarray of int, (parts, sites)
        Positions in the scores, the most likely first.
    weight : numpy.ndarray, (parts,)
        Sums to 1.
    n_bins : numpy.ndarray of int, (sites,)
        Bins that the first keeps.
    """

    models: np.ndarray
    weight: np.ndarray
    n_bins: np.ndarray


def _candidate(
    scores: xr.Dataset,
    models: Sequence[str],
    rank: int,
    both: Sequence[str],
    params: Mapping[str, Any],
    best_of: int | None = None,
) -> _Candidate:
    """Candidate of a side at each electrode.

    Models with enough bins come before those with fewer; of either, the one with the higher mean
    validation score. With `best_of` fewer than there are models, the best of a random subset of
    that size, on average.
    """
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
    order = np.lexsort((key, n_bins < params["min_bins"]), axis=0)
    chosen, weight = order[rank : rank + 1], np.ones(1)
    if best_of is not None and best_of < len(models):
        chosen = order[: len(models) - best_of + 1]
        weight = best_chances(len(models), best_of)
    return _Candidate(at[chosen], weight, np.take_along_axis(n_bins, chosen[:1], axis=0)[0])


def best_chances(n: int, k: int) -> np.ndarray:
    """Chance that the first, second, ... of n is the best of k drawn without replacement."""
    return np.array([comb(n - 1 - rank, k - 1) / comb(n, k) for rank in range(n - k + 1)])


def _positions(scores: xr.Dataset, models: Sequence[str]) -> np.ndarray:
    """Positions of models in the scores."""
    every = scores["model"].values.tolist()
    return np.array([every.index(model) for model in models])


def _compared(
    scores: xr.Dataset,
    a: _Candidate,
    b: _Candidate,
    params: Mapping[str, Any],
    bins: np.ndarray,
    draws: Mapping[str, xr.Dataset] | None,
) -> pd.DataFrame:
    """Compare two candidates at each electrode: one row each."""
    kept, test = scores["kept"].values, scores["test"].values.astype(np.float64)
    sites = np.arange(scores.sizes["site"])
    used_a, used_b = (kept[side.models, sites] for side in (a, b))
    if params["bins"] == "union":
        either = used_a.any(axis=0) | used_b.any(axis=0)
        used_a, used_b = (np.broadcast_to(either, used.shape) for used in (used_a, used_b))
    resampled = draws if params["events"] == "resampled" else None
    means, drawn = [], []
    for side, used in ((a, used_a), (b, used_b)):
        shown = np.where(used, test[side.models, sites], np.nan)
        means.append(_weighted(_mean(shown), side.weight))
        parts = [
            bootstrap_bins(part.T, bins)
            if resampled is None
            else _from_events(scores, models, of_model, bins, resampled)
            for part, models, of_model in zip(shown, side.models, used, strict=True)
        ]
        drawn.append(_weighted(np.stack(parts), side.weight))
    low, high, p = _verdict(drawn[0] - drawn[1], params["level"])
    enough_a, enough_b = (side.n_bins >= params["min_bins"] for side in (a, b))
    names = scores["model"].values
    return pd.DataFrame(
        {
            "site": scores["site"].values,
            "a": np.where(np.isfinite(means[0]), names[a.models[0]], "n/a"),
            "b": np.where(np.isfinite(means[1]), names[b.models[0]], "n/a"),
            "n_bins_a": a.n_bins,
            "n_bins_b": b.n_bins,
            "score_a": means[0],
            "score_b": means[1],
            "effect": means[0] - means[1],
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
    model: np.ndarray,
    used: np.ndarray,
    bins: np.ndarray,
    draws: Mapping[str, xr.Dataset],
) -> np.ndarray:
    """Means of each draw of bins, taken from one replicate of the events, (draws, sites).

    `model` and `used`, (sites,) and (sites, bins): the model of each electrode and the bins that
    count there.
    """
    names, target = scores["model"].values, scores["target"].values
    count = np.zeros((len(bins), used.shape[1]))
    np.add.at(count, (np.arange(len(bins))[:, None], bins), 1.0)
    out = np.full((len(bins), len(target)), np.nan)
    for number in np.unique(model):
        if names[number] not in draws:
            raise InputError(
                f"integration: the draws of model {names[number]} were not kept; bootstrap it anew"
            )
        test = draws[names[number]]["test"].values
        replicate = np.arange(len(bins)) % len(test)
        for site in np.flatnonzero(model == number):
            at = np.flatnonzero(used[site])
            values = test[:, target[site, at]][replicate].astype(np.float64)
            finite = np.isfinite(values)
            weight = count[:, at] * finite
            total = np.einsum("db,db->d", weight, np.where(finite, values, 0.0))
            some = weight.sum(axis=1)
            np.divide(total, some, out=out[:, site], where=some > 0)
    return out


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean over the first axis, NaN left out; NaN where there is nothing else."""
    weight = weight.reshape(-1, *[1] * (values.ndim - 1)) * np.isfinite(values)
    total, some = np.nansum(weight * values, axis=0), weight.sum(axis=0)
    return np.divide(total, some, out=np.full(total.shape, np.nan), where=some > 0)


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
