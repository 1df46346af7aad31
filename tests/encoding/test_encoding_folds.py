import numpy as np
import pytest

from braid.common import InputError
from braid.encoding.fit import whole_fold
from braid.encoding.folds import make_folds
from braid.encoding.layout import layout_of
from braid.encoding.missing import folds_within

LABELS = ["task-a_run-01", "task-a_run-02", "ses-2_task-b", "task-c_acq-x"]


def times_of(runs: np.ndarray, step: float = 1.0) -> np.ndarray:
    return np.concatenate([np.arange(np.sum(runs == run)) * step for run in np.unique(runs)])


@pytest.fixture
def runs() -> np.ndarray:
    return np.repeat([0, 1, 2, 3], [40, 41, 30, 29])


def sets(folds):
    for fold in folds:
        yield fold.train, fold.test
        for split in fold.inner:
            yield split.train, split.test


@pytest.mark.parametrize("scheme", ["blocks", "runs", "holdout"])
@pytest.mark.parametrize("embargo", [0.0, 3.0])
def test_train_and_test_are_apart_by_the_embargo(runs, scheme, embargo):
    times = times_of(runs)
    options = {
        "blocks": {"n": 4},
        "runs": {},
        "holdout": {"train": {"task": "a"}, "test": [{"task": "b"}, {"task": "c"}]},
    }[scheme]
    folds = make_folds(runs, times, scheme, embargo=embargo, run_labels=LABELS, **options)
    for train, test in sets(folds):
        same = runs[train][:, None] == runs[test]
        distance = np.abs(times[train][:, None] - times[test])
        assert not set(train) & set(test)
        assert distance[same].min(initial=np.inf) >= max(embargo, 1.0)


def test_every_row_is_tested_once_and_inner_folds_cover_the_training_rows(runs):
    folds = make_folds(runs, times_of(runs), "blocks", n=5, embargo=2.0)
    assert np.array_equal(np.sort(np.concatenate([f.test for f in folds])), np.arange(len(runs)))
    for fold in folds:
        assert np.array_equal(
            np.sort(np.concatenate([split.test for split in fold.inner])), fold.train
        )
        assert all(not set(split.train) & set(fold.test) for split in fold.inner)


def test_embargo_is_seconds_of_the_same_run_only():
    runs, times = np.repeat([0, 1], 20), np.tile(np.arange(20) * 0.5, 2)
    first, second = make_folds(runs, times, "blocks", n=2, embargo=2.0, inner=3)
    # the cut lies between the runs, so nothing is dropped
    assert len(first.train) == len(second.train) == 20
    cut_inside = make_folds(runs, times, "blocks", n=4, embargo=1.0)[0]
    # rows 10 and 11 lie 0.5 and 1.0 s after the last held-out row; 1.0 s is far enough
    assert cut_inside.train[0] == 11


def test_runs_scheme_holds_out_runs_and_groups_the_inner_ones(runs):
    folds = make_folds(runs, times_of(runs), "runs", run_labels=LABELS, inner=2)
    assert [fold.label for fold in folds] == LABELS
    assert [set(runs[fold.test]) for fold in folds] == [{0}, {1}, {2}, {3}]
    assert [set(runs[split.test]) for split in folds[0].inner] == [{1, 2}, {3}]


def test_two_runs_have_inner_blocks():
    runs = np.repeat([0, 1], 50)
    first = make_folds(runs, times_of(runs), "runs", embargo=2.0)[0]
    assert len(first.inner) == 5
    assert all(set(runs[split.train]) == {1} for split in first.inner)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ({"task": "a"}, {0, 1}),
        ({"task": ["b", "c"]}, {2, 3}),
        ({"run": "1"}, {0}),
        ({"session": 2}, {2}),
        ({"acquisition": "x", "task": "c"}, {3}),
        ([{"run": "02"}, {"task": "b"}], {1, 2}),
    ],
)
def test_holdout_filters_by_entity(runs, wanted, chosen):
    rest = next(
        filters
        for filters in ({"task": "a"}, {"task": "b"}, {"task": "c"})
        if not {0: {0, 1}, 1: {2}, 2: {3}}["abc".index(filters["task"])] & chosen
    )
    fold = make_folds(runs, times_of(runs), "holdout", train=wanted, test=rest, run_labels=LABELS)[
        0
    ]
    assert set(runs[fold.train]) == chosen


