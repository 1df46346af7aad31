"""Features without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braid.common import InputError, sha256_of
from braid.features import extract, load_features
from braid.models import load_model

GIVEN = {"source": "given", "modality": "given"}
ONEHOT = {"source": "onehot", "modality": "language"}


def _get(entry: dict, table: pd.DataFrame, root: Path, store: Path) -> np.ndarray:
    """Features of a control."""
    manifest = extract(load_model("mine", entry), table, root, store)
    (found,) = load_features(manifest, store).values()
    assert list(found["unit"].values) == list(table["unit"])
    return found.values


def _rows(root: Path, **arrays: np.ndarray) -> pd.DataFrame:
    """Units of kind rows for arrays that are written to `root`."""
    tables = []
    for name, values in arrays.items():
        np.save(root / f"{name}.npy", values)
        rows = np.arange(len(values))
        tables.append(
            pd.DataFrame(
                {
                    "unit": [f"{name}-{row}" for row in rows],
                    "stimulus": f"{name}.npy",
                    "sha256": sha256_of(root / f"{name}.npy"),
                    "frame_time": np.nan,
                    "text": "n/a",
                    "row": rows,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def test_given_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 3)), rng.standard_normal((4, 3))
    table = _rows(tmp_path, a=a, b=b)
    order = rng.permutation(9)
    found = _get(GIVEN, table.iloc[order], tmp_path, tmp_path / "store")
    np.testing.assert_array_equal(found, np.concatenate([a, b]).astype(np.float32)[order])


def test_given_rows_that_are_wrong(tmp_path: Path) -> None:
    values = np.ones((4, 3))

    def get(table: pd.DataFrame) -> None:
        _get(GIVEN, table, tmp_path, tmp_path / "store")

    table = _rows(tmp_path, a=values, b=np.ones((4, 2)))
    with pytest.raises(InputError, match=r"files differ in their features \(.*a.npy 3, .*b.npy 2"):
        get(table)
    with pytest.raises(InputError, match=r"a\.npy: row 9 is asked for but the file has 4 rows"):
        get(_rows(tmp_path, a=values).replace({"row": {3: 9}}))
    with pytest.raises(InputError, match="unit a-0 names no row"):
        get(_rows(tmp_path, a=values).drop(columns="row"))
    values[2, 1] = np.nan
    with pytest.raises(InputError, match=r"a\.npy: row 2 holds a value that is not a finite"):
        get(_rows(tmp_path, a=values))
    with pytest.raises(InputError, match=r"a\.npy: given features must be a table of numbers"):
        get(_rows(tmp_path, a=np.ones(4)))
    table = _rows(tmp_path, a=np.ones((4, 3)))
    (tmp_path / "a.npy").write_bytes(b"not an array")
    with pytest.raises(InputError, match=r"a\.npy: cannot be read as a NumPy array"):
        get(table.assign(sha256=sha256_of(tmp_path / "a.npy")))


def test_onehot(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"unit": list("abcd"), "text": ["house", "", "face", "house"], "word": ["w", "v", "w", "w"]}
    )
    found = _get(ONEHOT, table, tmp_path, tmp_path)
    np.testing.assert_array_equal(found, [[0, 1], [0, 0], [1, 0], [0, 1]])
    found = _get({**ONEHOT, "column": "word"}, table, tmp_path, tmp_path)
    np.testing.assert_array_equal(found, [[0, 1], [1, 0], [0, 1], [0, 1]])
    with pytest.raises(InputError, match="column must be text or word, not 'label'"):
        _get({**ONEHOT, "column": "label"}, table, tmp_path, tmp_path)
    with pytest.raises(InputError, match="no unit has a text"):
        _get(ONEHOT, table.assign(text=""), tmp_path, tmp_path)


def test_picture_statistics(
    units: pd.DataFrame, film: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    entry = {"source": "picture_statistics", "modality": "vision"}
    found = _get(entry, units, film[0], tmp_path)
    frame = film[1][3] / 255
    luminance = frame @ [0.2126, 0.7152, 0.0722]
    expected = [luminance.mean(), luminance.std(), *frame.mean((0, 1))]
    np.testing.assert_allclose(found[3], expected, rtol=1e-6)
    np.testing.assert_array_equal(found[7], 0)
    with pytest.raises(InputError, match="no unit has a picture"):
        _get(entry, units.assign(frame_time=np.nan), film[0], tmp_path)


def test_word_statistics(
    units: pd.DataFrame, film: tuple[Path, np.ndarray], tmp_path: Path
) -> None:
    found = _get({"source": "word_statistics", "modality": "language"}, units, film[0], tmp_path)
    np.testing.assert_array_equal(found[:3], [[1, 6, 3], [0, 0, 0], [1, 4, 6]])


def test_word_frequency(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"Spelling": ["The", "house", "cat"], "per_million": [50_000.0, 500.0, 20]}
    )
    table.to_csv(tmp_path / "counts.tsv", sep="\t", index=False)
    settings = {"table": "counts.tsv", "word": "Spelling", "count": "per_million"}
    entry = {"source": "word_frequency", "modality": "language", "settings": settings}
    words = ["the", "House,", "zyx", "n/a", "\u201ccat\u201d"]
    units = pd.DataFrame({"unit": list("abcde"), "text": words, "word": words})
    found = _get(entry, units, tmp_path, tmp_path / "store")
    expected = [[np.log10(50_000), 1], [np.log10(500), 1], [1, 0], [0, 0], [np.log10(20), 1]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(InputError, match=r"counts\.tsv has none of the units' words"):
        _get(entry, units.iloc[2:4], tmp_path, tmp_path / "store")
    for change, message in (
        ({"table": None}, "set `table` of its settings to a table of word counts"),
        ({"table": "gone.tsv"}, r"gone\.tsv: no such table; correct `table`"),
        ({"count": "zipf"}, r"counts\.tsv: column 'zipf' is missing"),
    ):
        with pytest.raises(InputError, match=message):
            wrong = {**entry, "settings": {**settings, **change}}
            _get(wrong, units, tmp_path, tmp_path / "store")
    table.assign(per_million=[1.0, 0.0, 2.0]).to_csv(tmp_path / "counts.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match="column 'per_million' must hold positive numbers"):
        _get(entry, units, tmp_path, tmp_path / "store")


def test_settings_of_a_source_without_any(tmp_path: Path) -> None:
    units = pd.DataFrame({"unit": ["a"], "text": ["house"]})
    entry = {"source": "word_statistics", "modality": "language", "settings": {"window": 1}}
    with pytest.raises(InputError, match="unknown setting 'window' of source word_statistics; it"):
        _get(entry, units, tmp_path, tmp_path)
