"""Ridge on feature spaces with weights, from Gram matrices or kernels that are made once.

With weights gamma_b >= 0 and one penalty alpha, space b is penalised by alpha / gamma_b, and a
space of weight 0 is left out. In terms of stored matrices (X_b centred, D = sqrt(gamma) per
feature):

    gram form, p <= n:    D G D = V L V',         Z = X D V,       W = Z'Y
    kernel form, p > n:   sum gamma_b K_b = U L U',  Z = K_te U,   W = U'Y

and the predictions are Z (W / (L + alpha)) in both. New weights cost one decomposition per
training set; X is not touched again. Scores come from moments of Z and Y as in
`braid.encoding.forms`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braid.encoding.layout import Layout


@dataclass
class Eigen:
    """Weighted ridge problem of one training set, diagonalised.

    Attributes
    ----------
    gamma : numpy.ndarray of float64, (spaces,)
    members : numpy.ndarray of bool, (atoms,)
        The training set.
    n : int
        Its rows.
    values : numpy.ndarray of float64, (r,)
        Eigenvalues L, not negative.
    mean_value : float
        Mean eigenvalue of the features before weighting, each counted with its weight:
        sum gamma_b trace(G_b) / sum gamma_b p_b, over features that vary. Penalties of scale
        `trace` count in it; for one space alone it is that space's trace / p.
    vectors : numpy.ndarray of float64
        Gram form: D V of the features in use, (features in use, r). Kernel form: U, (n, r).
    mean : numpy.ndarray of float64
        Gram form: training mean of the features in use. Kernel form: mean of each column of K
        over the training rows, minus half of their mean.
    features : numpy.ndarray of int
        Features in use (weight above 0).
    held : dict
        Test sets already described in this basis.
    """

    gamma: np.ndarray
    members: np.ndarray
    n: int
    values: np.ndarray
    mean_value: float
    vectors: np.ndarray
    mean: np.ndarray
    features: np.ndarray
    held: dict[bytes, Held] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """Test rows seen from a basis: their mean and either their scatter or themselves.

    Attributes
    ----------
    members : numpy.ndarray of bool, (atoms,)
    n : int
    offset : numpy.ndarray of float64, (r,)
        Mean of Z.
    scatter : numpy.ndarray, (r, r), or None
        Zc'Zc, with Zc = Z - offset.
    rows : numpy.ndarray, (n, r), or None
        Zc, given where it is the cheaper of the two.
    """

    members: np.ndarray
    n: int
    offset: np.ndarray
    scatter: np.ndarray | None
    rows: np.ndarray | None


@dataclass
class Crossed:
    """A block of targets made ready.

    Attributes
    ----------
    y : numpy.ndarray, (rows in use, targets)
        In the layout's order, centred over all rows in use.
    centre : numpy.ndarray of float64, (targets,)
        What centring took off.
    sums : numpy.ndarray of float64, (atoms, targets)
    products : numpy.ndarray, (atoms, p + 1, targets), or None
        Cross-products of features (and a column of ones) with `y`.
    """

    y: np.ndarray
    centre: np.ndarray
    sums: np.ndarray
    products: np.ndarray | None = None
    _totals: dict[bytes, np.ndarray] = field(default_factory=dict)

    def total(self, members: np.ndarray) -> np.ndarray:
        """Cross-products over a set of atoms, (p + 1, targets); kept for the next weights."""
        assert self.products is not None
        key = members.tobytes()
        if key not in self._totals:
            atoms = np.flatnonzero(members)
            total = self.products[atoms[0]]
            for atom in atoms[1:]:
                total = total + self.products[atom]
            self._totals[key] = total
        return self._totals[key]

    def mean(self, members: np.ndarray, n: int) -> np.ndarray:
        """Mean of `y` over a set of atoms with `n` rows, (targets,)."""
        return self.sums[members].sum(axis=0) / n

    def take(self, targets: np.ndarray) -> Crossed:
        """Give some of the targets."""
        products = None if self.products is None else self.products[:, :, targets]
        return Crossed(self.y[:, targets], self.centre[targets], self.sums[:, targets], products)


@dataclass(frozen=True)
class Targets:
    """Targets over test rows: H = Zc'Y or the rows themselves; mean and variance."""

    cross: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


