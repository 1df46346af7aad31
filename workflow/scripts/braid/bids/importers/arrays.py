"""Data sets of ready response arrays: what the importers have in common, and how they write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import braid
from braid.bids.files import check_fetched
from braid.bids.importers.treebank_write import BIDS_VERSION, GENERATOR, check_target, write_tsv
from braid.common import (
    InputError,
    atomic_folder,
    atomic_path,
    progress,
    read_json,
    write_json,
    write_table,
    write_text,
)

REPORT_COLUMNS = {
    "run": "Recording",
    "measure": "What was counted or measured",
    "value": "Its value",
}
LABEL_COLUMNS = {
    "name": "Voxel: its column in the arrays, from 0",
    "region": "Regions of interest that the voxel lies in, joined by +",
    "i": "First index of the voxel in the image (x, the last axis of the released arrays)",
    "j": "Second index of the voxel in the image (y)",
    "k": "Third index of the voxel in the image (z)",
    "x": "Position, mm",
    "y": "Position, mm",
    "z": "Position, mm",
}
EVENT_COLUMNS: dict[str, dict[str, object]] = {
    "onset": {
        "Description": "Onset from the start of the first volume that is in the array; negative "
        "before it",
        "Units": "s",
    },
    "duration": {"Description": "Duration of the event", "Units": "s"},
    "trial_type": {
        "Description": "Kind of event",
        "Levels": {
            "film": "A silent film, from its first frame to its last",
            "story": "A spoken story, as long as its transcript",
            "word": "One word of a story",
        },
    },
    "text": {"Description": "The word that is said"},
    "stim_file": {"Description": "Film, or transcript of the story, in the folder stimuli"},
    "stim_time": {"Description": "Time of the event in the stimulus", "Units": "s"},
}
_IGNORED = """\
# arrays of volumes x voxels and tables of voxels, for which BIDS has no name
sub-*/func/*_timeseries.*
sub-*/*_labels.*
sub-*/*_mask.npy
sub-*/*_import.*
stimuli/
"""
BLOCK = 1 << 26  # bytes of an array that are held at once


@dataclass(frozen=True)
class Run:
    """One run: all that is written of it.

    Attributes
    ----------
    label : str
        Entities behind the subject, such as `task-story_acq-life`.
    n_volumes, n_voxels : int
    repetition_time : float
        s.
    blocks : function
        Gives its volumes in order, in pieces (volumes, voxels).
    events : pandas.DataFrame
        Columns of `EVENT_COLUMNS` but `stim_file`, `text` where there are none.
    origin : pathlib.Path
        File that its array comes from.
    discarded : tuple of int
        Volumes that the release has cut off its start and its end.
    measures : mapping
        Further lines of the report.
    """

    label: str
    n_volumes: int
    n_voxels: int
    repetition_time: float
    blocks: Callable[[], Iterator[np.ndarray]]
    events: pd.DataFrame
    origin: Path
    discarded: tuple[int, int] = (0, 0)
    measures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Person:
    """One subject: runs of equal voxels.

    Attributes
    ----------
    label : str
        Without `sub-`.
    source : str
        Name in the release.
    runs : sequence of Run
    voxels : pandas.DataFrame
        What is known of the voxels: columns of `LABEL_COLUMNS` but `name`, in the order of the
        arrays.
    mask : numpy.ndarray, optional
        bool, (z, y, x): where the voxels are in the image.
    """

    label: str
    source: str
    runs: Sequence[Run]
    voxels: pd.DataFrame
    mask: np.ndarray | None = None


def check_place(out: Path, sources: Sequence[Path], labels: Sequence[str], name: str) -> None:
    """Refuse to write into a source, over a subject, or into another data set.

    Raises
    ------
    InputError
    """
    description = out / "dataset_description.json"
    if description.is_file() and (found := read_json(description).get("Name")) != name:
        raise InputError(f"{out}: holds another data set, '{found}'; choose another folder")
    check_target(out, sources, labels)


def write_people(
    out: Path,
    people: Iterable[Person],
    description: Mapping[str, Any],
    readme: str,
) -> pd.DataFrame:
    """Write subjects, one by one; each appears when it is complete.

    Returns
    -------
    pandas.DataFrame
        Columns `REPORT_COLUMNS`.
    """
    out.mkdir(parents=True, exist_ok=True)
    reports = []
    for person in people:
        # also before any subject: an import that was interrupted can then be continued
        _write_top(out, description, readme)
        reports.append(_write_person(out, person))
        _write_top(out, description, readme, {f"sub-{person.label}": person.source})
    return pd.concat(reports, ignore_index=True)


def _write_person(out: Path, person: Person) -> pd.DataFrame:
    """Write one subject; gives its part of the report."""
    subject = f"sub-{person.label}"
    rows: list[tuple[str, str, Any]] = []
    with atomic_folder(out / subject) as folder:
        (folder / "func").mkdir()
        for run in progress(person.runs, f"importing {subject}"):
            stem = folder / "func" / f"{subject}_{run.label}"
            values = Path(f"{stem}_desc-voxels_timeseries.npy")
            counts = write_volumes(values, run)
            write_json(values.with_suffix(".json"), _sidecar(run))
            write_tsv(Path(f"{stem}_events.tsv"), run.events)
            measures = {"volumes": run.n_volumes, "voxels": run.n_voxels, **counts, **run.measures}
            rows += [(f"{subject}_{run.label}", name, value) for name, value in measures.items()]
        n_voxels = person.runs[0].n_voxels
        write_table(folder / f"{subject}_labels.tsv", _labels(person, n_voxels), LABEL_COLUMNS)
        if person.mask is not None:
            np.save(folder / f"{subject}_mask.npy", person.mask)
        report = pd.DataFrame(rows, columns=list(REPORT_COLUMNS))
        write_table(folder / f"{subject}_import.tsv", report, REPORT_COLUMNS)
    return report


def write_volumes(path: Path, run: Run) -> dict[str, int]:
    """Write the array of a run piece by piece: float32, (volumes, voxels), values as they are.

    Returns
    -------
    dict
        `voxels with NaN`, which preprocessing leaves out, and `voxels that are NaN throughout`.

    Raises
    ------
    InputError
        If the pieces are not as many volumes as promised, or no voxel is finite throughout.
    """
    ever = np.zeros(run.n_voxels, dtype=bool)
    always = np.ones(run.n_voxels, dtype=bool)
    shape, written = (run.n_volumes, run.n_voxels), 0
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary:
        with temporary.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for block in run.blocks():
                finite = np.isfinite(block)
                ever |= finite.any(axis=0)
                always &= finite.all(axis=0)
                stream.write(np.ascontiguousarray(block, dtype="<f4").tobytes())
                written += len(block)
        if written != run.n_volumes:
            raise InputError(
                f"{run.origin}: {written} volumes could be read of {run.n_volumes}; copy it again"
            )
        if not always.any():
            what = "every value is NaN" if not ever.any() else "every voxel is NaN at some time"
            raise InputError(
                f"{run.origin}: {what} ({run.label}); copy the file again, or import without this "
                "subject (--subjects)"
            )
    return {
        "voxels with NaN": int((~always).sum()),
        "voxels that are NaN throughout": int((~ever).sum()),
    }


def _sidecar(run: Run) -> dict[str, Any]:
    """Contents of the sidecar of an array."""
    start, end = run.discarded
    return {
        "Description": "Responses as they were released, volumes x voxels; see README",
        "RepetitionTime": run.repetition_time,
        "NumberOfVolumesDiscardedByUser": start,
        "NumberOfVolumesDiscardedAtEnd": end,
        "Shape": [run.n_volumes, run.n_voxels],
        "Origin": "/".join(run.origin.parts[-2:]),
    }


def _labels(person: Person, n_voxels: int) -> pd.DataFrame:
    """Table of the voxels, `n/a` where nothing is known."""
    table = pd.DataFrame({"name": [f"voxel-{number:06d}" for number in range(n_voxels)]})
    for name in list(LABEL_COLUMNS)[1:]:
        known = name in person.voxels.columns
        table[name] = person.voxels[name].to_numpy() if known else "n/a"
    return table


def _write_top(
    out: Path,
    description: Mapping[str, Any],
    readme: str,
    added: Mapping[str, str] | None = None,
) -> None:
    """Write what belongs to the whole data set; `added` are complete subjects and their sources."""
    made_by = [{"Name": GENERATOR, "Version": braid.__version__}]
    write_json(
        out / "dataset_description.json",
        {
            **description,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": made_by,
        },
    )
    write_text(out / "README", readme)
    write_text(out / ".bidsignore", _IGNORED)
    path = out / "participants.tsv"
    known = pd.read_csv(path, sep="\t", dtype=str) if path.is_file() else pd.DataFrame()
    sources = (
        dict(zip(known["participant_id"], known["source_id"], strict=True)) if len(known) else {}
    )
    sources |= dict(added or {})
    there = sorted(name for name in sources if (out / name).is_dir())
    people = {"participant_id": there, "source_id": [sources[name] for name in there]}
    write_tsv(path, pd.DataFrame(people))
    names = {"source_id": {"Description": "Name of the participant in the release"}}
    write_json(out / "participants.json", names)
    for task in sorted(
        {p.name.split("_task-")[1].split("_")[0] for p in out.glob("sub-*/func/*_events.tsv")}
    ):
        write_json(out / f"task-{task}_events.json", EVENT_COLUMNS)


def chosen(found: Mapping[int, str], wanted: Sequence[int] | None, source: Path) -> dict[int, str]:
    """Subjects to import, by number.

    Raises
    ------
    InputError
        If one that the user names is not there, or there is none at all.
    """
    if not found:
        raise InputError(f"{source}: no subject in it; give the root of the release")
    numbers = sorted(found) if wanted is None else sorted(set(wanted))
    for number in numbers:
        if number not in found:
            raise InputError(
                f"{source}: subject {number} is not there; it has: "
                f"{', '.join(map(str, sorted(found)))}"
            )
    return {number: found[number] for number in numbers}


def check_voxels(runs: Sequence[Run]) -> None:
    """Check that all runs of a subject have the same voxels."""
    for run in runs[1:]:
        if run.n_voxels != runs[0].n_voxels:
            raise InputError(
                f"{run.origin}: has {run.n_voxels} voxels but {runs[0].origin} has "
                f"{runs[0].n_voxels}; copy both again from one version of the data set"
            )


def label_of(name: str) -> str:
    """Give a stimulus's name as a BIDS label: letters and digits alone."""
    return "".join(character for character in name if character.isalnum())


