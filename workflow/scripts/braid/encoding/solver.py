"""Cross-validated ridge for many targets: choose the form, choose penalties, score, predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from braid.common import InputError
from braid.encoding.folds import Fold
from braid.encoding.forms import (
    GUARD,
    Basis,
    Crossed,
    Form,
    HeldOut,
    TestTargets,
    correlation,
    moments,
    shrunk,
    training_mean,
)
from braid.encoding.gram import GramForm
from braid.encoding.grid import CRITERIA, Grid, choose
from braid.encoding.layout import Layout, layout_of
from braid.encoding.planner import MEMORY_MB, Plan, plan_memory
from braid.encoding.rows import KernelForm, SvdForm, gram_of_rows, scaled_globally

FORMS = ("auto", "gram", "kernel", "svd")


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
    """

    form: Form
    folds: list[Fold]
    why: str
    rank: int | None = None

    def arrange(self, y: np.ndarray) -> np.ndarray:
        """Rows in use, in the order of the layout."""
        return y[self.form.layout.order]

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
        Held-out Pearson r.
    validation : numpy.ndarray of float64, (folds, targets)
        Mean Pearson r over the inner folds at the chosen penalty.
    """

    index: np.ndarray
    alpha: np.ndarray
    score: np.ndarray
    validation: np.ndarray


def prepare(
    x: np.ndarray,
    folds: Sequence[Fold],
    grid: Grid,
    standardize: bool = True,
    form: str = "auto",
    nested: bool = True,
    alpha_floor: float | None = None,
    dtype: type = np.float32,
) -> Problem:
    """Choose the form of the solver for a design.

    Fewer features than training rows: Gram form. More: if the rows span far fewer dimensions
    than there are rows, the features are rotated onto these without loss (ridge does not change
    under a rotation) and the Gram form is used; otherwise the kernel form. The Gram form's
    products go over to float64, and then to the SVD form, where
    ``eps * L_max / (max(L_min, 0) + alpha_min) > 1e-3``.

    Parameters
    ----------
    x : array, (n, p)
    folds : sequence of Fold
    grid : Grid
    standardize : bool
        Scale features by their standard deviation: over each training set in the Gram and SVD
        forms, over all rows in use in the kernel and the rotated form.
    form : {"auto", "gram", "kernel", "svd"}
    nested : bool
        Whether the inner folds will be used.
    alpha_floor : float, optional
        Smallest absolute penalty that will be used, where it is known; else the grid's.
    dtype : numpy dtype
        Of the products with targets, at least.
    """
    if form not in FORMS:
        raise InputError(f"ridge.form: '{form}' is not one of {', '.join(FORMS)}")
    folds = list(folds)
    layout = layout_of(len(x), folds, nested)
    # outer folds only, so that a fit and its permutation test agree on form and scaling
    n_train = min(len(fold.train) for fold in folds)
    if form == "svd":
        return Problem(SvdForm(x, layout, standardize), folds, "asked for")
    if form == "kernel" or (form == "auto" and x.shape[1] > n_train):
        return _dual(x, layout, folds, standardize, form, dtype, n_train)
    gram = GramForm(x, layout, standardize, dtype)
    return _guarded(gram, x, folds, grid, nested, alpha_floor, standardize)


def training_sets(folds: Sequence[Fold], nested: bool) -> Iterator[np.ndarray]:
    """Training rows of all outer and, if `nested`, inner folds."""
    for fold in folds:
        yield fold.train
        if nested:
            yield from (split.train for split in fold.inner)


def _dual(
    x: np.ndarray,
    layout: Layout,
    folds: list[Fold],
    standardize: bool,
    form: str,
    dtype: type,
    n_train: int,
) -> Problem:
    """Kernel form, or the Gram form of the features rotated onto the rows' span."""
    n, p = len(layout.order), x.shape[1]
    scaled, centre, scale = scaled_globally(x, layout, standardize)
    if form == "auto":
        values, vectors = scipy.linalg.eigh(gram_of_rows(scaled), check_finite=False, driver="evd")
        keep = values > n * np.finfo(np.float64).eps * max(values[-1], 0.0)
        rank = int(np.count_nonzero(keep))
        if 0 < rank <= n_train // 2:
            singular = np.sqrt(values[keep])
            rotated = np.zeros((len(x), rank))
            rotated[layout.order] = vectors[:, keep] * singular
            lift = scale[:, None] * (scaled.T @ (vectors[:, keep] / singular))
            gram = GramForm(rotated, layout, False, dtype, lift, centre)
            varying = max(int(np.count_nonzero(scale)), 1)
            gram.count_as(varying, p - varying)
            why = f"{p} features span {rank} dimensions: rotated onto them"
            return Problem(gram, folds, why, rank)
    why = "asked for" if form == "kernel" else f"{p} features and {n_train} training rows"
    return Problem(KernelForm(x, layout, standardize, dtype), folds, why)


