"""All forms of the solver against direct solutions by scikit-learn and himalaya."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from braid.common import BraidError, InputError
from braid.encoding.folds import make_folds
from braid.encoding.grid import choose, make_grid
from braid.encoding.planner import MANY, plan_memory
from braid.encoding.solver import (
    centred,
    cross_validate,
    fit_fixed,
    plan_for,
    predict_fixed,
    prepare,
    score_fixed,
)

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


def data(n, p, targets, seed=0, noise=3.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) * rng.uniform(0.3, 3.0, p) + rng.uniform(-5, 5, p)
    y = x[:, : min(5, p)] @ rng.standard_normal((min(5, p), targets))
    return x, y + noise * rng.standard_normal((n, targets)) + 10.0


def folds_for(n, runs=2, embargo=2.0, k=4):
    size = n // runs
    label = np.repeat(np.arange(runs), [size] * (runs - 1) + [n - size * (runs - 1)])
    times = np.concatenate([np.arange(np.sum(label == run)) * 1.0 for run in range(runs)])
    return make_folds(label, times, "blocks", n=k, embargo=embargo)


def direct(x, y, train, test, alpha, standardize):
    """Predictions of scikit-learn, one penalty per target."""
    if standardize:
        scaler = StandardScaler().fit(x[train])
        x = scaler.transform(x)
    out = np.empty((len(test), y.shape[1]))
    for target, penalty in enumerate(alpha):
        model = Ridge(alpha=penalty, solver="svd").fit(x[train], y[train, target])
        out[:, target] = model.predict(x[test])
    return out


def r_of(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


def run(x, y, folds, grid, form, dtype, standardize=False, select="r"):
    problem = prepare(x, folds, grid, standardize, form, dtype=dtype)
    block, mean = centred(problem.arrange(y.astype(dtype)))
    return problem, block, mean, cross_validate(problem, block, grid, select)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", ["gram", "kernel", "svd"])
@pytest.mark.parametrize("shape", [(200, 15, 12), (90, 140, 7)])
def test_forms_equal_direct_solutions(shape, form, dtype):
    n, p, targets = shape
    x, y = data(n, p, targets)
    x[:, 3] = 2.5  # constant
    folds = folds_for(n)
    grid = make_grid([0.1, 1.0, 10.0, 100.0, 1e4], "absolute")
    problem, block, mean, found = run(x, y, folds, grid, form, dtype)
    predicted = np.full(y.shape, np.nan)
    predict_fixed(problem, block, found.alpha, predicted, mean)
    tolerance = TOLERANCE[np.dtype(dtype).name]
    for number, fold in enumerate(folds):
        expected = direct(x, y, fold.train, fold.test, found.alpha[number], False)
        assert predicted[fold.test] == pytest.approx(expected, abs=tolerance * 20)
        assert found.score[number] == pytest.approx(r_of(expected, y[fold.test]), abs=tolerance)
        weights, intercept = fit_fixed(problem, block, fold.train, found.alpha[number])
        every = np.arange(n)
        expected = direct(x, y, fold.train, every, found.alpha[number], False)
        assert x @ weights + intercept + mean == pytest.approx(expected, abs=tolerance * 20)


@pytest.mark.parametrize("select", ["r", "r2", "mse"])
@pytest.mark.parametrize("form", ["gram", "svd"])
def test_choice_of_penalties_equals_a_plain_loop(form, select):
    """Nested choice by an independent loop: scaling, embargo and inner folds included."""
    x, y = data(160, 10, 9, noise=8.0)
    check_choice(x, y, folds_for(160, embargo=3.0), form, select, standardize=True)


@pytest.mark.parametrize("embargo", [0.0, 2.0])
@pytest.mark.parametrize("p", [10, 25])  # fewer and more than held-out rows
@pytest.mark.parametrize("form", ["gram", "streamed", "kernel", "svd"])
def test_choice_on_many_drawn_chunks_equals_a_plain_loop(form, p, embargo):
    x, y = data(320, p, 4, noise=8.0)
    runs, times = np.repeat([0, 1], 160), np.tile(np.arange(160.0), 2)
    inner = {"length": 2, "draws": 12, "held": 9}
    folds = make_folds(runs, times, "runs", embargo=embargo, inner=inner)
    # scaling within training sets is not for the kernel form
    problem = check_choice(x, y, folds, form, "r", standardize=form != "kernel" and not embargo)
    assert problem.form.layout.n_atoms > MANY
    if form in ("gram", "streamed"):
        assert problem.form._grams.shape == (1, p, p)


def test_matrices_made_from_rows_give_what_stored_ones_give(monkeypatch):
    x, y = data(320, 12, 300)
    runs, times = np.repeat([0, 1], 160), np.tile(np.arange(160.0), 2)
    inner = {"length": 2, "draws": 12}
    folds = make_folds(runs, times, "runs", inner=inner)
    grid = make_grid({"low": -1, "high": 4, "n": 6}, "trace")
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-6)):
        *_, found = run(x, y, folds, grid, "gram", dtype, True)
        with monkeypatch.context() as patched:
            for module in ("gram", "planner"):
                patched.setattr(f"braid.encoding.{module}.MANY", 1000)
            stored, *_, expected = run(x, y, folds, grid, "gram", dtype, True)
        assert len(stored.form._grams) > MANY
        assert np.mean(found.index == expected.index) > (0.99 if dtype is np.float32 else 1 - 1e-9)
        same = found.index == expected.index
        assert found.score[same] == pytest.approx(expected.score[same], abs=tolerance)
        assert found.validation[same] == pytest.approx(expected.validation[same], abs=tolerance)


def check_choice(x, y, folds, form, select, standardize):
    """Compare with a loop over folds and penalties."""
    grid = make_grid([1.0, 10.0, 100.0, 1e3, 1e4], "absolute")
    problem, *_, found = run(x, y, folds, grid, form, np.float64, standardize, select)
    for number, fold in enumerate(folds):
        metric = np.zeros((len(grid.values), y.shape[1]))
        r = np.zeros_like(metric)
        for position, alpha in enumerate(grid.values):
            for split in fold.inner:
                penalty = [alpha] * y.shape[1]
                expected = direct(x, y, split.train, split.test, penalty, standardize)
                error = ((y[split.test] - expected) ** 2).mean(0)
                r_inner = r_of(expected, y[split.test])
                metric[position] += {
                    "r": r_inner,
                    "mse": -error,
                    "r2": 1 - error / y[split.test].var(0),
                }[select] / len(fold.inner)
                r[position] += r_inner / len(fold.inner)
        assert np.array_equal(found.index[number], metric.argmax(0))
        best = np.take_along_axis(r, metric.argmax(0)[None], 0)[0]
        assert found.validation[number] == pytest.approx(best, abs=1e-9)
    return problem


def test_trace_scale_counts_in_mean_eigenvalues_of_the_training_rows():
    x, y = data(120, 8, 5)
    x[:, 2] = 7.0
    folds = folds_for(120)
    problem, _, _, found = run(x, y, folds, make_grid([0.5], "trace"), "gram", np.float64)
    for number, fold in enumerate(folds):
        varying = np.delete(x[fold.train], 2, axis=1)
        mean = np.sum((varying - varying.mean(0)) ** 2) / 7
        assert found.alpha[number] == pytest.approx(0.5 * mean)
        assert problem.n_zero(number) == 1


def test_rotation_of_repeated_rows_changes_nothing():
    """A few distinct rows of many features: rotated, and equal to the kernel form."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((6, 300))[rng.integers(0, 6, 150)]
    y = x[:, :3] @ rng.standard_normal((3, 8)) + rng.standard_normal((150, 8))
    folds, grid = folds_for(150), make_grid([0.1, 10.0, 1e3], "trace")
    rotated, block, _, found = run(x, y, folds, grid, "auto", np.float64, True)
    assert rotated.rank is not None
    assert rotated.rank <= 6
    assert rotated.form.name == "gram"
    kernel, _, _, expected = run(x, y, folds, grid, "kernel", np.float64, True)
    assert kernel.rank is None
    assert np.array_equal(found.index, expected.index)
    assert found.alpha == pytest.approx(expected.alpha)
    assert found.score == pytest.approx(expected.score, abs=1e-9)
    one = fit_fixed(rotated, block, folds[0].train, found.alpha[0])
    other = fit_fixed(kernel, block, folds[0].train, found.alpha[0])
    assert one[0] == pytest.approx(other[0], abs=1e-9)
    assert x @ one[0] + one[1] == pytest.approx(x @ other[0] + other[1], abs=1e-9)


