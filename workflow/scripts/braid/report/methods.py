"""The methods text of a study, written from its config and its results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from braid.config import base_of
from braid.report.fits import FitSummary
from braid.report.references import REFERENCES, Reference
from braid.report.results import Results
from braid.report.style import is_untrained, listed, plural

_CITATION = re.compile(r"\[@([^\]]+)\]")
# part of a network's name -> the work that introduced its architecture
_ARCHITECTURES = ("vilt", "clip", "bert", "vit")


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
        Paragraph(name, _preparation(name, config["datasets"][name]))
        for name in dict.fromkeys(results.dataset_of(a) for a in results.analyses)
    ]
    paragraphs = [
        Paragraph(f"Recordings and preprocessing: {p.heading}", p.text) for p in paragraphs
    ]
    paragraphs.append(Paragraph("Networks and features", _features(results)))
    for name in results.analyses:
        here = [fit for fit in fits if fit.analysis == name]
        entry = results.analysis(name)
        kind = results.kind_of(name)
        text = " ".join(
            [_samples(entry, kind), _encoding(entry, here), _testing(entry, kind), _compare(entry)]
        )
        paragraphs.append(Paragraph(f"Analysis {name}", text.strip()))
    said = " ".join([*_transfers(results), *_components(results), *_probes(results)])
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


def _preparation(name: str, dataset: Mapping[str, Any]) -> str:
    """Describe how one data set was read and preprocessed."""
    kind = dataset["kind"]
    source = {
        "ieeg": "Intracranial recordings in iEEG-BIDS format [@bids; ieeg-bids] were read with "
        "MNE-Python and MNE-BIDS [@mne; mne-bids].",
        "bold": "BOLD images in BIDS format [@bids] were read with nilearn [@nilearn].",
        "parcels": "Ready-made time series of parcels, laid out as in BIDS [@bids], were read as "
        "they are.",
    }[kind]
    if dataset.get("derivative"):
        source = (
            "BOLD images preprocessed with fMRIPrep [@fmriprep] were read from BIDS derivatives "
            "[@bids] with nilearn [@nilearn]."
        )
    checked = {
        "error": "The official BIDS validator had to pass.",
        "warn": "The official BIDS validator was run; its issues are listed above.",
    }.get(str(dataset.get("validate")), "The BIDS validator was not run.")
    entry = dict(dataset.get("preprocess") or {})
    steps = {"ieeg": _ieeg_steps, "bold": _bold_steps, "parcels": _slow_steps}[kind](entry)
    done = f" {_capital('; then '.join(steps))}." if steps else " No further step was applied."
    return f"{source} {checked}{done}"


def _ieeg_steps(entry: Mapping[str, Any]) -> list[str]:
    """List the steps of the preprocessing of iEEG in the order in which they are applied."""
    steps = ["channels marked as bad, flat channels and channels with missing values were left out"]
    if entry.get("noisy_threshold") is not None:
        steps[0] += (
            f", as were channels whose log variance had a robust z above "
            f"{entry['noisy_threshold']:g}"
        )
    if entry.get("notch"):
        how = "zero-phase FIR notch filters"
        if entry.get("notch_method") == "spectrum_fit":
            how = "fitted sinusoids, which were subtracted"
        lines = listed([f"{hertz:g}" for hertz in entry["notch"]])
        steps.append(f"line noise was removed at {lines} Hz with {how}")
    reference = {
        "average": "the average of the remaining channels",
        "bipolar": "neighbours on the same shaft (bipolar)",
        "laplacian": "the mean of both neighbours on the same shaft (Laplacian)",
    }.get(str(entry.get("reference")))
    if reference:
        steps.append(f"signals were re-referenced to {reference}")
    if entry.get("band"):
        steps.append(_band(entry["band"]))
    if entry.get("signal") == "envelope":
        scale = "natural logarithm of the " if entry.get("log") else ""
        steps.append(f"the {scale}Hilbert envelope of the band was taken")
    if entry.get("resample"):
        steps.append(f"signals were resampled to {entry['resample']:g} Hz")
    return steps


def _band(band: Sequence[float | None]) -> str:
    low, high = band
    if low is None:
        return f"signals were low-pass filtered at {high:g} Hz"
    if high is None:
        return f"signals were high-pass filtered at {low:g} Hz"
    return f"signals were band-pass filtered from {low:g} to {high:g} Hz"


def _bold_steps(entry: Mapping[str, Any]) -> list[str]:
    """List the steps of the preprocessing of BOLD images."""
    mask = str(entry.get("mask", "auto"))
    steps = [
        "voxels were taken from a brain mask computed from the mean image of each subject's runs"
        if mask == "auto"
        else f"voxels were taken from the mask {mask}"
    ]
    if entry.get("smooth"):
        steps.append(f"images were smoothed ({entry['smooth']:g} mm full width at half maximum)")
    confounds = entry.get("confounds", "none")
    removed = _trends(entry)
    if confounds == "motion":
        removed.append("estimates of head motion made from the images")
    elif isinstance(confounds, Mapping):
        removed.append(
            f"fMRIPrep confounds ({listed(list(map(str, confounds.get('strategy', []))))})"
        )
    elif confounds != "none":
        columns = entry.get("confound_columns")
        removed.append(
            f"the confounds in {confounds}" + (f" ({listed(columns)})" if columns else "")
        )
    if entry.get("spikes"):
        spikes = entry["spikes"]
        removed.append(
            f"one regressor per volume with {spikes['measure']} above {spikes['threshold']:g}"
        )
    if removed:
        steps.append(f"{listed(removed)} were removed from each run in one regression")
    return [*steps, *_standardised(entry)]


def _slow_steps(entry: Mapping[str, Any]) -> list[str]:
    """List the steps of the preprocessing of parcels."""
    removed = _trends(entry)
    steps = [f"{listed(removed)} were removed from each run in one regression"] if removed else []
    return [*steps, *_standardised(entry)]


def _trends(entry: Mapping[str, Any]) -> list[str]:
    """Name what the regression removes of slow changes."""
    removed = []
    if entry.get("detrend", "none") != "none":
        removed.append(f"{entry['detrend']} trends")
    if entry.get("high_pass"):
        removed.append(f"cosines up to {entry['high_pass']:g} Hz")
    return removed


def _standardised(entry: Mapping[str, Any]) -> list[str]:
    return ["time series were z-scored within each run"] if entry.get("standardize", True) else []


def _features(results: Results) -> str:
    """Describe the networks and how their features were taken."""
    registry = results.config.get("registry", {})
    names = list(
        dict.fromkeys(base_of(m) for a in results.analyses for m in results.analysis(a)["models"])
    )
    sources = {str(registry.get(name, {}).get("source")) for name in names}
    works = [s.replace("-", "_") for s in sources]
    known = [key for key in ("transformers", "sentence-transformers", "open_clip")
             if key.replace("-", "_") in works]  # fmt: skip
    described = []
    for name in names:
        entry = registry.get(name, {})
        said = f"{name} ({entry.get('modality', 'n/a')}; {entry.get('objective', 'n/a')}"
        architecture = next((a for a in _ARCHITECTURES if a in name.lower()), None)
        if architecture and entry.get("source") in {"transformers", "open_clip"}:
            said += f"; architecture [@{architecture}]"
        described.append(said + ")")
    text = f"Features came from {listed(described)}."
    if known:
        text += f" Networks were run in inference mode with PyTorch [@torch; {'; '.join(known)}]"
        text += "; one forward pass per unit gave all layers."
        pooling = sorted({str(registry[n].get("pooling", "mean")) for n in names if n in registry
                          and registry[n].get("source", "").replace("-", "_") in works
                          and registry[n].get("source") in
                          {"transformers", "open_clip", "sentence_transformers"}})  # fmt: skip
        text += f" Tokens were pooled to one vector per unit and layer ({listed(pooling)})."
    twins = [m for a in results.analyses for m in results.models(a) if is_untrained(m)]
    if twins:
        text += (
            " Untrained twins have the same architecture with weights drawn from the architecture's"
            " own initialisation; they show what the stimulus and the architecture alone explain."
        )
    combinations = {
        name: members
        for a in results.analyses
        for name, members in results.analysis(a).get("combinations", {}).items()
    }
    for name, members in combinations.items():
        text += f" The combination {name} joins the features of {listed(members)}, layer by layer."
    return text


def _samples(entry: Mapping[str, Any], kind: str) -> str:
    """Describe units and samples of one analysis."""
    units, design = entry["units"], entry["design"]
    what = {
        "words": f"each spoken word, read in the context of up to {units.get('context_words', 12)} "
        f"words before{_after(units)} it within its sentence, with the frame shown at its onset",
        "frames": f"a frame every {units.get('step', 0.5):g} s with the words said so far",
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
            f"{design.get('tmax', 1.5):g} s around each unit's onset; each electrode and window is "
            "one target."
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
        text += (
            f" Responses of each {'voxel' if kind == 'bold' else 'parcel'} were z-scored per run."
        )
    return text


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
    scale = (
        "relative to the mean eigenvalue of the training Gram matrix"
        if ridge.get("alpha_scale", "trace") == "trace"
        else "absolute"
    )
    measure = {"r": "Pearson r", "r2": "R²", "mse": "mean squared error"}[ridge.get("select", "r")]
    scaled = " and features scaled by their training standard deviation"
    text = (
        "Encoding models were ridge regressions [@ridge; tikhonov] with an unpenalised intercept"
        + (scaled if ridge.get("standardize", True) else "")
        + f", one penalty per target, from {alphas['n']} values between 10^{alphas['low']:g} and "
        f"10^{alphas['high']:g} ({scale}), chosen by {measure} in inner folds. Outer folds: "
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
        text += (
            f" The solver used the {listed(forms)} form; related solvers are published [@himalaya]."
        )
    if samples:
        text += f" Held-out samples per subject: {_spread(samples)}."
    return text


def _testing(entry: Mapping[str, Any], kind: str) -> str:
    """Describe the test of one analysis."""
    test = entry.get("test", {})
    nulls = list(test.get("nulls", ["circular_shift"]))
    meaning = _null_meanings(test)
    alpha = _penalties_of_draws(test)
    statistic = (
        "the largest score, studentised by its null, over the windows of an electrode"
        if kind == "ieeg"
        else "its score, studentised by its null"
    )
    text = (
        f"Scores were tested against {test.get('n', 1000)} draws of {meaning[nulls[0]]}; every "
        f"draw refitted all encoding models {alpha}. The statistic of a site is {statistic}; "
        "p = (k + 1) / (n + 1) [@pvalues]. Sites are called "
        f"significant at a false discovery rate of {test.get('fdr', 0.05):g} over the sites of a "
        "subject [@fdr]; family-wise p values from the maximum statistic [@maxt] are in the tables."
    )
    if nulls[1:]:
        text += f" Reported beside it: {listed([meaning[null] for null in nulls[1:]])}."
    return text


def _null_meanings(test: Mapping[str, Any]) -> dict[str, str]:
    """Say what each kind of null does to the responses."""
    return {
        "circular_shift": "circular shifts of the responses within runs by at least "
        f"{test.get('min_shift', 20):g} s (and never less than the delays' span plus ten samples)",
        "block": f"permutations of blocks of {test.get('block', 20):g} s within runs",
        "shuffle": "permutations of single samples, which ignore autocorrelation and are shown for "
        "comparison only",
    }


def _penalties_of_draws(test: Mapping[str, Any]) -> str:
    if test.get("alpha", "fixed") == "fixed":
        return "with the penalties of the observed fit"
    return "with penalties chosen anew"


def _transfers(results: Results) -> list[str]:
    """Describe the transfers, a sentence or two each, and first what they have in common."""
    entries = results.further("transfers")
    if not entries:
        return []
    said = [
        "Transfers test models of one analysis on the responses of another. The model is trained "
        "on all samples of the first (the source), in the layer chosen there and with penalties "
        "chosen on its folds; it predicts the second (the target) at the sites that both have. The "
        "score is the Pearson correlation per run of the target, averaged over runs. Under the "
        "null the source's responses are moved and the model is trained again; p and the false "
        "discovery rate are as above."
    ]
    for name, entry in entries.items():
        test = results.analysis(entry["source"]).get("test", {})
        null = next(iter(test.get("nulls") or ["circular_shift"]))
        said.append(
            f"Transfer {name}: {listed(list(entry['models']))} from {entry['source']} to "
            f"{entry['target']}, with {test.get('n', 1000)} draws of {_null_meanings(test)[null]} "
            f"{_penalties_of_draws(test)}, at a false discovery rate of {test.get('fdr', 0.05):g}."
        )
    return said


def _components(results: Results) -> list[str]:
    """Describe the principal components of encoding weights."""
    entries = results.further("components")
    if not entries:
        return []
    said = [
        "Components are principal components of encoding weights [@huth]. Models were fitted on "
        "all samples, in the layer with the highest mean inner-fold score over subjects; the "
        "weights of each significant site were averaged over delays, expressed per standard "
        "deviation of a feature over the units, scaled to length 1 and multiplied by the site's "
        "held-out r; the sites of all subjects were stacked and centred. Under the null the same "
        "sites are fitted, with the same penalties, to circularly shifted responses; the "
        "statistic is a component's share of the variance that the components before it leave. "
        "The left-out share is that of a subject's variance which the matching component of the "
        "other subjects explains."
    ]
    for name, entry in entries.items():
        test = results.analysis(entry["analysis"]).get("test", {})
        said.append(
            f"Components {name}: {plural(int(entry.get('n', 5)), 'component')} of {entry['model']} "
            f"in {entry['analysis']}, {plural(int(entry.get('draws', 50)), 'draw')} of shifts by "
            f"at least {test.get('min_shift', 20):g} s."
        )
    return said


def _probes(results: Results) -> list[str]:
    """Describe the probes of pairing."""
    entries = results.further("probes")
    if not entries:
        return []
    said = [
        "Probes compare the matching score that a vision-language network gives to texts with "
        "their own frames with its score for the same texts and frames, circularly shifted "
        "against each other in time within each film; p = (k + 1) / (n + 1) over the shifts "
        "[@pvalues]. The network's untrained twin is probed with the same pairs."
    ]
    for name, entry in entries.items():
        said.append(
            f"Probe {name}: {entry['model']} on up to {entry.get('units', 300):,} units of "
            f"{entry['analysis']}, {plural(int(entry.get('draws', 200)), 'shift')} of at least "
            f"{entry.get('min_shift', 30):g} s."
        )
    return said


def _compare(entry: Mapping[str, Any]) -> str:
    """Describe the model comparisons of one analysis."""
    pairs = entry.get("compare", {})
    if not pairs:
        return ""
    test = entry.get("test", {})
    said = [f"{a} against {b} ({name})" for name, (a, b) in pairs.items()]
    among = (
        "all sites"
        if test.get("among", "all") == "all"
        else "sites that at least one of the two predicts significantly"
    )
    return (
        f"Models were compared at {among}: {listed(said)}. In {test.get('n', 1000)} draws the "
        f"held-out predictions of the two were exchanged in blocks of {test.get('block', 20):g} s "
        "with probability 1/2; the one-sided p value of the studentised difference of scores was "
        "corrected over the sites of a subject as above."
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


def _spread(counts: Sequence[int]) -> str:
    low, high = int(np.min(counts)), int(np.max(counts))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
