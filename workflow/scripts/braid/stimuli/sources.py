"""Stimulus files of a data set: found, digested and checked once each."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from braid.bids import check_fetched
from braid.common import InputError, sha256_of
from braid.stimuli.films import TOLERANCE, Film, is_visual, open_film


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

    @cached_property
    def sha256(self) -> str:
        """Digest of the file."""
        return sha256_of(self.path)

    @cached_property
    def film(self) -> Film | None:
        """The file as a film or picture; None if it cannot be seen (sound, text)."""
        return open_film(self.path) if is_visual(self.path) else None

    def check_time(self, time: float, events: Path, row: int) -> None:
        """Raise an `InputError` if the film is over at a time that the events ask for."""
        if self.film is not None and not -TOLERANCE <= time <= self.film.duration + TOLERANCE:
            raise InputError(
                f"{events}: row {row}: asks for {time:.3f} s of {self.path.name}, which lasts "
                f"{self.film.duration:.3f} s; correct stim_time, onset or duration, or the film"
            )

    def frame_time(self, time: float) -> float:
        """Time of the picture shown, s, to 1 ms, within the film; NaN if nothing can be seen."""
        if self.film is None:
            return float("nan")
        if not np.isfinite(self.film.duration):
            return 0.0  # a still picture
        return round(min(max(time, 0.0), self.film.duration), 3)


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
