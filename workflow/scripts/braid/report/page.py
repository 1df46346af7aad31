"""The page: what each section shows, filled into the template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from braid.common import progress, write_text
from braid.report.answer import answers
from braid.report.checks import ceiling_rows, slice_notes, timing_notes
from braid.report.crossmodal import alignment_view, shared_view
from braid.report.figure import Absent, Figure
from braid.report.figures_components import component_jobs
from braid.report.figures_further import transfer_scatter
from braid.report.figures_integration import figures_of
from braid.report.figures_integration_map import sites_map
from braid.report.figures_maps import map_best, map_scores
from braid.report.figures_quality import (
    comparison_scatter,
    null_figure,
    p_values,
    penalties,
    recording_quality,
    timing_curves,
)
from braid.report.figures_scores import by_layer, by_region, distributions, timecourse
from braid.report.figures_transfer_maps import transfer_map
from braid.report.figures_transfers import layer_profiles, matrix_heat, times_heat
from braid.report.fits import FitSummary, dropped_events, summarise_fits
from braid.report.further import further_view
from braid.report.integration import headline_of, models_of_integrations, share_text
from braid.report.integration_tables import integration_views
from braid.report.methods import cited, methods_text, with_links
from braid.report.results import Results, read_results
from braid.report.rows import (
    analysis_view,
    combination_rows,
    dataset_rows,
    evaluation_rows,
    fit_warnings,
    needs_rows,
    network_rows,
    null_notes,
    null_rows,
    quality_rows,
    records,
)
from braid.report.style import Palette, drawing_style, make_palette
from braid.report.summary import (
    FAMILY_WISE,
    key_numbers,
    passed,
)
from braid.report.transfers import between_times, groups_of
from braid.report.words import (
    number,
    percent,
    score,
)

TEMPLATES = Path(__file__).parent / "templates"


Drawn = dict[tuple[str, str], Figure | Absent]
"""(Analysis, transfer or `study`, figure) to the figure, or the reason why there is none."""


def write_report(
    root: Path, config: Mapping[str, Any], out: Path, figures: Path, n_jobs: int = 1
) -> None:
    """Read the results, draw the figures and write the page; see `braid.report.make_report`."""
    results = read_results(root, config)
    fits = summarise_fits(results)
    figures.mkdir(parents=True, exist_ok=True)
    write_text(out, render(results, fits, draw_all(results, fits, figures, n_jobs)))


def draw_all(results: Results, fits: Sequence[FitSummary], folder: Path, n_jobs: int = 1) -> Drawn:
    """Draw every figure of a report, in so many processes."""
    if n_jobs == 1:
        return _draw(results, fits, folder, slice(None))
    from joblib import Parallel, delayed

    shares = (slice(first, None, n_jobs) for first in range(n_jobs))
    parts = Parallel(n_jobs)(delayed(_draw)(results, fits, folder, share) for share in shares)
    drawn = {place: figure for part in parts for place, figure in part.items()}
    # the page shows some in the order in which they are drawn
    listed = _drawing_jobs(results, fits, folder)
    return {(where, what): drawn[where, what] for where, what, _ in listed}


def _draw(results: Results, fits: Sequence[FitSummary], folder: Path, share: slice) -> Drawn:
    """Draw a share of the figures."""
    jobs = _drawing_jobs(results, fits, folder)[share]
    with drawing_style():
        return {(where, what): job() for where, what, job in progress(jobs, "drawing figures")}


def _drawing_jobs(
    results: Results, fits: Sequence[FitSummary], folder: Path
) -> list[tuple[str, str, Any]]:
    """List all figures: analysis, transfer or `study`, name, and how to draw it."""
    palette = palette_of(results)
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
    jobs += transfer_jobs(results, palette, folder)
    jobs += component_jobs(results, folder)
    for name in results.further("integrations"):
        found = headline_of(results, name)
        if found is None:
            continue
        jobs.append((name, "integration_map", lambda i=found: sites_map(results, i, folder)))
        jobs += [(name, what, job) for what, job in figures_of(results, found, palette, folder)]
    jobs += [
        ("study", "quality", lambda: recording_quality(results, folder)),
        ("study", "timing", lambda: timing_curves(results, folder)),
        ("study", "nulls", lambda: null_figure(results, palette, folder)),
        ("study", "penalties", lambda: penalties(results, fits, palette, folder)),
    ]
    return jobs


def transfer_jobs(results: Results, palette: Palette, folder: Path) -> list[tuple[str, str, Any]]:
    """List what is drawn of transfers: name, figure and how to draw it."""
    jobs: list[tuple[str, str, Any]] = []
    for name in results.further("transfers"):
        jobs += [
            (name, "transfer", lambda t=name: transfer_scatter(results, t, palette, folder)),
            (name, "transfer_map", lambda t=name: transfer_map(results, t, folder)),
            (name, "transfer_layers", lambda t=name: layer_profiles(results, t, palette, folder)),
        ]
    jobs += [
        (first, "transfer_matrix", lambda n=names: matrix_heat(results, n, folder))
        for first, names in groups_of(results).items()
    ]
    jobs += [
        (name, "transfer_times", lambda t=name: times_heat(results, t, folder))
        for name in between_times(results)
    ]
    return jobs


def shown_models(results: Results) -> list[str]:
    """Names of all models of a study that have scores of any kind."""
    fitted = [model for name in results.analyses for model in results.models(name)]
    entries = results.further("transfers").values()
    pairs = [pair for entry in entries for pair in entry.get("pairs", [])]
    return list(dict.fromkeys([*fitted, *models_of_integrations(results), *pairs]))


def palette_of(results: Results) -> Palette:
    """Give every model of a study its colour."""
    return make_palette(shown_models(results))


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
    environment.filters |= {
        "number": number,
        "r": score,
        "cite": with_links,
        "percent": percent,
        "share": share_text,
    }
    environment.tests["absent"] = lambda value: isinstance(value, Absent)
    methods = methods_text(results, fits)
    config = {k: v for k, v in results.config.items() if k != "registry"}
    palette = palette_of(results)
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
        hues={m: palette.colour(m) for m in shown_models(results)},
        integrations=integration_views(results),
        further=further_view(results),
        alignments=alignment_view(results),
        shared=[shared_view(results, name) for name in results.further("shared_components")],
        nulls=null_rows(results.nulls),
        null_notes=null_notes(results.nulls),
        quality=quality_rows(results.quality),
        slices=slice_notes(results),
        timing=timing_notes(results),
        ceilings=ceiling_rows(results),
        dropped=records(dropped_events(results)),
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
