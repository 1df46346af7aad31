"""The demo's world: stimuli with planted truth, toy networks, and a raw BIDS data set.

Doors are imported when first used, so that importing the room stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braid.simulate.dataset import write_dataset
    from braid.simulate.toys import train_toys
    from braid.simulate.world import (
        Stimulus,
        World,
        make_world,
        pictures,
        render_frame,
        write_transcript,
        write_video,
    )

_DOORS = {
    "Stimulus": "world",
    "World": "world",
    "make_world": "world",
    "pictures": "world",
    "render_frame": "world",
    "train_toys": "toys",
    "write_dataset": "dataset",
    "write_transcript": "world",
    "write_video": "world",
}

__all__ = [
    "Stimulus",
    "World",
    "make_world",
    "pictures",
    "render_frame",
    "train_toys",
    "write_dataset",
    "write_transcript",
    "write_video",
]


def __getattr__(name: str) -> Any:
    """Import a door from its module."""
    if name not in _DOORS:
        raise AttributeError(f"module 'braid.simulate' has no attribute '{name}'")
    return getattr(import_module(f"braid.simulate.{_DOORS[name]}"), name)
