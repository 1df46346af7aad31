"""Banded ridge against himalaya, scikit-learn, plain ridge of each space, and planted bands."""

import json
import tracemalloc
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from braid.common import BraidError, InputError
from braid.encoding import Fold, RidgeCV, Split, make_folds, make_grid
from braid.encoding.backend import NUMPY, NumpyBackend
from braid.encoding.band_search import (
    Trials,
    check_gammas,
    choose_bands,
    draw_gammas,
    pick,
    refined_gammas,
    search,
)
from braid.encoding.banded import banded_bytes, cross_validate_banded, split_r2
from braid.encoding.banded_estimator import BandedRidgeCV
from braid.encoding.forms import shrunk
from braid.encoding.gram import GramForm
from braid.encoding.layout import layout_of
from braid.encoding.rows import KernelForm, Scaled
from braid.encoding.spaces import SpacesFit, join_spaces, prepare_spaces, spaces_of_groups

ALPHAS = np.logspace(-1, 4, 8)


def data(n=200, sizes=(6, 10, 4), targets=30, seed=0, noise=2.0):
    """Targets driven by one space each in turn, beside noise."""
    rng = np.random.default_rng(seed)
    spaces = [rng.standard_normal((n, p)) + rng.uniform(-2, 2, p) for p in sizes]
    y = noise * rng.standard_normal((n, targets)) + 5.0
    for target in range(targets):
        x = spaces[target % len(sizes)]
        y[:, target] += x @ rng.standard_normal(x.shape[1]) / np.sqrt(x.shape[1])
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.concatenate(spaces, axis=1), labels, y


def folds_for(n, k=4, embargo=0.0):
    return make_folds(np.zeros(n, int), np.arange(n) * 1.0, "blocks", n=k, embargo=embargo)


def fit_of(x, labels, y, fold, grid, gammas, standardize=False, dtype=np.float64, **options):
    """A fit as the doors make it."""
    more = banded_bytes(x.shape, gammas, grid, [fold])
    form, limit = options.get("form", "auto"), options.get("memory_mb", 500)
    backend = options.get("backend", NUMPY)
    return SpacesFit(
        x, labels, y, [fold], grid, standardize, form, dtype, backend, limit, more
    )  # fmt: skip


def r_of(a, b):
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))


