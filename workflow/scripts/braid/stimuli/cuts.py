"""Units that are scene cuts: the frame there, with a whole sentence that is said near it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids.cuts import match_sentences
from braid.bids.files import given
from braid.common import InputError
from braid.stimuli.sources import Source, Sources
from braid.stimuli.words import (
    film_of,
    place,
    presentations,
    sentence_numbers,
    shown,
    text_unit,
    word_rows,
)


def cuts_of_run(
    table: pd.DataFrame, path: Path, sources: Sources, params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One unit per scene cut of a run.

    Cuts are the rows of one of `cut_types`; where a run has none (or with `cuts: film`), those that
    PySceneDetect finds in its films. The text is the whole sentence that `sentence_match` chooses:
    `preceding` the last that began by the cut, `following` the first that begins after it (the
    outermost one where there is none), `nearest` the one being said, else that with the smallest
    gap between cut and sentence, of equals the first. Times are those of the recording. Only
    sentences of the cut's own stimulus, or of none, count; without any the text is empty.

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

    Raises
    ------
    InputError
        If a cut has no onset, or nothing tells sentences apart.
    BraidError
        If cuts are to be found and PySceneDetect is not installed.
    """
    sentences = sentences_of(table, path, params)
    films = presentations(table, path, params)
    cuts = [] if params["cuts"] == "film" else _annotated(table, films, path, sources, params)
    if not cuts and params["cuts"] != "events":
        cuts = _detected(films, path, sources)
    units = []
    for onset, duration, source, time in cuts:
        units.append(
            {
                "onset": onset,
                "duration": duration,
                **place(source, time, params["frame_match"]),
                **_near(onset, source, sentences, params["sentence_match"]),
            }
        )
    return units


def sentences_of(table: pd.DataFrame, path: Path, params: Mapping[str, Any]) -> pd.DataFrame:
    """Sentences of a run, each from the onset of its first word to the end of its last.

    Returns
    -------
    pandas.DataFrame
        Columns `onset`, `end` (s), `text`, and `stimulus` (as in the events; empty if none), in
        order of onset.
    """
    words = word_rows(table, path, params)
    column = params["sentence_column"]
    if len(words) and column not in words.columns:
        raise InputError(
            f"{path}: column '{column}' is missing, which tells sentences apart; add it, or set "
            "`units.sentence_column`"
        )
    rows = []
    for _, part in words.groupby(sentence_numbers(words, params), sort=False):
        end = part["onset"] + part["duration"].fillna(0.0)
        stimulus = part["stim_file"].iloc[0] if "stim_file" in part.columns else None
        rows.append(
            {
                "onset": float(part["onset"].iloc[0]),
                "end": float(end.max()),
                "text": _text(part, path, params),
                "stimulus": str(stimulus) if given(stimulus) else "",
            }
        )
    return pd.DataFrame(rows, columns=["onset", "end", "text", "stimulus"])


def _text(words: pd.DataFrame, path: Path, params: Mapping[str, Any]) -> str:
    """Text of a sentence: as its first word's row has it, or its words, joined."""
    column = params["sentence_text_column"]
    if column is None:
        return " ".join(words[params["text_column"]])
    text = words.iloc[0].get(column)
    if not given(text) or not str(text).strip():
        raise InputError(
            f"{path}: row {words['row'].iloc[0]}: no sentence in column '{column}' of "
            "`units.sentence_text_column`; add it, or set null to join the words"
        )
    return " ".join(str(text).split())


def _annotated(
    table: pd.DataFrame,
    films: pd.DataFrame,
    path: Path,
    sources: Sources,
    params: Mapping[str, Any],
) -> list[tuple[float, float, Source | None, float]]:
    """Onset, duration, stimulus and time in it of the rows that are scene cuts."""
    if "trial_type" not in table.columns:
        return []
    found = []
    for _, row in table[table["trial_type"].isin(params["cut_types"])].iterrows():
        if not np.isfinite(row["onset"]):
            raise InputError(
                f"{path}: row {row['row']}: a scene cut without an onset (onset is n/a); add it, "
                "or remove the row"
            )
        source, time = shown(row, films, path, sources)
        found.append((float(row["onset"]), float(np.nan_to_num(row["duration"])), source, time))
    return found


def _detected(
    films: pd.DataFrame, path: Path, sources: Sources
) -> list[tuple[float, float, Source | None, float]]:
    """Scene cuts of the films that a run shows, while it shows them."""
    found: list[tuple[float, float, Source | None, float]] = []
    for _, row in films.iterrows():
        source = film_of(row, path, sources, "scene cuts are")
        if source is None or source.film is None or not np.isfinite(source.film.duration):
            continue
        start = float(np.nan_to_num(row.get("stim_time", 0.0)))
        inside = (source.cuts >= start) & (source.cuts < start + float(row["duration"]))
        for time in source.cuts[inside].tolist():
            found.append((float(row["onset"]) + time - start, 0.0, source, time))
    return found


def _near(onset: float, source: Source | None, sentences: pd.DataFrame, rule: str) -> dict:
    """Text of the sentence that goes with a cut."""
    own = sentences["stimulus"].to_numpy(str)
    if source is not None:
        sentences = sentences[(own == source.stim_file) | (own == "")]
    if sentences.empty:
        return {"text": "", "target_start": 0, "target_end": 0, "word": "n/a"}
    matches = match_sentences(
        np.array([onset]), sentences["onset"].to_numpy(float), sentences["end"].to_numpy(float)
    )
    return text_unit([], str(sentences["text"].iloc[int(matches[rule][0])]), [])
