"""Checkpoints of ALBEF (Li et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.common import InputError
from braid.models.checkpoints import load_tensors, read_tensors
from braid.models.digests import config_digest, digest, tensors_digest, weights_digest
from braid.models.layers import resolve_layers
from braid.models.loaded import Inputs, LoadedModel, Tokens
from braid.models.loading import seeded
from braid.models.preparing import preparation
from braid.models.registry import model_folder, weight_files
from braid.models.sizes import sizes_of
from braid.models.text import (
    TOKENIZER_FILES,
    context_length,
    load_tokenizer,
    pad,
    padded_length,
    padding_token,
    tokenize,
)

if TYPE_CHECKING:
    from torch import Tensor

    from braid.models.albef_modules import AlbefNetwork, AlbefSizes

_PICTURES = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
_OUTPUTS = (
    "image_embeds", "text_embeds", "image_features", "text_features", "last_hidden_state",
    "itm_logits", "joint",
)  # fmt: skip
_UNUSED = (
    "visual_encoder_m.*", "text_encoder_m.*", "vision_proj_m.*", "text_proj_m.*", "*_queue",
    "*queue_ptr", "*ptr_queue", "text_encoder.cls.*", "*.position_ids",
)  # fmt: skip
"""Momentum copies, their queues, the head of masked language modelling."""

_PUNCTUATION = str.maketrans(dict.fromkeys('.!"()*#:;~', " "))
"""What LAVIS turns to blanks before it reads a caption (its processor `blip_caption`)."""


def load_albef(name: str, entry: Mapping[str, Any], init: int | None, device: str) -> LoadedModel:
    """Load an ALBEF (see `braid.models.load_model`).

    Layers of `text_encoder.bert.encoder.layer` below `fusion_layer` see text alone, those above
    also the picture; their tokens are the text's. Pictures of another size than in pretraining are
    read with interpolated position embeddings; LAVIS, whose features the SEEG study used, shows
    them at 224 pixels (`processor: {size: 224}`).

    Named outputs: those of `braid.models.albef_modules.AlbefNetwork.forward`, and `joint`, the
    elementwise product of `image_features` and `text_features`.

    Parameters
    ----------
    name : str
    entry : mapping
        With its defaults. `architecture` is `ALBEF_VITB16` (default) or a mapping of sizes;
        `tokenizer` tells where BERT's tokenizer lies (`path`, or `hub` and `revision`), by default
        beside the weights.
    init : int or None
        Seed of the untrained twin; None loads the weights.
    device : str

    Returns
    -------
    LoadedModel
    """
    from braid.models.albef_modules import AlbefNetwork

    sizes, pixels = _sizes(name, entry)
    reads, sees = entry["modality"] != "vision", entry["modality"] != "language"
    # the twin needs none of the weights' files
    revision = model_folder(name, entry)[1] if init is None else str(entry.get("revision", "local"))
    files = weight_files(name, entry) if init is None else []
    with seeded(init or 0):
        module = AlbefNetwork(sizes)
    if init is None:
        load_tensors(name, files[0], module, read_tensors(name, files[0], "model"), _UNUSED)
    if pixels != sizes.image_size:
        _resize(module, pixels)
    tokenizer, folder = _tokenizer(name, entry) if reads else (None, None)
    longest = context_length(name, entry.get("max_tokens"), sizes.positions) if reads else 0
    layers = resolve_layers(name, entry, [path for path, _ in module.named_modules()], _OUTPUTS)
    length = padded_length(name, entry, layers, longest) if reads else None
    pictures = {**_PICTURES, "size": pixels}
    return LoadedModel(
        name=name,
        source="albef",
        modality=str(entry["modality"]),
        layers=layers,
        weights=tensors_digest(module) if init is not None else weights_digest(files),
        revision=revision,
        architecture=digest({**asdict(sizes), "pixels": pixels}),
        processor=config_digest(
            [folder / file for file in TOKENIZER_FILES] if folder is not None else [],
            {"pictures": {**pictures, **entry["processor"]} if sees else None},
        ),
        context={"max_tokens": longest, "too_long": entry["too_long"]} if reads else {},
        precision=str(entry["precision"]),
        untrained=init,
        device=device,
        entry=entry,
        module=module.to(device).eval(),
        tokenize=_reading(name, tokenizer, longest, str(entry["too_long"])) if reads else None,
        collate=partial(_collate, padding_token(tokenizer), length) if reads else None,
        see=preparation(name, pictures, entry["processor"]) if sees else None,
        forward=partial(_run, module),
    )


def _sizes(name: str, entry: Mapping[str, Any]) -> tuple[AlbefSizes, int]:
    """Sizes of the network, and the size of the pictures that it is shown."""
    from braid.models.albef_modules import ARCHITECTURES

    sizes = sizes_of(name, {"architecture": "ALBEF_VITB16", **entry}, ARCHITECTURES)
    pixels = entry["processor"].get("size", sizes.image_size)
    if not isinstance(pixels, int) or pixels < 1 or pixels % sizes.patch_size:
        raise InputError(
            f"model '{name}': size {pixels} of 'processor' must be a multiple of the patches' "
            f"{sizes.patch_size} pixels"
        )
    return sizes, pixels


def _resize(module: AlbefNetwork, pixels: int) -> None:
    """Interpolate the position embeddings, and take pictures of another size."""
    import torch
    from timm.layers import resample_abs_pos_embed

    trunk = module.visual_encoder
    trunk.patch_embed.set_input_size(img_size=pixels)
    # without smoothing, as the authors' fine-tuning and LAVIS do
    places = resample_abs_pos_embed(
        trunk.pos_embed, trunk.patch_embed.grid_size, num_prefix_tokens=1, antialias=False
    )
    trunk.pos_embed = torch.nn.Parameter(places.detach())


def _tokenizer(name: str, entry: Mapping[str, Any]) -> tuple[Any, Path]:
    """BERT's tokenizer, and the folder that holds it."""
    where = entry.get("tokenizer")
    folder, _ = model_folder(name, {**where, "source": "transformers"} if where else entry)
    return load_tokenizer(name, folder, "BertTokenizerFast"), folder


def _reading(
    name: str, tokenizer: Any, longest: int, too_long: str
) -> Callable[[Sequence[str]], list[Tokens]]:
    """Texts to tokens; punctuation becomes blanks, so that places in the text stay."""

    def read(texts: Sequence[str]) -> list[Tokens]:
        plain = [text.translate(_PUNCTUATION) for text in texts]
        return tokenize(tokenizer, plain, longest, too_long, name)

    return read


def _collate(
    fill: int, length: int | None, tokens: Sequence[Tokens]
) -> tuple[dict[str, Tensor], Tensor]:
    """Pad texts, to `length` or the longest of them, and mark the real tokens."""
    inputs = pad(tokens, fill, length)
    mask = inputs["attention_mask"].bool()
    return {"text": inputs["input_ids"], "mask": mask}, mask


def _run(module: AlbefNetwork, text: Inputs | None, image: Inputs | None) -> dict[str, Any]:
    """Run what the inputs allow."""
    outputs: dict[str, Any] = module(
        text and text["text"], text and text["mask"], image and image["image"]
    )
    if text is not None and image is not None:
        outputs["joint"] = outputs["image_features"] * outputs["text_features"]
    return outputs
