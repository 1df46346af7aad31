"""Silent films that are released as arrays of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from braid.bids.importers.arrays import hdf5_rows, open_hdf5
from braid.common import InputError, progress
from braid.common.video import write_frames

FRAME_RATE = 15.0  # Hz
_KEY = "stimuli"


@dataclass(frozen=True)
class Clips:
    """One film.

    Attributes
    ----------
    path : pathlib.Path
        HDF5 file.
    n_frames : int
    """

    path: Path
    n_frames: int

    @property
    def stim_file(self) -> str:
        """The film in the folder `stimuli`."""
        return f"{self.path.stem}.mp4"

    @property
    def duration(self) -> float:
        """Length, s."""
        return self.n_frames / FRAME_RATE

    def volumes(self, repetition_time: float) -> int:
        """Volumes that the film lasts.

        Raises
        ------
        InputError
            If it is not a whole number of them.
        """
        count = round(self.duration / repetition_time)
        if abs(count * repetition_time - self.duration) > 1.0 / FRAME_RATE:
            raise InputError(
                f"{self.path}: {self.n_frames} frames last {self.duration:g} s, which is no whole "
                f"number of volumes of {repetition_time:g} s; copy the film again"
            )
        return count


def find_clips(folder: Path, name: str) -> Clips:
    """Find a film and read how long it is.

    Raises
    ------
    InputError
        If it is not there, or its frames are not pictures in colour with even sides.
    """
    path = folder / f"{name}.hdf"
    if not path.is_symlink() and not path.exists():
        raise InputError(
            f"{path}: the film is not there; fetch the folder `stimuli` of shortclips, or name "
            "where it is with --films"
        )
    shape = open_hdf5(path, _KEY, 4)
    if shape[3] != 3 or shape[1] % 2 or shape[2] % 2 or not shape[0]:
        raise InputError(
            f"{path}: '{_KEY}' has shape {shape}, which is not frames x rows x columns x 3 with "
            "even sides; copy the film again"
        )
    return Clips(path, shape[0])


def write_clips(out: Path, clips: Clips) -> None:
    """Write a film into the folder `stimuli` of a data set, as H.264; one there stays.

    Frames are read and encoded some at a time.

    Raises
    ------
    InputError
        If the frames are not of 8 bits.
    """
    target = out / "stimuli" / clips.stim_file
    if not target.exists():
        frames = progress(_frames(clips), f"writing {clips.stim_file}", total=clips.n_frames)
        write_frames(target, frames, FRAME_RATE)


def _frames(clips: Clips) -> Iterator[np.ndarray]:
    """Frames of a film, one by one."""
    for block in hdf5_rows(clips.path, _KEY):
        if block.dtype != np.uint8:
            raise InputError(
                f"{clips.path}: frames are {block.dtype}, not uint8; copy the film again"
            )
        yield from block


def film_events(clips: Clips) -> pd.DataFrame:
    """Events of a run: a film that starts with the first volume."""
    return pd.DataFrame(
        {
            "onset": [0.0],
            "duration": [round(clips.duration, 4)],
            "trial_type": ["film"],
            "text": ["n/a"],
            "stim_file": [clips.stim_file],
            "stim_time": [0.0],
        }
    )
