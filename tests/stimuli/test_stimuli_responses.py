"""Responses: windows around events, and volumes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from braid.common import InputError, read_array, write_array
from braid.stimuli import responses_of
from braid.stimuli.defaults import EVENT_LOCKED
from braid.stimuli.responses import window_bins, window_means

LOCKED = {"kind": "event_locked", "tmin": -0.5, "tmax": 1.5, "window": 0.2, "step": 0.05}
# Subramaniam et al. 2024
PUBLISHED = {**LOCKED, "tmin": -2.0, "tmax": 2.0, "step": 0.025, "bin_anchor": "start"}


def table(onsets: list[tuple[str, float]], duration: float = 0.3) -> pd.DataFrame:
    rows = [
        {"event": i, "run": run, "onset": onset, "duration": duration, "unit": f"u{i}"}
        for i, (run, onset) in enumerate(onsets)
    ]
    return pd.DataFrame(rows)


def test_windows_end_by_tmax():
    starts = window_bins({**EVENT_LOCKED, **LOCKED})
    assert len(starts) == 37 and starts[0] == -0.5
    assert starts[-1] + 0.2 == pytest.approx(1.5)
    wide = {**EVENT_LOCKED, **LOCKED, "tmin": 0, "tmax": 0.3, "window": 0.5}
    with pytest.raises(InputError, match=r"no window of 0\.5 s fits"):
        window_bins(wide)
    with pytest.raises(InputError, match="'end' is not one of edges, start, center"):
        window_bins({**wide, "bin_anchor": "end"})


@pytest.mark.parametrize(
    ("anchor", "tmax", "before"), [("edges", 2.2, 0.0), ("start", 2.0, 0.0), ("center", 2.0, 0.1)]
)
def test_the_161_windows_of_the_published_design(signal, anchor, tmax, before):
    rate = 200.0
    array = signal([2000], rate)
    params = {**PUBLISHED, "tmax": tmax, "bin_anchor": anchor}
    # the first window starts `before` s ahead of -2 s, the last ends 4.2 s later
    first, last = 2.0 + before, 10.0 - 2.2 + before
    onsets = [first - 1 / rate, first, 5.0, last, last + 1 / rate]
    events = table([("task-film_run-1", onset) for onset in onsets])
    response, dropped = responses_of(array, events, params)
    bins = response["bin"].values.reshape(3, -1)[0]
    np.testing.assert_allclose(bins, -2 + 0.025 * np.arange(161), atol=1e-12)
    assert list(response["event"].values) == [1, 2, 3] and list(dropped["event"]) == [0, 4]
    assert set(dropped["reason"]) == {"a window leaves the run"}
    for b in (0, 80, 160):
        begin = round((5.0 - before + bins[b]) * rate)
        expected = array.values[begin : begin + 40].mean(axis=0, dtype=np.float64)
        np.testing.assert_allclose(response.values[1].reshape(3, -1)[:, b], expected, atol=1e-6)


def test_window_means_equal_a_naive_loop_to_1e_10():
    noise = np.random.default_rng(4)
    array = noise.normal(10, 50, (100_000, 3))
    start = noise.integers(0, 100_000 - 600, (20, 1)) + np.arange(161)
    values = np.full((21, 3, 161), np.nan)
    window_means(array, start, 410, values, np.arange(1, 21))
    for event in range(20):
        for b in range(161):
            begin = start[event, b]
            expected = sum(array[begin : begin + 410]) / 410
            np.testing.assert_allclose(values[event + 1, :, b], expected, rtol=0, atol=1e-10)
    assert np.isnan(values[0]).all()


@pytest.mark.parametrize("rate", [128.0, 100.0, 512.0])
def test_window_means_equal_a_plain_loop(signal, rate):
    # an offset that float32 sums would drown the signal in; 70 channels: more than one block
    array = signal([2000, 3000], rate, n_targets=70, scale=5) + np.float32(1000)
    array.attrs = signal([2000, 3000], rate, n_targets=70).attrs
    noise = np.random.default_rng(1)
    onsets = [("task-film_run-1", t) for t in np.sort(noise.uniform(1, 2, 20))]
    onsets += [("task-film_run-2", t) for t in np.sort(noise.uniform(1, 3, 30))]
    events = table(onsets)
    response, dropped = responses_of(array, events, LOCKED)
    assert dropped.empty and response.shape == (50, 70 * 37)
    width = round(0.2 * rate)
    starts = -0.5 + 0.05 * np.arange(37)
    for sample in (0, 19, 20, 49):
        run, onset = onsets[sample]
        own = array.values[array["run"].values == int(run[-1]) - 1].astype(np.float64)
        for b in (0, 17, 36):
            first = round((onset + starts[b]) * rate)
            expected = own[first : first + width].mean(axis=0)
            found = response.values[sample].reshape(70, 37)[:, b]
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_targets_and_coordinates(signal, tmp_path):
    array = signal([2000], 100.0)
    events = table([("task-film_run-1", 5.0), ("task-film_run-1", 6.0)])
    response, _ = responses_of(array, events, LOCKED)
    names = list(response["target"].values)
    assert names[:2] == ["LA0@-0.500", "LA0@-0.450"] and names[-1] == "LA2@+1.300"
    assert len(set(names)) == len(names)
    assert list(np.unique(response["site"])) == ["LA0", "LA1", "LA2"]
    chosen = response.sel(target="LA1@+0.250")
    assert (str(chosen["site"].values), float(chosen["bin"]), float(chosen["x"])) == (
        "LA1",
        0.25,
        1.0,
    )
    assert list(response["event"].values) == [0, 1]
    np.testing.assert_allclose(response["time"], [5, 6])
    assert response.dtype == np.float32 and json.loads(response.attrs["runs"])
    write_array(tmp_path / "response.nc", response)
    np.testing.assert_array_equal(read_array(tmp_path / "response.nc")["response"], response)


def test_events_whose_windows_leave_the_run_are_dropped_and_counted(signal):
    array = signal([1000, 1000], 100.0)
    onsets = [0.49, 0.5, 8.5, 8.51, 12.0]
    events = table([("task-film_run-1", t) for t in onsets] + [("task-film_run-2", 0.2)])
    with pytest.raises(InputError, match="all 1 events have windows that leave their run"):
        responses_of(array, events.iloc[[0]], LOCKED)
    response, dropped = responses_of(array, events, LOCKED)
    assert list(response["event"].values) == [1, 2]
    assert list(dropped["event"]) == [0, 3, 4, 5]
    assert set(dropped["reason"]) == {"a window leaves the run"}


def test_a_deflection_is_found_in_its_window(signal):
    array = signal([1000], 100.0, scale=0)
    array.values[430:450, 1] = 1.0  # 0.3 to 0.5 s after the event
    response, _ = responses_of(array, table([("task-film_run-1", 4.0)]), LOCKED)
    values = response.sel(target=response["site"] == "LA1").values[0]
    assert int(values.argmax()) == 16 and values.max() == 1.0
    assert float(response["bin"].values[16]) == pytest.approx(0.3)
    assert response.sel(target=response["site"] == "LA0").values.max() == 0


def test_order_of_samples_follows_the_runs(signal):
    array = signal([1000, 1000], 100.0)
    events = table([("task-film_run-2", 3.0), ("task-film_run-1", 3.0)])
    response, _ = responses_of(array, events, LOCKED)
    assert list(response["run"].values) == [0, 1] and list(response["event"].values) == [1, 0]


def test_standardised_per_run(signal):
    array = signal([1000, 1000], 100.0)
    onsets = [(f"task-film_run-{run}", t) for run in (1, 2) for t in np.linspace(1, 8, 40)]
    response, _ = responses_of(array, table(onsets), {**LOCKED, "standardize": True})
    for run in (0, 1):
        values = response.values[response["run"] == run]
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-5)


# volumes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lanczos", "boxcar", "rows"])
def test_volumes_of_the_runs_that_have_events(signal, kind):
    array = signal([20, 30, 25], 0.5)
    events = table([("task-film_run-1", 4.0), ("task-film_run-3", 10.0)])
    response, dropped = responses_of(array, events, {"kind": kind, "delays": [1, 2, 3]})
    assert response.shape == (45, 3) and dropped.empty
    assert list(np.unique(response["run"])) == [0, 2]
    assert set(response["event"].values) == {-1}
    # the middle of each volume
    np.testing.assert_allclose(response["time"][:3], [1, 3, 5])
    np.testing.assert_array_equal(response.values[:20], array.values[:20])
    np.testing.assert_array_equal(response.values[20:], array.values[50:])
    assert "bin" not in response.coords


def test_trimmed_and_standardised(signal):
    array = signal([20, 30], 0.5, scale=4)
    events = table([("task-film_run-1", 2.0), ("task-film_run-1", 38.0), ("task-film_run-2", 9.0)])
    params = {"kind": "lanczos", "trim": [3, 2], "standardize": True}
    response, dropped = responses_of(array, events, params)
    assert response.shape == (15 + 25, 3)
    assert float(response["time"][0]) == 7.0
    for run in (0, 1):
        values = response.values[response["run"] == run]
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-5)
    # 2.0-2.3 s ends before volume 3 (6 s), 38 s is after the last one kept (ends at 36 s)
    assert list(dropped["event"]) == [0, 1]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"kind": "lancsoz"}, "'lancsoz' is unknown; did you mean lanczos"),
        ({"kind": "lanczos", "trim": [10, 10]}, r"\[10, 10\] leaves nothing of the 20 volumes"),
        ({**LOCKED, "window": 0.001}, "shorter than one sample"),
    ],
)
def test_bad_parameters(signal, params, words):
    with pytest.raises(InputError, match=words):
        responses_of(signal([20], 0.5), table([("task-film_run-1", 4.0)]), params)


def test_events_of_a_run_that_the_signal_lacks(signal):
    with pytest.raises(InputError, match="events of run task-story but no such run"):
        responses_of(signal([20], 0.5), table([("task-story", 4.0)]), LOCKED)
