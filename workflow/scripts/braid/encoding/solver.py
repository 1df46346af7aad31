"""Cross-validated ridge for many targets: choose the form, choose penalties, score, predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from braid.common import InputError
from braid.encoding.backend import NUMPY, Array, Backend
from braid.encoding.factors import Shelf, fetch, shelf_for
from braid.encoding.folds import Fold, Split
from braid.encoding.forms import (
    GUARD,
    Basis,
    Crossed,
    Form,
    HeldOut,
    correlation,
    shrunk,
    target_moments,
    training_mean,
)
from braid.encoding.gram import GramForm
from braid.encoding.grid import CRITERIA, Grid, choose
from braid.encoding.layout import Layout, layout_of
from braid.encoding.planner import MEMORY_MB, Plan, always_mb, plan_memory, tile_width
from braid.encoding.rows import KernelForm, Scaled, SvdForm, gram_of_rows, low_rank
from braid.encoding.sweep import Moments, Penalties, moments, penalties_of, sweep

FORMS = ("auto", "gram", "streamed", "kernel", "svd")


@dataclass
class Problem:
    """A design made ready: its form, its folds and why that form was chosen.

    Attributes
    ----------
    form : Form
    folds : list of Fold
    why : str
        One sentence for the log.
    rank : int or None
        Rank to which the features were reduced without loss, where they were.
    nested : bool
        Whether the inner folds can be used.
    sweep_dtype : numpy dtype
        Of the products that give the variances of the predictions: as asked for, also where the
        guard takes the form's other products in float64.
    disagreement : list of float
        With `fast_math`: share of penalties that float32 chose otherwise, one per block and fold.
    """

    form: Form
    folds: list[Fold]
    why: str
    rank: int | None = None
    nested: bool = True
    sweep_dtype: Any = np.float64
    disagreement: list[float] = field(default_factory=list)

    def arrange(self, y: np.ndarray) -> np.ndarray:
        """Rows in use, in the order of the layout."""
        layout = self.form.layout
        if layout.is_in_order:
            return y[layout.order[0] : layout.order[-1] + 1]
        return y[layout.order]

    @cached_property
    def n_sets(self) -> int:
        """Distinct training sets."""
        members = self.form.layout.members
        return len({members(rows).tobytes() for rows in training_sets(self.folds, self.nested)})

    def forget(self) -> None:
        """Give up the eigenbases, which can be made anew, where memory runs out."""
        self.form.bases.found.clear()

    def n_zero(self, number: int) -> int:
        """Features that do not vary in the training rows of an outer fold."""
        return self.form.basis(self.form.layout.members(self.folds[number].train)).n_zero


@dataclass
class Selection:
    """What nested cross-validation gives.

    Attributes
    ----------
    index : numpy.ndarray of int, (folds, targets)
        Chosen position in the grid.
    alpha : numpy.ndarray of float64, (folds, targets)
        Chosen penalty, absolute.
    score : numpy.ndarray of float64, (folds, targets)
        Held-out Pearson r, or the measure that was asked for.
    validation : numpy.ndarray of float64, (folds, targets)
        Mean Pearson r over the inner folds at the chosen penalty.
    """

    index: np.ndarray
    alpha: np.ndarray
    score: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Tiles:
    """Targets made ready once for all forms that share their matrices (see `SpaceForm`).

    Attributes
    ----------
    shape : (int, int)
        Rows in use, targets.
    slices : list of slice
    crossed : list of Crossed
    apart : bool
        Whether tiles are worked on side by side.
    """

    shape: tuple[int, int]
    slices: list[slice]
    crossed: list[Crossed]
    apart: bool


def prepare(
    x: Any,
    folds: Sequence[Fold],
    grid: Grid,
    standardize: bool = True,
    form: str = "auto",
    nested: bool = True,
    alpha_floor: float | None = None,
    dtype: type = np.float32,
    backend: Backend = NUMPY,
    memory_mb: float = MEMORY_MB,
) -> Problem:
    """Choose the form of the solver for a design.

    Fewer features than training rows: Gram form, read in chunks (`streamed`) where X is not in
    memory or the Gram form does not fit the limit. More: if the rows span far fewer dimensions
    than there are rows, the features are rotated onto these without loss (ridge does not change
    under a rotation) and the Gram form is used; otherwise the kernel form. The Gram form's
    products go over to float64, and then to the SVD form, where
    ``eps * L_max / (max(L_min, 0) + alpha_min) > 1e-3``.

    Inside `braid.encoding.factors.factor_store` decompositions come from the store, or go there.

    Parameters
    ----------
    x : array-like, (n, p)
        An array, a memory map, or anything with a shape that gives rows by slices and by arrays
        of ints, such as an xarray variable on disk.
    folds : sequence of Fold
    grid : Grid
    standardize : bool
        Scale features by their standard deviation: over each training set in the Gram and SVD
        forms, over all rows in use in the kernel and the rotated form.
    form : {"auto", "gram", "streamed", "kernel", "svd"}
    nested : bool
        Whether the inner folds will be used.
    alpha_floor : float, optional
        Smallest absolute penalty that will be used, where it is known; else the grid's.
    dtype : numpy dtype
        Of the products with targets, at least.
    backend : Backend
    memory_mb : float
        Limit that decides between the Gram form and the streamed one.

    Raises
    ------
    InputError
        If the form is unknown, or a feature is not finite.
    """
    if form not in FORMS:
        raise InputError(f"ridge.form: '{form}' is not one of {', '.join(FORMS)}")
    made = _prepared(x, list(folds), grid, standardize, form, nested, alpha_floor, dtype, backend,
                     memory_mb)  # fmt: skip
    made.sweep_dtype = np.dtype(dtype)
    return made


def _prepared(
    x: Any,
    folds: list[Fold],
    grid: Grid,
    standardize: bool,
    form: str,
    nested: bool,
    alpha_floor: float | None,
    dtype: type,
    backend: Backend,
    memory_mb: float,
) -> Problem:
    """Problem in its form (see `prepare`)."""
    layout = layout_of(x.shape[0], folds, nested)
    # outer folds only, so that a fit and its permutation test agree on form and scaling
    n_train, p = min(len(fold.train) for fold in folds), int(x.shape[1])
    shelf = shelf_for(x, layout, standardize, min(n_train, p), backend)
    if form == "kernel" or (form == "auto" and p > n_train):
        return _dual(np.asarray(x), layout, folds, standardize, form, dtype, backend, nested, shelf)
    if form == "svd":
        return _svd(x, layout, folds, standardize, backend, nested, shelf, "asked for")
    need = always_mb(len(layout.order), p, "gram", layout.n_atoms, np.dtype(dtype).itemsize)
    stream = form == "streamed" or (form == "auto" and (_is_on_disk(x) or need > memory_mb))
    gram = GramForm(x, layout, standardize, dtype, backend=backend, stream=stream)
    return _guarded(gram, x, folds, grid, nested, alpha_floor, standardize, shelf)


def training_sets(folds: Sequence[Fold], nested: bool) -> Iterator[np.ndarray]:
    """Training rows of all outer and, if `nested`, inner folds."""
    for split in _splits(folds, nested):
        yield split.train


def _splits(folds: Sequence[Fold], nested: bool) -> Iterator[Fold | Split]:
    """All outer and, if `nested`, inner folds."""
    for fold in folds:
        yield fold
        if nested:
            yield from fold.inner


def _is_on_disk(x: Any) -> bool:
    """Whether rows are read from a file when they are asked for."""
    return isinstance(x, np.memmap) or not isinstance(x, np.ndarray)


def _check_finite(values: np.ndarray) -> None:
    """Refuse features that are not finite; the Gram form checks while it reads."""
    bad = ~np.isfinite(values.sum(axis=0))
    if bad.any():
        raise InputError(
            f"features: column {int(np.flatnonzero(bad)[0])} has values that are not finite; "
            "extract them anew"
        )


def _svd(
    x: Any,
    layout: Layout,
    folds: list[Fold],
    standardize: bool,
    backend: Backend,
    nested: bool,
    shelf: Shelf | None,
    why: str,
) -> Problem:
    """SVD form."""
    values = np.asarray(x)
    _check_finite(values)
    form = SvdForm(values, layout, standardize, backend=backend)
    shelve(form, shelf)
    return Problem(form, folds, why, nested=nested)


def shelve(form: Form, shelf: Shelf | None, /, **more: str) -> None:
    """Let a form's bases come from the store, once more for every precision.

    `more` tells what they depend on beside the design and the form.
    """
    if shelf is not None:
        held = form.held_dtype.name
        about = {"form": form.name, "dtype": form.dtype.name, "held": held, **more}
        form.bases.shelf = shelf.narrowed(form.size, **about)


def _kernel_or_span(scaled: Scaled, backend: Backend, most: int | None) -> dict[str, Any]:
    """Kernel of the rows; or, where their rank is at most `most`, what spans them instead."""
    kernel = gram_of_rows(scaled.x, backend)
    found = None if most is None else low_rank(kernel, backend, most)
    if found is None:
        return {"kernel": kernel, "values": None, "vectors": None}
    return {"kernel": None, "values": found[0], "vectors": backend.to_numpy(found[1])}


def _dual(
    x: np.ndarray,
    layout: Layout,
    folds: list[Fold],
    standardize: bool,
    form: str,
    dtype: type,
    backend: Backend,
    nested: bool,
    shelf: Shelf | None,
) -> Problem:
    """Kernel form, or the Gram form of the features rotated onto the rows' span."""
    _check_finite(x)
    p, n_train = x.shape[1], min(len(fold.train) for fold in folds)
    scaled = Scaled(x, layout, standardize)
    most = n_train // 2 if form == "auto" else None
    sets = [np.array(-1 if most is None else most)]
    found: dict[str, Any] = fetch(
        shelf, "rows", sets, lambda: _kernel_or_span(scaled, backend, most), dict
    )
    if found["kernel"] is None:
        values, vectors = found["values"], found["vectors"]
        singular = np.sqrt(values)
        rotated = np.zeros((len(x), len(values)))
        rotated[layout.order] = vectors * singular
        lift = scaled.scale[:, None] * (scaled.x.T @ (vectors / singular))
        gram = GramForm(rotated, layout, False, dtype, lift, scaled.centre, backend)
        varying = max(int(np.count_nonzero(scaled.scale)), 1)
        gram.count_as(varying, p - varying)
        shelve(gram, shelf, form="rotated")
        why = f"{p} features span {len(values)} dimensions: rotated onto them"
        return Problem(gram, folds, why, len(values), nested)
    why = "asked for" if form == "kernel" else f"{p} features and {n_train} training rows"
    dual = KernelForm(scaled, layout, dtype, backend, found["kernel"])
    shelve(dual, shelf)
    return Problem(dual, folds, why, nested=nested)


