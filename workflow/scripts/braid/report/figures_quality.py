"""Figures of comparisons and of quality: model against model, nulls, p values, penalties, runs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from braid.report.figure import Absent, Figure, finish
from braid.report.fits import FitSummary
from braid.report.results import Results
from braid.report.style import FAINT, FULL_WIDTH, INK, MUTED, Palette, heading, panel_grid
from braid.report.summary import comparison_names, resolution
from braid.report.words import capital, is_untrained, listed, plural, several, with_twins

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

# units of measures that are plain counts
_COUNTED = ("volumes", "channels", "voxels", "parcels", "columns")
_HATCHES = {"circular_shift": "", "block": "....", "image": "////", "shuffle": "xxxx"}
_SUBJECT_TONES = ("#0072B2", "#E69F00", "#009E73", "#882255", "#56B4E9", "#D55E00")


def comparison_scatter(
    results: Results, analysis: str, palette: Palette, folder: Path
) -> Figure | Absent:
    """Draw the scores of the two models of each comparison against each other."""
    rows = results.comparisons[results.comparisons["analysis"] == analysis]
    names = comparison_names(results, analysis)
    if not names:
        return Absent(f"The study compares no models in {analysis}.")
    canvas, grid = panel_grid(len(names))
    noun = results.noun_of(analysis)
    counts = []
    for axes, name in zip(grid, names, strict=True):
        part = rows[rows["comparison"] == name]
        counts.append(_one_comparison(axes, name, part, palette, noun))
    heading(canvas, f"{analysis}: model against model")
    test, swap = results.test(analysis), results.analysis(analysis).get("swap", {})
    where = ""
    if results.kind_of(analysis) == "ieeg":
        where = " in the window where their studentised difference is largest"
    caption = (
        f"Held-out Pearson r of the two models of each comparison{where}, one dot per {noun} that "
        "entered it. Coloured: the model on "
        "the vertical axis predicts significantly better (one-sided swap test: the held-out "
        f"predictions of the two models are exchanged in blocks of {swap.get('block', 20):g} s; "
        f"q at most {test.get('fdr', 0.05):g} over the sites of each subject). Grey: not "
        "significant. Above each panel: significant of all. Diagonal: equal scores. "
        + " ".join(counts)
    )
    alt = f"Scatter plots of score against score for {listed(names)}. {' '.join(counts)}"
    return finish(canvas, folder, f"{analysis}__comparisons", caption, alt)


def _one_comparison(axes: Any, name: str, part: pd.DataFrame, palette: Palette, noun: str) -> str:
    """Draw one comparison; return its count as a sentence."""
    first, second = str(part["a"].iloc[0]), str(part["b"].iloc[0])
    part = part.dropna(subset=["score_a", "score_b"])
    hit = part["significant"].to_numpy(bool)
    a, b = part["score_a"].to_numpy(float), part["score_b"].to_numpy(float)
    axes.scatter(b[~hit], a[~hit], s=7, color="#b0b0b0", lw=0, alpha=0.8, rasterized=True)
    axes.scatter(b[hit], a[hit], s=14, color=palette.colour(first), lw=0, rasterized=True)
    low, high = (min(a.min(), b.min()), max(a.max(), b.max())) if len(part) else (0.0, 1.0)
    margin = 0.05 * (high - low or 1)
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=MUTED, lw=0.8, ls="--", zorder=0)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_box_aspect(1)
    axes.locator_params(nbins=5)
    axes.set_xlabel(f"r of {second}")
    axes.set_ylabel(f"r of {first}")
    axes.set_title(f"{name}\n{int(hit.sum()):,} of {len(part):,}", size=9)
    return f"{name}: {first} > {second} at {int(hit.sum()):,} of {plural(len(part), noun)}."


def null_figure(results: Results, palette: Palette, folder: Path) -> Figure | Absent:
    """Draw the width of each null distribution against that of naive shuffling."""
    import matplotlib.pyplot as plt

    nulls = results.nulls.dropna(subset=["null_sd"])
    if nulls.empty:
        return Absent("There is no table of null distributions, so their width is not shown.")
    analyses = [a for a in results.analyses if a in set(nulls["analysis"])]
    counts = {a: len(results.models(a)) for a in analyses}
    kinds = list(dict.fromkeys(nulls["null"]))
    canvas, grid = plt.subplots(
        len(analyses), 1, squeeze=False, layout="constrained",
        figsize=(FULL_WIDTH, 0.6 + sum(0.5 + 0.24 * n for n in counts.values())),
        gridspec_kw={"height_ratios": [0.5 + 0.24 * counts[a] for a in analyses]},
    )  # fmt: skip
    for axes, analysis in zip(grid[:, 0], analyses, strict=True):
        part = nulls[nulls["analysis"] == analysis]
        models = [m for m in with_twins(results.models(analysis)) if m in set(part["model"])]
        _one_null_panel(axes, part, models, kinds, palette)
        axes.set_title(analysis)
    grid[-1, 0].set_xlabel("Standard deviation of r under the null")
    heading(canvas, "Width of the null distributions")
    if len(kinds) > 1:
        _null_legend(canvas, kinds)
    labels = listed([kind.replace("_", " ") for kind in kinds])
    caption = (
        f"Width of the null distribution of a target's r, mean over targets, for {labels}; dots: "
        "subjects. Dashed line: the width if held-out samples were independent. A wider null "
        "means that neighbouring samples are alike, and that a test which ignores it would call "
        "too many sites significant."
    )
    ratio = (nulls["null_sd"] / nulls["naive_sd"]).groupby(nulls["null"]).mean()
    ratio.index = ratio.index.astype(str).str.replace("_", " ")
    said = [f"{kind} {value:.2f}" for kind, value in ratio.items() if value > 0]
    alt = f"Bars of null widths for {plural(len(analyses), 'analysis', 'analyses')}." + (
        f" Mean ratio to the width for independent samples: {listed(said)}." if said else ""
    )
    return finish(canvas, folder, "study__nulls", caption, alt)


def _one_null_panel(
    axes: Any, part: pd.DataFrame, models: Sequence[str], kinds: Sequence[str], palette: Palette
) -> None:
    """Draw the null widths of one analysis: a bar per model and kind, a dot per subject."""
    step = 0.8 / len(kinds)
    for row, model in enumerate(models):
        for place, kind in enumerate(kinds):
            values = part[(part["model"] == model) & (part["null"] == kind)]["null_sd"]
            if values.empty:
                continue
            height = row + (place - (len(kinds) - 1) / 2) * step
            axes.barh(height, values.mean(), height=step * 0.9, color=palette.colour(model),
                      hatch=_HATCHES.get(kind, "//"), lw=0.4,
                      edgecolor=MUTED if is_untrained(model) else FAINT)  # fmt: skip
            axes.scatter(values, [height] * len(values), s=8, color=INK, zorder=3, lw=0)
    naive = part["naive_sd"].astype(float).mean()
    if np.isfinite(naive):
        axes.axvline(naive, color=INK, lw=1, ls="--")
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _null_legend(canvas: Any, kinds: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    canvas.legend(
        handles=[
            Patch(facecolor="#dddddd", edgecolor=MUTED, hatch=_HATCHES.get(kind, "//"),
                  label=kind.replace("_", " "))
            for kind in kinds
        ],
        loc="outside lower center", ncols=len(kinds),
    )  # fmt: skip


def p_values(results: Results, analysis: str, palette: Palette, folder: Path) -> Figure | Absent:
    """Draw the share of small p values per model, and their quantiles against uniform ones."""
    import matplotlib.pyplot as plt

    sites = results.sites_of(analysis).dropna(subset=["p"])
    models = [m for m in with_twins(results.models(analysis)) if m in set(sites["model"])]
    if not models:
        return Absent(f"No site of {analysis} has a p value.")
    canvas, (left, right) = plt.subplots(
        1, 2, figsize=(FULL_WIDTH, max(2.6, 0.9 + 0.24 * len(models))), layout="constrained"
    )
    low = {m: float((sites.loc[sites["model"] == m, "p"] <= 0.05).mean()) for m in models}
    for row, model in enumerate(models):
        p = np.sort(sites.loc[sites["model"] == model, "p"].to_numpy(float))
        colour, style = palette.colour(model), "--" if is_untrained(model) else "-"
        left.barh(row, low[model], height=0.7, color=colour)
        expected = (np.arange(1, len(p) + 1) - 0.5) / len(p)
        right.plot(-np.log10(expected), -np.log10(p), color=colour, ls=style, lw=1.3)
    left.axvline(0.05, color=INK, lw=0.9, ls=":")
    left.set_yticks(range(len(models)), models)
    left.tick_params(axis="y", length=0)
    left.set_ylim(len(models) - 0.5, -0.5)
    left.set_xlabel("Share of sites with p ≤ 0.05")
    n = int(sites.groupby("model").size().max())
    _uniform_band(right, n)
    right.set_xlabel("Expected $-\\log_{10}$ p if uniform")
    right.set_ylabel("Observed $-\\log_{10}$ p")
    noun = results.noun_of(analysis)
    heading(canvas, f"{analysis}: p values of {plural(n, noun)} per model")
    finest = resolution(sites, float(results.test(analysis).get("fdr", 0.05)))
    caption = (
        f"p values of {plural(n, noun)} of {plural(sites['subject'].nunique(), 'subject')} per "
        f"model. Left: share of {several(noun)} with p of at most 0.05, which is 0.05 (dotted "
        "line) where a model predicts nothing. Right: sorted p values against those of a model "
        "that predicts nothing, which would follow the diagonal; the grey band holds 95 % of "
        "independent uniform p values. Dashed, lighter: untrained twins, which see the same "
        "stimuli and may predict too."
        + (f" The smallest p that {finest['draws']:,} draws allow is {finest['p']:.2g}, where the "
           "curves level off." if finest else "")
    )  # fmt: skip
    alt = "Bars and quantile plot of p values. Share of at most 0.05: " + listed(
        [f"{model} {100 * share:.0f} %" for model, share in low.items()]
    )
    return finish(canvas, folder, f"{analysis}__pvalues", caption, alt + ".")


def _uniform_band(axes: Any, n: int) -> None:
    """Draw the diagonal and the pointwise 95 % band of the order statistics of uniform values."""
    rank = np.arange(1, n + 1)
    expected = -np.log10((rank - 0.5) / n)
    low, high = (-np.log10(stats.beta.ppf(q, rank, n + 1 - rank)) for q in (0.975, 0.025))
    axes.fill_between(expected, low, high, color="#808080", alpha=0.2, lw=0)
    axes.plot(expected, expected, color=MUTED, lw=0.8, ls="--")


def penalties(
    results: Results, fits: Sequence[FitSummary], palette: Palette, folder: Path
) -> Figure | Absent:
    """Draw the distribution of the chosen penalties per analysis and model."""
    import matplotlib.pyplot as plt

    have = [fit for fit in fits if fit.alphas.size and (fit.alphas > 0).all()]
    if not have:
        return Absent("The fits of this study record no penalties.")
    analyses = [a for a in results.analyses if any(f.analysis == a for f in have)]
    fitted = {(fit.analysis, fit.model) for fit in have}
    models = {a: [m for m in with_twins(results.models(a)) if (a, m) in fitted] for a in analyses}
    canvas, grid = plt.subplots(
        len(analyses), 1, squeeze=False, layout="constrained",
        figsize=(FULL_WIDTH, 0.5 + sum(0.7 + 0.26 * len(m) for m in models.values())),
        gridspec_kw={"height_ratios": [0.5 + 0.26 * len(models[a]) for a in analyses]},
    )  # fmt: skip
    for axes, analysis in zip(grid[:, 0], analyses, strict=True):
        pooled = [
            np.log10(
                np.concatenate([f.alphas for f in have if (f.analysis, f.model) == (analysis, m)])
            )
            for m in models[analysis]
        ]
        values = np.concatenate(pooled)
        width = 0.25  # of a decade: absolute penalties differ between folds of one choice
        rows = range(len(pooled) - 1, -1, -1)  # the first model on top
        for row, model, alphas in zip(rows, models[analysis], pooled, strict=True):
            edges = np.arange(values.min() - width / 2, values.max() + width, width)
            count, edges = np.histogram(alphas, edges)
            axes.bar(edges[:-1], 0.85 * count / count.max(), np.diff(edges), bottom=row,
                     align="edge", color=palette.colour(model), lw=0)  # fmt: skip
            axes.axhline(row, color=FAINT, lw=0.6, zorder=0)
        labels = [f"{m}  {_edge_text(have, analysis, m)}" for m in models[analysis]]
        axes.set_yticks(np.array(rows) + 0.4, labels)
        axes.set_ylim(-0.05, len(pooled))
        axes.tick_params(axis="y", length=0)
        axes.set_title(analysis)
    grid[-1, 0].set_xlabel(
        "$\\log_{10}$ of the chosen penalty (on the scale of the features' Gram matrix)"
    )
    heading(canvas, "Chosen penalties")
    caption = (
        "Penalties chosen on training data, over all outer folds and targets of the chosen layer; "
        "heights are relative to each model's most frequent value. Beside each name: shares of "
        "choices on the lowest and on the highest value of the grid. Targets that a model does not "
        "predict choose either end by chance, since no penalty helps them; a share at the low end "
        "far above that at the high end asks for a wider grid."
    )
    alt = f"Histograms of penalties for {plural(sum(map(len, models.values())), 'fitted model')}."
    return finish(canvas, folder, "study__penalties", caption, alt)


def _edge_text(fits: Sequence[FitSummary], analysis: str, model: str) -> str:
    low, high = edge_shares([f for f in fits if (f.analysis, f.model) == (analysis, model)])
    return f"{100 * low:.0f} / {100 * high:.0f} %" if np.isfinite(low + high) else ""


def edge_shares(fits: Sequence[FitSummary]) -> tuple[float, float]:
    """Shares of penalties on the lowest and highest value of the grid, over several fits."""
    size = np.array([fit.alphas.size for fit in fits], float)
    if not size.sum():
        return float("nan"), float("nan")
    low, high = ([getattr(fit, name) for fit in fits] for name in ("edge_low", "edge_high"))
    return float(np.average(low, weights=size)), float(np.average(high, weights=size))


def timing_curves(results: Results, folder: Path) -> Figure | Absent:
    """Draw scores against the lag of the features: a panel per analysis, a line per subject."""
    table = results.timing.assign(
        score=pd.to_numeric(results.timing["score"], errors="coerce")
    ).dropna(subset=["score"])
    analyses = [name for name in results.analyses if name in set(table["analysis"])]
    if not analyses:
        return Absent(
            "No analysis was scanned with its features shifted in time; that takes samples that "
            "are volumes, and the key `timing`."
        )
    canvas, grid = panel_grid(len(analyses))
    peaks = []
    for axes, analysis in zip(grid, analyses, strict=True):
        part = table[table["analysis"] == analysis]
        for place, (_, scan) in enumerate(part.groupby("subject", sort=False)):
            scan = scan.sort_values("lag")
            colour = _SUBJECT_TONES[place % len(_SUBJECT_TONES)]
            axes.plot(scan["lag"], scan["score"], color=colour, marker="o", ms=3, lw=1)
            peaks.append(int(scan["lag"].to_numpy()[int(scan["score"].argmax())]))
        axes.axvline(0, color=MUTED, lw=0.8, ls=":")
        axes.set_xlabel("Lag, volumes")
        axes.set_title(f"{analysis}\n{part['model'].iloc[0]}", size=9)
    grid[0].set_ylabel("Mean r")
    heading(canvas, "Features shifted in time")
    scans = len(peaks)
    caption = (
        "Held-out Pearson r, mean over at most "
        f"{int(pd.to_numeric(table['n_targets']).max()):,} evenly spaced targets, with the "
        "features of the middle layer shifted by a number of volumes (positive: taken from "
        "earlier); one line per subject, colours tell subjects apart and nothing else. Where "
        "stimuli and volumes run on the same clock, scores are highest at 0, or level around it "
        "where several delays cover the haemodynamic response."
    )
    alt = (
        f"Lines of score against lag for {listed(analyses)}; highest at lag 0 in "
        f"{sum(peak == 0 for peak in peaks)} of {plural(scans, 'scan')}."
    )
    return finish(canvas, folder, "study__timing", caption, alt)


def recording_quality(results: Results, folder: Path) -> Figure | Absent:
    """Draw the quality measures of the recordings: one panel per measure, one dot per run."""
    table = results.quality.assign(
        value=pd.to_numeric(results.quality["value"], errors="coerce")
    ).dropna(subset=["value"])
    panels = quality_panels(table)
    if not panels:
        return Absent("The preprocessing of this study recorded no quality measures.")
    canvas = quality_canvas(panels)
    runs = table.groupby(["dataset", "subject", "run"], dropna=False).ngroups
    caption = (
        f"One dot per run ({plural(runs, 'run')} in all), by subject; colours tell subjects apart "
        "and nothing else. Where a measure was taken before and after cleaning, a line joins the "
        "two. Line noise: power at the line frequency over that of its neighbourhood, median over "
        "channels (1: no line). Temporal signal-to-noise: mean over standard deviation, median "
        "over voxels or vertices. Framewise displacement: mean per run. DVARS: root mean square "
        "over them of the change from one volume to the next, mean per run."
    )
    alt = f"Dot plots of {listed(list(panels))} per run and subject."
    return finish(canvas, folder, "study__quality", caption, alt)


def quality_canvas(panels: Mapping[str, pd.DataFrame]) -> Canvas:
    """Draw the panels that `quality_panels` gives, three to a row."""
    import matplotlib.pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    canvas, grid = plt.subplots(
        rows, columns, figsize=(FULL_WIDTH, 0.45 + 2.1 * rows), squeeze=False,
        layout=ConstrainedLayoutEngine(h_pad=0.09, w_pad=0.07),
    )  # fmt: skip
    for axes, (name, part) in zip(grid.flat, panels.items(), strict=False):
        _one_measure(axes, name, part)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    heading(canvas, "Quality of the recordings")
    return canvas


def quality_panels(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Group quality measures into panels; a pair "... before", "... after" shares one.

    Counts, and measures that never differ between runs, are left to the table.
    """
    stem = table["measure"].astype(str).str.replace(r"[ _](before|after)$", "", regex=True)
    when = table["measure"].astype(str).str.extract(r"[ _](before|after)$")[0]
    panels = {}
    for name, part in table.assign(stem=stem, when=when).groupby("stem", sort=False):
        if part["value"].nunique() > 1 and str(part["unit"].iloc[0]) not in _COUNTED:
            panels[str(name)] = part
    return panels


