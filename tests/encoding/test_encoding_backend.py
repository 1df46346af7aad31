"""The torch backend against NumPy, memory that runs out, streamed designs, the guards."""

import logging
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr

from braid.common import BraidError, InputError
from braid.encoding import RidgeCV, fit_encoding
from braid.encoding.backend import NumpyBackend, backend_for
from braid.encoding.blocks import run_blocks
from braid.encoding.folds import Fold, make_folds
from braid.encoding.grid import make_grid
from braid.encoding.smoother import Smoothers
from braid.encoding.solver import (
    centred,
    cross_validate,
    fit_fixed,
    plan_for,
    predict_fixed,
    prepare,
    score_fixed,
)

SHAPES = {"gram": (150, 20), "streamed": (150, 20), "kernel": (80, 130), "svd": (120, 30)}
# float32 products of both libraries round differently; penalties and ties are the same
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-10}


def data(n, p, targets=70, seed=0, noise=3.0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) * rng.uniform(0.3, 3.0, p) + rng.uniform(-3, 3, p)
    y = x[:, :5] @ rng.standard_normal((5, targets)) + noise * rng.standard_normal((n, targets))
    return x, y + 4.0


def blocks(n, k=4, embargo=2.0):
    return make_folds(np.zeros(n, dtype=int), np.arange(n) * 1.0, "blocks", n=k, embargo=embargo)


def everything(x, y, folds, grid, select="r", **options):
    """All that the solver computes for a design."""
    problem = prepare(x, folds, grid, **options)
    block, mean = centred(problem.arrange(y))
    found = cross_validate(problem, block, grid, select)
    predicted = np.zeros(y.shape)
    predict_fixed(problem, block, found.alpha, predicted, mean)
    weights, added = fit_fixed(problem, block, folds[0].train, found.alpha[0])
    return {
        "index": found.index,
        "alpha": found.alpha,
        "score": found.score,
        "validation": found.validation,
        "fixed": score_fixed(problem, np.tile(block, 2), found.alpha),
        "predicted": predicted,
        "fitted": x @ weights + added,
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", list(SHAPES))
def test_torch_gives_what_numpy_gives(form, dtype):
    x, y = data(*SHAPES[form])
    x[:, 3] = 1.5
    folds, grid = blocks(len(x)), make_grid(np.logspace(-1, 4, 12), "trace")
    for select in ("r", "mse"):
        one, other = (
            everything(
                x.astype(dtype), y.astype(dtype), folds, grid, select,
                form=form, dtype=dtype, backend=backend_for("cpu", library),
            )
            for library in ("numpy", "torch")
        )  # fmt: skip
        assert np.mean(one["index"] == other["index"]) >= 0.999
        same = np.all(one["index"] == other["index"], axis=0)
        for name in ("alpha", "score", "validation", "predicted", "fitted"):
            scale = np.abs(one[name]).max()
            expected = pytest.approx(one[name][:, same], abs=TOLERANCE[dtype] * scale)
            assert other[name][:, same] == expected, name


def test_smoothers_run_on_torch():
    x, y = data(*SHAPES["gram"])
    folds, grid = blocks(len(x)), make_grid([1.0], "trace")
    found = []
    for library in ("numpy", "torch"):
        problem = prepare(x, folds, grid, backend=backend_for("cpu", library))
        block, _ = centred(problem.arrange(y.astype(np.float32)))
        found.append(Smoothers(problem).score(block, np.full(4, 50.0)))
        assert found[-1] == pytest.approx(
            score_fixed(problem, block, np.full((4, y.shape[1]), 50.0)), abs=1e-5
        )
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_fit_and_estimator_run_on_torch(pair):
    design, response = pair()
    params = {"folds": {"scheme": "blocks", "n": 4}, "ridge": {"save_weights": True}}
    one = fit_encoding(design, response, params)
    other = fit_encoding(design, response, params, backend="torch")
    assert (one.attrs["backend"], other.attrs["backend"]) == ("numpy", "torch")
    for name in ("score", "prediction", "weights"):
        assert other[name].values == pytest.approx(one[name].values, abs=1e-4), name
    x, y = data(*SHAPES["kernel"])
    first = RidgeCV(alphas=[1.0, 10.0, 100.0]).fit(x, y)
    second = RidgeCV(alphas=[1.0, 10.0, 100.0], backend="torch").fit(x, y)
    assert second.coef_ == pytest.approx(first.coef_, abs=1e-9)


def test_devices_are_never_replaced_in_silence():
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match="'gpu' is not one of cpu, cuda, auto"):
        backend_for("gpu")
    with pytest.raises(InputError, match="only device cuda has it"):
        backend_for("cpu", fast_math=True)
    if torch.cuda.is_available():
        assert backend_for("auto").name == "torch"
        return
    assert backend_for("auto").name == "numpy"
    with pytest.raises(BraidError, match="device: cuda was asked for"):
        backend_for("cuda")


