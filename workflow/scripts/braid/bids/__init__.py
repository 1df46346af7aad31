"""BIDS data sets: what is there, on which clock, and clear errors for what is missing."""

from braid.bids.events import read_events
from braid.bids.files import check_fetched, entities_of, fill_pattern, run_entities, run_label
from braid.bids.index import INDEX_COLUMNS, check_rates, index_dataset
from braid.bids.validation import validate

__all__ = [
    "INDEX_COLUMNS",
    "check_fetched",
    "check_rates",
    "entities_of",
    "fill_pattern",
    "index_dataset",
    "read_events",
    "run_entities",
    "run_label",
    "validate",
]
