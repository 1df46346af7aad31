"""Parcels: means over the regions of an atlas, in the place of voxels or vertices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from braid.common import InputError

_UNLABELLED = ("n/a", "")


class Series(Protocol):
    """Where series come from: `Voxels` or `Vertices` (see `braid.preprocess.bold.Sites`)."""

    names: np.ndarray
    attributes: dict[str, str]

    def read(
        self, position: int, unusable: dict[int, tuple[str, str]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a run."""

    def targets(self, atlas: Mapping[str, str] | None) -> dict[str, np.ndarray]:
        """Coordinates along `target`."""


class Parcels:
    """Regions of an atlas, each the mean of its voxels or vertices before anything is cleaned.

    Voxels outside of all regions are not used. A voxel that is constant or not finite in a run does
    not enter its region's mean in that run.

    Parameters
    ----------
    sites : Voxels or Vertices
    atlas : mapping or None
        `preprocess.atlas`.

    Attributes
    ----------
    names : numpy.ndarray
        Names of the regions, in the order of their first voxel; of a surface with the hemisphere
        before them (`L-fusiform`), for atlases name both alike.
    attributes : dict
        None: a parcel is no voxel of a grid.

    Raises
    ------
    InputError
        If there is no atlas, or no voxel lies in one of its regions.
    """

    none_left = "no region of the atlas has a voxel that varies; check the atlas and the mask"

    def __init__(self, sites: Series, atlas: Mapping[str, str] | None) -> None:
        if atlas is None:
            raise InputError("preprocess.average: there is no atlas to average over; name one")
        self._sites = sites
        self._found = sites.targets(atlas)
        region = np.asarray(self._found["region"]).astype(str)
        labelled = ~np.isin(region, _UNLABELLED)
        if "vertices" in sites.attributes:
            sides = np.array([name[0] for name in sites.names.astype(str)])
            label = np.char.add(np.char.add(sides, "-"), region)
        else:
            label = region
        names = list(dict.fromkeys(label[labelled]))
        if not names:
            raise InputError(
                f"preprocess.average: no voxel lies in a region of {atlas['image']}; the atlas "
                "must be in the space of the recordings"
            )
        self.names = np.array(names)
        self.attributes: dict[str, str] = {}
        self._member = (label == self.names[:, None]) & labelled
        self._region = region[np.argmax(self._member, axis=1)]

    def read(
        self, position: int, unusable: dict[int, tuple[str, str]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a run: means (volumes, regions), float64, and motion where it is known.

        Adds to `unusable` the regions that have no voxel to average.
        """
        left_out: dict[int, tuple[str, str]] = {}
        series, motion = self._sites.read(position, left_out)
        good = np.ones(series.shape[1], dtype=bool)
        good[list(left_out)] = False
        weight = (self._member & good).astype(float)
        count = weight.sum(axis=1)
        for number in np.flatnonzero(count == 0):
            unusable.setdefault(int(number), ("no data", "every voxel is constant or NaN in a run"))
        means = np.where(good, series, 0.0) @ weight.T / np.maximum(count, 1)
        return means, motion

    def targets(self, atlas: Mapping[str, str] | None) -> dict[str, np.ndarray]:
        """Coordinates along `target`: region, and x, y, z, means over its voxels (mm)."""
        share = self._member / self._member.sum(axis=1, keepdims=True)
        places = {axis: share @ np.asarray(self._found[axis], dtype=float) for axis in "xyz"}
        return {"region": self._region, **places}
