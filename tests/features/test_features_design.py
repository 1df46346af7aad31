"""Designs: closed forms, reference output, and every way in which rows can fail to line up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from braid.common import InputError
from braid.features import (
    boxcar_matrix,
    build_design,
    combine_designs,
    lanczos_matrix,
    lanczos_resample,
)
from braid.features.combine import pair_layer
from braid.features.design import standardize_runs

RNG = np.random.default_rng(0)


def _features(units: list[str], widths: tuple[int, ...] = (3, 5)) -> dict[str, xr.DataArray]:
    """Random features of two layers."""
    return {
        f"block.{k}": xr.DataArray(
            RNG.standard_normal((len(units), width)).astype(np.float32),
            dims=("unit", "feature"),
            coords={"unit": np.array(units)},
        )
        for k, width in enumerate(widths)
    }


def _events(n: int = 40, runs: int = 2) -> pd.DataFrame:
    """Events of several runs whose units are shuffled and partly repeated."""
    return pd.DataFrame(
        {
            "event": np.arange(n * runs),
            "run": np.repeat([f"run-{r + 1}" for r in range(runs)], n),
            "onset": np.tile(np.sort(RNG.uniform(0, 38, n)), runs),
            "duration": 0.4,
            "unit": [f"u{k}" for k in RNG.permutation(n * runs) % (n * runs - 5)],
        }
    )


def _volumes(volumes: int = 20, runs: int = 2, tr: float = 2.0) -> xr.DataArray:
    """A response of volumes, contract coordinates."""
    n = volumes * runs
    return xr.DataArray(
        np.zeros((n, 2), dtype=np.float32),
        dims=("sample", "target"),
        coords={
            "run": ("sample", np.repeat(np.arange(runs), volumes)),
            "time": ("sample", np.tile(np.arange(volumes) * tr + tr / 2, runs)),
            "event": ("sample", np.full(n, -1)),
        },
        attrs={
            "runs": json.dumps([f"run-{r + 1}" for r in range(runs)]),
            "subject": "01",
            "repetition_time": tr,
        },
    )


def _event_response(events: pd.DataFrame, keep: list[int]) -> xr.DataArray:
    """An event-locked response for some of the events."""
    chosen = events.iloc[keep]
    return xr.DataArray(
        np.zeros((len(keep), 1), dtype=np.float32),
        dims=("sample", "target"),
        coords={
            "run": ("sample", (chosen["run"] == "run-2").astype(int).to_numpy()),
            "time": ("sample", chosen["onset"].to_numpy()),
            "event": ("sample", chosen["event"].to_numpy()),
        },
        attrs={"runs": '["run-1", "run-2"]', "subject": "01"},
    )


def test_lanczos_equals_the_reference(shared_data: Path) -> None:
    golden = np.load(shared_data / "golden" / "lanczos.npz")
    data, old, new = golden["data"], golden["oldtime"], golden["newtime"]
    for lobes in (2, 3):
        found = lanczos_resample(data, old, new, lobes)
        expected = golden[f"out_window{lobes}_cutoffmult1.0"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    rectified = lanczos_resample(data, old, new, rectify=True)
    np.testing.assert_allclose(rectified, golden["out_rectify_window3"], rtol=0, atol=1e-12)
    words = lanczos_resample(
        golden["podcast_features_len_count"],
        golden["podcast_word_mid_times"],
        golden["podcast_newtime"],
    )
    np.testing.assert_allclose(words, golden["podcast_out_window3"], rtol=0, atol=1e-12)
    assert words[:, 1].sum() == pytest.approx(5118.9, abs=0.05)


def test_lanczos_equals_the_closed_form() -> None:
    old, new = RNG.uniform(-5, 45, 60), np.arange(20) * 2.0 + 1
    old[0] = new[3]
    lag = (new[:, None] - old[None, :]) / 2.0 * 1.5
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = 3 * np.sin(np.pi * lag) * np.sin(np.pi * lag / 3) / (np.pi * lag) ** 2
    expected = np.where(lag == 0, 1.0, np.where(np.abs(lag) > 3, 0.0, expected))
    found = lanczos_matrix(old, new, cutoff_mult=1.5).toarray()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    order = RNG.permutation(60)
    np.testing.assert_array_equal(lanczos_matrix(old[order], new, 3, 1.5).toarray(),
                                  found[:, order])  # fmt: skip
    normal = lanczos_matrix(old, new, normalise=True).sum(axis=1)
    np.testing.assert_allclose(normal, 1.0)
    with pytest.raises(InputError, match="at least two volumes"):
        lanczos_matrix(old, new[:1])


def test_boxcar_by_hand() -> None:
    middle = np.arange(6) * 2.5 + 1.25
    found = boxcar_matrix(np.array([2.5, 3.75, 20.0]), np.array([5.0, 1.0, 5.0]), middle).toarray()
    expected = np.zeros((6, 3))
    expected[[1, 2], 0] = 1
    expected[1, 1] = 1
    np.testing.assert_array_equal(found, expected)


def test_boxcars_give_the_known_scores_on_real_recordings(shared_data: Path) -> None:
    """Category box-cars on Haxby's first subject: the recipe and figures of the data's README."""
    nibabel = pytest.importorskip("nibabel")
    root = shared_data / "haxby_bids"
    mask = nibabel.load(
        next(root.glob("derivatives/slicemask/sub-01/func/*_desc-brain_mask.nii.gz"))
    )
    inside = np.asarray(mask.dataobj).astype(bool)
    signals, tables = [], []
    for run in range(1, 13):
        stem = root / "sub-01" / "func" / f"sub-01_task-objectviewing_run-{run:02d}"
        values = np.asarray(nibabel.load(f"{stem}_bold.nii.gz").dataobj, float)[inside].T
        trend = np.vander(np.linspace(-1, 1, len(values)), 3)
        values -= trend @ np.linalg.lstsq(trend, values, rcond=None)[0]
        signals.append(values / values.std(0))
        table = pd.read_csv(f"{stem}_events.tsv", sep="\t")
        tables.append(table.assign(run=f"run-{run:02d}", unit=table["trial_type"]))
    events = pd.concat(tables, ignore_index=True)
    events["event"] = np.arange(len(events))
    labels = sorted(events["unit"].unique())
    features = {
        "onehot": xr.DataArray(np.eye(8), dims=("unit", "feature"), coords={"unit": labels})
    }
    response = _volumes(121, 12, 2.5).assign_attrs(
        runs=json.dumps([f"run-{run:02d}" for run in range(1, 13)])
    )
    design = build_design(features, events, response, {"kind": "boxcar"})
    boxes = design["layer_00"].values.reshape(12, 121, 8)
    delayed = np.zeros((12, 121, 32))
    for k, delay in enumerate(json.loads(design.attrs["delays"])):
        delayed[:, delay:, 8 * k : 8 * k + 8] = boxes[:, :-delay]
    scores = []
    for held in range(12):
        train = [run for run in range(12) if run != held]
        x, y = np.concatenate(delayed[train]), np.concatenate([signals[run] for run in train])
        x, y = x - x.mean(0), y - y.mean(0)  # an unpenalised intercept
        weights = np.linalg.solve(x.T @ x + 10 * np.eye(32), x.T @ y)
        a, b = delayed[held] @ weights, signals[held]
        a, b = a - a.mean(0), b - b.mean(0)
        scores.append((a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0)))
    r = np.mean(scores, axis=0)
    assert len(r) == 530
    assert r.max() == pytest.approx(0.715, abs=5e-4)
    assert r.mean() == pytest.approx(0.184, abs=5e-4)
    assert (r > 0.3).sum() == 125


def test_event_locked() -> None:
    events = _events()
    features = _features([f"u{k}" for k in range(75)][::-1])
    keep = [3, 70, 12, 0, 79]
    design = build_design(
        features, events, _event_response(events, keep), {"kind": "event_locked", "tmin": -0.5}
    )
    for number, values in enumerate(features.values()):
        found = design[f"layer_{number:02d}"]
        assert found.dims == ("sample", f"feature_{number:02d}") and found.dtype == np.float32
        expected = values.sel(unit=events["unit"].iloc[keep].to_numpy())
        np.testing.assert_array_equal(found, expected)
    assert json.loads(design.attrs["layers"]) == ["block.0", "block.1"]
    assert design["layer_01"].attrs["layer"] == "block.1"
    assert json.loads(design.attrs["delays"]) == [0]
    np.testing.assert_array_equal(design["event"], events["event"].iloc[keep])
    assert design.attrs["runs"] == '["run-1", "run-2"]'


@pytest.mark.parametrize("kind", ["lanczos", "boxcar"])
def test_volumes_are_made_within_each_run(kind: str) -> None:
    events, response = _events(), _volumes()
    features = _features([f"u{k}" for k in range(75)])
    design = build_design(features, events, response, {"kind": kind})
    assert json.loads(design.attrs["delays"]) == [1, 2, 3, 4]
    times = response["time"].values[:20]
    for run in (0, 1):
        part = events[events["run"] == f"run-{run + 1}"]
        values = features["block.1"].sel(unit=part["unit"].to_numpy()).values.astype(float)
        onsets, durations = part["onset"].to_numpy(), part["duration"].to_numpy()
        if kind == "lanczos":
            expected = lanczos_resample(values, onsets + durations / 2, times)
        else:
            covers = (onsets <= times[:, None]) & (times[:, None] < onsets + durations)
            expected = covers @ values
        found = design["layer_01"].values[run * 20 : run * 20 + 20]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # what happens in one run never reaches another
    changed = events.copy()
    changed.loc[changed["run"] == "run-2", "unit"] = "u0"
    other = build_design(features, changed, response, {"kind": kind, "delays": [0, 2]})
    np.testing.assert_array_equal(other["layer_00"][:20], design["layer_00"][:20])
    assert json.loads(other.attrs["delays"]) == [0, 2]


def test_rows_follow_their_volumes_through_shuffling_and_trimming() -> None:
    response = _volumes(10)
    events = pd.DataFrame(
        {
            "event": np.arange(20),
            "run": np.repeat(["run-1", "run-2"], 10),
            "onset": np.tile(np.arange(10) * 2.0, 2),
            "duration": 2.0,
            "unit": [f"u{k}" for k in range(20)],
        }
    )
    features = _features([f"u{k}" for k in range(20)])
    design = build_design(features, events.iloc[RNG.permutation(20)], response, {"kind": "rows"})
    np.testing.assert_array_equal(design["layer_00"], features["block.0"])
    kept = np.r_[2:9, 12:19]
    design = build_design(features, events, response[kept], {"kind": "rows"})
    np.testing.assert_array_equal(design["layer_00"], features["block.0"][kept])
    with pytest.raises(InputError, match=r"unequal numbers of features and volumes: run run-2 of "
                       r"subject 01 has 10 volumes and 9 rows of features, none for the volume "
                       r"at 18\.000 s"):  # fmt: skip
        build_design(features, events.iloc[:19], response, {"kind": "rows"})


def _fail(message: str, **change: Any) -> None:
    """Build a design with one thing wrong, and read the message."""
    events = change.pop("events", _events())
    features = change.pop("features", _features([f"u{k}" for k in range(75)]))
    response = change.pop("response", _volumes())
    with pytest.raises(InputError, match=message):
        build_design(features, events, response, {"kind": "lanczos", **change})


@pytest.mark.parametrize("kind", ["lanczos", "boxcar"])
def test_features_are_standardized_over_the_rows_of_each_run_that_trimming_left(kind: str) -> None:
    events = _events()
    features = _features(sorted(set(events["unit"])))
    features["block.0"][:, 1] = 0.0  # constant whatever the weights
    whole = _volumes()
    trimmed = whole.isel(sample=np.r_[3:18, 23:38])
    params = {"kind": kind, "normalise": kind == "lanczos"}
    plain = build_design(features, events, trimmed, params)
    scaled = build_design(features, events, trimmed, {**params, "standardize_features": True})
    assert scaled.attrs["delays"] == "[1, 2, 3, 4]"  # delays come later
    for name in ("layer_00", "layer_01"):
        for run in (0, 1):
            rows = np.flatnonzero(trimmed["run"] == run)
            values = plain[name].values[rows].astype(float)
            sd = values.std(axis=0)
            expected = np.where(sd > 0, (values - values.mean(axis=0)) / np.where(sd > 0, sd, 1), 0)
            np.testing.assert_allclose(scaled[name].values[rows], expected, atol=2e-6)
    assert (scaled["layer_00"].values[:, 1] == 0).all()
    # the rows that were cut off have no part in it
    of_all = build_design(features, events, whole, {**params, "standardize_features": True})
    assert np.abs(of_all["layer_01"].values[3:18] - scaled["layer_01"].values[:15]).max() > 1e-3


def test_equal_numbers_in_a_run_become_zero_and_not_rounding_errors() -> None:
    values = np.full((40, 2), 0.1, dtype=np.float32)
    values[:, 1] += 1e-3 * RNG.standard_normal(40).astype(np.float32)
    standardize_runs(values, np.repeat([0, 1], 20))
    assert (values[:, 0] == 0).all()
    np.testing.assert_allclose(values[:20, 1].std(), 1, atol=1e-5)


def test_what_does_not_line_up_is_named() -> None:
    _fail("kind 'lanczoz' is unknown; did you mean 'lanczos'", kind="lanczoz")
    _fail("there are no features", features={})
    _fail(r"delays must be whole numbers of samples, not \[0.5\]", delays=[0.5])
    _fail(r"delays must be whole numbers of samples, not \[\]", delays=[])
    _fail(
        r"unit u74 of event \d+ \(run run-\d, onset .* s\) has no features \(74 units have\)",
        features=_features([f"u{k}" for k in range(74)]),
    )
    broken = _features([f"u{k}" for k in range(75)])
    broken["block.1"][30, 2] = np.nan
    _fail(r"layer block.1 of unit u30 \(subject 01\) holds a value that is not", features=broken)
    uneven = _features([f"u{k}" for k in range(75)])
    uneven["block.1"] = uneven["block.1"][:-1]
    _fail("layer block.1 has other units", features=uneven)
    _fail("unit u1 has several rows", features=_features(["u1", "u1"]))
    _fail("events of subject 01: column 'unit' is missing", events=_events().drop(columns="unit"))
    _fail("run run-3 of subject 01 has volumes but no events", response=_volumes(runs=3))
    events = _events()
    events.loc[4, "onset"] = np.nan
    _fail("events of subject 01: row 5 has no onset", events=events)
    events = _events()
    events.loc[4, "duration"] = 0.0
    _fail(r"event 4 of run run-1 \(onset .* s\) has no duration", events=events, kind="boxcar")
    events = _events()
    _fail(
        "the responses of subject 01 hold event 79, which the events table",
        events=events.iloc[:79],
        response=_event_response(events, [3, 79]),
        kind="event_locked",
    )
    _fail(
        "event 3 stands in several rows",
        events=pd.concat([events, events.iloc[3:4]]),
        response=_event_response(events, [3]),
        kind="event_locked",
    )


def test_unused_units_may_be_damaged_or_absent() -> None:
    events = _events()
    features = _features([f"u{k}" for k in range(75)])
    used = events["unit"].iloc[:40]
    unused = sorted(set(events["unit"]) - set(used))
    for values in features.values():
        values.loc[{"unit": unused}] = np.nan
    design = build_design(features, events, _volumes(runs=1), {"kind": "lanczos"})
    assert np.isfinite(design["layer_00"]).all()


def _design(names: list[str], width: int, **attrs: Any) -> xr.Dataset:
    """A small design with given layers."""
    return xr.Dataset(
        {
            f"layer_{k:02d}": (
                ("sample", f"feature_{k:02d}"),
                RNG.standard_normal((6, width)).astype(np.float32),
            )
            for k in range(len(names))
        },
        coords={"run": ("sample", [0, 0, 0, 1, 1, 1]), "time": ("sample", np.arange(6.0))},
        attrs={"layers": json.dumps(names), "delays": "[0]", "runs": '["a", "b"]', **attrs},
    )


def test_combination_of_equal_depth() -> None:
    a, b = _design(["x.0", "x.1"], 3), _design(["y.0", "y.1"], 2)
    both = combine_designs({"a": a, "b": b})
    assert json.loads(both.attrs["layers"]) == ["a:x.0+b:y.0", "a:x.1+b:y.1"]
    assert json.loads(both.attrs["models"]) == ["a", "b"]
    assert json.loads(both.attrs["widths"]) == [[3, 2], [3, 2]]
    expected = np.hstack([a["layer_01"].values, b["layer_01"].values])
    np.testing.assert_array_equal(both["layer_01"], expected)
    assert both["layer_01"].dims == ("sample", "feature_01")
    np.testing.assert_array_equal(both["time"], a["time"])


def test_combination_of_unequal_depth_pairs_by_relative_depth() -> None:
    deep, shallow = _design([f"x.{k}" for k in range(5)], 2), _design(["y.0", "y.1", "y.2"], 2)
    both = combine_designs({"a": deep, "b": shallow})
    assert [name.split("+b:")[1] for name in json.loads(both.attrs["layers"])] == [
        "y.0", "y.0", "y.1", "y.2", "y.2",
    ]  # fmt: skip
    assert pair_layer(0, 1, 1) == 0
    for depth in range(2, 14):
        for shallower in range(1, depth + 1):
            chosen = [pair_layer(k, depth, shallower) for k in range(depth)]
            assert chosen == sorted(chosen)
            assert chosen[0] == 0 and chosen[-1] == shallower - 1
            assert set(chosen) == set(range(shallower))


def test_combinations_that_do_not_fit() -> None:
    a = _design(["x.0"], 3)
    with pytest.raises(InputError, match="at least two models"):
        combine_designs({"a": a})
    with pytest.raises(InputError, match="designs of a and b differ in their delays"):
        combine_designs({"a": a, "b": _design(["y.0"], 2, delays="[1]")})
    with pytest.raises(InputError, match="samples of a and b differ in 'time'"):
        combine_designs({"a": a, "b": a.assign_coords(time=("sample", np.arange(6.0) + 1))})
    with pytest.raises(InputError, match="only one of a and b has the coordinate 'time'"):
        combine_designs({"a": a, "b": a.drop_vars("time")})
