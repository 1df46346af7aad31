import json

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from braid.common import InputError, read_array, read_table, write_array, write_table
from braid.encoding import fit_encoding
from braid.inference import SITES_COLUMNS
from braid.inference import test_sites as permutation_test

PARAMS = {
    "folds": {"scheme": "blocks", "n": 4, "embargo": 2.0},
    "ridge": {"alphas": {"low": -2, "high": 4, "n": 7}, "alpha_scale": "trace"},
    "test": {"nulls": ["circular_shift", "shuffle"], "n": 99, "min_shift": 20, "fdr": 0.05},
}


@pytest.fixture(scope="module")
def tested(pair):
    design, response = pair(bins=5, targets=40)
    response[3, 39] = np.nan  # one bin of the last site
    fit = fit_encoding(design, response, PARAMS)
    nulls, sites = permutation_test(design, response, fit, PARAMS, seed=1)
    return design, response, fit, nulls, sites


def test_columns_and_rows_of_the_contract(tested, tmp_path):
    _, _, _, nulls, sites = tested
    assert list(sites.columns) == list(SITES_COLUMNS)
    assert list(sites["site"]) == [f"s{number:03d}" for number in range(8)]
    assert list(sites["n_targets"]) == [5] * 7 + [4]
    assert set(sites["subject"]) == {"01"}
    assert set(sites["null"]) == {"circular_shift"}
    assert nulls["null_circular_shift"].dims == ("draw", "site")
    assert nulls["null_sd_shuffle"].sizes == {"target": 40}
    write_table(tmp_path / "sites.tsv", sites, SITES_COLUMNS)
    write_array(tmp_path / "nulls.nc", nulls)
    assert json.loads(read_array(tmp_path / "nulls.nc").attrs["draws"])["shuffle"] == 99
    again = read_table(tmp_path / "sites.tsv")
    assert again["significant"].dtype == bool
    assert again["site"][0] == "s000"


def test_driven_sites_are_found_and_others_not(tested):
    *_, sites = tested
    assert sites["significant"].tolist() == [True] * 4 + [False] * 4
    assert np.all(sites["p"][:4] == 0.01)
    assert np.all(sites["p_fwe"][:4] <= 0.02)


def test_p_and_statistic_follow_from_the_stored_nulls(tested):
    *_, nulls, sites = tested
    stored = nulls["null_circular_shift"].values
    expected = (1 + np.sum(stored >= sites["statistic"].to_numpy() - 1e-6, axis=0)) / 100
    assert sites["p"].to_numpy() == pytest.approx(expected)
    assert nulls["statistic"].values == pytest.approx(sites["statistic"], abs=1e-5)


def test_p_of_every_target_is_stored(tested):
    _, _, fit, nulls, _ = tested
    score = fit["score"].sel(layer=fit.attrs["chosen_layer"]).values
    assert nulls["p"].dims == ("target",) and np.isnan(nulls["p"].values[39])
    p, rank = nulls["p"].values[:39], (1 - nulls["p"].values[:39]) * 100
    assert rank == pytest.approx(np.round(rank), abs=1e-3)  # (k + 1) / 100
    # as the normal distribution of these draws has it, within its error and theirs
    mean, sd = (nulls[f"null_{name}_circular_shift"].values[:39] for name in ("mean", "sd"))
    expected = norm.sf((score[:39] - mean) / sd)
    assert np.all(np.abs(p - expected) < 0.01 + 4 * np.sqrt(expected * (1 - expected) / 99))
    assert np.all(p.reshape(-1)[:20].reshape(4, 5).min(axis=1) == np.float32(0.01))


def test_score_is_that_of_the_best_bin(tested):
    _, response, fit, nulls, sites = tested
    score = fit["score"].sel(layer=fit.attrs["chosen_layer"]).values.reshape(8, 5)
    best = np.nanargmax(np.where(np.isfinite(score), score, -9), axis=1)
    assert sites["score"].to_numpy() == pytest.approx(np.nanmax(score, axis=1), abs=1e-6)
    assert sites["best_bin"].to_numpy() == pytest.approx(best * 0.05)
    sd = nulls["null_sd_circular_shift"].values.reshape(8, 5)
    assert sites["null_sd"].to_numpy() == pytest.approx(sd[np.arange(8), best], rel=1e-4)
    region = response["region"].values.reshape(8, 5)[:, 0]
    assert list(sites["region"]) == list(region)


