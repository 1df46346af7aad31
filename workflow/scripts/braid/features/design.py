"""Designs: features laid out in the rows of a subject's responses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import sparse

from braid.common import InputError
from braid.features.resample import boxcar_matrix, lanczos_matrix
from braid.models.registry import nearest

_DELAYS = {
    "event_locked": [0],
    "rows": [0],
    "lanczos": [1, 2, 3, 4],
    "boxcar": [1, 2, 3, 4],
}
"""Default delays of each kind, in samples."""

_COORDS = ("run", "time", "event")
_COPIED = ("runs", "subject", "kind", "repetition_time", "sampling_frequency")
_BLOCK = 2048


def build_design(
    features: Mapping[str, xr.DataArray],
    events: pd.DataFrame,
    response: xr.DataArray | xr.Dataset,
    params: Mapping[str, Any],
) -> xr.Dataset:
    """Lay the features of the units out in the rows of a subject's responses.

    Kinds: `event_locked`, a row is the unit of its event; `lanczos`, units at the middle of their
    events are resampled to the volumes' times within each run (see `lanczos_matrix`); `boxcar`, a
    volume sums the units whose event covers the middle of the volume; `rows`, each volume has its
    own unit, the one whose event begins with it.

    Parameters
    ----------
    features : mapping of str to xarray.DataArray
        Layer to (unit, feature), shallow to deep.
    events : pandas.DataFrame
        Events of the subject: `event`, `run` (label), `onset`, `duration` (s), `unit`.
    response : xarray.DataArray or Dataset
        With `sample` and the coordinates of the contract: `run`, `time`, `event`.
    params : mapping
        `analysis.design`: `kind`; optional `delays` (in samples; default 0 for event_locked and
        rows, 1 to 4 for the others), `standardize_features` (false; not for event_locked) and, for
        lanczos, `lobes` (3), `cutoff_mult` (1), `normalise` (false). With `standardize_features`
        each feature is z-scored over the rows of each run (population standard deviation; one that
        is constant in a run is zero there). These are the rows that trimming left, and delays come
        after it, as in the deep-fMRI-dataset code of LeBel, Huth et al. (2023).

    Returns
    -------
    xarray.Dataset
        `layer_00`, `layer_01`, ... float32 (sample, feature_00), ...; attributes `layers`, `delays`
        (JSON lists) and those of the responses. Delays are stated, not applied.

    Raises
    ------
    InputError
        If features and events do not line up, a unit has no features, or a value is not finite.
    """
    kind = str(params.get("kind"))
    if kind not in _DELAYS:
        raise InputError(f"design: kind '{kind}' is unknown{nearest(kind, list(_DELAYS))}")
    if not features:
        raise InputError("design: there are no features; check the model's layers")
    units = _unit_index(features)
    weights, rows = _layout(kind, events, response, params, units)
    subject = str(response.attrs.get("subject", "n/a"))
    variables = {}
    for number, (layer, values) in enumerate(features.items()):
        _check_finite(layer, values, rows, subject)
        laid = _apply(weights, values, rows)
        if params.get("standardize_features", False):
            standardize_runs(laid, response["run"].values)
        variables[f"layer_{number:02d}"] = xr.DataArray(
            laid,
            dims=("sample", f"feature_{number:02d}"),
            attrs={"layer": layer},
        )
    attrs = {name: response.attrs[name] for name in _COPIED if name in response.attrs}
    return xr.Dataset(
        variables,
        coords={
            name: ("sample", response[name].values) for name in _COORDS if name in response.coords
        },
        attrs={
            **attrs,
            "design": kind,
            "layers": json.dumps(list(features), ensure_ascii=False),
            "delays": json.dumps(check_delays(params.get("delays"), kind)),
        },
    )


def check_delays(delays: Any, kind: str) -> list[int]:
    """Delays as a list of whole numbers of samples; the kind's default where none are given."""
    if delays is None:
        return list(_DELAYS[kind])
    values = list(delays)
    if not values or any(isinstance(v, bool) or int(v) != v for v in values):
        raise InputError(f"design: delays must be whole numbers of samples, not {delays}")
    return [int(value) for value in values]


def _unit_index(features: Mapping[str, xr.DataArray]) -> pd.Index:
    """Names of the units; all layers must have the same."""
    first = next(iter(features.values()))
    units = pd.Index(first["unit"].values.astype(str))
    if not units.is_unique:
        raise InputError(f"features: unit {units[units.duplicated()][0]} has several rows")
    for layer, values in features.items():
        if values.sizes["unit"] != len(units) or (values["unit"].values != units).any():
            raise InputError(f"features: layer {layer} has other units than the first layer")
    return units


