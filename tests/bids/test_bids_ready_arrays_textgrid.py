"""TextGrids: both text formats, marks, encodings, and damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from ready_arrays_world import long_grid, short_grid

from braid.bids.importers.textgrid import read_textgrid, words_of
from braid.common import InputError

ROWS = [
    (0.0, 0.5, "{LG}"),
    (0.5, 0.75, "i"),
    (0.75, 1.0, "sp"),
    (1.0, 1.25, 'said ""no""'),
    (1.25, 1.5, " SENTENCE_END "),
    (1.5, 1.6, ""),
    (1.6, 1.9, "café"),
]
TIERS = {"phone": [(0.0, 2.0, "sp 3 4")], "word": ROWS}


@pytest.mark.parametrize("write", [long_grid, short_grid])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_both_formats_give_the_same_words(tmp_path, write, encoding):
    path = tmp_path / "story.TextGrid"
    path.write_text(write(TIERS, 2.0), encoding=encoding)
    grid = read_textgrid(path)
    assert grid.duration == 2.0 and [tier.name for tier in grid.tiers] == ["phone", "word"]
    words, left_out = words_of(grid, path)
    assert list(words["text"]) == ["i", 'said "no"', "café"] and left_out == 4
    np.testing.assert_allclose(words["onset"], [0.5, 1.0, 1.6])
    np.testing.assert_allclose(words["duration"], [0.25, 0.25, 0.3])


@pytest.mark.parametrize("mark", ["sentence_start", "sentence_end", "br", "lg", "ls", "ns", "sp"])
def test_each_mark_is_no_word(tmp_path, mark):
    path = tmp_path / "story.TextGrid"
    rows = [(0, 1, mark), (1, 2, "word"), (2, 3, mark.upper()), (3, 4, f"{{{mark}}}")]
    path.write_text(long_grid({"phone": [], "word": rows}, 4))
    words, left_out = words_of(read_textgrid(path), path)
    assert list(words["text"]) == ["word"] and left_out == 3


def test_capitals_alone_become_small_letters_and_others_stay(tmp_path):
    path = tmp_path / "story.TextGrid"
    for texts, expected in ((("I", "WENT"), ["i", "went"]), (("I", "went"), ["I", "went"])):
        rows = [(k, k + 1, text) for k, text in enumerate(texts)]
        path.write_text(short_grid({"phone": [], "word": rows}, 9))
        assert list(words_of(read_textgrid(path), path)[0]["text"]) == expected


def test_what_is_no_grid_is_named(tmp_path):
    path = tmp_path / "story.TextGrid"
    with pytest.raises(InputError, match=r"story\.TextGrid: no such file"):
        read_textgrid(path)
    path.write_text("0\t1\tword\n")
    with pytest.raises(InputError, match="not a TextGrid"):
        read_textgrid(path)
    whole = long_grid(TIERS, 2.0)
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="ends too early"):
        read_textgrid(path)
    path.write_text(short_grid(TIERS, 2.0).replace('"word"', "7"))
    with pytest.raises(InputError, match="text in quotation marks is expected where 7"):
        read_textgrid(path)


def test_a_grid_without_words_is_named(tmp_path):
    path = tmp_path / "story.TextGrid"
    for tiers, message in (
        ({"word": ROWS}, r"has 1 tier\(s\)"),
        ({"phone": ROWS, "word": [(0, 1, "sp")]}, "holds no word"),
        ({"phone": ROWS, "word": [(1, 0.5, "back")]}, "'back' at 1.000 s ends before it starts"),
    ):
        path.write_text(long_grid(tiers, 2.0))
        with pytest.raises(InputError, match=message):
            words_of(read_textgrid(path), path)
