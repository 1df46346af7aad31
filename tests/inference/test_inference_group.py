import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from braid.common import InputError
from braid.inference.group import (
    GROUP_COLUMNS,
    group_table,
    group_test,
    hierarchical_bootstrap,
)


def test_t_equals_scipy_and_missing_subjects_do_not_count():
    values = np.random.default_rng(0).standard_normal((7, 5)) + 0.4
    values[2, 1] = values[5, 1] = values[:6, 3] = np.nan
    found = group_test(values, seed=0, n=200)
    assert found.n_subjects.tolist() == [7, 5, 7, 1, 7]
    for target in (0, 1, 2, 4):
        column = values[:, target][np.isfinite(values[:, target])]
        expected = stats.ttest_1samp(column, 0, alternative="greater")
        assert found.t[target] == pytest.approx(expected.statistic)
        assert found.p_t[target] == pytest.approx(expected.pvalue)
        interval = stats.ttest_1samp(column, 0).confidence_interval(0.95)
        assert found.low[target] == pytest.approx(interval.low)
        assert found.high[target] == pytest.approx(interval.high)
    assert np.isnan([found.t[3], found.p_t[3], found.p_flip[3], found.p_fwe[3]]).all()
    two = group_test(values, seed=0, n=200, tail="two-sided")
    expected = stats.ttest_1samp(values[:, 0], 0).pvalue
    assert two.p_t[0] == pytest.approx(expected)


@pytest.mark.parametrize("tail", ["greater", "two-sided"])
def test_few_subjects_are_flipped_in_every_way(tail):
    values = np.random.default_rng(1).standard_normal((6, 4)) + 0.7
    found = group_test(values, seed=0, tail=tail)
    assert found.exact
    assert found.n_flips == 63
    flips = np.array(list(itertools.product([1, -1], repeat=6)))
    means = flips @ values / 6
    observed = values.mean(axis=0)
    if tail == "two-sided":
        means, observed = np.abs(means), np.abs(observed)
    assert found.p_flip == pytest.approx(np.mean(means >= observed - 1e-9, axis=0))
    scaled = means / np.sqrt(np.mean(means**2, axis=0))
    of_observed = observed / np.sqrt(np.mean(means**2, axis=0))
    expected = np.mean(scaled.max(axis=1)[:, None] >= of_observed - 1e-9, axis=0)
    assert found.p_fwe == pytest.approx(expected)


def test_exact_p_equals_scipys_permutation_test():
    values = np.random.default_rng(2).standard_normal((8, 1)) + 0.5
    expected = stats.permutation_test(
        (values[:, 0],),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
    )
    assert group_test(values, seed=0).p_flip[0] == pytest.approx(expected.pvalue)


def test_many_subjects_are_flipped_at_random_and_keep_their_level():
    values = np.random.default_rng(3).standard_normal((25, 3000))
    found = group_test(values, seed=0, n=999)
    assert not found.exact
    assert found.n_flips == 999
    low, high = stats.binom.ppf([0.001, 0.999], 3000, 0.05)
    assert low <= np.sum(found.p_flip <= 0.05) <= high
    # all 3000 in one family
    assert np.sum(found.p_fwe <= 0.05) <= 3


def test_hierarchical_bootstrap_has_the_variance_of_both_levels():
    rng = np.random.default_rng(4)
    # sites differ within subjects only, or subjects only
    within = [one + 0.3 for one in rng.standard_normal((8, 50))]
    between = [np.full(50, level) for level in rng.standard_normal(8)]
    _, draws = hierarchical_bootstrap(within, 4000, seed=0)
    means = np.array([one.mean() for one in within])
    expected = np.sqrt(means.var() / 8 + np.mean([one.var() / 50 for one in within]) / 8)
    assert draws.std() == pytest.approx(expected, rel=0.05)
    observed, draws = hierarchical_bootstrap(between, 4000, seed=0)
    levels = np.array([one[0] for one in between])
    assert observed[0] == pytest.approx(levels.mean())
    assert draws.std() == pytest.approx(levels.std() / np.sqrt(8), rel=0.05)


def test_models_share_the_draws_of_subjects_and_sites():
    rng = np.random.default_rng(5)
    values = [np.column_stack([one, one + 0.1]) for one in rng.standard_normal((4, 30))]
    observed, draws = hierarchical_bootstrap(values, 500, seed=1)
    assert draws[:, 1] - draws[:, 0] == pytest.approx(0.1)
    assert observed[1] - observed[0] == pytest.approx(0.1)
    again = hierarchical_bootstrap(values, 500, seed=1)[1]
    assert np.array_equal(draws, again)


def test_table_reports_every_subject():
    rng = np.random.default_rng(6)
    rows = [
        {
            "analysis": "film",
            "model": model,
            "subject": subject,
            "region": region,
            "score": rng.normal(0.2 * (region == "a"), 0.02),
            "null_mean": 0.0,
            "p": 0.5,
        }
        for model in ("m", "m_untrained")
        for subject in ("01", "02", "03", "04", "05")
        for region in ("a", "b")
        for _ in range(3)
    ]
    sites = pd.DataFrame(rows)
    sites.loc[0, "p"] = np.nan
    table = group_table(sites, seed=0)
    assert list(table.columns) == list(GROUP_COLUMNS)
    assert len(table) == 4
    first = table.iloc[0]
    assert (first["region"], first["n_subjects"]) == ("a", 5)
    by_hand = sites[(sites.model == "m") & (sites.region == "a") & sites.p.notna()]
    means = by_hand.groupby("subject")["score"].mean()
    assert first["mean"] == pytest.approx(means.mean())
    assert first["p_flip"] == 1 / 32
    assert first["subjects"].startswith(f"01: {means['01']:.4f}, 02:")
    assert group_table(sites.iloc[:0], seed=0).empty


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="'less' is not one of greater, two-sided"):
        group_test(np.zeros((3, 2)), 0, tail="less")
    with pytest.raises(InputError, match=r"give \(subjects, targets\)"):
        group_test(np.zeros(3), 0)
    with pytest.raises(InputError, match="every subject needs at least one site"):
        hierarchical_bootstrap([np.zeros(3), np.array([np.nan])], 10, 0)
