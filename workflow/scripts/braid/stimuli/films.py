"""Films: whether they can be decoded, how long they are, and their frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braid.bids import check_fetched
from braid.common import InputError

TOLERANCE = 0.1  # s that a request may lie after the end: logged durations are not exact
_VIDEOS = {".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".mpeg", ".ogv", ".wmv"}
_PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Film:
    """A film that can be decoded, as far as its packets tell.

    Attributes
    ----------
    path : pathlib.Path
    duration : float
        s, from the first frame to the end of the last; infinite for a still picture.
    rate : float
        Frames per second (mean).
    """

    path: Path
    duration: float
    rate: float


def is_visual(path: str | os.PathLike[str]) -> bool:
    """Tell by its suffix whether a stimulus can be seen (film or picture)."""
    return Path(path).suffix.lower() in _VIDEOS | _PICTURES


def has_sound(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file that is there has a sound track; what FFmpeg does not know has none."""
    import av

    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio)
    except (av.FFmpegError, ValueError):
        return False


def open_film(path: str | os.PathLike[str]) -> Film:
    """Open a film, decode its first frame and find its duration.

    Raises
    ------
    InputError
        If the file is missing, not fetched, or cannot be decoded.
    """
    path = Path(path)
    start, rate = _begin(path)
    if path.suffix.lower() in _PICTURES:
        return Film(path, np.inf, 0.0)
    with _Decoder(path) as decoder:
        return Film(path, decoder.end() - start, rate)


def _begin(path: Path) -> tuple[float, float]:
    """Decode the first frame: where the film begins, s on its own clock, and frames per second."""
    with _Decoder(path) as decoder:
        if next(iter(decoder), None) is None:
            raise _undecodable(path, "it has no frame")
        return decoder.start, float(decoder.stream.average_rate or 0.0)


def frame_times(path: str | os.PathLike[str]) -> np.ndarray:
    """Give the time of every frame of a film, s from the first: float64, ascending.

    Packets are read, not decoded, where each states the time of its frame.

    Raises
    ------
    InputError
        If the file is missing, not fetched, or cannot be decoded.
    """
    path = Path(path)
    start, _ = _begin(path)
    with _Decoder(path) as decoder:
        stated = decoder.packet_times()
    if stated is None:
        with _Decoder(path) as decoder:
            stated = [float(frame.time or 0.0) for frame in decoder]
    times = np.sort(np.asarray(stated)) - start
    # packets before the first frame that is shown (edit lists) hold no frame of the film
    return np.asarray(times[times > -1e-6], dtype=float)


def iter_frames(
    path: str | os.PathLike[str], times: Sequence[float] | np.ndarray
) -> Iterator[np.ndarray]:
    """Give the frame nearest to each time, decoding the film once, in order.

    Parameters
    ----------
    path : path-like
        Film, or a still picture (which is given for any time).
    times : sequence of float
        s from the first frame; in any order, repeated or not.

    Yields
    ------
    numpy.ndarray
        uint8, (height, width, 3), RGB, read-only, in the order of `times`. Times in ascending
        order need the memory of one frame; otherwise frames wait until their turn, at worst all
        of them (a frame asked for several times waits once).

    Raises
    ------
    InputError
        If the film cannot be decoded, or a time lies more than `TOLERANCE` outside it.
    """
    path = Path(path)
    wanted = np.asarray(times, dtype=float)
    if not wanted.size:
        return
    if not np.isfinite(wanted).all() or wanted.min() < -TOLERANCE:
        raise InputError(
            f"{path}: a frame is asked for at {wanted[~(wanted >= -TOLERANCE)][0]:g} s; times are "
            "counted from the first frame of the film"
        )
    order = np.argsort(wanted, kind="stable")
    waiting: dict[int, np.ndarray] = {}
    turn = 0
    for position, picture in zip(order.tolist(), _nearest(path, wanted[order]), strict=True):
        waiting[position] = picture
        while turn in waiting:
            yield waiting.pop(turn)
            turn += 1


