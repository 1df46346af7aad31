import numpy as np
import pandas as pd
import pytest

from braid.common import InputError
from braid.inference import EVALUATION_COLUMNS, evaluate
from braid.inference.evaluation import (
    lower_bound,
    planted_in_both,
    planted_kinds,
    right_models,
    upper_bound,
)

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
            "p": np.where(truth["kind"].isin(called), 0.01, 0.5),
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
    assert len(table) == 4 + 5 + 6 + 10


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
    for what in ("called combination", "with combination p <= .05"):
        assert not table.loc[f"share of 10 sum sites {what}", "pass"]
        assert not none.loc[f"share of 10 joint sites {what}", "pass"]


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


FILM = {"kind": "bold", "tasks": ["film"], "compare": COMPARE}
STORY = {"kind": "bold", "tasks": ["story"], "compare": {}}
BOTH = {"film": FILM, "story": STORY}


def transfers_of(truth, found, models=("read",), name="across"):
    """Table of a transfer whose models find these sites, by their numbers."""
    return pd.DataFrame(
        [
            {
                "transfer": name,
                "subject": "01",
                "model": model,
                "site": site,
                "p": 0.01 if number in found else 0.5,
                "significant": number in found,
            }
            for model in models
            for number, site in enumerate(truth["site"])
        ]
    )


def transfer_result(truth, found, models=("read",), **settings):
    truth = truth.assign(kind_of_recording="bold")
    tables = tables_of(truth)
    for table in tables.values():
        table["analysis"] = "film"
    story = [table.assign(analysis="story") for table in tables.values()]
    tables = {
        name: pd.concat([table, again])
        for (name, table), again in zip(tables.items(), story, strict=True)
    }
    tables["transfers"] = transfers_of(truth, found, models)
    entry = {"source": "film", "target": "story", **settings}
    table = evaluate(tables, truth, BOTH, {"across": entry})
    assert list(table.columns) == list(EVALUATION_COLUMNS)
    return table[table["stage"] == "transfer"].set_index("measure")


def test_a_transfer_can_find_only_what_drives_both_analyses(truth):
    planted = planted_in_both(truth.assign(kind_of_recording="bold"), FILM, STORY)
    planted = planted.set_index("site").loc[truth["site"]]
    assert list(planted["kind"]) == [
        kind if kind == "language" else "language" if kind == "sum" else "silent" for kind in KINDS
    ]
    # of sum sites, half of the drive is absent from the story
    assert list(planted["clear"]) == [kind == "language" for kind in KINDS]
    assert list(planted["partial"]) == [kind == "sum" for kind in KINDS]
    turned = planted_in_both(truth.assign(kind_of_recording="bold"), STORY, FILM)
    assert turned.set_index("site").loc[truth["site"]].equals(planted)


def test_within_one_kind_of_task_a_transfer_can_find_everything(truth):
    planted = planted_in_both(truth, ANALYSES["film"], ANALYSES["film"]).set_index("site")
    assert list(planted.loc[truth["site"], "kind"]) == KINDS
    assert planted["clear"].sum() == 40
    assert not planted["partial"].any()


def test_a_transfer_that_finds_the_truth_passes(truth):
    table = transfer_result(truth, found=range(10, 30))
    assert table["pass"].all()
    assert list(table.index) == [
        "across: share of 80 silent sites with p <= .05 by read",
        "across: share of 80 silent sites called significant by read",
        "across: share of 10 clearly driven sites found",
        "across: share of 10 clearly driven language sites found",
        "across: share of 10 sum sites found",
    ]
    assert list(table["value"]) == [0, 0, 1, 1, 1]


def test_a_transfer_that_carries_over_what_is_absent_fails(truth):
    # vision sites are silent in the story, whatever drives them in the film
    assert upper_bound(80) == pytest.approx(7 / 80)
    measure = "across: share of 80 silent sites called significant by read"
    assert transfer_result(truth, found=range(7)).loc[measure, "pass"]
    beyond = transfer_result(truth, found=range(8))
    assert not beyond.loc[measure, "pass"]
    assert beyond.loc[measure, "value"] == pytest.approx(8 / 80)


def test_a_transfer_that_misses_what_drives_both_fails(truth):
    assert lower_bound(10, 0.8) == pytest.approx(0.6)
    table = transfer_result(truth, found=[10, 11, 12, 13, 14, 20])
    assert not table.loc["across: share of 10 clearly driven language sites found", "pass"]
    assert table.loc["across: share of 10 clearly driven language sites found", "value"] == 0.5
    # one of ten is what chance gives
    assert upper_bound(10) == pytest.approx(0.2)
    assert not table.loc["across: share of 10 sum sites found", "pass"]


def test_only_models_of_the_right_kind_can_find_what_a_transfer_carries(truth):
    table = transfer_result(truth, found=range(10, 30), models=("read_untrained", "see"))
    assert list(table.index) == [
        f"across: share of 80 silent sites {what} {who}"
        for who in ("by read_untrained", "over models")
        for what in ("with p <= .05", "called significant")
    ]


def test_a_transfer_whose_sites_have_no_truth_is_refused(truth):
    tables = {**tables_of(truth), "transfers": transfers_of(truth, (), name="other")}
    entry = {"across": {"source": "film", "target": "film"}}
    with pytest.raises(InputError, match="none of the tested sites of transfer 'across'"):
        evaluate(tables, truth, ANALYSES, entry)
