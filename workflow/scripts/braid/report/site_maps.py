"""Values of sites on a brain, in columns that can be compared: surfaces, glass brains, or views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from braid.report.figure import Absent
from braid.report.figures_surfaces import brain_picture, on_mesh, undrawable
from braid.report.glass import OUTLINE, in_template
from braid.report.results import Results
from braid.report.signed import signed_ramp
from braid.report.style import MUTED

Place = tuple[float, float, float, float]
"""Left, bottom, width and height in a figure, shares of its size."""

SURFACE, GLASS, VIEWS = "surface", "glass", "views"
"""Ways of drawing: inflated surface, glass brain, or the sites alone seen from four sides."""

_BRAINS = (("L", "lateral"), ("R", "lateral"), ("L", "medial"), ("R", "medial"))
_SIDES = ("l", "r", "y", "z")
# the two axes (0 to 2) that each side shows, and which way the first runs
_SEEN = {"l": (1, 2, -1), "r": (1, 2, 1), "y": (0, 2, 1), "z": (0, 1, 1)}
_LARGEST, _SMALLEST = 900.0, 0.6
"""Area of the marker of a voxel, square points."""
_THIN = 0.55
"""Width of the outline's lines, of what they have in a large glass brain."""
_ELECTRODE = 11.0
"""Area of the marker of an electrode, square points."""


@dataclass(frozen=True)
class Column:
    """One map.

    Attributes
    ----------
    title : str
    values : pandas.DataFrame
        Columns `subject site x y z value`; sites without a value (NaN) are not drawn.
    norm : matplotlib.colors.Normalize
        Scale of the values on `signed_ramp`.
    """

    title: str
    values: pd.DataFrame
    norm: Any


def how_drawn(results: Results, analysis: str, sites: pd.DataFrame) -> str | Absent:
    """Choose how the sites of an analysis are drawn, or say why they cannot be."""
    if results.surface(analysis):
        return undrawable(results, analysis) or SURFACE
    xyz = sites[["x", "y", "z"]].to_numpy(float)
    if not np.isfinite(xyz).all(axis=1).any():
        noun = results.noun_of(analysis)
        return Absent(f"The sites ({noun}s) of {analysis} have no coordinates, so no map is drawn.")
    return GLASS if in_template(sites) else VIEWS


def drawn_how(way: str, averaged: bool) -> str:
    """Say in a sentence or two how a map is drawn."""
    if way == SURFACE:
        mean = "; values of a vertex are means over subjects" if averaged else ""
        return f"The inflated surface of fsaverage5, from the side and from the middle{mean}."
    nearest = "where sites hide each other, the one with the value furthest from 0 is in front. "
    if way == GLASS:
        return f"Seen from the left, the right, behind and above; {nearest}" + OUTLINE
    return (
        f"Seen from the left, the right, behind and above; {nearest}No outline is drawn, because "
        "the coordinates do not fit the MNI152 brain."
    )


def draw_cell(
    canvas: Any, place: Place, column: Column, subjects: Sequence[str], way: str, square: bool
) -> None:
    """Draw the sites of some subjects together, from four sides.

    Parameters
    ----------
    canvas : matplotlib.figure.Figure
    place : tuple of float
    column : Column
    subjects : sequence of str
        Their sites are drawn over each other; on surfaces, averaged.
    way : str
        `surface`, `glass` or `views`.
    square : bool
        Whether sites are voxels, drawn as squares of their size, or electrodes, drawn as dots.
    """
    values = column.values[column.values["subject"].isin(list(subjects))]
    values = values[np.isfinite(values["value"].astype(float))]
    if way == SURFACE:
        _surface(canvas, place, values, column.norm)
        return
    placed = values[np.isfinite(values[["x", "y", "z"]].to_numpy(float)).all(axis=1)]
    order = np.argsort(np.abs(placed["value"].to_numpy(float)), kind="stable")
    placed = placed.iloc[order]
    spacing = _spacing(placed) if square else None
    _seen(canvas, place, placed, column.norm, spacing, way == GLASS)


def _quarters(place: Place) -> Iterator[Place]:
    """Four parts of a place: upper left, upper right, lower left, lower right."""
    left, bottom, width, height = place
    for row in (1, 0):
        for column in (0, 1):
            yield left + column * width / 2, bottom + row * height / 2, width / 2, height / 2


def _surface(canvas: Any, place: Place, values: pd.DataFrame, norm: Any) -> None:
    """Draw both hemispheres from the side and from the middle."""
    means = values.groupby("site")["value"].mean()
    sides = on_mesh(list(means.index), means.to_numpy(float))
    for (side, view), part in zip(_BRAINS, _quarters(place), strict=True):
        axes = canvas.add_axes(part)
        axes.imshow(brain_picture(sides[side], side, view, signed_ramp(), (norm.vmin, norm.vmax)))
        axes.set_axis_off()


