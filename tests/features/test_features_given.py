"""Given arrays in NumPy, HDF5 and Zarr files, found by row or by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from braid.common import InputError
from braid.features import FeatureStore, extract, load_features
from braid.models import load_model
from braid.stimuli import events_of, units_of

RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal((12, 5)).astype(np.float32)
WORDS = [f"word-{k}" for k in range(12)]
Save = Callable[[Path, np.ndarray], str]


def _npy(root: Path, values: np.ndarray) -> str:
    np.save(root / "a.npy", values)
    return "a.npy"


def _hdf5(root: Path, values: np.ndarray) -> str:
    import h5py

    with h5py.File(root / "a.h5", "w") as file:
        file.create_dataset("story/layer_3", data=values, chunks=(4, 5))
        file.create_dataset("story/names", data=WORDS)
        file.create_dataset("other", data=values * 2)
    return "a.h5::story/layer_3"


def _zarr(root: Path, values: np.ndarray) -> str:
    import zarr

    group = zarr.open_group(root / "a.zarr", mode="w")
    group.create_array("story/layer_3", data=values, chunks=(4, 5))
    group.create_array("other", data=values * 2)
    return "a.zarr::story/layer_3"


def _zarr_alone(root: Path, values: np.ndarray) -> str:
    import zarr

    zarr.create_array(root / "b.zarr", data=values, chunks=(4, 5), overwrite=True)
    return "b.zarr"


SAVERS = [_npy, _hdf5, _zarr, _zarr_alone]


def _get(table: pd.DataFrame, root: Path, **settings: Any) -> np.ndarray:
    """Features of a given array."""
    entry = {"source": "given", "modality": "given", "settings": settings}
    manifest = extract(load_model("mine", entry), table, root, root / "store")
    (found,) = load_features(manifest, root / "store").values()
    assert list(found["unit"].values) == list(table["unit"])
    return found.values


def _units(rows: list[int], **columns: Any) -> pd.DataFrame:
    """Units of some rows."""
    return pd.DataFrame({"unit": [f"u{k}" for k in range(len(rows))], "row": rows, **columns})


@pytest.mark.parametrize("save", SAVERS)
def test_one_array_for_all_units(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path, VALUES)
    rows = [7, 0, 7, 11, 3]
    np.testing.assert_array_equal(_get(_units(rows), tmp_path, path=path), VALUES[rows])


@pytest.mark.parametrize("save", SAVERS)
def test_the_units_own_arrays(tmp_path: Path, save: Save) -> None:
    path = save(tmp_path, VALUES)
    rows = [11, 2, 2, 5]
    table = _units(rows, stimulus=path)
    np.testing.assert_array_equal(_get(table, tmp_path), VALUES[rows])
    # what is in the file counts, not what it is called
    model = load_model("mine", {"source": "given", "modality": "given"})
    first = extract(model, table, tmp_path, tmp_path / "store")["layers"][0]["key"]
    save(tmp_path, VALUES + 1)
    second = extract(model, table, tmp_path, tmp_path / "store")["layers"][0]["key"]
    assert first != second
    np.testing.assert_array_equal(FeatureStore(tmp_path / "store").get(second), VALUES[rows] + 1)


def test_two_data_sets_of_one_file_are_two_features(tmp_path: Path) -> None:
    _hdf5(tmp_path, VALUES)
    one, two = (_units([3, 4], stimulus=f"a.h5::{name}") for name in ("story/layer_3", "other"))
    np.testing.assert_array_equal(_get(one, tmp_path), VALUES[[3, 4]])
    np.testing.assert_array_equal(_get(two, tmp_path), 2 * VALUES[[3, 4]])


def _index(root: Path, runs: list[str]) -> pd.DataFrame:
    """Index of runs of twelve volumes."""
    run = {"subject": "01", "path": "x", "events": "n/a", "sampling_frequency": 0.5}
    return pd.DataFrame([{**run, "run": f"task-{name}", "n_samples": 12} for name in runs])


@pytest.mark.parametrize(
    ("save", "pattern"),
    [
        (_npy, "a.npy"),
        (_hdf5, "a.h5::{task}/layer_3"),
        (_zarr, "a.zarr::{task}/layer_3"),
        (_zarr_alone, "b.zarr"),
    ],
)
def test_rows_of_runs(tmp_path: Path, save: Save, pattern: str) -> None:
    save(tmp_path, VALUES)
    params = {"kind": "rows", "features": pattern}
    units = units_of([events_of(_index(tmp_path, ["story"]), tmp_path, params)])
    assert list(units["row"]) == list(range(12)) and units["unit"].is_unique
    np.testing.assert_array_equal(_get(units, tmp_path), VALUES)
    # another content of the file makes other units
    save(tmp_path, VALUES + 1)
    again = units_of([events_of(_index(tmp_path, ["story"]), tmp_path, params)])
    assert not set(again["unit"]) & set(units["unit"])


def test_runs_take_their_own_data_sets_of_one_file(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["one"], file["two"] = VALUES, -VALUES
    params = {"kind": "rows", "features": "all.h5::{task}"}
    events = events_of(_index(tmp_path, ["one", "two"]), tmp_path, params)
    units = units_of([events])
    found = dict(zip(units["unit"], _get(units, tmp_path), strict=True))
    values = np.stack([found[unit] for unit in events["unit"]])
    np.testing.assert_array_equal(values, np.concatenate([VALUES, -VALUES]))


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a.h5::{task}/layer_4", r"a\.h5: it has no data set 'story/layer_4'; write"),
        ("a.h5", r"a\.h5: say which data set is meant"),
        ("c.h5::{task}", r"c\.h5: no such feature file; correct `units\.features`"),
        ("a.h5::story/names", r"given features must be a table of numbers \(row, feature\)"),
        ("few.zarr", r"few\.zarr: unequal numbers of features and events: 7 rows .*12 volumes"),
        ("broken.npy", r"broken\.npy: cannot be read as a NumPy array"),
    ],
)
def test_wrong_files_of_runs_are_named(tmp_path: Path, pattern: str, message: str) -> None:
    import zarr

    _hdf5(tmp_path, VALUES)
    zarr.create_array(tmp_path / "few.zarr", data=VALUES[:7])
    (tmp_path / "broken.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=message):
        events_of(_index(tmp_path, ["story"]), tmp_path, {"kind": "rows", "features": pattern})


def test_rows_by_name(tmp_path: Path) -> None:
    path = _hdf5(tmp_path, VALUES)
    order = [4, 0, 9, 4]
    table = pd.DataFrame({"unit": list("abcd"), "word": [WORDS[k] for k in order]})
    (tmp_path / "names.txt").write_text("\n".join(WORDS) + "\n")
    np.save(tmp_path / "names.npy", np.array(WORDS))
    for keys in ("a.h5::story/names", "names.txt", "names.npy"):
        found = _get(table, tmp_path, path=path, key="word", keys=keys)
        np.testing.assert_array_equal(found, VALUES[order])
    pictures = table.assign(stimulus=[f"stimuli/{WORDS[k]}" for k in order], word="n/a")
    (tmp_path / "files.txt").write_text("\n".join(f"stimuli/{word}" for word in WORDS))
    found = _get(pictures, tmp_path, path=path, key="stimulus", keys="files.txt")
    np.testing.assert_array_equal(found, VALUES[order])


def test_more_rows_than_a_block(tmp_path: Path) -> None:
    values = RNG.standard_normal((10_000, 2)).astype(np.float32)
    np.save(tmp_path / "long.npy", values)
    rows = RNG.permutation(10_000).tolist()
    np.testing.assert_array_equal(_get(_units(rows), tmp_path, path="long.npy"), values[rows])


def test_the_key_covers_the_files(tmp_path: Path) -> None:
    path = _hdf5(tmp_path, VALUES)
    (tmp_path / "names.txt").write_text("\n".join(WORDS))
    table = _units([1, 2], word=WORDS[1:3])

    def key(**settings: Any) -> str:
        entry = {"source": "given", "modality": "given", "settings": settings}
        manifest = extract(load_model("mine", entry), table, tmp_path, tmp_path / "store")
        return manifest["layers"][0]["key"]

    keys = [key(path=path), key(path="a.h5::other"), key(path=path, key="word", keys="names.txt")]
    (tmp_path / "names.txt").write_text("\n".join(reversed(WORDS)))
    keys.append(key(path=path, key="word", keys="names.txt"))
    np.testing.assert_array_equal(FeatureStore(tmp_path / "store").get(keys[-1]), VALUES[::-1][1:3])
    (tmp_path / "a.h5").rename(tmp_path / "moved.h5")
    assert len(set(keys)) == 4 and key(path="moved.h5::story/layer_3") == keys[0]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    for save in SAVERS:
        save(tmp_path, VALUES)
    (tmp_path / "names.txt").write_text("\n".join(WORDS))
    (tmp_path / "few.txt").write_text("\n".join(WORDS[:7]))
    (tmp_path / "twice.txt").write_text("\n".join([*WORDS[:11], WORDS[0]]))
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    (tmp_path / "broken.zarr").mkdir()
    table = _units([0, 1], word=["word-0", "nowhere"])
    by_name = {"path": "a.npy", "key": "word"}
    for settings, message in (
        ({"path": "gone.npy"}, r"gone\.npy: no such file of features"),
        (
            {"path": "a.h5"},
            r"a\.h5: say which data set is meant; write a\.h5::NAME with one of",
        ),
        ({"path": "a.h5::layer"}, r"a\.h5: it has no data set 'layer'; write .*story/layer_3"),
        ({"path": "a.zarr::layer"}, r"a\.zarr: it has no data set 'layer'; write .*story/layer_3"),
        ({"path": "a.h5::story/names"}, r"a\.h5::story/names: given features must be a table of"),
        ({"path": "a.npy::x"}, r"a\.npy: only HDF5 and Zarr stores have data sets; remove '::x'"),
        ({"path": "broken.h5"}, r"broken\.h5: cannot be read as HDF5"),
        ({"path": "broken.zarr"}, r"broken\.zarr: cannot be read as Zarr"),
        ({"path": "a.npy", "key": "word"}, "'key' .* and 'keys' .* belong together"),
        ({**by_name, "keys": "few.txt"}, r"few\.txt: 7 names for the 12 rows of .*a\.npy"),
        ({**by_name, "keys": "twice.txt"}, r"twice\.txt: the name 'word-0' stands in several rows"),
        (
            {**by_name, "keys": "names.txt"},
            r"names\.txt: no row is named 'nowhere', the word",
        ),
        ({**by_name, "key": "label", "keys": "names.txt"}, "key 'label' must be one of unit, stim"),
        ({"pth": "a.npy"}, "unknown setting 'pth' of source given; did you mean 'path'"),
    ):
        with pytest.raises(InputError, match=message):
            _get(table, tmp_path, **settings)
    with pytest.raises(InputError, match=r"a\.npy: row 12 is asked for but the file has 12 rows"):
        _get(_units([3, 12]), tmp_path, path="a.npy")
    with pytest.raises(InputError, match=r"a\.npy: row -1 is asked for but the file has 12 rows"):
        _get(_units([3, -1]), tmp_path, path="a.npy")
    with pytest.raises(InputError, match=r"unit u0 names no row of a\.npy"):
        _get(table.drop(columns="row"), tmp_path, path="a.npy")
    bad = VALUES.copy()
    bad[5, 2] = np.inf
    path = _hdf5(tmp_path, bad)
    with pytest.raises(InputError, match=r"layer_3: row 5 holds a value that is not a fini"):
        _get(_units([4, 5]), tmp_path, path=path)
