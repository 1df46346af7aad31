"""False positive rates on independent autocorrelated data sets, one p value from each.

300 data sets per autocorrelation. Cutting a run where a shift wraps or a block ends breaks some of
its autocorrelation, so these nulls are a little narrow; over 4000 data sets like those below the
rate at .05 was .051 for circular shifts (.056 for the maximum over four targets). Bounds are
therefore the 0.5 % quantile of the binomial distribution at .05 and the 99.5 % quantile at .06.
"""

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from braid.encoding.folds import make_folds
from braid.encoding.grid import make_grid
from braid.encoding.solver import centred, cross_validate, mean_over_folds, prepare
from braid.inference.decision import max_t, p_values, studentised
from braid.inference.nulls import draw_permutations
from braid.inference.permutation import null_problem, null_scores

SETS, TARGETS, DRAWS = 300, 4, 199
LOW, HIGH = stats.binom.ppf(0.005, SETS, 0.05), stats.binom.ppf(0.995, SETS, 0.06)


def autocorrelated(rng, n, columns, phi):
    return lfilter([1.0], [1.0, -phi], rng.standard_normal((n + 100, columns)), axis=0)[100:]


def p_of_one_set(seed, phi):
    """Per kind: p of the first target, family-wise p, and p of the maximum (a site of bins)."""
    rng = np.random.default_rng(seed)
    x = autocorrelated(rng, 600, 5, phi)
    y = autocorrelated(rng, 600, TARGETS, phi).astype(np.float32)
    runs, times = np.repeat([0, 1], 300), np.tile(np.arange(300) * 1.0, 2)
    folds, grid = make_folds(runs, times, "blocks", n=4, embargo=5), make_grid([0.1, 1.0, 10.0])
    problem = prepare(x, folds, grid)
    found = cross_validate(problem, centred(problem.arrange(y))[0], grid)
    result = {}
    for kind in ("circular_shift", "block", "shuffle"):
        draws = draw_permutations(kind, runs, times, DRAWS, seed, min_shift=20, block=40)
        fixed = null_problem(x, folds, grid, {}, found.alpha, reselect=False)
        null = null_scores(fixed, y, draws, found.alpha, grid)
        observed, null = studentised(mean_over_folds(found.score), null)
        result[kind] = (
            p_values(observed, null)[0],
            max_t(observed, null).min(),
            p_values(observed.max(keepdims=True), null.max(axis=1, keepdims=True))[0],
        )
    return result


@pytest.fixture(scope="module", params=[0.0, 0.8])
def p(request):
    found = [p_of_one_set(seed, request.param) for seed in range(SETS)]
    return request.param, {kind: np.array([one[kind] for one in found]) for kind in found[0]}


@pytest.mark.parametrize("kind", ["circular_shift", "block"])
def test_shifts_and_blocks_keep_their_level(p, kind):
    _, values = p
    for column in range(3):
        assert LOW <= np.sum(values[kind][:, column] <= 0.05) <= HIGH
    assert stats.kstest(values[kind][:, 0], "uniform").pvalue > 0.01


def test_shuffling_is_anti_conservative_where_there_is_autocorrelation(p):
    phi, values = p
    false = np.sum(values["shuffle"][:, 0] <= 0.05)
    if phi == 0:
        assert LOW <= false <= HIGH
    else:
        assert false > HIGH
        assert stats.kstest(values["shuffle"][:, 0], "uniform").pvalue < 1e-4
