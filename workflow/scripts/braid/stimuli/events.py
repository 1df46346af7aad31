"""Events: which unit was presented when, on the clock of each recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids import read_events
from braid.bids.files import given
from braid.common import InputError
from braid.stimuli.annotations import events_with
from braid.stimuli.cuts import cuts_of_run
from braid.stimuli.defaults import unit_params
from braid.stimuli.given import rows_of_run
from braid.stimuli.labels import labels_of_run
from braid.stimuli.pauses import pauses_of, stretch_of
from braid.stimuli.sources import Sources
from braid.stimuli.units import UNIT_COLUMNS, unit_digest
from braid.stimuli.words import frames_of_run, words_of_run

EVENT_COLUMNS = {
    "event": "Number of the event, from 0, in the order of this table",
    "run": "Run label",
    "onset": "Onset on the recording's clock (s from its first sample)",
    "duration": "Duration (s)",
    "stretch_start": "Since when the stimulus had run without a pause (s); the whole run if n/a",
    "stretch_end": "Until when it then ran without a pause (s)",
    **UNIT_COLUMNS,
}
_KINDS: dict[str, Callable[[pd.DataFrame, Path, Sources, Mapping[str, Any]], list[dict]]] = {
    "words": words_of_run,
    "frames": frames_of_run,
    "scene_cuts": cuts_of_run,
    "labels": labels_of_run,
}


def events_of(index: pd.DataFrame, root: str | Path, params: Mapping[str, Any]) -> pd.DataFrame:
    """List what one subject was presented with.

    Parameters
    ----------
    index : pandas.DataFrame
        Rows of `index_dataset` of one subject, of the tasks of the analysis.
    root : path-like
        Root of the data set.
    params : mapping
        `analysis.units` of the config; see `braid.stimuli.defaults.UNITS`. Kinds: `words` (each
        word in its context, with the frame shown at its onset), `frames` (a frame every `step` s
        while a film lasts, with the words of the current sentence so far, or of the last one),
        `scene_cuts` (the frame at each cut, with a whole sentence said near it), `labels` (an entry
        of events.tsv is the text) and `rows` (row t of a feature file belongs to volume t).

    Returns
    -------
    pandas.DataFrame
        Columns `EVENT_COLUMNS` (`row` for kind `rows` only; `stretch_start` and `stretch_end` only
        where a run was paused), sorted by run (in the order of the index) and onset. `frame_time`
        is NaN where nothing can be seen.

    Raises
    ------
    InputError
        If the subject has no recording of these tasks, a column, an onset, a word, or a stimulus
        file is missing, a film cannot be decoded or is shorter than the events say, or features
        and volumes differ in number.
    """
    root = Path(root)
    params = unit_params(params)
    if index.empty:
        raise InputError(
            f"{root}: this subject has no recording of the tasks of the analysis; name the others "
            "in `subjects` of the dataset"
        )
    sources = Sources(root)
    found: list[dict[str, Any]] = []
    for _, row in index.iterrows():
        if params["kind"] == "rows":
            units = rows_of_run(row, root, sources, params)
        else:
            table, path = events_with(row, root, params["annotations"])
            units = _KINDS[params["kind"]](table, path, sources, params)
            _note_stretches(units, pauses_of(table, path, params), row)
        units.sort(key=lambda unit: unit["onset"])
        found += [
            {"run": row["run"], "unit": unit_digest(unit, _only_heard(unit, sources)), **unit}
            for unit in units
        ]
    if not found:
        raise InputError(
            f"{root}: no event of kind {params['kind']} in {_names(index)}; {_hint(index, root)}"
        )
    table = pd.DataFrame(found)
    table.insert(0, "event", range(len(table)))
    return table[[name for name in EVENT_COLUMNS if name in table.columns]]


def _only_heard(unit: Mapping[str, Any], sources: Sources) -> bool:
    """Tell whether a unit's stimulus is sound without pictures."""
    stimulus = unit["stimulus"]
    return given(stimulus) and "row" not in unit and sources.file(stimulus).only_heard


def _note_stretches(units: list[dict[str, Any]], pauses: np.ndarray, row: pd.Series) -> None:
    """Note, in place, the stretch between pauses in which each event of a run lies."""
    if len(pauses):
        duration = float(row["n_samples"]) / float(row["sampling_frequency"])
        for unit in units:
            stretch = stretch_of(unit["onset"], pauses, duration)
            unit["stretch_start"], unit["stretch_end"] = stretch


def _names(index: pd.DataFrame) -> str:
    """Files that were searched."""
    files = sorted({str(path) for path in index["events"] if given(path)})
    return ", ".join(files[:2]) + (f" and {len(files) - 2} more" if len(files) > 2 else "")


def _hint(index: pd.DataFrame, root: Path) -> str:
    """Trial types that there are."""
    path = next(root / path for path in index["events"] if given(path))
    table = read_events(path)
    if "trial_type" not in table.columns:
        return "the file has no column trial_type, which tells films and stories"
    types = sorted(set(table["trial_type"].dropna()))
    return f"trial types there are: {', '.join(types) or 'none'}; correct `units` in the config"
