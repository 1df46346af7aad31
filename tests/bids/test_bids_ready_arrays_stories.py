"""ds003020: responses that lack the ends of their scans, and the words on their clock."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import ready_arrays_world as world
from ready_arrays_world import SCANNED

from braid.bids import index_dataset, read_events, validate
from braid.bids.__main__ import main
from braid.bids.importers import ArrayOptions, import_ds003020
from braid.common import InputError, read_json, read_table

WORDS = {"kind": "words", "context_words": 3, "context_after": 2, "sentence_column": "none"}
STEM = "sub-01/func/sub-01_task-story_acq-"


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    root = tmp_path_factory.mktemp("ds003020")
    made = world.write_ds003020(root)
    out = tmp_path_factory.mktemp("made") / "bids"
    assert main(["import", "ds003020", str(root), "--out", str(out)]) == 0
    return root, out, made


def test_the_result_is_valid_bids(imported):
    assert validate(imported[1])["errors"] == []


def test_values_are_those_of_the_release(imported):
    _, out, made = imported
    for number in (1, 2):
        for story in SCANNED:
            name = f"sub-0{number}_task-story_acq-{story}_desc-voxels_timeseries"
            values = np.load(out / f"sub-0{number}" / "func" / f"{name}.npy")
            assert values.dtype == np.float32
            np.testing.assert_allclose(values, made[f"UTS0{number}", story], atol=1e-6)
    people = read_table(out / "participants.tsv")
    assert list(people["source_id"]) == ["UTS01", "UTS02"]


def test_onsets_count_from_the_first_volume_of_the_array(imported):
    root, out, _ = imported
    events = read_events(out / f"{STEM}alpha_events.tsv")
    story = events[events["trial_type"] == "story"].iloc[0]
    assert story["onset"] == pytest.approx(-(10 * 2.0045 - 10)) and story["stim_time"] == 0
    words = events[events["trial_type"] == "word"]
    np.testing.assert_allclose(words["onset"], words["stim_time"] - 10.045, atol=1e-4)
    spoken = [row for row in world.intervals(0, 80.0) if row[2].startswith("w")]
    assert list(words["text"]) == [row[2] for row in spoken]
    transcript = read_table(out / "stimuli" / "alpha.tsv")
    np.testing.assert_allclose(transcript["onset"], [row[0] for row in spoken])
    sidecar = read_json(out / f"{STEM}alpha_desc-voxels_timeseries.json")
    assert sidecar["RepetitionTime"] == 2.0045
    assert sidecar["NumberOfVolumesDiscardedByUser"] == 10 and str(root) not in json.dumps(sidecar)


def test_the_design_is_that_of_the_laboratory(tmp_path):
    """Rows [10:-5] of features resampled to respdict - 5 volumes of 2 s, sound from 10 s on."""
    world.write_ds003020(tmp_path / "source", ("UTS01",))
    out = tmp_path / "out"
    import_ds003020(tmp_path / "source", out, ArrayOptions(repetition_time=2.0))
    design = {"kind": "lanczos", "standardize": True, "trim": [0, 0]}
    response, built, events, features = world.run_through(out, "story", "01", WORDS, design)
    for number, (story, scanned) in enumerate(sorted(SCANNED.items())):
        rows = np.flatnonzero(built["run"] == number)
        assert len(rows) == scanned - 20
        own = events[events["run"] == f"task-story_acq-{story}"]
        # on the clock of the story, by hand
        middle = own["stimulus_time"].to_numpy() + own["duration"].to_numpy() / 2
        volumes = 2.0 * np.arange(scanned - 5) - 10.0 + 1.0
        lag = (volumes[:, None] - middle) / 2.0
        weights = np.sinc(lag) * np.sinc(lag / 3) * (np.abs(lag) <= 3)
        made = weights @ np.array([features[unit] for unit in own["unit"]], dtype=float)
        np.testing.assert_allclose(built["layer_00"].values[rows], made[10:-5], atol=2e-5)
    np.testing.assert_allclose(response.groupby("run").mean().values, 0, atol=1e-6)
    np.testing.assert_allclose(response.groupby("run").std().values, 1, atol=1e-5)
    assert response["target"].values[3] == "voxel-000003"


def test_words_said_before_the_first_volume_are_context(imported):
    _, out, _ = imported
    _, _, events, _ = world.run_through(out, "story", "02", WORDS, {"kind": "lanczos"})
    first = events[(events["run"] == "task-story_acq-alpha") & (events["onset"] >= 0)].iloc[0]
    assert len(first["text"].split()) == 6 and (events["onset"] < -10).any()


def test_one_subject_more(tmp_path):
    world.write_ds003020(tmp_path / "source")
    out = tmp_path / "out"
    import_ds003020(tmp_path / "source", out, ArrayOptions(subjects=(2,)))
    assert sorted(path.name for path in out.glob("sub-*")) == ["sub-02"]
    report = import_ds003020(tmp_path / "source", out, ArrayOptions(subjects=(1,)))
    assert list(read_table(out / "participants.tsv")["participant_id"]) == ["sub-01", "sub-02"]
    values = report.set_index(["run", "measure"])["value"]
    alpha = values["sub-01_task-story_acq-alpha"]
    assert alpha["words"] == 99 and alpha["marks that are no words, left out"] == 99
    assert alpha["volumes"] == 30
    with pytest.raises(InputError, match="is there already"):
        import_ds003020(tmp_path / "source", out, ArrayOptions(subjects=(1,)))
    with pytest.raises(InputError, match="subject 8 is not there; it has: 1, 2"):
        import_ds003020(tmp_path / "source", out, ArrayOptions(subjects=(8,)))


@pytest.mark.parametrize("tr", [0, -2, 2004.5])
def test_a_repetition_time_that_is_none(tmp_path, tr):
    world.write_ds003020(tmp_path / "source", ("UTS01",))
    with pytest.raises(InputError, match=r"give seconds, such as 2\.0045"):
        import_ds003020(tmp_path / "source", tmp_path / "out", ArrayOptions(repetition_time=tr))


def spoil_rows(root):
    with h5py.File(root / "derivative/preprocessed_data/UTS01/alpha.hf5", "r+") as file:
        values = file["data"][:-1]
        del file["data"]
        file["data"] = values


def spoil_key(root):
    with h5py.File(root / "derivative/preprocessed_data/UTS01/alpha.hf5", "r+") as file:
        file.move("data", "resp")


def spoil_respdict(root):
    (root / "derivative/respdict.json").write_text(json.dumps({"alpha": 50}))


def spoil_count(root):
    (root / "derivative/respdict.json").write_text(json.dumps({"alpha": "50"}))


def spoil_grid(root):
    (root / "derivative/TextGrids/alpha.TextGrid").unlink()


def spoil_length(root):
    path = root / "derivative/TextGrids/alpha.TextGrid"
    path.write_text(path.read_text().replace("xmax = 78.8 ", "xmax = 178.8 "))


def spoil_values(root):
    with h5py.File(root / "derivative/preprocessed_data/UTS01/alpha.hf5", "r+") as file:
        file["data"][...] = np.nan


def spoil_voxels(root):
    with h5py.File(root / "derivative/preprocessed_data/UTS01/alpha.hf5", "r+") as file:
        values = file["data"][:, 1:]
        del file["data"]
        file["data"] = values


def spoil_file(root):
    (root / "derivative/preprocessed_data/UTS01/alpha.hf5").write_bytes(b"x" * 2000)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_rows, r"alpha\.hf5: has 29 volumes, but the scan of 'alpha' had 50 .* 30 are left"),
        (spoil_key, r"alpha\.hf5: there is no dataset 'data' \(it has: resp\)"),
        (spoil_respdict, r"respdict\.json: says nothing of story 'wheretheressmoke'"),
        (spoil_count, r"respdict\.json: story 'alpha' has '50' volumes"),
        (spoil_grid, r"alpha\.TextGrid: no such file"),
        (spoil_length, r"alpha\.TextGrid: the words are said .* transcript of another story"),
        (spoil_values, r"alpha\.hf5: every value is NaN"),
        (spoil_voxels, r"wheretheressmoke\.hf5: has 7 voxels but .*alpha\.hf5 has 6"),
        (spoil_file, r"alpha\.hf5: cannot be read as HDF5"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, capsys, spoil, message):
    world.write_ds003020(tmp_path / "source", ("UTS01",))
    spoil(tmp_path / "source")
    out = tmp_path / "out"
    with pytest.raises(InputError, match=message):
        import_ds003020(tmp_path / "source", out)
    assert not (out / "sub-01").exists()
    assert main(["import", "ds003020", str(tmp_path / "source"), "--out", str(out)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_events_before_a_recording_need_volumes_that_were_cut_off(imported, tmp_path):
    out = imported[1]
    index = index_dataset("set", world.spec(out, "story", subjects=["01"]))
    assert list(index["n_samples"]) == [30, 25]
    path = out / f"{STEM}alpha_desc-voxels_timeseries.json"
    sidecar = path.read_text()
    try:
        for count, message in ((3, "lies outside the recording"), (-1, "is -1; write a whole")):
            changed = {**json.loads(sidecar), "NumberOfVolumesDiscardedByUser": count}
            path.write_text(json.dumps(changed))
            with pytest.raises(InputError, match=message):
                index_dataset("set", world.spec(out, "story", subjects=["01"]))
    finally:
        path.write_text(sidecar)