def test_nulls_beside_the_primary_one_have_fewer_draws(pair):
    design, response = pair(targets=6)
    params = {**PARAMS, "test": {"nulls": ["block", "shuffle"], "n": 250, "block": 20}}
    fit = fit_encoding(design, response, params)
    nulls, sites = permutation_test(design, response, fit, params, seed=0)
    assert json.loads(nulls.attrs["draws"]) == {"block": 250, "shuffle": 200}
    assert nulls.sizes["draw"] == 250
    assert np.isnan(nulls["null_shuffle"][200:]).all()
    assert np.isfinite(nulls["null_shuffle"][:200]).all()
    assert set(sites["null"]) == {"block"}


def test_seed_and_shared_draws(tested):
    design, response, fit, _, sites = tested
    _, again = permutation_test(design, response, fit, PARAMS, seed=1)
    _, other = permutation_test(design, response, fit, PARAMS, seed=2)
    assert again.equals(sites)
    assert not np.array_equal(other["null_sd"], sites["null_sd"])


def test_holdout_shifts_training_and_test_runs(pair):
    design, response = pair(runs=(150, 150, 60))
    params = {
        **PARAMS,
        "folds": {"scheme": "holdout", "train": {"run": "01"}, "test": {"run": "02"}},
    }
    fit = fit_encoding(design, response, params)
    nulls, sites = permutation_test(design, response, fit, params, seed=0)
    # 20 .. 130 rows of each of the two runs in use; the third is left alone
    assert json.loads(nulls.attrs["distinct"])["circular_shift"] == 111**2
    assert sites["significant"].sum() >= 8
    assert nulls.attrs["naive_sd"] == pytest.approx(1 / np.sqrt(150))


def test_constant_sites_have_no_p_and_do_not_count(pair):
    design, response = pair()
    response[:, 3] = 1.0
    fit = fit_encoding(design, response, PARAMS)
    nulls, sites = permutation_test(design, response, fit, PARAMS, seed=0)
    constant = sites.iloc[3]
    assert np.isnan([constant["score"], constant["p"], constant["q"], constant["p_fwe"]]).all()
    assert not constant["significant"]
    assert constant["n_targets"] == 0
    assert nulls.attrs["n_untested"] == 1
    assert nulls.attrs["q_floor"] == pytest.approx(19 / 100)
    assert np.isfinite(sites["q"].drop(3)).all()


def test_reselect_runs_the_whole_choice(pair):
    design, response = pair(runs=(80, 80), targets=6)
    params = {**PARAMS, "test": {"n": 19, "min_shift": 15, "alpha": "reselect"}}
    fit = fit_encoding(design, response, params)
    fixed = {**params, "test": {**params["test"], "alpha": "fixed"}}
    chosen, _ = permutation_test(design, response, fit, params, seed=0)
    kept, _ = permutation_test(design, response, fit, fixed, seed=0)
    one, other = chosen["null_sd_circular_shift"], kept["null_sd_circular_shift"]
    assert not np.allclose(one, other)
    assert one.values == pytest.approx(other.values, rel=0.6)


def test_hybrid_says_what_it_did_and_lies_between(pair):
    design, response = pair(runs=(80, 80), p=30, targets=8)
    params = {**PARAMS, "test": {"nulls": ["circular_shift", "block"], "n": 99, "min_shift": 15}}
    fit = fit_encoding(design, response, params)
    tables, attrs = {}, {}
    for how in ("fixed", "hybrid"):
        chosen = {**params, "test": {**params["test"], "alpha": how}}
        nulls, tables[how] = permutation_test(design, response, fit, chosen, seed=0)
        attrs[how] = nulls.attrs
    assert attrs["hybrid"]["alpha"] == "hybrid"
    agreement = json.loads(attrs["hybrid"]["agreement"])
    assert agreement["draws"] == 50
    assert json.loads(attrs["fixed"]["agreement"]) == {}
    notes = json.loads(attrs["hybrid"]["notes"])
    assert f"widened by {agreement['width']:.3f}" in notes["circular_shift"]
    assert "block" not in notes
    ratio = tables["hybrid"]["null_sd"] / tables["fixed"]["null_sd"]
    assert ratio.to_numpy() == pytest.approx(agreement["width"], rel=1e-4)


