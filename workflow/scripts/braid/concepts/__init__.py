"""Concepts: the dimensions that encoding weights of many sites share, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.concepts.components import COMPONENTS_COLUMNS, Components, weight_components
    from braid.concepts.pairs import Paired, mapped_weights, paired_weights
    from braid.concepts.shared import (
        SHARED_COLUMNS,
        Shared,
        cross_modal_components,
        shared_components,
    )
    from braid.concepts.surrogates import spectral_null, spin_null
    from braid.concepts.units import (
        UNITS_COLUMNS,
        extreme_units,
        feature_components,
        other_units,
        scale_of,
        spread_of,
        units_of_both,
    )
    from braid.concepts.weights import Member, common_layer, common_pair, members_of
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "components": ("COMPONENTS_COLUMNS", "Components", "weight_components"),
            "pairs": ("Paired", "mapped_weights", "paired_weights"),
            "shared": (
                "SHARED_COLUMNS",
                "Shared",
                "cross_modal_components",
                "shared_components",
            ),
            "surrogates": ("spectral_null", "spin_null"),
            "units": (
                "UNITS_COLUMNS",
                "extreme_units",
                "feature_components",
                "other_units",
                "scale_of",
                "spread_of",
                "units_of_both",
            ),
            "weights": ("Member", "common_layer", "common_pair", "members_of"),
        },
    )

__all__ = [
    "COMPONENTS_COLUMNS",
    "SHARED_COLUMNS",
    "UNITS_COLUMNS",
    "Components",
    "Member",
    "Paired",
    "Shared",
    "common_layer",
    "common_pair",
    "cross_modal_components",
    "extreme_units",
    "feature_components",
    "mapped_weights",
    "members_of",
    "other_units",
    "paired_weights",
    "scale_of",
    "shared_components",
    "spectral_null",
    "spin_null",
    "spread_of",
    "units_of_both",
    "weight_components",
]
