"""Work that runs ahead of the one who needs it, in threads, in order and bounded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def run_ahead(source: Iterable[Item], depth: int) -> Iterator[Iterator[Item]]:
    """Iterate over `source` in a thread of its own while the block uses what came before.

    Parameters
    ----------
    source : iterable
        Its errors are raised where the block asks for the item that could not be made.
    depth : int
        Number of items that may wait or be at work; the thread rests until one is taken.

    Yields
    ------
    iterator
        The items, in order. When the block ends, for whatever reason, the thread ends after the
        item at work, a generator is closed, and nothing runs on.
    """
    made: SimpleQueue[tuple[bool, Item | BaseException | None]] = SimpleQueue()
    room = threading.Semaphore(depth)
    stopped = threading.Event()

    def make() -> None:
        iterator = iter(source)
        try:
            while True:
                room.acquire()
                if stopped.is_set():
                    break
                made.put((True, next(iterator)))
        except StopIteration:
            made.put((False, None))
        except BaseException as error:
            made.put((False, error))
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()

    def take() -> Iterator[Item]:
        while True:
            there, item = made.get()
            if not there:
                if isinstance(item, BaseException):
                    raise item
                return
            room.release()
            yield item  # type: ignore[misc]
            del item

    thread = threading.Thread(target=make, name="braid-ahead", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        room.release()
        thread.join()


def map_ahead(
    pool: ThreadPoolExecutor, calls: Iterable[Callable[[], Item]], depth: int
) -> Iterator[Item]:
    """Results of calls that run in a pool, in order; at most `depth` of them are begun."""
    begun: deque[Future[Item]] = deque()
    try:
        for call in calls:
            if len(begun) == depth:
                yield begun.popleft().result()
            begun.append(pool.submit(call))
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()


@contextmanager
def run_behind(depth: int) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Give a function that hands work to one thread, which does it in order.

    At most `depth` pieces wait; an error of a piece is raised when a later one is handed over, or
    at the end of the block. Where the block fails, pieces that wait are not done.
    """
    begun: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="braid-behind") as pool:

        def hand(work: Callable[[], None]) -> None:
            if len(begun) == depth:
                begun.popleft().result()
            begun.append(pool.submit(work))

        try:
            yield hand
            while begun:
                begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
