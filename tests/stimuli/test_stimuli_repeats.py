"""Runs that repeat a stimulus: found by their events, and averaged into one."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from braid.common import InputError
from braid.stimuli import repeated_responses, responses_of

TR = 2.0
VOLUMES = {"kind": "lanczos", "trim": [1, 0], "standardize": True}
LOCKED = {"kind": "event_locked", "tmin": 0.0, "tmax": 0.4, "window": 0.2, "step": 0.2}
REPEATS = [{"run": ["2", "3", "4"]}]


def film(signal, lengths=(30, 30, 32, 30)):
    """Give a signal of four runs, of which the last three repeat one film."""
    array = signal(list(lengths), 1 / TR)
    return array.assign_attrs(kind="bold", repetition_time=TR)


def events_of_runs(n=4, shift=0.0, times=(4.0, 11.0, 30.0)):
    rows = []
    for run in range(1, n + 1):
        for number, time in enumerate(times):
            onset = time + (run == 1) + shift * (run == n)
            rows.append((f"task-film_run-{run}", onset, 3.0, f"u{number}"))
    table = pd.DataFrame(rows, columns=["run", "onset", "duration", "unit"])
    return table.assign(event=range(len(table)))


def run_of(response, label):
    number = json.loads(response.attrs["runs"]).index(label)
    return response.isel(sample=np.flatnonzero(response["run"].values == number))


def z(values):
    return (values - values.mean(axis=0)) / values.std(axis=0)


def test_repeats_become_their_mean_under_the_first_label(signal):
    array, events = film(signal), events_of_runs()
    single, _ = responses_of(array, events, VOLUMES)
    response, dropped = responses_of(array, events, VOLUMES, REPEATS)
    assert sorted(set(response["run"].values)) == [0, 1]
    parts = [run_of(single, f"task-film_run-{n}").values[:29] for n in (2, 3, 4)]
    mean = run_of(response, "task-film_run-2")
    np.testing.assert_allclose(mean.values, z(np.mean(parts, axis=0)), atol=1e-5)
    np.testing.assert_array_equal(mean["time"], run_of(single, "task-film_run-2")["time"])
    # the other run is untouched, and so is the contract
    np.testing.assert_array_equal(
        run_of(response, "task-film_run-1"), run_of(single, "task-film_run-1")
    )
    assert response.dtype == np.float32 and dropped.empty
    assert json.loads(response.attrs["repeats"]) == {
        "task-film_run-2": [f"task-film_run-{n}" for n in (2, 3, 4)]
    }


def test_without_standardize_the_mean_is_left_as_it_is(signal):
    array, events = film(signal), events_of_runs()
    params = {**VOLUMES, "standardize": False}
    single, _ = responses_of(array, events, params)
    response, _ = responses_of(array, events, params, REPEATS)
    parts = [run_of(single, f"task-film_run-{n}").values[:29] for n in (2, 3, 4)]
    np.testing.assert_allclose(
        run_of(response, "task-film_run-2").values, np.mean(parts, axis=0), atol=1e-6
    )


def test_repeats_one_by_one_are_those_that_the_mean_is_of(signal):
    array, events = film(signal), events_of_runs()
    response, rows = repeated_responses(array, events, VOLUMES, REPEATS)
    assert list(rows) == ["task-film_run-2"]
    stacked = np.stack([response.values[own] for own in rows["task-film_run-2"]])
    assert stacked.shape == (3, 29, 3)
    averaged, _ = responses_of(array, events, VOLUMES, REPEATS)
    np.testing.assert_allclose(
        run_of(averaged, "task-film_run-2").values, z(stacked.mean(axis=0)), atol=1e-5
    )


def test_two_stimuli_make_two_runs(signal):
    array, events = film(signal), events_of_runs()
    later = events["run"].isin(["task-film_run-3", "task-film_run-4"])
    events.loc[later, "unit"] = "other " + events["unit"]
    events.loc[~later, "onset"] = np.tile([4.0, 11.0, 30.0], 2)
    response, _ = responses_of(array, events, VOLUMES, [{"task": "film"}])
    assert json.loads(response.attrs["repeats"]) == {
        "task-film_run-1": ["task-film_run-1", "task-film_run-2"],
        "task-film_run-3": ["task-film_run-3", "task-film_run-4"],
    }


def test_events_that_not_all_repeats_have_are_dropped(signal):
    rate = 100.0
    array = signal([3000, 1160], rate)
    times = (1.0, 4.0, 11.0, 11.3)
    events = events_of_runs(2, times=times)
    events.loc[events["run"] == "task-film_run-1", "onset"] -= 1
    response, dropped = responses_of(array, events, LOCKED, [{"task": "film"}])
    # the last event of the second run has a window beyond its end
    assert response["event"].values.tolist() == [0, 1, 2]
    assert dropped.to_dict("records") == [
        {"event": 3, "run": "task-film_run-1", "onset": 11.3, "reason": "not in every repeat"}
    ]
    single, _ = responses_of(array, events, LOCKED)
    both = [run_of(single, f"task-film_run-{n}").values[:3] for n in (1, 2)]
    np.testing.assert_allclose(response.values, np.mean(both, axis=0), atol=1e-6)


def test_volumes_that_a_shorter_repeat_lacks_take_their_events_with_them(signal):
    array, events = film(signal, (30, 30, 16, 30)), events_of_runs(times=(4.0, 11.0, 31.5, 36.0))
    response, dropped = responses_of(array, events, VOLUMES, REPEATS)
    assert run_of(response, "task-film_run-2").sizes["sample"] == 15
    assert dropped[["event", "reason"]].to_numpy().tolist() == [[7, "not in every repeat"]]


@pytest.mark.parametrize(
    ("change", "filters", "message"),
    [
        ({"shift": 0.1}, REPEATS, r"run-4 has the events of no other .* onsets up to 0\.1 s apart"),
        ({}, [{"run": "1"}, *REPEATS], "run-1 has the events of no other selected run"),
        ({}, [{"run": "2"}], "it is the only one selected"),
        ({}, [{"acquisition": "test"}], "no run fits .* the runs are task-film_run-1, "),
    ],
)
def test_runs_that_repeat_nothing_are_refused(signal, change, filters, message):
    array, events = film(signal), events_of_runs(**change)
    with pytest.raises(InputError, match=message):
        responses_of(array, events, VOLUMES, filters)
    with pytest.raises(InputError, match=message):
        repeated_responses(array, events, VOLUMES, filters)


def test_other_units_are_another_stimulus(signal):
    array, events = film(signal), events_of_runs()
    events.loc[events.index[-1], "unit"] = "else"
    with pytest.raises(InputError, match=r"run-4 .* differs: other units"):
        responses_of(array, events, VOLUMES, REPEATS)
