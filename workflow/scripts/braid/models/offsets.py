"""Where cleaned text stands in the text that was given."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

Span = tuple[int, int]


def align(text: str, cleaned: str) -> list[Span]:
    """Find each character of a cleaned text in the text before cleaning.

    Tokenizers repair, lower-case and strip text before they split it. What is the same in both,
    but for case, is aligned one to one; a stretch that was rewritten in the same length too, and
    one that was rewritten in another length stands for the whole of what it replaces.

    Parameters
    ----------
    text : str
        As given.
    cleaned : str
        As the tokenizer splits it.

    Returns
    -------
    list of (int, int)
        For each character of `cleaned` the first and last (excluded) character of `text`.
    """
    given, wanted = lowered(text), lowered(cleaned)
    if given == wanted:
        return [(k, k + 1) for k in range(len(wanted))]
    spans: list[Span] = []
    matcher = SequenceMatcher(None, given, wanted, autojunk=False)
    for what, a, b, c, d in matcher.get_opcodes():
        if what == "equal" or (what == "replace" and b - a == d - c):
            spans += [(k, k + 1) for k in range(a, b)]
        else:
            spans += [(a, b)] * (d - c)
    return spans


def in_text(spans: Sequence[Span], positions: Sequence[Span]) -> list[Span]:
    """Turn positions in a cleaned text to positions in the text before cleaning.

    Parameters
    ----------
    spans : sequence of (int, int)
        From `align`.
    positions : sequence of (int, int)
        First and last (excluded) character in the cleaned text; empty ones become (0, 0).
    """
    return [(spans[a][0], spans[b - 1][1]) if b > a else (0, 0) for a, b in positions]


def lowered(text: str) -> str:
    """Lower-case letter by letter, so that every place in the text stays what it is."""
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
