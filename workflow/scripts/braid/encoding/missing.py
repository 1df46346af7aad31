"""Targets with missing values: left out, or fitted on the rows that they have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from braid.common import InputError
from braid.encoding.folds import Fold, Split

RULES = ("leave_out", "by_pattern")
MOST_PATTERNS = 8


@dataclass(frozen=True)
class Pattern:
    """Targets that lack the same rows.

    Attributes
    ----------
    targets : numpy.ndarray of int
    rows : numpy.ndarray of bool, (n,)
        Rows that these targets have.
    """

    targets: np.ndarray
    rows: np.ndarray


def check_infinite(y: np.ndarray, name: str) -> None:
    """Refuse infinite values.

    Raises
    ------
    InputError
        Naming the first sample and target that has one.
    """
    # one pass without a mask of the whole array where all is well
    if not np.isinf(y).any():
        return
    row, target = (int(number[0]) for number in np.nonzero(np.isinf(y)))
    raise InputError(
        f"{name}: sample {row} of target {target} is infinite; mark missing values as NaN and "
        "check the preprocessing"
    )


def patterns_of(
    y: np.ndarray, used: np.ndarray, name: str, rule: str = "leave_out", most: int = MOST_PATTERNS
) -> list[Pattern]:
    """Group targets by the rows that they lack.

    Parameters
    ----------
    y : array, (n, targets)
    used : array of int
        Rows that the folds use; others do not count.
    name : str
        What the targets come from, for messages.
    rule : {"leave_out", "by_pattern"}
        `leave_out`: only targets that lack nothing. `by_pattern`: all that have at least two
        rows. Missing values are never filled.
    most : int
        Patterns at most: each costs Gram matrices and eigenbases of its own.

    Returns
    -------
    list of Pattern
        The complete targets first (if any), then by the first target of each pattern.

    Raises
    ------
    InputError
        If no target is left, there are too many patterns, or the rule is unknown.
    """
    if rule not in RULES:
        raise InputError(f"ridge.missing: '{rule}' is not one of {', '.join(RULES)}")
    there = np.ones(y.shape, dtype=bool)
    there[used] = np.isfinite(y[used])
    complete = there.all(axis=0)
    found = [Pattern(np.flatnonzero(complete), np.ones(len(y), dtype=bool))]
    if rule == "by_pattern":
        lacking = np.flatnonzero(~complete & (there[used].sum(axis=0) >= 2))
        masks, first, code = np.unique(
            there[:, lacking], axis=1, return_index=True, return_inverse=True
        )
        for pattern in np.argsort(first):
            targets = lacking[code.ravel() == pattern]
            found.append(Pattern(targets, masks[:, pattern]))
    found = [pattern for pattern in found if len(pattern.targets)]
    if not found:
        raise InputError(f"{name}: every target has missing values; check the preprocessing")
    if len(found) > most:
        raise InputError(
            f"{name}: its targets lack {len(found)} different sets of rows, but at most {most} "
            "are fitted apart; leave out the samples in which many targets are missing, or set "
            "ridge.missing to leave_out"
        )
    return found


def folds_within(folds: list[Fold], rows: np.ndarray, name: str) -> list[Fold]:
    """Folds without the rows that are missing.

    Raises
    ------
    InputError
        If fewer than two rows are left of a training or test set.
    """
    if rows.all():
        return folds
    found = []
    for fold in folds:
        inner = tuple(
            Split(
                _kept(split.train, rows, fold.label, name),
                _kept(split.test, rows, fold.label, name),
            )
            for split in fold.inner
        )
        train = _kept(fold.train, rows, fold.label, name)
        test = _kept(fold.test, rows, fold.label, name)
        found.append(Fold(fold.label, train, test, inner, fold.chunks))
    return found


def _kept(chosen: np.ndarray, rows: np.ndarray, label: str, name: str) -> np.ndarray:
    """Chosen rows that are there."""
    kept = chosen[rows[chosen]]
    if len(kept) < 2:
        raise InputError(
            f"{name}: missing values leave {len(kept)} rows for a training or test set of fold "
            f"{label}; use fewer folds, or set ridge.missing to leave_out"
        )
    return kept
