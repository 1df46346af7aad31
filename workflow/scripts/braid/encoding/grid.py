"""The grid of penalties, and choosing among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from braid.common import InputError

SCALES = ("absolute", "trace", "squared")
CRITERIA = ("r", "r2", "mse", "signed_root_r2")
_TIE = 1e-10


@dataclass(frozen=True)
class Grid:
    """Penalties in ascending order.

    Attributes
    ----------
    values : numpy.ndarray of float64, (alphas,)
    scale : {"absolute", "trace", "squared"}
        `trace`: values count in mean eigenvalues of the training rows' Gram matrix, trace / p
        over the features that vary, so that one grid serves different numbers of rows and units.
        `squared`: a penalty is the square of a value, as Huth-lab code counts.
    """

    values: np.ndarray
    scale: str = "absolute"

    def absolute(self, mean_eigenvalue: float) -> np.ndarray:
        """Penalties to add to the eigenvalues of one training set."""
        if self.scale == "squared":
            return self.values**2
        return self.values * (mean_eigenvalue if self.scale == "trace" else 1.0)


def make_grid(alphas: Mapping[str, Any] | np.ndarray | list[float], scale: str = "trace") -> Grid:
    """Make a grid from the config's `{low, high, n}` (powers of ten) or from values.

    Raises
    ------
    InputError
        If a value is not positive, the range is empty or the scale unknown.
    """
    if scale not in SCALES:
        raise InputError(f"ridge.alpha_scale: '{scale}' is not one of {', '.join(SCALES)}")
    if isinstance(alphas, Mapping):
        low, high, n = float(alphas["low"]), float(alphas["high"]), int(alphas["n"])
        if n < 1 or high < low:
            raise InputError(
                f"ridge.alphas: {n} values from 10^{low:g} to 10^{high:g} is no grid; "
                "give low <= high and n >= 1"
            )
        values = np.logspace(low, high, n)
    else:
        values = np.unique(np.asarray(alphas, dtype=float))
    if len(values) == 0 or not np.all(np.isfinite(values)) or values[0] <= 0:
        raise InputError("ridge.alphas: every penalty must be a positive number")
    return Grid(values, scale)


def choose(metric: np.ndarray) -> np.ndarray:
    """Index of the best penalty per target; ties within 1e-10 go to the larger penalty.

    Parameters
    ----------
    metric : array, (alphas, targets)
        To maximise. A target without any finite value gets the largest penalty.

    Returns
    -------
    numpy.ndarray of int, (targets,)
    """
    filled = np.where(np.isfinite(metric), metric, -np.inf)
    best = filled.max(axis=0)
    tied = filled >= best - _TIE
    return len(metric) - 1 - np.argmax(tied[::-1], axis=0)


def edge_share(index: np.ndarray, n_alphas: int) -> tuple[float, float]:
    """Share of choices on the lowest and on the highest penalty of the grid."""
    if n_alphas < 2 or index.size == 0:
        return 0.0, 0.0
    return float(np.mean(index == 0)), float(np.mean(index == n_alphas - 1))
