"""Two-tower networks in the format of open_clip: a folder with configuration and checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError
from braid.models.digests import config_digest, tensors_digest, weights_digest
from braid.models.layers import resolve_layers
from braid.models.loaded import Inputs, LoadedModel, Tokens
from braid.models.loading import seeded
from braid.models.registry import model_folder, weight_files
from braid.models.text import context_length, pad, padding_token, refuse_long, tokenize

if TYPE_CHECKING:
    from torch import Tensor

OUTPUTS = ("image_features", "text_features", "joint")
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
    "vocab.json", "merges.txt",
)  # fmt: skip


def load_open_clip(
    name: str, entry: Mapping[str, Any], init: int | None, device: str
) -> LoadedModel:
    """Load an open_clip folder (see `braid.models.load_model`).

    The named outputs are `image_features` and `text_features` (both scaled to length 1) and
    `joint`, their elementwise product: the terms whose sum is the score that contrastive training
    (Radford et al. 2021) compares.

    Parameters
    ----------
    name : str
    entry : mapping
        With its defaults.
    init : int or None
        Seed of the untrained twin; None loads the weights.
    device : str

    Returns
    -------
    LoadedModel
    """
    import open_clip

    folder, revision = model_folder(name, entry)
    if not (folder / "open_clip_config.json").is_file():
        raise InputError(
            f"model '{name}': {folder} has no open_clip_config.json; correct its key `path`"
        )
    files = [] if init is not None else weight_files(name, entry)
    source = f"local-dir:{folder}"
    try:
        with seeded(init or 0):
            module = open_clip.create_model(
                source,
                load_weights=init is None,
                require_pretrained=init is None,
                pretrained_text=False,
                precision="fp32",
                weights_only=True,
            )
        tokenizer = open_clip.get_tokenizer(source)
    except Exception as error:  # the library raises many kinds; all mean an unusable folder
        raise InputError(
            f"model '{name}': {folder} cannot be loaded by open_clip "
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0]}); fetch the "
            "checkpoint again or correct the entry"
        ) from error
    longest = context_length(name, entry.get("max_tokens"), tokenizer.context_length)
    reading, fill = _reading(name, tokenizer, longest, str(entry["too_long"]))
    modules = [path for path, _ in module.named_modules()]
    return LoadedModel(
        name=name,
        source="open_clip",
        modality=str(entry["modality"]),
        layers=resolve_layers(name, entry, modules, OUTPUTS),
        weights=tensors_digest(module) if init is not None else weights_digest(files),
        revision=revision,
        architecture=config_digest([folder / "open_clip_config.json"]),
        processor=config_digest(
            [folder / file for file in ("open_clip_config.json", *_TOKENIZER_FILES)],
            dict(entry["processor"]),
        ),
        context={"max_tokens": longest, "too_long": entry["too_long"]},
        precision=str(entry["precision"]),
        untrained=init,
        device=device,
        entry=entry,
        module=module.to(device).eval(),
        tokenize=reading,
        collate=partial(_collate, fill, int(tokenizer.context_length)),
        see=partial(_see, _transform(module, entry["processor"])),
        forward=partial(_run, module),
    )


def _transform(module: Any, overrides: Mapping[str, Any]) -> Callable[[Any], Tensor]:
    """Make the checkpoint's own preparation of pictures."""
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    settings = merge_preprocess_dict(dict(module.visual.preprocess_cfg), dict(overrides))
    return image_transform_v2(PreprocessCfg(**settings), is_train=False)


def _reading(
    name: str, tokenizer: Any, longest: int, too_long: str
) -> tuple[Callable[[Sequence[str]], list[Tokens]], int]:
    """Texts to tokens, and the number that pads them."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return partial(_byte_pairs, name, tokenizer, longest, too_long), 0
    if getattr(tokenizer, "tokenizer_mode", "") or getattr(tokenizer, "strip_sep_token", False):
        raise InputError(f"model '{name}': tokenizer modes of open_clip are not supported")
    clean = tokenizer.clean_fn

    def read(texts: Sequence[str]) -> list[Tokens]:
        found = tokenize(inner, [clean(text) for text in texts], longest, too_long, name)
        # offsets refer to cleaned text; they hold only where cleaning changed nothing
        return [
            Tokens(
                {"input_ids": tokens.inputs["input_ids"]},
                tokens.offsets if clean(text) == text else None,
                tokens.truncated,
            )
            for text, tokens in zip(texts, found, strict=True)
        ]

    return read, padding_token(inner)


def _byte_pairs(
    name: str, tokenizer: Any, longest: int, too_long: str, texts: Sequence[str]
) -> list[Tokens]:
    """Tokenise with open_clip's own byte-pair tokenizer, by the stated rule for long text."""
    found = []
    for text in texts:
        inner = tokenizer.encode(text)
        room = longest - 2
        truncated = len(inner) > room
        if truncated and too_long == "error":
            refuse_long(name, text, len(inner) + 2, longest)
        kept = inner[:room] if too_long == "right" else inner[max(0, len(inner) - room) :]
        ids = [tokenizer.sot_token_id, *kept, tokenizer.eot_token_id]
        found.append(Tokens({"input_ids": ids}, None, truncated))
    return found


def _collate(fill: int, length: int, tokens: Sequence[Tokens]) -> tuple[dict[str, Tensor], Tensor]:
    """Pad to the full context, as the towers were trained; mark the real tokens."""
    inputs = pad(tokens, fill, length)
    return {"text": inputs["input_ids"]}, inputs["attention_mask"].bool()


def _see(transform: Callable[[Any], Tensor], picture: np.ndarray) -> dict[str, Tensor]:
    """One picture to the image tower's input, without a batch axis."""
    from PIL import Image

    return {"image": transform(Image.fromarray(picture))}


def _run(module: Any, text: Inputs | None, image: Inputs | None) -> dict[str, Any]:
    """Run the towers that have an input."""
    outputs: dict[str, Any] = {}
    if image is not None:
        outputs["image_features"] = module.encode_image(image["image"], normalize=True)
    if text is not None:
        outputs["text_features"] = module.encode_text(text["text"], normalize=True)
    if image is not None and text is not None:
        outputs["joint"] = outputs["image_features"] * outputs["text_features"]
    return outputs
