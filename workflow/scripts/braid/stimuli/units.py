"""Units: the distinct pieces of stimulus that networks see."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from braid.stimuli.arrays import split_dataset

UNIT_COLUMNS = {
    "unit": "Digest of the unit's content",
    "stimulus": "Stimulus file, relative to the root of the data set",
    "sha256": "SHA-256 of the stimulus file",
    "stimulus_time": "Time in the stimulus (s)",
    "frame_time": "Time of the picture shown, in the film (s)",
    "text": "Text that a language network reads",
    "target_start": "First character of the word itself in the text",
    "target_end": "One past the last character of the word itself in the text",
    "word": "The word itself",
    "row": "Row of the feature file, from 0 (given features)",
}
_DIGITS = 12


def unit_digest(unit: Mapping[str, Any], only_heard: bool = False) -> str:
    """Digest of what a network, or a measure of sound, is given of a unit: 12 hexadecimal digits.

    Covers the stimulus's digest, the frame's time to 1 ms, the text and the span of the word in it;
    for given features the file's digest, the data set in it and the row. A stimulus that is
    `only_heard` has no frame: there it covers the time in it, for equal words sound different each
    time that they are said.
    """
    frame = unit["frame_time"]
    content = [
        unit["sha256"],
        round(1000 * frame) if np.isfinite(frame) else None,
        unit["text"],
        int(unit["target_start"]),
        int(unit["target_end"]),
    ]
    if "row" in unit:
        content.append(int(unit["row"]))
        content += filter(None, [split_dataset(unit["stimulus"])[1]])
    if only_heard:
        content.append(["heard", round(1000 * unit["stimulus_time"])])
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_DIGITS]


def units_of(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Distinct units over all subjects.

    Parameters
    ----------
    tables : iterable of pandas.DataFrame
        From `events_of`, or read back from their files.

    Returns
    -------
    pandas.DataFrame
        Columns `UNIT_COLUMNS` (`row` only for given features), one row per unit, sorted by
        stimulus, time and text, whatever the order of the tables.
    """
    events = pd.concat(list(tables), ignore_index=True)
    columns = [name for name in UNIT_COLUMNS if name in events.columns]
    keys = [name for name in ("stimulus", "stimulus_time", "text", "unit") if name in columns]
    units = events[columns].sort_values(keys, kind="stable", na_position="first")
    units = units.drop_duplicates("unit")
    return units.sort_values(keys, kind="stable", na_position="first", ignore_index=True)
