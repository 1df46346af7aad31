"""Cross-validated banded ridge in scikit-learn's shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from braid.encoding.backend import backend_for
from braid.encoding.band_search import (
    N_ITER,
    PRUNE,
    Choice,
    check_gammas,
    choose_bands,
    draw_gammas,
)
from braid.encoding.banded import SplitR2, banded_bytes, refit, split_r2
from braid.encoding.estimator import LinearRegressor
from braid.encoding.folds import Fold, Split
from braid.encoding.grid import make_grid
from braid.encoding.planner import MEMORY_MB
from braid.encoding.spaces import SpacesFit, labels_of_targets, spaces_of_groups


class BandedRidgeCV(LinearRegressor):
    """Ridge on weighted feature spaces: weights and penalty per target, by cross-validation.

    Space b is penalised by alpha / gamma_b, with gamma on the simplex; the intercept is not
    penalised. With one space this is `RidgeCV`.

    Parameters
    ----------
    groups : array-like of labels, (p,), or None
        Feature space of each feature; None: all are one space.
    n_iter : int
        Random weightings that are tried beside the uniform one and each space alone.
    gammas : array-like, (draws, spaces), optional
        Weightings to try instead; rows are scaled to sum to 1.
    alphas : array-like
        Penalties to choose from.
    alpha_scale : {"absolute", "trace"}
        `trace`: penalties count in mean eigenvalues of the spaces' Gram matrices.
    cv : int, splitter or iterable of (train, test)
        Folds that choose. An int gives contiguous folds, as time series need.
    select : {"r", "r2", "mse"}
        What the folds maximise (`mse`: minimise).
    standardize : bool
        Scale features by their standard deviation.
    form : {"auto", "gram", "streamed", "kernel"}
    prune : float
        Draws in the worst share `prune` for every target after the first fold are dropped.
    target_groups : array-like of labels, (targets,), optional
        Targets of one group share their weighting (not their penalty).
    refine : int
        Further draws around the winners.
    random_state : int
        Seed of the draws.
    memory_mb : float
        Limit from which the block of targets follows.
    device : {"cpu", "auto", "cuda"}
    backend : {"numpy", "torch"}, optional
        Array library, instead of the device's own (for tests).

    Attributes
    ----------
    spaces_ : numpy.ndarray, (spaces,)
        Labels of the feature spaces, in order of appearance.
    gamma_ : numpy.ndarray, (spaces,) or (spaces, targets)
        Weights of the spaces.
    alpha_ : float or numpy.ndarray, (targets,)
        Penalties, absolute, for the weighted spaces.
    coef_ : numpy.ndarray, (features,) or (targets, features)
    intercept_ : float or numpy.ndarray, (targets,)
    validation_ : float or numpy.ndarray, (targets,)
        Mean of the criterion over the folds; NaN where nothing was to choose.
    feature_mean_ : numpy.ndarray, (features,)
        Of the training rows.
    n_tried_, n_dropped_ : int
        Weightings tried, and those of them dropped after the first fold.
    form_ : str
    """

    def __init__(
        self,
        groups: Any = None,
        n_iter: int = N_ITER,
        gammas: Any = None,
        alphas: Any = (0.1, 1.0, 10.0),
        alpha_scale: str = "absolute",
        cv: Any = 5,
        select: str = "r2",
        standardize: bool = False,
        form: str = "auto",
        prune: float = PRUNE,
        target_groups: Any = None,
        refine: int = 0,
        random_state: int = 0,
        memory_mb: float = MEMORY_MB,
        device: str = "cpu",
        backend: str | None = None,
    ) -> None:
        self.groups = groups
        self.n_iter = n_iter
        self.gammas = gammas
        self.alphas = alphas
        self.alpha_scale = alpha_scale
        self.cv = cv
        self.select = select
        self.standardize = standardize
        self.form = form
        self.prune = prune
        self.target_groups = target_groups
        self.refine = refine
        self.random_state = random_state
        self.memory_mb = memory_mb
        self.device = device
        self.backend = backend

    def fit(self, X: Any, y: Any) -> BandedRidgeCV:
        """Choose weights and penalties, and fit all rows once.

        Parameters
        ----------
        X : array-like, (n, p)
        y : array-like, (n,) or (n, targets)
        """
        X, y = validate_data(
            self, X, y, multi_output=True, y_numeric=True, dtype=[np.float64, np.float32]
        )
        grid = make_grid(np.atleast_1d(self.alphas), self.alpha_scale)
        space_of, labels = spaces_of_groups(self.groups, X.shape[1])
        gammas = (
            draw_gammas(len(labels), self.n_iter, self.random_state)
            if self.gammas is None
            else check_gammas(self.gammas, len(labels))
        )
        y2 = y.reshape(len(y), -1).astype(X.dtype, copy=False)
        rows = np.arange(len(X))
        splits = tuple(Split(*split) for split in check_cv(self.cv).split(X, y2))
        fold = Fold("all", rows, rows, splits)
        fit = SpacesFit(
            X, space_of, y2, [fold], grid, self.standardize, self.form, X.dtype,
            backend_for(self.device, self.backend), self.memory_mb,
            banded_bytes(X.shape, gammas, grid, [fold]),
        )  # fmt: skip
        choice, self.n_tried_, self.n_dropped_ = _only_choice(gammas, y2.shape[1]), 1, 0
        if len(gammas) > 1 or len(grid.values) > 1:
            choice, trials = choose_bands(
                fit,
                fold,
                gammas,
                self.select,
                self.prune,
                labels_of_targets(self.target_groups, y2.shape[1]),
                self.refine,
                self.random_state,
            )
            self.n_tried_ = len(trials.gammas)
            self.n_dropped_ = int(np.count_nonzero(~trials.kept))
        weights, intercept, alpha = refit(fit, rows, choice)
        self.feature_mean_ = X.mean(axis=0, dtype=np.float64)
        self.form_, self.spaces_, self._space_of = fit.form, labels, space_of
        coef, single = weights.T, y.ndim == 1
        self.coef_ = coef[0] if single else coef
        self.gamma_ = choice.gamma[:, 0] if single else choice.gamma
        self.alpha_ = float(alpha[0]) if single else alpha
        self.intercept_ = float(intercept[0]) if single else intercept
        self.validation_ = float(choice.validation[0]) if single else choice.validation
        return self

    def split_r2(self, X: Any, y: Any) -> SplitR2:
        """Split the R2 of held-out rows over the spaces (see `braid.encoding.banded.split_r2`).

        Parameters
        ----------
        X : array-like, (n, p)
        y : array-like, (n,) or (n, targets)

        Returns
        -------
        SplitR2
            With `parts` (spaces, targets), in the order of `spaces_`; a single target counts as
            one column.
        """
        check_is_fitted(self)
        X, y = validate_data(
            self,
            X,
            y,
            reset=False,
            multi_output=True,
            y_numeric=True,
            dtype=[np.float64, np.float32],
        )
        coef = np.atleast_2d(self.coef_).T
        centred = X - self.feature_mean_
        parts = [
            centred[:, self._space_of == space] @ coef[self._space_of == space]
            for space in range(len(self.spaces_))
        ]
        constant = np.atleast_1d(self.intercept_) + self.feature_mean_ @ coef
        return split_r2(y.reshape(len(y), -1).astype(np.float64), parts, constant)


def _only_choice(gammas: np.ndarray, n_targets: int) -> Choice:
    """Choice where there is one weighting and one penalty."""
    first = np.zeros(n_targets, dtype=int)
    return Choice(gammas[:1], first, first, np.full(n_targets, np.nan))
