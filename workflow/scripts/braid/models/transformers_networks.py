"""Networks in the format of Hugging Face transformers, and of sentence-transformers.

Works with the interfaces of transformers 4.57 and 5.
"""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.common import InputError, read_json
from braid.models.digests import config_digest, tensors_digest, weights_digest
from braid.models.layers import Layer, resolve_layers
from braid.models.loaded import Inputs, LoadedModel, See, Watch
from braid.models.loading import seeded
from braid.models.messages import first_line
from braid.models.registry import model_folder, weight_files
from braid.models.seeing_language_models import (
    places_pictures,
    processor_of,
    run_placed,
    see_placed,
    watch_placed,
)
from braid.models.text import TOKENIZER_FILES, load_tokenizer, padded_length
from braid.models.transformers_inputs import (
    collating,
    image_processor_of,
    longest_text,
    reading,
    see_one,
    see_regions,
)

if TYPE_CHECKING:
    from torch import nn

_PICTURE_FILES = ("preprocessor_config.json", "processor_config.json", "image_processor.json")
_PLACING_FILES = (
    "chat_template.jinja", "chat_template.json", "video_preprocessor_config.json",
)  # fmt: skip
_SENTENCE_FILES = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")
_OPTIONAL = ("pooler.*", "*.pooler.*")
"""Heads that checkpoints commonly lack and that nothing else depends on."""

