"""BIDS data sets: what is there, on which clock, and clear errors for what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.bids.events import read_events
    from braid.bids.files import check_fetched, entities_of, fill_pattern, run_entities, run_label
    from braid.bids.index import INDEX_COLUMNS, check_rates, index_dataset
    from braid.bids.slices import recorded_shift, slice_shift
    from braid.bids.validation import validate
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "events": ("read_events",),
            "files": ("check_fetched", "entities_of", "fill_pattern", "run_entities", "run_label"),
            "index": ("INDEX_COLUMNS", "check_rates", "index_dataset"),
            "slices": ("recorded_shift", "slice_shift"),
            "validation": ("validate",),
        },
    )

__all__ = [
    "INDEX_COLUMNS",
    "check_fetched",
    "check_rates",
    "entities_of",
    "fill_pattern",
    "index_dataset",
    "read_events",
    "recorded_shift",
    "run_entities",
    "run_label",
    "slice_shift",
    "validate",
]
