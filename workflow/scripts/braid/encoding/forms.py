"""What the forms of the ridge solver share.

Each form diagonalises the ridge problem of a training set once. With X the centred (and scaled)
training rows, a basis holds eigenvalues L and two maps: targets are projected to W = R'Y, and the
predictions for centred test rows are Z (W / (L + alpha)) for every penalty, plus the training
mean of the targets. Scoring needs only moments of Z and Y (see `braid.encoding.sweep`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from braid.encoding.backend import Array, Backend
from braid.encoding.factors import Shelf, fetch
from braid.encoding.layout import Layout

GUARD = 1e-3  # largest tolerated relative error of the smallest penalised direction


@dataclass
class Basis:
    """Ridge problem of one training set, diagonalised.

    Attributes
    ----------
    members : numpy.ndarray of bool, (atoms,)
        The training set.
    n : int
        Its rows.
    eigenvalues : numpy.ndarray of float64, (r,)
        Not negative.
    mean_eigenvalue : float
        Trace of the Gram matrix over the number of features that vary.
    n_zero : int
        Features that do not vary in the training set: their weight is 0.
    maps : dict
        Arrays that only the form that made the basis reads.
    direct : bool
        Whether targets must be multiplied with the centred rows, because differences of sums
        lose too many digits.
    held : dict
        Test sets already described in this basis, by their atoms.
    """

    members: np.ndarray
    n: int
    eigenvalues: np.ndarray
    mean_eigenvalue: float
    n_zero: int
    maps: dict[str, Array]
    direct: bool = False
    held: dict[bytes, HeldOut] = field(default_factory=dict)

    def worst_error(self, alpha: float, eps: float) -> float:
        """Relative error that rounding at `eps` can leave in the weakest direction."""
        smallest = max(float(self.eigenvalues.min(initial=np.inf)), 0.0) + alpha
        largest = float(self.eigenvalues.max(initial=0.0))
        return eps * largest / smallest if largest > 0 else 0.0


@dataclass
class HeldOut:
    """Test rows seen from a basis. Zc is Z minus its mean over the test rows.

    Attributes
    ----------
    members : numpy.ndarray of bool, (atoms,)
    n : int
    offset : numpy.ndarray of float64, (r,)
        Mean of Z over the test rows.
    upper : array, (min(n, r), r)
        U, zero below its diagonal, with U'U = Zc'Zc: predictions U B have the moments of Zc B,
        and a test set with more rows than dimensions needs r of them only.
    rows : array, (n, r), or None
        Zc; kept where it has fewer rows than dimensions. Both in the precision asked for, also
        where the form's products are in a higher one.
    penalties : dict
        What sweeps over a grid of penalties have prepared.
    """

    members: np.ndarray
    n: int
    offset: np.ndarray
    upper: Array
    rows: Array | None
    penalties: dict[bytes, Any] = field(default_factory=dict)


@dataclass
class Crossed:
    """Targets made ready for a form.

    Attributes
    ----------
    y : array, (rows in use, targets)
        In the order of the layout, centred on the mean over all rows in use.
    sums, squares : numpy.ndarray of float64, (atoms, targets)
        Sums of `y` and of its square over each atom.
    products : array or None
        Cross-products that the form keeps: one matrix per atom, and last their sum; of more than
        `MANY` atoms the sum alone.
    last : (bytes, array) or None
        Then: the set of atoms whose cross-products were made last, and these.
    """

    y: Array
    sums: np.ndarray
    squares: np.ndarray
    products: Array | None = None
    last: tuple[bytes, Array] | None = None


class Bases:
    """Eigenbases by training set; the oldest goes when there are more than `keep`.

    With a `shelf`, bases and what describes test sets in them are looked for in the factorisation
    store before they are made, and put there when they were.
    """

    def __init__(self) -> None:
        self.keep: int | None = None
        self.found: dict[bytes, Basis] = {}
        self.shelf: Shelf | None = None

    def view(self, size: int, gamma: np.ndarray) -> Bases:
        """Give the bases, none made yet, of the same training sets with weights on the spaces.

        Only where spaces are in or out (0 or 1) can they come from the store: a search tries too
        many other weights to keep them all. `size` is the number of dimensions.
        """
        found = Bases()
        found.keep = self.keep
        if self.shelf is not None and np.isin(gamma, (0, 1)).all():
            found.shelf = self.shelf.narrowed(size, weights=np.asarray(gamma, float).tolist())
        return found

    def get(self, members: np.ndarray, make: Callable[[np.ndarray], Basis]) -> Basis:
        """Give the basis of a training set, made anew if it is not kept."""
        key = members.tobytes()
        if key not in self.found:
            while self.keep is not None and len(self.found) >= self.keep:
                del self.found[next(iter(self.found))]
            self.found[key] = fetch(self.shelf, "basis", [members], lambda: make(members), Basis)
        return self.found[key]

    def held_out(
        self, basis: Basis, members: np.ndarray, make: Callable[[Basis, np.ndarray], HeldOut]
    ) -> HeldOut:
        """Give the description of test rows in a basis, made anew if it is not kept."""
        key = members.tobytes()
        if key not in basis.held:
            sets = [basis.members, members]
            basis.held[key] = fetch(self.shelf, "held", sets, lambda: make(basis, members), HeldOut)
        return basis.held[key]


class Form(Protocol):
    """One way to solve ridge for many training sets made of the same atoms."""

    name: str
    layout: Layout
    dtype: np.dtype[Any]
    held_dtype: np.dtype[Any]  # of what describes test rows
    backend: Backend
    bases: Bases
    size: int  # dimensions at most: features, or rows in use

    def basis(self, members: np.ndarray) -> Basis:
        """Diagonalise a training set (kept for the next call)."""

    def held_out(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Describe test rows in a basis (kept for the next call)."""

    def cross(self, y: Array) -> Crossed:
        """Make targets ready; `y` is (rows in use, targets), centred, in the layout's order."""

    def project(self, basis: Basis, crossed: Crossed) -> Array:
        """W, (r, targets)."""

    def test_cross(self, basis: Basis, held: HeldOut, crossed: Crossed) -> Array:
        """H = Zc'Y of the test rows, (r, targets)."""

    def predict(self, basis: Basis, members: np.ndarray, b: Array) -> Array:
        """Z B for the rows of `members`, in the layout's order, without the targets' mean."""

    def rows_of(self, basis: Basis, members: np.ndarray) -> Array:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""

    def loadings(self, basis: Basis) -> Array:
        """R, (training rows, r), float64, in the layout's order."""

    def expect(self, basis: Basis, n_targets: int) -> None:
        """Get ready for the weights of so many targets."""

    def weights(self, basis: Basis, b: Array) -> tuple[Array, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,).

        Predictions are then x weights + added + the training mean of the targets.
        """


class SpaceForm(Form, Protocol):
    """A form whose features belong to spaces, which can be weighted."""

    space_of: np.ndarray  # space of each feature
    n_spaces: int

    def weighted(self, gamma: np.ndarray) -> SpaceForm:
        """Give the form with weights of 0 or more, (spaces,), on the spaces.

        Space b is penalised by alpha / gamma_b. Nothing is copied that does not depend on the
        weights, and what `cross` gives fits the form with any weights.
        """

    def predict(
        self, basis: Basis, members: np.ndarray, b: Array, space: int | None = None
    ) -> Array:
        """Z B, or the part of it from the features of one space."""


def crossed_sums(backend: Backend, layout: Layout, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """Sum targets and their squares over each atom, (atoms, targets), in float64."""
    sums = np.empty((layout.n_atoms, y.shape[1]))
    squares = np.empty_like(sums)
    for atom, piece in enumerate(layout.pieces()):
        sums[atom] = backend.to_numpy(backend.column_sum(y[piece]))
        squares[atom] = backend.to_numpy(backend.column_dot(y[piece], y[piece]))
    return sums, squares


def training_mean(basis: Basis, crossed: Crossed) -> np.ndarray:
    """Mean of the (centred) targets over a training set."""
    return crossed.sums[basis.members].sum(axis=0) / basis.n


def target_moments(held: HeldOut, crossed: Crossed, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the targets over the test rows; `eps` is that of their dtype."""
    mean = crossed.sums[held.members].sum(axis=0) / held.n
    square = crossed.squares[held.members].sum(axis=0) / held.n
    variance = square - mean**2
    # what rounding leaves of a constant column is not variance
    return mean, np.where(variance > 8 * eps * square, variance, 0.0)


