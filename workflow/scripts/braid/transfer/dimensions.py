"""One sign per site and dimension (`dim_sign`): for sites tuned to both senses with opposite sign.

A site may keep the sign of one dimension between what is heard and what is seen and turn round
another. The dimensions are the largest principal components of the source's weights: weights are
averaged over delays, and over all targets the directions of feature space u_1, ..., u_n along
which they are largest (not centred) are found. What the model predicts splits into what goes
through each of them, with its full delays, and the rest:

    y-hat = sum_k sum_d (X_d u_k) (u_k' b_d) + rest

In each run of the target, each part takes the sign of its mean r over all other runs. An option of
our own; held out, like `sign_loo`. In tests each draw finds components of its own weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from braid.common import InputError, progress
from braid.encoding.fit import backend_of, grid_of, memory_limit
from braid.encoding.solver import Problem, fit_fixed, fit_selected, mean_over_folds, prepare
from braid.inference.nulls import Draws
from braid.inference.permutation import CHECKED, widened
from braid.transfer.pair import Joined
from braid.transfer.scores import ridge_of, unmoved

DIMENSIONS = 5
_WIDE = 2048  # targets that are worked on at a time

Weights = Callable[[np.ndarray], Iterator[tuple[slice, np.ndarray]]]


def dim_sign_scores(
    joined: Joined,
    drawn: Draws,
    alpha: np.ndarray,
    params: Mapping[str, Any],
    n: int = DIMENSIONS,
) -> np.ndarray:
    """Scores with one sign per site and dimension, observed and of every draw.

    Parameters
    ----------
    joined : Joined
    drawn : Draws
        Of the source's rows.
    alpha : array, (targets,)
        Penalties of the observed responses.
    params : mapping
        `ridge` and `test` of the source analysis.
    n : int
        Dimensions; the rest of the prediction has a sign of its own.

    Returns
    -------
    numpy.ndarray of float32, (1 + draws, targets)
        The observed scores first.

    Raises
    ------
    InputError
        If the target has one run, or there are more dimensions than features.
    """
    if len(joined.folds) < 2:
        raise InputError(
            "tuning: 'dim_sign' needs two runs of the target, one to choose the signs for the "
            "other; use 'none'"
        )
    width = joined.x.shape[1] // joined.n_delays
    if not 1 <= n <= width:
        raise InputError(f"dimensions: {n} of {width} features; give 1 to {width}")
    how = str(dict(params.get("test") or {}).get("alpha", "fixed"))
    fixed = _weights_of(joined, alpha, params, reselect=False)
    observed = _scores(joined, fixed, unmoved(drawn), n)
    anew = _weights_of(joined, alpha, params, reselect=True) if how != "fixed" else fixed
    if how == "reselect":
        return np.concatenate([observed, _scores(joined, anew, drawn, n)])
    null = _scores(joined, fixed, drawn, n)
    if how == "hybrid":
        some = replace(drawn, rows=drawn.rows[:CHECKED])
        null = widened(null, _scores(joined, anew, some, n))[0]
    return np.concatenate([observed, null])


def main_directions(scatter: np.ndarray, n: int) -> np.ndarray:
    """Directions along which weights are largest, (features, n), from their scatter W W'."""
    _, vectors = np.linalg.eigh(scatter)
    return np.ascontiguousarray(vectors[:, ::-1][:, :n])


def _weights_of(
    joined: Joined, alpha: np.ndarray, params: Mapping[str, Any], reselect: bool
) -> Weights:
    """Make the function that gives weights for rows as drawn, block by block of targets."""
    ridge = ridge_of(params)
    grid, backend = grid_of(ridge), backend_of(ridge)
    problem: Problem = prepare(
        joined.x[: joined.n_source], [joined.whole], grid, False, ridge.get("form", "auto"),
        nested=reselect, alpha_floor=None if reselect else float(np.nanmin(alpha)),
        backend=backend, memory_mb=memory_limit(ridge, backend),
    )  # fmt: skip
    rows, targets = joined.whole.train, joined.y.shape[1]

    def weights(order: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, targets, _WIDE):
            part = slice(start, min(start + _WIDE, targets))
            y = joined.y[order, part]
            y = problem.arrange(y - y[rows].mean(axis=0, dtype=np.float64).astype(y.dtype))
            if reselect:
                select = str(ridge.get("select", "r"))
                yield part, fit_selected(problem, y, joined.whole, grid, select)[0]
            else:
                yield part, fit_fixed(problem, y, rows, alpha[part])[0]

    return weights


