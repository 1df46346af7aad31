"""Integration sites against the planted truth: what counts as a call, and what a check says."""

import pandas as pd
import pytest

from braid.common import InputError
from braid.inference import EVALUATION_COLUMNS, evaluate_integration
from braid.inference.evaluation_integration import called_integration

ALIGNMENTS = ["language", "vision"]
TESTS = ("multimodal", "nonlinear")


def sites_of(**passing):
    """Table of sites: a name and the tests that it passes, as `multimodal_language`."""
    columns = [f"{test}_{alignment}" for test in TESTS for alignment in ALIGNMENTS]
    table = pd.DataFrame([{name: name in tests for name in columns} for tests in passing.values()])
    table.insert(0, "site", list(passing))
    table.insert(0, "subject", "01")
    for test in TESTS:
        own = table[[f"{test}_{alignment}" for alignment in ALIGNMENTS]]
        table[f"{test}_weak"], table[f"{test}_strict"] = own.any(axis=1), own.all(axis=1)
    return table


def truth_of(**kinds):
    """Truth of sites by name; all are clear."""
    return pd.DataFrame(
        {
            "kind_of_recording": "ieeg",
            "subject": "01",
            "site": list(kinds),
            "kind": list(kinds.values()),
            "clear": True,
        }
    )


def checks(sites, truth):
    found = evaluate_integration("study", "recommended", ALIGNMENTS, sites, truth)
    assert list(found.columns) == list(EVALUATION_COLUMNS)
    assert set(found["stage"]) == {"study"}
    return found.set_index(found["measure"].str.removeprefix("recommended: "))


def test_a_call_needs_both_tests_in_one_alignment():
    sites = sites_of(
        both={"multimodal_language", "nonlinear_language"},
        crossed={"multimodal_language", "nonlinear_vision"},
        sums={"multimodal_language", "multimodal_vision"},
        none=set(),
    )
    assert called_integration(sites, ALIGNMENTS).tolist() == [True, False, False, False]


def test_what_was_planted_is_found():
    both = {"multimodal_language", "nonlinear_language"}
    sites = sites_of(
        **{f"J{k}": both for k in range(8)},
        **{f"S{k}": {"multimodal_vision"} for k in range(8)},
        **{f"N{k}": set() for k in range(8)},
    )
    kinds = {"J": "joint", "S": "sum", "N": "silent"}
    table = checks(sites, truth_of(**{name: kinds[name[0]] for name in sites["site"]}))
    assert table.loc["share of 8 clearly driven joint sites called integration", "value"] == 1
    assert table.loc["share of 8 sites called integration that are joint", "value"] == 1
    assert table.loc["share of 8 sum sites called integration", "value"] == 0
    assert table["pass"].all()


def test_mistakes_and_missed_sites_do_not_pass():
    wrong = {"multimodal_vision", "nonlinear_vision"}
    sites = sites_of(**{f"J{k}": set() for k in range(8)}, **{f"S{k}": wrong for k in range(8)})
    table = checks(
        sites, truth_of(**{name: "joint" if name[0] == "J" else "sum" for name in sites["site"]})
    )
    failing = table.index[~table["pass"]].tolist()
    assert failing == [
        "share of 8 clearly driven joint sites called integration",
        "share of 8 sites called integration that are joint",
        "share of 8 sum sites called integration",
        "share of 8 sum sites passing the nonlinear test (vision)",
    ]


def test_a_strict_call_that_is_not_weak_is_told():
    sites = sites_of(J0=set(), S0=set())
    sites.loc[0, "nonlinear_strict"] = True
    table = checks(sites, truth_of(J0="joint", S0="sum"))
    assert not table.loc["strict calls of test nonlinear that are not weak ones", "pass"]


def test_other_names_are_told():
    with pytest.raises(InputError, match="none of the sites of integration 'study'"):
        checks(sites_of(J0=set()), truth_of(K0="joint"))
