"""Events of a Brain Treebank recording: the film, its pauses, words and scene cuts."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest

import numpy as np
import pandas as pd

from braid.bids.cuts import match_sentences
from braid.bids.importers.treebank_clock import Segment, limit_of, place, samples_in

# measured at each word by the data set's authors; for bands of nuisance features
CONTROLS = {
    "rms": "Loudness of the word (root mean square of the sound)",
    "pitch": "Pitch of the word",
    "mean_pixel_brightness": "Mean brightness of the picture shown at the onset",
    "max_global_magnitude": "Largest motion of the whole picture, by optical flow",
    "max_vector_magnitude": "Largest motion within the picture, by optical flow",
    "face_num": "Number of faces in the picture",
    "gpt2_surprisal": "Surprisal of the word given the words before, by GPT-2",
    "word_length": "Length of the word",
}
EVENT_COLUMNS: dict[str, dict[str, object]] = {
    "onset": {"Description": "Onset from the first sample of the recording", "Units": "s"},
    "duration": {"Description": "Duration of the event", "Units": "s"},
    "trial_type": {
        "Description": "Kind of event",
        "Levels": {
            "film": "A stretch of film without a pause",
            "pause": "The film stands still",
            "word": "One word that is said in the film",
            "scene_cut": "First frame of a new scene",
        },
    },
    "sample": {"Description": "Sample of the onset, from 0"},
    "text": {"Description": "The word that is said"},
    "sentence": {
        "Description": "Sentence of the word; of a scene cut the nearest one in time, the earlier "
        "of two as near"
    },
    "sentence_preceding": {
        "Description": "Last sentence that began by the scene cut; the first of the film if none"
    },
    "sentence_following": {
        "Description": "First sentence that begins after the scene cut; the last if none"
    },
    "sentence_idx": {"Description": "Number of the sentence of the word in the transcript"},
    "stim_file": {"Description": "Film in the folder stimuli"},
    "stim_time": {"Description": "Time of the event in that file", "Units": "s"},
    "movie_time": {"Description": "Time of the event by the transcript of the film", "Units": "s"},
    **{name: {"Description": text} for name, text in CONTROLS.items()},
}


def events_table(
    segments: list[Segment],
    words: pd.DataFrame,
    sentences: pd.DataFrame,
    cuts: np.ndarray,
    n_samples: int,
    rate: float,
    stim_file: str | None = None,
    offset: float = 0.0,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Tabulate what was shown and said in a recording.

    Parameters
    ----------
    segments : list of Segment
    words, sentences : pandas.DataFrame
        From `read_transcript`.
    cuts : numpy.ndarray
        Film times of scene cuts, s.
    n_samples : int
        Length of the recording.
    rate : float
        Hz.
    stim_file : str, optional
        Film in the folder `stimuli`; none is named without it.
    offset : float
        Time in that file at which the film of the transcript starts, s.

    Returns
    -------
    table : pandas.DataFrame
        Columns of `EVENT_COLUMNS` (of the controls those that the transcript has), sorted by onset.
        Missing values are `n/a` when written.
    counts : dict of str to int
        Words and scene cuts written, and those left out by reason: before the first trigger, at or
        after the last one, in a stretch of film that was not shown, interrupted by a pause, outside
        the recording.
    """
    counts: Counter[str] = Counter()
    parts = [
        _shown(segments, rate),
        _words(segments, words, n_samples, rate, counts),
        _cuts(segments, sentences, cuts, n_samples, rate, counts),
    ]
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    # half a microsecond: a thousandth of a sample
    table["onset"] = (table["sample"] / rate).round(6)
    table["duration"] = table["duration"].round(6)
    table["stim_time"] = np.nan
    if stim_file is not None:
        table["stim_time"] = (table["movie_time"] + offset).round(6)
        table.loc[table["movie_time"].notna(), "stim_file"] = stim_file
    order = [name for name in EVENT_COLUMNS if name in table.columns or name not in CONTROLS]
    table = table.reindex(columns=order)
    for name in ("sample", "sentence_idx"):
        table[name] = table[name].astype("Int64")
    return table.sort_values("onset", kind="stable", ignore_index=True), dict(counts)


def _shown(segments: list[Segment], rate: float) -> pd.DataFrame:
    """Stretches of film and the pauses between them."""
    rows = []
    for one, following in zip_longest(segments, segments[1:]):
        rows.append(("film", one.start, (one.stop - one.start) / rate, one.low))
        if following is not None:
            rows.append(("pause", one.stop, (following.start - one.stop) / rate, np.nan))
    return pd.DataFrame(rows, columns=["trial_type", "sample", "duration", "movie_time"])


def _words(
    segments: list[Segment],
    words: pd.DataFrame,
    n_samples: int,
    rate: float,
    counts: Counter[str],
) -> pd.DataFrame:
    """Words that were heard whole."""
    start, end = words["start"].to_numpy(float), words["end"].to_numpy(float)
    placed = place(segments, start, rate)
    stop = samples_in(segments, placed.segment, end, rate)
    missing = placed.missing.copy()
    # past the last trigger the film went on, past a pause it did not
    limits = np.array([limit_of(segments, number) for number in range(len(segments))])
    limits[-1] = np.inf
    missing[(placed.segment >= 0) & (end > limits[placed.segment])] = "interrupted by a pause"
    _mark_outside(missing, placed.sample, stop, n_samples)
    kept = _count(missing, "words", counts)
    there = words[kept]
    columns = ["text", "sentence", *(name for name in CONTROLS if name in words.columns)]
    return pd.DataFrame(
        {
            "trial_type": "word",
            "sample": placed.sample[kept],
            "duration": np.maximum(stop - placed.sample, 0)[kept] / rate,
            "movie_time": start[kept],
            "sentence_idx": there["sentence_idx"].to_numpy(),
            **{name: there[name].to_numpy() for name in columns},
        }
    )


def _cuts(
    segments: list[Segment],
    sentences: pd.DataFrame,
    cuts: np.ndarray,
    n_samples: int,
    rate: float,
    counts: Counter[str],
) -> pd.DataFrame:
    """Scene cuts with the sentences near them."""
    placed = place(segments, cuts, rate)
    missing = placed.missing.copy()
    _mark_outside(missing, placed.sample, placed.sample, n_samples)
    kept = _count(missing, "scene cuts", counts)
    times = np.asarray(cuts, dtype=float)[kept]
    texts = sentences["sentence"].to_numpy(object)
    matches = match_sentences(
        times, sentences["start"].to_numpy(float), sentences["end"].to_numpy(float)
    )
    return pd.DataFrame(
        {
            "trial_type": "scene_cut",
            "sample": placed.sample[kept],
            "duration": 0.0,
            "movie_time": times,
            "sentence": texts[matches["nearest"]],
            "sentence_preceding": texts[matches["preceding"]],
            "sentence_following": texts[matches["following"]],
        }
    )


def _mark_outside(missing: np.ndarray, first: np.ndarray, last: np.ndarray, n_samples: int) -> None:
    """Note, in place, which of the events that have a sample lie outside the recording."""
    outside = (missing == "") & ((first < 0) | (first >= n_samples) | (last > n_samples))
    missing[outside] = "outside the recording"


def _count(missing: np.ndarray, what: str, counts: Counter[str]) -> np.ndarray:
    """Count events kept and left out by reason; gives the mask of those kept."""
    kept = missing == ""
    counts[what] += int(kept.sum())
    for reason in sorted(set(missing[~kept])):
        counts[f"{what} {reason}"] += int((missing == reason).sum())
    return np.asarray(kept, dtype=bool)
