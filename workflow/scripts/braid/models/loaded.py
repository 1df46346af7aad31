"""What a loaded network offers to the rooms after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.models.layers import Layer

if TYPE_CHECKING:
    from torch import Tensor, nn

Inputs = Mapping[str, "Tensor"]
See = Callable[[np.ndarray], "dict[str, Tensor]"]
Watch = Callable[[np.ndarray, float], "dict[str, Tensor]"]


@dataclass(frozen=True)
class Tokens:
    """One text as a network reads it.

    Attributes
    ----------
    inputs : mapping of str to list of int
        Named inputs without padding: token numbers and, where the network has them, types.
    offsets : list of (int, int) or None
        First and last character (excluded) of each token; (0, 0) for special tokens.
    truncated : bool
        Whether the text was longer than the network's context.
    """

    inputs: Mapping[str, list[int]]
    offsets: list[tuple[int, int]] | None
    truncated: bool

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


@dataclass(frozen=True)
class LoadedModel:
    """A network with named layers, or a source of features without a network.

    Attributes
    ----------
    name, source, modality : str
        As in the registry.
    layers : tuple of Layer
        Shallow to deep.
    weights : str
        SHA-256 over the weight files (over the tensors of an untrained network).
    revision : str
        Commit of the checkpoint, or `local`.
    architecture, processor : str
        SHA-256 of the configuration files of the network, and of its processor and tokenizer.
    context : mapping
        `max_tokens` and what happens to longer text (`too_long`).
    precision : str
        Number format of the forward pass.
    untrained : int or None
        Seed of the initialisation of an untrained twin.
    device : str
        `cpu`, `cuda` or `cuda:0`.
    entry : mapping
        The registry entry with its defaults.
    module : torch.nn.Module or None
        In evaluation mode, on `device`; none for controls.
    tokenize : callable
        Texts to `Tokens`; none for networks that do not read.
    collate : callable
        `Tokens` to padded inputs and a mask (text, token) that is true where a token is real.
    see : callable
        One picture, uint8 (H, W, 3), to inputs without a batch axis; none for networks that
        do not see.
    forward : callable
        Text inputs and picture inputs (None where there are none) to named outputs.
    image_first : bool
        Whether fused layers hold the picture's tokens before the text's.
    watch : callable
        One clip, uint8 (frame, H, W, 3), and its frames per second, to the same kind of inputs;
        none for networks that do not take clips.
    regions : int or None
        Features of each region of an object detector, for networks that take regions in place of
        a picture; their `see` takes float32 (region, feature).
    """

    name: str
    source: str
    modality: str
    layers: tuple[Layer, ...]
    weights: str
    revision: str
    architecture: str
    processor: str
    context: Mapping[str, Any]
    precision: str
    untrained: int | None
    device: str
    entry: Mapping[str, Any]
    module: nn.Module | None = field(default=None, repr=False)
    tokenize: Callable[[Sequence[str]], list[Tokens]] | None = field(default=None, repr=False)
    collate: Callable[[Sequence[Tokens]], tuple[dict[str, Tensor], Tensor]] | None = field(
        default=None, repr=False
    )
    see: See | None = field(default=None, repr=False)
    forward: Callable[[Inputs | None, Inputs | None], dict[str, Any]] | None = field(
        default=None, repr=False
    )
    image_first: bool = False
    watch: Watch | None = field(default=None, repr=False)
    regions: int | None = None

    @property
    def reads(self) -> bool:
        """Whether it takes text."""
        return self.modality in ("language", "vision-language")

    @property
    def sees(self) -> bool:
        """Whether it takes pictures."""
        return self.modality in ("vision", "vision-language")
