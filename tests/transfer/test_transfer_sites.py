"""Transfer between analyses: exact against other ways to compute it, calibrated, and bad input."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, pearsonr
from sklearn.linear_model import Ridge
from two_analyses import PARAMS

from braid.common import InputError
from braid.encoding import fit_encoding, read_design, refit_weights
from braid.transfer import TRANSFER_COLUMNS, transfer_sites


def _weights(p: int, targets: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((p, targets)) / np.sqrt(p)


def _joined(a: Any, b: Any) -> tuple[xr.Dataset, xr.DataArray]:
    """Both analyses as one, the second one's runs counted on."""
    found = []
    for first, second in ((a.design, b.design), (a.response, b.response)):
        later = second.assign_coords(run=second["run"] + len(np.unique(first["run"])))
        both = xr.concat([first, later], "sample")
        both.attrs["runs"] = first.attrs["runs"][:-1] + ", " + second.attrs["runs"][1:]
        found.append(both)
    return found[0], found[1]


@pytest.mark.parametrize("p", [6, 200])
def test_equals_a_hold_out_fit(analysis: Callable[..., Any], p: int) -> None:
    weights = _weights(p, 8)
    film = analysis("film", weights, 1, runs=(90, 80))
    story = analysis("story", weights, 2, runs=(140,))
    table = transfer_sites(*film.args(), *story.args(), PARAMS, seed=1)
    design, response = _joined(film, story)
    held = {"scheme": "holdout", "train": {"task": "film"}, "test": {"task": "story"}, "inner": 4}
    # with more features than rows the hold-out fit scales them by all rows: leave that out
    plain = {**PARAMS["ridge"], "standardize": p < 100}
    fit = fit_encoding(design, response, {"folds": held, "ridge": plain})
    if p > 100:
        table = transfer_sites(*film.args(), *story.args(), {**PARAMS, "ridge": plain}, seed=1)
    expected = fit["score"].sel(layer=table["layer"][0]).values
    np.testing.assert_allclose(table["score"], expected, atol=2e-5)
    assert np.nanmax(expected) > 0.1


