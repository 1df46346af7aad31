"""Importers: public data sets that are not BIDS, or not complete, turned into what braid reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.bids.importers.ds003020 import import_ds003020
    from braid.bids.importers.options import ArrayOptions, Options
    from braid.bids.importers.popham2021 import import_popham2021
    from braid.bids.importers.shortclips import import_shortclips
    from braid.bids.importers.treebank import complete_treebank, import_treebank
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "ds003020": ("import_ds003020",),
            "options": ("ArrayOptions", "Options"),
            "popham2021": ("import_popham2021",),
            "shortclips": ("import_shortclips",),
            "treebank": ("complete_treebank", "import_treebank"),
        },
    )

__all__ = [
    "ArrayOptions",
    "Options",
    "complete_treebank",
    "import_ds003020",
    "import_popham2021",
    "import_shortclips",
    "import_treebank",
]
