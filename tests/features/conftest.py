"""Tiny checkpoints, and a small film with units."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from tiny_networks import MAKERS

TEXTS = ["the red circle", "", "the big blue square moves left", "red", "slowly the circle moves"]


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


def write_film(path: Path, frames: np.ndarray, rate: int = 10) -> None:
    """A film without loss: uint8 frames (time, row, column, 3)."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Root with `stimuli/film.mkv`, and its frames (20 at 10 per second)."""
    root = tmp_path_factory.mktemp("bids")
    frames = np.random.default_rng(0).integers(0, 256, (20, 40, 48, 3), dtype=np.uint8)
    write_film(root / "stimuli" / "film.mkv", frames)
    return root, frames


@pytest.fixture
def units(film: tuple[Path, np.ndarray]) -> pd.DataFrame:
    """Units table: pictures with and without text, one unit without a picture."""
    from braid.common import sha256_of

    root, _ = film
    table = pd.DataFrame(
        {
            "unit": [f"u{k}" for k in range(10)],
            "stimulus": "stimuli/film.mkv",
            "sha256": sha256_of(root / "stimuli" / "film.mkv"),
            "stimulus_time": np.arange(10) * 0.1,
            "frame_time": np.arange(10) * 0.1,
            "text": [TEXTS[k % 5] for k in range(10)],
        }
    )
    table["word"] = table["text"].str.split(" ").str[-1]
    table["target_end"] = table["text"].str.len().astype(float)
    table["target_start"] = table["target_end"] - table["word"].str.len()
    table.loc[7, "frame_time"] = np.nan
    return table
