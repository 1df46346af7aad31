"""Networks in the format of Hugging Face transformers, and of sentence-transformers.

Works with the interfaces of transformers 4.57 and 5.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError, read_json
from braid.models.digests import config_digest, tensors_digest, weights_digest
from braid.models.layers import Layer, resolve_layers
from braid.models.loaded import Inputs, LoadedModel, Tokens
from braid.models.loading import seeded
from braid.models.registry import model_folder, weight_files
from braid.models.text import context_length, pad, padding_token, tokenize

if TYPE_CHECKING:
    from torch import Tensor, nn

_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
_PICTURE_FILES = ("preprocessor_config.json", "processor_config.json", "image_processor.json")
_SENTENCE_FILES = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")
_OPTIONAL = ("pooler.*", "*.pooler.*")
"""Heads that checkpoints commonly lack and that nothing else depends on."""


def load_transformers(
    name: str, entry: Mapping[str, Any], init: int | None, device: str
) -> LoadedModel:
    """Load a transformers folder (see `braid.models.load_model`).

    Parameters
    ----------
    name : str
    entry : mapping
        With its defaults. `class` is a class of transformers (default `AutoModel`).
    init : int or None
        Seed of the untrained twin; None loads the weights.
    device : str

    Returns
    -------
    LoadedModel
        Its forward gives the fields of the library's output, and for two-tower networks `joint`,
        the elementwise product of the normalised picture and text embeddings. For
        sentence-transformers also `sentence_embedding`, pooled as the folder says.
    """
    folder, revision = model_folder(name, entry)
    if not (folder / "config.json").is_file():
        raise InputError(f"model '{name}': {folder} has no config.json; correct its key `path`")
    files = [] if init is not None else weight_files(name, entry)
    module, missing = _build(name, folder, entry, init)
    config = module.config
    if hasattr(config, "max_image_length"):
        # ViLT keeps a random choice of patches beyond this; keep them all
        config.max_image_length = -1
    reads = entry["modality"] != "vision"
    sees = entry["modality"] != "language"
    sentence = entry["source"] == "sentence_transformers"
    tokenizer = _tokenizer(name, folder) if reads else None
    longest = _longest(name, folder, entry, config, tokenizer) if reads else None
    pictures = _image_processor(name, folder, entry) if sees else None
    layers = resolve_layers(name, entry, [path for path, _ in module.named_modules()], ())
    _refuse_missing(name, folder, entry, missing, layers)
    run = partial(_run, module, _sentence_pooling(name, folder) if sentence else None)
    return LoadedModel(
        name=name,
        source=str(entry["source"]),
        modality=str(entry["modality"]),
        layers=layers,
        weights=tensors_digest(module) if init is not None else weights_digest(files),
        revision=revision,
        architecture=config_digest(
            [folder / "config.json", *(folder / file for file in _SENTENCE_FILES if sentence)],
            {"class": entry.get("class")},
        ),
        processor=config_digest(
            [
                *(folder / file for file in _TOKENIZER_FILES if reads),
                *(folder / file for file in _PICTURE_FILES if sees),
            ],
            dict(entry["processor"]),
        ),
        context={"max_tokens": longest, "too_long": entry["too_long"]} if reads else {},
        precision=str(entry["precision"]),
        untrained=init,
        device=device,
        entry=entry,
        module=module.to(device).eval(),
        tokenize=_tokenizing(tokenizer, longest, str(entry["too_long"]), name) if reads else None,
        collate=partial(_collate, padding_token(tokenizer)) if reads else None,
        see=partial(_see, pictures) if sees else None,
        forward=run,
    )


def _build(
    name: str, folder: Path, entry: Mapping[str, Any], init: int | None
) -> tuple[nn.Module, list[str]]:
    """Build the network; also names the tensors that its checkpoint lacks."""
    import torch
    import transformers

    wanted = str(entry.get("class") or "AutoModel")
    builder = getattr(transformers, wanted, None)
    if builder is None:
        raise InputError(f"model '{name}': transformers has no class '{wanted}'")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        with seeded(init or 0), _quiet():
            if init is not None:
                make = getattr(builder, "from_config", None) or builder._from_config
                return make(config, dtype=torch.float32), []
            module, info = builder.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
            )
    except InputError:
        raise
    except Exception as error:  # the library raises many kinds; all mean an unusable folder
        raise InputError(
            f"model '{name}': {folder} cannot be loaded as {wanted} "
            f"({type(error).__name__}: {_first_line(error)}); fetch the checkpoint again or "
            "correct the entry"
        ) from error
    return module, sorted(info["missing_keys"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars and its table of unused heads out of the logs."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _refuse_missing(
    name: str,
    folder: Path,
    entry: Mapping[str, Any],
    missing: Sequence[str],
    layers: Sequence[Layer],
) -> None:
    """Stop where a tensor that matters was not in the checkpoint and was made up."""
    allowed = (*_OPTIONAL, *entry.get("allow_missing", ()))
    pools = any(
        layer.output in ("pooler_output", "image_embeds", "text_embeds", "joint")
        or ".pooler." in f".{layer.module}."
        for layer in layers
    )
    for key in missing:
        optional = any(fnmatch.fnmatchcase(key, pattern) for pattern in allowed)
        if not optional or (pools and any(fnmatch.fnmatchcase(key, p) for p in _OPTIONAL)):
            raise InputError(
                f"model '{name}': the checkpoint in {folder} lacks the tensor {key}, which a "
                "layer of this entry needs; use the checkpoint's own `class`, or list tensors "
                "that nothing depends on in 'allow_missing'"
            )


def _tokenizer(name: str, folder: Path) -> Any:
    """Load the folder's tokenizer."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"model '{name}': {folder} has no usable tokenizer ({_first_line(error)})"
        ) from error


