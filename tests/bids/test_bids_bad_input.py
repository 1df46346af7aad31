"""Bad input stops with one sentence that names the file, the row and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from braid.bids import index_dataset, read_events
from braid.common import InputError

FILM = "sub-01_task-film_run-01"


def index(root: Path, **more):
    kind = more.pop("kind", "bold")
    return index_dataset("cinema", {"root": root, "kind": kind, "subjects": "all", **more})


def message(root: Path, **more) -> str:
    with pytest.raises(InputError) as caught:
        index(root, **more)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_root_that_does_not_exist(tmp_path):
    text = message(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in text and "`datasets.cinema.root`" in text


def test_subject_that_is_absent(bold_root):
    assert "subject '07'" in (text := message(bold_root, subjects=["01", "07"]))
    assert "it has: 01, 02" in text


def test_task_that_nobody_has(bold_root):
    text = message(bold_root, tasks=["flim"])
    assert "task 'flim'" in text and "tasks there are: film, story" in text


def test_task_that_a_named_subject_lacks(bold_root):
    for path in (bold_root / "sub-02" / "func").glob("*story*"):
        path.unlink()
    text = message(bold_root, subjects=["01", "02"], tasks=["film", "story"])
    assert "subject '02' has no bold recording of task 'story'" in text
    assert "recording absent" in text
    # with `all`, subjects without the task are left out
    assert list(index(bold_root, tasks=["story"])["subject"]) == ["01"]


def test_recording_removed_but_its_events_are_there(bold_root):
    (bold_root / "sub-01" / "func" / f"{FILM}_bold.nii.gz").unlink()
    text = message(bold_root, tasks=["film"])
    assert f"{FILM}_events.tsv: recording absent" in text


def test_broken_annex_link(bold_root):
    path = bold_root / "sub-01" / "func" / f"{FILM}_bold.nii.gz"
    path.unlink()
    path.symlink_to("../../.git/annex/objects/aa/bb/MD5E-s1--x.nii.gz/MD5E-s1--x.nii.gz")
    text = message(bold_root, tasks=["film"])
    assert f"{FILM}_bold.nii.gz" in text and "git-annex" in text and "datalad get" in text


def test_annex_pointer_file(bold_root):
    path = bold_root / "sub-01" / "func" / f"{FILM}_bold.nii.gz"
    path.write_text("/annex/objects/MD5E-s1234--0123456789.nii.gz\n")
    assert "has not been fetched" in message(bold_root, tasks=["film"])


def test_annex_link_of_the_samples_beside_a_fetched_header(ieeg_writer):
    root = ieeg_writer()
    path = root / "sub-01" / "ieeg" / "sub-01_task-film_ieeg.eeg"
    path.unlink()
    path.symlink_to("../../.git/annex/objects/aa/bb/x.eeg/x.eeg")
    text = message(root, kind="ieeg")
    assert "_ieeg.eeg: git-annex file" in text


def test_truncated_set_of_files(ieeg_writer):
    root = ieeg_writer()
    (root / "sub-01" / "ieeg" / "sub-01_task-film_ieeg.eeg").unlink()
    assert "_ieeg.vhdr: the recording cannot be opened" in message(root, kind="ieeg")


@pytest.mark.parametrize(
    ("rows", "row"), [([(1, 1), (50, 1)], 2), ([(-3, 1)], 1), ([(1, 1), (2, 1), (35, 8)], 3)]
)
def test_events_outside_the_recording(bold_root, events_writer, rows, row):
    events_writer(bold_root / "sub-01" / "func" / f"{FILM}_events.tsv", rows)
    text = message(bold_root, tasks=["film"])
    assert f"{FILM}_events.tsv: row {row}:" in text and "lasts 40.000 s" in text


def test_events_may_end_one_volume_late(bold_root, events_writer):
    events_writer(bold_root / "sub-01" / "func" / f"{FILM}_events.tsv", [(38, 4)])
    assert len(index(bold_root, tasks=["film"])) == 4


@pytest.mark.parametrize("column", ["onset", "duration"])
def test_missing_events_column(bold_root, events_writer, column):
    columns = tuple(name for name in ("onset", "duration", "trial_type") if name != column)
    path = bold_root / "sub-01" / "func" / f"{FILM}_events.tsv"
    events_writer(path, [(1, 1)], columns)
    text = message(bold_root, tasks=["film"])
    assert str(path) in text and f"column '{column}' is missing" in text


def test_onset_that_is_no_number(bold_root, events_writer):
    events_writer(bold_root / "sub-01" / "func" / f"{FILM}_events.tsv", [(1, 1), ("soon", 1)])
    assert "row 2: onset 'soon' is not a number" in message(bold_root, tasks=["film"])


def test_a_quotation_mark_that_swallows_rows(bold_root):
    path = bold_root / "sub-01" / "func" / f"{FILM}_events.tsv"
    lines = ["onset\tduration\ttext", "1\t1\tyes", '2\t1\t"hello', "3\t1\tthere", '4\t1\t"bye"']
    path.write_text("\n".join(lines) + "\n")
    text = message(bold_root, tasks=["film"])
    assert f"{FILM}_events.tsv: row 2: text begins with a quotation mark" in text
    # as the standard has it: quoted, and doubled within
    lines[2] = '2\t1\t"""hello"'
    path.write_text("\n".join(lines) + "\n")
    assert list(read_events(path)["text"]) == ["yes", '"hello', "there", "bye"]


