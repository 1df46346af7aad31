"""Video files."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from braid.common import atomic_path
from braid.common.files import PathLike


def write_frames(path: PathLike, frames: Iterable[np.ndarray], frame_rate: float) -> None:
    """Write frames as H.264 in an MP4 container, atomically.

    One encoder thread, so that the same frames give the same bytes; and no macroblock tree: on
    pictures under 64 pixels its vector code reads past its row, and one film in ten or so came out
    otherwise, by what the memory held before.

    Parameters
    ----------
    path : path-like
        Destination, ending in `.mp4`.
    frames : iterable of numpy.ndarray
        uint8, (H, W, 3), sides even; frame k is shown from `k / frame_rate` s on.
    frame_rate : float
        Hz.
    """
    import av

    rate = Fraction(frame_rate).limit_denominator(1000)
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = None
        for frame in frames:
            if stream is None:
                options = {"crf": "16", "preset": "fast", "threads": "1", "mbtree": "0"}
                stream = container.add_stream("libx264", rate=rate, options=options)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if stream is not None:
            container.mux(stream.encode())