def test_raw_maxima_and_benjamini_yekutieli(tested):
    design, response, fit, _, sites = tested
    params = {**PARAMS, "test": {**PARAMS["test"], "max_t": "raw", "fdr_method": "by"}}
    nulls, raw = permutation_test(design, response, fit, params, seed=1)
    assert raw["p"].equals(sites["p"])
    assert raw["q"].to_numpy() == pytest.approx(multipletests(sites["p"], method="fdr_by")[1])
    assert not raw["p_fwe"].equals(sites["p_fwe"])
    assert nulls.attrs["n_untested"] == 0
    assert nulls.attrs["q_floor"] == pytest.approx(8 * np.sum(1 / np.arange(1, 9)) / 100)
    wrong = {**PARAMS, "test": {**PARAMS["test"], "max_t": "mean"}}
    with pytest.raises(InputError, match="'mean' is not one of studentised, raw"):
        permutation_test(design, response, fit, wrong, seed=1)


def test_any_layer_takes_the_maximum_over_layers(tested):
    design, response, fit, _, sites = tested
    statistics = []
    for layer in fit["layer"].values:
        one = fit.assign_attrs(chosen_layer=str(layer))
        nulls, _ = permutation_test(design, response, one, PARAMS, seed=1)
        statistics.append((nulls["statistic"].values, nulls["null_circular_shift"].values))
    params = {**PARAMS, "test": {**PARAMS["test"], "layer": "any"}}
    nulls, any_layer = permutation_test(design, response, fit, params, seed=1)
    observed, drawn = (np.fmax.reduce(values) for values in zip(*statistics, strict=True))
    assert nulls["statistic"].values == pytest.approx(observed, abs=1e-5)
    expected = (1 + np.sum(drawn >= observed - 1e-6, axis=0)) / 100
    assert any_layer["p"].to_numpy() == pytest.approx(expected)
    # what describes the site stays that of the chosen layer
    assert any_layer[["layer", "score", "null_sd"]].equals(sites[["layer", "score", "null_sd"]])
    wrong = {**PARAMS, "test": {**PARAMS["test"], "layer": "all"}}
    with pytest.raises(InputError, match="'all' is not one of chosen, any"):
        permutation_test(design, response, fit, wrong, seed=1)


def test_whole_images_need_the_units_of_the_samples(pair):
    design, response = pair()
    params = {**PARAMS, "test": {"nulls": ["image"], "n": 199}}
    fit = fit_encoding(design, response, params)
    with pytest.raises(InputError, match="no coordinate 'unit'"):
        permutation_test(design, response, fit, params, seed=0)
    shown = response.assign_coords(unit=("sample", np.arange(300) // 3 % 100))
    nulls, sites = permutation_test(design, shown, fit, params, seed=0)
    assert sites["significant"][:10].all()
    assert sites["significant"][10:].sum() <= 1
    assert json.loads(nulls.attrs["draws"]) == {"image": 199}


def test_inputs_that_do_not_belong_together_are_refused(tested, pair):
    design, response, fit, _, _ = tested
    with pytest.raises(InputError, match="targets or samples differ; fit again"):
        permutation_test(design, response[:, :10], fit, PARAMS, seed=0)
    other = {**PARAMS, "folds": {"scheme": "runs"}}
    with pytest.raises(InputError, match="made with other folds"):
        permutation_test(design, response, fit, other, seed=0)
    short = {**PARAMS, "test": {"n": 9, "min_shift": 100}}
    with pytest.raises(InputError, match=r"run task-film_run-01 \(150 samples, 149 s\) is too"):
        permutation_test(design, response, fit, short, seed=0)
