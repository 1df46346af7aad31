"""Films that users supply: where they must be, whether they are the right ones, their cuts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braid.bids.files import check_fetched
from braid.common import InputError, progress

SUFFIXES = (".mp4", ".mkv", ".m4v", ".mov", ".avi", ".webm")
MOST_LAG = 2.0  # s, over which pictures and transcript are shifted against each other
LEAST_WORDS = 30  # with fewer the check says nothing
LEAST_R = 0.5  # far above chance (0.2 at 30 words) and below any right film seen with other colours
MOST_SHIFT = 2  # frames by which pictures may come late or early
SAME_R = 0.01  # a shift that gains less is none: one picture stands for many frames
_SIZE = (64, 36)  # to which pictures are reduced, columns x rows


@dataclass(frozen=True)
class Brightness:
    """Mean brightness of each frame of a film.

    Attributes
    ----------
    time : numpy.ndarray
        s from the first frame.
    value : numpy.ndarray
        0 to 255.
    """

    time: np.ndarray
    value: np.ndarray

    @property
    def frame_rate(self) -> float:
        """Frames per second (mean)."""
        return float((len(self.time) - 1) / np.ptp(self.time))

    @property
    def duration(self) -> float:
        """From the first frame to the end of the last, s."""
        return float(self.time[-1] + 1.0 / self.frame_rate)


def find_film(folder: Path, film: str, title: str) -> Path:
    """Find the user's copy of a film.

    Raises
    ------
    InputError
        If it is not there; says which file is expected where.
    """
    for suffix in SUFFIXES:
        path = folder / f"{film}{suffix}"
        check_fetched(path)
        if path.exists():
            return path
    raise InputError(
        f"{folder / film}.mp4: the film '{title}' is not there, and is not distributed with the "
        f"recordings; put your own copy there under this name (or with one of "
        f"{', '.join(SUFFIXES[1:])}), or leave out --films to import without pictures"
    )


def read_brightness(path: Path) -> Brightness:
    """Decode a film once and take the mean brightness of every frame.

    Raises
    ------
    InputError
        If it cannot be decoded or has fewer than two frames.
    """
    import av

    times, values = [], []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            frames = container.decode(stream)
            for frame in progress(frames, f"reading {path.name}", total=stream.frames or None):
                grey = frame.reformat(width=_SIZE[0], height=_SIZE[1], format="gray")
                times.append(float(frame.time or 0.0))
                values.append(float(grey.to_ndarray().mean()))
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise InputError(
            f"{path}: the film cannot be decoded ({' '.join(str(error).split())}); copy it again, "
            "or convert it to H.264 in an MP4 file"
        ) from None
    if len(times) < 2:
        raise InputError(f"{path}: the film has fewer than two frames; copy it again")
    return Brightness(np.asarray(times) - times[0], np.asarray(values))


def check_film(
    path: Path,
    seen: Brightness,
    word_times: np.ndarray,
    word_brightness: np.ndarray,
    last: float,
    offset: float,
) -> dict[str, float]:
    """Check that a film shows at each time what the transcript says was shown then.

    The transcript gives the brightness of the picture at each word. Shifted against the film's own
    by up to `MOST_LAG` s, the two must correlate, and best without a shift, in the first half of
    the film as in the second: another cut, other frame numbers or another speed fail.

    Parameters
    ----------
    path : pathlib.Path
        The film, for error messages.
    seen : Brightness
    word_times, word_brightness : numpy.ndarray
        Onsets of words (s of the transcript) and the brightness there.
    last : float
        Last time of the transcript that is needed, s.
    offset : float
        Time in the file at which the transcript starts, s.

    Returns
    -------
    dict of str to float
        `frame rate` (Hz), `duration` (s), and, where at least `LEAST_WORDS` words have a
        brightness, `brightness r` and `frame shift` (frames by which pictures come later than
        they should; the middle of the shifts that fit equally well).

    Raises
    ------
    InputError
        If the film is too short, shows something else, or is shifted.
    """
    found = {"frame rate": seen.frame_rate, "duration": seen.duration}
    if last + offset > seen.duration + 0.1:
        raise InputError(
            f"{path}: the film lasts {seen.duration:.1f} s but was shown up to {last + offset:.1f} "
            "s; supply the cut that the transcript describes, at its speed (24 frames per second)"
        )
    wanted = np.asarray(word_times, dtype=float) + offset
    if wanted.size and wanted.min() < -0.1:
        raise InputError(
            f"{path}: with --film-offset {path.stem}={offset:g} the first word is said "
            f"{-wanted.min():.1f} s before the film starts; supply a copy with its beginning"
        )
    known = np.isfinite(word_brightness) & (wanted >= 0) & (wanted <= seen.duration)
    if known.sum() < LEAST_WORDS or np.ptp(word_brightness[known]) == 0:
        return found
    wanted, told = wanted[known], np.asarray(word_brightness, dtype=float)[known]
    whole = _shift(seen, wanted, told)
    if not whole.r >= LEAST_R:
        raise InputError(
            f"{path}: the pictures are not those of the transcript (brightness at the words "
            f"correlates {whole.r:.2f} at best, {LEAST_R} is needed); supply the cut that it "
            "describes, at its speed (24 frames per second), or say where that starts in this file "
            "through --film-offset"
        )
    half = len(wanted) // 2
    if half >= LEAST_WORDS:
        early, late = (
            _shift(seen, wanted[part], told[part]) for part in (slice(half), slice(half, None))
        )
        if min(early.most, late.most) + MOST_SHIFT < max(early.least, late.least):
            raise InputError(
                f"{path}: the pictures come {early.middle / seen.frame_rate:+.2f} s late in the "
                f"first half and {late.middle / seen.frame_rate:+.2f} s in the second; the film "
                "runs at another speed (25 frames per second instead of 24) or is another cut: "
                "supply one that fits"
            )
    if whole.least > MOST_SHIFT or whole.most < -MOST_SHIFT:
        seconds = whole.middle / seen.frame_rate
        raise InputError(
            f"{path}: the pictures come {seconds:+.2f} s late throughout; give "
            f"--film-offset {path.stem}={offset + seconds:.2f}"
        )
    return {**found, "brightness r": whole.r, "frame shift": whole.middle}


@dataclass(frozen=True)
class _Shift:
    """Frames by which pictures come late: the range that fits equally well, and its correlation."""

    least: int
    most: int
    r: float

    @property
    def middle(self) -> float:
        """Middle of the range."""
        return (self.least + self.most) / 2


def _shift(seen: Brightness, times: np.ndarray, told: np.ndarray) -> _Shift:
    """Shift the film against the transcript, and see where their brightness correlates best."""
    most = round(MOST_LAG * seen.frame_rate)
    lags = np.arange(-most, most + 1)
    scores = []
    for lag in lags:
        shown = np.interp(times + lag / seen.frame_rate, seen.time, seen.value)
        flat = np.ptp(shown) == 0
        scores.append(-1.0 if flat else float(np.corrcoef(shown, told)[0, 1]))
    best = int(np.argmax(scores))
    first = last = best
    while first > 0 and scores[first - 1] >= scores[best] - SAME_R:
        first -= 1
    while last + 1 < len(lags) and scores[last + 1] >= scores[best] - SAME_R:
        last += 1
    return _Shift(int(lags[first]), int(lags[last]), scores[best])


def put_file(source: Path, target: Path, copy: bool) -> None:
    """Put a file into a data set, as a copy or as a link to where it is; one there stays."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a broken link
    if copy:
        shutil.copyfile(source, target)
    else:
        target.symlink_to(source.resolve())
