"""Figures of integration sites: models, regions, the course around the event, objectives."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.report.figure import Absent, Figure, finish
from braid.report.integration import SIDES, Integration
from braid.report.results import Results
from braid.report.style import FAINT, FULL_WIDTH, HUES, INK, MUTED, Palette, heading, tint
from braid.report.words import listed, plural

MOST_REGIONS = 12
"""Regions that the figure shows."""

MOST_LINES = 5
"""Comparisons whose course a figure shows."""


def alignment_colours(one: Integration) -> dict[str, str]:
    """Colour of each alignment, the same in all figures."""
    return {name: HUES[place % len(HUES)] for place, name in enumerate(one.alignments)}


# models, trained and untrained --------------------------------------------------------------------


def model_violins(
    results: Results, one: Integration, palette: Palette, folder: Path
) -> Figure | Absent:
    """Draw the scores of every trained model over electrodes, and of its untrained twin below."""
    import matplotlib.pyplot as plt

    scores = twin_scores(one)
    if scores.empty:
        return Absent(
            f"The comparisons of {one.name} with untrained networks are not there, so there is no "
            "figure of models trained and untrained. Name networks under `untrained` to get it."
        )
    models = _ordered_models(one, scores)
    shown = [name for name in one.alignments if (scores["alignment"] == name).any()]
    canvas, grid = plt.subplots(
        1, len(shown), figsize=(FULL_WIDTH, 1.3 + 0.5 * len(models)), sharey=True, sharex=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    sizes = set()
    for axes, alignment in zip(grid[0], shown, strict=True):
        here = scores[scores["alignment"] == alignment]
        for row, model in enumerate(models):
            for kind in ("trained", "untrained"):
                values = here.loc[here["model"] == model, kind].dropna().to_numpy(float)
                sizes.add(len(values))
                _half_violin(axes, row, values, palette.colour(model), kind == "trained")
        axes.axvline(0, color=FAINT, lw=0.8, zorder=0)
        axes.set_title(alignment)
        axes.set_xlabel("Bootstrapped test r, mean over bins")
        axes.tick_params(axis="y", length=0)
    side = {model: _side_of(one, model) for model in models}
    grid[0][0].set_yticks(range(len(models)), [_with_side(m, side[m]) for m in models])
    grid[0][0].set_ylim(len(models) - 0.5, -0.55)
    for place in range(1, len(models)):
        if side[models[place]] != side[models[place - 1]]:
            for axes in grid[0]:
                axes.axhline(place - 0.5, color=FAINT, lw=0.8)
    _twin_legend(canvas)
    heading(canvas, f"{one.name}: networks trained and untrained")
    caption = (
        "Distribution over electrodes of the score of each network, trained (above) and with "
        "random weights (below, hatched), in the colour of the network; thick line: quartiles, "
        "dot: median. Shown are electrodes where at least one of the two has enough bins that "
        f"count ({_range(sizes)} per violin). Score: mean of the bootstrapped test r over "
        f"{_bins_of(one)}. As bins count where a network predicts them, these scores are above 0 "
        "without any signal: compare trained with untrained, not with 0. "
        "Within a side, networks are in the order of their medians. "
        f"Profile {one.profile}."
    )
    of_best = scores.loc[scores["model"] == models[0], ["trained", "untrained"]].median()
    alt = (
        f"Violins of {plural(len(models), 'network')}, trained and untrained; the median of "
        f"{models[0]} is {of_best['trained']:.3f} trained and {of_best['untrained']:.3f} untrained."
    )
    return finish(canvas, folder, f"{one.name}__integration_models", caption, alt)


def twin_scores(one: Integration) -> pd.DataFrame:
    """Score of every network and of its twin at each electrode where one has enough bins.

    Returns
    -------
    pandas.DataFrame
        `subject site alignment model trained untrained`.
    """
    table = one.tables.get("comparisons")
    columns = ["subject", "site", "alignment", "model", "trained", "untrained"]
    if table is None:
        return pd.DataFrame(columns=columns)
    rows = table[(table["comparison"] == "trained") & (table["status"] != "neither")]
    # a model without any bin has no name in the row; its twin has
    twin_of = {twin: model for model, twin in one.roles["untrained"].items()}
    model = rows["a"].where(rows["a"].isin(list(twin_of.values())), rows["b"].map(twin_of))
    rows = rows.assign(model=model, trained=rows["score_a"], untrained=rows["score_b"])
    return rows.dropna(subset=["model"])[columns]


def _ordered_models(one: Integration, scores: pd.DataFrame) -> list[str]:
    """Networks by side, and within a side by their median, the highest first."""
    medians = scores.groupby("model")["trained"].median().fillna(-np.inf)
    return sorted(
        map(str, medians.index),
        key=lambda model: ((*SIDES, "n/a").index(_side_of(one, model)), -medians[model]),
    )


def _side_of(one: Integration, model: str) -> str:
    return next((side for side in SIDES if model in one.roles.get(side, ())), "n/a")


def _with_side(model: str, side: str) -> str:
    return model if side == "n/a" else f"{model}\n{side}"


def _half_violin(axes: Any, row: int, values: np.ndarray, colour: str, trained: bool) -> None:
    """Draw one half of a violin with its quartiles; dots where there are too few values."""
    if not len(values):
        return
    sign = -1 if trained else 1  # the axis points down
    fill = colour if trained else tint(colour, 0.55)
    if len(np.unique(values)) > 4:
        parts = axes.violinplot(
            [values], [row], orientation="horizontal", widths=0.86, showextrema=False,
            side="low" if trained else "high", points=120,
        )  # fmt: skip
        for body in parts["bodies"]:
            body.set(facecolor=fill, edgecolor=MUTED, linewidth=0.6, alpha=1.0)
            if not trained:
                body.set_hatch("////")
    else:
        heights = np.full(len(values), row + 0.2 * sign)
        axes.scatter(values, heights, s=9, color=fill, edgecolor=MUTED, linewidth=0.4)
    low, middle, high = np.percentile(values, [25, 50, 75])
    place = row + 0.09 * sign
    axes.plot([low, high], [place, place], color=INK, lw=2.2, solid_capstyle="butt", zorder=5)
    axes.scatter([middle], [place], s=16, color="white", edgecolor=INK, linewidth=0.9, zorder=6)


def _twin_legend(canvas: Any) -> None:
    from matplotlib.patches import Patch

    canvas.legend(
        handles=[
            Patch(facecolor=MUTED, edgecolor=MUTED, label="trained"),
            Patch(facecolor="#d0d0d0", edgecolor=MUTED, hatch="////", label="untrained"),
        ],
        loc="outside lower center", ncols=2,
    )  # fmt: skip


def _bins_of(one: Integration) -> str:
    """Say over which bins a score is averaged."""
    return {
        "union": "the bins that the network or its twin keeps",
        "own": "the bins that the network keeps itself",
    }[one.settings["bins"]]


def _range(sizes: set[int]) -> str:
    """Write the number of electrodes of violins."""
    low, high = min(sizes), max(sizes)
    return plural(low, "electrode") if low == high else f"{low:,} to {high:,} electrodes"


# regions ------------------------------------------------------------------------------------------


def sites_by_region(results: Results, one: Integration, folder: Path) -> Figure | Absent:
    """Draw the share of electrodes that pass in each region, a panel per test."""
    import matplotlib.pyplot as plt

    table = one.tables.get("regions", pd.DataFrame(columns=["region", "test", "scope"]))
    labelled = table[table["region"] != "n/a"]
    if labelled.empty:
        return Absent(
            f"The electrodes of {one.name} have no region labels, so shares per region are not "
            "shown. Give the data set a column of regions to get them."
        )
    cell = labelled.set_index(["region", "test", "scope"]).sort_index()
    regions = _shown_regions(one, labelled)
    height = 0.2 * len(one.alignments) + 0.14
    canvas, grid = plt.subplots(
        1, len(one.tests), figsize=(FULL_WIDTH, 1.35 + height * len(regions)), sharey=True,
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    top = 0.0
    for axes, test in zip(grid[0], one.tests, strict=True):
        for row, region in enumerate(regions):
            top = max(top, _one_region(axes, row, cell, region, test, one))
            if row % 2:
                axes.axhspan(row - 0.5, row + 0.5, color="#f2f2f2", zorder=-2, lw=0)
        axes.set_title(test)
        axes.set_xlabel("Electrodes that pass (%)")
        axes.tick_params(axis="y", length=0)
    grid[0][0].set_xlim(0, min(100.0, top * 1.02) + 17)
    sizes = labelled.drop_duplicates("region").set_index("region")["n_sites"].astype(int)
    grid[0][0].set_yticks(
        range(len(regions)),
        [f"{region} ({sizes[region]})" for region in regions],
    )
    grid[0][0].set_ylim(len(regions) - 0.5, -0.5)
    _region_legend(canvas, one)
    heading(canvas, f"{one.name}: electrodes that pass, by region")
    every = labelled["region"].nunique()
    bare = int(table.loc[table["region"] == "n/a", "n_sites"].max()) if len(table) > len(labelled) \
        else 0  # fmt: skip
    caption = (
        "Share of the electrodes of a region that pass each test, by alignment; in brackets: "
        "electrodes. Lines: 95 % interval (Wilson), which takes electrodes as independent and "
        "ignores that they come from few subjects. Star: that many electrodes pass in "
        f"{'both' if len(one.alignments) == 2 else 'all'} alignments (strict). Wins by default are "
        "not counted."
        + (f" The {len(regions)} of {every} regions with the most electrodes are shown; the "
           "others are in regions.tsv." if every > len(regions) else "")
        + (f" {plural(bare, 'electrode')} without a region label {'is' if bare == 1 else 'are'} "
           "not shown." if bare else "")
        + f" Profile {one.profile}."
    )  # fmt: skip
    weak = cell["share"].get((regions[0], one.tests[0], "weak"), np.nan)
    alt = (
        f"Bars of the share of electrodes that pass in {plural(len(regions), 'region')}; in "
        f"{regions[0]} {100 * weak:.0f} % pass the {one.tests[0]} test in any alignment."
    )
    return finish(canvas, folder, f"{one.name}__integration_regions", caption, alt)


def _shown_regions(one: Integration, table: pd.DataFrame) -> list[str]:
    """Regions with the most electrodes, in the order of what passes the first test."""
    first = table[(table["test"] == one.tests[0]) & (table["scope"] == "weak")]
    most = first.sort_values("n_sites", ascending=False, kind="stable").head(MOST_REGIONS)
    return list(most.sort_values("share", ascending=False, kind="stable")["region"])


def _one_region(
    axes: Any, row: int, cell: pd.DataFrame, region: str, test: str, one: Integration
) -> float:
    """Draw the bars of one region and test; return the end of the longest line, percent."""
    colours, count = alignment_colours(one), len(one.alignments)
    width = 0.74 / count
    end = 0.0
    for place, alignment in enumerate(one.alignments):
        if (region, test, alignment) not in cell.index:
            continue
        share, low, high = (
            100 * float(cell[key].get((region, test, alignment), np.nan))
            for key in ("share", "low", "high")
        )
        height = row + (place - (count - 1) / 2) * width
        axes.barh(height, share, height=width * 0.92, color=colours[alignment], lw=0, zorder=2)
        axes.plot([low, high], [height, height], color=INK, lw=1.0, zorder=4)
        end = max(end, high)
    strict = int(cell["n_passes"].get((region, test, "strict"), 0))
    if strict:
        axes.annotate(
            f"★ {strict}", (end, row), xytext=(4, 0), textcoords="offset points", va="center",
            size=8, color=INK,
        )  # fmt: skip
    return end


def _region_legend(canvas: Any, one: Integration) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(color=colour, label=name) for name, colour in alignment_colours(one).items()
    ]
    if len(one.alignments) > 1:
        handles.append(
            Line2D([], [], markerfacecolor=INK, markeredgecolor="none", marker="*", ls="none", ms=8,
                   label="electrodes that pass in all (strict)")
        )  # fmt: skip
    canvas.legend(handles=handles, loc="outside lower center", ncols=len(handles))


# time ---------------------------------------------------------------------------------------------


def advantage(results: Results, one: Integration, folder: Path) -> Figure | Absent:
    """Draw the difference between the models of each test in every bin around the event."""
    import matplotlib.pyplot as plt

    table = one.tables.get("times", pd.DataFrame(columns=["comparison", "alignment"]))
    named = [*one.tests, *(f"over_{model}" for model in one.roles.get("linear", ()))]
    lines = [name for name in named if (table["comparison"] == name).any()][:MOST_LINES]
    shown = [name for name in one.alignments if (table["alignment"] == name).any()]
    if not lines or not shown:
        return Absent(
            f"No electrode of {one.name} was compared, so there is no course of the advantage."
        )
    canvas, grid = plt.subplots(
        1, len(shown), figsize=(FULL_WIDTH, 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    subjects = set()
    for axes, alignment in zip(grid[0], shown, strict=True):
        window = _window_of(results, one, alignment)
        for place, name in enumerate(lines):
            part = table[(table["comparison"] == name) & (table["alignment"] == alignment)]
            part = part.sort_values("bin")
            # a window is drawn at its centre
            times = part["bin"].to_numpy(float) + window / 2
            axes.plot(times, part["effect"], color=HUES[place], ls=_DASHES[place], label=name)
            low, high = part["low"].to_numpy(float), part["high"].to_numpy(float)
            if np.isfinite(low).any():
                axes.fill_between(times, low, high, color=HUES[place], alpha=0.15, lw=0)
            subjects |= set(part["n_subjects"].astype(int))
        axes.axvline(0, color=MUTED, lw=0.8, ls=":")
        axes.axhline(0, color=MUTED, lw=0.8)
        axes.set_title(alignment)
        axes.set_xlabel("Centre of the window relative to the event (s)")
    grid[0][0].set_ylabel("Difference in test r")
    handles, labels = grid[0][0].get_legend_handles_labels()
    canvas.legend(
        handles, [_line_label(one, label) for label in labels], loc="outside lower center",
        ncols=2, columnspacing=1.5,
    )  # fmt: skip
    heading(canvas, f"{one.name}: advantage around the event")
    several = max(subjects, default=0) > 1
    caption = (
        "Advantage of one model over the other in every window around the event: mean over "
        f"subjects ({_subjects(subjects)}) of the mean over the electrodes where both models have "
        "enough bins, whether they pass or not"
        + (" (the best multimodal model itself, not the mean over subsets that is tested). "
           if one.settings["equalise"] else ". ")
        + ("Bands: 95 % interval (Student's t over subjects). " if several else
           "One subject gives no interval. ")
        + "Windows overlap, so that neighbours are not independent, and the intervals are of each "
        f"window by itself. Profile {one.profile}."
    )  # fmt: skip
    part = table[(table["comparison"] == lines[0]) & (table["alignment"] == shown[0])]
    part = part.dropna(subset=["effect"]).sort_values("effect")
    top = part.iloc[-1] if len(part) else None
    alt = f"Difference in test r against time for {listed(lines)}" + (
        f"; in the alignment {shown[0]}, {lines[0]} is largest, {top['effect']:.3f}, in the window "
        f"from {top['bin']:.2f} s."
        if top is not None
        else "."
    )
    return finish(canvas, folder, f"{one.name}__integration_times", caption, alt)


_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1)))


def _window_of(results: Results, one: Integration, alignment: str) -> float:
    """Length of the windows of an alignment's responses, s."""
    return float(results.analysis(one.entry["alignments"][alignment])["design"].get("window", 0.0))


