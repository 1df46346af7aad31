"""What the forms of the ridge solver share.

Each form diagonalises the ridge problem of a training set once. With X the centred (and scaled)
training rows, a basis holds eigenvalues L and two maps: targets are projected to W = R'Y, and the
predictions for centred test rows are Z (W / (L + alpha)) for every penalty, plus the training
mean of the targets. Scoring needs only moments of Z and Y:

    B = W / (L + alpha),  M = Zc'Zc,  H = Zc'Y      (Zc: Z minus its mean over the test rows)
    cov = sum(B * H) / n,  var = sum(B * (M B)) / n,  r = cov / sqrt(var * var_y)

so predictions are never formed for many penalties at a time. With fewer test rows than
dimensions, P = Zc B is cheaper and gives the same moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

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
    held : dict
        Test sets already described in this basis, by their atoms.
    """

    members: np.ndarray
    n: int
    eigenvalues: np.ndarray
    mean_eigenvalue: float
    n_zero: int
    maps: dict[str, np.ndarray]
    held: dict[bytes, HeldOut] = field(default_factory=dict)

    def worst_error(self, alpha: float, eps: float) -> float:
        """Relative error that rounding at `eps` can leave in the weakest direction."""
        smallest = max(float(self.eigenvalues.min(initial=np.inf)), 0.0) + alpha
        largest = float(self.eigenvalues.max(initial=0.0))
        return eps * largest / smallest if largest > 0 else 0.0


@dataclass
class HeldOut:
    """Test rows seen from a basis.

    Attributes
    ----------
    members : numpy.ndarray of bool, (atoms,)
    n : int
    offset : numpy.ndarray, (r,)
        Mean of Z over the test rows.
    scatter : numpy.ndarray, (r, r), or None
        M above.
    rows : numpy.ndarray, (n, r), or None
        Zc; given where it is the cheaper of the two.
    """

    members: np.ndarray
    n: int
    offset: np.ndarray
    scatter: np.ndarray | None
    rows: np.ndarray | None


@dataclass
class Crossed:
    """Targets made ready for a form.

    Attributes
    ----------
    y : numpy.ndarray, (rows in use, targets)
        In the order of the layout, centred on the mean over all rows in use.
    sums : numpy.ndarray, (atoms, targets)
        Sums of `y` over each atom.
    products : numpy.ndarray or None
        Cross-products that the form keeps.
    """

    y: np.ndarray
    sums: np.ndarray
    products: np.ndarray | None = None


@dataclass
class TestTargets:
    """Targets of the test rows: H or the rows themselves, their means and variances."""

    cross: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


class Bases:
    """Eigenbases by training set; the oldest goes when there are more than `keep`."""

    def __init__(self) -> None:
        self.keep: int | None = None
        self.found: dict[bytes, Basis] = {}

    def get(self, members: np.ndarray, make: Callable[[np.ndarray], Basis]) -> Basis:
        """Give the basis of a training set, made anew if it is not kept."""
        key = members.tobytes()
        if key not in self.found:
            while self.keep is not None and len(self.found) >= self.keep:
                del self.found[next(iter(self.found))]
            self.found[key] = make(members)
        return self.found[key]


class Form(Protocol):
    """One way to solve ridge for many training sets made of the same atoms."""

    name: str
    layout: Layout
    dtype: np.dtype[Any]
    bases: Bases

    def basis(self, members: np.ndarray) -> Basis:
        """Diagonalise a training set (kept for the next call)."""

    def held_out(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Describe test rows in a basis (kept for the next call)."""

    def cross(self, y: np.ndarray) -> Crossed:
        """Make targets ready; `y` is (rows in use, targets), centred, in the layout's order."""

    def project(self, basis: Basis, crossed: Crossed) -> np.ndarray:
        """W, (r, targets)."""

    def targets_of(self, basis: Basis, held: HeldOut, crossed: Crossed) -> TestTargets:
        """Compute what scoring needs of the test targets."""

    def predict(self, basis: Basis, members: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Z B for the rows of `members`, in the layout's order, without the targets' mean."""

    def rows_of(self, basis: Basis, members: np.ndarray) -> np.ndarray:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""

    def loadings(self, basis: Basis) -> np.ndarray:
        """R, (training rows, r), float64, in the layout's order."""

    def weights(self, basis: Basis, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,).

        Predictions are then x weights + added + the training mean of the targets.
        """


def training_mean(basis: Basis, crossed: Crossed) -> np.ndarray:
    """Mean of the (centred) targets over a training set."""
    return crossed.sums[basis.members].sum(axis=0) / basis.n


def shrunk(basis: Basis, w: np.ndarray, alpha: np.ndarray | float) -> np.ndarray:
    """B = W / (L + alpha), with one penalty for all targets or one per target.

    `w` may hold several sets of the targets side by side (draws of a permutation test): its
    number of columns is then a multiple of the number of penalties.
    """
    denominator = basis.eigenvalues[:, None] + np.atleast_1d(np.asarray(alpha, dtype=float))
    # a direction without variance and without penalty carries nothing
    factor = np.divide(1.0, denominator, out=np.zeros_like(denominator), where=denominator > 0)
    factor = factor.astype(w.dtype)
    if factor.shape[1] in (1, w.shape[1]):
        return w * factor
    return (w.reshape(len(w), -1, factor.shape[1]) * factor[:, None, :]).reshape(w.shape)


def moments(held: HeldOut, targets: TestTargets, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of predictions with targets over the test rows, and the predictions' variance.

    Returns
    -------
    covariance, variance : numpy.ndarray of float64, (targets,)
    """
    if held.rows is not None:
        p = held.rows @ b
        return column_dot(p, targets.cross) / held.n, column_dot(p, p) / held.n
    return (
        column_dot(b, targets.cross) / held.n,
        column_dot(b, held.scatter @ b) / held.n,
    )


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
    """
    top = float(basis.eigenvalues.max(initial=0.0))
    alpha = np.asarray(alpha, dtype=float)
    shrinkage = np.divide(top, top + alpha, out=np.zeros_like(alpha), where=top + alpha > 0)
    if shrinkage.ndim and shrinkage.size not in (1, variance.size):
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


def column_dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of a * b over rows, accumulated in float64 over blocks of rows."""
    if a.dtype == np.float64:
        return np.einsum("it,it->t", a, b)
    total = np.zeros(a.shape[1])
    for start in range(0, len(a), 64):
        total += np.einsum("it,it->t", a[start : start + 64], b[start : start + 64])
    return total


def variance_of(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each column (population), in float64."""
    mean = y.mean(axis=0, dtype=np.float64)
    variance = column_dot(y, y) / len(y) - mean**2
    # what rounding leaves of a constant column is not variance
    noise = np.finfo(y.dtype).eps * column_dot(y, y) / len(y) * 8
    return mean, np.where(variance > noise, variance, 0.0)


def flat_columns(sd: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Mask of features that do not vary: below 1e-7 of the median, or rounding of their mean."""
    varying = sd[sd > 0]
    typical = float(np.median(varying)) if len(varying) else 0.0
    return sd <= np.maximum(1e-7 * typical, 1e-6 * np.abs(mean))
