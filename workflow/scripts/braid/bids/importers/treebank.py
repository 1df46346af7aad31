"""The two importers of Brain Treebank: its native files, and the public BIDS conversion of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids.cuts import detect_cuts
from braid.bids.files import check_fetched, entities_of
from braid.bids.headers import ieeg_header
from braid.bids.importers.brainvision import (
    hdf5_blocks,
    hdf5_length,
    header_names,
    renamed_header,
    write_in_blocks,
)
from braid.bids.importers.films import (
    MOST_SHIFT,
    Brightness,
    check_film,
    find_film,
    put_file,
    read_brightness,
)
from braid.bids.importers.options import SCENES, Options
from braid.bids.importers.treebank_clock import Segment, segments_of
from braid.bids.importers.treebank_events import events_table
from braid.bids.importers.treebank_source import (
    FRAME_RATE,
    RATE,
    Trial,
    clean_label,
    find_scene_annotations,
    find_trials,
    read_corrupted,
    read_film_id,
    read_labels,
    read_localization,
    read_scene_cuts,
    read_timings,
    read_transcript,
)
from braid.bids.importers.treebank_write import (
    channels_table,
    check_target,
    electrodes_table,
    recording_sidecar,
    write_electrodes,
    write_top,
    write_tsv,
)
from braid.common import (
    InputError,
    atomic_folder,
    progress,
    read_json,
    read_table,
    write_json,
    write_table,
    write_text,
)

REPORT_COLUMNS = {
    "run": "Recording",
    "film": "Film id",
    "measure": "What was counted or measured; events are those written, and left out by reason",
    "value": "Its value",
}


@dataclass(frozen=True)
class _Plan:
    """All that is written of one recording but its samples; made before anything is written."""

    trial: Trial
    stem: str
    recording: Path
    film: str
    film_path: Path | None
    channels: pd.DataFrame
    electrodes: pd.DataFrame
    events: pd.DataFrame
    sidecar: dict[str, Any]
    measures: dict[str, Any]


@dataclass
class _Shelf:
    """Films of an import; each is decoded once, however many people watched it."""

    options: Options
    seen: dict[Path, Brightness] = field(default_factory=dict)
    cuts: dict[Path, np.ndarray] = field(default_factory=dict)

    def brightness(self, path: Path) -> Brightness:
        """Brightness of each frame of a film."""
        if path not in self.seen:
            self.seen[path] = read_brightness(path)
        return self.seen[path]

    def detected(self, path: Path) -> np.ndarray:
        """Scene cuts of a film, s from its first frame."""
        if path not in self.cuts:
            self.cuts[path] = detect_cuts(path)
        return self.cuts[path]


def import_treebank(source: Path, out: Path, options: Options | None = None) -> pd.DataFrame:
    """Turn the native files of Brain Treebank into a BIDS data set.

    Everything but the samples is read, checked and tabulated for all recordings first. Samples are
    then written as float32 microvolts in BrainVision files, in pieces of some 30 s, so that memory
    does not grow with the film. Run = trial + 1. Each subject appears when it is complete, and
    further ones can be added by a later call.

    Parameters
    ----------
    source : path
        Folder of the unpacked archives; not changed.
    out : path
        Root of the BIDS data set: new, empty, or made by this function.
    options : Options, optional

    Returns
    -------
    pandas.DataFrame
        Columns of `REPORT_COLUMNS`, also in `code/sub-*_import.tsv`: what was written, what was
        left out and why.

    Raises
    ------
    InputError
        If a file or film is missing or wrong; names it and the remedy.
    BraidError
        If scene cuts are to be detected and PySceneDetect is not installed.
    """
    source, out, options = Path(source), Path(out), options or Options()
    recordings = find_trials(source)
    trials = _wanted(list(recordings), source, options)
    _check(out, [source], trials, options)
    shelf = _Shelf(options)
    plans = [_native_plan(source, trial, recordings[trial], shelf) for trial in trials]
    _check_offsets(plans, options)
    return _write(out, plans, _write_native, options, {}, None)


def complete_treebank(
    source: Path, metadata: Path, out: Path, options: Options | None = None
) -> pd.DataFrame:
    """Complete the public BIDS conversion of Brain Treebank (NEMAR nm000253) in a new data set.

    The conversion has no events, lost the marks of labels or the labels themselves, the status of
    channels and part of the localization. All of it is made again from the metadata of the native
    data set; of the conversion the recordings are used, through links (or copies), with headers
    that give the channels their names.

    Parameters
    ----------
    source : path
        Root of the conversion; not changed.
    metadata : path
        Folder with the native metadata (`electrode_labels`, `subject_timings`, `transcripts`, ...);
        its recordings are not needed.
    out, options
        As for `import_treebank`.

    Returns
    -------
    pandas.DataFrame
        As from `import_treebank`.

    Raises
    ------
    InputError
        As from `import_treebank`; also if a recording was not fetched by git-annex, or its channels
        cannot be told from the labels.
    BraidError
        If scene cuts are to be detected and PySceneDetect is not installed.
    """
    source, metadata, out = Path(source), Path(metadata), Path(out)
    options = options or Options()
    recordings = _converted(source)
    trials = _wanted(list(recordings), source, options)
    _check(out, [source, metadata], trials, options)
    shelf = _Shelf(options)
    plans = [_converted_plan(metadata, trial, recordings[trial], shelf) for trial in trials]
    _check_offsets(plans, options)
    top = _description(source), _people(source)
    return _write(out, plans, _write_converted, options, *top)


def match_names(recorded: Sequence[str], labels: Sequence[str], path: Path) -> list[str]:
    """Give the channels of a converted recording their cleaned labels, in order.

    The conversion kept the order of channels. It wrote `x` for `*` and `-` for `/` and kept `#`;
    where a recording has a channel more than there are labels, it numbered all (`iEEG000`, ...).
    Such a channel is the last one and keeps its name.

    Parameters
    ----------
    recorded : sequence of str
        Names in the recording.
    labels : sequence of str
        From `read_labels`.
    path : pathlib.Path
        The recording, for error messages.

    Raises
    ------
    InputError
        If names and labels do not go together.
    """
    names = [clean_label(label) for label in labels]
    if len(recorded) - len(labels) not in (0, 1):
        raise InputError(
            f"{path}: has {len(recorded)} channels but electrode_labels.json {len(labels)} labels; "
            "use recordings and metadata of one version of the data set"
        )
    numbered = all(name == f"iEEG{number:03d}" for number, name in enumerate(recorded))
    if not numbered:
        for number, (name, label) in enumerate(zip(recorded, labels, strict=False)):
            converted = label.replace("*", "x").replace("/", "-").replace(" ", "")
            if clean_label(name) not in (clean_label(converted), clean_label(label)):
                raise InputError(
                    f"{path}: channel {number + 1} is '{name}' but label {number + 1} of "
                    f"electrode_labels.json is '{label}'; use recordings and metadata of one "
                    "version of the data set"
                )
    return [*names, *recorded[len(labels) :]]


# plans ------------------------------------------------------------------------------------------


def _wanted(trials: list[Trial], source: Path, options: Options) -> list[Trial]:
    """Trials of the subjects to import."""
    if options.subjects is None:
        return trials
    there = {trial.subject for trial in trials}
    for subject in options.subjects:
        if subject not in there:
            raise InputError(
                f"{source}: no recording of subject {subject}; there are: "
                f"{', '.join(map(str, sorted(there)))}"
            )
    return [trial for trial in trials if trial.subject in options.subjects]


def _check(out: Path, sources: list[Path], trials: Sequence[Trial], options: Options) -> None:
    """Check what can be checked before any file is read."""
    if options.scenes not in SCENES:
        raise InputError(f"scenes: '{options.scenes}' is not one of {', '.join(SCENES)}")
    if options.scenes == "detect" and options.films is None:
        raise InputError("scenes: 'detect' looks for cuts in the films; name their folder: --films")
    if options.films is not None and not options.films.is_dir():
        raise InputError(f"{options.films}: no such folder; it must hold your copies of the films")
    check_target(out, sources, sorted({trial.label for trial in trials}))


def _check_offsets(plans: Sequence[_Plan], options: Options) -> None:
    """Check that every offset is of a film that was shown."""
    films = sorted({plan.film for plan in plans})
    for film in options.offsets:
        if film not in films:
            raise InputError(
                f"--film-offset {film}: no such film in this import; its films are: "
                f"{', '.join(films)}"
            )


def _native_plan(source: Path, trial: Trial, path: Path, shelf: _Shelf) -> _Plan:
    """Plan of a native recording."""
    check_fetched(path)
    n_datasets, n_samples = hdf5_length(path)
    labels = read_labels(source, trial.subject)
    # one recording is known to have one more than labels; more would leave the order in doubt
    extra = n_datasets - len(labels)
    if extra not in (0, 1):
        raise InputError(
            f"{path}: has {n_datasets} datasets but electrode_labels.json {len(labels)} labels; "
            "use recordings and metadata of one version of the data set"
        )
    plan = _plan(source, trial, path, labels, [], n_samples, shelf)
    plan.measures["datasets without a label, left out"] = extra
    return plan


def _converted_plan(metadata: Path, trial: Trial, path: Path, shelf: _Shelf) -> _Plan:
    """Plan of a recording of the conversion."""
    check_fetched(path)
    header = ieeg_header(path, {})
    if abs(header.sampling_frequency - RATE) > 1e-3:
        raise InputError(
            f"{path}: has {header.sampling_frequency:g} Hz, the triggers count samples at {RATE:g} "
            "Hz; use the recordings as they were published"
        )
    labels = read_labels(metadata, trial.subject)
    names = match_names(header_names(path), labels, path)
    unlabelled = names[len(labels) :]
    sidecar = path.with_name(path.name.replace("_ieeg.vhdr", "_ieeg.json"))
    check_fetched(sidecar)
    known = read_json(sidecar) if sidecar.exists() else {}
    plan = _plan(metadata, trial, path, labels, unlabelled, header.n_samples, shelf, known)
    plan.measures["channels without a label"] = len(unlabelled)
    return plan


def _plan(
    source: Path,
    trial: Trial,
    recording: Path,
    labels: list[str],
    unlabelled: list[str],
    n_samples: int,
    shelf: _Shelf,
    known: dict[str, Any] | None = None,
) -> _Plan:
    """Plan of a recording from the native metadata."""
    corrupted = read_corrupted(source, trial.subject)
    channels = channels_table(labels, corrupted, unlabelled)
    electrodes = electrodes_table(channels, read_localization(source, trial.subject))
    film, title = read_film_id(source, trial)
    segments = segments_of(*read_timings(source, trial), RATE)
    words, sentences, incomplete = read_transcript(source, film)
    path = None
    if shelf.options.films is not None:
        path = find_film(shelf.options.films, film, title)
    offset = float(shelf.options.offsets.get(film, 0.0))
    measures: dict[str, Any] = {
        "channels": len(channels),
        "bad channels": int((channels["status"] == "bad").sum()),
        "corrupted labels that no channel has": len(corrupted - set(channels["name"])),
        "contacts without a localization": int(electrodes["x"].isna().sum()),
        "stretches of film without a pause": len(segments),
        "words with empty cells, left out": incomplete,
    }
    if path is not None:
        measures |= _film_measures(shelf, path, words, segments, offset)
    cuts, origin = _cuts(source, film, path, offset, shelf)
    measures["origin of scene cuts"] = origin
    events, counts = events_table(
        segments, words, sentences, cuts, n_samples, RATE, path.name if path else None, offset
    )
    return _Plan(
        trial=trial,
        stem=trial.stem,
        recording=recording,
        film=film,
        film_path=path,
        channels=channels,
        electrodes=electrodes,
        events=events,
        sidecar=recording_sidecar(channels, title, n_samples, known),
        measures=measures | counts,
    )


def _film_measures(
    shelf: _Shelf, path: Path, words: pd.DataFrame, segments: list[Segment], offset: float
) -> dict[str, Any]:
    """Check a film against the transcript; what was measured, or that it could not be."""
    brightness = words.get("mean_pixel_brightness", pd.Series(np.nan, index=words.index))
    numbers = pd.to_numeric(brightness, errors="coerce").to_numpy(float)
    last = max(one.high for one in segments)
    seen = shelf.brightness(path)
    times = words["start"].to_numpy(float)
    found = {
        f"film: {name}": round(value, 4)
        for name, value in check_film(path, seen, times, numbers, last, offset).items()
    }
    return {"film: offset": offset, "film: brightness r": "not checked", **found}


def _cuts(
    source: Path, film: str, path: Path | None, offset: float, shelf: _Shelf
) -> tuple[np.ndarray, str]:
    """Scene cuts on the transcript's clock, s, and where they come from."""
    options = shelf.options
    if options.scenes in ("auto", "annotations"):
        annotated = find_scene_annotations(source, film)
        if annotated is not None:
            return read_scene_cuts(annotated, options.scene_column), "annotations"
        if options.scenes == "annotations":
            raise InputError(
                f"{source / 'scene_annotations'}: no annotation of '{film}'; unpack "
                "scene_annotations.zip, or choose --scenes detect or none"
            )
    if path is not None and options.scenes in ("auto", "detect"):
        times = shelf.detected(path) - offset
        # where a lead ends, the film begins: no cut
        return times[times > MOST_SHIFT / FRAME_RATE], "PySceneDetect"
    return np.empty(0), "none"


