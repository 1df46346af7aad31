"""Colours, sizes and the drawing style that all figures share."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from braid.config import base_of
from braid.report.words import is_untrained

# Okabe and Ito's colours without yellow and black, then Tol's "muted" for longer lists:
# distinguishable with the common colour vision deficiencies, readable on white and near-black
HUES = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#882255",
    "#999933",
    "#332288",
    "#44AA99",
    "#AA4499",
    "#117733",
)
INK = "#202020"
MUTED = "#707070"
FAINT = "#c8c8c8"
PAPER = "#ffffff"
FULL_WIDTH = 8.2
"""Width of a full figure, inches; 96 CSS pixels each on the page."""
DPI = 132


@dataclass(frozen=True)
class Palette:
    """One colour per model, the same in every figure of a report.

    Attributes
    ----------
    hues : dict of str to str
        Hexadecimal colour per trained model or combination, in the order of the config.
    """

    hues: dict[str, str]

    def colour(self, model: str) -> str:
        """Colour of a model; an untrained twin has a lighter tint of its model's colour."""
        base = self.hues.get(base_of(model), MUTED)
        return tint(base, 0.55) if is_untrained(model) else base


def make_palette(models: Iterable[str]) -> Palette:
    """Give each trained model of a study its colour, in order of first appearance."""
    names = list(dict.fromkeys(base_of(model) for model in models))
    return Palette({name: HUES[i % len(HUES)] for i, name in enumerate(names)})


def tint(colour: str, share: float) -> str:
    """Mix a hexadecimal colour with white.

    Parameters
    ----------
    colour : str
        `#rrggbb`.
    share : float
        Share of white, 0 to 1.
    """
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)


@contextmanager
def drawing_style() -> Iterator[None]:
    """Set matplotlib's parameters for the figures of a report, headless, and restore them.

    What is in memory before is not looked through for garbage meanwhile, as nilearn does for each
    map it draws.
    """
    import matplotlib

    matplotlib.use("Agg")
    parameters: dict[Any, Any] = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "hatch.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "svg.fonttype": "none",
        "svg.hashsalt": "braid",  # the same figure gives the same file
    }
    gc.freeze()
    try:
        with matplotlib.rc_context(parameters):
            yield
    finally:
        gc.unfreeze()


def panel_grid(count: int) -> tuple[Any, list[Any]]:
    """Make a figure of square panels, at most four to a row, and give it with their axes."""
    import matplotlib.pyplot as plt

    columns = count if count <= 4 else 3
    rows = -(-count // columns)
    side = FULL_WIDTH / max(columns, 3)
    canvas, grid = plt.subplots(
        rows, columns, figsize=(side * columns, 0.35 + (side + 0.2) * rows), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axes in list(grid.flat)[count:]:
        axes.set_axis_off()
    return canvas, list(grid.flat)[:count]


def heading(canvas: Any, text: str) -> None:
    """Write the title of a figure of several panels."""
    canvas.suptitle(text, x=0.01, ha="left", weight="bold", size=10)
