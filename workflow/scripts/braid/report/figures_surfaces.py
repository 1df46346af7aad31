"""Maps of vertices on the inflated surface of fsaverage."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids.surfaces import (
    BUNDLED,
    FSAVERAGE,
    FSNATIVE,
    HEMISPHERES,
    fsaverage_files,
    fsaverage_mesh,
    vertex_places,
)
from braid.report.figure import Absent, Figure, finish
from braid.report.figures_voxels import MOST_SUBJECTS
from braid.report.glass import map_legend, map_title, score_bar, score_ramp, upper_end
from braid.report.results import Results
from braid.report.style import DPI, FULL_WIDTH, Palette, tint
from braid.report.summary import best_caption, compared_models
from braid.report.words import capital, listed, plural, tested_how

_SIDE = {"L": "left", "R": "right"}
_VIEWS = (("L", "lateral"), ("L", "medial"), ("R", "medial"), ("R", "lateral"))
_GYRUS, _SULCUS = 0.2, 0.38  # of black
_ROW = 1.42
"""Height of the brains of one subject, inches."""
_SHARPNESS = 2
"""Pixels of a drawn brain for each pixel of the figure."""


def surface_scores(results: Results, analysis: str, model: str, folder: Path) -> Figure | Absent:
    """Draw the scores of a model at significant vertices of each subject."""
    sites = results.sites_of(analysis, model)
    if (why := undrawable(results, analysis)) is not None:
        return why
    subjects = results.subjects(analysis)
    shown = subjects[:MOST_SUBJECTS]
    hits = sites[sites["significant"] & sites["subject"].isin(shown)]
    top = upper_end(hits["score"])
    values = {
        subject: on_mesh(mine["site"], mine["score"].clip(lower=1e-9))
        for subject, mine in ((s, hits[hits["subject"] == s]) for s in shown)
    }
    counts = {subject: int((hits["subject"] == subject).sum()) for subject in shown}
    canvas = draw_surfaces(values, score_ramp(), (0, top), counts, right=0.9)
    score_bar(canvas, (0.92, 0.2, 0.015, 0.5), top)
    map_title(canvas, f"{analysis}: {model} at {plural(len(hits), 'significant vertex')}")
    tested = int(sites["subject"].isin(shown).sum())
    caption = (
        f"Held-out Pearson r of {model} at the {len(hits):,} significant of "
        f"{plural(tested, 'vertex')} of {plural(len(shown), 'subject')}"
        + "; n counts the significant vertices of each. "
        + f"{capital(tested_how(results.test(analysis)))}. "
        + _how_drawn(sites)
        + _not_shown(subjects)
    )
    alt = (
        f"Inflated brains of {plural(len(shown), 'subject')}, both hemispheres from the side and "
        f"from the middle, with {plural(len(hits), 'vertex')} coloured by the score of {model}, at "
        f"most {hits['score'].max():.3f}."
    )
    return finish(canvas, folder, f"{analysis}__map_scores", caption, alt)


def surface_best(
    results: Results, analysis: str, best: pd.DataFrame, models: Sequence[str],
    palette: Palette, folder: Path,
) -> Figure | Absent:  # fmt: skip
    """Draw the best model of each significant vertex of each subject."""
    from matplotlib.colors import ListedColormap

    if (why := undrawable(results, analysis)) is not None:
        return why
    subjects = results.subjects(analysis)
    shown = subjects[:MOST_SUBJECTS]
    here = best[best["subject"].isin(shown)]
    compared = compared_models(results, analysis)
    # pale where the model is only the best, full where the comparison holds too
    full = [palette.colour(model) for model in models]
    colours = ListedColormap([*(tint(c, 0.5) for c in full), *full] if compared else full)
    order = {model: number for number, model in enumerate(models)}
    marked = here["combined"].to_numpy(bool) if compared else np.zeros(len(here), bool)
    colour = here["model"].map(order).to_numpy(float) + len(models) * marked + 1
    values = {
        subject: on_mesh(here.loc[mine, "site"], colour[mine])
        for subject, mine in ((s, (here["subject"] == s).to_numpy()) for s in shown)
    }
    canvas = draw_surfaces(values, colours, (0.5, colours.N + 0.5), bottom=0.55)
    if compared:
        note = f"pale: {compared} is not significant"
        canvas.text(0.5, 0.4 / canvas.get_figheight(), note, size=8, ha="center", va="center")
    counts = here["model"].value_counts()
    map_title(
        canvas, f"{analysis}: best trained model at {plural(len(here), 'significant vertex')}"
    )
    map_legend(canvas, [(m, palette.colour(m), int(counts.get(m, 0))) for m in models], "")
    caption = (
        best_caption(results, analysis, len(here), "vertex", compared, "A full, not pale, colour")
        + _how_drawn(best)
        + _not_shown(subjects)
    )
    alt = "Inflated brains with vertices coloured by best model: " + listed(
        [f"{m} {int(counts.get(m, 0))}" for m in models]
    )
    return finish(canvas, folder, f"{analysis}__map_best", caption, alt + ".")


def on_mesh(names: Sequence[str] | pd.Series, values: Any) -> dict[str, np.ndarray]:
    """Lay values of vertices of any fsaverage mesh on the mesh that maps are drawn on.

    Parameters
    ----------
    names : sequence of str
        Vertices with a value (`L-00000`).
    values : array-like
        (vertices,).

    Returns
    -------
    dict of str to numpy.ndarray
        By hemisphere (10242,), NaN where there is no value. Meshes are nested: of a finer one only
        the vertices are drawn that this one has too; of a coarser one each value is drawn at the
        vertices of which it is the nearest.
    """
    sides, places = vertex_places(names)
    size = FSAVERAGE[_mesh_of(places)]
    drawn = FSAVERAGE[BUNDLED]
    found = {}
    for side in HEMISPHERES:
        own = np.full(size, np.nan)
        own[places[sides == side]] = np.asarray(values, dtype=float)[sides == side]
        found[side] = own[:drawn] if size >= drawn else own[_nearest(size, side)]
    return found


def draw_surfaces(
    values: Mapping[str, Mapping[str, np.ndarray]],
    colours: Any,
    limits: tuple[float, float],
    counts: Mapping[str, int] | None = None,
    right: float = 1.0,
    bottom: float = 0.0,
) -> Any:
    """Draw both hemispheres from the side and from the middle, one row per subject.

    Parameters
    ----------
    values : mapping
        By subject what `on_mesh` gives.
    colours : matplotlib colour map
    limits : tuple of float
        Values of the first and the last colour.
    counts : mapping of str to int, optional
        A number to write beside each subject.
    right : float
        Share of the width that the brains take.
    bottom : float
        Inches left for a legend.
    """
    import matplotlib.pyplot as plt

    head, left = 0.5, 0.085
    height = head + bottom + _ROW * len(values)
    canvas = plt.figure(figsize=(FULL_WIDTH, height))
    width = (right - left) / len(_VIEWS)
    for row, (subject, sides) in enumerate(values.items()):
        low = (bottom + _ROW * (len(values) - 1 - row)) / height
        for column, (side, view) in enumerate(_VIEWS):
            place = (left + column * width, low, width, _ROW / height)
            axes = canvas.add_axes(place)
            axes.imshow(brain_picture(sides[side], side, view, colours, limits))
            axes.set_axis_off()
            if row == 0:
                axes.set_title(f"{_SIDE[side]}, {view}", size=8, weight="normal", loc="center")
        label = f"sub-{subject}" + ("" if counts is None else f"\nn = {counts[subject]:,}")
        canvas.text(0.01, low + 0.5 * _ROW / height, label, size=8, va="center")
    return canvas


def brain_picture(
    values: np.ndarray, side: str, view: str, colours: Any, limits: tuple[float, float]
) -> np.ndarray:
    """Draw one hemisphere from one side: a picture (rows, columns, 4), transparent around it."""
    import matplotlib.pyplot as plt
    from nilearn.plotting import plot_surf_stat_map

    scene = plt.figure(figsize=(2.0, 2.0), dpi=_SHARPNESS * DPI)
    scene.patch.set_alpha(0)
    axes = scene.add_axes((0, 0, 1, 1), projection="3d")
    axes.patch.set_alpha(0)
    points, faces = _inflated(side)
    with warnings.catch_warnings():
        # a hemisphere without any value is drawn as it is
        warnings.filterwarnings("ignore", message="All-NaN slice")
        plot_surf_stat_map(
            [points.copy(), faces[_towards(points, faces, side, view)]],
            values,
            bg_map=_folding(side),
            hemi=_SIDE[side],
            view=view,
            engine="matplotlib",
            cmap=colours,
            vmin=limits[0],
            vmax=limits[1],
            avg_method=_of_corners,
            colorbar=False,
            axes=axes,
            figure=scene,
        )
    scene.canvas.draw()
    picture = np.asarray(scene.canvas.buffer_rgba()).copy()  # type: ignore[attr-defined]
    plt.close(scene)
    return _framed(picture)


def _of_corners(corners: np.ndarray) -> float:
    """Value of a triangle: the middle one of its corners that have one, the lower of two."""
    known = np.sort(corners[np.isfinite(corners)])
    return float(known[(len(known) - 1) // 2]) if len(known) else np.nan


def _framed(picture: np.ndarray) -> np.ndarray:
    """Cut a picture to the same middle part, in which a brain fits from both sides."""
    rows, columns = picture.shape[:2]
    return picture[
        round(0.16 * rows) : round(0.84 * rows), round(0.06 * columns) : round(0.94 * columns)
    ]


@cache
def _inflated(side: str) -> tuple[np.ndarray, np.ndarray]:
    """Points (10242, 3) and triangles of an inflated hemisphere."""
    from nilearn.surface import load_surf_mesh

    mesh = load_surf_mesh(fsaverage_files(BUNDLED)[f"infl_{_SIDE[side]}"])
    return np.asarray(mesh.coordinates, dtype=float), np.asarray(mesh.faces)


@cache
def _folding(side: str) -> np.ndarray:
    """Shade of each vertex: gyri light, sulci darker."""
    from nilearn.surface import load_surf_data

    depth = load_surf_data(fsaverage_files(BUNDLED)[f"sulc_{_SIDE[side]}"])
    return np.where(depth > 0, _SULCUS, _GYRUS)


def _towards(points: np.ndarray, faces: np.ndarray, side: str, view: str) -> np.ndarray:
    """Mark the triangles that face the viewer; the others are hidden, and only cost time."""
    from_right = (side == "R") == (view == "lateral")
    first, second, third = (points[faces[:, corner]] for corner in range(3))
    normal = np.cross(second - first, third - first)
    # triangles are listed so that their normals point outwards
    return normal[:, 0] > 0 if from_right else normal[:, 0] < 0


@cache
def _nearest(size: int, side: str) -> np.ndarray:
    """Nearest of the first `size` vertices to each vertex that is drawn."""
    from scipy.spatial import cKDTree

    sphere = fsaverage_mesh(BUNDLED, "sphere")[side]
    return np.asarray(cKDTree(sphere[:size]).query(sphere)[1])


def _mesh_of(places: np.ndarray) -> str:
    """Coarsest mesh that has all of these vertices."""
    highest = int(places.max(initial=0))
    return next(name for name, size in FSAVERAGE.items() if size > highest)


def undrawable(results: Results, analysis: str) -> Absent | None:
    """Say why vertices cannot be drawn, if they cannot."""
    if results.surface(analysis) != FSNATIVE:
        return None
    return Absent(
        f"The vertices of {analysis} lie on each subject's own surface (fsnative), which results "
        f"do not hold, so there is no map; series in {BUNDLED} are drawn."
    )


def _how_drawn(sites: pd.DataFrame) -> str:
    """Say on which surface vertices are drawn."""
    mesh = _mesh_of(vertex_places(sites["site"])[1])
    where = "The inflated surface of fsaverage5, sulci darker; grey: not significant or no data."
    if FSAVERAGE[mesh] > FSAVERAGE[BUNDLED]:
        where += f" Of the vertices of {mesh} those are drawn that {BUNDLED} has too."
    elif mesh != BUNDLED:
        where += f" Vertices are those of {mesh}; each is drawn as its neighbourhood."
    return where


def _not_shown(subjects: Sequence[str]) -> str:
    """Say how many subjects a map leaves out; empty if none."""
    left_out = len(subjects) - MOST_SUBJECTS
    return f" {plural(left_out, 'further subject')} not shown." if left_out > 0 else ""
