"""Figures of further analyses: scores across analyses against scores within one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from braid.config import transfer_models
from braid.report.figure import Absent, Figure, finish
from braid.report.further import points_of_transfer
from braid.report.results import Results
from braid.report.style import MUTED, Palette, heading, panel_grid
from braid.report.words import listed, plural


def transfer_scatter(
    results: Results, name: str, palette: Palette, folder: Path
) -> Figure | Absent:
    """Draw the scores of one transfer against those within its target, a panel per model."""
    entry = results.further("transfers")[name]
    every = {model: points_of_transfer(results, name, model) for model in transfer_models(entry)}
    points = {model: part for model, part in every.items() if len(part)}
    if not points:
        return Absent(f"No site of the transfer {name} has a score, so there is no figure of it.")
    canvas, grid = panel_grid(len(points))
    noun = results.noun_of(entry["target"])
    limits = _limits(pd.concat(points.values()))
    labels = f"r within {entry['target']}", f"r from {entry['source']}"
    counts = []
    for axes, (model, part) in zip(grid, points.items(), strict=True):
        counts.append(_one_model(axes, model, part, palette, noun))
        axes.plot(limits, limits, color=MUTED, lw=0.8, ls="--", zorder=0)
        axes.set(xlim=limits, ylim=limits, box_aspect=1)
        axes.locator_params(nbins=5)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
    heading(canvas, f"Transfer {name}")
    test = results.test(entry["source"])
    caption = (
        f"Transfer {name}, one dot per {noun}. Vertical: Pearson r with the responses of "
        f"{entry['target']} of models that were trained on {entry['source']} alone. Horizontal: "
        f"held-out r of the models fitted within {entry['target']}. Coloured: significant across "
        f"the two (q at most {test.get('fdr', 0.05):g} over the sites of each subject and model). "
        "Grey: not significant. Above each panel: significant of all. Diagonal: equal scores. "
        + " ".join(counts)
    )
    alt = (
        f"Scatter plots of the score from {entry['source']} against the score within "
        f"{entry['target']} for {listed(list(points))}. {' '.join(counts)}"
    )
    return finish(canvas, folder, f"{name}__transfer", caption, alt)


def _one_model(axes: Any, model: str, part: pd.DataFrame, palette: Palette, noun: str) -> str:
    """Draw the sites of one model; return its count as a sentence."""
    hit = part["significant"].to_numpy(bool)
    across, within = (part[name].to_numpy(float) for name in ("score", "score_within"))
    axes.scatter(within[~hit], across[~hit], s=7, color="#b0b0b0", lw=0, alpha=0.8, rasterized=True)
    axes.scatter(within[hit], across[hit], s=14, color=palette.colour(model), lw=0, rasterized=True)
    axes.set_title(f"{model}\n{int(hit.sum()):,} of {len(part):,}", size=9)
    return f"{model}: {int(hit.sum()):,} of {plural(len(part), noun)} significant."


def _limits(points: pd.DataFrame) -> tuple[float, float]:
    """Limits that both axes of all panels share, so that models can be compared."""
    values = points[["score", "score_within"]].to_numpy(float)
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low or 1)
    return low - margin, high + margin