def test_himalaya_chooses_the_same_penalties_and_weights():
    himalaya = pytest.importorskip("himalaya.ridge")
    from sklearn.model_selection import KFold

    x, y = data(300, 20, 200, noise=10.0)
    x, y = x - x.mean(0), y - y.mean(0)
    alphas = np.logspace(0, 5, 11)
    model = himalaya.RidgeCV(alphas=alphas, cv=KFold(4), fit_intercept=True).fit(x, y)
    from braid.encoding import RidgeCV

    ours = RidgeCV(alphas=alphas, cv=KFold(4), select="mse").fit(x, y)
    agree = np.isclose(ours.alpha_, model.best_alphas_)
    assert agree.mean() >= 0.999
    difference = np.linalg.norm(ours.coef_.T - model.coef_, axis=0)
    assert np.all(difference[agree] / np.linalg.norm(model.coef_, axis=0)[agree] < 1e-6)


def test_conditioning_switches_to_float64_and_then_to_the_svd():
    rng = np.random.default_rng(2)
    base = rng.standard_normal((200, 6))
    folds = folds_for(200)
    forms = []
    for size, floor in ((1.0, 1.0), (1e-4, 1e-3), (1e-8, 1e-12)):
        x = np.column_stack([base, base[:, :1] + size * rng.standard_normal((200, 1))])
        problem = prepare(x, folds, make_grid([floor], "absolute"), standardize=False)
        forms.append((problem.form.name, problem.form.dtype.name))
    assert forms == [("gram", "float32"), ("gram", "float64"), ("svd", "float64")]


