"""The answer in short: what the study found, in sentences read from its tables."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from braid.report.crossmodal import shared_sentences
from braid.report.further import component_rows, probe_rows, transfer_rows
from braid.report.integration import integration_sentences
from braid.report.results import Results, flags
from braid.report.summary import (
    Needs,
    headline_comparison,
    no_scores,
    passed,
    sees,
    site_needs,
)
from braid.report.words import (
    KIND,
    capital,
    counted,
    is_untrained,
    listed,
    number,
    p_value,
    percent,
    plural,
    several,
)

LEVEL = 0.05
"""Level at which the answer counts components; probes are given with their p."""


@dataclass(frozen=True)
class Answer:
    """A part of the answer: what it is about, and sentences."""

    heading: str
    sentences: tuple[str, ...]


def answers(results: Results) -> list[Answer]:
    """Answer in short: the analyses in the order of the config, then all that builds on them."""
    said = [Answer(name, tuple(_of_analysis(results, name))) for name in results.analyses]
    further = {
        "Integration sites": integration_sentences(results),
        "Transfers": transfer_sentences(results),
        "Components": component_sentences(results),
        "Shared components": shared_sentences(results),
        "Probes": probe_sentences(results),
        "Checks": check_sentences(results),
    }
    return said + [Answer(heading, tuple(texts)) for heading, texts in further.items() if texts]


def _of_analysis(results: Results, analysis: str) -> list[str]:
    """Say what the sites of an analysis need, and what its models predict."""
    if not results.models(analysis):
        return [no_scores(results, analysis)]
    noun = results.noun_of(analysis)
    sites = results.sites_of(analysis)
    trained = results.trained_sites_of(analysis)
    needs = site_needs(results, analysis)
    text = [
        f"{capital(KIND[results.kind_of(analysis)])}, {plural(needs.tested, noun)} of "
        f"{plural(sites['subject'].nunique(), 'subject')} tested."
    ]
    if not trained["significant"].any():
        return [*text, f"No trained model predicts any {noun} significantly."]
    text += _needed(results, analysis, needs, noun)
    hits = trained.groupby("model")["significant"].sum()
    best = str(hits.idxmax())
    text.append(
        f"Of all trained models, {best} predicts the most: "
        f"{counted(int(hits[best]), needs.tested, noun)}."
    )
    twins = sites[sites["model"].map(is_untrained)].groupby("model")["significant"].sum()
    if len(twins):
        most = str(twins.idxmax())
        rest = (
            f"at most {counted(int(twins[most]), needs.tested, noun)}, by {most}"
            if twins[most]
            else f"no {noun}"
        )
        text.append(f"Networks with random weights predict {rest}.")
    return text


def _needed(results: Results, analysis: str, needs: Needs, noun: str) -> list[str]:
    """Say which sites vision, language, or both predict."""
    text = []
    headline = headline_comparison(results, analysis)
    if needs.together is not None and headline is not None:
        text.append(
            f"Vision and language together: {headline[1]} predicts better than {headline[2]} at "
            f"{counted(needs.together, needs.tested, noun)}."
        )
    seen = {sees(results, analysis, m) for m in results.models(analysis) if not is_untrained(m)}
    if len(seen & {"vision", "language", "both"}) < 2:
        return text
    groups = [
        (needs.both, "by a vision and by a language network"),
        (needs.vision, "by a vision network and no language network"),
        (needs.language, "by a language network and no vision network"),
        (needs.joint, "only by a model of both"),
    ]
    rest = needs.tested - (needs.together or 0)
    found = [f"{count:,} are predicted {how}" for count, how in groups if count]
    other = "other " if needs.together else ""
    said = listed([*found, f"{needs.unpredicted:,} by no model"])
    return [*text, f"Of the {other}{rest:,} {several(noun)}, {said}."]


def transfer_sentences(results: Results) -> list[str]:
    """Say where what was learnt in one analysis holds in another."""
    entries = results.further("transfers")
    said = []
    for row in filter(itemgetter("raw"), transfer_rows(results)):
        entry = entries[row["transfer"]]
        noun = results.noun_of(entry["target"])
        said.append(
            f"{row['transfer']}: {row['model']}, trained on {entry['source']} alone, predicts "
            f"{entry['target']} at {counted(row['significant'], row['sites'], noun)}."
        )
    return said


def component_sentences(results: Results) -> list[str]:
    """Say how many dimensions of a network's features the sites share."""
    entries = results.further("components")
    said = []
    for name, table in results.components.items():
        entry, rows = entries[name], component_rows(table)
        if not rows:
            continue
        # a component is tested in what those before it leave, so the first that fails ends the list
        kept = next((i for i, row in enumerate(rows) if not row["p"] <= LEVEL), len(rows))
        share = sum(row["share"] for row in rows[:kept])
        held = f"; they hold {percent(share)} of the variance of the weights" if kept else ""
        said.append(
            f"{name}: {kept} of {plural(len(rows), 'component')} of the weights of "
            f"{entry['model']} in {entry['analysis']} "
            f"{'is' if kept == 1 else 'are'} larger than under the null (p at most "
            f"{LEVEL:g}){held}."
        )
    return said


def probe_sentences(results: Results) -> list[str]:
    """Say whether a network uses which picture belongs to which text."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in probe_rows(results):
        found.setdefault(row["probe"], {})[row["weights"]] = row
    said = []
    for name, rows in found.items():
        parts = [
            f"{number(row['effect'], 2)} with {weights} weights ({p_value(row['p'])})"
            for weights, row in rows.items()
        ]
        model = next(iter(rows.values()))["model"]
        said.append(
            f"{name}: how much higher {model} scores a text with its own frame than with frames "
            f"of other moments, in standard deviations over units: {listed(parts)}."
        )
    return said


def check_sentences(results: Results) -> list[str]:
    """Say how many checks passed, and how many did not at which stage."""
    table = results.evaluation
    if table is None or table.empty:
        return []
    good, total = passed(table)
    failed = table[table["pass"].notna() & ~flags(table["pass"])]
    text = f"{good} of {plural(total, 'check')} passed."
    if len(failed):
        counts = failed.groupby("stage", sort=False).size()
        stages = [f"{count} of {stage}" for stage, count in counts.items()]
        text += f" Not passed: {listed(stages)}; they are listed under Evaluation."
    return [text]
