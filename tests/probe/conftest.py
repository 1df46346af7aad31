"""A film whose words tell what its pictures show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from films import write_film

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}
N = 60


def shown() -> list[str]:
    """Colour of each second of the film."""
    return [str(name) for name in np.random.default_rng(4).choice(list(COLOURS), N)]


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Root with a film of one picture per second, and the units table that names its colours."""
    from braid.common import sha256_of

    root = tmp_path_factory.mktemp("bids")
    path = root / "stimuli" / "film.mkv"
    rng = np.random.default_rng(0)
    frames = [
        np.clip(np.array(COLOURS[colour]) + rng.integers(-25, 26, (32, 32, 3)), 0, 255)
        for colour in shown()
    ]
    write_film(path, np.array(frames, dtype=np.uint8), rate=1)
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
