"""Units that are rows of a feature file, one per volume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids import check_fetched, fill_pattern
from braid.common import InputError
from braid.stimuli.arrays import open_array, split_dataset
from braid.stimuli.sources import Sources


def rows_of_run(
    row: pd.Series, root: Path, sources: Sources, params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One unit per volume of a run: row t of the feature file belongs to volume t.

    Parameters
    ----------
    row : pandas.Series
        Row of the index.
    root : pathlib.Path
        Root of the data set.
    sources : Sources
    params : mapping
        `features`: path pattern of an array (rows, features) within the root, with the placeholders
        of `fill_pattern`: a `.npy` file, or an HDF5 or Zarr store with the name of the data set in
        it (`stimuli/features.h5::{task}`, see `open_array`).

    Returns
    -------
    list of dict

    Raises
    ------
    InputError
        If the file is missing or not such an array, or its rows are not as many as the volumes.
    """
    if not params["features"]:
        raise InputError("units.features: kind rows needs the path pattern of the feature files")
    name = fill_pattern(params["features"], row["run"], row["subject"], "units.features")
    file, _ = split_dataset(name)
    path = root / file
    check_fetched(path)
    if not path.exists():
        raise InputError(f"{path}: no such feature file; correct `units.features` in the config")
    shape = tuple(open_array(root / name).shape)
    n_volumes = int(row["n_samples"])
    if shape[0] != n_volumes:
        raise InputError(
            f"{root / name}: unequal numbers of features and events: {shape[0]} rows of "
            f"features (shape {shape}) but {n_volumes} volumes in {root / row['path']}; cut both "
            "to the same stretch of the stimulus"
        )
    step = 1.0 / float(row["sampling_frequency"])
    digest = sources.file(str(file)).sha256
    return [
        {
            "onset": number * step,
            "duration": step,
            "stimulus": name,
            "sha256": digest,
            "stimulus_time": number * step,
            "frame_time": np.nan,
            "text": "",
            "target_start": 0,
            "target_end": 0,
            "word": "n/a",
            "row": number,
        }
        for number in range(n_volumes)
    ]
