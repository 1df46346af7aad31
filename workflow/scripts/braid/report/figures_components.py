"""Components on the brain, with the words and the pictures at their ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from braid.report.figure import Absent, Figure, finish
from braid.report.glass import map_title
from braid.report.pictures import apart, frames_of, thumbnails
from braid.report.results import Results
from braid.report.signed import signed_bar, signed_norm
from braid.report.site_maps import Column, Place, draw_cell, drawn_how, how_drawn, site_values
from braid.report.style import FULL_WIDTH, MUTED
from braid.report.words import plural, several

MOST_COMPONENTS = 3
"""Components of each direction that are drawn."""

SIDES = ("language", "vision")

_PICTURES, _TEXTS = 4, 5
"""Units at each end that are shown, with pictures and without."""
_LETTER = 0.061
"""Mean width of a letter, inches."""
_WIDTH = 2.62
"""Width of a map, inches."""
_CELL, _HEAD, _FOOT = 2.35, 0.62, 0.62  # inches: height of the maps, of what is above and below
_LEVEL = 0.05


@dataclass(frozen=True)
class Drawn:
    """One component to draw.

    Attributes
    ----------
    name : str
        Analysis of components in the config.
    title, about : str
        Heading, and a sentence on what is drawn.
    analysis : str
        Whose sites they are, and whose stimuli the units are of.
    number : int
        Of the component, from 1.
    stem : str
        Of the files.
    columns : list of Column
        Maps of the projections.
    units : pandas.DataFrame or None
        Units at its ends.
    other : tuple of str and pandas.DataFrame, optional
        The other analysis, and the units of its stimuli at the same ends.
    """

    name: str
    title: str
    about: str
    analysis: str
    number: int
    stem: str
    columns: list[Column]
    units: pd.DataFrame | None
    other: tuple[str, pd.DataFrame] | None = None


Job = tuple[str, str, Callable[[], Figure | Absent]]


def component_jobs(results: Results, folder: Path) -> list[Job]:
    """List what is drawn of plain and of shared components: name, figure and how to draw it."""
    jobs: list[Job] = []
    for name, entry in results.further("components").items():
        for number in drawn_numbers(results.components.get(name)):
            job = partial(_plain, results, name, entry, number, folder)
            jobs.append((name, f"component_{number}", job))
    for name, entry in results.further("shared_components").items():
        table = results.shared.get(name)
        if table is None:
            continue
        for side in SIDES:
            for number in drawn_numbers(table[table["direction"] == side]):
                job = partial(_shared, results, name, entry, side, number, folder)
                jobs.append((name, f"shared_{side}_{number}", job))
    return jobs


def drawn_numbers(table: pd.DataFrame | None) -> list[int]:
    """Numbers of the components that are drawn: the significant ones, else the first."""
    if table is None or table.empty:
        return []
    hit = table["significant"] if "significant" in table else table["p"].astype(float) <= _LEVEL
    found = table.loc[hit.to_numpy(bool), "component"].astype(int).tolist()
    return (found or table["component"].astype(int).tolist()[:1])[:MOST_COMPONENTS]


def _plain(
    results: Results, name: str, entry: Mapping[str, Any], number: int, folder: Path
) -> Figure | Absent:
    """Draw one component of one analysis."""
    arrays = results.component_arrays("components", name, "components")
    if arrays is None:
        return Absent(f"There are no projections of the components {name}, so there is no map.")
    row = _row(results.components[name], number)
    analysis = str(entry["analysis"])
    about = (
        f"Projections of the weights of {entry['model']} in {analysis} on component {number} of "
        f"{name} ({100 * row['share']:.1f} % of their variance, p = {row['p']:.2g})"
    )
    return _draw(
        results,
        Drawn(
            name, f"{name}: component {number}, {100 * row['share']:.0f} % of the variance",
            about, analysis, number, f"{name}__component_{number}",
            [_column(arrays, "projection", number, analysis)],
            results.component_units.get(name),
        ),
        folder,
    )  # fmt: skip


def _shared(
    results: Results, name: str, entry: Mapping[str, Any], side: str, number: int, folder: Path
) -> Figure | Absent:
    """Draw one shared component: the projections of both analyses' weights."""
    arrays = results.component_arrays("shared_components", name, side)
    if arrays is None:
        return Absent(
            f"There are no projections of the {side} components of {name}, so there is no map."
        )
    table = results.shared[name]
    row = _row(table[table["direction"] == side], number)
    other = str(entry[SIDES[1 - SIDES.index(side)]])
    own = str(entry[side])
    verdict = "significant" if row["significant"] else "not significant"
    about = (
        f"Projections of the weights of {own} (left) and of {other} (right) on component {number} "
        f"of the {side} weights of {name}; r = {row['r']:.2f} over sites, q = {row['q']:.2g}, "
        f"{verdict}"
    )
    return _draw(
        results,
        Drawn(
            name, f"{name}: {side} component {number}, r = {row['r']:.2f} over sites",
            about, own, number, f"{name}__shared_{side}_{number}",
            [
                _column(arrays, "projection", number, own),
                _column(arrays, "projection_other", number, other),
            ],
            results.shared_units.get((name, side)),
            None if (units := results.shared_units.get((name, f"{side}_other"))) is None
            else (other, units),
        ),
        folder,
    )  # fmt: skip