def _guarded(
    gram: GramForm,
    x: np.ndarray,
    folds: list[Fold],
    grid: Grid,
    nested: bool,
    alpha_floor: float | None,
    standardize: bool,
) -> Problem:
    """Gram form in the first precision that the conditioning allows, else the SVD form."""
    bases = [gram.basis(gram.layout.members(rows)) for rows in training_sets(folds, nested)]
    worst = max(
        basis.worst_error(
            grid.absolute(basis.mean_eigenvalue)[0] if alpha_floor is None else alpha_floor, 1.0
        )
        for basis in bases
    )
    if np.finfo(gram.dtype).eps * worst <= GUARD:
        return Problem(gram, folds, "fewer features than training rows")
    if np.finfo(np.float64).eps * worst <= GUARD:
        if gram.dtype != np.float64:
            gram.use(np.float64, x)
        return Problem(gram, folds, f"products in float64: condition {worst:.1e}")
    return Problem(SvdForm(x, gram.layout, standardize), folds, f"condition {worst:.1e}")


def plan_for(
    problem: Problem,
    n_features: int,
    n_targets: int,
    n_alphas: int,
    nested: bool = True,
    memory_mb: float = MEMORY_MB,
    most: int = 4096,
) -> Plan:
    """Plan the memory of a prepared problem (see `plan_memory`), and hold its form to it."""
    layout = problem.form.layout
    members = {layout.members(rows).tobytes() for rows in training_sets(problem.folds, nested)}
    plan = plan_memory(
        n=len(layout.order),
        p=problem.rank or n_features,
        targets=n_targets,
        form=problem.form.name,
        sets=len(members),
        atoms=layout.n_atoms,
        alphas=n_alphas,
        itemsize=problem.form.dtype.itemsize,
        memory_mb=memory_mb,
        most=most,
    )
    problem.form.bases.keep = plan.keep
    return plan


