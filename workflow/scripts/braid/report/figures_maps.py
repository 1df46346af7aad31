"""Maps: electrodes and parcels on a glass brain, voxels on a glass brain or in slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.report.figure import Absent, Figure, finish
from braid.report.fits import Grid, grids_of
from braid.report.results import Results
from braid.report.style import FULL_WIDTH, INK, MUTED, PAPER, Palette
from braid.report.summary import headline_comparison
from braid.report.words import NOUN, capital, is_untrained, listed, plural, tested_how

MOST_SUBJECTS = 4
"""Subjects that one map of voxels shows."""
MOST_SLICES = 7
"""Slices of each subject that a map of voxels shows."""

# bounding box of the MNI152 brain with a margin, mm
_MNI_LOW, _MNI_HIGH = np.array([-80.0, -115.0, -75.0]), np.array([80.0, 85.0, 95.0])
_OUTLINE = (
    "The outline is that of the MNI152 template; coordinates are drawn as the data set gives "
    "them, so it is for orientation only where they are in another space."
)


def headline_model(results: Results, analysis: str) -> str:
    """Model whose scores the maps of an analysis show.

    It is the first model of the headline comparison or, without comparisons, the trained model
    with the most significant sites.
    """
    present = [m for m in results.models(analysis) if not is_untrained(m)]
    comparison = headline_comparison(results, analysis)
    if comparison and comparison[1] in present:
        return comparison[1]
    counts = {m: int(results.sites_of(analysis, m)["significant"].sum()) for m in present}
    return max(counts, key=lambda m: counts[m]) if counts else results.models(analysis)[0]


def map_scores(results: Results, analysis: str, folder: Path) -> Figure | Absent:
    """Draw the scores of the headline model where they are significant."""
    model = headline_model(results, analysis)
    sites = results.sites_of(analysis, model)
    noun = NOUN[results.kind_of(analysis)]
    if not sites["significant"].any():
        return Absent(
            f"No {noun} of {analysis} is significant for {model} "
            f"({tested_how(results.test(analysis))}), so there is no map of scores."
        )
    if results.kind_of(analysis) == "bold" and (grids := grids_of(results, analysis)):
        return _voxel_scores(results, analysis, model, grids, folder)
    placed = _placed(results, sites)
    if placed.empty:
        return _ordered_sites(results, analysis, model, folder)
    return _marker_scores(results, analysis, model, placed, folder)


def map_best(results: Results, analysis: str, palette: Palette, folder: Path) -> Figure | Absent:
    """Draw which trained model predicts each site best, where it is significant."""
    models = [m for m in results.models(analysis) if not is_untrained(m)]
    noun = NOUN[results.kind_of(analysis)]
    if len(models) < 2:
        return Absent(f"{analysis} has one trained model, so there is no best one to map.")
    best = best_models(results, analysis)
    if best.empty:
        return Absent(f"No {noun} of {analysis} is significant for any trained model.")
    if results.kind_of(analysis) == "bold" and (grids := grids_of(results, analysis)):
        return _voxel_best(results, analysis, best, models, grids, palette, folder)
    placed = _placed(results, best)
    if placed.empty:
        return Absent(
            f"The {noun}s of {analysis} have no coordinates, so the best model of each cannot be "
            "mapped; the table of the strongest sites lists it."
        )
    return _marker_best(results, analysis, placed, models, palette, folder)


def best_models(results: Results, analysis: str) -> pd.DataFrame:
    """Choose, for each site that any trained model predicts, the model with the highest score.

    Returns
    -------
    pandas.DataFrame
        Rows of the table of sites, one per site, with the column `combined`: the site is
        significant in the analysis' headline comparison.
    """
    sites = results.sites_of(analysis)
    hits = sites[sites["significant"] & ~sites["model"].map(is_untrained)]
    best = hits.sort_values("score", ascending=False).drop_duplicates(["subject", "site"])
    rows = results.comparisons[results.comparisons["analysis"] == analysis]
    name = (headline_comparison(results, analysis) or ("",))[0]
    rows = rows[(rows["comparison"] == name) & rows["significant"].astype(bool)]
    marked = set(map(tuple, rows[["subject", "site"]].to_numpy()))
    keys = [tuple(key) in marked for key in best[["subject", "site"]].to_numpy()]
    return best.assign(combined=np.array(keys, bool))


def _placed(results: Results, sites: pd.DataFrame) -> pd.DataFrame:
    """Sites with coordinates; parcels, which all subjects share, are averaged over subjects."""
    xyz = sites[["x", "y", "z"]].astype(float)
    placed = sites.loc[np.isfinite(xyz.to_numpy()).all(axis=1)]
    if placed.empty or results.kind_of(str(placed["analysis"].iloc[0])) != "parcels":
        return placed
    placed = placed.sort_values("score", ascending=False)
    means = placed.groupby("site")["score"].mean()
    hit = placed.groupby("site")["significant"].any()
    once = placed.drop_duplicates("site").set_index("site")
    return once.assign(score=means, significant=hit).reset_index()


def _marker_scores(
    results: Results, analysis: str, model: str, placed: pd.DataFrame, folder: Path
) -> Figure:
    """Markers on a glass brain, coloured by score."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgba

    hits = placed[placed["significant"]].sort_values("score")
    rest = placed[~placed["significant"]]
    top = _upper(hits["score"])
    canvas = plt.figure(figsize=(FULL_WIDTH, 2.2))
    display = _glass(canvas, (0.0, 0.0, 0.9, 0.86))
    _markers(display, rest, [to_rgba("#a0a0a0")] * len(rest), 7)
    colours = [_ramp()(value) for value in hits["score"].to_numpy(float) / top]
    _markers(display, hits, colours, 30)
    _score_bar(canvas, (0.92, 0.15, 0.015, 0.6), top)
    noun = NOUN[results.kind_of(analysis)]
    _title(canvas, f"{analysis}: {model} at {len(hits)} of {len(placed)} {noun}s")
    averaged = results.kind_of(analysis) == "parcels"
    caption = (
        f"Held-out Pearson r of {model} at {plural(len(hits), f'significant {noun}')} (coloured) "
        f"among {len(placed)} with coordinates (grey: not significant) of "
        f"{plural(len(results.subjects(analysis)), 'subject')}"
        + (", mean over subjects, significant in at least one" if averaged else "")
        + f". {capital(tested_how(results.test(analysis)))}. "
        + _missing_places(results.sites_of(analysis, model), noun)
        + _OUTLINE
    )
    alt = (
        f"Glass brain from the left, the front, the right and above with {len(placed)} {noun}s; "
        f"{len(hits)} are coloured by the score of {model}, at most {hits['score'].max():.3f}."
    )
    return finish(canvas, folder, f"{analysis}__map_scores", caption, alt)


