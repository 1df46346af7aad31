"""Units of text: words in their context, and frames with the words that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids.files import given
from braid.common import InputError
from braid.stimuli.pauses import pauses_of, shown_stretches
from braid.stimuli.sources import Source, Sources


def words_of_run(
    table: pd.DataFrame, path: Path, sources: Sources, params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One unit per word of a run.

    The text is the word with up to `context_words` words of the same sentence before it and
    `context_after` behind it, single spaces between them. Where the table has no column that tells
    sentences apart, the words of the run are the context.

    Parameters
    ----------
    table : pandas.DataFrame
        From `read_events`.
    path : pathlib.Path
        Its file, for error messages.
    sources : Sources
    params : mapping
        `analysis.units` with defaults.

    Returns
    -------
    list of dict
    """
    words = word_rows(table, path, params)
    films = presentations(table, path, params)
    sentences = sentence_numbers(words, params)
    texts = words[params["text_column"]].tolist() if len(words) else []
    units = []
    for position, (_, row) in enumerate(words.iterrows()):
        first, last = bounds(sentences, position)
        start = max(first, position - int(params["context_words"]))
        stop = min(last, position + int(params["context_after"]) + 1)
        before, after = texts[start:position], texts[position + 1 : stop]
        source, time = shown(row, films, path, sources)
        units.append(
            {
                "onset": float(row["onset"]),
                "duration": float(np.nan_to_num(row["duration"])),
                **place(source, time, params["frame_match"]),
                **text_unit(before, texts[position], after),
            }
        )
    return units


