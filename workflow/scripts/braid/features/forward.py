"""One forward pass that gives all layers, pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import BraidError, InputError
from braid.models import Layer, LoadedModel
from braid.models.layers import nearest_first
from braid.models.pooling import pool

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Batch:
    """Inputs of one forward pass.

    Attributes
    ----------
    text, image : dict of str to torch.Tensor or None
        Named inputs with a batch axis.
    mask : torch.Tensor or None
        (batch, token), true where a text token is real.
    targets : torch.Tensor or None
        (batch, token), true for the tokens of the target word.
    size : int
        Number of items.
    """

    text: dict[str, Tensor] | None
    image: dict[str, Tensor] | None
    mask: Tensor | None
    targets: Tensor | None
    size: int

    def to(self, device: str) -> Batch:
        """Move the inputs to a device."""

        def move(inputs: dict[str, Tensor] | None) -> dict[str, Tensor] | None:
            return inputs and {key: value.to(device) for key, value in inputs.items()}

        return Batch(
            text=move(self.text),
            image=move(self.image),
            mask=None if self.mask is None else self.mask.to(device),
            targets=None if self.targets is None else self.targets.to(device),
            size=self.size,
        )


def run_layers(model: LoadedModel, batch: Batch, wanted: set[str]) -> dict[str, np.ndarray]:
    """Run the network once and pool its layers as they appear.

    Only the pooled vectors are kept, so that the memory of a pass does not grow with the number of
    layers. Networks that draw random numbers (ViLT: the order of patches) draw the same in
    every pass.

    Parameters
    ----------
    model : LoadedModel
    batch : Batch
    wanted : set of str
        Names of the layers.

    Returns
    -------
    dict of str to numpy.ndarray
        Layer to float32 (batch, feature).

    Raises
    ------
    BraidError
        If a layer's module takes no part in the pass, takes part more than once, or gives
        something else than expected.
    """
    assert model.forward is not None
    batch = batch.to(model.device)
    found: dict[str, Tensor] = {}
    layers = [layer for layer in model.layers if layer.name in wanted]
    with ExitStack() as stack:
        stack.enter_context(_quiet(model))
        for layer in layers:
            if layer.module is not None:
                stack.enter_context(_hook(model, layer, batch, found))
        outputs = model.forward(batch.text, batch.image)
        for layer in layers:
            if layer.output is not None:
                found[layer.name] = _pooled(model, layer, _output(model, layer, outputs), batch)
    for layer in layers:
        if layer.name not in found:
            raise BraidError(
                f"model '{model.name}': layer {layer.name} took no part in the forward pass; "
                "remove it from the entry's 'layers'"
            )
    return {name: values.float().cpu().numpy() for name, values in found.items()}


@contextmanager
def _quiet(model: LoadedModel) -> Iterator[None]:
    """Set no gradients, the stated precision, the same random numbers in every pass."""
    import torch

    kind = model.device.split(":")[0]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(0)
        if model.precision != "float32":
            stack.enter_context(torch.autocast(kind, dtype=getattr(torch, model.precision)))
        elif kind == "cuda":
            # convolutions use TF32 by default, which keeps 10 bits
            stack.enter_context(
                torch.backends.cudnn.flags(
                    enabled=True, benchmark=False, deterministic=True, allow_tf32=False
                )
            )
        yield


@contextmanager
def _hook(
    model: LoadedModel, layer: Layer, batch: Batch, found: dict[str, Tensor]
) -> Iterator[None]:
    """Pool a module's output when it appears."""
    assert model.module is not None and layer.module is not None

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        if layer.name in found:
            raise BraidError(
                f"model '{model.name}': module {layer.module} runs more than once in a pass; "
                "name a layer that runs once"
            )
        found[layer.name] = _pooled(model, layer, _tensor(model, layer, output), batch)

    handle = model.module.get_submodule(layer.module).register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def _tensor(model: LoadedModel, layer: Layer, output: Any) -> Tensor:
    """Take the hidden states from a module's output: itself, or the first of several."""
    import torch

    if isinstance(output, Mapping):
        output = next(iter(output.values()))
    if isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, torch.Tensor):
        raise BraidError(
            f"model '{model.name}': layer {layer.name} gives {type(output).__name__}, not an array"
        )
    return output


def _output(model: LoadedModel, layer: Layer, outputs: Mapping[str, Any]) -> Tensor:
    """Take a named output of the whole network."""
    if outputs.get(str(layer.output)) is None:
        there = [name for name, value in outputs.items() if hasattr(value, "shape")]
        raise InputError(
            f"model '{model.name}': it has no output '{layer.output}'; there are: "
            f"{', '.join(nearest_first(str(layer.output), there))}"
        )
    return outputs[str(layer.output)]


def _pooled(model: LoadedModel, layer: Layer, values: Tensor, batch: Batch) -> Tensor:
    """Keep the layer's tokens and pool them."""
    from torch.nn.functional import normalize

    if layer.batch_axis == 1:
        values = values.transpose(0, 1)
    if values.shape[0] != batch.size:
        raise BraidError(
            f"model '{model.name}': layer {layer.name} gives {values.shape[0]} rows for "
            f"{batch.size} units; set 'batch_axis' of this layer"
        )
    mask, targets = None, None
    if values.ndim == 3:
        values, mask, targets = _part(model, layer, values, batch)
    try:
        pooled = pool(values, mask, layer.pooling, targets)
    except ValueError as error:
        raise InputError(f"model '{model.name}': layer {layer.name}: {error}") from None
    return normalize(pooled, dim=-1) if layer.normalize else pooled


def _part(
    model: LoadedModel, layer: Layer, values: Tensor, batch: Batch
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Keep a layer's tokens; tell which are real, and which are the target's."""
    import torch

    if layer.tokens == "image":
        return values, None, None
    if batch.mask is None:
        raise InputError(f"model '{model.name}': layer {layer.name} has no text tokens")
    texts, length = batch.mask.shape[1], values.shape[1]
    if (length < texts) if layer.tokens.startswith("fused") else (length != texts):
        raise InputError(
            f"model '{model.name}': layer {layer.name} has {length} tokens for a text of {texts}; "
            "correct its 'tokens'"
        )
    if layer.tokens == "fused.image":
        return values[:, texts:], None, None
    if layer.tokens == "fused.text":
        values = values[:, :texts]
    rest = values.shape[1] - texts
    targets = batch.targets
    mask = torch.nn.functional.pad(batch.mask, (0, rest), value=True)
    if targets is not None:
        targets = torch.nn.functional.pad(targets, (0, rest), value=False)
    return values, mask, targets
