"""One row per recording of a data set, with all the checks that need no sample of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids.events import check_events_inside, read_events
from braid.bids.files import (
    applies,
    check_fetched,
    companion,
    entities_of,
    given,
    metadata_of,
    relative,
    run_label,
)
from braid.bids.headers import (
    TR_TOLERANCE,
    Header,
    bold_header,
    ieeg_header,
    parcel_header,
    surface_header,
)
from braid.bids.surfaces import hemispheres, is_surface, mesh_of
from braid.common import InputError

INDEX_COLUMNS = {
    "dataset": "Name of the dataset in the config",
    "subject": "Subject, without the prefix sub-",
    "session": "Session, without the prefix ses-",
    "task": "Task, without the prefix task-",
    "acquisition": "Acquisition, without the prefix acq-",
    "run": "Run label: session, task, acquisition and run as in the file name",
    "kind": "Kind of recording: ieeg, bold or parcels",
    "path": "Recording, relative to the root of the dataset; on a surface its left hemisphere",
    "events": "Events of the recording, relative to the root",
    "channels": "Table of channels, relative to the root (iEEG)",
    "electrodes": "Table of electrodes, relative to the root (iEEG)",
    "confounds": "Confounds of the run, relative to the root (fMRIPrep derivatives)",
    "mask": "Brain mask of the run, relative to the root (fMRIPrep derivatives)",
    "sampling_frequency": "Samples per second (Hz); for BOLD one over the repetition time",
    "repetition_time": "Time between two volumes (s)",
    "n_samples": "Number of samples or volumes",
    "n_targets": "Number of channels, voxels of the grid, vertices, or parcels",
    "duration": "Length of the recording (s)",
}
_DATATYPE = {"ieeg": "ieeg", "bold": "func"}
_EXTENSIONS = {
    "ieeg": (".vhdr", ".edf", ".set", ".mefd", ".nwb"),
    "bold": (".nii.gz", ".nii"),
    "surface": (".func.gii",),
}
_FILTERS = {"sessions": "session", "acquisitions": "acquisition", "runs": "run"}


def index_dataset(name: str, spec: Mapping[str, Any]) -> pd.DataFrame:
    """List the recordings of a dataset and check everything that headers and tables can tell.

    Parameters
    ----------
    name : str
        Name of the dataset in the config.
    spec : mapping
        Entry of the config: `root`, `kind` (`ieeg`, `bold` or `parcels`), `subjects` (list or
        `all`: every subject that has such a recording), `tasks` (list; all if left out), filters
        `sessions`, `acquisitions`, `runs` (lists), and by kind: `space` (iEEG: space of the
        electrodes' coordinates), `derivative` (BOLD: mapping with `root`, `desc`, `space`, `res`,
        `den`, to take preprocessed images, or with a `space` such as fsaverage5 series on a
        surface, instead of the raw ones), `pattern` and `repetition_time`
        (parcels). `preprocess.resample` tells whether recordings may differ in rate.

    Returns
    -------
    pandas.DataFrame
        Columns `INDEX_COLUMNS`; sorted by subject and run; paths relative to the root.

    Raises
    ------
    InputError
        For a root, subject, task or recording that is not there, content that was not fetched,
        events outside their recording or without onset or duration, a repetition time that
        contradicts the image, recordings of one dataset at different rates, and a surface whose
        other hemisphere is missing or does not fit.
    """
    root = Path(spec["root"])
    if not root.is_dir():
        raise InputError(f"{root}: no such BIDS root; correct `datasets.{name}.root` in the config")
    subjects = _subjects(root, spec, name)
    finder = _parcel_files if spec["kind"] == "parcels" else _bids_files
    found = finder(root, subjects, spec, name)
    rows = [_row(name, root, path, entities, spec) for path, entities in found]
    index = pd.DataFrame(rows, columns=list(INDEX_COLUMNS))
    index = index.sort_values(["subject", "run"], kind="stable", ignore_index=True)
    _check_unique(index, root)
    check_rates(index, root, (spec.get("preprocess") or {}).get("resample"))
    return index


def _subjects(root: Path, spec: Mapping[str, Any], name: str) -> list[str]:
    """Subjects to look for; those named in the config must have a folder."""
    there = sorted(path.name.removeprefix("sub-") for path in root.glob("sub-*") if path.is_dir())
    wanted = spec.get("subjects", "all")
    if wanted == "all":
        if not there:
            raise InputError(
                f"{root}: no subject (folder sub-*) in it; correct `datasets.{name}.root`"
            )
        return there
    wanted = [str(subject).removeprefix("sub-") for subject in wanted]
    for subject in wanted:
        if subject not in there:
            raise InputError(
                f"{root}: subject '{subject}' of `datasets.{name}.subjects` is not there; it has: "
                f"{', '.join(there) or 'none'}"
            )
    return wanted


# raw recordings and fMRIPrep derivatives --------------------------------------------------------


def _bids_files(
    root: Path, subjects: list[str], spec: Mapping[str, Any], name: str
) -> list[tuple[Path, dict[str, str]]]:
    """Find the recordings of the wanted subjects and tasks, with their entities."""
    base = _base(root, spec, name)
    candidates = {subject: _candidates(base, subject, spec) for subject in subjects}
    tasks_there = {entities.get("task", "") for some in candidates.values() for _, entities in some}
    _check_tasks(spec, tasks_there, base, name)
    found = []
    for subject in subjects:
        chosen = [pair for pair in candidates[subject] if _wanted(pair[1], spec)]
        if spec.get("subjects", "all") != "all":
            _check_complete(chosen, spec, subject, base, name)
        found += chosen
    if not found:
        raise InputError(
            f"{base}: no {spec['kind']} recording fits `datasets.{name}`; check its `tasks`, "
            "`sessions`, `acquisitions`, `runs` and `derivative`"
        )
    for path, _ in found:
        check_fetched(path)
        if path.name.endswith((".json", ".tsv")):
            raise InputError(
                f"{path}: recording absent: there is this file but no "
                f"{' or '.join(_extensions(spec))} file beside it; fetch the recording "
                "(`datalad get` in a git-annex checkout), or "
                f"leave it out through `datasets.{name}.subjects`, `sessions`, `acquisitions` or "
                "`runs`"
            )
        if _on_surface(spec):
            _check_hemispheres(path, name)
    return found


def _on_surface(spec: Mapping[str, Any]) -> bool:
    """Tell whether the config asks for series on a surface."""
    return spec["kind"] == "bold" and is_surface((spec.get("derivative") or {}).get("space"))


def _extensions(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """File name extensions of the recordings that the config asks for."""
    return _EXTENSIONS["surface" if _on_surface(spec) else spec["kind"]]


def _check_hemispheres(path: Path, name: str) -> None:
    """Check that a recording on a surface has both of its files."""
    for one, other in zip(hemispheres(path), reversed(hemispheres(path)), strict=True):
        check_fetched(one)
        if not one.exists():
            raise InputError(
                f"{one}: hemisphere absent: there is {other.name} but not this file; add it, or "
                f"leave the run out through `datasets.{name}.subjects`, `sessions`, "
                "`acquisitions` or `runs`"
            )


def _base(root: Path, spec: Mapping[str, Any], name: str) -> Path:
    """Folder that holds the images: the root, or that of the derivative."""
    derivative = spec.get("derivative")
    if not derivative:
        return root
    for base in (root / derivative["root"], Path(derivative["root"])):
        if base.is_dir():
            return base
    raise InputError(
        f"{root / derivative['root']}: no such folder; correct `datasets.{name}.derivative.root`"
    )


def _candidates(
    base: Path, subject: str, spec: Mapping[str, Any]
) -> list[tuple[Path, dict[str, str]]]:
    """Find a subject's recordings; a sidecar or events without one stand for an absent one.

    Both hemispheres of a recording on a surface are one, which the left one stands for.
    """
    kind = spec["kind"]
    folder, datatype = base / f"sub-{subject}", _DATATYPE[kind]
    folders = [folder / datatype, *sorted(folder.glob(f"ses-*/{datatype}"))]
    paths = [path for one in folders if one.is_dir() for path in sorted(one.iterdir())]
    suffix = f"_{'ieeg' if kind == 'ieeg' else 'bold'}"
    data: dict[Path, Path] = {}
    for extension in _extensions(spec):
        for path in paths:
            if path.name.endswith(suffix + extension):
                data.setdefault(path.with_name(path.name.removesuffix(extension)), path)
    found = [(data[stem], entities_of(data[stem])) for stem in sorted(data)]
    # sidecars and events may leave out entities (one file for two runs) but must fit a recording
    for ending in (f"{suffix}.json", "_events.tsv"):
        for path in paths:
            own = entities_of(path) if path.name.endswith(ending) else None
            if own and not any(applies(own, entities) for _, entities in found):
                found.append((path, own))
    if not _on_surface(spec):
        return found
    there = {path for path, _ in found}
    return [pair for pair in found if not there & {hemispheres(pair[0])[0]} - {pair[0]}]


def _wanted(entities: Mapping[str, str], spec: Mapping[str, Any]) -> bool:
    """Tell whether a recording passes the filters of the config."""
    tasks = spec.get("tasks")
    if tasks and entities.get("task") not in tasks:
        return False
    for key, entity in _FILTERS.items():
        allowed = spec.get(key)
        if allowed is not None and not _among(entities.get(entity), allowed):
            return False
    derivative = spec.get("derivative") or {}
    wanted = {"description": derivative.get("desc", "preproc")} if derivative else {}
    if _on_surface(spec) and wanted["description"] == "preproc":
        # fMRIPrep names its series on surfaces without a description
        wanted["description"] = None
    wanted |= {key: str(derivative[key]) for key in ("space", "res", "den") if derivative.get(key)}
    return all(entities.get(key) == value for key, value in wanted.items())


def _among(value: str | None, allowed: Iterable[Any]) -> bool:
    """Compare an entity with the values of a filter; 1, "1" and "01" are the same number."""
    if value is None:
        return False
    texts = [str(one) for one in allowed]
    numbers = {int(one) for one in texts if one.isdigit()}
    return value in texts or (value.isdigit() and int(value) in numbers)


def _check_tasks(spec: Mapping[str, Any], there: set[str], base: Path, name: str) -> None:
    """Every task that the config names must exist in some subject."""
    for task in spec.get("tasks") or ():
        if task not in there:
            raise InputError(
                f"{base}: no {spec['kind']} recording of task '{task}' of `datasets.{name}.tasks`; "
                f"tasks there are: {', '.join(sorted(there - {''})) or 'none'}"
            )


def _check_complete(
    chosen: list[tuple[Path, dict[str, str]]],
    spec: Mapping[str, Any],
    subject: str,
    base: Path,
    name: str,
) -> None:
    """Check that a subject named in the config has each of the tasks named there."""
    missing = set(spec.get("tasks") or ()) - {entities.get("task") for _, entities in chosen}
    if missing or not chosen:
        what = f"task '{sorted(missing)[0]}'" if missing else f"`datasets.{name}`"
        raise InputError(
            f"{base / f'sub-{subject}'}: recording absent: subject '{subject}' has no "
            f"{spec['kind']} recording of {what}; remove the subject from "
            f"`datasets.{name}.subjects`, or check the filters"
        )


# parcel time series -----------------------------------------------------------------------------


def _parcel_files(
    root: Path, subjects: list[str], spec: Mapping[str, Any], name: str
) -> list[tuple[Path, dict[str, str]]]:
    """Parcel arrays that fit the pattern of the config."""
    pattern = spec["pattern"]
    tasks = spec.get("tasks") or ["*"]
    found = []
    for subject in subjects:
        for task in tasks:
            wildcards = _fill(pattern, {"subject": subject, "task": task})
            paths = sorted(root.glob(wildcards))
            pairs = [(path, {**entities_of(path), "subject": subject}) for path in paths]
            chosen = [
                (path, ents) for path, ents in pairs if _wanted(ents, {**spec, "tasks": None})
            ]
            if not chosen and spec.get("subjects", "all") != "all":
                _fail_parcels(root, pattern, subject, task, name)
            found += chosen
    if not found:
        _fail_parcels(root, pattern, "*", tasks[0], name)
    for path, _ in found:
        check_fetched(path)
    return found


def _fill(pattern: str, values: Mapping[str, str]) -> str:
    """Fill a path pattern; placeholders without a value match anything."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "*"), pattern)


