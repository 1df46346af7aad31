"""Gram (primal) form: one Gram matrix per atom; every training set is a sum of them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from braid.common import InputError, rng
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
from braid.encoding.planner import MANY, stored_atoms

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

    Of more than `MANY` atoms (many random draws of inner folds), whose matrices may take many times
    the memory of the rows, only the sums over all are kept: those of a set are made from its rows,
    or from the others where these are fewer.

    Feature spaces with weights are views of this form (see `weighted`): D G_tr D is diagonalised,
    with D the square roots of the weights and without the features of weight 0. X, G and C stay.

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
    space_of : array of int, (p,), optional
        Space of each feature, 0, 1, ...; all features are one space by default.

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
        space_of: np.ndarray | None = None,
    ) -> None:
        self.name = "streamed" if stream else "gram"
        self.layout, self.standardize, self.backend = layout, standardize, backend
        self.lift, self.lift_centre = lift, centre
        self.dtype = self.held_dtype = np.dtype(dtype)
        self.bases = Bases()
        self._source, self._stream = x, stream
        self._counts: tuple[int, int] | None = None
        self.n_features = self.size = int(x.shape[1])
        self.space_of = np.zeros(self.size, dtype=int) if space_of is None else space_of
        self.n_spaces = int(self.space_of.max(initial=0)) + 1
        self._at: slice | np.ndarray = slice(0, self.size)  # features in use, ...
        self._weight = np.ones(self.size)  # ... and their weights
        self.counts = np.diff(layout.starts)
        self.centre = self._mean_of_all()
        self._x: Array = None
        if not stream:
            self._x = backend.empty((len(layout.order), self.size), self.dtype)
        self._many = layout.n_atoms > MANY
        shape = (stored_atoms(layout.n_atoms), self.size, self.size)
        self._grams = backend.zeros(shape, np.float64)
        self._sums = np.zeros(shape[:2])
        for atom, piece in enumerate(self._stored_pieces()):
            self._add(atom, piece)

    def count_as(self, varying: int, flat: int) -> None:
        """Say how many of the features as given vary and do not, where `x` is a rotation."""
        self._counts = (varying, flat)

    def weighted(self, gamma: np.ndarray) -> GramForm:
        """Give the form of the same features with other weights.

        It shares all but the eigenbases, so that targets made ready for one fit the other too.

        Parameters
        ----------
        gamma : array, (spaces,)
            Weights of 0 or more: space b is penalised by alpha / gamma_b, and left out at 0.
        """
        view = copy.copy(self)
        weight = np.asarray(gamma, dtype=np.float64)[self.space_of]
        features = np.flatnonzero(weight > 0)
        view._at, view._weight, view.size = adjacent(features), weight[features], len(features)
        view.bases = self.bases.view(view.size, gamma)
        return view

    def use(self, dtype: Any) -> None:
        """Go over to another precision of the products; what was made in the last one goes.

        Test rows keep theirs: no term of Z B is larger than |y|, so that rounding there, unlike in
        W, does not grow with the condition of the features.
        """
        self.dtype = np.dtype(dtype)
        self.bases.found.clear()
        if self._stream:
            return
        self._x = self.backend.empty((len(self.layout.order), self.n_features), self.dtype)
        for part, rows in self._read(slice(0, len(self.layout.order))):
            self._x[part] = self.backend.asarray(rows, self.dtype)

    def basis(self, members: np.ndarray) -> Basis:
        """Diagonalise a training set (kept for the next call)."""
        return self.bases.get(members, self._diagonalise)

    def _mean_of_all(self) -> np.ndarray:
        """Mean of the features over the rows in use."""
        total = np.zeros(self.n_features)
        for _, rows in self._read(slice(0, len(self.layout.order)), centred=False):
            total += rows.sum(axis=0)
        if not np.isfinite(total).all():
            column = int(np.flatnonzero(~np.isfinite(total))[0])
            raise InputError(
                f"features: column {column} has values that are not finite; extract them anew"
            )
        return total / len(self.layout.order)

    def _stored_pieces(self) -> list[slice]:
        """Parts of the rows of which sums are kept: each atom, or all of them together."""
        return [slice(0, len(self.layout.order))] if self._many else self.layout.pieces()

    def _parts(self, where: slice | np.ndarray) -> Iterator[slice | np.ndarray]:
        """Places in the layout's order, so many at a time as one chunk holds."""
        step = max(1, CHUNK // max(1, self.n_features))
        if isinstance(where, slice):
            for start in range(where.start, where.stop, step):
                yield slice(start, min(start + step, where.stop))
        else:
            for start in range(0, len(where), step):
                yield where[start : start + step]

    def _read(
        self, where: slice | np.ndarray, centred: bool = True
    ) -> Iterator[tuple[slice | np.ndarray, np.ndarray]]:
        """Chunks of rows of X, given by their place in the layout's order, in float64."""
        for part in self._parts(where):
            rows = self.layout.order[part]
            adjacent = rows[-1] - rows[0] + 1 == len(rows) and np.all(np.diff(rows) == 1)
            chosen = self._source[slice(int(rows[0]), int(rows[-1]) + 1) if adjacent else rows]
            values = np.array(chosen, dtype=np.float64)
            if centred:
                values -= self.centre
            yield part, values

    def _chunks(
        self, where: slice | np.ndarray, at: slice | np.ndarray | None = None
    ) -> Iterator[tuple[slice | np.ndarray, Array]]:
        """Chunks of centred rows of X on the device, in `dtype`: features in use, or those `at`."""
        at = self._at if at is None else at
        if not self._stream:
            # a slice copies nothing
            for part in [where] if isinstance(where, slice) else self._parts(where):
                yield part, self._x[part][:, at]
            return
        for part, rows in self._read(where):
            yield part, self.backend.asarray(rows[:, at], self.dtype)

    def _mean(self, members: np.ndarray) -> tuple[int, np.ndarray]:
        """Rows of a set of atoms, and their mean of the features in use."""
        n = int(self.counts[members].sum())
        if not self._many:
            return n, self._sums[members].sum(axis=0)[self._at] / n
        where, others = self._fewer(members)
        found = np.zeros(self.n_features)
        for _, rows in self._read(where):
            found += rows.sum(axis=0)
        return n, (self._sums[0] - found if others else found)[self._at] / n

    def _fewer(self, members: np.ndarray) -> tuple[slice | np.ndarray, bool]:
        """Places of a set's rows, or of the others where these are fewer; and whether they are."""
        others = bool(self.counts[~members].sum() < self.counts[members].sum())
        chosen = ~members if others else members
        return (self.layout.positions(chosen) if chosen.any() else slice(0, 0)), others

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
        n, mean = self._mean(members)
        gram, before = self._centred_gram(members, mean, n)
        diagonal = np.maximum(self.backend.to_numpy(gram.diagonal()), 0.0)
        direct = self._loses_digits(members, mean, before, diagonal)
        if direct:
            _log.info("ridge: a training set of %d rows is centred directly", n)
            gram = self._direct_gram(members, mean)
            diagonal = np.maximum(self.backend.to_numpy(gram.diagonal()), 0.0)
        sd = np.sqrt(diagonal / n)
        flat = flat_columns(sd, mean)
        scale = column_scale(sd, flat, self.standardize) * np.sqrt(self._weight)
        on_device = self.backend.asarray(scale, np.float64)
        gram *= on_device[:, None]
        gram *= on_device
        values, vectors = self.backend.eigh(gram)
        values = np.maximum(self.backend.to_numpy(values), 0.0)
        # a feature counts with its weight
        varying, constant = self._counts or (self._weight[~flat].sum(), int(np.sum(flat)))
        maps = {"project": self._projector(vectors.T, on_device, mean), "mean": mean}
        mean_eigenvalue = float(values.sum()) / float(varying if varying > 0 else 1)
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
        if self._many:
            total = self._gram_of_rows(members)
        else:
            atoms = np.flatnonzero(members).tolist()
            total = _sum_of(_square(self._grams[atom], self._at) for atom in atoms)
        before = self.backend.to_numpy(total.diagonal()).copy()
        on_device = self.backend.asarray(mean, np.float64)
        for start in range(0, self.size, _ROWS):
            rows = slice(start, start + _ROWS)
            total[rows] -= (n * on_device[rows])[:, None] * on_device
        return total, before

    def _gram_of_rows(self, members: np.ndarray) -> Array:
        """Gram matrix of a set of atoms from its rows, or from those of all the others."""
        where, others = self._fewer(members)
        found = self.backend.zeros((self.size, self.size), np.float64)
        for _, rows in self._read(where):
            values = self.backend.asarray(rows[:, self._at], np.float64)
            found += values.T @ values
        return _square(self._grams[0], self._at) - found if others else found

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
        at = np.arange(self.n_features)[self._at][chosen]
        for span in self.layout.spans(members):
            for _, rows in self._chunks(span, at):
                values = self.backend.cast(rows, np.float64) - on_device
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
        return self.bases.held_out(basis, members, self._describe)

    def _describe(self, basis: Basis, members: np.ndarray) -> HeldOut:
        """Scatter of the test rows, and the rows themselves where they are fewer."""
        backend = self.backend
        n, mean = self._mean(members)
        vectors = backend.cast(self._vectors(basis), np.float64)
        moved = vectors @ backend.asarray(mean - basis.maps["mean"], np.float64)
        offset = backend.to_numpy(moved)
        if n < self.size and not self._stream:
            rows = self._gathered(members) - backend.asarray(mean, np.float64)
            rows = rows @ vectors.T
            upper = backend.cast(backend.qr_upper(rows), self.held_dtype)
            return HeldOut(members, n, offset, upper, backend.cast(rows, self.held_dtype))
        scatter, before = self._centred_gram(members, mean, n)
        diagonal = np.maximum(backend.to_numpy(scatter.diagonal()), 0.0)
        if self._loses_digits(members, mean, before, diagonal):
            scatter = self._direct_gram(members, mean)
        scatter = vectors @ scatter
        scatter = scatter @ vectors.T
        del vectors
        upper = upper_of_scatter(backend, scatter)
        return HeldOut(members, n, offset, backend.cast(upper, self.held_dtype), None)

    def _gathered(self, members: np.ndarray) -> Array:
        """Centred rows of a set of atoms in float64."""
        rows = [chunk for span in self.layout.spans(members) for _, chunk in self._chunks(span)]
        return self.backend.cast(
            rows[0] if len(rows) == 1 else self.backend.concatenate(rows), np.float64
        )

    def cross(self, y: Array) -> Crossed:
        """Cross-products of each atom with targets; folds, penalties and weights share them."""
        backend, layout = self.backend, self.layout
        y = backend.asarray(y, self.dtype)
        sums, squares = crossed_sums(backend, layout, y)
        # the last row holds the sums of y, the last matrix the sum of the others
        n_matrices = 1 if self._many else layout.n_atoms + 1
        products = backend.empty((n_matrices, self.n_features + 1, y.shape[1]), self.dtype)
        for atom, piece in enumerate(self._stored_pieces()):
            started = False
            for part, rows in self._chunks(piece, slice(0, self.n_features)):
                found = rows.T @ y[part]
                if started:
                    products[atom, :-1] += found
                else:
                    products[atom, :-1] = found
                started = True
        if self._many:
            products[0, -1] = backend.asarray(sums.sum(axis=0), self.dtype)
        else:
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
            y = crossed.y[self.layout.positions(held.members)]
            return held.rows.T @ self.backend.cast(y, self.held_dtype)
        if basis.direct:
            _, mean = self._mean(held.members)
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
        products = crossed.products
        at: slice | np.ndarray = slice(0, self.n_features + 1)
        if self.size < self.n_features:
            features = np.arange(self.n_features)[self._at]
            at = adjacent(np.append(features, self.n_features))
        if self._many:
            return self._products_of_rows(crossed, members)[at]
        atoms, others = (np.flatnonzero(mask).tolist() for mask in (members, ~members))
        if len(atoms) == 1:
            return products[atoms[0]][at]
        if not len(others):
            return products[-1][at]
        # less the others only where these are the smaller part, so that no digits are lost
        if len(others) < len(atoms) and self.counts[others].sum() < self.counts[atoms].sum():
            total = products[-1][at] - products[others[0]][at]
            for atom in others[1:]:
                total -= products[atom][at]
            return total
        return _sum_of(products[atom][at] for atom in atoms)

    def _products_of_rows(self, crossed: Crossed, members: np.ndarray) -> Array:
        """Cross-products of a set of atoms from its rows, or from those of all the others."""
        assert crossed.products is not None
        where, others = self._fewer(members)
        chosen = ~members if others else members
        if crossed.last is None or crossed.last[0] != chosen.tobytes():
            found = self.backend.zeros(crossed.products.shape[1:], self.dtype)
            for part, rows in self._chunks(where, slice(0, self.n_features)):
                found[:-1] += rows.T @ crossed.y[part]
            sums = crossed.sums[chosen].sum(axis=0)
            found[-1] = self.backend.asarray(sums, self.dtype)
            # without an embargo, what training leaves out is what is tested next
            crossed.last = chosen.tobytes(), found
        return crossed.products[0] - crossed.last[1] if others else crossed.last[1]

    def predict(
        self, basis: Basis, members: np.ndarray, b: Array, space: int | None = None
    ) -> Array:
        """Z B for the rows of `members`, in the layout's order, without the targets' mean.

        With `space`, from the features of that space alone, counted from their training means:
        the predictions from all spaces add up to Z B.
        """
        at: slice | np.ndarray = self._at
        inside: slice | np.ndarray = slice(0, self.size)
        if space is not None:
            features = np.arange(self.n_features)[self._at]
            inside = adjacent(np.flatnonzero(self.space_of[features] == space))
            at = adjacent(features[inside])
        weights = self._vectors(basis)[:, inside].T @ b
        mean = self.backend.asarray(basis.maps["mean"][inside], self.dtype)
        found = [
            (rows - mean) @ weights if basis.direct else rows @ weights - mean @ weights
            for span in self.layout.spans(members)
            for _, rows in self._chunks(span, at)
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
        centre = backend.asarray(self.centre[self._at] + basis.maps["mean"], np.float64)
        constant = -(centre @ backend.cast(weights, np.float64))
        if self.size < self.n_features:
            found, weights = weights, backend.zeros((self.n_features, b.shape[1]), self.dtype)
            weights[self._at] = found
        if self.lift is not None and self.lift_centre is not None:
            weights = (weights.T @ backend.asarray(self.lift.T, self.dtype)).T
            lifted = backend.asarray(self.lift_centre, np.float64)
            constant = constant - lifted @ backend.cast(weights, np.float64)
        return weights, backend.to_numpy(constant)


def _sum_of(matrices: Iterable[Array]) -> Array:
    """Sum of one or more matrices, as a new array."""
    rest = iter(matrices)
    total = next(rest) + next(rest, 0.0)
    for matrix in rest:
        total += matrix
    return total


def _square(matrix: Array, at: slice | np.ndarray) -> Array:
    """Part of a square matrix between some features."""
    return matrix[at, at] if isinstance(at, slice) else matrix[at[:, None], at]
