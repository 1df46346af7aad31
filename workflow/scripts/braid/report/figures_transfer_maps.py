"""Maps of transfers: the score across two analyses beside the score within one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.config import transfer_models
from braid.report.figure import Absent, Figure, finish
from braid.report.figures_voxels import MOST_SUBJECTS
from braid.report.further import sites_of_transfer
from braid.report.glass import map_title
from braid.report.results import Results
from braid.report.signed import NEGATIVE, POSITIVE, signed_bar, signed_norm
from braid.report.site_maps import (
    GLASS,
    Column,
    draw_cell,
    drawn_how,
    how_drawn,
    site_values,
)
from braid.report.style import FULL_WIDTH
from braid.report.words import plural, several, tested_how

SIGNED = ("sign_loo", "dim_sign")
"""Options for tuning of opposite sign that choose a sign, the first to be shown first."""

# inches: labels of rows, scale, head and foot of the figure, widest map
_LABEL, _SCALE, _HEAD, _FOOT, _WIDEST = 0.74, 0.86, 0.62, 0.42, 2.6


def transfer_map(results: Results, name: str, folder: Path) -> Figure | Absent:
    """Draw the scores of the first model of a transfer beside its scores within the target."""
    import matplotlib.pyplot as plt

    entry = results.further("transfers")[name]
    model = transfer_models(entry)[0]
    tuning = (entry.get("tuning") or ["none"])[0]
    sites = sites_of_transfer(results, name, model, tuning)
    if not np.isfinite(pd.to_numeric(sites["score"], errors="coerce")).any():
        return Absent(
            f"No site of the transfer {name} has a score with {model}, so there is no map."
        )
    sites = with_places(results, entry["target"], sites)
    way = how_drawn(results, entry["target"], sites)
    if isinstance(way, Absent):
        return way
    columns = _columns(results, name, model, sites, entry)
    subjects = sorted(set(sites["subject"]))
    shown = subjects[:MOST_SUBJECTS]
    voxels = results.kind_of(entry["target"]) == "bold"
    rows = [[subject] for subject in shown] if voxels else [subjects]
    drawn = shown if voxels else subjects
    width = min((FULL_WIDTH - _LABEL - _SCALE) / len(columns), _WIDEST)
    row, across = 0.84 * width, _LABEL + width * len(columns) + _SCALE
    height = _HEAD + _FOOT * (len(columns) > 2) + row * len(rows)
    canvas = plt.figure(figsize=(across, height))
    step, start = width / across, _LABEL / across
    for number, members in enumerate(rows):
        low = (_FOOT * (len(columns) > 2) + row * (len(rows) - 1 - number)) / height
        for place, column in enumerate(columns):
            cell = (start + place * step, low, step * 0.97, 0.97 * row / height)
            draw_cell(canvas, cell, column, members, way, voxels)
        label = _label(sites, members)
        canvas.text(0.08 / across, low + row / 2 / height, label, size=8, va="center")
    for place, column in enumerate(columns):
        middle = start + (place + 0.485) * step
        canvas.text(middle, 1 - 0.5 / height, column.title, size=8.5, ha="center", weight="bold")
    end = start + len(columns) * step
    bar = end + 0.12 / across, 0.25, 0.12 / across, 0.5
    signed_bar(canvas, bar, columns[0].norm, "Pearson r")
    if len(columns) > 2:
        _sign_legend(canvas, end)
    hits = int(sites[sites["subject"].isin(drawn)]["significant"].sum())
    noun = results.noun_of(entry["target"])
    map_title(canvas, f"Transfer {name}: {model}")
    caption = (
        f"Pearson r of {model} with the responses of {entry['target']} at the "
        f"{_count(sites, drawn, noun)}. Left: trained on {entry['source']} alone"
        + (f", {tuning} ({sites['worth'].iloc[0]})" if tuning != "none" else "")
        + f"; next to it: fitted within {entry['target']}, held out; blue is below 0 in both. "
        f"Every {noun} with a score is drawn; n counts those that are significant across the two "
        f"({tested_how(results.test(entry['source']))}). "
        + (_sign_caption(columns[2], results, name, model) if len(columns) > 2 else "")
        + drawn_how(way, averaged=False)
        + (
            f" {plural(len(subjects) - len(shown), 'further subject')} not shown."
            if voxels and len(subjects) > len(shown)
            else ""
        )
    )
    alt = (
        f"{'Glass brains' if way == GLASS else 'Maps'} with {several(noun)} coloured by the score "
        f"of {model} from {entry['source']} to {entry['target']}, {hits:,} of them significant, "
        f"beside the score within {entry['target']}."
    )
    return finish(canvas, folder, f"{name}__transfer_map", caption, alt)


def with_places(results: Results, analysis: str, sites: pd.DataFrame) -> pd.DataFrame:
    """Sites with their `x y z`, taken from the table of all sites where they have none."""
    if {"x", "y", "z"} <= set(sites.columns):
        return sites
    known = results.sites_of(analysis).drop_duplicates(["subject", "site"])
    return sites.merge(
        known[["subject", "site", "x", "y", "z"]], on=["subject", "site"], how="left"
    )


def _columns(
    results: Results, name: str, model: str, sites: pd.DataFrame, entry: Any
) -> list[Column]:
    """Across, within, and the sign where it was corrected for."""
    across, within = (
        pd.to_numeric(sites[key], errors="coerce") for key in ("score", "score_within")
    )
    norm = signed_norm(across, within)
    columns = [
        Column(f"{entry['source']} → {entry['target']}", site_values(sites, across), norm),
        Column(f"within {entry['target']}", site_values(sites, within), norm),
    ]
    for tuning in SIGNED:
        own = sites_of_transfer(results, name, model, tuning)
        if len(own) and "sign" in own:
            own = with_places(results, entry["target"], own)
            sign = pd.to_numeric(own["sign"], errors="coerce").where(own["significant"])
            if sign.notna().any():
                columns.append(
                    Column(f"sign, {tuning}", site_values(own, sign), signed_norm(least=1.0))
                )
            break
    return columns


def _sign_caption(column: Column, results: Results, name: str, model: str) -> str:
    """Say what the map of signs shows."""
    tuning = column.title.rpartition(" ")[2]
    own = sites_of_transfer(results, name, model, tuning)
    sign = pd.to_numeric(own["sign"], errors="coerce")[own["significant"].to_numpy(bool)]
    return (
        f"Right: the sign of the raw score where the score {tuning} ({own['worth'].iloc[0]}) is "
        f"significant, {int((sign > 0).sum()):,} above 0 and {int((sign < 0).sum()):,} below it. "
    )


def _sign_legend(canvas: Any, end: float) -> None:
    """Explain the two colours of signs, below."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="none", marker="s", ms=6, color=colour, label=label)
        for colour, label in ((POSITIVE, "same sign"), (NEGATIVE, "opposite sign"))
    ]
    canvas.legend(handles=handles, loc="lower right", ncols=2, bbox_to_anchor=(end, 0))


def _label(sites: pd.DataFrame, members: list[str]) -> str:
    """Name the subjects of a row, and count their significant sites."""
    own = sites[sites["subject"].isin(members)]
    who = f"sub-{members[0]}" if len(members) == 1 else f"{len(members)} subjects"
    return f"{who}\nn = {int(own['significant'].sum()):,}"


def _count(sites: pd.DataFrame, members: list[str], noun: str) -> str:
    """Count the sites that are drawn, and their subjects."""
    own = sites[sites["subject"].isin(members)]
    scored = int(np.isfinite(pd.to_numeric(own["score"], errors="coerce")).sum())
    return f"{plural(scored, noun)} of {plural(len(members), 'subject')}"
