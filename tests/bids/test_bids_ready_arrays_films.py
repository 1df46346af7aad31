"""shortclips: films written anew, repeats as runs, and voxels that are NaN."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import ready_arrays_world as world

from braid.bids import index_dataset, validate
from braid.bids.__main__ import main
from braid.bids.importers import ArrayOptions, arrays, import_shortclips
from braid.common import InputError, read_table
from braid.inference.ceilings import from_repeats
from braid.preprocess import preprocess_parcels
from braid.stimuli import events_of, iter_frames, open_film, units_of

FRAMES = {"kind": "frames", "step": 1 / 15}
DESIGN = {"kind": "lanczos", "normalise": True, "standardize": True}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    root = tmp_path_factory.mktemp("shortclips")
    made = world.write_shortclips(root)
    out = tmp_path_factory.mktemp("made") / "bids"
    assert main(["import", "shortclips", str(root), "--out", str(out)]) == 0
    return root, out, made


def test_the_result_is_valid_bids(imported):
    assert validate(imported[1])["errors"] == []


def test_each_training_run_and_each_repeat_is_a_run(imported):
    _, out, made = imported
    index = index_dataset("films", world.spec(out, "film"))
    assert len(index) == 12 and set(index["repetition_time"]) == {2.0}
    folder = out / "sub-01" / "func"
    for k in range(2):
        name = f"sub-01_task-film_acq-train_run-0{k + 1}_desc-voxels_timeseries.npy"
        np.testing.assert_allclose(
            np.load(folder / name), made["Y_train"][8 * k : 8 * k + 8], rtol=1e-6
        )
    for k in range(10):
        name = f"sub-01_task-film_acq-test_run-{k + 1:02d}_desc-voxels_timeseries.npy"
        np.testing.assert_allclose(np.load(folder / name), made["Y_test"][k], rtol=1e-6)


def test_films_are_those_of_the_release(imported):
    root, out, _ = imported
    assert sorted(path.name for path in (out / "stimuli").iterdir()) == [
        "test.mp4", "train_00.mp4", "train_01.mp4",
    ]  # fmt: skip
    film = open_film(out / "stimuli" / "train_01.mp4")
    assert film.rate == 15 and film.duration == pytest.approx(16.0, abs=1e-3)
    with h5py.File(root / "stimuli" / "train_01.hdf") as file:
        frames = file["stimuli"][:]
    shown = np.array(list(iter_frames(film.path, np.arange(240) / 15)))
    assert np.abs(shown.astype(float) - frames).mean() < 1.5  # of 255


def test_it_runs_through(imported):
    _, out, made = imported
    response, built, events, features = world.run_through(out, "film", "01", FRAMES, DESIGN)
    kept = [f"voxel-{i:06d}" for i in (0, 1, 3, 5)]
    assert list(response["target"].values) == kept
    assert response.sizes["sample"] == built.sizes["sample"] == 16 + 60
    values = made["Y_train"][:8][:, [0, 1, 3, 5]]
    expected = (values - values.mean(axis=0)) / values.std(axis=0)
    first = int(np.flatnonzero(response["run"] == 10)[0])  # train follows test
    np.testing.assert_allclose(response.values[first : first + 8], expected, atol=1e-5)
    # 30 frames a volume, all of which weigh on it
    own = events[events["run"] == "task-film_acq-train_run-01"]
    assert len(own) == 240 and own["onset"].iloc[30] == pytest.approx(2.0)
    np.testing.assert_allclose(own["frame_time"], own["onset"], atol=1e-3)
    middle = own["onset"].to_numpy() + 1 / 30
    lag = (2 * np.arange(8)[:, None] + 1 - middle) / 2
    weights = np.sinc(lag) * np.sinc(lag / 3) * (np.abs(lag) <= 3)
    weights /= weights.sum(axis=1, keepdims=True)
    made_rows = weights @ np.array([features[unit] for unit in own["unit"]], dtype=float)
    np.testing.assert_allclose(built["layer_00"].values[first : first + 8], made_rows, atol=1e-5)


def test_repeats_share_their_units_and_give_a_ceiling(imported):
    _, out, _ = imported
    index = index_dataset("films", world.spec(out, "film", acquisitions=["test"]))
    units = units_of([events_of(index, out, FRAMES)])
    assert len(units) == 180 and set(units["stimulus"]) == {"stimuli/test.mp4"}
    signal = preprocess_parcels(index, out, {}).signal
    repeats = signal.values.reshape(10, 6, -1)
    assert from_repeats(repeats).n == 10


def test_repeats_are_averaged_as_the_laboratory_does(imported):
    """Z-score per run, mean over repeats, z-score again."""
    _, out, made = imported
    response, built, _, _ = world.run_through(
        out, "film", "01", FRAMES, DESIGN, repeats=[{"acquisition": "test"}]
    )
    assert response.sizes["sample"] == built.sizes["sample"] == 16 + 6

    def z(values):
        return (values - values.mean(axis=-2, keepdims=True)) / values.std(axis=-2, keepdims=True)

    expected = z(z(made["Y_test"][:, :, [0, 1, 3, 5]].astype(float)).mean(axis=0))
    np.testing.assert_allclose(response.values[response["run"] == 0], expected, atol=1e-5)


def test_voxels_with_nan_are_counted_and_left_out(imported):
    _, out, _ = imported
    report = read_table(out / "sub-01" / "sub-01_import.tsv")
    values = report.set_index(["run", "measure"])["value"]
    first = "sub-01_task-film_acq-train_run-01"
    assert values[first, "voxels with NaN"] == 2
    assert values[first, "voxels that are NaN throughout"] == 1
    assert values["sub-01_task-film_acq-train_run-02", "voxels with NaN"] == 1
    index = index_dataset("films", world.spec(out, "film"))
    excluded = preprocess_parcels(index, out, {"columns": "voxel"}).excluded
    assert list(excluded["target"]) == ["voxel-000002", "voxel-000004"]
    assert set(excluded["reason"]) == {"NaN"}


def test_pieces_make_no_difference(imported, tmp_path, monkeypatch):
    root, out, _ = imported
    monkeypatch.setattr(arrays, "BLOCK", 100)  # a frame, or four volumes
    import_shortclips(root, tmp_path / "out")
    for path in sorted(out.rglob("*.npy")) + sorted(out.rglob("*.mp4")):
        assert (tmp_path / "out" / path.relative_to(out)).read_bytes() == path.read_bytes()


def test_regions_come_from_the_masks_if_there_are_any(tmp_path):
    world.write_shortclips(tmp_path / "source")
    (tmp_path / "source" / "mappers").mkdir()
    with h5py.File(tmp_path / "source" / "mappers" / "S01_mappers.hdf", "w") as file:
        file["roi_mask_V1"] = np.array([1, 1, 0, 0, 0, 0], dtype=bool)
        file["roi_mask_V2"] = np.array([0, 1, 0, 0, 0, 1], dtype=bool)
    import_shortclips(tmp_path / "source", tmp_path / "out")
    params = {"labels": "sub-{subject}/sub-{subject}_labels.tsv"}
    index = index_dataset("films", world.spec(tmp_path / "out", "film"))
    signal = preprocess_parcels(index, tmp_path / "out", params).signal
    assert list(signal["region"].values) == ["V1", "V1+V2", "n/a", "V2"]


def spoil(root, key, change):
    with h5py.File(root / "responses" / "S01_responses.hdf", "r+") as file:
        values = change(file[key][:])
        del file[key]
        file[key] = values


def without_film(root):
    (root / "stimuli" / "train_01.hdf").unlink()


def other_frames(root, frames):
    with h5py.File(root / "stimuli" / "test.hdf", "w") as file:
        file["stimuli"] = frames


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_film, r"train_01\.hdf: the film is not there; fetch the folder"),
        (lambda root: spoil(root, "Y_train", lambda y: y[:-1]), "training run 2 has 7 volumes but"),
        (lambda root: spoil(root, "Y_test", lambda y: y[:, :-1]), "the test film has 5 volumes"),
        (lambda root: spoil(root, "Y_test", lambda y: y[..., 1:]), "6 voxels but Y_test 5"),
        (lambda root: spoil(root, "Y_test", lambda y: y[0]), "3 dimensions are expected"),
        (lambda root: spoil(root, "run_onsets", lambda y: y[::-1]), r"run_onsets \[8, 0\] must"),
        (lambda root: spoil(root, "run_onsets", lambda y: y + 8), r"run_onsets \[8, 16\] must"),
        (lambda root: spoil(root, "Y_test", lambda y: y * np.nan), r"every value is NaN \(task-"),
        (
            lambda root: spoil(root, "Y_train", lambda y: np.where(np.eye(16, 6), np.nan, y)),
            r"every voxel is NaN at some time \(task-film_acq-train_run-01\)",
        ),
        (lambda root: other_frames(root, np.zeros((50, 4, 4, 3), np.uint8)), "no whole number"),
        (lambda root: other_frames(root, np.zeros((180, 5, 4, 3), np.uint8)), "even sides"),
        (lambda root: other_frames(root, np.zeros((180, 4, 4, 3))), "float64, not uint8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    world.write_shortclips(tmp_path / "source")
    change(tmp_path / "source")
    with pytest.raises(InputError, match=message):
        import_shortclips(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out" / "sub-01").exists()


def test_films_may_lie_elsewhere(tmp_path):
    world.write_shortclips(tmp_path / "source")
    (tmp_path / "source" / "stimuli").rename(tmp_path / "films")
    import_shortclips(tmp_path / "source", tmp_path / "out", ArrayOptions(films=tmp_path / "films"))
    assert (tmp_path / "out" / "stimuli" / "test.mp4").exists()
    with pytest.raises(InputError, match="which stays as it is"):
        import_shortclips(tmp_path / "source", tmp_path / "source" / "bids")