def _guarded(
    gram: GramForm,
    x: Any,
    folds: list[Fold],
    grid: Grid,
    nested: bool,
    alpha_floor: float | None,
    standardize: bool,
    shelf: Shelf | None,
) -> Problem:
    """Gram form in the first precision that the conditioning allows, else the SVD form."""
    why = "fewer features than training rows"
    if gram.name == "streamed":
        why += ", read in chunks"
    shelve(gram, shelf)
    worst = _condition(gram, folds, grid, nested, alpha_floor, np.finfo(gram.dtype).eps)
    if np.finfo(gram.dtype).eps * worst > GUARD and gram.dtype != np.float64:
        gram.use(np.float64)
        shelve(gram, shelf)
        why = f"products in float64: condition {worst:.1e}"
        worst = _condition(gram, folds, grid, nested, alpha_floor, np.finfo(np.float64).eps)
    if np.finfo(gram.dtype).eps * worst > GUARD:
        why = f"condition {worst:.1e}"
        return _svd(x, gram.layout, folds, standardize, gram.backend, nested, shelf, why)
    return Problem(gram, folds, why, nested=nested)


def _condition(
    gram: GramForm,
    folds: list[Fold],
    grid: Grid,
    nested: bool,
    alpha_floor: float | None,
    eps: float,
) -> float:
    """Worst condition over the training sets, or the first one that `eps` cannot bear."""
    worst = 0.0
    for rows in training_sets(folds, nested):
        basis = gram.basis(gram.layout.members(rows))
        floor = grid.absolute(basis.mean_eigenvalue)[0] if alpha_floor is None else alpha_floor
        worst = max(worst, basis.worst_error(floor, 1.0))
        if eps * worst > GUARD:
            break
    return worst


