"""The methods text of integration tests, from the settings of their profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braid.report.integration import Integration, integrations_of
from braid.report.integration_tables import differences_of
from braid.report.results import Results
from braid.report.words import listed, number, plural, power


def integration_text(results: Results, name: str) -> dict[str, str]:
    """Describe the integration tests under the first profile, and how the others differ.

    Returns
    -------
    dict of str to str
        Text by heading.
    """
    every = integrations_of(results, name)
    one = every[0]
    return {
        "encoding models": " ".join(
            [
                "The tests follow the logic of Subramaniam and colleagues [@integration], written "
                "anew from what is public about it.",
                _alignments(one),
                _bootstrap(one.settings),
            ]
        ),
        "tests": " ".join(
            part
            for part in [
                _candidates(one),
                _resampling(one.settings),
                _tests(one),
                _corrections(one.settings),
                _aggregation(bool(one.roles["untrained"])),
                _labels(one.settings),
                _profiles(every),
            ]
            if part
        ),
        "what to keep in mind": _caveats(one),
    }


def _profiles(every: Sequence[Integration]) -> str:
    """Say what holds for other profiles than the first; empty without any."""
    if len(every) < 2:
        return ""
    said = f"What is said here holds for the profile {every[0].profile}. {differences_of(every)}"
    if "paper2024" in {one.profile for one in every}:
        said += (
            " The profile paper2024 follows the paper where its released code and text say what "
            "was done; where they leave it open, it takes the plainest reading."
        )
    return said


def _alignments(one: Integration) -> str:
    """Say what events are."""
    events = [
        f"{alignment} (those of analysis {analysis})"
        for alignment, analysis in one.entry["alignments"].items()
    ]
    return f"Events were {listed(events)}; each electrode and window around them is one target."


def _bootstrap(settings: Mapping[str, Any]) -> str:
    """Describe the encoding models and the bootstrap over events."""
    alphas = settings["alphas"]
    scale = (
        "absolute"
        if settings["alpha_scale"] == "absolute"
        else "relative to the mean eigenvalue of the training Gram matrix"
    )
    embargo = float(settings["embargo"])
    blocks = int(settings["event_block"])
    return (
        f"Encoding models were ridge regressions [@ridge] in {settings['folds']} contiguous folds "
        "in the order of the film: of what is held out, the first half validates and the second "
        "half tests"
        + (
            f", with {embargo:g} s dropped between training, validation and test"
            if embargo
            else ", with nothing dropped between training, validation and test"
        )
        + f". The penalty of a target is the one, of {alphas['n']} from {power(alphas['low'])} "
        f"to {power(alphas['high'])} ({scale}), with the highest mean validation r. All of this "
        f"was repeated on {settings['draws']:,} bootstrap samples of the events, "
        + (f"drawn in blocks of {blocks} and " if blocks > 1 else "")
        + f"kept in order, the same for all models. A window (bin) of a model counts if "
        f"{_counting(settings)}, and a model has enough bins at an electrode if "
        f"{settings['min_bins']} count."
    )


def _counting(settings: Mapping[str, Any]) -> str:
    """Say when a bin of a model counts."""
    if settings["bin_filter"] == "perm_fdr":
        rate = 1 - float(settings["level"])
        return (
            f"the model predicts it in a permutation test at a false discovery rate of at most "
            f"{rate:.2g} over the electrodes and bins of a subject"
        )
    return (
        f"the lower end of the {100 * settings['level']:g} % percentile interval of its "
        "validation score is above 0"
    )


def _candidates(one: Integration) -> str:
    """Say how the models that are compared were chosen."""
    roles = one.roles
    said = (
        f"Multimodal models were {listed(roles['multimodal'])}; unimodal ones "
        f"{listed(roles['unimodal'])}"
    )
    if roles["linear"]:
        said += f"; combinations without interaction {listed(roles['linear'])}"
    bins = {
        "union": "the bins that either keeps, the same for both",
        "own": "the bins that it keeps itself",
    }[one.settings["bins"]]
    even = ""
    if one.settings["equalise"] and len(roles["multimodal"]) > len(roles["unimodal"]):
        even = (
            " In the multimodal test the multimodal side is scored as the best of "
            f"{len(roles['unimodal'])} models, as many as the other side has: the mean over all "
            "such subsets of its models."
        )
    return (
        f"{said}. At each electrode the candidate of a side is the model with the highest mean "
        "validation score; candidates are compared on the bootstrapped mean of the test score, "
        f"averaged over {bins}.{even}"
    )


def _resampling(settings: Mapping[str, Any]) -> str:
    """Describe the second-order bootstrap."""
    how = (
        "one by one"
        if settings["resample"] == "iid"
        else f"in moving blocks of {settings['block_bins']}, since windows overlap"
    )
    sees = {
        "resampled": "each draw with another replicate of the events",
        "fixed": "all draws with the mean over the replicates of the events",
    }[settings["events"]]
    return (
        f"Differences were tested by a bootstrap over bins, {settings['bin_draws']:,} draws {how}, "
        f"{sees}; one-sided p = (k + 1) / (n + 1) with k draws whose difference is at most 0 "
        f"[@pvalues].{_tail(settings)}"
    )


def _tail(settings: Mapping[str, Any]) -> str:
    """Say what the smallest p rest on; empty where every draw has a replicate of its own."""
    if settings["events"] != "resampled" or settings["bin_draws"] <= settings["draws"]:
        return ""
    return (
        f" The {settings['draws']:,} replicates are used in turn, so that a p below "
        f"{number(1 / (settings['draws'] + 1), 4)} rests on the spread over bins."
    )


def _corrections(settings: Mapping[str, Any]) -> str:
    """Describe the correction for many electrodes, and what a win by default is."""
    over = {
        "after_nobs": "the electrodes that were tested",
        "before_nobs": "all electrodes with anything to compare, before those with too few bins "
        "were dropped",
    }[settings["fdr_order"]]
    default = {
        "tested": "Where one side alone has enough bins the two were tested like the rest, on the "
        "bins of that side; what would pass by default besides is counted in its own column.",
        "apart": "Where one side alone has enough bins it wins by default, untested; such wins are "
        "counted in their own column and in no count of electrodes that pass.",
    }[settings["defaults"]]
    return (
        f"An electrode passes a comparison at a false discovery rate of at most {settings['q']:g} "
        f"[@fdr], controlled per comparison over {over}, of all subjects and alignments together. "
        f"{default}"
    )


def _tests(one: Integration) -> str:
    """Describe the tests, weak and strict."""
    roles = one.roles
    said = ["multimodal: the best multimodal model beats the best unimodal one"]
    if roles.get("matched"):
        a, b = roles["matched"]
        said.append(f"matched: {a} beats {b}, of the same architecture, trained without language")
    if roles["linear"]:
        said.append(
            f"nonlinear: the best multimodal model beats {listed(roles['linear'])}"
            + (", all of them" if len(roles["linear"]) > 1 else "")
        )
    if roles.get("low_level"):
        said.append(
            f"checked against low-level features: the best multimodal model beats "
            f"{roles['low_level']}"
            + (
                ", and the multimodal test made once more with them beside the features of every "
                "model"
                if roles.get("with_low_level")
                else ""
            )
        )
    return (
        f"Tests: {'; '.join(said)}. A test is passed weakly in at least one alignment, strictly in "
        "all of them at the same electrode."
    )


def _labels(settings: Mapping[str, Any]) -> str:
    """Describe the null of the labels of models; empty where there is none."""
    most = int(settings["labellings"])
    if not most:
        return ""
    return (
        "The labels multimodal and unimodal were exchanged among the same networks, in all ways or "
        f"at most {most:,}, and the multimodal test was made anew with each; p is the share of "
        "labels under which at least as many electrodes pass."
    )


def _aggregation(twins: bool) -> str:
    """Describe the intervals."""
    said = (
        "Shares of electrodes have Wilson intervals [@wilson], which take electrodes as "
        "independent. The mean share over subjects has a 95 % interval from a hierarchical "
        "bootstrap of subjects and, within them, electrodes; the share at a typical subject is "
        "that of a logistic mixed model with a random intercept per subject (posterior mode under "
        "weak priors)."
    )
    if twins:
        said += " Networks and their twins with random weights were compared in the same way."
    return said


def _caveats(one: Integration) -> str:
    """Say what the counts do not show."""
    sizes = [len(one.roles[side]) for side in ("multimodal", "unimodal")]
    parts = [
        "A weak pass is not a strict one: it asks for an advantage in one alignment only, and more "
        "alignments give more chances. The two are therefore always shown side by side.",
        "A model that predicts better than unimodal ones need not integrate the senses: it may "
        "read one of them better. The nonlinear test asks for more than the sum of two unimodal "
        "networks, and a matched pair for more than the same network without language.",
        "The filter of bins does not make the test score one of unseen data. Of two folds each "
        "trains the model that the other validates and tests, so that both scores share what noise "
        "has in common; in simulated noise the mean test r was .11 in the bins that the filter "
        "kept. Only differences between models are tested here. Whether a model predicts an "
        "electrode at all is what permutations show.",
        f"Candidates are selected on validation and compared on test, from "
        f"{plural(sizes[0], 'multimodal model')} and {plural(sizes[1], 'unimodal model')}"
        + (
            "; the side with more models has more chances to hold a good one."
            if sizes[0] != sizes[1] and not one.settings["equalise"]
            else "."
        ),
        "A win by default says that one side alone predicts, not that it predicts better by more "
        "than chance.",
    ]
    return " ".join(parts)
