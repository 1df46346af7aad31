"""The demo's world: stimuli with planted truth, toy networks, and a raw BIDS data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

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
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "dataset": ("write_dataset",),
            "toys": ("train_toys",),
            "world": (
                "Stimulus",
                "World",
                "make_world",
                "pictures",
                "render_frame",
                "write_transcript",
                "write_video",
            ),
        },
    )

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
