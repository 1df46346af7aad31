"""Maps of sites: on a glass brain, on a surface, or in order where they have no coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from braid.report.figure import Absent, Figure, finish
from braid.report.figures_surfaces import surface_best, surface_scores
from braid.report.figures_voxels import voxel_best, voxel_scores
from braid.report.fits import grids_of
from braid.report.glass import (
    OUTLINE,
    add_markers,
    glass_brain,
    map_legend,
    map_title,
    missing_places,
    score_bar,
    score_ramp,
    upper_end,
)
from braid.report.results import Results
from braid.report.style import FULL_WIDTH, INK, MUTED, Palette
from braid.report.summary import best_caption, compared_models, headline_comparison
from braid.report.words import capital, is_untrained, listed, plural, several, tested_how


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
    noun = results.noun_of(analysis)
    if not sites["significant"].any():
        return Absent(
            f"No {noun} of {analysis} is significant for {model} "
            f"({tested_how(results.test(analysis))}), so there is no map of scores."
        )
    if results.surface(analysis):
        return surface_scores(results, analysis, model, folder)
    if results.kind_of(analysis) == "bold" and (grids := grids_of(results, analysis)):
        return voxel_scores(results, analysis, model, grids, folder)
    placed = _placed(results, sites)
    if placed.empty:
        return _ordered_sites(results, analysis, model, folder)
    return _marker_scores(results, analysis, model, placed, folder)


def map_best(results: Results, analysis: str, palette: Palette, folder: Path) -> Figure | Absent:
    """Draw which trained model predicts each site best, where it is significant."""
    models = [m for m in results.models(analysis) if not is_untrained(m)]
    noun = results.noun_of(analysis)
    if len(models) < 2:
        return Absent(f"{analysis} has one trained model, so there is no best one to map.")
    best = best_models(results, analysis)
    if best.empty:
        return Absent(f"No {noun} of {analysis} is significant for any trained model.")
    if results.surface(analysis):
        return surface_best(results, analysis, best, models, palette, folder)
    if results.kind_of(analysis) == "bold" and (grids := grids_of(results, analysis)):
        return voxel_best(results, analysis, best, models, grids, palette, folder)
    placed = _placed(results, best)
    if placed.empty:
        return Absent(
            f"The {several(noun)} of {analysis} have no coordinates, so the best model of each "
            "cannot be mapped; the table of the strongest sites lists it."
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
    sites = results.trained_sites_of(analysis)
    hits = sites[sites["significant"]]
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
    top = upper_end(hits["score"])
    canvas = plt.figure(figsize=(FULL_WIDTH, 2.2))
    display = glass_brain(canvas, (0.0, 0.0, 0.9, 0.86))
    add_markers(display, rest, [to_rgba("#a0a0a0")] * len(rest), 7)
    colours = [score_ramp()(value) for value in hits["score"].to_numpy(float) / top]
    add_markers(display, hits, colours, 30)
    score_bar(canvas, (0.92, 0.15, 0.015, 0.6), top)
    noun = results.noun_of(analysis)
    map_title(canvas, f"{analysis}: {model} at {len(hits)} of {len(placed)} {several(noun)}")
    averaged = results.kind_of(analysis) == "parcels"
    caption = (
        f"Held-out Pearson r of {model} at {plural(len(hits), f'significant {noun}')} (coloured) "
        f"among {len(placed)} with coordinates (grey: not significant) of "
        f"{plural(len(results.subjects(analysis)), 'subject')}"
        + (", mean over subjects, significant in at least one" if averaged else "")
        + f". {capital(tested_how(results.test(analysis)))}. "
        + missing_places(results.sites_of(analysis, model), noun)
        + OUTLINE
    )
    alt = (
        "Glass brain from the left, the front, the right and above with "
        f"{len(placed)} {several(noun)}; {len(hits)} are coloured by the score of {model}, at most "
        f"{hits['score'].max():.3f}."
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
    display = glass_brain(canvas, (0.0, 0.17, 1.0, 0.72))
    for ringed, part in placed.groupby("combined"):
        colours = [to_rgba(palette.colour(model)) for model in part["model"]]
        add_markers(display, part, colours, 34, INK if ringed else "none")
    noun = results.noun_of(analysis)
    map_title(canvas, f"{analysis}: best trained model at {plural(len(placed), noun)}")
    counts = placed["model"].value_counts()
    compared = compared_models(results, analysis)
    map_legend(canvas, [(m, palette.colour(m), int(counts.get(m, 0))) for m in models], compared)
    caption = best_caption(results, analysis, len(placed), noun, compared, "A ring") + OUTLINE
    alt = f"Glass brain with {plural(len(placed), noun)} coloured by best model: " + listed(
        [f"{m} {int(counts.get(m, 0))}" for m in models]
    )
    return finish(canvas, folder, f"{analysis}__map_best", caption, alt + ".")


def _ordered_sites(results: Results, analysis: str, model: str, folder: Path) -> Figure:
    """Sites without coordinates in the order of their scores."""
    import matplotlib.pyplot as plt

    sites = results.sites_of(analysis, model).dropna(subset=["score"])
    noun = results.noun_of(analysis)
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
        f"The {several(noun)} of {analysis} have no coordinates in these results, so they are "
        f"ordered by score and not drawn on a brain. Each dot is one {noun} of one of "
        f"{subjects} ({len(sites)} in all). {capital(tested_how(results.test(analysis)))}. "
        f"The highest: {listed(highest)}."
    )
    alt = (
        f"Scores of {model} in {len(means)} {several(noun)} from highest to lowest; mean over "
        f"subjects from {means.max():.3f} to {means.min():.3f}."
    )
    return finish(canvas, folder, f"{analysis}__map_scores", caption, alt)
