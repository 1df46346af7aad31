"""Tables: TSV with a JSON sidecar that describes every column, as BIDS does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from braid.common.errors import InputError
from braid.common.files import PathLike, atomic_path, write_json

# labels stay text: subject "01" is not the number 1
_TEXT_COLUMNS = (
    *("participant_id", "subject", "session", "task", "acquisition", "run", "name", "channel"),
    *("target", "site", "unit", "text", "word", "sentence", "stim_file", "stimulus", "model"),
    *("layer", "region", "trial_type", "dataset", "analysis", "comparison", "transfer", "probe"),
    *("alignment", "test", "scope", "status", "side", "objective"),
)


def write_table(
    path: PathLike,
    table: pd.DataFrame,
    columns: Mapping[str, str] | None = None,
    **sidecar: Any,
) -> None:
    """Write a table as TSV with a JSON sidecar, as BIDS does.

    Parameters
    ----------
    path : path-like
        Destination, ending in `.tsv`; the sidecar has the same stem and ends in `.json`.
    table : pandas.DataFrame
        Written without its index; missing values become `n/a`.
    columns : mapping of str to str
        One description per column. A column without a description is an error.
    **sidecar
        Further entries of the sidecar (provenance, units, parameters).
    """
    path = Path(path)
    columns = dict(columns or {})
    undescribed = [name for name in table.columns if name not in columns]
    if undescribed:
        raise ValueError(f"{path.name}: columns without a description: {', '.join(undescribed)}")
    described = {name: {"Description": columns[name]} for name in table.columns}
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
        # before the table appears, so that there is none without its description
        write_json(path.with_suffix(".json"), {**described, **sidecar})


def read_table(path: PathLike, required: tuple[str, ...] = (), **dtypes: Any) -> pd.DataFrame:
    """Read a TSV; labels stay text ("01" is not 1).

    Parameters
    ----------
    path : path-like
    required : tuple of str
        Columns that must be there; the first missing one is named in an `InputError`.
    **dtypes
        Column types. Columns named subject, session, run, task, acquisition, channel, target,
        unit, site and their like are text unless said otherwise.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    text = dict.fromkeys(_TEXT_COLUMNS, str)
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            na_values=["n/a"],
            keep_default_na=False,
            encoding="utf-8-sig",
            dtype={**text, **dtypes},
        )
    except ValueError as error:  # all that parsing, decoding and conversion raise
        raise InputError(f"{path}: cannot be read as a tab-separated table ({error})") from None
    for name in required:
        if name not in table.columns:
            raise InputError(
                f"{path}: column '{name}' is missing (it has: {', '.join(map(str, table.columns))})"
            )
    return table
