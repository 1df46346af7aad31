"""The part of a layer's tokens that an entry asks for, and which of them are real."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.models.layers import Layer

if TYPE_CHECKING:
    from torch import Tensor


def part_of(
    layer: Layer,
    values: Tensor,
    mask: Tensor | None,
    targets: Tensor | None,
    image_first: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Keep a layer's tokens; tell which are real, and which are the target's.

    Parameters
    ----------
    layer : Layer
        Its `tokens` tells what the second axis holds and what to keep.
    values : torch.Tensor
        (batch, token, feature).
    mask, targets : torch.Tensor or None
        (batch, text token): true where a text token is real; for the tokens of the target word.
    image_first : bool
        Whether a fused layer holds the picture's tokens before the text's
        (`LoadedModel.image_first`).

    Returns
    -------
    values, mask, targets : torch.Tensor
        The tokens that are kept; a mask of None means that all are real.

    Raises
    ------
    ValueError
        If there are no text tokens, or the layer has not as many as the text.
    """
    import torch

    if layer.tokens == "image":
        return values, None, None
    if mask is None:
        raise ValueError("it has no text tokens")
    texts, length = mask.shape[1], values.shape[1]
    fused = layer.tokens.startswith("fused")
    if length < texts if fused else length != texts:
        raise ValueError(f"it has {length} tokens for a text of {texts}; correct its 'tokens'")
    rest = length - texts
    text = slice(rest, None) if image_first else slice(0, texts)
    if layer.tokens == "fused.image":
        return values[:, :rest] if image_first else values[:, texts:], None, None
    if layer.tokens == "fused.text":
        return values[:, text], mask, targets
    # the picture's tokens are all real, and none of them is the target's
    sides = (rest, 0) if image_first else (0, rest)
    mask = torch.nn.functional.pad(mask, sides, value=True)
    if targets is not None:
        targets = torch.nn.functional.pad(targets, sides, value=False)
    return values, mask, targets
