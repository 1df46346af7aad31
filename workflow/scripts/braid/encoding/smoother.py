"""Fixed penalties as one matrix per fold: predictions of the test rows = S times training rows.

With n_te and n_tr rows, S costs 2 n_te n_tr per target and fold, whatever the number of features.
Where that is less than the way through the features, and many sets of targets share their
penalties (draws of a permutation test), it is the cheaper way to the same scores.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from braid.encoding.backend import Array
from braid.encoding.forms import correlation, factors
from braid.encoding.solver import Problem


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


def pays(problem: Problem, alpha: np.ndarray, memory_mb: float) -> bool:
    """Whether smoother matrices are clearly cheaper than the way through the features.

    They must also fit into half of the memory limit.
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
    return dual < 0.7 * direct and stored < 0.5 * memory_mb * 2**20
