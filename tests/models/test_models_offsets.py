"""Where tokens stand in the text, when a tokenizer cleans it first."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braid.common import InputError
from braid.models import load_model
from braid.models.byte_pairs import byte_pair_tokens
from braid.models.offsets import align, in_text

open_clip = pytest.importorskip("open_clip")
Tiny = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return open_clip.SimpleTokenizer()


@pytest.mark.parametrize(
    ("text", "cleaned", "spans"),
    [
        ("Red", "red", [(0, 1), (1, 2), (2, 3)]),
        ("  a  b ", "a b", [(2, 3), (3, 4), (5, 6)]),
        ("a&amp;b", "a&b", [(0, 1), (1, 2), (6, 7)]),
        ("“a”", '"a"', [(0, 1), (1, 2), (2, 3)]),
        ("", "", []),
        ("   ", "", []),
    ],
)
def test_cleaned_text_is_found(text: str, cleaned: str, spans: list[tuple[int, int]]) -> None:
    assert align(text, cleaned) == spans


def test_places_in_the_text() -> None:
    spans = align("  Red   circle", "red circle")
    assert in_text(spans, [(0, 0), (0, 3), (4, 10)]) == [(0, 0), (2, 5), (8, 14)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A red circle.", ["a", "red", "circle", "."]),
        ("don't  STOP", ["don", "'t", "stop"]),
        ("Ünïcode “quoted” café", ["ünïcode", '"', "quoted", '"', "café"]),
        ("salt &amp; pepper", ["salt", "&", "pepper"]),
        ("red\N{LARGE RED CIRCLE}blue", ["red", "\N{LARGE RED CIRCLE}", "blue"]),
    ],
)
def test_tokens_cover_their_words(tokenizer: Any, text: str, words: list[str]) -> None:
    (tokens,) = byte_pair_tokens("mine", tokenizer, 77, "left", [text])
    assert tokens.inputs["input_ids"][1:-1] == tokenizer.encode(text)
    assert tokens.offsets is not None and len(tokens.offsets) == len(tokens)
    assert tokens.offsets[0] == tokens.offsets[-1] == (0, 0)
    for word in words:
        # the tokens of a word, found by its place, are those of the word alone
        start = tokenizer.clean_fn(text).index(word)
        spans = align(text, tokenizer.clean_fn(text))
        begin, end = spans[start][0], spans[start + len(word) - 1][1]
        inside = [
            number
            for number, (a, b) in zip(tokens.inputs["input_ids"], tokens.offsets, strict=True)
            if a < end and b > begin
        ]
        assert inside == tokenizer.encode(word), word


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=8))
def test_any_text_gives_the_librarys_tokens(parts: list[str]) -> None:
    text = " ".join(parts)
    tokenizer = open_clip.tokenizer._tokenizer
    (tokens,) = byte_pair_tokens("mine", tokenizer, 10_000, "left", [text])
    assert tokens.inputs["input_ids"][1:-1] == tokenizer.encode(text)
    assert tokens.offsets is not None
    assert all(0 <= a <= b <= len(text) for a, b in tokens.offsets)
    starts = [a for a, _ in tokens.offsets[1:-1]]
    assert starts == sorted(starts)


def test_long_text_keeps_the_places_of_what_is_left(tokenizer: Any) -> None:
    text = "red " * 30 + "blue"
    (left,) = byte_pair_tokens("mine", tokenizer, 12, "left", [text])
    (right,) = byte_pair_tokens("mine", tokenizer, 12, "right", [text])
    assert left.truncated and right.truncated and len(left) == len(right) == 12
    assert left.offsets is not None and right.offsets is not None
    assert left.offsets[-2] == (120, 124) and right.offsets[1] == (0, 3)
    with pytest.raises(InputError, match="text of 33 tokens exceeds its context of 12"):
        byte_pair_tokens("mine", tokenizer, 12, "error", [text])


def test_open_clip_tells_places_whatever_it_cleans(tiny: Tiny, tmp_path: Path) -> None:
    """Both kinds of tokenizer of open_clip."""
    entry = tiny("clip")
    shutil.copytree(entry["path"], tmp_path / "clip")
    path = tmp_path / "clip" / "open_clip_config.json"
    config = json.loads(path.read_text())
    del config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    config["model_cfg"]["text_cfg"].update(vocab_size=49408, pool_type="argmax")
    path.write_text(json.dumps(config))
    own = load_model("mine", {**entry, "path": str(path.parent)}, untrained=True)
    text = "  The  big square"
    for model in (load_model("mine", entry), own):
        (tokens,) = model.tokenize([text])
        found = [text[a:b] for a, b in tokens.offsets if b > a]
        assert found == ["The", "big", "square"]
