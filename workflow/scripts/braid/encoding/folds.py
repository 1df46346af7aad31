"""Outer and inner folds of time series: contiguous blocks, runs or hold-out, with an embargo.

Inner folds (for choosing alpha) are unions of the same blocks or runs as the outer ones, so that
all their Gram matrices are sums of the same stored pieces; or random sets of chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from braid.common import InputError, rng, runs_that_fit

SCHEMES = ("blocks", "halves", "runs", "holdout")
_TOLERANCE = 1e-6  # s; onsets and volume times are rounded when they are stored


@dataclass(frozen=True)
class Split:
    """Rows to train on and rows to test on; they never overlap."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Chunks:
    """Inner folds drawn at random, as the bootstrap ridge of Huth-lab code draws them.

    Training rows are cut, in their order and across runs, into consecutive chunks of `length`.
    Each draw holds out some whole chunks, without replacement within the draw, and trains on all
    other rows. A tail shorter than a chunk is never held out.

    Attributes
    ----------
    length : int
        Rows of a chunk.
    held : int or None
        Chunks that a draw holds out; None: as many as make up a fifth of the rows, rounded up.
    draws : int
    seed : int
        Draws depend on it and on the fold's name alone.
    runs : numpy.ndarray of int, (samples,)
    times : numpy.ndarray of float, (samples,)
    embargo : float
        As in `make_folds`.
    """

    length: int
    held: int | None
    draws: int
    seed: int
    runs: np.ndarray
    times: np.ndarray
    embargo: float

    def splits(self, label: str, rows: np.ndarray) -> tuple[Split, ...]:
        """Draw the inner folds of a training set.

        Parameters
        ----------
        label : str
            Name of the fold.
        rows : array of int
            Training rows, ascending.

        Raises
        ------
        InputError
            If the rows do not make up more chunks than are held out.
        """
        n_chunks = len(rows) // self.length
        held = -(-len(rows) // (5 * self.length)) if self.held is None else self.held
        if held >= n_chunks:
            raise InputError(
                f"folds.inner: the {len(rows)} training rows of fold {label} make {n_chunks} "
                f"chunks of {self.length}, of which {held} cannot be held out; give shorter "
                "chunks or hold out fewer"
            )
        generator = rng(self.seed, "inner chunks", label)
        chunks = rows[: n_chunks * self.length].reshape(n_chunks, self.length)
        found = []
        for _ in range(self.draws):
            test = np.sort(chunks[generator.choice(n_chunks, held, replace=False)].ravel())
            out = np.zeros(len(self.runs), dtype=bool)
            out[test] = True
            out |= _near(out, self.runs, self.times, self.embargo)
            found.append(Split(rows[~out[rows]], test))
        return tuple(found)


@dataclass(frozen=True)
class Fold:
    """One outer fold.

    Attributes
    ----------
    label : str
        Name of the held-out part, for example "block-1" or "ses-1_task-film_run-02".
    train, test : numpy.ndarray of int
        Rows; embargoed rows are in neither.
    inner : tuple of Split
        Splits for choosing alpha, which never hold a row of `test`: of `train`, or with scheme
        `halves` one that trains on all of `train` and is tested on rows of its own.
    chunks : Chunks or None
        What draws `inner`, where it is drawn; it draws those of other training sets too.
    """

    label: str
    train: np.ndarray
    test: np.ndarray
    inner: tuple[Split, ...]
    chunks: Chunks | None = None


def make_folds(
    runs: np.ndarray,
    times: np.ndarray,
    scheme: str,
    n: int | None = None,
    embargo: float = 0.0,
    train: Sequence[Mapping[str, Any]] | None = None,
    test: Sequence[Mapping[str, Any]] | None = None,
    run_labels: Sequence[str] | None = None,
    inner: int | Mapping[str, Any] | None = None,
) -> list[Fold]:
    """Divide samples into outer folds with their inner folds.

    Parameters
    ----------
    runs : array of int, (samples,)
        Run of each sample; the samples of a run follow one another.
    times : array of float, (samples,)
        Seconds within the run, not decreasing inside a run.
    scheme : {"blocks", "halves", "runs", "holdout"}
        `blocks`: `n` contiguous blocks of (almost) equal numbers of samples over the runs in
        order, cut inside runs. `halves`: such blocks, of which the first half validates
        (chooses alpha) and the second is tested, 80/10/10 with `n` = 5; rows at the very time
        of a held-out row, which are copies of it where rows are drawn with replacement, are
        left out as if the embargo reached them. `runs`: leave one run out. `holdout`: one
        fold; `train` and `test` select the runs.
    n : int, optional
        Number of blocks (schemes `blocks` and `halves` only).
    embargo : float
        Seconds. A training row of the same run that lies closer than this to a held-out row is
        used neither for training nor for testing in that fold; with `halves`, neither is a
        validation row that lies closer than this to a test row.
    train, test : sequence of mappings, optional
        Filters by BIDS entity, for example ``[{"task": "sitcomep1"}]``; a run is selected when
        one of the mappings fits it. A value may be a list of allowed values.
    run_labels : sequence of str, optional
        Label of run 0, 1, ...; by default "run-0", "run-1", ...
    inner : int or mapping, optional
        Number of inner folds. Default: with `blocks`, the other blocks; with `runs`, the other
        runs in at most 5 contiguous groups; with `holdout`, 5 blocks of the training rows.
        A mapping of `length`, `held`, `draws` and `seed` (40, None, 50 and 0) draws them (see
        `Chunks`). `halves` has one inner fold, and takes nothing else.

    Returns
    -------
    list of Fold

    Raises
    ------
    InputError
        If a key is missing, a filter selects nothing, training and test runs overlap, or a fold
        is left without rows.
    """
    runs, times = np.asarray(runs), np.asarray(times, dtype=float)
    _check_order(runs, times)
    if embargo < 0:
        raise InputError(f"folds.embargo: {embargo} s is negative; give 0 or more")
    chunks = None
    if isinstance(inner, Mapping):
        chunks, inner = _chunks(inner, runs, times, embargo), None
    if inner is not None and inner < 2:
        raise InputError(f"folds.inner: {inner} is too few; give at least 2 inner folds")
    labels = _labels(runs, run_labels)
    if scheme == "blocks":
        groups, names = _blocks(len(runs), n)
        folds = _one_out(groups, names, runs, times, embargo, inner)
    elif scheme == "halves":
        if inner is not None or chunks is not None:
            raise InputError("folds.inner: scheme 'halves' has one inner fold; leave 'inner' out")
        folds = _halves(*_blocks(len(runs), n, scheme), runs, times, embargo)
    elif scheme == "runs":
        groups, names = _runs(runs, labels)
        folds = _one_out(groups, names, runs, times, embargo, inner or 5)
    elif scheme == "holdout":
        folds = [_holdout(runs, times, labels, train, test, embargo, inner or 5)]
    else:
        raise InputError(f"folds.scheme: '{scheme}' is not one of {', '.join(SCHEMES)}")
    if chunks is not None:
        folds = [
            replace(fold, inner=chunks.splits(fold.label, fold.train), chunks=chunks)
            for fold in folds
        ]
    for fold in folds:
        _check_fold(fold)
    return folds


def folds_of(response: Any, params: Mapping[str, Any]) -> list[Fold]:
    """Make the folds of a response (or design) from the config's `folds` entry.

    Parameters
    ----------
    response : xarray.DataArray or xarray.Dataset
        With coordinates `run` and `time` on `sample`, and the attribute `runs`.
    params : mapping
        Keyword arguments of `make_folds`.
    """
    return make_folds(
        response["run"].values, response["time"].values, run_labels=run_labels(response), **params
    )


def run_labels(labelled: Any) -> list[str]:
    """Labels of the runs of a response, design or signal: its attribute `runs`."""
    import json

    stored = labelled.attrs.get("runs")
    if stored is None:
        return [f"run-{run}" for run in range(int(labelled["run"].values.max()) + 1)]
    return list(json.loads(stored)) if isinstance(stored, str) else [str(run) for run in stored]


def _chunks(
    inner: Mapping[str, Any], runs: np.ndarray, times: np.ndarray, embargo: float
) -> Chunks:
    """Read how inner folds are drawn from the config's `folds.inner`."""
    given = {"length": 40, "held": None, "draws": 50, "seed": 0, **inner}
    if unknown := sorted(set(given) - {"length", "held", "draws", "seed"}):
        raise InputError(f"folds.inner: '{unknown[0]}' is not one of length, held, draws and seed")
    for name in ("length", "held", "draws"):
        if given[name] is not None and given[name] < 1:
            raise InputError(f"folds.inner.{name}: {given[name]} is too few; give 1 or more")
    return Chunks(**given, runs=runs, times=times, embargo=embargo)


def _check_order(runs: np.ndarray, times: np.ndarray) -> None:
    """Refuse runs that come in pieces, and time that goes backwards."""
    if runs.shape != times.shape or runs.ndim != 1 or len(runs) == 0:
        raise InputError(
            f"folds: {runs.shape} runs and {times.shape} times; give one of each per sample"
        )
    change = np.flatnonzero(np.diff(runs)) + 1
    firsts = runs[np.r_[0, change]]
    if len(set(firsts.tolist())) < len(firsts):
        raise InputError("folds: the samples of a run are not contiguous; sort them by run")
    backwards = np.flatnonzero((np.diff(times) < 0) & (np.diff(runs) == 0))
    if len(backwards):
        raise InputError(
            f"folds: sample {backwards[0] + 1} lies before the one that precedes it in its run; "
            "sort the samples by time"
        )


def _labels(runs: np.ndarray, run_labels: Sequence[str] | None) -> dict[int, str]:
    """Label of each run that occurs."""
    present = list(dict.fromkeys(runs.tolist()))
    if run_labels is None:
        return {run: f"run-{run}" for run in present}
    if max(present) >= len(run_labels) or min(present) < 0:
        raise InputError(
            f"folds: a sample belongs to run {max(present)} but only {len(run_labels)} runs "
            "have labels; the attribute 'runs' must name them all"
        )
    return {run: run_labels[run] for run in present}


def _blocks(n_samples: int, n: int | None, scheme: str = "blocks") -> tuple[np.ndarray, list[str]]:
    """Block number of each sample, and the blocks' names."""
    if n is None or n < 2:
        raise InputError(f"folds.n: scheme '{scheme}' needs at least 2 blocks, not {n}")
    if n > n_samples:
        raise InputError(f"folds.n: {n} blocks of only {n_samples} samples; give fewer blocks")
    sizes = [len(part) for part in np.array_split(np.arange(n_samples), n)]
    return np.repeat(np.arange(n), sizes), [f"block-{block + 1}" for block in range(n)]


def _runs(runs: np.ndarray, labels: Mapping[int, str]) -> tuple[np.ndarray, list[str]]:
    """Group number of each sample, one group per run, and the groups' names."""
    if len(labels) < 2:
        raise InputError(
            "folds.scheme: 'runs' leaves one run out, but there is only "
            f"{next(iter(labels.values()))}; use 'blocks'"
        )
    position = {run: group for group, run in enumerate(labels)}
    return np.array([position[run] for run in runs.tolist()]), list(labels.values())


def _one_out(
    groups: np.ndarray,
    names: list[str],
    runs: np.ndarray,
    times: np.ndarray,
    embargo: float,
    inner: int | None,
) -> list[Fold]:
    """Leave one group out; inner folds leave out unions of the other groups."""
    folds = []
    for group, name in enumerate(names):
        test = groups == group
        train = ~test & ~_near(test, runs, times, embargo)
        others = [other for other in range(len(names)) if other != group]
        if len(others) >= 2:
            parts = np.array_split(np.array(others), min(inner or len(others), len(others)))
            held = [train & np.isin(groups, part) for part in parts]
        else:
            held = _cut(train, inner or 5)
        folds.append(_fold(name, train, test, held, runs, times, embargo))
    return folds


def _halves(
    groups: np.ndarray, names: list[str], runs: np.ndarray, times: np.ndarray, embargo: float
) -> list[Fold]:
    """Leave one group out, whose first half validates and whose second half is tested."""
    reach = max(embargo, 2 * _TOLERANCE)  # rows at the same time are near without an embargo too
    folds = []
    for group, name in enumerate(names):
        held = groups == group
        first, second = _cut(held, 2)
        validation = first & ~_near(second, runs, times, reach)
        train = np.flatnonzero(~held & ~_near(held, runs, times, reach))
        inner = (Split(train, np.flatnonzero(validation)),)
        folds.append(Fold(name, train, np.flatnonzero(second), inner))
    return folds


def _holdout(
    runs: np.ndarray,
    times: np.ndarray,
    labels: Mapping[int, str],
    train: Sequence[Mapping[str, Any]] | None,
    test: Sequence[Mapping[str, Any]] | None,
    embargo: float,
    inner: int,
) -> Fold:
    """One fold from filters by BIDS entity."""
    training = _select("train", train, labels)
    testing = _select("test", test, labels)
    both = sorted(set(training) & set(testing))
    if both:
        raise InputError(
            f"folds: run {labels[both[0]]} is selected by both train and test; "
            "make the filters exclude each other"
        )
    rows = np.isin(runs, training)
    label = "+".join(labels[run] for run in testing)
    return _fold(label, rows, np.isin(runs, testing), _cut(rows, inner), runs, times, embargo)


def _select(
    key: str, filters: Sequence[Mapping[str, Any]] | None, labels: Mapping[int, str]
) -> list[int]:
    """Find the runs whose label fits one of the filters."""
    if not filters:
        raise InputError(f"folds.{key}: scheme 'holdout' needs a list such as [{{task: film}}]")
    filters = [filters] if isinstance(filters, Mapping) else filters
    fitting = set(runs_that_fit(list(labels.values()), filters))
    chosen = [run for run, label in labels.items() if label in fitting]
    if not chosen:
        raise InputError(
            f"folds.{key}: no run fits {[dict(one) for one in filters]}; "
            f"the runs are {', '.join(labels.values())}"
        )
    return chosen


def _cut(rows: np.ndarray, n: int) -> list[np.ndarray]:
    """Cut the selected rows into n contiguous parts, as masks."""
    masks = []
    for part in np.array_split(np.flatnonzero(rows), n):
        mask = np.zeros(len(rows), dtype=bool)
        mask[part] = True
        masks.append(mask)
    return masks


def _fold(
    label: str,
    train: np.ndarray,
    test: np.ndarray,
    held: Sequence[np.ndarray],
    runs: np.ndarray,
    times: np.ndarray,
    embargo: float,
) -> Fold:
    """Build a fold from masks; the inner held-out parts get their own embargo."""
    inner = tuple(
        Split(
            np.flatnonzero(train & ~part & ~_near(part, runs, times, embargo)),
            np.flatnonzero(part),
        )
        for part in held
    )
    return Fold(label, np.flatnonzero(train), np.flatnonzero(test), inner)


def _near(held: np.ndarray, runs: np.ndarray, times: np.ndarray, embargo: float) -> np.ndarray:
    """Mask of rows closer than `embargo` seconds to a held-out row of the same run."""
    near = np.zeros(len(held), dtype=bool)
    if embargo <= 0:
        return near
    for run in np.unique(runs[held]):
        rows = np.flatnonzero(runs == run)
        out = np.sort(times[rows[held[rows]]])
        after = np.searchsorted(out, times[rows])
        to_next = out[np.minimum(after, len(out) - 1)] - times[rows]
        to_last = times[rows] - out[np.maximum(after - 1, 0)]
        distance = np.minimum(np.abs(to_next), np.abs(to_last))
        near[rows[distance < embargo - _TOLERANCE]] = True
    return near


def _check_fold(fold: Fold) -> None:
    """Refuse folds with too few rows to fit or to correlate."""
    parts = {"the training": fold.train, "the test": fold.test}
    for number, split in enumerate(fold.inner, start=1):
        parts[f"the training of inner fold {number}"] = split.train
        parts[f"the test of inner fold {number}"] = split.test
    for name, rows in parts.items():
        if len(rows) < 2:
            raise InputError(
                f"folds: {len(rows)} rows are left for {name} of fold {fold.label}; "
                "use fewer folds or a shorter embargo"
            )