def plan_for(
    problem: Problem,
    n_features: int,
    n_targets: int,
    n_alphas: int,
    nested: bool = True,
    memory_mb: float = MEMORY_MB,
    most: int | None = None,
    target_bytes: int = 4,
) -> Plan:
    """Plan the memory of a prepared problem (see `plan_memory`), and hold its form to it.

    `target_bytes` is the itemsize of the targets.
    """
    form, layout = problem.form, problem.form.layout
    plan = plan_memory(
        n=len(layout.order),
        p=problem.rank or n_features,
        targets=n_targets,
        form=form.name,
        atoms=layout.n_atoms,
        alphas=n_alphas,
        itemsize=form.dtype.itemsize,
        memory_mb=memory_mb,
        most=most,
        pairs=pairs_of(layout, problem.folds, nested),
        workers=form.backend.workers(),
        on_device=form.backend.device != "cpu",
        copies=target_bytes * (1 if layout.is_in_order else 2),
        swept=np.dtype(problem.sweep_dtype).itemsize,
    )
    problem.form.bases.keep = plan.keep
    return plan


def pairs_of(layout: Layout, folds: Sequence[Fold], nested: bool = True) -> list[tuple[int, int]]:
    """Training and test rows of each distinct training set, as `plan_memory` takes them."""
    pairs = {
        layout.members(split.train).tobytes(): (len(split.train), len(split.test))
        for split in _splits(folds, nested)
    }
    return list(pairs.values())


