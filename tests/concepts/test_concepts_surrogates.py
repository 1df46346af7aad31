"""Nulls that keep smoothness: their level on smooth maps, where plain permutation fails."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest
from two_senses import smooth_fields

from braid.common import InputError
from braid.concepts.surrogates import (
    MOST_SITES,
    correlations,
    random_rotations,
    reach_of,
    spatial_waves,
    spectral_null,
    spin_null,
    spins,
)

DRAWS = 99


def icosphere(divisions: int) -> np.ndarray:
    """Vertices of an icosahedron whose triangles are divided again and again, radius 1."""
    golden = (1 + 5**0.5) / 2
    points = [
        np.roll([0, one, two * golden], turn)
        for turn in range(3)
        for one in (-1, 1)
        for two in (-1, 1)
    ]
    vertices = np.array(points, dtype=float)
    for _ in range(divisions):
        # edges: every vertex has five or six neighbours at nearly one distance
        distance = np.linalg.norm(vertices[:, None] - vertices[None], axis=2)
        nearest = np.sort(distance, axis=1)[:, 1]
        i, j = np.nonzero(np.triu(distance < 1.4 * nearest.max(), 1))
        vertices = np.concatenate([vertices, (vertices[i] + vertices[j]) / 2])
        vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    return vertices / np.linalg.norm(vertices, axis=1, keepdims=True)


def permuted_null(fixed: np.ndarray, moved: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Correlations with maps whose sites are exchanged at will."""
    rng = np.random.default_rng(0)
    return np.stack([correlations(fixed, rng.permutation(moved), subject) for _ in range(DRAWS)])


def p_of(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    return (1 + np.sum(~(null < observed), axis=0)) / (len(null) + 1)


def test_icosphere() -> None:
    assert [len(icosphere(divisions)) for divisions in range(4)] == [12, 42, 162, 642]


def test_rotations_are_uniform() -> None:
    turns = random_rotations(4000, 1)
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (4000, 1, 1)),
                               atol=1e-12)  # fmt: skip
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    # each coordinate of a uniformly turned unit vector is uniform, and so is (angle - sin angle)
    assert kstest(turns[:, 0, 2], "uniform", args=(-1, 2)).pvalue > 0.001
    angle = np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert kstest((angle - np.sin(angle)) / np.pi, "uniform").pvalue > 0.001


def test_spins_move_both_hemispheres_in_mirror_image() -> None:
    half = icosphere(2)
    mirrored = half * [-1, 1, 1]
    sphere = 80 * np.concatenate([half, mirrored])
    side = np.repeat(["L", "R"], len(half))
    source = spins(sphere, side, np.zeros(len(sphere)), 20, 3)
    assert source.shape == (20, 324) and (source >= 0).all()
    np.testing.assert_array_equal(source[:, :162] + 162, source[:, 162:])
    assert np.mean(source == np.arange(324)) < 0.05
    # what was near stays near: neighbours take their values from neighbours
    i, j = 0, int(np.argsort(np.linalg.norm(half - half[0], axis=1))[1])
    taken = np.linalg.norm(half[source[:, i]] - half[source[:, j]], axis=1)
    assert taken.max() < 3 * np.linalg.norm(half[i] - half[j])
    # two subjects with the same sites turn together
    both = spins(np.tile(half, (2, 1)), np.full(324, "L"), np.repeat([0, 1], 162), 5, 3)
    np.testing.assert_array_equal(both[:, :162] + 162, both[:, 162:])


def test_a_site_that_takes_from_a_hole_has_no_value() -> None:
    whole = icosphere(3)
    kept = whole[whole[:, 0] > -0.7]  # a medial wall
    source = spins(kept, np.full(len(kept), "L"), np.zeros(len(kept)), 50, 1)
    missing = np.mean(source < 0)
    assert 0.5 * 0.15 < missing < 0.15  # the wall is 15 % of the sphere; its rim is filled
    null = spin_null(kept[:, :1], kept[:, 1:2], kept, np.full(len(kept), "L"),
                     np.zeros(len(kept)), 50, 1)  # fmt: skip
    assert np.isfinite(null).all()
    lone = spins(kept[:1], np.array(["R"]), np.zeros(1), 3, 1)
    assert (lone == -1).all()
    assert np.isnan(spin_null(kept[:1, :1], kept[:1, :1], kept[:1], np.array(["R"]), np.zeros(1),
                              3, 1)).all()  # fmt: skip


@pytest.mark.parametrize("wall", [False, True])
def test_level_of_spins_on_smooth_maps(wall: bool) -> None:
    half = icosphere(2)
    half = half[half[:, 0] > -0.8] if wall else half
    sphere = np.concatenate([half, half * [-1, 1, 1]])
    side, subject = np.repeat(["L", "R"], len(half)), np.zeros(2 * len(half))
    maps, repeats = 20, 15
    p, plain = [], []
    for seed in range(repeats):
        fixed, moved = (
            np.concatenate([smooth_fields(half, maps, 0.4, 4 * seed + 2 * which + hemisphere)
                            for hemisphere in (0, 1)])
            for which in (0, 1)
        )  # fmt: skip
        observed = correlations(fixed, moved, subject)
        null = spin_null(fixed, moved, sphere, side, subject, DRAWS, seed)
        p += list(p_of(observed, null))
        plain += list(p_of(observed, permuted_null(fixed, moved, subject)))
    n = maps * repeats
    assert binom.ppf(0.001, n, 0.05) <= np.sum(np.array(p) <= 0.05) <= binom.ppf(0.999, n, 0.05)
    assert np.mean(np.array(plain) <= 0.05) > 0.2


