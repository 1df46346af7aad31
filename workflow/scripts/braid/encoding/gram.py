"""Gram (primal) form: one Gram matrix per atom; every training set is a sum of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from braid.encoding.forms import (
    Bases,
    Basis,
    Crossed,
    HeldOut,
    TestTargets,
    column_dot,
    flat_columns,
)
from braid.encoding.layout import Layout


class GramForm:
    """Ridge through p x p Gram matrices, for designs with fewer features than rows.

    A column of ones beside X makes each atom's Gram and cross-product matrices carry the sums
    that exact centring needs: with n, m the rows and mean of a training set,

        G_tr = sum of G - n m m',   C_tr = sum of C - n m y0'.

    Gram matrices are accumulated and diagonalised in float64; products with targets run in
    `dtype`.

    Parameters
    ----------
    x : array, (n, p)
    layout : Layout
    standardize : bool
        Scale each feature by its standard deviation over the training set at hand.
    dtype : numpy dtype
    lift : array, (q, p), optional
        Where x = (x0 - centre) lift for features x0 as the user gave them: weights are lifted
        back.
    centre : array, (q,), optional
    """

    name = "gram"

    def __init__(
        self,
        x: np.ndarray,
        layout: Layout,
        standardize: bool = True,
        dtype: Any = np.float32,
        lift: np.ndarray | None = None,
        centre: np.ndarray | None = None,
    ) -> None:
        self.layout = layout
        self.standardize = standardize
        self.lift = lift
        self.lift_centre = centre
        self._counts: tuple[int, int] | None = None
        self.bases = Bases()
        self.centre = x[layout.order].mean(axis=0, dtype=np.float64)
        self._x = np.ones((len(layout.order), x.shape[1] + 1), dtype=np.float64)
        np.subtract(x[layout.order], self.centre, out=self._x[:, :-1])
        self._grams = np.stack([self._x[piece].T @ self._x[piece] for piece in layout.pieces()])
        self.dtype = np.dtype(dtype)
        self._x = self._x.astype(self.dtype, copy=False)

    def count_as(self, varying: int, flat: int) -> None:
        """Say how many of the features as given vary and do not, where `x` is a rotation."""
        self._counts = (varying, flat)

    def use(self, dtype: Any, x: np.ndarray) -> None:
        """Go over to another precision of the products; eigenbases stay."""
        self.dtype = np.dtype(dtype)
        self._x = np.ones((len(self.layout.order), x.shape[1] + 1), dtype=self.dtype)
        self._x[:, :-1] = x[self.layout.order] - self.centre
        for basis in self.bases.found.values():
            self._maps(basis)
            basis.held.clear()

    def basis(self, members: np.ndarray) -> Basis:
        """Diagonalise a training set (kept for the next call)."""
        return self.bases.get(members, self._diagonalise)

    def _diagonalise(self, members: np.ndarray) -> Basis:
        """Centre, scale and diagonalise the Gram matrix of a training set."""
        total = self._grams[members].sum(axis=0)
        n = round(total[-1, -1])
        mean = total[:-1, -1] / n
        gram = total[:-1, :-1] - n * np.outer(mean, mean)
        sd = np.sqrt(np.maximum(np.diag(gram), 0.0) / n)
        flat = flat_columns(sd, mean)
        scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, sd if self.standardize else 1.0))
        gram *= scale[:, None] * scale
        values, vectors = scipy.linalg.eigh(
            gram, overwrite_a=True, check_finite=False, driver="evd"
        )
        values = np.maximum(values, 0.0)
        varying, constant = self._counts or (int(np.sum(~flat)), int(np.sum(flat)))
        basis = Basis(members, n, values, float(values.sum()) / max(varying, 1), constant, {})
        basis.maps = {"vectors": scale[:, None] * vectors, "mean": mean}
        self._maps(basis)
        return basis

    def _maps(self, basis: Basis) -> None:
        """Projector of the (uncentred) cross-products of the training set, in `dtype`."""
        vectors, mean = basis.maps["vectors"], basis.maps["mean"]
        basis.maps["project"] = np.column_stack([vectors.T, -(vectors.T @ mean)]).astype(self.dtype)

    def held_out(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Describe test rows in a basis (kept for the next call)."""
        key = members.tobytes()
        if key not in basis.held:
            basis.held[key] = self._describe(basis, members)
        return basis.held[key]

    def _describe(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Moments of the test rows, or the rows themselves where they are fewer."""
        total = self._grams[members].sum(axis=0)
        n = round(total[-1, -1])
        mean = total[:-1, -1] / n
        vectors = basis.maps["vectors"]
        offset = vectors.T @ (mean - basis.maps["mean"])
        if n < len(mean):
            rows = self._x[self.layout.positions(members), :-1].astype(np.float64) - mean
            return HeldOut(members, n, offset, None, (rows @ vectors).astype(self.dtype))
        scatter = total[:-1, :-1] - n * np.outer(mean, mean)
        scatter = (vectors.T @ scatter @ vectors).astype(self.dtype)
        return HeldOut(members, n, offset, scatter, None)

    def cross(self, y: np.ndarray) -> Crossed:
        """Cross-products of each atom with targets; all folds and penalties share them."""
        y = np.ascontiguousarray(y, dtype=self.dtype)
        products = np.empty((self.layout.n_atoms, self._x.shape[1], y.shape[1]), dtype=self.dtype)
        for atom, piece in enumerate(self.layout.pieces()):
            np.matmul(self._x[piece].T, y[piece], out=products[atom])
        return Crossed(y, products[:, -1].astype(np.float64), products)

    def project(self, basis: Basis, crossed: Crossed) -> np.ndarray:
        """W, (r, targets)."""
        return basis.maps["project"] @ _sum_of(crossed, basis.members)

    def targets_of(self, basis: Basis, held: HeldOut, crossed: Crossed) -> TestTargets:
        """Compute what scoring needs of the test targets."""
        y = crossed.y[self.layout.positions(held.members)]
        mean = crossed.sums[held.members].sum(axis=0) / held.n
        square = column_dot(y, y) / held.n
        variance = square - mean**2
        variance = np.where(variance > 8 * np.finfo(self.dtype).eps * square, variance, 0.0)
        if held.rows is not None:
            return TestTargets(y, mean, variance)
        vectors, centre = basis.maps["vectors"], self._mean_of(held.members)
        project = np.column_stack([vectors.T, -(vectors.T @ centre)]).astype(self.dtype)
        return TestTargets(project @ _sum_of(crossed, held.members), mean, variance)

    def _mean_of(self, members: np.ndarray) -> np.ndarray:
        """Mean of the features over a set of atoms."""
        sums = self._grams[members, :, -1].sum(axis=0)
        return sums[:-1] / sums[-1]

    def predict(self, basis: Basis, members: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Z B for the rows of `members`, in the layout's order, without the targets' mean."""
        x = self._x[self.layout.positions(members), :-1]
        weights = basis.maps["vectors"].astype(self.dtype) @ b
        return x @ weights - (basis.maps["mean"] @ weights.astype(np.float64)).astype(self.dtype)

    def rows_of(self, basis: Basis, members: np.ndarray) -> np.ndarray:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""
        x = self._x[self.layout.positions(members), :-1].astype(np.float64)
        return (x - basis.maps["mean"]) @ basis.maps["vectors"]

    def loadings(self, basis: Basis) -> np.ndarray:
        """R, (training rows, r), float64, in the layout's order."""
        return self.rows_of(basis, basis.members)

    def weights(self, basis: Basis, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,)."""
        weights = basis.maps["vectors"] @ b.astype(np.float64)
        constant = -(self.centre + basis.maps["mean"]) @ weights
        if self.lift is None or self.lift_centre is None:
            return weights, constant
        weights = self.lift @ weights
        return weights, constant - self.lift_centre @ weights


def _sum_of(crossed: Crossed, members: np.ndarray) -> np.ndarray:
    """Sum of the atoms' cross-products over a set."""
    assert crossed.products is not None
    atoms = np.flatnonzero(members)
    if len(atoms) == 1:
        return crossed.products[atoms[0]]
    total = crossed.products[atoms[0]] + crossed.products[atoms[1]]
    for atom in atoms[2:]:
        total += crossed.products[atom]
    return total
