"""The methods text of a study, written from its config and its results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from braid.config import base_of
from braid.report.fits import FitSummary
from braid.report.methods_further import further_text
from braid.report.methods_integration import integration_text
from braid.report.methods_recordings import recordings_text
from braid.report.references import REFERENCES, Reference
from braid.report.results import Results
from braid.report.summary import no_scores
from braid.report.words import (
    is_untrained,
    listed,
    null_meanings,
    penalties_of_draws,
    plural,
    power,
    spread,
)

_CITATION = re.compile(r"\[@([^\]]+)\]")
# part of a network's name -> its architecture; in lower case, the work that introduced it
_ARCHITECTURES = ("ViLT", "CLIP", "BERT", "ViT")
# source of a network -> the work that introduced the package that runs it
_PACKAGES = {
    "transformers": "transformers",
    "sentence_transformers": "sentence-transformers",
    "open_clip": "open_clip",
}
_POOLING = {
    "mean": "the mean over its tokens",
    "max": "the maximum over its tokens",
    "cls": "its class token",
    "last": "its last token",
    "target_tokens": "the mean over the tokens of the word itself",
    "flatten": "all its tokens, one after the other",
    "none": "the network's own output",
}
_FORMS = {
    "gram": "the eigenvectors of the features' Gram matrix",
    "kernel": "the eigenvectors of the samples' kernel matrix",
    "svd": "the singular vectors of the features",
    "streamed": "the Gram matrix of the features, read piece by piece",
}


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of the methods: its heading, and text with `[@key; key]` for citations."""

    heading: str
    text: str


def methods_text(results: Results, fits: Sequence[FitSummary]) -> list[Paragraph]:
    """Describe what was done, with the parameters that were used.

    Parameters
    ----------
    results : Results
    fits : sequence of FitSummary
        Their form of solver and number of held-out samples are reported.
    """
    config = results.config
    paragraphs = [
        Paragraph(
            f"Recordings and preprocessing: {name}", recordings_text(config["datasets"][name])
        )
        for name in results.datasets
    ]
    paragraphs.append(Paragraph("Networks and features", _features(results)))
    for name in results.analyses:
        here = [fit for fit in fits if fit.analysis == name]
        entry = results.analysis(name)
        kind = results.kind_of(name)
        text = " ".join(
            [
                _samples(entry, results.noun_of(name), _sees_pictures(results, entry)),
                *(
                    [_encoding(entry, here), _testing(entry, kind), _compare(entry)]
                    if results.fitted(name)
                    else [no_scores(results, name)]
                ),
            ]
        )
        paragraphs.append(Paragraph(f"Analysis {name}", text.strip()))
    for name in results.further("integrations"):
        parts = integration_text(results, name)
        paragraphs += [
            Paragraph(f"Integration {name}: {what}", said) for what, said in parts.items()
        ]
    said = further_text(results)
    if said:
        paragraphs.append(Paragraph("Further analyses", said))
    if results.evaluation is not None:
        paragraphs.append(Paragraph("Checks", _checks(config)))
    paragraphs.append(Paragraph("Software and reproducibility", _software(results)))
    return paragraphs


def cited(paragraphs: Sequence[Paragraph]) -> list[tuple[str, Reference]]:
    """Works that a text cites, sorted by their first author."""
    keys = {
        key.strip()
        for paragraph in paragraphs
        for group in _CITATION.findall(paragraph.text)
        for key in group.split(";")
    }
    return sorted(((k, REFERENCES[k]) for k in keys), key=lambda item: item[1].full.casefold())


def with_links(text: str) -> Markup:
    """Escape a text and turn its citations into links to the list of references."""
    parts, end = [], 0
    for match in _CITATION.finditer(text):
        parts.append(escape(text[end : match.start()]))
        links = [
            Markup('<a href="#ref-{}">{}</a>').format(key.strip(), REFERENCES[key.strip()].short)
            for key in match.group(1).split(";")
        ]
        parts.append(Markup("(") + Markup("; ").join(links) + Markup(")"))
        end = match.end()
    parts.append(escape(text[end:]))
    return Markup("").join(parts)


