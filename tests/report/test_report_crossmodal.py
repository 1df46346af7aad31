"""What the page says of alignments and of components that two analyses share."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from report_world import CONFIG, Made

from braid.concepts import SHARED_COLUMNS
from braid.report.crossmodal import SIDES, alignment_view, shared_sentences, shared_view
from braid.report.results import Results, read_results
from braid.transfer import QUALITY_COLUMNS

ENTRY = {
    "pairs": {
        "one": {"language": "toy-clip", "vision": "toy-clip"},
        "two": {"language": "toy-bert", "vision": "toy-vit"},
    }
}
SHARED = {
    "language": "heard", "vision": "seen", "alignment": "captioned", "pair": "one", "n": 2,
    "draws": 199,
}  # fmt: skip


@pytest.fixture(scope="module")
def results(made: Made) -> Results:
    return read_results(made.root, CONFIG)


@pytest.fixture
def crossmodal(results: Results) -> Results:
    """Results with one of two alignments, and shared components."""
    quality = pd.DataFrame(
        [["t", "v", side, 500, 64, 0.5, 0.9, 0.2, 0.01, 0.6, 0.1] for side in SIDES],
        columns=list(QUALITY_COLUMNS),
    )
    table = pd.DataFrame(0.25, index=range(4), columns=list(SHARED_COLUMNS)).assign(
        direction=["language", "language", "vision", "vision"], component=[1, 2, 1, 2],
        significant=[True, True, True, False], n_sites=115, n_subjects=2, n_draws=199,
        spatial="spectral",
    )  # fmt: skip
    config = {
        **results.config,
        "alignments": {"captioned": ENTRY},
        "shared_components": {"meanings": SHARED},
    }
    return replace(
        results, config=config, alignments={("captioned", "one"): quality},
        shared={"meanings": table},
    )  # fmt: skip


def test_alignments_are_listed_and_missing_ones_named(crossmodal: Results) -> None:
    view = alignment_view(crossmodal)
    assert view["missing"] == ["There is no result of the alignment captioned of the pair two."]
    assert [(row["pair"], row["direction"], row["r2"]) for row in view["rows"]] == [
        ("one", "language", 0.5), ("one", "vision", 0.5),
    ]  # fmt: skip
    assert view["rows"][0]["networks"] == {"language": "toy-clip", "vision": "toy-clip"}


def test_shared_components_say_what_they_rest_on(crossmodal: Results) -> None:
    view = shared_view(crossmodal, "meanings")
    assert view["reason"] is None and len(view["rows"]) == 4
    assert view["about"] == "115 sites of 2 subjects; 199 refits; maps of the same smoothness"
    assert view["floor"] == "0.005"
    assert view["ends"] == {}
    assert shared_sentences(crossmodal) == [
        "meanings: on 2 of 2 components of the language model's weights the models of heard and "
        "seen agree over sites.",
        "meanings: on 1 of 2 components of the vision model's weights the models of heard and "
        "seen agree over sites.",
    ]


def test_absent_and_empty_shared_components_give_a_reason(crossmodal: Results) -> None:
    gone = shared_view(replace(crossmodal, shared={}), "meanings")
    assert gone["reason"] == "There is no result of the shared components meanings."
    empty = crossmodal.shared["meanings"].iloc[:0]
    few = shared_view(replace(crossmodal, shared={"meanings": empty}), "meanings")
    assert "Fewer than three sites are predicted in both heard and seen" in few["reason"]


def test_a_study_without_them_says_nothing(results: Results) -> None:
    assert alignment_view(results) == {"rows": [], "missing": []}
    assert shared_sentences(results) == []
