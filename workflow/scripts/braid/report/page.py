"""The page: what each section shows, filled into the template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from markupsafe import Markup

from braid.common import progress, write_text
from braid.config import base_of
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
from braid.report.figures_scores import NOUN, by_layer, by_region, distributions, timecourse
from braid.report.fits import FitSummary, dropped_events, summarise_fits
from braid.report.further import further_view
from braid.report.methods import cited, methods_text, with_links
from braid.report.results import Results, flags, read_results
from braid.report.style import drawing_style, is_untrained, make_palette
from braid.report.summary import comparison_rows, key_numbers, model_rows, passed, sentences

TEMPLATES = Path(__file__).parent / "templates"
MOST_SITES = 40
"""Sites that the table of the strongest lists, per analysis."""
MOST_ISSUES = 20
"""Issues of the BIDS validator that the page lists, per data set."""
_KIND = {"ieeg": "intracranial EEG", "bold": "BOLD", "parcels": "parcel time series"}


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
        answers=sentences(results, fits),
        datasets=[dataset_rows(results, name) for name in used_datasets(results)],
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


def used_datasets(results: Results) -> list[str]:
    """List the data sets that the analyses use, in the order of the analyses."""
    return list(dict.fromkeys(results.dataset_of(name) for name in results.analyses))


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
        "kind": _KIND[entry["kind"]],
        "noun": NOUN[entry["kind"]],
        "root": str(entry["root"]),
        "tasks": ", ".join(map(str, entry.get("tasks", []))),
        "recordings": None if index is None else recording_rows(index),
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


def recording_rows(index: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarise recordings by subject and task."""
    rows = []
    for (subject, task), part in index.groupby(["subject", "task"], dropna=False, sort=True):
        rate = pd.to_numeric(part["sampling_frequency"], errors="coerce")
        tr = pd.to_numeric(part["repetition_time"], errors="coerce")
        rows.append(
            {
                "subject": subject,
                "task": task,
                "runs": len(part),
                "minutes": float(part["duration"].sum() / 60),
                "samples": int(part["n_samples"].sum()),
                "targets": _spread(part["n_targets"]),
                "rate": f"TR {_spread(tr)} s" if tr.notna().any() else f"{_spread(rate)} Hz",
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
    names = dict.fromkeys(
        base_of(m) for a in results.analyses for m in results.analysis(a)["models"]
    )
    rows = []
    for name in names:
        entry = registry.get(name, {})
        found = {a: m for (a, model), m in results.manifests.items() if model == name}
        layers: list[dict[str, Any]] = next(
            (m["layers"] for m in found.values() if m.get("layers")), []
        )
        widths = sorted({int(layer["n_features"]) for layer in layers})
        rows.append(
            {
                "name": name,
                "modality": entry.get("modality", "n/a"),
                "objective": entry.get("objective", "n/a"),
                "source": entry.get("source", "n/a"),
                "licence": entry.get("licence", "n/a"),
                "layers": len(layers) or "n/a",
                "width": ", ".join(map(str, widths)) or "n/a",
                "weights": next((_short(m.get("weights")) for m in found.values()), "n/a"),
                "units": ", ".join(f"{a}: {m.get('n_units', 'n/a')}" for a, m in found.items())
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
        for a in results.analyses
        for name, members in results.analysis(a).get("combinations", {}).items()
    }


def analysis_view(results: Results, name: str, fits: Sequence[FitSummary]) -> dict[str, Any]:
    """Tables of one analysis."""
    entry = results.analysis(name)
    return {
        "name": name,
        "dataset": results.dataset_of(name),
        "kind": results.kind_of(name),
        "noun": NOUN[results.kind_of(name)],
        "units": entry["units"]["kind"],
        "design": entry["design"]["kind"].replace("_", "-"),
        "event_locked": entry["design"]["kind"] == "event_locked",
        "models": model_rows(results, name, fits),
        "comparisons": comparison_rows(results, name),
        "strongest": strongest_sites(results, name),
        "fdr": entry.get("test", {}).get("fdr", 0.05),
    }


def strongest_sites(results: Results, name: str) -> list[dict[str, Any]]:
    """Sites with the highest scores of any trained model, one row per site."""
    sites = results.sites_of(name)
    sites = sites[~sites["model"].map(is_untrained)].dropna(subset=["score"])
    top = sites.sort_values("score", ascending=False).drop_duplicates(["subject", "site"])
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


def fit_warnings(fits: Sequence[FitSummary]) -> list[dict[str, str]]:
    """List what the solver warned of, one row per warning."""
    return [
        {"analysis": fit.analysis, "model": fit.model, "subject": fit.subject, "warning": warning}
        for fit in fits
        for warning in fit.warnings
    ]


def evaluation_rows(evaluation: pd.DataFrame | None) -> list[dict[str, Any]]:
    """List the checks with their verdict: True, False, or None where a row has none."""
    if evaluation is None:
        return []
    verdict = flags(evaluation["pass"])
    return [
        {
            "stage": row["stage"],
            "measure": row["measure"],
            "value": _maybe_number(row["value"]),
            "threshold": _maybe_number(row["threshold"]),
            "pass": None if pd.isna(row["pass"]) else bool(verdict.iloc[place]),
        }
        for place, (_, row) in enumerate(evaluation.iterrows())
    ]


def number(value: Any, digits: int = 3) -> str:
    """Write a number for a table; what is missing is `n/a`, text stays text."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "n/a"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | np.integer) and abs(int(value)) < 10**12:
        return f"{int(value):,}"
    size = abs(float(value))
    if size and (size < 10**-digits or size >= 1e5):
        return f"{value:.2g}"
    return f"{value:.{digits}f}"


def score(value: float) -> str:
    """Write a correlation with three decimals."""
    return f"{value:.3f}" if np.isfinite(value) else "n/a"


def percent(share: float) -> str:
    """Write a share as a percentage without decimals."""
    return f"{100 * share:.0f} %" if np.isfinite(share) else "n/a"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping per row, by column."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


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


def _spread(values: pd.Series) -> str:
    """Smallest and largest value, once if they are equal."""
    known = pd.to_numeric(values, errors="coerce").dropna()
    if known.empty:
        return "n/a"
    low, high = f"{known.min():g}", f"{known.max():g}"
    return low if low == high else f"{low} to {high}"


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
