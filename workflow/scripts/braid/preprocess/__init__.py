"""From raw iEEG, BOLD or parcels to clean signals with a table of their targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.preprocess.bold import preprocess_bold
    from braid.preprocess.cleaned import EXCLUDED_COLUMNS, QUALITY_COLUMNS, Cleaned
    from braid.preprocess.defaults import BOLD, IEEG, PARCELS
    from braid.preprocess.ieeg import preprocess_ieeg
    from braid.preprocess.parcels import preprocess_parcels
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "bold": ("preprocess_bold",),
            "cleaned": ("EXCLUDED_COLUMNS", "QUALITY_COLUMNS", "Cleaned"),
            "defaults": ("BOLD", "IEEG", "PARCELS"),
            "ieeg": ("preprocess_ieeg",),
            "parcels": ("preprocess_parcels",),
        },
    )

__all__ = [
    "BOLD",
    "EXCLUDED_COLUMNS",
    "IEEG",
    "PARCELS",
    "QUALITY_COLUMNS",
    "Cleaned",
    "preprocess_bold",
    "preprocess_ieeg",
    "preprocess_parcels",
]
