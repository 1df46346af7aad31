"""Tiny networks with a matching score, and a film whose words tell what its pictures show."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import tiny_networks

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}
N = 60


def vilt_with_head(folder: Path) -> dict[str, Any]:
    """A ViLT with the head of image-text retrieval."""
    import torch
    from transformers import ViltConfig, ViltForImageAndTextRetrieval, ViltImageProcessor

    torch.manual_seed(6)
    config = ViltConfig(
        vocab_size=16,
        max_position_embeddings=24,
        image_size=32,
        patch_size=8,
        initializer_range=0.2,
        **tiny_networks.SIZE,
    )
    ViltForImageAndTextRetrieval(config).save_pretrained(folder)
    tiny_networks.tokenizer(folder)
    ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8).save_pretrained(folder)
    return {
        "source": "transformers",
        "path": str(folder),
        "modality": "vision-language",
        "layers": [{"module": "encoder.layer.{0..1}", "tokens": "fused"}],
    }


def clip_of_transformers(folder: Path) -> dict[str, Any]:
    """A CLIP in the format of transformers."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(7)
    text = {**tiny_networks.SIZE, "vocab_size": 16, "max_position_embeddings": 24,
            "eos_token_id": 3, "bos_token_id": 2, "pad_token_id": 0}  # fmt: skip
    vision = {**tiny_networks.SIZE, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    CLIPModel(config).save_pretrained(folder)
    tiny_networks.tokenizer(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return {
        "source": "transformers",
        "path": str(folder),
        "modality": "vision-language",
        "layers": [{"output": "joint", "pooling": "none"}],
    }


MAKERS = {
    **tiny_networks.MAKERS,
    "vilt_with_head": vilt_with_head,
    "clip_of_transformers": clip_of_transformers,
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Registry entry of a tiny network, by kind; its folder is made at the first call."""
    folder: Path = tmp_path_factory.mktemp("tiny")
    made: dict[str, dict[str, Any]] = {}

    def entry(kind: str) -> dict[str, Any]:
        if kind not in made:
            made[kind] = MAKERS[kind](folder / kind)
        return dict(made[kind])

    return entry


def shown() -> list[str]:
    """Colour of each second of the film."""
    return [str(name) for name in np.random.default_rng(4).choice(list(COLOURS), N)]


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Root with a film of one picture per second, and the units table that names its colours."""
    import av

    from braid.common import sha256_of

    root = tmp_path_factory.mktemp("bids")
    path = root / "stimuli" / "film.mkv"
    path.parent.mkdir()
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.height = stream.width = 32
        stream.pix_fmt = "bgr0"
        for colour in shown():
            frame = np.clip(np.array(COLOURS[colour]) + rng.integers(-25, 26, (32, 32, 3)), 0, 255)
            picture = av.VideoFrame.from_ndarray(frame.astype(np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    table = pd.DataFrame(
        {
            "unit": [f"u{k:02d}" for k in range(N)],
            "stimulus": "stimuli/film.mkv",
            "sha256": sha256_of(path),
            "stimulus_time": np.arange(N) * 1.0,
            "frame_time": np.arange(N) * 1.0,
            "text": [
                f"the {colour} {('circle', 'square')[k % 2]}" for k, colour in enumerate(shown())
            ],
        }
    )
    return root, table
