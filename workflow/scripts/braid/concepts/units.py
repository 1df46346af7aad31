"""What a component means: the units of stimulus at its two ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError
from braid.concepts.pca import signed

UNITS_COLUMNS = {
    "component": "Number of the component",
    "end": "top (largest projections) or bottom (smallest)",
    "rank": "1 is the most extreme unit of this end",
    "unit": "Unit of the analysis",
    "stimulus": "Its stimulus, relative to the BIDS root",
    "time": "Its time within the stimulus, s",
    "text": "What a language network reads",
    "projection": "Projection of the unit's standardised features on the component",
}


APART = 4.0
"""Seconds by which two units of one stimulus must differ to stand at the same end both."""


def spread_of(features: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature over the units; 0 where it does not vary.

    Parameters
    ----------
    features : xarray.DataArray, (unit, feature)

    Returns
    -------
    mean, sd : numpy.ndarray of float64, (features,)
    """
    values = features.transpose("unit", ...).values
    mean = values.mean(axis=0, dtype=np.float64)
    sd = values.std(axis=0, dtype=np.float64)
    return mean, np.where(sd > 1e-6 * np.abs(mean), sd, 0.0)


def feature_components(features: xr.DataArray, n: int) -> np.ndarray:
    """First principal components of the features themselves, standardised over the units.

    What the stimuli vary in, whether or not a brain follows it; weights per standard deviation of
    the feature stand in the same coordinates.

    Parameters
    ----------
    features : xarray.DataArray, (unit, feature)
    n : int

    Returns
    -------
    numpy.ndarray of float64, (components, features)
        Of length 1, largest variance first; no more than dimensions in which the features vary.
    """
    mean, sd = spread_of(features)
    standardised = _standardised(features, mean, sd)
    # features are fewer than units, as a rule: their covariance is the smaller matrix
    values, vectors = np.linalg.eigh(standardised.T @ standardised)
    used = int(np.count_nonzero(values > 1e-9 * max(float(values[-1]), 1e-300)))
    return signed(vectors[:, ::-1].T[: min(n, used)])