_IMAGE_FIRST = ("flava",)
"""Kinds of network that fuse a sequence of picture tokens followed by text tokens."""


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

    Notes
    -----
    Which layers hold what:

    - two towers (CLIP, SigLIP): `vision_model`, tokens image, and `text_model`, tokens text;
      SigLIP reads lower-case text, padded to its full length as in training;
    - BLIP with its matching head (`class: BlipForImageTextRetrieval`): `text_encoder` holds the
      text's tokens, which attend to the picture's in every layer;
    - BridgeTower: `cross_modal_text_layers`, tokens text, and `cross_modal_image_layers`, tokens
      image; `vision_model` keeps tokens before the batch (`batch_axis: 1`);
    - ViLT, FLAVA: tokens fused (FLAVA's `multimodal_model` begins with a token of its own);
    - language models that see (Qwen-VL, SmolVLM): tokens fused, where the picture's are the chat's
      beginning and the picture itself, and `fused.text` are those of the text alone; read them
      with pooling last. Their context counts the text alone.

    A network that takes the regions of an object detector in place of a picture (VisualBERT) needs
    the entry's key `regions` (see `braid.features.regions`); regions stand behind the text.
    """
    folder, revision = model_folder(name, entry)
    if not (folder / "config.json").is_file():
        raise InputError(f"model '{name}': {folder} has no config.json; correct its key `path`")
    files = [] if init is not None else weight_files(name, entry)
    module, missing = _build(name, folder, entry, init)
    config: Any = module.config
    if hasattr(config, "max_image_length"):
        # ViLT keeps a random choice of patches beyond this; keep them all
        config.max_image_length = -1
    reads = entry["modality"] != "vision"
    sees = entry["modality"] != "language"
    sentence = entry["source"] == "sentence_transformers"
    placed = sees and places_pictures(config)
    eyes = _eyes(name, folder, entry, module, placed) if sees else _Eyes(None, None)
    words = _tokenizer_folder(name, entry) if reads and entry.get("tokenizer") else folder
    tokenizer = load_tokenizer(name, words) if reads else None
    longest = longest_text(name, folder, entry, module, tokenizer) if reads else 0
    kind = str(config.model_type)
    layers = resolve_layers(name, entry, [path for path, _ in module.named_modules()], ())
    _refuse_missing(name, folder, entry, missing, layers)
    pooling = _sentence_pooling(name, folder) if sentence else None
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
                *(words / file for file in TOKENIZER_FILES if reads),
                *(folder / file for file in _PICTURE_FILES if sees),
                *(folder / file for file in _PLACING_FILES if placed),
            ],
            dict(entry["processor"]),
        ),
        context={"max_tokens": longest, "too_long": entry["too_long"]} if reads else {},
        precision=str(entry["precision"]),
        untrained=init,
        device=device,
        entry=entry,
        module=module.to(device).eval(),
        tokenize=reading(name, tokenizer, kind, longest, str(entry["too_long"]), not placed)
        if reads
        else None,
        collate=collating(tokenizer, kind, longest, padded_length(name, entry, layers, longest))
        if reads
        else None,
        see=eyes.see,
        watch=eyes.watch,
        forward=partial(run_placed, module) if placed else partial(_run, module, pooling),
        image_first=placed or kind in _IMAGE_FIRST,
        regions=eyes.regions,
    )


def _tokenizer_folder(name: str, entry: Mapping[str, Any]) -> Path:
    """Folder of the tokenizer of a checkpoint that brings none."""
    return model_folder(name, {**entry["tokenizer"], "source": "transformers"})[0]


@dataclass(frozen=True)
class _Eyes:
    """Functions that prepare a picture, and a clip."""

    see: See | None
    watch: Watch | None
    regions: int | None = None


def _eyes(
    name: str, folder: Path, entry: Mapping[str, Any], module: nn.Module, placed: bool
) -> _Eyes:
    """Make the functions that prepare what the network sees."""
    taken = inspect.signature(module.forward).parameters
    if "visual_embeds" in taken:
        if not entry.get("regions"):
            raise InputError(
                f"model '{name}': {type(module).__name__} takes regions of an object detector in "
                "place of pictures; detect them with the detector of its training, and give their "
                "features with the key 'regions' (an HDF5, Zarr or .npz file with the arrays "
                "features, stimulus and, for films, time)"
            )
        config: Any = module.config
        return _Eyes(see_regions, None, int(config.visual_embedding_dim))
    if "pixel_values" not in taken:
        raise InputError(
            f"model '{name}': {type(module).__name__} does not take pictures; choose another "
            "network, or another 'class' of this checkpoint"
        )
    if entry.get("regions"):
        raise InputError(
            f"model '{name}': {type(module).__name__} takes pictures, not regions of an object "
            "detector; remove the key 'regions'"
        )
    pictures = image_processor_of(name, folder, entry)
    if not placed:
        return _Eyes(partial(see_one, pictures), None)
    processor = processor_of(name, folder, pictures)
    clips = getattr(processor, "video_processor", None) is not None
    return _Eyes(
        partial(see_placed, processor), partial(watch_placed, processor) if clips else None
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
                _set_spread(config)
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
            f"({type(error).__name__}: {first_line(error)}); fetch the checkpoint again or "
            "correct the entry"
        ) from error
    return module, sorted(info["missing_keys"])


def _set_spread(config: Any) -> None:
    """Give an initialisation that the library leaves next to zero the spread of the paper.

    BLIP's picture encoder has 1e-10 by default, which makes all tokens of an untrained twin the
    same; its authors draw from 0.02 (Li et al. 2022), as does every encoder of its kind.
    """
    for part in (config, *(getattr(config, key, None) for key in ("text_config", "vision_config"))):
        if 0 < (getattr(part, "initializer_range", None) or 1) < 1e-6:
            part.initializer_range = 0.02


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


def _run(
    module: nn.Module,
    pooling: tuple[str, bool] | None,
    text: Inputs | None,
    image: Inputs | None,
) -> dict[str, Any]:
    """Forward pass to named outputs."""
    from torch.nn.functional import normalize

    inputs = {**(text or {}), **(image or {})}
    if "token_type_ids" not in inspect.signature(module.forward).parameters:
        # tokenizers of BERT's kind give them to networks of other kinds too
        inputs.pop("token_type_ids", None)
    outputs = dict(module(**inputs, return_dict=True).items())
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
