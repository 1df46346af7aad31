"""What a component means: the units of stimulus at its two ends."""

from __future__ import annotations

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
    loading: xr.DataArray, features: xr.DataArray, units: pd.DataFrame, n: int = 8
) -> pd.DataFrame:
    """Units with the largest and the smallest projections on each component.

    Parameters
    ----------
    loading : xarray.DataArray, (feature, component)
        Of `weight_components`.
    features : xarray.DataArray, (unit, feature)
        Of the same layer; standardised here over the units.
    units : pandas.DataFrame
        The units table.
    n : int
        Units of each end; half of the units at most.

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
    mean, sd = spread_of(features)
    projection = _standardised(features, mean, sd) @ loading.transpose(
        "feature", "component"
    ).values.astype(np.float64)
    rows = []
    for column, component in enumerate(loading["component"].values):
        order = np.argsort(-projection[:, column], kind="stable")
        count = min(n, len(order) // 2)
        for end, chosen in (("top", order[:count]), ("bottom", order[::-1][:count])):
            for rank, unit in enumerate(chosen, start=1):
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