def test_drawn_inner_folds_hold_out_whole_chunks_of_the_training_rows(runs):
    inner = {"length": 7, "held": 3, "draws": 20, "seed": 4}
    folds = make_folds(runs, times_of(runs), "runs", run_labels=LABELS, inner=inner)
    for fold in folds:
        place = {int(row): number for number, row in enumerate(fold.train)}
        chosen = []
        for split in fold.inner:
            at = np.array([place[int(row)] for row in split.test]).reshape(3, 7)
            assert np.all(at[:, 0] % 7 == 0) and np.all(np.diff(at) == 1)
            assert np.array_equal(np.sort(np.r_[split.train, split.test]), fold.train)
            chosen.append(tuple(at[:, 0] // 7))
        assert len(fold.inner) == 20 and len(set(chosen)) > 10
        # every chunk but the rest at the end is held out some time
        assert {chunk for one in chosen for chunk in one} == set(range(len(fold.train) // 7))


def test_draws_depend_on_the_seed_and_the_fold_alone(runs):
    def held(seed, count=None, runs=runs):
        inner = {"length": 5, "held": 4, "draws": 6, "seed": seed}
        folds = make_folds(runs, times_of(runs), "runs", run_labels=LABELS[:count], inner=inner)
        return [[split.test for split in fold.inner] for fold in folds]

    first, again, other = held(1), held(1), held(2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    equal = np.repeat([0, 1, 2, 3], 40)
    by_fold = [np.array(fold) % 40 for fold in held(1, runs=equal)]
    assert not np.array_equal(by_fold[0], by_fold[1])


def test_a_fifth_is_held_out_and_the_embargo_kept(runs):
    folds = make_folds(
        runs, times_of(runs), "blocks", n=4, embargo=3.0, inner={"length": 10, "draws": 5}
    )
    times = times_of(runs)
    for fold in folds:
        for split in fold.inner:
            assert len(split.test) == 10 * -(-len(fold.train) // 50)
            same = runs[split.train][:, None] == runs[split.test]
            distance = np.abs(times[split.train][:, None] - times[split.test])
            assert distance[same].min() >= 3.0
            assert not set(split.train) & set(fold.test)


def test_all_rows_draw_chunks_of_their_own(runs):
    inner = {"length": 10, "held": 3, "draws": 8}
    folds = make_folds(runs, times_of(runs), "runs", run_labels=LABELS, inner=inner)
    rows = np.arange(len(runs))
    whole = whole_fold(folds, rows)
    assert len(whole.inner) == 8
    for split in whole.inner:
        assert np.array_equal(np.sort(np.r_[split.train, split.test]), rows)
        assert len(split.test) == 30
    # without the rows that a target lacks, chunks are those of the rows that it has
    there = np.delete(rows, [4, 90])
    lacking = folds_within(folds, np.isin(rows, there), "responses")
    assert [len(split.test) for split in whole_fold(lacking, there).inner] == [30] * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scheme": "runs", "inner": {"length": 40, "held": 2}},
            "the 100 training rows of fold task-a_run-01 make 2 chunks of 40, of which 2 cannot",
        ),
        ({"scheme": "runs", "inner": {"draws": 0}}, "folds.inner.draws: 0 is too few"),
        ({"scheme": "runs", "inner": {"lenght": 3}}, "'lenght' is not one of length, held"),
        ({"scheme": "halves", "n": 3, "inner": {"length": 3}}, "leave 'inner' out"),
        ({"scheme": "blocks"}, "needs at least 2 blocks"),
        ({"scheme": "blocks", "n": 1000}, "1000 blocks of only 140 samples"),
        ({"scheme": "block", "n": 3}, "'block' is not one of blocks, halves, runs, holdout"),
        ({"scheme": "blocks", "n": 3, "embargo": -1}, "negative"),
        (
            {"scheme": "blocks", "n": 3, "embargo": 500},
            "0 rows are left for the training of inner fold 2 of fold block-1",
        ),
        ({"scheme": "holdout", "train": {"task": "a"}}, "folds.test: scheme 'holdout' needs"),
        (
            {"scheme": "holdout", "train": {"task": "z"}, "test": {"task": "a"}},
            r"no run fits \[\{'task': 'z'\}\]; the runs are task-a_run-01",
        ),
        (
            {"scheme": "holdout", "train": {"task": "a"}, "test": {"run": "02"}},
            "run task-a_run-02 is selected by both",
        ),
        ({"scheme": "runs", "inner": 1}, "at least 2 inner folds"),
    ],
)
def test_impossible_folds_are_refused(runs, options, message):
    with pytest.raises(InputError, match=message):
        make_folds(runs, times_of(runs), run_labels=LABELS, **options)


def test_disordered_samples_are_refused():
    with pytest.raises(InputError, match="not contiguous"):
        make_folds(np.array([0, 1, 0, 1]), np.arange(4), "blocks", n=2)
    with pytest.raises(InputError, match="sample 2 lies before"):
        make_folds(np.zeros(4, int), np.array([0.0, 2, 1, 3]), "blocks", n=2)
    with pytest.raises(InputError, match="only 1 runs have labels"):
        make_folds(np.repeat([0, 1], 9), np.tile(np.arange(9), 2), "runs", run_labels=["a"])
    with pytest.raises(InputError, match="there is only task-a"):
        make_folds(np.zeros(9, int), np.arange(9), "runs", run_labels=["task-a"])


def test_atoms_make_up_every_set(runs):
    folds = make_folds(runs, times_of(runs), "blocks", n=4, embargo=3.0)
    layout = layout_of(len(runs), folds)
    assert np.array_equal(np.sort(layout.order), np.arange(len(runs)))
    for rows in (part for pair in sets(folds) for part in pair):
        found = layout.order[layout.positions(layout.members(rows))]
        assert np.array_equal(np.sort(found), rows)
    with pytest.raises(ValueError, match="not a union"):
        layout.members(np.array([0]))


def test_unused_rows_belong_to_no_atom(runs):
    folds = make_folds(
        runs,
        times_of(runs),
        "holdout",
        train={"task": "a"},
        test={"task": "c"},
        run_labels=LABELS,
    )
    layout = layout_of(len(runs), folds)
    assert set(runs[layout.order]) == {0, 1, 3}
    assert np.all(layout.atom[runs == 2] == -1)
