from itertools import combinations

import numpy as np
import pytest

from braid.common import InputError
from braid.encoding.folds import make_folds
from braid.encoding.grid import make_grid
from braid.inference.ceilings import (
    ceiling_of_mean,
    cross_subject_scores,
    extrapolate,
    from_repeats,
    inter_subject_correlation,
    ncsnr,
    normalise,
    split_half,
)


def repeats_of(signal, repeats=5, time=4000, targets=6, seed=0):
    """Repeats whose share of signal variance is known."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((time, targets)) * np.sqrt(signal)
    return common, common + rng.standard_normal((repeats, time, targets)) * np.sqrt(1 - signal)


def test_signal_is_the_mean_correlation_of_pairs_of_repeats():
    _, responses = repeats_of(0.3, time=50)
    found = from_repeats(responses * 3 + 7)
    for target in range(6):
        pairs = [
            np.corrcoef(responses[a, :, target], responses[b, :, target])[0, 1]
            for a, b in combinations(range(5), 2)
        ]
        assert found.signal[target] == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("signal", [0.0, 0.1, 0.5])
def test_planted_signal_is_recovered(signal):
    common, responses = repeats_of(signal, time=20_000)
    found = from_repeats(responses)
    assert found.n == 5
    assert found.signal == pytest.approx(signal, abs=0.04)
    assert found.explainable == pytest.approx((1 + 4 * signal) / 5, abs=0.04)
    if signal:
        # what a perfect model reaches with the mean over repeats is the ceiling
        r = [np.corrcoef(common[:, t], responses.mean(axis=0)[:, t])[0, 1] for t in range(6)]
        assert np.sqrt(found.ceiling) == pytest.approx(r, abs=0.02)
        assert normalise(np.array(r), found.ceiling).score == pytest.approx(1.0, abs=0.03)


def test_low_ceilings_give_nan_and_are_counted():
    ceiling = np.array([0.04, 0.25, np.nan, 0.05, -0.2])
    found = normalise(np.array([0.1, 0.1, 0.1, np.nan, 0.1]), ceiling)
    assert found.score[1] == pytest.approx(0.2)
    assert np.isnan(np.delete(found.score, 1)).all()
    assert found.n_dropped == 3
    assert ceiling_of_mean(np.array([-0.1, 0.2]), 4).tolist() == pytest.approx([0.0, 0.5])


def test_split_halves_agree_with_the_ceiling_of_the_mean():
    _, responses = repeats_of(0.3, repeats=6)
    assert split_half(responses, seed=0) == pytest.approx(from_repeats(responses).ceiling, abs=0.03)
    every = split_half(responses, seed=0, n=20)  # C(6, 3)
    assert np.array_equal(every, split_half(responses, seed=1, n=20))
    halves = []
    for chosen in combinations(range(6), 3):
        rest = [one for one in range(6) if one not in chosen]
        a, b = responses[list(chosen)].mean(axis=0), responses[rest].mean(axis=0)
        halves.append([np.corrcoef(a[:, t], b[:, t])[0, 1] for t in range(6)])
    mean = np.mean(halves, axis=0)
    assert every == pytest.approx(2 * mean / (1 + mean))


def test_ncsnr_recovers_planted_noise():
    rng = np.random.default_rng(1)
    signal = rng.standard_normal((3000, 1, 4)) * np.sqrt(0.4)
    betas = signal + rng.standard_normal((3000, 3, 4)) * np.sqrt(0.6)
    ratio, one = ncsnr(betas)
    assert ratio == pytest.approx(np.sqrt(0.4 / 0.6), abs=0.05)
    assert one == pytest.approx(0.4, abs=0.03)
    assert ncsnr(betas, n=3)[1] == pytest.approx(0.4 / (0.4 + 0.6 / 3), abs=0.03)


def test_inter_subject_correlation_leaves_the_subject_out():
    rng = np.random.default_rng(2)
    responses = rng.standard_normal((4, 80, 3)) + rng.standard_normal((80, 3))
    found = inter_subject_correlation(responses)
    z = (responses - responses.mean(1, keepdims=True)) / responses.std(1, keepdims=True)
    for subject in range(4):
        others = np.delete(z, subject, axis=0).mean(axis=0)
        for target in range(3):
            expected = np.corrcoef(responses[subject, :, target], others[:, target])[0, 1]
            assert found[subject, target] == pytest.approx(expected)


def test_other_subjects_predict_what_they_share():
    """Subjects mix three shared signals differently: no correspondence of targets."""
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((400, 3))
    mixing = rng.standard_normal((5, 3, 12))
    responses = [shared @ mixed + 2 * rng.standard_normal((400, 12)) for mixed in mixing]
    responses[0][:, 6:] = rng.standard_normal((400, 6))  # private
    runs, times = np.repeat([0, 1], 200), np.tile(np.arange(200.0), 2)
    folds = make_folds(runs, times, "blocks", n=4)
    grid = make_grid({"low": -2, "high": 4, "n": 7}, "trace")
    found = cross_subject_scores(responses, 0, folds, grid)
    assert found.shape == (4, 12)
    assert np.abs(found[:, 6:]).mean() < 0.1
    means = found[:, :6].mean(axis=1)
    assert np.all(np.diff(means) > 0)
    # one who knows the shared signals predicts better; the curve levels off too early for that
    signal = np.sum(mixing[0] ** 2, axis=0)[:6]
    known = np.sqrt(signal / (signal + 4)).mean()
    assert 0.9 * means[-1] < extrapolate(found[:, :6]).mean() < known
    with pytest.raises(InputError, match="at least 2 subjects"):
        cross_subject_scores(responses[:1], 0, folds, grid)
    with pytest.raises(InputError, match="400, 300 samples"):
        cross_subject_scores([responses[0], responses[1][:300]], 0, folds, grid)


def test_extrapolation_recovers_the_curve():
    k = np.arange(1, 7)[:, None]
    level, tau = np.array([0.2, 0.5, 0.0]), np.array([1.0, 3.0, 2.0])
    assert extrapolate(level * (1 - np.exp(-k / tau))) == pytest.approx(level, abs=0.01)
    with pytest.raises(InputError, match="2 other subjects are too few"):
        extrapolate(np.zeros((2, 3)))


def test_constant_targets_have_no_ceiling_and_single_repeats_are_refused():
    _, responses = repeats_of(0.5, time=60)
    responses[:, :, 2] = 1.0
    assert np.isnan(from_repeats(responses).ceiling[2])
    assert np.isnan(inter_subject_correlation(responses)[:, 2]).all()
    with pytest.raises(InputError, match=r"shape \(1, 60, 6\)"):
        from_repeats(responses[:1])