def shrunk(backend: Backend, basis: Basis, w: Array, alpha: np.ndarray | float) -> Array:
    """B = W / (L + alpha), with one penalty for all targets or one per target.

    `w` may hold several sets of the targets side by side (draws of a permutation test): its
    number of columns is then a multiple of the number of penalties.
    """
    factor = factors(basis, np.atleast_1d(np.asarray(alpha, dtype=float)))
    factor = backend.asarray(factor, dtype_of(w))
    if factor.shape[1] in (1, w.shape[1]):
        return w * factor
    wide = w.reshape(len(w), -1, factor.shape[1]) * factor[:, None, :]
    return wide.reshape(w.shape)


def factors(basis: Basis, alpha: np.ndarray) -> np.ndarray:
    """1 / (L + alpha), (r, penalties), float64."""
    denominator = basis.eigenvalues[:, None] + alpha
    # a direction without variance and without penalty carries nothing
    return np.divide(1.0, denominator, out=np.zeros_like(denominator), where=denominator > 0)


def correlation(
    basis: Basis,
    alpha: np.ndarray | float,
    covariance: np.ndarray,
    variance: np.ndarray,
    target_variance: np.ndarray,
) -> np.ndarray:
    """Pearson r from moments; NaN where the predictions or the targets are constant.

    Predictions count as constant when their variance is below 1e-12 of the targets' after the
    shrinkage that the penalty itself causes is undone: r does not depend on it.

    Parameters
    ----------
    basis : Basis
    alpha : float or array
        One penalty, one per target, or (penalties, 1) for moments of (penalties, targets).
    covariance, variance : array, (targets,) or (penalties, targets)
    target_variance : array, (targets,)
    """
    top = float(basis.eigenvalues.max(initial=0.0))
    alpha = np.asarray(alpha, dtype=float)
    shrinkage = np.divide(top, top + alpha, out=np.zeros_like(alpha), where=top + alpha > 0)
    if shrinkage.ndim == 1 and shrinkage.size not in (1, variance.size):
        shrinkage = np.tile(shrinkage, variance.size // shrinkage.size)
    varies = (variance > 1e-12 * target_variance * shrinkage**2) & (target_variance > 0)
    r = np.full(variance.shape, np.nan)
    np.divide(
        covariance,
        np.sqrt(np.where(varies, variance, 1.0)) * np.sqrt(np.where(varies, target_variance, 1.0)),
        out=r,
        where=varies,
    )
    return np.clip(r, -1.0, 1.0)


def upper_of_scatter(backend: Backend, scatter: Array) -> Array:
    """Upper triangular U with U'U = `scatter` (positive semidefinite, float64), which is lost."""
    size = scatter.shape[0]
    diagonal = np.maximum(backend.to_numpy(scatter.diagonal()), 0.0)
    scale = np.sqrt(diagonal)
    keep = scale > np.sqrt(np.finfo(np.float64).eps) * 1e-4 * scale.max(initial=0.0)
    inverse = backend.asarray(np.where(keep, 1.0 / np.where(keep, scale, 1.0), 0.0), np.float64)
    scatter *= inverse[:, None]
    scatter *= inverse
    # the smallest ridge that makes up for rounding, which is as large
    shift = backend.asarray(np.where(keep, 4 * size * np.finfo(np.float64).eps, 1.0), np.float64)
    scatter.reshape(-1)[:: size + 1] += shift
    upper = backend.cholesky_upper(scatter)
    if upper is None:
        values, vectors = backend.eigh(scatter)
        values = np.sqrt(np.maximum(backend.to_numpy(values), 0.0))
        upper = backend.qr_upper(backend.asarray(values, np.float64)[:, None] * vectors.T)
    upper *= backend.asarray(np.where(keep, scale, 0.0), np.float64)
    return upper


def adjacent(positions: np.ndarray) -> slice | np.ndarray:
    """Ascending positions as a slice, which copies nothing, if they are adjacent."""
    if len(positions) and positions[-1] - positions[0] + 1 == len(positions):
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions


def flat_columns(sd: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Mask of features that do not vary: below 1e-7 of the median, or rounding of their mean."""
    varying = sd[sd > 0]
    typical = float(np.median(varying)) if len(varying) else 0.0
    return sd <= np.maximum(1e-7 * typical, 1e-6 * np.abs(mean))


def column_scale(sd: np.ndarray, flat: np.ndarray, standardize: bool) -> np.ndarray:
    """Give what features are multiplied by: 0 where they do not vary."""
    return np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, sd if standardize else 1.0))


def dtype_of(array: Array) -> np.dtype[Any]:
    """NumPy dtype of an array or tensor."""
    return np.dtype(str(array.dtype).removeprefix("torch."))