def _features(results: Results) -> str:
    """Describe the networks and how their features were taken."""
    registry = results.config.get("registry", {})
    entries = {name: registry.get(name, {}) for name in _networks(results)}
    described = [_network(name, entry) for name, entry in entries.items()]
    text = f"Features came from: {'; '.join(described)}."
    run = [entry for entry in entries.values() if entry.get("source") in _PACKAGES]
    if run:
        packages = list(dict.fromkeys(_PACKAGES[entry["source"]] for entry in run))
        pooling = list(dict.fromkeys(_POOLING[entry.get("pooling", "mean")] for entry in run))
        text += (
            f" Networks were run in inference mode with PyTorch [@torch; {'; '.join(packages)}]; "
            "one forward pass per unit gave all layers. The features of a unit in a layer are "
            f"{listed(pooling, 'or')}{', by network' if len(pooling) > 1 else ''}."
        )
    if any(is_untrained(m) for a in results.analyses for m in results.models(a)):
        text += (
            " Untrained twins have the same architecture with weights drawn from the architecture's"
            " own initialisation; they show what the stimulus and the architecture alone explain."
        )
    combinations = {
        name: members
        for a in results.analyses
        for name, members in results.analysis(a).get("combinations", {}).items()
    }
    projections = {
        name: settings
        for a in results.analyses
        for name, settings in results.analysis(a).get("projections", {}).items()
    }
    for name, members in combinations.items():
        if name not in projections:
            text += (
                f" The combination {name} joins the features of {listed(members)}, layer by layer."
            )
            continue
        settings = projections[name]
        text += (
            f" The combination {name} is a linear projection of the features of {listed(members)}, "
            f"layer by layer, into at most {settings['dim']} dimensions. It was learnt from the "
            "stimuli alone, by canonical correlation analysis over the units that have a picture "
            f"and a text, with a ridge of {settings['penalty']:g} mean eigenvalues of each "
            "network's covariance."
        )
    return text


def _networks(results: Results) -> list[str]:
    """Names of the registry's entries that the analyses use, in their order."""
    models = (m for a in results.analyses for m in results.analysis(a)["models"])
    return list(dict.fromkeys(base_of(model) for model in models))


def _network(name: str, entry: Mapping[str, Any]) -> str:
    """Describe one network, or another source of features."""
    objective = entry.get("objective", "n/a")
    if entry.get("source") not in _PACKAGES:
        return f"{name} ({objective})"
    known = next((a for a in _ARCHITECTURES if a.lower() in name.lower()), None)
    built = f" with the architecture of {known} [@{known.lower()}]," if known else ""
    return f"{name}, a {entry.get('modality', 'n/a')} network{built} trained for {objective}"


def _sees_pictures(results: Results, entry: Mapping[str, Any]) -> bool:
    """Tell whether any network of an analysis is shown pictures."""
    registry = results.config.get("registry", {})
    seen = (registry.get(base_of(m), {}).get("modality", "n/a") for m in entry["models"])
    return any("vision" in modality for modality in seen)


_SENTENCES = {
    "nearest": "said nearest to it",
    "preceding": "said last",
    "following": "said next",
}
_ANCHORS = {
    "edges": "edges of the first and the last window",
    "start": "starts of the windows",
    "center": "centres of the windows",
}


