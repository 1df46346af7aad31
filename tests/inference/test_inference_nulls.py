import math

import numpy as np
import pytest

from braid.common import InputError
from braid.inference.nulls import allowed_shifts, draw_permutations

RUNS = np.repeat([0, 1], [120, 90])
TIMES = np.concatenate([np.arange(120) * 1.0, np.arange(90) * 1.0])


@pytest.mark.parametrize("kind", ["circular_shift", "block", "shuffle"])
def test_draws_permute_within_runs_and_repeat_with_the_seed(kind):
    draws = draw_permutations(kind, RUNS, TIMES, 50, seed=3, min_shift=20, block=12)
    assert draws.rows.shape == (50, 210)
    assert np.array_equal(np.sort(draws.rows, axis=1), np.tile(np.arange(210), (50, 1)))
    assert np.array_equal(RUNS[draws.rows], np.tile(RUNS, (50, 1)))
    again = draw_permutations(kind, RUNS, TIMES, 50, seed=3, min_shift=20, block=12)
    other = draw_permutations(kind, RUNS, TIMES, 50, seed=4, min_shift=20, block=12)
    assert np.array_equal(draws.rows, again.rows)
    assert not np.array_equal(draws.rows, other.rows)


def test_circular_shifts_rotate_far_enough_and_runs_independently():
    draws = draw_permutations("circular_shift", RUNS, TIMES, 300, seed=0, min_shift=20)
    distance = np.abs(TIMES[draws.rows] - TIMES)
    assert distance.min() >= 20
    shifts = []
    for run, size in ((0, 120), (1, 90)):
        rows = draws.rows[:, run == RUNS] - np.flatnonzero(run == RUNS)[0]
        step = (np.arange(size) - rows) % size
        assert np.all(step == step[:, :1])
        shifts.append(step[:, 0])
    assert abs(np.corrcoef(shifts)[0, 1]) < 0.25
    # 20 .. 100 of 120 rows and 20 .. 70 of 90
    assert draws.distinct == 81 * 51
    assert len(np.unique(draws.rows, axis=0)) == 300


def test_shifts_of_events_respect_seconds_not_rows():
    """Words come in bursts: a shift by few rows may be short or long in time."""
    times = np.sort(np.random.default_rng(0).uniform(0, 300, 250))
    shifts = allowed_shifts(times, 20.0, 10, "run")
    for shift in shifts:
        taken = (np.arange(250) - shift) % 250
        assert np.abs(times - times[taken]).min() >= 20.0 - 1e-6
    refused = np.setdiff1d(np.arange(1, 250), shifts)
    for shift in refused:
        taken = (np.arange(250) - shift) % 250
        assert np.abs(times - times[taken]).min() < 20.0


def test_shifts_exceed_the_span_of_the_delays_by_ten_samples():
    draws = draw_permutations(
        "circular_shift", RUNS, TIMES, 100, seed=0, min_shift=0, span=5, run_labels=["a", "b"]
    )
    assert np.abs(TIMES[draws.rows] - TIMES).min() == 15


def test_few_shifts_are_all_given_once_and_said_so():
    runs, times = np.zeros(50, int), np.arange(50) * 1.0
    draws = draw_permutations("circular_shift", runs, times, 500, seed=0, min_shift=20)
    assert draws.distinct == len(draws.rows) == 11
    assert len(np.unique(draws.rows, axis=0)) == 11
    assert draws.note == "only 11 distinct shifts exist; 500 were asked for"


def test_blocks_keep_neighbours_together():
    draws = draw_permutations("block", RUNS, TIMES, 40, seed=1, block=12)
    neighbours = np.diff(draws.rows, axis=1) == 1
    assert 0.85 < neighbours.mean() < 0.97
    # a random origin: the cuts lie elsewhere in every draw
    cuts = {tuple(np.flatnonzero(~row)) for row in neighbours}
    assert len(cuts) > 30
    assert draws.distinct == min(math.factorial(9) * math.factorial(7), 10**18)


def test_short_runs_and_unknown_kinds_are_refused():
    runs, times = np.zeros(30, int), np.arange(30) * 1.0
    with pytest.raises(
        InputError, match=r"run task-film \(30 samples, 29 s\) is too short .* or use the null"
    ):
        draw_permutations("circular_shift", runs, times, 5, 0, 20, run_labels=["task-film"])
    with pytest.raises(InputError, match=r"run-0 \(29 s\) holds fewer than two blocks of 20 s"):
        draw_permutations("block", runs, times, 5, 0, block=20)
    with pytest.raises(
        InputError, match="'flip' is not one of circular_shift, block, shuffle, image"
    ):
        draw_permutations("flip", runs, times, 5, 0)


def test_repeats_of_an_image_move_together_and_keep_their_folds():
    """Every unit takes the responses of one other unit that is shown in the same folds."""
    units = np.array(list("abcdabcdeefgfg"))
    roles = np.array([0, 0, 1, 1, 0, 0, 1, 1, 0, 1, 0, 0, 2, 2])
    n = np.zeros(14, int), np.arange(14) * 1.0
    draws = draw_permutations("image", *n, 300, seed=0, units=units, roles=roles)
    assert np.array_equal(roles[draws.rows], np.tile(roles, (300, 1)))
    for rows in draws.rows:
        assert np.array_equal(np.sort(rows), np.arange(14))
        for unit in "abcdefg":
            mine = np.flatnonzero(units == unit)
            taken = rows[mine]
            assert len(set(units[taken])) == 1
            assert np.all(np.diff(taken) > 0)
    # a <-> b, c <-> d, f <-> g; e alone is shown in folds 0 and 1
    assert len(np.unique(draws.rows, axis=0)) == draws.distinct == 8
    assert draws.note == "1 of 7 units have no partner and stay in place"


def test_images_need_units_and_partners():
    n = np.zeros(4, int), np.arange(4) * 1.0
    with pytest.raises(InputError, match="needs the unit of every sample"):
        draw_permutations("image", *n, 5, 0)
    with pytest.raises(InputError, match="no two of the 2 units have repeats in the same folds"):
        draw_permutations("image", *n, 5, 0, units=np.array(list("aaab")))


def test_events_shift_by_seconds_of_the_recording():
    """The event shift of event-locked designs is a circular shift of rows that are events."""
    times = np.cumsum(np.random.default_rng(1).gamma(2.0, 0.3, size=400))
    draws = draw_permutations("circular_shift", np.zeros(400, int), times, 200, 0, min_shift=4.2)
    assert np.abs(times[draws.rows] - times).min() >= 4.2
    assert np.all((np.arange(400) - draws.rows) % 400 == (-draws.rows[:, :1]) % 400)