def _line_label(one: Integration, comparison: str) -> str:
    """Say what a comparison compares, in a few words."""
    if comparison == "multimodal":
        return "multimodal: best multimodal − best unimodal"
    if comparison == "matched" and one.roles.get("matched"):
        return f"matched: {' − '.join(one.roles['matched'])}"
    if comparison.startswith("over_"):
        return f"best multimodal − {comparison.removeprefix('over_')}"
    return comparison


def _subjects(counts: set[int]) -> str:
    low, high = min(counts, default=0), max(counts, default=0)
    return plural(low, "subject") if low == high else f"{low} to {high} subjects"


# objectives ---------------------------------------------------------------------------------------


def objective_ranks(results: Results, one: Integration, folder: Path) -> Figure | Absent:
    """Draw the mean score of each training objective, ranked, a panel per alignment."""
    import matplotlib.pyplot as plt

    table = one.tables.get("objectives", pd.DataFrame(columns=["alignment", "objective"]))
    if table["objective"].nunique() < 2:
        return Absent(
            f"The multimodal models of {one.name} have fewer than two training objectives, so "
            "there is nothing to rank."
        )
    shown = [name for name in one.alignments if (table["alignment"] == name).any()]
    names = _ranked(table)
    hue = {name: HUES[place % len(HUES)] for place, name in enumerate(names)}
    canvas, grid = plt.subplots(
        1, len(shown), figsize=(FULL_WIDTH, 1.2 + 0.42 * len(names)), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for axes, alignment in zip(grid[0], shown, strict=True):
        for _, row in table[table["alignment"] == alignment].iterrows():
            name = str(row["objective"])
            _one_objective(axes, names.index(name), row, hue[name])
        axes.set_title(alignment)
        axes.set_xlabel("Mean test r")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT, lw=0.5)
        axes.set_axisbelow(True)
    heading(canvas, f"{one.name}: training objectives of multimodal models")
    models = table.drop_duplicates("objective").set_index("objective")["n_models"]
    labels = [
        "\n".join(textwrap.wrap(name, 30)) + f" ({plural(int(models[name]), 'model')})"
        for name in names
    ]
    grid[0][0].set_yticks(range(len(names)), labels)
    grid[0][0].set_ylim(len(names) - 0.5, -0.5)
    caption = (
        "Training objectives of the multimodal models, ranked by the mean test r: mean over "
        "subjects of the mean over models and electrodes where any multimodal model has enough "
        "bins, on the bins that any of them keeps. Lines: 95 % interval (Student's t over "
        "subjects). Beside each dot: rank, and electrodes whose best multimodal model on "
        "validation is trained so (in brackets: where it beats the second best). Models differ in "
        f"more than their objective. Profile {one.profile}."
    )
    top = table[(table["rank"] == 1) & table["alignment"].isin(shown)]
    best = [f"{row['objective']} ({row['alignment']})" for _, row in top.iterrows()]
    alt = f"Mean test r of {plural(len(names), 'training objective')}; the highest: {listed(best)}."
    return finish(canvas, folder, f"{one.name}__integration_objectives", caption, alt)


