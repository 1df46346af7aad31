"""Praat TextGrids: tiers of labelled intervals, in the long and the short text format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braid.bids.files import check_fetched
from braid.common import InputError

WORDS = 1  # tier of the words in the grids of LeBel et al. 2023; tier 0 holds the phones
NO_WORDS = frozenset({"", "sentence_start", "sentence_end", "br", "lg", "ls", "ns", "sp"})
"""Marks of pauses, breath, laughter, noise and sentence borders."""

# Praat reads free-standing strings, numbers and flags, and takes all else as comments: the long
# format is the short one with comments
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)')
_ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb": "utf-8-sig"}


@dataclass(frozen=True)
class Tier:
    """One tier.

    Attributes
    ----------
    name : str
    intervals : pandas.DataFrame
        `start`, `end` (s), `text`; of a tier of points both times are the same.
    """

    name: str
    intervals: pd.DataFrame


@dataclass(frozen=True)
class TextGrid:
    """All tiers of a file.

    Attributes
    ----------
    duration : float
        Where the grid ends, s.
    tiers : tuple of Tier
    """

    duration: float
    tiers: tuple[Tier, ...]


def read_textgrid(path: Path) -> TextGrid:
    """Read a TextGrid in either text format, in UTF-8, UTF-16 or Latin-1.

    Raises
    ------
    InputError
        If the file is missing, is no TextGrid, or ends too early.
    """
    check_fetched(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; a story needs the times of its words")
    tokens = _tokens(path)
    if len(tokens) < 2 or "TextGrid" not in tokens[:2]:
        raise InputError(
            f"{path}: not a TextGrid in one of Praat's text formats; save it again as text file"
        )
    reader = _Reader(tokens[2:], path)
    reader.number()
    duration = reader.number()
    tiers = []
    for _ in range(int(reader.number())):
        kind, name = reader.string(), reader.string()
        reader.number(), reader.number()
        times = 2 if kind == "IntervalTier" else 1
        rows = []
        for _ in range(int(reader.number())):
            span = [reader.number() for _ in range(times)]
            rows.append((span[0], span[-1], reader.string()))
        tiers.append(Tier(name, pd.DataFrame(rows, columns=["start", "end", "text"])))
    return TextGrid(duration, tuple(tiers))


def words_of(grid: TextGrid, path: Path) -> tuple[pd.DataFrame, int]:
    """Words of a story, without the marks of what is no word.

    A tier in capitals alone is written in small letters: networks read capitals as other words.

    Parameters
    ----------
    grid : TextGrid
    path : pathlib.Path
        Its file, for error messages.

    Returns
    -------
    words : pandas.DataFrame
        `onset`, `duration` (s in the story), `text`, in order of onset.
    left_out : int
        Intervals that hold a mark or nothing.

    Raises
    ------
    InputError
        If there is no tier of words, it has none, or one ends before it starts.
    """
    if len(grid.tiers) <= WORDS:
        raise InputError(
            f"{path}: has {len(grid.tiers)} tier(s); the second one must hold the words (and the "
            "first the phones)"
        )
    tier = grid.tiers[WORDS].intervals
    # marks also stand in braces
    texts = [" ".join(text.split()) for text in tier["text"]]
    spoken = [text.lower().strip("{}").strip() not in NO_WORDS for text in texts]
    words = tier[spoken].assign(text=[t for t, word in zip(texts, spoken, strict=True) if word])
    if words.empty:
        raise InputError(f"{path}: the second tier holds no word; the first must hold the phones")
    if not words["text"].str.contains("[a-z]").any():
        words["text"] = words["text"].str.lower()
    wrong = words["end"] < words["start"]
    if wrong.any():
        first = words[wrong].iloc[0]
        raise InputError(
            f"{path}: the word '{first['text']}' at {first['start']:.3f} s ends before it starts; "
            "correct its times"
        )
    words = words.sort_values("start", kind="stable", ignore_index=True)
    table = pd.DataFrame(
        {
            "onset": words["start"],
            "duration": words["end"] - words["start"],
            "text": words["text"],
        }
    )
    return table, len(tier) - len(table)


def _tokens(path: Path) -> list[str | float]:
    """Strings and numbers of a file, in order."""
    content = path.read_bytes()
    encoding = _ENCODINGS.get(content[:2], "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [
        float(match[2]) if match[2] is not None else match[1].replace('""', '"')
        for match in _TOKEN.finditer(text)
    ]


class _Reader:
    """Takes tokens one by one; says where a file is not what it should be."""

    def __init__(self, tokens: list[str | float], path: Path) -> None:
        self._tokens, self._path, self._place = tokens, path, 0

    def _next(self) -> str | float:
        if self._place >= len(self._tokens):
            raise InputError(f"{self._path}: the TextGrid ends too early; copy it again")
        self._place += 1
        return self._tokens[self._place - 1]

    def number(self) -> float:
        """Next token, which must be a number."""
        return float(self._expect(float))

    def string(self) -> str:
        """Next token, which must be a string."""
        return str(self._expect(str))

    def _expect(self, kind: type) -> str | float:
        token = self._next()
        if not isinstance(token, kind):
            wanted = "a number" if kind is float else "a text in quotation marks"
            raise InputError(
                f"{self._path}: {wanted} is expected where {token!r} stands (entry {self._place}); "
                "save it again in Praat as text file"
            )
        return token