def test_equals_weights_of_the_source_in_every_run(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    table = transfer_sites(*film.args(), *story.args(), PARAMS, seed=1)
    fitted = refit_weights(film.design, film.response, "high", PARAMS)
    x = read_design(film.design, "high").astype(float)
    scaled, target = ((read_design(d, "high") - x.mean(0)) / x.std(0) for d in
                      (film.design, story.design))  # fmt: skip
    for site in (0, 15, 30, 70):
        ridge = Ridge(alpha=float(fitted["alpha_all"][site])).fit(
            scaled, film.response.values[:, site].astype(float)
        )
        predicted = ridge.predict(target)
        runs = story.response["run"].values
        by_run = [
            pearsonr(predicted[runs == run], story.response.values[runs == run, site])[0]
            for run in (0, 1)
        ]
        assert table["score"][site] == pytest.approx(np.mean(by_run), abs=1e-5)
    runs, held_out = story.response["run"].values, story.fit["prediction"].values
    own = [
        pearsonr(held_out[runs == run, 15], story.response.values[runs == run, 15])[0]
        for run in (0, 1)
    ]
    assert table["score_within"][15] == pytest.approx(np.mean(own), abs=1e-5)


def test_planted_sites(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    params = {**PARAMS, "test": {"n": 399, "min_shift": 20}}
    for source, target in ((film, story), (story, film)):
        table = transfer_sites(*source.args(), *target.args(), params, seed=1)
        assert list(table.columns) == list(TRANSFER_COLUMNS)
        assert (table["layer"] == "high").all()
        assert table["significant"][:10].mean() >= 0.8
        assert (table["score"][10:20] < -0.3).all() and not table["significant"][10:20].any()
        assert (table["p"][10:20] > 0.9).all()
        within = table["score_within"][:50]
        assert (within > 0.3).all()
        unrelated = (table["p"][20:] <= 0.05).sum()
        assert unrelated <= binom.ppf(0.999, 60, 0.05)
        assert table["p"].min() == pytest.approx(1 / 400)
        assert (table["p_fwe"] >= table["p"]).all() and (table["q"] >= table["p"]).all()


def test_level_under_autocorrelated_noise(analysis: Callable[..., Any]) -> None:
    small, low = [], 0
    for seed in range(60):
        film = analysis("film", np.zeros((6, 4)), 10 + seed, runs=(120,))
        story = analysis("story", _weights(6, 4), 1000 + seed, runs=(100,))
        table = transfer_sites(*film.args(), *story.args(), PARAMS, seed=seed)
        small += list(table["p"])
        low += int((table["p_fwe"] <= 0.05).any())
    assert 0.4 < np.mean(small) < 0.6
    assert np.sum(np.array(small) <= 0.05) <= binom.ppf(0.999, 240, 0.05)
    assert low <= binom.ppf(0.999, 60, 0.05)


def test_targets_are_matched_by_name(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    table = transfer_sites(*film.args(), *story.args(), PARAMS, seed=1).set_index("site")
    assert table.attrs == {"n_matched": 80, "n_source": 80, "n_target": 80, "n_untested": 0}
    picked = [40, 3, 12]
    response = story.response.isel(target=picked)
    fit = story.fit.isel(target=picked)
    few = transfer_sites(*film.args(), story.design, response, fit, PARAMS, seed=1)
    assert few.attrs["n_matched"] == 3 and few.attrs["n_target"] == 3
    assert list(few["site"]) == ["s40", "s03", "s12"]
    assert list(few["region"]) == ["region0", "region1", "region0"]
    columns = ["score", "score_within", "null_mean", "p", "x"]
    expected = table.loc[list(few["site"]), columns].astype(float)
    np.testing.assert_allclose(few[columns].astype(float), expected, atol=1e-5)


def test_missing_values_stay_untested(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    broken = story.response.copy()
    broken[7, 2] = np.nan
    table = transfer_sites(*film.args(), story.design, broken, story.fit, PARAMS, seed=1)
    whole = transfer_sites(*film.args(), *story.args(), PARAMS, seed=1)
    assert table.attrs["n_untested"] == 1
    assert table.loc[2, ["score", "p", "q", "p_fwe", "null_sd"]].isna().all()
    assert not table.loc[2, "significant"] and table["p"].notna().sum() == 79
    np.testing.assert_allclose(table["p"].drop(2), whole["p"].drop(2))
    broken[0] = np.nan
    with pytest.raises(InputError, match=r"every target in common of .* has missing values"):
        transfer_sites(*film.args(), story.design, broken, story.fit, PARAMS, seed=1)


def test_bins_of_an_electrode_are_one_site(analysis: Callable[..., Any]) -> None:
    weights = _weights(6, 12)
    weights[:, 6:] = 0
    by_bin = [analysis(task, weights, seed, bins=3) for task, seed in (("film", 1), ("story", 2))]
    single = [analysis(task, weights, seed) for task, seed in (("film", 1), ("story", 2))]
    table = transfer_sites(*by_bin[0].args(), *by_bin[1].args(), PARAMS, seed=1)
    each = transfer_sites(*single[0].args(), *single[1].args(), PARAMS, seed=1)
    assert list(table["site"]) == ["s00", "s01", "s02", "s03"]
    for name in ("score", "score_within"):
        highest = each[name].to_numpy().reshape(4, 3).max(axis=1)
        np.testing.assert_allclose(table[name], highest, atol=1e-6)
    assert (table["p"][:2] == 1 / 40).all() and (table["p"][2:] > 1 / 40).all()


def test_delays_are_carried_over(analysis: Callable[..., Any]) -> None:
    delays = (1, 3)
    weights = _weights(12, 5)
    film = analysis("film", weights, 1, delays=delays)
    story = analysis("story", weights, 2, delays=delays)
    table = transfer_sites(*film.args(), *story.args(), PARAMS, seed=1)
    assert (table["score"] > 0.3).all()
    undelayed = story.design.assign_attrs(delays="[0]")
    with pytest.raises(InputError, match=r"different delays \(\[1, 3\] and \[0\] samples\)"):
        transfer_sites(*film.args(), undelayed, story.response, story.fit, PARAMS, seed=1)


def test_same_seed_same_numbers_and_reselection(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    first, again, other = (
        transfer_sites(*film.args(), *story.args(), PARAMS, seed=seed) for seed in (1, 1, 2)
    )
    assert first.equals(again)
    assert not np.array_equal(first["null_mean"], other["null_mean"])
    test = {"n": 39, "min_shift": 20, "alpha": "reselect"}
    anew = transfer_sites(*film.args(), *story.args(), {**PARAMS, "test": test}, seed=1)
    # inner folds then share the scale of the whole source: a penalty may move by one step
    np.testing.assert_allclose(anew["score"][:20], first["score"][:20], atol=0.01)
    assert (anew["p"][:10] == 1 / 40).all()


def test_inputs_that_do_not_belong_together(
    film_and_story: tuple[Any, Any], analysis: Callable[..., Any]
) -> None:
    film, story = film_and_story

    def attempt(design: Any = None, response: Any = None, fit: Any = None) -> None:
        transfer_sites(
            *film.args(),
            story.design if design is None else design,
            story.response if response is None else response,
            story.fit if fit is None else fit,
            PARAMS,
            seed=1,
        )

    design = story.design
    with pytest.raises(InputError, match=r"has no layer 'high', which was chosen for .* low, top"):
        attempt(design.assign_attrs(layers='["low", "top"]'))
    with pytest.raises(InputError, match="30 and 4 features in layer 'high'"):
        attempt(design.isel(feature_01=slice(4)))
    with pytest.raises(InputError, match="of subjects 01 and 02; transfer stays within"):
        attempt(design.assign_attrs(subject="02"))
    with pytest.raises(InputError, match=r"different kinds \(bold and ieeg\)"):
        attempt(response=story.response.assign_attrs(kind="ieeg"))
    with pytest.raises(InputError, match="was not fitted to"):
        attempt(fit=film.fit.isel(target=slice(3)))
    names = [f"other{k}" for k in range(80)]
    with pytest.raises(InputError, match=r"no target in common .*'t00' and 'other0'"):
        attempt(
            response=story.response.assign_coords(target=names),
            fit=story.fit.assign_coords(target=names),
        )
    brief = analysis("film", np.zeros((30, 80)), 3, runs=(30, 30))
    with pytest.raises(InputError, match=r"test.min_shift: run task-film_run-01 \(30 samples"):
        transfer_sites(*brief.args(), *story.args(), PARAMS, seed=1)


def test_other_repetition_times_are_warned_of(
    film_and_story: tuple[Any, Any], caplog: pytest.LogCaptureFixture,
    analysis: Callable[..., Any],
) -> None:  # fmt: skip
    film, story = (analysis(task, _weights(6, 3), 1, delays=(1,)) for task in ("film", "story"))
    slower = story.design.assign_attrs(repetition_time=1.5)
    with caplog.at_level(logging.WARNING, "braid"):
        transfer_sites(*film.args(), *story.args(), PARAMS, seed=1)
        assert not caplog.records
        transfer_sites(*film.args(), slower, story.response, story.fit, PARAMS, seed=1)
    assert "repetition times of 1 and 1.5 s" in caplog.text


@pytest.mark.parametrize("room", ["transfer", "concepts", "probe"])
def test_import_is_cheap(root: Path, room: str) -> None:
    heavy = "[name for name in ('torch', 'transformers') if name in sys.modules]"
    code = f"import sys, braid.{room}; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
