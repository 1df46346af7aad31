"""Colours of values of either sign."""

from __future__ import annotations

from typing import Any

import numpy as np

_LOW, _ZERO, _HIGH = "#1f5fbf", "#b4b4b4", "#cc4a0a"

POSITIVE, NEGATIVE = _HIGH, _LOW
"""Colours of the two signs."""


def signed_ramp() -> Any:
    """Colour map from blue over grey to orange: visible on white and on near-black."""
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("signed", [_LOW, _ZERO, _HIGH])
    return ramp.with_extremes(bad=(0, 0, 0, 0))


def signed_norm(*values: Any, least: float = 0.05) -> Any:
    """Scale from -top to top of all finite values; top is rounded up to `least`."""
    from matplotlib.colors import Normalize

    top = least
    for part in values:
        known = np.abs(np.asarray(part, float))
        known = known[np.isfinite(known)]
        if known.size:
            top = max(top, float(np.ceil(known.max() / least - 1e-9) * least))
    return Normalize(-top, top)


def signed_bar(
    canvas: Any, place: tuple[float, float, float, float], norm: Any, label: str,
    orientation: str = "vertical",
) -> None:  # fmt: skip
    """Draw the scale in a part of a figure."""
    from matplotlib.cm import ScalarMappable

    bar = canvas.colorbar(
        ScalarMappable(norm, signed_ramp()), cax=canvas.add_axes(place), orientation=orientation
    )
    bar.set_label(label, size=8)
    bar.outline.set_visible(False)
    bar.locator = _locator()
    bar.update_ticks()


def _locator() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, symmetric=True)
