"""Relative scores and their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter
from two_analyses import PARAMS

from braid.transfer import transfer_sites
from braid.transfer.relative import relative_interval, run_scores
from braid.transfer.tuning import tuned


def _world(seed: int, n: int = 600, targets: int = 1) -> tuple[np.ndarray, ...]:
    """Responses, and two predictions of which one holds half of what the other does."""
    rng = np.random.default_rng(seed)
    slow = lambda: lfilter([0.6], [1, -0.8], rng.standard_normal((n, targets)), axis=0)  # noqa: E731
    shared, own = slow(), slow()
    return shared + own + slow(), shared, shared + own


def test_scores_of_runs() -> None:
    y, cross, _ = _world(0, targets=3)
    runs = [np.arange(300), np.arange(300, 600)]
    cross = cross.copy()
    cross[10:20] = np.nan  # rows that no fold tests
    found = run_scores(cross, y, runs)
    kept = np.r_[0:10, 20:300]
    for target in range(3):
        assert found[0, target] == pytest.approx(
            np.corrcoef(cross[kept, target], y[kept, target])[0, 1]
        )
    constant = run_scores(np.ones((600, 1)), y[:, :1], runs)
    assert np.isnan(constant).all()


def test_the_interval_covers_the_true_ratio() -> None:
    runs = [np.arange(300), np.arange(300, 600)]
    y, cross, within = _world(99, n=200_000)
    whole = [np.arange(len(y))]
    true = run_scores(cross, y, whole)[0, 0] / run_scores(within, y, whole)[0, 0]
    covered = []
    for seed in range(100):
        y, cross, within = _world(seed)
        low, high = relative_interval(cross, y, within, y, runs, 20, seed, draws=300)[:, 0]
        assert low < high
        covered.append(low <= true <= high)
    # a bootstrap of thirty blocks, each twice as long as the noise remembers, covers somewhat less
    # than it says: 92 % in 300 worlds
    assert np.mean(covered) >= 0.87


def test_options_for_signs_run_within_the_draws() -> None:
    runs = [np.arange(300), np.arange(300, 600)]
    y, cross, within = _world(1)
    both = np.hstack([cross, -cross]), np.hstack([y, y]), np.hstack([within, within])
    ends = relative_interval(
        both[0], both[1], both[2], both[1], runs, 20, 0, tuned(["none", "sign_loo"], 2)
    )
    assert ends.shape == (2, 2, 2)
    plain, turned = ends[:, 0], ends[:, 1]
    np.testing.assert_allclose(plain[:, 1], -plain[::-1, 0])
    np.testing.assert_allclose(turned[:, 1], turned[:, 0])
    np.testing.assert_allclose(turned[:, 0], plain[:, 0])


def test_the_table_has_intervals_around_its_ratios(film_and_story: tuple[Any, Any]) -> None:
    film, story = film_and_story
    own = pd.DataFrame({"site": [f"s{k:02d}" for k in range(80)], "p": [0.01] * 30 + [0.5] * 50})
    params = {**PARAMS, "tuning": ["none", "sign_loo"]}
    table = transfer_sites(*film.args(), *story.args(), params, 1, own)
    given = table["relative"].notna()
    assert given.sum() == 60
    assert table.loc[~given, ["relative_low", "relative_high"]].isna().all(axis=None)
    some = table[given]
    assert (some["relative_low"] < some["relative"]).all()
    assert (some["relative"] < some["relative_high"]).all()
    shared = some[some["tuning"] == "none"].iloc[:10]
    # the same weights in both: about as good as the story's own model
    assert ((shared["relative_low"] < 1.1) & (shared["relative_high"] > 0.9)).sum() >= 8
    other = some[some["tuning"] == "none"].iloc[20:30]
    assert (other["relative_high"] < 0.9).all()


def test_blocks_of_targets_give_what_all_at_once_give(
    film_and_story: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    film, story = film_and_story
    params = {**PARAMS, "tuning": ["none", "dim_sign"], "dimensions": 3}
    whole = transfer_sites(*film.args(), *story.args(), params, 1)
    for name in (
        "inference.permutation._COLUMNS",
        "transfer.sites._WIDE",
        "transfer.dimensions._WIDE",
    ):
        monkeypatch.setattr(f"braid.{name}", 7)
    monkeypatch.setattr("braid.inference.permutation._READ", 0.0)
    blocks = transfer_sites(*film.args(), *story.args(), params, 1)
    numbers = ["score", "score_within", "null_mean", "null_sd", "p"]
    np.testing.assert_allclose(blocks[numbers], whole[numbers], atol=1e-5)