def _layout(
    kind: str,
    events: pd.DataFrame,
    response: xr.DataArray | xr.Dataset,
    params: Mapping[str, Any],
    units: pd.Index,
) -> tuple[sparse.csr_matrix | None, np.ndarray]:
    """Weights (sample, event) or None for one event per sample, and each event's unit."""
    table = _events(events, str(response.attrs.get("subject", "n/a")))
    if kind == "event_locked":
        return None, _units_of(table.iloc[_by_event(table, response)], units)
    if kind == "rows":
        return None, _units_of(table.iloc[_by_volume(table, response)], units)
    runs, labels = response["run"].values, _run_labels(response)
    pieces: list[tuple[np.ndarray, np.ndarray, sparse.csr_matrix]] = []
    for run in np.unique(runs):
        samples = np.flatnonzero(runs == run)
        chosen = np.flatnonzero((table["run"] == labels[run]).to_numpy())
        if not len(chosen):
            raise InputError(
                f"design: run {labels[run]} of subject {response.attrs.get('subject', 'n/a')} has "
                "volumes but no events; leave the run out or correct its events file"
            )
        part, times = table.iloc[chosen], response["time"].values[samples].astype(float)
        pieces.append((samples, chosen, _run_weights(kind, part, times, params)))
    return _assemble(pieces, len(runs), len(table)), _units_of(table, units, skip_unused=pieces)


def _run_weights(
    kind: str, part: pd.DataFrame, times: np.ndarray, params: Mapping[str, Any]
) -> sparse.csr_matrix:
    """Weights (volume, event) within one run."""
    onsets, durations = part["onset"].to_numpy(float), part["duration"].to_numpy(float)
    if kind == "lanczos":
        return lanczos_matrix(
            onsets + np.nan_to_num(durations) / 2,
            times,
            lobes=int(params.get("lobes", 3)),
            cutoff_mult=float(params.get("cutoff_mult", 1.0)),
            normalise=bool(params.get("normalise", False)),
        )
    empty = ~(durations > 0)
    if empty.any():
        row = part.iloc[int(np.argmax(empty))]
        raise InputError(
            f"events: event {row['event']} of run {row['run']} (onset {row['onset']:.3f} s) has no "
            "duration, which a box-car needs; use design kind lanczos or correct the events file"
        )
    return boxcar_matrix(onsets, durations, times)


def _assemble(
    pieces: list[tuple[np.ndarray, np.ndarray, sparse.csr_matrix]], n_samples: int, n_events: int
) -> sparse.csr_matrix:
    """Weights of all runs, from those of each."""
    parts = [(samples, chosen, matrix.tocoo()) for samples, chosen, matrix in pieces]
    return sparse.csr_matrix(
        (
            np.concatenate([matrix.data for _, _, matrix in parts]),
            (
                np.concatenate([samples[matrix.row] for samples, _, matrix in parts]),
                np.concatenate([chosen[matrix.col] for _, chosen, matrix in parts]),
            ),
        ),
        shape=(n_samples, n_events),
    )


def _events(events: pd.DataFrame, subject: str) -> pd.DataFrame:
    """Check the events table and its needed columns."""
    for column in ("event", "run", "onset", "duration", "unit"):
        if column not in events.columns:
            raise InputError(f"events of subject {subject}: column '{column}' is missing")
    if events["onset"].isna().any():
        row = int(np.argmax(events["onset"].isna().to_numpy()))
        raise InputError(f"events of subject {subject}: row {row + 1} has no onset")
    return events.assign(run=events["run"].astype(str), unit=events["unit"].astype(str))


def _run_labels(response: xr.DataArray | xr.Dataset) -> list[str]:
    """Labels of the runs that the coordinate `run` counts."""
    runs = response.attrs.get("runs")
    if runs is None:
        raise InputError("responses: attribute 'runs' (labels of the runs) is missing")
    return [str(label) for label in (json.loads(runs) if isinstance(runs, str) else runs)]


def _by_event(table: pd.DataFrame, response: xr.DataArray | xr.Dataset) -> np.ndarray:
    """Row of the events table for each sample of an event-locked response."""
    wanted = response["event"].values
    if not table["event"].is_unique:
        again = table["event"][table["event"].duplicated()].iloc[0]
        raise InputError(f"events: event {again} stands in several rows; numbers must be unique")
    rows = pd.Index(table["event"].astype(int)).get_indexer(pd.Index(wanted))
    if (rows < 0).any():
        raise InputError(
            f"features and events do not line up: the responses of subject "
            f"{response.attrs.get('subject', 'n/a')} hold event {wanted[np.argmax(rows < 0)]}, "
            f"which the events table ({len(table)} events) lacks; run the workflow again from "
            "the events"
        )
    return rows