def _one_measure(axes: Any, name: str, part: pd.DataFrame) -> None:
    """Draw one measure, by subject."""
    subjects = sorted(set(part["subject"].astype(str)))
    paired = part["when"].notna().all() and part["when"].nunique() == 2
    for place, subject in enumerate(subjects):
        mine = part[part["subject"].astype(str) == subject]
        colour = _SUBJECT_TONES[place % len(_SUBJECT_TONES)]
        if paired:
            wide = mine.pivot_table(index="run", columns="when", values="value")
            wide = wide.reindex(columns=["before", "after"])
            axes.plot([0, 1], wide.to_numpy().T, color=colour, marker="o", ms=3, lw=0.9)
        else:
            spread = np.linspace(-0.22, 0.22, len(mine)) if len(mine) > 1 else np.zeros(1)
            axes.scatter(place + spread, mine["value"], s=12, color=colour, lw=0)
    if paired:
        axes.set_xticks([0, 1], ["before", "after"])
        axes.set_xlim(-0.35, 1.35)
        if (part["value"] > 0).all() and part["value"].max() > 20 * part["value"].min():
            axes.set_yscale("log")
    else:
        step = max(1, -(-len(subjects) // 8))
        axes.set_xticks(range(0, len(subjects), step), subjects[::step])
        axes.set_xlim(-0.6, len(subjects) - 0.4)
        axes.set_xlabel("Subject", size=8)
        if part["value"].min() >= 0:
            # of values that hardly differ, the margin of their range would be nothing
            axes.set_ylim(0, 1.08 * part["value"].max())
    axes.set_ylabel(str(part["unit"].iloc[0]).replace("uV", "µV"), size=8)
    title = textwrap.fill(capital(name), 24, break_on_hyphens=False)
    axes.set_title(title, size=8.5)
