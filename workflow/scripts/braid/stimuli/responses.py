"""Responses: the rows that are to be predicted, cut from the clean signal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, runs_that_fit
from braid.stimuli.defaults import EVENT_LOCKED, VOLUMES
from braid.stimuli.repeats import Filters, average_repeats, repeated_rows

DROPPED_COLUMNS = {
    "event": "Number of the event in the events table",
    "run": "Run label",
    "onset": "Onset (s)",
    "reason": "Why the event is not used",
}
_BLOCK = 64  # channels whose cumulative sums are held at once
_ANCHORS = ("edges", "start", "center")
_VOLUME_KINDS = ("lanczos", "boxcar", "rows")


def responses_of(
    signal: xr.DataArray,
    events: pd.DataFrame,
    params: Mapping[str, Any],
    repeats: Filters = (),
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Cut a clean signal into the samples of a design.

    Parameters
    ----------
    signal : xarray.DataArray
        `signal(time, target)` of one subject.
    events : pandas.DataFrame
        From `events_of`, of the same subject.
    params : mapping
        `analysis.design` of the config. Kind `event_locked`: one sample per event, one target per
        channel and window, each the mean over `window` s. A bin's name is `tmin + b * step`, which
        is the start of its window (its centre with `bin_anchor: center`); a window has the same
        number of samples for all events. Kinds `lanczos`, `boxcar` and `rows`: one sample per
        volume of the runs that have events, without the first and last `trim` volumes. See
        `braid.stimuli.defaults`; keys that concern the features only are let through.
    repeats : sequence of mapping
        `analysis.repeats` of the config: filters of runs (by entity) that repeat stimuli. All
        repeats of one stimulus give one run, their mean (with `standardize` z-scored again), under
        the label of the first; so no repeat is tested by a model that was trained on another.

    Returns
    -------
    response : xarray.DataArray
        `response(sample, target)`, float32, with the coordinates of the contract in
        `workflow/README.md`.
    dropped : pandas.DataFrame
        Columns `DROPPED_COLUMNS`: events whose windows leave the run or run over a pause of the
        stimulus, that lie outside the volumes kept, or that not all repeats have.

    Raises
    ------
    InputError
        If no event or volume is left, the windows are empty, or a run that should be a repeat has
        the events of no other.
    """
    response, dropped = _single_runs(signal, events, params)
    if not repeats:
        return response, dropped
    rows = repeated_rows(response, events, repeats)
    response, dropped = average_repeats(response, dropped, events, rows)
    if params.get("standardize", False):
        for first in rows:
            own = response["run"].values == json.loads(response.attrs["runs"]).index(first)
            response.values[own] = _zscore(response.values[own])
    return response, dropped


def repeated_responses(
    signal: xr.DataArray, events: pd.DataFrame, params: Mapping[str, Any], repeats: Filters
) -> tuple[xr.DataArray, dict[str, list[np.ndarray]]]:
    """Give the responses to repeated stimuli one by one, before their mean is taken.

    Parameters
    ----------
    signal, events, params, repeats
        As for `responses_of`.

    Returns
    -------
    response : xarray.DataArray
        `response(sample, target)` of the runs that `repeats` selects.
    rows : dict of str to list of numpy.ndarray
        From `repeated_rows`.
    """
    selected = runs_that_fit(list(dict.fromkeys(events["run"])), repeats)
    # with none, all runs are named in the error
    some = events[events["run"].isin(selected)] if selected else events
    response, _ = _single_runs(signal, some, params)
    return response, repeated_rows(response, some, repeats)


