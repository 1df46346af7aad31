"""Captioned pictures: what an alignment of two networks is learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from braid.common import InputError, read_table, sha256_of
from braid.stimuli.units import UNIT_COLUMNS, unit_digest

CAPTIONS_COLUMNS = {
    "picture": "Unit of the picture",
    "caption": "Unit of the caption",
}
HOW = ("mean", "rows", "join", "first")
_UNITS = [name for name in UNIT_COLUMNS if name != "row"]


def captioned_units(
    root: str | Path, table: str, how: str = "mean"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Make units of captioned pictures: pictures without text, and captions without picture.

    Parameters
    ----------
    root : path-like
        Folder that the table and the pictures in it are relative to.
    table : str
        TSV with the columns `picture` (file) and `caption`; a picture with several captions has
        as many rows.
    how : {"mean", "rows", "join", "first"}
        `join` puts the captions of a picture into one text, `first` takes the first; the others
        leave every caption a unit of its own.

    Returns
    -------
    pictures, captions : pandas.DataFrame
        Units, columns of `UNIT_COLUMNS`.
    pairs : pandas.DataFrame
        Columns of `CAPTIONS_COLUMNS`, a row per caption.

    Raises
    ------
    InputError
        If the table or a picture is absent, or a caption is empty.
    """
    root = Path(root)
    if how not in HOW:
        raise InputError(f"alignment.captions: '{how}' is not one of {', '.join(HOW)}")
    given = read_table(root / table, required=("picture", "caption"))
    text = given["caption"].astype(str).str.strip()
    empty = np.flatnonzero(given["caption"].isna() | text.eq("") | text.eq("n/a"))
    if len(empty):
        raise InputError(f"{root / table}: row {empty[0] + 2} has no caption; remove it")
    listed = pd.DataFrame({"picture": given["picture"].astype(str), "caption": text})
    if how == "first":
        listed = listed.drop_duplicates("picture")
    if how == "join":
        listed = listed.groupby("picture", sort=False)["caption"].agg(" ".join).reset_index()
    rows = []
    for name in listed["picture"].unique():
        if not (root / name).is_file():
            raise InputError(
                f"{root / table}: picture {name} is not there; put it in {root}, or remove its rows"
            )
        rows.append(_unit(stimulus=name, sha256=sha256_of(root / name), frame_time=0.0))
    pictures = pd.DataFrame(rows)
    pictures["unit"] = [unit_digest(row) for row in rows]
    # equal captions are one unit; a caption is no file, so its digest is that of its text
    said = [_unit(text=caption, target_end=len(caption)) for caption in listed["caption"].unique()]
    texts = pd.DataFrame(said)
    texts["unit"] = [unit_digest(row) for row in said]
    by_file = dict(zip(pictures["stimulus"], pictures["unit"], strict=True))
    by_text = dict(zip(texts["text"], texts["unit"], strict=True))
    pairs = pd.DataFrame(
        {
            "picture": listed["picture"].map(by_file),
            "caption": listed["caption"].map(by_text),
        }
    )
    # files with the same bytes are one picture
    return (
        pictures.drop_duplicates("unit")[_UNITS].reset_index(drop=True),
        texts[_UNITS],
        pairs.drop_duplicates(ignore_index=True),
    )


def _unit(**values: object) -> dict[str, object]:
    """Describe a unit that has only what is given."""
    empty = {
        "unit": "", "stimulus": "n/a", "sha256": "n/a", "stimulus_time": np.nan,
        "frame_time": np.nan, "text": "", "target_start": 0, "target_end": 0, "word": "",
    }  # fmt: skip
    return {**empty, **values}
