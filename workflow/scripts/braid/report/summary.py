"""The answer in short: sentences and key numbers, all read from the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from braid.report.figures_scores import NOUN
from braid.report.fits import FitSummary
from braid.report.further import component_rows, probe_rows, transfer_rows
from braid.report.results import Results, flags
from braid.report.style import is_untrained, listed, plural

MOST_FAILED = 4
"""Checks without success that the answer names; all are in the evaluation's table."""

_KIND = {"ieeg": "intracranial recordings", "bold": "BOLD images", "parcels": "parcel time series"}


def model_rows(results: Results, analysis: str, fits: Sequence[FitSummary]) -> list[dict[str, Any]]:
    """Summarise each model of an analysis.

    Returns
    -------
    list of dict
        Keys `model`, `untrained`, `subjects`, `sites`, `scored`, `significant`, `share`, `mean`,
        `low`, `high` (from the table of models),
        `median_significant`, `best`, `best_site`, `layers` (chosen ones). Undefined numbers are
        NaN.
    """
    rows = []
    for model in results.models(analysis):
        sites = results.sites_of(analysis, model)
        hits = sites[sites["significant"]]
        mean, low, high = _mean_and_interval(results, analysis, model)
        scored = sites.dropna(subset=["score"])
        top = scored.iloc[int(scored["score"].to_numpy().argmax())] if len(scored) else None
        chosen = [f.chosen for f in fits if (f.analysis, f.model) == (analysis, model)]
        rows.append(
            {
                "model": model,
                "untrained": is_untrained(model),
                "subjects": int(sites["subject"].nunique()),
                "sites": len(sites),
                "scored": len(scored),
                "significant": len(hits),
                "share": len(hits) / len(sites) if len(sites) else math.nan,
                "mean": mean,
                "low": low,
                "high": high,
                "median_significant": float(hits["score"].median()) if len(hits) else math.nan,
                "best": math.nan if top is None else float(top["score"]),
                "best_site": "n/a" if top is None else f"sub-{top['subject']} {top['site']}",
                "layers": listed(list(dict.fromkeys(chosen))) or "n/a",
            }
        )
    return rows


def _mean_and_interval(results: Results, analysis: str, model: str) -> tuple[float, float, float]:
    """Mean score and its interval as the table of models has them; NaN where it does not."""
    table = results.summaries
    row = table[(table["analysis"] == analysis) & (table["model"] == model)]
    if row.empty:
        return math.nan, math.nan, math.nan
    mean, low, high = row[["score_mean", "score_low", "score_high"]].iloc[0].astype(float)
    return float(mean), float(low), float(high)


def comparison_rows(results: Results, analysis: str) -> list[dict[str, Any]]:
    """Summarise each comparison of an analysis, in the order of the config.

    Returns
    -------
    list of dict
        Keys `comparison`, `a`, `b`, `sites`, `significant`, `share`, `difference` (mean over
        sites), `per_subject` (significant sites, by subject).
    """
    rows = results.comparisons[results.comparisons["analysis"] == analysis]
    order = list(results.analysis(analysis).get("compare", {}))
    names = [n for n in order if n in set(rows["comparison"])]
    names += sorted(set(rows["comparison"]) - set(names))
    found = []
    for name in names:
        part = rows[rows["comparison"] == name]
        difference = part["score_a"].astype(float) - part["score_b"].astype(float)
        found.append(
            {
                "comparison": name,
                "a": str(part["a"].iloc[0]),
                "b": str(part["b"].iloc[0]),
                "sites": len(part),
                "significant": int(part["significant"].sum()),
                "share": float(part["significant"].mean()),
                "difference": float(difference.mean()),
                "per_subject": {
                    str(s): int(n) for s, n in part.groupby("subject")["significant"].sum().items()
                },
            }
        )
    return found


def passed(evaluation: pd.DataFrame) -> tuple[int, int]:
    """Count the checks that passed, and all that have a verdict."""
    verdict = evaluation["pass"].dropna()
    return int(flags(verdict).sum()), len(verdict)


