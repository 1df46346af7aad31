"""A small film with units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from films import write_film

TEXTS = ["the red circle", "", "the big blue square moves left", "red", "slowly the circle moves"]


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Root with `stimuli/film.mkv`, and its frames (20 at 10 per second)."""
    root = tmp_path_factory.mktemp("bids")
    frames = np.random.default_rng(0).integers(0, 256, (20, 40, 48, 3), dtype=np.uint8)
    write_film(root / "stimuli" / "film.mkv", frames, rate=10)
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
