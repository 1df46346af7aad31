"""From subjects to a group: random effects, sign flips, hierarchical bootstrap.

The subject is the unit of all that is said here: a thousand sites of three subjects are three
observations. Every subject's own value stays beside the group's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from braid.common import InputError, rng
from braid.inference.decision import fdr, max_t, p_values, studentised
from braid.inference.swap import draw_swaps

TAILS = ("greater", "two-sided")
GROUP_COLUMNS = {
    "analysis": "Analysis of the config",
    "model": "Network, its untrained twin (_untrained) or a combination",
    "region": "Region label",
    "n_subjects": "Subjects with a tested site in the region",
    "mean": "Mean over subjects of each subject's mean, over sites, of the score minus its null's "
    "mean, Pearson r",
    "low": "Lower end of the 95 % interval of the mean, Student's t over subjects",
    "high": "Upper end of that interval",
    "t": "Student's t of the mean over subjects",
    "p_t": "One-sided p of t, mean above 0",
    "p_flip": "One-sided p by flipping the signs of subjects; at least 1 / 2^n_subjects",
    "q_flip": "Benjamini-Hochberg false discovery rate of p_flip over regions of the same analysis "
    "and model",
    "exact": "Whether every way to flip the signs was used",
    "share_positive": "Share of the subjects whose value is above 0",
    "subjects": "Every subject's value",
}


@dataclass(frozen=True)
class GroupTest:
    """Test of a mean over subjects against 0.

    Attributes
    ----------
    n_subjects : numpy.ndarray of int, (targets,)
        Subjects with a value.
    mean, low, high : numpy.ndarray, (targets,)
        Mean over subjects and its interval (Student's t); NaN with fewer than 2 subjects.
    t, p_t : numpy.ndarray, (targets,)
        Student's t and its p.
    p_flip, p_fwe : numpy.ndarray, (targets,)
        p by sign flips; family-wise over the targets from the largest studentised mean.
    n_flips : int
        Flips besides the one that changes nothing.
    exact : bool
        Whether these are all there are.
    """

    n_subjects: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    t: np.ndarray
    p_t: np.ndarray
    p_flip: np.ndarray
    p_fwe: np.ndarray
    n_flips: int
    exact: bool


def group_test(
    values: np.ndarray,
    seed: int,
    n: int = 10_000,
    tail: str = "greater",
    level: float = 0.95,
) -> GroupTest:
    """Test whether the mean over subjects differs from 0, subjects being a random effect.

    Two tests stand side by side: Student's t, which assumes normal values, and sign flips,
    which assume that each subject's value is symmetric about 0 if there is no effect. Flips
    change whole subjects, all targets alike. With few subjects the smallest p is 1 / 2^subjects
    (one-sided): 5 subjects cannot go below .03, and 3 not below .125, whatever they show.

    Parameters
    ----------
    values : array, (subjects, targets)
        What is 0 without an effect: a score minus the mean of its null, or a difference between
        models. NaN where a subject has no such target.
    seed : int
    n : int
        Flips; if no more than that many exist, each is used once and p is exact.
    tail : {"greater", "two-sided"}
        Two-sided is on the absolute value.
    level : float
        Of the interval.
    """
    values = np.asarray(values, dtype=np.float64)
    if tail not in TAILS:
        raise InputError(f"group: tail '{tail}' is not one of {', '.join(TAILS)}")
    if values.ndim != 2:
        raise InputError(f"group: values of shape {values.shape}; give (subjects, targets)")
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    filled = np.where(finite, values, 0.0)
    mean = np.where(count > 0, filled.sum(axis=0) / np.maximum(count, 1), np.nan)
    error = np.full(mean.shape, np.nan)
    several = count > 1
    error[several] = np.nanstd(values[:, several], axis=0, ddof=1) / np.sqrt(count[several])
    t = np.divide(mean, error, out=np.full(mean.shape, np.nan), where=error > 0)
    freedom = np.maximum(count - 1, 1)
    half = stats.t.ppf(0.5 + level / 2, freedom) * error
    flips = 1.0 - 2.0 * draw_swaps(len(values), n, seed)
    drawn = flips @ filled / np.maximum(count, 1)
    p_t = stats.t.sf(t, freedom) if tail == "greater" else 2 * stats.t.sf(np.abs(t), freedom)
    one, all_flips = np.where(several, mean, np.nan), drawn
    if tail == "two-sided":
        one, all_flips = np.abs(one), np.abs(drawn)
    # about 0, for which the values are symmetric; flips keep each target's mean square
    scaled = studentised(np.where(several, mean, np.nan), drawn, centre=False)
    if tail == "two-sided":
        scaled = np.abs(scaled[0]), np.abs(scaled[1])
    return GroupTest(
        n_subjects=count,
        mean=mean,
        low=mean - half,
        high=mean + half,
        t=t,
        p_t=p_t,
        p_flip=p_values(one, all_flips),
        p_fwe=max_t(*scaled),
        n_flips=len(flips),
        exact=len(flips) == 2 ** len(values) - 1,
    )


def hierarchical_bootstrap(
    values: Sequence[np.ndarray], n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over subjects of the mean over sites, when both are drawn anew.

    Each replicate draws subjects, and within each of them sites, with replacement. Several
    models stand side by side in the columns and share the draws, so that their differences are
    paired.

    Parameters
    ----------
    values : sequence of array, (sites of the subject,) or (sites, models)
        One per subject, without NaN.
    n : int
        Replicates.
    seed : int

    Returns
    -------
    observed : numpy.ndarray, (models,)
    draws : numpy.ndarray, (n, models)
    """
    arrays = [np.asarray(one, dtype=np.float64).reshape(len(one), -1) for one in values]
    if not arrays or any(not len(one) or not np.isfinite(one).all() for one in arrays):
        raise InputError(
            "group: every subject needs at least one site, and sites without a value must be "
            "left out before"
        )
    generator = rng(seed, "hierarchical bootstrap")
    subjects = len(arrays)
    # how often each subject is drawn; each time with new sites
    drawn = generator.integers(subjects, size=(n, subjects))
    total = np.zeros((n, arrays[0].shape[1]))
    for number, one in enumerate(arrays):
        times = np.sum(drawn == number, axis=1)
        which = np.repeat(np.arange(n), times)
        counts = generator.multinomial(len(one), np.full(len(one), 1.0 / len(one)), size=len(which))
        np.add.at(total, which, counts @ one / len(one))
    observed = np.mean([one.mean(axis=0) for one in arrays], axis=0)
    return observed, total / subjects


def group_table(sites: pd.DataFrame, seed: int, n: int = 10_000) -> pd.DataFrame:
    """Sum up sites by analysis, model and region, with every subject's value.

    Parameters
    ----------
    sites : pandas.DataFrame
        Columns of `SITES_COLUMNS`, all subjects.
    seed, n
        Of the sign flips (see `group_test`).

    Returns
    -------
    pandas.DataFrame
        Columns of `GROUP_COLUMNS`.
    """
    tested = sites[sites["p"].notna()].assign(
        region=lambda table: table["region"].fillna("n/a"),
        above=lambda table: table["score"] - table["null_mean"],
    )
    parts = []
    for (analysis, model), group in tested.groupby(["analysis", "model"], sort=False):
        wide = group.pivot_table(index="subject", columns="region", values="above", sort=False)
        found = group_test(wide.to_numpy(), seed, n)
        part = pd.DataFrame(
            {
                "analysis": analysis,
                "model": model,
                "region": wide.columns,
                "n_subjects": found.n_subjects,
                "mean": found.mean,
                "low": found.low,
                "high": found.high,
                "t": found.t,
                "p_t": found.p_t,
                "p_flip": found.p_flip,
                "q_flip": fdr(found.p_flip),
                "exact": found.exact,
                "share_positive": [float(np.mean(one.dropna() > 0)) for _, one in wide.items()],
                "subjects": [_listed(one.dropna().to_dict()) for _, one in wide.items()],
            }
        )
        parts.append(part)
    if not parts:
        return pd.DataFrame(columns=list(GROUP_COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(GROUP_COLUMNS)]


def _listed(values: Mapping[object, float]) -> str:
    """Subjects with their values, as text."""
    return ", ".join(f"{subject}: {value:.4f}" for subject, value in values.items())
