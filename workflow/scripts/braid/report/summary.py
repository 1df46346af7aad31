"""Numbers of a study, all read from its tables: per model, per comparison, per site's needs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braid.config import base_of
from braid.models.registry import NETWORKS
from braid.report.fits import FitSummary
from braid.report.further import component_rows, probe_rows, transfer_rows
from braid.report.integration import key_rows
from braid.report.results import Results, flags
from braid.report.words import is_untrained, listed, plural, short_layers, tested_how

FAMILY_WISE = 0.05
"""Level at which sites are counted by their family-wise p."""


@dataclass(frozen=True)
class Needs:
    """What the sites of an analysis need, each site counted once, in this order.

    Attributes
    ----------
    tested : int
        Sites that any trained model was tested at.
    together : int or None
        The headline comparison is significant; None without one.
    both : int
        Of the others, predicted by a vision and by a language network.
    vision, language : int
        Of the others, predicted by a network of one of the two and by none of the other.
    joint : int
        Of the others, predicted by a network of both or by a combination alone.
    unpredicted : int
        The rest.
    """

    tested: int
    together: int | None
    both: int
    vision: int
    language: int
    joint: int
    unpredicted: int


def headline_comparison(results: Results, analysis: str) -> tuple[str, str, str] | None:
    """Name and models of the comparison that the answer and the maps of an analysis show.

    It is the one called `combination`, else the first; None without comparisons.
    """
    compare = results.compare(analysis)
    if not compare:
        return None
    name = "combination" if "combination" in compare else next(iter(compare))
    return (name, str(compare[name][0]), str(compare[name][1]))


def compared_models(results: Results, analysis: str) -> str:
    """Say what the headline comparison shows, empty without comparisons."""
    comparison = headline_comparison(results, analysis)
    if comparison is None or results.comparisons.empty:
        return ""
    return f"{comparison[1]} > {comparison[2]}"


def best_caption(
    results: Results, analysis: str, count: int, noun: str, compared: str, mark: str
) -> str:
    """Say what a map of best models shows; `mark` is what marks the comparison `compared`."""
    return (
        f"The trained model with the highest held-out r at each of {plural(count, noun)} that at "
        f"least one trained model predicts significantly ({tested_how(results.test(analysis))}); "
        "counts in brackets. The best model need not be significantly better than the next"
        + (f". {mark} marks where {compared} is significant in the model comparison" if compared
           else "")
        + ". "
    )  # fmt: skip


def sees(results: Results, analysis: str, model: str) -> str:
    """Tell what a trained model sees: `vision`, `language`, `both`, or `n/a` for a control.

    A combination sees what its members see together.
    """
    members = results.analysis(analysis).get("combinations", {}).get(model, [model])
    registry = results.config.get("registry", {})
    entries = [registry.get(base_of(member), {}) for member in members]
    seen = {str(entry.get("modality")) for entry in entries if entry.get("source") in NETWORKS}
    if len(seen) == 1 and seen <= {"vision", "language"}:
        return seen.pop()
    return "both" if seen else "n/a"


def site_needs(results: Results, analysis: str) -> Needs:
    """Count what the sites of an analysis need.

    A site counts as predicted where a trained network's score is significant; controls (features
    that no network computes) do not count.
    """
    sites = results.trained_sites_of(analysis)
    kinds = sites["model"].map(lambda model: sees(results, analysis, model))
    keys = pd.MultiIndex.from_frame(sites[["subject", "site"]].drop_duplicates())

    def marked(rows: pd.DataFrame) -> np.ndarray:
        hits = rows.loc[rows["significant"].astype(bool), ["subject", "site"]]
        return keys.isin(pd.MultiIndex.from_frame(hits))

    headline = headline_comparison(results, analysis)
    rest = np.ones(len(keys), bool)
    together = None
    if headline is not None and headline[0] == "combination":
        rows = results.comparisons[results.comparisons["analysis"] == analysis]
        needed = marked(rows[rows["comparison"] == headline[0]])
        together = int(needed.sum())
        rest &= ~needed
    vision, language, joint = (
        marked(sites[kinds == kind]) for kind in ("vision", "language", "both")
    )
    return Needs(
        tested=len(keys),
        together=together,
        both=int((rest & vision & language).sum()),
        vision=int((rest & vision & ~language).sum()),
        language=int((rest & language & ~vision).sum()),
        joint=int((rest & joint & ~vision & ~language).sum()),
        unpredicted=int((rest & ~joint & ~vision & ~language).sum()),
    )


def model_rows(results: Results, analysis: str, fits: Sequence[FitSummary]) -> list[dict[str, Any]]:
    """Summarise each model of an analysis.

    Returns
    -------
    list of dict
        Keys `model`, `untrained`, `subjects`, `sites`, `scored`, `significant`, `share`,
        `family_wise` (sites with a family-wise p of at most `FAMILY_WISE`, None if the table has
        none), `mean`, `low`, `high` (from the table of models), `median_significant`, `best`,
        `best_site`, `layers` (the short names of those chosen, with their subjects). Undefined
        numbers are NaN.
    """
    rows = []
    for model in results.models(analysis):
        sites = results.sites_of(analysis, model)
        hits = sites[sites["significant"]]
        mean, low, high = _mean_and_interval(results, analysis, model)
        scored = sites.dropna(subset=["score"])
        top = scored.iloc[int(scored["score"].to_numpy().argmax())] if len(scored) else None
        mine = [fit for fit in fits if (fit.analysis, fit.model) == (analysis, model)]
        family = (sites["p_fwe"] <= FAMILY_WISE).sum() if "p_fwe" in sites else None
        rows.append(
            {
                "model": model,
                "untrained": is_untrained(model),
                "subjects": int(sites["subject"].nunique()),
                "sites": len(sites),
                "scored": len(scored),
                "significant": len(hits),
                "share": len(hits) / len(sites) if len(sites) else math.nan,
                "family_wise": None if family is None else int(family),
                "mean": mean,
                "low": low,
                "high": high,
                "median_significant": float(hits["score"].median()) if len(hits) else math.nan,
                "best": math.nan if top is None else float(top["score"]),
                "best_site": "n/a" if top is None else f"sub-{top['subject']} {top['site']}",
                "layers": chosen_layers(mine),
            }
        )
    return rows


def chosen_layers(fits: Sequence[FitSummary]) -> str:
    """Write the layers that were chosen, shallow to deep: `3`, or `2 (2 subjects), 3 (1)`."""
    counts: Counter[tuple[int, str]] = Counter()
    for fit in fits:
        place = fit.layers.index(fit.chosen)
        counts[place, short_layers(fit.layers)[place]] += 1
    if len(counts) < 2:
        return "".join(name for _, name in counts) or "n/a"
    return ", ".join(f"{name} ({counts[place, name]})" for place, name in sorted(counts))


def least_hits(p_floor: float, sites: Iterable[int], level: float) -> int:
    """Sites that must have the smallest possible p before Benjamini-Hochberg calls any of them.

    The k-th smallest of m values of p counts if it is at most k / m times the level.

    Parameters
    ----------
    p_floor : float
        Smallest p that the number of draws allows.
    sites : iterable of int
        Sites of each subject, who are corrected one by one; the largest number counts.
    level : float
        False discovery rate.
    """
    # a tiny margin, so that a ratio that is a whole number is not rounded up
    return max(1, math.ceil(max(sites) * p_floor / level - 1e-9))


def resolution(table: pd.DataFrame, level: float) -> dict[str, Any] | None:
    """Say how fine the p values of a table can be, and how many sites that takes.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of the sites or the comparisons of one analysis.
    level : float
        False discovery rate.

    Returns
    -------
    dict or None
        Keys `draws` (fewest), `p` (smallest possible), `sites` (of the subject with the most) and
        `least` (see `least_hits`); None if the table does not tell its draws.
    """
    draws = pd.to_numeric(table.get("n_draws", pd.Series(dtype=float)), errors="coerce").dropna()
    if draws.empty or not draws.min() > 0:
        return None
    sizes = table.groupby("subject")["site"].nunique()
    floor = 1 / (int(draws.min()) + 1)
    return {
        "draws": int(draws.min()),
        "p": floor,
        "sites": int(sizes.max()),
        "least": least_hits(floor, sizes, level),
    }


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
    names = comparison_names(results, analysis)
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


def comparison_names(results: Results, analysis: str) -> list[str]:
    """Names of the comparisons of an analysis that have results, in the order of the config."""
    rows = results.comparisons[results.comparisons["analysis"] == analysis]
    present = set(rows["comparison"])
    named = [name for name in results.compare(analysis) if name in present]
    return named + sorted(present - set(named))


def no_scores(results: Results, analysis: str) -> str:
    """Say why an analysis has no scores."""
    if results.fitted(analysis):
        return "No model of this analysis has scores."
    used = [
        name
        for name, entry in results.further("integrations").items()
        if analysis in entry["alignments"].values()
    ]
    return "The models of this analysis are not fitted by themselves" + (
        f"; what they predict is in the integration {listed(used)}." if used else "."
    )


def passed(evaluation: pd.DataFrame) -> tuple[int, int]:
    """Count the checks that passed, and all that have a verdict."""
    verdict = evaluation["pass"].dropna()
    return int(flags(verdict).sum()), len(verdict)


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
                "needs": vars(site_needs(results, name)),
                "models": model_rows(results, name, fits),
                "comparisons": comparison_rows(results, name),
            }
            for name in results.analyses
        },
        "integrations": key_rows(results),
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
