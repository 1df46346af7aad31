"""Variance partition and the test of a unique part, against separate fits and planted truth."""

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, kstest
from sklearn.metrics import r2_score

from braid.common import BraidError, InputError
from braid.encoding import Fold, RidgeCV, Split, make_folds, make_grid
from braid.encoding.backend import NumpyBackend
from braid.encoding.freedman_lane import out_of_fold, unique_part_test
from braid.encoding.partition import parts_of, subsets, variance_partition
from braid.encoding.solver import centred, cross_tiles, cross_validate, predict_fixed, prepare
from braid.encoding.spaces import prepare_spaces

ALPHAS = np.logspace(-2, 4, 7)


@dataclass(frozen=True)
class Failing(NumpyBackend):
    """Memory that runs out at the fifth product of a sweep."""

    state: dict = field(default_factory=lambda: {"calls": 0})

    def fast_matmul(self, a, b):
        self.state["calls"] += 1
        if self.state["calls"] == 5:
            raise MemoryError("no more")
        return super().fast_matmul(a, b)


def folds_for(n, k=4, embargo=0.0):
    return make_folds(np.zeros(n, int), np.arange(n) * 1.0, "blocks", n=k, embargo=embargo)


def data(n=240, sizes=(4, 6, 3), targets=20, seed=0, noise=1.0):
    """Spaces that share features of a common source; targets follow the first and the second."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, max(sizes)))
    spaces = {
        name: common[:, :size] + rng.standard_normal((n, size)) + 3.0
        for name, size in zip("abc", sizes, strict=False)
    }
    y = noise * rng.standard_normal((n, targets)) + 2.0
    for name in "ab":
        x = spaces[name]
        y += x @ rng.standard_normal((x.shape[1], targets)) / np.sqrt(x.shape[1])
    return spaces, y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_subset_equals_a_separate_ridge(dtype):
    """By scikit-learn's R2 of a RidgeCV per subset and fold, scaling and embargo included."""
    spaces, y = data()
    folds, grid = folds_for(240, embargo=2.0), make_grid(ALPHAS, "trace")
    found = variance_partition(
        {name: x.astype(dtype) for name, x in spaces.items()},
        y.astype(dtype),
        folds,
        grid,
        dtype=dtype,
    )
    assert found["subset"].values.tolist() == ["a", "b", "c", "a+b", "a+c", "b+c", "a+b+c"]
    assert found.attrs["form"] == "gram"
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    for subset in found["subset"].values:
        x = np.concatenate([spaces[name] for name in subset.split("+")], axis=1)
        for number, fold in enumerate(folds):
            at = {row: position for position, row in enumerate(fold.train)}
            cv = [
                ([at[row] for row in split.train], [at[row] for row in split.test])
                for split in fold.inner
            ]
            model = RidgeCV(ALPHAS, "trace", cv=cv, standardize=True)
            model.fit(x[fold.train], y[fold.train])
            here = found.sel(subset=subset).isel(fold=number)
            same = np.isclose(here["alpha"].values, model.alpha_, rtol=1e-3)
            assert same.mean() == 1 if dtype == np.float64 else same.mean() > 0.9
            r2 = r2_score(y[fold.test], model.predict(x[fold.test]), multioutput="raw_values")
            assert here["r2_fold"].values[same] == pytest.approx(r2[same], abs=tolerance)
    assert found["r2"].values == pytest.approx(found["r2_fold"].mean("fold").values)


@pytest.mark.parametrize("sizes", [(4, 6, 3), (120, 90, 80)])
def test_subsets_equal_the_solver(sizes):
    """The solver's own nested folds, in the same form, for every subset."""
    spaces, y = data(120, sizes, targets=10)
    folds, grid = folds_for(120, embargo=2.0), make_grid(ALPHAS, "trace")
    found = variance_partition(spaces, y, folds, grid, select="r", dtype=np.float64)
    form = "gram" if sum(sizes) < 90 else "kernel"
    assert found.attrs["form"] == form
    for subset in found["subset"].values:
        x = np.concatenate([spaces[name] for name in subset.split("+")], axis=1)
        problem = prepare(x, folds, grid, True, form, dtype=np.float64)
        block, mean = centred(problem.arrange(y))
        theirs = cross_validate(problem, block, grid, "r")
        here = found.sel(subset=subset)
        assert here["alpha"].values == pytest.approx(theirs.alpha)
        predicted = np.full(y.shape, np.nan)
        predict_fixed(problem, block, theirs.alpha, predicted, mean)
        for number, fold in enumerate(folds):
            r2 = r2_score(y[fold.test], predicted[fold.test], multioutput="raw_values")
            assert here["r2_fold"].values[number] == pytest.approx(r2, abs=1e-8)


