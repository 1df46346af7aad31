import numpy as np
import pytest

from braid.common import InputError
from braid.encoding import fit_encoding, refit_weights
from braid.encoding.missing import patterns_of

PARAMS = {
    "folds": {"scheme": "blocks", "n": 4, "embargo": 2.0},
    "ridge": {"alphas": {"low": -2, "high": 4, "n": 7}, "missing": "by_pattern"},
    "layers": ["block.1"],
}


def test_targets_that_lack_rows_are_fitted_as_if_these_were_not_there(pair):
    """Against a fit of the design and the response from which the rows were cut."""
    design, response = pair(runs=(150,))
    # one from the end: the rest keeps its order in time, and its folds
    response[140:, 3] = np.nan
    response[140:, 11] = np.nan
    response[:, 7] = np.nan
    fit = fit_encoding(design, response, PARAMS)
    complete = np.setdiff1d(np.arange(20), [3, 7, 11])
    plain = fit_encoding(design, response.isel(target=complete), PARAMS)
    assert fit["score"].values[:, complete] == pytest.approx(plain["score"].values, abs=1e-6)
    assert np.isfinite(fit["score"].values[:, [3, 11]]).all()
    assert np.isnan(fit["score"].values[:, 7]).all()
    assert fit.attrs["n_missing_targets"] == 1
    assert fit.attrs["n_partial_targets"] == 2
    assert "2 targets were fitted without the rows that they lack" in fit.attrs["warnings"]
    # the last fold tests fewer rows; the rest of its block is missing, not zero
    tested = fit["fold"].values == 3
    assert np.isnan(fit["prediction"].values[140:, 3]).all()
    rows = tested & (np.arange(150) < 140)
    r = np.corrcoef(fit["prediction"].values[rows, 3], response.values[rows, 3])[0, 1]
    assert float(fit["score_fold"][0, 3, 3]) == pytest.approx(r, abs=1e-4)


def test_missing_values_equal_a_direct_solution(pair):
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    design, response = pair(runs=(160,))
    response[np.arange(0, 160, 9), 5] = np.nan
    response[30:42, 12] = np.nan
    ridge = {"alphas": {"low": 0, "high": 0, "n": 1}, "alpha_scale": "absolute"}
    params = {**PARAMS, "ridge": {**PARAMS["ridge"], **ridge}}
    fit = fit_encoding(design, response, params)
    x = design["layer_01"].values
    from braid.encoding import folds_of

    for target in (0, 5, 12):
        there = np.isfinite(response.values[:, target])
        for number, fold in enumerate(folds_of(response, params["folds"])):
            train, test = fold.train[there[fold.train]], fold.test[there[fold.test]]
            scaler = StandardScaler().fit(x[train])
            model = Ridge(alpha=1.0).fit(scaler.transform(x[train]), response.values[train, target])
            predicted = model.predict(scaler.transform(x[test]))
            r = np.corrcoef(predicted, response.values[test, target])[0, 1]
            assert float(fit["score_fold"][0, number, target]) == pytest.approx(r, abs=1e-5)
    weights = refit_weights(design, response, "block.1", params)
    assert np.isfinite(weights["weights"].values).all()


def test_too_many_patterns_and_too_few_rows_are_refused(pair):
    design, response = pair()
    for target in range(9):
        response[10 + target, target] = np.nan
    with pytest.raises(InputError, match="lack 10 different sets of rows, but at most 8"):
        fit_encoding(design, response, PARAMS)
    many = {**PARAMS, "ridge": {**PARAMS["ridge"], "patterns": 10}}
    assert np.isfinite(fit_encoding(design, response, many)["score"].values).all()
    design, response = pair()
    response[:74, 2] = np.nan
    with pytest.raises(InputError, match=r"leave 1 rows for a training or test set of fold"):
        fit_encoding(design, response, PARAMS)
    with pytest.raises(InputError, match="'zero' is not one of leave_out, by_pattern"):
        fit_encoding(design, response, {**PARAMS, "ridge": {"missing": "zero"}})


def test_infinite_values_are_refused(pair):
    design, response = pair()
    response[31, 6] = -np.inf
    with pytest.raises(InputError, match="sample 31 of target 6 is infinite"):
        fit_encoding(design, response, PARAMS)


def test_patterns_look_at_the_rows_in_use_only():
    y = np.zeros((10, 4), dtype=np.float32)
    y[9, 1] = y[3, 2] = np.nan
    found = patterns_of(y, np.arange(9), "here", "by_pattern")
    assert [pattern.targets.tolist() for pattern in found] == [[0, 1, 3], [2]]
    assert np.flatnonzero(~found[1].rows).tolist() == [3]
    (only,) = patterns_of(y, np.arange(9), "here")
    assert only.targets.tolist() == [0, 1, 3]
