"""Captioned pictures as units: one per distinct picture and caption, and which belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from braid.common import InputError
from braid.features.pictures import iter_pictures
from braid.features.units import read_units
from braid.stimuli import CAPTIONS_COLUMNS, UNIT_COLUMNS, captioned_units

TABLE = "captions.tsv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / name)
    write(tmp_path, [("a.png", "a dog"), ("a.png", "it runs"), ("b.png", "a dog"), ("c.png", "no")])
    return tmp_path


def write(folder: Path, rows: list[tuple[str, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["picture", "caption"])
    frame.to_csv(folder / TABLE, sep="\t", index=False)


def test_units_and_pairs(folder: Path) -> None:
    pictures, captions, pairs = captioned_units(folder, TABLE)
    assert set(pictures.columns) == set(captions.columns) == set(UNIT_COLUMNS) - {"row"}
    assert list(pairs.columns) == list(CAPTIONS_COLUMNS)
    assert pictures["stimulus"].tolist() == ["a.png", "b.png", "c.png"]
    assert captions["text"].tolist() == ["a dog", "it runs", "no"]  # equal captions are one unit
    text = captions.set_index("unit")["text"]
    file = pictures.set_index("unit")["stimulus"]
    assert list(zip(pairs["picture"].map(file), pairs["caption"].map(text), strict=True)) == [
        ("a.png", "a dog"), ("a.png", "it runs"), ("b.png", "a dog"), ("c.png", "no"),
    ]  # fmt: skip


def test_networks_can_read_them(folder: Path) -> None:
    pictures, captions, _ = captioned_units(folder, TABLE)
    seen, heard = read_units(pictures, folder), read_units(captions, folder)
    assert [unit.text for unit in seen] == [""] * 3
    assert [unit.frame_time for unit in heard] == [None] * 3
    shown = list(iter_pictures(seen, folder))
    with Image.open(folder / "b.png") as picture:
        np.testing.assert_array_equal(shown[1], np.asarray(picture))
    assert heard[0].target == (0, len("a dog"))


def test_captions_are_joined_or_the_first_is_taken(folder: Path) -> None:
    _, captions, pairs = captioned_units(folder, TABLE, "join")
    assert captions["text"].tolist() == ["a dog it runs", "a dog", "no"] and len(pairs) == 3
    _, captions, pairs = captioned_units(folder, TABLE, "first")
    assert captions["text"].tolist() == ["a dog", "no"] and len(pairs) == 3


def test_the_same_picture_under_two_names_is_one(folder: Path) -> None:
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes())
    write(folder, [("a.png", "a dog"), ("d.png", "it runs"), ("b.png", "no")])
    pictures, _, pairs = captioned_units(folder, TABLE)
    assert len(pictures) == 2
    assert pairs["picture"].nunique() == 2 and len(pairs) == 3


def test_wrong_tables_are_named(folder: Path) -> None:
    write(folder, [("a.png", "a dog"), ("e.png", "gone")])
    with pytest.raises(InputError, match=r"picture e\.png is not there"):
        captioned_units(folder, TABLE)
    write(folder, [("a.png", "a dog"), ("b.png", " ")])
    with pytest.raises(InputError, match="row 3 has no caption"):
        captioned_units(folder, TABLE)
    with pytest.raises(InputError, match="'all' is not one of mean, rows, join, first"):
        captioned_units(folder, TABLE, "all")
    with pytest.raises(InputError, match=r"captions\.csv"):
        captioned_units(folder, "captions.csv")