def _by_volume(table: pd.DataFrame, response: xr.DataArray | xr.Dataset) -> np.ndarray:
    """Row of the events table whose event begins with each volume."""
    runs, times, labels = response["run"].values, response["time"].values, _run_labels(response)
    found = np.empty(len(runs), dtype=int)
    for run in np.unique(runs):
        samples = np.flatnonzero(runs == run)
        chosen = np.flatnonzero((table["run"] == labels[run]).to_numpy())
        chosen = chosen[np.argsort(table["onset"].to_numpy(float)[chosen], kind="stable")]
        onsets = table["onset"].to_numpy(float)[chosen]
        tr = _repetition_time(response, times[samples])
        starts = times[samples] - tr / 2
        near = np.searchsorted(onsets, starts - tr / 4)
        fits = near < len(onsets)
        fits[fits] = np.abs(onsets[near[fits]] - starts[fits]) < tr / 4
        if not fits.all():
            raise InputError(
                f"unequal numbers of features and volumes: run {labels[run]} of subject "
                f"{response.attrs.get('subject', 'n/a')} has {len(samples)} volumes and "
                f"{len(onsets)} rows of features, none for the volume at "
                f"{starts[np.argmin(fits)]:.3f} s; give one row per volume"
            )
        found[samples] = chosen[near]
    return found


def _repetition_time(response: xr.DataArray | xr.Dataset, times: np.ndarray) -> float:
    """Seconds per volume: stated by the responses, else the spacing of their times."""
    stated = response.attrs.get("repetition_time")
    if stated not in (None, ""):
        return float(stated)
    if len(times) < 2:
        raise InputError("responses: attribute 'repetition_time' is missing")
    return float(np.median(np.diff(times)))


def _units_of(
    table: pd.DataFrame,
    units: pd.Index,
    skip_unused: list[tuple[np.ndarray, np.ndarray, sparse.csr_matrix]] | None = None,
) -> np.ndarray:
    """Position of each event's unit among the features; -1 for events of runs that are not used."""
    rows = units.get_indexer(pd.Index(table["unit"]))
    used = np.ones(len(table), dtype=bool)
    if skip_unused is not None:
        used[:] = False
        used[np.concatenate([chosen for _, chosen, _ in skip_unused])] = True
    missing = (rows < 0) & used
    if missing.any():
        event = table.iloc[int(np.argmax(missing))]
        raise InputError(
            f"features: unit {event['unit']} of event {event['event']} (run {event['run']}, onset "
            f"{event['onset']:.3f} s) has no features ({len(units)} units have); run the workflow "
            "again from the units"
        )
    return np.where(used, rows, -1)


def _check_finite(layer: str, values: xr.DataArray, rows: np.ndarray, subject: str) -> None:
    """Stop where features that are used hold NaN or infinity."""
    used = np.unique(rows[rows >= 0])
    for start in range(0, len(used), _BLOCK):
        part = used[start : start + _BLOCK]
        bad = ~np.isfinite(values.values[part]).all(axis=1)
        if bad.any():
            raise InputError(
                f"features: layer {layer} of unit {values['unit'].values[part[np.argmax(bad)]]} "
                f"(subject {subject}) holds a value that is not a finite number; remove its entry "
                "from the feature store and extract it again"
            )


def _apply(weights: sparse.csr_matrix | None, values: xr.DataArray, rows: np.ndarray) -> np.ndarray:
    """Features in the rows of the responses, float32; summed in float64."""
    if weights is None:
        return np.asarray(values.values[rows], dtype=np.float32)
    used = np.flatnonzero(rows >= 0)
    matrix = weights[:, used]
    width = values.shape[1]
    result = np.empty((weights.shape[0], width), dtype=np.float32)
    for start in range(0, width, _BLOCK):
        columns = slice(start, start + _BLOCK)
        result[:, columns] = matrix @ values.values[rows[used], columns].astype(np.float64)
    return result


def standardize_runs(values: np.ndarray, runs: np.ndarray) -> None:
    """Z-score the columns of each run, in place; a column that is constant in a run is 0 there.

    Parameters
    ----------
    values : numpy.ndarray
        float32, (sample, feature).
    runs : numpy.ndarray
        Run of each sample.
    """
    for run in np.unique(runs):
        rows = runs == run
        for start in range(0, values.shape[1], _BLOCK):
            columns = slice(start, start + _BLOCK)
            block = values[rows, columns].astype(np.float64)
            largest = np.abs(block).max(axis=0)
            block -= block.mean(axis=0)
            sd = block.std(axis=0)
            # the mean of equal numbers is off by rounding, which must not be blown up
            varies = sd > 1e-7 * largest
            values[rows, columns] = np.where(varies, block / np.where(varies, sd, 1.0), 0.0)
