"""Transfer: encoding models fitted in one analysis predict the responses of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.transfer.alignment import (
        QUALITY_COLUMNS,
        SIDES,
        aligned,
        aligned_layers,
        aligned_pairs,
        aligned_weights,
        learn_alignment,
        pair_layers,
        plain_maps,
    )
    from braid.transfer.sites import TRANSFER_COLUMNS, transfer_sites
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "alignment": (
                "QUALITY_COLUMNS",
                "SIDES",
                "aligned",
                "aligned_layers",
                "aligned_pairs",
                "aligned_weights",
                "learn_alignment",
                "pair_layers",
                "plain_maps",
            ),
            "sites": ("TRANSFER_COLUMNS", "transfer_sites"),
        },
    )

__all__ = [
    "QUALITY_COLUMNS",
    "SIDES",
    "TRANSFER_COLUMNS",
    "aligned",
    "aligned_layers",
    "aligned_pairs",
    "aligned_weights",
    "learn_alignment",
    "pair_layers",
    "plain_maps",
    "transfer_sites",
]