def _standardised(features: xr.DataArray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Features minus their mean over their standard deviation, (units, features); else 0."""
    values = features.transpose("unit", ...).values
    return np.divide(values - mean, sd, out=np.zeros(values.shape), where=sd > 0)


def scale_of(features: xr.DataArray, standardized: bool = False) -> np.ndarray:
    """Give the standard deviation of each feature in the units of the design, 0 if it is constant.

    A design whose features were z-scored counts in standard deviations already.

    Parameters
    ----------
    features : xarray.DataArray, (unit, feature)
    standardized : bool
        Whether the design's features were z-scored (`design.standardize_features`).

    Returns
    -------
    numpy.ndarray of float64, (features,)
    """
    sd = spread_of(features)[1]
    return np.where(sd > 0, 1.0, 0.0) if standardized else sd


def extreme_units(
    loading: xr.DataArray,
    features: xr.DataArray,
    units: pd.DataFrame,
    n: int = 8,
    sd: np.ndarray | None = None,
) -> pd.DataFrame:
    """Units with the largest and the smallest projections on each component.

    Of moments of one stimulus less than `APART` s apart the most extreme one is taken.

    Parameters
    ----------
    loading : xarray.DataArray, (feature, component)
        Of `weight_components`.
    features : xarray.DataArray, (unit, feature)
        Of the same layer; standardised here over the units.
    units : pandas.DataFrame
        The units table.
    n : int
        Units of each end; from half of the units at most.
    sd : array, (features,), optional
        Standard deviations to count in; those over the units if None.

    Returns
    -------
    pandas.DataFrame
        Columns of `UNITS_COLUMNS`.

    Raises
    ------
    InputError
        If a unit with features is not in the table.
    """
    names = features["unit"].values.astype(str)
    table = units.assign(unit=units["unit"].astype(str)).set_index("unit")
    unknown = [name for name in names if name not in table.index]
    if unknown:
        raise InputError(
            f"units: unit {unknown[0]} has features but stands in no row of the units table; run "
            "the workflow again from the units"
        )
    mean, own = spread_of(features)
    projection = _standardised(features, mean, own if sd is None else sd) @ loading.transpose(
        "feature", "component"
    ).values.astype(np.float64)
    rows = []
    placed = table.loc[names]
    for column, component in enumerate(loading["component"].values):
        order = np.argsort(-projection[:, column], kind="stable")
        half = len(order) // 2
        for end, first in (("top", order[:half]), ("bottom", order[::-1][:half])):
            for rank, unit in enumerate(_apart(first, placed, n), start=1):
                row = table.loc[names[unit]]
                rows.append(
                    {
                        "component": int(component),
                        "end": end,
                        "rank": rank,
                        "unit": names[unit],
                        "stimulus": row.get("stimulus"),
                        "time": row.get("stimulus_time"),
                        "text": row.get("text"),
                        "projection": projection[unit, column],
                    }
                )
    return pd.DataFrame(rows, columns=list(UNITS_COLUMNS))


def other_units(
    loading: xr.DataArray,
    own: xr.DataArray,
    other: xr.DataArray,
    to: np.ndarray,
    units: pd.DataFrame,
    standardized: tuple[bool, bool] = (False, False),
    n: int = 8,
) -> pd.DataFrame:
    """Units of the other model's stimuli at the ends of this model's components.

    Their features are taken into this model's by the alignment and projected like its own: the
    pictures that a component of language stands for, or the words of one of vision.

    Parameters
    ----------
    loading : xarray.DataArray, (feature, component)
    own, other : xarray.DataArray, (unit, feature)
        Features of this model and of the other.
    to : array, (features of the other, own features)
        Map between them, in the units of the designs.
    units : pandas.DataFrame
        The other's units table.
    standardized : tuple of bool
        Whether the designs' features, own and other, were z-scored.
    n : int
        Units of each end.

    Returns
    -------
    pandas.DataFrame
        Columns of `UNITS_COLUMNS`.
    """
    mean, sd = spread_of(other)
    unit = sd if standardized[1] else np.where(sd > 0, 1.0, 0.0)
    moved = xr.DataArray(
        _standardised(other, mean, unit) @ to, {"unit": other["unit"].values}, ("unit", "feature")
    )
    return extreme_units(loading, moved, units, n, scale_of(own, standardized[0]))


def units_of_both(
    loading: xr.DataArray,
    features: Sequence[xr.DataArray],
    units: Sequence[pd.DataFrame],
    maps: Sequence[np.ndarray],
    standardized: Sequence[bool],
    number: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Units of both models' stimuli at the ends of the components of one.

    Parameters
    ----------
    loading : xarray.DataArray, (feature, component)
        Of the model `number`.
    features, units, standardized : sequence of two
        Of both models, as for `other_units`.
    maps : sequence of array
        From the first's features to the second's, and back.
    number : int
        0 or 1.

    Returns
    -------
    own, others : pandas.DataFrame
        Columns of `UNITS_COLUMNS`.
    """
    other = 1 - number
    theirs = other_units(
        loading,
        features[number],
        features[other],
        maps[other],
        units[other],
        (standardized[number], standardized[other]),
    )
    return extreme_units(loading, features[number], units[number]), theirs


def _apart(order: np.ndarray, units: pd.DataFrame, n: int) -> list[int]:
    """Take the first units of an order that are not moments of the same scene."""
    stimuli = units["stimulus"].astype(str).to_numpy() if "stimulus" in units else None
    times = np.full(len(units), np.nan)
    if "stimulus_time" in units:
        times = pd.to_numeric(units["stimulus_time"], errors="coerce").to_numpy(float)
    chosen: list[int] = []
    for unit in order:
        near = (
            (stimuli is None or stimuli[unit] == stimuli[other])
            and abs(times[unit] - times[other]) < APART
            for other in chosen
        )
        if not any(near):
            chosen.append(int(unit))
        if len(chosen) == n:
            break
    return chosen
