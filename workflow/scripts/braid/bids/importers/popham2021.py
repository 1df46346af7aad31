"""Importer of the data of Popham et al. 2021: stories and silent films in the same people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from braid.bids.files import check_fetched
from braid.bids.importers.arrays import (
    BLOCK,
    Person,
    Run,
    check_place,
    chosen,
    label_of,
    write_people,
)
from braid.bids.importers.clips import Clips, film_events, find_clips, write_clips
from braid.bids.importers.options import ArrayOptions
from braid.bids.importers.shortclips import REPETITION_TIME as FILM_REPETITION_TIME
from braid.bids.importers.shortclips import TEST, TRAIN, check_length
from braid.bids.importers.stories import (
    CUT,
    Story,
    check_inside,
    check_rows,
    checked_repetition_time,
    read_respdict,
    read_story,
    story_events,
    story_measures,
    story_start,
    write_story,
)
from braid.common import InputError

_DESCRIPTION = {
    "Name": "Popham et al. 2021: stories and films (ready arrays)",
    "HowToAcknowledge": "Cite Popham et al. 2021, Nature Neuroscience",
}
_README = """\
# Popham et al. 2021, imported by braid

fMRI of people who listen to stories and watch silent films, from the responses that the authors
preprocessed. Values are theirs, as float32. The arrays hold the voxels that are finite in every
volume of both tasks, in the order of `sub-*_mask.npy` (z, y, x), so that both tasks have the same
ones; `i j k` of `sub-*_labels.tsv` are their indices along x, y and z. No affine is released:
positions in mm are unknown. Words are those of the transcripts of ds003020, films those of
shortclips, neither of which the release holds. That the test film is a mean over repeats is not
documented.
"""


def import_popham2021(source: Path, out: Path, options: ArrayOptions | None = None) -> pd.DataFrame:
    """Turn the release of Popham et al. 2021 into a data set of kind `parcels`.

    Its tasks are `story` and `film`.

    Parameters
    ----------
    source : path
        Folder with `storydata/S#/STORY.npy` and `moviedata/S#/train.npy`, `test.npy`, each (volume,
        z, y, x); one of the two folders is enough. Not changed.
    out : path
        Root of the new data set: new, empty, or made by this function.
    options : ArrayOptions, optional
        `stories` is needed for stories, `films` for films.

    Returns
    -------
    pandas.DataFrame
        Columns `run measure value`.

    Raises
    ------
    InputError
        If a file is missing or damaged, an array is not as long as its stimulus, or no voxel is
        finite throughout.
    """
    source, out, options = Path(source), Path(out), options or ArrayOptions()
    people = chosen(_people(source), options.subjects, source)
    check_place(out, [source], [f"{number:02d}" for number in people], str(_DESCRIPTION["Name"]))
    plans, stories, films = [], {}, {}
    for number, name in people.items():
        arrays = _arrays(source, name)
        voxels = _Voxels(arrays)
        runs = []
        for path in arrays:
            rows = len(_open(path))
            if path.parent.parent.name == "storydata":
                run, story = _story_run(path, rows, voxels, options)
                runs.append(run)
                stories[story.name] = story
            else:
                for run, clips in _film_runs(path, rows, voxels, options):
                    runs.append(run)
                    films[clips.stim_file] = clips
        plans.append(Person(f"{number:02d}", name, runs, voxels.table(), voxels.mask))
    for story in stories.values():
        write_story(out, story)
    for clips in films.values():
        write_clips(out, clips)
    return write_people(out, plans, _DESCRIPTION, _README)


def _people(source: Path) -> dict[int, str]:
    """Subjects that have arrays, by number: `S1`, `S2`, ..."""
    names = {path.parent.name for path in source.glob("*data/S*/*.npy")}
    found = (re.fullmatch(r"S(\d+)", name) for name in sorted(names))
    return {int(match[1]): match[0] for match in found if match}


def _arrays(source: Path, name: str) -> list[Path]:
    """Arrays of a subject: stories, then films."""
    films = [source / "moviedata" / name / f"{part}.npy" for part in ("train", "test")]
    there = [path for path in films if path.is_symlink() or path.exists()]
    return [*sorted((source / "storydata" / name).glob("*.npy")), *there]


def _open(path: Path) -> np.ndarray:
    """Map an array (volume, z, y, x) into memory."""
    check_fetched(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a plain NumPy array ({error}); copy it again") from None
    if array.ndim != 4:
        raise InputError(
            f"{path}: has shape {array.shape}, not volumes x z x y x x; copy the file again"
        )
    return array


def _volumes(path: Path, first: int, last: int, mask: np.ndarray | None) -> Iterator[np.ndarray]:
    """Give volumes of an array in pieces of some 64 MB: (volumes, voxels), of the mask or all."""
    array = _open(path)
    step = max(1, BLOCK // max(1, array[0].nbytes))
    for start in range(first, last, step):
        block = np.asarray(array[start : min(start + step, last)])
        yield block.reshape(len(block), -1) if mask is None else block[:, mask]


class _Voxels:
    """Voxels that are finite in every volume of every array of a subject.

    Parameters
    ----------
    arrays : sequence of pathlib.Path

    Raises
    ------
    InputError
        If arrays have different grids, or no voxel is left; names the file after which none is.
    """

    def __init__(self, arrays: Sequence[Path]) -> None:
        shape = _open(arrays[0]).shape[1:]
        kept = np.ones(int(np.prod(shape)), dtype=bool)
        own = {}
        for path in arrays:
            array = _open(path)
            if array.shape[1:] != shape:
                raise InputError(
                    f"{path}: its volumes are {array.shape[1:]} but those of {arrays[0]} are "
                    f"{shape} (z, y, x); copy both files again"
                )
            finite = np.ones_like(kept)
            for block in _volumes(path, 0, len(array), None):
                finite &= np.isfinite(block).all(axis=0)
            if not finite.any():
                raise InputError(
                    f"{path}: every voxel is NaN at some time; copy the file again, or take it out "
                    "of the folder"
                )
            own[path] = int(finite.sum())
            kept &= finite
        if not kept.any():
            raise InputError(
                f"{arrays[0].parent}: no voxel is finite in all arrays of this subject; they are "
                "not of one brain, copy them again"
            )
        self.mask = kept.reshape(shape)
        self.count = int(kept.sum())
        self.own = own

    def left_out(self, path: Path) -> dict[str, int]:
        """Line of the report on an array."""
        return {"voxels that are finite here alone, left out": self.own[path] - self.count}

    def table(self) -> pd.DataFrame:
        """Give the indices of the voxels, in the order of the arrays."""
        z, y, x = np.nonzero(self.mask)
        return pd.DataFrame({"i": x, "j": y, "k": z})


def _story_run(path: Path, rows: int, voxels: _Voxels, options: ArrayOptions) -> tuple[Run, Story]:
    """Plan the run of one story."""
    if options.stories is None:
        raise InputError(
            f"{path}: the release holds no words; give a folder with "
            f"TextGrids/{path.stem}.TextGrid (`derivative` of ds003020) with --stories"
        )
    story = read_story(options.stories / "TextGrids", path.stem)
    tr = checked_repetition_time(options.repetition_time)
    respdict = options.stories / "respdict.json"
    if options.story_start is not None:
        start = options.story_start
        last = float((story.words["onset"] + story.words["duration"]).max()) - start - rows * tr
        cut = (ceil(max(start, 0.0) / tr), min(ceil(max(last, 0.0) / tr), CUT[1]))
    elif respdict.exists():
        check_rows(story.name, rows, read_respdict(respdict).get(story.name), path, respdict)
        start, cut = story_start(tr), CUT
    else:
        raise InputError(
            f"{respdict}: is not there, which tells how the arrays were cut; add it, or say with "
            "--story-start at which second of the story the first volume starts"
        )
    check_inside(story, start, rows * tr, cut[0] * tr, cut[1] * tr)
    run = Run(
        label=f"task-story_acq-{label_of(story.name)}",
        n_volumes=rows,
        n_voxels=voxels.count,
        repetition_time=tr,
        blocks=partial(_volumes, path, 0, rows, voxels.mask),
        events=story_events(story, start),
        origin=path,
        discarded=cut,
        measures={**voxels.left_out(path), **story_measures(story, start)},
    )
    return run, story


def _film_runs(
    path: Path, rows: int, voxels: _Voxels, options: ArrayOptions
) -> Iterator[tuple[Run, Clips]]:
    """Plan the runs of the training films, or of the test film."""
    if options.films is None:
        raise InputError(
            f"{path}: the release holds no films; give the folder `stimuli` of shortclips with "
            "--films"
        )
    if path.stem == "test":
        clips = find_clips(options.films, TEST)
        check_length(path, "the test film", rows, clips)
        yield _film_run(path, "test_run-01", 0, rows, voxels, clips), clips
        return
    count, first = 0, 0
    while first < rows:
        clips = find_clips(options.films, TRAIN.format(count))
        last = first + clips.volumes(FILM_REPETITION_TIME)
        count += 1
        if last > rows:
            check_length(path, f"training run {count}", rows - first, clips)
        yield _film_run(path, f"train_run-{count:02d}", first, last, voxels, clips), clips
        first = last


def _film_run(path: Path, label: str, first: int, last: int, voxels: _Voxels, clips: Clips) -> Run:
    """Plan the run of one film."""
    return Run(
        label=f"task-film_acq-{label}",
        n_volumes=last - first,
        n_voxels=voxels.count,
        repetition_time=FILM_REPETITION_TIME,
        blocks=partial(_volumes, path, first, last, voxels.mask),
        events=film_events(clips),
        origin=path,
        measures=voxels.left_out(path),
    )
