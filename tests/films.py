"""Writing of small films."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def write_film(
    path: Path, frames: Iterable[np.ndarray], rate: int, codec: str = "ffv1", **options: str
) -> Path:
    """Write uint8 frames (row, column, 3); without loss unless another codec is asked for."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def grey_frames(n: int, size: int = 32) -> list[np.ndarray]:
    """Pictures whose grey tells their number: 4 k + 10."""
    return [np.full((size, size, 3), 4 * k + 10, np.uint8) for k in range(n)]
