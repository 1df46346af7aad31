"""Importer of shortclips (Gallant lab): people who watch short silent films, as ready arrays."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from braid.bids.importers.arrays import (
    Person,
    Run,
    check_place,
    chosen,
    hdf5_rows,
    open_hdf5,
    write_people,
)
from braid.bids.importers.clips import Clips, film_events, find_clips, write_clips
from braid.bids.importers.options import ArrayOptions
from braid.common import InputError

REPETITION_TIME = 2.0  # s
TRAIN, TEST = "train_{:02d}", "test"
_MASKS = "roi_mask_"
_DESCRIPTION = {
    "Name": "shortclips (Gallant lab, ready arrays)",
    "HowToAcknowledge": "Cite the data set, doi 10.12751/g-node.vy1zjd, and Huth et al. 2012",
    "SourceDatasets": [{"DOI": "doi:10.12751/g-node.vy1zjd"}],
}
_README = """\
# shortclips, imported by braid

fMRI of people who watch short silent film clips (Gallant lab, doi 10.12751/g-node.vy1zjd), from the
responses that its authors preprocessed. Values are theirs, as float32, NaN included. `acq-train`
are the training runs; `acq-test` are repeats of one film, each a run of its own, so that ceilings
can be estimated. Films were encoded anew as H.264 (15 frames a second), which loses a little.
"""


def import_shortclips(source: Path, out: Path, options: ArrayOptions | None = None) -> pd.DataFrame:
    """Turn shortclips into a data set of kind `parcels`.

    Parameters
    ----------
    source : path
        Root of shortclips with `responses` and `stimuli` fetched; not changed. With `mappers` the
        voxels have regions.
    out : path
        Root of the new data set: new, empty, or made by this function.
    options : ArrayOptions, optional

    Returns
    -------
    pandas.DataFrame
        Columns `run measure value`.

    Raises
    ------
    InputError
        If a file is missing or damaged, or an array is not as long as its film.
    """
    source, out, options = Path(source), Path(out), options or ArrayOptions()
    people = chosen(_people(source / "responses"), options.subjects, source)
    check_place(out, [source], [f"{number:02d}" for number in people], str(_DESCRIPTION["Name"]))
    films = options.films or source / "stimuli"
    plans = [_person(source, films, number, name) for number, name in people.items()]
    names = {str(run.events["stim_file"].iloc[0]) for plan in plans for run in plan.runs}
    for name in sorted(names):
        write_clips(out, find_clips(films, Path(name).stem))
    return write_people(out, plans, _DESCRIPTION, _README)


def _people(folder: Path) -> dict[int, str]:
    """Subjects that have responses, by number: `S01`, `S02`, ..."""
    found = (re.fullmatch(r"(S(\d+))_responses\.hdf", path.name) for path in folder.glob("*.hdf"))
    return {int(match[2]): match[1] for match in found if match}


def _person(source: Path, films: Path, number: int, name: str) -> Person:
    """Plan one subject."""
    path = source / "responses" / f"{name}_responses.hdf"
    rows, voxels = open_hdf5(path, "Y_train", 2)
    repeats, test_rows, test_voxels = open_hdf5(path, "Y_test", 3)
    if test_voxels != voxels:
        raise InputError(
            f"{path}: Y_train has {voxels} voxels but Y_test {test_voxels}; copy the file again"
        )
    onsets = _onsets(path, rows)
    runs = []
    for position, (first, last) in enumerate(zip(onsets, [*onsets[1:], rows], strict=True)):
        clips = find_clips(films, TRAIN.format(position))
        check_length(path, f"training run {position + 1}", last - first, clips)
        blocks = partial(hdf5_rows, path, "Y_train", slice(first, last))
        label = f"task-film_acq-train_run-{position + 1:02d}"
        events = film_events(clips)
        runs.append(Run(label, last - first, voxels, REPETITION_TIME, blocks, events, path))
    clips = find_clips(films, TEST)
    check_length(path, "the test film", test_rows, clips)
    for repeat in range(repeats):
        blocks = partial(hdf5_rows, path, "Y_test", slice(None), repeat)
        label = f"task-film_acq-test_run-{repeat + 1:02d}"
        events = film_events(clips)
        runs.append(Run(label, test_rows, voxels, REPETITION_TIME, blocks, events, path))
    regions = _regions(source / "mappers" / f"{name}_mappers.hdf", voxels)
    return Person(f"{number:02d}", name, runs, regions)


def _onsets(path: Path, rows: int) -> list[int]:
    """First rows of the training runs."""
    open_hdf5(path, "run_onsets", 1)
    onsets = [int(onset) for block in hdf5_rows(path, "run_onsets") for onset in block]
    if not onsets or onsets[0] != 0 or sorted(set(onsets)) != onsets or onsets[-1] >= rows:
        raise InputError(
            f"{path}: run_onsets {onsets} must rise from 0 and stay below the {rows} rows of "
            "Y_train; copy the file again"
        )
    return onsets


def check_length(path: Path, what: str, rows: int, clips: Clips) -> None:
    """Check that a run has as many volumes as its film lasts.

    Raises
    ------
    InputError
    """
    wanted = clips.volumes(REPETITION_TIME)
    if rows != wanted:
        raise InputError(
            f"{path}: {what} has {rows} volumes but {clips.path.name} lasts {wanted} "
            f"({clips.n_frames} frames); copy both files again"
        )


def _regions(path: Path, voxels: int) -> pd.DataFrame:
    """Regions of interest of the voxels; nothing where there is no file or no mask in it."""
    if not path.exists():
        return pd.DataFrame()
    import h5py

    regions = np.full(voxels, "", dtype=object)
    with h5py.File(path, "r") as file:
        for key in sorted(key for key in file if key.startswith(_MASKS)):
            mask = np.asarray(file[key]).astype(bool)
            if mask.shape != (voxels,):
                raise InputError(
                    f"{path}: '{key}' has shape {mask.shape} for {voxels} voxels; copy it again"
                )
            regions[mask] = [
                f"{one}+" * bool(one) + key.removeprefix(_MASKS) for one in regions[mask]
            ]
    return pd.DataFrame({"region": [one or "n/a" for one in regions]})
