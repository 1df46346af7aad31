"""The transfer matrix: layers, regions, both tests, their nulls, ceilings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from two_analyses import PARAMS

from braid.common import InputError
from braid.transfer import MATRIX_COLUMNS, transfer_matrix, transfer_sites

NAMES = {"train": "film", "test_on": "story"}


@pytest.fixture(scope="module")
def matrix(film_and_story: tuple[Any, Any]) -> pd.DataFrame:
    film, story = (_without_inverted(one) for one in film_and_story)
    return transfer_matrix(*film, *story, {**PARAMS, **NAMES, "draws": 99}, seed=1)


def _without_inverted(one: Any) -> tuple[Any, Any, Any]:
    """Leave out sites of opposite sign, which cancel the shared ones in means over sites."""
    kept = np.r_[0:10, 20:80]
    return one.design, one.response.isel(target=kept), one.fit.isel(target=kept)


def test_every_layer_and_region_within_and_across(matrix: pd.DataFrame) -> None:
    assert list(matrix.columns) == list(MATRIX_COLUMNS)
    assert list(matrix["test"].unique()) == ["film", "story"] and set(matrix["train"]) == {"film"}
    for _, part in matrix.groupby("test"):
        assert list(part["layer"]) == ["low"] * 3 + ["high"] * 3
        assert list(part["region"]) == ["all", "region0", "region1"] * 2
        assert list(part["n_sites"]) == [70, 35, 35] * 2
        assert part[part["chosen"]]["layer"].eq("high").all()
    assert (matrix["n_draws"] == 99).all() and matrix["normalised"].isna().all()
    for corrected in ("p_fwe", "q"):
        assert (matrix[corrected] >= matrix["p"] - 1e-12).all()
    by = matrix.set_index(["test", "layer", "region"])
    # the low layer holds nothing of what drives the sites
    assert (by.loc[(slice(None), "high", slice(None)), "p_fwe"] == 0.01).all()
    assert (by.loc[(slice(None), "low", slice(None)), "p"] > 0.02).all()
    assert (by["null_mean"].abs() < 0.02).all()


def test_scores_are_those_of_the_fit_and_of_the_transfer(
    film_and_story: tuple[Any, Any], matrix: pd.DataFrame
) -> None:
    film, story = (_without_inverted(one) for one in film_and_story)
    found = matrix.set_index(["test", "layer", "region"])["score"]
    for layer in ("low", "high"):
        assert found["film", layer, "all"] == pytest.approx(
            float(film[2]["score"].sel(layer=layer).mean()), abs=1e-6
        )
    sites = transfer_sites(*film, *story, PARAMS, seed=1)
    assert found["story", "high", "all"] == pytest.approx(sites["score"].mean(), abs=1e-6)
    means = sites.groupby("region")["score"].mean()
    for region in ("region0", "region1"):
        assert found["story", "high", region] == pytest.approx(means[region], abs=1e-6)


def test_level_without_effects(analysis: Callable[..., Any]) -> None:
    small = {"film": 0, "story": 0}
    for seed in range(60):
        film = analysis("film", np.zeros((6, 8)), 10 + seed, runs=(150, 140))
        story = analysis("story", np.zeros((6, 8)), 1000 + seed, runs=(160,))
        params = {**PARAMS, **NAMES, "draws": 39}
        table = transfer_matrix(*film.args(), *story.args(), params, seed=seed)
        for name, part in table.groupby("test"):
            small[str(name)] += int((part["p_fwe"] <= 0.05).any())
    # penalties of draws are those of the observed responses, which favours these a little
    assert max(small.values()) <= binom.ppf(0.999, 60, 0.05)


def test_bins_of_an_electrode_count_as_one_site(analysis: Callable[..., Any]) -> None:
    weights = np.random.default_rng(0).standard_normal((6, 12)) / np.sqrt(6)
    film, story = (analysis(task, weights, seed, bins=3) for task, seed in (("f", 1), ("s", 2)))
    table = transfer_matrix(*film.args(), *story.args(), {**PARAMS, **NAMES, "draws": 9}, seed=1)
    everywhere = table[table["region"] == "all"]
    assert (everywhere["n_sites"] == 4).all()


def test_ceilings_normalise_the_runs_they_belong_to(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    names = story.response["target"].values.astype(str)
    ceiling = np.full(80, 0.25)
    ceiling[40:] = 0.01  # too low to divide by
    run = "task-story_run-02"
    table = pd.DataFrame({"target": names, "ceiling": ceiling, "run": run})
    params = {**PARAMS, **NAMES, "draws": 9}
    matrix = transfer_matrix(*film.args(), *story.args(), params, 1, {"target": table})
    across = matrix.query("test == 'story' and region == 'all'").set_index("layer")
    assert matrix.query("test == 'film'")["normalised"].isna().all()
    from braid.transfer.scores import observed_by_run, open_pair, penalties, source_draws

    pair = open_pair(*film.args(), *story.args())
    joined = pair.join("high", PARAMS)
    drawn = source_draws(*pair.source, joined, PARAMS, 1)
    by_run = observed_by_run(joined, drawn, penalties(joined, PARAMS), PARAMS)
    expected = by_run[1, :40].mean() / 0.5
    assert across.loc["high", "normalised"] == pytest.approx(expected, abs=1e-5)
    wrong = table.assign(run="task-story_run-07")
    with pytest.raises(InputError, match="has no run task-story_run-07, of which there is a"):
        transfer_matrix(*film.args(), *story.args(), params, 1, {"target": wrong})


def test_missing_targets_and_layers_stay_out(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    broken = story.response.copy()
    broken[5, :2] = np.nan
    params = {**PARAMS, **NAMES, "draws": 9, "layers": ["high", "elsewhere"]}
    matrix = transfer_matrix(*film.args(), story.design, broken, story.fit, params, seed=1)
    assert set(matrix["layer"]) == {"high"} and matrix["chosen"].all()
    assert list(matrix["n_sites"]) == [78, 39, 39] * 2
    assert matrix["score"].notna().all()
