"""Transfer: encoding models fitted in one analysis predict the responses of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.transfer.sites import TRANSFER_COLUMNS, transfer_sites
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "sites": ("TRANSFER_COLUMNS", "transfer_sites"),
        },
    )

__all__ = [
    "TRANSFER_COLUMNS",
    "transfer_sites",
]
