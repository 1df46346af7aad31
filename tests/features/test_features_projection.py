"""Learnt projections: planted and absent structure, closed forms, designs, and wrong input."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import xarray as xr

from braid import config as study
from braid.common import InputError, read_array, write_array
from braid.features import build_design, combine_designs, learn_projection

ROOT = Path(__file__).resolve().parents[2]
Features = dict[str, dict[str, xr.DataArray]]


def _units(n: int, without: int = 0) -> pd.DataFrame:
    """Units with picture and text, then some without a picture and as many without text."""
    frames = np.r_[np.arange(n) * 0.5, np.full(without, np.nan), np.arange(without)]
    words = ["a word"] * (n + without) + ["n/a"] * without
    names = [f"u{k:04d}" for k in range(len(words))]
    return pd.DataFrame(
        {"unit": names, "stimulus": "film.mkv", "sha256": "0", "frame_time": frames, "text": words}
    )


def _network(units: pd.DataFrame, *layers: np.ndarray) -> dict[str, xr.DataArray]:
    """Layers of a network from arrays with one row per unit."""
    return {
        f"block.{k}": xr.DataArray(
            values.astype(np.float32),
            dims=("unit", "feature"),
            coords={"unit": units["unit"].to_numpy(str)},
        )
        for k, values in enumerate(layers)
    }


def _planted(n: int, widths: tuple[int, int], shared: int, seed: int = 0) -> Features:
    """Two networks of one layer that share some dimensions, on different scales, with offsets."""
    generator = np.random.default_rng(seed)
    latent = generator.standard_normal((n, shared))
    sides = [
        latent @ generator.standard_normal((shared, width))
        + 0.3 * generator.standard_normal((n, width))
        for width in widths
    ]
    units = _units(n)
    return {
        "eyes": _network(units, 100 * sides[0] + 7),
        "ears": _network(units, 0.01 * sides[1] - 3),
    }


def _direct(x: np.ndarray, y: np.ndarray, dim: int, penalty: float) -> list[np.ndarray]:
    """Canonical ridge by its textbook form: all p x p matrices, symmetric square roots."""
    x, y = (part - part.mean(axis=0) for part in (x.astype(float), y.astype(float)))

    def root(part: np.ndarray) -> np.ndarray:
        covariance = part.T @ part / len(part)
        ridge = penalty * np.linalg.eigvalsh(covariance).mean()
        values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
        return (vectors / np.sqrt(values)) @ vectors.T

    a, b = root(x), root(y)
    left, _, right = scipy.linalg.svd(a @ (x.T @ y / len(x)) @ b)
    maps = [a @ left[:, :dim], b @ right[:dim].T]
    signs = np.sign(maps[0][np.abs(maps[0]).argmax(axis=0), np.arange(dim)])
    return [found * signs for found in maps]


def test_planted_dimensions_are_found_and_no_others() -> None:
    learnt = learn_projection(_planted(600, (30, 20), shared=3), _units(600), 6, 0.01)
    held_out = learnt["held_out_00"].mean("part").values
    assert (held_out[:3] > 0.9).all()
    assert (np.abs(held_out[3:]) < 0.2).all()
    assert learnt["held_out_00"].sizes["part"] == 5
    assert (np.diff(learnt["correlation_00"]) < 1e-3).all()


def test_unrelated_networks_agree_where_learnt_but_not_where_held_out() -> None:
    generator = np.random.default_rng(1)
    units = _units(600)
    features = {
        name: _network(units, generator.standard_normal((600, width)))
        for name, width in (("eyes", 40), ("ears", 30))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learnt = learn_projection(features, units, 5, 0.1)
    assert (learnt["correlation_00"] > 0.25).all()
    # of 600 independent units, a correlation has a standard error of .04
    assert (np.abs(learnt["held_out_00"].mean("part")) < 0.16).all()


def test_networks_that_agree_nowhere_are_warned_of() -> None:
    units = _units(50)
    x = np.tile(np.linspace(-1, 1, 10), 5)[:, None]
    # these slopes sum to zero, so that each part contradicts all others together
    y = x * np.repeat([1, 1, 1, -1.5, -1.5], 10)[:, None]
    with pytest.warns(UserWarning, match=r"do not agree on units held out \(correlation -1\.00\)"):
        learn_projection({"eyes": _network(units, x), "ears": _network(units, y)}, units, 1, 0.1)


@pytest.mark.parametrize("widths", [(12, 9), (9, 70), (150, 110)])
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_equal_to_the_textbook_form(widths: tuple[int, int], penalty: float) -> None:
    features = _planted(60, widths, shared=4)
    learnt = learn_projection(features, _units(60), 4, penalty)
    sides = [features[name]["block.0"].values for name in ("eyes", "ears")]
    for side, expected in enumerate(_direct(*sides, 4, penalty)):
        found = learnt[f"map_00_{side}"].values
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        mean = sides[side].astype(float).mean(axis=0)
        np.testing.assert_allclose(learnt[f"mean_00_{side}"], mean, rtol=1e-5)


@pytest.mark.parametrize("widths", [(8, 6), (90, 80)])
def test_what_is_held_out_was_not_learnt_from(widths: tuple[int, int]) -> None:
    features = _planted(60, widths, shared=2)
    units = _units(60)
    found = learn_projection(features, units, 2, 0.1)["held_out_00"].values
    for part in range(5):
        left = np.arange(60) // 12 == part
        rest = learn_projection(features, units[~left], 2, 0.1)
        variates = [
            features[name]["block.0"].values[left].astype(float) @ rest[f"map_00_{side}"].values
            for side, name in enumerate(("eyes", "ears"))
        ]
        for k in range(2):
            expected = np.corrcoef(variates[0][:, k], variates[1][:, k])[0, 1]
            assert found[part, k] == pytest.approx(expected, abs=1e-4)


def test_more_features_than_units_still_generalise() -> None:
    learnt = learn_projection(_planted(80, (400, 300), shared=2), _units(80), 256, 0.1)
    # 80 centred units span 79 dimensions
    assert learnt.sizes["dimension_00"] == 79
    assert learnt.attrs["dim"] == 256
    assert (learnt["held_out_00"][:, :2].mean("part") > 0.9).all()
    # the other parts' 64 units span 63
    assert np.isnan(learnt["held_out_00"][:, 63:]).all()


@pytest.mark.parametrize("widths", [(12, 9), (90, 80)])
def test_the_order_of_units_does_not_matter(widths: tuple[int, int]) -> None:
    features, units = _planted(60, widths, shared=4), _units(60)
    order = np.random.default_rng(3).permutation(60)
    moved = {n: {k: v[order] for k, v in layers.items()} for n, layers in features.items()}
    one = learn_projection(features, units, 4, 0.1)
    two = learn_projection(moved, units, 4, 0.1)
    three = learn_projection(features, units.iloc[order], 4, 0.1)
    for name in ("map_00_0", "map_00_1", "correlation_00"):
        scale = float(np.abs(one[name]).max())
        np.testing.assert_allclose(one[name], two[name], atol=1e-5 * scale)
        np.testing.assert_allclose(one[name], three[name], atol=1e-5 * scale)
    # the parts follow the table of units, not the rows of the features
    np.testing.assert_allclose(one["held_out_00"], two["held_out_00"], atol=1e-4)
    again = learn_projection(features, units, 4, 0.1)
    assert one.identical(again)


def test_only_units_with_picture_and_text_count() -> None:
    features, units = _planted(60, (8, 6), shared=2), _units(60, without=15)
    more = {
        name: _network(units, np.vstack([layers["block.0"].values, np.full((30, width), 1e6)]))
        for (name, layers), width in zip(features.items(), (8, 6), strict=True)
    }
    one = learn_projection(features, _units(60), 2, 0.1)
    two = learn_projection(more, units, 2, 0.1)
    assert one.identical(two)
    assert two.attrs["n_units"] == 60


def _layouts(n: int) -> tuple[pd.DataFrame, xr.DataArray]:
    """Two runs in which the units are shown, and the volumes recorded meanwhile."""
    events = pd.DataFrame(
        {
            "event": np.arange(n),
            "run": np.repeat(["a", "b"], n // 2),
            "onset": np.tile(np.arange(n // 2) * 0.9, 2),
            "duration": 0.4,
            "unit": [f"u{k:04d}" for k in range(n)],
        }
    )
    volumes = np.arange(20) * 1.5 + 0.75
    response = xr.DataArray(
        np.zeros((40, 1)),
        dims=("sample", "target"),
        coords={
            "run": ("sample", np.repeat([0, 1], 20)),
            "time": ("sample", np.tile(volumes, 2)),
            "event": ("sample", np.full(40, -1)),
        },
        attrs={"runs": '["a", "b"]', "subject": "01", "repetition_time": 1.5},
    )
    return events, response


@pytest.mark.parametrize("kind", ["lanczos", "boxcar"])
def test_projecting_commutes_with_resampling(kind: str, tmp_path: Path) -> None:
    units = _units(60)
    features = _planted(60, (8, 6), shared=2)
    features["eyes"]["block.1"] = features["eyes"]["block.0"][:, ::-1] * 2
    learnt = learn_projection(features, units, 3, 0.1)
    write_array(tmp_path / "learnt.nc", learnt)
    events, response = _layouts(60)
    designs = {
        name: build_design(layers, events, response, {"kind": kind})
        for name, layers in features.items()
    }
    joined = combine_designs(designs, read_array(tmp_path / "learnt.nc"))
    # the same, projected before it is resampled
    projected = _network(
        units,
        *(
            features["eyes"][f"block.{k}"].values.astype(float) @ learnt[f"map_{k:02d}_0"].values
            + features["ears"]["block.0"].values.astype(float) @ learnt[f"map_{k:02d}_1"].values
            for k in range(2)
        ),
    )
    expected = build_design(projected, events, response, {"kind": kind})
    for k in range(2):
        found = joined[f"layer_{k:02d}"]
        assert found.dtype == np.float32 and found.shape == (40, 3)
        scale = float(np.abs(expected[f"layer_{k:02d}"]).max())
        np.testing.assert_allclose(found, expected[f"layer_{k:02d}"], atol=1e-5 * scale)
    assert json.loads(joined.attrs["layers"]) == [
        "eyes:block.0+ears:block.0",
        "eyes:block.1+ears:block.0",
    ]
    assert json.loads(joined.attrs["models"]) == ["eyes", "ears"]
    assert joined.attrs["delays"] == designs["eyes"].attrs["delays"]
    assert "widths" not in joined.attrs


def test_a_projection_of_other_designs_is_refused() -> None:
    events, response = _layouts(60)
    features = _planted(60, (8, 6), shared=2)
    designs = {
        name: build_design(layers, events, response, {"kind": "lanczos"})
        for name, layers in features.items()
    }
    learnt = learn_projection(features, _units(60), 2, 0.1)
    with pytest.raises(InputError, match="learnt for the models eyes, ears, the designs are of"):
        combine_designs(dict(reversed(designs.items())), learnt)
    other = designs["ears"].assign_attrs(layers='["block.7"]')
    with pytest.raises(InputError, match=r"for the layers eyes:block\.0\+ears:block\.0, the"):
        combine_designs({**designs, "ears": other}, learnt)
    narrow = designs["ears"].isel(feature_00=slice(4))
    with pytest.raises(InputError, match="has a projection for 6 features and a design of 4"):
        combine_designs({**designs, "ears": narrow}, learnt)


def test_bad_input_is_named() -> None:
    features, units = _planted(60, (8, 6), shared=2), _units(60)

    def refused(match: str, features: Features, units: pd.DataFrame, *settings: Any) -> None:
        with pytest.raises(InputError, match=match):
            learn_projection(features, units, *(settings or (2, 0.1)))

    few = units.assign(text=["a word"] * 9 + ["n/a"] * 51)
    refused("9 of 60 units have a picture and a text, and a projection needs 10", features, few)
    refused("two networks, not 1; name two", {"eyes": features["eyes"]}, units)
    refused("dim 0 must be at least 1", features, units, 0, 0.1)
    refused("penalty 0 at least 1e-06", features, units, 2, 0)
    eyes, ears = features["eyes"], features["ears"]
    fewer = {"eyes": eyes, "ears": {"block.0": ears["block.0"][:59]}}
    refused(r"features of ears: unit u0059 has no features in layer block\.0", fewer, units)
    values = ears["block.0"].values.copy()
    values[17, 2] = np.nan
    broken = {"eyes": eyes, "ears": _network(units, values)}
    refused(r"features of ears: layer block\.0 of unit u0017 holds a value", broken, units)
    same = {"eyes": _network(units, np.ones((60, 4))), "ears": ears}
    refused(r"features of eyes: layer block\.0 is the same for all units", same, units)


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The demo, one analysis of which has a concatenation and a projection."""
    monkeypatch.chdir(ROOT)
    config: dict[str, Any] = study.read_yaml("config/config.yaml")
    config["analyses"]["bold_film"]["combinations"] = {
        "concat": ["toy-vit", "toy-bert"],
        "lin": {"networks": ["toy-vit", "toy-bert"], "projection": {"dim": 16}},
    }
    config["analyses"]["bold_film"]["compare"] = {"linear": ["lin", "concat"]}
    return config