def test_identities_of_two_and_three_spaces():
    spaces, y = data()
    found = variance_partition(spaces, y, folds_for(240), make_grid(ALPHAS), dtype=np.float64)
    f = {name: found["r2"].sel(subset=name).values for name in found["subset"].values}
    part = {name: found["variance"].sel(part=name).values for name in found["part"].values}
    assert part["a"] == pytest.approx(f["a+b+c"] - f["b+c"])
    assert part["a+b"] == pytest.approx(f["a+c"] + f["b+c"] - f["c"] - f["a+b+c"])
    assert part["a+b+c"] == pytest.approx(
        f["a"] + f["b"] + f["c"] - f["a+b"] - f["a+c"] - f["b+c"] + f["a+b+c"]
    )
    assert sum(part.values()) == pytest.approx(f["a+b+c"])
    # all parts that a space takes part in are what it explains alone
    for name in "abc":
        alone = sum(values for key, values in part.items() if name in key.split("+"))
        assert alone == pytest.approx(f[name])
    two = variance_partition(
        {name: spaces[name] for name in "ab"},
        y,
        folds_for(240),
        make_grid(ALPHAS),
        dtype=np.float64,
    )
    f = {name: two["r2"].sel(subset=name).values for name in two["subset"].values}
    assert two["variance"].sel(part="a").values == pytest.approx(f["a+b"] - f["b"])
    assert two["variance"].sel(part="b").values == pytest.approx(f["a+b"] - f["a"])
    assert two["variance"].sel(part="a+b").values == pytest.approx(f["a"] + f["b"] - f["a+b"])
    assert two["member"].values.tolist() == [[True, False], [False, True], [True, True]]


@pytest.mark.parametrize("n_spaces", [1, 2, 3, 4, 6])
def test_parts_invert_the_sums_that_define_them(n_spaces):
    """From known parts: f(U) is the sum of the parts that touch U."""
    member = subsets(n_spaces)
    assert len(member) == 2**n_spaces - 1
    assert len(np.unique(member, axis=0)) == len(member)
    assert member[-1].all()
    parts = np.random.default_rng(0).standard_normal((len(member), 5))
    f = np.array([parts[(member & chosen).any(axis=1)].sum(axis=0) for chosen in member])
    assert parts_of(f, member) == pytest.approx(parts, abs=1e-10)


def test_planted_variances_are_recovered():
    """Orthogonal sources with known shares of the variance, one of them in both spaces."""
    rng = np.random.default_rng(3)
    n, targets = 4000, 12
    own_a, own_b, both = rng.standard_normal((3, n, 3))
    spaces = {"a": np.hstack([own_a, both]), "b": np.hstack([own_b, both])}
    shares = {"a": 0.2, "b": 0.1, "a+b": 0.3}
    y = np.sqrt(0.4) * rng.standard_normal((n, targets))
    for source, share in zip((own_a, own_b, both), shares.values(), strict=True):
        weights = rng.standard_normal((3, targets))
        y += np.sqrt(share) * source @ (weights / np.linalg.norm(weights, axis=0))
    found = variance_partition(spaces, y, folds_for(n), make_grid(ALPHAS))
    for name, share in shares.items():
        assert found["variance"].sel(part=name).values == pytest.approx(share, abs=0.05)
        assert found["variance"].sel(part=name).values.mean() == pytest.approx(share, abs=0.015)


def test_negative_parts_are_reported():
    spaces, y = data(80)
    spaces["noise"] = np.random.default_rng(8).standard_normal((80, 30))
    found = variance_partition(spaces, y, folds_for(80), make_grid(ALPHAS))
    part = found["variance"].sel(part="noise").values
    assert np.mean(part < 0) > 0.5
    assert found["variance"].sum("part").values == pytest.approx(
        found["r2"].sel(subset="a+b+c+noise").values, abs=1e-9
    )


