"""Where simulated sites lie: named regions, depth electrodes and a small ellipsoid brain.

Coordinates are millimetres in MNI space (right, anterior, superior positive). Region centres are
rounded positions of the Desikan-Killiany regions, good enough to label a simulated site.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# centre of each region in the right hemisphere; the left one is its mirror image
REGIONS: dict[str, tuple[float, float, float]] = {
    "lateraloccipital": (32.0, -88.0, 2.0),
    "pericalcarine": (13.0, -80.0, 7.0),
    "lingual": (15.0, -67.0, -5.0),
    "cuneus": (8.0, -80.0, 22.0),
    "fusiform": (35.0, -44.0, -21.0),
    "superiortemporal": (54.0, -14.0, -3.0),
    "middletemporal": (57.0, -26.0, -13.0),
    "inferiortemporal": (50.0, -32.0, -25.0),
    "bankssts": (53.0, -41.0, 9.0),
    "supramarginal": (52.0, -34.0, 34.0),
    "inferiorparietal": (42.0, -65.0, 32.0),
    "superiorparietal": (22.0, -62.0, 50.0),
    "precuneus": (11.0, -57.0, 38.0),
    "postcentral": (43.0, -24.0, 47.0),
    "precentral": (38.0, -10.0, 46.0),
    "superiorfrontal": (13.0, 25.0, 43.0),
    "caudalmiddlefrontal": (36.0, 11.0, 46.0),
    "rostralmiddlefrontal": (33.0, 42.0, 19.0),
    "parsopercularis": (47.0, 15.0, 12.0),
    "parstriangularis": (45.0, 30.0, 3.0),
    "lateralorbitofrontal": (24.0, 29.0, -15.0),
    "medialorbitofrontal": (7.0, 38.0, -14.0),
    "insula": (37.0, -2.0, 0.0),
    "posteriorcingulate": (6.0, -18.0, 38.0),
    "parahippocampal": (24.0, -30.0, -17.0),
}

# regions in which a driven kind lives
HOMES: dict[str, tuple[str, ...]] = {
    "vision": ("lateraloccipital", "pericalcarine", "lingual", "cuneus"),
    "language": ("superiortemporal", "middletemporal", "parsopercularis", "parstriangularis"),
    "sum": ("fusiform", "inferiortemporal"),
    "joint": ("supramarginal", "inferiorparietal", "bankssts"),
    "shared": ("precuneus", "inferiorparietal"),
    "inverted": ("fusiform", "lingual"),
}


@dataclass(frozen=True)
class Shaft:
    """Plan of one depth electrode in the right hemisphere: its letter, ends and patch's kind."""

    letter: str
    kind: str
    deep: tuple[float, float, float]
    superficial: tuple[float, float, float]


SHAFTS = (
    Shaft("O", "vision", (10.0, -82.0, 8.0), (36.0, -88.0, 4.0)),
    Shaft("T", "language", (32.0, -12.0, -6.0), (60.0, -16.0, -4.0)),
    Shaft("F", "sum", (26.0, -40.0, -20.0), (52.0, -34.0, -24.0)),
    Shaft("P", "joint", (24.0, -50.0, 34.0), (54.0, -38.0, 32.0)),
    Shaft("M", "silent", (8.0, -16.0, 40.0), (40.0, -14.0, 48.0)),
    Shaft("A", "silent", (8.0, 34.0, 20.0), (36.0, 42.0, 20.0)),
)


def region_of(positions: np.ndarray) -> list[str]:
    """Name the nearest region of each position.

    Parameters
    ----------
    positions : ndarray of shape (n, 3)
        MNI coordinates, mm.

    Returns
    -------
    list of str
        Names such as `lh-cuneus`.
    """
    centres = np.array(list(REGIONS.values()))
    folded = np.abs(positions) * [1.0, 0.0, 0.0] + positions * [0.0, 1.0, 1.0]
    nearest = np.linalg.norm(folded[:, None] - centres[None], axis=-1).argmin(axis=1)
    names = list(REGIONS)
    return [
        f"{hemisphere_of(position)}-{names[index]}"
        for position, index in zip(positions, nearest, strict=True)
    ]


def hemisphere_of(position: np.ndarray) -> str:
    """`lh` left of the midline, else `rh`."""
    return "lh" if position[0] < 0 else "rh"


def contact_positions(
    shaft: Shaft, left: bool, contacts: int, random: np.random.Generator
) -> np.ndarray:
    """Positions of the contacts along a shaft, deepest first, with a surgeon's few mm of scatter.

    Returns
    -------
    ndarray of shape (contacts, 3)
        MNI coordinates, mm.
    """
    ends = np.array([shaft.deep, shaft.superficial]) + random.normal(0, 1.5, (2, 3))
    steps = np.linspace(0, 1, contacts)[:, None]
    positions = ends[0] * (1 - steps) + ends[1] * steps
    return positions * [-1.0 if left else 1.0, 1.0, 1.0]


def affine_of(shape: tuple[int, ...], voxel_size: float) -> np.ndarray:
    """Affine (voxel to mm) of an image centred on the middle of the MNI brain."""
    affine = np.diag([voxel_size] * 3 + [1.0])
    affine[:3, 3] = np.array([0.0, -18.0, 10.0]) - voxel_size * (np.array(shape) - 1) / 2
    return affine


def voxel_positions(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Coordinates of all voxel centres, mm, shape (*shape, 3)."""
    indices = np.moveaxis(np.indices(shape), 0, -1)
    positions: np.ndarray = indices @ affine[:3, :3].T + affine[:3, 3]
    return positions


def radius_of(positions: np.ndarray, centre: np.ndarray, radii: tuple[float, ...]) -> np.ndarray:
    """Distance from `centre` in units of an ellipsoid's surface (1 on it), shape (...,)."""
    return np.linalg.norm((positions - centre) / np.array(radii), axis=-1)