def sentences(results: Results, fits: Sequence[FitSummary]) -> list[tuple[str, list[str]]]:
    """Answer in short: for each analysis a few sentences, and one on the checks.

    Returns
    -------
    list of (str, list of str)
        Heading and sentences.
    """
    said = [(name, _of_analysis(results, name, fits)) for name in results.analyses]
    if results.evaluation is not None and len(results.evaluation):
        good, total = passed(results.evaluation)
        failed = results.evaluation[
            results.evaluation["pass"].notna() & ~flags(results.evaluation["pass"])
        ]
        names = [f"{row['stage']}: {row['measure']}" for _, row in failed.iterrows()]
        text = f"{good} of {plural(total, 'check')} passed."
        if names:
            rest = len(names) - MOST_FAILED
            shown = names if rest < 2 else [*names[:MOST_FAILED], f"{rest} others"]
            text += f" Not passed: {listed(shown)}."
        said.append(("Checks", [text]))
    return said


def _of_analysis(results: Results, analysis: str, fits: Sequence[FitSummary]) -> list[str]:
    """Sentences on one analysis."""
    rows = model_rows(results, analysis, fits)
    noun = NOUN[results.kind_of(analysis)]
    if not rows:
        return ["No model of this analysis has scores."]
    trained = [row for row in rows if not row["untrained"]]
    text = [
        f"{_KIND[results.kind_of(analysis)].capitalize().replace('Bold', 'BOLD')} of "
        f"{plural(rows[0]['subjects'], 'subject')}, {plural(rows[0]['sites'], noun)}."
    ]
    ranked = sorted(trained, key=lambda row: -row["significant"])
    if ranked and ranked[0]["significant"]:
        counts = [
            f"{row['model']} {row['significant']:,} ({_percent(row['share'])})" for row in ranked
        ]
        text.append(f"Significant {noun}s: {listed(counts)}.")
        top = max(trained, key=lambda row: -math.inf if math.isnan(row["best"]) else row["best"])
        text.append(f"Highest score: r = {top['best']:.2f} ({top['model']}, {top['best_site']}).")
    else:
        text.append(f"No trained model predicts any {noun} significantly.")
    twins = [row for row in rows if row["untrained"]]
    if twins:
        counts = [
            f"{row['model']} {row['significant']:,} ({_percent(row['share'])})" for row in twins
        ]
        text.append(f"Untrained twins: {listed(counts)}.")
    for row in comparison_rows(results, analysis):
        text.append(
            f"Comparison “{row['comparison']}”: {row['a']} predicts better than {row['b']} at "
            f"{row['significant']:,} of {plural(row['sites'], noun)} ({_percent(row['share'])})."
        )
    return text


def key_numbers(results: Results, fits: Sequence[FitSummary]) -> dict[str, Any]:
    """Numbers of a report in a form that programs read; NaN becomes null."""
    config = results.config
    evaluation = results.evaluation
    numbers = {
        "study": config.get("study"),
        "question": config.get("question"),
        "seed": config.get("seed"),
        "versions": results.versions,
        "analyses": {
            name: {
                "dataset": results.dataset_of(name),
                "kind": results.kind_of(name),
                "models": model_rows(results, name, fits),
                "comparisons": comparison_rows(results, name),
            }
            for name in results.analyses
        },
        "transfers": transfer_rows(results),
        "components": {name: component_rows(table) for name, table in results.components.items()},
        "probes": probe_rows(results),
        "evaluation": None
        if evaluation is None
        else [
            {**row, "pass": bool(flags(pd.Series([row["pass"]])).iloc[0])}
            for row in evaluation[["stage", "measure", "value", "threshold", "pass"]]
            .dropna(subset=["pass"])
            .to_dict("records")
        ],
    }
    return dict(_plain(numbers))


def _plain(value: Any) -> Any:
    """Replace what JSON cannot hold."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if math.isfinite(share) else "n/a"
