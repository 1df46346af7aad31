"""Units that are labels: an entry of events.tsv stands for what was presented."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError
from braid.stimuli.sources import Sources


def labels_of_run(
    table: pd.DataFrame, path: Path, sources: Sources, params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One unit per row of a run whose label is wanted; durations are kept for box-cars.

    Parameters
    ----------
    table : pandas.DataFrame
        From `read_events`.
    path : pathlib.Path
        Its file, for error messages.
    sources : Sources
        Not used: labels have no stimulus file.
    params : mapping
        `analysis.units` with defaults: `column`, `labels`, `names`.

    Returns
    -------
    list of dict
    """
    column = params["column"]
    if column not in table.columns:
        raise InputError(
            f"{path}: column '{column}' of `units.column` is missing (it has: "
            f"{', '.join(name for name in table.columns if name != 'row')})"
        )
    rows = table[table[column].notna()]
    shown = rows[column].map(_label).astype(str)
    if params["labels"] is not None:
        wanted = shown.isin([_label(label) for label in params["labels"]])
        rows, shown = rows[wanted], shown[wanted]
    names = {_label(label): text for label, text in params["names"].items()}
    units = []
    for (_, row), label in zip(rows.iterrows(), shown, strict=True):
        for name in ("onset", "duration"):
            if not np.isfinite(row[name]):
                raise InputError(
                    f"{path}: row {row['row']}: label '{label}' without {name}; add it, or "
                    "remove the row"
                )
        text = str(names.get(label, label))
        units.append(
            {
                "onset": float(row["onset"]),
                "duration": float(row["duration"]),
                "stimulus": "n/a",
                "sha256": "n/a",
                # the same label is one unit, whenever it comes
                "stimulus_time": np.nan,
                "frame_time": np.nan,
                "text": text,
                "target_start": 0,
                "target_end": len(text),
                "word": text,
            }
        )
    return units


def _label(entry: Any) -> str:
    """Text of an entry; whole numbers have no decimals, which a missing value beside them adds."""
    whole = isinstance(entry, float) and entry.is_integer()
    return str(int(entry)) if whole else str(entry)