def _seen(
    canvas: Any, place: Place, placed: pd.DataFrame, norm: Any, spacing: float | None, glass: bool
) -> None:
    """Draw markers from four sides, on the outline of the brain or on nothing.

    All of it is pixels in vector files, for their size.
    """
    xyz = placed[["x", "y", "z"]].to_numpy(float)
    margin = 4.0 + (spacing or 0.0)
    for side, part in zip(_SIDES, _quarters(place), strict=True):
        first, second, sign = _SEEN[side]
        axes = canvas.add_axes(part)
        axes.set_axis_off()
        if glass:
            limits = _draw_outline(axes, side)
        else:
            across, up = np.sort(sign * xyz[:, first]), np.sort(xyz[:, second])
            limits = ((across[0] - margin, across[-1] + margin), (up[0] - margin, up[-1] + margin))
        axes.set(xlim=limits[0], ylim=limits[1], aspect="equal")
        shown = _of_side(placed, side)
        seen = shown[["x", "y", "z"]].to_numpy(float)
        axes.scatter(sign * seen[:, first], seen[:, second], _area(canvas, part, limits, spacing),
                     shown["value"].to_numpy(float), marker="o" if spacing is None else "s",
                     cmap=signed_ramp(), norm=norm, linewidths=0, rasterized=True)  # fmt: skip
        for letter, x in ((side.upper(), 0.02),) if side in "lr" else (("L", 0.02), ("R", 0.9)):
            axes.text(x, 0.98, letter, size=6, color=MUTED, va="top", transform=axes.transAxes)


def _draw_outline(axes: Any, side: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Draw the MNI152 brain from one side; return the limits of the axes that it fills."""
    from matplotlib.collections import PathCollection
    from matplotlib.transforms import Affine2D

    paths, colours, widths, (left, right, low, high) = _outline({"l": "r"}.get(side, side))
    turn = Affine2D().scale(-1 if side == "l" else 1, 1)
    axes.add_collection(
        PathCollection(
            [turn.transform_path(path) for path in paths], facecolors="none", edgecolors=colours,
            linewidths=widths, rasterized=True, zorder=0,
        ),
        autolim=False,
    )  # fmt: skip
    return ((-right, -left) if side == "l" else (left, right)), (low, high)


@cache
def _outline(side: str) -> tuple[list[Any], list[Any], list[float], tuple[float, ...]]:
    """Lines of nilearn's glass brain from one side, their colours and widths, and its bounds."""
    import matplotlib.pyplot as plt
    from nilearn.plotting.glass_brain import plot_brain_schematics

    scratch, axes = plt.subplots()
    bounds = plot_brain_schematics(axes, side)
    paths, colours, widths = [], [], []
    for patch in axes.patches:
        own = patch.get_transform() - axes.transData
        paths.append(own.transform_path(patch.get_path()))
        colours.append(patch.get_edgecolor())
        widths.append(_THIN * float(patch.get_linewidth()))
    plt.close(scratch)
    return paths, colours, widths, tuple(map(float, bounds))


def _of_side(placed: pd.DataFrame, side: str) -> pd.DataFrame:
    """Sites that a view shows: of their own hemisphere from the left and the right, else all."""
    x = placed["x"].to_numpy(float)
    return placed[{"l": x <= 0, "r": x >= 0}.get(side, np.ones(len(placed), bool))]


def _spacing(placed: pd.DataFrame) -> float:
    """Distance between neighbouring voxels, mm; 3 where there are too few to tell."""
    from scipy.spatial import cKDTree

    xyz = np.unique(placed[["x", "y", "z"]].to_numpy(float), axis=0)
    if len(xyz) < 2:
        return 3.0
    nearest = cKDTree(xyz).query(xyz, k=2)[0][:, 1]
    return float(np.median(nearest))


def _area(
    canvas: Any, part: Place, limits: Sequence[tuple[float, float]], spacing: float | None
) -> float:
    """Area of a marker, square points, that covers a voxel of some size, mm."""
    if spacing is None:
        return _ELECTRODE
    inches = canvas.get_size_inches()
    scale = min(
        part[2 + axis] * inches[axis] / (high - low) for axis, (low, high) in enumerate(limits)
    )
    return float(np.clip((1.05 * spacing * scale * 72) ** 2, _SMALLEST, _LARGEST))


def site_values(sites: pd.DataFrame, value: Any) -> pd.DataFrame:
    """Table that a `Column` takes, of sites with `subject site x y z` and a value of each."""
    return sites[["subject", "site", "x", "y", "z"]].assign(value=np.asarray(value, dtype=float))
