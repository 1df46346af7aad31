"""The index: what is found, with which companions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braid.bids import INDEX_COLUMNS, entities_of, index_dataset, run_entities, run_label
from braid.common import read_table, write_table

SONG = "sub-{subject}/func/sub-{subject}_task-{task}_space-Schaefer200_desc-parcels_timeseries.npy"


def test_label_names_the_entities_in_order_and_can_be_taken_apart():
    name = "sub-01_ses-1_task-film_acq-x_run-02_space-T1w_desc-preproc_bold.nii.gz"
    label = run_label(entities_of(name))
    assert label == "ses-1_task-film_acq-x_run-02"
    assert run_entities(label) == {
        "session": "1",
        "task": "film",
        "acquisition": "x",
        "run": "02",
    }


def test_bold_with_sidecars_at_the_root(bold_root):
    index = index_dataset(
        "cinema", {"root": bold_root, "kind": "bold", "subjects": "all", "tasks": ["film"]}
    )
    assert list(index.columns) == list(INDEX_COLUMNS)
    assert list(index["subject"]) == ["01", "01", "02", "02"]
    assert list(index["run"]) == ["task-film_run-01", "task-film_run-02"] * 2
    first = index.iloc[0]
    assert first["path"] == "sub-01/func/sub-01_task-film_run-01_bold.nii.gz"
    assert first["events"] == "sub-01/func/sub-01_task-film_run-01_events.tsv"
    assert (first["repetition_time"], first["sampling_frequency"]) == (2.0, 0.5)
    assert (first["n_samples"], first["n_targets"], first["duration"]) == (20, 60, 40.0)


def test_index_survives_being_written_and_read(bold_root, tmp_path):
    index = index_dataset("cinema", {"root": bold_root, "kind": "bold", "subjects": "all"})
    write_table(tmp_path / "index.tsv", index, INDEX_COLUMNS)
    again = read_table(tmp_path / "index.tsv")
    assert list(again["run"]) == list(index["run"])
    assert list(again["subject"]) == ["01"] * 3 + ["02"] * 3
    assert again["confounds"].isna().all()


@pytest.mark.parametrize("wanted", [[2], ["02"], ["2"]])
def test_run_filter_takes_numbers_and_text(bold_root, wanted):
    spec = {"root": bold_root, "kind": "bold", "subjects": ["sub-01"], "tasks": ["film"]}
    index = index_dataset("cinema", {**spec, "runs": wanted})
    assert list(index["run"]) == ["task-film_run-02"]


def test_more_specific_sidecars_win(bold_root):
    import nibabel as nib

    folder = bold_root / "sub-02" / "func"
    for path in folder.glob("*_bold.nii.gz"):
        image = nib.load(path)
        data = np.asarray(image.dataobj)
        changed = nib.Nifti1Image(data, image.affine)
        changed.header.set_zooms((5, 5, 5, 1500.0))
        changed.header.set_xyzt_units("mm", "msec")
        nib.save(changed, path)
    for task in ("film", "story"):
        (folder / f"sub-02_task-{task}_bold.json").write_text('{"RepetitionTime": 1.5}')
    for path in folder.glob("*_events.tsv"):
        path.write_text("onset\tduration\n1\t1\n")
    spec = {"root": bold_root, "kind": "bold", "subjects": ["02"], "tasks": ["film"]}
    # the header counts in milliseconds: 1500 ms agree with 1.5 s
    assert list(index_dataset("cinema", spec)["repetition_time"]) == [1.5, 1.5]


def test_derivatives_come_with_confounds_and_mask(bold_root):
    import nibabel as nib

    folder = bold_root / "derivatives" / "prep" / "sub-01" / "func"
    folder.mkdir(parents=True)
    stem = "sub-01_task-film_run-01"
    for space in ("MNI", "T1w"):
        raw = nib.load(bold_root / "sub-01" / "func" / f"{stem}_bold.nii.gz")
        nib.save(raw, folder / f"{stem}_space-{space}_desc-preproc_bold.nii.gz")
        mask = nib.Nifti1Image(np.ones((4, 5, 3), np.uint8), raw.affine)
        nib.save(mask, folder / f"{stem}_space-{space}_desc-brain_mask.nii.gz")
    (folder / f"{stem}_desc-confounds_timeseries.tsv").write_text("trans_x\n" + "0\n" * 20)
    spec = {"root": bold_root, "kind": "bold", "subjects": ["01"], "tasks": ["film"]}
    row = index_dataset(
        "cinema", {**spec, "derivative": {"root": "derivatives/prep", "space": "MNI"}}
    ).iloc[0]
    assert row["path"] == f"derivatives/prep/sub-01/func/{stem}_space-MNI_desc-preproc_bold.nii.gz"
    assert row["mask"].endswith(f"{stem}_space-MNI_desc-brain_mask.nii.gz")
    assert row["confounds"].endswith(f"{stem}_desc-confounds_timeseries.tsv")
    assert row["events"] == f"sub-01/func/{stem}_events.tsv"
    with pytest.raises(ValueError, match=r"is the same run as .*derivative\.space"):
        index_dataset("cinema", {**spec, "derivative": {"root": "derivatives/prep"}})


def test_ieeg_recording_and_companions(ieeg_writer):
    root = ieeg_writer()
    index = index_dataset("seeg", {"root": root, "kind": "ieeg", "subjects": "all"})
    row = index.iloc[0]
    assert row["path"] == "sub-01/ieeg/sub-01_task-film_ieeg.vhdr"
    assert row["channels"] == "sub-01/ieeg/sub-01_task-film_channels.tsv"
    assert (row["sampling_frequency"], row["n_samples"], row["n_targets"]) == (256.0, 2048, 4)
    assert np.isnan(row["repetition_time"])


def test_electrodes_prefer_mni_and_obey_the_config(ieeg_writer):
    root = ieeg_writer()
    for space in ("ACPC", "MNI152Lin"):
        path = root / "sub-01" / "ieeg" / f"sub-01_space-{space}_electrodes.tsv"
        path.write_text("name\tx\ty\tz\tsize\nLA1\t1\t2\t3\t1\n")
    spec = {"root": root, "kind": "ieeg", "subjects": "all"}
    assert "space-MNI152Lin" in index_dataset("seeg", spec)["electrodes"].iloc[0]
    spec["space"] = "ACPC"
    assert "space-ACPC" in index_dataset("seeg", spec)["electrodes"].iloc[0]


def test_events_apply_to_both_acquisitions(ieeg_writer):
    ieeg_writer(acquisition="clinical")
    root = ieeg_writer(acquisition="grid")
    folder = root / "sub-01" / "ieeg"
    (folder / "sub-01_task-film_acq-clinical_events.tsv").rename(
        folder / "sub-01_task-film_events.tsv"
    )
    (folder / "sub-01_task-film_acq-grid_events.tsv").unlink()
    index = index_dataset("seeg", {"root": root, "kind": "ieeg", "subjects": "all"})
    assert list(index["run"]) == ["task-film_acq-clinical", "task-film_acq-grid"]
    assert set(index["events"]) == {"sub-01/ieeg/sub-01_task-film_events.tsv"}


def test_parcels_as_tables_with_the_repetition_time_in_the_config(tmp_path):
    folder = tmp_path / "sub-01"
    folder.mkdir()
    table = "a\tb\tc\n" + "1\t2\t3\n" * 7
    (folder / "sub-01_task-film_run-1_timeseries.tsv").write_text(table)
    spec = {
        "root": tmp_path,
        "kind": "parcels",
        "subjects": ["01"],
        "tasks": ["film"],
        "pattern": "sub-{subject}/sub-{subject}_task-{task}_run-{run}_timeseries.tsv",
        "repetition_time": 1.5,
    }
    row = index_dataset("parcels", spec).iloc[0]
    assert (row["n_samples"], row["n_targets"], row["run"]) == (7, 3, "task-film_run-1")
    sidecar = folder / "sub-01_task-film_run-1_timeseries.json"
    sidecar.write_text(json.dumps({"RepetitionTime": 1.0}))
    with pytest.raises(ValueError, match=r"RepetitionTime is 1 s but `repetition_time`.* 1.5 s"):
        index_dataset("parcels", spec)


# real recordings ----------------------------------------------------------------------------------


def test_haxby(shared_data):
    spec = {"root": shared_data / "haxby_bids", "kind": "bold", "subjects": ["01"]}
    index = index_dataset("haxby", {**spec, "tasks": ["objectviewing"]})
    assert len(index) == 12
    assert set(index["repetition_time"]) == {2.5}
    assert set(index["n_samples"]) == {121} and set(index["n_targets"]) == {800}
    low = index_dataset("haxby", {**spec, "derivative": {"root": "derivatives/lowres25mm"}})
    assert set(low["n_targets"]) == {600} and low["mask"].nunique() == 1


def test_song(shared_data):
    index = index_dataset(
        "song",
        {
            "root": shared_data / "song2023",
            "kind": "parcels",
            "subjects": "all",
            "tasks": ["sitcomep1", "sitcomep2", "documentary"],
            "pattern": SONG,
        },
    )
    assert index["subject"].nunique() == 6 and set(index["n_targets"]) == {200}
    lengths = index.groupby("task")["n_samples"].unique()
    assert {task: list(n) for task, n in lengths.items()} == {
        "documentary": [1281],
        "sitcomep1": [1486],
        "sitcomep2": [1465],
    }


@pytest.mark.parametrize(
    ("folder", "task", "subjects"),
    [("ieeg_podcast_skeleton", "podcast", "all"), ("ieeg_film_skeleton", "film", ["36"])],
)
def test_sidecars_are_not_recordings(shared_data, folder, task, subjects):
    spec = {"root": shared_data / folder, "kind": "ieeg", "subjects": subjects, "tasks": [task]}
    with pytest.raises(ValueError, match=r"_ieeg\.json: recording absent"):
        index_dataset("skeleton", spec)


def test_podcast_skeleton_with_a_recording_reads_a_byte_order_mark(shared_data, tmp_path):
    import shutil

    import mne
    from pybv import write_brainvision

    from braid.bids.files import given

    root = tmp_path / "podcast"
    shutil.copytree(shared_data / "ieeg_podcast_skeleton" / "sub-01", root / "sub-01")
    folder = root / "sub-01" / "ieeg"
    channels = read_table(folder / "sub-01_task-podcast_channels.tsv", required=("name", "type"))
    names = list(channels["name"])
    noise = np.random.default_rng(0).normal(0, 1e-5, (len(names), 512 * 3))
    write_brainvision(
        data=noise,
        sfreq=512,
        ch_names=names,
        fname_base="sub-01_task-podcast_ieeg",
        folder_out=str(folder),
    )
    index = index_dataset("podcast", {"root": root, "kind": "ieeg", "subjects": ["01"]})
    assert index["n_targets"].iloc[0] == len(names)
    assert "MNI152NLin2009aSym" in index["electrodes"].iloc[0]
    assert not given(index["events"].iloc[0])
    assert mne.io.read_raw(root / index["path"].iloc[0], verbose="ERROR").ch_names == names