def _samples(entry: Mapping[str, Any], noun: str, pictures: bool) -> str:
    """Describe units and samples of one analysis."""
    units, design = entry["units"], entry["design"]
    what = {
        "words": f"each spoken word, read in the context of up to {units.get('context_words', 12)} "
        f"words before{_after(units)} it within its sentence"
        + (", with the frame shown at its onset" if pictures else ""),
        "frames": f"a frame every {units.get('step', 0.5):g} s with the words said so far",
        "scene_cuts": "the frame at each scene cut with the whole sentence "
        + _SENTENCES[units.get("sentence_match", "nearest")],
        "labels": f"the label of each event (column {units.get('column', 'trial_type')})",
        "rows": "rows of given features, one per volume",
    }[units["kind"]]
    text = f"Tasks: {listed(list(map(str, entry['tasks'])))}. Units were {what}."
    delays = design.get("delays") or (
        [1, 2, 3, 4] if design["kind"] in {"lanczos", "boxcar"} else [0]
    )
    if design["kind"] == "event_locked":
        return text + (
            f" Responses were means over windows of {design.get('window', 0.2):g} s in steps of "
            f"{design.get('step', 0.05):g} s from {design.get('tmin', -0.5):g} to "
            f"{design.get('tmax', 1.5):g} s around each unit's onset "
            f"({_ANCHORS[design.get('bin_anchor', 'edges')]}); each electrode and window is one "
            "target."
        )
    how = {
        "lanczos": f"Features were resampled to the volumes with a Lanczos kernel of "
        f"{design.get('lobes', 3)} lobes (cut-off {design.get('cutoff_mult', 1.0):g} times the "
        "volumes' rate) [@huth]",
        "boxcar": "Features lasted as long as their events, on the grid of volumes",
        "rows": "Features were given one row per volume",
    }[design["kind"]]
    text += f" {how}"
    if list(delays) == [0]:
        text += ", without delays."
    else:
        text += (
            f", with delays of {listed([str(d) for d in delays])} volumes within each run in place "
            "of a fixed haemodynamic response [@huth]."
        )
    if any(design.get("trim", [0, 0])):
        start, end = design["trim"]
        text += f" Dropped from each run: {start} volumes at its start and {end} at its end."
    if design.get("standardize", True):
        text += f" Responses of each {noun} were z-scored per run."
    if design.get("standardize_features"):
        text += " Features were z-scored per run, before delays."
    return text


def _drawn(inner: int | Mapping[str, Any] | None) -> str:
    """Say how inner folds were drawn, if they were."""
    if not isinstance(inner, Mapping):
        return ""
    chunks = f"chunks of {inner['length']} samples"
    held = (
        f"a fifth of the rows, in {chunks}"
        if inner["held"] is None
        else f"{inner['held']} {chunks}"
    )
    return f", {inner['draws']} random draws that each hold out {held} [@huth]"


def _after(units: Mapping[str, Any]) -> str:
    return f" and {units['context_after']} after" if units.get("context_after") else ""


def _encoding(entry: Mapping[str, Any], fits: Sequence[FitSummary]) -> str:
    """Describe the encoding models of one analysis."""
    folds, ridge = entry.get("folds", {}), entry.get("ridge", {})
    scheme = {
        "blocks": f"{folds.get('n', 5)} contiguous blocks",
        "runs": "leave one run out",
        "holdout": f"fit on runs with {_filter(folds.get('train'))}, test on runs with "
        f"{_filter(folds.get('test'))}",
    }[folds.get("scheme", "blocks")]
    embargo = float(folds.get("embargo", 0))
    alphas = ridge.get("alphas", {"low": -2, "high": 6, "n": 15})
    scale = {
        "trace": "relative to the mean eigenvalue of the training Gram matrix",
        "absolute": "absolute",
        "squared": "whose squares are the penalties [@huth]",
    }[ridge.get("alpha_scale", "trace")]
    measure = {
        "r": "Pearson r",
        "r2": "R²",
        "mse": "mean squared error",
        "signed_root_r2": "the signed root of R²",
    }[ridge.get("select", "r")]
    scaled = " and features scaled by their training standard deviation"
    text = (
        "Encoding models were ridge regressions [@ridge; tikhonov] with an unpenalised intercept"
        + (scaled if ridge.get("standardize", True) else "")
        + f", one penalty per target, from {alphas['n']} values between "
        f"{power(alphas['low'])} and {power(alphas['high'])} ({scale}), chosen by {measure} in "
        f"inner folds{_drawn(folds.get('inner'))}. Outer folds: "
        f"{scheme}"
        + (
            f", with {embargo:g} s on both sides of what is held out dropped from training"
            if embargo
            else ""
        )
        + ". The score is the Pearson correlation of held-out responses and predictions, averaged "
        "over outer folds; the layer shown for each subject is the one with the best mean score "
        "in the inner folds."
    )
    forms = sorted({fit.form for fit in fits if fit.form != "n/a"})
    samples = [fit.n_tested for fit in fits if fit.n_tested]
    if forms:
        how = listed([_FORMS.get(form, form) for form in forms], "or")
        text += f" The regressions were solved through {how}, as in related solvers [@himalaya]."
    if samples:
        text += f" Held-out samples per subject: {spread(samples)}."
    return text


