"""What a missing key of `analysis.units` or `analysis.design` means."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from braid.common import InputError

_TEXT: dict[str, Any] = {
    "annotations": [],  # tables of the stimulus that are added to the events
    "trial_types": ["word"],  # rows of events.tsv that are words
    "film_types": ["film", "story"],  # rows that say when a stimulus starts and how long it lasts
    "text_column": "text",
    "sentence_column": "sentence",  # rows in a row with equal entries are one sentence
    "pause_types": ["pause"],  # rows that say when the stimulus stood still
}
_CONTEXT: dict[str, Any] = {**_TEXT, "context_words": 12}  # words before, within sentence and run

UNITS: dict[str, dict[str, Any]] = {
    "words": {
        **_CONTEXT,
        "context_after": 0,  # words after the word itself
        "frame_match": "nearest",  # which frame goes with the onset: nearest|subsequent|preceding
    },
    "frames": {**_CONTEXT, "step": 0.5},  # s between two frames
    "scene_cuts": {
        **_TEXT,
        "cuts": "auto",  # auto (rows of a run, else its films) | events | film
        "cut_types": ["scene_cut"],  # rows that are scene cuts
        "sentence_match": "nearest",  # which sentence goes with a cut: nearest|preceding|following
        "sentence_text_column": None,  # whole sentence in a word's row; null joins words
        "frame_match": "nearest",
    },
    "labels": {
        "annotations": [],
        "column": "trial_type",  # column of events.tsv whose entry is the label
        "labels": None,  # labels to use; all if null
        "names": {},  # label -> text that networks read, where the label itself will not do
    },
    "rows": {"features": None},  # path pattern of the feature file: {subject} {task} {label} ...
}

_CHOICES: dict[str, tuple[str, ...]] = {
    "cuts": ("auto", "events", "film"),
    "sentence_match": ("nearest", "preceding", "following"),
    "frame_match": ("nearest", "subsequent", "preceding"),
}

EVENT_LOCKED: dict[str, Any] = {
    "kind": "event_locked",
    "tmin": -0.5,  # s, relative to the onset; see `bin_anchor`
    "tmax": 1.5,  # s
    "window": 0.2,  # s
    "step": 0.05,  # s from window to window
    # what lies from tmin to tmax: edges (the windows), start, or center (these of the windows)
    "bin_anchor": "edges",
    "standardize": False,  # z-score each target over the events of each run
}

VOLUMES: dict[str, Any] = {
    "trim": [0, 0],  # volumes left out at the start and at the end of each run
    "standardize": False,  # z-score each target per run, after trimming
}


def unit_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in `analysis.units`; unknown kinds, keys and choices are an `InputError`."""
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
    for key, allowed in _CHOICES.items():
        if key in params and params[key] not in allowed:
            raise InputError(f"units.{key}: '{params[key]}' is not one of {', '.join(allowed)}")
    return {**defaults, **params}
