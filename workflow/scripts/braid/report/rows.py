"""Rows of the page's tables, one function per table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from braid.config import base_of
from braid.report.fits import FitSummary
from braid.report.results import Results, flags
from braid.report.summary import comparison_rows, model_rows, no_scores, resolution, site_needs
from braid.report.words import KIND, capital, noun_of, number, several, short_layers, spread

MOST_SITES = 40
"""Sites that the table of the strongest lists, per analysis."""
MOST_ISSUES = 20
"""Issues of the BIDS validator that the page lists, per data set."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def dataset_rows(results: Results, name: str) -> dict[str, Any]:
    """Describe one data set: recordings, exclusions, and the validator's verdict."""
    entry = results.config["datasets"][name]
    index = results.index.get(name)
    excluded = results.excluded
    # older tables without the data set's name belong to the only one there is
    mine = excluded[excluded["dataset"].isin([name, "n/a"])]
    reasons = mine.groupby("reason").size().sort_values(ascending=False)
    verdict = results.validation.get(name)
    return {
        "name": name,
        "kind": capital(KIND[entry["kind"]]),
        "noun": noun_of(entry),
        "nouns": several(noun_of(entry)),
        "root": str(entry["root"]),
        "tasks": ", ".join(map(str, entry.get("tasks", []))),
        "recordings": None if index is None else recording_rows(results, name, index),
        "excluded": [
            {
                "reason": reason,
                "count": int(count),
                "details": _details(mine[mine["reason"] == reason]),
                "examples": _examples(mine[mine["reason"] == reason]),
            }
            for reason, count in reasons.items()
        ],
        "verdict": None if verdict is None else verdict_view(verdict),
    }


