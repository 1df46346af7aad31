"""Stimulus files of a data set: found, digested and checked once each."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from braid.bids import check_fetched
from braid.bids.cuts import detect_cuts
from braid.common import InputError
from braid.stimuli.arrays import array_digest
from braid.stimuli.films import TOLERANCE, Film, frame_times, has_sound, is_visual, open_film

_SAME = 1e-3  # s; a frame this near is shown at that very time, which tables round


class Source:
    """One stimulus file.

    Parameters
    ----------
    path : pathlib.Path
    name : str
        Path relative to the root of the data set.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    @property
    def stim_file(self) -> str:
        """Name of the file in events: relative to the folder `stimuli`."""
        return self.name.removeprefix("stimuli/")

    @cached_property
    def sha256(self) -> str:
        """Digest of the file, or of all files of a folder."""
        return array_digest(self.path)

    @cached_property
    def film(self) -> Film | None:
        """The file as a film or picture; None if it cannot be seen (sound, text)."""
        return open_film(self.path) if is_visual(self.path) else None

    @cached_property
    def only_heard(self) -> bool:
        """Whether it is sound without pictures."""
        return self.film is None and has_sound(self.path)

    @cached_property
    def frame_times(self) -> np.ndarray:
        """Times of the frames of a film, s."""
        return frame_times(self.path)

    @cached_property
    def cuts(self) -> np.ndarray:
        """Scene cuts of a film that PySceneDetect finds, s."""
        return detect_cuts(self.path)

    def check_time(self, time: float, events: Path, row: int) -> None:
        """Raise an `InputError` if the film is over at a time that the events ask for."""
        if self.film is not None and not -TOLERANCE <= time <= self.film.duration + TOLERANCE:
            raise InputError(
                f"{events}: row {row}: asks for {time:.3f} s of {self.path.name}, which lasts "
                f"{self.film.duration:.3f} s; correct stim_time, onset or duration, or the film"
            )

    def frame_time(self, time: float, match: str = "nearest") -> float:
        """Time of the picture shown, s, to 1 ms, within the film; NaN if nothing can be seen.

        Parameters
        ----------
        time : float
            s in the stimulus.
        match : {"nearest", "subsequent", "preceding"}
            `nearest` gives the time itself, at which `iter_frames` takes the nearest frame;
            `subsequent` that of the first frame from then on, `preceding` that of the last one by
            then. Where there is no such frame, the last or first one is taken.
        """
        if self.film is None:
            return float("nan")
        if not np.isfinite(self.film.duration):
            return 0.0  # a still picture
        if match == "nearest":
            return round(min(max(time, 0.0), self.film.duration), 3)
        frames = self.frame_times
        if match == "subsequent":
            position = int(np.searchsorted(frames, time - _SAME))
        else:
            position = int(np.searchsorted(frames, time + _SAME, side="right")) - 1
        return round(float(frames[min(max(position, 0), len(frames) - 1)]), 3)


class Sources:
    """Stimulus files of a data set.

    Parameters
    ----------
    root : pathlib.Path
        Root of the data set.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[str, Source] = {}

    def stimulus(self, stim_file: str, events: Path, row: int) -> Source:
        """Find the file that `stim_file` names (relative to the folder `stimuli`, as in BIDS).

        Raises
        ------
        InputError
            If there is no such file; names the events and the row.
        """
        name = f"stimuli/{stim_file}"
        if name not in self._known and not (self.root / name).exists():
            check_fetched(self.root / name)
            raise InputError(
                f"{events}: row {row}: stim_file '{stim_file}' is not there "
                f"({self.root / name}); put it there, or correct the entry"
            )
        return self.file(name)

    def file(self, name: str) -> Source:
        """Give a file by its path relative to the root."""
        if name not in self._known:
            check_fetched(self.root / name)
            self._known[name] = Source(self.root / name, name)
        return self._known[name]
