"""One forward pass that gives all layers, pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import BraidError, InputError
from braid.features.reduce import project
from braid.models import Layer, LoadedModel
from braid.models.layers import nearest_first
from braid.models.parts import part_of
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
    """Run the network once; layers as float32 arrays (see `layer_tensors`)."""
    found = layer_tensors(model, batch, dict.fromkeys(wanted))
    return {name: values.float().cpu().numpy() for name, values in found.items()}


def layer_tensors(
    model: LoadedModel, batch: Batch, wanted: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, Tensor]:
    """Run the network once and pool its layers as they appear.

    Only the pooled and reduced vectors are kept, so that the memory of a pass does not grow with
    the number of layers. Networks that draw random numbers (ViLT: the order of patches) draw the
    same in every pass.

    Parameters
    ----------
    model : LoadedModel
    batch : Batch
    wanted : mapping of str to mapping or None
        Names of the layers, and how each is reduced (see `braid.features.reduce`).

    Returns
    -------
    dict of str to torch.Tensor
        Layer to float32 (batch, feature), on the network's device.

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
                stack.enter_context(_hook(model, layer, batch, wanted[layer.name], found))
        outputs = model.forward(batch.text, batch.image)
        for layer in layers:
            if layer.output is not None:
                output = _output(model, layer, outputs)
                found[layer.name] = _pooled(model, layer, output, batch, wanted[layer.name])
    for layer in layers:
        if layer.name not in found:
            raise BraidError(
                f"model '{model.name}': layer {layer.name} took no part in the forward pass; "
                "remove it from the entry's 'layers'"
            )
    return found


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
    model: LoadedModel,
    layer: Layer,
    batch: Batch,
    reduction: Mapping[str, Any] | None,
    found: dict[str, Tensor],
) -> Iterator[None]:
    """Pool a module's output when it appears."""
    assert model.module is not None and layer.module is not None

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        if layer.name in found:
            raise BraidError(
                f"model '{model.name}': module {layer.module} runs more than once in a pass; "
                "name a layer that runs once"
            )
        states = _tensor(model, layer, output)
        found[layer.name] = _pooled(model, layer, states, batch, reduction)

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


def _pooled(
    model: LoadedModel,
    layer: Layer,
    values: Tensor,
    batch: Batch,
    reduction: Mapping[str, Any] | None,
) -> Tensor:
    """Keep the layer's tokens, pool them, and reduce what is too wide."""
    from torch.nn.functional import normalize

    if layer.batch_axis == 1:
        values = values.transpose(0, 1)
    if values.shape[0] != batch.size:
        raise BraidError(
            f"model '{model.name}': layer {layer.name} gives {values.shape[0]} rows for "
            f"{batch.size} units; set 'batch_axis' of this layer"
        )
    mask, targets = None, None
    try:
        kept = values
        if values.ndim == 3:
            kept, mask, targets = part_of(
                layer, values, batch.mask, batch.targets, model.image_first
            )
        pooled = pool(kept, mask, layer.pooling, targets)
    except ValueError as error:
        raise InputError(f"model '{model.name}': layer {layer.name}: {error}") from None
    if layer.normalize:
        pooled = normalize(pooled, dim=-1)
    if reduction is not None:
        pooled = project(pooled, reduction)
    if pooled.untyped_storage().data_ptr() == values.untyped_storage().data_ptr():
        # a part of the states would keep all of them, and change where the network writes in place
        pooled = pooled.clone()
    return pooled