def recording_rows(results: Results, name: str, index: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarise recordings by subject and task; `tested` counts the sites that have scores."""
    tested = {a: results.sites_of(a) for a in results.analyses if results.dataset_of(a) == name}
    rows = []
    for (subject, task), part in index.groupby(["subject", "task"], dropna=False, sort=True):
        rate = pd.to_numeric(part["sampling_frequency"], errors="coerce")
        tr = pd.to_numeric(part["repetition_time"], errors="coerce")
        sites = [
            table.loc[table["subject"] == subject, "site"].nunique()
            for analysis, table in tested.items()
            if task in results.analysis(analysis)["tasks"]
        ]
        rows.append(
            {
                "subject": subject,
                "task": task,
                "tested": spread(sites),
                "runs": len(part),
                "minutes": float(part["duration"].sum() / 60),
                "samples": int(part["n_samples"].sum()),
                "targets": spread(part["n_targets"]),
                "rate": f"TR {spread(tr)} s" if tr.notna().any() else f"{spread(rate)} Hz",
            }
        )
    return rows


def verdict_view(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce the BIDS validator's verdict to what fits a page."""
    errors = list(verdict.get("errors", []))
    warnings = list(verdict.get("warnings", []))
    return {
        "valid": verdict.get("valid"),
        "skipped": verdict.get("valid") is None,
        "validator": verdict.get("validator") or "n/a",
        "schema": verdict.get("schema") or "n/a",
        "errors": errors[:MOST_ISSUES],
        "n_errors": len(errors),
        "warnings": warnings[:MOST_ISSUES],
        "n_warnings": len(warnings),
    }


def network_rows(results: Results) -> list[dict[str, Any]]:
    """One row per network: its entry in the registry, and what its manifests say."""
    registry = results.config.get("registry", {})
    entries = [results.analysis(name) for name in results.analyses]
    fitted = dict.fromkeys(base_of(model) for entry in entries for model in entry["models"])
    joined = [
        base_of(member)
        for entry in entries
        for members in entry.get("combinations", {}).values()
        for member in members
    ]
    rows = []
    for name in dict.fromkeys([*fitted, *joined]):
        entry = registry.get(name, {})
        found = {a: m for (a, model), m in results.manifests.items() if model == name}
        layers: list[dict[str, Any]] = next(
            (m["layers"] for m in found.values() if m.get("layers")), []
        )
        widths = sorted({int(layer["n_features"]) for layer in layers})
        rows.append(
            {
                "name": name,
                "fitted": name in fitted,
                "modality": entry.get("modality", "n/a"),
                "blank": entry.get("blank"),
                "shifted": (entry.get("pairing") or {}).get("shift"),
                "objective": entry.get("objective", "n/a"),
                "source": entry.get("source", "n/a"),
                "licence": entry.get("licence", "n/a"),
                "layers": len(layers) or "n/a",
                "width": ", ".join(map(str, widths)) or "n/a",
                "weights": next((_short(m.get("weights")) for m in found.values()), "n/a"),
                "units": ", ".join(f"{a}: {number(m.get('n_units'))}" for a, m in found.items())
                or "n/a",
                "truncated": sum(int(m.get("truncated") or 0) for m in found.values()),
                "untrained": any(
                    name in results.analysis(a).get("untrained", []) for a in results.analyses
                ),
            }
        )
    return rows


def combination_rows(results: Results) -> dict[str, str]:
    """Names of the combinations, and what they join."""
    return {
        name: " + ".join(members)
        + (", projected" if name in results.analysis(a).get("projections", {}) else "")
        for a in results.analyses
        for name, members in results.analysis(a).get("combinations", {}).items()
    }


def analysis_view(results: Results, name: str, fits: Sequence[FitSummary]) -> dict[str, Any]:
    """Tables of one analysis."""
    entry = results.analysis(name)
    fdr = float(results.test(name).get("fdr", 0.05))
    comparisons = results.comparisons[results.comparisons["analysis"] == name]
    return {
        "name": name,
        "no_scores": no_scores(results, name),
        "samples": samples_in_short(results, name),
        "finest": resolution(results.sites_of(name), fdr),
        "finest_comparison": resolution(comparisons, fdr),
        "family_wise": "p_fwe" in results.sites,
        "dataset": results.dataset_of(name),
        "kind": results.kind_of(name),
        "noun": results.noun_of(name),
        "nouns": several(results.noun_of(name)),
        "event_locked": entry["design"]["kind"] == "event_locked",
        "models": model_rows(results, name, fits),
        "comparisons": comparison_rows(results, name),
        "strongest": strongest_sites(results, name, [fit for fit in fits if fit.analysis == name]),
        "fdr": fdr,
    }


def samples_in_short(results: Results, name: str) -> str:
    """Say in one sentence what an analysis predicts, and from what; more is in the methods."""
    entry, kind = results.analysis(name), results.kind_of(name)
    units, tasks = entry["units"], [str(task) for task in entry["tasks"]]
    shown = {
        "words": "each spoken word",
        "frames": f"a frame every {units.get('step', 0.5):g} s, with the words said so far",
        "scene_cuts": "the first frame of each scene, with a sentence said near its cut",
        "labels": "the label of each event",
        "rows": "one row of given features per volume",
    }[units["kind"]]
    predicted = (
        "windows of the recording around it"
        if entry["design"]["kind"] == "event_locked"
        else "the volumes that follow"
        if units["kind"] != "rows"
        else "that volume"
    )
    return (
        f"{capital(KIND[kind])} of data set {results.dataset_of(name)} "
        f"({'task' if len(tasks) == 1 else 'tasks'} {', '.join(tasks)}). "
        f"Networks see {shown}; their features predict {predicted}."
    )


def needs_rows(results: Results) -> list[dict[str, Any]]:
    """List what the sites of each analysis need, for analyses that compare vision and language."""
    rows = [{"analysis": name, **vars(site_needs(results, name))} for name in results.analyses]
    return [row for row in rows if row["together"] is not None]


def strongest_sites(
    results: Results, name: str, fits: Sequence[FitSummary]
) -> list[dict[str, Any]]:
    """Sites with the highest scores of any trained model, one row per site."""
    sites = results.trained_sites_of(name).dropna(subset=["score"])
    top = sites.sort_values("score", ascending=False).drop_duplicates(["subject", "site"])
    if "layer" in top:
        short = {
            (fit.model, layer): name
            for fit in fits
            for layer, name in zip(fit.layers, short_layers(fit.layers), strict=True)
        }
        pairs = zip(top["model"], top["layer"].astype(str), strict=True)
        top = top.assign(layer=[short.get(pair, pair[1]) for pair in pairs])
    wanted = ["subject", "site", "region", "model", "layer", "best_bin", "score", "p", "q"]
    columns = [column for column in (*wanted, "p_fwe", "significant") if column in top]
    return records(top.head(MOST_SITES)[columns])


def null_rows(nulls: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarise null widths by analysis, model and kind."""
    if nulls.empty:
        return []
    keys = ["analysis", "model", "null"]
    table = nulls.groupby(keys, sort=False).agg(
        sd=("null_sd", "mean"),
        naive=("naive_sd", "mean"),
        draws=("n_draws", "min"),
        distinct=("distinct", "min"),
    )
    table["ratio"] = table["sd"] / table["naive"]
    return records(table.reset_index())


def null_notes(nulls: pd.DataFrame) -> list[str]:
    """List what there is to know about each kind of null."""
    noted = nulls.dropna(subset=["note"])[["null", "note"]].drop_duplicates()
    return [f"{row['null'].replace('_', ' ')}: {row['note']}" for _, row in noted.iterrows()]


def quality_rows(quality: pd.DataFrame) -> list[dict[str, Any]]:
    """Range of each quality measure over the runs of a data set."""
    table = quality.assign(value=pd.to_numeric(quality["value"], errors="coerce"))
    rows = []
    for (dataset, measure), part in table.groupby(["dataset", "measure"], sort=False):
        value = part["value"].dropna()
        if len(value):
            rows.append(
                {
                    "dataset": dataset,
                    "measure": measure,
                    "runs": len(value),
                    "median": float(value.median()),
                    "low": float(value.min()),
                    "high": float(value.max()),
                    "unit": part["unit"].iloc[0],
                }
            )
    return rows


def fit_warnings(fits: Sequence[FitSummary]) -> list[dict[str, Any]]:
    """List what the solver warned of, one row per analysis and kind of warning.

    Warnings that differ in their numbers alone are one kind; `numbers` tells the spread of the
    first one, and `models` who was warned, with the number of subjects.
    """
    rows: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for fit in fits:
        for warning in fit.warnings:
            found = [float(text) for text in _NUMBER.findall(warning)]
            kind = _NUMBER.sub("…", warning)
            place = rows.setdefault((fit.analysis, kind), [])
            place.append((fit.model, found[0] if found else np.nan))
    return [
        {
            "analysis": analysis,
            "warning": kind,
            "numbers": spread(value for _, value in places),
            "fits": len(places),
            "models": len({model for model, _ in places}),
        }
        for (analysis, kind), places in rows.items()
    ]


def evaluation_rows(evaluation: pd.DataFrame | None) -> list[dict[str, Any]]:
    """List the checks with their verdict: True, False, or None where a row has none."""
    if evaluation is None:
        return []
    verdict = flags(evaluation["pass"])
    return [
        {
            "stage": row["stage"],
            "measure": _signs(row["measure"]),
            "value": _maybe_number(row["value"]),
            "threshold": _signs(row["threshold"]),
            "pass": None if pd.isna(row["pass"]) else bool(verdict.iloc[place]),
        }
        for place, (_, row) in enumerate(evaluation.iterrows())
    ]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping per row, by column."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _signs(text: Any) -> str:
    """Write a condition as print does; a missing one is `n/a`."""
    return "n/a" if pd.isna(text) else str(text).replace("<=", "≤").replace(">=", "≥")


def _maybe_number(value: Any) -> Any:
    """Read a number that a table holds as text, and leave other text alone."""
    if pd.isna(value):
        return "n/a"
    try:
        found = float(value)
    except ValueError:
        return str(value)
    return int(found) if found.is_integer() else found


def _examples(rows: pd.DataFrame, most: int = 8) -> str:
    """Name a few targets that were left out for one reason."""
    names = [f"sub-{row['subject']} {row['target']}" for _, row in rows.head(most).iterrows()]
    return ", ".join(names) + (", …" if len(rows) > most else "")


def _details(rows: pd.DataFrame, most: int = 3) -> str:
    """Most frequent details of one reason, as the preprocessing gives them."""
    counts = rows["detail"].dropna().value_counts()
    return "; ".join(counts.index[:most]) + ("; …" if len(counts) > most else "")


def _short(weights: Any) -> str:
    """First twelve characters of a digest."""
    text = str(weights or "n/a").removeprefix("sha256:")
    return text[:12]
