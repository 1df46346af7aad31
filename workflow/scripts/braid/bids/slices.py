"""When the slices of a volume were acquired, against the time at which braid places the volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from braid.common import InputError


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
