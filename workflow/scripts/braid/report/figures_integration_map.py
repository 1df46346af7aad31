"""Map of integration sites: electrodes that pass each test, on a glass brain where they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.report.figure import Absent, Figure, finish
from braid.report.figures_integration import alignment_colours
from braid.report.glass import add_markers, glass_brain, in_template, map_title, missing_places
from braid.report.integration import Integration, space_sentence
from braid.report.results import Results
from braid.report.style import FULL_WIDTH, HUES, INK
from braid.report.words import listed, plural

ALL, SEVERAL = HUES[2], HUES[3]
"""Colours of electrodes that pass in all alignments, and in several but not all."""
GREY = "#a0a0a0"
ROW = 1.8
"""Height of a row of the figure, inches."""


def sites_map(results: Results, one: Integration, folder: Path) -> Figure | Absent:
    """Draw which electrodes pass each test, and in which alignments, a row per test."""
    import matplotlib.pyplot as plt

    sites = one.tables["sites"]
    known = np.isfinite(sites[["x", "y", "z"]].to_numpy(float)).all(axis=1)
    if not known.any():
        return Absent(
            f"The electrodes of {one.name} have no coordinates, so they are not drawn on a brain. "
            "The figure of regions and the table of electrodes say where they are."
        )
    templated = in_template(sites[known])
    bottom = 0.42
    height = 0.35 + ROW * len(one.tests) + bottom
    canvas = plt.figure(figsize=(FULL_WIDTH, height))
    counts = []
    for row, test in enumerate(one.tests):
        groups, ringed = groups_of(one, test)
        low = (bottom + ROW * (len(one.tests) - 1 - row)) / height
        place = (0.13, low, 0.87, ROW * 0.97 / height)
        parts = [
            (sites[known & (groups == name)], colour, size)
            for name, colour, size in _kinds(one, test)
        ]
        rings = sites[known & ringed]
        if templated:
            _on_glass(canvas, place, parts, rings)
        else:
            _in_planes(canvas, place, parts, rings, row == len(one.tests) - 1)
        canvas.text(0.01, low + ROW / 2 / height, _row_label(one, test, groups), size=8,
                    va="center")  # fmt: skip
        counts.append(_row_counts(one, test, groups))
    map_title(canvas, f"{one.name}: electrodes that pass, {plural(int(known.sum()), 'electrode')}")
    _legend(canvas, one)
    caption = (
        "Electrodes that pass each test, coloured by the alignment in which they pass; those that "
        "pass in all (strict) are larger; grey: tested and passing in none. A ring: would pass in "
        "a further alignment if wins by default counted. "
        + missing_places(sites, "electrode")
        + ("" if known.all() else "The counts beside the rows are of all electrodes. ")
        + _space(results, one, templated)
        + f" Profile {one.profile}."
    )
    alt = f"Maps of {plural(int(known.sum()), 'electrode')}. {' '.join(counts)}"
    return finish(canvas, folder, f"{one.name}__integration_map", caption, alt)


def groups_of(one: Integration, test: str) -> tuple[np.ndarray, np.ndarray]:
    """Where each electrode passes: an alignment, `all`, `several` or `none`; and rings.

    Returns
    -------
    groups : numpy.ndarray of str, (electrodes,)
    ringed : numpy.ndarray of bool, (electrodes,)
        Whether it would pass in a further alignment if every win by default counted.
    """
    names = one.alignments
    passes = np.stack([one.calls(test, name).to_numpy(bool) for name in names])
    default = np.stack([one.flag(f"{test}_{name}_default").to_numpy(bool) for name in names])
    count = passes.sum(axis=0)
    single = np.array(names, dtype=object)[passes.argmax(axis=0)]
    groups = np.select(
        [count == 0, (count == len(names)) & (len(names) > 1), count == 1],
        [np.full(len(count), "none", object), np.full(len(count), "all", object), single],
        default=np.full(len(count), "several", object),
    )
    return groups, np.asarray(default.any(axis=0))


def _kinds(one: Integration, test: str) -> list[tuple[str, str, float]]:
    """Give the groups in the order in which they are drawn, with colour and size."""
    single = [(name, colour, 20.0) for name, colour in alignment_colours(one).items()]
    return [("none", GREY, 6.0), *single, ("several", SEVERAL, 26.0), ("all", ALL, 36.0)]


def _on_glass(
    canvas: Any,
    place: tuple[float, float, float, float],
    parts: Sequence[tuple[pd.DataFrame, str, float]],
    rings: pd.DataFrame,
) -> None:
    """Draw groups of electrodes on a glass brain."""
    from matplotlib.colors import to_rgba

    display = glass_brain(canvas, place)
    for part, colour, size in parts:
        add_markers(display, part, [to_rgba(colour)] * len(part), size)
    add_markers(display, rings, [(0.0, 0.0, 0.0, 0.0)] * len(rings), 34, INK, None)


def _in_planes(
    canvas: Any,
    place: tuple[float, float, float, float],
    parts: Sequence[tuple[pd.DataFrame, str, float]],
    rings: pd.DataFrame,
    last: bool,
) -> None:
    """Draw groups of electrodes in three planes of their own coordinates, without an outline."""
    left, low, width, height = place
    for column, (across, up) in enumerate((("y", "z"), ("x", "z"), ("x", "y"))):
        axes = canvas.add_axes(
            (left + 0.05 + column * width / 3, low + 0.2 * height, width / 3 - 0.06, 0.72 * height)
        )
        for part, colour, size in parts:
            axes.scatter(part[across], part[up], s=size / 2, color=colour, lw=0, alpha=0.85)
        axes.scatter(rings[across], rings[up], s=22, facecolor="none", edgecolor=INK, linewidth=0.9)
        axes.set_aspect("equal", adjustable="datalim")
        axes.tick_params(labelsize=6)
        axes.set_ylabel(f"{up} (mm)", size=7, labelpad=3)
        if last:
            axes.set_xlabel(f"{across} (mm)", size=7, labelpad=3)


def _row_label(one: Integration, test: str, groups: np.ndarray) -> str:
    """Test and its counts, beside its row."""
    weak = int((groups != "none").sum())
    strict = int((groups == "all").sum())
    lines = [test, f"weak: {weak}"] + [f"strict: {strict}"] * (len(one.alignments) > 1)
    return "\n".join(lines)


def _row_counts(one: Integration, test: str, groups: np.ndarray) -> str:
    """Say how many electrodes pass a test, and where."""
    found = [
        f"{int((groups == name).sum())} in {what}"
        for name, what in _groups_in_words(one).items()
        if (groups == name).any()
    ]
    return f"{test}: {listed(found) or 'no electrode passes'}."


def _groups_in_words(one: Integration) -> Mapping[str, str]:
    return {name: f"{name} alone" for name in one.alignments} | {
        "several": "several alignments",
        "all": "all alignments",
    }


def _legend(canvas: Any, one: Integration) -> None:
    from matplotlib.lines import Line2D

    def dot(label: str, size: float, face: str, edge: str = "none") -> Line2D:
        return Line2D([], [], marker="o", ls="none", ms=size, markerfacecolor=face,
                      markeredgecolor=edge, label=label)  # fmt: skip

    alone = " alone" if len(one.alignments) > 1 else ""
    handles = [dot(f"{name}{alone}", 5, c, c) for name, c in alignment_colours(one).items()]
    if len(one.alignments) > 2:
        handles.append(dot("several", 6, SEVERAL, SEVERAL))
    if len(one.alignments) > 1:
        handles.append(dot("all alignments (strict)", 7, ALL, ALL))
    handles += [dot("none", 3, GREY, GREY), dot("by default", 6.5, "none", INK)]
    canvas.legend(handles=handles, loc="lower center", ncols=len(handles), columnspacing=1.2,
                  handletextpad=0.2)  # fmt: skip


def _space(results: Results, one: Integration, templated: bool) -> str:
    """Say in which space the coordinates are, and what the outline is worth."""
    said = space_sentence(results, one, templated)
    if templated:
        return said
    return f"No outline is drawn, because the coordinates do not fit the MNI152 brain. {said}"