def _row(table: pd.DataFrame, number: int) -> dict[str, Any]:
    """Row of one component."""
    row = table[table["component"].astype(int) == number].iloc[0].to_dict()
    return {str(key): value for key, value in row.items()}


def _column(arrays: Any, variable: str, number: int, title: str) -> Column:
    """Projections on one component in standard deviations over sites."""
    values = arrays[variable].sel(component=number).values.astype(float)
    spread = np.nanstd(values) if np.isfinite(values).any() else np.nan
    names = ("subject", "site", "x", "y", "z")
    missing = np.full(len(values), np.nan)
    sites = pd.DataFrame(
        {key: arrays[key].values if key in arrays.coords else missing for key in names}
    )
    sites["subject"] = sites["subject"].astype(str)
    scaled = values / spread if np.isfinite(spread) and spread > 0 else missing
    return Column(title, site_values(sites, scaled), signed_norm(least=2.5))


def _draw(results: Results, drawn: Drawn, folder: Path) -> Figure | Absent:
    """Draw maps of the projections, and beside them the ends of the component."""
    import matplotlib.pyplot as plt

    values = drawn.columns[0].values
    known = values[np.isfinite(values["value"])]
    noun = results.noun_of(drawn.analysis)
    way = how_drawn(results, drawn.analysis, known)
    if isinstance(way, Absent):
        return way
    right = 0.02 + len(drawn.columns) * _WIDTH / FULL_WIDTH
    ends, missing = _ends(results, drawn, int((0.995 - right) * FULL_WIDTH / _LETTER))
    height = _HEAD + _CELL + _FOOT
    canvas = plt.figure(figsize=(FULL_WIDTH, height))
    cell = _WIDTH / FULL_WIDTH
    subjects = sorted(set(known["subject"]))
    square = results.kind_of(drawn.analysis) == "bold"
    for place, column in enumerate(drawn.columns):
        left = 0.005 + place * cell
        draw_cell(canvas, (left, _FOOT / height, cell * 0.96, _CELL / height), column, subjects,
                  way, square)  # fmt: skip
        if len(drawn.columns) > 1:
            canvas.text(left + 0.48 * cell, 1 - 0.5 / height, column.title, size=8.5, ha="center",
                        weight="bold")  # fmt: skip
    middle = 0.005 + len(drawn.columns) * cell / 2
    signed_bar(canvas, (middle - 0.13, 0.42 / height, 0.26, 0.1 / height), drawn.columns[0].norm,
               "Projection (standard deviations over sites)", "horizontal")  # fmt: skip
    for number, end in enumerate(("top", "bottom")):
        part = (height - _HEAD + 0.2) / 2 / height
        low = 0.12 / height + (1 - number) * part
        _one_end(canvas, (right, low, 0.995 - right, part), end, ends[end])
    map_title(canvas, drawn.title)
    listing = " ".join(
        f"{end.capitalize()}: {'; '.join(unit.said for unit in ends[end])}."
        for end in ends
        if ends[end]
    )
    shown = any(unit.picture is not None for end in ends.values() for unit in end)
    scaled = "each map in its own standard deviations. " if len(drawn.columns) > 1 else ""
    clipped = "Colours end at 2.5 standard deviations. "
    caption = (
        f"{drawn.about}; {plural(len(known), noun)} of {plural(len(subjects), 'subject')}, drawn "
        f"over each other{'; ' + scaled if scaled else '. '}{clipped}"
        + drawn_how(way, averaged=True)
        + (
            " Right: the units of stimulus"
            + (
                f" of {drawn.analysis} and, taken into its features by the alignment, of "
                f"{drawn.other[0]},"
                if drawn.other
                else ""
            )
            + " with the largest (top) and the smallest (bottom) "
            "projections, the most extreme first; of moments of one scene, less than 4 s apart, "
            "the first is shown."
            + (" Pictures and words are ranked apart." if drawn.other else "")
            + " The sign of a component is arbitrary."
            if listing
            else " There is no table of the units at its ends."
        )
        + (
            " Pictures are single frames of the stimuli; mind the terms of the data set before "
            "you pass them on."
            if shown
            else ""
        )
        + (f" {missing}" if missing else "")
    )
    alt = (
        f"Maps of {several(noun)} coloured by their projection on component {drawn.number} of "
        f"{drawn.name}. {listing}"
    )
    return finish(canvas, folder, drawn.stem, caption, alt.strip(), photos=shown)


