"""Forms that work on rows: the kernel form for more features than rows, and the SVD form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.linalg

from braid.encoding.forms import (
    Bases,
    Basis,
    Crossed,
    HeldOut,
    TestTargets,
    flat_columns,
    variance_of,
)
from braid.encoding.layout import Layout


class RowForm(ABC):
    """Ridge through a map R of the training rows (W = R'Y) and a map Z of the test rows."""

    name: str

    def __init__(self, layout: Layout, dtype: Any) -> None:
        self.layout = layout
        self.dtype = np.dtype(dtype)
        self.bases = Bases()

    @abstractmethod
    def _diagonalise(self, members: np.ndarray) -> Basis:
        """Basis with `maps["loadings"]` = R, (n_train, r), float64."""

    @abstractmethod
    def rows_of(self, basis: Basis, members: np.ndarray) -> np.ndarray:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""

    @abstractmethod
    def weights(self, basis: Basis, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,)."""

    def basis(self, members: np.ndarray) -> Basis:
        """Diagonalise a training set (kept for the next call)."""
        return self.bases.get(members, self._diagonalise)

    def held_out(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Describe test rows in a basis (kept for the next call)."""
        key = members.tobytes()
        if key not in basis.held:
            z = self.rows_of(basis, members)
            offset = z.mean(axis=0)
            z -= offset
            if len(z) < z.shape[1]:
                held = HeldOut(members, len(z), offset, None, z.astype(self.dtype))
            else:
                held = HeldOut(members, len(z), offset, (z.T @ z).astype(self.dtype), None)
            basis.held[key] = held
        return basis.held[key]

    def cross(self, y: np.ndarray) -> Crossed:
        """Sum the targets over each atom."""
        y = np.ascontiguousarray(y, dtype=self.dtype)
        sums = [y[piece].sum(axis=0, dtype=np.float64) for piece in self.layout.pieces()]
        return Crossed(y, np.stack(sums))

    def loadings(self, basis: Basis) -> np.ndarray:
        """R, (training rows, r), float64, in the layout's order."""
        return basis.maps["loadings"]

    def project(self, basis: Basis, crossed: Crossed) -> np.ndarray:
        """W, (r, targets)."""
        loadings = basis.maps["loadings"].astype(self.dtype, copy=False)
        return loadings.T @ crossed.y[self.layout.positions(basis.members)]

    def targets_of(self, basis: Basis, held: HeldOut, crossed: Crossed) -> TestTargets:
        """Compute what scoring needs of the test targets."""
        y = crossed.y[self.layout.positions(held.members)]
        mean, variance = variance_of(y)
        if held.rows is not None:
            return TestTargets(y, mean, variance)
        z = (self.rows_of(basis, held.members) - held.offset).astype(self.dtype)
        return TestTargets(z.T @ y, mean, variance)

    def predict(self, basis: Basis, members: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Z B for the rows of `members`, in the layout's order, without the targets' mean."""
        return self.rows_of(basis, members).astype(self.dtype) @ b


class KernelForm(RowForm):
    """Ridge through the n x n kernel K = XX', for designs with more features than rows.

    K is made once, in float64; each training set centres and diagonalises its own block of it.
    Features can therefore not be scaled per training set: with `standardize` they are scaled by
    their standard deviation over all rows in use, which sees held-out stimuli but no responses.

    Parameters
    ----------
    x : array, (n, p)
    layout : Layout
    standardize : bool
    dtype : numpy dtype
    """

    name = "kernel"

    def __init__(
        self, x: np.ndarray, layout: Layout, standardize: bool = True, dtype: Any = np.float32
    ) -> None:
        super().__init__(layout, dtype)
        self.x, self.centre, self.scale = scaled_globally(x, layout, standardize)
        self.kernel = gram_of_rows(self.x)

    @property
    def n_zero(self) -> int:
        """Features that do not vary over the rows in use."""
        return int(np.count_nonzero(self.scale == 0))

    def _diagonalise(self, members: np.ndarray) -> Basis:
        """Centre and diagonalise the training block of the kernel."""
        rows = np.arange(len(self.kernel))[self.layout.positions(members)]
        kernel = self.kernel[np.ix_(rows, rows)]
        means = kernel.mean(axis=0)
        grand = means.mean()
        kernel = kernel - means - means[:, None] + grand
        values, vectors = scipy.linalg.eigh(
            kernel, overwrite_a=True, check_finite=False, driver="evd"
        )
        # the constant direction and duplicated rows: what is left of them is rounding
        keep = values > len(rows) * np.finfo(np.float64).eps * values[-1]
        values, vectors = values[keep], vectors[:, keep]
        varying = max(len(self.scale) - self.n_zero, 1)
        basis = Basis(members, len(rows), values, float(values.sum()) / varying, self.n_zero, {})
        basis.maps = {
            "loadings": vectors,
            "means": means,
            "grand": np.array(grand),
        }
        return basis

    def rows_of(self, basis: Basis, members: np.ndarray) -> np.ndarray:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""
        train = np.arange(len(self.kernel))[self.layout.positions(basis.members)]
        rows = np.arange(len(self.kernel))[self.layout.positions(members)]
        kernel = self.kernel[np.ix_(rows, train)]
        kernel = kernel - kernel.mean(axis=1, keepdims=True) - basis.maps["means"]
        return (kernel + basis.maps["grand"]) @ basis.maps["loadings"]

    def weights(self, basis: Basis, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,)."""
        rows = self.x[self.layout.positions(basis.members)]
        mean = rows.mean(axis=0, dtype=np.float64)
        scaled = rows.T @ (basis.maps["loadings"] @ b.astype(np.float64))
        # the columns of the vectors sum to 0, so the rows need no centring here
        weights = self.scale[:, None] * scaled
        return weights, -mean @ scaled - self.centre @ weights


class SvdForm(RowForm):
    """Ridge through the SVD of each training set, in float64, for ill-conditioned designs.

    Parameters
    ----------
    x : array, (n, p)
    layout : Layout
    standardize : bool
        Scale each feature by its standard deviation over the training set at hand.
    dtype : numpy dtype, optional
        Of the products with targets.
    """

    name = "svd"

    def __init__(
        self, x: np.ndarray, layout: Layout, standardize: bool = True, dtype: Any = np.float64
    ) -> None:
        super().__init__(layout, dtype)
        self.x = x[layout.order].astype(np.float64)
        self.centre = self.x.mean(axis=0)
        self.x -= self.centre
        self.standardize = standardize

    def _diagonalise(self, members: np.ndarray) -> Basis:
        """Centre, scale and decompose the training rows."""
        rows = self.x[self.layout.positions(members)]
        n, mean = len(rows), rows.mean(axis=0)
        rows = rows - mean
        sd = rows.std(axis=0)
        flat = flat_columns(sd, mean)
        scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, sd if self.standardize else 1.0))
        left, singular, right = scipy.linalg.svd(rows * scale, full_matrices=False)
        values = singular**2
        varying = max(int(np.count_nonzero(~flat)), 1)
        basis = Basis(members, n, values, float(values.sum()) / varying, int(flat.sum()), {})
        basis.maps = {
            "loadings": left * singular,
            "vectors": scale[:, None] * right.T,
            "mean": mean,
        }
        return basis

    def rows_of(self, basis: Basis, members: np.ndarray) -> np.ndarray:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""
        return (self.x[self.layout.positions(members)] - basis.maps["mean"]) @ basis.maps["vectors"]

    def weights(self, basis: Basis, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,)."""
        weights = basis.maps["vectors"] @ b.astype(np.float64)
        return weights, -(self.centre + basis.maps["mean"]) @ weights


def scaled_globally(
    x: np.ndarray, layout: Layout, standardize: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre and scale features by constants over all rows in use.

    Returns
    -------
    x : numpy.ndarray of float32 or float64, (rows in use, p)
        In the layout's order.
    centre, scale : numpy.ndarray of float64, (p,)
        Scale 0 marks a feature that does not vary.
    """
    used = x[layout.order]
    centre = used.mean(axis=0, dtype=np.float64)
    sd = used.std(axis=0, dtype=np.float64)
    flat = flat_columns(sd, np.zeros_like(sd))
    scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, sd if standardize else 1.0))
    return ((used - centre) * scale).astype(x.dtype, copy=False), centre, scale


def gram_of_rows(x: np.ndarray, chunk: int = 2048) -> np.ndarray:
    """XX' in float64, over chunks of columns so that no float64 copy of X is held."""
    kernel = np.zeros((len(x), len(x)))
    for start in range(0, x.shape[1], chunk):
        part = x[:, start : start + chunk].astype(np.float64)
        kernel += part @ part.T
    return kernel
