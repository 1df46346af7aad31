"""Gram (primal) form: one Gram matrix per atom; every training set is a sum of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from braid.common import InputError, rng
from braid.encoding.backend import NUMPY, Array, Backend
from braid.encoding.forms import (
    Bases,
    Basis,
    Crossed,
    HeldOut,
    column_scale,
    crossed_sums,
    flat_columns,
    upper_of_scatter,
)
from braid.encoding.layout import Layout

CHUNK = 2**20  # numbers of X that are held in float64 at a time
_CHECKED = 16  # columns whose variance is computed a second time
_ROWS = 256  # rows of a matrix that are changed at a time
_WRONG = 1e-4  # relative error of a variance from which a training set is centred directly

_log = logging.getLogger(__name__)


class GramForm:
    """Ridge through p x p Gram matrices, for designs with fewer features than rows.

    With G and C the Gram and cross-product matrices of the atoms, and n, m the rows and mean of
    a training set,

        G_tr = sum of G - n m m',   C_tr = sum of C - n m y0'.

    Gram matrices are accumulated and diagonalised in float64; products with targets run in
    `dtype`. Where a training set's mean is so far from that of all rows that these differences
    lose digits, its own centred rows are used instead.

    Parameters
    ----------
    x : array-like, (n, p)
        With `stream` anything that has a shape and gives rows by slices or arrays of ints: a
        memory map, an xarray variable. It is then read in chunks, at every block of targets
        anew. Gram matrices are float64 there too: what float32 would round in them counts as
        often as the largest eigenvalue exceeds the penalty.
    layout : Layout
    standardize : bool
        Scale each feature by its standard deviation over the training set at hand.
    dtype : numpy dtype
    lift : array, (q, p), optional
        Where x = (x0 - centre) lift for features x0 as the user gave them: weights are lifted
        back.
    centre : array, (q,), optional
    backend : Backend
    stream : bool

    Raises
    ------
    InputError
        If a feature is not finite.
    """

    def __init__(
        self,
        x: Any,
        layout: Layout,
        standardize: bool = True,
        dtype: Any = np.float32,
        lift: np.ndarray | None = None,
        centre: np.ndarray | None = None,
        backend: Backend = NUMPY,
        stream: bool = False,
    ) -> None:
        self.name = "streamed" if stream else "gram"
        self.layout, self.standardize, self.backend = layout, standardize, backend
        self.lift, self.lift_centre = lift, centre
        self.dtype = np.dtype(dtype)
        self.bases = Bases()
        self._source, self._stream = x, stream
        self._counts: tuple[int, int] | None = None
        self.size = int(x.shape[1])
        self.counts = np.diff(layout.starts)
        self.centre = self._mean_of_all()
        self._x: Array = None
        if not stream:
            self._x = backend.empty((len(layout.order), self.size), self.dtype)
        shape = (layout.n_atoms, self.size, self.size)
        self._grams = backend.zeros(shape, np.float64)
        self._sums = np.zeros(shape[:2])
        for atom, piece in enumerate(layout.pieces()):
            self._add(atom, piece)

    def count_as(self, varying: int, flat: int) -> None:
        """Say how many of the features as given vary and do not, where `x` is a rotation."""
        self._counts = (varying, flat)

    def use(self, dtype: Any) -> None:
        """Go over to another precision of the products; what was made in the last one goes."""
        self.dtype = np.dtype(dtype)
        self.bases.found.clear()
        if self._stream:
            return
        self._x = self.backend.empty((len(self.layout.order), self.size), self.dtype)
        for part, rows in self._read(slice(0, len(self.layout.order))):
            self._x[part] = self.backend.asarray(rows, self.dtype)

    def basis(self, members: np.ndarray) -> Basis:
        """Diagonalise a training set (kept for the next call)."""
        return self.bases.get(members, self._diagonalise)

    def _mean_of_all(self) -> np.ndarray:
        """Mean of the features over the rows in use."""
        total = np.zeros(self.size)
        for _, rows in self._read(slice(0, len(self.layout.order)), centred=False):
            total += rows.sum(axis=0)
        if not np.isfinite(total).all():
            column = int(np.flatnonzero(~np.isfinite(total))[0])
            raise InputError(
                f"features: column {column} has values that are not finite; extract them anew"
            )
        return total / len(self.layout.order)

    def _read(self, where: slice, centred: bool = True) -> Iterator[tuple[slice, np.ndarray]]:
        """Chunks of rows of X, given by their place in the layout's order, in float64."""
        step = max(1, CHUNK // max(1, self.size))
        for start in range(where.start, where.stop, step):
            part = slice(start, min(start + step, where.stop))
            rows = self.layout.order[part]
            adjacent = rows[-1] - rows[0] + 1 == len(rows) and np.all(np.diff(rows) == 1)
            chosen = self._source[slice(int(rows[0]), int(rows[-1]) + 1) if adjacent else rows]
            values = np.array(chosen, dtype=np.float64)
            if centred:
                values -= self.centre
            yield part, values

    def _chunks(self, where: slice) -> Iterator[tuple[slice, Array]]:
        """Chunks of centred rows of X on the device, in `dtype`."""
        if not self._stream:
            yield where, self._x[where]
            return
        for part, rows in self._read(where):
            yield part, self.backend.asarray(rows, self.dtype)

    def _add(self, atom: int, piece: slice) -> None:
        """Add an atom's rows to its Gram matrix and sums."""
        for part, rows in self._read(piece):
            self._sums[atom] += rows.sum(axis=0)
            values = self.backend.asarray(rows, np.float64)
            self._grams[atom] += values.T @ values
            if not self._stream:
                self._x[part] = self.backend.asarray(rows, self.dtype)

    def _diagonalise(self, members: np.ndarray) -> Basis:
        """Centre, scale and diagonalise the Gram matrix of a training set."""
        n = int(self.counts[members].sum())
        mean = self._sums[members].sum(axis=0) / n
        gram, before = self._centred_gram(members, mean, n)
        diagonal = np.maximum(self.backend.to_numpy(gram.diagonal()), 0.0)
        direct = self._loses_digits(members, mean, before, diagonal)
        if direct:
            _log.info("ridge: a training set of %d rows is centred directly", n)
            gram = self._direct_gram(members, mean)
            diagonal = np.maximum(self.backend.to_numpy(gram.diagonal()), 0.0)
        sd = np.sqrt(diagonal / n)
        flat = flat_columns(sd, mean)
        scale = column_scale(sd, flat, self.standardize)
        on_device = self.backend.asarray(scale, np.float64)
        gram *= on_device[:, None]
        gram *= on_device
        values, vectors = self.backend.eigh(gram)
        values = np.maximum(self.backend.to_numpy(values), 0.0)
        varying, constant = self._counts or (int(np.sum(~flat)), int(np.sum(flat)))
        maps = {"project": self._projector(vectors.T, on_device, mean), "mean": mean}
        mean_eigenvalue = float(values.sum()) / max(varying, 1)
        return Basis(members, n, values, mean_eigenvalue, constant, maps, direct)

    def _projector(self, vectors: Array, scale: Array, mean: np.ndarray) -> Array:
        """Map of the (uncentred) cross-products of a training set to W, (r, p + 1)."""
        project = self.backend.empty((self.size, self.size + 1), self.dtype)
        vectors *= scale
        project[:, :-1] = vectors
        shift = vectors @ self.backend.asarray(mean, np.float64)
        project[:, -1] = -self.backend.cast(shift, self.dtype)
        return project

    def _centred_gram(
        self, members: np.ndarray, mean: np.ndarray, n: int
    ) -> tuple[Array, np.ndarray]:
        """Gram matrix of a set of atoms, centred, and its diagonal before that."""
        total = _sum_of(self._grams, members)
        before = self.backend.to_numpy(total.diagonal()).copy()
        on_device = self.backend.asarray(mean, np.float64)
        for start in range(0, self.size, _ROWS):
            rows = slice(start, start + _ROWS)
            total[rows] -= (n * on_device[rows])[:, None] * on_device
        return total, before

    def _loses_digits(
        self, members: np.ndarray, mean: np.ndarray, before: np.ndarray, diagonal: np.ndarray
    ) -> bool:
        """Whether centring by differences is too inexact for a training set.

        Bounded for every column by what `dtype` keeps of the difference, and measured on a few.
        """
        n = int(self.counts[members].sum())
        flat = flat_columns(np.sqrt(diagonal / n), mean)
        kept = np.flatnonzero(~flat)
        if not len(kept):
            return False
        if np.any(np.finfo(self.dtype).eps * before[kept] > _WRONG * diagonal[kept]):
            return True
        chosen = rng(0, "cancellation guard").choice(kept, min(_CHECKED, len(kept)), replace=False)
        total, on_device = np.zeros(len(chosen)), self.backend.asarray(mean[chosen], np.float64)
        for span in self.layout.spans(members):
            for _, rows in self._chunks(span):
                values = self.backend.cast(rows[:, chosen], np.float64) - on_device
                total += self.backend.to_numpy(self.backend.column_dot(values, values))
        return bool(np.any(np.abs(diagonal[chosen] - total) > _WRONG * total))

    def _direct_gram(self, members: np.ndarray, mean: np.ndarray) -> Array:
        """Gram matrix of the centred rows of a set of atoms."""
        gram = self.backend.zeros((self.size, self.size), np.float64)
        on_device = self.backend.asarray(mean, np.float64)
        for span in self.layout.spans(members):
            for _, rows in self._chunks(span):
                values = self.backend.cast(rows, np.float64) - on_device
                gram += values.T @ values
        return gram

    def _vectors(self, basis: Basis) -> Array:
        """Scaled eigenvectors as rows, (r, p)."""
        return basis.maps["project"][:, :-1]

    def held_out(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Describe test rows in a basis (kept for the next call)."""
        key = members.tobytes()
        if key not in basis.held:
            basis.held[key] = self._describe(basis, members)
        return basis.held[key]

    def _describe(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Scatter of the test rows, and the rows themselves where they are fewer."""
        backend = self.backend
        n = int(self.counts[members].sum())
        mean = self._sums[members].sum(axis=0) / n
        vectors = backend.cast(self._vectors(basis), np.float64)
        moved = vectors @ backend.asarray(mean - basis.maps["mean"], np.float64)
        offset = backend.to_numpy(moved)
        if n < self.size and not self._stream:
            rows = self._gathered(members) - backend.asarray(mean, np.float64)
            rows = rows @ vectors.T
            upper = backend.cast(backend.qr_upper(rows), self.dtype)
            return HeldOut(members, n, offset, upper, backend.cast(rows, self.dtype))
        scatter, before = self._centred_gram(members, mean, n)
        diagonal = np.maximum(backend.to_numpy(scatter.diagonal()), 0.0)
        if self._loses_digits(members, mean, before, diagonal):
            scatter = self._direct_gram(members, mean)
        scatter = vectors @ scatter
        scatter = scatter @ vectors.T
        del vectors
        upper = upper_of_scatter(backend, scatter)
        return HeldOut(members, n, offset, backend.cast(upper, self.dtype), None)

    def _gathered(self, members: np.ndarray) -> Array:
        """Centred rows of a set of atoms in float64."""
        rows = [chunk for span in self.layout.spans(members) for _, chunk in self._chunks(span)]
        return self.backend.cast(
            rows[0] if len(rows) == 1 else self.backend.concatenate(rows), np.float64
        )

    def cross(self, y: Array) -> Crossed:
        """Cross-products of each atom with targets; all folds and penalties share them."""
        backend, layout = self.backend, self.layout
        y = backend.asarray(y, self.dtype)
        sums, squares = crossed_sums(backend, layout, y)
        # the last row holds the sums of y, the last matrix the sum of the others
        shape = (layout.n_atoms + 1, self.size + 1, y.shape[1])
        products = backend.empty(shape, self.dtype)
        for atom, piece in enumerate(layout.pieces()):
            started = False
            for part, rows in self._chunks(piece):
                found = rows.T @ y[part]
                if started:
                    products[atom, :-1] += found
                else:
                    products[atom, :-1] = found
                started = True
        products[:-1, -1] = backend.asarray(sums, self.dtype)
        products[-1] = products[:-1].sum(axis=0)
        return Crossed(y, sums, squares, products)

    def project(self, basis: Basis, crossed: Crossed) -> Array:
        """W, (r, targets)."""
        if basis.direct:
            return self._through_rows(basis, basis.members, basis.maps["mean"], crossed)
        return basis.maps["project"] @ self._products_of(crossed, basis.members)

    def test_cross(self, basis: Basis, held: HeldOut, crossed: Crossed) -> Array:
        """H = Zc'Y of the test rows, (r, targets)."""
        if held.rows is not None:
            return held.rows.T @ crossed.y[self.layout.positions(held.members)]
        if basis.direct:
            mean = self._sums[held.members].sum(axis=0) / held.n
            return self._through_rows(basis, held.members, mean, crossed)
        found = basis.maps["project"] @ self._products_of(crossed, held.members)
        sums = crossed.sums[held.members].sum(axis=0)
        # the projector centres on the training mean
        offset = self.backend.asarray(held.offset, self.dtype)
        found -= offset[:, None] * self.backend.asarray(sums, self.dtype)
        return found

    def _through_rows(
        self, basis: Basis, members: np.ndarray, mean: np.ndarray, crossed: Crossed
    ) -> Array:
        """V' of the rows, centred on `mean`, times the targets: without differences of sums."""
        found, on_device = 0.0, self.backend.asarray(mean, np.float64)
        for span in self.layout.spans(members):
            for part, rows in self._chunks(span):
                values = self.backend.cast(rows, np.float64) - on_device
                found = found + self.backend.cast(values, self.dtype).T @ crossed.y[part]
        return self._vectors(basis) @ found

    def _products_of(self, crossed: Crossed, members: np.ndarray) -> Array:
        """Cross-products of a set of atoms: their sum, or that of all less the others."""
        assert crossed.products is not None
        atoms, others = np.flatnonzero(members), np.flatnonzero(~members)
        if len(atoms) == 1:
            return crossed.products[int(atoms[0])]
        if not len(others):
            return crossed.products[-1]
        # less the others only where these are the smaller part, so that no digits are lost
        if len(others) < len(atoms) and self.counts[others].sum() < self.counts[atoms].sum():
            total = crossed.products[-1] - crossed.products[int(others[0])]
            for atom in others[1:]:
                total -= crossed.products[int(atom)]
            return total
        return _sum_of(crossed.products, members)

    def predict(self, basis: Basis, members: np.ndarray, b: Array) -> Array:
        """Z B for the rows of `members`, in the layout's order, without the targets' mean."""
        weights = self._vectors(basis).T @ b
        mean = self.backend.asarray(basis.maps["mean"], self.dtype)
        found = [
            (rows - mean) @ weights if basis.direct else rows @ weights - mean @ weights
            for span in self.layout.spans(members)
            for _, rows in self._chunks(span)
        ]
        return found[0] if len(found) == 1 else self.backend.concatenate(found)

    def rows_of(self, basis: Basis, members: np.ndarray) -> Array:
        """Z of the rows of `members`, (n, r), float64, in the layout's order."""
        rows = self._gathered(members) - self.backend.asarray(basis.maps["mean"], np.float64)
        return rows @ self.backend.cast(self._vectors(basis), np.float64).T

    def loadings(self, basis: Basis) -> Array:
        """R, (training rows, r), float64, in the layout's order."""
        return self.rows_of(basis, basis.members)

    def expect(self, basis: Basis, n_targets: int) -> None:
        """Get ready for the weights of so many targets: nothing to do here."""

    def weights(self, basis: Basis, b: Array) -> tuple[Array, np.ndarray]:
        """Weights of the features as given, (p, targets), and what to add, (targets,)."""
        backend = self.backend
        # as rows of targets, so that a transposed copy is never made
        weights = (b.T @ self._vectors(basis)).T
        centre = backend.asarray(self.centre + basis.maps["mean"], np.float64)
        constant = -(centre @ backend.cast(weights, np.float64))
        if self.lift is not None and self.lift_centre is not None:
            weights = (weights.T @ backend.asarray(self.lift.T, self.dtype)).T
            lifted = backend.asarray(self.lift_centre, np.float64)
            constant = constant - lifted @ backend.cast(weights, np.float64)
        return weights, backend.to_numpy(constant)


def _sum_of(matrices: Array, members: np.ndarray) -> Array:
    """Sum of the atoms' matrices over a set, as a new array."""
    atoms = [int(atom) for atom in np.flatnonzero(members)]
    if len(atoms) == 1:
        return matrices[atoms[0]] + 0.0
    total = matrices[atoms[0]] + matrices[atoms[1]]
    for atom in atoms[2:]:
        total += matrices[atom]
    return total
