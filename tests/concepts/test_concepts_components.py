"""Components of weights: planted dimensions, the null, and the arithmetic done by hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.signal import lfilter
from scipy.stats import binom

from braid.common import InputError, read_array, write_array, write_table
from braid.concepts import (
    COMPONENTS_COLUMNS,
    UNITS_COLUMNS,
    Member,
    common_layer,
    extreme_units,
    spread_of,
    weight_components,
)
from braid.concepts.units import scale_of
from braid.concepts.weights import members_of, weights_of
from braid.encoding import fit_encoding, refit_weights

PARAMS: dict[str, Any] = {
    "folds": {"scheme": "runs"},
    "ridge": {"alphas": {"low": -2, "high": 4, "n": 7}},
    "test": {"min_shift": 20},
    "n": 4,
    "draws": 19,
}
P = 8


def member(
    subject: str,
    weights: np.ndarray,
    seed: int,
    delays: tuple[int, ...] = (0,),
    bins: int = 1,
    significant: slice = slice(None),
    noise: float = 1.0,
) -> Member:
    """A subject whose targets follow `weights` (features, targets) at every delay."""
    rng = np.random.default_rng(seed)
    runs, size, targets = 3, 120, weights.shape[1]
    n = runs * size
    coords: dict[str, Any] = {
        "run": ("sample", np.repeat(np.arange(runs), size)),
        "time": ("sample", np.tile(np.arange(size) * 1.0, runs)),
    }
    attrs = {"runs": json.dumps([f"run-{run}" for run in range(runs)]), "subject": subject}
    x = lfilter([0.7], [1, -0.7], rng.standard_normal((n, P)), axis=0)
    moved = np.zeros((n, P))
    for start in range(0, n, size):
        for delay in delays:
            moved[start + delay : start + size] += x[start : start + size - delay]
    y = moved @ weights + noise * lfilter(
        [0.7], [1, -0.7], rng.standard_normal((n, targets)), axis=0
    )
    scale = np.linspace(1, 9, P)
    design = xr.Dataset(
        {
            "layer_00": (("sample", "feature_00"), rng.standard_normal((n, P)).astype(np.float32)),
            "layer_01": (("sample", "feature_01"), (x * scale).astype(np.float32)),
        },
        coords=coords,
        attrs={**attrs, "layers": '["noise", "high"]', "delays": json.dumps(list(delays))},
    )
    site = [f"s{target // bins:02d}" for target in range(targets)]
    response = xr.DataArray(
        y.astype(np.float32),
        dims=("sample", "target"),
        coords={
            **coords,
            "target": [f"t{target:02d}" for target in range(targets)],
            "site": ("target", site),
            "region": ("target", [f"region{target % 2}" for target in range(targets)]),
            "x": ("target", np.arange(targets) * 1.0),
        },
        attrs=attrs,
        name="response",
    )
    names = list(dict.fromkeys(site))
    chosen = np.zeros(len(names), dtype=bool)
    chosen[significant] = True
    sites = pd.DataFrame({"site": names, "significant": chosen})
    return Member(subject, design, response, fit_encoding(design, response, PARAMS), sites)


def planted(seed: int = 0) -> tuple[list[Member], np.ndarray]:
    """Three subjects whose sites mix two shared directions, the first more than the second."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((P, 2)))[0]
    members = []
    for number in range(3):
        amounts = rng.standard_normal((2, 15)) * np.array([[2.0], [1.0]])
        members.append(member(f"{number + 1:02d}", directions @ amounts, 10 + number))
    return members, directions


SD = np.linspace(1, 9, P)  # of the features, up to the common factor of their autocorrelation


def test_planted_dimensions_are_recovered() -> None:
    members, directions = planted()
    assert common_layer(members) == "high"
    found = weight_components(members, "high", SD, PARAMS, seed=1)
    table = found.table
    assert list(table.columns) == list(COMPONENTS_COLUMNS)
    assert list(table["component"]) == [1, 2, 3, 4]
    assert (table["p"][:2] == 1 / 20).all() and (table["p"][2:] > 0.5).all()
    assert (table["n_sites"] == 45).all() and (table["n_subjects"] == 3).all()
    assert table["share"][:2].sum() > 0.9 and table["loso_share"][:2].sum() > 0.85
    loading = found.arrays["loading"].values
    assert np.linalg.norm(directions.T @ loading[:, :2], axis=0) == pytest.approx(1, abs=0.03)
    assert np.abs(directions.T @ loading[:, :2]).max(axis=0) == pytest.approx(1, abs=0.1)
    again = weight_components(members, "high", SD, PARAMS, seed=1)
    assert again.table.equals(table) and again.arrays.identical(found.arrays)