def _marker_best(
    results: Results, analysis: str, placed: pd.DataFrame, models: Sequence[str],
    palette: Palette, folder: Path,
) -> Figure:  # fmt: skip
    """Markers on a glass brain, coloured by the best model, ringed where the comparison holds."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgba

    canvas = plt.figure(figsize=(FULL_WIDTH, 2.75))
    display = _glass(canvas, (0.0, 0.17, 1.0, 0.72))
    for ringed, part in placed.groupby("combined"):
        colours = [to_rgba(palette.colour(model)) for model in part["model"]]
        _markers(display, part, colours, 34, INK if ringed else "none")
    noun = NOUN[results.kind_of(analysis)]
    _title(canvas, f"{analysis}: best trained model at {plural(len(placed), noun)}")
    counts = placed["model"].value_counts()
    compared = _compared(results, analysis)
    _legend(canvas, [(m, palette.colour(m), int(counts.get(m, 0))) for m in models], compared)
    caption = _best_caption(results, analysis, len(placed), noun, compared, "A ring") + _OUTLINE
    alt = f"Glass brain with {plural(len(placed), noun)} coloured by best model: " + listed(
        [f"{m} {int(counts.get(m, 0))}" for m in models]
    )
    return finish(canvas, folder, f"{analysis}__map_best", caption, alt + ".")


def _voxel_scores(
    results: Results, analysis: str, model: str, grids: Mapping[str, Grid], folder: Path
) -> Figure:
    """Voxels on a glass brain (maximum along the line of sight), or in slices elsewhere."""
    import matplotlib.pyplot as plt

    sites = results.sites_of(analysis, model)
    subjects = [s for s in results.subjects(analysis) if s in grids]
    shown = subjects[:MOST_SUBJECTS]
    hits = sites[sites["significant"] & sites["subject"].isin(shown)]
    top = _upper(hits["score"])
    in_template = _in_template(sites)
    if in_template:
        canvas = plt.figure(figsize=(FULL_WIDTH, 0.35 + 1.62 * len(shown)))
        step = (1 - 0.3 / canvas.get_figheight()) / len(shown)
        for row, subject in enumerate(shown):
            bottom = (len(shown) - 1 - row) * step
            mine = hits[hits["subject"] == subject]
            _glass(canvas, (0.09, bottom, 0.81, step * 0.97), _image(mine, grids[subject]), top)
            canvas.text(0.01, bottom + step / 2, f"sub-{subject}\nn = {len(mine)}", size=8)
        _score_bar(canvas, (0.92, 0.2, 0.015, 0.5), top)
    else:
        paint = {
            subject: _painted(hits[hits["subject"] == subject], grids[subject],
                              lambda row: _ramp()(float(row["score"]) / top))
            for subject in shown
        }  # fmt: skip
        canvas = _slices(paint, {s: grids[s] for s in shown}, right=0.9)
        _score_bar(canvas, (0.92, 0.2, 0.015, 0.5), top)
    _title(canvas, f"{analysis}: {model} in {plural(len(hits), 'significant voxel')}")
    left_out = len(subjects) - len(shown)
    how = (
        "each pixel shows the highest value along the line of sight. " + _OUTLINE
        if in_template
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


def _voxel_best(
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
    _title(canvas, f"{analysis}: best trained model in {plural(len(here), 'significant voxel')}")
    compared = _compared(results, analysis)
    _legend(canvas, [(m, palette.colour(m), int(counts.get(m, 0))) for m in models], compared)
    left_out = len(subjects) - len(shown)
    caption = (
        _best_caption(results, analysis, len(here), "voxel", compared, "A dot")
        + "Axial slices through the significant voxels; z in mm, pale grey: tested voxels; left "
        "of the picture is left of the brain as the affine says."
        + (f" {plural(left_out, 'further subject')} not shown." if left_out else "")
    )
    alt = "Axial slices with voxels coloured by best model: " + listed(
        [f"{m} {int(counts.get(m, 0))}" for m in models]
    )
    return finish(canvas, folder, f"{analysis}__map_best", caption, alt + ".")


def _ordered_sites(results: Results, analysis: str, model: str, folder: Path) -> Figure:
    """Sites without coordinates in the order of their scores."""
    import matplotlib.pyplot as plt

    sites = results.sites_of(analysis, model).dropna(subset=["score"])
    noun = NOUN[results.kind_of(analysis)]
    means = sites.groupby("site")["score"].mean().sort_values(ascending=False)
    rank = {site: place for place, site in enumerate(means.index)}
    places = sites["site"].map(rank).to_numpy(float)
    hit = sites["significant"].to_numpy(bool)
    canvas, axes = plt.subplots(figsize=(FULL_WIDTH, 3.0), layout="constrained")
    axes.scatter(places[~hit], sites["score"][~hit], s=6, color="#b8b8b8", lw=0, rasterized=True,
                 label="not significant")  # fmt: skip
    axes.scatter(places[hit], sites["score"][hit], s=9, color="#0072B2", alpha=0.7, lw=0,
                 rasterized=True, label="significant")  # fmt: skip
    axes.plot(range(len(means)), means.to_numpy(), color=INK, lw=1.2, label="mean over subjects")
    axes.axhline(0, color=MUTED, lw=0.8, ls=":")
    axes.set_xlabel(f"{capital(noun)}s, ordered by mean score")
    axes.set_ylabel("Held-out Pearson r")
    axes.set_title(
        f"{analysis}: {model} in {plural(len(means), noun)}, "
        f"{int(hit.sum()):,} of {len(sites):,} significant"
    )
    axes.legend(loc="upper right", markerscale=2)
    subjects = plural(sites["subject"].nunique(), "subject")
    highest = [f"{site} ({value:.2f})" for site, value in means.head(5).items()]
    caption = (
        f"The {noun}s of {analysis} have no coordinates in these results, so they are ordered by "
        f"score and not drawn on a brain. Each dot is one {noun} of one of "
        f"{subjects} ({len(sites)} in all). {capital(tested_how(results.test(analysis)))}. "
        f"The highest: {listed(highest)}."
    )
    alt = (
        f"Scores of {model} in {len(means)} {noun}s from highest to lowest; mean over subjects "
        f"from {means.max():.3f} to {means.min():.3f}."
    )
    return finish(canvas, folder, f"{analysis}__map_scores", caption, alt)


def _glass(
    canvas: Any, place: tuple[float, float, float, float], image: Any = None, top: float = 1.0
) -> Any:
    """Draw a glass brain in a part of a figure, and an image on it if there is one."""
    from nilearn import plotting

    return plotting.plot_glass_brain(
        image,
        figure=canvas,
        axes=place,
        display_mode="lyrz",
        colorbar=False,
        cmap=_ramp(),
        vmin=0,
        vmax=top,
        threshold=1e-6,
        plot_abs=True,
        black_bg=False,
    )


def _markers(
    display: Any, sites: pd.DataFrame, colours: Sequence[Any], size: float, edge: str = "none"
) -> None:
    """Add markers to each view of a glass brain that shows their hemisphere."""
    if len(sites):
        display.add_markers(
            sites[["x", "y", "z"]].to_numpy(float), np.array(list(colours)), size,
            edgecolors=edge, linewidths=0.9, alpha=0.85,
        )  # fmt: skip


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


def _in_template(sites: pd.DataFrame) -> bool:
    """Tell whether nearly all coordinates fit into the MNI152 brain and span a good part of it."""
    xyz = sites[["x", "y", "z"]].to_numpy(float)
    xyz = xyz[np.isfinite(xyz).all(axis=1)]
    if not len(xyz):
        return False
    inside = ((xyz >= _MNI_LOW) & (xyz <= _MNI_HIGH)).all(axis=1).mean() >= 0.95
    centred = np.abs(np.median(xyz[:, 0])) < 40
    return bool(inside and centred and (np.ptp(xyz, axis=0) > 30).all())


def _ramp() -> Any:
    """Colour map of scores: visible on white and on near-black."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    colours = matplotlib.colormaps["plasma"](np.linspace(0.12, 0.9, 64))
    return LinearSegmentedColormap.from_list("scores", colours)


