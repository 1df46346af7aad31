import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.linear_model import RidgeCV as SklearnRidgeCV
from sklearn.model_selection import KFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from braid.encoding import RidgeCV


@parametrize_with_checks([RidgeCV(cv=3)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_one_penalty_equals_ridge():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((80, 6)), rng.standard_normal((80, 3)) + 4.0
    ours, theirs = RidgeCV(alphas=[7.0]).fit(x, y), Ridge(alpha=7.0).fit(x, y)
    assert ours.coef_ == pytest.approx(theirs.coef_)
    assert ours.intercept_ == pytest.approx(theirs.intercept_)
    assert ours.score(x, y) == pytest.approx(theirs.score(x, y))
    assert np.all(ours.alpha_ == 7.0)


def test_single_target_equals_scikit_learn_with_the_same_folds():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((120, 30))
    y = x[:, 0] + 3 * rng.standard_normal(120)
    alphas = np.logspace(-1, 4, 12)
    theirs = SklearnRidgeCV(alphas=alphas, cv=KFold(5), scoring="neg_mean_squared_error").fit(x, y)
    ours = RidgeCV(alphas=alphas, cv=5, select="mse").fit(x, y)
    assert ours.alpha_ == pytest.approx(theirs.alpha_)
    assert ours.coef_ == pytest.approx(theirs.coef_)
    assert ours.predict(x) == pytest.approx(theirs.predict(x))


def test_blocks_of_targets_do_not_change_the_fit():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((60, 5)), rng.standard_normal((60, 300))
    alphas = [0.1, 1.0, 10.0, 100.0]
    whole = RidgeCV(alphas=alphas).fit(x, y)
    blocked = RidgeCV(alphas=alphas, memory_mb=0.3).fit(x, y)
    assert np.array_equal(whole.alpha_, blocked.alpha_)
    assert whole.coef_ == pytest.approx(blocked.coef_)


def test_importing_the_room_is_cheap():
    code = (
        "import sys, braid.encoding, braid.inference; "
        "heavy = {'torch', 'sklearn', 'matplotlib', 'mne', 'nilearn'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
