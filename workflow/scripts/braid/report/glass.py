"""Drawing on a brain: the glass brain, its markers, and what all maps share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from braid.report.style import INK
from braid.report.words import plural

# bounding box of the MNI152 brain with a margin, mm
_MNI_LOW, _MNI_HIGH = np.array([-80.0, -115.0, -75.0]), np.array([80.0, 85.0, 95.0])
OUTLINE = (
    "The outline is that of the MNI152 template; coordinates are drawn as the data set gives "
    "them, so it is for orientation only where they are in another space."
)


def glass_brain(
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
        cmap=score_ramp(),
        vmin=0,
        vmax=top,
        threshold=1e-6,
        plot_abs=True,
        black_bg=False,
    )


def add_markers(
    display: Any,
    sites: pd.DataFrame,
    colours: Sequence[Any],
    size: float,
    edge: str = "none",
    alpha: float | None = 0.85,
) -> None:
    """Add markers to each view of a glass brain that shows their hemisphere.

    Colours keep an opacity of their own only where `alpha` is None.
    """
    if len(sites):
        display.add_markers(
            sites[["x", "y", "z"]].to_numpy(float), np.array(list(colours)), size,
            edgecolors=edge, linewidths=0.9, alpha=alpha,
        )  # fmt: skip


def in_template(sites: pd.DataFrame) -> bool:
    """Tell whether nearly all coordinates fit into the MNI152 brain and span a good part of it."""
    xyz = sites[["x", "y", "z"]].to_numpy(float)
    xyz = xyz[np.isfinite(xyz).all(axis=1)]
    if not len(xyz):
        return False
    inside = ((xyz >= _MNI_LOW) & (xyz <= _MNI_HIGH)).all(axis=1).mean() >= 0.95
    centred = np.abs(np.median(xyz[:, 0])) < 40
    return bool(inside and centred and (np.ptp(xyz, axis=0) > 30).all())


def score_ramp() -> Any:
    """Colour map of scores: visible on white and on near-black."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    colours = matplotlib.colormaps["plasma"](np.linspace(0.12, 0.9, 64))
    return LinearSegmentedColormap.from_list("scores", colours)


def upper_end(scores: pd.Series) -> float:
    """Upper end of the colour scale: the highest score, rounded up to 0.05."""
    return max(0.05, float(np.ceil(scores.max() * 20) / 20))


def score_bar(canvas: Any, place: tuple[float, float, float, float], top: float) -> None:
    """Draw the colour scale of scores in a part of a figure."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes = canvas.add_axes(place)
    bar = canvas.colorbar(ScalarMappable(Normalize(0, top), score_ramp()), cax=axes)
    bar.set_label("Held-out Pearson r", size=8)
    bar.outline.set_visible(False)


def map_title(canvas: Any, text: str) -> None:
    """Write the title of a map."""
    height = canvas.get_figheight()
    canvas.text(0.01, 1 - 0.08 / height, text, va="top", weight="bold", size=10)


def map_legend(canvas: Any, entries: Sequence[tuple[str, str, int]], compared: str) -> None:
    """Explain colours (name, colour, count) and, if it means something, the ring."""
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


def missing_places(sites: pd.DataFrame, noun: str) -> str:
    """Say how many sites have no coordinates; empty if all have."""
    count = int((~np.isfinite(sites[["x", "y", "z"]].astype(float)).all(axis=1)).sum())
    if not count:
        return ""
    return f"{plural(count, noun)} without coordinates {'is' if count == 1 else 'are'} not shown. "
