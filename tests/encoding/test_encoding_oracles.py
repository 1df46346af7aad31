"""Ridge beside other people's: scikit-learn, himalaya, the Huth lab's code and MATLAB's mTRF.

Some of these do not centre. Rows and their mirror images, [X; -X] and [Y; -Y], have mean zero, so
that centring changes nothing, and twice the Gram matrix: ridge without intercept at penalty L is
ours on the mirrored rows at 2 L.
"""

import json

import numpy as np
import pytest
from scipy.io import loadmat
from sklearn.linear_model import Ridge
from sklearn.linear_model import RidgeCV as SklearnRidgeCV
from sklearn.model_selection import KFold

from braid.encoding import Fold, RidgeCV, Split, make_folds, make_grid
from braid.encoding.design import delayed
from braid.encoding.solver import (
    FORMS,
    fit_fixed,
    inner_scores,
    prepare,
    score_fixed,
    select_alpha,
)

ALPHAS = np.logspace(-1, 5, 13)
# the stated agreement of an independent solution; a Gram matrix squares the condition number,
# which is up to 8e5 for the lagged responses
MATLAB = {"svd": 4e-12, "gram": 8e5 * np.finfo(float).eps}
BEFORE_AND_AFTER = list(range(-4, 5))  # -60 to 60 ms at 64 Hz, outwards to whole samples


def data(n, p, targets, dtype=np.float64, seed=0):
    """Features that overlap, and targets between noise and mostly signal."""
    rng = np.random.default_rng(seed)
    spectrum = 1 / np.sqrt(np.arange(1, p + 1))
    x = (rng.standard_normal((n, p)) * spectrum) @ rng.standard_normal((p, p)) + 1.0
    signal = (x - x.mean(0)) @ rng.standard_normal((p, targets))
    y = signal / signal.std(0) * rng.uniform(0, 1.5, targets) + rng.standard_normal((n, targets))
    return x.astype(dtype), (y + 10.0).astype(dtype)


def relative(a, b):
    """Largest over targets (columns) of |a - b| / |b|."""
    return np.max(np.linalg.norm(a - b, axis=0) / np.linalg.norm(b, axis=0))


def assert_same(ours, alpha, weights):
    """Stated tolerance: the same penalty for 99.9 % of targets, and weights to 1e-4 there."""
    agree = np.isclose(ours.alpha_, alpha, rtol=1e-3)
    assert agree.mean() >= 0.999
    assert relative(ours.coef_.T[:, agree], weights[:, agree]) < 1e-4
    assert len(np.unique(ours.alpha_)) > 5  # the choice was one


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("select", ["mse", "r2", "r"])
def test_himalaya_ridge(select, dtype):
    himalaya = pytest.importorskip("himalaya.ridge")
    from himalaya import scoring

    score = {"mse": "l2_neg_loss", "r2": "r2_score", "r": "correlation_score"}[select]
    x, y = data(400, 60, 2000, dtype)
    theirs = himalaya.RidgeCV(
        alphas=ALPHAS.astype(dtype),
        cv=KFold(5),
        fit_intercept=True,
        solver_params={"score_func": getattr(scoring, score)},
    ).fit(x, y)
    ours = RidgeCV(alphas=ALPHAS, cv=KFold(5), select=select).fit(x, y)
    assert ours.form_ == "gram"
    assert_same(ours, theirs.best_alphas_, theirs.coef_)
    assert relative(ours.predict(x), theirs.predict(x)) < 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_himalaya_kernel_ridge(dtype):
    """In float32 its weights are 2e-4 from its own in float64, so these are the reference."""
    himalaya = pytest.importorskip("himalaya.kernel_ridge")
    x, y = data(200, 500, 2000, dtype)
    model = himalaya.KernelRidgeCV(alphas=ALPHAS, cv=KFold(5), fit_intercept=True)
    theirs = model.fit(x.astype(np.float64), y.astype(np.float64))
    ours = RidgeCV(alphas=ALPHAS, cv=KFold(5), select="mse").fit(x, y)
    assert ours.form_ == "kernel"
    assert_same(ours, theirs.best_alphas_, theirs.get_primal_coef())
    assert relative(ours.predict(x), theirs.predict(x.astype(np.float64))) < 1e-5