@dataclass(frozen=True)
class Rounding(NumpyBackend):
    """Sweeps with operands of ten binary digits, as TF32 has."""

    def fast_matmul(self, a, b):
        return self._short(a) @ self._short(b)

    @staticmethod
    def _short(a):
        bits = np.ascontiguousarray(a, dtype=np.float32).view(np.uint32)
        return ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)


def test_fast_math_is_checked_in_float32_and_says_how_often_it_differed():
    x, y = data(300, 40, 400, noise=20.0)
    y = y.astype(np.float32)
    folds, grid = blocks(300), make_grid(np.logspace(-1, 3, 60), "trace")
    exact = prepare(x, folds, grid)
    block, _ = centred(exact.arrange(y))
    expected = cross_validate(exact, block, grid)
    fast = prepare(x, folds, grid, backend=Rounding(fast_math=True))
    found = cross_validate(fast, block, grid)
    share = float(np.mean(fast.disagreement))
    assert 0 < share < 0.5
    # what is reported is the float32 value at the choice, never the rounded one
    same = found.index == expected.index
    assert same.mean() > 0.8
    assert found.validation[same] == pytest.approx(expected.validation[same], abs=1e-5)
    assert found.validation == pytest.approx(expected.validation, abs=1e-3)


@dataclass(frozen=True)
class Cramped(NumpyBackend):
    """Memory that runs out in the products of blocks with many targets, after some of them."""

    after: int = 0
    most: int = 0
    state: dict = field(default_factory=dict)

    def fast_matmul(self, a, b):
        self.state["calls"] += 1
        if self.state["calls"] > self.after and self.state["block"] > self.most:
            raise MemoryError("no more")
        return super().fast_matmul(a, b)


def cramped(after, most):
    return Cramped(after=after, most=most, state={"calls": 0})


def selected(x, y, folds, grid, backend, form="auto"):
    """Nested choice by blocks, with what was repeated."""

    def make(form):
        problem = prepare(x, folds, grid, form=form, backend=backend)
        return problem, plan_for(problem, x.shape[1], y.shape[1], len(grid.values), most=1024)

    def work(problem, part):
        if isinstance(backend, Cramped):
            backend.state["block"] = part.stop - part.start
        return cross_validate(problem, centred(problem.arrange(y[:, part]))[0], grid)

    done = run_blocks(make, form, y.shape[1], work, backend)
    found = {
        name: np.concatenate([getattr(part, name) for part in done.parts], axis=1)
        for name in ("index", "alpha", "score", "validation")
    }
    return found, done


@pytest.mark.parametrize("form", ["gram", "kernel", "svd", "streamed"])
def test_memory_that_runs_out_in_a_sweep_changes_no_number(form, caplog):
    # of a size at which tiles are narrower than the blocks that fit
    n, p = {"gram": (400, 260), "streamed": (400, 260), "kernel": (300, 400), "svd": (300, 40)}[
        form
    ]
    x, y = data(n, p, 1500)
    y, folds, grid = y.astype(np.float32), blocks(n), make_grid([0.1, 1.0, 10.0], "trace")
    expected, plain = selected(x, y, folds, grid, NumpyBackend(), form)
    assert plain.retries == []
    with caplog.at_level(logging.WARNING):
        found, done = selected(x, y, folds, grid, cramped(40, 256), form)
    assert [text.split(":")[-1] for text in done.retries] == [
        " again with 512 at a time",
        " again with 256 at a time",
    ]
    assert all(text in caplog.text for text in done.retries)
    assert done.problem.form.name == form
    for name, values in expected.items():
        assert np.array_equal(found[name], values), name


