"""The toy networks' architectures, their tokenizer, and their files in standard formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.common import atomic_folder, current_umask, write_json, write_text

if TYPE_CHECKING:
    from transformers import BertTokenizer

#: A network of transformers or open_clip. These libraries' types do not tell a network's parts.
Network = Any

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")
#: CLIP's text tower reads its summary at the token of the highest id, so [SEP] comes last.
LAST = "[SEP]"
#: Mean and standard deviation that all the toys' pictures are normalised with.
MEAN, STD = 0.5, 0.25


def make_tokenizer(vocabulary: Sequence[str], length: int) -> BertTokenizer:
    """Make a WordPiece tokenizer whose pieces are whole words; others become [UNK]."""
    from transformers import BertTokenizer

    pieces = {word: index for index, word in enumerate([*SPECIAL, *vocabulary, LAST])}
    return BertTokenizer(vocab=pieces, do_lower_case=True, model_max_length=length)


def _shape(toys: Mapping[str, Any]) -> dict[str, Any]:
    """Width and depth, in the words of transformers."""
    return {
        "hidden_size": toys["width"],
        "num_hidden_layers": toys["depth"],
        "num_attention_heads": toys["heads"],
        "intermediate_size": toys["hidden"],
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        # the libraries' 0.02 suits a width of 768; narrow networks hardly learn from it
        "initializer_range": 0.05,
    }


def _picture(toys: Mapping[str, Any], size: int) -> dict[str, Any]:
    return {"image_size": size, "patch_size": toys["patch"]}


def _text(toys: Mapping[str, Any], tokenizer: BertTokenizer) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": toys["text_length"],
        "pad_token_id": tokenizer.pad_token_id,
    }


def make_vit(toys: Mapping[str, Any], size: int) -> Network:
    """Make an untrained ViT."""
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(**_shape(toys), **_picture(toys, size), pooler_act="tanh"))


def make_bert(toys: Mapping[str, Any], tokenizer: BertTokenizer) -> Network:
    """Make an untrained BERT with the head of masked language modelling."""
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(**_shape(toys), **_text(toys, tokenizer)))


def make_vilt(toys: Mapping[str, Any], size: int, tokenizer: BertTokenizer) -> Network:
    """Make an untrained ViLT with the head of image-text matching."""
    from transformers import ViltConfig, ViltForImageAndTextRetrieval

    config = ViltConfig(**_shape(toys), **_picture(toys, size), **_text(toys, tokenizer))
    return ViltForImageAndTextRetrieval(config)


def clip_config(toys: Mapping[str, Any], size: int, vocabulary_size: int) -> dict[str, Any]:
    """Write the two towers of a CLIP in the words of open_clip."""
    return {
        "embed_dim": toys["width"],
        "vision_cfg": {
            "image_size": size,
            "layers": toys["depth"],
            "width": toys["width"],
            "head_width": toys["width"] // toys["heads"],
            "mlp_ratio": toys["hidden"] / toys["width"],
            "patch_size": toys["patch"],
        },
        "text_cfg": {
            "context_length": toys["text_length"],
            "vocab_size": vocabulary_size,
            "hf_tokenizer_name": "toy-clip",
            "width": toys["width"],
            "heads": toys["heads"],
            "layers": toys["depth"],
            "mlp_ratio": toys["hidden"] / toys["width"],
        },
    }


def make_clip(toys: Mapping[str, Any], size: int, tokenizer: BertTokenizer) -> Network:
    """Make an untrained CLIP."""
    from open_clip.model import CLIP

    return CLIP(**clip_config(toys, size, len(tokenizer)))


def save_transformer(
    network: Network, folder: Path, size: int, tokenizer: BertTokenizer | None = None
) -> None:
    """Save a transformers network with its image processor or tokenizer, or both."""
    from transformers import ViltImageProcessor, ViltProcessor, ViTImageProcessor

    pixels: dict[str, Any] = {"image_mean": [MEAN] * 3, "image_std": [STD] * 3}
    with _replaced(folder) as fresh:
        network.save_pretrained(fresh)
        kind = network.config.model_type
        if kind == "vit":
            ViTImageProcessor(size={"height": size, "width": size}, **pixels).save_pretrained(fresh)
        elif kind == "vilt":
            image_processor = ViltImageProcessor(
                size={"shortest_edge": size},
                size_divisor=network.config.patch_size,
                **pixels,  # type: ignore
            )
            ViltProcessor(image_processor, tokenizer).save_pretrained(fresh)
        if tokenizer is not None:
            _save_tokenizer(tokenizer, fresh)


def save_clip(
    network: Network, folder: Path, config: dict[str, Any], tokenizer: BertTokenizer
) -> None:
    """Save a CLIP as a folder that open_clip loads by `local-dir:`, weights in half precision."""
    import torch
    from safetensors.torch import save_file

    size = config["vision_cfg"]["image_size"]
    content = {
        "model_cfg": config,
        "preprocess_cfg": {
            "size": [size, size], "mode": "RGB", "mean": [MEAN] * 3, "std": [STD] * 3,
            "interpolation": "bicubic", "resize_mode": "shortest",
        },
    }  # fmt: skip
    weights = {
        name: tensor.to(torch.float16).contiguous() for name, tensor in network.state_dict().items()
    }
    with _replaced(folder) as fresh:
        write_json(fresh / "open_clip_config.json", content)
        save_file(weights, fresh / "open_clip_model.safetensors", metadata={"format": "pt"})
        _save_tokenizer(tokenizer, fresh)


def _save_tokenizer(tokenizer: BertTokenizer, folder: Path) -> None:
    """Save a tokenizer, and its words as the plain list that BERT's tools expect."""
    tokenizer.save_pretrained(folder)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    write_text(folder / "vocab.txt", "".join(f"{word}\n" for word, _ in vocabulary))


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Give a new folder; put it in the place of `folder` if the block ends well."""
    with atomic_folder(folder) as fresh:
        yield fresh
        # safetensors writes private files; networks are shared
        for path in fresh.iterdir():
            path.chmod(0o666 & ~current_umask())