def _nearest(path: Path, times: np.ndarray) -> Iterator[np.ndarray]:
    """Frames nearest to ascending times; equal frames are the same array."""
    with _Decoder(path) as decoder:
        frames = iter(decoder)
        before: Any = next(frames, None)
        if before is None:
            raise _undecodable(path, "it has no frame")
        after: Any = next(frames, None)
        shown: tuple[Any, np.ndarray] | None = None
        for time in times:
            while after is not None and decoder.time(after) <= time:
                before, after = after, next(frames, None)
            if after is None:
                _check_end(path, decoder, before, time)
            later = after is not None and decoder.time(after) - time < time - decoder.time(before)
            frame = after if later else before
            if shown is None or shown[0] is not frame:
                shown = (frame, decoder.picture(frame))
            yield shown[1]


def _check_end(path: Path, decoder: _Decoder, last: Any, time: float) -> None:
    """Raise an `InputError` for a time after the end of a film (pictures have no end)."""
    if path.suffix.lower() in _PICTURES:
        return
    end = decoder.time(last) + decoder.lasting(last)
    if time > end + TOLERANCE:
        raise InputError(
            f"{path}: a frame is asked for at {time:.3f} s but the film ends at {end:.3f} s; check "
            "stim_time in the events, or the file"
        )


class _Decoder:
    """Frames of the first video stream of a file; failures name the file."""

    def __init__(self, path: Path) -> None:
        import av

        check_fetched(path)
        if not path.exists():
            raise InputError(
                f"{path}: no such film; put it there, or correct stim_file in the events"
            )
        self.path = path
        self._error: type[Exception] = av.FFmpegError
        try:
            self.container: Any = av.open(str(path))
        except (av.FFmpegError, ValueError) as error:
            raise _undecodable(path, str(error)) from None
        if not self.container.streams.video:
            self.container.close()
            raise _undecodable(path, "it has no video stream")
        self.stream: Any = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = _threads()
        # time of the first frame; containers that state it are not always right (AVI)
        self.start = 0.0
        # one for all frames: each of its own would work out the same conversion again
        self._converter = av.video.reformatter.VideoReformatter()

    def __enter__(self) -> _Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    def __iter__(self) -> Iterator[Any]:
        last = -np.inf
        try:
            for number, frame in enumerate(self.container.decode(self.stream)):
                if number == 0:
                    self.start = float(frame.time or 0.0)
                elif frame.time is None or frame.time < last:
                    raise _undecodable(self.path, f"frame {number + 1} is out of its time")
                last = float(frame.time or 0.0)
                yield frame
        except InputError:
            raise
        except (self._error, ValueError) as error:
            raise _undecodable(self.path, str(error)) from None

    def time(self, frame: Any) -> float:
        """Time of a frame, s from the first."""
        return float(frame.time or 0.0) - self.start

    def picture(self, frame: Any) -> np.ndarray:
        """RGB array of a decoded frame, read-only."""
        picture: np.ndarray = self._converter.reformat(frame, format="rgb24").to_ndarray()
        picture.flags.writeable = False
        return picture

    def lasting(self, frame_or_packet: Any) -> float:
        """How long a frame or packet lasts, s; the mean over the film where it does not say."""
        if frame_or_packet.duration:
            return float(frame_or_packet.duration * self.stream.time_base)
        return 1.0 / float(self.stream.average_rate) if self.stream.average_rate else 0.0

    def packet_times(self) -> list[float] | None:
        """Give what the packets state, s on the clock of the container; None if one does not."""
        times = []
        try:
            for packet in self.container.demux(self.stream):
                if packet.pts is not None:
                    times.append(float(packet.pts * self.stream.time_base))
                elif packet.size:
                    return None
        except (self._error, ValueError) as error:
            raise _undecodable(self.path, str(error)) from None
        return times

    def end(self) -> float:
        """End of the last packet, s on the clock of the container.

        All packets are read, none is decoded: what the container states is the length of the whole
        film, even where the file was cut off.
        """
        end = 0.0
        try:
            for packet in self.container.demux(self.stream):
                if packet.pts is not None:
                    time = float(packet.pts * self.stream.time_base)
                    end = max(end, time + self.lasting(packet))
        except (self._error, ValueError) as error:
            raise _undecodable(self.path, str(error)) from None
        return end


def _threads() -> int:
    """Threads that decode: as many as the job has (Snakemake says so here); 0 is one per core."""
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(told) if told.isdigit() else 0


def _undecodable(path: Path, reason: str) -> InputError:
    """Error for a film that is damaged or of a kind that FFmpeg does not know."""
    return InputError(
        f"{path}: the film cannot be decoded ({' '.join(reason.split())}); copy it again, or "
        "convert it to H.264 in an MP4 file"
    )
