"""Runs that repeat one stimulus: which they are, and their mean."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, runs_that_fit

JITTER = 0.02  # s, by which the events of one stimulus may differ between its repeats
Filters = Sequence[Mapping[str, Any]]


def repeated_rows(
    response: xr.DataArray, events: pd.DataFrame, filters: Filters
) -> dict[str, list[np.ndarray]]:
    """Find the rows of responses in which the same happened again.

    Runs are repeats of each other if they have the same events: as many, of the same units, at the
    same times. Where they differ in length, or events of one were dropped, the rows are those that
    all of them have.

    Parameters
    ----------
    response : xarray.DataArray
        `response(sample, target)`, of single runs.
    events : pandas.DataFrame
        From `events_of`, of the same subject.
    filters : sequence of mapping
        `analysis.repeats` of the config; see `braid.common.runs_that_fit`.

    Returns
    -------
    dict of str to list of numpy.ndarray
        By the label of its first run, each stimulus: for each repeat its rows, equally many.

    Raises
    ------
    InputError
        If no run is selected, one has the events of no other, or less than two rows are common.
    """
    labels = json.loads(response.attrs["runs"])
    there = [labels[number] for number in dict.fromkeys(response["run"].values.tolist())]
    selected = runs_that_fit(there, filters)
    if not selected:
        raise InputError(
            f"repeats: no run fits {[dict(one) for one in filters]}; the runs are "
            f"{', '.join(there)}"
        )
    rows = {}
    for group in _groups(events, selected):
        numbers = [labels.index(label) for label in group]
        found = [np.flatnonzero(response["run"].values == number) for number in numbers]
        rows[group[0]] = _common(response, events, group, found)
    return rows


def average_repeats(
    response: xr.DataArray,
    dropped: pd.DataFrame,
    events: pd.DataFrame,
    rows: Mapping[str, list[np.ndarray]],
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Put one run, the mean, in the place of all repeats of a stimulus.

    Parameters
    ----------
    response, dropped, events
        Of `responses_of`, with the events that it had.
    rows : mapping
        From `repeated_rows`.

    Returns
    -------
    response : xarray.DataArray
        With the mean under the label of the first repeat, on its clock, and without the others;
        attribute `repeats` (JSON: that label and those of all repeats).
    dropped : pandas.DataFrame
        Without the events of the others, and with those of the first that not all repeats have.
    """
    labels = json.loads(response.attrs["runs"])
    run_of = response["run"].values
    names = {first: [labels[run_of[own[0]]] for own in found] for first, found in rows.items()}
    first_of = {label: first for first, all_of in names.items() for label in all_of}
    kept = []
    for number in dict.fromkeys(run_of.tolist()):
        first = first_of.get(labels[number], labels[number])
        if first == labels[number]:
            kept.append(rows[first][0] if first in rows else np.flatnonzero(run_of == number))
    averaged = response.isel(sample=np.concatenate(kept))  # a copy, which may be written to
    for first, found in rows.items():
        mean = np.zeros((len(found[0]), response.sizes["target"]))
        for own in found:
            mean += response.values[own]
        averaged.values[averaged["run"].values == labels.index(first)] = mean / len(found)
    averaged.attrs["repeats"] = json.dumps(names)
    others = set(first_of) - set(rows)
    lost = [_lost(response, averaged, events, labels.index(first), first) for first in rows]
    dropped = pd.concat([dropped[~dropped["run"].isin(others)], *lost], ignore_index=True)
    return averaged, dropped


def _groups(events: pd.DataFrame, selected: list[str]) -> list[list[str]]:
    """Put runs with the same events together, in order."""
    tables = {label: events[events["run"] == label] for label in selected}
    groups: list[list[str]] = []
    for label in selected:
        like = [group for group in groups if not _difference(tables[label], tables[group[0]])]
        if like:
            like[0].append(label)
        else:
            groups.append([label])
    for group in groups:
        if len(group) == 1:
            label, others = group[0], [other for other in selected if other != group[0]]
            why = (
                f"from {others[0]} it differs: {_difference(tables[label], tables[others[0]])}"
                if others
                else "it is the only one selected"
            )
            raise InputError(
                f"repeats: run {label} has the events of no other selected run ({why}); select "
                "the runs of repeated stimuli only"
            )
    return groups


def _difference(one: pd.DataFrame, other: pd.DataFrame) -> str:
    """Say how two runs' events differ, "" if they do not."""
    if len(one) != len(other):
        return f"{len(one)} events, not {len(other)}"
    if (one["unit"].to_numpy() != other["unit"].to_numpy()).any():
        return "other units"
    for column in ("onset", "duration"):
        a, b = (table[column].to_numpy(dtype=float) for table in (one, other))
        apart = float(np.max(np.abs(np.nan_to_num(a) - np.nan_to_num(b)), initial=0.0))
        if apart > JITTER:
            return f"{column}s up to {apart:.3g} s apart"
    return ""


def _common(
    response: xr.DataArray, events: pd.DataFrame, group: list[str], rows: list[np.ndarray]
) -> list[np.ndarray]:
    """Keep the rows that all repeats have."""
    if (response["event"].values[rows[0]] < 0).all():
        shortest = min(map(len, rows))
        found = [own[:shortest] for own in rows]  # volumes, counted from the first
    else:
        firsts = [int(events.loc[events["run"] == label, "event"].min()) for label in group]
        # places of the events within their run
        places = [
            response["event"].values[own] - first for own, first in zip(rows, firsts, strict=True)
        ]
        both = places[0]
        for more in places[1:]:
            both = both[np.isin(both, more)]
        found = [own[np.isin(place, both)] for own, place in zip(rows, places, strict=True)]
    if len(found[0]) < 2:
        raise InputError(
            f"repeats: the repeats of run {group[0]} have {len(found[0])} rows in common; check "
            "their lengths, or leave the runs out"
        )
    return found


def _lost(
    response: xr.DataArray, averaged: xr.DataArray, events: pd.DataFrame, number: int, label: str
) -> pd.DataFrame:
    """Events of a first repeat that its mean lacks, though that repeat by itself had them."""
    before, after = (
        array.isel(sample=np.flatnonzero(array["run"].values == number))
        for array in (response, averaged)
    )
    own = events[events["run"] == label]
    if (after["event"].values < 0).all():
        step = 1.0 / float(response.attrs["sampling_frequency"])
        ends = [float(array["time"].values[-1]) + step / 2 for array in (before, after)]
        gone = (own["onset"] >= ends[1]) & (own["onset"] < ends[0])
    else:
        gone = own["event"].isin(before["event"].values) & ~own["event"].isin(after["event"].values)
    return own.loc[gone, ["event", "run", "onset"]].assign(reason="not in every repeat")
