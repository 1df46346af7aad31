"""What is compared: each function fits one case and gives (alphas, weights) or null scores.

All centre features and targets on the training rows, choose among the same penalties on the same
contiguous folds by mean squared error, in float32, and end with weights (features, targets).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from cases import ALPHAS, FOLDS, Case, Setting, blocks, shifts


def braid_cv(case: Case, x: np.ndarray, y: np.ndarray, device: str) -> dict[str, np.ndarray]:
    """`braid.encoding.RidgeCV` with its defaults."""
    from sklearn.model_selection import KFold

    from braid.encoding import RidgeCV

    on = {} if device == "cpu" else {"device": device}
    model = RidgeCV(alphas=ALPHAS, cv=KFold(FOLDS), select="mse", **on).fit(x, y)
    return {"alpha": model.alpha_, "weights": model.coef_.T, "form": np.array(model.form_)}


def braid_sweep(case: Case, x: np.ndarray, y: np.ndarray, device: str) -> Callable[[], float]:
    """Sweep over all folds and penalties with the decompositions already made.

    The function that is given runs it once and says its floating-point operations: of the
    products only, as `workflow/scripts/braid/encoding/README.md` counts them.
    """
    from sklearn.model_selection import KFold

    from braid.encoding import Fold, Split
    from braid.encoding.grid import make_grid
    from braid.encoding.solver import centred, plan_for, prepare, select_alpha

    grid, rows = make_grid(ALPHAS, "absolute"), np.arange(case.n)
    splits = tuple(Split(*split) for split in KFold(FOLDS).split(x))
    fold = Fold("all", rows, rows, splits)
    on = {} if device == "cpu" else {"device": device}
    problem = prepare(x, [fold], grid, standardize=False, **on)
    block = centred(problem.arrange(y[:, : plan_for(problem, case.p, case.t, len(ALPHAS)).block]))[
        0
    ]
    total = 2.0 * case.n * case.p * block.shape[1] if problem.form.name == "gram" else 0.0
    for split in splits:
        r = len(problem.form.basis(problem.form.layout.members(split.train)).eigenvalues)
        n_tr, n_te = len(split.train), len(split.test)
        once = 4 * r * r if problem.form.name == "gram" else 2 * n_tr * r
        total += (once + 2.0 * len(ALPHAS) * min(n_te, r) * r) * block.shape[1]

    def sweep() -> float:
        select_alpha(problem, block, fold, grid, "mse")
        return total

    return sweep


def himalaya_cv(setting: Setting, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """himalaya's RidgeCV, or KernelRidgeCV with a linear kernel and then primal weights."""
    from himalaya.backend import set_backend
    from himalaya.kernel_ridge import KernelRidgeCV
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import KFold

    backend = set_backend(setting.backend)
    params = {
        "n_targets_batch": setting.targets_batch,
        "n_targets_batch_refit": setting.targets_batch,
        "n_alphas_batch": setting.alphas_batch,
    }
    estimator = RidgeCV if setting.estimator == "RidgeCV" else KernelRidgeCV
    more = {} if estimator is RidgeCV else {"warn": False}
    if estimator is RidgeCV:
        params["warn"] = False
    model = estimator(
        alphas=ALPHAS.astype(np.float32),
        fit_intercept=True,
        cv=KFold(FOLDS),
        solver_params=params,
        **more,
    )
    model.fit(x, y)
    # with an intercept the dual weights sum to 0, so rows that are not centred will do
    weights = model.coef_ if setting.estimator == "RidgeCV" else model.get_primal_coef()
    return {
        "alpha": backend.to_numpy(model.best_alphas_),
        "weights": backend.to_numpy(weights),
    }


