"""Which channels of an iEEG recording to use, and where they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids.files import given
from braid.common import InputError, read_json, read_table

FLAT = 1e-3  # uV; below the resolution of any amplifier
_MILLIMETRES = {"m": 1e3, "cm": 10.0, "mm": 1.0}
_log = logging.getLogger("braid")


def stated_exclusions(
    table: pd.DataFrame, recorded: Sequence[str], params: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Channels to leave out by what the tables and the config say.

    Parameters
    ----------
    table : pandas.DataFrame
        `channels.tsv`.
    recorded : sequence of str
        Names in the recording.
    params : mapping
        `types` and `exclude`.

    Returns
    -------
    list of (channel, reason, detail)
    """
    kept = {str(one).upper() for one in params["types"]}
    known = table.drop_duplicates("name").set_index("name")
    rows = []
    for name in recorded:
        if name not in known.index:
            rows.append((name, "not described", "no row in channels.tsv"))
            continue
        row = known.loc[name]
        if str(row["type"]).upper() not in kept:
            rows.append((name, "not a neural channel", f"type {row['type']}"))
        elif str(row.get("status", "n/a")) == "bad":
            why = row.get("status_description")
            rows.append((name, "bad", str(why) if given(why) else "status in channels.tsv"))
        elif name in params["exclude"]:
            rows.append((name, "excluded", "preprocess.exclude in the config"))
    there = set(recorded)
    absent = [name for name in table["name"] if name not in there]
    rows += [(name, "not recorded", "in channels.tsv only") for name in absent]
    return rows


def measured_exclusions(
    names: Sequence[str], variance: np.ndarray, threshold: float | None
) -> list[tuple[str, str, str]]:
    """Channels to leave out by their samples: not a number, flat, or far noisier than the rest.

    Parameters
    ----------
    names : sequence of str
    variance : numpy.ndarray
        uV^2 per channel; NaN where a sample is not finite.
    threshold : float or None
        Largest robust z (median and median absolute deviation) of the log variance; None keeps
        noisy channels.
    """
    rows = []
    sd = np.sqrt(variance)
    for name, value in zip(names, sd, strict=True):
        if not np.isfinite(value):
            rows.append((name, "NaN", "samples that are not finite numbers"))
        elif value < FLAT:
            rows.append((name, "flat", f"standard deviation {value:.2g} uV"))
    usable = np.isfinite(sd) & (sd >= FLAT)
    if threshold is not None and usable.sum() > 2:
        logs = np.log(variance[usable])
        spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
        scores = (logs - np.median(logs)) / spread if spread > 0 else np.zeros(len(logs))
        for index, z in zip(np.flatnonzero(usable).tolist(), scores, strict=True):
            if z > threshold:
                detail = f"log variance {z:.1f} robust sd above the median"
                rows.append((names[index], "noisy", detail))
    return rows


def positions(
    path: Path | None, names: Sequence[str], region_column: str
) -> tuple[np.ndarray, list[str], str]:
    """Coordinates and regions of channels; those without an electrode get NaN and `n/a`.

    Parameters
    ----------
    path : pathlib.Path or None
        `electrodes.tsv`; the unit is read from the `coordsystem.json` beside it.
    names : sequence of str
        Channels, each the name of an electrode.
    region_column : str
        Column with the region; `n/a` for all if the table has no such column.

    Returns
    -------
    xyz : numpy.ndarray
        (channels, 3), mm.
    regions : list of str
    system : str
        Name of the coordinate system, `n/a` if unknown.
    """
    xyz = np.full((len(names), 3), np.nan)
    regions = ["n/a"] * len(names)
    if path is None:
        return xyz, regions, "n/a"
    table = read_table(path, required=("name", "x", "y", "z"))
    system, scale = _coordinate_system(path)
    for axis in ("x", "y", "z"):
        table[axis] = pd.to_numeric(table[axis], errors="coerce")
    known = table.drop_duplicates("name").set_index("name")
    for position, name in enumerate(names):
        if name in known.index:
            row = known.loc[name]
            xyz[position] = scale * row[["x", "y", "z"]].to_numpy(float)
            region = row.get(region_column)
            regions[position] = str(region) if given(region) else "n/a"
    return xyz, regions, system


def _coordinate_system(electrodes: Path) -> tuple[str, float]:
    """Name of the coordinate system and the factor to mm (NaN where they are no lengths)."""
    path = electrodes.with_name(electrodes.name.replace("_electrodes.tsv", "_coordsystem.json"))
    if not path.exists():
        _log.warning("%s: there is no %s; coordinates are taken as mm", electrodes, path.name)
        return "n/a", 1.0
    content = read_json(path)
    unit = str(content.get("iEEGCoordinateUnits", "mm"))
    # the standard has n/a for positions in a picture
    scale = np.nan if unit in ("pixels", "n/a") else _MILLIMETRES.get(unit)
    if scale is None:
        raise InputError(
            f"{path}: iEEGCoordinateUnits '{unit}' is not m, cm, mm, pixels or n/a; correct it"
        )
    return str(content.get("iEEGCoordinateSystem", "n/a")), float(scale)
