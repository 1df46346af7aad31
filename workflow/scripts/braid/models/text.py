"""Tokenising with a stated rule for text that is longer than a network's context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.common import InputError
from braid.models.layers import Layer
from braid.models.loaded import Tokens
from braid.models.messages import first_line

if TYPE_CHECKING:
    from torch import Tensor

_UNLIMITED = 1_000_000

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
    "tokenizer.model",
)  # fmt: skip
"""Files that make up a tokenizer of transformers; which of them there are depends on its kind."""


def load_tokenizer(name: str, folder: Path, kind: str = "AutoTokenizer") -> Any:
    """Load a tokenizer of transformers from a folder.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    folder : pathlib.Path
    kind : str
        Class of transformers.

    Raises
    ------
    InputError
        If the folder has no usable tokenizer.
    """
    import transformers

    try:
        tokenizer = getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise InputError(
            f"model '{name}': {folder} has no usable tokenizer ({first_line(error)}); fetch the "
            "checkpoint again, or install what it needs"
        ) from error
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        # where its files are missing, transformers 5 makes an empty one and says nothing
        raise InputError(
            f"model '{name}': {folder} has no usable tokenizer (no vocabulary); fetch the "
            "checkpoint again"
        )
    return tokenizer


def context_length(name: str, asked: int | None, *limits: int | None) -> int:
    """Longest sequence that a network takes, special tokens included.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    asked : int or None
        What the entry asks for (`max_tokens`).
    *limits : int or None
        What tokenizer and architecture allow; None and absurdly large values count as no limit.

    Raises
    ------
    InputError
        If the entry asks for more than there is.
    """
    known = [limit for limit in limits if limit is not None and 0 < limit < _UNLIMITED]
    if not known and asked is None:
        raise InputError(
            f"model '{name}': neither its tokenizer nor its architecture tells the longest text; "
            "set 'max_tokens'"
        )
    if asked is None:
        return min(known)
    if known and asked > min(known):
        raise InputError(f"model '{name}': max_tokens {asked} exceeds its context of {min(known)}")
    return asked


def padded_length(
    name: str, entry: Mapping[str, Any], layers: Sequence[Layer], longest: int
) -> int | None:
    """Tell to how many tokens every text is padded; None: to the longest of its batch.

    Where a layer's text tokens are laid side by side (pooling flatten), all texts need as many,
    whatever batch they are in: the context.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    entry : mapping
        Its entry of the registry.
    layers : sequence of Layer
    longest : int
        The context, in tokens.

    Raises
    ------
    InputError
        If such an entry does not say how long its context is to be.
    """
    flat = [one.name for one in layers if one.pooling == "flatten" and one.tokens != "image"]
    if flat and not entry.get("max_tokens"):
        raise InputError(
            f"model '{name}': layer {flat[0]} lays the tokens of a text side by side; set "
            f"'max_tokens' (at most {longest}), to which every text is padded"
        )
    return longest if flat else None


def tokenize(
    tokenizer: Any,
    texts: Sequence[str],
    max_tokens: int,
    too_long: str,
    name: str,
    special: bool = True,
) -> list[Tokens]:
    """Tokenise texts with a Hugging Face tokenizer, without padding.

    Text longer than `max_tokens` loses tokens on the side `too_long` (left: the oldest words);
    special tokens stay. A text that gives no token at all becomes one start (or end) token.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
    texts : sequence of str
    max_tokens : int
    too_long : {"left", "right", "error"}
    name : str
        Name of the network, used in messages.
    special : bool
        Whether the tokenizer's special tokens are added.

    Returns
    -------
    list of Tokens

    Raises
    ------
    InputError
        If `too_long` is `error` and a text is too long.
    """
    if not texts:
        return []
    found = _encode(tokenizer, texts, special, verbose=False)
    long = [k for k, tokens in enumerate(found) if len(tokens) > max_tokens]
    if long and too_long == "error":
        refuse_long(name, texts[long[0]], len(found[long[0]]), max_tokens)
    if long:
        tokenizer.truncation_side = "right" if too_long == "right" else "left"
        kept = [texts[k] for k in long]
        cut = _encode(tokenizer, kept, special, truncation=True, max_length=max_tokens)
        for k, tokens in zip(long, cut, strict=True):
            found[k] = replace(tokens, truncated=True)
    for k, tokens in enumerate(found):
        if not len(tokens):
            empty = {key: [0] for key in tokens.inputs}
            found[k] = Tokens({**empty, "input_ids": [_start(tokenizer, name)]}, [(0, 0)], False)
    return found


def refuse_long(name: str, text: str, length: int, max_tokens: int) -> None:
    """Raise the `InputError` of a text that is longer than the context where none may be cut."""
    raise InputError(
        f"model '{name}': text of {length} tokens exceeds its context of {max_tokens} "
        f"('{text[:60]}'); shorten the context or set too_long: left"
    )


def _encode(tokenizer: Any, texts: Sequence[str], special: bool, **options: Any) -> list[Tokens]:
    """Tokenise texts."""
    encoded = tokenizer(
        list(texts),
        add_special_tokens=special,
        return_attention_mask=False,
        return_offsets_mapping=bool(tokenizer.is_fast),
        **options,
    )
    offsets = encoded.pop("offset_mapping", None)
    return [
        Tokens(
            {key: list(values[k]) for key, values in encoded.items()},
            None if offsets is None else [(a, b) for a, b in offsets[k]],
            False,
        )
        for k in range(len(texts))
    ]


def pad(tokens: Sequence[Tokens], fill: int, length: int | None = None) -> dict[str, Tensor]:
    """Pad on the right to `length` or to the longest text.

    Parameters
    ----------
    tokens : sequence of Tokens
    fill : int
        Number of the padding token; other inputs are filled with 0.
    length : int, optional

    Returns
    -------
    dict of str to torch.Tensor
        Each (text, token), int64, and `attention_mask`, 1 where a token is real.
    """
    import torch

    length = length or max(map(len, tokens))
    padded = {
        key: torch.full((len(tokens), length), fill if key == "input_ids" else 0)
        for key in tokens[0].inputs
    }
    mask = torch.zeros((len(tokens), length), dtype=torch.int64)
    for row, text in enumerate(tokens):
        mask[row, : len(text)] = 1
        for key, values in text.inputs.items():
            padded[key][row, : len(values)] = torch.tensor(values)
    return {**padded, "attention_mask": mask}


def padding_token(tokenizer: Any) -> int:
    """Choose the token to pad with; its value never matters, for padding is masked."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id):
        if token is not None:
            return int(token)
    return 0


def _start(tokenizer: Any, name: str) -> int:
    """Token that stands for empty text where the tokenizer adds no special tokens."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        if token is not None:
            return int(token)
    raise InputError(f"model '{name}': its tokenizer has no token that can stand for empty text")
