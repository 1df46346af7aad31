"""Preprocessing of ready time series of parcels or voxels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError, progress, read_table
from braid.preprocess.cleaned import (
    Cleaned,
    assemble,
    excluded_table,
    note_unusable,
    quality_table,
)
from braid.preprocess.defaults import PARCELS, choice, with_defaults
from braid.preprocess.paths import of_kind, resolve
from braid.preprocess.regression import clean_run, left_without_variance, zscore

_DIGITS = {"parcel": 3, "voxel": 6}
"""What a column may be called, and digits of its number."""
_BLOCK = 1 << 26  # bytes of float64 that are cleaned at once


def preprocess_parcels(index: pd.DataFrame, root: str | Path, params: Mapping[str, Any]) -> Cleaned:
    """Clean the parcel time series of one subject.

    Beside the result there are two copies of it in float32 at most; what is computed in float64 is
    done some columns at a time.

    Parameters
    ----------
    index : pandas.DataFrame
        Rows of `index_dataset` of one subject; arrays of volumes x parcels, `.npy` or `.tsv`.
    root : path-like
        Root of the data set.
    params : mapping
        `dataset.preprocess` of the config; see `braid.preprocess.defaults.PARCELS`.

    Returns
    -------
    Cleaned
        Targets `parcel-000`, `parcel-001`, ... (or `voxel-000000`, ...) by column from 0, whatever
        their labels, in z-scores per run or with zero mean. A parcel that is NaN or flat in one run
        is left out in all. Quality: per run the numbers of volumes and of parcels left out.

    Raises
    ------
    InputError
        If runs differ in their number of parcels, the labels do not fit, or nothing is left, of
        one run or of all.
    """
    index, root = of_kind(index, "parcels"), Path(root)
    params = with_defaults(params, PARCELS)
    choice(params, "detrend", ("none", "linear", "quadratic"))
    kind = choice(params, "columns", tuple(_DIGITS))
    counts = sorted(set(index["n_targets"].astype(int)))
    if len(counts) > 1:
        raise InputError(
            f"{root / index['path'].iloc[0]}: the runs of this subject have different numbers of "
            f"parcels ({', '.join(map(str, counts))}); use one parcellation"
        )
    unusable: dict[int, tuple[str, str]] = {}
    runs: dict[str, np.ndarray] = {}
    quality: list[tuple[str, str, float, str]] = []
    for _, row in progress(list(index.iterrows()), "preprocessing parcels"):
        label, before = str(row["run"]), len(unusable)
        runs[label] = _process_run(root, row, params, unusable)
        quality.append((label, "volumes", float(len(runs[label])), "volumes"))
        quality.append((label, "parcels left out", float(len(unusable) - before), "parcels"))
    kept = np.array([i for i in range(counts[0]) if i not in unusable], dtype=int)
    if not kept.size:
        raise InputError(f"{root / index['path'].iloc[0]}: every parcel is flat or NaN")
    if len(kept) < counts[0]:
        for label in runs:  # one by one, so that only one is there twice
            runs[label] = runs[label][:, kept]
    names = np.array([f"{kind}-{i:0{_DIGITS[kind]}d}" for i in range(counts[0])])
    targets = {"target": names, "site": names, **_labels(index.iloc[0], root, counts[0], params)}
    tr = float(index["repetition_time"].iloc[0])
    signal = assemble(
        runs,
        1.0 / tr,
        {name: values[kept] for name, values in targets.items()},
        {
            "kind": "parcels",
            "subject": str(index["subject"].iloc[0]),
            "repetition_time": tr,
            "units": "z" if params["standardize"] else "arbitrary",
        },
    )
    excluded = [(str(names[i]), *why) for i, why in sorted(unusable.items())]
    return Cleaned(signal, excluded_table(excluded), quality_table(quality))


def _process_run(
    root: Path,
    row: pd.Series,
    params: Mapping[str, Any],
    unusable: dict[int, tuple[str, str]],
) -> np.ndarray:
    """Clean one run: (volumes, parcels), float32; adds to `unusable` what cannot be used."""
    path, label = root / row["path"], str(row["run"])
    series = _read(path)
    found: dict[int, tuple[str, str]] = {}
    result = np.empty(series.shape, dtype=np.float32)
    width = max(1, _BLOCK // (8 * len(series)))
    for start in range(0, series.shape[1], width):
        columns = slice(start, start + width)
        block = np.asarray(series[:, columns], dtype=np.float64)
        own: dict[int, tuple[str, str]] = {}
        note_unusable(block, label, own)
        filled = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        tr = float(row["repetition_time"])
        cleaned = clean_run(filled, tr, params["detrend"], params["high_pass"], name=str(path))
        for i in np.flatnonzero(left_without_variance(filled, cleaned)):
            own.setdefault(int(i), ("nuisance only", f"nothing but a trend in {label}"))
        result[:, columns] = zscore(cleaned) if params["standardize"] else cleaned
        found |= {start + number: why for number, why in own.items()}
    if len(found) == series.shape[1]:
        raise InputError(
            f"{path}: every parcel is flat or NaN in this run; copy the file again, or leave the "
            "run out through `runs` or `acquisitions` of the dataset"
        )
    for number, why in found.items():
        unusable.setdefault(number, why)
    return result


def _read(path: Path) -> np.ndarray:
    """Read volumes x parcels; `.npy` is mapped into memory, not read."""
    if path.suffix == ".npy":
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    table = read_table(path).apply(pd.to_numeric, errors="coerce")
    return table.to_numpy(np.float64)


def _labels(
    row: pd.Series, root: Path, n_parcels: int, params: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Regions and coordinates of the parcels, `n/a` and NaN where unknown; indices if known."""
    table = pd.DataFrame(index=range(n_parcels))
    if params["labels"]:
        path = resolve(params["labels"], root, row, "labels")
        table = read_table(path)
        if len(table) != n_parcels:
            raise InputError(
                f"{path}: {len(table)} rows for {n_parcels} parcels; there must be one row per "
                "parcel, in the order of the columns"
            )
    column = next((one for one in ("region", "name") if one in table.columns), None)
    regions = table[column].fillna("n/a").astype(str) if column else ["n/a"] * n_parcels
    places = {
        axis: pd.to_numeric(table[axis], errors="coerce").to_numpy(float)
        if axis in table.columns
        else np.full(n_parcels, np.nan)
        for axis in "xyz"
    }
    indices = {
        axis: table[axis].to_numpy(np.int32)
        for axis in "ijk"
        if axis in table.columns and pd.api.types.is_integer_dtype(table[axis])
    }
    return {"region": np.array(list(regions)), **indices, **places}