@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("shape", [(150, 30), (60, 150)])
def test_scikit_learn_ridge_with_a_penalty_per_target(shape, form):
    x, y = data(*shape, 8)
    alpha = np.logspace(0, 3, 8)
    rows = np.arange(len(x))
    fold = Fold("all", rows, rows, ())
    problem = prepare(x, [fold], make_grid(alpha, "absolute"), False, form, False, dtype=np.float64)
    mean = y.mean(axis=0)
    weights, added = fit_fixed(problem, problem.arrange(y - mean), rows, alpha)
    theirs = Ridge(alpha=alpha).fit(x, y)
    assert relative(weights, theirs.coef_.T) < 1e-9
    assert added + mean == pytest.approx(theirs.intercept_, rel=1e-9)


def test_scikit_learn_ridge_cv_target_by_target():
    x, y = data(120, 40, 12)
    ours = RidgeCV(alphas=ALPHAS, cv=KFold(4), select="r2").fit(x, y)
    for target in range(y.shape[1]):
        theirs = SklearnRidgeCV(alphas=ALPHAS, cv=KFold(4), scoring="r2").fit(x, y[:, target])
        assert ours.alpha_[target] == pytest.approx(theirs.alpha_)
        assert ours.coef_[target] == pytest.approx(theirs.coef_, rel=1e-8, abs=1e-10)


def mirrored(*arrays):
    """Rows followed by their mirror images."""
    return [np.concatenate([array, -array]) for array in arrays]


def without_intercept(x, y, penalty, form="auto"):
    """Weights of (X'X + L)^-1 X'Y, with one penalty or one per target."""
    x, y = mirrored(x, y)
    alpha = 2 * np.broadcast_to(np.asarray(penalty, dtype=float), y.shape[1])
    rows = np.arange(len(x))
    fold = Fold("all", rows, rows, ())
    grid = make_grid(np.unique(alpha), "absolute")
    problem = prepare(x, [fold], grid, False, form, False, dtype=np.float64)
    return fit_fixed(problem, problem.arrange(y), rows, alpha)[0]


@pytest.fixture
def huth(shared_data):
    with np.load(shared_data / "golden" / "huth_ridge.npz") as found:
        return dict(found)


def test_huth_lab_penalises_with_the_square_of_alpha(huth):
    x, y = huth["X_train"], huth["Y_train"]
    for alpha, weights in (
        (huth["ridge_alpha_scalar"], huth["ridge_wt_scalar"]),
        (huth["ridge_alpha_per_target"], huth["ridge_wt_per_target"]),
        (huth["boot_alphas"], huth["boot_wt"]),
        (huth["boot_single_alpha_alphas"], huth["boot_single_alpha_wt"]),
    ):
        assert without_intercept(x, y, alpha**2) == pytest.approx(weights, abs=1e-12)
    forgotten = without_intercept(x, y, huth["ridge_alpha_scalar"])
    assert np.abs(forgotten - huth["ridge_wt_scalar"]).max() > 0.01


def test_huth_lab_alphas_may_count_in_the_largest_singular_value(huth):
    x, y = huth["X_train"], huth["Y_train"]
    alpha = huth["ridge_normalpha_value"] * np.linalg.norm(x, 2)
    weights = without_intercept(x, y, alpha**2)
    assert weights == pytest.approx(huth["ridge_wt_normalpha"], abs=1e-12)


def huth_splits(huth, which):
    """Held-out rows as the file has them; mirror images train too."""
    n = len(huth["X_train"])
    for held in huth[f"{which}_held_out_rows"]:
        train = np.setdiff1d(np.arange(n), held)
        yield Split(np.r_[train, train + n], held)


@pytest.fixture(params=[False, True], ids=["matrices of atoms", "matrices from rows"])
def from_rows(request, monkeypatch):
    """Whether what belongs to each atom is stored, or made from rows as for many of them."""
    if request.param:
        for module in ("gram", "planner"):
            monkeypatch.setattr(f"braid.encoding.{module}.MANY", 2)


