"""Stimuli on the recording's clock: films, words, labels; units, events and responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.stimuli.captions import CAPTIONS_COLUMNS, captioned_units
    from braid.stimuli.events import EVENT_COLUMNS, events_of
    from braid.stimuli.films import Film, iter_frames, open_film
    from braid.stimuli.responses import DROPPED_COLUMNS, repeated_responses, responses_of
    from braid.stimuli.units import UNIT_COLUMNS, units_of
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "captions": ("CAPTIONS_COLUMNS", "captioned_units"),
            "events": ("EVENT_COLUMNS", "events_of"),
            "films": ("Film", "iter_frames", "open_film"),
            "responses": ("DROPPED_COLUMNS", "repeated_responses", "responses_of"),
            "units": ("UNIT_COLUMNS", "units_of"),
        },
    )

__all__ = [
    "CAPTIONS_COLUMNS",
    "DROPPED_COLUMNS",
    "EVENT_COLUMNS",
    "UNIT_COLUMNS",
    "Film",
    "captioned_units",
    "events_of",
    "iter_frames",
    "open_film",
    "repeated_responses",
    "responses_of",
    "units_of",
]
