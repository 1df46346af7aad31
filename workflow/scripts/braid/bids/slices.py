"""When the slices of a volume were acquired, against the time at which braid places the volume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braid.bids.files import entities_of, metadata_of
from braid.common import InputError


def recorded_shift(root: Path, path: str, repetition_time: float) -> tuple[float, float]:
    """Find the shift and the spread of `slice_shift` from the sidecars of a BOLD recording.

    Parameters
    ----------
    root : pathlib.Path
        Root of the raw data set.
    path : str
        Image below it; of a derivative, whose own sidecars count over those of the raw recording.
    repetition_time : float
        s.
    """
    parts, entities = Path(path).parts, entities_of(path)
    subject = next((at for at, part in enumerate(parts) if part.startswith("sub-")), 0)
    base = root.joinpath(*parts[:subject])
    metadata = metadata_of(root, entities, "func", "bold")
    if base != root:
        metadata |= metadata_of(base, entities, "func", "bold")
    return slice_shift(metadata, repetition_time, str(root / path))


def slice_shift(
    metadata: Mapping[str, Any], repetition_time: float, name: str = "recording"
) -> tuple[float, float]:
    """Find how far a volume's data are from its middle, at which responses are placed.

    Parameters
    ----------
    metadata : mapping
        Merged sidecars of a recording (`metadata_of`). Raw data have `SliceTiming` (s from the
        start of the volume, when each slice starts); data corrected for it have
        `SliceTimingCorrected` and `StartTime`, the time in the volume to which all slices were
        brought, as fMRIPrep writes them.
    repetition_time : float
        s.
    name : str
        Recording, for error messages.

    Returns
    -------
    shift : float
        s by which the data are later than the middle of the volume, mean over slices; NaN where
        the sidecars do not tell. Of slices spread evenly over the volume, and of data brought to
        its middle, it is 0.
    spread : float
        s from the first slice to the last; 0 after correction, NaN where the sidecars do not tell.

    Raises
    ------
    InputError
        If a time is no number or lies outside the volume.
    """
    middle = repetition_time / 2
    if metadata.get("SliceTimingCorrected") is True:
        start = metadata.get("StartTime")
        if start is None:
            return float("nan"), 0.0
        return float(_times([start], "StartTime", repetition_time, name)[0] - middle), 0.0
    if not metadata.get("SliceTiming"):
        return float("nan"), float("nan")
    times = _times(metadata["SliceTiming"], "SliceTiming", repetition_time, name)
    shots = np.unique(np.round(times, 4))  # slices of one shot have the same time
    lasting = np.median(np.diff(shots)) if len(shots) > 1 else repetition_time
    return float(times.mean() + lasting / 2 - middle), float(np.ptp(times))


def _times(values: Any, key: str, repetition_time: float, name: str) -> np.ndarray:
    """Check times within a volume, s."""
    try:
        times = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        times = np.array([np.nan])
    if times.ndim != 1 or not ((times >= 0) & (times <= repetition_time)).all():
        raise InputError(
            f"{name}: {key} must hold times from 0 to {repetition_time:g} s (its RepetitionTime); "
            "BIDS counts seconds, not milliseconds: correct the sidecar"
        )
    return times
