"""Feature spaces side by side, made ready once for ridge with any weights on them.

With weights gamma_b >= 0 and one penalty alpha, space b is penalised by alpha / gamma_b, and left
out at weight 0. Weights are views of one form (see `braid.encoding.forms.SpaceForm`): new ones cost
a decomposition per training set, and all else is the solver's.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from braid.common import InputError
from braid.encoding.backend import NUMPY, Backend
from braid.encoding.blocks import run_blocks
from braid.encoding.factors import digest_of_rows, shelf_for
from braid.encoding.folds import Fold
from braid.encoding.forms import GUARD, SpaceForm
from braid.encoding.gram import GramForm
from braid.encoding.grid import Grid
from braid.encoding.layout import layout_of
from braid.encoding.planner import MEMORY_MB, Plan, always_mb, plan_memory, stored_atoms
from braid.encoding.rows import KernelForm, Scaled
from braid.encoding.solver import Problem, Tiles, centred, cross_tiles, pairs_of, shelve

Part = TypeVar("Part")

FORMS = ("auto", "gram", "streamed", "kernel")
_COLUMNS = 4096  # targets that are looked through at a time


@dataclass(frozen=True)
class Joined:
    """Feature spaces as columns of one matrix.

    Attributes
    ----------
    x : numpy.ndarray, (n, p)
        float32, or float64 if a space is.
    space_of : numpy.ndarray of int, (p,)
        Space of each column.
    names : tuple of str, (spaces,)
    """

    x: np.ndarray
    space_of: np.ndarray
    names: tuple[str, ...]


def join_spaces(spaces: Mapping[str, np.ndarray]) -> Joined:
    """Put feature spaces side by side.

    Parameters
    ----------
    spaces : mapping of str to array, (n, p_b)
        At least one; names may not hold "+", which joins the names of a subset.

    Raises
    ------
    InputError
        If a space is empty, has another number of rows than the others, or holds a value that is
        not finite.
    """
    if not spaces:
        raise InputError("feature spaces: none was given; name at least one")
    arrays = {name: np.asarray(values) for name, values in spaces.items()}
    n = len(next(iter(arrays.values())))
    for name, values in arrays.items():
        if "+" in name:
            raise InputError(f"feature space '{name}': a name may not hold '+'; rename it")
        if values.ndim != 2 or values.shape[1] == 0:
            raise InputError(
                f"feature space '{name}': shape {values.shape} is not (rows, features); give at "
                "least one feature"
            )
        if len(values) != n:
            raise InputError(
                f"feature space '{name}': {len(values)} rows, but the first space has {n}; build "
                "all spaces for the same samples"
            )
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            raise InputError(
                f"feature space '{name}': row {int(np.argmin(finite))} has a value that is not "
                "finite; mend the features or leave the row out"
            )
    wide = any(values.dtype == np.float64 for values in arrays.values())
    x = np.concatenate(list(arrays.values()), axis=1).astype(np.float64 if wide else np.float32)
    sizes = [values.shape[1] for values in arrays.values()]
    return Joined(x, np.repeat(np.arange(len(sizes)), sizes), tuple(arrays))


def spaces_of_groups(groups: Sequence[Hashable] | None, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Give each feature the number of its space; spaces are numbered in order of appearance.

    Parameters
    ----------
    groups : sequence of labels, (p,), or None
        None: all features are one space.
    p : int

    Returns
    -------
    space_of : numpy.ndarray of int, (p,)
    labels : numpy.ndarray, (spaces,)
    """
    if groups is None:
        return np.zeros(p, dtype=int), np.array([0])
    labels = np.asarray(groups)
    if labels.shape != (p,):
        raise InputError(f"groups: {labels.shape} labels for {p} features; give one per feature")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[inverse.ravel()], labels[np.sort(first)]


@dataclass
class Spaces(Problem):
    """Feature spaces made ready: a problem whose form can be weighted."""

    form: SpaceForm
    views: dict[bytes, Spaces] = field(default_factory=dict)

    def weighted(self, gamma: np.ndarray, folds: list[Fold] | None = None) -> Spaces:
        """Give the problem with weights, (spaces,), on the spaces; optionally for other folds."""
        form = self.form.weighted(gamma)
        return replace(self, form=form, folds=self.folds if folds is None else folds, views={})

    def kept(self, gamma: np.ndarray) -> Spaces:
        """Give the problem with weights on the spaces, the same one at every call."""
        return self.views.setdefault(gamma.tobytes(), self.weighted(gamma))

    def forget(self) -> None:
        """Give up the eigenbases, which can be made anew, where memory runs out."""
        super().forget()
        self.views.clear()


