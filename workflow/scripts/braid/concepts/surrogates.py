"""Null correlations of two maps over sites that keep how smooth each map is.

Neighbouring sites are alike, so that two unrelated maps correlate by far more than independent
sites would. On a sphere one map is rotated against the other (Alexander-Bloch et al. 2018,
https://doi.org/10.1016/j.neuroimage.2018.05.070); in a volume the signs of its coefficients in a
basis of spatial waves are drawn again (Moran spectral randomisation, singleton procedure: Wagner &
Dray 2015, https://doi.org/10.1111/2041-210X.12407). Several subjects' maps move together: their
maps are alike too, and as many independent draws as there are subjects would be too narrow.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist, squareform

from braid.common import InputError, rng

MOST_SITES = 6000  # all are decomposed at once: 1.7 GB and half a minute at this number
_FOR_REACH = 1500  # sites from which the reach is estimated
_BINS, _REACHES = 12, 25
_BETWEEN = 0.5  # covariance between subjects at the same place, of that within a subject
_GAP = 2.0  # a rotated site that lies further away than this many spacings stands for no site


def correlations(a: np.ndarray, b: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Pearson r over the sites of all subjects, each subject's maps centred on their own mean.

    Parameters
    ----------
    a, b : array, (..., sites, maps)
    subject : array, (sites,)

    Returns
    -------
    numpy.ndarray of float64, (..., maps)
        NaN where a map does not vary or has a value that is not finite.
    """
    a, b = centred_within(a, subject), centred_within(b, subject)
    both = np.sum(a * b, axis=-2)
    size = np.sqrt(np.sum(a**2, axis=-2) * np.sum(b**2, axis=-2))
    return np.divide(both, size, out=np.full(both.shape, np.nan), where=size > 1e-12)


