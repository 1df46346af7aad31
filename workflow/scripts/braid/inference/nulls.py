"""Null permutations of responses: which row each row takes its response from.

Every kind moves responses only within their run, and whole rows at a time, so all targets move
together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from braid.common import InputError, rng

KINDS = ("circular_shift", "block", "shuffle")
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
) -> Draws:
    """Draw permutations of the rows within runs.

    Parameters
    ----------
    kind : {"circular_shift", "block", "shuffle"}
        `circular_shift` rotates each run, keeping the autocorrelation of the responses, except
        where the run's ends meet: runs should last many autocorrelation times. Runs rotate
        independently. `block` exchanges blocks of `block` seconds within runs, without
        replacement, with a random origin; it keeps the autocorrelation up to that length.
        `shuffle` exchanges single rows: anti-conservative where rows are autocorrelated.
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

    Raises
    ------
    InputError
        If the kind is unknown or a run is too short for it.
    """
    if kind not in KINDS:
        raise InputError(f"test.nulls: '{kind}' is not one of {', '.join(KINDS)}")
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