def _ranked(table: pd.DataFrame) -> list[str]:
    """Objectives by their mean rank over alignments."""
    ranks = pd.to_numeric(table["rank"], errors="coerce").groupby(table["objective"]).mean()
    return list(ranks.sort_values(kind="stable").index)


def _one_objective(axes: Any, place: int, row: pd.Series, colour: str) -> None:
    """Draw one objective's mean with its interval, rank and wins."""
    low, high = float(row["score_low"]), float(row["score_high"])
    if np.isfinite(low):
        axes.plot([low, high], [place, place], color=colour, lw=1.6)
    axes.scatter([row["score_mean"]], [place], s=34, color=colour, lw=0, zorder=3)
    rank = "" if pd.isna(row["rank"]) else f"{int(row['rank'])}.  "
    axes.annotate(
        f"{rank}{int(row['n_first'])} ({int(row['n_first_tested'])})",
        (row["score_mean"], place), xytext=(0, 7), textcoords="offset points", size=7.5,
        ha="center", color=INK,
    )  # fmt: skip


def figures_of(
    results: Results, one: Integration, palette: Palette, folder: Path
) -> Sequence[tuple[str, Any]]:
    """Name and job of each of these figures."""
    return [
        ("integration_models", lambda: model_violins(results, one, palette, folder)),
        ("integration_regions", lambda: sites_by_region(results, one, folder)),
        ("integration_times", lambda: advantage(results, one, folder)),
        ("integration_objectives", lambda: objective_ranks(results, one, folder)),
    ]