def centred(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets minus their mean, (rows, targets), and that mean in float64."""
    mean = y.mean(axis=0, dtype=np.float64)
    return y - mean.astype(y.dtype), mean


def cross_validate(
    problem: Problem,
    y: np.ndarray | Tiles,
    grid: Grid,
    select: str = "r",
    measure: str = "r",
) -> Selection:
    """Choose a penalty per target and outer fold on the inner folds, and score it outside.

    Parameters
    ----------
    problem : Problem
    y : array, (rows in use, targets), or Tiles
        Arranged (`Problem.arrange`) and centred targets, without NaN.
    grid : Grid
    select : {"r", "r2", "mse", "signed_root_r2"}
        What the inner folds maximise (`mse`: minimise); means over the inner folds where it is
        defined. R2 is around the test mean. `signed_root_r2`, for z-scored targets: the root of
        |s| with the sign of s, s = 1 - var(error) / ((1 + var(targets)) / 2), by which Huth-lab
        code chooses where it is not asked for correlations.
    measure : {"r", "r2", "mse"}
        What is scored outside.

    Returns
    -------
    Selection
    """
    _check_criterion(select)

    def work(crossed: Crossed, _: slice) -> tuple[np.ndarray, ...]:
        form = problem.form
        found = [np.empty((len(problem.folds), crossed.y.shape[1])) for _ in range(4)]
        for number, fold in enumerate(problem.folds):
            index, found[3][number] = _select(problem, crossed, fold, grid, select)
            basis = form.basis(form.layout.members(fold.train))
            alpha = grid.absolute(basis.mean_eigenvalue)[index]
            found[0][number], found[1][number] = index, alpha
            found[2][number] = _score(problem, crossed, fold, alpha, measure)
        return tuple(found)

    _warm(problem, problem.folds, grid, scored=True)
    index, alpha, score, validation = _tiled(problem, y, work)
    return Selection(index.astype(int), alpha, score, validation)


def score_fixed(
    problem: Problem, y: np.ndarray | Tiles, alpha: np.ndarray, measure: str = "r"
) -> np.ndarray:
    """Held-out r of every outer fold at given penalties; every fold is trained on `y`.

    Parameters
    ----------
    problem : Problem
    y : array, (rows in use, sets x targets), or Tiles
        Arranged and centred targets; several permuted copies may lie side by side.
    alpha : array, (folds, targets)
    measure : {"r", "r2", "mse"}
        What is scored.

    Returns
    -------
    numpy.ndarray of float64, (folds, sets x targets)
    """
    copies = y.shape[1] // alpha.shape[1]
    wide = np.tile(alpha, (1, copies)) if copies > 1 else alpha

    form = problem.form

    def work(crossed: Crossed, at: slice) -> tuple[np.ndarray, ...]:
        scores, members, projected = [], None, None
        for number, fold in enumerate(problem.folds):
            own = form.layout.members(fold.train)
            # runs of another analysis are all tested by one training set
            if members is None or not np.array_equal(own, members):
                members, projected = own, form.project(form.basis(own), crossed)
            scores.append(_score(problem, crossed, fold, wide[number, at], measure, projected))
        return (np.stack(scores),)

    _warm(problem, problem.folds, None, scored=True)
    return _tiled(problem, y, work)[0]


def predict_fixed(
    problem: Problem, y: np.ndarray | Tiles, alpha: np.ndarray, out: np.ndarray, mean: np.ndarray
) -> None:
    """Write held-out predictions of every outer fold at given penalties.

    Parameters
    ----------
    problem : Problem
    y : array, (rows in use, targets), or Tiles
        Arranged and centred.
    alpha : array, (folds, targets)
    out : array, (n, targets)
        Rows of the original order; rows that no fold tests are left as they are.
    mean : array, (targets,)
        Added to the predictions: what centring took off.
    """
    form, layout = problem.form, problem.form.layout

    def work(crossed: Crossed, at: slice) -> tuple[np.ndarray, ...]:
        for number, fold in enumerate(problem.folds):
            basis, test = form.basis(layout.members(fold.train)), layout.members(fold.test)
            b = shrunk(form.backend, basis, form.project(basis, crossed), alpha[number, at])
            added = training_mean(basis, crossed) + mean[at]
            predicted = form.backend.to_numpy(form.predict(basis, test, b))
            out[layout.order[layout.positions(test)], at] = predicted + added
        return ()

    _warm(problem, problem.folds, None, scored=False)
    _tiled(problem, y, work)


def fit_fixed(
    problem: Problem, y: np.ndarray, rows: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of one training set at given penalties.

    Returns
    -------
    weights : numpy.ndarray, (p, targets)
        For the features as given, in the precision of the products.
    intercept : numpy.ndarray of float64, (targets,)
        For the centred targets.
    """
    form = problem.form
    basis = form.basis(form.layout.members(rows))
    form.expect(basis, y.shape[1])
    alpha = np.broadcast_to(np.asarray(alpha, dtype=float), (y.shape[1],))

    def work(crossed: Crossed, at: slice) -> tuple[np.ndarray, ...]:
        return _weights(form, basis, crossed, alpha[at])

    weights, intercept = _tiled(problem, y, work)
    return weights, intercept


def fit_selected(
    problem: Problem, y: np.ndarray, fold: Fold, grid: Grid, select: str = "r"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose penalties on a fold's inner folds and fit its training rows with them.

    Gives what `select_alpha` and then `fit_fixed` give, from one product of features and targets.

    Returns
    -------
    weights : numpy.ndarray, (p, targets)
    intercept : numpy.ndarray of float64, (targets,)
        For the centred targets.
    alpha : numpy.ndarray of float64, (targets,)
        Absolute.
    """
    _check_criterion(select)
    form, train = problem.form, problem.form.layout.members(fold.train)
    form.expect(form.basis(train), y.shape[1])

    def work(crossed: Crossed, _: slice) -> tuple[np.ndarray, ...]:
        index = _select(problem, crossed, fold, grid, select)[0]
        basis = form.basis(train)
        alpha = grid.absolute(basis.mean_eigenvalue)[index]
        return (*_weights(form, basis, crossed, alpha), alpha)

    _warm(problem, [fold], grid, scored=False)
    weights, intercept, alpha = _tiled(problem, y, work)
    return weights, intercept, alpha


def select_alpha(
    problem: Problem, y: np.ndarray, fold: Fold, grid: Grid, select: str = "r"
) -> tuple[np.ndarray, np.ndarray]:
    """Choose penalties for one fold's training rows on its inner folds.

    Returns
    -------
    alpha : numpy.ndarray of float64, (targets,)
        Absolute, for the training rows of `fold`.
    index : numpy.ndarray of int, (targets,)
    """
    _check_criterion(select)

    def work(crossed: Crossed, _: slice) -> tuple[np.ndarray, ...]:
        return (_select(problem, crossed, fold, grid, select)[0],)

    _warm(problem, [fold], grid, scored=False)
    (index,) = _tiled(problem, y, work)
    basis = problem.form.basis(problem.form.layout.members(fold.train))
    return grid.absolute(basis.mean_eigenvalue)[index], index


def inner_scores(
    problem: Problem, y: np.ndarray | Tiles, split: Split, grid: Grid, select: str
) -> np.ndarray:
    """Criterion on one inner fold for every penalty, (alphas, targets); see `cross_validate`."""
    _check_criterion(select)
    _inside(problem, split, grid)

    def work(crossed: Crossed, _: slice) -> tuple[np.ndarray, ...]:
        return (_measured(problem, crossed, split, grid, select)[select],)

    return _tiled(problem, y, work)[0]


def cross_validate_halves(
    problem: Problem, y: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Choose one penalty per target on all folds' validation halves, and score the test halves.

    Folds of the scheme `halves`: each has one inner split, which trains on the fold's own training
    rows, so that targets are projected once for both. Everything is done tile by tile of targets:
    cross-products with the atoms are never held for more.

    Parameters
    ----------
    problem : Problem
    y : array, (rows in use, targets)
        Arranged (`Problem.arrange`) and centred targets, without NaN.
    grid : Grid

    Returns
    -------
    validation, test : numpy.ndarray of float64, (targets,)
        Mean Pearson r over folds at the penalty with the highest mean over validation halves.
    """
    form, layout = problem.form, problem.form.layout

    def work(crossed: Crossed, _: slice) -> tuple[np.ndarray, ...]:
        projected: list[Array] = []
        validation = _Mean((len(grid.values), crossed.y.shape[1]))
        for fold in problem.folds:
            (split,) = fold.inner
            projected.append(form.project(form.basis(layout.members(fold.train)), crossed))
            found = _measured(problem, crossed, split, grid, "r", projected[-1])
            validation.add(found["r"])
        index = choose(validation.mean())
        test = _Mean((crossed.y.shape[1],))
        for fold, w in zip(problem.folds, projected, strict=True):
            basis = form.basis(layout.members(fold.train))
            alpha = grid.absolute(basis.mean_eigenvalue)[index]
            test.add(_score(problem, crossed, fold, alpha, "r", w))
        return np.take_along_axis(validation.mean(), index[None], axis=0)[0], test.mean()

    _warm(problem, problem.folds, grid, scored=True)
    of_validation, of_test = _tiled(problem, y, work)
    return of_validation, of_test


def cross_tiles(problem: Problem, y: np.ndarray, apart: bool) -> Tiles:
    """Make arranged and centred targets ready, in tiles that are worked on side by side if asked.

    `apart` does not pay where eigenbases do not all stay, nor, and is not done, on a GPU.
    """
    backend, apart = problem.form.backend, apart and problem.form.backend.device == "cpu"

    def one(tile: slice) -> Crossed:
        return problem.form.cross(y[:, tile])

    slices = _slices(problem, y.shape[1]) if apart else [slice(0, y.shape[1])]
    crossed = backend.each(one, slices) if apart else backend.whole(one, slices[0])
    return Tiles((y.shape[0], y.shape[1]), slices, crossed, apart)


def _weights(
    form: Form, basis: Basis, crossed: Crossed, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and intercept of a training set at given penalties."""
    b = shrunk(form.backend, basis, form.project(basis, crossed), alpha)
    weights, added = form.weights(basis, b)
    return form.backend.to_numpy(weights), added + training_mean(basis, crossed)


def _check_criterion(select: str) -> None:
    """Refuse an unknown criterion."""
    if select not in CRITERIA:
        raise InputError(f"ridge.select: '{select}' is not one of {', '.join(CRITERIA)}")


def _keeps_all(problem: Problem) -> bool:
    """Whether the plan lets every eigenbasis stay."""
    keep = problem.form.bases.keep
    return keep is None or keep >= problem.n_sets


def _warm(problem: Problem, folds: Sequence[Fold], grid: Grid | None, scored: bool) -> None:
    """Make what the tiles share before they run side by side; with `grid`, for inner folds."""
    if not _keeps_all(problem):
        return
    form, layout = problem.form, problem.form.layout
    for fold in folds:
        basis = form.basis(layout.members(fold.train))
        if scored:
            form.held_out(basis, layout.members(fold.test))
        if grid is None:
            continue
        for split in fold.inner:
            _inside(problem, split, grid)


def _inside(
    problem: Problem, split: Split, grid: Grid
) -> tuple[Basis, HeldOut, np.ndarray, Penalties]:
    """Make what a sweep on an inner fold needs beside the targets."""
    form, layout = problem.form, problem.form.layout
    basis = form.basis(layout.members(split.train))
    held = form.held_out(basis, layout.members(split.test))
    alpha = grid.absolute(basis.mean_eigenvalue)
    penalties = penalties_of(form.backend, basis, held, alpha, problem.sweep_dtype)
    return basis, held, alpha, penalties


def _slices(problem: Problem, n_targets: int) -> list[slice]:
    """Tiles of targets."""
    width = tile_width(problem.form.size)
    return [slice(i, min(i + width, n_targets)) for i in range(0, n_targets, width)]


def _tiled(
    problem: Problem,
    y: np.ndarray | Tiles,
    work: Callable[[Crossed, slice], tuple[np.ndarray, ...]],
) -> list[np.ndarray]:
    """Do the work for tiles of targets and put the results side by side.

    Tiles keep temporary arrays in the processor's cache, and run in as many threads as BLAS
    would use. Where eigenbases do not all stay, one tile holds all targets, as each tile would
    make them anew; on a GPU too, where small products do not pay.
    """
    backend, form = problem.form.backend, problem.form

    def one(tile: slice) -> tuple[np.ndarray, ...]:
        if isinstance(y, Tiles):
            return work(y.crossed[y.slices.index(tile)], tile)
        return work(form.cross(y[:, tile]), tile)

    apart = y.apart if isinstance(y, Tiles) else backend.device == "cpu" and _keeps_all(problem)
    if apart:
        slices = y.slices if isinstance(y, Tiles) else _slices(problem, y.shape[1])
        found = backend.each(one, slices)
    else:
        found = backend.whole(one, slice(0, y.shape[1]))
    if len(found) == 1:
        return list(found[0])
    return [np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True)]


def _select(
    problem: Problem, crossed: Crossed, fold: Fold, grid: Grid, select: str
) -> tuple[np.ndarray, np.ndarray]:
    """Index of the best penalty per target, and the mean inner r at it."""
    shape = (len(grid.values), crossed.y.shape[1])
    metric = _Mean(shape)
    r = metric if select == "r" else _Mean(shape)
    for split in fold.inner:
        measured = _measured(problem, crossed, split, grid, select)
        r.add(measured["r"])
        if select != "r":
            metric.add(measured[select])
    index = choose(metric.mean())
    if problem.form.backend.fast_math:
        return _recheck(problem, crossed, fold, grid, select, index)
    return index, np.take_along_axis(r.mean(), index[None], axis=0)[0]


def _measured(
    problem: Problem,
    crossed: Crossed,
    split: Split,
    grid: Grid,
    select: str,
    projected: Array | None = None,
) -> dict[str, np.ndarray]:
    """Scores on one inner fold for every penalty, (alphas, targets); `projected`: W, if made."""
    form = problem.form
    basis, held, alpha, penalties = _inside(problem, split, grid)
    w = form.project(basis, crossed) if projected is None else projected
    cross = form.test_cross(basis, held, crossed)
    found = sweep(form.backend, held, penalties, w, cross, select != "r")
    return _measure(basis, held, crossed, alpha[:, None], found, select, form.dtype)


def _recheck(
    problem: Problem,
    crossed: Crossed,
    fold: Fold,
    grid: Grid,
    select: str,
    index: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the penalties that a fast sweep chose with their neighbours, in full precision.

    Gives what `_select` gives, and notes the share of targets whose choice changed.
    """
    form, layout = problem.form, problem.form.layout
    near = np.clip(index + np.array([[-1], [0], [1]]), 0, len(grid.values) - 1)
    metric = _Mean(near.shape)
    r = metric if select == "r" else _Mean(near.shape)
    for split in fold.inner:
        basis = form.basis(layout.members(split.train))
        held = form.held_out(basis, layout.members(split.test))
        w = form.project(basis, crossed)
        other = _scored_against(form, basis, held, crossed)
        alpha = grid.absolute(basis.mean_eigenvalue)[near]
        found = []
        for row in alpha:
            b = shrunk(form.backend, basis, w, row)
            shift = form.backend.asarray(held.offset, form.dtype) @ b
            found.append((*moments(form.backend, held, other, b), form.backend.to_numpy(shift)))
        stacked = Moments(*(np.stack(parts) for parts in zip(*found, strict=True)))
        measured = _measure(basis, held, crossed, alpha, stacked, select, form.dtype)
        r.add(measured["r"])
        if select != "r":
            metric.add(measured[select])
    best = choose(metric.mean())
    chosen = np.take_along_axis(near, best[None], axis=0)[0]
    problem.disagreement.append(float(np.mean(chosen != index)))
    return chosen, np.take_along_axis(r.mean(), best[None], axis=0)[0]


def _measure(
    basis: Basis,
    held: HeldOut,
    crossed: Crossed,
    alpha: np.ndarray,
    found: Moments,
    select: str,
    dtype: np.dtype[Any],
) -> dict[str, np.ndarray]:
    """Pearson r and, if selected by it, R2 or the negative mean squared error."""
    mean, variance = target_moments(held, crossed, float(np.finfo(dtype).eps))
    measured = {"r": correlation(basis, alpha, found.covariance, found.variance, variance)}
    if found.shift is not None:
        # error of the mean, and of the deviations from it
        shift = mean - training_mean(basis, crossed) - found.shift
        error = shift**2 + variance - 2 * found.covariance + found.variance
        measured["mse"] = -error
        measured["r2"] = 1 - np.divide(
            error, variance, out=np.full_like(error, np.nan), where=variance > 0
        )
        spread = variance - 2 * found.covariance + found.variance
        share = 1 - spread / ((1 + variance) / 2)
        measured["signed_root_r2"] = np.where(
            variance > 0, np.sign(share) * np.sqrt(np.abs(share)), np.nan
        )
    return measured


def _score(
    problem: Problem,
    crossed: Crossed,
    fold: Fold,
    alpha: np.ndarray,
    measure: str,
    projected: Array | None = None,
) -> np.ndarray:
    """Held-out r, or another measure, of one outer fold at given penalties (see `_measured`)."""
    form, layout = problem.form, problem.form.layout
    basis = form.basis(layout.members(fold.train))
    held = form.held_out(basis, layout.members(fold.test))
    w = form.project(basis, crossed) if projected is None else projected
    b = shrunk(form.backend, basis, w, alpha)
    other = _scored_against(form, basis, held, crossed)
    shift = None
    if measure != "r":
        shift = form.backend.to_numpy(form.backend.asarray(held.offset, form.dtype) @ b)
    found = Moments(*moments(form.backend, held, other, b), shift)
    return _measure(basis, held, crossed, alpha, found, measure, form.dtype)[measure]


def _scored_against(form: Form, basis: Basis, held: HeldOut, crossed: Crossed) -> Array:
    """Give what `moments` needs of the test targets: their rows or H, whichever is smaller."""
    if held.rows is not None and held.n <= len(basis.eigenvalues):
        return crossed.y[form.layout.positions(held.members)]
    return form.test_cross(basis, held, crossed)


def mean_over_folds(values: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Mean of one or more arrays of one shape, leaving out NaN; NaN where there is nothing else."""
    mean = _Mean(values[0].shape)
    for one in values:
        mean.add(one)
    return mean.mean()


class _Mean:
    """Running mean over folds of an array, leaving out NaN."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.total, self.count = np.zeros(shape), np.zeros(shape, dtype=int)

    def add(self, values: np.ndarray) -> None:
        """Add one fold's values."""
        finite = np.isfinite(values)
        self.total += np.where(finite, values, 0.0)
        self.count += finite

    def mean(self) -> np.ndarray:
        """Mean; NaN where no fold had a value."""
        return np.divide(
            self.total, self.count, out=np.full(self.total.shape, np.nan), where=self.count > 0
        )