def _testing(entry: Mapping[str, Any], kind: str) -> str:
    """Describe the test of one analysis."""
    test = entry.get("test", {})
    nulls = list(test.get("nulls", ["circular_shift"]))
    meaning = null_meanings(test)
    alpha = penalties_of_draws(test)
    over = ["the windows of an electrode"] * (kind == "ieeg")
    over += ["layers"] * (test.get("layer") == "any")
    statistic = "its score, studentised by its null"
    if over:
        statistic = f"the largest score, studentised by its null, over {listed(over)}"
    rate = "Benjamini-Yekutieli false discovery rate"
    if test.get("fdr_method", "bh") == "bh":
        rate = "false discovery rate"
    raw = " of raw scores" if test.get("max_t") == "raw" else ""
    text = (
        f"Scores were tested against {test.get('n', 1000)} draws of {meaning[nulls[0]]}; every "
        f"draw refitted all encoding models {alpha}. The statistic of a site is {statistic}; "
        "p = (k + 1) / (n + 1) [@pvalues]. Sites are called "
        f"significant at a {rate} of {test.get('fdr', 0.05):g} over the sites of a "
        f"subject [@fdr]; family-wise p values from the maximum statistic{raw} [@maxt] are in the "
        "tables."
    )
    if nulls[1:]:
        text += f" Reported beside it: {listed([meaning[null] for null in nulls[1:]])}."
    return text


def _compare(entry: Mapping[str, Any]) -> str:
    """Describe the model comparisons of one analysis."""
    pairs = entry.get("compare", {})
    if not pairs:
        return ""
    swap = entry.get("swap", {})
    said = [f"{a} against {b} ({name})" for name, (a, b) in pairs.items()]
    among = (
        "all sites"
        if swap.get("among", "all") == "all"
        else "sites that at least one of the two predicts significantly"
    )
    return (
        f"Models were compared at {among}: {listed(said)}. In {swap.get('n', 2000)} draws the "
        f"held-out predictions of the two were exchanged in blocks of {swap.get('block', 20):g} s "
        "with probability 1/2, and the null differences were widened by the square root of 2 where "
        "folds train each other's models; the one-sided p value of the studentised difference of "
        "scores was corrected over the sites of a subject as above."
    )


def _checks(config: Mapping[str, Any]) -> str:
    """Describe where the evaluation comes from."""
    parts = []
    if config.get("simulate"):
        parts.append(
            "The data set was simulated. What drives each site is known to the evaluation alone: "
            "no other step reads the table of the truth."
        )
    if config.get("expect"):
        known = plural(len(config["expect"]), "figure")
        parts.append(
            f"The config names {known} known for these data; the results are compared with it."
            if len(config["expect"]) == 1
            else f"The config names {known} known for these data; the results are compared with "
            "them."
        )
    return " ".join(parts) or "Figures were compared with what was expected of them."


def _software(results: Results) -> str:
    """Describe versions, seed and how to repeat the study."""
    config = results.config
    versions = [f"{name} {version}" for name, version in results.versions.items()]
    text = "The study is a Snakemake workflow [@snakemake]."
    if versions:
        text += f" Versions recorded with the results: {listed(versions)}."
    return text + (
        f" All randomness comes from the seed {config.get('seed', 0)}, split per job by name, so "
        "that the same config gives the same numbers whatever the number of cores."
    )


def _filter(entities: Mapping[str, Any] | None) -> str:
    """Write a filter of runs in words."""
    said = []
    for name, value in (entities or {}).items():
        values = [value] if isinstance(value, str) else list(map(str, value))
        said.append(f"{name} {listed(values, 'or')}")
    return listed(said) or "any entity"
