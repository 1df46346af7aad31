"""Figures of scores: per model, per region, per layer, and around the event."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import rng, t_interval
from braid.report.figure import Absent, Figure, finish
from braid.report.fits import FitSummary
from braid.report.results import Results
from braid.report.style import FAINT, FULL_WIDTH, INK, MUTED, Palette, tint
from braid.report.summary import headline_comparison
from braid.report.words import (
    capital,
    is_untrained,
    listed,
    plural,
    score_meaning,
    several,
    short_layers,
    spread,
    tested_how,
    with_twins,
)

MOST_REGIONS = 12
"""Regions that one figure shows; the others are in the table."""

FEWEST_SUBJECTS = 4
"""Subjects below which a figure shows them one by one and no interval, which would be very wide."""


def distributions(
    results: Results, analysis: str, palette: Palette, folder: Path
) -> Figure | Absent:
    """Draw the scores of all sites, one row per model, untrained twins below their models."""
    import matplotlib.pyplot as plt

    models = with_twins(results.models(analysis))
    finite = {m: _finite(results.sites_of(analysis, m)) for m in models}
    shown = [m for m in models if len(finite[m])]
    if not shown:
        return Absent("No site has a finite score, so there is no distribution to show.")
    canvas, axes = plt.subplots(figsize=(FULL_WIDTH, 0.9 + 0.44 * len(shown)), layout="constrained")
    noise = rng(0, "report", "jitter", analysis)
    for row, model in enumerate(shown):
        _one_distribution(axes, row, finite[model], palette.colour(model), model, noise)
    axes.axvline(0, color=FAINT, lw=0.8, zorder=0)
    axes.set_yticks(range(len(shown)), [_row_label(m, finite[m]) for m in shown])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(f"{capital(score_meaning(results.noun_of(analysis)))}")
    noun = results.noun_of(analysis)
    n = results.sites_of(analysis, shown[0])
    axes.set_title(
        f"{analysis}: scores of {plural(len(n), noun)} of "
        f"{plural(n['subject'].nunique(), 'subject')}"
    )
    missing = {m: len(results.sites_of(analysis, m)) - len(finite[m]) for m in models}
    lost = [f"{plural(count, noun)} of {m}" for m, count in missing.items() if count]
    if len(set(missing.values())) == 1 < len(missing) and lost:
        lost = [f"{plural(missing[models[0]], noun)} of each model"]
    twins = ", with the untrained twin (hatched, lighter) below its model"
    caption = (
        f"{capital(score_meaning(results.noun_of(analysis)))}, all sites of all subjects"
        + (twins if any(map(is_untrained, shown)) else "")
        + ". Box: quartiles and median; whiskers: 5th to 95th percentile; dots: sites, filled in "
        "colour where significant "
        f"({tested_how(results.test(analysis))}), grey where not. Beside each name: significant / "
        f"tested {several(noun)}." + (f" Without a defined score: {listed(lost)}." if lost else "")
    )
    best = max(shown, key=lambda m: finite[m]["score"].median())
    alt = (
        f"Box plots of {score_meaning(results.noun_of(analysis))} for "
        f"{plural(len(shown), 'model')}; the highest median, "
        f"{finite[best]['score'].median():.3f}, is that of {best}."
    )
    return finish(canvas, folder, f"{analysis}__scores", caption, alt)


def _one_distribution(
    axes: Any, row: int, sites: pd.DataFrame, colour: str, model: str, noise: np.random.Generator
) -> None:
    """Draw dots and a box of one model."""
    score = sites["score"].to_numpy(float)
    hit = sites["significant"].to_numpy(bool)
    height = row + 0.24 + noise.uniform(-0.14, 0.14, len(score))
    size = 7 if len(score) < 400 else 3
    for mask, tone, order in ((~hit, FAINT, 2), (hit, colour, 3)):
        axes.scatter(
            score[mask], height[mask], s=size, color=tone, alpha=0.75, lw=0, zorder=order,
            rasterized=True,
        )  # fmt: skip
    low, first, middle, third, high = np.percentile(score, [5, 25, 50, 75, 95])
    centre = row - 0.12
    axes.plot([low, high], [centre, centre], color=MUTED, lw=1, zorder=3)
    axes.barh(
        centre, max(third - first, 1e-4), left=first, height=0.3, color=colour, zorder=4,
        edgecolor=MUTED, hatch="////" if is_untrained(model) else None, lw=0.7,
    )  # fmt: skip
    axes.plot([middle, middle], [centre - 0.15, centre + 0.15], color=INK, lw=1.6, zorder=5)


def by_region(results: Results, analysis: str, palette: Palette, folder: Path) -> Figure | Absent:
    """Draw the mean score of each region and trained model, with its interval over subjects."""
    import matplotlib.pyplot as plt

    table = results.regions[results.regions["analysis"] == analysis]
    table = table[table["region"] != "n/a"].dropna(subset=["score_mean"])
    if table.empty:
        return Absent(
            f"The sites of {analysis} have no region labels, so scores per region are not shown. "
            "Give the data set an atlas or a column of regions to get them."
        )
    models = [m for m in with_twins(results.models(analysis)) if not is_untrained(m)]
    order = table[table["model"].isin(models)].groupby("region")["score_mean"].max()
    regions = list(order.sort_values(ascending=False).index)
    shown = regions[:MOST_REGIONS]
    cell = table.set_index(["region", "model"])
    sites = results.sites_of(analysis)
    each = sites.groupby(["region", "model", "subject"])["score"].mean().dropna()
    line = 0.075  # inches between the models of one region
    canvas, axes = plt.subplots(
        figsize=(FULL_WIDTH, 1.3 + len(shown) * (0.13 + line * len(models))), layout="constrained"
    )
    for row, region in enumerate(shown):
        for place, model in enumerate(models):
            height = row + (place - (len(models) - 1) / 2) * line / (0.13 + line * len(models))
            values = each.get((region, model), pd.Series(dtype=float))
            _one_region(axes, height, cell, region, model, palette, values)
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", zorder=-2, lw=0)
    sizes = table[table["model"] == models[0]].set_index("region")["n_sites"].astype(int)
    axes.set_yticks(range(len(shown)), [f"{r} (n = {sizes.get(r, 0)})" for r in shown])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.axvline(0, color=MUTED, lw=0.8, zorder=1)
    axes.set_xlabel("Mean held-out Pearson r")
    noun = results.noun_of(analysis)
    axes.set_title(f"{analysis}: scores by region; n = {several(noun)}")
    has_twins = any(is_untrained(m) for m in results.models(analysis))
    few = sites["subject"].nunique() < FEWEST_SUBJECTS
    _region_legend(canvas, models, palette, has_twins, few)
    count = int(sizes[[r for r in shown if r in sizes]].sum())
    caption = (
        f"Large dots: mean over subjects of each subject's mean score over the {several(noun)} of "
        "a region. "
        + ("Small dots: subjects." if few else
           "Lines: 95 % interval of the mean (Student's t over subjects).")
        + (" Short upright lines: mean of the untrained twin." if has_twins else "")
        + _left_out(len(shown), len(regions) - len(shown))
        + f" {count:,} {several(noun)} are shown."
        + _unlabelled(results, analysis, models[0])
    )  # fmt: skip
    top = shown[0]
    best = max(models, key=lambda m: _at(cell, top, m, "score_mean"))
    alt = (
        f"Mean scores in {plural(len(shown), 'region')} for {plural(len(models), 'model')}; the "
        f"highest is {_at(cell, top, best, 'score_mean'):.3f} for {best} in {top}."
    )
    return finish(canvas, folder, f"{analysis}__regions", caption, alt)


def _left_out(shown: int, rest: int) -> str:
    """Say which regions a figure shows if it does not show them all."""
    if not rest:
        return ""
    return (
        f" The {shown} regions with the highest mean of any model are shown; "
        f"{plural(rest, 'other is', 'others are')} in tables/regions.tsv."
    )


def _one_region(
    axes: Any, height: float, cell: pd.DataFrame, region: str, model: str, palette: Palette,
    subjects: pd.Series,
) -> None:  # fmt: skip
    """Draw a model's mean in one region with subjects or interval, and the mean of its twin."""
    mean, colour = _at(cell, region, model, "score_mean"), palette.colour(model)
    if not np.isfinite(mean):
        return
    axes.plot([0, mean], [height, height], color=tint(colour, 0.5), lw=0.7, zorder=2)
    axes.scatter([mean], [height], s=26, color=colour, lw=0, zorder=5)
    low, high = _at(cell, region, model, "score_low"), _at(cell, region, model, "score_high")
    if _at(cell, region, model, "n_subjects") < FEWEST_SUBJECTS:
        axes.scatter(subjects, [height] * len(subjects), s=5, color=colour, lw=0, zorder=4)
    elif np.isfinite(low):
        axes.plot([low, high], [height, height], color=colour, lw=1.2, zorder=3)
    twin = _at(cell, region, f"{model}_untrained", "score_mean")
    axes.plot([twin], [height], "|", color=colour, ms=5, mew=1.1, zorder=3)


