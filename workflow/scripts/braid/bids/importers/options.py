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