def _single_runs(
    signal: xr.DataArray, events: pd.DataFrame, params: Mapping[str, Any]
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Responses of every run by itself."""
    events = events.reset_index(drop=True)
    labels = json.loads(signal.attrs["runs"])
    unknown = [run for run in dict.fromkeys(events["run"]) if run not in labels]
    if unknown:
        raise InputError(
            f"events of run {unknown[0]} but no such run in the clean signal (it has: "
            f"{', '.join(labels)}); make both from the same index"
        )
    if params["kind"] == "event_locked":
        return _event_locked(signal, events, {**EVENT_LOCKED, **params}, labels)
    if params["kind"] in _VOLUME_KINDS:
        return _volumes(signal, events, {**VOLUMES, **params}, labels)
    kinds = ("event_locked", *_VOLUME_KINDS)
    near = get_close_matches(str(params["kind"]), kinds, n=1) or kinds
    raise InputError(f"design.kind: '{params['kind']}' is unknown; did you mean {near[0]}?")


# event-locked -------------------------------------------------------------------------------------


def window_bins(params: Mapping[str, Any]) -> np.ndarray:
    """Find the names of the windows (s, relative to the onset), as `bin_anchor` says."""
    anchor = params["bin_anchor"]
    if anchor not in _ANCHORS:
        raise InputError(f"design.bin_anchor: '{anchor}' is not one of {', '.join(_ANCHORS)}")
    room = params["tmax"] - params["tmin"] - (params["window"] if anchor == "edges" else 0.0)
    if params["window"] <= 0 or params["step"] <= 0 or room < -1e-9:
        raise InputError(
            f"design: no window of {params['window']:g} s fits between tmin {params['tmin']:g} s "
            f"and tmax {params['tmax']:g} s; window and step must be above zero"
        )
    count = int(np.floor(room / params["step"] + 1e-6)) + 1
    return np.round(params["tmin"] + params["step"] * np.arange(count), 9)


def _event_locked(
    signal: xr.DataArray, events: pd.DataFrame, params: Mapping[str, Any], labels: list[str]
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Mean of each window around each event."""
    rate = float(signal.attrs["sampling_frequency"])
    bins = window_bins(params)
    offsets = bins - params["window"] / 2 if params["bin_anchor"] == "center" else bins
    width = round(params["window"] * rate)
    if width < 1:
        raise InputError(
            f"design.window: {params['window']:g} s is shorter than one sample at {rate:g} Hz"
        )
    run_of = signal["run"].to_numpy()
    code = events["run"].map({label: number for number, label in enumerate(labels)}).to_numpy(int)
    # start[e, b]: first sample of window b of event e, within its run
    start = np.round((events["onset"].to_numpy(float)[:, None] + offsets) * rate).astype(np.int64)
    lengths = np.array([np.count_nonzero(run_of == number) for number in range(len(labels))])
    inside = (start[:, 0] >= 0) & (start[:, -1] + width <= lengths[code])
    reason = np.where(inside, "a window runs over a pause", "a window leaves the run")
    opens, closes = _stretches(events, rate, lengths[code])
    inside &= (start[:, 0] >= opens) & (start[:, -1] + width <= closes)
    dropped = events.loc[~inside, ["event", "run", "onset"]].assign(reason=reason[~inside])
    dropped = dropped.reset_index(drop=True)
    if not inside.any():
        raise InputError(
            f"design: all {len(events)} events have windows that leave their run"
            f"{' or run over a pause' if 'stretch_end' in events.columns else ''}; check onsets, "
            "tmin and tmax"
        )
    kept = np.flatnonzero(inside)
    kept = kept[np.argsort(code[kept], kind="stable")]
    n_channels = signal.sizes["target"]
    values = np.empty((len(kept), n_channels, len(bins)), dtype=np.float32)
    for number in np.unique(code[kept]):
        rows = np.flatnonzero(code[kept] == number)
        first = int(np.flatnonzero(run_of == number)[0])
        block_of_run = signal.values[first : first + lengths[number]]
        window_means(block_of_run, start[kept[rows]], width, values, rows)
        if params["standardize"]:
            values[rows] = _zscore(values[rows])
    coordinates = {
        "run": ("sample", code[kept].astype(np.int32)),
        "time": ("sample", events["onset"].to_numpy(float)[kept]),
        "event": ("sample", events["event"].to_numpy(np.int32)[kept]),
        "unit": ("sample", events["unit"].to_numpy(str)[kept]),
        **_bin_targets(signal, bins),
    }
    response = xr.DataArray(
        values.reshape(len(kept), -1),
        coordinates,
        ("sample", "target"),
        name="response",
        attrs={
            **signal.attrs,
            "design": "event_locked",
            "window": float(params["window"]),
            "bin_anchor": params["bin_anchor"],
        },
    )
    return response, dropped


def _stretches(
    events: pd.DataFrame, rate: float, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First sample, and one past the last, of the stretch between pauses of each event's run."""
    if "stretch_end" not in events.columns:
        return np.zeros(len(events), dtype=np.int64), lengths
    start, end = (events[f"stretch_{side}"].to_numpy(float) for side in ("start", "end"))
    first = np.where(np.isfinite(start), np.round(np.nan_to_num(start) * rate), 0)
    last = np.where(np.isfinite(end), np.round(np.nan_to_num(end) * rate), lengths)
    return first.astype(np.int64), last.astype(np.int64)


def window_means(
    signal: np.ndarray, start: np.ndarray, width: int, values: np.ndarray, rows: np.ndarray
) -> None:
    """Write the mean of each window into `values[rows]`.

    By differences of a cumulative sum in float64, in blocks of channels: float32 sums over long
    recordings would lose the small differences between them.

    Parameters
    ----------
    signal : numpy.ndarray
        (samples, channels) of one run.
    start : numpy.ndarray
        int64, (events, windows): first sample of each window.
    width : int
        Samples of a window.
    values : numpy.ndarray
        (all events, channels, windows), is written to.
    rows : numpy.ndarray
        Positions of the events in `values`.
    """
    for begin in range(0, signal.shape[1], _BLOCK):
        block = signal[:, begin : begin + _BLOCK]
        total = np.zeros((len(block) + 1, block.shape[1]))
        np.cumsum(block, axis=0, dtype=np.float64, out=total[1:])
        for b in range(start.shape[1]):
            means = (total[start[:, b] + width] - total[start[:, b]]) / width
            values[rows, begin : begin + block.shape[1], b] = means


def _bin_targets(signal: xr.DataArray, bins: np.ndarray) -> dict[str, tuple[str, np.ndarray]]:
    """Coordinates along `target`: every channel with every bin, channel by channel."""
    names = [f"{name}@{start:+.3f}" for name in signal["target"].values for start in bins]
    found = {"target": ("target", np.array(names))}
    for name, coordinate in signal.coords.items():
        if coordinate.dims == ("target",) and name != "target":
            found[str(name)] = ("target", np.repeat(coordinate.to_numpy(), len(bins)))
    found["bin"] = ("target", np.tile(bins, signal.sizes["target"]))
    return found


# volumes ------------------------------------------------------------------------------------------


def _volumes(
    signal: xr.DataArray, events: pd.DataFrame, params: Mapping[str, Any], labels: list[str]
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Volumes of the runs that have events, and the events outside of them."""
    step = 1.0 / float(signal.attrs["sampling_frequency"])
    run_of, start_of = signal["run"].to_numpy(), signal["time"].to_numpy()
    kept = _kept_volumes(run_of, set(events["run"]), params["trim"], labels)
    rows = np.concatenate(list(kept.values()))
    values = signal.values[rows].astype(np.float32)
    if params["standardize"]:
        for number in np.unique(run_of[rows]):
            values[run_of[rows] == number] = _zscore(values[run_of[rows] == number])
    targets = {
        str(name): ("target", coordinate.to_numpy())
        for name, coordinate in signal.coords.items()
        if coordinate.dims == ("target",)
    }
    coordinates = {
        "run": ("sample", run_of[rows].astype(np.int32)),
        "time": ("sample", start_of[rows] + step / 2),
        "event": ("sample", np.full(len(rows), -1, dtype=np.int32)),
        **targets,
    }
    response = xr.DataArray(
        values,
        coordinates,
        ("sample", "target"),
        name="response",
        attrs={**signal.attrs, "design": params["kind"]},
    )
    clock = {label: (start_of[own[0]], start_of[own[-1]] + step) for label, own in kept.items()}
    return response, _outside(events, clock)


def _kept_volumes(
    run_of: np.ndarray, present: set[str], trim: Sequence[int], labels: list[str]
) -> dict[str, np.ndarray]:
    """Rows of the signal that are left of each run with events after trimming."""
    head, tail = trim
    kept = {}
    for number, label in enumerate(labels):
        rows = np.flatnonzero(run_of == number)
        if label not in present:
            continue
        if head + tail >= len(rows):
            raise InputError(
                f"design.trim: [{head}, {tail}] leaves nothing of the {len(rows)} volumes of run "
                f"{label}; lower it"
            )
        kept[label] = rows[head : len(rows) - tail]
    if not kept:
        raise InputError("design: no run of the clean signal has an event; check `tasks`")
    return kept


def _outside(events: pd.DataFrame, clock: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Events that end before their run's volumes begin, or begin after their end."""
    first, last = np.array([clock[run] for run in events["run"]]).T
    end = events["onset"] + events["duration"].fillna(0.0)
    # an event at a volume's start belongs to that volume
    outside = (end <= first - 1e-9) | (events["onset"] >= last)
    dropped = events.loc[outside, ["event", "run", "onset"]].reset_index(drop=True)
    return dropped.assign(reason="outside the volumes kept")


def _zscore(values: np.ndarray) -> np.ndarray:
    """Z-score over the first axis (population standard deviation); constant ones become zero."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    sd = np.sqrt(np.mean(centred**2, axis=0))
    return (centred / np.where(sd > 0, sd, 1.0)).astype(np.float32)