def prepare_spaces(
    x: np.ndarray,
    space_of: np.ndarray,
    folds: Sequence[Fold],
    grid: Grid,
    standardize: bool = False,
    form: str = "auto",
    dtype: Any = np.float32,
    backend: Backend = NUMPY,
    memory_mb: float = MEMORY_MB,
) -> Spaces:
    """Choose the form and make the matrices from which every weighting is solved.

    Parameters
    ----------
    x : array, (n, p)
    space_of : array of int, (p,)
        Space of each feature.
    folds : sequence of Fold
        Outer folds with their inner folds.
    grid : Grid
        Penalties of scale `trace` count in the mean eigenvalue of the features before weighting,
        each counted with its weight: sum gamma_b trace(G_b) / sum gamma_b p_b, over features that
        vary. For one space alone it is that space's trace / p.
    standardize : bool
        Scale features by their standard deviation: over each training set in the Gram form, over
        all rows in use in the kernel form.
    form : {"auto", "gram", "streamed", "kernel"}
        `auto`: kernels where there are more features than rows in the smallest outer training
        set, else Gram matrices, streamed where they do not fit the limit otherwise.
    dtype : numpy dtype
        Of the products with targets, at least: the Gram form goes over to float64 where
        ``eps * L_max / alpha_min > 1e-3`` for a space or for all together. (No L_min here: small
        weights make eigenvalues as small as one likes.)
    backend : Backend
    memory_mb : float
        Limit that decides between the Gram form and the streamed one.

    Raises
    ------
    InputError
        If the form is unknown, or the smallest penalty is too small even for float64.
    """
    if form not in FORMS:
        raise InputError(f"ridge.form: '{form}' is not one of {', '.join(FORMS)}")
    folds, layout = list(folds), layout_of(len(x), folds)
    n_train, p, dtype = min(len(fold.train) for fold in folds), x.shape[1], np.dtype(dtype)
    shelf = shelf_for(x, layout, standardize, min(n_train, p), backend)
    named = digest_of_rows(space_of[:, None], np.arange(p))
    if form == "kernel" or (form == "auto" and p > n_train):
        scaled = Scaled(x, layout, standardize)
        kernel = KernelForm(scaled, layout, dtype, backend, space_of=space_of)
        shelve(kernel, shelf, spaces=named)
        return Spaces(kernel, folds, "more features than training rows", sweep_dtype=dtype)
    need = always_mb(len(layout.order), p, "gram", layout.n_atoms, dtype.itemsize)
    stream = form == "streamed" or (form == "auto" and need > memory_mb)
    gram = GramForm(
        x, layout, standardize, dtype, backend=backend, stream=stream, space_of=space_of
    )
    shelve(gram, shelf, spaces=named)
    condition = _condition(gram, grid)
    if np.finfo(np.float64).eps * condition > GUARD:
        raise InputError(
            f"ridge.alphas: the smallest penalty is {condition:.0e} times smaller than the largest "
            "eigenvalue, too small to solve with; raise it"
        )
    if np.finfo(dtype).eps * condition > GUARD:
        gram.use(np.float64)
        shelve(gram, shelf, spaces=named)
    return Spaces(gram, folds, "fewer features than training rows", sweep_dtype=dtype)


def _condition(form: SpaceForm, grid: Grid) -> float:
    """Largest ratio of an eigenvalue to the smallest penalty, over each space and all of them."""
    rows, worst = np.ones(form.layout.n_atoms, dtype=bool), 0.0
    for gamma in np.unique(np.vstack([np.eye(form.n_spaces), np.ones(form.n_spaces)]), axis=0):
        basis = form.weighted(gamma).basis(rows)
        alpha = float(grid.absolute(basis.mean_eigenvalue)[0])
        if alpha > 0:
            worst = max(worst, float(basis.eigenvalues.max(initial=0.0)) / alpha)
    return worst