def test_projections_and_order_of_sites() -> None:
    members, _ = planted()
    arrays = weight_components(members, "high", SD, PARAMS, seed=1).arrays
    first = [weights_of(m, "high", SD, PARAMS, 1, 0) for m in members]
    stacked = np.concatenate([weights.values[0] for weights in first if weights is not None])
    projection = (stacked - stacked.mean(axis=0)) @ arrays["loading"].values
    np.testing.assert_allclose(arrays["projection"], projection, atol=1e-5)
    assert list(arrays["subject"].values) == ["01"] * 15 + ["02"] * 15 + ["03"] * 15
    assert list(arrays["site"].values) == [f"s{k:02d}" for k in range(15)] * 3
    fit = members[1].fit["score"].sel(layer="high").values
    np.testing.assert_allclose(arrays["score"].values[15:30], fit)
    np.testing.assert_allclose(np.linalg.norm(stacked, axis=1)[15:30], fit, rtol=1e-5)


@pytest.mark.parametrize("delays", [(0,), (1, 2, 4)])
def test_observed_weights_are_those_of_a_refit(delays: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    one = member("01", rng.standard_normal((P, 6)), 1, delays=delays, significant=slice(1, 5))
    found = weights_of(one, "high", SD, PARAMS, 3, seed=0)
    assert found is not None and found.values.shape == (4, 4, P)
    weights = refit_weights(one.design, one.response, "high", PARAMS)["weights"].values
    mean = weights.reshape(len(delays), P, 6).mean(axis=0)[:, 1:5] * SD[:, None]
    score = one.fit["score"].sel(layer="high").values[1:5]
    expected = (mean / np.linalg.norm(mean, axis=0) * score).T
    np.testing.assert_allclose(found.values[0], expected, atol=1e-5)
    np.testing.assert_allclose(
        np.linalg.norm(found.values, axis=2), np.tile(score, (4, 1)), rtol=1e-4
    )
    assert np.abs(found.values[1:] - expected).max(axis=(1, 2)).min() > 0.05
    assert list(found.table["site"]) == ["s01", "s02", "s03", "s04"]


def test_level_where_responses_have_nothing_to_do_with_features() -> None:
    p = []
    for seed in range(40):
        members = [member(f"{k}", np.zeros((P, 6)), 100 + 7 * seed + k) for k in range(2)]
        found = weight_components(members, "high", SD, {**PARAMS, "n": 1}, seed=seed)
        p += list(found.table["p"])
    assert len(p) >= 36  # by chance no site of a seed may have a positive score
    assert np.sum(np.array(p) <= 0.05) <= binom.ppf(0.999, len(p), 0.05)
    assert 0.25 < np.mean(p) < 0.75


def test_an_electrode_is_its_bin_of_highest_validation() -> None:
    weights = np.zeros((P, 9))
    weights[:, [1, 3, 8]] = np.random.default_rng(0).standard_normal((P, 3))
    one = member("01", weights, 2, bins=3)
    found = weights_of(one, "high", SD, PARAMS, 1, seed=0)
    assert found is not None
    score = one.fit["score"].sel(layer="high").values
    np.testing.assert_allclose(found.table["score"], score[[1, 3, 8]])
    assert list(found.table["site"]) == ["s00", "s01", "s02"]


def test_layer_for_all_subjects() -> None:
    members, _ = planted()
    fits = []
    for number, values in enumerate([(0.1, 0.4), (0.3, 0.1), (0.3, 0.1)]):
        fit = members[number].fit.copy()
        fit["score_validation"] = (("layer", "target"), np.tile(np.array(values)[:, None], (1, 15)))
        fits.append(fit)

    def with_fits(*chosen: xr.Dataset) -> list[Member]:
        return [Member("01", m.design, m.response, f, m.sites)
                for m, f in zip(members, chosen, strict=False)]  # fmt: skip

    assert common_layer(with_fits(fits[0])) == "high"
    assert common_layer(with_fits(*fits)) == "noise"
    assert common_layer(with_fits(fits[0], fits[1].isel(layer=[1]))) == "high"
    with pytest.raises(InputError, match="no layer was fitted in all of them"):
        common_layer(with_fits(fits[0].isel(layer=[0]), fits[1].isel(layer=[1])))


@pytest.mark.parametrize("significant", [slice(0, 0), slice(0, 1)])
def test_fewer_than_two_sites_give_an_empty_table(
    significant: slice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = np.random.default_rng(0).standard_normal((P, 4))
    members = [member("01", weights, 1, significant=significant)]
    with caplog.at_level(logging.WARNING, "braid"):
        found = weight_components(members, "high", SD, PARAMS, seed=1)
    assert "components need two" in caplog.text
    assert len(found.table) == 0 and list(found.table.columns) == list(COMPONENTS_COLUMNS)
    write_table(tmp_path / "components.tsv", found.table, COMPONENTS_COLUMNS)
    write_array(tmp_path / "components.nc", found.arrays)
    assert read_array(tmp_path / "components.nc")["loading"].shape == (P, 0)
    features = xr.DataArray(np.eye(P), dims=("unit", "feature"), coords={"unit": list("abcdefgh")})
    table = pd.DataFrame({"unit": list("abcdefgh")})
    assert extreme_units(found.arrays["loading"], features, table).empty


def test_inputs_that_do_not_belong_together() -> None:
    weights = np.random.default_rng(0).standard_normal((P, 4))
    one = member("01", weights, 1)
    with pytest.raises(InputError, match="8 features in layer 'high', but the units have 5"):
        weight_components([one], "high", np.ones(5), PARAMS, seed=1)
    sites = pd.DataFrame({"site": ["elsewhere"], "significant": [True]})
    with pytest.raises(InputError, match=r"no site 'elsewhere'.*subject 01"):
        weight_components(
            [Member("01", one.design, one.response, one.fit, sites)], "high", SD, PARAMS, seed=1
        )
    with pytest.raises(InputError, match="too short for a circular shift"):
        weight_components([one], "high", SD, {**PARAMS, "test": {"min_shift": 90}}, seed=1)
    with pytest.raises(InputError, match=r"n \(0\) and draws \(19\) must be at least 1"):
        weight_components([one], "high", SD, {**PARAMS, "n": 0}, seed=1)


def test_extreme_units_by_hand() -> None:
    names = ["a", "b", "c", "d"]
    features = xr.DataArray(
        np.array([[0.0, 5, 7], [2, 5, 9], [4, 5, 3], [6, 5, 1]]),
        dims=("unit", "feature"),
        coords={"unit": names},
    )
    mean, sd = spread_of(features)
    np.testing.assert_allclose(mean, [3, 5, 5])
    np.testing.assert_allclose(sd, [np.sqrt(5), 0, np.sqrt(10)])
    loading = xr.DataArray(
        np.array([[1.0, 0], [0, 0], [0, 1]]),
        dims=("feature", "component"),
        coords={"component": [1, 2]},
    )
    table = pd.DataFrame(
        {
            "unit": names[::-1],
            "stimulus": "film.mkv",
            "stimulus_time": [30.0, 20, 10, 0],
            "text": ["D", "C", "B", "A"],
        }
    )
    found = extreme_units(loading, features, table, n=1)
    assert list(found.columns) == list(UNITS_COLUMNS)
    assert list(found["unit"]) == ["d", "a", "b", "d"]
    assert list(found["end"]) == ["top", "bottom"] * 2
    assert list(found["text"]) == ["D", "A", "B", "D"] and list(found["time"]) == [30, 0, 10, 30]
    np.testing.assert_allclose(found["projection"][0], 3 / np.sqrt(5))
    assert len(extreme_units(loading, features, table, n=10)) == 8
    # of moments of one scene the most extreme one is taken
    near = table.assign(stimulus_time=[30.0, 28, 10, 0])
    found = extreme_units(loading, features, near, n=10)
    assert found.loc[found["component"] == 1, "unit"].tolist() == ["d", "a", "b"]
    with pytest.raises(InputError, match="unit a has features but stands in no row"):
        extreme_units(loading, features, table[table["unit"] != "a"])


def test_a_design_of_z_scored_features_counts_in_standard_deviations():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 3)) * [2.0, 5.0, 0.0] + 1
    features = xr.DataArray(values, dims=("unit", "feature"))
    np.testing.assert_allclose(scale_of(features), values.std(axis=0), atol=1e-12)
    np.testing.assert_array_equal(scale_of(features, standardized=True), [1.0, 1.0, 0.0])


def test_files_of_subjects_belong_together(tmp_path: Path) -> None:
    for subject in "ab":
        write_table(
            tmp_path / f"{subject}.tsv", pd.DataFrame({"site": [subject]}), {"site": "Site"}
        )
    found = members_of(
        ["a", "b"], designs=["da", "db"], responses=["ra", "rb"], fits=["fa", "fb"],
        sites=[str(tmp_path / "a.tsv"), str(tmp_path / "b.tsv")],
    )  # fmt: skip
    assert [(one.subject, one.design, one.response, one.fit) for one in found] == [
        ("a", "da", "ra", "fa"), ("b", "db", "rb", "fb"),
    ]  # fmt: skip
    assert [one.sites["site"].tolist() for one in found] == [["a"], ["b"]]
    with pytest.raises(ValueError, match="zip"):
        members_of([], designs=["d"], responses=[], fits=[], sites=[])