def _fail_parcels(root: Path, pattern: str, subject: str, task: str, name: str) -> None:
    """Say which parcel file is absent and which tasks there are."""
    others = root.glob(_fill(pattern, {"subject": subject}))
    tasks = sorted({entities_of(path).get("task", "n/a") for path in others})
    raise InputError(
        f"{root / _fill(pattern, {'subject': subject, 'task': task})}: recording absent; tasks "
        f"there are: {', '.join(tasks) or 'none'}; correct `datasets.{name}.tasks` or `pattern`"
    )


# rows and checks --------------------------------------------------------------------------------


def _row(
    name: str, root: Path, path: Path, entities: dict[str, str], spec: Mapping[str, Any]
) -> dict[str, Any]:
    """One row of the index."""
    kind = spec["kind"]
    header = _header(root, path, entities, spec, name)
    companions = _companions(root, entities, spec, name)
    row = {
        "dataset": name,
        "subject": entities["subject"],
        "session": entities.get("session"),
        "task": entities.get("task"),
        "acquisition": entities.get("acquisition"),
        "run": run_label(entities),
        "kind": kind,
        "path": relative(path, root),
        **{key: relative(value, root) for key, value in companions.items()},
        "sampling_frequency": header.sampling_frequency,
        "repetition_time": np.nan if header.repetition_time is None else header.repetition_time,
        "n_samples": header.n_samples,
        "n_targets": header.n_targets,
        "duration": header.duration,
    }
    if companions["events"] is not None:
        events = read_events(companions["events"])
        # some recordings are one sample short, and onset and duration are often written to 1 ms
        tolerance = 1.0 / header.sampling_frequency + 1e-3
        check_events_inside(
            events, companions["events"], path, header.duration, tolerance,
            header.before, header.after,
        )  # fmt: skip
    return row


