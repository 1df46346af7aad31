"""Scores for many penalties at once, from moments.

With W the projected targets, U'U = Zc'Zc the scatter of the test rows and H = Zc'Y:

    B = W / (L + alpha),  cov = sum(B * H) / n,  var = |U B|^2 / n,  r = cov / sqrt(var * var_y)

summed over rows. Two things make this cheap for many penalties. Covariances of all penalties are
one product of the (penalties, r) factors 1 / (L + alpha) with W * H. And these factors, smooth in
alpha, span fewer dimensions than there are penalties: with

    1 / (L_i + alpha_a) = sum over m of D_im C_ma

to rounding, U (W * D_m) is computed for the few m, and U B follows for each penalty as a small
sum. No array (penalties, test rows, targets) exists at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braid.encoding.backend import Array, Backend
from braid.encoding.forms import Basis, HeldOut, dtype_of, factors

_ENTRIES = 2**21  # numbers in the largest temporary array on the CPU
_MIXING = 3  # what a number costs in the small sums, relative to one in the large products


@dataclass(frozen=True)
class Penalties:
    """Penalties of one basis, made ready for one test set.

    Attributes
    ----------
    factors : array of float64, (penalties, r)
        1 / (L + alpha).
    directions : array, (r, m)
        D.
    mix : array, (penalties, m), or None
        C'; None where D holds the factors themselves.
    """

    factors: Array
    directions: Array
    mix: Array | None


@dataclass(frozen=True)
class Moments:
    """Moments over the test rows for each penalty; NumPy arrays of float64, (penalties, targets).

    Attributes
    ----------
    covariance : numpy.ndarray
        Of predictions with targets.
    variance : numpy.ndarray
        Of predictions.
    shift : numpy.ndarray or None
        Mean of the predictions, without the training mean of the targets.
    """

    covariance: np.ndarray
    variance: np.ndarray
    shift: np.ndarray | None


def penalties_of(
    backend: Backend, basis: Basis, held: HeldOut, alpha: np.ndarray, dtype: np.dtype
) -> Penalties:
    """Find what a sweep over a grid needs (kept with the test set for the next call).

    `dtype` is that of the products that give the variances (see `_variances`).
    """
    key = alpha.tobytes() + np.dtype(dtype).str.encode()
    if key not in held.penalties:
        held.penalties[key] = _penalties(backend, basis, held, alpha, dtype)
    return held.penalties[key]


def _penalties(
    backend: Backend, basis: Basis, held: HeldOut, alpha: np.ndarray, dtype: np.dtype
) -> Penalties:
    """Factors and, where that saves work, fewer directions that span them."""
    found = factors(basis, alpha)
    squares = backend.to_numpy(backend.column_dot(held.upper, held.upper))
    directions, mix = _spanned(found, basis.eigenvalues, squares, float(np.finfo(dtype).eps))
    rows, r = held.upper.shape
    area, n = rows * r - rows * rows / 2, len(alpha)
    m = directions.shape[1]
    # a product costs `area` per direction; mixing costs a little for every pair
    if m * area + _MIXING * m * n * rows < n * area:
        return Penalties(
            backend.asarray(found.T, np.float64),
            backend.asarray(directions, dtype),
            backend.asarray(mix.T, dtype),
        )
    return Penalties(backend.asarray(found.T, np.float64), backend.asarray(found, dtype), None)


def _spanned(
    found: np.ndarray, eigenvalues: np.ndarray, squares: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Factorise (r, penalties) as D C with the fewest columns of D within a tolerance.

    |W_i| is at most sqrt(L_i) |y|, so direction i adds at most sqrt(squares_i L_i) / (L_i + alpha)
    to the predictions. The tolerance is relative to the largest of these.
    """
    top = eigenvalues.max(initial=0.0)
    floor = np.maximum(eigenvalues, np.finfo(np.float64).eps * top)
    weight = np.sqrt(np.maximum(squares, 0.0) * floor)
    hats = weight[:, None] * found
    largest = hats.max(axis=0, initial=0.0)
    if not np.all(largest > 0):
        return found, np.eye(found.shape[1])
    left, singular, right = np.linalg.svd(hats / largest, full_matrices=False)
    m = len(singular)
    rest = np.zeros_like(hats)
    while m > 1:
        rest += left[:, m - 1 : m] * (singular[m - 1] * right[m - 1])
        if np.abs(rest).max() > tolerance:
            break
        m -= 1
    inverse = np.divide(1.0, weight, out=np.zeros_like(weight), where=weight > 0)
    return inverse[:, None] * left[:, :m], singular[:m, None] * right[:m] * largest