def centred_within(values: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """Values minus the mean over the sites of the same subject, (..., sites, maps), float64."""
    found = np.array(values, dtype=np.float64)
    for one in np.unique(subject):
        own = subject == one
        found[..., own, :] -= found[..., own, :].mean(axis=-2, keepdims=True)
    return found


def spin_null(
    fixed: np.ndarray,
    moved: np.ndarray,
    sphere: np.ndarray,
    hemisphere: np.ndarray,
    subject: np.ndarray,
    n: int,
    seed: int,
) -> np.ndarray:
    """Correlations of maps with maps that were rotated on the sphere.

    Parameters
    ----------
    fixed, moved : array, (sites, maps)
    sphere, hemisphere, subject, n, seed
        As for `spins`.

    Returns
    -------
    numpy.ndarray of float64, (n, maps)
        Over the sites that have a value in the draw; NaN with fewer than three.
    """
    null = np.full((n, fixed.shape[1]), np.nan)
    for draw, source in enumerate(spins(sphere, hemisphere, subject, n, seed)):
        there = source >= 0
        if np.count_nonzero(there) > 2:
            null[draw] = correlations(fixed[there], moved[source[there]], subject[there])
    return null


def spins(
    sphere: np.ndarray, hemisphere: np.ndarray, subject: np.ndarray, n: int, seed: int
) -> np.ndarray:
    """Site whose value each site takes after random rotations of the sphere.

    Rotations are uniform; the right hemisphere takes the mirror image of the left one's, and all
    subjects the same. A site takes the value of the nearest rotated site of its subject and
    hemisphere. Where none comes near (the medial wall, or what was not tested), it has none.

    Parameters
    ----------
    sphere : array, (sites, 3)
        Positions on the sphere of each hemisphere around its own centre, x to the right; any
        radius. All subjects in one space.
    hemisphere : array of "L" and "R", (sites,)
    subject : array, (sites,)
    n : int
    seed : int

    Returns
    -------
    numpy.ndarray of int64, (n, sites)
        -1 where a site has no value.

    Raises
    ------
    InputError
        If a position is missing or at the centre, or a hemisphere has another name.
    """
    unit = _on_sphere(sphere)
    sides = np.asarray(hemisphere).astype(str)
    if not set(sides) <= {"L", "R"}:
        other = next(iter(set(sides) - {"L", "R"}))
        raise InputError(f"surrogates: hemisphere '{other}' is not L or R; name each site's")
    turned = random_rotations(n, seed)
    mirror = np.diag([-1.0, 1.0, 1.0])
    found = np.full((n, len(unit)), -1)
    for side, turns in (("L", turned), ("R", mirror @ turned @ mirror)):
        for one in np.unique(subject):
            own = np.flatnonzero((sides == side) & (subject == one))
            if len(own) > 1:
                found[:, own] = _nearest(unit[own], turns, own)
    return found


def _nearest(unit: np.ndarray, turns: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Find the nearest rotated site, (turns, sites); -1 where it lies beyond the gap."""
    tree = cKDTree(unit)
    spacing = float(np.median(tree.query(unit, k=2)[0][:, 1]))
    found = np.empty((len(turns), len(unit)), dtype=np.int64)
    for draw, turn in enumerate(turns):
        # as near to the rotated sites as the position, turned back, is to the sites
        distance, at = tree.query(unit @ turn)
        found[draw] = np.where(distance <= _GAP * spacing, number[at], -1)
    return found


def _on_sphere(positions: np.ndarray) -> np.ndarray:
    """Positions scaled to radius 1."""
    radius = np.linalg.norm(positions, axis=1, keepdims=True)
    bad = np.flatnonzero(~(radius[:, 0] > 0))
    if len(bad):
        raise InputError(
            f"surrogates: site {bad[0]} has no place on the sphere; give every site one, around "
            "the centre of its hemisphere's sphere"
        )
    return np.asarray(positions / radius)


def random_rotations(n: int, seed: int) -> np.ndarray:
    """Rotations of three dimensions, uniform over all of them, (n, 3, 3)."""
    q, r = np.linalg.qr(rng(seed, "rotations").standard_normal((n, 3, 3)))
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    return np.asarray(q * np.linalg.det(q)[:, None, None])  # -q of a reflection is a rotation


def spectral_null(
    fixed: np.ndarray,
    moved: np.ndarray,
    positions: np.ndarray,
    subject: np.ndarray,
    n: int,
    seed: int,
) -> np.ndarray:
    """Correlations of maps with maps whose spatial spectrum is kept.

    The waves are the eigenvectors of an exponential covariance over distance, whose reach comes
    from the moved maps themselves. If these are the waves in which the map's coefficients are
    independent, which way each coefficient points is the only thing that a draw changes, and
    the test is exact; `tests/concepts` measures it where they are not. All maps share the signs.

    Parameters
    ----------
    fixed, moved : array, (sites, maps)
    positions : array, (sites, 3)
        mm; all subjects in one space.
    subject : array, (sites,)
    n : int
    seed : int

    Returns
    -------
    numpy.ndarray of float64, (n, maps)

    Raises
    ------
    InputError
        If a position is missing, or there are more than `MOST_SITES`.
    """
    if len(positions) > MOST_SITES:
        raise InputError(
            f"surrogates: {len(positions)} sites are more than the {MOST_SITES} that are "
            "decomposed at once; use parcels, or places on a sphere"
        )
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise InputError(f"surrogates: site {bad[0]} has no position; give every site one")
    a, b = centred_within(fixed, subject), centred_within(moved, subject)
    waves = spatial_waves(positions, subject, reach_of(b, positions, subject, seed))
    product = (waves.T @ a) * (waves.T @ b)
    size = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    signs = rng(seed, "signs").choice(np.array([-1.0, 1.0]), size=(n, len(product)))
    null = signs @ product
    return np.divide(null, size, out=np.full(null.shape, np.nan), where=size > 1e-12)


def spatial_waves(positions: np.ndarray, subject: np.ndarray, reach: float) -> np.ndarray:
    """Orthonormal maps from coarse to fine that are centred within subjects.

    Eigenvectors of exp(-distance / reach), half of it between subjects: then what subjects have
    in common and what they have not are waves of their own.

    Parameters
    ----------
    positions : array, (sites, 3)
        mm.
    subject : array, (sites,)
    reach : float
        mm.

    Returns
    -------
    numpy.ndarray of float64, (sites, sites - subjects)
    """
    each = np.unique(subject)
    member = (subject[:, None] == each).astype(float)
    covariance = np.exp(-squareform(pdist(positions)) / reach)
    covariance *= _BETWEEN + (1 - _BETWEEN) * (member @ member.T)
    # sites at one place still get waves that tell them apart from the subjects' means
    covariance[np.diag_indices(len(covariance))] += 1e-6
    mean = member / np.sqrt(member.sum(axis=0))
    covariance -= mean @ (mean.T @ covariance)
    covariance -= (covariance @ mean) @ mean.T
    vectors = np.linalg.eigh((covariance + covariance.T) / 2)[1]
    return np.flip(vectors[:, len(each) :], axis=1)


def reach_of(values: np.ndarray, positions: np.ndarray, subject: np.ndarray, seed: int) -> float:
    """Distance over which maps are alike, mm.

    Least-squares fit of a exp(-d / reach) + c to the mean correlogram of the maps, within subjects
    and over the nearer half of all distances.

    Parameters
    ----------
    values : array, (sites, maps)
        Centred within subjects.
    positions : array, (sites, 3)
    subject : array, (sites,)
    seed : int
        Of the sample of sites, where there are very many.

    Returns
    -------
    float
        A quarter of the median distance where maps are not more alike nearby.
    """
    kept = np.arange(len(values))
    if len(kept) > _FOR_REACH:
        kept = np.sort(rng(seed, "reach").choice(kept, _FOR_REACH, replace=False))
    power = np.mean(values[kept] ** 2, axis=0)
    scaled = values[kept][:, power > 0] / np.sqrt(power[power > 0])
    i, j = np.triu_indices(len(kept), 1)
    same = subject[kept[i]] == subject[kept[j]]
    i, j, distance = i[same], j[same], pdist(positions[kept])[same]
    if len(distance) < 2 or not np.any(distance > 0) or not scaled.size:
        return 1.0  # any will do: no two sites of a subject are apart
    alike = np.mean(scaled[i] * scaled[j], axis=1)
    return _fitted_reach(distance, alike)


def _fitted_reach(distance: np.ndarray, alike: np.ndarray) -> float:
    """Reach of the exponential that fits best, on a grid."""
    median = float(np.median(distance))
    edges = np.quantile(distance[distance <= median], np.linspace(0, 1, _BINS + 1)[1:-1])
    near = distance <= median
    place = np.searchsorted(edges, distance[near])
    count = np.bincount(place, minlength=_BINS).astype(float)
    used = count > 0
    middle = np.bincount(place, distance[near], _BINS)[used] / count[used]
    height = np.bincount(place, alike[near], _BINS)[used] / count[used]
    weight = np.sqrt(count[used])[:, None]
    shortest = float(np.quantile(distance[distance > 0], 0.001))
    best, found = np.inf, max(median / 4, shortest)
    for reach in np.geomspace(shortest, float(distance.max()), _REACHES):
        curve = np.column_stack([np.exp(-middle / reach), np.ones(len(middle))])
        fitted = np.linalg.lstsq(curve * weight, height * weight[:, 0], rcond=None)[0]
        error = float(np.sum((weight[:, 0] * (curve @ fitted - height)) ** 2))
        if fitted[0] > 0 and error < best:
            best, found = error, float(reach)
    return found
