"""Draws equal models that are fitted again from scratch."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from braid.common import InputError
from braid.encoding.folds import make_folds
from braid.encoding.grid import make_grid
from braid.encoding.smoother import arrangements, groups_of, pays
from braid.encoding.solver import centred, cross_validate, prepare
from braid.inference.nulls import draw_permutations
from braid.inference.permutation import (
    CHECKED,
    _through_features,
    _through_smoothers,
    draw_scores,
    mean_over_folds,
    null_problem,
    null_scores,
    widened,
)

GRID = make_grid([0.1, 1.0, 10.0, 100.0], "trace")


def problem_of(n=160, p=9, targets=13, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) * rng.uniform(0.5, 4, p)
    y = (x[:, :3] @ rng.standard_normal((3, targets)) + 5 * rng.standard_normal((n, targets))) + 7
    runs = np.repeat([0, 1], n // 2)
    times = np.tile(np.arange(n // 2) * 1.0, 2)
    folds = make_folds(runs, times, "blocks", n=5, embargo=3.0)
    return x, y.astype(np.float32), runs, times, folds


def observed_fit(x, y, folds):
    problem = prepare(x, folds, GRID)
    return cross_validate(problem, centred(problem.arrange(y))[0], GRID)


def refitted(x, y, folds, alpha):
    """Mean held-out r of models that scikit-learn fits anew."""
    r = np.zeros(y.shape[1])
    for number, fold in enumerate(folds):
        z = StandardScaler().fit(x[fold.train]).transform(x)
        for target in range(y.shape[1]):
            model = Ridge(alpha=alpha[number, target]).fit(z[fold.train], y[fold.train, target])
            predicted = model.predict(z[fold.test])
            r[target] += np.corrcoef(predicted, y[fold.test, target])[0, 1] / len(folds)
    return r


@pytest.mark.parametrize("kind", ["circular_shift", "block", "shuffle"])
@pytest.mark.parametrize("shape", [(160, 9), (100, 60), (100, 130)])
def test_draws_equal_refits_with_the_same_penalties(kind, shape):
    x, y, runs, times, folds = problem_of(*shape)
    found = observed_fit(x, y, folds)
    draws = draw_permutations(kind, runs, times, 7, seed=1, min_shift=15, block=10)
    problem = null_problem(x, folds, GRID, {}, found.alpha, reselect=False)
    null = null_scores(problem, y, draws, found.alpha, GRID)
    if problem.form.name == "kernel":  # scales features over all rows
        x = StandardScaler().fit_transform(x)
        scaled = False
    else:
        scaled = True
    for draw in range(7):
        moved = y[draws.rows[draw]].astype(np.float64)
        expected = (
            refitted(x, moved, folds, found.alpha)
            if scaled
            else refitted_unscaled(x, moved, folds, found.alpha)
        )
        assert null[draw] == pytest.approx(expected, abs=1e-5)


def refitted_unscaled(x, y, folds, alpha):
    """The same without scaling of each training set."""
    r = np.zeros(y.shape[1])
    for number, fold in enumerate(folds):
        for target in range(y.shape[1]):
            model = Ridge(alpha=alpha[number, target]).fit(x[fold.train], y[fold.train, target])
            predicted = model.predict(x[fold.test])
            r[target] += np.corrcoef(predicted, y[fold.test, target])[0, 1] / len(folds)
    return r


def test_reselecting_draws_equal_the_whole_fit_of_permuted_responses():
    x, y, runs, times, folds = problem_of()
    found = observed_fit(x, y, folds)
    draws = draw_permutations("circular_shift", runs, times, 6, seed=2, min_shift=15)
    problem = null_problem(x, folds, GRID, {}, found.alpha, reselect=True)
    null = null_scores(problem, y, draws, found.alpha, GRID, reselect=True)
    for draw in range(6):
        again = observed_fit(x, y[draws.rows[draw]], folds)
        assert null[draw] == pytest.approx(mean_over_folds(again.score), abs=1e-5)


def test_the_identity_gives_the_observed_score():
    x, y, runs, times, folds = problem_of()
    found = observed_fit(x, y, folds)
    draws = draw_permutations("shuffle", runs, times, 2, seed=0)
    draws.rows[0] = np.arange(len(y))
    problem = null_problem(x, folds, GRID, {}, found.alpha, reselect=False)
    null = null_scores(problem, y, draws, found.alpha, GRID)
    assert null[0] == pytest.approx(mean_over_folds(found.score), abs=1e-6)


def test_blocks_of_targets_and_draws_do_not_matter():
    x, y, runs, times, folds = problem_of(targets=150)
    found = observed_fit(x, y, folds)
    draws = draw_permutations("block", runs, times, 11, seed=0, block=10)
    problem = null_problem(x, folds, GRID, {}, found.alpha, reselect=False)
    whole = null_scores(problem, y, draws, found.alpha, GRID)
    small = null_scores(problem, y, draws, found.alpha, GRID, memory_mb=0.4)
    assert small == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("form", ["gram", "kernel", "svd"])
def test_smoothers_equal_the_way_through_the_features(form):
    x, y, runs, times, folds = problem_of(100, 60)
    y[:, 2] = 1.0  # constant
    draws = draw_permutations("block", runs, times, 9, seed=0, block=10)
    alpha = np.random.default_rng(0).choice([3.0, 300.0], size=(5, 13))
    problem = null_problem(x, folds, GRID, {"form": form}, alpha, reselect=False)
    assert problem.form.name == form
    assert pays(problem, alpha, 1500)
    assert not pays(problem, alpha, 0.01)
    dual = _through_smoothers(problem, y, draws, alpha)
    direct = _through_features(problem, y, draws, alpha, GRID, "r", False, 1500)
    assert dual == pytest.approx(direct, abs=1e-5, nan_ok=True)
    assert np.isnan(dual[:, 2]).all()
    assert np.isfinite(np.delete(dual, 2, axis=1)).all()


@pytest.mark.parametrize("scheme", ["runs", "blocks"])
def test_products_per_arrangement_equal_those_per_draw(scheme):
    """Circular shifts leave each run in one of few arrangements; blocks cut runs into pieces."""
    x, y, runs, times, _ = problem_of(100, 60)
    y[:, 2] = 1.0  # constant
    folds = make_folds(runs, times, scheme, n=5 if scheme == "blocks" else None)
    draws = draw_permutations("circular_shift", runs, times, 300, seed=0, min_shift=10)
    alpha = np.random.default_rng(0).choice([3.0, 300.0], size=(len(folds), 13))
    problem = null_problem(x, folds, GRID, {}, alpha, reselect=False)
    arranged = arrangements(problem.form.layout, draws.rows)
    assert arranged.few()
    once = _through_smoothers(problem, y, draws, alpha, arranged)
    each = _through_smoothers(problem, y, draws, alpha)
    assert once == pytest.approx(each, abs=1e-5, nan_ok=True)
    assert np.isnan(once[:, 2]).all()
    direct = _through_features(problem, y, draws, alpha, GRID, "r", False, 1500)
    assert once == pytest.approx(direct, abs=1e-5, nan_ok=True)


def test_groups_share_all_their_penalties():
    alpha = np.array([[1.0, 2.0, 1.0, 1.0], [5.0, 5.0, 5.0, 6.0]])
    found = {tuple(penalties): sorted(targets) for penalties, targets in groups_of(alpha)}
    assert found == {(1.0, 5.0): [0, 2], (2.0, 5.0): [1], (1.0, 6.0): [3]}


def test_a_fit_with_other_folds_is_refused():
    x, y, runs, times, folds = problem_of()
    draws = draw_permutations("shuffle", runs, times, 2, seed=0)
    problem = null_problem(x, folds, GRID, {}, np.ones((5, 13)), reselect=False)
    with pytest.raises(InputError, match="penalties for 3 folds, but the analysis has 5"):
        null_scores(problem, y, draws, np.ones((3, 13)), GRID)


def test_hybrid_widens_the_fixed_null_as_the_first_reselected_draws_ask():
    x, y, runs, times, folds = problem_of(p=40, targets=30)
    found = observed_fit(x, y, folds)
    draws = [
        draw_permutations(kind, runs, times, 80, seed=2, min_shift=15, block=10)
        for kind in ("circular_shift", "block")
    ]
    given = {}
    for how in ("fixed", "reselect", "hybrid"):
        given[how], agreement = draw_scores(x, folds, GRID, {}, y, draws, found.alpha, how)
        assert (agreement is None) == (how != "hybrid")
    # the second null stays as it is
    assert np.array_equal(given["hybrid"][1], given["fixed"][1])
    fixed, anew, hybrid = (given[how][0] for how in ("fixed", "reselect", "hybrid"))
    sd = fixed.std(axis=0)
    z, other = (fixed - fixed.mean(0)) / sd, (anew - fixed.mean(0)) / sd
    width = np.sqrt(np.mean(other[:CHECKED].var(0)) / np.mean(z[:CHECKED].var(0)))
    assert agreement.width == pytest.approx(width, rel=1e-5)
    assert agreement.draws == CHECKED == 50
    expected = fixed.mean(axis=0) + (fixed - fixed.mean(axis=0)) * width
    assert hybrid == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InputError, match="'both' is not one of fixed, reselect, hybrid"):
        draw_scores(x, folds, GRID, {}, y, draws, found.alpha, "both")


def test_agreement_tells_how_far_the_two_differ():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((400, 50))
    common[:, 3] = np.nan
    common[:, 4] = 0.1
    scores, same = widened(common.astype(np.float32), common[:50].astype(np.float32))
    assert same.width == pytest.approx(1.0, abs=1e-6)
    assert same.tail == pytest.approx(0.05, abs=0.01)
    assert same.ks_fixed < 0.03
    assert scores == pytest.approx(common, abs=1e-5, nan_ok=True)
    _, other = widened(common.astype(np.float32), 1.4 * common[:50].astype(np.float32))
    assert other.width == pytest.approx(1.4, rel=1e-5)
    assert other.ks_fixed > 2 * other.ks_widened
    assert "WARNING" in other.note()
    assert "WARNING" not in same.note()
