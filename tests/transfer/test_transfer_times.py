"""Transfer of electrodes from time to time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, pearsonr
from two_analyses import PARAMS

from braid.common import InputError
from braid.encoding import read_design, refit_weights
from braid.transfer import TIMES_COLUMNS, transfer_sites, transfer_times

BINS = np.array([-0.1, 0.0, 0.1, 0.2])


@pytest.fixture(scope="module")
def electrodes(analysis: Callable[..., Any]) -> tuple[Any, Any]:
    """Six electrodes, four windows: 0 to 2 hold one code from window 1 on, 3 to 5 are silent."""
    rng = np.random.default_rng(7)
    code = rng.standard_normal((10, 3)) / np.sqrt(10)
    weights = np.zeros((10, 6, 4))
    weights[:, :3, 1:] = code[:, :, None]
    made = []
    for task, seed, runs in (("film", 1, (260, 240)), ("story", 2, (220, 230))):
        one = analysis(task, weights.reshape(10, 24), seed, runs, bins=4)
        regions = np.repeat(["temporal", "frontal"], 12)
        one.response = one.response.assign_coords(
            bin=("target", np.tile(BINS, 6)), region=("target", regions)
        )
        made.append(one)
    return made[0], made[1]


def test_a_code_that_lasts_transfers_between_its_windows(electrodes: tuple[Any, Any]) -> None:
    film, story = electrodes
    by_site, table = transfer_times(*film.args(), *story.args(), PARAMS, seed=1)
    assert list(table.columns) == list(TIMES_COLUMNS)
    assert by_site["score"].dims == ("site", "time_train", "time_test")
    score, p = by_site["score"].values, by_site["p"].values
    assert (score[:3, 1:, 1:] > 0.3).all() and (p[:3, 1:, 1:] == np.float32(1 / 40)).all()
    nothing = np.concatenate([p[3:].ravel(), p[:3, 0].ravel(), p[:3, 1:, 0].ravel()])
    # cells of an electrode share their draws, so that they are not all independent
    assert (nothing <= 0.05).sum() <= binom.ppf(0.999, nothing.size, 0.05)
    everywhere = table[table["region"] == "all"]
    assert len(everywhere) == 16 and (everywhere["n_sites"] == 6).all()
    assert set(table["region"]) == {"all", "temporal", "frontal"}
    by = table.set_index(["region", "time_train", "time_test"]).sort_index()
    assert by.loc[("temporal", 0.1, 0.2), "score"] > 0.3 and by.loc[("frontal",), "p"].min() > 0.01
    wide = everywhere.pivot(index="time_train", columns="time_test", values="score")
    np.testing.assert_allclose(wide.to_numpy(), score.mean(axis=0), atol=1e-6)
    assert (everywhere["p_fwe"] >= everywhere["p"]).all()


def test_the_diagonal_is_the_transfer(electrodes: tuple[Any, Any]) -> None:
    film, story = electrodes
    by_site, _ = transfer_times(*film.args(), *story.args(), PARAMS, seed=1)
    sites = transfer_sites(*film.args(), *story.args(), PARAMS, seed=1)
    diagonal = np.diagonal(by_site["score"].values, axis1=1, axis2=2)
    np.testing.assert_allclose(diagonal.max(axis=1), sites["score"], atol=1e-5)


def test_equals_weights_of_the_source(electrodes: tuple[Any, Any]) -> None:
    film, story = electrodes
    by_site, _ = transfer_times(*film.args(), *story.args(), PARAMS, seed=1)
    weights = refit_weights(film.design, film.response, "high", PARAMS)["weights"].values
    seen, runs = read_design(story.design, "high"), story.response["run"].values
    y = story.response.values
    for site, train, test in ((0, 1, 3), (2, 3, 2), (4, 0, 1)):
        predicted = seen @ weights[:, 4 * site + train]
        expected = np.mean(
            [pearsonr(predicted[runs == k], y[runs == k, 4 * site + test])[0] for k in (0, 1)]
        )
        assert float(by_site["score"][site, train, test]) == pytest.approx(expected, abs=1e-5)


def test_batches_do_not_matter(
    electrodes: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    film, story = electrodes
    whole, _ = transfer_times(*film.args(), *story.args(), {**PARAMS, "draws": 11}, seed=1)
    monkeypatch.setattr("braid.transfer.times._BATCH", 8)
    small, _ = transfer_times(*film.args(), *story.args(), {**PARAMS, "draws": 11}, seed=1)
    xr.testing.assert_allclose(whole, small, atol=1e-5)
    assert whole.attrs["n_draws"] == 11


def test_targets_without_windows_are_refused(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    with pytest.raises(InputError, match="have no windows; time by time is for electrodes"):
        transfer_times(*film.args(), *story.args(), PARAMS, seed=1)


def test_an_electrode_that_lacks_a_window_stays_out(electrodes: tuple[Any, Any]) -> None:
    film, story = electrodes
    kept = np.delete(np.arange(24), 5)
    args = story.design, story.response.isel(target=kept), story.fit.isel(target=kept)
    by_site, table = transfer_times(*film.args(), *args, {**PARAMS, "draws": 9}, seed=1)
    assert list(by_site["site"].values) == ["s00", "s02", "s03", "s04", "s05"]
    assert (table.loc[table["region"] == "all", "n_sites"] == 5).all()