@pytest.mark.parametrize(("zoom", "unit", "shown"), [(2.5, "sec", "2.5"), (2500, "msec", "2.5")])
def test_repetition_time_that_contradicts_the_header(bold_root, zoom, unit, shown):
    import nibabel as nib

    path = bold_root / "sub-01" / "func" / f"{FILM}_bold.nii.gz"
    image = nib.Nifti1Image(np.zeros((4, 5, 3, 20), np.float32), np.eye(4))
    image.header.set_zooms((1, 1, 1, zoom))
    image.header.set_xyzt_units("mm", unit)
    nib.save(image, path)
    text = message(bold_root, tasks=["film"])
    assert path.name in text and f"is 2 s but the NIfTI header says {shown} s" in text


def test_no_repetition_time_at_all(bold_root):
    (bold_root / "task-film_bold.json").write_text('{"TaskName": "film"}')
    text = message(bold_root, tasks=["film"])
    assert f"{FILM}_bold.nii.gz" in text and "RepetitionTime" in text


def test_image_that_is_not_a_run(bold_root):
    import nibabel as nib

    path = bold_root / "sub-01" / "func" / f"{FILM}_bold.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 3), np.float32), np.eye(4)), path)
    assert "must be 4-D" in message(bold_root, tasks=["film"])
    path.write_bytes(b"this is not gzip" * 100)
    assert "not a readable NIfTI image" in message(bold_root, tasks=["film"])
    whole = (bold_root / "sub-02" / "func" / "sub-02_task-story_bold.nii.gz").read_bytes()
    path.write_bytes(whole[:120])
    assert "not a readable NIfTI image" in message(bold_root, tasks=["film"])


def test_two_sampling_rates(ieeg_writer):
    ieeg_writer(acquisition="clinical", rate=256.0)
    root = ieeg_writer(acquisition="grid", rate=250.0)
    text = message(root, kind="ieeg")
    assert "acq-clinical_ieeg.vhdr" in text and "acq-grid_ieeg.vhdr" in text
    assert "256 Hz" in text and "250 Hz" in text and "`acquisitions`" in text
    assert "preprocess.resample" in text
    resampled = index(root, kind="ieeg", preprocess={"resample": 100})
    assert sorted(resampled["sampling_frequency"]) == [250.0, 256.0]
    assert len(index(root, kind="ieeg", acquisitions=["grid"])) == 1


def test_two_repetition_times(bold_root):
    import nibabel as nib

    folder = bold_root / "sub-01" / "func"
    image = nib.Nifti1Image(np.zeros((4, 5, 3, 20), np.float32), np.eye(4))
    image.header.set_zooms((1, 1, 1, 3.0))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, folder / "sub-01_task-story_bold.nii.gz")
    (folder / "sub-01_task-story_bold.json").write_text(json.dumps({"RepetitionTime": 3.0}))
    text = message(bold_root, subjects=["01"])
    assert "repetition time" in text and "`tasks`" in text and "resample" not in text


def test_sidecar_rate_that_contradicts_the_recording(ieeg_writer):
    root = ieeg_writer()
    path = root / "sub-01" / "ieeg" / "sub-01_task-film_ieeg.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "SamplingFrequency": 512}))
    assert "header says 256 Hz but SamplingFrequency" in message(root, kind="ieeg")


def test_filters_that_leave_nothing(bold_root):
    text = message(bold_root, tasks=["film"], sessions=["9"])
    assert "no bold recording fits `datasets.cinema`" in text and "`sessions`" in text


def test_derivative_that_does_not_exist(bold_root):
    assert "derivative.root" in message(bold_root, derivative={"root": "derivatives/none"})


def test_space_of_electrodes_that_does_not_exist(ieeg_writer):
    root = ieeg_writer()
    assert "no electrodes.tsv in space 'MNI'" in message(root, kind="ieeg", space="MNI")


def test_parcels_that_are_absent(tmp_path):
    folder = tmp_path / "sub-01"
    folder.mkdir()
    np.save(folder / "sub-01_task-film_timeseries.npy", np.zeros((5, 3)))
    spec = {"kind": "parcels", "pattern": "sub-{subject}/sub-{subject}_task-{task}_timeseries.npy"}
    text = message(tmp_path, tasks=["story"], **spec)
    assert "recording absent" in text and "tasks there are: film" in text
    assert "RepetitionTime" in message(tmp_path, tasks=["film"], **spec)
    sidecar = folder / "sub-01_task-film_timeseries.json"
    sidecar.write_text('{"RepetitionTime": "1.0"}')
    text = message(tmp_path, tasks=["film"], repetition_time=1.0, **spec)
    assert "RepetitionTime as a number of seconds" in text
    sidecar.unlink()
    (folder / "sub-01_task-film_timeseries.npy").write_bytes(b"")
    assert "not a plain NumPy array" in message(
        tmp_path, tasks=["film"], repetition_time=1.0, **spec
    )
    np.save(folder / "sub-01_task-film_timeseries.npy", np.zeros((5, 3, 2)))
    assert "volumes x parcels" in message(tmp_path, tasks=["film"], repetition_time=1.0, **spec)