@pytest.mark.parametrize("reach", [6.0, 15.0])
@pytest.mark.parametrize("together", [0.0, 1.0])
def test_level_of_spectral_surrogates_on_smooth_maps(reach: float, together: float) -> None:
    """Two subjects, whose maps are the same fields (together) or have nothing in common."""
    maps, repeats, sites = 20, 15, 75
    p, plain = [], []
    for seed in range(repeats):
        place = np.random.default_rng(seed).uniform(0, 60, (2 * sites, 3))
        subject = np.repeat([0, 1], sites)
        parts = []
        for which in (0, 1):
            joint = smooth_fields(place, maps, reach, 10 * seed + which)
            apart = np.concatenate(
                [smooth_fields(place[subject == one], maps, reach, 10 * seed + 2 + 2 * which + one)
                 for one in (0, 1)]
            )  # fmt: skip
            parts.append(together * joint + (1 - together) * apart)
        observed = correlations(*parts, subject)
        p += list(p_of(observed, spectral_null(*parts, place, subject, DRAWS, seed)))
        plain += list(p_of(observed, permuted_null(*parts, subject)))
    n = maps * repeats
    called = np.sum(np.array(p) <= 0.05)
    assert binom.ppf(0.001, n, 0.05) <= called <= binom.ppf(0.999, n, 0.05)
    if reach > 10:
        assert np.mean(np.array(plain) <= 0.05) > 0.15


def test_spectral_surrogates_find_what_maps_share() -> None:
    place = np.random.default_rng(0).uniform(0, 60, (150, 3))
    fields = smooth_fields(place, 3, 15.0, 1)
    moved = fields + 0.7 * np.random.default_rng(2).standard_normal(fields.shape)
    subject = np.zeros(150)
    null = spectral_null(fields, moved, place, subject, DRAWS, 1)
    assert (p_of(correlations(fields, moved, subject), null) == 0.01).all()
    np.testing.assert_allclose(null.mean(axis=0), 0, atol=0.1)


def test_waves_are_orthonormal_and_centred_within_subjects() -> None:
    place = np.random.default_rng(0).uniform(0, 60, (40, 3))
    place[20:] = place[:20]  # sites of two subjects at the same places
    place[1] = place[0]
    subject = np.repeat(["01", "02"], 20)
    waves = spatial_waves(place, subject, 20.0)
    assert waves.shape == (40, 38)
    np.testing.assert_allclose(waves.T @ waves, np.eye(38), atol=1e-10)
    np.testing.assert_allclose(waves[:20].sum(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(waves[20:].sum(axis=0), 0, atol=1e-8)
    # the coarsest is common to the subjects
    assert np.corrcoef(waves[2:20, 0], waves[22:, 0])[0, 1] > 0.99
    # together they hold any map that is centred within subjects
    values = np.random.default_rng(1).standard_normal((40, 1))
    values[:20] -= values[:20].mean()
    values[20:] -= values[20:].mean()
    np.testing.assert_allclose(waves @ (waves.T @ values), values, atol=1e-8)


def test_reach_comes_from_the_maps() -> None:
    place = np.random.default_rng(0).uniform(0, 60, (300, 3))
    subject = np.zeros(300)
    covariance = np.exp(-np.linalg.norm(place[:, None] - place[None], axis=2) / 12.0)
    fields = np.linalg.cholesky(covariance) @ np.random.default_rng(1).standard_normal((300, 30))
    assert 6 < reach_of(fields, place, subject, 0) < 20
    rough = reach_of(np.random.default_rng(2).standard_normal((300, 30)), place, subject, 0)
    assert np.isfinite(rough) and rough > 0
    assert reach_of(fields[:3], np.zeros((3, 3)), subject[:3], 0) > 0


def test_correlations_by_hand() -> None:
    a = np.array([[1.0], [2], [3], [10], [10], [13]])
    b = np.array([[2.0], [2], [5], [-7], [-7], [-7]])
    subject = np.array([0, 0, 0, 1, 1, 1])
    # centred: a -1 0 1 -1 -1 2, b -1 -1 2 0 0 0
    np.testing.assert_allclose(correlations(a, b, subject), [3 / np.sqrt(8 * 6)])
    assert np.isnan(correlations(a, np.ones((6, 1)), subject)).all()
    b[0] = np.nan
    assert np.isnan(correlations(a, b, subject)).all()


def test_places_that_cannot_be_used() -> None:
    maps, subject = np.zeros((4, 1)), np.zeros(4)
    sphere, side = np.eye(4)[:, :3], np.full(4, "L")
    with pytest.raises(InputError, match="site 3 has no place on the sphere"):
        spins(sphere, side, subject, 2, 1)
    with pytest.raises(InputError, match="hemisphere 'left' is not L or R"):
        spins(sphere[:3], np.array(["left", "L", "L"]), subject[:3], 2, 1)
    with pytest.raises(InputError, match="site 0 has no position"):
        spectral_null(maps, maps, np.full((4, 3), np.nan), subject, 2, 1)
    many = np.zeros((MOST_SITES + 1, 1))
    with pytest.raises(InputError, match="6001 sites are more than the 6000"):
        spectral_null(many, many, np.zeros((MOST_SITES + 1, 3)), many[:, 0], 2, 1)