def test_the_smallest_block_goes_over_to_the_next_form_and_then_fails_with_numbers():
    x, y = data(150, 20, 300)
    folds, grid = blocks(150), make_grid([0.1, 1.0, 10.0], "trace")

    @dataclass(frozen=True)
    class GramFails(Cramped):
        def zeros(self, shape, dtype):
            # the second set of Gram matrices is that of the streamed form
            self.state["forms"] = self.state.get("forms", 0) + (len(shape) == 3)
            if self.state["forms"] == 2:
                self.state["calls"] = -(10**9)
            return super().zeros(shape, dtype)

    backend = GramFails(after=5, most=0, state={"calls": 0})
    found, done = selected(x, y, folds, grid, backend, "auto")
    assert done.problem.form.name == "streamed"
    assert "going over to the streamed form" in done.retries[-1]
    expected, _ = selected(x, y, folds, grid, NumpyBackend())
    assert np.array_equal(found["index"], expected["index"])
    assert found["score"] == pytest.approx(expected["score"], abs=1e-5)
    with pytest.raises(BraidError, match=r"in the streamed form with 64 targets.*150 rows"):
        selected(x, y, folds, grid, cramped(5, 0), "gram")


def test_other_errors_are_not_taken_for_lack_of_memory():
    x, _ = data(60, 5, 10)
    folds, grid = blocks(60), make_grid([1.0])

    def make(form):
        problem = prepare(x, folds, grid)
        return problem, plan_for(problem, 5, 10, 1)

    def work(problem, part):
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        run_blocks(make, "auto", 10, work, NumpyBackend())


def test_a_design_on_disk_is_streamed(tmp_path):
    x, y = data(500, 30, 40)
    y = y.astype(np.float32)
    stored = np.memmap(tmp_path / "x.dat", dtype=np.float32, mode="w+", shape=x.shape)
    stored[:] = x
    stored.flush()
    on_disk = np.memmap(tmp_path / "x.dat", dtype=np.float32, mode="r", shape=x.shape)
    xr.DataArray(x.astype(np.float32), dims=("sample", "feature")).to_netcdf(
        tmp_path / "x.nc", engine="h5netcdf"
    )
    folds, grid = blocks(500, embargo=3.0), make_grid(np.logspace(-1, 3, 6), "trace")
    expected = everything(x.astype(np.float32), y, folds, grid)
    with xr.open_dataarray(tmp_path / "x.nc", engine="h5netcdf") as lazy:
        for source in (on_disk, lazy):
            problem = prepare(source, folds, grid)
            assert problem.form.name == "streamed"
            block, _ = centred(problem.arrange(y))
            found = cross_validate(problem, block, grid)
            assert np.mean(found.index == expected["index"]) > 0.99
            assert found.score == pytest.approx(expected["score"], abs=1e-4)


def test_a_design_that_does_not_fit_the_limit_is_streamed():
    x, _ = data(4000, 60, 64)
    folds, grid = blocks(4000), make_grid([1.0], "trace")
    assert prepare(x, folds, grid).form.name == "gram"
    problem = prepare(x, folds, grid, memory_mb=6.0)
    assert problem.form.name == "streamed"
    assert "read in chunks" in problem.why


@pytest.mark.parametrize("stream", [False, True])
def test_a_training_mean_far_from_the_others_is_centred_directly(stream, caplog):
    """A feature that hardly varies where the model is trained, and jumps where it is tested."""
    x, y = data(200, 6, 12, noise=1.0)
    x[:, 2] = 0.01 * x[:, 2] + np.where(np.arange(200) < 150, 0.0, 60.0)
    y[:150] += 100 * x[:150, 2:3]
    fold = Fold("end", np.arange(150), np.arange(150, 200), ())
    grid = make_grid([1.0], "absolute")
    form = "streamed" if stream else "gram"
    with caplog.at_level(logging.INFO):
        problem = prepare(x, [fold], grid, form=form, nested=False)
        block, _ = centred(problem.arrange(y.astype(np.float32)))
        weights, added = fit_fixed(problem, block, fold.train, np.ones(12))
    assert "centred directly" in caplog.text
    exact = prepare(x, [fold], grid, form="svd", nested=False)
    block, _ = centred(exact.arrange(y))
    expected, constant = fit_fixed(exact, block, fold.train, np.ones(12))
    assert weights == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert added == pytest.approx(constant, abs=2e-2)
    plain, _ = data(200, 6)
    caplog.clear()
    prepare(plain, [fold], grid, form=form, nested=False)
    assert "centred directly" not in caplog.text


@pytest.mark.parametrize("form", ["auto", "kernel", "svd", "streamed"])
def test_features_that_are_not_finite_are_refused(form):
    x, _ = data(60, 8)
    x[17, 5] = np.inf
    with pytest.raises(InputError, match="column 5 has values that are not finite"):
        prepare(x, blocks(60), make_grid([1.0]), form=form)