def _region_legend(
    canvas: Any, models: Sequence[str], palette: Palette, twins: bool, few: bool
) -> None:
    from matplotlib.lines import Line2D

    def dot(label: str, colour: str, size: float, marker: str = "o") -> Line2D:
        return Line2D([], [], color=colour, marker=marker, ls="none", ms=size, lw=0, label=label)

    handles = [dot(model, palette.colour(model), 5) for model in models]
    handles += [dot("untrained twin", MUTED, 6, "|")] * twins + [dot("subject", MUTED, 2.5)] * few
    canvas.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 8), frameon=False,
        columnspacing=1.2, handletextpad=0.2,
    )  # fmt: skip


def by_layer(
    results: Results, analysis: str, fits: Sequence[FitSummary], palette: Palette, folder: Path
) -> Figure | Absent:
    """Draw the mean score of each layer, one panel per network, with its untrained twin."""
    import matplotlib.pyplot as plt

    here = [fit for fit in fits if fit.analysis == analysis]
    models = [m for m in with_twins(results.models(analysis)) if not is_untrained(m)]
    models = [m for m in models if any(f.model == m and len(f.layers) > 1 for f in here)]
    if not models:
        return Absent(f"No model of {analysis} was fitted with more than one layer.")
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    canvas, grid = plt.subplots(
        rows, columns, figsize=(FULL_WIDTH * max(columns, 1.5) / 3, 0.5 + 2.5 * rows), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axes, model in zip(grid.flat, models, strict=False):
        _one_network(axes, model, here, palette)
    for axes in list(grid.flat)[len(models) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("Mean held-out r")
    canvas.suptitle(
        f"{analysis}: scores by layer, shallow to deep", x=0.01, ha="left", weight="bold", size=10
    )
    counts = {len(fit.sites) for fit in here}
    noun = results.noun_of(analysis)
    windows = "windows and " if results.kind_of(analysis) == "ieeg" else ""
    caption = (
        f"Held-out Pearson r, mean over all {windows}{several(noun)}, significant or not "
        f"({spread(counts)} {several(noun)} per subject). Thick line: mean over "
        f"{plural(len(results.subjects(analysis)), 'subject')}; thin lines: subjects; dashed, "
        "lighter: untrained twin; rings: the layer of each subject that was chosen on training "
        "data, whose predictions all other figures use. Layers are named by what tells them apart "
        "and count from 0; a combination joins a layer of each of its members."
    )
    alt = f"Line plots of mean score against layer for {listed(models)}."
    return finish(canvas, folder, f"{analysis}__layers", caption, alt)


def _one_network(axes: Any, model: str, fits: Sequence[FitSummary], palette: Palette) -> None:
    """Draw the layer profile of one network and of its twin."""
    mine = [fit for fit in fits if fit.model == model]
    layers = mine[0].layers
    for name, style in ((f"{model}_untrained", "--"), (model, "-")):
        group = [fit for fit in fits if fit.model == name and fit.layers == layers]
        if not group:
            continue
        curves = np.array([fit.layer_scores for fit in group])
        if len(group) > 1:
            axes.plot(curves.T, color=palette.colour(name), lw=0.6, ls=style, alpha=0.6)
        axes.plot(_column_means(curves), color=palette.colour(name), ls=style, marker="o", ms=3)
    for fit in mine:
        place = fit.layers.index(fit.chosen)
        axes.scatter([place], [fit.layer_scores[place]], s=32, facecolor="none", edgecolor=INK,
                     lw=0.9, zorder=5)  # fmt: skip
    axes.axhline(0, color=FAINT, lw=0.8, zorder=0)
    names = short_layers(layers)
    turned = max(map(len, names)) > 3
    axes.set_xticks(
        range(len(layers)), names, size=7, rotation=60 if turned else 0,
        ha="right" if turned else "center", rotation_mode="anchor" if turned else "default",
    )  # fmt: skip
    axes.set_title(model, color=palette.colour(model), size=9)


def timecourse(
    results: Results, analysis: str, fits: Sequence[FitSummary], palette: Palette, folder: Path
) -> Figure | Absent:
    """Draw the mean score of each window around the event over significant sites."""
    import matplotlib.pyplot as plt

    here = [fit for fit in fits if fit.analysis == analysis and fit.bins is not None]
    if not here:
        return Absent(f"The responses of {analysis} are not cut into windows around events.")
    trained = results.trained_sites_of(analysis)
    hits = set(map(tuple, trained.loc[trained["significant"], ["subject", "site"]].to_numpy()))
    if not hits:
        return Absent(
            f"No site of {analysis} is significant, so there is no time course to average."
        )
    window = float(results.analysis(analysis)["design"].get("window", 0.0))
    # more bands than two would hide each other
    banded = headline_comparison(results, analysis) or ("", *results.models(analysis)[:2])
    canvas, axes = plt.subplots(figsize=(FULL_WIDTH, 3.6), layout="constrained")
    for model in with_twins(results.models(analysis)):
        curves, bins = _curves_at(here, model, hits)
        if bins is None:
            continue
        # a window is drawn at its centre
        times = bins + window / 2
        mean = _column_means(curves)
        ends = np.array([t_interval(column) for column in curves.T])
        colour, style = palette.colour(model), "--" if is_untrained(model) else "-"
        axes.plot(times, mean, color=colour, ls=style, label=model)
        if model in banded[1:] and np.isfinite(ends).any():
            axes.fill_between(times, ends[:, 0], ends[:, 1], color=colour, alpha=0.2, lw=0)
    axes.axvline(0, color=MUTED, lw=0.8, ls=":")
    axes.axhline(0, color=FAINT, lw=0.8, zorder=0)
    axes.set_xlabel("Centre of the window relative to the event's onset (s)")
    axes.set_ylabel("Mean held-out Pearson r")
    axes.set_title(f"{analysis}: scores around the event, {plural(len(hits), 'electrode')}")
    canvas.legend(loc="outside right upper")
    caption = (
        f"Mean over the {plural(len(hits), 'electrode')} at which at least one trained model is "
        f"significant ({tested_how(results.test(analysis))}), the same electrodes for all models; "
        f"windows of {window:g} s. Bands, of {listed(list(banded[1:]))} only: 95 % t interval over "
        "electrodes; dashed: untrained twins. The electrodes were selected by these scores, so the "
        "height of the peak is biased upwards; the time of the peak and the comparison with the "
        "twins are what to read."
    )
    peak = {m: _peak(here, m, hits, window) for m in results.models(analysis)}
    best = max(peak, key=lambda m: peak[m][1])
    alt = (
        f"Mean score against time around the event; {best} peaks highest, r = {peak[best][1]:.3f} "
        f"at {peak[best][0]:.2f} s."
    )
    return finish(canvas, folder, f"{analysis}__timecourse", caption, alt)


def _curves_at(
    fits: Sequence[FitSummary], model: str, hits: set[tuple[str, str]]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Time courses of one model at some sites, of the subjects that share the first one's bins."""
    parts, bins = [], None
    for fit in fits:
        if fit.model != model or fit.bins is None:
            continue
        bins = fit.bins if bins is None else bins
        keep = [(fit.subject, str(site)) in hits for site in fit.sites]
        if np.array_equal(bins, fit.bins):
            parts.append(fit.curves[keep])
    return (np.concatenate(parts), bins) if parts else (np.empty((0, 0)), None)


def _peak(
    fits: Sequence[FitSummary], model: str, hits: set[tuple[str, str]], window: float
) -> tuple[float, float]:
    """Time (s) and height of the peak of a model's mean time course."""
    curves, bins = _curves_at(fits, model, hits)
    if bins is None or not np.isfinite(curves).any():
        return float("nan"), float("-inf")
    mean = _column_means(curves)
    place = int(np.nanargmax(mean))
    return float(bins[place] + window / 2), float(mean[place])


def _column_means(curves: np.ndarray) -> np.ndarray:
    """Mean of the finite values of each column, NaN where there are none."""
    finite = np.isfinite(curves)
    total = np.where(finite, curves, 0.0).sum(axis=0)
    count = finite.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _finite(sites: pd.DataFrame) -> pd.DataFrame:
    return sites[np.isfinite(sites["score"].astype(float))]


def _row_label(model: str, sites: pd.DataFrame) -> str:
    return f"{model}  {int(sites['significant'].sum())} / {len(sites)}"


def _at(cell: pd.DataFrame, region: str, model: str, what: str) -> float:
    return float(cell[what].get((region, model), np.nan))


def _unlabelled(results: Results, analysis: str, model: str) -> str:
    """Say how many sites have no region."""
    count = int((results.sites_of(analysis, model)["region"] == "n/a").sum())
    return (
        f" {plural(count, 'site')} without a region label {'is' if count == 1 else 'are'} not."
        if count
        else ""
    )
