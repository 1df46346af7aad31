"""Checkpoints of the SLIP family: SLIP, CLIP and SimCLR trained on YFCC15M by Mu et al. (2021)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from braid.common import InputError
from braid.models.byte_pairs import byte_pair_tokens
from braid.models.checkpoints import load_tensors, read_tensors
from braid.models.digests import digest, tensors_digest, weights_digest
from braid.models.layers import resolve_layers
from braid.models.loaded import Inputs, LoadedModel, Tokens
from braid.models.loading import seeded
from braid.models.preparing import preparation
from braid.models.registry import model_folder, nearest, weight_files
from braid.models.sizes import sizes_of
from braid.models.text import context_length, pad

if TYPE_CHECKING:
    from torch import Tensor

    from braid.models.slip_modules import SlipNetwork, SlipSizes

_PICTURES = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bilinear",
    "resize_mode": "shortest",
}
_OUTPUTS = {
    "SLIP": ("image_features", "text_features", "joint", "ssl_features"),
    "CLIP": ("image_features", "text_features", "joint"),
    "SIMCLR": ("ssl_features",),
}


def load_slip(name: str, entry: Mapping[str, Any], init: int | None, device: str) -> LoadedModel:
    """Load a checkpoint of the SLIP family (see `braid.models.load_model`).

    The published files hold, beside the tensors under `state_dict`, the settings of the training
    as an `argparse.Namespace`, the one class besides tensors and plain values that is let in.

    Named outputs: `image_features` and `text_features` (both scaled to length 1), `joint`, their
    elementwise product, and `ssl_features`, the head of self-supervision. A SimCLR network has
    the last alone, a CLIP network the first three. The module `visual` gives the pooled picture
    (batch, width).

    Parameters
    ----------
    name : str
    entry : mapping
        With its defaults. `architecture` is one of `braid.models.slip_modules.ARCHITECTURES`, or a
        mapping of sizes. `modality` may be narrower than what the network takes.
    init : int or None
        Seed of the untrained twin; None loads the weights.
    device : str

    Returns
    -------
    LoadedModel
    """
    import open_clip

    from braid.models.slip_modules import SlipNetwork

    sizes = _sizes(name, entry)
    reads, sees = entry["modality"] != "vision", entry["modality"] != "language"
    # the twin needs no file at all
    revision = model_folder(name, entry)[1] if init is None else str(entry.get("revision", "local"))
    files = weight_files(name, entry) if init is None else []
    with seeded(init or 0):
        module = SlipNetwork(sizes)
    if init is None:
        tensors = read_tensors(name, files[0], "state_dict", (argparse.Namespace,))
        load_tensors(name, files[0], module, tensors)
    tokenizer = open_clip.SimpleTokenizer(context_length=sizes.context_length)
    longest = context_length(name, entry.get("max_tokens"), sizes.context_length)
    pictures = {**_PICTURES, "size": sizes.image_size}
    outputs = _OUTPUTS[sizes.family]
    return LoadedModel(
        name=name,
        source="slip",
        modality=str(entry["modality"]),
        layers=resolve_layers(name, entry, [path for path, _ in module.named_modules()], outputs),
        weights=tensors_digest(module) if init is not None else weights_digest(files),
        revision=revision,
        architecture=digest(asdict(sizes)),
        processor=digest(
            {
                "tokenizer": "byte pairs of CLIP" if reads else None,
                "pictures": {**pictures, **entry["processor"]} if sees else None,
            }
        ),
        context={"max_tokens": longest, "too_long": entry["too_long"]} if reads else {},
        precision=str(entry["precision"]),
        untrained=init,
        device=device,
        entry=entry,
        module=module.to(device).eval(),
        tokenize=partial(byte_pair_tokens, name, tokenizer, longest, str(entry["too_long"]))
        if reads
        else None,
        collate=partial(_collate, sizes.context_length) if reads else None,
        see=preparation(name, pictures, entry["processor"]) if sees else None,
        forward=partial(_run, module),
    )


def _sizes(name: str, entry: Mapping[str, Any]) -> SlipSizes:
    """Sizes of the network, checked against what the entry wants of it."""
    from braid.models.slip_modules import ARCHITECTURES, FAMILIES

    sizes = sizes_of(name, entry, ARCHITECTURES)
    if sizes.family not in FAMILIES:
        raise InputError(
            f"model '{name}': family '{sizes.family}' in 'architecture' is unknown"
            f"{nearest(sizes.family, FAMILIES)}"
        )
    if sizes.family == "SIMCLR" and entry["modality"] != "vision":
        raise InputError(
            f"model '{name}': a SimCLR network does not read; set 'modality' to vision"
        )
    return sizes


def _collate(length: int, tokens: Sequence[Tokens]) -> tuple[dict[str, Tensor], Tensor]:
    """Pad to the full context, as the text tower was trained; mark the real tokens."""
    inputs = pad(tokens, 0, length)
    return {"text": inputs["input_ids"]}, inputs["attention_mask"].bool()


def _run(module: SlipNetwork, text: Inputs | None, image: Inputs | None) -> dict[str, Any]:
    """Run the towers that have an input."""
    from torch.nn.functional import normalize

    outputs: dict[str, Any] = {}
    if image is not None:
        outputs = dict(module.encode_image(image["image"]))
    if text is not None:
        outputs["text_features"] = normalize(module.encode_text(text["text"]), dim=-1)
    if "image_features" in outputs:
        outputs["image_features"] = normalize(outputs["image_features"], dim=-1)
        if text is not None:
            outputs["joint"] = outputs["image_features"] * outputs["text_features"]
    return outputs
