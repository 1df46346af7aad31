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
    from braid.transfer.matrix import MATRIX_COLUMNS, transfer_matrix
    from braid.transfer.sites import TRANSFER_COLUMNS, transfer_sites
    from braid.transfer.times import TIMES_COLUMNS, transfer_times
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
            "matrix": ("MATRIX_COLUMNS", "transfer_matrix"),
            "sites": ("TRANSFER_COLUMNS", "transfer_sites"),
            "times": ("TIMES_COLUMNS", "transfer_times"),
        },
    )

__all__ = [
    "MATRIX_COLUMNS",
    "QUALITY_COLUMNS",
    "SIDES",
    "TIMES_COLUMNS",
    "TRANSFER_COLUMNS",
    "aligned",
    "aligned_layers",
    "aligned_pairs",
    "aligned_weights",
    "learn_alignment",
    "pair_layers",
    "plain_maps",
    "transfer_matrix",
    "transfer_sites",
    "transfer_times",
]
