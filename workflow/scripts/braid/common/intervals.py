"""Intervals of means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats


def t_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of a mean over finite values; NaN with fewer than two of them."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if len(finite) < 2:
        return np.nan, np.nan
    half = stats.t.ppf(0.5 + level / 2, len(finite) - 1) * stats.sem(finite)
    return float(finite.mean() - half), float(finite.mean() + half)