def _prepared(config: dict[str, Any]) -> dict[str, Any]:
    return study.prepare(config, ROOT / "workflow" / "schemas", "here.yaml")


def test_a_mapping_becomes_a_list_and_a_projection(demo: dict[str, Any]) -> None:
    demo["analyses"]["again"] = demo["analyses"]["bold_film"]
    prepared = _prepared(demo)
    for name in ("bold_film", "again"):
        entry = prepared["analyses"][name]
        assert entry["combinations"] == {key: ["toy-vit", "toy-bert"] for key in ("concat", "lin")}
        assert entry["projections"] == {"lin": {"dim": 16, "penalty": 0.1}}
        assert study.projection_of(entry, "lin") == {"dim": 16, "penalty": 0.1}
        assert study.projection_of(entry, "concat") is None
        assert "lin" in study.models_of(entry)
    # what has no projection is as it was
    assert "projections" not in prepared["analyses"]["ieeg_film"]
    assert study.used_by(demo) == sorted(prepared["registry"])


def test_networks_of_a_projection_alone_are_run(demo: dict[str, Any]) -> None:
    entry = demo["analyses"]["bold_film"]
    entry |= {"models": ["toy-bert"], "untrained": [], "combinations": {}, "compare": {}}
    demo["components"] = {}
    entry["combinations"]["lin"] = {"networks": ["toy-vit", "toy-bert"], "projection": {}}
    assert study.networks_of(_prepared(demo)["analyses"]["bold_film"]) == ["toy-bert", "toy-vit"]