def sweep(
    backend: Backend,
    held: HeldOut,
    penalties: Penalties,
    w: Array,
    cross: Array,
    with_shift: bool,
) -> Moments:
    """Moments of the predictions of every penalty.

    Parameters
    ----------
    backend : Backend
    held : HeldOut
    penalties : Penalties
    w, cross : array, (r, targets)
        W and H.
    with_shift : bool
        Whether the predictions' mean is needed (for R2 and mse).
    """
    product = backend.cast(w * cross, np.float64)
    covariance = backend.to_numpy(penalties.factors @ product) / held.n
    shift = None
    if with_shift:
        moved = backend.asarray(held.offset, np.float64)[:, None] * w
        shift = backend.to_numpy(penalties.factors @ moved)
    return Moments(covariance, _variances(backend, held, penalties, w), shift)


def _variances(backend: Backend, held: HeldOut, penalties: Penalties, w: Array) -> np.ndarray:
    """|U B|^2 / n of every penalty, (penalties, targets), tile by tile of targets.

    In the precision of the directions, whatever that of W: no term of U B is larger than |y|, so
    that rounding here, unlike in W, does not grow with the condition of the features.
    """
    directions, mix = penalties.directions, penalties.mix
    dtype = dtype_of(directions)
    (r, m), targets = directions.shape, w.shape[1]
    n = m if mix is None else mix.shape[0]
    out = np.empty((n, targets))
    width = max(32, _ENTRIES // max(1, r * m)) if backend.device == "cpu" else targets
    for start in range(0, targets, width):
        part = slice(start, min(start + width, targets))
        size = part.stop - part.start
        narrow = backend.cast(w[:, part], dtype)
        wide = (narrow[:, None] * directions[:, :, None]).reshape(r, m * size)
        total = backend.zeros((n * size,), np.float64)
        for first in range(0, len(held.upper), backend.strip):
            rows = backend.cast(held.upper[first : first + backend.strip, first:], dtype)
            moved = backend.fast_matmul(rows, wide[first:])
            if mix is not None:
                moved = mix @ moved.reshape(len(rows), m, size)
            moved = moved.reshape(len(rows), n * size)
            total += backend.column_dot(moved, moved)
        out[:, part] = backend.to_numpy(total).reshape(n, size)
    return out / held.n


def moments(
    backend: Backend, held: HeldOut, other: Array, b: Array
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of predictions with targets, and the predictions' variance, for given B.

    Parameters
    ----------
    backend : Backend
    held : HeldOut
    other : array
        The targets of the test rows, (n, targets), or H, (r, targets).
    b : array, (r, targets)

    Returns
    -------
    covariance, variance : numpy.ndarray of float64, (targets,)
    """
    b = backend.cast(b, dtype_of(held.upper))
    if held.rows is not None and held.n <= len(b):
        predicted = held.rows @ b
        covariance = backend.column_dot(predicted, other)
        variance = backend.column_dot(predicted, predicted)
    else:
        covariance = backend.column_dot(b, other)
        variance = backend.zeros((b.shape[1],), np.float64)
        for first in range(0, len(held.upper), backend.strip):
            moved = held.upper[first : first + backend.strip, first:] @ b[first:]
            variance += backend.column_dot(moved, moved)
    return backend.to_numpy(covariance) / held.n, backend.to_numpy(variance) / held.n