def centred(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets minus their mean, (rows, targets), and that mean in float64."""
    mean = y.mean(axis=0, dtype=np.float64)
    return y - mean.astype(y.dtype), mean


def cross_validate(problem: Problem, y: np.ndarray, grid: Grid, select: str = "r") -> Selection:
    """Choose a penalty per target and outer fold on the inner folds, and score it outside.

    Parameters
    ----------
    problem : Problem
    y : array, (rows in use, targets)
        Arranged (`Problem.arrange`) and centred targets, without NaN.
    grid : Grid
    select : {"r", "r2", "mse"}
        What the inner folds maximise (`mse`: minimise); means over the inner folds where it is
        defined. R2 is around the test mean.

    Returns
    -------
    Selection
    """
    if select not in CRITERIA:
        raise InputError(f"ridge.select: '{select}' is not one of {', '.join(CRITERIA)}")
    form, shape = problem.form, (len(problem.folds), y.shape[1])
    found = Selection(np.zeros(shape, dtype=int), np.zeros(shape), np.zeros(shape), np.zeros(shape))
    crossed = form.cross(y)
    for number, fold in enumerate(problem.folds):
        index, validation = _select(problem, crossed, fold, grid, select)
        basis = form.basis(form.layout.members(fold.train))
        alpha = grid.absolute(basis.mean_eigenvalue)[index]
        found.index[number], found.alpha[number] = index, alpha
        found.validation[number] = validation
        found.score[number] = _score(problem, crossed, fold, alpha)
    return found


def score_fixed(problem: Problem, y: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Held-out r of every outer fold at given penalties; every fold is trained on `y`.

    Parameters
    ----------
    problem : Problem
    y : array, (rows in use, sets x targets)
        Arranged and centred targets; several permuted copies may lie side by side.
    alpha : array, (folds, targets)

    Returns
    -------
    numpy.ndarray of float64, (folds, sets x targets)
    """
    crossed = problem.form.cross(y)
    return np.stack(
        [_score(problem, crossed, fold, alpha[number]) for number, fold in enumerate(problem.folds)]
    )


def predict_fixed(
    problem: Problem, y: np.ndarray, alpha: np.ndarray, out: np.ndarray, mean: np.ndarray
) -> None:
    """Write held-out predictions of every outer fold at given penalties.

    Parameters
    ----------
    problem : Problem
    y : array, (rows in use, targets)
        Arranged and centred.
    alpha : array, (folds, targets)
    out : array, (n, targets)
        Rows of the original order; rows that no fold tests are left as they are.
    mean : array, (targets,)
        Added to the predictions: what centring took off.
    """
    form, layout = problem.form, problem.form.layout
    crossed = form.cross(y)
    for number, fold in enumerate(problem.folds):
        basis, test = form.basis(layout.members(fold.train)), layout.members(fold.test)
        b = shrunk(basis, form.project(basis, crossed), alpha[number])
        added = training_mean(basis, crossed) + mean
        out[layout.order[layout.positions(test)]] = form.predict(basis, test, b) + added


def fit_fixed(
    problem: Problem, y: np.ndarray, rows: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of one training set at given penalties.

    Returns
    -------
    weights : numpy.ndarray of float64, (p, targets)
        For the features as given.
    intercept : numpy.ndarray of float64, (targets,)
        For the centred targets.
    """
    form = problem.form
    crossed = form.cross(y)
    basis = form.basis(form.layout.members(rows))
    b = shrunk(basis, form.project(basis, crossed), alpha)
    weights, added = form.weights(basis, b)
    return weights, added + training_mean(basis, crossed)


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
    form = problem.form
    index, _ = _select(problem, form.cross(y), fold, grid, select)
    basis = form.basis(form.layout.members(fold.train))
    return grid.absolute(basis.mean_eigenvalue)[index], index


def _select(
    problem: Problem, crossed: Crossed, fold: Fold, grid: Grid, select: str
) -> tuple[np.ndarray, np.ndarray]:
    """Index of the best penalty per target, and the mean inner r at it."""
    form, layout = problem.form, problem.form.layout
    shape = (len(grid.values), crossed.y.shape[1])
    metric, r = _Mean(shape), _Mean(shape)
    for split in fold.inner:
        basis = form.basis(layout.members(split.train))
        held = form.held_out(basis, layout.members(split.test))
        targets = form.targets_of(basis, held, crossed)
        w, start = form.project(basis, crossed), training_mean(basis, crossed)
        for number, alpha in enumerate(grid.absolute(basis.mean_eigenvalue)):
            found = _measure(basis, held, targets, w, start, alpha, select)
            metric.add(number, found[select])
            r.add(number, found["r"])
    index = choose(metric.mean())
    return index, np.take_along_axis(r.mean(), index[None], axis=0)[0]


def _measure(
    basis: Basis,
    held: HeldOut,
    targets: TestTargets,
    w: np.ndarray,
    start: np.ndarray,
    alpha: float,
    select: str,
) -> dict[str, np.ndarray]:
    """Pearson r and, if selected by it, R2 or the negative mean squared error."""
    b = shrunk(basis, w, alpha)
    covariance, variance = moments(held, targets, b)
    found = {"r": correlation(basis, alpha, covariance, variance, targets.variance)}
    if select != "r":
        # error of the mean, and of the deviations from it
        shift = targets.mean - start - held.offset @ b.astype(np.float64)
        error = shift**2 + targets.variance - 2 * covariance + variance
        found["mse"] = -error
        found["r2"] = 1 - np.divide(
            error,
            targets.variance,
            out=np.full_like(error, np.nan),
            where=targets.variance > 0,
        )
    return found


def _score(problem: Problem, crossed: Crossed, fold: Fold, alpha: np.ndarray) -> np.ndarray:
    """Held-out r of one outer fold at given penalties."""
    form, layout = problem.form, problem.form.layout
    basis = form.basis(layout.members(fold.train))
    held = form.held_out(basis, layout.members(fold.test))
    b = shrunk(basis, form.project(basis, crossed), alpha)
    targets = form.targets_of(basis, held, crossed)
    covariance, variance = moments(held, targets, b)
    return correlation(basis, alpha, covariance, variance, targets.variance)


class _Mean:
    """Running mean over folds of an array (alphas, targets), leaving out NaN."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.total, self.count = np.zeros(shape), np.zeros(shape, dtype=int)

    def add(self, row: int, values: np.ndarray) -> None:
        """Add one fold's values at one penalty."""
        finite = np.isfinite(values)
        self.total[row, finite] += values[finite]
        self.count[row, finite] += 1

    def mean(self) -> np.ndarray:
        """Mean; NaN where no fold had a value."""
        return np.divide(
            self.total, self.count, out=np.full(self.total.shape, np.nan), where=self.count > 0
        )
