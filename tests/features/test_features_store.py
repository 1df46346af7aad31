"""The store: never a wrong number, whoever writes and whatever breaks."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from braid.common import InputError
from braid.features import FeatureStore, extract, load_features
from braid.features.__main__ import main
from braid.models import load_model

FIELDS = {"stimuli": "abc", "layer": "a.0", "context": {"max_tokens": 5, "too_long": "left"}}
UNITS = ["a", "b", "c"]
VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_round_trip(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    key = store.put(FIELDS, UNITS, VALUES, {"model": "mine"})
    assert store.keys() == [key] and store.has(key) and not store.has("0" * 64)
    found = store.get(key)
    np.testing.assert_array_equal(found, VALUES)
    assert found.dims == ("unit", "feature") and list(found["unit"].values) == UNITS
    assert store.folder(key) == tmp_path / key[:2] / key
    described = store.describe(key)
    assert described["fields"] == FIELDS
    assert described["notes"] == {"n_units": 3, "n_features": 2, "model": "mine"}
    assert store.partial() == []


def test_key_depends_on_every_field_and_not_on_their_order(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    keys = {store.put({**FIELDS, name: "other"}, UNITS, VALUES) for name in FIELDS}
    keys.add(store.put(FIELDS, UNITS, VALUES))
    assert len(keys) == 4
    assert store.put(dict(reversed(FIELDS.items())), UNITS, VALUES) in keys


def test_rows_in_any_order(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    writer = store.writer(FIELDS, UNITS)
    writer.write(np.array([2, 0]), VALUES[[2, 0]])
    with pytest.raises(ValueError, match="row of unit b was never written"):
        writer.commit()
    with pytest.raises(ValueError, match="1 rows of 2 features"):
        writer.write(np.array([1]), np.zeros((1, 3)))
    writer.write(np.array([1]), VALUES[[1]])
    np.testing.assert_array_equal(store.get(writer.commit()), VALUES)


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    block = np.ones((100, 512), dtype=np.float32)
    writer = store.writer(FIELDS, [f"u{k}" for k in range(20_000)])
    tracemalloc.start()
    for start in range(0, 20_000, 100):
        writer.write(np.arange(start, start + 100), block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    key = writer.commit()
    assert peak < 2e6
    assert store.get(key).nbytes == 20_000 * 512 * 4


def test_unfinished_entry_leaves_nothing(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    writer = store.writer(FIELDS, UNITS)
    writer.write(np.array([0]), VALUES[[0]])
    assert store.keys() == [] and len(store.partial()) == 1
    writer.discard()
    assert store.partial() == []


@pytest.mark.parametrize("file", ["features.npy", "units.json", "key.json"])
def test_flipped_byte_counts_as_absent(tmp_path: Path, file: str) -> None:
    store = FeatureStore(tmp_path)
    key = store.put(FIELDS, UNITS, VALUES)
    path = store.folder(key) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 4 if file == "key.json" else -3] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{file} .*; taken as absent"):
        assert not store.has(key)
    with pytest.raises(InputError, match=rf"{file} .*run the feature extraction again"):
        store.get(key)
    store.put(FIELDS, UNITS, VALUES)
    np.testing.assert_array_equal(store.get(key), VALUES)


@pytest.mark.parametrize("file", ["features.npy", "units.json"])
def test_missing_file_counts_as_absent(tmp_path: Path, file: str) -> None:
    store = FeatureStore(tmp_path)
    key = store.put(FIELDS, UNITS, VALUES)
    (store.folder(key) / file).unlink()
    with pytest.warns(UserWarning, match=rf"{file} is missing"):
        assert not store.has(key)


def test_first_writer_wins(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    slow = store.writer(FIELDS, UNITS)
    slow.write(np.arange(3), VALUES)
    key = store.put(FIELDS, UNITS, VALUES)
    before = (store.folder(key) / "key.json").stat().st_ino
    assert slow.commit() == key
    assert (store.folder(key) / "key.json").stat().st_ino == before
    assert store.partial() == []


def test_extraction_mends_a_damaged_entry(
    tiny: Callable[[str], dict[str, Any]],
    units: pd.DataFrame,
    film: tuple[Path, np.ndarray],
    tmp_path: Path,
) -> None:
    model = load_model("mine", tiny("bert"))
    manifest = extract(model, units, film[0], tmp_path)
    before = load_features(manifest, tmp_path)["encoder.layer.0"].values.copy()
    store = FeatureStore(tmp_path)
    path = store.folder(manifest["layers"][0]["key"]) / "features.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"features of mine, layer encoder\.layer\.0: .*damaged"):
        load_features(manifest, tmp_path)
    with pytest.warns(UserWarning, match="damaged"):
        assert extract(model, units, film[0], tmp_path) == manifest
    np.testing.assert_array_equal(load_features(manifest, tmp_path)["encoder.layer.0"], before)


def _write(root: str, number: int, barrier: Any, values: np.ndarray) -> None:
    """Fill the same keys as another process at the same time."""
    store = FeatureStore(root)
    for k in range(20):
        barrier.wait(timeout=180)
        store.put({**FIELDS, "k": k}, [f"u{i}" for i in range(len(values))], values)


def test_two_processes_fill_one_key(tmp_path: Path) -> None:
    # processes of their own that share one import of the libraries, which takes longest
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["braid.features", "pytest"])
    values = np.random.default_rng(0).standard_normal((500, 64)).astype(np.float32)
    barrier = context.Barrier(2)
    writers = [
        context.Process(target=_write, args=(str(tmp_path), k, barrier, values)) for k in range(2)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(180)
        assert writer.exitcode == 0
    store = FeatureStore(tmp_path)
    assert len(store.keys()) == 20
    for key in store.keys():  # noqa: SIM118 - not a mapping
        np.testing.assert_array_equal(store.get(key), values)
    assert store.partial() == []


def test_explain_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FeatureStore(tmp_path)
    a = store.put(FIELDS, UNITS, VALUES)
    changed = {**FIELDS, "context": {"max_tokens": 9, "too_long": "left"}, "precision": "float16"}
    b = store.put(changed, UNITS, VALUES)
    assert store.explain(a, b) == [("context.max_tokens", 5, 9), ("precision", None, "float16")]
    assert store.explain(a, a) == []
    assert main(["--store", str(tmp_path), "explain", a[:12], b]) == 0
    assert "context.max_tokens: 5 -> 9" in capsys.readouterr().out
    assert main(["--store", str(tmp_path), "explain", a, "xyz"]) == 1
    assert "0 keys begin with 'xyz'" in capsys.readouterr().err


def test_listing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = FeatureStore(tmp_path).put(FIELDS, UNITS, VALUES, {"model": "mine"})
    assert main(["--store", str(tmp_path), "ls"]) == 0
    head, line = capsys.readouterr().out.strip().splitlines()
    assert head.split("\t")[:3] == ["key", "model", "layer"]
    assert line.split("\t")[:6] == [key[:16], "mine", "a.0", "n/a", "3", "2"]


def test_collecting_keeps_what_a_study_uses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FeatureStore(tmp_path / "store")
    used = store.put(FIELDS, UNITS, VALUES)
    unused = store.put({**FIELDS, "layer": "a.1"}, UNITS, VALUES)
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump({"study": "demo", "results": str(tmp_path / "results")}))
    call = ["--store", str(store.root), "gc", "--keep-used-by", str(config)]
    assert main([*call, "--delete"]) == 1
    assert "no feature manifest" in capsys.readouterr().err
    assert len(store.keys()) == 2, "nothing may go while no manifest tells what is used"
    manifest = tmp_path / "results" / "demo" / "features" / "film" / "mine.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"layers": [{"layer": "a.0", "key": used}]}))
    store.writer(FIELDS, UNITS)
    old = store.writer(FIELDS, UNITS)._folder
    past = time.time() - 2 * 24 * 3600
    os.utime(old, (past, past))
    assert main(call) == 0
    assert f"would remove {unused}" in capsys.readouterr().out
    assert len(store.keys()) == 2 and len(store.partial()) == 2
    assert main([*call, "--delete"]) == 0
    assert store.keys() == [used] and len(store.partial()) == 1 and not old.exists()


def test_absent_key_is_named(tmp_path: Path) -> None:
    manifest = {"model": "mine", "layers": [{"layer": "a.0", "key": "f" * 64}]}
    with pytest.raises(
        InputError, match=r"features of mine, layer a\.0: .*no features under the k"
    ):
        load_features(manifest, tmp_path)