@parametrize_with_checks([BandedRidgeCV(cv=3)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("shape", [(150, (6, 10, 4)), (60, (40, 30, 50))])
def test_fixed_weights_equal_ridge_on_scaled_features(shape):
    n, sizes = shape
    x, labels, y = data(n, sizes)
    gamma = np.array([0.7, 0.3, 0.0])
    ours = BandedRidgeCV(groups=labels, gammas=[gamma], alphas=[3.0]).fit(x, y)
    scale = np.sqrt(gamma)[labels]
    theirs = Ridge(alpha=3.0, solver="svd").fit(x * scale, y)
    assert ours.form_ == ("gram" if n > sum(sizes) else "kernel")
    assert ours.coef_ == pytest.approx(theirs.coef_ * scale, abs=1e-9)
    assert ours.intercept_ == pytest.approx(theirs.intercept_)
    assert ours.predict(x) == pytest.approx(theirs.predict(x * scale))
    assert np.all(ours.coef_[:, labels == 2] == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_himalaya_finds_the_same_winners_and_weights_in_the_gram_form(dtype):
    himalaya = pytest.importorskip("himalaya.ridge")
    x, labels, y = data(240, (8, 12, 6), targets=300, noise=3.0)
    x, y = x.astype(dtype), y.astype(dtype)
    gammas = np.random.default_rng(1).dirichlet(np.ones(3), 25)
    params = {"n_iter": gammas, "alphas": ALPHAS.astype(dtype), "progress_bar": False}
    theirs = himalaya.GroupRidgeCV(
        groups=labels, cv=KFold(5), fit_intercept=True, solver_params=params
    ).fit(x, y)
    ours = BandedRidgeCV(labels, gammas=gammas, alphas=ALPHAS, cv=5, select="mse").fit(x, y)
    _same_as_himalaya(ours, theirs.deltas_, theirs.coef_, theirs.intercept_)


def test_himalaya_finds_the_same_winners_and_weights_in_the_kernel_form():
    himalaya = pytest.importorskip("himalaya.kernel_ridge")
    x, labels, y = data(100, (60, 90, 80), targets=200)
    x -= x.mean(axis=0)
    gammas = draw_gammas(3, 20)
    spaces = [x[:, labels == space] for space in range(3)]
    model = himalaya.MultipleKernelRidgeCV(
        kernels="precomputed",
        cv=KFold(5),
        fit_intercept=True,
        solver_params={"n_iter": gammas, "alphas": ALPHAS, "progress_bar": False},
    ).fit(np.stack([space @ space.T for space in spaces]), y)
    ours = BandedRidgeCV(labels, gammas=gammas, alphas=ALPHAS, cv=5, select="mse").fit(x, y)
    assert ours.form_ == "kernel"
    weights = np.concatenate(model.get_primal_coef(spaces))
    _same_as_himalaya(ours, model.deltas_, weights, model.intercept_)


def _same_as_himalaya(ours, deltas, coef, intercept):
    """Same winner on 99 % of the targets, and there the same weights."""
    with np.errstate(divide="ignore"):
        delta = np.log(ours.gamma_ / ours.alpha_)
    close = np.isclose(delta, deltas, atol=1e-4) | (np.isneginf(delta) & np.isneginf(deltas))
    same = close.all(axis=0)
    assert same.mean() >= 0.99
    error = np.linalg.norm(ours.coef_.T - coef, axis=0) / np.linalg.norm(coef, axis=0)
    assert np.max(error[same]) < 1e-4
    assert ours.intercept_[same] == pytest.approx(intercept[same], rel=1e-3)


@pytest.mark.parametrize("form", ["gram", "kernel"])
@pytest.mark.parametrize("scale", ["absolute", "trace"])
def test_corners_equal_plain_ridge_of_each_space(form, scale):
    x, labels, y = data(120, (6, 10, 4), targets=12)
    for space in range(3):
        corner = np.eye(3)[[space]]
        ours = BandedRidgeCV(
            labels, gammas=corner, alphas=ALPHAS, alpha_scale=scale, form=form
        ).fit(x, y)
        plain = RidgeCV(alphas=ALPHAS, alpha_scale=scale).fit(x[:, labels == space], y)
        assert ours.alpha_ == pytest.approx(plain.alpha_)
        assert ours.coef_[:, labels == space] == pytest.approx(plain.coef_, abs=1e-8)
        assert ours.intercept_ == pytest.approx(plain.intercept_)


@pytest.mark.parametrize("sizes", [(6, 10, 4), (90, 70, 80)])
def test_search_equals_a_plain_loop_with_scikit_learn(sizes):
    """Every draw, inner fold and penalty by scikit-learn, scaling and embargo included."""
    x, labels, y = data(120, sizes, targets=9)
    fold = folds_for(120, embargo=3.0)[1]
    grid, gammas = make_grid(ALPHAS, "absolute"), draw_gammas(3, 4)
    standardize = sum(sizes) < 60
    fit = fit_of(x, labels, y, fold, grid, gammas, standardize)
    for select in ("r", "r2", "mse"):
        trials = search(fit, fold, gammas, select, prune=0.0)
        for draw, gamma in enumerate(gammas):
            metric = np.zeros((len(ALPHAS), y.shape[1]))
            for split in fold.inner:
                scaler = StandardScaler(with_std=standardize).fit(x[split.train])
                z = scaler.transform(x) * np.sqrt(gamma)[labels]
                for at, alpha in enumerate(ALPHAS):
                    model = Ridge(alpha=alpha, solver="svd").fit(z[split.train], y[split.train])
                    predicted, true = model.predict(z[split.test]), y[split.test]
                    error = ((true - predicted) ** 2).mean(axis=0)
                    metric[at] += {
                        "r": [
                            np.corrcoef(a, b)[0, 1]
                            for a, b in zip(true.T, predicted.T, strict=True)
                        ],
                        "r2": 1 - error / true.var(axis=0),
                        "mse": -error,
                    }[select]
            metric /= len(fold.inner)
            assert np.array_equal(trials.index[draw], metric.argmax(axis=0))
            assert trials.score[draw] == pytest.approx(metric.max(axis=0), abs=1e-9)


def test_planted_bands_are_recovered_and_beat_plain_ridge():
    """Many useless features beside the few that drive a target cost plain ridge its accuracy."""
    x, labels, y = data(300, (5, 60), targets=40, noise=1.0)
    train, test = np.arange(200), np.arange(200, 300)
    model = BandedRidgeCV(labels, n_iter=40, alphas=ALPHAS).fit(x[train], y[train])
    assert model.gamma_.sum(axis=0) == pytest.approx(1.0)
    driven = np.arange(40) % 2
    assert np.all(model.gamma_[0, driven == 0] > 0.9)
    plain = RidgeCV(alphas=ALPHAS).fit(x[train], y[train])
    few = driven == 0
    ours = r2_score(y[test], model.predict(x[test]), multioutput="raw_values")[few]
    theirs = r2_score(y[test], plain.predict(x[test]), multioutput="raw_values")[few]
    assert np.mean(ours > theirs) > 0.9
    parts = model.split_r2(x[test], y[test]).parts
    # the other way round gamma is not pinned down: 5 useless features cost 60 little; the split is
    for driving, targets in ((0, few), (1, ~few)):
        mean = parts[:, targets].mean(axis=1)
        assert mean[driving] > 20 * np.abs(mean[1 - driving])


def test_split_of_r2_adds_up_and_equals_himalaya():
    scoring = pytest.importorskip("himalaya.scoring")
    rng = np.random.default_rng(0)
    y = rng.standard_normal((80, 7)) + 3.0
    parts = [rng.standard_normal((80, 7)) * 0.3 + 0.2 * (y - 3.0) for _ in range(3)]
    constant = rng.uniform(2.5, 3.5, 7)
    found = split_r2(y, parts, constant)
    total = r2_score(y, sum(parts) + constant, multioutput="raw_values")
    assert found.total == pytest.approx(total)
    assert found.parts.sum(axis=0) + found.offset == pytest.approx(total)
    centred = y - y.mean(axis=0)
    theirs = scoring.r2_score_split(centred, np.stack(parts))
    assert split_r2(centred, parts, np.zeros(7)).parts == pytest.approx(theirs)
    assert split_r2(centred, parts, np.zeros(7)).offset == pytest.approx(np.zeros(7))
    flat = np.ones((80, 1))
    nothing = split_r2(flat, [flat], np.zeros(1))
    assert np.isnan(nothing.total).all() and np.isnan(nothing.parts).all()


def test_split_of_a_fitted_model_adds_up_to_its_score():
    x, labels, y = data()
    model = BandedRidgeCV(labels, n_iter=10).fit(x[:150], y[:150])
    found = model.split_r2(x[150:], y[150:])
    total = r2_score(y[150:], model.predict(x[150:]), multioutput="raw_values")
    assert found.total == pytest.approx(total)
    assert found.parts.sum(axis=0) + found.offset == pytest.approx(total)
    single = BandedRidgeCV(labels, n_iter=10).fit(x[:150], y[:150, 0])
    assert single.gamma_.shape == (3,) and single.coef_.shape == (x.shape[1],)
    assert single.split_r2(x[150:], y[150:, 0]).total == pytest.approx(total[:1])


@pytest.mark.parametrize("sizes", [(6, 10, 4), (90, 70, 80)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nested_folds_equal_an_estimator_per_fold(sizes, dtype):
    x, labels, y = data(160, sizes, targets=15)
    folds, grid = folds_for(160, embargo=2.0), make_grid(ALPHAS, "trace")
    spaces = {f"s{space}": x[:, labels == space].astype(dtype) for space in range(3)}
    gammas = draw_gammas(3, 12)
    # the kernel form scales by all rows in use, an estimator by those that it is given
    standardize = sum(sizes) < 100
    found = cross_validate_banded(
        spaces, y.astype(dtype), folds, grid, gammas=gammas, prune=0.0, dtype=dtype,
        standardize=standardize,
    )  # fmt: skip
    tolerance = 1e-9 if dtype == np.float64 else 2e-3
    for number, fold in enumerate(folds):
        rows = {row: at for at, row in enumerate(fold.train)}
        cv = [
            ([rows[row] for row in split.train], [rows[row] for row in split.test])
            for split in fold.inner
        ]
        one = BandedRidgeCV(
            labels, gammas=gammas, alphas=ALPHAS, alpha_scale="trace", cv=cv, prune=0.0,
            standardize=standardize,
        ).fit(x[fold.train], y[fold.train])  # fmt: skip
        here = found.isel(fold=number)
        same = np.isclose(here["gamma"].values, one.gamma_).all(axis=0) & np.isclose(
            here["alpha"].values, one.alpha_, rtol=1e-4
        )
        assert same.mean() == 1.0 if dtype == np.float64 else same.mean() > 0.9
        predicted, true = one.predict(x[fold.test]), y[fold.test]
        r2 = r2_score(true, predicted, multioutput="raw_values")
        r = r_of(true, predicted)
        assert here["r2"].values[same] == pytest.approx(r2[same], abs=tolerance)
        assert here["r"].values[same] == pytest.approx(r[same], abs=tolerance)
        split = one.split_r2(x[fold.test], y[fold.test])
        assert here["split"].values[:, same] == pytest.approx(split.parts[:, same], abs=tolerance)
        assert here["offset"].values[same] == pytest.approx(split.offset[same], abs=tolerance)
    total = found["split"].sum("space") + found["offset"]
    assert total.values == pytest.approx(found["r2"].values, abs=1e-5)
    assert found.attrs["form"] == ("gram" if sum(sizes) < 100 else "kernel")


def test_held_out_rows_do_not_reach_the_choice():
    x, labels, y = data(160)
    spaces = {f"s{space}": x[:, labels == space] for space in range(3)}
    folds, grid = folds_for(160)[:1], make_grid(ALPHAS, "trace")
    before = cross_validate_banded(spaces, y, folds, grid, n_iter=10)
    y[folds[0].test] = np.random.default_rng(9).standard_normal(y[folds[0].test].shape) * 50
    after = cross_validate_banded(spaces, y, folds, grid, n_iter=10)
    for name in ("gamma", "alpha"):
        assert np.array_equal(before[name].values, after[name].values)
    assert not np.allclose(before["r2"].values, after["r2"].values)


def several_blocks(*problem, limit):
    """Whether the limit allows a fit, in more than one block."""
    fit = fit_of(*problem, memory_mb=limit)
    try:
        return fit.plan.block < fit.y.shape[1]
    except BraidError:
        return False


@pytest.mark.parametrize("sizes", [(6, 10, 4), (90, 70, 80)])
def test_blocks_of_targets_do_not_change_the_fit(sizes):
    x, labels, y = data(120, sizes, targets=300)
    gammas, grid = draw_gammas(3, 6), make_grid(ALPHAS, "absolute")
    rows = np.arange(120)
    fold = Fold("all", rows, rows, tuple(Split(*split) for split in KFold(5).split(x)))
    problem, limit = (x, labels, y, fold, grid, gammas), 0.1
    with pytest.raises(BraidError):
        fit_of(*problem, memory_mb=limit).run(lambda spaces, part: None)
    while not several_blocks(*problem, limit=limit):
        limit *= 1.05
    options = {"groups": labels, "gammas": gammas, "alphas": ALPHAS, "prune": 0.5}
    whole = BandedRidgeCV(**options).fit(x, y)
    blocked = BandedRidgeCV(**options, memory_mb=limit).fit(x, y)
    assert np.array_equal(whole.gamma_, blocked.gamma_)
    assert np.array_equal(whole.alpha_, blocked.alpha_)
    assert whole.n_dropped_ == blocked.n_dropped_
    assert whole.coef_ == pytest.approx(blocked.coef_, abs=1e-9)


def test_pruned_draws_were_worst_for_every_target():
    """All targets follow one space: weightings without it go, and the winners stay."""
    x, labels, y = data(150, targets=60, noise=0.5)
    y = y[:, ::3]
    options = {"groups": labels, "n_iter": 40, "alphas": ALPHAS}
    every, pruned = BandedRidgeCV(**options, prune=0.0), BandedRidgeCV(**options, prune=0.5)
    every.fit(x, y), pruned.fit(x, y)
    assert every.n_dropped_ == 0
    assert 5 <= pruned.n_dropped_ <= 22
    assert np.mean(np.isclose(every.gamma_, pruned.gamma_).all(axis=0)) > 0.95


def test_targets_of_a_group_share_weights_but_not_penalties():
    x, labels, y = data(150, targets=30, noise=4.0)
    groups = np.array(["a", "b", "c"])[np.arange(30) % 3]
    model = BandedRidgeCV(labels, n_iter=20, alphas=ALPHAS, target_groups=groups).fit(x, y)
    for space, label in enumerate("abc"):
        gamma = model.gamma_[:, groups == label]
        assert np.all(gamma == gamma[:, :1])
        assert gamma[:, 0].argmax() == space
        assert len(np.unique(model.alpha_[groups == label])) > 1
    score = np.array([[1.0, 0.0, np.nan], [0.8, 0.9, np.nan]])
    trials = Trials(np.eye(2), score, np.array([[0, 1, 2], [3, 4, 5]]), np.ones(2, bool))
    assert pick(trials).draw.tolist() == [0, 1, 0]
    assert pick(trials, np.array([7, 7, 7])).draw.tolist() == [1, 1, 1]
    assert pick(trials, np.array([7, 7, 7])).index.tolist() == [3, 4, 5]


def test_refinement_never_scores_below_the_search_and_stays_near_the_winners():
    x, labels, y = data(150, targets=20)
    plain = BandedRidgeCV(labels, n_iter=5, alphas=ALPHAS).fit(x, y)
    refined = BandedRidgeCV(labels, n_iter=5, alphas=ALPHAS, refine=15, prune=0.0).fit(x, y)
    assert refined.n_tried_ == plain.n_tried_ + 15
    assert np.all(refined.validation_ >= plain.validation_ - 1e-10)
    assert np.any(refined.validation_ > plain.validation_)
    fold, grid = folds_for(150)[0], make_grid(ALPHAS, "absolute")
    gammas = np.array([[0.5, 0.5, 0.0]])
    choice, _ = choose_bands(fit_of(x, labels, y, fold, grid, gammas), fold, gammas)
    near = refined_gammas(choice, 300)
    assert near.sum(axis=1) == pytest.approx(1.0)
    assert near.mean(axis=0) == pytest.approx([0.5, 0.5, 0.0], abs=0.03)


def test_draws_hold_corners_and_the_uniform_point_and_follow_the_seed():
    gammas = draw_gammas(4, 100, seed=3)
    assert gammas.shape == (105, 4)
    assert gammas[0] == pytest.approx(0.25)
    assert np.array_equal(gammas[1:5], np.eye(4))
    assert gammas.sum(axis=1) == pytest.approx(1.0)
    assert np.all(gammas >= 0)
    # concentration 0.1 gives sparse weightings in every second draw
    assert gammas[6::2].max(axis=1).mean() > gammas[5::2].max(axis=1).mean() + 0.2
    assert np.array_equal(gammas, draw_gammas(4, 100, seed=3))
    assert not np.array_equal(gammas[5:], draw_gammas(4, 100, seed=4)[5:])
    assert np.array_equal(draw_gammas(1, 100), [[1.0]])


def test_constant_features_and_targets_do_no_harm():
    x, labels, y = data(100)
    x[:, 7], y[:, 3] = 4.0, 1.5
    spaces = {f"s{space}": x[:, labels == space] for space in range(3)}
    folds, grid = folds_for(100), make_grid(ALPHAS, "trace")
    y[5, 4] = np.nan
    found = cross_validate_banded(spaces, y, folds, grid, n_iter=5)
    assert found.attrs["missing"] == 1
    assert np.isnan(found["r2"].values[:, [3, 4]]).all()
    others = np.delete(np.arange(y.shape[1]), [3, 4])
    assert np.isfinite(found["r2"].values[:, others]).all()
    model = BandedRidgeCV(labels, n_iter=5, standardize=True).fit(x, np.delete(y, 4, axis=1))
    assert np.all(model.coef_[:, 7] == 0)
    assert model.coef_[3] == pytest.approx(np.zeros(x.shape[1]))
    assert model.intercept_[3] == pytest.approx(1.5)


def test_small_penalties_go_over_to_float64_and_absurd_ones_are_refused():
    x, labels, _ = data(100)
    x[:, 0] = x[:, 1] + 1e-3 * x[:, 0]
    made = prepare_spaces(
        x.astype(np.float32), labels, folds_for(100), make_grid([1e-4, 1.0], "absolute")
    )
    assert made.form.dtype == np.float64
    made = prepare_spaces(
        x.astype(np.float32), labels, folds_for(100), make_grid([1.0, 10.0], "absolute")
    )
    assert made.form.dtype == np.float32
    with pytest.raises(InputError, match="raise it"):
        prepare_spaces(x, labels, folds_for(100), make_grid([1e-14], "absolute"))


def test_what_is_refused():
    x, labels, y = data(60)
    for wrong, options in (
        ("one per feature", {"groups": labels[:-1]}),
        ("give 0 or more", {"groups": labels, "n_iter": -1}),
        ("one weight per space", {"groups": labels, "gammas": np.ones((2, 2))}),
        ("not one of", {"groups": labels, "select": "rmse"}),
        ("no share of the draws", {"groups": labels, "prune": 1.0}),
        ("not one of", {"groups": labels, "form": "svd"}),
        ("give one each", {"groups": labels, "target_groups": [1, 2]}),
    ):
        with pytest.raises(InputError, match=wrong):
            BandedRidgeCV(**options).fit(x, y)
    with pytest.raises(BraidError, match="memory_mb"):
        BandedRidgeCV(labels, memory_mb=0.01).fit(x, y)
    with pytest.raises(InputError, match="row 1 is no weighting"):
        check_gammas([[0.5, 0.5], [0.0, 0.0]], 2)
    folds, grid = folds_for(60), make_grid(ALPHAS)
    bad = x.copy()
    bad[7, 0] = np.nan
    for wrong, spaces in (
        ("at least one", {}),
        ("row 7", {"a": bad}),
        ("59 rows", {"a": x, "b": x[:-1]}),
        ("may not hold", {"a+b": x}),
        ("at least one feature", {"a": x[:, :0]}),
    ):
        with pytest.raises(InputError, match=wrong):
            cross_validate_banded(spaces, y, folds, grid)
    with pytest.raises(InputError, match="give one each"):
        cross_validate_banded({"a": x}, y, folds, grid, groups=["roi"])
    with pytest.raises(InputError, match=r"not \(60, targets\)"):
        cross_validate_banded({"a": x}, y[:-1], folds, grid)
    y[3, 2] = np.inf
    with pytest.raises(InputError, match="target 2: the value in row 3 is infinite"):
        cross_validate_banded({"a": x}, y, folds, grid)


def test_spaces_come_in_order_of_appearance():
    space_of, labels = spaces_of_groups(["v", "a", "v", "t", "a"], 5)
    assert space_of.tolist() == [0, 1, 0, 2, 1]
    assert labels.tolist() == ["v", "a", "t"]
    joined = join_spaces({"a": np.ones((3, 2), np.float32), "b": np.zeros((3, 1), np.float32)})
    assert joined.x.dtype == np.float32 and joined.space_of.tolist() == [0, 0, 1]


def test_no_warning_escapes():
    x, labels, y = data(80)
    y[:, 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BandedRidgeCV(labels, n_iter=4).fit(x, y)


def weighted_and_plain(kind, standardize, gamma):
    """A view with weights, and a form of the features that were scaled and chosen by hand."""
    x, labels, y = data(120, (6, 10, 4), targets=7)
    x[:, 3] = 2.0
    order = np.random.default_rng(4).permutation(len(labels))
    x, labels = x[:, order], labels[order]
    folds = folds_for(120)
    layout = layout_of(120, folds)
    kept = gamma[labels] > 0
    if kind == "kernel":
        scaled = Scaled(x, layout, standardize)
        view = KernelForm(scaled, layout, np.float64, space_of=labels).weighted(gamma)
        by_hand = Scaled(x[:, kept], layout, standardize)
        by_hand.x = by_hand.x * np.sqrt(gamma)[labels[kept]]
        plain = KernelForm(by_hand, layout, np.float64)
    else:
        options = {"dtype": np.float64, "stream": kind == "streamed"}
        whole = GramForm(x, layout, standardize, space_of=labels, **options)
        view = whole.weighted(gamma)
        by_hand = x[:, kept]
        if standardize:  # before the weights: scaling after them would undo them
            rows = folds[0].train
            by_hand = by_hand / np.where(np.ptp(by_hand[rows], axis=0) > 0, by_hand[rows].std(0), 1)
        plain = GramForm(by_hand * np.sqrt(gamma)[labels[kept]], layout, False, **options)
    return view, plain, x, labels, y[layout.order] - y[layout.order].mean(axis=0), folds[0]


@pytest.mark.parametrize("kind", ["gram", "streamed", "kernel"])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("gamma", [(0.7, 0.0, 0.3), (0.0, 0.0, 1.0), (0.2, 0.5, 0.3)])
def test_a_view_equals_the_form_of_features_scaled_by_hand(kind, standardize, gamma):
    gamma = np.array(gamma)
    view, plain, x, labels, y, fold = weighted_and_plain(kind, standardize, gamma)
    found = []
    for form in (view, plain):
        train, test = form.layout.members(fold.train), form.layout.members(fold.test)
        basis, crossed = form.basis(train), form.cross(y)
        b = shrunk(NUMPY, basis, form.project(basis, crossed), 3.0)
        held = form.held_out(basis, test)
        found.append((basis, b, held, form.predict(basis, test, b)))
    (basis, b, held, predicted), (other, _, there, expected) = found
    weights = view.weights(basis, b)
    top = len(basis.eigenvalues)
    assert basis.eigenvalues == pytest.approx(other.eigenvalues[-top:], abs=1e-8)
    assert predicted == pytest.approx(expected, abs=1e-9)
    assert (held.upper.T @ held.upper).trace() == pytest.approx((there.upper**2).sum())
    # penalties of scale trace count in the mean eigenvalue of features that count their weight
    count = gamma[labels].sum() - gamma[0]  # the constant feature is of the first space
    assert basis.mean_eigenvalue == pytest.approx(basis.eigenvalues.sum() / count)
    # predictions from one space each add up, and a space of weight 0 predicts nothing
    test = view.layout.members(fold.test)
    parts = [view.predict(basis, test, b, space) for space in range(3)]
    assert sum(parts) == pytest.approx(predicted, abs=1e-10)
    for part, weight in zip(parts, gamma, strict=True):
        assert np.any(part) == (weight > 0)
    assert weights[0].shape == (len(labels), 7)
    assert np.all(weights[0][gamma[labels] == 0] == 0)
    assert x[fold.test] @ weights[0] + weights[1] == pytest.approx(predicted, abs=1e-8)


def test_a_view_copies_no_matrix_and_decomposes_its_own_features_only():
    x, _, y = data(600, (500, 20), targets=3)
    folds = folds_for(600)
    labels = np.repeat([0, 1], [500, 20])
    layout = layout_of(600, folds)
    form = GramForm(x, layout, False, np.float64, space_of=labels)
    matrix = 8 * 520**2
    assert form._grams.nbytes == 4 * matrix
    tracemalloc.start()
    views = [form.weighted(np.array(gamma)) for gamma in ((0.5, 0.5), (0.0, 1.0))]
    assert tracemalloc.get_traced_memory()[1] < matrix / 50
    for view in views:
        assert np.shares_memory(view._grams, form._grams) and np.shares_memory(view._x, form._x)
    tracemalloc.reset_peak()
    basis = views[1].basis(layout.members(folds[0].train))
    views[1].held_out(basis, layout.members(folds[0].test))
    assert len(basis.eigenvalues) == 20
    assert tracemalloc.get_traced_memory()[1] < matrix / 5
    tracemalloc.stop()
    # what one view makes of the targets is what another needs
    crossed = form.cross(y - y.mean(axis=0))
    assert views[1].project(basis, crossed).shape == (20, 3)


@pytest.mark.parametrize("form", ["gram", "streamed", "kernel"])
def test_torch_equals_numpy(form):
    pytest.importorskip("torch")
    sizes = (60, 50, 40) if form == "kernel" else (6, 10, 4)
    x, labels, y = data(120, sizes, targets=40)
    spaces = {f"s{space}": x[:, labels == space] for space in range(3)}
    folds, grid = folds_for(120, embargo=2.0), make_grid(ALPHAS, "trace")
    options = {"n_iter": 8, "form": form, "dtype": np.float64}
    ours, theirs = (
        cross_validate_banded(spaces, y, folds, grid, **options, backend=backend)
        for backend in ("numpy", "torch")
    )
    assert ours.attrs == theirs.attrs and ours.attrs["form"] == form
    assert np.array_equal(ours["gamma"].values, theirs["gamma"].values)
    for name in ("alpha", "r", "r2", "validation", "split", "offset"):
        assert ours[name].values == pytest.approx(theirs[name].values, abs=1e-9), name
    one, other = (
        BandedRidgeCV(labels, n_iter=8, alphas=ALPHAS, form=form, backend=backend).fit(x, y)
        for backend in ("numpy", "torch")
    )
    assert one.coef_ == pytest.approx(other.coef_, abs=1e-9)
    assert one.intercept_ == pytest.approx(other.intercept_, abs=1e-9)


def test_streamed_equals_gram():
    x, labels, y = data(160)
    spaces = {f"s{space}": x[:, labels == space] for space in range(3)}
    folds, grid = folds_for(160), make_grid(ALPHAS, "trace")
    ours, theirs = (
        cross_validate_banded(spaces, y, folds, grid, n_iter=8, form=form, dtype=np.float64)
        for form in ("gram", "streamed")
    )
    for name in ours:
        assert ours[name].values == pytest.approx(theirs[name].values, abs=1e-8), name


@dataclass(frozen=True)
class Failing(NumpyBackend):
    """Memory that runs out at some products of the sweep."""

    at: tuple = ()
    state: dict = field(default_factory=lambda: {"calls": 0})

    def fast_matmul(self, a, b):
        self.state["calls"] += 1
        if self.state["calls"] in self.at:
            raise MemoryError("no more")
        return super().fast_matmul(a, b)


@pytest.mark.parametrize("form", ["gram", "kernel"])
def test_memory_that_runs_out_in_a_search_changes_no_number(form, monkeypatch):
    """In the screening after the first inner fold, and in the search that follows."""
    # of a size at which tiles are as wide as the blocks that fit
    sizes = (70, 70) if form == "gram" else (90, 120)
    x, labels, y = data(260, sizes, targets=1024)
    spaces = {"a": x[:, labels == 0], "b": x[:, labels == 1]}
    folds, grid = folds_for(260)[:1], make_grid(np.logspace(0, 3, 4), "trace")
    args = (spaces, y.astype(np.float32), folds, grid)
    plain = cross_validate_banded(*args, n_iter=6)
    assert plain.attrs["form"] == form and json.loads(plain.attrs["retries"]) == []
    failing = Failing(at=(7, 140))
    monkeypatch.setattr("braid.encoding.banded.backend_for", lambda *_: failing)
    found = cross_validate_banded(*args, n_iter=6)
    assert [text.split(":")[-1] for text in json.loads(found.attrs["retries"])] == [
        " again with 512 at a time",
        " again with 256 at a time",
    ]
    assert found.attrs["form"] == form and found.attrs["dropped"] == plain.attrs["dropped"]
    assert np.array_equal(found["gamma"].values, plain["gamma"].values)
    for name in ("alpha", "r", "r2", "validation", "split", "offset"):
        assert found[name].values == pytest.approx(plain[name].values, abs=1e-5), name


def test_the_smallest_block_goes_over_to_the_streamed_form_and_stays_there(monkeypatch):
    x, labels, y = data(160, targets=100)
    spaces = {f"s{space}": x[:, labels == space] for space in range(3)}
    folds, grid = folds_for(160), make_grid(ALPHAS, "trace")
    plain = cross_validate_banded(spaces, y, folds, grid, n_iter=4, dtype=np.float64)
    failing = Failing(at=(3, 4))
    monkeypatch.setattr("braid.encoding.banded.backend_for", lambda *_: failing)
    found = cross_validate_banded(spaces, y, folds, grid, n_iter=4, dtype=np.float64)
    retries = json.loads(found.attrs["retries"])
    assert "again with 64 at a time" in retries[0]
    assert "going over to the streamed form" in retries[1] and len(retries) == 2
    assert found.attrs["form"] == "streamed"
    for name in ("gamma", "alpha", "r2"):
        assert found[name].values == pytest.approx(plain[name].values, abs=1e-8), name


def test_order_of_features_does_not_matter():
    """Spaces whose features lie between those of others, as `groups` allows."""
    x, labels, y = data(150)
    order = np.random.default_rng(2).permutation(len(labels))
    gammas = draw_gammas(3, 6)
    # spaces are numbered by their first feature
    space_of, first = spaces_of_groups(labels[order], len(labels))
    options = {"alphas": ALPHAS, "alpha_scale": "trace"}
    plain = BandedRidgeCV(labels, gammas=gammas, **options).fit(x, y)
    mixed = BandedRidgeCV(labels[order], gammas=gammas[:, first], **options).fit(x[:, order], y)
    assert mixed.coef_ == pytest.approx(plain.coef_[:, order], abs=1e-9)
    assert mixed.gamma_ == pytest.approx(plain.gamma_[first])
    split = mixed.split_r2(x[:, order], y).parts
    assert split == pytest.approx(plain.split_r2(x, y).parts[first], abs=1e-9)
    assert np.array_equal(first[space_of], labels[order])
