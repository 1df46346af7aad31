"""Given regions of an object detector: each unit sees those of its own picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_transformers import visual_bert

from braid.common import InputError
from braid.features import extract, load_features
from braid.models import load_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

GENERATOR = np.random.default_rng(5)
PICTURES = [("stimuli/film.mkv", 0.0), ("stimuli/film.mkv", 1.2), ("stimuli/face.png", 0.0)]
COUNTS = np.array([4, 6, 2])
FEATURES = GENERATOR.standard_normal((3, 6, 20)).astype(np.float32)
SHOWN = [1, 0, 2, 1, None, 0]
TEXTS = ["the red circle", "red", "", "big blue square moves", "the circle", "the red circle"]
Arrays = dict[str, np.ndarray]
Save = Callable[[Path, Arrays], str]


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny VisualBERT."""
    return visual_bert(tmp_path_factory.mktemp("network"))


@pytest.fixture
def units() -> pd.DataFrame:
    """Units that show the pictures in an order of their own, some twice, one none."""
    shown = [("n/a", np.nan) if k is None else PICTURES[k] for k in SHOWN]
    return pd.DataFrame(
        {
            "unit": [f"u{k}" for k in range(len(shown))],
            "stimulus": [stimulus for stimulus, _ in shown],
            "sha256": ["n/a" if stimulus == "n/a" else stimulus for stimulus, _ in shown],
            "frame_time": [time for _, time in shown],
            "text": TEXTS,
        }
    )


def _arrays() -> Arrays:
    return {
        "features": FEATURES,
        "stimulus": np.array([stimulus for stimulus, _ in PICTURES]),
        "time": np.array([time for _, time in PICTURES]),
        "count": COUNTS,
        "boxes": np.zeros((3, 6, 4)),
    }


def _npz(root: Path, arrays: Arrays) -> str:
    np.savez(root / "regions.npz", **arrays)
    return "regions.npz"


def _hdf5(root: Path, arrays: Arrays) -> str:
    import h5py

    with h5py.File(root / "regions.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values.tolist() if name == "stimulus" else values
    return "regions.h5"


def _zarr(root: Path, arrays: Arrays) -> str:
    import zarr

    group = zarr.open_group(root / "regions.zarr", mode="w")
    for name, values in arrays.items():
        kind = str if name == "stimulus" else values.dtype
        group.create_array(name, shape=values.shape, dtype=kind)[:] = values
    return "regions.zarr"


def _own(entry: dict[str, Any], text: str, shown: int | None) -> list[np.ndarray]:
    """Mean over all tokens of each layer, from the library, for one unit alone."""
    network = transformers.VisualBertModel.from_pretrained(entry["path"]).eval()
    words = transformers.AutoTokenizer.from_pretrained(entry["path"])
    seen = np.zeros((1, 20)) if shown is None else FEATURES[shown, : COUNTS[shown]]
    with torch.inference_mode():
        out = network(
            **words(text, return_tensors="pt"),
            visual_embeds=torch.tensor(seen, dtype=torch.float32)[None],
            output_hidden_states=True,
        )
    return [state[0].mean(0).numpy() for state in out.hidden_states[1:]]


@pytest.mark.parametrize("save", [_npz, _hdf5, _zarr])
def test_each_unit_sees_the_regions_of_its_picture(
    entry: dict[str, Any], units: pd.DataFrame, tmp_path: Path, save: Save
) -> None:
    model = load_model("mine", {**entry, "regions": save(tmp_path, _arrays())})
    manifest = extract(model, units, tmp_path, tmp_path / "store")
    assert manifest["absent_picture"] == 1
    found = list(load_features(manifest, tmp_path / "store").values())
    assert len(found) == 2
    for row, (text, shown) in enumerate(zip(TEXTS, SHOWN, strict=True)):
        for mine, wanted in zip(found, _own(entry, text, shown), strict=True):
            np.testing.assert_allclose(mine.values[row], wanted, rtol=0, atol=1e-6)


def test_time_and_count_may_be_left_out(
    entry: dict[str, Any], units: pd.DataFrame, tmp_path: Path
) -> None:
    stills = units.assign(frame_time=units["frame_time"] * 0)
    stills["stimulus"] = [f"stimuli/{k}.png" for k in [0, 1, 2, 0, 1, 2]]
    names = np.array(["stimuli/2.png", "stimuli/0.png", "stimuli/1.png"])
    arrays = {"features": FEATURES, "stimulus": names}
    model = load_model("mine", {**entry, "regions": _npz(tmp_path, arrays)})
    manifest = extract(model, stills.iloc[[1]], tmp_path, tmp_path / "store")
    (first, _) = load_features(manifest, tmp_path / "store").values()
    arrays["features"] = FEATURES[[2]]
    arrays["stimulus"] = names[[2]]
    _npz(tmp_path, arrays)
    again = extract(model, stills.iloc[[1]], tmp_path, tmp_path / "store")
    # other content of the file is another key, and the same regions give the same
    assert again["layers"][0]["key"] != manifest["layers"][0]["key"]
    (second, _) = load_features(again, tmp_path / "store").values()
    np.testing.assert_array_equal(first.values, second.values)


def test_what_is_wrong_is_named(entry: dict[str, Any], units: pd.DataFrame, tmp_path: Path) -> None:
    broken = FEATURES.copy()
    broken[1, 5, 3] = np.nan
    behind = FEATURES.copy()
    behind[0, 4:] = np.nan

    def get(**changes: Any) -> dict[str, Any]:
        arrays = {**_arrays(), **changes}
        file = _npz(tmp_path, {key: value for key, value in arrays.items() if value is not None})
        model = load_model("mine", {**entry, "regions": file})
        return extract(model, units, tmp_path, tmp_path / "store")

    for message, changes in (
        (r"regions\.npz: the array 'features' is missing", {"features": None}),
        (r"regions\.npz: the array 'stimulus' is missing", {"stimulus": None}),
        (r"rows 0 and 1 are both of stimuli/film\.mkv at 0\.000 s", {"time": None}),
        (r"features of shape \(3, 6, 7\) are not \(pic", {"features": FEATURES[:, :, :7]}),
        (r"2 entries of 'count' for 3 pictures", {"count": COUNTS[:2]}),
        (r"row 1: count 7 must lie between 1 and 6", {"count": np.array([4, 7, 2])}),
        (r"row 2: count 0 must lie between 1 and 6", {"count": np.array([4, 6, 0])}),
        (
            r"rows 0 and 1 are both of stimuli/film\.mkv at 0\.000 s",
            {"time": np.array([0.0, 0.0002, 0.0])},
        ),
        (
            r"no regions of stimuli/film\.mkv at 1\.200 s \(unit u0\); detect them",
            {"time": np.array([0.0, 1.3, 0.0])},
        ),
        (r"regions\.npz: row 1 holds a value that is not a finite number", {"features": broken}),
    ):
        with pytest.raises(InputError, match=message):
            get(**changes)
    # what lies behind the last region is not read
    assert get(features=behind)["n_units"] == 6
    model = load_model("mine", {**entry, "regions": "gone.h5"})
    with pytest.raises(InputError, match=r"gone\.h5: no such file of features"):
        extract(model, units, tmp_path, tmp_path / "store")