@pytest.mark.parametrize("which", ["boot", "boot_single_alpha"])
def test_huth_lab_chooses_alpha_by_the_mean_r_over_held_out_chunks(huth, which, from_rows):
    x, y = mirrored(huth["X_train"], huth["Y_train"])
    splits = list(huth_splits(huth, which))
    grid = make_grid(np.sqrt(2) * huth["alphas"], "squared")
    rows = np.arange(len(x))
    fold = Fold("all", rows, rows, tuple(splits))
    problem = prepare(x, [fold], grid, False, dtype=np.float64)
    alpha, _ = select_alpha(problem, problem.arrange(y), fold, grid, "r")

    each = [Fold("held out", split.train, split.test, ()) for split in splits]
    problem = prepare(x, each, grid, False, nested=False, dtype=np.float64)
    block = problem.arrange(y)
    corrs = np.stack(
        [
            score_fixed(problem, block, np.full((6, y.shape[1]), penalty))
            for penalty in grid.absolute(np.nan)
        ]
    )
    expected = huth[f"{which}_corrs"].transpose(0, 2, 1)
    assert corrs == pytest.approx(expected, abs=1e-10)
    if which == "boot":
        assert np.sqrt(alpha / 2) == pytest.approx(huth["boot_alphas"])  # 25 of 25
        assert len(np.unique(alpha)) > 5
    else:
        best = huth["alphas"][corrs.mean(axis=(1, 2)).argmax()]
        assert huth["boot_single_alpha_alphas"] == pytest.approx(best)


def test_huth_lab_bootstrap_ridge_from_penalties_to_predictions(huth, from_rows):
    cv = [(split.train, split.test) for split in huth_splits(huth, "boot")]
    alphas = np.sqrt(2) * huth["alphas"]
    ours = RidgeCV(alphas, alpha_scale="squared", cv=cv, select="r")
    ours.fit(*mirrored(huth["X_train"], huth["Y_train"]))
    assert np.sqrt(ours.alpha_ / 2) == pytest.approx(huth["boot_alphas"])  # 25 of 25
    weights = ours.coef_.T
    assert weights == pytest.approx(huth["boot_wt"], abs=1e-12)
    r = pearson(ours.predict(huth["X_test"]), huth["Y_test"])
    assert r == pytest.approx(huth["boot_test_corr"], abs=1e-10)
    assert (r.mean(), r.max()) == pytest.approx((0.1864, 0.5753), abs=5e-5)


@pytest.mark.parametrize(
    ("select", "name"), [("r", "use_corr"), ("signed_root_r2", "signed_sqrt_r2")]
)
def test_huth_lab_scores_of_each_alpha(huth, select, name):
    x, y = mirrored(huth["X_train"], huth["Y_train"])
    n, m = len(x), len(huth["X_test"])
    x, y = np.concatenate([x, huth["X_test"]]), np.concatenate([y, huth["Y_test"]])
    grid = make_grid(np.sqrt(2) * huth["alphas"], "squared")
    split = Split(np.arange(n), np.arange(n, n + m))
    fold = Fold("test", split.train, split.test, (split,))
    problem = prepare(x, [fold], grid, False, dtype=np.float64)
    found = inner_scores(problem, problem.arrange(y), split, grid, select)
    assert found == pytest.approx(huth[f"ridge_corr_{name}"], abs=1e-10)


def test_huth_lab_chunks_are_ones_that_we_may_draw(huth):
    settings = json.loads(str(huth["settings_json"]))
    n, length = len(huth["X_train"]), settings["chunklen"]
    inner = {"length": length, "held": settings["nchunks"], "draws": settings["nboots"]}
    rest = np.zeros(60, dtype=int)
    runs = np.r_[np.zeros(n, dtype=int), rest + 1]
    times = np.r_[np.arange(n), np.arange(len(rest))] * 2.0
    (fold,) = make_folds(
        runs, times, "holdout", train={"run": 0}, test={"run": 1}, inner=inner,
    )  # fmt: skip
    held = [split.test for split in fold.inner]
    assert np.shape(held) == huth["boot_held_out_rows"].shape
    for rows in [*held, *np.sort(huth["boot_held_out_rows"], axis=1)]:
        starts = rows.reshape(-1, length)[:, 0]
        assert np.all(starts % length == 0) and len(set(starts)) == settings["nchunks"]
        assert np.array_equal(rows, (starts[:, None] + np.arange(length)).ravel())