@dataclass(frozen=True)
class End:
    """A unit at an end of a component: its text, what is said of it, and its picture."""

    text: str
    where: str
    picture: np.ndarray | None

    @property
    def said(self) -> str:
        """Text and place in words."""
        return f"{self.text} ({self.where})" if self.text else self.where


def _ends(results: Results, drawn: Drawn, letters: int) -> tuple[dict[str, list[End]], str]:
    """Units at both ends, and a sentence on pictures that could not be read.

    `letters` is the longest text of a unit.
    """
    found: dict[str, list[End]] = {"top": [], "bottom": []}
    said = []
    own = [] if drawn.units is None else [(drawn.analysis, drawn.units)]
    for analysis, units in own + ([] if drawn.other is None else [drawn.other]):
        mine = units[units["component"].astype(int) == drawn.number]
        ends, missing = _ends_of(results, analysis, mine, letters)
        found = {end: found[end] + ends[end] for end in found}
        said.append(missing)
    return found, " ".join(filter(None, said))


def _ends_of(
    results: Results, analysis: str, units: pd.DataFrame, letters: int
) -> tuple[dict[str, list[End]], str]:
    """Units of one analysis at both ends of a component, and a sentence as above."""
    chosen = {
        end: apart(units[units["end"] == end].sort_values("rank", kind="stable"), _TEXTS)
        for end in ("top", "bottom")
    }
    every = pd.concat(chosen.values())
    frames = frames_of(results, analysis, every["unit"].astype(str))
    root = Path(results.config["datasets"][results.dataset_of(analysis)]["root"])
    pictures, missing = thumbnails(root, frames.values())
    several_films = every["stimulus"].nunique() > 1
    found = {
        end: [
            End(
                _text(row, letters),
                _where(row, several_films),
                pictures.get(frames.get(str(row["unit"]), ("", 0.0))),
            )
            for row in part.to_dict("records")
        ]
        for end, part in chosen.items()
    }
    return found, missing


def _text(row: Mapping[Any, Any], letters: int) -> str:
    """Text of a unit, its last words where it is long: these are the newest."""
    text = "" if pd.isna(row["text"]) else " ".join(str(row["text"]).split())
    if len(text) <= letters:
        return text
    short = text[2 - letters :]
    return "… " + (short.partition(" ")[2] or short)


def _where(row: Mapping[Any, Any], several_films: bool) -> str:
    """Stimulus and time of a unit."""
    parts = [] if pd.isna(row["time"]) else [f"{float(row['time']):.0f} s"]
    if not pd.isna(row["stimulus"]) and (several_films or not parts):
        parts.insert(0, PurePosixPath(str(row["stimulus"])).stem)
    return ", ".join(parts) or "n/a"


def _strip(
    canvas: Any, place: Place, pictures: Sequence[tuple[np.ndarray, str]], named: bool
) -> None:
    """Draw pictures in a row, and what they are called below them if that is asked for."""
    left, low, width, room = place
    tall = room * canvas.get_figheight()
    widest = max(picture.shape[1] / picture.shape[0] for picture, _ in pictures)
    step = min(width / len(pictures), 1.08 * widest * tall / FULL_WIDTH)
    for number, (picture, name) in enumerate(pictures):
        axes = canvas.add_axes((left + number * step, low, 0.96 * step, room), anchor="NW")
        axes.imshow(picture, rasterized=True)
        axes.set_axis_off()
        if named:
            axes.text(0, -0.05, name, size=6.5, color=MUTED, va="top", transform=axes.transAxes)


def _one_end(canvas: Any, place: Place, end: str, units: Sequence[End]) -> None:
    """Draw the pictures of some units in a row, and their texts below."""
    left, low, width, tall = place
    height = canvas.get_figheight()
    line = 0.155 / height
    top = low + tall - 0.06 / height
    canvas.text(left, top, end.capitalize(), size=8.5, weight="bold", va="top")
    top -= 1.25 * line
    texts = [unit for unit in units if unit.text]
    room = (0.62 if texts else 0.95) / height
    pictures = [(unit.picture, unit.where) for unit in units if unit.picture is not None]
    if pictures:
        _strip(canvas, (left, top - room, width, room), pictures[:_PICTURES], not texts)
        top -= room + 0.03 / height
    for unit in texts:
        if top - line < low:
            break
        canvas.text(left, top, unit.text, size=7.5, va="top")
        top -= line
    if not units:
        canvas.text(left, top, "n/a", size=7.5, color=MUTED, va="top")
