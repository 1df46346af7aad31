"""The small brains of the simulated BOLD runs: their shape, and what drives each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from braid.common import InputError, rng
from braid.simulate.recordings_anatomy import (
    HOMES,
    REGIONS,
    affine_of,
    radius_of,
    region_of,
    voxel_positions,
)
from braid.simulate.recordings_drive import Weights, digest, draw_shared, draw_weights
from braid.simulate.recordings_settings import BoldSettings, CrossmodalSettings
from braid.simulate.world import Stimulus

_CORE = 0.9  # driven voxels lie within this share of the brain's radius, so that a mask keeps them


@dataclass(frozen=True)
class Brain:
    """A subject's brain and what drives its voxels.

    Attributes
    ----------
    voxels : pandas.DataFrame
        One row per brain voxel: `i`, `j`, `k`, `site`, `region`, `kind`, `latency` (s),
        `weights` (digest), `autocorrelated`; in the section `crossmodal` also `dimension_1`, ...
        (place of a shared or inverted voxel on each shared dimension).
    image : ndarray of shape (x, y, z)
        Static image: brain, skull and background.
    affine : ndarray of shape (4, 4)
    weights : dict of str to dict of str to ndarray
        Per driven kind and part, in the order of the kind's rows in `voxels`.
    """

    voxels: pd.DataFrame
    image: np.ndarray
    affine: np.ndarray
    weights: dict[str, Weights]


def make_brain(settings: BoldSettings, stimuli: list[Stimulus], seed: int, subject: str) -> Brain:
    """Shape a brain, and choose what drives its voxels.

    Parameters
    ----------
    settings : BoldSettings
    stimuli : list of Stimulus
        The stimuli that the weights are scaled by.
    seed : int
    subject : str

    Returns
    -------
    Brain
    """
    random = rng(seed, "bold", subject, "brain")
    affine, positions, radius = _geometry(settings)
    inside = np.argwhere(radius < 1)
    voxels = pd.DataFrame(inside, columns=list("ijk"))
    voxels["site"] = [f"{i}-{j}-{k}" for i, j, k in inside]
    places = positions[radius < 1]
    voxels["region"] = region_of(places)
    voxels["kind"] = _choose_kinds(settings, places, radius[radius < 1] < _CORE, random)
    silent = voxels.index[voxels["kind"] == "silent"].to_numpy()
    voxels["autocorrelated"] = False
    slow = random.choice(silent, size=len(silent) // 8, replace=False)
    voxels.loc[slow, "autocorrelated"] = True
    voxels["latency"] = np.nan
    voxels["weights"] = "n/a"
    weights = {}
    latents = [stimulus.latents for stimulus in stimuli]
    for kind, _ in settings.driven:
        rows = np.flatnonzero(voxels["kind"] == kind)
        if isinstance(settings, CrossmodalSettings) and kind in ("shared", "inverted"):
            drawn, places = draw_shared(kind, latents, settings.dimensions, len(rows), random)
            for number, column in enumerate(places.T, start=1):
                voxels.loc[rows, f"dimension_{number}"] = column.round(4)
        else:
            drawn = draw_weights(kind, latents, len(rows), random)
        weights[kind] = drawn
        voxels.loc[rows, "latency"] = random.uniform(*settings.latency, len(rows)).round(2)
        voxels.loc[rows, "weights"] = [digest(drawn, site) for site in range(len(rows))]
    return Brain(voxels, _static_image(settings, radius, random), affine, weights)


def check_room(section: str, settings: BoldSettings) -> None:
    """Refuse more driven voxels than a hemisphere has room for.

    Raises
    ------
    InputError
        Names the number of voxels that there are.
    """
    _, positions, radius = _geometry(settings)
    wanted = sum(number - number // 2 for _, number in settings.driven)
    room = int((radius[positions[..., 0] > 0] < _CORE).sum())
    if wanted > room:
        raise InputError(
            f"world description: '{section}.driven' asks for {wanted} voxels in one hemisphere, "
            f"which has {room} away from its surface; lower the numbers or enlarge "
            f"'{section}.radii'"
        )


def _geometry(settings: BoldSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Affine, voxel centres (mm), and distance from the brain's centre in units of its radii."""
    affine = affine_of(settings.shape, settings.voxel_size)
    positions = voxel_positions(settings.shape, affine)
    centre = positions.reshape(-1, 3).mean(axis=0)
    return affine, positions, radius_of(positions, centre, settings.radii)


def _choose_kinds(
    settings: BoldSettings, places: np.ndarray, core: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Grow a cluster of each driven kind in both hemispheres, around regions it is at home in."""
    kinds = np.full(len(places), "silent", dtype=object)
    for kind, number in settings.driven:
        for side, wanted in ((-1.0, number // 2), (1.0, number - number // 2)):
            home = HOMES[kind][int(random.integers(len(HOMES[kind])))]
            distance = np.linalg.norm(places - np.array(REGIONS[home]) * [side, 1, 1], axis=1)
            free = np.flatnonzero((kinds == "silent") & core & (np.sign(places[:, 0]) == side))
            kinds[free[np.argsort(distance[free], kind="stable")[:wanted]]] = kind
    return kinds


def _static_image(
    settings: BoldSettings, radius: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Bright brain in a dark gap, a dim skull around it, and an almost empty background."""
    texture = gaussian_filter(random.normal(size=radius.shape), 1.5)
    brain = 1 + 0.08 * texture / texture.std()
    image = np.select([radius < 1, radius < 1.08, radius < 1.25], [brain, 0.15, 0.3], default=0.02)
    return settings.baseline * gaussian_filter(image, 0.35)
