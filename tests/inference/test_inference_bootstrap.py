"""Bootstrap replicates equal models that scikit-learn fits to the drawn rows themselves."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from braid.common import InputError
from braid.encoding.folds import make_folds
from braid.encoding.grid import make_grid
from braid.encoding.solver import centred, cross_validate, mean_over_folds, prepare
from braid.inference.bootstrap import (
    bootstrap_bins,
    bootstrap_predictions,
    bootstrap_scores,
    compare_draws,
    draw_bins,
    draw_weights,
    interval,
    leave_one_out,
    make_blocks,
)

GRID = make_grid([0.1, 1.0, 10.0, 100.0], "trace")
RUNS = np.repeat([0, 1], 60)
TIMES = np.tile(np.arange(60) * 2.0, 2)


def data_of(p=9, targets=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((120, p)) * rng.uniform(0.5, 4, p) + 3
    y = x[:, :3] @ rng.standard_normal((3, targets)) + 5 * rng.standard_normal((120, targets)) + 7
    return x, y.astype(np.float32)


def folds_of(scheme="blocks", embargo=5.0):
    kept = {"n": 4} if scheme == "blocks" else {}
    return make_folds(RUNS, TIMES, scheme, embargo=embargo, **kept)


def fit_of(x, y, folds):
    problem = prepare(x, folds, GRID)
    return cross_validate(problem, centred(problem.arrange(y))[0], GRID)


def refitted(x, y, folds, alpha, blocks, weights, scale):
    """Mean held-out r of models fitted to copies of the drawn rows."""
    r = np.zeros(y.shape[1])
    for number, fold in enumerate(folds):
        drawn = [
            np.repeat(rows, weights[blocks.number[rows]].astype(int))
            for rows in (fold.train, fold.test)
        ]
        z = StandardScaler().fit(x[drawn[0]]).transform(x) if scale else x
        for target in range(y.shape[1]):
            model = Ridge(alpha=alpha[number, target]).fit(z[drawn[0]], y[drawn[0], target])
            predicted = model.predict(z[drawn[1]])
            r[target] += np.corrcoef(predicted, y[drawn[1], target])[0, 1] / len(folds)
    return r


@pytest.mark.parametrize("scheme", ["blocks", "runs"])
@pytest.mark.parametrize("length", [None, 12.0])
@pytest.mark.parametrize("p", [9, 150])
def test_replicates_equal_refits_to_the_drawn_rows(scheme, length, p):
    x, y = data_of(p)
    folds = folds_of(scheme)
    alpha = fit_of(x, y, folds).alpha
    blocks = make_blocks(folds, RUNS, TIMES, length)
    weights = draw_weights(blocks, 5, seed=1)
    found = bootstrap_scores(x, y, folds, alpha, blocks, weights)
    if p > 120:  # scaled over all rows
        x = StandardScaler().fit_transform(x)
    for draw in range(5):
        expected = refitted(x, y, folds, alpha, blocks, weights[draw], scale=p <= 120)
        assert found[draw] == pytest.approx(expected, abs=1e-5)


def test_drawing_every_block_once_gives_the_observed_score():
    x, y = data_of()
    folds = folds_of()
    fit = fit_of(x, y, folds)
    blocks = make_blocks(folds, RUNS, TIMES, 10.0)
    once = np.ones((1, len(blocks.role)))
    found = bootstrap_scores(x, y, folds, fit.alpha, blocks, once)
    assert found[0] == pytest.approx(mean_over_folds(fit.score), abs=1e-5)


def test_memory_does_not_change_the_numbers():
    x, y = data_of(targets=40)
    folds = folds_of()
    alpha = fit_of(x, y, folds).alpha
    blocks = make_blocks(folds, RUNS, TIMES)
    weights = draw_weights(blocks, 20, seed=0)
    whole = bootstrap_scores(x, y, folds, alpha, blocks, weights)
    small = bootstrap_scores(x, y, folds, alpha, blocks, weights, memory_mb=0.15)
    assert small == pytest.approx(whole, abs=1e-6)


def test_blocks_stay_on_their_side_and_embargoed_rows_move_with_them():
    folds = folds_of()
    blocks = make_blocks(folds, RUNS, TIMES, 10.0)
    for number, fold in enumerate(folds):
        assert set(blocks.role[blocks.number[fold.test]]) == {number}
        assert not set(blocks.number[fold.test]) & set(blocks.number[fold.train])
    # contiguous, inside runs, about 10 s long
    for block in range(len(blocks.role)):
        rows = np.flatnonzero(blocks.number == block)
        assert np.ptp(rows) == len(rows) - 1
        assert len(set(RUNS[rows])) == 1
        assert 4 <= len(rows) <= 8
    holdout = make_folds(RUNS, TIMES, "holdout", train=[{"run": "0"}], test=[{"run": "1"}])
    roles = make_blocks(holdout, RUNS, TIMES, 10.0)
    assert set(roles.role[roles.number[RUNS == 0]]) == {1}


def test_weights_are_drawn_within_each_fold_and_repeat_with_the_seed():
    blocks = make_blocks(folds_of(), RUNS, TIMES, 10.0)
    weights = draw_weights(blocks, 400, seed=3)
    for role in range(4):
        members = blocks.role == role
        assert np.all(weights[:, members].sum(axis=1) == members.sum())
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=0.25)
    assert np.array_equal(weights, draw_weights(blocks, 400, seed=3))
    assert not np.array_equal(weights, draw_weights(blocks, 400, seed=4))
    assert np.array_equal(leave_one_out(blocks).sum(axis=1), np.full(len(blocks.role), 23))


def test_repeats_of_a_unit_are_drawn_together():
    units = np.tile(np.arange(30), 4).astype(str)
    blocks = make_blocks(folds_of(embargo=0.0), RUNS, TIMES, units=units)
    assert len(blocks.role) == 120  # each fold of 30 rows shows each unit once
    blocks = make_blocks(folds_of(embargo=0.0), RUNS, TIMES, units=np.repeat(units[:60], 2))
    assert len(blocks.role) == 60
    assert np.array_equal(blocks.number[::2], blocks.number[1::2])


def test_only_drawing_test_samples_equals_correlating_copies():
    _, y = data_of()
    folds = folds_of()
    rng = np.random.default_rng(0)
    prediction = y + rng.standard_normal(y.shape) * 4
    blocks = make_blocks(folds, RUNS, TIMES, 10.0)
    weights = draw_weights(blocks, 6, seed=2)
    found = bootstrap_predictions(y, prediction, blocks, weights)
    for draw in range(6):
        expected = np.zeros(6)
        for fold in folds:
            rows = np.repeat(fold.test, weights[draw, blocks.number[fold.test]].astype(int))
            expected += [np.corrcoef(prediction[rows, t], y[rows, t])[0, 1] / 4 for t in range(6)]
        assert found[draw] == pytest.approx(expected, abs=1e-5)


def test_constant_targets_have_no_score():
    x, y = data_of()
    y[:, 2] = 4.0
    folds = folds_of()
    blocks = make_blocks(folds, RUNS, TIMES, 10.0)
    weights = draw_weights(blocks, 3, seed=0)
    found = bootstrap_scores(x, y, folds, np.ones((4, 6)), blocks, weights)
    assert np.isnan(found[:, 2]).all()
    assert np.isfinite(np.delete(found, 2, axis=1)).all()


@pytest.mark.parametrize("statistic", [np.mean, np.std])
def test_intervals_equal_those_of_scipy(statistic):
    sample = np.random.default_rng(0).gamma(2.0, size=40)
    for method in ("percentile", "BCa"):
        expected = stats.bootstrap((sample,), statistic, method=method, rng=0, n_resamples=999)
        draws = expected.bootstrap_distribution[:, None]
        extra = {}
        if method == "BCa":
            left_out = [statistic(np.delete(sample, i)) for i in range(40)]
            extra = {
                "observed": np.array([statistic(sample)]),
                "jackknife": np.array(left_out)[:, None],
            }
        low, high = interval(draws, 0.95, **extra)
        assert low[0] == pytest.approx(expected.confidence_interval.low, rel=2e-3)
        assert high[0] == pytest.approx(expected.confidence_interval.high, rel=2e-3)


def test_the_difference_of_models_is_that_of_shared_draws():
    rng = np.random.default_rng(1)
    common = rng.standard_normal((999, 2))
    a = common + [0.0, 0.5] + 0.1 * rng.standard_normal((999, 2))
    found = compare_draws(np.array([0.0, 0.5]), np.zeros(2), a, common)
    assert found.difference.tolist() == [0.0, 0.5]
    assert found.low[0] < 0 < found.high[0]
    # much narrower than either model's own interval, because draws are shared
    assert found.high[1] - found.low[1] < 0.5
    assert found.p[1] == 1 / 1000
    assert found.p[0] == pytest.approx((1 + np.sum(a[:, 0] <= common[:, 0])) / 1000)
    with pytest.raises(InputError, match="use the same draws for both models"):
        compare_draws(np.zeros(2), np.zeros(2), a, common[:500])


def test_bins_in_blocks_vary_more_where_neighbours_are_alike():
    score = np.convolve(np.random.default_rng(2).standard_normal(87), np.ones(8) / 8, "valid")
    single = bootstrap_bins(score, draw_bins(80, 2000, seed=0))
    blocked = bootstrap_bins(score, draw_bins(80, 2000, seed=0, block=8))
    assert single.std() == pytest.approx(score.std() / np.sqrt(80), rel=0.05)
    assert blocked.std() > 1.5 * single.std()
    bins = draw_bins(80, 50, seed=1, block=8)
    assert bins.shape == (50, 80)
    assert np.all(np.diff(bins.reshape(50, 10, 8), axis=2) == 1)
    direct = np.array([score[one].mean() for one in bins])
    assert bootstrap_bins(score, bins) == pytest.approx(direct)
    score[5] = np.nan
    direct = np.array([np.nanmean(score[one]) for one in bins])
    assert bootstrap_bins(score, bins) == pytest.approx(direct)


def test_bad_input_is_refused():
    folds = folds_of()
    with pytest.raises(InputError, match=r"part block-1 holds fewer than two blocks"):
        make_blocks(folds, RUNS, TIMES, 60.0)
    with pytest.raises(InputError, match="give either 'length' or 'units'"):
        make_blocks(folds, RUNS, TIMES, 10.0, units=RUNS)
    with pytest.raises(InputError, match="blocks of 9 bins, but there are 8"):
        draw_bins(8, 10, 0, block=9)
    x, y = data_of()
    blocks = make_blocks(folds, RUNS, TIMES, 10.0)
    with pytest.raises(InputError, match="take those of the same fit"):
        bootstrap_scores(x, y, folds, np.ones((3, 6)), blocks, draw_weights(blocks, 2, 0))
    with pytest.raises(InputError, match="needs both the observed scores and the jackknife"):
        interval(np.zeros((5, 1)), observed=np.zeros(1))
