"""Maps of voxels: on a glass brain where they fit the template, else in slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.report.figure import Figure, finish
from braid.report.fits import Grid
from braid.report.glass import (
    OUTLINE,
    glass_brain,
    in_template,
    map_legend,
    map_title,
    score_bar,
    score_ramp,
    upper_end,
)
from braid.report.results import Results
from braid.report.style import FULL_WIDTH, INK, PAPER, Palette
from braid.report.summary import best_caption, compared_models
from braid.report.words import capital, listed, plural, tested_how

MOST_SUBJECTS = 4
"""Subjects that one map of voxels shows."""
MOST_SLICES = 7
"""Slices of each subject that a map of voxels shows."""


def voxel_scores(
    results: Results, analysis: str, model: str, grids: Mapping[str, Grid], folder: Path
) -> Figure:
    """Voxels on a glass brain (maximum along the line of sight), or in slices elsewhere."""
    import matplotlib.pyplot as plt

    sites = results.sites_of(analysis, model)
    subjects = [s for s in results.subjects(analysis) if s in grids]
    shown = subjects[:MOST_SUBJECTS]
    hits = sites[sites["significant"] & sites["subject"].isin(shown)]
    top = upper_end(hits["score"])
    templated = in_template(sites)
    if templated:
        canvas = plt.figure(figsize=(FULL_WIDTH, 0.35 + 1.62 * len(shown)))
        step = (1 - 0.3 / canvas.get_figheight()) / len(shown)
        for row, subject in enumerate(shown):
            bottom = (len(shown) - 1 - row) * step
            mine = hits[hits["subject"] == subject]
            place = (0.09, bottom, 0.81, step * 0.97)
            glass_brain(canvas, place, _image(mine, grids[subject]), top)
            canvas.text(0.01, bottom + step / 2, f"sub-{subject}\nn = {len(mine)}", size=8)
        score_bar(canvas, (0.92, 0.2, 0.015, 0.5), top)
    else:
        paint = {
            subject: _painted(hits[hits["subject"] == subject], grids[subject],
                              lambda row: score_ramp()(float(row["score"]) / top))
            for subject in shown
        }  # fmt: skip
        canvas = _slices(paint, {s: grids[s] for s in shown}, right=0.9)
        score_bar(canvas, (0.92, 0.2, 0.015, 0.5), top)
    map_title(canvas, f"{analysis}: {model} in {plural(len(hits), 'significant voxel')}")
    left_out = len(subjects) - len(shown)
    how = (
        "each pixel shows the highest value along the line of sight. " + OUTLINE
        if templated
        else "axial slices, left hemisphere on the left where the affine is right; no outline is "
        "drawn because the coordinates do not fit the MNI152 brain."
    )
    caption = (
        f"Held-out Pearson r of {model} in the {len(hits):,} significant of "
        f"{int(sites['subject'].isin(shown).sum()):,} voxels of {plural(len(shown), 'subject')}"
        + (f" ({plural(left_out, 'further subject')} not shown)" if left_out else "")
        + f"; n counts the significant voxels of each. "
        f"{capital(tested_how(results.test(analysis)))}. " + capital(how)
    )
    alt = (
        f"Brain maps of {plural(len(shown), 'subject')} with {len(hits)} voxels coloured by the "
        f"score of {model}, at most {hits['score'].max():.3f}."
    )
    return finish(canvas, folder, f"{analysis}__map_scores", caption, alt)


def voxel_best(
    results: Results, analysis: str, best: pd.DataFrame, models: Sequence[str],
    grids: Mapping[str, Grid], palette: Palette, folder: Path,
) -> Figure:  # fmt: skip
    """Slices whose voxels have the colour of their best model."""
    from matplotlib.colors import to_rgba

    subjects = [s for s in results.subjects(analysis) if s in grids]
    shown = subjects[:MOST_SUBJECTS]
    here = best[best["subject"].isin(shown)]
    paint = {
        subject: _painted(here[here["subject"] == subject], grids[subject],
                          lambda row: to_rgba(palette.colour(str(row["model"]))))
        for subject in shown
    }  # fmt: skip
    dots = {s: here[(here["subject"] == s) & here["combined"]] for s in shown}
    canvas = _slices(paint, {s: grids[s] for s in shown}, dots=dots, bottom=0.6)
    counts = here["model"].value_counts()
    map_title(canvas, f"{analysis}: best trained model in {plural(len(here), 'significant voxel')}")
    compared = compared_models(results, analysis)
    map_legend(canvas, [(m, palette.colour(m), int(counts.get(m, 0))) for m in models], compared)
    left_out = len(subjects) - len(shown)
    caption = (
        best_caption(results, analysis, len(here), "voxel", compared, "A dot")
        + "Axial slices through the significant voxels; z in mm, pale grey: tested voxels; left "
        "of the picture is left of the brain as the affine says."
        + (f" {plural(left_out, 'further subject')} not shown." if left_out else "")
    )
    alt = "Axial slices with voxels coloured by best model: " + listed(
        [f"{m} {int(counts.get(m, 0))}" for m in models]
    )
    return finish(canvas, folder, f"{analysis}__map_best", caption, alt + ".")


def _image(sites: pd.DataFrame, grid: Grid) -> Any:
    """NIfTI image of the scores of some voxels, zero elsewhere."""
    import nibabel

    volume = np.zeros(grid.shape, np.float32)
    for site, score in zip(sites["site"], sites["score"], strict=True):
        volume[grid.voxels[str(site)]] = max(float(score), 0.0)
    return nibabel.Nifti1Image(volume, grid.affine)


def _painted(sites: pd.DataFrame, grid: Grid, colour: Any) -> np.ndarray:
    """Colour volume (i, j, k, 4): tested voxels pale grey, the given ones in their colours."""
    volume = np.zeros((*grid.shape, 4))
    for place in grid.voxels.values():
        volume[place] = (0.5, 0.5, 0.5, 0.22)
    for _, row in sites.iterrows():
        volume[grid.voxels[str(row["site"])]] = colour(row)
    return volume


def _slices(
    paint: Mapping[str, np.ndarray],
    grids: Mapping[str, Grid],
    dots: Mapping[str, pd.DataFrame] | None = None,
    right: float = 1.0,
    bottom: float = 0.0,
) -> Any:
    """Axial slices of each subject, one row per subject; `bottom` inches are left for a legend."""
    import matplotlib.pyplot as plt

    rows = {}
    for subject, volume in paint.items():
        marks = np.zeros((*volume.shape[:3], 1), bool)
        for site in [] if dots is None else dots[subject]["site"]:
            marks[grids[subject].voxels[str(site)]] = True
        rows[subject] = _upright(np.concatenate([volume, marks], axis=3), grids[subject].affine)
    columns = max(len(_levels(volume)) for volume, _ in rows.values())
    height = 0.45 + bottom + len(rows) * min(2.6, FULL_WIDTH * right / columns * 1.3)
    canvas, axes = plt.subplots(
        len(rows), columns, figsize=(FULL_WIDTH, height), squeeze=False,
        gridspec_kw={"left": 0.07, "right": right, "bottom": bottom / height,
                     "top": 1 - 0.45 / height, "wspace": 0.04, "hspace": 0.12},
    )  # fmt: skip
    for line, (subject, (volume, affine)) in zip(axes, rows.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        line[0].text(-0.1, 0.5, f"sub-{subject}", rotation=90, va="center", ha="right", size=8,
                     transform=line[0].transAxes)  # fmt: skip
        for axis, k in zip(line, _levels(volume), strict=False):
            _one_slice(axis, *_cropped(volume, affine), k)
    return canvas


def _one_slice(axis: Any, volume: np.ndarray, affine: np.ndarray, k: int) -> None:
    """Draw one axial slice of an upright volume, with its dots."""
    from matplotlib.patheffects import withStroke

    aspect = float(np.linalg.norm(affine[:3, 1]) / np.linalg.norm(affine[:3, 0]))
    picture = volume[:, :, k, :4].transpose(1, 0, 2)
    axis.imshow(picture, origin="lower", aspect=aspect, interpolation="nearest")
    middle = [volume.shape[0] / 2, volume.shape[1] / 2, k, 1]
    axis.set_title(f"z = {(affine @ middle)[2]:.0f}", size=7, weight="normal", loc="center", pad=1)
    axis.plot(*np.nonzero(volume[:, :, k, 4]), "o", color=INK, ms=1.8,
              path_effects=[withStroke(linewidth=1.0, foreground=PAPER)])  # fmt: skip


def _upright(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reorder and flip the axes of a volume: to the right, to the front, up; and its affine."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turn = io_orientation(affine)
    return apply_orientation(volume, turn), affine @ inv_ornt_aff(turn, volume.shape[:3])


def _cropped(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the empty margins of an upright volume off its axial slices; and its affine."""
    first, second = (np.flatnonzero(volume[..., 3].any(axis=axes)) for axes in ((1, 2), (0, 2)))
    shifted = affine.copy()
    shifted[:3, 3] = affine[:3] @ [first[0], second[0], 0, 1]
    return volume[first[0] : first[-1] + 1, second[0] : second[-1] + 1], shifted


def _levels(volume: np.ndarray) -> list[int]:
    """Up to `MOST_SLICES` axial levels, evenly spread over those with coloured voxels."""
    coloured = np.flatnonzero((volume[..., 3] > 0.5).any(axis=(0, 1)))
    if not coloured.size:
        coloured = np.flatnonzero((volume[..., 3] > 0).any(axis=(0, 1)))
    count = min(MOST_SLICES, coloured.size)
    return [int(coloured[i]) for i in np.linspace(0, coloured.size - 1, count).round().astype(int)]
