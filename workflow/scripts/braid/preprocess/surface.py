"""BOLD on the surface of the cortex: GIFTI series of two hemispheres, vertices and their regions.

fMRIPrep samples BOLD onto surfaces and writes a file for each hemisphere. Vertices take the place
of voxels; how series are cleaned is the same (`braid.preprocess.bold`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids import check_fetched, entities_of
from braid.bids.surfaces import (
    FSAVERAGE,
    FSNATIVE,
    HEMISPHERES,
    check_sizes,
    fsaverage_mesh,
    hemispheres,
    mesh_of,
    sphere_of,
    vertex_names,
)
from braid.common import InputError
from braid.preprocess.cleaned import note_unusable
from braid.preprocess.confounds import table_motion
from braid.preprocess.paths import resolve

# what FreeSurfer calls vertices that belong to no region
_NO_REGION = ("", "unknown", "???", "medial_wall", "medial wall")
_ANATOMY = ("midthickness", "pial")


class Vertices:
    """Vertices of both hemispheres of one subject, left then right.

    Parameters
    ----------
    index : pandas.DataFrame
        The subject's rows; `path` names the left hemispheres.
    root : pathlib.Path
        Root of the data set.
    params : mapping
        As for `preprocess_bold`.

    Attributes
    ----------
    names : numpy.ndarray
        `L-00000`, ..., `R-00000`, ...
    attributes : dict
        `space`: the mesh; `vertices`: JSON list, how many it has in each hemisphere.

    Raises
    ------
    InputError
        If smoothing or a mask is asked for, or runs differ in mesh.
    """

    none_left = "every vertex is constant or NaN; check the recording"

    def __init__(self, index: pd.DataFrame, root: Path, params: Mapping[str, Any]) -> None:
        _check_params(params)
        self._files = [hemispheres(root / path) for path in index["path"]]
        self._labels = [str(label) for label in index["run"]]
        self._index, self._root = index, root
        self._mesh = mesh_of(self._files[0][0])
        first = self._read(0)
        self._sizes = {s: v.shape[1] for s, v in zip(HEMISPHERES, first, strict=True)}
        self._waiting = {0: first}  # until it is asked for
        self.names = vertex_names(self._sizes)
        self.attributes = {
            "space": self._mesh,
            "vertices": json.dumps([self._sizes[side] for side in HEMISPHERES]),
        }

    def read(
        self, position: int, unusable: dict[int, tuple[str, str]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a run: series (volumes, vertices), float64, and motion where it is known.

        Vertices that hold no data, as those of the medial wall, are added to `unusable`.
        """
        parts = self._waiting.pop(position, None) or self._read(position)
        for path, part, size in zip(
            self._files[position], parts, self._sizes.values(), strict=True
        ):
            if part.shape[1] != size:
                raise InputError(
                    f"{path}: {part.shape[1]} vertices but {size} in the first run; all runs of a "
                    "subject must be on one mesh"
                )
        series = np.concatenate(parts, axis=1, dtype=np.float64)
        _note_empty(series, self._labels[position], unusable)
        note_unusable(series, self._labels[position], unusable)
        row = self._index.iloc[position]
        return series, table_motion(row, self._root, len(series))

    def targets(self, atlas: Mapping[str, str] | None) -> dict[str, np.ndarray]:
        """Coordinates along `target`: region, x, y, z (mm), and places on the sphere if known."""
        row = self._index.iloc[0]
        xyz = self._coordinates()
        found = {"region": self._regions(row, atlas)}
        found |= {axis: xyz[:, i] for i, axis in enumerate("xyz")}
        if self._mesh in FSAVERAGE:
            sphere = np.concatenate(list(sphere_of(self.names, self._mesh).values()))
            found |= {f"sphere_{axis}": sphere[:, i] for i, axis in enumerate("xyz")}
        return found

    def _read(self, position: int) -> list[np.ndarray]:
        """Series of both hemispheres, (volumes, vertices) each."""
        paths = self._files[position]
        if mesh_of(paths[0]) != self._mesh:
            raise InputError(
                f"{paths[0]}: is on {mesh_of(paths[0])}, the first run on {self._mesh}; take runs "
                "of one mesh through `derivative.space` and `derivative.den`"
            )
        parts = [read_series(path) for path in paths]
        if len(parts[0]) != len(parts[1]):
            raise InputError(
                f"{paths[1]}: {len(parts[1])} volumes but {len(parts[0])} in {paths[0].name}; both "
                "hemispheres of a run must have the same; make the shorter one again"
            )
        check_sizes(paths, [part.shape[1] for part in parts], self._mesh)
        return parts

    def _coordinates(self) -> np.ndarray:
        """(vertices, 3), mm; NaN where no mesh tells."""
        if self._mesh in FSAVERAGE:
            found: dict[str, np.ndarray] | None = fsaverage_mesh(self._mesh, "midthickness")
        else:
            found = _native_mesh(self._files[0][0], self._sizes)
        if found is None:
            return np.full((len(self.names), 3), np.nan)
        return np.concatenate([found[side] for side in HEMISPHERES])

    def _regions(self, row: pd.Series, atlas: Mapping[str, str] | None) -> np.ndarray:
        """Region of each vertex; `n/a` where there is no atlas or no label."""
        if not atlas:
            return np.full(len(self.names), "n/a")
        if atlas.get("labels"):
            raise InputError(
                "preprocess.atlas.labels: an atlas of a surface (.annot, .label.gii) holds its own "
                "names; remove the key"
            )
        parts = []
        for side, size in self._sizes.items():
            further = {"hemi": side, "side": f"{side.lower()}h"}
            path = resolve(atlas["image"], self._root, row, "atlas.image", further)
            labels = read_labels(path)
            if len(labels) != size:
                raise InputError(
                    f"{path}: labels of {len(labels)} vertices, but hemisphere {side} has {size}; "
                    f"give an atlas on {self._mesh} in `preprocess.atlas.image`, with {{hemi}} (L, "
                    "R) or {side} (lh, rh)"
                )
            parts.append(labels)
        return np.concatenate(parts)


