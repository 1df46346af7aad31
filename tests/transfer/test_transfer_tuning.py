"""Options for sites tuned with opposite sign: what each makes of the scores of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from two_analyses import PARAMS

from braid.common import InputError
from braid.transfer import TRANSFER_COLUMNS, transfer_sites
from braid.transfer.pair import join
from braid.transfer.tuning import SHRINKAGE, TUNINGS, tuned

OF_SCORES = [name for name in TUNINGS if name != "dim_sign"]


def test_options_by_hand() -> None:
    # runs in rows: positive, inverted, undecided, inverted but barely, absent in one run
    first = [0.3, -0.3, 0.3, -0.02, -0.2]
    second = [0.2, -0.2, -0.3, -0.02, np.nan]
    third = [0.4, -0.1, 0.1, -0.02, -0.4]
    scores = np.array([first, second, third])
    found = dict(zip(OF_SCORES, tuned(OF_SCORES, 3)(scores), strict=True))
    np.testing.assert_allclose(found["none"], [0.3, -0.2, 0.1 / 3, -0.02, -0.3])
    # of the third: others of run 1 sum to -.2, of run 2 to .4, of run 3 to 0
    np.testing.assert_allclose(found["sign_loo"], [0.3, 0.2, (-0.3 - 0.3 + 0) / 3, 0.02, 0.3])
    # the other two runs' -.04 do not outweigh the tenth of a run that speaks for +1
    assert SHRINKAGE > 0.04
    np.testing.assert_allclose(found["gain_loo"], [0.3, 0.2, (-0.3 - 0.3 + 0.1) / 3, -0.02, 0.3])
    np.testing.assert_allclose(found["abs"], np.abs(found["none"]))


def test_a_held_out_sign_does_not_lift_chance() -> None:
    """Of noise, the held-out options have the mean of noise; the magnitude does not."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 20_000)) * 0.1
    found = dict(zip(OF_SCORES, tuned(OF_SCORES, 4)(noise), strict=True))
    for name in ("none", "sign_loo", "gain_loo"):
        assert abs(found[name].mean()) < 4 * 0.05 / np.sqrt(20_000), name
    assert found["abs"].mean() > 0.03


def test_unknown_options_are_refused() -> None:
    with pytest.raises(InputError, match="'flip' is not one of none, sign_loo"):
        tuned(["flip"], 3)
    with pytest.raises(InputError, match="'sign_loo' needs two runs"):
        tuned(["sign_loo"], 1)
    assert tuned(["abs"], 1)(np.array([[-0.2]])).tolist() == [[0.2]]


def test_inverted_sites_come_out_positive_and_silent_ones_stay_silent(
    film_and_story: tuple[Any, Any],
) -> None:
    film, story = film_and_story
    params = {**PARAMS, "tuning": ["none", "sign_loo"]}
    table = transfer_sites(*film.args(), *story.args(), params, seed=1)
    assert list(table.columns) == list(TRANSFER_COLUMNS)
    assert table.groupby("tuning")["worth"].first().to_dict() == {
        "none": "raw", "sign_loo": "held out"
    }  # fmt: skip
    raw, turned = (
        table[table["tuning"] == name].reset_index(drop=True) for name in ("none", "sign_loo")
    )
    inverted, silent = slice(10, 20), slice(50, 80)
    assert (raw["score"][inverted] < 0).all() and (raw["p"][inverted] > 0.9).all()
    # the smallest p of 39 draws, at which eighty sites are not yet significant
    assert (turned["score"][inverted] > 0).all() and (turned["p"][inverted] == 1 / 40).all()
    np.testing.assert_allclose(turned["score"][inverted], -raw["score"][inverted])
    assert (raw["sign"][inverted] == -1).all() and (turned["sign"] == raw["sign"]).all()
    # the same correction runs within every draw, so that chance is not above the level
    assert (turned["p"][silent] <= 0.05).mean() <= 0.2
    # a study that asks for nothing else gets the same raw scores
    plain = transfer_sites(*film.args(), *story.args(), PARAMS, seed=1)
    np.testing.assert_allclose(plain["score"], raw["score"], atol=1e-7)
    np.testing.assert_allclose(plain["p"], raw["p"])


def test_the_only_run_is_cut_in_two(film_and_story: tuple[Any, Any], analysis: Any) -> None:
    film, story = film_and_story
    weights = np.zeros((30, 80))
    one = analysis("story", weights, 4, runs=(260,))
    keep = story.response["run"].values == 1
    for name in ("design", "response"):
        kept = getattr(story, name).isel(sample=np.flatnonzero(keep))
        kept = kept.assign_coords(run=("sample", np.zeros(kept.sizes["sample"], int)))
        kept.attrs["runs"] = '["task-story_run-02"]'
        setattr(one, name, kept)
    params = {**PARAMS, "tuning": ["sign_loo"]}
    table = transfer_sites(*film.args(), one.design, one.response, one.fit, params, seed=1)
    assert (table["score"][10:20] > 0.1).all()
    columns = np.arange(80), np.arange(80)
    first, second = join(film.args()[:2], one.args()[:2], columns, "high", params, True).folds
    offset = film.response.sizes["sample"]
    assert first.test.tolist() == list(range(offset, offset + 130))
    assert second.test.tolist() == list(range(offset + 135, offset + 260)), "five rows apart"
    brief = one.design.isel(sample=slice(10)), one.response.isel(sample=slice(10))
    with pytest.raises(InputError, match="of 10 volumes, is too short to be cut in two"):
        join(film.args()[:2], brief, columns, "high", params, True)


def test_relative_scores_need_a_site_that_its_own_analysis_finds(
    film_and_story: tuple[Any, Any],
) -> None:
    import pandas as pd

    film, story = film_and_story
    own = pd.DataFrame({"site": [f"s{k:02d}" for k in range(80)], "p": [0.01] * 30 + [0.5] * 50})
    table = transfer_sites(*film.args(), *story.args(), PARAMS, 1, own)
    assert table["relative"][30:].isna().all()
    known = table.iloc[:30]
    np.testing.assert_allclose(known["relative"], known["score"] / known["score_within"])
    assert transfer_sites(*film.args(), *story.args(), PARAMS, 1)["relative"].isna().all()


def test_the_layer_is_chosen_among_those_aligned(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    table = transfer_sites(*film.args(), *story.args(), {**PARAMS, "layers": ["low"]}, seed=1)
    assert set(table["layer"]) == {"low"}
    both = {**PARAMS, "layers": ["low", "high", "other"]}
    assert set(transfer_sites(*film.args(), *story.args(), both, seed=1)["layer"]) == {"high"}
    with pytest.raises(InputError, match="none of the layers other was fitted"):
        transfer_sites(*film.args(), *story.args(), {**PARAMS, "layers": ["other"]}, seed=1)
