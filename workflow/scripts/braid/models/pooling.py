"""From a layer's tokens to one vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pool(values: Tensor, mask: Tensor | None, how: str, targets: Tensor | None = None) -> Tensor:
    """Pool the tokens of each item of a batch.

    Parameters
    ----------
    values : torch.Tensor
        (batch, token, feature); feature maps (batch, channel, row, column) are taken as
        row x column tokens; (batch, feature) stays as it is, except that nothing is left to pool.
    mask : torch.Tensor or None
        (batch, token), true where a token is real; None: all are.
    how : str
        `mean`, `max`: over the real tokens, special ones included (as sentence-transformers does);
        `cls`: the first token; `last`: the last real one; `target_tokens`: mean over `targets`;
        `flatten`: all tokens in a row; `none`: values must be (batch, feature) already.
    targets : torch.Tensor, optional
        (batch, token), true for the tokens of the target word; an item without any is averaged
        over its real tokens.

    Returns
    -------
    torch.Tensor
        (batch, feature), float32.
    """
    import torch

    values = values.float()
    if values.ndim == 4 and how != "flatten":
        values = values.flatten(2).transpose(1, 2)
    if values.ndim == 2:
        return values
    if how == "flatten":
        return values.flatten(1)
    if values.ndim != 3:
        raise ValueError(f"pooling {how} does not fit values of shape {tuple(values.shape)}")
    if how == "none":
        raise ValueError("pooling none needs one vector per item, not tokens")
    if mask is None:
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
    if how == "cls":
        return values[:, 0]
    if how == "last":
        # also right where padding is on the left
        steps = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        return values[torch.arange(len(values), device=mask.device), (mask * steps).argmax(1)]
    if how == "max":
        return values.masked_fill(~mask[..., None], -torch.inf).amax(1)
    if how == "target_tokens":
        if targets is None:
            raise ValueError("pooling target_tokens needs the target's tokens")
        mask = torch.where(targets.any(1, keepdim=True), targets, mask)
    weights = mask[..., None].to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1)
