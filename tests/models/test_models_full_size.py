"""The layers that the registry names exist in the networks at full size, without their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braid.models import read_registry, resolve_layers
from braid.models.registry import with_defaults

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LARGE = {
    "text_config": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
    "vision_config": {"hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14},
    "hidden_size": 1024,
    "num_attention_heads": 16,
}
TURNS = (
    {"rope_scaling": {"rope_type": "default"}} if transformers.__version__.startswith("4") else {}
)
WORDS = {"model_type": "llama", "vocab_size": 49280, "pad_token_id": 2}
"""What transformers 4 has no default, or a wrong one, for."""

CONFIGURATIONS: dict[str, Callable[[], Any]] = {
    "blip": lambda: transformers.BlipConfig(),
    "blip-fusion": lambda: transformers.BlipConfig(),
    "flava": lambda: transformers.FlavaConfig(),
    "bridgetower-base": lambda: transformers.BridgeTowerConfig(),
    "bridgetower-large": lambda: transformers.BridgeTowerConfig(**LARGE),
    "vilt": lambda: transformers.ViltConfig(),
    "visualbert": lambda: transformers.VisualBertConfig(visual_embedding_dim=2048),
    "vit-base": lambda: transformers.ViTConfig(),
    "dinov2": lambda: transformers.Dinov2Config(),
    "sbert": lambda: transformers.MPNetConfig(),
    "simcse": lambda: transformers.BertConfig(),
    "roberta-base": lambda: transformers.RobertaConfig(),
    "gpt2": lambda: transformers.GPT2Config(),
    "siglip2": lambda: transformers.SiglipConfig(),
    "qwen3-vl": lambda: transformers.Qwen3VLConfig(text_config=TURNS),
    "smolvlm2": lambda: transformers.SmolVLMConfig(text_config=WORDS, pad_token_id=2),
}
"""The libraries' defaults are the sizes of the checkpoints, or have as many layers."""

OPEN_CLIP = {
    "clip-vit-b-32": "ViT-B-32-quickgelu",
    "clip-vit-b-16": "ViT-B-16-quickgelu",
    "clip-vit-l-14": "ViT-L-14-quickgelu",
}


def _transformers(name: str, entry: dict[str, Any]) -> Any:
    config = CONFIGURATIONS[name]()
    if entry.get("class"):
        return getattr(transformers, entry["class"])(config)
    return transformers.AutoModel.from_config(config)


def _network(name: str, entry: dict[str, Any]) -> Any:
    """The network of an entry, on the meta device."""
    source = entry["source"]
    with torch.device("meta"):
        if source in ("transformers", "sentence_transformers"):
            return _transformers(name, entry)
        if source == "open_clip":
            import open_clip

            return open_clip.create_model(OPEN_CLIP[name], device="meta")
        if source == "timm":
            import timm

            return timm.create_model(entry["hub"].removeprefix("timm/"))
        if source == "slip":
            from braid.models.slip_modules import ARCHITECTURES, SlipNetwork

            return SlipNetwork(ARCHITECTURES[entry["architecture"]])
        from braid.models.albef_modules import AlbefNetwork, AlbefSizes

        return AlbefNetwork(AlbefSizes())


def test_layers_of_the_registry_exist(root: Path) -> None:
    entries = read_registry(root / "config" / "models.yaml")
    checked = []
    for name, entry in entries.items():
        if entry.get("path") or "layers" not in entry or entry.get("state") == "unsupported":
            continue  # what lies in the project is loaded by other tests
        network = _network(name, entry)
        modules = [path for path, _ in network.named_modules()]
        layers = resolve_layers(name, with_defaults(entry), modules, ())
        assert len({layer.name for layer in layers}) == len(layers), name
        assert len(layers) > 1 or ".." not in str(entry["layers"]), name
        checked.append(name)
    assert set(CONFIGURATIONS) | set(OPEN_CLIP) | {"albef", "slip-combo"} <= set(checked)


def test_sizes_of_the_registry_are_the_networks(root: Path) -> None:
    """Parameters in millions, where the library's default is the checkpoint's size."""
    entries = read_registry(root / "config" / "models.yaml")
    same = ["vilt", "vit-base", "dinov2", "sbert", "simcse", "gpt2", "slip-combo", "slip-clip",
            "slip-simclr", "clip-vit-b-32", "clip-vit-b-16", "clip-vit-l-14", "beit"]  # fmt: skip
    for name in same:
        network = _network(name, entries[name])
        found = sum(value.numel() for value in network.parameters()) / 1e6
        assert found == pytest.approx(entries[name]["parameters"], rel=0.02), name
