"""Progress of long work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(
    items: Iterable[Item], what: str, total: int | None = None, every: float = 10.0
) -> Iterator[Item]:
    """Iterate over `items` and report how far it has come on standard error.

    Parameters
    ----------
    items : iterable
    what : str
        What is being done, for example "extracting features".
    total : int, optional
        Number of items where `len(items)` does not tell.
    every : float
        Seconds between two lines when standard error is not a terminal.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, file=sys.stderr)
        return
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= every:
            last = now
            share = f"{done}/{total}" if total else str(done)
            print(f"{what}: {share}, {now - start:.0f} s", file=sys.stderr, flush=True)
    print(f"{what}: {done} done in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
