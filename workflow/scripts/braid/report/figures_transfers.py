"""Figures of transfers by layer, region and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.config import transfer_models
from braid.report.figure import FIXED, Absent, Figure, finish
from braid.report.results import Results
from braid.report.signed import signed_norm, signed_ramp
from braid.report.style import FAINT, FULL_WIDTH, INK, MUTED, Palette, heading, panel_grid
from braid.report.transfers import (
    ALL,
    MOST_REGIONS,
    Profile,
    finite_mean,
    models_with_profiles,
    positions_of,
    profile_of,
    profiles_of,
    regions_of,
)
from braid.report.words import listed, plural, several, short_layers

_STYLES = {"source": (":", MUTED), "target": ("--", INK)}
_MOST_NUMBERS = 13
"""Layers up to which the cells of a matrix carry their numbers."""
_BAR = 0.75
"""Width of a colour scale with its labels, inches."""


def layer_profiles(results: Results, name: str, palette: Palette, folder: Path) -> Figure | Absent:
    """Draw the scores of one transfer against the layer: a panel per model, then the regions."""
    import matplotlib.pyplot as plt

    models = models_with_profiles(results, name)
    if not models:
        return Absent(_no_matrix(results, name))
    entry = results.further("transfers")[name]
    every = {model: profiles_of(results, name, model) for model in models}
    found = regions_of(results, name)
    regions = found[:MOST_REGIONS]
    columns = min(len(models), 4)
    large, small = -(-len(models) // columns), -(-len(regions) // 4)
    canvas = plt.figure(
        figsize=(FULL_WIDTH, 0.85 + 2.5 * large + 1.75 * small), layout="constrained"
    )
    grid = canvas.add_gridspec(large + small, 12, height_ratios=[2.5] * large + [1.75] * small)
    width = 12 // columns
    shared: Any = None
    for number, model in enumerate(models):
        row, column = divmod(number, columns)
        shared = canvas.add_subplot(grid[row, column * width : (column + 1) * width], sharey=shared)
        _one_model(shared, model, every[model], palette.colour(model))
        shared.set_title(model, color=palette.colour(model), size=9)
        if column == 0:
            shared.set_ylabel("Mean Pearson r")
        else:
            shared.tick_params(labelleft=False)
    shared = None
    for number, region in enumerate(regions):
        row, column = divmod(number, 4)
        shared = canvas.add_subplot(grid[large + row, 3 * column : 3 * column + 3], sharey=shared)
        n_sites = _one_region(shared, results, name, models, region, palette)
        title = region if len(region) <= 24 else region[:23] + "…"
        shared.set_title(f"{title}, n = {n_sites:,}", size=8, weight="normal")
        if column == 0:
            shared.set_ylabel("Mean r", size=8)
        else:
            shared.tick_params(labelleft=False)
    _legend(canvas, entry, every, len(models) > 1 and bool(regions))
    heading(canvas, f"Transfer {name}: scores by layer, shallow to deep")
    caption = _profile_caption(results, name, every, regions, len(found))
    best = {m: _peak(every[m]["across"]) for m in models}
    alt = (
        f"Line plots of the mean score from {entry['source']} to {entry['target']} against the "
        "layer, beside the scores within each. Highest across: "
        + listed([f"{m} {value:.3f} in layer {layer}" for m, (layer, value) in best.items()])
        + (f". Small panels for {plural(len(regions), 'region')}." if regions else ".")
    )
    return finish(canvas, folder, f"{name}__transfer_layers", caption, alt)


def _one_model(axes: Any, model: str, profiles: Mapping[str, Profile], colour: str) -> None:
    """Draw the profiles of one model over all regions."""
    across = profiles["across"]
    ordered = [across, *(profile for key, profile in profiles.items() if key != "across")]
    places = dict(zip([id(p) for p in ordered], positions_of(ordered), strict=True))
    x = places[id(across)]
    low, high = across.band
    if np.isfinite(low).any():
        # one layer has no width, so its band gets some
        ends = (x, low, high) if len(x) > 1 else ([-0.3, 0.3], [low[0]] * 2, [high[0]] * 2)
        axes.fill_between(*ends, color=FAINT, alpha=0.55, lw=0, zorder=0)
    for key, (style, line) in _STYLES.items():
        if key in profiles:
            own = profiles[key]
            axes.plot(places[id(own)], own.mean, color=line, ls=style, lw=1.3,
                      marker="." if len(own.layers) < 2 else None)  # fmt: skip
    if len(across.subjects) > 1:
        axes.plot(x, across.score.T, color=colour, lw=0.6, alpha=0.6)
    axes.plot(x, across.mean, color=colour, marker="o", ms=3)
    for row, marks in zip(across.score, across.chosen, strict=True):
        axes.scatter(x[marks], row[marks], s=32, facecolor="none", edgecolor=INK, lw=0.9, zorder=5)
    axes.axhline(0, color=FAINT, lw=0.8, zorder=0)
    _layer_ticks(axes, across.layers)


def _one_region(
    axes: Any, results: Results, name: str, models: Sequence[str], region: str, palette: Palette
) -> int:
    """Draw the means of all models in one region; return its number of sites."""
    n_sites = 0
    for model in models:
        profiles = profiles_of(results, name, model, region)
        if "across" not in profiles:
            continue
        across = profiles["across"]
        n_sites = max(n_sites, across.n_sites)
        depth = np.linspace(0, 1, len(across.layers)) if len(across.layers) > 1 else np.array([0.5])
        axes.plot(depth, across.mean, color=palette.colour(model), lw=1.2, marker="o", ms=1.8)
        if "target" in profiles:
            own = profiles["target"]
            depth = np.linspace(0, 1, len(own.layers)) if len(own.layers) > 1 else np.array([0.5])
            axes.plot(depth, own.mean, color=palette.colour(model), lw=0.9, ls="--", alpha=0.75)
    axes.axhline(0, color=FAINT, lw=0.8, zorder=0)
    axes.set_xticks([0, 1], ["first", "last"], size=7)
    axes.set_xlim(-0.06, 1.06)
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(axis="y", labelsize=7)
    return n_sites


def _layer_ticks(axes: Any, layers: Sequence[str]) -> None:
    """Name the layers below an axis, not more than there is room for."""
    names = short_layers(list(layers))
    turned = max(map(len, names)) > 3
    step = -(-len(names) // 14)
    axes.set_xticks(
        range(0, len(names), step), names[::step], size=7, rotation=60 if turned else 0,
        ha="right" if turned else "center", rotation_mode="anchor" if turned else "default",
    )  # fmt: skip


def _legend(
    canvas: Any, entry: Mapping[str, Any], every: Mapping[str, Mapping[str, Profile]], small: bool
) -> None:
    """Explain the lines below the panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D(
            [], [], color=MUTED, marker="o", ms=3, label=f"{entry['source']} → {entry['target']}"
        )
    ]
    for key, (style, line) in _STYLES.items():
        if any(key in profiles for profiles in every.values()):
            text = f"within {entry[key]}"
            handles.append(Line2D([], [], color=line, ls=style, lw=1.3, label=text))
    handles.append(Patch(color=FAINT, alpha=0.55, label="null, 95 %"))
    handles.append(Line2D([], [], ls="none", marker="o", markerfacecolor="none",
                          markeredgecolor=INK, label="chosen layer"))  # fmt: skip
    canvas.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.4)