def _check_params(params: Mapping[str, Any]) -> None:
    """Refuse what is done to volumes only."""
    if params["smooth"]:
        raise InputError(
            "preprocess.smooth: series on a surface are not smoothed here; set it to null, or give "
            "series that were smoothed along the surface (mri_surf2surf --fwhm, or wb_command "
            "-metric-smoothing)"
        )
    if params["mask"] != "auto":
        raise InputError(
            "preprocess.mask: a mask is an image of voxels; on a surface leave it at `auto`, which "
            "leaves out vertices without data (the medial wall)"
        )


def read_series(path: Path) -> np.ndarray:
    """Read the time series of one hemisphere.

    Parameters
    ----------
    path : pathlib.Path
        GIFTI file, with one array for each volume or one of vertices x volumes.

    Returns
    -------
    numpy.ndarray
        (volumes, vertices), float32.
    """
    arrays = [np.asarray(one.data, dtype=np.float32) for one in _gifti(path).darrays]
    if len(arrays) == 1 and arrays[0].ndim == 2:
        return arrays[0].T
    if len(arrays) < 2 or len({one.size for one in arrays}) > 1:
        raise InputError(
            f"{path}: a BOLD run on a surface must be a time series, this file has "
            f"{len(arrays)} arrays of {sorted({one.size for one in arrays})} numbers; copy it again"
        )
    return np.stack([one.ravel() for one in arrays])


def read_labels(path: Path) -> np.ndarray:
    """Read the region of each vertex of one hemisphere.

    Parameters
    ----------
    path : pathlib.Path
        FreeSurfer annotation (`.annot`) or GIFTI labels (`.label.gii`).

    Returns
    -------
    numpy.ndarray
        Text; `n/a` for vertices without a region.
    """
    check_fetched(path)
    if path.suffix == ".annot":
        from nibabel.freesurfer import read_annot

        try:
            keys, _, texts = read_annot(path)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path}: not a readable FreeSurfer annotation ({error}); copy it again"
            ) from None
        names = {number: text.decode() for number, text in enumerate(texts)}
    else:
        image = _gifti(path)
        names = image.labeltable.get_labels_as_dict()
        if not names:
            raise InputError(
                f"{path}: an atlas of a surface must be .annot or .label.gii, this file has no "
                "table of labels; correct `preprocess.atlas.image`"
            )
        keys = np.asarray(image.darrays[0].data).ravel()
    known = {k: "n/a" if name.lower() in _NO_REGION else name for k, name in names.items()}
    return np.array([known.get(int(key), "n/a") for key in keys], dtype=str)


def _note_empty(series: np.ndarray, run: str, unusable: dict[int, tuple[str, str]]) -> None:
    """Note the vertices that are zero or NaN in all volumes: nothing was sampled there."""
    zero = (series == 0).all(axis=0)
    for i in np.flatnonzero(zero | np.isnan(series).all(axis=0)):
        unusable.setdefault(
            int(i), ("no data", f"{'zero' if zero[i] else 'NaN'} throughout {run} (medial wall)")
        )


def _gifti(path: Path) -> Any:
    """Read a GIFTI file."""
    from xml.parsers.expat import ExpatError

    import nibabel as nib

    check_fetched(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; index the data set again")
    try:
        return nib.load(path)
    except (ExpatError, nib.filebasedimages.ImageFileError, OSError, EOFError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable GIFTI file ({reason}); copy it again") from None


def _native_mesh(path: Path, sizes: Mapping[str, int]) -> dict[str, np.ndarray] | None:
    """Coordinates of a subject's own surface, from the derivative's `anat` folders; else None.

    Parameters
    ----------
    path : pathlib.Path
        A recording of the derivative.
    sizes : mapping
        Vertices of each hemisphere.
    """
    entities = entities_of(path)
    subject = next(p for p in path.parents if p.name == f"sub-{entities['subject']}")
    folders = [*sorted(subject.glob("ses-*/anat")), subject / "anat"]
    # that of the recording's own session first, then that of the subject
    own = f"ses-{entities.get('session')}"
    folders.sort(key=lambda folder: (folder.parent.name != own, folder.parent != subject))
    for part in _ANATOMY:
        for folder in folders:
            pair = [_anatomy(folder, side, part) for side in HEMISPHERES]
            if all(pair):
                files = dict(zip(HEMISPHERES, pair, strict=True))
                return {side: _points(file, sizes[side]) for side, file in files.items() if file}
    return None


def _anatomy(folder: Path, side: str, part: str) -> Path | None:
    """Native surface of one hemisphere in a folder; not one that was resampled to a template."""
    for path in sorted(folder.glob(f"*_hemi-{side}_*{part}.surf.gii")):
        entities = entities_of(path)
        if entities.get("space") in (None, FSNATIVE, "T1w") and "den" not in entities:
            return path
    return None


def _points(path: Path, size: int) -> np.ndarray:
    """Coordinates of a surface, checked for the number of its vertices."""
    check_fetched(path)
    xyz = np.asarray(_gifti(path).agg_data("pointset"), dtype=np.float64)
    if xyz.shape != (size, 3):
        raise InputError(
            f"{path}: {len(xyz)} vertices, but the recordings in {FSNATIVE} have {size}; make the "
            "derivative again, so that surfaces and recordings are of one reconstruction"
        )
    return xyz