def open_hdf5(path: Path, key: str, dimensions: int) -> tuple[int, ...]:
    """Check that a file holds a dataset of so many dimensions; gives its shape.

    Raises
    ------
    InputError
        If the file is missing or damaged, or has no such dataset.
    """
    import h5py

    check_fetched(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; fetch it, it belongs to the release")
    try:
        with h5py.File(path, "r") as file:
            dataset = file.get(key)
            shape = getattr(dataset, "shape", None)
            there = ", ".join(file) or "nothing"
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5 ({error}); copy it again") from None
    if shape is None:
        raise InputError(f"{path}: there is no dataset '{key}' (it has: {there}); copy it again")
    if len(shape) != dimensions:
        raise InputError(
            f"{path}: '{key}' has shape {shape} but {dimensions} dimensions are expected; copy "
            "the file again"
        )
    return tuple(int(size) for size in shape)


def hdf5_rows(
    path: Path, key: str, rows: slice = slice(None), inside: int | None = None
) -> Iterator[np.ndarray]:
    """Give rows of a dataset in order, in pieces of some 64 MB.

    Parameters
    ----------
    path : pathlib.Path
    key : str
    rows : slice
        Start and stop.
    inside : int, optional
        Position along the first axis, where the rows are along the second.
    """
    import h5py

    with h5py.File(path, "r") as file:
        dataset = file[key]
        axis = 0 if inside is None else 1
        start, stop, _ = rows.indices(dataset.shape[axis])
        width = max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[axis + 1 :])))
        step = max(1, BLOCK // width)
        for first in range(start, stop, step):
            part = slice(first, min(first + step, stop))
            yield dataset[part] if inside is None else dataset[inside, part]
