import numpy as np
import pytest
from scipy import stats

from braid.common import InputError
from braid.encoding.folds import make_folds
from braid.encoding.grid import make_grid
from braid.encoding.solver import centred, cross_validate, prepare
from braid.inference.decision import p_values
from braid.inference.nulls import draw_permutations
from braid.inference.permutation import (
    mean_over_folds,
    null_problem,
    null_scores,
    sequential_scores,
)
from braid.inference.sequential import sequential_p


def brute_force(observed, null, stop):
    """One draw after the other."""
    reached = 0
    for number, value in enumerate(null, start=1):
        reached += value >= observed or np.isnan(value)
        if reached == stop:
            return stop / number, number
    return (reached + 1) / (len(null) + 1), len(null)


@pytest.mark.parametrize("batch", [1, 7, 50, 1000])
def test_p_equals_one_draw_after_the_other(batch):
    rng = np.random.default_rng(0)
    null, observed = rng.standard_normal((400, 30)), rng.standard_normal(30) * 2
    observed[4] = np.nan
    null[3, 5] = np.nan
    asked = np.zeros(400 + batch, dtype=int)

    def draw(part, targets):
        asked[part] = len(targets)
        return null[part][:, targets]

    found = sequential_p(observed, draw, 400, stop=10, batch=batch)
    for target in np.delete(np.arange(30), 4):
        expected = brute_force(observed[target], null[:, target], 10)
        assert (found.p[target], found.n_draws[target]) == pytest.approx(expected)
    assert np.isnan(found.p[4])
    assert found.n_draws[4] == 0
    # finished targets are not drawn again
    assert np.all(np.diff(asked[:400]) <= 0)
    if batch < 400:
        assert asked[399] < 29


def test_p_is_valid_and_agrees_with_all_draws_in_the_mean():
    rng = np.random.default_rng(1)
    targets, draws = 4000, 499
    values = rng.standard_normal((draws + 1, targets))
    found = sequential_p(values[0], lambda part, t: values[1:][part][:, t], draws, stop=10)
    full = p_values(values[0], values[1:])
    low, high = stats.binom.ppf([0.001, 0.999], targets, 0.05)
    assert low <= np.sum(found.p <= 0.05) <= high
    assert found.p.mean() == pytest.approx(full.mean(), abs=0.02)
    small = full <= 0.02
    assert np.abs(found.p - full)[small].max() < 0.02
    # about stop * (1 + log(n / stop)) draws for targets without an effect
    assert found.n_draws.mean() == pytest.approx(10 * (1 + np.log(50)), rel=0.1)


def test_scores_of_open_targets_only_give_the_same_p():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((160, 6)), rng.standard_normal((160, 12)).astype(np.float32)
    y[:, 0] += x[:, 0]
    runs, times = np.repeat([0, 1], 80), np.tile(np.arange(80) * 1.0, 2)
    folds, grid = make_folds(runs, times, "blocks", n=4), make_grid([1.0, 10.0])
    problem = prepare(x, folds, grid)
    fit = cross_validate(problem, centred(problem.arrange(y))[0], grid)
    observed = mean_over_folds(fit.score)
    draws = draw_permutations("circular_shift", runs, times, 300, 0, min_shift=15)
    for reselect in (False, True):
        problem = null_problem(x, folds, grid, {}, fit.alpha, reselect)
        null = null_scores(problem, y, draws, fit.alpha, grid, reselect=reselect)
        found = sequential_scores(
            problem, y, draws, observed, fit.alpha, grid, reselect=reselect, stop=10
        )
        expected = sequential_p(observed, lambda part, t, of=null: of[part][:, t], 300, stop=10)
        assert found.p == pytest.approx(expected.p)
        assert found.n_draws[0] == 300
        assert found.n_draws[1:].mean() < 150


def test_a_family_wise_maximum_is_refused():
    with pytest.raises(InputError, match="needs every target in every draw"):
        sequential_p(np.zeros(3), lambda part, t: np.zeros((1, 3)), 10, correction="max_t")
    with pytest.raises(InputError, match="both must be at least 1"):
        sequential_p(np.zeros(3), lambda part, t: np.zeros((1, 3)), 10, stop=0)
