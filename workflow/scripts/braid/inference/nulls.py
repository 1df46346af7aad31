"""Null permutations of responses: which row each row takes its response from.

Whole rows move, so all targets move together. All kinds but `image` stay within runs. When to use
which, and how far each can be trusted, stands in `README.md` beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from braid.common import InputError, rng

KINDS = ("circular_shift", "block", "shuffle", "image")
_MANY = 10**18
_MARGIN = 10  # samples that a circular shift keeps clear beyond the span of the delays


@dataclass(frozen=True)
class Draws:
    """Draws of one kind of null.

    Attributes
    ----------
    kind : str
    rows : numpy.ndarray of int32, (draws, n)
        Row i takes the response of row `rows[draw, i]`.
    distinct : int
        How many different permutations there are (at most 10^18 is said).
    note : str
        What a reader must know about these draws; empty if nothing.
    """

    kind: str
    rows: np.ndarray
    distinct: int
    note: str = ""


def draw_permutations(
    kind: str,
    runs: np.ndarray,
    times: np.ndarray,
    n: int,
    seed: int,
    min_shift: float = 20.0,
    block: float = 20.0,
    span: int = 0,
    run_labels: Sequence[str] | None = None,
    units: np.ndarray | None = None,
    roles: np.ndarray | None = None,
) -> Draws:
    """Draw permutations of the rows.

    Parameters
    ----------
    kind : {"circular_shift", "block", "shuffle", "image"}
        `circular_shift` rotates each run, keeping the autocorrelation of the responses, except
        where the run's ends meet: runs should last many autocorrelation times. Runs rotate
        independently. Where rows are events, it rotates the pairing of stimuli with responses
        by whole events, and `min_shift` counts seconds of the recording between an event and
        the one whose response it takes: the "event shift" of event-locked designs.
        `block` exchanges blocks of `block` seconds within runs, without
        replacement, with a random origin; it keeps the autocorrelation up to that length.
        `shuffle` exchanges single rows: anti-conservative where rows are autocorrelated.
        `image` exchanges whole units (pictures, words) of single-trial designs: the repeats of
        one unit take the responses to the repeats of another one, in their order. Two units are
        exchanged only if their repeats have the same `roles`, so that every row stays among
        the training, or the test, rows of each fold. Units may come from different runs: the
        responses must be comparable between runs, and the order of presentation random.
    runs, times : array, (n,)
        Run and time (s) of each row, in order.
    n : int
        Draws wanted. If fewer than `n` permutations exist (circular shifts of few, short runs),
        each is given once.
    seed : int
    min_shift : float
        s; no row takes the response of a row nearer than this (`circular_shift`).
    block : float
        s.
    span : int
        Samples that the delays span; circular shifts exceed it by ten samples.
    run_labels : sequence of str, optional
        For messages.
    units : array, (n,), optional
        Name of the unit of each row (`image`).
    roles : array, (n,), optional
        What each row is used for, for example the fold that tests it (`image`).

    Raises
    ------
    InputError
        If the kind is unknown, a run is too short for it, or no two units can be exchanged.
    """
    if kind not in KINDS:
        raise InputError(f"test.nulls: '{kind}' is not one of {', '.join(KINDS)}")
    if kind == "image":
        return _images(units, np.zeros(len(runs)) if roles is None else roles, n, seed)
    starts = np.r_[0, np.flatnonzero(np.diff(runs)) + 1, len(runs)]
    pieces = [slice(a, b) for a, b in pairwise(starts)]
    names = [
        run_labels[int(runs[piece.start])] if run_labels else f"run-{runs[piece.start]}"
        for piece in pieces
    ]
    generator = rng(seed, "null", kind)
    if kind == "circular_shift":
        allowed = [
            allowed_shifts(times[piece], min_shift, span + _MARGIN, name)
            for piece, name in zip(pieces, names, strict=True)
        ]
        return _shifts(pieces, allowed, len(runs), n, generator)
    rows = np.empty((n, len(runs)), dtype=np.int32)
    distinct = 1
    for piece, name in zip(pieces, names, strict=True):
        size = piece.stop - piece.start
        if kind == "shuffle":
            moved = generator.permuted(np.tile(np.arange(size), (n, 1)), axis=1)
            count = math.factorial(min(size, 25))
        else:
            moved, count = _exchanged(times[piece], block, n, generator, name)
        rows[:, piece] = moved + piece.start
        distinct = min(distinct * count, _MANY)
    note = "anti-conservative where rows are autocorrelated" if kind == "shuffle" else ""
    return Draws(kind, rows, distinct, note)


def _images(units: np.ndarray | None, roles: np.ndarray, n: int, seed: int) -> Draws:
    """Exchange whole units that have as many repeats, in the same roles."""
    if units is None:
        raise InputError(
            "test.nulls: 'image' needs the unit of every sample, but the responses have no "
            "coordinate 'unit'; use 'circular_shift' or 'block'"
        )
    rows_of: dict[str, list[int]] = {}
    for row, unit in enumerate(np.asarray(units).astype(str)):
        rows_of.setdefault(unit, []).append(row)
    alike: dict[tuple, list[list[int]]] = {}
    for rows_of_unit in rows_of.values():
        alike.setdefault(tuple(sorted(roles[rows_of_unit].tolist())), []).append(rows_of_unit)
    fixed = sum(len(members) == 1 for members in alike.values())
    if fixed == len(alike):
        raise InputError(
            f"test.nulls: no two of the {len(rows_of)} units have repeats in the same folds, so "
            "'image' cannot exchange any; use 'circular_shift' or 'block'"
        )
    generator = rng(seed, "null", "image")
    drawn = np.tile(np.arange(len(roles), dtype=np.int32), (n, 1))
    distinct = 1
    for members in alike.values():
        # repeats by role and then by time, so that each keeps its role
        rows = np.array([sorted(one, key=lambda row: (roles[row], row)) for one in members])
        order = generator.permuted(np.tile(np.arange(len(rows)), (n, 1)), axis=1)
        drawn[:, rows] = rows[order]
        distinct = min(distinct * math.factorial(min(len(rows), 25)), _MANY)
    note = f"{fixed} of {len(rows_of)} units have no partner and stay in place" if fixed else ""
    return Draws("image", drawn, distinct, note)


def allowed_shifts(times: np.ndarray, min_shift: float, min_rows: int, name: str) -> np.ndarray:
    """Shifts (rows) of one run that put every row far from the response it takes.

    A shift by s rows pairs rows s apart, and at the wrapped end rows size - s apart; both must
    be at least `min_rows` rows and `min_shift` seconds from each other.

    Raises
    ------
    InputError
        If there is none.
    """
    size = len(times)
    # the smallest time between rows s apart, for every s
    gap = np.array([np.min(times[s:] - times[: size - s]) for s in range(size)])
    s = np.arange(1, size)
    tolerance = 1e-6
    fits = (gap[s] >= min_shift - tolerance) & (gap[size - s] >= min_shift - tolerance)
    fits &= (s >= min_rows) & (size - s >= min_rows)
    if not fits.any():
        raise InputError(
            f"test.min_shift: run {name} ({size} samples, {times[-1] - times[0]:.0f} s) is too "
            f"short for a circular shift by {min_shift:g} s and {min_rows} samples; lower "
            "min_shift or use the null 'block'"
        )
    return s[fits]


def _shifts(
    pieces: list[slice],
    allowed: list[np.ndarray],
    size: int,
    n: int,
    generator: np.random.Generator,
) -> Draws:
    """Circular shifts of all runs; all of them, each once, if there are no more than wanted."""
    distinct = 1
    for shifts in allowed:
        distinct = min(distinct * len(shifts), _MANY)
    if distinct <= 1_000_000:
        # few enough to number them: none comes twice
        number = generator.permutation(distinct)[: min(n, distinct)]
        chosen = np.unravel_index(number, [len(shifts) for shifts in allowed])
    else:
        chosen = tuple(generator.integers(len(shifts), size=n) for shifts in allowed)
    rows = np.empty((len(chosen[0]), size), dtype=np.int32)
    for piece, shifts, index in zip(pieces, allowed, chosen, strict=True):
        length = piece.stop - piece.start
        moved = (np.arange(length) - shifts[index][:, None]) % length
        rows[:, piece] = moved + piece.start
    note = ""
    if len(rows) < n:
        note = f"only {distinct} distinct shifts exist; {n} were asked for"
    return Draws("circular_shift", rows, distinct, note)


def _exchanged(
    times: np.ndarray, block: float, n: int, generator: np.random.Generator, name: str
) -> tuple[np.ndarray, int]:
    """Rows of one run with its blocks in random order, (n, rows), and the number of orders."""
    length = times[-1] - times[0]
    if length < 2 * block:
        raise InputError(
            f"test.block: run {name} ({length:.0f} s) holds fewer than two blocks of {block:g} s; "
            "use shorter blocks"
        )
    moved = np.empty((n, len(times)), dtype=np.int64)
    origins = generator.uniform(0.0, block, size=n)
    for draw, origin in enumerate(origins):
        number = np.floor((times - times[0] + origin) / block).astype(int)
        cuts = np.flatnonzero(np.diff(number)) + 1
        blocks = np.split(np.arange(len(times)), cuts)
        moved[draw] = np.concatenate([blocks[i] for i in generator.permutation(len(blocks))])
    return moved, math.factorial(min(int(length // block), 25))
