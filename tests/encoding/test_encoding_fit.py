import json

import numpy as np
import pytest

from braid.common import BraidError, InputError, read_array, write_array
from braid.encoding import fit_encoding, folds_of, read_design, refit_weights

PARAMS = {
    "folds": {"scheme": "blocks", "n": 4, "embargo": 2.0},
    "ridge": {
        "alphas": {"low": -2, "high": 4, "n": 7},
        "alpha_scale": "trace",
        "select": "r",
        "standardize": True,
    },
    "layers": "all",
}


@pytest.fixture(scope="module")
def fitted(pair):
    design, response = pair()
    return design, response, fit_encoding(design, response, PARAMS)


def test_shape_of_the_contract(fitted, tmp_path):
    _, response, fit = fitted
    assert fit["score"].dims == ("layer", "target")
    assert fit["alpha"].dims == fit["score_fold"].dims == ("layer", "fold", "target")
    assert fit["prediction"].dims == ("sample", "target")
    assert fit["prediction"].dtype == np.float32
    assert list(fit["fold_label"].values) == ["block-1", "block-2", "block-3", "block-4"]
    assert set(fit["fold"].values) == {0, 1, 2, 3}
    for name in ("site", "region", "run", "time", "event"):
        assert np.array_equal(fit[name].values, response[name].values)
    write_array(tmp_path / "fit.nc", fit)
    again = read_array(tmp_path / "fit.nc")
    assert again.attrs["chosen_layer"] == "block.1"
    assert json.loads(again.attrs["plan"])["p"] == 12
    assert json.loads(again.attrs["alphas"])[0] == pytest.approx(0.01)


def test_driven_targets_are_predicted_by_the_right_layer(fitted):
    _, _, fit = fitted
    assert fit.attrs["chosen_layer"] == "block.1"
    score = fit["score"].sel(layer="block.1")
    assert score[:10].min() > 0.5
    assert abs(float(score[10:].mean())) < 0.15


def test_scores_are_the_correlations_of_the_predictions(fitted):
    _, response, fit = fitted
    for number in range(4):
        rows = fit["fold"].values == number
        for target in range(response.shape[1]):
            r = np.corrcoef(fit["prediction"][rows, target], response[rows, target])[0, 1]
            stored = fit["score_fold"].sel(layer="block.1")[number, target]
            assert r == pytest.approx(float(stored), abs=1e-4)
    mean = fit["score_fold"].mean("fold")
    assert fit["score"].values == pytest.approx(mean.values, abs=1e-6)


def test_layer_is_chosen_without_held_out_scores(pair):
    """Held-out rows that contradict training do not change the choice (hold-out)."""
    design, response = pair()
    params = {
        **PARAMS,
        "folds": {"scheme": "holdout", "train": {"run": "01"}, "test": {"run": "02"}},
    }
    first = fit_encoding(design, response, params)
    spoilt = response.copy()
    spoilt[150:] = np.random.default_rng(0).standard_normal((150, 20))
    second = fit_encoding(design, spoilt, params)
    assert first.attrs["chosen_layer"] == second.attrs["chosen_layer"]
    assert np.array_equal(first["alpha"], second["alpha"])
    # up to rounding: both are computed from responses centred over all rows
    other = second["score_validation"].values
    assert first["score_validation"].values == pytest.approx(other, abs=1e-5)
    assert np.isnan(first["prediction"][:150]).all()
    assert np.isfinite(first["prediction"][150:]).all()
    assert np.all(first["fold"][:150] == -1)


def test_scaling_of_features_and_units_of_responses_do_not_matter(fitted):
    design, response, fit = fitted
    scaled = design.copy(deep=True)
    for name in scaled.data_vars:
        scaled[name] = scaled[name] * np.logspace(-2, 2, 12, dtype=np.float32) + 3
    other = fit_encoding(scaled, response * 1e3 + 1e4, PARAMS)
    assert other["score"].values == pytest.approx(fit["score"].values, abs=2e-3)


def test_missing_and_constant_targets_are_counted(pair):
    design, response = pair()
    response[5, 3] = np.nan
    response[:, 4] = 2.0
    fit = fit_encoding(design, response, PARAMS)
    assert np.isnan(fit["score"][:, 3:5]).all()
    assert np.isnan(fit["prediction"][:, 3:5]).all()
    assert np.isfinite(np.delete(fit["score"].values, [3, 4], axis=1)).all()
    assert fit.attrs["n_missing_targets"] == 1
    assert fit.attrs["n_undefined_targets"] == 1
    text = fit.attrs["warnings"]
    assert "1 targets have missing values" in text
    assert "1 targets have no score" in text


