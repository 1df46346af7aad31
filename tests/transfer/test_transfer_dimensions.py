"""One sign per dimension: sites that keep the sign of one dimension and turn round another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, pearsonr
from two_analyses import PARAMS

from braid.common import InputError
from braid.encoding import read_design, refit_weights
from braid.transfer import transfer_sites
from braid.transfer.dimensions import dim_sign_scores, main_directions, split
from braid.transfer.scores import open_pair, penalties, predictions, source_draws

MIXED, SILENT = slice(0, 20), slice(40, 80)


@pytest.fixture(scope="module")
def mixed(analysis: Callable[..., Any]) -> tuple[Any, Any]:
    """Sites on two dimensions: 0-19 turn the second one round, 20-39 keep both, 40-79 silent."""
    rng = np.random.default_rng(3)
    directions = np.linalg.qr(rng.standard_normal((12, 2)))[0]
    place = np.zeros((2, 80))
    # of unequal size: components of equal ones are any mixture of them
    place[:, :40] = rng.choice([-1.0, 1.0], (2, 40)) * rng.uniform(0.9, 1.1, (2, 40))
    place *= [[1.5], [0.8]]
    film = directions @ place
    place[1, MIXED] *= -1
    story = directions @ place
    runs = (220, 210, 200)
    return analysis("film", film, 1, runs), analysis("story", story, 2, runs)


def test_parts_add_up_and_go_through_their_directions() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3 * 8)).astype(np.float32)
    weights = rng.standard_normal((3 * 8, 5)).astype(np.float32)
    directions = np.linalg.qr(rng.standard_normal((8, 2)))[0].astype(np.float32)
    parts = split(x, weights, directions, 3)
    np.testing.assert_allclose(parts.sum(axis=0), x @ weights, atol=1e-4)
    projector = np.kron(np.eye(3), np.outer(directions[:, 1], directions[:, 1]))
    np.testing.assert_allclose(parts[1], x @ projector @ weights, atol=1e-4)


def test_main_directions_are_those_of_the_weights() -> None:
    rng = np.random.default_rng(0)
    truth = np.linalg.qr(rng.standard_normal((10, 2)))[0]
    weights = truth @ np.diag([3.0, 2.0]) @ rng.standard_normal((2, 400))
    found = main_directions(weights @ weights.T, 2)
    np.testing.assert_allclose(np.abs(found.T @ truth), np.eye(2), atol=0.2)
    np.testing.assert_allclose(found.T @ found, np.eye(2), atol=1e-12)


def test_mixed_sites_are_found_that_one_sign_misses(mixed: tuple[Any, Any]) -> None:
    film, story = mixed
    params = {**PARAMS, "tuning": ["none", "sign_loo", "dim_sign"], "dimensions": 2}
    table = transfer_sites(*film.args(), *story.args(), params, seed=1)
    found = {name: part.reset_index(drop=True) for name, part in table.groupby("tuning")}
    assert found["dim_sign"]["worth"].eq("held out").all()
    score = {name: part["score"] for name, part in found.items()}
    assert score["dim_sign"][MIXED].min() > 0.3
    # one sign for both dimensions leaves the difference of what they predict
    left = (1.5**2 - 0.8**2) / (1.5**2 + 0.8**2)
    ratio = score["sign_loo"][MIXED].mean() / score["dim_sign"][MIXED].mean()
    assert ratio == pytest.approx(left, abs=0.08)
    assert (found["dim_sign"]["p"][MIXED] == 1 / 40).all()
    # sites that keep both signs lose nothing
    np.testing.assert_allclose(score["dim_sign"][20:40], score["none"][20:40], atol=0.05)
    # every draw chooses its own signs, so that chance stays at its level
    called = int((found["dim_sign"]["p"][SILENT] <= 0.05).sum())
    assert called <= binom.ppf(0.999, 40, 0.05)
    assert abs(score["dim_sign"][SILENT].mean()) < 0.05
    assert found["dim_sign"][["relative_low", "relative_high"]].isna().all(axis=None)


def test_equals_a_computation_by_hand(mixed: tuple[Any, Any]) -> None:
    film, story = mixed
    pair = open_pair(*film.args(), *story.args())
    joined = pair.join("high", PARAMS)
    alpha = penalties(joined, PARAMS)
    drawn = source_draws(*pair.source, joined, PARAMS, 1)
    observed = dim_sign_scores(joined, drawn, alpha, PARAMS, 2)[0]
    weights = refit_weights(film.design, film.response, "high", PARAMS)["weights"].values
    x = read_design(film.design, "high").astype(float)
    scaled = weights * x.std(axis=0)[:, None]
    directions = np.linalg.eigh(scaled @ scaled.T)[1][:, ::-1][:, :2]
    seen = (read_design(story.design, "high") - x.mean(axis=0)) / x.std(axis=0)
    runs = story.response["run"].values
    for site in (0, 11, 25, 60):
        parts = [np.outer(u, u) @ scaled[:, site] for u in directions.T]
        parts = [seen @ part for part in [*parts, scaled[:, site] - sum(parts)]]
        y = story.response.values[:, site].astype(float)
        r = np.array([[pearsonr(p[runs == k], y[runs == k])[0] for p in parts] for k in range(3)])
        signs = np.sign(r.sum(axis=0) - r)
        scores = [
            pearsonr(sum(s * p[runs == k] for s, p in zip(signs[k], parts, strict=True)),
                     y[runs == k])[0]
            for k in range(3)
        ]  # fmt: skip
        assert observed[site] == pytest.approx(np.mean(scores), abs=2e-4)


def test_penalties_are_chosen_anew_where_the_test_asks(mixed: tuple[Any, Any]) -> None:
    film, story = mixed
    pair = open_pair(*film.args(), *story.args())
    joined = pair.join("high", PARAMS)
    alpha = penalties(joined, PARAMS)
    drawn = source_draws(*pair.source, joined, PARAMS, 1)
    found = {
        how: dim_sign_scores(
            joined, drawn, alpha, {**PARAMS, "test": {**PARAMS["test"], "alpha": how}}, 2
        )
        for how in ("fixed", "reselect", "hybrid")
    }
    for how in ("reselect", "hybrid"):
        np.testing.assert_array_equal(found[how][0], found["fixed"][0])
        assert not np.allclose(found[how][1:], found["fixed"][1:], atol=1e-3)
        assert np.std(found[how][1:]) == pytest.approx(np.std(found["fixed"][1:]), rel=0.3)


def test_wrong_numbers_are_refused(mixed: tuple[Any, Any]) -> None:
    film, story = mixed
    params = {**PARAMS, "tuning": ["dim_sign"], "dimensions": 13}
    with pytest.raises(InputError, match="dimensions: 13 of 12 features"):
        transfer_sites(*film.args(), *story.args(), params, seed=1)


def test_predictions_are_those_of_the_source_weights(mixed: tuple[Any, Any]) -> None:
    film, story = mixed
    joined = open_pair(*film.args(), *story.args()).join("high", PARAMS)
    found = predictions(joined, penalties(joined, PARAMS), PARAMS)
    fitted = refit_weights(film.design, film.response, "high", PARAMS)
    x = read_design(story.design, "high")
    expected = x @ fitted["weights"].values + fitted["intercept"].values
    np.testing.assert_allclose(found, expected, atol=2e-4)
