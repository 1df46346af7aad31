"""Clips of films in place of pictures: which frames are shown, and what a network makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from films import grey_frames, write_film
from tiny_transformers import MAKERS

from braid.common import InputError, sha256_of
from braid.features import extract, load_features
from braid.features.pictures import Clip, iter_loaders
from braid.features.units import read_units
from braid.models import load_model
from braid.models.parts import part_of
from braid.models.pooling import pool

torch = pytest.importorskip("torch")
Film = tuple[Path, np.ndarray]
CLIP = {"seconds": 0.8, "frames": 4}


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny video network of the true class."""
    return {**MAKERS["smolvlm"](tmp_path_factory.mktemp("network")), "clip": CLIP}


def test_frames_of_clips_that_overlap(units: pd.DataFrame, film: Film) -> None:
    order = [7, 0, 1, 4, 9]
    table = units.iloc[order].assign(frame_time=[np.nan, 0.0, 0.1, 0.4, 1.7])
    listed = read_units(table, film[0])
    found = list(iter_loaders(listed[1:] + listed[:1], film[0], Clip(0.8, 4)))
    assert found[4] is None
    for load, first in zip(found[:4], (0, 1, 4, 17), strict=True):
        assert load is not None
        # the film has 20 frames and stands still after the last
        expected = [min(first + 2 * k, 19) for k in range(4)]
        np.testing.assert_array_equal(load(), film[1][expected])


def test_clips_through_the_network(
    entry: dict[str, Any], units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    model = load_model("mine", entry)
    table = units.iloc[[4, 2, 1, 0]]
    manifest = extract(model, table, film[0], tmp_path, batch_size=3)
    found = list(load_features(manifest, tmp_path).values())[-1].values
    assert model.watch and model.tokenize and model.collate and model.module
    kept: list[Any] = []
    path = model.layers[-1].module
    model.module.get_submodule(path).register_forward_hook(
        lambda _m, _a, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    for row, unit in enumerate(table.itertuples()):
        first = round(unit.frame_time * 10)
        seen = model.watch(film[1][[min(first + 2 * k, 19) for k in range(4)]], 5.0)
        text, mask = model.collate(model.tokenize([unit.text]))
        with torch.inference_mode():
            model.forward(text, {key: value[None] for key, value in seen.items()})
        layer = model.layers[-1]
        states, real, _ = part_of(layer, kept.pop(), mask, None, model.image_first)
        np.testing.assert_allclose(found[row], pool(states, real, layer.pooling)[0], atol=2e-6)
    pictures = {key: value for key, value in entry.items() if key != "clip"}
    still = extract(load_model("mine", pictures), table, film[0], tmp_path)
    longer = {**entry, "clip": {"seconds": 1.0, "frames": 4}}
    other = extract(load_model("mine", longer), table, film[0], tmp_path)
    assert len({one["layers"][0]["key"] for one in (manifest, still, other)}) == 3


def test_wrong_clips_are_named(
    entry: dict[str, Any], units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    def get(table: pd.DataFrame, root: Path = film[0], **change: Any) -> None:
        extract(load_model("mine", {**entry, **change}), table, root, tmp_path / "store")

    for clip, message in (
        ({"seconds": 1.0}, "clip must have the keys seconds and frames, no other"),
        ({"seconds": 0, "frames": 3}, "seconds of clip must be a positive number"),
        ({"seconds": 1, "frames": 2.5}, "frames of clip must be a positive whole number"),
    ):
        with pytest.raises(InputError, match=message):
            get(units, clip=clip)
    vilt = MAKERS["vilt"](tmp_path / "vilt")
    with pytest.raises(InputError, match="the network takes no clips; remove the key 'clip'"):
        extract(load_model("mine", {**vilt, "clip": CLIP}), units, film[0], tmp_path / "store")
    short = write_film(tmp_path / "stimuli" / "short.mkv", grey_frames(5), rate=10)
    table = units.iloc[:2].assign(
        stimulus="stimuli/short.mkv", sha256=sha256_of(short), frame_time=[0.0, 3.0]
    )
    with pytest.raises(InputError, match=r"short\.mkv: a frame is asked for at 3\.000 s \(unit"):
        get(table, tmp_path)
