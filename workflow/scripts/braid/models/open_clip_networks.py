"""Two-tower networks in the format of open_clip: a folder with configuration and checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from braid.common import InputError
from braid.models.byte_pairs import byte_pair_tokens
from braid.models.digests import config_digest, tensors_digest, weights_digest
from braid.models.layers import resolve_layers
from braid.models.loaded import Inputs, LoadedModel, Tokens
from braid.models.loading import seeded
from braid.models.messages import first_line
from braid.models.offsets import align, in_text
from braid.models.preparing import preparation
from braid.models.registry import model_folder, weight_files
from braid.models.text import TOKENIZER_FILES, context_length, pad, padding_token, tokenize

if TYPE_CHECKING:
    from torch import Tensor

OUTPUTS = ("image_features", "text_features", "joint")


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
            f"({type(error).__name__}: {first_line(error)}); fetch the checkpoint again or "
            "correct the entry"
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
            [folder / file for file in ("open_clip_config.json", *TOKENIZER_FILES)],
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
        see=preparation(name, module.visual.preprocess_cfg, entry["processor"]),
        forward=partial(_run, module),
    )


def _reading(
    name: str, tokenizer: Any, longest: int, too_long: str
) -> tuple[Callable[[Sequence[str]], list[Tokens]], int]:
    """Texts to tokens, and the number that pads them."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return partial(byte_pair_tokens, name, tokenizer, longest, too_long), 0
    if getattr(tokenizer, "tokenizer_mode", "") or getattr(tokenizer, "strip_sep_token", False):
        raise InputError(f"model '{name}': tokenizer modes of open_clip are not supported")
    clean = tokenizer.clean_fn

    def read(texts: Sequence[str]) -> list[Tokens]:
        cleaned = [clean(text) for text in texts]
        found = tokenize(inner, cleaned, longest, too_long, name)
        return [
            Tokens(
                {"input_ids": tokens.inputs["input_ids"]},
                tokens.offsets and in_text(align(text, plain), tokens.offsets),
                tokens.truncated,
            )
            for text, plain, tokens in zip(texts, cleaned, found, strict=True)
        ]

    return read, padding_token(inner)


def _collate(fill: int, length: int, tokens: Sequence[Tokens]) -> tuple[dict[str, Tensor], Tensor]:
    """Pad to the full context, as the towers were trained; mark the real tokens."""
    inputs = pad(tokens, fill, length)
    return {"text": inputs["input_ids"]}, inputs["attention_mask"].bool()


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