class Weighted(ABC):
    """Feature spaces made ready for ridge with any weights on any union of atoms.

    Parameters
    ----------
    layout : Layout
    space_of : array of int, (p,)
        Space of each feature, 0, 1, ...
    dtype : numpy dtype
        Of the products with targets; matrices are accumulated and diagonalised in float64.
    """

    form: str

    def __init__(self, layout: Layout, space_of: np.ndarray, dtype: Any) -> None:
        self.layout = layout
        self.space_of = np.asarray(space_of)
        self.n_spaces = int(self.space_of.max()) + 1
        self.dtype = np.dtype(dtype)
        self.keep = 1
        self._bases: OrderedDict[tuple[bytes, bytes], Eigen] = OrderedDict()

    def basis(self, gamma: np.ndarray, rows: np.ndarray) -> Eigen:
        """Diagonalise a training set; the last `keep` bases are kept."""
        gamma = np.ascontiguousarray(gamma, dtype=np.float64)
        members = self.layout.members(rows)
        key = (gamma.tobytes(), members.tobytes())
        if key in self._bases:
            self._bases.move_to_end(key)
            return self._bases[key]
        found = self._diagonalise(gamma, members)
        self._bases[key] = found
        while len(self._bases) > self.keep:
            self._bases.popitem(last=False)
        return found

    def held(self, basis: Eigen, rows: np.ndarray) -> Held:
        """Describe test rows in a basis (kept with it)."""
        members = self.layout.members(rows)
        key = members.tobytes()
        if key not in basis.held:
            basis.held[key] = self._describe(basis, members)
        return basis.held[key]

    def arrange(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows in use in the layout's order, centred; their mean; their sums over each atom."""
        y = np.asarray(y[self.layout.order])
        centre = y.mean(axis=0, dtype=np.float64)
        y = (y - centre.astype(y.dtype)).astype(self.dtype, copy=False)
        pieces = self.layout.pieces()
        return y, centre, np.stack([y[piece].sum(axis=0, dtype=np.float64) for piece in pieces])

    @abstractmethod
    def _diagonalise(self, gamma: np.ndarray, members: np.ndarray) -> Eigen:
        """Diagonalise a training set."""

    @abstractmethod
    def _describe(self, basis: Eigen, members: np.ndarray) -> Held:
        """Describe test rows in a basis."""

    @abstractmethod
    def cross(self, y: np.ndarray) -> Crossed:
        """Make a block of targets ready; `y` is (n, targets), in the order of the design."""

    @abstractmethod
    def project(self, basis: Eigen, crossed: Crossed) -> np.ndarray:
        """W, (r, targets)."""

    @abstractmethod
    def targets(self, basis: Eigen, held: Held, crossed: Crossed) -> Targets:
        """Compute what scoring needs of the test targets."""

    @abstractmethod
    def parts(self, basis: Eigen, rows: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
        """Prediction from each space, (rows, targets), in the layout's order.

        Features count from their training means, so that the parts and the training mean of the
        targets add up to the prediction.
        """

    @abstractmethod
    def weights(self, basis: Eigen, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the features as given, (p, targets), and their training means, (p,)."""

    @abstractmethod
    def bytes_fixed(self) -> float:
        """Bytes held whatever the number of targets, without the bases."""

    @abstractmethod
    def bytes_per_target(self, sets: int) -> float:
        """Bytes for each target of a block with `sets` sets of several atoms in use."""

    @abstractmethod
    def bytes_per_basis(self) -> float:
        """Bytes of one basis with its test sets."""


def shrunk(basis: Eigen, w: np.ndarray, alpha: np.ndarray | float) -> np.ndarray:
    """B = W / (L + alpha), with one penalty for all targets or one per target."""
    denominator = basis.values[:, None] + np.atleast_1d(np.asarray(alpha, dtype=np.float64))
    # a direction without variance and without penalty carries nothing
    factor = np.where(denominator > 0, 1.0 / np.where(denominator > 0, denominator, 1.0), 0.0)
    return w * factor.astype(w.dtype)


def scores(
    basis: Eigen,
    held: Held,
    targets: Targets,
    b: np.ndarray,
    start: np.ndarray,
    alpha: np.ndarray | float,
) -> dict[str, np.ndarray]:
    """Scores of predictions Z B on test rows, from moments.

    Parameters
    ----------
    basis, held, targets
        From one `Weighted`.
    b : array, (r, targets)
    start : array, (targets,)
        Training mean of the targets.
    alpha : float or array, (targets,)
        Penalty that is in `b`.

    Returns
    -------
    dict of numpy.ndarray of float64, (targets,)
        `r` (Pearson; NaN where targets or predictions are constant), `mse` (negative mean squared
        error) and `r2` (1 - SSE / SST, SST around the mean of the test rows; NaN where the
        targets are constant).
    """
    if held.rows is not None:
        predicted = held.rows @ b
        covariance = column_dot(predicted, targets.cross) / held.n
        variance = column_dot(predicted, predicted) / held.n
    else:
        covariance = column_dot(b, targets.cross) / held.n
        variance = column_dot(b, held.scatter @ b) / held.n
    shift = targets.mean - start - held.offset @ b
    error = shift**2 + targets.variance - 2 * covariance + variance
    # r does not depend on the shrinkage that the penalty itself causes: undo it before judging
    top = float(basis.values.max(initial=0.0))
    shrinkage = top / (top + np.asarray(alpha, dtype=np.float64)) if top > 0 else 0.0
    live = targets.variance > 0
    varies = live & (variance > 1e-12 * targets.variance * shrinkage**2)
    spread = np.sqrt(np.where(varies, variance, 1.0) * np.where(varies, targets.variance, 1.0))
    return {
        "r": np.where(varies, np.clip(covariance / spread, -1.0, 1.0), np.nan),
        "mse": -error,
        "r2": np.where(live, 1.0 - error / np.where(live, targets.variance, 1.0), np.nan),
    }


def mean_over_folds(found: Iterable[np.ndarray]) -> np.ndarray:
    """Mean of arrays of one shape, leaving out NaN; NaN where there is nothing else."""
    total, count = np.zeros(()), np.zeros(())
    for one in found:
        finite = np.isfinite(one)
        total, count = total + np.where(finite, one, 0.0), count + finite
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def column_dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of a * b over rows, (columns,), accumulated in float64 over blocks of rows."""
    if a.dtype == np.float64:
        return np.einsum("it,it->t", a, b)
    total = np.zeros(a.shape[1])
    for at in range(0, len(a), 64):
        total = total + np.einsum("it,it->t", a[at : at + 64], b[at : at + 64])
    return total


def variance_of(y: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Variance of each column; what rounding leaves of a constant column counts as 0."""
    square = column_dot(y, y) / len(y)
    variance = square - mean**2
    return np.where(variance > 8 * np.finfo(y.dtype).eps * square, variance, 0.0)
