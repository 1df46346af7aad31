"""What networks of transformers read and see: limits, picture processors, padding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError, read_json
from braid.models.loaded import Tokens
from braid.models.messages import first_line
from braid.models.offsets import lowered
from braid.models.text import context_length, pad, padding_token, tokenize

if TYPE_CHECKING:
    from torch import Tensor, nn

_PADDED = ("siglip", "siglip2")
"""Kinds of network that were trained on lower-case texts padded to one length, padding attended
to, and that read the last token of it as the text (Zhai et al. 2023, Tschannen et al. 2025)."""


def image_processor_of(name: str, folder: Path, entry: Mapping[str, Any]) -> Any:
    """Load a folder's picture processor, on Pillow: the same numbers in both interfaces.

    Raises
    ------
    InputError
        If the folder has none.
    """
    import transformers

    five = int(transformers.__version__.split(".")[0]) >= 5
    backend = {"backend": "pil"} if five else {"use_fast": False}
    try:
        return transformers.AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, **backend, **entry["processor"]
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"model '{name}': {folder} has no usable image processor ({first_line(error)}); fetch "
            "the checkpoint again"
        ) from error


def longest_text(
    name: str, folder: Path, entry: Mapping[str, Any], module: nn.Module, tokenizer: Any
) -> int:
    """Longest text that a network takes, in tokens."""
    config: Any = module.config
    text = getattr(config, "text_config", config)
    limits = [tokenizer.model_max_length, _positions(module, text)]
    if entry["source"] == "sentence_transformers":
        file = folder / "sentence_bert_config.json"
        limits.append(read_json(file).get("max_seq_length") if file.is_file() else None)
    return context_length(name, entry.get("max_tokens"), *limits)


def reading(
    name: str, tokenizer: Any, kind: str, longest: int, too_long: str, special: bool = True
) -> Callable[[Sequence[str]], list[Tokens]]:
    """Make the function from texts to tokens, with a network's limits.

    Parameters
    ----------
    name, tokenizer, longest, too_long
        As for `braid.models.text.tokenize`.
    kind : str
        The configuration's `model_type`.
    special : bool
        Whether the tokenizer's special tokens are added.
    """

    def read(texts: Sequence[str]) -> list[Tokens]:
        if kind in _PADDED:
            texts = [lowered(text) for text in texts]
        return tokenize(tokenizer, texts, longest, too_long, name, special)

    return read


def collating(
    tokenizer: Any, kind: str, longest: int, length: int | None = None
) -> Callable[[Sequence[Tokens]], tuple[dict[str, Tensor], Tensor]]:
    """Make the function that pads texts and marks the real tokens.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
    kind : str
        The configuration's `model_type`.
    longest : int
        Longest text, in tokens.
    length : int, optional
        Tokens to which texts are padded; by default to the longest of them, or as the network was
        trained.
    """
    fill = padding_token(tokenizer)

    def collate(tokens: Sequence[Tokens]) -> tuple[dict[str, Tensor], Tensor]:
        inputs = pad(tokens, fill, longest if kind in _PADDED else length)
        mask = inputs["attention_mask"].bool()
        if kind in _PADDED:
            inputs = {"input_ids": inputs["input_ids"]}
        return inputs, mask

    return collate


def see_one(processor: Any, picture: np.ndarray) -> dict[str, Tensor]:
    """One picture, uint8 (H, W, 3), to the network's inputs, without a batch axis."""
    from PIL import Image

    inputs = processor(images=Image.fromarray(picture), return_tensors="pt")
    return {key: value[0] for key, value in inputs.items()}


def see_regions(regions: np.ndarray) -> dict[str, Tensor]:
    """Regions of one picture, float32 (region, feature), to the network's inputs."""
    import torch

    return {"visual_embeds": torch.from_numpy(np.ascontiguousarray(regions, dtype=np.float32))}


def _positions(module: nn.Module, config: Any) -> int | None:
    """Tokens that the text's position embeddings hold.

    RoBERTa and its kin count positions from the number of the padding token on.
    """
    held = getattr(config, "max_position_embeddings", None)
    for path, part in module.named_modules():
        reserved = getattr(part, "padding_idx", None)
        if held and path.endswith("embeddings.position_embeddings") and reserved is not None:
            return int(held) - int(reserved) - 1
    return held