def test_a_constant_feature_is_counted(pair):
    design, response = pair()
    design["layer_01"][:, 2] = 4.0
    fit = fit_encoding(design, response, PARAMS)
    assert fit.attrs["n_zero_columns"] == 1
    weights = refit_weights(design, response, "block.1", PARAMS)
    assert not weights["weights"][2].values.any()


def test_grid_edges_are_warned_of(pair):
    design, response = pair()
    narrow = {**PARAMS["ridge"], "alphas": {"low": 2, "high": 3, "n": 2}}
    fit = fit_encoding(design, response, {**PARAMS, "ridge": narrow})
    assert "are the lowest of the grid" in fit.attrs["warnings"]
    assert fit.attrs["edge_low"] + fit.attrs["edge_high"] == pytest.approx(1.0)


def test_what_silent_targets_choose_is_no_reason_to_widen_the_grid(pair):
    design, response = pair(runs=(600, 600), delays=tuple(range(12)))
    noise = np.random.default_rng(0).standard_normal((response.sizes["sample"], 100))
    noise[:, :10] += 1.0 * response.values[:, :10] / response.values[:, :10].std(axis=0)
    both = response.isel(target=np.arange(100) % response.sizes["target"]).copy(data=noise)
    both = both.assign_coords(target=[f"t{k}" for k in range(100)])
    fit = fit_encoding(design, both, PARAMS)
    assert fit.attrs["edge_low"] + fit.attrs["edge_high"] > 0.05
    assert "of the grid" not in fit.attrs["warnings"]


def test_refit_weights_predict_as_a_fit_of_all_rows(pair):
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    design, response = pair(delays=(0, 1))
    fit = fit_encoding(
        design, response, {**PARAMS, "ridge": {**PARAMS["ridge"], "save_weights": True}}
    )
    x = read_design(design, fit.attrs["chosen_layer"])
    predicted = x @ fit["weights"].values + fit["intercept"].values
    z = StandardScaler().fit_transform(x)
    for target in (0, 15):
        model = Ridge(alpha=float(fit["alpha_all"][target])).fit(z, response.values[:, target])
        assert predicted[:, target] == pytest.approx(model.predict(z), abs=1e-3)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [("last", ["block.2"]), (["block.0", "block.2"], ["block.0", "block.2"])],
)
def test_some_layers(pair, layers, expected):
    design, response = pair()
    fit = fit_encoding(design, response, {**PARAMS, "layers": layers})
    assert list(fit["layer"].values) == expected


def test_blocks_of_targets_give_the_same_fit(fitted):
    design, response, fit = fitted
    many = response.isel(target=np.tile(np.arange(20), 10))
    many = many.assign_coords(target=[f"t{i}" for i in range(200)])
    small = {**PARAMS, "ridge": {**PARAMS["ridge"], "memory_mb": 0.7}}
    other = fit_encoding(design, many, small)
    assert json.loads(other.attrs["plan"])["block"] < 200
    for copy in range(10):
        found = other["score"].values[:, copy * 20 : copy * 20 + 20]
        assert found == pytest.approx(fit["score"].values, abs=1e-5)


def test_bad_input_is_named(pair):
    design, response = pair()
    with pytest.raises(InputError, match=r"there is no layer 'x'; the layers are block\.0"):
        fit_encoding(design, response, {**PARAMS, "layers": ["x"]})
    with pytest.raises(InputError, match="every target has missing values"):
        fit_encoding(design, response * np.nan, PARAMS)
    with pytest.raises(InputError, match="do not line up"):
        fit_encoding(design.isel(sample=slice(10, None)), response, PARAMS)
    with pytest.raises(InputError, match="'gpu' is not one of cpu, cuda, auto"):
        fit_encoding(design, response, {**PARAMS, "ridge": {"device": "gpu"}})


def test_cuda_is_never_replaced_in_silence(pair):
    design, response = pair()
    with pytest.raises(BraidError, match="device: cuda"):
        fit_encoding(design, response, {**PARAMS, "ridge": {"device": "cuda"}})


def test_folds_of_reads_labels(pair):
    _, response = pair()
    folds = folds_of(response, {"scheme": "runs"})
    assert [fold.label for fold in folds] == ["task-film_run-01", "task-film_run-02"]