def _header(
    root: Path, path: Path, entities: dict[str, str], spec: Mapping[str, Any], name: str
) -> Header:
    """Size and rate of a recording."""
    if spec["kind"] == "parcels":
        return parcel_header(path, spec.get("repetition_time"))
    if spec["kind"] == "ieeg":
        return ieeg_header(path, metadata_of(root, entities, "ieeg", "ieeg"))
    metadata = metadata_of(root, entities, "func", "bold")
    base = _base(root, spec, name)
    if base != root:
        metadata |= metadata_of(base, entities, "func", "bold")
    if _on_surface(spec):
        return surface_header(hemispheres(path), mesh_of(path), metadata)
    return bold_header(path, metadata)


def _companions(
    root: Path, entities: dict[str, str], spec: Mapping[str, Any], name: str
) -> dict[str, Path | None]:
    """Tables and images that belong to a recording."""
    kind = spec["kind"]
    datatype = _DATATYPE.get(kind, "func")
    found: dict[str, Path | None] = dict.fromkeys(("channels", "electrodes", "confounds", "mask"))
    found["events"] = companion(root, entities, datatype, "events.tsv")
    if kind == "ieeg":
        found["channels"] = companion(root, entities, datatype, "channels.tsv")
        found["electrodes"] = _electrodes(root, entities, spec.get("space"), name)
    if kind == "bold" and spec.get("derivative"):
        base = _base(root, spec, name)
        found["confounds"] = companion(
            base, entities, datatype, "timeseries.tsv", {"description": "confounds"}
        )
        if not _on_surface(spec):
            found["mask"] = companion(
                base, entities, datatype, "mask.nii.gz", {"description": "brain"}
            )
    return found