@dataclass
class SpacesFit:
    """A fit of weighted feature spaces: made ready once, worked on in blocks of targets.

    Attributes
    ----------
    x : numpy.ndarray, (n, p)
    space_of : numpy.ndarray of int, (p,)
    y : numpy.ndarray, (n, targets)
        Without missing values in the rows in use.
    folds : sequence of Fold
    grid : Grid
    standardize, form, dtype, backend, memory_mb
        As for `prepare_spaces`; the limit leaves the caller's own arrays out.
    extra : float
        Further bytes per target of a block, such as the scores of all weightings and penalties.
    bases : int
        Weightings whose eigenbases of all training sets are in use at a time; 0: one eigenbasis.
    columns : int
        Targets worked on at a time at most, if these are more than there are (several draws).
    copies : int
        Sets of targets that are made ready at a time.
    retries : list of str
        What was repeated where memory ran out.
    """

    x: np.ndarray
    space_of: np.ndarray
    y: np.ndarray
    folds: Sequence[Fold]
    grid: Grid
    standardize: bool
    form: str
    dtype: Any
    backend: Backend
    memory_mb: float
    extra: float = 0.0
    bases: int = 0
    columns: int = 0
    copies: int = 1
    retries: list[str] = field(default_factory=list)
    _made: tuple[Spaces, Plan] | None = None

    def run(self, work: Callable[[Spaces, slice], Part]) -> list[Part]:
        """Do the work for blocks of targets, smaller ones where memory runs out.

        Parameters
        ----------
        work : callable
            Takes the spaces and a slice of targets. It is repeated where memory ran out in it.

        Returns
        -------
        list
            What each block gave, in the order of the targets.

        Raises
        ------
        BraidError
            If even the smallest block does not fit.
        """
        done = run_blocks(self.made, self.form, self.y.shape[1], work, self.backend)
        self.retries += done.retries
        # the next run begins where this one ended
        self.form = done.problem.form.name
        self._made = self.made(self.form)[0], replace(done.plan, block=done.block)
        return done.parts

    def made(self, form: str) -> tuple[Spaces, Plan]:
        """Give the spaces in a form, and the plan; made anew only if it is another form."""
        if self._made is None or form not in ("auto", self._made[0].form.name):
            self._made = None
            spaces = prepare_spaces(
                self.x, self.space_of, self.folds, self.grid, self.standardize, form, self.dtype,
                self.backend, self.memory_mb,
            )  # fmt: skip
            self._made = spaces, self._plan(spaces)
        return self._made

    @property
    def plan(self) -> Plan:
        """The plan that is followed; made with the spaces at first."""
        return (self._made or self.made(self.form))[1]

    def tiles(self, spaces: Spaces, y: np.ndarray) -> Tiles:
        """Make targets, (n, targets), ready for all weightings."""
        block, _ = centred(spaces.arrange(y))
        return cross_tiles(spaces, block, apart=self.plan.keep >= self.plan.sets)

    def _plan(self, spaces: Spaces) -> Plan:
        """Plan the memory, and hold the form to it."""
        form, layout, p = spaces.form, spaces.form.layout, self.x.shape[1]
        pairs = pairs_of(layout, self.folds)
        rows, targets = len(layout.order), max(self.y.shape[1], self.columns)
        # what a block's tiles hold stays for all weightings
        matrices = 0 if form.name == "kernel" else stored_atoms(layout.n_atoms) + 1
        held = rows + matrices * (p + 1)
        plan = plan_memory(
            n=rows,
            p=p,
            targets=targets,
            form=form.name,
            atoms=layout.n_atoms,
            alphas=len(self.grid.values),
            itemsize=form.dtype.itemsize,
            memory_mb=self.memory_mb,
            # every block makes all eigenbases anew
            most=targets,
            pairs=pairs * self.bases or [max(pairs)],
            workers=self.backend.workers(),
            on_device=self.backend.device != "cpu",
            copies=self.y.itemsize * (1 if layout.is_in_order else 2),
            kernels=form.n_spaces if form.name == "kernel" else 1,
            extra=self.extra + self.copies * form.dtype.itemsize * held,
        )
        form.bases.keep = max(1, plan.keep // max(1, self.bases))
        return plan


def rows_in_use(folds: Sequence[Fold]) -> np.ndarray:
    """Rows that train or test an outer fold, ascending."""
    return np.unique(np.concatenate([rows for fold in folds for rows in (fold.train, fold.test)]))


def checked_targets(y: np.ndarray, n: int) -> np.ndarray:
    """Targets as a matrix of floating-point numbers with `n` rows.

    Raises
    ------
    InputError
        If the shape is another.
    """
    y = np.asarray(y)
    if y.ndim != 2 or len(y) != n or y.shape[1] == 0:
        raise InputError(
            f"targets: shape {y.shape} is not ({n}, targets); give one row per row of the features"
        )
    return y if y.dtype.kind == "f" else y.astype(np.float64)


def labels_of_targets(groups: Sequence[Hashable] | None, n_targets: int) -> np.ndarray | None:
    """Labels that group the targets, checked.

    Raises
    ------
    InputError
        If there is not one label per target.
    """
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n_targets,):
        raise InputError(
            f"groups of targets: {labels.shape} labels for {n_targets} targets; give one each"
        )
    return labels


def finite_columns(y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Targets without a missing value in the rows in use, as positions.

    Raises
    ------
    InputError
        If a value is infinite, or every target has a missing value.
    """
    finite = np.ones(y.shape[1], dtype=bool)
    for start in range(0, y.shape[1], _COLUMNS):
        used = y[rows, start : start + _COLUMNS]
        infinite = np.isinf(used)
        if infinite.any():
            row, target = (int(at[0]) for at in np.nonzero(infinite))
            raise InputError(
                f"target {start + target}: the value in row {int(rows[row])} is infinite; mend the "
                "responses"
            )
        finite[start : start + _COLUMNS] = ~np.isnan(used).any(axis=0)
    if not finite.any():
        raise InputError("targets: every one has missing values; check the preprocessing")
    return np.flatnonzero(finite)
