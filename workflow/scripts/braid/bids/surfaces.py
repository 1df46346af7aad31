"""Surfaces of the cortex: files of two hemispheres, names of vertices, fsaverage meshes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from braid.bids.files import entities_of
from braid.common import InputError

HEMISPHERES = ("L", "R")
FSNATIVE = "fsnative"
# vertices of each hemisphere of the icosahedral meshes, coarse to fine
FSAVERAGE = {
    "fsaverage3": 642,
    "fsaverage4": 2562,
    "fsaverage5": 10242,
    "fsaverage6": 40962,
    "fsaverage": 163842,
}
BUNDLED = "fsaverage5"
"""The mesh that nilearn ships; all others of its list are fetched."""
_DENSITY = {
    "3k": "fsaverage4",
    "10k": "fsaverage5",
    "41k": "fsaverage6",
    "164k": "fsaverage",
}
_SIDE = {"L": "left", "R": "right"}


def is_surface(space: str | None) -> bool:
    """Tell whether a `space` entity is a surface that is read: fsaverage in any size, fsnative."""
    return space in (*FSAVERAGE, "fsaverage7", FSNATIVE)


def mesh_of(path: Path) -> str:
    """Mesh of a recording by its entities `space` and `den`: of `FSAVERAGE`, or `fsnative`.

    Raises
    ------
    InputError
        If the file's `den` is none of fsaverage's.
    """
    entities = entities_of(path)
    space, density = entities.get("space", ""), entities.get("den")
    if space == "fsaverage7":
        return "fsaverage"
    if space != "fsaverage" or density is None:
        return space
    if density not in _DENSITY:
        raise InputError(
            f"{path}: den-{density} is no density of fsaverage; those there are: "
            f"{', '.join(_DENSITY)}; rename the file, or take another through `derivative.den`"
        )
    return _DENSITY[density]


def hemispheres(path: Path) -> tuple[Path, Path]:
    """Files of the left and of the right hemisphere, from that of either."""
    names = [
        "_".join(
            f"hemi-{side}" if part.startswith("hemi-") else part for part in path.name.split("_")
        )
        for side in HEMISPHERES
    ]
    return path.with_name(names[0]), path.with_name(names[1])


def check_sizes(paths: Iterable[Path], sizes: Iterable[int], mesh: str) -> None:
    """Check that both hemispheres have the vertices of the mesh that their names promise.

    Raises
    ------
    InputError
        Names the first file that has not, and the mesh it may be on.
    """
    for path, size in zip(paths, sizes, strict=True):
        if mesh in FSAVERAGE and size != FSAVERAGE[mesh]:
            fits = [name for name, vertices in FSAVERAGE.items() if vertices == size]
            raise InputError(
                f"{path}: {size} vertices, but {mesh} has {FSAVERAGE[mesh]} in each hemisphere"
                + (f" ({fits[0]} has as many as the file)" if fits else "")
                + "; correct `derivative.space` in the config, or the file's name"
            )


def vertex_names(sizes: Mapping[str, int]) -> np.ndarray:
    """Names of all vertices, left then right: `L-00000`, ..., with as many digits as they need.

    Numbers are the vertices' places in the mesh, from 0. Five digits at least, so that names of
    one mesh sort as its vertices do.
    """
    width = max(5, *(len(str(size - 1)) for size in sizes.values()))
    return np.array([f"{side}-{i:0{width}d}" for side in HEMISPHERES for i in range(sizes[side])])


def vertex_places(names: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hemisphere (`L` or `R`) and place in the mesh of vertices, from their names.

    Raises
    ------
    InputError
        If a name is not that of a vertex.
    """
    sides, places = [], []
    for name in names:
        side, _, place = str(name).partition("-")
        if side not in HEMISPHERES or not place.isdigit():
            raise InputError(f"target '{name}' is no vertex of a surface (L-00000, R-00000)")
        sides.append(side)
        places.append(int(place))
    return np.array(sides, dtype="<U1"), np.array(places, dtype=np.int64)


def fsaverage_mesh(mesh: str, part: str) -> dict[str, np.ndarray]:
    """Coordinates of an fsaverage mesh, by hemisphere.

    fsaverage meshes are nested: the first 2562 vertices of fsaverage5 are those of fsaverage4. So
    the mesh that nilearn ships gives the coarser ones too; finer ones nilearn fetches once.

    Parameters
    ----------
    mesh : str
        Name in `FSAVERAGE`.
    part : str
        `white`, `pial`, `infl`, `sphere` (radius 100 mm), or `midthickness`, the middle between
        white and pial surface.

    Returns
    -------
    dict of str to numpy.ndarray
        `L` and `R`: (vertices, 3), float64, mm.

    Raises
    ------
    InputError
        If a mesh that has to be fetched cannot be.
    """
    if part == "midthickness":
        white, pial = fsaverage_mesh(mesh, "white"), fsaverage_mesh(mesh, "pial")
        return {side: (white[side] + pial[side]) / 2 for side in HEMISPHERES}
    from nilearn.surface import load_surf_mesh

    files = fsaverage_files(mesh)
    found = {side: load_surf_mesh(files[f"{part}_{_SIDE[side]}"]) for side in HEMISPHERES}
    return {
        side: np.asarray(one.coordinates, dtype=np.float64)[: FSAVERAGE[mesh]]
        for side, one in found.items()
    }


def fsaverage_files(mesh: str) -> Any:
    """Files of a mesh as nilearn names them; of one coarser than fsaverage5 those of fsaverage5."""
    from nilearn.datasets import fetch_surf_fsaverage

    if FSAVERAGE[mesh] <= FSAVERAGE[BUNDLED]:
        return fetch_surf_fsaverage(BUNDLED)
    try:
        return fetch_surf_fsaverage(mesh)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{mesh}: nilearn cannot fetch this mesh ({reason}); call "
            f"nilearn.datasets.fetch_surf_fsaverage('{mesh}') once where there is a network, or "
            f"use recordings on {BUNDLED}, which needs none"
        ) from None


def sphere_of(names: Iterable[str], mesh: str) -> dict[str, np.ndarray]:
    """Places of vertices on the sphere of fsaverage, for tests that rotate maps (spin tests).

    Each hemisphere has a sphere of its own, with x to the right in both; a rotation of the left
    one belongs to its mirror image in x on the right.

    Parameters
    ----------
    names : iterable of str
        Names of vertices (`L-00000`); of any choice of them, in any order.
    mesh : str
        Name in `FSAVERAGE`.

    Returns
    -------
    dict of str to numpy.ndarray
        `L` and `R`: (vertices of that hemisphere, 3), float64, mm, on a sphere of radius 100 mm, in
        the order of the names.

    Raises
    ------
    InputError
        If a name is not that of a vertex of this mesh, or the mesh has no sphere here (fsnative).
    """
    if mesh not in FSAVERAGE:
        raise InputError(
            f"{mesh}: the sphere of this surface is not known; vertices of fsaverage have one"
        )
    sides, places = vertex_places(names)
    if places.size and places.max() >= FSAVERAGE[mesh]:
        raise InputError(
            f"vertex {places.max()} is none of {mesh}, which has {FSAVERAGE[mesh]} in each "
            "hemisphere"
        )
    sphere = fsaverage_mesh(mesh, "sphere")
    return {side: sphere[side][places[sides == side]] for side in HEMISPHERES}
