"""Video files: the same frames, the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from braid.common import sha256_of
from braid.common.video import write_frames


def test_same_frames_same_bytes_whatever_the_memory_held(tmp_path: Path) -> None:
    """Blocks of other sizes in between; x264's macroblock tree fails this at 16 and 32 pixels."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (8, 3), np.uint8)
    frames = [
        np.roll(np.where(np.arange(16)[:, None, None] < 4, 255, colours[k // 30]), k % 7, 0)
        for k in range(240)
    ]
    frames = [np.broadcast_to(frame, (16, 16, 3)).astype(np.uint8) for frame in frames]
    path, digests, blocks = tmp_path / "film.mp4", set(), []
    for _ in range(300):
        blocks = [*blocks[-20:], bytes(int(rng.integers(1, 200_000)))]
        write_frames(path, frames, 10.0)
        digests.add(sha256_of(path))
    assert len(digests) == 1