def _electrodes(root: Path, entities: dict[str, str], space: str | None, name: str) -> Path | None:
    """Table of electrodes in the wanted space; of several, an MNI space is taken first."""
    if space is not None:
        path = companion(root, entities, "ieeg", "electrodes.tsv", {"space": space})
        if path is None:
            raise InputError(
                f"{root / ('sub-' + entities['subject'])}: no electrodes.tsv in space '{space}' of "
                f"`datasets.{name}.space`; remove the key, or name a space that is there"
            )
        return path
    found = companion(root, entities, "ieeg", "electrodes.tsv", {"space": None})
    if found is None:
        return None
    spaces = {entities_of(path).get("space") for path in found.parent.glob("*_electrodes.tsv")}
    mni = sorted(one for one in spaces if one and one.startswith("MNI"))
    chosen = companion(root, entities, "ieeg", "electrodes.tsv", {"space": mni[0]}) if mni else None
    return chosen or found


def _check_unique(index: pd.DataFrame, root: Path) -> None:
    """Two recordings of a subject must not share a run label."""
    twice = index.duplicated(["subject", "run"], keep=False)
    if twice.any():
        one, other = index.loc[twice, "path"].iloc[:2]
        raise InputError(
            f"{root / one}: is the same run as {other}; choose one of them through "
            "`derivative.space`, `derivative.res`, `derivative.den` or the `pattern` of the dataset"
        )


def check_rates(index: pd.DataFrame, root: Path, resample: float | None = None) -> None:
    """All recordings of a dataset must have one rate, unless they are to be resampled.

    Parameters
    ----------
    index : pandas.DataFrame
        Recordings of one dataset, of one subject or of several.
    root : pathlib.Path
        BIDS root, for the message.
    resample : float, optional
        Rate in Hz that preprocessing gives every iEEG recording.

    Raises
    ------
    InputError
        If two recordings differ: names both and the filter that tells them apart.
    """
    electric = not index.empty and index["kind"].iloc[0] == "ieeg"
    if electric and resample:
        return
    column, unit = ("sampling_frequency", "Hz") if electric else ("repetition_time", "s")
    tolerance = 1e-3 if electric else TR_TOLERANCE
    for (_, one), (_, other) in pairwise(index.iterrows()):
        if abs(one[column] - other[column]) > tolerance:
            remedy = " or set `preprocess.resample`" if electric else ""
            raise InputError(
                f"{root / one['path']}: {column.replace('_', ' ')} is {one[column]:g} {unit} but "
                f"that of {other['path']} is {other[column]:g} {unit}; select recordings of one "
                f"rate through `{_differing(one, other)}`{remedy}"
            )


def _differing(one: pd.Series, other: pd.Series) -> str:
    """Name the filter that tells two recordings apart."""
    for key, column in (
        ("acquisitions", "acquisition"),
        ("sessions", "session"),
        ("tasks", "task"),
        ("subjects", "subject"),
    ):
        first, second = one[column], other[column]
        if (given(first) or given(second)) and first != second:
            return key
    return "runs"
