"""Concepts: the dimensions that encoding weights of many sites share, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.concepts.components import COMPONENTS_COLUMNS, Components, weight_components
    from braid.concepts.units import UNITS_COLUMNS, extreme_units, spread_of
    from braid.concepts.weights import Member, common_layer
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "components": ("COMPONENTS_COLUMNS", "Components", "weight_components"),
            "units": ("UNITS_COLUMNS", "extreme_units", "spread_of"),
            "weights": ("Member", "common_layer"),
        },
    )

__all__ = [
    "COMPONENTS_COLUMNS",
    "UNITS_COLUMNS",
    "Components",
    "Member",
    "common_layer",
    "extreme_units",
    "spread_of",
    "weight_components",
]
