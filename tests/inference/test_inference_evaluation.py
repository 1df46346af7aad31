import numpy as np
import pandas as pd
import pytest

from braid.common import InputError
from braid.inference import EVALUATION_COLUMNS, evaluate
from braid.inference.evaluation import planted_kinds, right_models, upper_bound

KINDS = ["vision"] * 10 + ["language"] * 10 + ["sum"] * 10 + ["joint"] * 10 + ["silent"] * 60
COMPARE = {
    "combination": ["fuse", "concat"],
    "trained_vision": ["see", "see_untrained"],
    "trained_language": ["read", "read_untrained"],
    "trained_fusion": ["fuse", "fuse_untrained"],
}
ANALYSES = {"film": {"kind": "ieeg", "tasks": ["film"], "compare": COMPARE}}
SEES = {
    "see": {"vision", "sum"},
    "read": {"language", "sum"},
    "concat": {"vision", "language", "sum"},
    "fuse": {"vision", "language", "sum", "joint"},
}


@pytest.fixture
def truth():
    return pd.DataFrame(
        {
            "kind_of_recording": "ieeg",
            "subject": "01",
            "site": [f"s{number}" for number in range(100)],
            "kind": KINDS,
            "clear": [kind != "silent" for kind in KINDS],
        }
    )


def tables_of(truth, false=(), missed=(), gain=0.2, called=("joint",)):
    rng = np.random.default_rng(0)
    rows = []
    for model in [*SEES, "see_untrained", "read_untrained", "fuse_untrained"]:
        for number, kind in enumerate(KINDS):
            driven = kind in SEES.get(model, ())
            found = (driven and number not in missed) or number in false
            rows.append(
                {
                    "analysis": "film",
                    "subject": "01",
                    "model": model,
                    "site": f"s{number}",
                    "score": rng.normal(0, 0.03) + gain * driven,
                    "p": 0.01 if found else 0.5,
                    "significant": found,
                }
            )
    comparisons = pd.DataFrame(
        {
            "analysis": "film",
            "subject": "01",
            "comparison": "combination",
            "site": truth["site"],
            "p": 0.5,
            "significant": truth["kind"].isin(called),
        }
    )
    return {"sites": pd.DataFrame(rows), "comparisons": comparisons}


def result(tables, truth, analyses=ANALYSES):
    table = evaluate(tables, truth, analyses)
    assert list(table.columns) == list(EVALUATION_COLUMNS)
    assert set(table["stage"]) <= set(analyses)
    return table.set_index("measure")


def test_a_study_that_finds_the_truth_passes_everything(truth):
    table = result(tables_of(truth), truth)
    assert table["pass"].all()
    assert table.loc["share of 40 clearly driven sites found", "value"] == 1.0
    assert table.loc["share of 10 joint sites called combination", "value"] == 1.0
    assert len(table) == 4 + 5 + 6 + 5


def test_false_positives_beyond_the_binomial_bound_fail(truth):
    # 95 % of draws of 60 sites at .05 have at most 6
    assert upper_bound(60) == pytest.approx(6 / 60)
    at_bound = result(tables_of(truth, false=range(40, 46)), truth)
    beyond = result(tables_of(truth, false=range(40, 47)), truth)
    measure = "share of 60 silent sites called significant by fuse"
    assert at_bound.loc[measure, "pass"]
    assert not beyond.loc[measure, "pass"]
    assert beyond.loc[measure, "value"] == pytest.approx(7 / 60)
    assert not beyond.loc["share of 60 silent sites with p <= .05 over models", "pass"]


def test_missed_sites_fail_for_their_kind(truth):
    table = result(tables_of(truth, missed=range(7)), truth)
    assert table.loc["share of 40 clearly driven sites found", "value"] == pytest.approx(33 / 40)
    assert table.loc["share of 40 clearly driven sites found", "pass"]
    assert not table.loc["share of 10 clearly driven vision sites found", "pass"]


def test_networks_that_are_not_better_than_untrained_fail(truth):
    table = result(tables_of(truth, gain=0.0), truth)
    trained = table[table.index.str.contains("untrained")]
    assert len(trained) == 6
    assert not trained["pass"].any()


def test_sum_sites_taken_for_combinations_fail(truth):
    table = result(tables_of(truth, called=("joint", "sum")), truth)
    assert not table.loc["share of 10 sum sites called combination", "pass"]
    assert table.loc["share of 10 language sites called combination", "pass"]
    none = result(tables_of(truth, called=()), truth)
    assert not none.loc["share of 10 joint sites called combination", "pass"]


def test_stories_drive_nothing_that_needs_pictures(truth):
    planted = planted_kinds(truth.assign(kind_of_recording="bold"), "bold", ["story"])
    assert planted["kind"].value_counts().to_dict() == {"silent": 80, "language": 20}
    assert planted["clear"].sum() == 10


def test_right_models_follow_from_the_names_of_the_comparisons():
    assert right_models(COMPARE, "vision") == ["see", "fuse", "concat"]
    assert right_models(COMPARE, "sum") == ["see", "read", "fuse", "concat"]
    assert right_models(COMPARE, "joint") == ["fuse"]
    assert right_models({}, "joint") == []


def test_a_truth_that_does_not_fit_is_refused(truth):
    with pytest.raises(InputError, match="column 'clear' is missing"):
        evaluate(tables_of(truth), truth.drop(columns="clear"), ANALYSES)
    with pytest.raises(InputError, match="none of the tested sites of analysis 'film'"):
        evaluate(tables_of(truth), truth.assign(subject="1"), ANALYSES)