def test_wide_grids_keep_r_at_the_top():
    """At penalties far above the eigenvalues predictions shrink, but r is still defined."""
    x, y = data(100, 5, 4)
    grid = make_grid([1e9], "trace")
    *_, found = run(x, y, folds_for(100), grid, "gram", np.float32)
    assert np.isfinite(found.score).all()


def test_constant_targets_have_no_score():
    x, y = data(100, 5, 4)
    y[:, 1] = 3.25
    folds = folds_for(100)
    y[folds[2].test, 2] = 1.5  # constant where fold 2 tests
    for form in ("gram", "kernel", "svd"):
        *_, found = run(x, y, folds, make_grid([1.0, 10.0], "absolute"), form, np.float32)
        assert np.isnan(found.score[:, 1]).all()
        assert np.isnan(found.score[2, 2])
        assert np.isfinite(np.delete(found.score, [1, 2], axis=1)).all()


def test_ties_go_to_the_larger_penalty_and_no_value_to_the_largest():
    metric = np.array([[0.5, np.nan, 0.1], [0.5 - 1e-12, np.nan, 0.3], [0.2, np.nan, np.nan]])
    assert choose(metric).tolist() == [1, 2, 1]


def test_several_copies_of_the_targets_score_as_one_by_one():
    x, y = data(120, 9, 6)
    folds, grid = folds_for(120), make_grid([0.1, 1.0, 10.0], "trace")
    problem, block, _, found = run(x, y, folds, grid, "gram", np.float64)
    other = block[::-1]
    both = score_fixed(problem, np.concatenate([block, other], axis=1), found.alpha)
    assert both[:, :6] == pytest.approx(found.score)
    assert both[:, 6:] == pytest.approx(score_fixed(problem, other, found.alpha))