def _upper(scores: pd.Series) -> float:
    """Upper end of the colour scale: the highest score, rounded up to 0.05."""
    return max(0.05, float(np.ceil(scores.max() * 20) / 20))


def _score_bar(canvas: Any, place: tuple[float, float, float, float], top: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes = canvas.add_axes(place)
    bar = canvas.colorbar(ScalarMappable(Normalize(0, top), _ramp()), cax=axes)
    bar.set_label("Held-out Pearson r", size=8)
    bar.outline.set_visible(False)


def _title(canvas: Any, text: str) -> None:
    height = canvas.get_figheight()
    canvas.text(0.01, 1 - 0.08 / height, text, va="top", weight="bold", size=10)


def _legend(canvas: Any, entries: Sequence[tuple[str, str, int]], compared: str) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", ls="none", ms=6, color=colour, label=f"{name} ({count})")
        for name, colour, count in entries
    ]
    if compared:
        handles.append(Line2D([], [], marker="o", ls="none", ms=6, markerfacecolor="none",
                              markeredgecolor=INK, label=compared))  # fmt: skip
    canvas.legend(handles=handles, loc="lower center", ncols=min(4, len(handles)), frameon=False,
                  columnspacing=1.2, handletextpad=0.2)  # fmt: skip


def _compared(results: Results, analysis: str) -> str:
    """Say what the headline comparison shows, empty without comparisons."""
    comparison = headline_comparison(results, analysis)
    if comparison is None or results.comparisons.empty:
        return ""
    return f"{comparison[1]} > {comparison[2]}"


def _best_caption(
    results: Results, analysis: str, count: int, noun: str, compared: str, mark: str
) -> str:
    return (
        f"The trained model with the highest held-out r at each of {plural(count, noun)} that at "
        f"least one trained model predicts significantly ({tested_how(results.test(analysis))}); "
        "counts in brackets. The best model need not be significantly better than the next"
        + (f". {mark} marks where {compared} is significant in the model comparison" if compared
           else "")
        + ". "
    )  # fmt: skip


def _missing_places(sites: pd.DataFrame, noun: str) -> str:
    count = int((~np.isfinite(sites[["x", "y", "z"]].astype(float)).all(axis=1)).sum())
    if not count:
        return ""
    return f"{plural(count, noun)} without coordinates {'is' if count == 1 else 'are'} not shown. "
