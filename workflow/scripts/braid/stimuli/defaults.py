"""What a missing key of `analysis.units` or `analysis.design` means."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from braid.common import InputError

_TEXT: dict[str, Any] = {
    "trial_types": ["word"],  # rows of events.tsv that are words
    "film_types": ["film", "story"],  # rows that say when a stimulus starts and how long it lasts
    "text_column": "text",
    "sentence_column": "sentence",  # rows in a row with equal entries are one sentence
    "context_words": 12,  # words before, within the sentence and the run
}

UNITS: dict[str, dict[str, Any]] = {
    "words": {**_TEXT, "context_after": 0},  # words after the word itself
    "frames": {**_TEXT, "step": 0.5},  # s between two frames
    "labels": {
        "column": "trial_type",  # column of events.tsv whose entry is the label
        "labels": None,  # labels to use; all if null
        "names": {},  # label -> text that networks read, where the label itself will not do
    },
    "rows": {"features": None},  # path pattern of the feature file: {subject} {task} {label} ...
}

EVENT_LOCKED: dict[str, Any] = {
    "kind": "event_locked",
    "tmin": -0.5,  # s, start of the first window, relative to the onset
    "tmax": 1.5,  # s, end of the last window
    "window": 0.2,  # s
    "step": 0.05,  # s from window to window
    "standardize": False,  # z-score each target over the events of each run
}

VOLUMES: dict[str, Any] = {
    "trim": [0, 0],  # volumes left out at the start and at the end of each run
    "standardize": False,  # z-score each target per run, after trimming
}


def unit_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in `analysis.units`; unknown kinds and keys are an `InputError`."""
    kind = params.get("kind")
    if kind not in UNITS:
        raise InputError(f"units.kind: '{kind}' is not one of {', '.join(UNITS)}")
    defaults = {"kind": kind, **UNITS[kind]}
    for key in params:
        if key not in defaults:
            near = get_close_matches(key, defaults, n=1) or sorted(defaults)
            raise InputError(
                f"units: unknown key '{key}' for kind {kind}; did you mean {' or '.join(near)}?"
            )
    return {**defaults, **params}