# writing ----------------------------------------------------------------------------------------


def _write(
    out: Path,
    plans: Sequence[_Plan],
    write_recording: Callable[[Path, _Plan, Options], None],
    options: Options,
    description: dict[str, Any],
    people: pd.DataFrame | None,
) -> pd.DataFrame:
    """Write planned recordings, subject by subject; gives the report on all."""
    reports = []
    # also before any subject: an import that was interrupted can then be continued
    write_top(out, description, people)
    for label, group in groupby(plans, key=lambda plan: plan.trial.label):
        of_subject = list(group)
        for plan in of_subject:
            if plan.film_path is not None:
                target = out / "stimuli" / plan.film_path.name
                put_file(plan.film_path, target, options.copy)
        with atomic_folder(out / f"sub-{label}") as subject:
            folder = subject / "ieeg"
            folder.mkdir()
            write_electrodes(folder, label, of_subject[0].electrodes)
            for plan in of_subject:
                write_tsv(folder / f"{plan.stem}_channels.tsv", plan.channels)
                write_tsv(folder / f"{plan.stem}_events.tsv", plan.events)
                write_json(folder / f"{plan.stem}_ieeg.json", plan.sidecar)
                write_recording(folder, plan, options)
        report = _report(of_subject)
        write_table(out / "code" / f"sub-{label}_import.tsv", report, REPORT_COLUMNS)
        write_top(out, description, people)
        reports.append(report)
    return pd.concat(reports, ignore_index=True)


