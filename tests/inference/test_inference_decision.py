import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from braid.common import InputError
from braid.inference.decision import (
    bh,
    fdr,
    group_targets,
    max_t,
    p_values,
    site_maxima,
    smallest_q,
    studentised,
)


def test_p_counts_draws_at_or_above_and_is_never_zero():
    null = np.array([[0.0, 1.0, np.nan], [1.0, 2.0, 0.0], [2.0, 3.0, 0.0]])
    p = p_values(np.array([1.0, 5.0, 1.0]), null)
    # a draw without a value counts as one above
    assert p.tolist() == [3 / 4, 1 / 4, 2 / 4]
    assert np.isnan(p_values(np.array([np.nan]), np.zeros((3, 1))))[0]


@pytest.mark.parametrize("method", ["bh", "by"])
def test_fdr_equals_statsmodels_and_leaves_nan_out(method):
    p = np.random.default_rng(0).uniform(size=60) ** 2
    p[[3, 17]] = np.nan
    finite = np.isfinite(p)
    expected = multipletests(p[finite], method=f"fdr_{method}")[1]
    assert fdr(p, method)[finite] == pytest.approx(expected)
    assert np.isnan(fdr(p, method)[~finite]).all()
    assert np.isnan(fdr(np.full(3, np.nan), method)).all()
    with pytest.raises(InputError, match="'holm' is not one of bh, by"):
        fdr(p, "holm")


@pytest.mark.parametrize("method", ["bh", "by"])
@pytest.mark.parametrize("found", [1, 4])
def test_smallest_q_is_what_sites_at_the_smallest_p_get(method, found):
    p = np.ones(30)
    p[:found] = 1 / 1000
    assert smallest_q(30, 999, method, found) == pytest.approx(fdr(p, method).min())
    assert smallest_q(300, 9, method) == 1.0
    assert bh(p) == pytest.approx(fdr(p))


def test_studentised_values_are_those_of_all_draws_with_the_observed():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((10, 4)) * [1, 5, 0.1, 0] + [0, 3, -2, 0]
    observed, null = studentised(values[0], values[1:])
    pooled = (values - values.mean(0)) / np.where(values.std(0) > 0, values.std(0), np.nan)
    assert observed == pytest.approx(pooled[0], nan_ok=True)
    assert null == pytest.approx(pooled[1:], nan_ok=True)
    assert np.isnan(observed[3])


def test_maxima_over_sites_ignore_nan_and_keep_the_order():
    sites = group_targets(["b", "a", "b", "c", "a"])
    assert sites.names == ["b", "a", "c"]
    values = np.array([[1.0, np.nan, 3.0, np.nan, -1.0]])
    assert site_maxima(values, sites)[0, :2].tolist() == [3.0, -1.0]
    assert np.isnan(site_maxima(values, sites)[0, 2])


def test_max_t_is_at_least_as_large_as_p_and_monotone():
    rng = np.random.default_rng(2)
    observed, null = rng.standard_normal(20) + 1, rng.standard_normal((199, 20))
    observed[4] = np.nan
    fwe, p = max_t(observed, null), p_values(observed, null)
    finite = np.isfinite(observed)
    assert np.all(fwe[finite] >= p[finite])
    assert np.isnan(fwe[4])
    order = np.argsort(observed[finite])
    assert np.all(np.diff(fwe[finite][order]) <= 0)