def frames_of_run(
    table: pd.DataFrame, path: Path, sources: Sources, params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One unit every `step` s while a film of the run lasts.

    The text is what was said of the current sentence up to then (at most `context_words` words
    before the last one), or of the last sentence if none is being said; empty before the first
    word.

    Parameters and result as for `words_of_run`.
    """
    words = word_rows(table, path, params)
    sentences = sentence_numbers(words, params)
    texts = words[params["text_column"]].tolist() if len(words) else []
    onsets = words["onset"].to_numpy(float)
    units = []
    for _, row in presentations(table, path, params).iterrows():
        source = film_of(row, path, sources, "frames are")
        if source is None:
            continue
        start = float(np.nan_to_num(row.get("stim_time", 0.0)))
        step = float(params["step"])
        # the small term keeps a last frame that rounding would lose, or add
        for k in range(int(np.ceil(float(row["duration"]) / step - 1e-6))):
            onset = float(row["onset"]) + k * step
            said = int(np.searchsorted(onsets, onset + 1e-9, side="right"))
            units.append(
                {
                    "onset": onset,
                    "duration": step,
                    **place(source, start + k * step),
                    **_said(texts, sentences, said, int(params["context_words"])),
                }
            )
    return units


def film_of(row: pd.Series, path: Path, sources: Sources, what: str) -> Source | None:
    """Find the film of a row that presents a stimulus; None if nothing can be seen.

    Raises
    ------
    InputError
        If the file is missing, the row has no duration, or the film is shorter; `what` says what
        is taken while the film lasts.
    """
    if not given(row.get("stim_file")):
        return None
    source = sources.stimulus(str(row["stim_file"]), path, int(row["row"]))
    if source.film is None:
        return None
    if not row["duration"] > 0:
        raise InputError(
            f"{path}: row {row['row']}: the film has no duration; add it, since {what} taken while "
            "the film lasts"
        )
    start = float(np.nan_to_num(row.get("stim_time", 0.0)))
    source.check_time(start + float(row["duration"]), path, int(row["row"]))
    return source


def text_unit(before: Sequence[str], word: str, after: Sequence[str]) -> dict[str, Any]:
    """Text of a word in its context, and where the word is in it."""
    head = "".join(f"{one} " for one in before)
    tail = "".join(f" {one}" for one in after)
    return {
        "text": head + word + tail,
        "target_start": len(head),
        "target_end": len(head) + len(word),
        "word": word,
    }


def _said(texts: list[str], sentences: np.ndarray, said: int, context: int) -> dict[str, Any]:
    """Text of the sentence so far after `said` words of the run."""
    if said == 0:
        return {"text": "", "target_start": 0, "target_end": 0, "word": "n/a"}
    last = said - 1
    first = max(bounds(sentences, last)[0], last - context)
    return text_unit(texts[first:last], texts[last], [])


def word_rows(table: pd.DataFrame, path: Path, params: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of a run that are words, in order of onset, checked."""
    column = params["text_column"]
    rows = table
    if "trial_type" in table.columns:
        rows = table[table["trial_type"].isin(params["trial_types"])]
    elif column not in table.columns:
        rows = table.iloc[:0]
    if len(rows) and column not in table.columns:
        raise InputError(
            f"{path}: column '{column}' is missing, which holds the text of the "
            f"{'/'.join(params['trial_types'])} rows; add it, or set `units.text_column` "
            f"(it has: {', '.join(name for name in table.columns if name != 'row')})"
        )
    for name in ("onset", column) if len(rows) else ():
        wrong = rows[rows[name].isna() | (rows[name].astype(str).str.strip() == "")]
        if len(wrong):
            what = "text without an onset" if name == "onset" else "a word without text"
            raise InputError(
                f"{path}: row {wrong['row'].iloc[0]}: {what} ({name} is n/a); add it, or remove "
                "the row"
            )
    rows = rows.sort_values("onset", kind="stable").reset_index(drop=True)
    if len(rows):
        # text with tabs or line breaks in it would not survive a table
        rows[column] = [" ".join(str(text).split()) for text in rows[column]]
    return rows


def presentations(table: pd.DataFrame, path: Path, params: Mapping[str, Any]) -> pd.DataFrame:
    """Rows that say when a film or story starts and how long it lasts, in order of onset.

    One that is paused becomes one row per stretch.
    """
    if "trial_type" not in table.columns:
        return table.iloc[:0]
    rows = table[table["trial_type"].isin(params["film_types"]) & table["onset"].notna()]
    rows = rows.sort_values("onset", kind="stable")
    return shown_stretches(rows, pauses_of(table, path, params))


def sentence_numbers(words: pd.DataFrame, params: Mapping[str, Any]) -> np.ndarray:
    """Give the number of each word's sentence; a new one starts where the entry changes."""
    column = params["sentence_column"]
    if column not in words.columns:
        return np.zeros(len(words), dtype=int)
    entries = words[column].fillna("n/a").astype(str).to_numpy()
    return np.concatenate([[0], np.cumsum(entries[1:] != entries[:-1])]).astype(int)[: len(words)]


def bounds(sentences: np.ndarray, position: int) -> tuple[int, int]:
    """First word of a word's sentence, and one past its last."""
    number = sentences[position]
    return int(np.searchsorted(sentences, number)), int(
        np.searchsorted(sentences, number, side="right")
    )


def shown(
    row: pd.Series, films: pd.DataFrame, path: Path, sources: Sources
) -> tuple[Source | None, float]:
    """Stimulus of a word and the time in it; without one the time is the recording's."""
    if not given(row.get("stim_file")):
        return None, float(row["onset"])
    number = int(row["row"])
    source = sources.stimulus(str(row["stim_file"]), path, number)
    time = row.get("stim_time", np.nan)
    if not np.isfinite(time):
        time = _time_in(row, films)
    if not np.isfinite(time):
        raise InputError(
            f"{path}: row {number}: there is no stim_time, and no film row from which to count it; "
            "add the column stim_time (s in the stimulus)"
        )
    source.check_time(float(time), path, number)
    return source, float(time)


def _time_in(row: pd.Series, films: pd.DataFrame) -> float:
    """Time in the stimulus, counted from the last row that started it; NaN if there is none."""
    if "stim_file" not in films.columns:
        return float("nan")
    started = films[(films["stim_file"] == row["stim_file"]) & (films["onset"] <= row["onset"])]
    if started.empty:
        return float("nan")
    last = started.iloc[-1]
    return float(row["onset"] - last["onset"] + np.nan_to_num(last.get("stim_time", 0.0)))


def place(source: Source | None, time: float, match: str = "nearest") -> dict[str, Any]:
    """Columns that say where in which stimulus a unit is."""
    if source is None:
        return {"stimulus": "n/a", "sha256": "n/a", "stimulus_time": time, "frame_time": np.nan}
    return {
        "stimulus": source.name,
        "sha256": source.sha256,
        "stimulus_time": time,
        "frame_time": source.frame_time(time, match),
    }
