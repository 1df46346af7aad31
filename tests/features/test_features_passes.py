"""Preparation ahead of the network: overlap, order, errors, threads, memory."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from films import write_film

from braid.common import BraidError, InputError, sha256_of
from braid.features import FeatureStore, extract, load_features
from braid.features.memory import free_memory, peak_of, resident_bytes, units_that_fit
from braid.models import load_model

torch = pytest.importorskip("torch")
Tiny = Callable[[str], dict[str, Any]]
Film = tuple[Path, np.ndarray]
WAIT = 60.0


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    assert not [one for one in threading.enumerate() if one.name.startswith("braid")]
    assert torch.get_num_threads() == threads


def test_pictures_are_prepared_while_the_network_runs(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    model = load_model("mine", tiny("vit"))
    prepared, runs = threading.Semaphore(0), []
    see = model.see
    assert see is not None and model.module is not None

    def look(picture: np.ndarray) -> dict[str, Any]:
        found = see(picture)
        prepared.release()
        return found

    def wait(*_: Any) -> None:
        # pass k begins when k + 1 pictures are prepared, and ends when one more is
        runs.append(True)
        if len(runs) < 10:
            assert prepared.acquire(timeout=WAIT) and prepared.acquire(timeout=WAIT)
            prepared.release()

    model.module.register_forward_pre_hook(wait)
    extract(replace(model, see=look), units, film[0], tmp_path, batch_size=1)
    assert len(runs) == 10


@pytest.mark.parametrize("kind", ["bert", "vit", "vilt"])
def test_numbers_do_not_depend_on_who_is_faster(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path, kind: str
) -> None:
    model = load_model("mine", tiny(kind))
    first = extract(model, units, film[0], tmp_path / "a", batch_size=3)
    second = extract(model, units, film[0], tmp_path / "b", batch_size=3)
    again = load_features(second, tmp_path / "b")
    for layer, values in load_features(first, tmp_path / "a").items():
        np.testing.assert_array_equal(values, again[layer])


def test_a_picture_that_cannot_be_prepared_is_named(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    model = load_model("mine", tiny("vit"))
    bad, see = film[1][6], model.see
    assert see is not None

    def look(picture: np.ndarray) -> dict[str, Any]:
        if np.array_equal(picture, bad):
            raise KeyError("a colour that nobody knows")
        return see(picture)

    with pytest.raises(BraidError, match=r"picture of unit u6, stimuli/film\.mkv at 0\.600 s c"):
        extract(replace(model, see=look), units, film[0], tmp_path, batch_size=2)
    assert FeatureStore(tmp_path).keys() == [] and FeatureStore(tmp_path).partial() == []


def test_a_film_that_ends_too_early_is_named(tiny: Tiny, tmp_path: Path) -> None:
    frames = np.zeros((5, 32, 32, 3), np.uint8)
    path = write_film(tmp_path / "stimuli" / "short.mkv", frames, rate=10)
    table = pd.DataFrame(
        {
            "unit": [f"u{k}" for k in range(9)],
            "stimulus": "stimuli/short.mkv",
            "sha256": sha256_of(path),
            "frame_time": np.arange(9) * 0.1,
            "text": "n/a",
        }
    )
    with pytest.raises(
        InputError,
        match=r"short\.mkv: a frame is asked for at 0\.\d00 s but the film ends at 0\.500",
    ):
        extract(load_model("mine", tiny("vit")), table, tmp_path, tmp_path / "store")
    assert FeatureStore(tmp_path / "store").keys() == []


def test_a_disk_that_fails_stops_the_extraction(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from braid.features.store import Writer

    def write(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "write", write)
    with pytest.raises(OSError, match="No space left"):
        extract(load_model("mine", tiny("vit")), units, film[0], tmp_path, batch_size=1)
    assert FeatureStore(tmp_path).partial() == []


def test_a_network_that_writes_in_place_does_not_change_its_features(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    layers = [
        {"module": "layers.0", "pooling": how, "name": how} for how in ("cls", "flatten", "mean")
    ]
    entry = {**tiny("vit"), "layers": layers}
    plain = load_features(extract(load_model("mine", entry), units, film[0], tmp_path), tmp_path)
    model = load_model("mine", entry)
    assert model.module is not None

    def overwrite(_module: Any, inputs: tuple[Any, ...]) -> None:
        inputs[0].fill_(7.0)

    model.module.get_submodule("layers.1").register_forward_pre_hook(overwrite)
    again = load_features(extract(model, units, film[0], tmp_path / "b"), tmp_path / "b")
    for how, values in plain.items():
        np.testing.assert_array_equal(again[how], values, err_msg=how)


def test_half_precision_storage(
    tiny: Tiny, units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    entry = tiny("bert")
    full = extract(load_model("mine", entry), units, film[0], tmp_path)
    half = extract(load_model("mine", {**entry, "dtype": "float16"}), units, film[0], tmp_path)
    store = FeatureStore(tmp_path)
    for one, other in zip(full["layers"], half["layers"], strict=True):
        a, b = store.get(one["key"]), store.get(other["key"])
        assert b.dtype == np.float16 and b.nbytes * 2 == a.nbytes
        np.testing.assert_array_equal(b, a.astype(np.float16))
        assert store.explain(one["key"], other["key"]) == [("dtype", "float32", "float16")]
    model = load_model("mine", {**entry, "dtype": "float16"})
    assert model.module is not None
    model.module.encoder.layer[1].output.LayerNorm.weight.data.fill_(1e6)
    with pytest.raises(
        BraidError, match=r"layer\.1 gives values beyond 65504 for unit u\d.*dtype: "
    ):
        extract(model, units, film[0], tmp_path / "b")
    with pytest.raises(InputError, match="dtype 'float8' must be float32 or float16"):
        extract(load_model("m", {**entry, "dtype": "float8"}), units, film[0], tmp_path)


def test_peak_counts_what_lives_at_the_same_time() -> None:
    def run() -> None:
        a = torch.ones(1000, 1000)  # 4 MB
        b = a + 1
        del a
        c = b[:500] * 2
        del b, c

    # a and b live together, then b and half of it
    assert peak_of(run) == 8_000_000
    kept = torch.ones(10)
    assert peak_of(lambda: kept.view(2, 5)) == 0


def test_batches_are_as_large_as_memory_allows(
    tiny: Tiny,
    units: pd.DataFrame,
    film: Film,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from braid.features import passes

    expected = load_features(
        extract(load_model("mine", tiny("vit")), units, film[0], tmp_path), tmp_path
    )
    model = load_model("mine", {**tiny("vit"), "batch_size": 8})
    assert model.module is not None and model.forward is not None and model.see is not None
    sizes: list[int] = []
    model.module.register_forward_pre_hook(
        lambda _m, _a, kwargs: sizes.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    image = {key: value[None] for key, value in model.see(film[1][0]).items()}
    with torch.inference_mode():
        one = peak_of(lambda: model.forward(None, image))  # type: ignore[misc]
    sizes.clear()
    # what the planner asks the machine; its arithmetic is then that of `units_that_fit`
    waiting = 6 * 8 * sum(value.nbytes for value in image.values())
    monkeypatch.setattr(passes, "free_memory", lambda *_: 4.5 * 2 * one / 0.9 + waiting)
    store = tmp_path / "b"
    found = load_features(extract(model, units, film[0], store), store)
    # one for the plan, then ten units by four, each batch of eight cut into equal parts
    assert sizes[0] == 1 and max(sizes[1:]) == 4 and sum(sizes[1:]) == 10
    assert "mine: 4 units at once, not 8" in capsys.readouterr().err
    for layer, values in expected.items():
        np.testing.assert_allclose(found[layer], values, atol=1e-6)
    sizes.clear()
    monkeypatch.undo()
    extract(model, units, film[0], tmp_path / "c", memory_mb=resident_bytes() / 1e6 + 1000)
    assert max(sizes) == 8


def test_plan_of_batches() -> None:
    def run() -> None:
        torch.ones(250_000)  # 1 MB

    assert units_that_fit(run, 1e9, 32) == 32
    assert units_that_fit(run, 15e6, 32) == 6
    assert units_that_fit(run, 1.0, 32) == 1
    assert units_that_fit(lambda: None, 1e9, 4) == 4
    assert units_that_fit(run, float("inf"), 4) == 4


def test_free_memory_is_that_of_the_job() -> None:
    held = resident_bytes()
    assert abs(free_memory("cpu", held / 1e6 + 500) - 500e6) < 50e6
    assert free_memory("cpu", 1.0) == 0.0
    assert free_memory("cpu", None) > 10e6


PEAK = """
import resource, sys
import pandas as pd, torch
from braid.features import extract
from braid.models import load_model
torch.set_num_threads(1)
root, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
layers = [{"module": f"layers.{k}", "pooling": "flatten"} for k in range(2)]
entry = {"source": "transformers", "path": folder, "modality": "vision", "layers": layers}
model = load_model("mine", entry)
units = [(f"u{k}", "stimuli/film.mkv", k / 25) for k in range(count)]
table = pd.DataFrame(units, columns=["unit", "stimulus", "frame_time"])
for number in (count // 4, count):
    extract(model, table[:number], root, f"{root}/store")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_units(tmp_path: Path) -> None:
    from tiny_networks import SIZE, picture_processor
    from transformers import ViTConfig, ViTModel

    # each unit is 12 kB as the network takes it, and its features are 33 kB
    count, size = 1600, {**SIZE, "hidden_size": 64}
    frames = (np.full((32, 32, 3), k % 256, np.uint8) for k in range(count))
    write_film(tmp_path / "stimuli" / "film.mkv", frames, rate=25)
    ViTModel(ViTConfig(image_size=32, patch_size=4, **size)).save_pretrained(tmp_path / "vit")
    picture_processor(tmp_path / "vit")
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path), str(tmp_path / "vit"), str(count)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    first, second = map(int, done.stdout.split())
    stored = FeatureStore(tmp_path / "store")
    assert sum(stored.get(key).nbytes for key in stored.keys()) > 60e6  # noqa: SIM118
    # three quarters of 72 MB would be added if pictures and features stayed
    assert second - first < 12_000