def sklearn_cv(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """scikit-learn's RidgeCV with one penalty per target: leave-one-out, not these folds."""
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(x, y)
    return {"alpha": model.alpha_, "weights": model.coef_.T}


def observed_alpha(case: Case, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Penalty of each outer fold and target, (folds, targets), chosen on four inner folds."""
    from braid.encoding.grid import make_grid
    from braid.encoding.solver import centred, cross_validate, prepare

    grid = make_grid(ALPHAS, "absolute")
    problem = prepare(x, outer_folds(case.n), grid, standardize=False)
    return cross_validate(problem, centred(problem.arrange(y))[0], grid, "mse").alpha


def outer_folds(n: int) -> list[Any]:
    """Contiguous outer folds, each with the other four as inner folds."""
    from braid.encoding import Fold, Split

    parts = blocks(n, FOLDS)
    folds = []
    for number, test in enumerate(parts):
        others = [part for other, part in enumerate(parts) if other != number]
        train = np.concatenate(others)
        inner = tuple(Split(np.setdiff1d(train, part), part) for part in others)
        folds.append(Fold(f"block-{number + 1}", train, test, inner))
    return folds


def braid_permutations(
    case: Case, x: np.ndarray, y: np.ndarray, alpha: np.ndarray, draws: int, device: str
) -> dict[str, np.ndarray]:
    """Null scores of retrained permutations at fixed penalties, from a design not yet prepared."""
    from braid.encoding.grid import make_grid
    from braid.encoding.solver import prepare
    from braid.inference.nulls import Draws
    from braid.inference.permutation import null_scores

    grid = make_grid(ALPHAS, "absolute")
    on = {} if device == "cpu" else {"device": device}
    problem = prepare(
        x,
        outer_folds(case.n),
        grid,
        standardize=False,
        nested=False,
        alpha_floor=float(alpha.min()),
        **on,
    )
    rows = shifts(case.n, case.draws)[:draws]
    null = null_scores(problem, y, Draws("circular_shift", rows, len(rows)), alpha, grid)
    return {"null": null}


def braid_weights(case: Case, x: np.ndarray, y: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Weights of the first fold, trained on the first draw."""
    from braid.encoding.grid import make_grid
    from braid.encoding.solver import centred, fit_fixed, prepare

    folds = outer_folds(case.n)
    problem = prepare(x, folds, make_grid(ALPHAS, "absolute"), standardize=False, nested=False)
    block, _ = centred(problem.arrange(y[shifts(case.n, case.draws)[0]]))
    return fit_fixed(problem, block, folds[0].train, alpha[0])[0]


def himalaya_permutations(
    way: str,
    setting: Setting,
    case: Case,
    x: np.ndarray,
    y: np.ndarray,
    alpha: np.ndarray,
    draws: int,
) -> dict[str, np.ndarray]:
    """Null scores of retrained permutations with himalaya, in one of three ways.

    `refit`: RidgeCV per fold, penalties chosen anew. `grouped`: one Ridge per fold and distinct
    penalty, over the targets that have it, in all draws at once (Ridge with a penalty per target
    forms an array of (targets, r, n) and is slower still). `grouped_cv`: the same through RidgeCV
    with a single penalty and a validation set of two rows, whose refit is one matrix product.
    """
    from himalaya.backend import set_backend
    from himalaya.scoring import correlation_score

    backend = set_backend(setting.backend)
    rows = shifts(case.n, case.draws)[:draws]
    total = np.zeros((draws, case.t))
    first = np.empty((case.p, case.t), dtype=np.float32)
    for number, fold in enumerate(outer_folds(case.n)):
        for targets in _together(way, alpha[number]):
            stacked = y[:, targets][rows.T].reshape(case.n, -1)
            penalty = np.tile(alpha[number][targets], draws)
            model = _himalaya_model(way, setting, penalty, fold.train)
            model.fit(x[fold.train], stacked[fold.train])
            predicted = model.predict(x[fold.test])
            score = backend.to_numpy(correlation_score(stacked[fold.test], predicted))
            total[:, targets] += score.reshape(draws, -1) / FOLDS
            if number == 0:
                first[:, targets] = backend.to_numpy(model.coef_)[:, : len(targets)]
    return {"null": total, "weights": first}


def _together(way: str, alpha: np.ndarray) -> list[np.ndarray]:
    """Targets that are fitted in one call."""
    if way == "refit":
        return [np.arange(len(alpha))]
    return [np.flatnonzero(alpha == value) for value in np.unique(alpha)]


def _himalaya_model(way: str, setting: Setting, penalty: np.ndarray, train: np.ndarray) -> Any:
    """Unfitted model of one fold."""
    from himalaya.ridge import Ridge, RidgeCV
    from sklearn.model_selection import KFold

    warnings.filterwarnings("ignore", category=UserWarning)
    batch = {"n_targets_batch": setting.targets_batch}
    if way == "refit":
        params = {**batch, "n_alphas_batch": setting.alphas_batch}
        alphas = ALPHAS.astype(np.float32)
        return RidgeCV(alphas=alphas, fit_intercept=True, cv=KFold(4), solver_params=params)
    if way == "grouped":
        return Ridge(alpha=float(penalty[0]), fit_intercept=True, solver_params=batch)
    one = [(np.arange(len(train)), np.arange(2))]
    return RidgeCV(alphas=penalty[:1].astype(np.float32), fit_intercept=True, cv=one)
