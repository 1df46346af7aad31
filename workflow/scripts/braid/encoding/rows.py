"""Forms that work on rows: the kernel form for more features than rows, and the SVD form."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from braid.encoding.backend import NUMPY, Array, Backend
from braid.encoding.forms import (
    Bases,
    Basis,
    Crossed,
    HeldOut,
    adjacent,
    column_scale,
    crossed_sums,
    flat_columns,
    upper_of_scatter,
)
from braid.encoding.layout import Layout

_CHUNK = 512  # columns of X that are held in float64 at a time


class RowForm(ABC):
    """Ridge through a map R of the training rows (W = R'Y) and a map Z of the test rows."""

    name: str

    def __init__(self, layout: Layout, dtype: Any, backend: Backend) -> None:
        self.layout, self.backend = layout, backend
        self.dtype = self.held_dtype = np.dtype(dtype)
        self.bases = Bases()
        self.size = len(layout.order)

    @abstractmethod
    def _diagonalise(self, members: np.ndarray) -> Basis:
        """Basis with `maps["loadings"]` = R, (n_train, r), in `dtype`."""

    @abstractmethod
    def rows_of(self, basis: Basis, members: np.ndarray) -> Array:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""

    @abstractmethod
    def expect(self, basis: Basis, n_targets: int) -> None:
        """Get ready for the weights of so many targets."""

    @abstractmethod
    def weights(self, basis: Basis, b: Array) -> tuple[Array, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,)."""

    def basis(self, members: np.ndarray) -> Basis:
        """Diagonalise a training set (kept for the next call)."""
        return self.bases.get(members, self._diagonalise)

    def held_out(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Describe test rows in a basis (kept for the next call)."""
        return self.bases.held_out(basis, members, self._describe)

    def _describe(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Centred rows of the test set, and the root of their scatter."""
        backend = self.backend
        z = self.rows_of(basis, members)
        offset = z.mean(axis=0)
        z = z - offset
        if z.shape[0] < z.shape[1]:
            upper = backend.qr_upper(z)
        else:
            upper = upper_of_scatter(backend, z.T @ z)
        return HeldOut(
            members,
            len(z),
            backend.to_numpy(offset),
            backend.cast(upper, self.held_dtype),
            backend.cast(z, self.held_dtype),
        )

    def cross(self, y: Array) -> Crossed:
        """Sum the targets over each atom."""
        y = self.backend.asarray(y, self.dtype)
        return Crossed(y, *crossed_sums(self.backend, self.layout, y))

    def loadings(self, basis: Basis) -> Array:
        """R, (training rows, r), float64, in the layout's order."""
        return self.backend.cast(basis.maps["loadings"], np.float64)

    def project(self, basis: Basis, crossed: Crossed) -> Array:
        """W, (r, targets)."""
        spans, start, found = self.layout.spans(basis.members), 0, None
        for span in spans:
            size = span.stop - span.start
            part = basis.maps["loadings"][start : start + size].T @ crossed.y[span]
            found = part if found is None else found + part
            start += size
        return found

    def test_cross(self, basis: Basis, held: HeldOut, crossed: Crossed) -> Array:
        """H = Zc'Y of the test rows, (r, targets)."""
        assert held.rows is not None
        return held.rows.T @ crossed.y[self.layout.positions(held.members)]

    def predict(self, basis: Basis, members: np.ndarray, b: Array) -> Array:
        """Z B for the rows of `members`, in the layout's order, without the targets' mean."""
        return self.backend.cast(self.rows_of(basis, members), self.dtype) @ b


class KernelForm(RowForm):
    """Ridge through the n x n kernel K = XX', for designs with more features than rows.

    K is made once, in float64; each training set centres and diagonalises its own block of it.
    Features can therefore not be scaled per training set: with `standardize` they are scaled by
    their standard deviation over all rows in use, which sees held-out stimuli but no responses.

    Feature spaces have a kernel each, of which K is the sum; with weights it is sum gamma_b K_b
    (see `weighted`).

    Parameters
    ----------
    scaled : Scaled
        The features.
    layout : Layout
    dtype : numpy dtype
    backend : Backend
    kernel : array, (rows in use, rows in use), optional
        XX' of the scaled features where it is known; not with `space_of`.
    space_of : array of int, (p,), optional
        Space of each feature, 0, 1, ...; all features are one space by default.
    """

    name = "kernel"

    def __init__(
        self,
        scaled: Scaled,
        layout: Layout,
        dtype: Any = np.float32,
        backend: Backend = NUMPY,
        kernel: Array | None = None,
        space_of: np.ndarray | None = None,
    ) -> None:
        super().__init__(layout, dtype, backend)
        self.scaled = scaled
        self.space_of = np.zeros(len(scaled.scale), dtype=int) if space_of is None else space_of
        self.n_spaces = int(self.space_of.max(initial=0)) + 1
        self._gamma = np.ones(self.n_spaces)
        self._kernel: Array | None = None
        self._kernels: list[Array] = [kernel]
        if kernel is None:
            columns = [np.flatnonzero(self.space_of == space) for space in range(self.n_spaces)]
            self._kernels = [gram_of_rows(scaled.x, backend, one) for one in columns]

    def weighted(self, gamma: np.ndarray) -> KernelForm:
        """Give the form of the same features with other weights.

        It shares the features and each space's kernel; their sum is made once.

        Parameters
        ----------
        gamma : array, (spaces,)
            Weights of 0 or more: space b is penalised by alpha / gamma_b, and left out at 0.
        """
        view = copy.copy(self)
        view._gamma, view._kernel = np.asarray(gamma, dtype=np.float64), None
        view.bases = self.bases.view(view.size, gamma)
        return view

    @property
    def kernel(self) -> Array:
        """Sum of the spaces' kernels, weighted."""
        if self.n_spaces == 1 and self._gamma[0] == 1:
            return self._kernels[0]
        if self._kernel is None:
            self._kernel = self.backend.zeros((self.size, self.size), np.float64)
            for space in np.flatnonzero(self._gamma).tolist():
                self._kernel += float(self._gamma[space]) * self._kernels[space]
        return self._kernel

    @property
    def n_zero(self) -> int:
        """Features that do not vary over the rows in use."""
        return int(np.count_nonzero(self.scaled.scale == 0))

    def _block(self, kernel: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
        """Part of a kernel between two sets of atoms, as a new array."""
        at = np.arange(self.size)
        first, second = (at[self.layout.positions(members)] for members in (rows, columns))
        return kernel[first[:, None], second]

    def _decompose(self, members: np.ndarray) -> tuple[np.ndarray, Array, Array, Array]:
        """Eigenvalues and vectors of the centred training block, and the means it had."""
        backend, kernel = self.backend, self._block(self.kernel, members, members)
        means = kernel.mean(axis=0)
        grand = means.mean()
        kernel -= means
        kernel -= means[:, None] - grand
        n = len(kernel)
        on_device, vectors = backend.eigh(kernel)
        values = backend.to_numpy(on_device)
        # the constant direction and duplicated rows: what is left of them is rounding
        first = int(np.searchsorted(values, n * np.finfo(np.float64).eps * values[-1], "right"))
        return values[first:], vectors[:, first:], means, grand

    def _diagonalise(self, members: np.ndarray) -> Basis:
        """Centre and diagonalise the training block of the kernel."""
        backend, n = self.backend, int(np.diff(self.layout.starts)[members].sum())
        values, vectors, means, grand = self._decompose(members)
        # a feature counts with its weight
        varying = float(self._gamma[self.space_of[self.scaled.scale != 0]].sum())
        mean_eigenvalue = float(values.sum()) / (varying if varying > 0 else 1.0)
        maps = {"loadings": backend.cast(vectors, self.dtype), "outside": None}
        basis = Basis(members, n, values, mean_eigenvalue, self.n_zero, maps)
        if members.all() or self.n_spaces > 1:
            # weights are fitted on all rows, if at all; predictions from one space on any
            basis.maps["exact"] = vectors
        if not members.all():
            # Z is made from vectors in float64: small directions are small differences
            outside = self._block(self.kernel, ~members, members)
            outside -= outside.mean(axis=1)[:, None] + means
            outside += grand
            maps["outside"] = outside @ vectors
        return basis

    def predict(
        self, basis: Basis, members: np.ndarray, b: Array, space: int | None = None
    ) -> Array:
        """Z B for the rows of `members`, in the layout's order, without the targets' mean.

        With `space`, from the features of that space alone, counted from their training means:
        the predictions from all spaces add up to Z B.
        """
        if space is None:
            return super().predict(basis, members, b)
        kernel = self._kernels[space]
        block = self._block(kernel, members, basis.members)
        block -= self._block(kernel, basis.members, basis.members).mean(axis=0)
        # null directions of the kernel need not sum to 0
        block -= block.mean(axis=1)[:, None]
        block *= float(self._gamma[space])
        return self.backend.cast(block @ self._exact(basis), self.dtype) @ b

    def rows_of(self, basis: Basis, members: np.ndarray) -> Array:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""
        backend, n = self.backend, self.size
        inside = np.arange(n)[self.layout.positions(basis.members)]
        outside = np.setdiff1d(np.arange(n), inside)
        at = np.empty(n, dtype=int)
        at[inside], at[outside] = np.arange(len(inside)), np.arange(len(outside))
        wanted = np.arange(n)[self.layout.positions(members)]
        trained = np.isin(wanted, inside)
        out = backend.empty((len(wanted), len(basis.eigenvalues)), np.float64)
        if trained.any():
            found = backend.cast(basis.maps["loadings"][at[wanted[trained]]], np.float64)
            eigenvalues = backend.asarray(basis.eigenvalues, np.float64)
            out[np.flatnonzero(trained)] = found * eigenvalues
        if not trained.all():
            out[np.flatnonzero(~trained)] = basis.maps["outside"][at[wanted[~trained]]]
        return out

    def weights(self, basis: Basis, b: Array) -> tuple[Array, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,)."""
        backend = self.backend
        if "primal" in basis.maps:
            # as rows of targets, so that a transposed copy is never made
            weights = (b.T @ basis.maps["primal"].T).T
        else:
            # small directions of X are small differences of the dual weights: in float64
            dual = self._exact(basis) @ backend.cast(b, np.float64)
            weights = self._times_rows(basis, dual)
        added = backend.cast(weights.T, np.float64) @ backend.asarray(self._mean(basis), np.float64)
        return weights, -backend.to_numpy(added)

    def expect(self, basis: Basis, n_targets: int) -> None:
        """Get ready for the weights of so many targets: X'U pays where they are many."""
        self._exact(basis)
        if n_targets >= len(basis.eigenvalues) and "primal" not in basis.maps:
            found = self._times_rows(basis, self._exact(basis))
            basis.maps["primal"] = self.backend.cast(found, self.dtype)

    def _exact(self, basis: Basis) -> Array:
        """Eigenvectors of a training set in float64; made anew for the first weights of a part."""
        if "exact" not in basis.maps:
            basis.maps["exact"] = self._decompose(basis.members)[1]
        return basis.maps["exact"]

    def _times_rows(self, basis: Basis, dual: Array) -> Array:
        """Scaled, centred X' of the training rows times dual weights, (p, columns), float64."""
        backend, scaled = self.backend, self.scaled
        # centring X is centring these; null directions of the kernel need not sum to 0
        dual = dual - dual.mean(axis=0)
        out = backend.empty((scaled.x.shape[1], dual.shape[1]), np.float64)
        positions = self.layout.positions(basis.members)
        for start in range(0, len(out), _CHUNK):
            part = slice(start, start + _CHUNK)
            # the columns of the vectors sum to 0, so the rows need no centring
            rows = backend.asarray(scaled.x[positions, part], np.float64)
            weight = self._gamma[self.space_of[part]]
            scale = backend.asarray(scaled.scale[part] * weight, np.float64)
            out[part] = scale[:, None] * (rows.T @ dual)
        return out

    def _mean(self, basis: Basis) -> np.ndarray:
        """Mean of the features as given over the training rows."""
        scaled = self.scaled
        if "mean" not in basis.maps:
            rows = scaled.x[self.layout.positions(basis.members)]
            mean = rows.mean(axis=0, dtype=np.float64)
            flat = scaled.scale == 0
            basis.maps["mean"] = scaled.centre + mean / np.where(flat, 1.0, scaled.scale) * ~flat
        return basis.maps["mean"]


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
    backend : Backend
    """

    name = "svd"

    def __init__(
        self,
        x: np.ndarray,
        layout: Layout,
        standardize: bool = True,
        dtype: Any = np.float64,
        backend: Backend = NUMPY,
    ) -> None:
        super().__init__(layout, dtype, backend)
        used = np.asarray(x[layout.order], dtype=np.float64)
        self.centre = used.mean(axis=0)
        used -= self.centre
        self.x = backend.asarray(used, np.float64)
        self.standardize = standardize

    def _diagonalise(self, members: np.ndarray) -> Basis:
        """Centre, scale and decompose the training rows."""
        backend, rows = self.backend, self.x[self.layout.positions(members)]
        n, mean = len(rows), rows.mean(axis=0)
        rows = rows - mean
        sd = np.sqrt(backend.to_numpy(backend.column_dot(rows, rows)) / n)
        flat = flat_columns(sd, backend.to_numpy(mean))
        scale = backend.asarray(column_scale(sd, flat, self.standardize), np.float64)
        rows *= scale
        left, singular, right = backend.svd(rows)
        left *= singular
        values = backend.to_numpy(singular) ** 2
        varying = max(int(np.count_nonzero(~flat)), 1)
        maps = {
            "loadings": backend.cast(left, self.dtype),
            "vectors": (right * scale).T,
            "mean": mean,
        }
        return Basis(members, n, values, float(values.sum()) / varying, int(flat.sum()), maps)

    def rows_of(self, basis: Basis, members: np.ndarray) -> Array:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""
        return (self.x[self.layout.positions(members)] - basis.maps["mean"]) @ basis.maps["vectors"]

    def expect(self, basis: Basis, n_targets: int) -> None:
        """Get ready for the weights of so many targets: nothing to do here."""

    def weights(self, basis: Basis, b: Array) -> tuple[Array, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,)."""
        backend = self.backend
        weights = basis.maps["vectors"] @ backend.cast(b, np.float64)
        mean = backend.asarray(self.centre, np.float64) + basis.maps["mean"]
        return weights, -backend.to_numpy(mean @ weights)


class Scaled:
    """Features centred and scaled by constants over all rows in use.

    Attributes
    ----------
    x : numpy.ndarray of float32 or float64, (rows in use, p)
        In the layout's order.
    centre, scale : numpy.ndarray of float64, (p,)
        Scale 0 marks a feature that does not vary.
    """

    def __init__(self, x: np.ndarray, layout: Layout, standardize: bool) -> None:
        self.x = x[layout.order]
        self.centre, self.scale = np.empty(x.shape[1]), np.empty(x.shape[1])
        sd = np.empty(x.shape[1])
        for start in range(0, x.shape[1], _CHUNK):
            part = slice(start, start + _CHUNK)
            self.centre[part] = self.x[:, part].mean(axis=0, dtype=np.float64)
            sd[part] = self.x[:, part].std(axis=0, dtype=np.float64)
        flat = flat_columns(sd, np.zeros_like(sd))
        self.scale = column_scale(sd, flat, standardize)
        for start in range(0, x.shape[1], _CHUNK):
            part = slice(start, start + _CHUNK)
            self.x[:, part] = (self.x[:, part] - self.centre[part]) * self.scale[part]


def gram_of_rows(
    x: np.ndarray, backend: Backend = NUMPY, columns: np.ndarray | None = None
) -> Array:
    """XX' of all or some columns in float64, in chunks so that no float64 copy of X is held."""
    kernel = backend.zeros((len(x), len(x)), np.float64)
    columns = np.arange(x.shape[1]) if columns is None else columns
    for start in range(0, len(columns), _CHUNK):
        part = backend.asarray(x[:, adjacent(columns[start : start + _CHUNK])], np.float64)
        kernel += part @ part.T
    return kernel


def low_rank(kernel: Array, backend: Backend, most: int) -> tuple[np.ndarray, Array] | None:
    """Eigenvalues and vectors of a kernel whose rank is at most `most`; None if it is higher."""
    n = len(kernel)
    top = float(kernel.diagonal().max()) if n else 0.0
    eps = np.finfo(np.float64).eps
    # a positive definite block with more rows than that settles it without the eigenvalues
    some = np.linspace(0, n - 1, min(most + 1, n)).astype(int)
    block = kernel[some[:, None], some]
    shift = n * eps * top
    block -= backend.asarray(np.diag(np.full(len(some), shift)), np.float64)
    if len(some) > most and backend.cholesky_upper(block) is not None:
        return None
    on_device, vectors = backend.eigh(kernel + 0.0)
    values = backend.to_numpy(on_device)
    first = int(np.searchsorted(values, n * eps * max(values[-1], 0.0), "right"))
    if not 0 < n - first <= most:
        return None
    return values[first:], vectors[:, first:]
