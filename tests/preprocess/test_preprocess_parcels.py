"""Ready parcel time series."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braid.bids import index_dataset
from braid.common import InputError
from braid.preprocess import parcels, preprocess_parcels

PATTERN = "sub-{subject}/sub-{subject}_task-{task}_timeseries.npy"
SONG = "sub-{subject}/func/sub-{subject}_task-{task}_space-Schaefer200_desc-parcels_timeseries.npy"


def write(root, runs, tr=1.5):
    folder = root / "sub-01"
    folder.mkdir(exist_ok=True)
    for task, values in runs.items():
        np.save(folder / f"sub-01_task-{task}_timeseries.npy", values)
        sidecar = folder / f"sub-01_task-{task}_timeseries.json"
        sidecar.write_text(json.dumps({"RepetitionTime": tr}))
    spec = {"root": root, "kind": "parcels", "subjects": ["01"], "pattern": PATTERN}
    return index_dataset("parcels", {**spec, "tasks": list(runs)})


def series(seed: int, n: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).normal(7, 3, (n, 6)).astype(np.float32)


def test_values_names_and_clock(tmp_path):
    runs = {"film": series(0), "story": series(1, 30)}
    cleaned = preprocess_parcels(write(tmp_path, runs), tmp_path, {})
    signal = cleaned.signal
    assert list(signal["target"].values) == [f"parcel-{i:03d}" for i in range(6)]
    assert signal.attrs["repetition_time"] == 1.5 and signal["time"].values[51] == 1.5
    for run, values in enumerate(runs.values()):
        expected = (values - values.mean(axis=0)) / values.std(axis=0)
        np.testing.assert_allclose(signal.values[signal["run"] == run], expected, atol=1e-5)
    assert np.isnan(signal["x"]).all() and set(signal["region"].values) == {"n/a"}


def test_nan_and_flat_parcels_keep_the_numbers_of_the_others(tmp_path):
    first, second = series(0), series(1)
    first[:, 1] = 4
    second[3, 4] = np.nan
    cleaned = preprocess_parcels(write(tmp_path, {"a": first, "b": second}), tmp_path, {})
    assert list(cleaned.signal["target"].values) == [f"parcel-00{i}" for i in (0, 2, 3, 5)]
    reasons = dict(zip(cleaned.excluded["target"], cleaned.excluded["reason"], strict=True))
    assert reasons == {"parcel-001": "flat", "parcel-004": "NaN"}
    with pytest.raises(InputError, match="every parcel is flat or NaN"):
        preprocess_parcels(write(tmp_path, {"a": np.ones((9, 6))}), tmp_path, {})


def test_labels(tmp_path):
    index = write(tmp_path, {"film": series(0)})
    rows = "".join(f"r{i}\t{i}\t0\t1\n" for i in range(6))
    (tmp_path / "labels.tsv").write_text("region\tx\ty\tz\n" + rows)
    signal = preprocess_parcels(index, tmp_path, {"labels": "labels.tsv"}).signal
    assert list(signal["region"].values) == [f"r{i}" for i in range(6)]
    np.testing.assert_array_equal(signal["x"], range(6))
    (tmp_path / "labels.tsv").write_text("region\nr0\n")
    with pytest.raises(InputError, match="1 rows for 6 parcels"):
        preprocess_parcels(index, tmp_path, {"labels": "labels.tsv"})


def test_voxels_and_their_indices(tmp_path):
    index = write(tmp_path, {"film": series(0)})
    rows = "".join(f"{i}\t{i + 1}\t0\tn/a\n" for i in range(6))
    (tmp_path / "labels.tsv").write_text("i\tj\tk\tx\n" + rows)
    params = {"labels": "labels.tsv", "columns": "voxel"}
    signal = preprocess_parcels(index, tmp_path, params).signal
    assert list(signal["target"].values) == [f"voxel-00000{i}" for i in range(6)]
    np.testing.assert_array_equal(signal["j"], np.arange(1, 7))
    assert signal["i"].dtype == np.int32 and np.isnan(signal["x"]).all()
    (tmp_path / "labels.tsv").write_text("i\n" + "n/a\n" * 6)
    assert "i" not in preprocess_parcels(index, tmp_path, params).signal.coords
    with pytest.raises(
        InputError, match=r"preprocess\.columns: 'vertex' is not one of parcel, voxel"
    ):
        preprocess_parcels(index, tmp_path, {"columns": "vertex"})


def test_a_run_without_anything_is_named(tmp_path):
    runs = {"a": series(0), "b": np.full((9, 6), np.nan)}
    with pytest.raises(InputError, match=r"task-b_timeseries\.npy: every parcel is flat or NaN in"):
        preprocess_parcels(write(tmp_path, runs), tmp_path, {})


@pytest.mark.parametrize("params", [{}, {"standardize": False, "detrend": "quadratic"}])
def test_columns_in_pieces_make_no_difference(tmp_path, monkeypatch, params):
    first, second = series(0), series(1, 30)
    first[:, 1] = 4
    first[:, 2] = np.arange(50)
    second[3, 4] = np.nan
    index = write(tmp_path, {"a": first, "b": second})
    whole = preprocess_parcels(index, tmp_path, params)
    monkeypatch.setattr(parcels, "_BLOCK", 900)  # two columns
    pieces = preprocess_parcels(index, tmp_path, params)
    np.testing.assert_allclose(pieces.signal.values, whole.signal.values, atol=1e-6)
    assert pieces.excluded.equals(whole.excluded) and pieces.quality.equals(whole.quality)
    assert len(whole.excluded) == (3 if params else 2)


def test_runs_of_different_parcellations(tmp_path):
    index = write(tmp_path, {"a": series(0), "b": series(1)[:, :5]})
    with pytest.raises(InputError, match=r"different numbers of parcels \(5, 6\)"):
        preprocess_parcels(index, tmp_path, {})


def test_song_inter_subject_correlation(shared_data):
    """Leave-one-out correlation between subjects: known mean 0.253, largest 0.563."""
    root = shared_data / "song2023"
    spec = {"root": root, "kind": "parcels", "subjects": "all", "pattern": SONG}
    index = index_dataset("song", {**spec, "tasks": ["sitcomep2"]})
    signals = []
    for _, rows in index.groupby("subject"):
        cleaned = preprocess_parcels(rows, root, {})
        assert cleaned.signal.shape == (1465, 200) and cleaned.excluded.empty
        signals.append(cleaned.signal.values.astype(float))
    stack = np.array(signals)
    found = []
    for own in range(6):
        others = np.delete(stack, own, axis=0).mean(axis=0)
        others = (others - others.mean(axis=0)) / others.std(axis=0)
        found.append((stack[own] * others).mean(axis=0))
    correlation = np.mean(found, axis=0)
    assert correlation.mean() == pytest.approx(0.253, abs=0.005)
    assert correlation.max() == pytest.approx(0.563, abs=0.005)
