"""Annotations: tables of a stimulus that say when something is in it, put on a run's clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids import check_fetched, fill_pattern, read_events
from braid.bids.events import seconds
from braid.bids.files import given
from braid.common import InputError, read_table

ANNOTATIONS: dict[str, Any] = {
    "files": None,  # path pattern within the root; {name} stands for any text and becomes a column
    "onset": "onset",  # column of the onset in the stimulus, s
    "end": None,  # column of the end, s; null: there is a column of the duration
    "duration": None,  # column of the duration, s; null with `end` null: no duration
    "trial_type": "word",  # what the rows become
    "start": None,  # trial type of the event at which the stimulus starts; null: with the recording
    "stim_file": None,  # the stimulus, within the folder stimuli
}


def annotation_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in an entry of `analysis.units.annotations`; unknown keys are an `InputError`."""
    for key in params:
        if key not in ANNOTATIONS:
            near = get_close_matches(key, ANNOTATIONS, n=1) or sorted(ANNOTATIONS)
            raise InputError(
                f"units.annotations: unknown key '{key}'; did you mean {' or '.join(near)}?"
            )
    filled = {**ANNOTATIONS, **params}
    if not filled["files"]:
        raise InputError("units.annotations.files: give the path pattern of the tables")
    return filled


def events_with(
    row: pd.Series, root: Path, annotations: Sequence[Mapping[str, Any]]
) -> tuple[pd.DataFrame, Path]:
    """Read the events of a run, and add annotations of its stimulus.

    Parameters
    ----------
    row : pandas.Series
        Row of the index.
    root : pathlib.Path
        Root of the data set.
    annotations : sequence of mapping
        `analysis.units.annotations`; see `ANNOTATIONS`.

    Returns
    -------
    events : pandas.DataFrame
        As `read_events` gives it, then a row for each row of the annotations, with their columns
        beside those of the events. `onset` is on the recording's clock, `stim_time` (where
        `stim_file` is given) on that of the stimulus, `row` counts in the file that a row is from,
        and `name` is what `{name}` stands for.
    path : pathlib.Path
        File to name in messages: that of the annotations if it is one, else that of the events.

    Raises
    ------
    InputError
        If the run has neither, there is no such file, column or starting event, or a time is no
        number.
    """
    events = read_events(root / row["events"]) if given(row["events"]) else None
    if events is None and not annotations:
        raise InputError(
            f"{root / row['path']}: no events.tsv applies to this run; add it, name a table of the "
            "stimulus in `units.annotations`, or use units of kind rows"
        )
    parts = [] if events is None else [events]
    paths = []
    for one in annotations:
        params = annotation_params(one)
        start = _start(events, row, root, params["start"])
        pattern = params["files"].replace("{name}", "{{name}}")
        pattern = fill_pattern(pattern, row["run"], row["subject"], "units.annotations.files")
        for path, name in _files(root, pattern):
            part = _annotations(path, start, params)
            parts.append(part.assign(name=name) if name else part)
            paths.append(path)
    only = paths[0] if len(paths) == 1 or events is None else root / str(row["events"])
    return pd.concat(parts, ignore_index=True), only


def _files(root: Path, pattern: str) -> list[tuple[Path, str]]:
    """Files that fit a pattern, with what its `{name}` stands for; in order of their paths."""
    known = re.compile("(.*)".join(map(re.escape, pattern.split("{name}"))))
    found = []
    for path in sorted(root.glob(pattern.replace("{name}", "*"))):
        match = known.fullmatch(path.relative_to(root).as_posix())
        if match:
            found.append((path, match[1] if match.groups() else ""))
    if not found:
        raise InputError(
            f"{root / pattern}: no such table; correct `units.annotations.files` in the config"
        )
    return found


def _start(
    events: pd.DataFrame | None, row: pd.Series, root: Path, trial_type: str | None
) -> float:
    """Time of the recording at which the stimulus starts, s."""
    if trial_type is None:
        return 0.0
    onsets = np.empty(0)
    if events is not None and "trial_type" in events.columns:
        onsets = events.loc[events["trial_type"] == trial_type, "onset"].dropna().to_numpy(float)
    if not onsets.size:
        where = root / (row["path"] if events is None else row["events"])
        raise InputError(
            f"{where}: no event of type '{trial_type}', at which the stimulus starts; correct "
            "`units.annotations.start` in the config, or add the event"
        )
    return float(onsets.min())


def _annotations(path: Path, start: float, params: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of one table as events of a run whose stimulus starts at `start` s."""
    check_fetched(path)
    columns = [params[key] for key in ("onset", "end", "duration") if params[key]]
    table = read_table(path, required=tuple(columns))
    times = {key: seconds(table[key], key, path) for key in columns}
    onset = times[params["onset"]]
    if onset.isna().any():
        raise InputError(
            f"{path}: row {int(np.flatnonzero(onset.isna())[0]) + 1}: no {params['onset']}; add "
            "it, or remove the row"
        )
    duration = pd.Series(0.0, index=table.index)
    if params["end"]:
        duration = (times[params["end"]] - onset).clip(lower=0.0)
    elif params["duration"]:
        duration = times[params["duration"]]
    table = table.assign(
        # tables state times to 1 ms at best; the sum has no more digits than that
        onset=(onset + start).round(6),
        duration=duration.round(6),
        trial_type=params["trial_type"],
        row=np.arange(1, len(table) + 1),
    )
    if params["stim_file"]:
        table = table.assign(stim_file=params["stim_file"], stim_time=onset)
    return table
