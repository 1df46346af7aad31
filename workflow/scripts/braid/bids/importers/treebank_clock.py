"""From the time of a film to the samples of a recording, through the triggers of Brain Treebank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from braid.common import InputError

# between two segments a longer stretch was skipped; a shorter one is the jitter of triggers
LONGEST_GAP = 0.5  # s of film
_OPENING = {"beginning", "unpause"}
_CLOSING = {"end", "pause"}


@dataclass(frozen=True)
class Segment:
    """A stretch of film that was shown without a pause.

    Attributes
    ----------
    film : numpy.ndarray
        Film times of its triggers, s, ascending.
    sample : numpy.ndarray
        Their samples, int64.
    start, stop : int
        Samples between which it was shown.
    low, high : float
        Film times shown then, s.
    """

    film: np.ndarray
    sample: np.ndarray
    start: int
    stop: int
    low: float
    high: float


@dataclass(frozen=True)
class Placed:
    """Film times on the recording's clock.

    Attributes
    ----------
    sample : numpy.ndarray
        int64; -1 where there is none.
    segment : numpy.ndarray
        Number of the segment; -1 where there is none.
    missing : numpy.ndarray
        Why there is none (object array of text); empty where there is one.
    """

    sample: np.ndarray
    segment: np.ndarray
    missing: np.ndarray


def segments_of(timings: pd.DataFrame, path: Path, rate: float) -> list[Segment]:
    """Split the triggers of a recording where the film was paused.

    The sample at which a pause began or ended is taken from its row; the film time then from the
    nearest trigger of the segment, because the film time in such a row is up to a second old.
    Triggers between a pause and its unpause are ignored: the film stood still.

    Parameters
    ----------
    timings : pandas.DataFrame
        From `read_timings`.
    path : pathlib.Path
        Its file, for error messages.
    rate : float
        Samples per second.

    Raises
    ------
    InputError
        If triggers follow a pause (or an end) that nothing ends.
    """
    parts: list[list[int]] = []
    is_open, idle = False, 0
    for row, kind in enumerate(timings["kind"]):
        if kind in _OPENING or not parts:
            parts.append([])
            is_open, idle = True, 0
        if is_open:
            parts[-1].append(row)
        else:
            idle += 1
        if kind in _CLOSING:
            is_open = False
    if idle:
        raise InputError(
            f"{path}: {idle} triggers follow a pause or end that no unpause or beginning ends; add "
            "the missing row"
        )
    return [_segment(timings.iloc[rows], rate) for rows in parts]


def _segment(rows: pd.DataFrame, rate: float) -> Segment:
    """Make a segment of its rows, in the order of samples."""
    triggers = rows[rows["kind"] == "trigger"]
    # without a trigger between them the borders are all there is
    triggers = rows if triggers.empty else triggers
    film, sample = triggers["movie_time"].to_numpy(float), triggers["index"].to_numpy("int64")
    start, stop = int(rows["index"].iloc[0]), int(rows["index"].iloc[-1])
    low = film[0] - (sample[0] - start) / rate
    high = film[-1] + (stop - sample[-1]) / rate
    order = np.argsort(film, kind="stable")
    return Segment(film[order], sample[order], start, stop, float(low), float(high))


def place(segments: list[Segment], times: np.ndarray, rate: float) -> Placed:
    """Give the samples at which moments of a film were shown.

    Of the segment in which the moment was shown, the nearest trigger k counts:
    `sample = round(index_k + (t - movie_time_k) * rate)`, the rule of the data set's authors, who
    do not tell segments apart: next to a pause they may take a trigger on its other side.
    A moment at or after the end of the last segment has no sample.

    Parameters
    ----------
    segments : list of Segment
    times : numpy.ndarray
        s of film.
    rate : float
        Samples per second.

    Returns
    -------
    Placed
    """
    times = np.asarray(times, dtype=float)
    segment = np.full(len(times), -1)
    for number, one in enumerate(segments):
        free = segment < 0
        segment[free & (times >= one.low) & (times < limit_of(segments, number))] = number
    for number, one in enumerate(segments):
        segment[(segment < 0) & (times == one.high)] = number
    missing = np.full(len(times), "", dtype=object)
    first = min(one.low for one in segments)
    last = max(one.high for one in segments)
    missing[segment < 0] = "not shown"
    missing[times < first] = "before the first trigger"
    missing[times >= last] = "after the last trigger"
    segment[missing != ""] = -1
    return Placed(samples_in(segments, segment, times, rate), segment, missing)


def limit_of(segments: list[Segment], number: int) -> float:
    """Film time up to which a segment was shown, s: where the next goes on, if that is near."""
    high = segments[number].high
    if number + 1 < len(segments):
        following = segments[number + 1].low
        if high <= following <= high + LONGEST_GAP:
            return following
    return high


def samples_in(
    segments: list[Segment], segment: np.ndarray, times: np.ndarray, rate: float
) -> np.ndarray:
    """Give film times samples by the nearest trigger of their segments; -1 for segment -1."""
    samples = np.full(len(times), -1, dtype="int64")
    for number, one in enumerate(segments):
        here = np.flatnonzero(segment == number)
        wanted = times[here]
        right = np.clip(np.searchsorted(one.film, wanted), 0, len(one.film) - 1)
        left = np.maximum(right - 1, 0)
        nearer_left = np.abs(wanted - one.film[left]) <= np.abs(one.film[right] - wanted)
        # of triggers with one film time the first counts
        chosen = np.searchsorted(one.film, one.film[np.where(nearer_left, left, right)])
        exact = one.sample[chosen] + (wanted - one.film[chosen]) * rate
        samples[here] = np.round(exact).astype("int64")
    return samples
