"""The methods text of transfers, components and probes."""

from __future__ import annotations

import pandas as pd

from braid.config import transfer_models
from braid.report.results import Results
from braid.report.words import listed, null_meanings, penalties_of_draws, plural


def further_text(results: Results) -> str:
    """Describe the further analyses of a study; empty if its config names none."""
    return " ".join(
        [
            *_transfers(results),
            *_components(results),
            *_shared(results),
            *_probes(results),
        ]
    )


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
    if any("alignment" in entry for entry in entries.values()):
        said.append(
            "Where the two were described by different networks, or by different sides of one, the "
            "target's features were taken into the source's space by linear maps between the two, "
            "ridge regressions over captioned pictures with the penalty of each feature chosen by "
            "cross-validation over pictures; the layer is then chosen among those aligned."
        )
    if any(set(entry.get("tuning", ["none"])) != {"none"} for entry in entries.values()):
        said.append(
            "Sites may be tuned to the two with opposite sign. The score none is the raw one; for "
            "sign_loo the r of each run is multiplied by the sign of the mean r of the other runs, "
            "for gain_loo likewise with that sign shrunk towards +1; for dim_sign the "
            "prediction is split along the principal components of the source's weights, and each "
            "part keeps or changes its sign at each site as the other runs say (held out too); "
            "abs takes the magnitude, which is biased; each draw of the null goes through the same."
        )
    if results.transfers.get("relative_low", pd.Series(dtype=float)).notna().any():
        said.append(
            "The relative score is the score across over the score within the target, where the "
            "target's own test has p of at most .05; its 95 % interval comes from blocks of the "
            "target's time drawn again, the models not being trained again."
        )
    if len(results.transfer_matrix):
        said.append(
            "The transfer matrix holds the score of every layer within the source, each run held "
            "out in turn, and across, trained on all of the source and tested on the target: means "
            "over sites, by region too, with the draws of the same null. The false discovery rate "
            "is controlled over the layers and regions of a subject, model, training and test "
            "analysis. The layer marked as chosen is that of the source's inner folds, so the best "
            "of the matrix is not selected."
        )
    if len(results.transfer_times):
        said.append(
            "For electrodes, models trained in each window around the events predicted every "
            "window of the target, in the chosen layer; the false discovery rate is controlled "
            "over the pairs of windows of a region."
        )
    for name, entry in entries.items():
        test = results.test(entry["source"])
        null = next(iter(test.get("nulls") or ["circular_shift"]))
        said.append(
            f"Transfer {name}: {listed(transfer_models(entry))} from {entry['source']} to "
            f"{entry['target']}, with {test.get('n', 1000)} draws of {null_meanings(test)[null]} "
            f"{penalties_of_draws(test)}, at a false discovery rate of {test.get('fdr', 0.05):g}."
        )
    return said


def _shared(results: Results) -> list[str]:
    """Describe the components that two analyses share."""
    entries = results.further("shared_components")
    if not entries:
        return []
    said = [
        "Shared components are principal components of the weights of one analysis' model at the "
        "sites that both analyses find, each for itself; the weights of the other analysis' model "
        "were taken into the same features by the alignment (a weight of vision features is "
        "multiplied by the map from language to vision features) and projected on them. The two "
        "projections were correlated over sites, against refits of the other model to shifted "
        "responses and against maps that are as smooth (rotations on the sphere, or spectral "
        "randomisation in the volume); the larger p counts, and the false discovery rate is "
        "controlled over components."
    ]
    for name, entry in entries.items():
        said.append(
            f"Shared components {name}: {plural(int(entry['n']), 'component')} of "
            f"{entry['language']} and of {entry['vision']} (pair {entry['pair']} of the alignment "
            f"{entry['alignment']}), {plural(int(entry['draws']), 'refit')}."
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
        test = results.test(entry["analysis"])
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
