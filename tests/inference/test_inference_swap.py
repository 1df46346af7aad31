import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.signal import lfilter

from braid.common import InputError
from braid.encoding import fit_encoding
from braid.inference import COMPARISONS_COLUMNS, compare_models
from braid.inference.swap import draw_swaps, swap_blocks, widening

PARAMS = {"n": 199, "block": 20, "fdr": 0.05}


def slow(rng, n, columns, phi=0.7):
    return lfilter([1.0], [1.0, -phi], rng.standard_normal((n + 50, columns)), axis=0)[50:]


def response_of(y, bins=1):
    n, targets = y.shape
    return xr.DataArray(
        y.astype(np.float32),
        dims=("sample", "target"),
        coords={
            "run": ("sample", np.repeat([0, 1], n // 2)),
            "time": ("sample", np.tile(np.arange(n // 2) * 1.0, 2)),
            "target": [f"t{number}" for number in range(targets)],
            "site": ("target", [f"s{number // bins}" for number in range(targets)]),
        },
        attrs={"subject": "07"},
    )


def fit_of(prediction, response, folds=4):
    n = len(prediction)
    return xr.Dataset(
        {
            "prediction": (("sample", "target"), prediction.astype(np.float32)),
            "fold": ("sample", np.arange(n) * folds // n),
        },
        coords={"target": response["target"]},
        attrs={"analysis": "film"},
    )


def scene(seed, n=400, targets=60, bins=1, folds=4):
    """Responses; predictions of two equals, of a better and of a scaled model."""
    rng = np.random.default_rng(seed)
    signal = slow(rng, n, targets)
    response = response_of(signal + 2 * slow(rng, n, targets), bins)
    noise = [slow(rng, n, targets) for _ in range(2)]
    fits = {
        "one": fit_of(signal + noise[0], response, folds),
        "two": fit_of(signal + noise[1], response, folds),
        "scaled": fit_of(0.01 * (signal + noise[1]) + 5, response, folds),
        "better": fit_of(signal, response, folds),
    }
    return response, fits


def test_scores_are_correlations_and_columns_those_of_the_contract():
    response, fits = scene(0)
    table = compare_models(fits, response, {"gain": ["better", "two"]}, PARAMS, seed=1)
    assert list(table.columns) == list(COMPARISONS_COLUMNS)
    assert set(table["subject"]) == {"07"}
    assert set(table["analysis"]) == {"film"}
    fold = fits["one"]["fold"].values
    for target in (0, 31):
        r = [
            np.mean(
                [
                    np.corrcoef(
                        fits[model]["prediction"][fold == f, target], response[fold == f, target]
                    )[0, 1]
                    for f in range(4)
                ]
            )
            for model in ("better", "two")
        ]
        row = table.iloc[target]
        assert [row["score_a"], row["score_b"]] == pytest.approx(r, abs=1e-5)
        assert row["difference"] == pytest.approx(r[0] - r[1], abs=1e-5)


def test_draws_by_block_sums_equal_exchanged_predictions():
    """The null of moments against predictions that are really exchanged."""
    from braid.inference.swap import _null_differences, _standardised

    response, fits = scene(1, targets=5)
    fold = fits["one"]["fold"].values
    blocks = swap_blocks(fold, response["run"].values, response["time"].values, 20.0)
    swaps = draw_swaps(blocks.max() + 1, 6, seed=0)
    *_, null = _null_differences(fits["one"], fits["better"], response, blocks, swaps)
    for draw in range(6):
        expected = np.zeros(5)
        for f in range(4):
            rows = fold == f
            a = _standardised(fits["one"]["prediction"].values[rows])
            b = _standardised(fits["better"]["prediction"].values[rows])
            swap = swaps[draw][blocks[rows]][:, None] > 0
            for sign, p in ((1, np.where(swap, b, a)), (-1, np.where(swap, a, b))):
                for target in range(5):
                    r = np.corrcoef(p[:, target], response.values[rows, target])[0, 1]
                    expected[target] += sign * r / 4 * np.sqrt(2)
        assert null[draw] == pytest.approx(expected, abs=1e-5)


def test_equal_models_keep_the_level_and_a_better_one_is_found():
    """One p value from each of 300 scenes with one fold; bounds: central 99 % of the binomial."""
    p = {"equal": [], "scaled": [], "better": []}
    pairs = {"equal": ["one", "two"], "scaled": ["one", "scaled"], "better": ["better", "two"]}
    for seed in range(300):
        response, fits = scene(seed, n=240, targets=1, folds=1)
        table = compare_models(fits, response, pairs, {"n": 99, "block": 15}, seed)
        for name in p:
            p[name].append(float(table.loc[table["comparison"] == name, "p"].iloc[0]))
    low, high = stats.binom.ppf([0.005, 0.995], 300, 0.05)
    for name in ("equal", "scaled"):
        assert low <= np.sum(np.array(p[name]) <= 0.05) <= high
        assert stats.kstest(p[name], "uniform").pvalue > 0.01
    assert np.mean(np.array(p["better"]) <= 0.05) > 0.5


@pytest.mark.parametrize("folds", [2, 4])
def test_models_trained_on_each_others_folds_keep_the_level(folds):
    """Responses that nothing predicts: what two folds owe to each other counts twice."""
    rng = np.random.default_rng(folds)
    n, targets = 160, 800
    response = response_of(rng.standard_normal((n, targets)))
    coords = {name: response[name] for name in ("run", "time")}
    features = rng.standard_normal((n, 24)).astype(np.float32)

    def fit(columns):
        design = xr.Dataset(
            {"layer_00": (("sample", "feature_layer_00"), columns, {"layer": "x"})},
            coords=coords,
            attrs={"layers": '["x"]', "delays": "[0]"},
        )
        params = {
            "folds": {"scheme": "blocks", "n": folds},
            "ridge": {"alphas": {"low": -1, "high": 3, "n": 5}},
        }
        return fit_encoding(design, response, params)

    fits = {"wide": fit(features), "narrow": fit(features[:, :8]), "other": fit(features[:, 8:16])}
    pairs = {
        "nested": ["wide", "narrow"],
        "reverse": ["narrow", "wide"],
        "two": ["narrow", "other"],
    }
    table = compare_models(fits, response, pairs, {"n": 499, "block": 10}, seed=0)
    shares = table.groupby("comparison")["p"].agg(lambda p: (p <= 0.05).mean())
    # at most the central 99 % of the binomial around the nominal rate; no half of it either
    low, high = stats.binom.ppf([0.005, 0.995], targets, 0.05) / targets
    assert (shares <= high).all() and (shares >= low / 2).all(), shares.to_dict()


def test_folds_that_do_not_train_each_other_are_not_widened():
    assert widening(1) == 1.0


def test_scale_and_offset_of_predictions_do_not_matter():
    response, fits = scene(2)
    table = compare_models(
        fits, response, {"x": ["better", "two"], "y": ["better", "scaled"]}, PARAMS, seed=1
    )
    x, y = (table[table["comparison"] == name].reset_index() for name in "xy")
    assert x["difference"].to_numpy() == pytest.approx(y["difference"].to_numpy(), abs=1e-4)
    assert np.mean(np.abs(x["p"] - y["p"])) < 0.01


def test_bins_of_a_site_are_tested_together():
    response, fits = scene(3, targets=40, bins=10)
    table = compare_models(fits, response, {"x": ["one", "two"]}, PARAMS, seed=0)
    assert list(table["site"]) == ["s0", "s1", "s2", "s3"]
    single = compare_models(
        fits,
        response.assign_coords(site=response["target"].astype(str)),
        {"x": ["one", "two"]},
        PARAMS,
        seed=0,
    )
    # the maximum over ten bins is tested against maxima, so it is no smaller than 1/10 of them
    least = single["p"].to_numpy().reshape(4, 10).min(axis=1)
    assert np.all(table["p"].to_numpy() >= least)


def test_significant_sites_of_either_model_enter():
    response, fits = scene(4, targets=6)
    tables = [
        pd.DataFrame({"model": "better", "site": ["s0", "s1"], "significant": [True, False]}),
        pd.DataFrame({"model": "two", "site": ["s4", "s1"], "significant": [True, False]}),
    ]
    params = {**PARAMS, "among": "significant"}
    pairs = {"x": ["better", "two"]}
    table = compare_models(fits, response, pairs, params, 0, tables)
    assert list(table["site"]) == ["s0", "s4"]
    everywhere = compare_models(fits, response, pairs, PARAMS, 0).set_index("site")
    assert table["p"].tolist() == everywhere.loc[["s0", "s4"], "p"].tolist()
    with pytest.raises(InputError, match="needs the tested sites of model 'two' too"):
        compare_models(fits, response, pairs, params, 0, tables[:1])


def test_blocks_stay_within_folds_and_runs():
    fold = np.repeat([0, 1, -1, 1, 2], [30, 25, 5, 12, 28])
    runs = np.repeat([0, 1], 50)
    times = np.tile(np.arange(50) * 1.0, 2)
    blocks = swap_blocks(fold, runs, times, 10.0)
    assert np.all(blocks[fold < 0] == -1)
    for number in range(blocks.max() + 1):
        rows = np.flatnonzero(blocks == number)
        assert np.array_equal(rows, np.arange(rows[0], rows[-1] + 1))
        assert len(set(fold[rows])) == len(set(runs[rows])) == 1
        # one piece alone may be short; otherwise half a block at least
        assert 5 <= len(rows) <= 15
    with pytest.raises(InputError, match="fewer than two blocks of 500 s"):
        swap_blocks(np.zeros(50, int), np.zeros(50, int), np.arange(50.0), 500.0)


def test_few_blocks_are_exchanged_in_every_way_once():
    swaps = draw_swaps(4, 100, seed=0)
    assert len(swaps) == 15
    assert len(np.unique(swaps, axis=0)) == 15
    assert swaps.any(axis=1).all()
    assert draw_swaps(40, 100, seed=0).shape == (100, 40)


def test_missing_fits_and_other_folds_are_refused():
    response, fits = scene(5, targets=3)
    with pytest.raises(InputError, match="no fit of model 'three'; the fits are one, two"):
        compare_models(fits, response, {"x": ["one", "three"]}, PARAMS, 0)
    fits["two"]["fold"] = ("sample", np.arange(400) * 5 // 400)
    with pytest.raises(InputError, match="made with different folds"):
        compare_models(fits, response, {"x": ["one", "two"]}, PARAMS, 0)
    assert compare_models({}, response, {}, PARAMS, 0).empty
    with pytest.raises(InputError, match="'some' is not one of all, significant"):
        compare_models(fits, response, {}, {"among": "some"}, 0)
