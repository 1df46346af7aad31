"""The page: what each section shows, filled into the template."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from markupsafe import Markup

from braid.common import progress, write_text
from braid.config import base_of
from braid.report.answer import answers
from braid.report.figure import Absent, Figure
from braid.report.figures_further import transfer_scatter
from braid.report.figures_maps import map_best, map_scores
from braid.report.figures_quality import (
    comparison_scatter,
    null_figure,
    p_values,
    penalties,
    recording_quality,
)
from braid.report.figures_scores import by_layer, by_region, distributions, timecourse
from braid.report.fits import FitSummary, dropped_events, summarise_fits
from braid.report.further import further_view
from braid.report.methods import cited, methods_text, with_links
from braid.report.results import Results, flags, read_results
from braid.report.style import drawing_style, make_palette
from braid.report.summary import (
    FAMILY_WISE,
    comparison_rows,
    key_numbers,
    model_rows,
    passed,
    resolution,
    site_needs,
)
from braid.report.words import (
    KIND,
    NOUN,
    capital,
    is_untrained,
    number,
    percent,
    score,
    short_layers,
    spread,
)

TEMPLATES = Path(__file__).parent / "templates"
MOST_SITES = 40
"""Sites that the table of the strongest lists, per analysis."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
MOST_ISSUES = 20
"""Issues of the BIDS validator that the page lists, per data set."""


def write_report(root: Path, config: Mapping[str, Any], out: Path, figures: Path) -> None:
    """Read the results, draw the figures and write the page; see `braid.report.make_report`."""
    results = read_results(root, config)
    fits = summarise_fits(results)
    figures.mkdir(parents=True, exist_ok=True)
    with drawing_style():
        drawn = draw_all(results, fits, figures)
    write_text(out, render(results, fits, drawn))


def draw_all(
    results: Results, fits: Sequence[FitSummary], folder: Path
) -> dict[tuple[str, str], Figure | Absent]:
    """Draw every figure of a report.

    Returns
    -------
    dict
        (analysis, transfer or `study`, figure) to the figure, or the reason why there is none.
    """
    palette = make_palette(m for a in results.analyses for m in results.models(a))
    jobs: list[tuple[str, str, Any]] = []
    for name in results.analyses:
        if not results.models(name):
            continue
        jobs += [
            (name, "scores", lambda a=name: distributions(results, a, palette, folder)),
            (name, "regions", lambda a=name: by_region(results, a, palette, folder)),
            (name, "layers", lambda a=name: by_layer(results, a, fits, palette, folder)),
            (name, "map_scores", lambda a=name: map_scores(results, a, folder)),
            (name, "map_best", lambda a=name: map_best(results, a, palette, folder)),
            (name, "comparisons", lambda a=name: comparison_scatter(results, a, palette, folder)),
            (name, "pvalues", lambda a=name: p_values(results, a, palette, folder)),
        ]
        if results.analysis(name)["design"]["kind"] == "event_locked":
            jobs.append(
                (name, "timecourse", lambda a=name: timecourse(results, a, fits, palette, folder))
            )
    jobs += [
        (name, "transfer", lambda t=name: transfer_scatter(results, t, palette, folder))
        for name in results.further("transfers")
    ]
    jobs += [
        ("study", "quality", lambda: recording_quality(results, folder)),
        ("study", "nulls", lambda: null_figure(results, palette, folder)),
        ("study", "penalties", lambda: penalties(results, fits, palette, folder)),
    ]
    return {(where, what): job() for where, what, job in progress(jobs, "drawing figures")}


def render(
    results: Results,
    fits: Sequence[FitSummary],
    drawn: Mapping[tuple[str, str], Figure | Absent],
) -> str:
    """Fill the template with a study's figures, tables and text."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "r": score, "cite": with_links, "percent": percent}
    environment.tests["absent"] = lambda value: isinstance(value, Absent)
    methods = methods_text(results, fits)
    config = {k: v for k, v in results.config.items() if k != "registry"}
    palette = make_palette(m for a in results.analyses for m in results.models(a))
    return environment.get_template("report.html.j2").render(
        study=results.config.get("study", results.root.name),
        question=results.config.get("question") or "",
        seed=results.config.get("seed", 0),
        answers=answers(results),
        needs=needs_rows(results),
        family_wise=FAMILY_WISE,
        datasets=[dataset_rows(results, name) for name in results.datasets],
        networks=network_rows(results),
        combinations=combination_rows(results),
        analyses=[analysis_view(results, name, fits) for name in results.analyses],
        drawn=drawn,
        hues={m: palette.colour(m) for a in results.analyses for m in results.models(a)},
        further=further_view(results),
        nulls=null_rows(results.nulls),
        null_notes=null_notes(results.nulls),
        quality=quality_rows(results.quality),
        dropped=_records(dropped_events(results)),
        warnings=fit_warnings(fits),
        evaluation=evaluation_rows(results.evaluation),
        passed=None if results.evaluation is None else passed(results.evaluation),
        methods=methods,
        references=cited(methods),
        config=yaml.safe_dump(_yaml_ready(config), sort_keys=False, allow_unicode=True, width=96),
        numbers=_script_json(key_numbers(results, fits)),
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
    )


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
        "noun": NOUN[entry["kind"]],
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
        "samples": samples_in_short(results, name),
        "finest": resolution(results.sites_of(name), fdr),
        "finest_comparison": resolution(comparisons, fdr),
        "family_wise": "p_fwe" in results.sites,
        "dataset": results.dataset_of(name),
        "kind": results.kind_of(name),
        "noun": NOUN[results.kind_of(name)],
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
    sites = results.sites_of(name)
    sites = sites[~sites["model"].map(is_untrained)].dropna(subset=["score"])
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
    return _records(top.head(MOST_SITES)[columns])


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
    return _records(table.reset_index())


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


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
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


def _yaml_ready(value: Any) -> Any:
    """Plain dicts and lists, whatever mapping the config is made of."""
    if isinstance(value, Mapping):
        return {str(key): _yaml_ready(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_yaml_ready(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _script_json(content: Any) -> Markup:
    """JSON that may stand inside a script element: no character there can close it."""
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
