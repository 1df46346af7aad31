"""Work ahead and behind: order, bounds, errors, and no thread that stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from braid.features.ahead import map_ahead, run_ahead, run_behind

WAIT = 20.0


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_items_come_in_order_from_another_thread() -> None:
    makers: list[int] = []

    def source() -> Iterator[int]:
        for k in range(50):
            makers.append(threading.get_ident())
            yield k

    with run_ahead(source(), 3) as items:
        assert list(items) == list(range(50))
    assert threading.get_ident() not in makers


def test_the_source_runs_ahead_and_no_further_than_it_may() -> None:
    made: list[int] = []
    third = threading.Event()

    def source() -> Iterator[int]:
        for k in range(100):
            made.append(k)
            if k == 2:
                third.set()
            yield k

    with run_ahead(source(), 2) as items:
        assert next(items) == 0
        # one was taken, so two more may be made, without anybody asking for them
        assert third.wait(WAIT)
        assert next(items) == 1
    assert len(made) <= 4


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("no more film")

    taken = []
    with run_ahead(source(), 5) as items, pytest.raises(OSError, match="no more film"):
        for item in items:
            taken.append(item)
    assert taken == [1, 2]


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_block_that_ends_early_closes_the_source(taken: int) -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    with pytest.raises(KeyError), run_ahead(source(), 2) as items:
        for _ in range(taken):
            next(items)
        raise KeyError
    # a source that was never started has nothing to close
    assert closed.is_set() or taken == 0


def test_calls_run_side_by_side_and_come_in_order() -> None:
    together = threading.Barrier(3, timeout=WAIT)

    def call(k: int) -> int:
        together.wait()
        return k * k

    with ThreadPoolExecutor(3) as pool:
        calls = ((lambda k=k: call(k)) for k in range(9))
        assert list(map_ahead(pool, calls, 3)) == [k * k for k in range(9)]


def test_no_more_calls_are_begun_than_may_be() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(2) as pool:
        results = map_ahead(pool, ((lambda k=k: begun.append(k)) for k in range(100)), 4)
        next(results)
        assert len(begun) <= 4
        results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 5


def test_work_behind_is_done_in_order_and_complete() -> None:
    done: list[int] = []
    with run_behind(2) as hand:
        for k in range(20):
            hand(lambda k=k: done.append(k))
    assert done == list(range(20))


def test_an_error_behind_stops_the_block() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"), run_behind(2) as hand:
        hand(fail)
        for k in range(100):
            hand(lambda k=k: done.append(k))
    assert len(done) <= 2
    with pytest.raises(ValueError, match="disk full"), run_behind(2) as hand:
        hand(fail)