@given(
    n=st.integers(24, 60),
    p=st.integers(1, 50),
    targets=st.integers(1, 4),
    k=st.integers(2, 5),
    embargo=st.sampled_from([0.0, 2.0]),
    constant=st.booleans(),
    standardize=st.booleans(),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_forms_agree_on_any_shape(n, p, targets, k, embargo, constant, standardize, seed):
    x, y = data(n, p, targets, seed)
    if constant:
        x[:, 0] = 1.0
    folds, grid = folds_for(n, 1, embargo, k), make_grid([1.0, 30.0], "trace")
    scores = []
    for form in ("gram", "svd"):
        problem, block, _, _ = run(x, y, folds, grid, form, np.float64, standardize)
        alpha = np.full((k, targets), 5.0)
        scores.append(score_fixed(problem, block, alpha))
    for number, fold in enumerate(folds):
        expected = direct(x, y, fold.train, fold.test, [5.0] * targets, standardize)
        r = r_of(expected, y[fold.test])
        for score in scores:
            both = np.isfinite(r) & np.isfinite(score[number])
            assert score[number][both] == pytest.approx(r[both], abs=1e-6)
        if constant and p == 1:
            assert all(np.isnan(score[number]).all() for score in scores)


def test_impossible_parameters_are_refused():
    with pytest.raises(InputError, match="every penalty must be a positive number"):
        make_grid([0.0, 1.0])
    with pytest.raises(InputError, match="no grid; give low <= high"):
        make_grid({"low": 2, "high": 1, "n": 5})
    with pytest.raises(InputError, match="'median' is not one of absolute, trace"):
        make_grid([1.0], "median")
    x, y = data(60, 4, 3)
    folds, grid = folds_for(60), make_grid([1.0])
    with pytest.raises(InputError, match="'qr' is not one of auto, gram, streamed, kernel, svd"):
        prepare(x, folds, grid, form="qr")
    problem = prepare(x, folds, grid)
    with pytest.raises(InputError, match="'corr' is not one of r, r2, mse"):
        cross_validate(problem, problem.arrange(y), grid, "corr")


@pytest.mark.parametrize("form", ["gram", "kernel", "svd"])
def test_plan_grows_with_the_problem_and_keeps_the_limit(form):
    sizes = [(500, 50, 100), (500, 50, 1000), (1000, 50, 1000), (1000, 200, 1000)]
    peaks = [plan_memory(*size, form=form, sets=10, atoms=9).peak_mb for size in sizes]
    assert all(a <= b for a, b in itertools.pairwise(peaks))
    assert peaks[0] < peaks[-1]
    plan = plan_memory(2000, 500, 10**6, form=form, sets=15, atoms=13, memory_mb=900)
    assert plan.peak_mb <= 900
    assert 64 <= plan.block <= 10**6
    with pytest.raises(BraidError, match=rf"the {form} form needs \d+ MB for 90000 rows"):
        plan_memory(90000, 3000, 10**6, form=form, memory_mb=500)


def test_with_little_memory_bases_are_made_anew_and_numbers_stay():
    x, y = data(80, 100, 150)
    folds, grid = folds_for(80), make_grid([1.0, 10.0], "trace")
    problem, block, _, expected = run(x, y, folds, grid, "kernel", np.float64)
    plan = plan_for(problem, 100, 150, 2, memory_mb=1.0)
    assert plan.keep < plan.sets
    problem.form.bases.found.clear()
    found = cross_validate(problem, block, grid)
    assert len(problem.form.bases.found) <= plan.keep
    assert np.array_equal(found.score, expected.score)
