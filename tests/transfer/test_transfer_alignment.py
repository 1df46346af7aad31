"""Maps between feature spaces: which way round, how well, and what they cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.linear_model import Ridge

from braid.common import InputError
from braid.transfer import (
    QUALITY_COLUMNS,
    aligned,
    aligned_weights,
    learn_alignment,
    pair_layers,
    plain_maps,
)

N, WORDS, LOOKS = 240, 12, 9
PARAMS: dict[str, Any] = {
    "captions": "mean", "folds": 5, "alphas": {"low": -6, "high": 3, "n": 10}
}  # fmt: skip
PAIRS = [("text.1", "image.1")]


def features(values: np.ndarray, prefix: str) -> xr.DataArray:
    units = [f"{prefix}{number}" for number in range(len(values))]
    return xr.DataArray(values.astype(np.float32), {"unit": units}, ("unit", "feature"))


def captioned(per_picture: int = 1, n: int = N) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "picture": np.repeat([f"p{number}" for number in range(n)], per_picture),
            "caption": [f"c{number}" for number in range(n * per_picture)],
        }
    )


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    """Language features are a known, non-symmetric mixture of vision features, and noise."""
    rng = np.random.default_rng(3)
    seen = rng.standard_normal((N, LOOKS)) * np.linspace(0.5, 3, LOOKS) + 4
    mixing = rng.standard_normal((LOOKS, WORDS))
    heard = seen @ mixing + 0.05 * rng.standard_normal((N, WORDS)) - 2
    language, vision = {"text.1": features(heard, "c")}, {"image.1": features(seen, "p")}
    maps, quality = learn_alignment(language, vision, captioned(), PAIRS, PARAMS)
    return {
        "heard": heard, "seen": seen, "mixing": mixing, "language": language, "vision": vision,
        "maps": maps, "quality": quality,
    }  # fmt: skip


def test_maps_lead_where_they_say(world: dict[str, Any]) -> None:
    there = aligned(world["vision"], world["maps"], "language")
    assert list(there) == ["text.1"]
    assert there["text.1"].shape == (N, WORDS)
    np.testing.assert_allclose(there["text.1"], world["heard"], atol=0.5)
    # units that were not among the pictures are taken along the same line
    new = np.random.default_rng(4).standard_normal((5, LOOKS)) + 4
    found = aligned({"image.1": features(new, "x")}, world["maps"], "language")["text.1"]
    np.testing.assert_allclose(found, new @ world["mixing"] - 2, atol=0.5)
    back = aligned(world["language"], world["maps"], "vision")["image.1"]
    assert np.corrcoef(back.values.ravel(), world["seen"].ravel())[0, 1] > 0.99


def test_weights_take_the_map_that_leads_to_their_own_space(world: dict[str, Any]) -> None:
    """What is heard, mapped to vision and weighted there, equals what is heard and weighted here.

    With the other map, or its transpose, it would not: the maps are far from symmetric.
    """
    b_vision = np.random.default_rng(5).standard_normal((3, LOOKS))
    b_language = aligned_weights(b_vision, world["maps"], "image.1", "language")
    assert b_language.shape == (3, WORDS)
    maps, heard = world["maps"], world["heard"]
    x = (heard - maps["mean_language_00"].values) / maps["sd_language_00"].values
    seen = aligned(world["language"], maps, "vision")["image.1"].values
    v = (seen - maps["mean_vision_00"].values) / maps["sd_vision_00"].values
    np.testing.assert_allclose(x @ b_language.T, v @ b_vision.T, rtol=1e-3, atol=1e-3)
    with pytest.raises(InputError, match=r"layer 'image\.2' was not aligned"):
        aligned_weights(b_vision, maps, "image.2", "language")


def test_plain_maps_are_in_the_units_of_the_designs(world: dict[str, Any]) -> None:
    maps = world["maps"]
    to_vision, to_language = plain_maps(maps, 0)
    assert to_vision.shape == (WORDS, LOOKS) and to_language.shape == (LOOKS, WORDS)
    seen = aligned(world["language"], maps, "vision")["image.1"].values
    moved = (world["heard"] - world["heard"].mean(0)) @ to_vision
    np.testing.assert_allclose(moved, seen - seen.mean(0), atol=1e-3)
    # designs with z-scored features: the maps between standard deviations
    np.testing.assert_allclose(
        plain_maps(maps, 0, ("language", "vision"))[0], maps["to_vision_00"], rtol=1e-6
    )
    half = plain_maps(maps, 0, ("language",))[0]
    np.testing.assert_allclose(half, maps["to_vision_00"] * maps["sd_vision_00"].values, rtol=1e-6)


def test_equals_scikit_learn_at_the_chosen_penalty(world: dict[str, Any]) -> None:
    one = {**PARAMS, "alphas": {"low": -1, "high": -1, "n": 1}}
    maps, quality = learn_alignment(world["language"], world["vision"], captioned(), PAIRS, one)
    heard, seen = (
        (x - x.mean(0)) / x.std(0)
        for x in (world[name].astype(np.float32).astype(float) for name in ("heard", "seen"))
    )
    expected = Ridge(alpha=0.1 * N).fit(seen, heard).coef_.T
    np.testing.assert_allclose(maps["to_language_00"], expected, atol=1e-5)
    assert quality["alpha"].tolist() == pytest.approx([0.1, 0.1])


def test_quality_is_that_of_pictures_held_out(world: dict[str, Any]) -> None:
    quality = world["quality"].set_index("direction")
    assert list(world["quality"].columns) == list(QUALITY_COLUMNS)
    assert quality.loc["language", "r2"] > 0.99
    assert (quality["rank"] > 0.99).all() and (quality["first"] > 0.9).all()
    assert quality["first_chance"].tolist() == pytest.approx([5 / N] * 2)
    assert quality["rank_identity"].isna().all()  # spaces of other sizes
    rng = np.random.default_rng(6)
    shuffled = captioned().assign(caption=rng.permutation(captioned()["caption"]))
    _, chance = learn_alignment(world["language"], world["vision"], shuffled, PAIRS, PARAMS)
    assert (chance["r2"] < 0.05).all()
    # sd of the mean of 240 uniform ranks is .019
    assert chance["rank"].to_numpy() == pytest.approx(0.5, abs=0.08)
    assert (chance["first"] < 0.1).all()


def test_the_identity_is_a_baseline_of_fused_spaces() -> None:
    rng = np.random.default_rng(7)
    seen = rng.standard_normal((N, 8))
    heard = seen + 0.3 * rng.standard_normal((N, 8))
    sides = {"text.1": features(heard, "c")}, {"image.1": features(seen, "p")}
    _, quality = learn_alignment(*sides, captioned(), PAIRS, PARAMS)
    assert (quality["rank_identity"] > 0.95).all()


def test_several_captions_are_averaged_or_count_each() -> None:
    rng = np.random.default_rng(8)
    seen = rng.standard_normal((N, 6))
    heard = np.repeat(seen @ rng.standard_normal((6, 7)), 3, axis=0)
    heard += 2.0 * rng.standard_normal(heard.shape)
    sides = {"text.1": features(heard, "c")}, {"image.1": features(seen, "p")}
    found = {}
    for how in ("mean", "rows"):
        maps, quality = learn_alignment(*sides, captioned(3), PAIRS, {**PARAMS, "captions": how})
        found[how] = quality.set_index("direction").loc["language"]
        mean = heard.reshape(N, 3, 7).mean(axis=1)
        np.testing.assert_allclose(maps["mean_language_00"], mean.mean(0), atol=1e-5)
    # less noise in the mean of three
    assert found["mean"]["r2"] > found["rows"]["r2"] + 0.1
    # captions of one picture never train and test each other: only other pictures are wrong matches
    assert found["rows"]["first_chance"] == pytest.approx(5 / N)


def test_features_that_do_not_vary_stay_out(world: dict[str, Any]) -> None:
    seen = world["seen"].copy()
    seen[:, 2] = 7.0
    vision = {"image.1": features(seen, "p")}
    maps, quality = learn_alignment(world["language"], vision, captioned(), PAIRS, PARAMS)
    assert quality.set_index("direction")["n_features"].to_dict() == {
        "vision": LOOKS - 1, "language": WORDS
    }  # fmt: skip
    assert not maps["to_vision_00"].values[:, 2].any()
    assert not maps["to_language_00"].values[2].any()
    back = aligned(world["language"], maps, "vision")["image.1"]
    np.testing.assert_allclose(back[:, 2], 7.0)


def test_layers_are_paired_by_depth_or_by_name() -> None:
    deep, flat = [f"t{k}" for k in range(6)], ["v0", "v1", "v2"]
    assert pair_layers(flat, flat) == [("v0", "v0"), ("v1", "v1"), ("v2", "v2")]
    assert pair_layers(deep, flat) == [("t0", "v0"), ("t2", "v1"), ("t5", "v2")]
    assert pair_layers(flat, deep) == [("v0", "t0"), ("v1", "t2"), ("v2", "t5")]
    assert pair_layers(deep, flat, {"t5": "v0"}) == [("t5", "v0")]
    counted = [("t1", "v0"), ("t2", "v1"), ("t5", "v2")]
    assert pair_layers(deep, flat, {"t{1..2}": "v{0..1}", "t5": "v2"}) == counted
    with pytest.raises(InputError, match="2 language layers are named and 1 vision layers"):
        pair_layers(deep, flat, {"t{1..2}": "v0"})
    with pytest.raises(InputError, match="no vision layer 'v9'"):
        pair_layers(deep, flat, {"t5": "v9"})
    with pytest.raises(InputError, match="vision layer 'v0' is named twice"):
        pair_layers(deep, flat, {"t5": "v0", "t4": "v0"})


def test_wrong_input_is_named(world: dict[str, Any]) -> None:
    sides = world["language"], world["vision"]
    with pytest.raises(InputError, match="12 captioned pictures are too few"):
        learn_alignment(*sides, captioned(n=12), PAIRS, PARAMS)
    with pytest.raises(InputError, match="picture unit p240 has no features"):
        learn_alignment(*sides, captioned(n=N + 1), PAIRS, PARAMS)
    broken = world["vision"]["image.1"].copy()
    broken[3, 2] = np.nan
    with pytest.raises(InputError, match="picture unit p3 hold a value"):
        learn_alignment(sides[0], {"image.1": broken}, captioned(), PAIRS, PARAMS)
    same = xr.ones_like(world["vision"]["image.1"])
    with pytest.raises(InputError, match="have the same features in a layer"):
        learn_alignment(sides[0], {"image.1": same}, captioned(), PAIRS, PARAMS)
    with pytest.raises(InputError, match="'both' is not one of"):
        learn_alignment(*sides, captioned(), PAIRS, {**PARAMS, "captions": "both"})
    with pytest.raises(InputError, match=r"layer 'image.1' was aligned but has no features"):
        aligned({"image.0": broken}, world["maps"], "language")
    with pytest.raises(InputError, match="has 5 features, but was aligned with 9"):
        aligned({"image.1": broken[:, :5]}, world["maps"], "language")
