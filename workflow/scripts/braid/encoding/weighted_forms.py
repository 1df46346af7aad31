"""The two forms of weighted ridge: Gram matrices per atom, or one kernel per feature space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg

from braid.encoding.layout import Layout
from braid.encoding.weighted import Crossed, Eigen, Held, Targets, Weighted, variance_of

_CHUNK = 2048  # features per float64 copy while a kernel is made


class GramWeighted(Weighted):
    """Gram form: one p x p matrix per atom, with the sums that exact centring needs.

    Parameters
    ----------
    x : array, (n, p)
    layout, space_of, dtype
        As for `Weighted`.
    standardize : bool
        Scale each feature by its standard deviation over the training set at hand.
    """

    form = "gram"

    def __init__(
        self,
        x: np.ndarray,
        layout: Layout,
        space_of: np.ndarray,
        standardize: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(layout, space_of, dtype)
        self.standardize = standardize
        self.centre = x[layout.order].mean(axis=0, dtype=np.float64)
        rows = np.ones((len(layout.order), x.shape[1] + 1))
        np.subtract(x[layout.order], self.centre, out=rows[:, :-1])
        self._grams = np.stack([rows[piece].T @ rows[piece] for piece in layout.pieces()])
        self._x = rows.astype(self.dtype, copy=False)

    def _mean(self, members: np.ndarray) -> tuple[int, np.ndarray]:
        """Rows and feature means of a set of atoms."""
        sums = self._grams[members, -1].sum(axis=0)
        return round(sums[-1]), sums[:-1] / sums[-1]

    def _scatter(self, members: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Centred Gram matrix of some features over a set of atoms."""
        n, mean = self._mean(members)
        total = np.tensordot(members.astype(np.float64), self._grams, axes=1)
        centre = mean[features]
        return total[np.ix_(features, features)] - n * np.outer(centre, centre)

    def _diagonalise(self, gamma: np.ndarray, members: np.ndarray) -> Eigen:
        weight = gamma[self.space_of]
        features = np.flatnonzero(weight > 0)
        n, mean = self._mean(members)
        mean, weight = mean[features], weight[features]
        gram = self._scatter(members, features)
        square = np.maximum(np.diag(gram), 0.0)
        sd = np.sqrt(square / n)
        flat = flat_features(sd, mean)
        scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, sd if self.standardize else 1.0))
        trace = float(np.sum(weight * square * scale**2))
        mean_value = trace / max(float(np.sum(weight[~flat])), np.finfo(float).tiny)
        d = scale * np.sqrt(weight)
        values, vectors = scipy.linalg.eigh(
            gram * d[:, None] * d, overwrite_a=True, check_finite=False, driver="evd"
        )
        values = np.maximum(values, 0.0)
        return Eigen(gamma, members, n, values, mean_value, d[:, None] * vectors, mean, features)

    def _describe(self, basis: Eigen, members: np.ndarray) -> Held:
        n, mean = self._mean(members)
        mean = mean[basis.features]
        offset = basis.vectors.T @ (mean - basis.mean)
        if n < len(basis.features):
            rows = self._rows(members, basis.features).astype(np.float64) - mean
            return Held(members, n, offset, None, (rows @ basis.vectors).astype(self.dtype))
        scatter = basis.vectors.T @ self._scatter(members, basis.features) @ basis.vectors
        return Held(members, n, offset, scatter.astype(self.dtype), None)

    def _rows(self, members: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Give some features of a set's rows, counted from their mean over all rows in use."""
        rows = self._x[self.layout.positions(members), :-1]
        return rows if len(features) == rows.shape[1] else rows[:, features]

    def cross(self, y: np.ndarray) -> Crossed:
        """Cross-products of each atom with targets: all weights, folds and penalties share them."""
        y, centre, sums = self.arrange(y)
        pieces = self.layout.pieces()
        return Crossed(y, centre, sums, np.stack([self._x[at].T @ y[at] for at in pieces]))

    def project(self, basis: Eigen, crossed: Crossed) -> np.ndarray:
        """W, (r, targets)."""
        return self._centred(basis, crossed, basis.members, basis.mean)

    def _centred(
        self, basis: Eigen, crossed: Crossed, members: np.ndarray, mean: np.ndarray
    ) -> np.ndarray:
        """(D V)' C of a set of atoms, with its features centred on `mean`."""
        total = crossed.total(members)
        if len(basis.features) < len(total) - 1:
            total = total[np.r_[basis.features, len(total) - 1]]
        maps = np.column_stack([basis.vectors.T, -(basis.vectors.T @ mean)])
        return maps.astype(self.dtype) @ total

    def targets(self, basis: Eigen, held: Held, crossed: Crossed) -> Targets:
        """Compute what scoring needs of the test targets."""
        y = crossed.y[self.layout.positions(held.members)]
        mean = crossed.mean(held.members, held.n)
        variance = variance_of(y, mean)
        if held.rows is not None:
            return Targets(y, mean, variance)
        centre = self._mean(held.members)[1][basis.features]
        return Targets(self._centred(basis, crossed, held.members, centre), mean, variance)

    def parts(self, basis: Eigen, rows: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
        """Prediction from each space, (rows, targets), in the layout's order."""
        weights = (basis.vectors @ b).astype(self.dtype)
        members = self.layout.members(rows)
        for space in range(self.n_spaces):
            inside = self.space_of[basis.features] == space
            features = basis.features[inside]
            x = self._rows(members, features) - basis.mean[inside].astype(self.dtype)
            yield x @ weights[inside]

    def weights(self, basis: Eigen, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the features as given, (p, targets), and their training means, (p,)."""
        weights = np.zeros((len(self.space_of), b.shape[1]))
        weights[basis.features] = basis.vectors @ b.astype(np.float64)
        return weights, self.centre + self._mean(basis.members)[1]

    def bytes_fixed(self) -> float:
        """Bytes held whatever the number of targets, without the bases."""
        p, s = len(self.space_of) + 1, self.dtype.itemsize
        return (8 + s) * len(self._x) * p + 8 * (self.layout.n_atoms + 6) * p * p

    def bytes_per_target(self, sets: int) -> float:
        """Bytes for each target of a block with `sets` sets of several atoms in use."""
        p, s = len(self.space_of) + 1, self.dtype.itemsize
        return s * (2 * len(self._x) + (self.layout.n_atoms + sets + 5) * p)

    def bytes_per_basis(self) -> float:
        """Bytes of one basis with its test sets."""
        return (8 + 2 * self.dtype.itemsize) * len(self.space_of) ** 2


class KernelWeighted(Weighted):
    """Kernel form: one n x n matrix per space; each training set centres its block of their sum.

    Features cannot be scaled per training set here: with `standardize` they are scaled by their
    standard deviation over all rows in use, which sees held-out stimuli but no responses.

    Parameters
    ----------
    x, layout, space_of, standardize, dtype
        As for `GramWeighted`.
    """

    form = "kernel"

    def __init__(
        self,
        x: np.ndarray,
        layout: Layout,
        space_of: np.ndarray,
        standardize: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        super().__init__(layout, space_of, dtype)
        used = x[layout.order]
        self.centre = used.mean(axis=0, dtype=np.float64)
        sd = used.std(axis=0, dtype=np.float64)
        flat = flat_features(sd, np.zeros_like(sd))
        self.scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, sd if standardize else 1.0))
        self._x = ((used - self.centre) * self.scale).astype(x.dtype, copy=False)
        columns = [np.flatnonzero(self.space_of == space) for space in range(self.n_spaces)]
        self.kernels = np.stack([_kernel(self._x, features) for features in columns])

    def _sum(self, gamma: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Weighted sum of the kernels of some rows with some columns."""
        at = np.ix_(rows, columns)
        total = np.zeros((len(rows), len(columns)))
        for space in np.flatnonzero(gamma):
            total += gamma[space] * self.kernels[space][at]
        return total

    def _at(self, members: np.ndarray) -> np.ndarray:
        """Rows of the kernels that belong to a set."""
        return np.arange(len(self._x))[self.layout.positions(members)]

    def _diagonalise(self, gamma: np.ndarray, members: np.ndarray) -> Eigen:
        at = self._at(members)
        kernel = self._sum(gamma, at, at)
        mean = kernel.mean(axis=0)
        mean = mean - mean.mean() / 2
        kernel = kernel - mean - mean[:, None]
        weight = gamma[self.space_of]
        varying = float(np.sum(weight[self.scale > 0]))
        mean_value = float(np.trace(kernel)) / max(varying, np.finfo(float).tiny)
        values, vectors = scipy.linalg.eigh(
            kernel, overwrite_a=True, check_finite=False, driver="evd"
        )
        # the constant direction and duplicated rows: what is left of them is rounding
        keep = values > len(at) * np.finfo(np.float64).eps * values[-1]
        features = np.flatnonzero(weight > 0)
        return Eigen(
            gamma, members, len(at), values[keep], mean_value, vectors[:, keep], mean, features
        )

    def _test_rows(self, basis: Eigen, members: np.ndarray, gamma: np.ndarray) -> np.ndarray:
        """Z of some rows, (rows, r), for the kernels' sum of the given weights."""
        train = self._at(basis.members)
        kernel = self._sum(gamma, self._at(members), train)
        # a column's training mean comes off; a row's vanishes in the product: U has mean 0
        mean = self._sum(gamma, train, train).mean(axis=0) if gamma is not basis.gamma else None
        return (kernel - (basis.mean if mean is None else mean)) @ basis.vectors

    def _describe(self, basis: Eigen, members: np.ndarray) -> Held:
        z = self._test_rows(basis, members, basis.gamma)
        offset = z.mean(axis=0)
        z = z - offset
        if len(z) < z.shape[1]:
            return Held(members, len(z), offset, None, z.astype(self.dtype))
        return Held(members, len(z), offset, (z.T @ z).astype(self.dtype), None)

    def cross(self, y: np.ndarray) -> Crossed:
        """Make a block of targets ready; `y` is (n, targets), in the order of the design."""
        return Crossed(*self.arrange(y))

    def project(self, basis: Eigen, crossed: Crossed) -> np.ndarray:
        """W, (r, targets)."""
        rows = self.layout.positions(basis.members)
        return basis.vectors.T.astype(self.dtype) @ crossed.y[rows]

    def targets(self, basis: Eigen, held: Held, crossed: Crossed) -> Targets:
        """Compute what scoring needs of the test targets."""
        y = crossed.y[self.layout.positions(held.members)]
        mean = crossed.mean(held.members, held.n)
        variance = variance_of(y, mean)
        if held.rows is not None:
            return Targets(y, mean, variance)
        z = self._test_rows(basis, held.members, basis.gamma) - held.offset
        return Targets(z.T.astype(self.dtype) @ y, mean, variance)

    def parts(self, basis: Eigen, rows: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
        """Prediction from each space, (rows, targets), in the layout's order."""
        members = self.layout.members(rows)
        for space in range(self.n_spaces):
            alone = np.zeros_like(basis.gamma)
            alone[space] = basis.gamma[space]
            yield self._test_rows(basis, members, alone).astype(self.dtype) @ b

    def weights(self, basis: Eigen, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the features as given, (p, targets), and their training means, (p,)."""
        rows = self._x[self.layout.positions(basis.members)]
        dual = basis.vectors @ b.astype(np.float64)
        # the columns of the vectors sum to 0, so the rows need no centring here
        weights = (basis.gamma[self.space_of] * self.scale)[:, None] * (rows.T @ dual)
        back = np.where(self.scale > 0, 1.0 / np.where(self.scale > 0, self.scale, 1.0), 0.0)
        return weights, self.centre + back * rows.mean(axis=0, dtype=np.float64)

    def bytes_fixed(self) -> float:
        """Bytes held whatever the number of targets, without the bases."""
        n, p = self._x.shape
        return self._x.itemsize * 2 * n * p + 8 * (self.n_spaces + 6) * n * n

    def bytes_per_target(self, sets: int) -> float:
        """Bytes for each target of a block with `sets` sets of several atoms in use."""
        return self.dtype.itemsize * 7 * len(self._x)

    def bytes_per_basis(self) -> float:
        """Bytes of one basis with its test sets."""
        return (8 + 2 * self.dtype.itemsize) * len(self._x) ** 2


def flat_features(sd: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Mask of features that do not vary: below 1e-7 of the median, or rounding of their mean."""
    varying = sd[sd > 0]
    typical = float(np.median(varying)) if len(varying) else 0.0
    return sd <= np.maximum(1e-7 * typical, 1e-6 * np.abs(mean))


def _kernel(x: np.ndarray, features: np.ndarray) -> np.ndarray:
    """XX' of some features in float64, without a float64 copy of all of them."""
    kernel = np.zeros((len(x), len(x)))
    for start in range(0, len(features), _CHUNK):
        part = x[:, features[start : start + _CHUNK]].astype(np.float64)
        kernel += part @ part.T
    return kernel