def test_blocks_of_targets_do_not_change_the_parts():
    spaces, y = data(120, targets=300)
    folds, grid = folds_for(120), make_grid(ALPHAS)
    whole = variance_partition(spaces, y, folds, grid, dtype=np.float64)
    with pytest.raises(BraidError, match="memory_mb"):
        variance_partition(spaces, y, folds, grid, memory_mb=0.05, dtype=np.float64)
    blocked = variance_partition(spaces, y, folds, grid, memory_mb=1.0, dtype=np.float64)
    assert blocked["variance"].values == pytest.approx(whole["variance"].values, abs=1e-10)


def test_missing_and_constant_targets():
    spaces, y = data(120, targets=6)
    y[4, 1], y[:, 2] = np.nan, 7.0
    found = variance_partition(spaces, y, folds_for(120), make_grid(ALPHAS))
    assert found.attrs["missing"] == 1
    assert np.isnan(found["variance"].values[:, [1, 2]]).all()
    assert np.isfinite(found["variance"].values[:, [0, 3, 4, 5]]).all()
    y[:, :] = np.nan
    with pytest.raises(InputError, match="every one has missing values"):
        variance_partition(spaces, y, folds_for(120), make_grid(ALPHAS))


def test_many_spaces_need_force():
    rng = np.random.default_rng(0)
    spaces = {f"s{number}": rng.standard_normal((60, 1)) for number in range(7)}
    y = rng.standard_normal((60, 2))
    folds, grid = folds_for(60, k=3), make_grid([1.0, 10.0])
    with pytest.raises(InputError, match="127 models"):
        variance_partition(spaces, y, folds, grid)
    found = variance_partition(spaces, y, folds, grid, force=True)
    assert found.sizes["part"] == 127
    assert found["variance"].sum("part").values == pytest.approx(found["r2"].values[-1], abs=1e-6)


def permutations(n_draws, n, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(n) for _ in range(n_draws)])


