"""CLIP's byte-pair tokenizer, with the places of its tokens in the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from braid.models.loaded import Tokens
from braid.models.offsets import Span, align, in_text
from braid.models.text import refuse_long


def byte_pair_tokens(
    name: str, tokenizer: Any, longest: int, too_long: str, texts: Sequence[str]
) -> list[Tokens]:
    """Tokenise with open_clip's own byte-pair tokenizer (Radford et al. 2021).

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    tokenizer : open_clip.SimpleTokenizer
    longest : int
        Longest sequence, the start and end tokens included; longer text loses tokens on the side
        `too_long`.
    too_long : {"left", "right", "error"}
    texts : sequence of str

    Returns
    -------
    list of Tokens
        Offsets refer to the texts as given, whatever the tokenizer cleans.

    Raises
    ------
    InputError
        If `too_long` is `error` and a text is too long.
    """
    found = []
    for text in texts:
        numbers, spans = _pieces(tokenizer, text)
        room = longest - 2
        truncated = len(numbers) > room
        if truncated and too_long == "error":
            refuse_long(name, text, len(numbers) + 2, longest)
        kept = slice(0, room) if too_long == "right" else slice(max(0, len(numbers) - room), None)
        ids = [tokenizer.sot_token_id, *numbers[kept], tokenizer.eot_token_id]
        found.append(Tokens({"input_ids": ids}, [(0, 0), *spans[kept], (0, 0)], truncated))
    return found


def _pieces(tokenizer: Any, text: str) -> tuple[list[int], list[Span]]:
    """Numbers of the tokens of a text, and where they stand in it."""
    cleaned = tokenizer.clean_fn(text)
    numbers: list[int] = []
    positions: list[Span] = []
    for word in tokenizer.pat.finditer(cleaned):
        letters = "".join(tokenizer.byte_encoder[byte] for byte in word.group().encode())
        # the character that each byte belongs to
        owner = [word.start() + k for k, one in enumerate(word.group()) for _ in one.encode()]
        first = 0
        for piece in tokenizer.bpe(letters).split(" "):
            numbers.append(tokenizer.encoder[piece])
            last = min(first + len(piece.removesuffix("</w>")), len(owner))
            positions.append((owner[first], owner[last - 1] + 1))
            first = last
    return numbers, in_text(align(text, cleaned), positions)