def test_huth_lab_delays(huth):
    x, delays = huth["X_train"], huth["delays"].tolist()
    found = delayed(x[:50], np.zeros(50, dtype=int), delays)
    assert np.array_equal(found, huth["delayed_X_first50"])


@pytest.fixture
def mtrf(shared_data):
    folder = shared_data / "golden" / "mtrf_matlab"

    def load(name):
        return loadmat(folder / f"{name}.mat")

    return load


def lagged(x, lags):
    """Design of mTRF-Toolbox 1.5: as many columns of ones as features, then lag by lag."""
    ones = np.ones((len(x), x.shape[1]))
    return np.column_stack([ones, delayed(x, np.zeros(len(x), dtype=int), lags)])


@pytest.mark.parametrize("form", list(MATLAB))
@pytest.mark.parametrize("direction", ["fwd", "bwd"])
def test_mtrf_train(mtrf, direction, form):
    made, expected = mtrf("gendata"), mtrf(f"mtrf_train_{direction}")
    x, y = made["x"][:, :3], made["y_sim"][:, :3]
    if direction == "bwd":
        x, y = y, x
    weights = without_intercept(lagged(x, BEFORE_AND_AFTER), y, 1.0, form)
    assert weights[:3] == pytest.approx(expected["i"], abs=MATLAB[form])
    by_lag = weights[3:].reshape(9, 3, 3).transpose(1, 0, 2)
    assert by_lag == pytest.approx(expected["w"], abs=MATLAB[form])


def test_mtrf_predict(mtrf):
    made, expected = mtrf("gendata"), mtrf("mtrf_predict_fwd")
    x, y, lags = made["x"], made["y_sim"][:, :4], list(range(5))
    weights = without_intercept(lagged(x[:128], lags), y[:128], 1.0)
    predicted = lagged(x[128:256], lags) @ weights
    assert predicted == pytest.approx(expected["rec"], abs=4e-12)
    assert pearson(predicted, y[128:256]) == pytest.approx(expected["r"][0], abs=4e-12)


EQUAL = [slice(0, 128), slice(128, 256), slice(256, 384), slice(384, 512)]
UNEQUAL = [slice(0, 128), slice(128, 256), slice(128, 384)]  # as data/README.md lists them


@pytest.mark.parametrize("form", list(MATLAB))
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cross_val_equal_fwd", EQUAL),
        ("cross_val_equal_bwd", EQUAL),
        ("cross_val_unequal_fwd", UNEQUAL),
    ],
)
def test_mtrf_cross_validation_averages_weights(mtrf, name, parts, form):
    made, expected = mtrf("gendata"), mtrf(name)
    x, y = made["x"], made["y_sim"][:, :4]
    if name.endswith("bwd"):
        x, y = y, x
    designs = [lagged(x[part], BEFORE_AND_AFTER) for part in parts]
    weights = np.array(
        [
            [without_intercept(design, y[part], penalty, form) for penalty in (0.1, 1.0, 10.0)]
            for design, part in zip(designs, parts, strict=True)
        ]
    )
    assert relative(flat(weights), flat(expected["model"])) < 5 * MATLAB[form]
    for number, part in enumerate(parts):
        others = np.delete(weights, number, axis=0).mean(axis=0)
        for penalty in range(3):
            predicted = designs[number] @ others[penalty]
            close = 5e-12 if form == "svd" else 2e-11  # of values of about 1
            assert predicted == pytest.approx(expected["pred"][0, number][penalty], abs=close)
            r = pearson(predicted, y[part])
            assert r == pytest.approx(expected["r"][number, penalty], abs=close)
            mse = ((predicted - y[part]) ** 2).mean(axis=0)
            assert mse == pytest.approx(expected["mse"][number, penalty], rel=close)


def flat(weights):
    """One column per set of weights."""
    return (
        weights.reshape(-1, *weights.shape[-2:]).transpose(1, 0, 2).reshape(weights.shape[-2], -1)
    )


def pearson(a, b):
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