def _image_processor(name: str, folder: Path, entry: Mapping[str, Any]) -> Any:
    """Load the folder's image processor, on Pillow: the same numbers in both interfaces."""
    import transformers

    five = int(transformers.__version__.split(".")[0]) >= 5
    backend = {"backend": "pil"} if five else {"use_fast": False}
    try:
        return transformers.AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, **backend, **entry["processor"]
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"model '{name}': {folder} has no usable image processor ({_first_line(error)})"
        ) from error


def _longest(name: str, folder: Path, entry: Mapping[str, Any], config: Any, tokenizer: Any) -> int:
    """Longest text, in tokens."""
    text = getattr(config, "text_config", config)
    limits = [tokenizer.model_max_length, getattr(text, "max_position_embeddings", None)]
    if entry["source"] == "sentence_transformers":
        file = folder / "sentence_bert_config.json"
        limits.append(read_json(file).get("max_seq_length") if file.is_file() else None)
    return context_length(name, entry.get("max_tokens"), *limits)


def _tokenizing(
    tokenizer: Any, longest: int | None, too_long: str, name: str
) -> Callable[[Sequence[str]], list[Tokens]]:
    """Texts to tokens, with this network's limits."""

    def run(texts: Sequence[str]) -> list[Tokens]:
        return tokenize(tokenizer, texts, longest or 0, too_long, name)

    return run


def _collate(fill: int, tokens: Sequence[Tokens]) -> tuple[dict[str, Tensor], Tensor]:
    """Pad texts and mark the real tokens."""
    inputs = pad(tokens, fill)
    return inputs, inputs["attention_mask"].bool()


def _see(processor: Any, picture: np.ndarray) -> dict[str, Tensor]:
    """One picture to the network's inputs, without a batch axis."""
    from PIL import Image

    inputs = processor(images=Image.fromarray(picture), return_tensors="pt")
    return {key: value[0] for key, value in inputs.items()}


def _run(
    module: nn.Module,
    pooling: tuple[str, bool] | None,
    text: Inputs | None,
    image: Inputs | None,
) -> dict[str, Any]:
    """Forward pass to named outputs."""
    from torch.nn.functional import normalize

    outputs = dict(module(**(text or {}), **(image or {}), return_dict=True).items())
    if outputs.get("image_embeds") is not None and outputs.get("text_embeds") is not None:
        outputs["joint"] = normalize(outputs["image_embeds"], dim=-1) * normalize(
            outputs["text_embeds"], dim=-1
        )
    if pooling is not None and text is not None:
        from braid.models.pooling import pool

        how, unit_length = pooling
        pooled = pool(outputs["last_hidden_state"], text["attention_mask"].bool(), how)
        outputs["sentence_embedding"] = normalize(pooled, dim=-1) if unit_length else pooled
    return outputs


def _sentence_pooling(name: str, folder: Path) -> tuple[str, bool]:
    """How a sentence-transformers folder turns tokens into one vector: pooling, unit length."""
    kinds = [str(part["type"]).rsplit(".", 1)[-1] for part in read_json(folder / "modules.json")]
    unknown = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if unknown:
        raise InputError(
            f"model '{name}': {folder / 'modules.json'} has a module {unknown[0]}, which is not "
            "supported; use source: transformers and name its layers"
        )
    pooling = read_json(folder / "1_Pooling" / "config.json")
    chosen = [
        how
        for how, key in (
            ("mean", "pooling_mode_mean_tokens"),
            ("cls", "pooling_mode_cls_token"),
            ("max", "pooling_mode_max_tokens"),
        )
        if pooling.get(key) or pooling.get("pooling_mode") == how
    ]
    if len(chosen) != 1:
        raise InputError(
            f"model '{name}': {folder / '1_Pooling' / 'config.json'} must choose one of mean, "
            "cls and max pooling"
        )
    return chosen[0], "Normalize" in kinds


def _first_line(error: Exception) -> str:
    """First line of a message."""
    return (str(error).strip().splitlines() or ["no message"])[0]