def null_data(n, targets, seed):
    """Two correlated spaces; every target strongly follows `b` and nothing that only `a` has."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 4))
    spaces = {
        "a": common + 0.7 * rng.standard_normal((n, 4)),
        "b": np.hstack([common, rng.standard_normal((n, 3))]),
    }
    weights = rng.standard_normal((7, targets))
    y = spaces["b"] @ weights + 2.0 * rng.standard_normal((n, targets))
    return spaces, y


@pytest.mark.parametrize("alpha", ["fixed", "reselect"])
def test_p_is_uniform_without_a_unique_part(alpha):
    n, targets = 150, 400
    spaces, y = null_data(n, targets, seed=5)
    grid = make_grid(np.logspace(-3, 2, 6))
    found = unique_part_test(
        spaces, y, "a", folds_for(n, k=3), grid, permutations(99, n), alpha=alpha
    )
    p = found["p"].values
    for level in (0.05, 0.2):
        low, high = binom.ppf([0.0005, 0.9995], targets, level)
        assert low <= np.count_nonzero(p <= level) <= high
    assert kstest(p, "uniform").pvalue > 1e-3
    # the other space does drive the targets
    driven = unique_part_test(spaces, y[:, :50], "b", folds_for(n, k=3), grid, permutations(99, n))
    assert np.mean(driven["p"].values == 0.01) > 0.95


def test_a_unique_part_is_found():
    n = 200
    spaces, y = null_data(n, 60, seed=6)
    own = np.random.default_rng(7).standard_normal((n, 2))
    spaces["a"] = np.hstack([spaces["a"], own])
    y[:, :30] += own @ np.ones((2, 30)) * 1.5
    grid = make_grid(ALPHAS)
    found = unique_part_test(spaces, y, "a", folds_for(n), grid, permutations(99, n))
    assert np.all(found["p"].values[:30] == 0.01)
    assert np.mean(found["p"].values[30:] <= 0.05) < 0.25
    parts = variance_partition(spaces, y, folds_for(n), grid)
    assert found["unique"].values == pytest.approx(parts["variance"].sel(part="a").values, abs=1e-6)
    assert found["null_mean"].values == pytest.approx(found["null"].values.mean(axis=0), abs=1e-5)


@pytest.mark.parametrize("sizes", [(4, 6, 3), (120, 90, 80)])
@pytest.mark.parametrize("alpha", ["fixed", "reselect"])
def test_a_draw_equals_a_partition_of_permuted_targets(sizes, alpha):
    """Y* made by hand from out-of-fold predictions of the solver, then fitted from scratch."""
    n = 120
    spaces, y = data(n, sizes, targets=5)
    folds, grid, draws = folds_for(n), make_grid(ALPHAS), permutations(3, n)
    form = "gram" if sum(sizes) < 90 else "kernel"
    found = unique_part_test(
        spaces, y, "c", folds, grid, draws, alpha=alpha, select="r", dtype=np.float64
    )
    models = {name: np.concatenate([spaces[one] for one in name], axis=1) for name in ("ab", "abc")}
    chosen = {}
    for name, x in models.items():
        problem = prepare(x, folds, grid, True, form, dtype=np.float64)
        block, mean = centred(problem.arrange(y))
        chosen[name] = problem, cross_validate(problem, block, grid, "r").alpha
    problem, penalties = chosen["ab"]
    fit = np.empty(y.shape)
    predict_fixed(problem, block, penalties, fit, mean)
    for number, draw in enumerate(draws):
        star = fit + (y - fit)[draw]
        r2 = {}
        for name, (problem, penalties) in chosen.items():
            block, mean = centred(problem.arrange(star))
            if alpha == "reselect":
                penalties = cross_validate(problem, block, grid, "r").alpha
            predicted = np.empty(y.shape)
            predict_fixed(problem, block, penalties, predicted, mean)
            r2[name] = np.mean(
                [
                    r2_score(star[one.test], predicted[one.test], multioutput="raw_values")
                    for one in folds
                ],
                axis=0,
            )
        expected = r2["abc"] - r2["ab"]
        assert found["null"].values[number] == pytest.approx(expected, abs=1e-6)


def test_blocks_missing_and_constant_targets_in_the_test_of_a_unique_part():
    spaces, y = data(120, targets=200)
    y[4, 1], y[:, 2] = np.nan, 7.0
    args = (spaces, y, "a", folds_for(120), make_grid(ALPHAS), permutations(4, 120))
    whole = unique_part_test(*args, dtype=np.float64)
    blocked = unique_part_test(*args, dtype=np.float64, memory_mb=2.5)
    with pytest.raises(BraidError, match="memory_mb"):
        unique_part_test(*args, memory_mb=0.1)
    assert whole.attrs["missing"] == 1
    assert np.flatnonzero(np.isnan(whole["p"].values)).tolist() == [1, 2]
    assert np.array_equal(whole["p"].values, blocked["p"].values, equal_nan=True)
    assert blocked["null"].values == pytest.approx(whole["null"].values, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("form", ["gram", "streamed", "kernel"])
def test_torch_equals_numpy(form):
    pytest.importorskip("torch")
    spaces, y = data(120, (60, 70, 20) if form == "kernel" else (4, 6, 3), targets=30)
    folds, grid, draws = folds_for(120, embargo=2.0), make_grid(ALPHAS), permutations(3, 120)
    options = {"form": form, "dtype": np.float64}
    ours, theirs = (
        variance_partition(spaces, y, folds, grid, **options, backend=backend)
        for backend in ("numpy", "torch")
    )
    assert ours.attrs == theirs.attrs and ours.attrs["form"] == form
    for name in ("r2", "alpha", "variance"):
        assert ours[name].values == pytest.approx(theirs[name].values, abs=1e-9), name
    for alpha in ("reselect", "fixed"):
        ours, theirs = (
            unique_part_test(
                spaces, y, "a", folds, grid, draws, alpha=alpha, **options, backend=backend
            )
            for backend in ("numpy", "torch")
        )
        for name in ("unique", "null", "p"):
            assert ours[name].values == pytest.approx(theirs[name].values, abs=1e-6), name


def test_memory_that_runs_out_changes_no_part(monkeypatch):
    spaces, y = data(120, targets=300)
    folds, grid, draws = folds_for(120), make_grid(ALPHAS), permutations(3, 120)
    parts = variance_partition(spaces, y, folds, grid, dtype=np.float64)
    unique = unique_part_test(spaces, y, "a", folds, grid, draws, dtype=np.float64)
    for room, call, args, plain, names in (
        ("partition", variance_partition, (folds, grid), parts, ("variance", "alpha")),
        ("freedman_lane", unique_part_test, ("a", folds, grid, draws), unique, ("unique", "null")),
    ):
        failing = Failing()
        monkeypatch.setattr(f"braid.encoding.{room}.backend_for", lambda *_, b=failing: b)
        found = call(spaces, y, *args, dtype=np.float64)
        assert "again with 128 at a time" in found.attrs["retries"]
        for name in names:
            assert found[name].values == pytest.approx(plain[name].values, abs=1e-6), name


def test_whole_numbers_as_targets():
    spaces, y = data(120, targets=3)
    whole = np.round(3 * y).astype(int)
    folds, grid = folds_for(120), make_grid(ALPHAS)
    found = variance_partition(spaces, whole, folds, grid, dtype=np.float64)
    same = variance_partition(spaces, whole * 1.0, folds, grid, dtype=np.float64)
    assert np.array_equal(found["r2"].values, same["r2"].values)


def test_the_identity_draw_ties_with_the_observed_value():
    spaces, y = data(120)
    found = unique_part_test(
        spaces, y, "a", folds_for(120), make_grid(ALPHAS), np.tile(np.arange(120), (9, 1))
    )
    assert found["p"].values == pytest.approx(1.0)


def test_hold_out_residuals_come_from_the_inner_folds():
    spaces, y = data(120, targets=4)
    x = np.concatenate(list(spaces.values()), axis=1)
    train, test = np.arange(80), np.arange(80, 120)
    inner = (Split(np.arange(40), np.arange(40, 80)), Split(np.arange(40, 80), np.arange(40)))
    fold, grid = Fold("holdout", train, test, inner), make_grid([10.0], "absolute")
    space_of = np.repeat(np.arange(3), [4, 6, 3])
    model = prepare_spaces(x, space_of, [fold], grid, dtype=np.float64)
    block, mean = centred(model.arrange(y))
    tiles, alpha = cross_tiles(model, block, apart=True), np.full((1, 4), 10.0)
    found = out_of_fold(model, tiles, alpha, np.float64)
    for one in (fold, *inner):
        expected = RidgeCV([10.0]).fit(x[one.train], y[one.train]).predict(x[one.test])
        assert found[one.test] + mean == pytest.approx(expected)
    # inner folds that leave rows untested give no residual for them
    part = Fold("holdout", train, test, (inner[0], Split(np.arange(40, 80), np.arange(20))))
    model = prepare_spaces(x, space_of, [part], grid, dtype=np.float64)
    with pytest.raises(InputError, match="row 20 trains but is never tested"):
        out_of_fold(model, tiles, alpha, np.float64)


def test_draws_that_do_not_fit_are_refused():
    spaces, y = data(120, targets=3)
    folds, grid, draws = folds_for(120), make_grid(ALPHAS), permutations(4, 120)
    for wrong, options in (
        ("'d'", {"space": "d"}),
        ("not one of", {"alpha": "hybrid"}),
        ("not row numbers", {"draws": draws[:, :-1]}),
        ("not row numbers", {"draws": draws * 1.0}),
        ("draw 0 does not permute", {"draws": np.zeros_like(draws)}),
    ):
        with pytest.raises(InputError, match=wrong):
            unique_part_test(
                spaces, y, folds=folds, grid=grid, **{"space": "a", "draws": draws, **options}
            )
    with pytest.raises(InputError, match="at least one other"):
        unique_part_test({"a": spaces["a"]}, y, "a", folds, grid, draws)


def test_every_pair_of_spaces_shares_no_more_than_either_explains_in_orthogonal_designs():
    """Orthogonal spaces: shared parts vanish up to sampling error."""
    rng = np.random.default_rng(2)
    q = np.linalg.qr(rng.standard_normal((3000, 9)))[0] * np.sqrt(3000)
    spaces = {name: q[:, 3 * at : 3 * at + 3] for at, name in enumerate("abc")}
    y = q @ rng.standard_normal((9, 8)) + rng.standard_normal((3000, 8))
    found = variance_partition(spaces, y, folds_for(3000), make_grid(ALPHAS))
    for pair in combinations("abc", 2):
        assert np.abs(found["variance"].sel(part="+".join(pair)).values).max() < 0.02