def _report(plans: Sequence[_Plan]) -> pd.DataFrame:
    """Tabulate what is known of an import."""
    rows = [
        (plan.stem, plan.film, measure, value)
        for plan in plans
        for measure, value in plan.measures.items()
    ]
    return pd.DataFrame(rows, columns=list(REPORT_COLUMNS))


def _write_native(folder: Path, plan: _Plan, options: Options) -> None:
    """Write the samples of a native recording."""
    names = plan.channels["name"].tolist()
    blocks = progress(hdf5_blocks(plan.recording, len(names)), f"writing {plan.stem}")
    write_in_blocks(folder, f"{plan.stem}_ieeg", names, RATE, blocks)


def _write_converted(folder: Path, plan: _Plan, options: Options) -> None:
    """Write the header of a converted recording, and put its samples beside it."""
    header = renamed_header(plan.recording, plan.channels["name"].tolist())
    write_text(folder / plan.recording.name, header)
    shutil.copyfile(
        plan.recording.with_suffix(".vmrk"), folder / plan.recording.with_suffix(".vmrk").name
    )
    samples = plan.recording.with_suffix(".eeg")
    put_file(samples, folder / samples.name, options.copy)


# the conversion ---------------------------------------------------------------------------------


def _converted(source: Path) -> dict[Trial, Path]:
    """Find the recordings of the conversion, fetched or not."""
    found = {}
    for path in sorted(source.glob("sub-*/ieeg/*_ieeg.vhdr")):
        entities = entities_of(path)
        numbers = entities.get("subject", ""), entities.get("run", "")
        if entities.get("task") == "movie" and all(one.isdigit() for one in numbers):
            found[Trial(int(numbers[0]), int(numbers[1]) - 1)] = path
    if not found:
        raise InputError(
            f"{source}: no sub-*/ieeg/*_task-movie_run-*_ieeg.vhdr; name the root of the BIDS "
            "conversion of Brain Treebank"
        )
    return dict(sorted(found.items()))


def _description(source: Path) -> dict[str, Any]:
    """dataset_description.json of the conversion, which becomes a source of the new data set."""
    path = source / "dataset_description.json"
    check_fetched(path)
    content: dict[str, Any] = read_json(path) if path.exists() else {}
    origins = list(content.get("SourceDatasets", []))
    doi = {"DOI": content["DatasetDOI"]} if content.get("DatasetDOI") else {}
    # the identifier and version are those of the conversion, not of what is made of it
    kept = {key: value for key, value in content.items() if key not in ("DatasetDOI", "Version")}
    return {**kept, "SourceDatasets": [*origins, doi] if doi else origins}


def _people(source: Path) -> pd.DataFrame | None:
    """participants.tsv of the conversion; it lacks people, and age and sex of all."""
    path = source / "participants.tsv"
    if not path.exists():
        return None
    return read_table(path, required=("participant_id",))
