"""Cross-validated ridge in scikit-learn's shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from braid.encoding.backend import backend_for
from braid.encoding.blocks import run_blocks
from braid.encoding.folds import Fold, Split
from braid.encoding.grid import make_grid
from braid.encoding.planner import MEMORY_MB, Plan
from braid.encoding.solver import Problem, centred, fit_fixed, fit_selected, plan_for, prepare


class LinearRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """What estimators with `coef_` and `intercept_` have in common."""

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : array-like, (n, p)

        Returns
        -------
        numpy.ndarray, (n,) or (n, targets)
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return X @ self.coef_.T + self.intercept_


class RidgeCV(LinearRegressor):
    """Ridge with one penalty per target, chosen by cross-validation.

    The intercept is not penalised. The solver is that of `braid.encoding.solver`.

    Parameters
    ----------
    alphas : array-like
        Penalties to choose from.
    alpha_scale : {"absolute", "trace", "squared"}
        `trace`: penalties count in mean eigenvalues of the training rows' Gram matrix.
        `squared`: penalties are the squares of the alphas, as in Huth-lab code.
    cv : int, splitter or iterable of (train, test)
        Folds that choose the penalty. An int gives contiguous folds, as time series need.
    select : {"r", "r2", "mse", "signed_root_r2"}
        What the folds maximise (`mse`: minimise; see `cross_validate`).
    standardize : bool
        Scale features by their standard deviation.
    form : {"auto", "gram", "streamed", "kernel", "svd"}
    memory_mb : float
        Limit from which the block of targets follows.
    device : {"cpu", "auto", "cuda"}
    backend : {"numpy", "torch"}, optional
        Array library, instead of the device's own (for tests).

    Attributes
    ----------
    alpha_ : float or numpy.ndarray, (targets,)
        Chosen penalties, absolute.
    coef_ : numpy.ndarray, (features,) or (targets, features)
    intercept_ : float or numpy.ndarray, (targets,)
    form_ : str
        Form of the solver that was used.
    """

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0),
        alpha_scale: str = "absolute",
        cv: Any = 5,
        select: str = "r2",
        standardize: bool = False,
        form: str = "auto",
        memory_mb: float = MEMORY_MB,
        device: str = "cpu",
        backend: str | None = None,
    ) -> None:
        self.alphas = alphas
        self.alpha_scale = alpha_scale
        self.cv = cv
        self.select = select
        self.standardize = standardize
        self.form = form
        self.memory_mb = memory_mb
        self.device = device
        self.backend = backend

    def fit(self, X: Any, y: Any) -> RidgeCV:
        """Choose penalties and fit all rows.

        Parameters
        ----------
        X : array-like, (n, p)
        y : array-like, (n,) or (n, targets)
        """
        X, y = validate_data(
            self, X, y, multi_output=True, y_numeric=True, dtype=[np.float64, np.float32]
        )
        grid = make_grid(np.atleast_1d(self.alphas), self.alpha_scale)
        y2 = y.reshape(len(y), -1).astype(X.dtype, copy=False)
        rows = np.arange(len(X))
        splits = tuple(Split(*split) for split in _splits(self.cv, X, y2))
        fold = Fold("all", rows, rows, splits)
        backend = backend_for(self.device, self.backend)
        alpha = np.empty(y2.shape[1])
        coef = np.empty((y2.shape[1], X.shape[1]), dtype=X.dtype)
        intercept = np.empty(y2.shape[1])

        def make(form: str) -> tuple[Problem, Plan]:
            problem = prepare(
                X, [fold], grid, self.standardize, form,
                dtype=X.dtype.type, backend=backend, memory_mb=self.memory_mb,
            )  # fmt: skip
            return problem, plan_for(
                problem, X.shape[1], y2.shape[1], len(grid.values),
                memory_mb=self.memory_mb, target_bytes=y2.itemsize,
            )  # fmt: skip

        def work(problem: Problem, part: slice) -> None:
            block, mean = centred(problem.arrange(y2[:, part]))
            if len(grid.values) == 1:
                basis = problem.form.basis(problem.form.layout.members(rows))
                alpha[part] = grid.absolute(basis.mean_eigenvalue)[0]
                weights, added = fit_fixed(problem, block, rows, alpha[part])
            else:
                weights, added, alpha[part] = fit_selected(problem, block, fold, grid, self.select)
            coef[part], intercept[part] = weights.T, added + mean

        problem = run_blocks(make, self.form, y2.shape[1], work, backend).problem
        self.form_ = problem.form.name
        single = y.ndim == 1
        self.alpha_ = float(alpha[0]) if single else alpha
        self.coef_ = coef[0] if single else coef
        self.intercept_ = float(intercept[0]) if single else intercept
        return self


def _splits(cv: Any, x: np.ndarray, y: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Pairs of training and test rows."""
    return check_cv(cv).split(x, y)
