"""Means over the stretch of a stimulus that belongs to each unit, from samples that stream by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

Rows = Iterator[tuple[np.ndarray, np.ndarray]]
"""Positions of units, and their features."""


def stretches(times: np.ndarray, window: float, rate: float) -> np.ndarray:
    """First sample, and one past the last, of the stretch that begins with each unit.

    Stretches begin at the sample nearest to the unit's onset, and are all of one length.

    Parameters
    ----------
    times : numpy.ndarray
        Onsets of the units, s.
    window : float
        Length of the stretches, s.
    rate : float
        Samples per second; sample k lies at k / rate.

    Returns
    -------
    numpy.ndarray
        int, (unit, 2); each stretch has at least one sample.
    """
    first = np.floor(times * rate + 0.5).astype(int)
    return np.column_stack([first, first + max(1, round(window * rate))])


def needed_blocks(spans: np.ndarray, longest: int) -> list[tuple[int, int]]:
    """Cut the samples that any stretch holds into blocks, in order.

    Parameters
    ----------
    spans : numpy.ndarray
        int, (unit, 2), see `stretches`.
    longest : int
        Most samples of a block.

    Returns
    -------
    list of (int, int)
        First sample, and one past the last, of each block.
    """
    joined: list[list[int]] = []
    for first, last in spans[np.argsort(spans[:, 0], kind="stable")].tolist():
        if joined and first <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return [
        (start, min(start + longest, last))
        for first, last in joined
        for start in range(first, last, longest)
    ]


def averaged(
    spans: np.ndarray, blocks: Iterable[tuple[int, np.ndarray]], how: str = "mean"
) -> Rows:
    """Average samples over stretches as the samples stream by.

    Parameters
    ----------
    spans : numpy.ndarray
        int, (unit, 2), see `stretches`.
    blocks : iterable of (int, numpy.ndarray)
        Number of the first sample, and samples (sample, feature); in order, and all that are in
        `needed_blocks`.
    how : {"mean", "max"}

    Yields
    ------
    rows : numpy.ndarray
        Position of one unit in `spans`.
    values : numpy.ndarray
        float32 (1, feature). Memory is that of a block and of the units whose stretch it cuts.
    """
    order: Sequence[int] = np.argsort(spans[:, 0], kind="stable").tolist()
    turn = 0
    open_units: dict[int, Any] = {}
    for start, values in blocks:
        end = start + len(values)
        while turn < len(order) and spans[order[turn], 0] < end:
            open_units[order[turn]] = None
            turn += 1
        for unit in list(open_units):
            first, last = spans[unit].tolist()
            part = values[max(first - start, 0) : last - start].astype(np.float64)
            merged = part.sum(axis=0) if how == "mean" else part.max(axis=0, initial=-np.inf)
            if (known := open_units[unit]) is not None:
                merged = known + merged if how == "mean" else np.maximum(known, merged)
            open_units[unit] = merged
            if last <= end:
                done = open_units.pop(unit) / (last - first if how == "mean" else 1)
                yield np.array([unit]), done[None].astype(np.float32)
    if turn < len(order) or open_units:
        raise ValueError("blocks end before the last stretch")