def _profile_caption(
    results: Results, name: str, every: Mapping[str, Mapping[str, Profile]],
    regions: Sequence[str], found: int,
) -> str:  # fmt: skip
    """Say what the profiles of a transfer show."""
    entry = results.further("transfers")[name]
    noun = results.noun_of(entry["target"])
    first = next(iter(every.values()))["across"]
    text = (
        f"Mean Pearson r over the {plural(first.n_sites, noun)} of "
        f"{plural(len(first.subjects), 'subject')} that both analyses have, against the layer. "
        f"Full lines, in the colour of the model: trained on {entry['source']}, tested on "
        f"{entry['target']}; means over subjects, thin lines: subjects. "
    )
    within = [entry[key] for key in _STYLES if any(key in part for part in every.values())]
    if within:
        text += (
            f"Dotted and dashed: within {listed(within)}, runs left out. Where the target's "
            "network has other layers, they face those of the source's in order. "
        )
    text += (
        f"Grey: mean and 1.96 standard deviations of {_draws(results, name)}the null for "
        "one subject, mean over subjects. Rings: the layer that the training folds of each subject "
        "choose, whose scores all other figures show."
    )
    if regions:
        left_out = found - len(regions)
        text += (
            f" Small panels: {plural(len(regions), 'region')} with the most {several(noun)}, n "
            "over subjects; lines as above, dashed: within the target, from the first to the last "
            "layer of each model."
            + (f" {plural(left_out, 'further region')} not shown." if left_out else "")
        )
    else:
        text += f" The {several(noun)} have no region labels, so there are no panels of regions."
    return text


