"""What a user decides about an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCENES = ("auto", "annotations", "detect", "none")


@dataclass(frozen=True)
class Options:
    """Choices that both importers of Brain Treebank share.

    Attributes
    ----------
    films : pathlib.Path or None
        Folder with the user's own copies of the films, each named by its film id
        (`cars-2.mp4`). Without it the events name no film, and no network sees a picture.
    scenes : str
        Where scene cuts come from: `annotations` (`scene_annotations` of the data set), `detect`
        (PySceneDetect on the user's film), `none`, or `auto`: annotations where they are, else
        detection where there is a film.
    scene_column : str or None
        Column of the annotations that holds the start of a scene; a name with `frame` in it counts
        frames. By default one of the names in `treebank_source.SCENE_COLUMNS`.
    offsets : mapping of str to float
        Film id to the time (s) in the user's copy at which the film of the transcripts starts.
    subjects : tuple of int or None
        Numbers of the subjects to import; all if None.
    copy : bool
        Copy films and recordings of an existing BIDS data set; else they are symbolic links.
    """

    films: Path | None = None
    scenes: str = "auto"
    scene_column: str | None = None
    offsets: Mapping[str, float] = field(default_factory=dict)
    subjects: tuple[int, ...] | None = None
    copy: bool = False


@dataclass(frozen=True)
class ArrayOptions:
    """Choices of the importers of ready response arrays.

    Attributes
    ----------
    subjects : tuple of int or None
        Numbers of the subjects to import; all if None.
    stories : pathlib.Path or None
        popham2021: folder with `TextGrids/` and, if it is there, `respdict.json`, as in
        `derivative/` of ds003020. The release holds neither.
    films : pathlib.Path or None
        Folder with `train_00.hdf`, ..., `test.hdf` of shortclips; by default its own `stimuli/`.
        The release of popham2021 holds no films.
    repetition_time : float or None
        s; the data set's own if None.
    story_start : float or None
        popham2021: time in each story at which the first volume starts, s, where there is no
        `respdict.json` to find it.
    """

    subjects: tuple[int, ...] | None = None
    stories: Path | None = None
    films: Path | None = None
    repetition_time: float | None = None
    story_start: float | None = None