def _scores(joined: Joined, weights: Weights, drawn: Draws, n: int) -> np.ndarray:
    """Scores of each draw, (draws, targets)."""
    delays, targets = joined.n_delays, joined.y.shape[1]
    width = joined.x.shape[1] // delays
    runs = [(_centred(joined.x[fold.test]), fold.test) for fold in joined.folds]
    out = np.full((len(drawn.rows), targets), np.nan, dtype=np.float32)
    kept = targets <= 4 * _WIDE  # else weights are computed twice, and never held
    for number in progress(range(len(drawn.rows)), "one sign per dimension"):
        order = drawn.rows[number, : joined.n_source]
        scatter = np.zeros((width, width))
        found = []
        for part, block in weights(order):
            mean = block.reshape(delays, width, -1).mean(axis=0)
            scatter += mean @ mean.T
            if kept:
                found.append((part, block))
        directions = main_directions(scatter, n).astype(np.float32)
        for part, block in found if kept else weights(order):
            out[number, part] = _signed(joined, runs, block, directions, part)
    return out


def _signed(
    joined: Joined,
    runs: list[tuple[np.ndarray, np.ndarray]],
    weights: np.ndarray,
    directions: np.ndarray,
    part: slice,
) -> np.ndarray:
    """Mean r over runs, each part of the prediction with the sign of the other runs, (targets,)."""
    moments = []
    for x, rows in runs:
        pieces = split(x, weights, directions, joined.n_delays)
        y = _centred(joined.y[rows, part])
        with_y = np.einsum("ktv,tv->kv", pieces, y, optimize=True)
        among = np.einsum("ktv,ltv->klv", pieces, pieces, optimize=True)
        moments.append((with_y, among, np.einsum("tv,tv->v", y, y)))
    alone = np.stack(
        [_ratio(with_y, np.einsum("kkv->kv", among) * spread) for with_y, among, spread in moments]
    )
    alone = np.nan_to_num(alone)
    signs = np.sign(alone.sum(axis=0) - alone)
    scores = [
        _ratio(
            np.einsum("kv,kv->v", sign, with_y),
            np.einsum("kv,klv,lv->v", sign, among, sign) * spread,
        )
        for sign, (with_y, among, spread) in zip(signs, moments, strict=True)
    ]
    return mean_over_folds(np.stack(scores))


def split(x: np.ndarray, weights: np.ndarray, directions: np.ndarray, delays: int) -> np.ndarray:
    """Split predictions into what goes through each direction and the rest.

    Parameters
    ----------
    x : array, (rows, delays x features)
        Delay-major.
    weights : array, (delays x features, targets)
    directions : array, (features, n)
        Orthonormal.
    delays : int

    Returns
    -------
    numpy.ndarray, (n + 1, rows, targets)
        They add up to `x @ weights`.
    """
    width, n = directions.shape
    seen = x.reshape(len(x), delays, width) @ directions  # (rows, delays, n)
    through = np.einsum("fk,dfv->dkv", directions, weights.reshape(delays, width, -1))
    out = np.empty((n + 1, len(x), weights.shape[1]), dtype=np.float32)
    for k in range(n):
        out[k] = seen[:, :, k] @ through[:, k]
    out[n] = x @ weights - out[:n].sum(axis=0)
    return out


def _centred(values: np.ndarray) -> np.ndarray:
    """Values minus their mean over rows."""
    mean = values.mean(axis=0, dtype=np.float64)
    return values - mean.astype(values.dtype)


def _ratio(above: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Quotient by a root; NaN where nothing varies."""
    usable = square > 0
    root = np.sqrt(np.where(usable, square, 1.0))
    return np.where(usable, above / root, np.nan)
