"""Rows come back in the caller's order, and texts are windows of the words around."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braid.bids import read_events
from braid.common import sha256_of
from braid.features import FeatureStore, extract, load_features
from braid.models import load_model
from braid.stimuli.defaults import unit_params
from braid.stimuli.sources import Sources
from braid.stimuli.units import unit_digest
from braid.stimuli.words import words_of_run

Tiny = Callable[[str], dict[str, Any]]
Film = tuple[Path, np.ndarray]
WORDS = [
    "the",
    "red",
    "circle",
    "moves",
    "left",
    "slowly",
    "the",
    "big",
    "blue",
    "square",
    "moves",
    "right",
]


def _get(
    entry: dict[str, Any], units: pd.DataFrame, root: Path, store: Path, **more: Any
) -> np.ndarray:
    """Features of the last layer, whose rows are named as the units are."""
    manifest = extract(load_model("mine", entry), units, root, store, **more)
    found = list(load_features(manifest, store).values())[-1]
    assert list(found["unit"].values) == list(units["unit"])
    return found.values.copy()


@pytest.fixture(scope="module")
def alone(
    tiny: Tiny, film: Film, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int, str], np.ndarray]:
    """Features of a unit that is extracted by itself."""
    known: dict[tuple[str, int, str], np.ndarray] = {}

    def features(kind: str, frame: int, text: str) -> np.ndarray:
        if (kind, frame, text) not in known:
            # a network needs something of what it takes, if only beside the unit
            table = _table(film, [(frame, text), (0, "left")])
            folder = tmp_path_factory.mktemp("store")
            known[kind, frame, text] = _get(tiny(kind), table, film[0], folder, batch_size=1)[0]
        return known[kind, frame, text]

    return features


def _table(film: Film, content: list[tuple[int, str]]) -> pd.DataFrame:
    """Units that show a frame (none if negative) and say a text."""
    return pd.DataFrame(
        {
            "unit": [f"u{k}" for k in range(len(content))],
            "stimulus": "stimuli/film.mkv",
            "sha256": sha256_of(film[0] / "stimuli" / "film.mkv"),
            "frame_time": [frame / 10 if frame >= 0 else np.nan for frame, _ in content],
            "text": [text for _, text in content],
        }
    )


CONTENT = st.lists(
    st.tuples(
        st.integers(-1, 4), st.sampled_from(["", "n/a", "red", "the big blue square", "red circle"])
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("kind", ["bert", "vit", "vilt", "clip"])
@settings(max_examples=15, deadline=None)
@given(content=CONTENT, size=st.integers(1, 5))
def test_shuffled_repeated_and_empty_units_keep_their_rows(
    tiny: Tiny,
    film: Film,
    alone: Callable[[str, int, str], np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    content: list[tuple[int, str]],
    size: int,
) -> None:
    content = [*content, (0, "red")]
    store = tmp_path_factory.mktemp("store")
    found = _get(tiny(kind), _table(film, content), film[0], store, batch_size=size)
    for row, (frame, text) in enumerate(content):
        expected = alone(kind, frame, text)
        np.testing.assert_allclose(found[row], expected, atol=2e-6, err_msg=str(content))


def _run(tmp_path: Path, sentences: list[int]) -> tuple[pd.DataFrame, Path]:
    """A run's events: words one every half second, with the number of their sentence."""
    path = tmp_path / "events.tsv"
    table = pd.DataFrame(
        {
            "onset": np.arange(len(WORDS)) * 0.5,
            "duration": 0.4,
            "trial_type": "word",
            "text": WORDS,
            "sentence": sentences,
        }
    )
    table.to_csv(path, sep="\t", index=False)
    return read_events(path, ("onset", "duration")), path


SENTENCES = [1] * 6 + [2] * 6
WINDOWS = {
    "two words before and one after": (
        {"context_words": 2, "context_after": 1},
        lambda k: WORDS[max(k - 2, 6 * (k // 6)) : min(k + 2, 6 * (k // 6) + 6)],
    ),
    "whole sentence": (
        {"context_words": 1000, "context_after": 1000},
        lambda k: WORDS[6 * (k // 6) : 6 * (k // 6) + 6],
    ),
    "sliding over sentences": (
        {"context_words": 4, "sentence_column": "none"},
        lambda k: WORDS[max(0, k - 4) : k + 1],
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_of_words(tiny: Tiny, tmp_path: Path, name: str) -> None:
    params, expected = WINDOWS[name]
    table, path = _run(tmp_path, SENTENCES)
    found = words_of_run(table, path, Sources(tmp_path), unit_params({"kind": "words", **params}))
    assert [unit["text"].split() for unit in found] == [expected(k) for k in range(len(WORDS))]
    units = pd.DataFrame(found)
    units["unit"] = [unit_digest(unit) for unit in found]
    units = units.drop_duplicates("unit")
    # the same text with another word marked is another unit
    assert len(units) == len(WORDS)
    entry = {**tiny("bert"), "pooling": "target_tokens"}
    by_word = _get(entry, units, tmp_path, tmp_path / "store")
    whole = _get(tiny("bert"), units, tmp_path, tmp_path / "store")
    module = load_model("mine", entry)
    assert module.tokenize is not None and module.collate is not None and module.forward is not None
    import torch

    for row, (_, unit) in enumerate(units.iterrows()):
        (tokens,) = module.tokenize([unit["text"]])
        text, _ = module.collate([tokens])
        with torch.inference_mode():
            states = module.forward(text, None)["last_hidden_state"][0].numpy()
        np.testing.assert_allclose(whole[row], states.mean(0), atol=1e-6)
        assert tokens.offsets is not None
        marked = [
            k
            for k, (a, b) in enumerate(tokens.offsets)
            if b > a and unit["target_start"] <= a < unit["target_end"]
        ]
        # "slowly" is two tokens
        assert len(marked) == (2 if unit["word"] == "slowly" else 1)
        np.testing.assert_allclose(by_word[row], states[marked].mean(0), atol=1e-6)


def test_the_order_of_units_is_part_of_the_key(tiny: Tiny, film: Film, tmp_path: Path) -> None:
    few = _table(film, [(0, "red"), (1, "red circle")])
    keys = {}
    for name, table in {"few": few, "again": few.copy(), "turned": few.iloc[::-1]}.items():
        manifest = extract(load_model("mine", tiny("bert")), table, film[0], tmp_path)
        keys[name] = manifest["layers"][0]["key"]
    assert keys["few"] == keys["again"] != keys["turned"]
    np.testing.assert_array_equal(
        FeatureStore(tmp_path).get(keys["few"]), FeatureStore(tmp_path).get(keys["turned"])[::-1]
    )
