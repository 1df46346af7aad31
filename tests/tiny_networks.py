"""Checkpoints of the true formats at tiny size, made with the libraries themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

WORDS = ["the", "red", "blue", "circle", "square", "moves", "left", "right", "slow", "##ly", "big"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)


def tokenizer(folder: Path, max_length: int = 24, padding: str = "[PAD]") -> Any:
    """A WordPiece tokenizer, saved in `folder`; `padding` is the token that it pads with."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: k for k, word in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        model_max_length=max_length,
        pad_token=padding,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    made.save_pretrained(folder)
    return made


def picture_processor(folder: Path, **settings: Any) -> None:
    """A picture processor for pictures of 32 x 32, saved in `folder`."""
    from transformers import ViTImageProcessor

    ViTImageProcessor(size={"height": 32, "width": 32}, **settings).save_pretrained(folder)


def bert(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    config = BertConfig(vocab_size=16, max_position_embeddings=24, **SIZE)
    BertModel(config).save_pretrained(folder)
    tokenizer(folder)
    return {
        "source": "transformers",
        "path": str(folder),
        "modality": "language",
        "layers": ["encoder.layer.{0..1}"],
    }


def gpt2(folder: Path) -> dict[str, Any]:
    """A causal network whose tokenizer adds no special tokens and has none for padding."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    torch.manual_seed(2)
    config = GPT2Config(
        vocab_size=16, n_positions=24, n_embd=16, n_layer=2, n_head=2, bos_token_id=2,
        eos_token_id=2,
    )  # fmt: skip
    GPT2Model(config).save_pretrained(folder)
    vocabulary = {word: k for k, word in enumerate([*SPECIAL, *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", bos_token="[CLS]", eos_token="[CLS]"
    ).save_pretrained(folder)
    return {
        "source": "transformers",
        "path": str(folder),
        "modality": "language",
        "layers": ["h.*"],
    }


def vit(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(3)
    ViTModel(ViTConfig(image_size=32, patch_size=8, **SIZE)).save_pretrained(folder)
    picture_processor(folder)
    return {
        "source": "transformers",
        "path": str(folder),
        "modality": "vision",
        "layers": [{"module": ["layers.{0..1}", "encoder.layer.{0..1}"]}],
    }


def vilt_entry(folder: Path) -> dict[str, Any]:
    """Put a tokenizer and an image processor beside a ViLT; its entry of the registry."""
    from transformers import ViltImageProcessor

    tokenizer(folder)
    ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8).save_pretrained(folder)
    return {
        "source": "transformers",
        "path": str(folder),
        "modality": "vision-language",
        "layers": [{"module": "encoder.layer.{0..1}", "tokens": "fused"}],
    }


def vilt(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import ViltConfig, ViltModel

    torch.manual_seed(4)
    config = ViltConfig(
        vocab_size=16, max_position_embeddings=24, image_size=32, patch_size=8, **SIZE
    )
    ViltModel(config).save_pretrained(folder)
    return vilt_entry(folder)


def clip(folder: Path) -> dict[str, Any]:
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": {
            "embed_dim": 12,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8,
                           "patch_size": 8},
            "text_cfg": {"context_length": 12, "vocab_size": 16, "width": 16, "heads": 2,
                         "layers": 2, "hf_tokenizer_name": "here", "pool_type": "eos",
                         "eos_id": 3},
        },
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
    }  # fmt: skip
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tokenizer(folder)
    torch.manual_seed(5)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return {
        "source": "open_clip",
        "path": str(folder),
        "modality": "vision-language",
        "layers": [
            {"module": "visual.transformer.resblocks.{0..1}", "tokens": "image"},
            {"module": "transformer.resblocks.{0..1}", "tokens": "text"},
            {"output": "image_features", "pooling": "none"},
            {"output": "text_features", "pooling": "none"},
            {"output": "joint", "pooling": "none"},
        ],
    }


def vilt_with_head(folder: Path) -> dict[str, Any]:
    """A ViLT with the head of image-text retrieval."""
    import torch
    from transformers import ViltConfig, ViltForImageAndTextRetrieval

    torch.manual_seed(6)
    config = ViltConfig(
        vocab_size=16,
        max_position_embeddings=24,
        image_size=32,
        patch_size=8,
        initializer_range=0.2,
        **SIZE,
    )
    ViltForImageAndTextRetrieval(config).save_pretrained(folder)
    return vilt_entry(folder)


def clip_of_transformers(folder: Path) -> dict[str, Any]:
    """A CLIP in the format of transformers."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(7)
    text = {**SIZE, "vocab_size": 16, "max_position_embeddings": 24,
            "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}  # fmt: skip
    vision = {**SIZE, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    tokenizer(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return {
        "source": "transformers",
        "path": str(folder),
        "modality": "vision-language",
        "layers": [{"output": "joint", "pooling": "none"}],
    }


SLIP_SIZES = dict(
    vision_width=16, vision_layers=2, vision_heads=2, patch_size=8, image_size=32, text_width=16,
    text_layers=2, text_heads=2, context_length=12, embedding=12, head_hidden=24, head_output=6,
)  # fmt: skip


def slip(folder: Path, family: str = "SLIP") -> dict[str, Any]:
    """A checkpoint of the SLIP family, laid out as its training program saves them."""
    import argparse

    import torch

    from braid.models.slip_modules import SlipNetwork, SlipSizes

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(8)
    network = SlipNetwork(SlipSizes(family=family, **SLIP_SIZES))
    for tensor in network.state_dict().values():
        if tensor.is_floating_point() and not tensor.any():
            tensor.normal_(std=0.1)  # biases and running means count too
    optimiser = torch.optim.AdamW(network.parameters())
    content = {
        "epoch": 25,
        "state_dict": {f"module.{key}": value for key, value in network.state_dict().items()},
        "optimizer": optimiser.state_dict(),
        "scaler": {},
        "best_acc1": 1.5,
        "args": argparse.Namespace(model=f"{family}_VITB16", betas=(0.9, 0.98), gpu=0),
    }
    torch.save(content, folder / f"{family.lower()}_tiny_25ep.pt")
    layers = [
        {"module": "visual.blocks.{0..1}", "tokens": "image"},
        {"module": "visual", "tokens": "image", "pooling": "none"},
        {"output": "ssl_features", "pooling": "none"},
        {"module": "transformer.resblocks.{0..1}", "tokens": "text"},
        {"module": "ln_final", "tokens": "text", "pooling": "flatten"},
        {"output": "image_features", "pooling": "none"},
        {"output": "text_features", "pooling": "none"},
        {"output": "joint", "pooling": "none"},
    ]
    if family == "CLIP":
        layers = [layer for layer in layers if layer.get("output") != "ssl_features"]
    return {
        "source": "slip",
        "path": str(folder),
        "architecture": {"family": family, **SLIP_SIZES},
        "modality": "vision" if family == "SIMCLR" else "vision-language",
        "layers": layers[:3] if family == "SIMCLR" else layers,
    }


def _timm(
    folder: Path, architecture: str, layers: list[Any], changes: dict[str, Any], **sizes: Any
) -> dict[str, Any]:
    """A network of timm in its own format, its preparation of pictures changed."""
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(10)
    network = timm.create_model(architecture, pretrained_cfg_overlay=changes, **sizes)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point() and not tensor.any():
            tensor.normal_(std=0.1)
    save_for_hf(network, folder, model_args=sizes, safe_serialization=True)
    return {"source": "timm", "path": str(folder), "modality": "vision", "layers": layers}


def timm_beit(folder: Path) -> dict[str, Any]:
    sizes = dict(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=5)
    changes = dict(input_size=(3, 32, 32), crop_pct=0.9, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    layers = ["blocks.{0..1}", {"module": "fc_norm", "pooling": "none"}, {"output": "output"}]
    return _timm(folder, "beit_base_patch16_224", layers, changes, **sizes)


def timm_convnext(folder: Path) -> dict[str, Any]:
    sizes = dict(depths=(1, 1, 2, 1), dims=(8, 12, 16, 20), num_classes=5)
    changes = dict(input_size=(3, 64, 64), crop_pct=1.0)
    layers = ["stages.{0..3}", "head.norm", {"output": "output"}]
    return _timm(folder, "convnext_base", layers, changes, **sizes)


ALBEF_SIZES = dict(
    vision_width=24, vision_layers=2, vision_heads=2, patch_size=8, image_size=32, text_width=16,
    text_layers=4, text_heads=2, text_hidden=32, vocabulary=16, positions=24, fusion_layer=2,
    embedding=12,
)  # fmt: skip


def albef(folder: Path) -> dict[str, Any]:
    """An ALBEF as its training program saves it: momentum copies, queues, optimiser and all."""
    import torch

    from braid.models.albef_modules import AlbefNetwork, AlbefSizes

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(9)
    network = AlbefNetwork(AlbefSizes(**ALBEF_SIZES))
    tensors = network.state_dict()
    for tensor in tensors.values():
        if not tensor.any():
            tensor.normal_(std=0.1)
    copies = {}
    for part in ("visual_encoder", "text_encoder", "vision_proj", "text_proj"):
        for key, value in tensors.items():
            if key.startswith(f"{part}."):
                copies[key.replace(part, f"{part}_m", 1)] = value + 1
    extra = {
        "text_encoder.bert.embeddings.position_ids": torch.arange(24)[None],
        "text_encoder.cls.predictions.bias": torch.zeros(16),
        "text_encoder.cls.predictions.decoder.weight": torch.zeros(16, 16),
        "image_queue": torch.zeros(12, 8),
        "text_queue": torch.zeros(12, 8),
        "queue_ptr": torch.zeros(1, dtype=torch.long),
    }
    content = {
        "model": {**tensors, **copies, **extra},
        "optimizer": torch.optim.AdamW(network.parameters()).state_dict(),
        "lr_scheduler": {"base_values": [1e-4]},
        "config": {"image_res": 32},
        "epoch": 29,
    }
    torch.save(content, folder / "ALBEF.pth")
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]) + "\n")
    return {
        "source": "albef",
        "path": str(folder),
        "architecture": dict(ALBEF_SIZES),
        "modality": "vision-language",
        "layers": [
            {"module": "visual_encoder.blocks.{0..1}", "tokens": "image"},
            {"module": "visual_encoder.norm", "tokens": "image"},
            {"module": "text_encoder.bert.encoder.layer.{0..3}", "tokens": "text"},
            {"output": "image_features", "pooling": "none"},
            {"output": "text_features", "pooling": "none"},
            {"output": "itm_logits", "pooling": "none"},
            {"output": "joint", "pooling": "none"},
        ],
    }


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "bert": bert,
    "gpt2": gpt2,
    "vit": vit,
    "vilt": vilt,
    "vilt_with_head": vilt_with_head,
    "clip": clip,
    "clip_of_transformers": clip_of_transformers,
    "timm_beit": timm_beit,
    "timm_convnext": timm_convnext,
    "slip": slip,
    "slip_clip": partial(slip, family="CLIP"),
    "slip_simclr": partial(slip, family="SIMCLR"),
    "albef": albef,
}
