"""Dimensions that two senses share: planted ones, chance, the map's orientation, limits."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import binom
from two_senses import LAYERS, PARAMS, P, World, make_world, smooth_fields

from braid.common import InputError, read_array, write_array, write_table
from braid.concepts import (
    SHARED_COLUMNS,
    Member,
    Paired,
    cross_modal_components,
    extreme_units,
    feature_components,
    mapped_weights,
    other_units,
    paired_weights,
    shared_components,
    spread_of,
)
from braid.concepts.pca import explained, principal
from braid.encoding import fit_encoding, refit_weights

Found = tuple[pd.DataFrame, dict[str, xr.Dataset]]


def found_in(world: World, seed: int = 1, **params: Any) -> Found:
    return cross_modal_components(
        world.members, LAYERS, world.maps, world.features, {**PARAMS, **params}, seed
    )


def one_way(world: World, seed: int, params: dict[str, Any]) -> pd.DataFrame:
    """Components of the language weights alone."""
    scales = spread_of(world.features[0])[1], spread_of(world.features[1])[1]
    of_each = params["language"], params["vision"]
    pairs = [
        both[0]
        for members in world.members
        if (both := paired_weights(members, LAYERS, world.maps, scales, of_each, "both",
                                   params["draws"], seed))
    ]  # fmt: skip
    stimulus = feature_components(world.features[0], params["n"])
    return shared_components(pairs, stimulus, params, seed).table


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(0, noise=1.0)  # every site is predicted


@pytest.fixture(scope="module")
def found(world: World) -> Found:
    return found_in(world)


def test_weights_are_mapped_the_right_way_round() -> None:
    rng = np.random.default_rng(0)
    alignment = rng.standard_normal((5, 3))  # five features of language to three of vision
    language, weights = rng.standard_normal((40, 5)), rng.standard_normal((3, 7))
    responses = (language @ alignment) @ weights
    np.testing.assert_allclose(language @ mapped_weights(weights.T, alignment).T, responses)
    square = np.array([[0.0, 1, 0], [0, 0, 1], [2, 0, 0]])
    np.testing.assert_allclose(mapped_weights(np.array([[1.0, 0, 0]]), square), [[0, 0, 2]])
    np.testing.assert_allclose(mapped_weights(np.array([[0.0, 1, 0]]), square), [[1, 0, 0]])
    with pytest.raises(InputError, match=r"shape \(5, 3\) cannot take weights over 5 features"):
        mapped_weights(rng.standard_normal((7, 5)), alignment)


def test_pairs_are_the_refitted_weights_in_both_spaces(world: World) -> None:
    scales = spread_of(world.features[0])[1], spread_of(world.features[1])[1]
    of_each = PARAMS["language"], PARAMS["vision"]
    both = paired_weights(world.members[0], LAYERS, world.maps, scales, of_each, "both", 3, 5)
    assert both is not None
    raw, score = [], []
    for member, layer in zip(world.members[0], LAYERS, strict=True):
        fitted = refit_weights(member.design, member.response, layer, PARAMS["language"])
        raw.append(fitted["weights"].values.T)
        score.append(member.fit["score"].values[0])
    for own, pair in enumerate(both):
        other = 1 - own
        mapped = (world.maps[own] @ raw[other].T).T
        for values, weights, length in (
            (pair.own, raw[own], score[own]),
            (pair.other, mapped, score[other]),
        ):
            scaled = weights * scales[own]
            unit = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
            np.testing.assert_allclose(values, unit * length[:, None], atol=2e-5)
        np.testing.assert_allclose(pair.table["score_other"], score[other])
        draws = list(pair.draws)
        assert len(draws) == 3 and all(draw.shape == (40, P) for draw in draws)
        # moved responses: other weights, of the same length
        assert min(np.abs(draw - pair.other).max() for draw in draws) > 0.1
        np.testing.assert_allclose(np.linalg.norm(draws[0], axis=1), score[other], rtol=1e-4)
        np.testing.assert_array_equal(list(pair.draws), draws)
    wrong = world.maps[0].T, world.maps[1]
    turned = paired_weights(world.members[0], LAYERS, wrong, scales, of_each, "both", 1, 5)
    assert turned is not None
    right = np.sum(both[0].own[:, :, None] * both[0].other[:, None], axis=0)
    swapped = np.sum(turned[0].own[:, :, None] * turned[0].other[:, None], axis=0)
    assert np.trace(right) > 10 > np.trace(swapped)


def test_planted_dimensions_are_recovered(world: World, found: Found) -> None:
    table, arrays = found
    assert list(table.columns) == list(SHARED_COLUMNS)
    assert list(table["direction"]) == ["language"] * 4 + ["vision"] * 4
    for direction, part in table.groupby("direction"):
        assert list(part["significant"]) == [True, True, False, False]
        assert (part["r"][:2] > 0.9).all() and (part["r"][2:].abs() < 0.4).all()
        assert (part["loso_r"][:2] > 0.9).all() and (part["loso_rotated"][:2] > 0.95).all()
        assert (part["share_other"] > part["share_other_null"])[:2].all()
        assert part["p_share"].iloc[0] == 1 / 40
        projections = [
            arrays[str(direction)][name].values for name in ("projection", "projection_other")
        ]
        size = np.linalg.norm(world.truth[:, :4], axis=1, keepdims=True)
        for values in projections:
            for number in range(2):
                r = np.corrcoef(values[:, number], (world.truth / size)[:, number])[0, 1]
                assert abs(r) >= 0.9
    loading = arrays["language"]["loading"].values
    cosines = np.abs(np.sum(loading[:, :2] * world.directions[:, :2], axis=0))
    assert (cosines >= 0.9).all()
    top = np.abs(loading).argmax(axis=0)
    assert (loading[top, np.arange(4)] > 0).all()


def test_the_same_again(world: World, found: Found) -> None:
    table, arrays = found_in(world)
    pd.testing.assert_frame_equal(table, found[0])
    assert all(arrays[name].identical(found[1][name]) for name in arrays)


def test_arrays_hold_what_the_table_says(world: World, found: Found, tmp_path: Path) -> None:
    table, arrays = found
    one = table[table["direction"] == "language"]
    held = arrays["language"]
    assert held["r_refit"].shape == (39, 4) and held["r_spatial"].shape == (199, 4)
    above = np.sum(held["r_refit"].values >= one["r"].to_numpy(), axis=0)
    np.testing.assert_allclose(one["p_refit"], (above + 1) / 40)
    above = np.sum(held["r_spatial"].values >= one["r"].to_numpy(), axis=0)
    np.testing.assert_allclose(one["p_spatial"], (above + 1) / 200)
    np.testing.assert_allclose(one["p"], np.maximum(one["p_refit"], one["p_spatial"]))
    np.testing.assert_allclose(one["share_other_null"], held["share_other_refit"].mean("draw"),
                               rtol=1e-4)  # fmt: skip
    subject = held["subject"].values
    centred = []
    for name in ("projection", "projection_other"):
        values = held[name].values.astype(float)
        for label in np.unique(subject):
            values[subject == label] -= values[subject == label].mean(axis=0)
        centred.append(values)
    both = [np.corrcoef(a, b)[0, 1] for a, b in zip(centred[0].T, centred[1].T, strict=True)]
    np.testing.assert_allclose(one["r"], both, atol=1e-5)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(centred[0][:40].T, centred[1][:40].T, strict=True)]
    np.testing.assert_allclose(held["r_subject"].values[0], r, atol=1e-5)
    write_array(tmp_path / "shared.nc", held)
    assert read_array(tmp_path / "shared.nc")["loading"].dims == ("feature", "component")
    write_table(tmp_path / "shared.tsv", table, SHARED_COLUMNS)
    units = pd.DataFrame({"unit": world.features[0]["unit"].values})
    ends = extreme_units(held["loading"], world.features[0], units, n=3)
    assert len(ends) == 4 * 2 * 3
    top = ends[(ends["component"] == 1) & (ends["end"] == "top")]["projection"]
    assert top.min() > 2


def test_units_of_the_other_model_are_taken_into_the_space_by_hand() -> None:
    names = ["a", "b", "c", "d"]
    own = xr.DataArray(
        np.array([[0.0, 0], [2, 0], [0, 4], [2, 4]]), {"unit": list("wxyz")}, ("unit", "feature")
    )
    other = xr.DataArray(
        np.array([[1.0, 9, 5], [2, 9, 5], [3, 9, 9], [4, 9, 9]]), {"unit": names},
        ("unit", "feature"),
    )  # fmt: skip
    to = np.array([[2.0, 0], [0, 0], [0, -1]])
    loading = xr.DataArray(np.eye(2), dims=("feature", "component"), coords={"component": [1, 2]})
    units = pd.DataFrame({"unit": names, "stimulus": "film", "stimulus_time": np.arange(4) * 9.0})
    found = other_units(loading, own, other, to, units, n=1)
    assert found["unit"].tolist() == ["d", "a", "a", "d"]
    # (4 - 2.5) * 2 over the sd of the own feature, 1; and -(5 - 7) over 2
    np.testing.assert_allclose(found["projection"], [3, -3, 1, -1])
    scored = other_units(loading, own, other, to, units, (True, True), n=1)
    np.testing.assert_allclose(scored["projection"][0], 1.5 / np.sqrt(1.25) * 2)


@pytest.mark.parametrize("kind", ["apart", "deaf", "planted"])
def test_rates(kind: str) -> None:
    """Sites of other places, films that nothing follows, and dimensions of language alone."""
    settings: dict[str, Any] = {"apart": {"common": False}, "deaf": {"vision": False}}.get(kind, {})
    tables = []
    for seed in range(40):
        made = make_world(500 + seed, subjects=1, **settings)
        tables.append(one_way(made, seed, {**PARAMS, "draws": 19, "surrogates": 99}))
    p = np.stack([table["p"].to_numpy()[:4] for table in tables if len(table) >= 4])
    assert len(p) >= 38
    silent = p[:, 2:] if kind == "planted" else p
    assert np.sum(silent <= 0.05) <= binom.ppf(0.999, silent.size, 0.05)
    if kind == "apart":
        # each null alone keeps its level too
        for name in ("p_refit", "p_spatial"):
            alone = np.concatenate([table[name] for table in tables])
            assert np.sum(alone <= 0.05) <= binom.ppf(0.999, alone.size, 0.05)
    if kind == "planted":
        assert np.mean(p[:, :2] <= 0.05) >= 0.9


def test_a_site_without_weights_is_nan_and_counted(world: World) -> None:
    members = []
    for both in world.members:
        language, vision = both
        response = vision.response.copy(deep=True)
        response[:, 3] = 1.0
        response[5, 7] = np.nan
        fit = fit_encoding(vision.design, response, PARAMS["vision"])
        assert np.isnan(fit["score"].values[0, [3, 7]]).all()
        members.append((language, Member(vision.subject, vision.design, response, fit,
                                         vision.sites)))  # fmt: skip
    table, arrays = found_in(replace(world, members=members), sites="all")
    assert (table["n_sites"] == 76).all() and (table["n_undefined"] == 4).all()
    for held in arrays.values():
        for name in ("projection", "projection_other"):
            empty = np.isnan(held[name].values).all(axis=1)
            assert list(np.flatnonzero(empty)) == [3, 7, 43, 47]
            assert np.isfinite(held[name].values[~empty]).all()
    assert table["p"].notna().all()


def test_sites_that_enter(world: World) -> None:
    members = []
    for language, vision in world.members:
        first, second = language.sites.copy(), vision.sites.copy()
        first["significant"] = np.arange(40) < 20
        second["significant"] = np.arange(40) >= 12
        second = second.iloc[::-1]  # sites are matched by name
        members.append((replace(language, sites=first), replace(vision, sites=second)))
    chosen = replace(world, members=members)
    few = {"draws": 1, "surrogates": 9, "n": 1}
    assert (found_in(chosen, **few)[0]["n_sites"] == 16).all()
    held = found_in(chosen, **few)[1]["vision"]
    assert list(held["site"].values[:8]) == [f"s{site:02d}" for site in range(12, 20)]
    assert (found_in(chosen, **few, sites="either")[0]["n_sites"] == 80).all()
    assert (found_in(chosen, **few, sites="all")[0]["n_sites"] == 80).all()
    with pytest.raises(InputError, match="sites 'some' is not one of both, either, all"):
        found_in(chosen, **few, sites="some")


def test_single_subject() -> None:
    alone = make_world(3, subjects=1)
    table, arrays = found_in(alone, draws=19, surrogates=99)
    assert (table["n_subjects"] == 1).all()
    assert table.filter(like="loso").isna().all(axis=None)
    assert table["p"].notna().all() and arrays["language"]["r_subject"].shape == (1, 4)


def pair_of(
    own: np.ndarray, other: np.ndarray, subject: str = "01", draws: int = 9, **places: Any
) -> Paired:
    """Weights as they are, with draws of noise."""
    table = pd.DataFrame(
        {
            "subject": subject,
            "site": [f"s{site}" for site in range(len(own))],
            "region": "region",
            **{name: np.nan for name in "xyz"},
            "score": 1.0,
            "score_other": 1.0,
            **places,
        }
    )
    rng = np.random.default_rng(len(own))
    return Paired(subject, own, other, (rng.standard_normal(other.shape) for _ in range(draws)),
                  table)  # fmt: skip


def test_fewer_sites_than_components(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights, stimulus = rng.standard_normal((3, 6)), np.eye(6)[:5]
    table = shared_components([pair_of(weights, weights)], stimulus, {"n": 5}, 1).table
    assert list(table["component"]) == [1, 2]  # three centred rows span two dimensions
    np.testing.assert_allclose(table["r"], 1)
    with caplog.at_level(logging.WARNING, "braid"):
        less = shared_components([pair_of(weights[:2], weights[:2])], stimulus, {"n": 5}, 1)
        none = shared_components([], stimulus, {"n": 5}, 1)
        same = shared_components([pair_of(np.ones((4, 6)), np.ones((4, 6)))], stimulus, {"n": 5}, 1)
    assert "2 sites have weights of both models; shared components need 3" in caplog.text
    for nothing, sites in ((less, 2), (none, 0), (same, 4)):
        assert nothing.table.empty and list(nothing.table.columns) == list(SHARED_COLUMNS)
        write_table(tmp_path / "shared.tsv", nothing.table, SHARED_COLUMNS)
        write_array(tmp_path / "shared.nc", nothing.arrays)
        held = read_array(tmp_path / "shared.nc")
        assert held["loading"].shape == (6, 0) and held.sizes["site"] == sites


def test_shares_and_subjects_left_out_by_hand() -> None:
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.standard_normal((6, 6)))[0].T
    amounts = rng.standard_normal((3, 30, 2)) * [3, 1]
    own = [part @ axes[:2] for part in amounts]
    other = [part[:, :1] @ axes[:1] + 0.5 * rng.standard_normal((30, 1)) @ axes[2:3]
             for part in amounts]  # fmt: skip
    pairs = [pair_of(a, b, str(k)) for k, (a, b) in enumerate(zip(own, other, strict=True))]
    stimulus = axes[[2, 0]]
    table = shared_components(pairs, stimulus, {"n": 3}, 1).table
    assert len(table) == 2
    loadings, share = principal(np.concatenate(own), 3)
    stacked = np.concatenate(other)
    np.testing.assert_allclose(table["share"], share)
    np.testing.assert_allclose(table["share_other"], explained(stacked, loadings))
    np.testing.assert_allclose(table["share_stimulus"], explained(stacked, stimulus))
    assert table["share_other"][0] > 0.9 > 0.2 > table["share_stimulus"][0]
    assert table["r"][0] > 0.99
    # the others' components are those of all: two dimensions hold everything
    np.testing.assert_allclose(table["loso_rotated"], 1)
    assert (table["loso_cosine"] > 0.97).all()
    np.testing.assert_allclose(table["loso_share"].sum(), 1)
    np.testing.assert_allclose(
        table["loso_share_stimulus"],
        np.mean([explained(part, stimulus) for part in own], axis=0), atol=1e-12,
    )  # fmt: skip
    assert (table["spatial"] == "none").all() and table["p_spatial"].isna().all()
    np.testing.assert_allclose(table["p"], table["p_refit"])
    few = shared_components([pair_of(own[0], other[0])], stimulus[:1], {"n": 2}, 1).table
    assert list(few["share_stimulus"].isna()) == [False, True] and few["p_stimulus"].notna().all()


def test_places_on_a_sphere_are_spun() -> None:
    rng = np.random.default_rng(1)
    sphere = rng.standard_normal((120, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    places = {
        **{f"sphere_{axis}": 100 * sphere[:, k] for k, axis in enumerate("xyz")},
        "hemisphere": np.repeat(["L", "R"], 60),
        **{axis: sphere[:, k] for k, axis in enumerate("xyz")},
    }
    shared = smooth_fields(sphere, 2, 0.5, 1) * [3, 1]
    alone = smooth_fields(sphere, 2, 0.5, 2)
    axes = np.eye(5)
    own = shared @ axes[:2]
    other = shared[:, :1] @ axes[:1] + alone[:, 1:] @ axes[1:2]

    def spun(**params: Any) -> tuple[pd.DataFrame, xr.Dataset]:
        pair = pair_of(own, other, draws=99, **places)
        found = shared_components([pair], axes, {"n": 2, "surrogates": 199, **params}, 1)
        return found.table, found.arrays

    table, arrays = spun()
    assert (table["spatial"] == "spin").all() and arrays.attrs["spatial"] == "spin"
    assert list(table["significant"]) == [True, False]
    assert set(arrays["hemisphere"].values) == {"L", "R"} and "sphere_x" in arrays.coords
    assert (spun(spatial="spectral")[0]["spatial"] == "spectral").all()
    assert (spun(spatial="none")[0]["n_surrogates"] == 0).all()
    with pytest.raises(InputError, match="spatial 'turn' is not one of"):
        spun(spatial="turn")
    places["sphere_x"] = np.where(np.arange(120) == 4, np.nan, 100 * sphere[:, 0])
    assert (spun()[0]["spatial"] == "spectral").all()
    with pytest.raises(InputError, match="spatial 'spin' needs places on a sphere of all sites"):
        spun(spatial="spin")


def test_feature_components_are_those_of_standardised_features() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 4)) @ np.array(
        [[3.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 5, 0], [0] * 4]
    )
    features = xr.DataArray(values + 7, dims=("unit", "feature"))
    found = feature_components(features, 9)
    standard = (values - values.mean(0))[:, :3] / values.std(0)[:3]
    expected, _ = principal(standard, 9)
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-10)
    np.testing.assert_array_equal(found[:, 3], 0)


def test_inputs_that_do_not_belong_together(world: World) -> None:
    with pytest.raises(InputError, match=r"draws \(0\) must be at least 1"):
        found_in(world, draws=0)
    with pytest.raises(InputError, match=r"n \(0\) must be at least 1"):
        found_in(world, n=0)
    (language, vision), second = world.members
    with pytest.raises(InputError, match="subjects 01 and 02 are no pair"):
        found_in(replace(world, members=[(language, second[1])]))
    elsewhere = pd.DataFrame({"site": ["s00", "nowhere"], "significant": True})
    lost = replace(language, sites=elsewhere), replace(vision, sites=elsewhere)
    with pytest.raises(InputError, match=r"no site 'nowhere'.*subject 01"):
        found_in(replace(world, members=[lost]))
    narrow = world.features[0].isel(feature=slice(5))
    with pytest.raises(InputError, match="8 features in layer 'text', but the units have 5"):
        found_in(replace(world, features=(narrow, world.features[1])))
    pair = pair_of(np.eye(4), np.eye(4))
    with pytest.raises(InputError, match="have 4, 5 features; map both"):
        shared_components([pair], np.eye(5), {"n": 1}, 1)
    with pytest.raises(InputError, match="4 and 3 sites with weights and 4 in its table"):
        shared_components([replace(pair, other=np.eye(4)[:3])], np.eye(4), {"n": 1}, 1)
    with pytest.raises(InputError, match="subject 01 has no draws"):
        shared_components([replace(pair, draws=[])], np.eye(4), {"n": 1}, 1)