@pytest.mark.parametrize(
    ("combination", "message"),
    [
        ({"networks": ["toy-vit", "toy-bert"], "projection": {"dims": 3}},
         r"unknown key 'dims' in 'analyses\.bold_film\.combinations\.lin\.projection'.*'dim'"),
        ({"network": ["toy-vit", "toy-bert"], "projection": {}},
         r"unknown key 'network' in 'analyses\.bold_film\.combinations\.lin'.*'networks'"),
        ({"networks": ["toy-vit", "toy-bert"]}, r"combinations\.lin': 'projection' is missing"),
        ({"networks": ["toy-vit", "toy-bert", "toy-clip"], "projection": {}}, "too long"),
        ({"networks": ["toy-vit", "toy-bert"], "projection": {"penalty": 0}}, "less than the min"),
        (["toy-vit"], "too short"),
        ("toy-vit", "not of type 'array', 'object'"),
        ({"networks": ["toy-vit", "toy-bret"], "projection": {}}, "'toy-bret'; did you mean"),
        ({"networks": ["toy-bert", "toy-bert_untrained"], "projection": {}},
         r"combinations\.lin\.networks: toy-bert and toy-bert_untrained are both language"),
    ],
)  # fmt: skip
def test_wrong_combinations_are_named(demo: dict[str, Any], combination: Any, message: str) -> None:
    demo["analyses"]["bold_film"]["combinations"]["lin"] = combination
    with pytest.raises(InputError, match=message):
        _prepared(demo)


def test_a_projection_is_not_transferred(demo: dict[str, Any]) -> None:
    demo["analyses"]["bold_story"]["combinations"] = demo["analyses"]["bold_film"]["combinations"]
    entry = demo["transfers"]["film_to_story"]
    entry["models"] = ["concat"]
    assert _prepared(demo)["transfers"]
    entry["models"] = ["lin"]
    with pytest.raises(InputError, match=r"film_to_story\.models: lin is projected as analysis"):
        _prepared(demo)
