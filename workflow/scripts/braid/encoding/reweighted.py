"""The reweighted Gram form: ridge on rows that count with weights, for bootstraps.

With G_b and C_b the Gram matrix and cross-products of a group of rows, and w_b how often it counts,

    G_w = sum of w_b G_b,   C_w = sum of w_b C_b,

so that other weights cost one decomposition per training set, which all targets share. Everything
is float64 on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from braid.common import InputError
from braid.encoding.backend import NUMPY
from braid.encoding.folds import Fold
from braid.encoding.forms import Basis, column_scale, correlation, flat_columns, shrunk
from braid.encoding.layout import Layout, layout_of
from braid.encoding.planner import MB
from braid.encoding.rows import Scaled, gram_of_rows, low_rank
from braid.encoding.solver import mean_over_folds

_BATCH = 16  # weightings whose Gram matrices are summed in one product
_COARSE = 3  # rows per piece from which on sums over pieces are cheaper than over rows


@dataclass(frozen=True)
class Pieces:
    """Rows of one group and one atom of the layout: `rows[starts[i]:starts[i + 1]]`."""

    rows: np.ndarray
    starts: np.ndarray
    group: np.ndarray
    atom: np.ndarray

    def summed(self, values: np.ndarray, weights: np.ndarray, atoms: int) -> np.ndarray:
        """Weighted sums over the pieces of each atom, (weightings, atoms, ...)."""
        flat = values.reshape(len(values), -1)
        out = np.empty((len(weights), atoms, flat.shape[1]), dtype=values.dtype)
        for atom in range(atoms):
            members = np.flatnonzero(self.atom == atom)
            chosen = weights[:, self.group[members]].astype(values.dtype)
            np.matmul(chosen, flat[members], out=out[:, atom])
        return out.reshape(len(weights), atoms, *values.shape[1:])


@dataclass(frozen=True)
class Ready:
    """Targets made ready: cross-products of the pieces or the targets themselves, and squares."""

    crossed: np.ndarray
    squares: np.ndarray


class Reweighted:
    """A design made ready for ridge with any weights on groups of its rows.

    Gram matrices of each atom come from those of the pieces, stored, where pieces hold several
    rows and fit into memory; else from the weighted rows.

    Parameters
    ----------
    x : array, (n, p)
        With more features than rows, they are scaled by their standard deviation over all rows
        in use and rotated onto the rows without loss.
    folds : sequence of Fold
        Outer folds.
    group : array of int, (n,)
        Group of each row that the folds use, 0, 1, ...
    standardize : bool
        Scale features by their standard deviation over the weighted training rows.
    memory_mb : float

    Raises
    ------
    InputError
        If a row that the folds use has no group.
    """

    def __init__(
        self,
        x: np.ndarray,
        folds: Sequence[Fold],
        group: np.ndarray,
        standardize: bool,
        memory_mb: float,
    ) -> None:
        layout = layout_of(len(x), list(folds), nested=False)
        self.splits = [(layout.members(fold.train), layout.members(fold.test)) for fold in folds]
        self.pieces = _pieces(layout, group)
        self.n_atoms, self.memory = layout.n_atoms, memory_mb * MB
        features, self.standardize = _features(x, layout, standardize)
        # a column of ones carries the sums
        self.x = np.ones((len(self.pieces.rows), features.shape[1] + 1))
        self.x[:, :-1] = features[self.pieces.rows]
        self.bounds = np.r_[self.pieces.starts, len(self.x)]
        first = np.searchsorted(self.pieces.atom, np.arange(self.n_atoms + 1))
        self._atoms = [slice(*self.bounds[[a, b]]) for a, b in pairwise(first)]
        self.coarse = len(self.x) >= _COARSE * len(self.pieces.group)
        self._stored: np.ndarray | None = None
        if self.coarse and 8.0 * len(self.pieces.group) * self.x.shape[1] ** 2 <= 0.4 * self.memory:
            self._stored = self._of_pieces(self.x)

    @property
    def batch(self) -> int:
        """Weightings at a time that the memory allows."""
        each = 8 * self.n_atoms * self.x.shape[1] ** 2
        return int(np.clip(0.2 * self.memory // each, 1, _BATCH))

    def width(self, n_targets: int) -> int:
        """Targets at a time that the memory allows."""
        q, pieces = self.x.shape[1], len(self.pieces.group)
        each = 8.0 * (q * self.batch * self.n_atoms + 4 * len(self.x) + q * pieces * self.coarse)
        return int(np.clip(0.4 * self.memory // each, 1, n_targets))

    def ready(self, y: np.ndarray) -> Ready:
        """Make some targets, (n, targets), ready for all weightings."""
        block = y[self.pieces.rows].astype(np.float64)
        block -= block.mean(axis=0)
        squares = np.add.reduceat(block**2, self.pieces.starts, axis=0)
        return Ready(self._of_pieces(block) if self.coarse else block, squares)

    def scores(self, ready: Ready, weights: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """Held-out r for every weighting, trained with it, mean over folds.

        Parameters
        ----------
        ready : Ready
        weights : array, (weightings, groups)
        alpha : array, (folds, targets)

        Returns
        -------
        numpy.ndarray of float64, (weightings, targets)
        """
        grams, crossed = self._grams(weights), self._crossed(ready.crossed, weights)
        squares = self.pieces.summed(ready.squares, weights, self.n_atoms)
        found = np.empty((len(self.splits), len(weights), crossed.shape[-1]))
        for number, (train, test) in enumerate(self.splits):
            for draw in range(len(weights)):
                trained = grams[draw][train].sum(axis=0), crossed[draw][train].sum(axis=0)
                tested = grams[draw][test].sum(axis=0), crossed[draw][test].sum(axis=0)
                found[number, draw] = _score(
                    *trained,
                    *tested,
                    squares[draw][test].sum(axis=0),
                    alpha[number],
                    self.standardize,
                )
        return mean_over_folds(found)

    def _of_pieces(self, values: np.ndarray) -> np.ndarray:
        """Products of the features with some columns, (pieces, q, columns)."""
        return np.stack([self.x[a:b].T @ values[a:b] for a, b in pairwise(self.bounds)])

    def _of_rows(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Weighted products of the features with some columns, (weightings, atoms, q, columns)."""
        out = np.zeros((len(weights), self.n_atoms, self.x.shape[1], values.shape[1]))
        sizes = np.diff(self.bounds)
        for draw, chosen in enumerate(weights):
            of_row = np.repeat(chosen[self.pieces.group], sizes)
            for atom, part in enumerate(self._atoms):
                drawn = part.start + np.flatnonzero(of_row[part])
                out[draw, atom] = (self.x[drawn] * of_row[drawn, None]).T @ values[drawn]
        return out

    def _grams(self, weights: np.ndarray) -> np.ndarray:
        """Gram matrices, (weightings, atoms, q, q)."""
        if self._stored is None:
            return self._of_rows(self.x, weights)
        return self.pieces.summed(self._stored, weights, self.n_atoms)

    def _crossed(self, ready: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Cross-products with targets, (weightings, atoms, q, targets)."""
        if not self.coarse:
            return self._of_rows(ready, weights)
        return self.pieces.summed(ready, weights, self.n_atoms)


def _pieces(layout: Layout, group: np.ndarray) -> Pieces:
    """Sort the rows in use by atom and group."""
    atom, group = layout.atom[layout.order], group[layout.order]
    if np.any(group < 0):
        raise InputError("bootstrap: a row that the folds use has no block; make blocks of them")
    order = np.lexsort((group, atom))
    atom, group = atom[order], group[order]
    starts = np.r_[0, np.flatnonzero((np.diff(atom) != 0) | (np.diff(group) != 0)) + 1]
    return Pieces(layout.order[order], starts, group[starts], atom[starts])


def _features(x: np.ndarray, layout: Layout, standardize: bool) -> tuple[np.ndarray, bool]:
    """Centred features, rotated onto the rows if there are more of them than rows."""
    n, p = len(layout.order), x.shape[1]
    if p <= n:
        out = np.zeros((len(x), p))
        used = x[layout.order].astype(np.float64)
        out[layout.order] = used - used.mean(axis=0)
        return out, standardize
    scaled = Scaled(x.astype(np.float64), layout, standardize)
    found = low_rank(gram_of_rows(scaled.x), NUMPY, n)
    if found is None:
        raise InputError("features: none of them varies; extract them anew")
    values, vectors = found
    out = np.zeros((len(x), len(values)))
    out[layout.order] = vectors * np.sqrt(values)
    return out, False


def _centred(gram: np.ndarray, crossed: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Gram matrix and cross-products about the weighted means, and the sum of the weights."""
    n = float(gram[-1, -1])
    mean, y_mean = gram[:-1, -1] / n, crossed[-1] / n
    return (
        gram[:-1, :-1] - n * np.outer(mean, mean),
        crossed[:-1] - n * np.outer(mean, y_mean),
        n,
    )


def _score(
    gram_train: np.ndarray,
    crossed_train: np.ndarray,
    gram_test: np.ndarray,
    crossed_test: np.ndarray,
    squares_test: np.ndarray,
    alpha: np.ndarray,
    standardize: bool,
) -> np.ndarray:
    """Held-out r of one fold and one weighting, (targets,)."""
    gram, crossed, n_train = _centred(gram_train, crossed_train)
    sd = np.sqrt(np.maximum(np.diag(gram), 0.0) / n_train)
    flat = flat_columns(sd, gram_train[:-1, -1] / n_train)
    scale = column_scale(sd, flat, standardize)
    values, vectors = NUMPY.eigh(gram * scale[:, None] * scale)
    vectors = vectors * scale[:, None]
    members = np.ones(1, dtype=bool)
    basis = Basis(members, round(n_train), np.maximum(values, 0.0), 1.0, int(flat.sum()), {})
    b = vectors @ shrunk(NUMPY, basis, vectors.T @ crossed, alpha)
    scatter, crossed, n = _centred(gram_test, crossed_test)
    raw = squares_test / n
    of_y = raw - (crossed_test[-1] / n) ** 2
    variance = NUMPY.column_dot(b, scatter @ b) / n
    covariance = NUMPY.column_dot(b, crossed) / n
    # what rounding leaves of a constant column is not variance
    of_y = np.where(of_y > 64 * np.finfo(np.float64).eps * raw, of_y, 0.0)
    return correlation(basis, alpha, covariance, variance, of_y)
