"""Fixed penalties as one matrix per fold: predictions of the test rows = S times training rows.

With n_te and n_tr rows, S costs 2 n_te n_tr per target and fold, whatever the number of features.
Where that is less than the way through the features, and many sets of targets share their
penalties (draws of a permutation test), it is the cheaper way to the same scores.

S y is a sum over the pieces of the training rows (atoms: runs, where runs are the folds). Where
draws leave each piece in one of few arrangements (a run of n rows has fewer than n circular
shifts), the product is made once per arrangement, and a draw only adds them up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from braid.encoding.backend import Array
from braid.encoding.forms import correlation, factors
from braid.encoding.layout import Layout
from braid.encoding.solver import Problem

_STRIP = 256  # terms of a sum that are added in single precision
_CACHED = 2**16  # numbers of each kind that are at work at a time

Pieces = Sequence[tuple[np.ndarray, np.ndarray]]
"""By atom: (distinct arrangements, rows), and the arrangement of each draw."""


@dataclass(frozen=True)
class Arranged:
    """What draws make of each atom's rows: every distinct arrangement once.

    Attributes
    ----------
    rows : list of numpy.ndarray of int, (distinct arrangements, rows of the atom)
        By atom; which row each row takes its response from.
    code : numpy.ndarray of int, (atoms, draws)
        Arrangement of each atom in each draw.
    """

    rows: list[np.ndarray]
    code: np.ndarray

    def share(self) -> float:
        """Products that are made per arrangement instead of per draw, as a share."""
        return sum(len(rows) for rows in self.rows) / self.code.size

    def few(self) -> bool:
        """Whether arrangements are so few that making products per arrangement pays."""
        return self.share() < 0.6


def arrangements(layout: Layout, rows: np.ndarray) -> Arranged:
    """Find the distinct arrangements of each atom.

    Parameters
    ----------
    layout : Layout
    rows : array of int, (draws, n)
        Row i takes the response of row `rows[draw, i]`.
    """
    found, code = [], np.empty((layout.n_atoms, len(rows)), dtype=np.intp)
    for atom, piece in enumerate(layout.pieces()):
        distinct, inverse = np.unique(rows[:, layout.order[piece]], axis=0, return_inverse=True)
        found.append(distinct)
        code[atom] = inverse.ravel()
    return Arranged(found, code)


class Smoothers:
    """Smoother matrices of all outer folds, made when first asked for.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._found: dict[tuple[int, float], Array] = {}

    def matrix(self, number: int, alpha: float) -> Array:
        """S of an outer fold at a penalty, (test rows, training rows), in the layout's order.

        Its columns are centred over the test rows: predictions lack a constant, which Pearson r
        does not see.
        """
        key = (number, alpha)
        if key not in self._found:
            form, fold = self.problem.form, self.problem.folds[number]
            basis = form.basis(form.layout.members(fold.train))
            factor = form.backend.asarray(factors(basis, np.array([alpha]))[:, 0], np.float64)
            test = form.rows_of(basis, form.layout.members(fold.test))
            test = (test - test.mean(axis=0)) * factor
            found = test @ form.loadings(basis).T
            self._found[key] = form.backend.cast(found, form.dtype)
        return self._found[key]

    def score(self, y: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """Held-out r of every outer fold, (folds, targets).

        Parameters
        ----------
        y : array, (rows in use, targets)
            Arranged and centred targets.
        alpha : array, (folds,)
            One penalty per fold, for all targets.
        """
        form, layout = self.problem.form, self.problem.form.layout
        backend = form.backend
        y = backend.asarray(y, form.dtype)
        eps = np.finfo(form.dtype).eps
        out = np.empty((len(self.problem.folds), y.shape[1]))
        for number, fold in enumerate(self.problem.folds):
            members = layout.members(fold.train)
            basis = form.basis(members)
            predicted = self.matrix(number, float(alpha[number])) @ y[layout.positions(members)]
            test = y[layout.positions(layout.members(fold.test))]
            n = len(test)
            mean = backend.to_numpy(backend.column_sum(test)) / n
            square = backend.to_numpy(backend.column_dot(test, test)) / n
            variance = square - mean**2
            variance[variance <= 8 * eps * square] = 0.0
            out[number] = correlation(
                basis,
                alpha[number],
                backend.to_numpy(backend.column_dot(predicted, test)) / n,
                backend.to_numpy(backend.column_dot(predicted, predicted)) / n,
                variance,
            )
        return out

    def score_arranged(self, y: np.ndarray, arranged: Arranged, alpha: np.ndarray) -> np.ndarray:
        """Held-out r of every outer fold and draw, (folds, draws, targets), NumPy only.

        Parameters
        ----------
        y : array, (n, targets)
            Centred targets in the original order of the rows.
        arranged : Arranged
        alpha : array, (folds, targets)
        """
        shape = (len(self.problem.folds), arranged.code.shape[1], y.shape[1])
        out = np.empty(shape)
        for target, response in enumerate(np.ascontiguousarray(y.T)):
            values = [response[rows] for rows in arranged.rows]
            for number in range(shape[0]):
                penalty = float(alpha[number, target])
                out[number, :, target] = self._score_fold(number, values, arranged.code, penalty)
        return out

    def _score_fold(
        self, number: int, values: list[np.ndarray], code: np.ndarray, alpha: float
    ) -> np.ndarray:
        """Held-out r of a target in one outer fold, (draws,)."""
        form, fold = self.problem.form, self.problem.folds[number]
        members, tested = form.layout.members(fold.train), form.layout.members(fold.test)
        matrix = self.matrix(number, alpha)
        predicted, begin = [], 0
        for atom in np.flatnonzero(members):
            end = begin + values[atom].shape[1]
            # one product for all arrangements
            predicted.append((values[atom] @ matrix[:, begin:end].T, code[atom]))
            begin = end
        test = [(values[atom], code[atom]) for atom in np.flatnonzero(tested)]
        covariance, spread = _products(predicted, test)
        n = sum(rows.shape[1] for rows, _ in test)
        return correlation(
            form.basis(members), alpha, covariance / n, spread / n, _variance(test, n)
        )


def _products(predicted: Pieces, test: Pieces) -> tuple[np.ndarray, np.ndarray]:
    """Sum prediction x response, and prediction x prediction, over the test rows.

    Predictions are sums over the atoms; those of few draws are made at a time, so that they stay
    in the processor's cache.

    Returns
    -------
    covariance, spread : numpy.ndarray of float64, (draws,)
    """
    draws, n = len(predicted[0][1]), predicted[0][0].shape[1]
    count = max(1, _CACHED // n)
    total = np.empty((min(count, draws), n), dtype=predicted[0][0].dtype)
    term, response = np.empty_like(total), np.empty_like(total)
    covariance, spread = np.empty(draws), np.empty(draws)
    for first in range(0, draws, count):
        batch = slice(first, min(first + count, draws))
        now = slice(0, batch.stop - first)
        for number, (part, code) in enumerate(predicted):
            # codes are in range: clipping spares `take` a buffer
            out = total if number == 0 else term
            np.take(part, code[batch], axis=0, out=out[now], mode="clip")
            if number:
                total[now] += term[now]
        end = 0
        for rows, code in test:
            begin, end = end, end + rows.shape[1]
            response[now, begin:end] = rows[code[batch]]
        covariance[batch] = _dot(total[now], response[now])
        spread[batch] = _dot(total[now], total[now])
    return covariance, spread


def _variance(test: Pieces, n: int) -> np.ndarray:
    """Variance of the responses over the test rows in every draw, (draws,)."""
    # of every arrangement once
    squares = [_dot(rows, rows)[code] for rows, code in test]
    sums = [rows.sum(axis=1, dtype=np.float64)[code] for rows, code in test]
    square, mean = np.sum(squares, axis=0) / n, np.sum(sums, axis=0) / n
    variance = square - mean**2
    variance[variance <= 8 * np.finfo(test[0][0].dtype).eps * square] = 0.0
    return np.asarray(variance)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Sum of a * b over the rows, accumulated in float64 over strips."""
    total = np.zeros(len(a))
    for start in range(0, a.shape[1], _STRIP):
        strip = slice(start, start + _STRIP)
        total += np.einsum("di,di->d", a[:, strip], b[:, strip])
    return total


def groups_of(alpha: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Targets that share their penalties in all folds.

    Parameters
    ----------
    alpha : array, (folds, targets)

    Yields
    ------
    penalties : numpy.ndarray, (folds,)
    targets : numpy.ndarray of int
    """
    penalties, code = np.unique(alpha, axis=1, return_inverse=True)
    order = np.argsort(code.ravel(), kind="stable")
    starts = np.searchsorted(code.ravel()[order], np.arange(penalties.shape[1] + 1))
    for group in range(penalties.shape[1]):
        yield penalties[:, group], order[starts[group] : starts[group + 1]]


def pays(problem: Problem, alpha: np.ndarray, memory_mb: float, share: float = 1.0) -> bool:
    """Whether smoother matrices are clearly cheaper than the way through the features.

    They must also fit into half of the memory limit. `share` is that of the products of the
    smoothers which are made (see `Arranged`).
    """
    form, dual, direct, stored = problem.form, 0.0, 0.0, 0.0
    if form.name == "streamed":
        return False
    n = len(form.layout.order)
    for number, fold in enumerate(problem.folds):
        basis = form.basis(form.layout.members(fold.train))
        r, n_test, n_train = basis.eigenvalues.size, len(fold.test), len(fold.train)
        dual += 2.0 * n_test * n_train
        stored += np.unique(alpha[number]).size * n_test * n_train * form.dtype.itemsize
        if form.name == "gram":
            direct += 2.0 * r * r + (2.0 * n_test * r if n_test < r else 4.0 * r * r)
        else:
            direct += 2.0 * n_train * r + 2.0 * n_test * r
    if form.name == "gram":
        direct += 2.0 * n * r
    return share * dual < 0.7 * direct and stored < 0.5 * memory_mb * 2**20
