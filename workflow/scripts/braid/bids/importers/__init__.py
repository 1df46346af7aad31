"""Importers: public data sets that are not BIDS, or not complete, turned into what braid reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.bids.importers.options import Options
    from braid.bids.importers.treebank import complete_treebank, import_treebank
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "options": ("Options",),
            "treebank": ("complete_treebank", "import_treebank"),
        },
    )

__all__ = ["Options", "complete_treebank", "import_treebank"]