def _draws(results: Results, name: str) -> str:
    """Count the draws of a transfer's matrix: `199 draws of `; empty if it does not say."""
    table = results.transfer_matrix
    if "n_draws" not in table:
        return ""
    counts = pd.to_numeric(table.loc[table["transfer"] == name, "n_draws"], errors="coerce")
    return f"{plural(int(counts.min()), 'draw')} of " if counts.notna().any() else ""


def _peak(profile: Profile) -> tuple[str, float]:
    """Layer with the highest mean score, and the score."""
    place = int(np.nanargmax(profile.mean))
    return short_layers(list(profile.layers))[place], float(profile.mean[place])


def _no_matrix(results: Results, name: str) -> str:
    """Say why there is no figure of a transfer's layers."""
    table = results.transfer_matrix
    if (table["transfer"] == name).any():
        return f"The matrix of the transfer {name} has no score, so there is no figure of it."
    return (
        f"There is no matrix of the transfer {name} (training by test by layer); run the workflow "
        "again to get one."
    )


# matrix -------------------------------------------------------------------------------------------


def matrix_heat(results: Results, names: Sequence[str], folder: Path) -> Figure | Absent:
    """Draw training by test by layer for the transfers between two analyses, a panel per model."""
    import matplotlib.pyplot as plt
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import MaxNLocator

    every = {model: rows for model in _models_of(results, names)
             if (rows := _matrix_rows(results, names, model))}  # fmt: skip
    if not every:
        return Absent(" ".join(_no_matrix(results, name) for name in names))
    norm = signed_norm(*(profile.mean for rows in every.values() for profile in rows))
    heights = [len(rows) for rows in every.values()]
    size = 0.9 + sum(0.3 * count + 0.62 for count in heights)
    canvas, grid = plt.subplots(
        len(every), 1, figsize=(FULL_WIDTH, size), squeeze=False, layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for axes, (model, rows) in zip(grid[:, 0], every.items(), strict=True):
        _one_matrix(axes, model, rows, norm, _level(results, names[0]))
    bar = canvas.colorbar(
        ScalarMappable(norm, signed_ramp()), ax=list(grid[:, 0]), shrink=0.7, aspect=18, pad=0.02
    )
    bar.set_label("Mean Pearson r", size=8)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(nbins=6, symmetric=True)
    bar.update_ticks()
    grid[-1, 0].set_xlabel("Layer, shallow to deep")
    entry = results.further("transfers")[names[0]]
    heading(canvas, f"{entry['source']} and {entry['target']}: training by test by layer")
    first = next(iter(every.values()))[0]
    caption = (
        f"Mean Pearson r over all {several(results.noun_of(entry['target']))} that both analyses "
        f"have ({first.n_sites:,} of {plural(len(first.subjects), 'subject')}), mean over "
        "subjects: a row per training and test analysis, a column per layer of the network that "
        "described the training analysis, shallow to deep. Where training and test are the same, "
        "runs were left out. Frame: the layer that the training folds of most subjects choose. "
        f"Dot: q at most {_level(results, names[0]):g} in every subject. Tables with regions, "
        f"their nulls and normalised scores: transfers/{listed(names, 'or')}/*/sub-*_matrix.tsv."
    )
    said = [
        f"{model}, {row.train} to {row.test}: {np.nanmin(row.mean):.3f} to "
        f"{np.nanmax(row.mean):.3f}"
        for model, rows in every.items()
        for row in rows
    ]
    alt = f"Heat maps of mean scores by layer. Lowest to highest: {'; '.join(said)}."
    return finish(canvas, folder, f"{names[0]}__transfer_matrix", caption, alt)


def _models_of(results: Results, names: Sequence[str]) -> list[str]:
    """Models of several transfers, once each."""
    entries = results.further("transfers")
    return list(dict.fromkeys(m for name in names for m in transfer_models(entries[name])))


def _matrix_rows(results: Results, names: Sequence[str], model: str) -> list[Profile]:
    """Profiles of all ways of training and testing that have a score, within before across."""
    found: dict[tuple[str, str], Profile] = {}
    for name in names:
        entry = results.further("transfers")[name]
        source, target = entry["source"], entry["target"]
        for pair in ((source, source), (source, target), (target, source), (target, target)):
            profile = profile_of(results, name, model, *pair)
            if profile is not None and pair not in found and np.isfinite(profile.mean).any():
                found[pair] = profile
    return list(found.values())


def _one_matrix(axes: Any, model: str, rows: Sequence[Profile], norm: Any, level: float) -> None:
    """Draw the matrix of one model."""
    width = max(len(row.layers) for row in rows)
    values = np.full((len(rows), width), np.nan)
    for place, row in enumerate(rows):
        values[place, : len(row.layers)] = row.mean
    axes.imshow(values, cmap=signed_ramp(), norm=norm, aspect="auto", interpolation="nearest")
    for place, row in enumerate(rows):
        for column, value in enumerate(row.mean):
            _one_number(axes, (column, place), value, norm, width)
            q = row.q[:, column]
            if np.isfinite(value) and np.isfinite(q).all() and (q <= level).all():
                axes.plot(column + 0.4, place - 0.32, "o", ms=2.2, color="#101010", label=FIXED)
        votes = row.chosen.sum(axis=0)
        if votes.any():
            _frame(axes, int(np.argmax(votes)), place)
    axes.set_yticks(range(len(rows)), [f"{row.train} → {row.test}" for row in rows], size=8)
    longest = max(rows, key=lambda row: len(row.layers))
    alike = {len(row.layers): row.layers for row in rows}
    same = len(alike) == 1 and len({tuple(short_layers(list(row.layers))) for row in rows}) == 1
    step = -(-width // 14)
    names = short_layers(list(longest.layers)) if same else [str(n) for n in range(width)]
    axes.set_xticks(range(0, width, step), names[::step], size=7)
    axes.set_title(model, size=9)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _one_number(axes: Any, place: tuple[int, int], value: float, norm: Any, width: int) -> None:
    """Write the score of a cell into it, if there is room; `n/a` where there is none."""
    if not np.isfinite(value):
        axes.text(*place, "n/a", size=7, ha="center", va="center", color=MUTED)
    elif width <= _MOST_NUMBERS:
        strong = abs(float(norm(value)) - 0.5) > 0.3
        axes.text(*place, f"{value:.3f}".replace("-", "−"), size=7, ha="center", va="center",
                  color="#ffffff" if strong else "#101010", label=FIXED)  # fmt: skip


def _frame(axes: Any, column: int, row: int) -> None:
    """Draw a frame around a cell."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, fill=False, edgecolor=INK,
                             lw=1.3, clip_on=False, label=FIXED))  # fmt: skip


def _level(results: Results, name: str) -> float:
    """Give the false discovery rate that a transfer is tested at."""
    return float(results.test(results.further("transfers")[name]["source"]).get("fdr", 0.05))


# times --------------------------------------------------------------------------------------------


def times_heat(results: Results, name: str, folder: Path) -> Figure | Absent:
    """Draw training by test time for a transfer between recordings of electrodes."""
    from matplotlib.cm import ScalarMappable

    entry = results.further("transfers")[name]
    table = results.transfer_times
    table = table[(table["transfer"] == name) & (table["region"] == ALL)]
    every = {
        model: rows
        for model in transfer_models(entry)
        if np.isfinite(pd.to_numeric((rows := table[table["model"] == model])["score"])).any()
    }
    if not every:
        return Absent(
            f"There are no scores of the transfer {name} by training and test time; run the "
            "workflow again to get them."
        )
    level = _level(results, name)
    drawn = {model: _cells(rows, level) for model, rows in every.items()}
    norm = signed_norm(*(cells.score for cells in drawn.values()), least=0.02)
    canvas, grid = panel_grid(len(drawn))
    if canvas.get_figwidth() + _BAR <= FULL_WIDTH:  # else the panels shrink for the scale
        canvas.set_size_inches(canvas.get_figwidth() + _BAR, canvas.get_figheight())
    for axes, (model, cells) in zip(grid, drawn.items(), strict=True):
        _one_clock(axes, model, cells, norm)
        axes.set_xlabel(f"Test time, {entry['target']} (s)", size=8)
        axes.set_ylabel(f"Training time, {entry['source']} (s)", size=8)
    bar = canvas.colorbar(
        ScalarMappable(norm, signed_ramp()), ax=grid, shrink=0.7, aspect=20, pad=0.02
    )
    bar.set_label("Mean Pearson r", size=8)
    bar.outline.set_visible(False)
    heading(canvas, f"Transfer {name}: training by test time")
    n_subjects = table["subject"].nunique()
    n_sites = int(table.groupby("subject")["n_sites"].max().sum())
    found = [
        f"{model}: {plural(int(cells.found.sum()), 'cell')} of {cells.found.size}, highest r = "
        f"{np.nanmax(cells.score):.3f} trained at {cells.peak[0]:g} s and tested at "
        f"{cells.peak[1]:g} s"
        for model, cells in drawn.items()
    ]
    caption = (
        f"Mean Pearson r over the {plural(n_sites, 'electrode')} of "
        f"{plural(n_subjects, 'subject')} that both analyses have, mean over subjects. Models were "
        f"trained on {entry['source']} at one time and tested on {entry['target']} at another; "
        "times are relative to the event's onset, one cell per pair of windows, each drawn at its "
        f"start. Outlined: q at most {level:g} in "
        + ("the subject" if n_subjects == 1 else "more than half of the subjects")
        + f". Dotted: equal times. {'; '.join(found)}."
    )
    alt = f"Heat maps of mean scores by training and test time. {'; '.join(found)}."
    return finish(canvas, folder, f"{name}__transfer_times", caption, alt)


class _Cells:
    """Scores by time: `score` and `found`, (training time, test time), and the two time axes."""

    def __init__(
        self, train: np.ndarray, test: np.ndarray, score: np.ndarray, found: np.ndarray
    ) -> None:
        self.train, self.test, self.score, self.found = train, test, score, found

    @property
    def peak(self) -> tuple[float, float]:
        """Training and test time of the highest score."""
        row, column = np.unravel_index(int(np.nanargmax(self.score)), self.score.shape)
        return float(self.train[row]), float(self.test[column])


def _cells(rows: pd.DataFrame, level: float) -> _Cells:
    """Mean scores over subjects, and where most subjects' q is low enough."""
    # files hold times in single precision
    times = rows.assign(
        time_train=rows["time_train"].astype(float).round(4),
        time_test=rows["time_test"].astype(float).round(4),
    )
    train, test = (np.unique(times[key]) for key in ("time_train", "time_test"))
    scores, hits = [], []
    for _, own in times.groupby("subject"):
        indexed = own.drop_duplicates(["time_train", "time_test"]).set_index(
            ["time_train", "time_test"]
        )
        every = pd.MultiIndex.from_product([train, test])
        score, q = (
            pd.to_numeric(indexed[key], errors="coerce")
            .reindex(every)
            .to_numpy(float)
            .reshape(len(train), len(test))
            for key in ("score", "q")
        )
        scores.append(score)
        hits.append(np.nan_to_num(q, nan=1.0) <= level)
    return _Cells(train, test, finite_mean(np.array(scores)), np.mean(hits, axis=0) > 0.5)


def _one_clock(axes: Any, model: str, cells: _Cells, norm: Any) -> None:
    """Draw the scores of one model by training and test time."""
    x, y = (_edges(times) for times in (cells.test, cells.train))
    axes.pcolormesh(x, y, cells.score, cmap=signed_ramp(), norm=norm, rasterized=True)
    low, high = max(x[0], y[0]), min(x[-1], y[-1])
    axes.plot([low, high], [low, high], color=INK, lw=0.8, ls=":", label=FIXED)
    for line in _outline(cells.found, x, y):
        axes.plot(*line, color=INK, lw=1.3, solid_capstyle="projecting", label=FIXED)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), box_aspect=1)
    axes.locator_params(nbins=5)
    axes.set_title(model, size=9)


def _edges(times: np.ndarray) -> np.ndarray:
    """Edges of cells that stand at these times."""
    if len(times) < 2:
        return np.array([times[0] - 0.5, times[0] + 0.5])
    middle = (times[1:] + times[:-1]) / 2
    return np.concatenate([[2 * times[0] - middle[0]], middle, [2 * times[-1] - middle[-1]]])


def _outline(
    found: np.ndarray, x: np.ndarray, y: np.ndarray
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Edges between cells that are marked and cells that are not, as lines."""
    padded = np.pad(found, 1)
    lines: list[tuple[tuple[float, float], tuple[float, float]]] = []
    for row, column in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]):
        lines.append(((x[column], x[column + 1]), (y[row], y[row])))
    for row, column in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]):
        lines.append(((x[column], x[column]), (y[row], y[row + 1])))
    return lines
