"""Ceilings by target, and which fold's score they limit."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from braid.common import InputError
from braid.inference import (
    CEILINGS_COLUMNS,
    SITES_COLUMNS,
    ceilings_table,
    collect_tables,
    from_repeats,
    split_half,
)

TARGETS = ["a", "b", "c"]
RUNS = ["task-film_run-1", "task-film_run-2", "task-film_acq-test_run-1"]


def repeats(n_repeats=4, time=400, targets=3, noise=1.0):
    """Responses of repeats one after the other, and the rows of each."""
    generator = np.random.default_rng(0)
    signal = generator.standard_normal((time, targets)) * [1.0, 0.5, 0.0]
    values = np.vstack(
        [signal + noise * generator.standard_normal(signal.shape) for _ in range(n_repeats)]
    )
    response = xr.DataArray(
        values.astype(np.float32),
        {
            "target": TARGETS,
            "site": ("target", TARGETS),
            "region": ("target", ["r", "r", "s"]),
        },
        ("sample", "target"),
    )
    return response, [np.arange(time) + time * number for number in range(n_repeats)]


def test_the_table_holds_what_the_estimators_give():
    response, rows = repeats()
    table = ceilings_table(response, {RUNS[2]: rows}, seed=1)
    assert list(table.columns) == list(CEILINGS_COLUMNS)
    stacked = response.values.reshape(4, 400, 3)
    found = from_repeats(stacked)
    np.testing.assert_allclose(table["ceiling"], found.ceiling)
    np.testing.assert_allclose(table["signal"], found.signal)
    np.testing.assert_allclose(table["reliability"], split_half(stacked, 0))
    assert set(table["run"]) == {RUNS[2]} and set(table["n_repeats"]) == {4}
    # planted: signal 1, .25 and 0 of the noise's variance
    np.testing.assert_allclose(table["signal"], [0.5, 0.2, 0.0], atol=0.1)


def test_a_block_of_targets_changes_nothing(monkeypatch):
    response, rows = repeats()
    whole = ceilings_table(response, {RUNS[2]: rows}, seed=1)
    monkeypatch.setattr("braid.inference.repeated._BLOCK", 2)
    pd.testing.assert_frame_equal(ceilings_table(response, {RUNS[2]: rows}, seed=1), whole)


def sites(best_bin=np.nan, names=TARGETS):
    table = pd.DataFrame({name: pd.Series(dtype=object) for name in SITES_COLUMNS})
    table["site"] = names
    labels = {"analysis": "film", "subject": "01", "model": "net"}
    return table.assign(**labels, score=0.1, p=0.5, significant=False, best_bin=best_bin)


def fit(folds, targets=TARGETS):
    """Fit of the last run and two others of ten samples, in these folds."""
    score = np.array([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.6, 0.5, 0.4]])
    n_folds = max(folds) + 1
    return xr.Dataset(
        {
            "score": (("layer", "target"), [score.mean(axis=0)] * 2),
            "score_validation": (("layer", "target"), [score.mean(axis=0)] * 2),
            "score_fold": (("layer", "fold", "target"), [score[:n_folds] * 0, score[:n_folds]]),
            "fold": ("sample", np.repeat(folds, 5)),
        },
        coords={
            "layer": ["l0", "l1"],
            "target": list(targets),
            "run": ("sample", np.repeat([0, 1, 2], 10)),
        },
        attrs={"chosen_layer": "l1", "runs": json.dumps(RUNS)},
    )


def ceilings(run=RUNS[2], targets=TARGETS):
    return pd.DataFrame({"run": run, "target": targets, "ceiling": [0.64, 0.25, 0.01]})


def collected(folds, table, found=None, **changes):
    tables = collect_tables(
        [sites(**changes)] if found is None else [found],
        [],
        {("film", "net", "01"): fit(folds, table["target"].unique())},
        {},
        {},
        {},
        {("film", "01"): table},
    )
    return tables["sites"]


LEAVE_ONE_OUT = [0, 0, 1, 1, 2, 2]


def test_only_the_fold_that_tests_the_mean_is_normalised():
    table = collected(LEAVE_ONE_OUT, ceilings())
    np.testing.assert_allclose(table["ceiling"].astype(float), [0.64, 0.25, 0.01])
    # .6 / .8 and .5 / .5 of the third fold; a ceiling of .01 is too low to divide by
    np.testing.assert_allclose(table["normalised"].astype(float), [0.75, 1.0, np.nan])


@pytest.mark.parametrize(
    "folds",
    [
        [0, 0, 1, 1, 1, 2],  # the mean is cut in two
        [0, 0, 1, 1, 1, 1],  # and tested together with another run
        [0, 0, 1, 1, -1, -1],  # or trained on
    ],
)
def test_without_such_a_fold_there_is_no_normalised_score(folds):
    table = collected(folds, ceilings())
    assert table["normalised"].isna().all()
    np.testing.assert_allclose(table["ceiling"].astype(float), [0.64, 0.25, 0.01])


def test_two_repeated_runs_are_averaged():
    both = pd.concat([ceilings(), ceilings(RUNS[1]).assign(ceiling=0.16)])
    table = collected(LEAVE_ONE_OUT, both)
    np.testing.assert_allclose(table["ceiling"].astype(float), [0.4, 0.205, 0.085])
    np.testing.assert_allclose(table["normalised"][0], (0.75 + 0.2 / 0.4) / 2)


def test_windows_take_the_ceiling_of_the_best_one():
    names = ["e@-0.100", "e@+0.000", "e@+0.100"]
    table = collected(LEAVE_ONE_OUT, ceilings(targets=names), best_bin=0.0, names=["e"])
    np.testing.assert_allclose(table["ceiling"].astype(float), [0.25])
    np.testing.assert_allclose(table["normalised"].astype(float), [1.0])


def test_studies_without_repeats_have_empty_columns():
    tables = collect_tables([sites()], [], {("film", "net", "01"): fit(LEAVE_ONE_OUT)}, {}, {}, {})
    assert tables["sites"][["ceiling", "normalised"]].isna().all().all()
    assert tables["timing"].empty and "lag" in tables["timing"].columns


def test_ceilings_of_other_targets_are_refused():
    with pytest.raises(InputError, match="target b is not among them"):
        collected(LEAVE_ONE_OUT, ceilings(targets=["a", "x", "c"]), sites())
