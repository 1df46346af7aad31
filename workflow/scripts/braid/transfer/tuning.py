"""Tuning of opposite sign: options for how the scores of a target's runs become one.

Sites may be tuned to what is heard and to what is seen with opposite signs: a model of one then
predicts the other with a negative r. How the study of Tang et al. 2023 corrected for it is not
known to us; these are options of our own, and each says what its score is worth:

- `none`, raw: the mean r over runs.
- `sign_loo`, held out: the r of each run, multiplied by the sign of the mean r of all other runs.
- `gain_loo`, held out: likewise, with the sign of the slope of the other runs' responses on the
  predictions, shrunk towards +1 by a tenth of a run; a site is turned round only where the other
  runs speak against it more than a little. (A correlation does not change with the size of a
  slope, only with its sign.)
- `dim_sign`, held out: one sign per site for each of the largest principal components of the
  source's weights, and one for the rest (see `braid.transfer.dimensions`, which computes it).
- `abs`, biased: the magnitude of the mean r. Never below 0, whatever the site does.

In tests each draw of the null goes through the same option as the observed responses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from braid.common import InputError
from braid.encoding.solver import mean_over_folds

TUNINGS = {
    "none": "raw",
    "sign_loo": "held out",
    "gain_loo": "held out",
    "dim_sign": "held out",
    "abs": "biased",
}
"""Options, and what their scores are."""

HELD_OUT = tuple(name for name, worth in TUNINGS.items() if worth == "held out")
"""Options that take signs from the other runs."""

SHRINKAGE = 0.1
"""Weight of the slope +1 in `gain_loo`, in runs."""


def none(scores: np.ndarray) -> np.ndarray:
    """Mean r over runs, (runs, ...) to (...); NaN is left out."""
    return mean_over_folds(scores)


def sign_loo(scores: np.ndarray) -> np.ndarray:
    """Mean over runs of r times the sign of the other runs' mean r, (runs, ...) to (...)."""
    return mean_over_folds(scores * np.sign(_of_the_others(scores, 0.0)))


def gain_loo(scores: np.ndarray) -> np.ndarray:
    """Likewise, with the sign of the other runs' slope, shrunk towards +1."""
    return mean_over_folds(scores * np.sign(_of_the_others(scores, SHRINKAGE)))


def absolute(scores: np.ndarray) -> np.ndarray:
    """Magnitude of the mean r over runs, (runs, ...) to (...)."""
    return np.abs(mean_over_folds(scores))


def tuned(names: Sequence[str], n_runs: int) -> Callable[[np.ndarray], np.ndarray]:
    """Make the function of (runs, ...) that gives the scores of several options, (options, ...).

    Raises
    ------
    InputError
        If an option is unknown, or has to hold out the only run.
    """
    found = {"none": none, "sign_loo": sign_loo, "gain_loo": gain_loo, "abs": absolute}
    for name in names:
        if name not in found:
            raise InputError(f"tuning: '{name}' is not one of {', '.join(found)}")
        if n_runs < 2 and name.endswith("_loo"):
            raise InputError(
                f"tuning: '{name}' needs two runs of the target, one to choose the sign for the "
                "other; use 'none'"
            )
    return lambda scores: np.stack([found[name](scores) for name in names])


def _of_the_others(scores: np.ndarray, shrinkage: float) -> np.ndarray:
    """Sum of r over all other runs, and of +1 as often as `shrinkage` says, (runs, ...)."""
    finite = np.nan_to_num(scores)
    others: np.ndarray = finite.sum(axis=0) - finite + shrinkage
    return others
