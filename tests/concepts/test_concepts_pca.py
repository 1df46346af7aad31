"""Principal components against scikit-learn, signs, ranks, and subjects left out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from braid.concepts.pca import left_out_shares, of_the_rest, principal, shares


def test_equals_scikit_learn_but_for_signs() -> None:
    values = np.random.default_rng(0).standard_normal((30, 7)) * np.arange(1, 8) + 4
    loadings, share = principal(values, 5)
    pca = PCA(5).fit(values)
    np.testing.assert_allclose(share, pca.explained_variance_ratio_, rtol=1e-10)
    np.testing.assert_allclose(np.abs(loadings), np.abs(pca.components_), atol=1e-10)
    top = np.abs(loadings).argmax(axis=1)
    assert (loadings[np.arange(5), top] > 0).all()
    flipped, _ = principal(-values, 5)
    np.testing.assert_allclose(flipped, loadings, atol=1e-10)
    np.testing.assert_allclose(shares(values, 5), share, rtol=1e-10)


def test_no_more_components_than_dimensions() -> None:
    values = np.outer([1.0, 2, 4], [3.0, 0, 4])
    loadings, share = principal(values, 5)
    np.testing.assert_allclose(loadings, [[0.6, 0, 0.8]], atol=1e-12)
    np.testing.assert_allclose(share, [1.0])
    np.testing.assert_allclose(shares(values, 4), [1, 0, 0, 0], atol=1e-12)
    assert principal(np.ones((3, 4)), 2)[0].shape == (0, 4)
    assert not shares(np.ones((3, 4)), 2).any()


def test_left_out_shares() -> None:
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((6, 4)))[0].T
    same = [rng.standard_normal((10, 2)) * (3, 1) @ basis[:2] for _ in range(3)]
    loadings, _ = principal(np.concatenate(same), 2)
    found = left_out_shares(same, loadings)
    assert found.sum() == pytest.approx(1) and found[0] > found[1] > 0
    # the order of the subjects' own components does not matter: they are matched
    other = [same[0], same[1], rng.standard_normal((10, 2)) @ basis[2:]]
    alone = left_out_shares([same[0], other[2]], loadings)
    np.testing.assert_allclose(alone, 0, atol=1e-20)
    assert np.isnan(left_out_shares(same[:1], loadings)).all()
    lone = left_out_shares([same[0], same[1][:1]], loadings)
    assert np.isnan(lone).all()


def test_share_of_the_rest() -> None:
    found = of_the_rest(np.array([[0.5, 0.25, 0.25], [1.0, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(found, [[0.5, 0.5, 1], [1, 0, 0], [0, 0, 0]])
