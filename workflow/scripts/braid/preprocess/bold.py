"""Preprocessing of BOLD: raw images lightly, fMRIPrep's images and surfaces with its confounds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from braid.bids import recorded_shift
from braid.common import InputError, progress
from braid.preprocess.averages import Parcels
from braid.preprocess.cleaned import (
    Cleaned,
    assemble,
    excluded_table,
    note_unusable,
    quality_table,
)
from braid.preprocess.confounds import (
    confounds_of,
    displacement_of,
    dvars,
    motion_of,
    motion_unknown,
    spikes,
)
from braid.preprocess.defaults import BOLD, choice, with_defaults
from braid.preprocess.masks import mask_of, regions_of, told_if_cut_off
from braid.preprocess.paths import of_kind
from braid.preprocess.regression import clean_run, left_without_variance, zscore
from braid.preprocess.surface import Vertices

Measure = tuple[str, float, str]


class Sites(Protocol):
    """Where the series of a subject lie: voxels of a mask, vertices of two hemispheres, or parcels.

    Attributes
    ----------
    names : numpy.ndarray
        Text, one per target.
    attributes : dict
        Attributes of the signal.
    none_left : str
        What to say where no target is left.
    """

    names: np.ndarray
    attributes: dict[str, str]
    none_left: str

    def read(
        self, position: int, unusable: dict[int, tuple[str, str]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a run: series (volumes, targets), float64, new, and motion where it is known.

        Adds to `unusable` what cannot be used.
        """

    def targets(self, atlas: Mapping[str, str] | None) -> dict[str, np.ndarray]:
        """Coordinates along `target`."""


def preprocess_bold(index: pd.DataFrame, root: str | Path, params: Mapping[str, Any]) -> Cleaned:
    """Clean the BOLD runs of one subject.

    Each run is optionally smoothed, then masked; trends, slow drifts, confounds and spikes are
    taken out in one regression; the residuals are z-scored. Images are not realigned: raw
    recordings get their translations estimated and regressed out at most (`confounds: motion`),
    which is no substitute for fMRIPrep, whose derivatives are taken through `dataset.derivative`.
    Its series on surfaces are cleaned in the same way, with vertices in the place of voxels; and,
    with `average`, means over the regions of an atlas in the place of either.

    Parameters
    ----------
    index : pandas.DataFrame
        Rows of `index_dataset` of one subject.
    root : path-like
        Root of the data set.
    params : mapping
        `dataset.preprocess` of the config; see `braid.preprocess.defaults.BOLD`.

    Returns
    -------
    Cleaned
        One target per voxel of the mask, named `i-j-k`, or per vertex, named `L-00000`, left then
        right; in z-scores, or in the image's units with zero mean per run. A voxel or vertex that
        is constant or NaN in one run, or in which nothing but nuisance is found, is left out in
        all. Quality: per run the median temporal signal-to-noise, DVARS, framewise displacement
        (where motion is known), the number of nuisance regressors, and (where the sidecars tell)
        how much later than the middle of the volume its slices were acquired, and their spread.

    Raises
    ------
    InputError
        If runs differ in grid or mesh, a hemisphere, mask, confounds or atlas file is missing or
        does not fit, smoothing on a surface is asked for, or more regressors are asked for than a
        run has volumes.
    """
    index, root = of_kind(index, "bold"), Path(root)
    params = with_defaults(params, BOLD)
    choice(params, "detrend", ("none", "linear", "quadratic"))
    sites: Sites = _sites(index, root, params)
    unusable: dict[int, tuple[str, str]] = {}
    runs: dict[str, np.ndarray] = {}
    quality: list[tuple[str, str, float, str]] = []
    for position, (_, row) in enumerate(progress(list(index.iterrows()), "preprocessing BOLD")):
        # one run at a time: raw volumes are let go before the next are read
        series, measures = _process_run(sites, position, root, row, params, unusable)
        runs[str(row["run"])] = series.astype(np.float32)
        quality += [(str(row["run"]), *measure) for measure in measures]
    names = sites.names
    kept = np.array([i for i in range(len(names)) if i not in unusable], dtype=int)
    if not kept.size:
        raise InputError(f"{root / index['path'].iloc[0]}: {sites.none_left}")
    runs = {label: series[:, kept] for label, series in runs.items()}
    targets = {"target": names, "site": names, **sites.targets(params["atlas"])}
    tr = float(index["repetition_time"].iloc[0])
    signal = assemble(
        runs,
        1.0 / tr,
        {name: values[kept] for name, values in targets.items()},
        {
            "kind": "bold",
            "subject": str(index["subject"].iloc[0]),
            "repetition_time": tr,
            "units": "z" if params["standardize"] else "arbitrary",
            **sites.attributes,
        },
    )
    excluded = [(names[i], *why) for i, why in sorted(unusable.items())]
    return Cleaned(signal, excluded_table(excluded), quality_table(quality))


def _sites(index: pd.DataFrame, root: Path, params: Mapping[str, Any]) -> Sites:
    """Voxels of images, or vertices of surfaces, or means of these."""
    surfaces = [str(path).endswith(".gii") for path in index["path"]]
    kind = Vertices if all(surfaces) else Voxels
    sites: Sites = kind(index, root, params)
    return Parcels(sites, params["atlas"]) if params["average"] else sites


def _process_run(
    sites: Sites,
    position: int,
    root: Path,
    row: pd.Series,
    params: Mapping[str, Any],
    unusable: dict[int, tuple[str, str]],
) -> tuple[np.ndarray, list[Measure]]:
    """Clean one run: (volumes, targets); adds to `unusable` what cannot be used."""
    path = root / row["path"]
    series, motion = sites.read(position, unusable)
    np.nan_to_num(series, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    good = np.array([i not in unusable for i in range(series.shape[1])])
    if not good.any():
        return series, []
    displacement = None if motion is None else displacement_of(motion)
    regressors = confounds_of(row, root, motion, len(series), params)
    change = dvars(series[:, good])
    if params["spikes"]:
        if displacement is None and params["spikes"].get("measure") == "displacement":
            raise motion_unknown(path, "`preprocess.spikes.measure`")
        marks = spikes(displacement, change, params["spikes"])
        regressors = marks if regressors is None else np.hstack([regressors, marks])
    tr = float(row["repetition_time"])
    cleaned = clean_run(series, tr, params["detrend"], params["high_pass"], regressors, str(path))
    empty = left_without_variance(series, cleaned) & good
    for i in np.flatnonzero(empty):
        unusable.setdefault(int(i), ("nuisance only", f"nothing else in {row['run']}"))
    snr = series[:, good].mean(axis=0) / series[:, good].std(axis=0)
    measures: list[Measure] = [("temporal signal-to-noise", float(np.median(snr)), "ratio")]
    if displacement is not None:
        measures += [
            ("framewise displacement", float(displacement.mean()), "mm"),
            ("largest framewise displacement", float(displacement.max()), "mm"),
        ]
    measures += [
        ("DVARS", float(change[1:].mean()), "image units"),
        ("confound regressors", float(0 if regressors is None else regressors.shape[1]), "columns"),
    ]
    measures += _slice_times(root, str(row["path"]), tr)
    return (zscore(cleaned) if params["standardize"] else cleaned), measures


def _slice_times(root: Path, path: str, tr: float) -> list[Measure]:
    """When the slices were acquired, as far as the sidecars tell."""
    shift, spread = recorded_shift(root, path, tr)
    found = (("slice time shift", shift, "s"), ("slice time spread", spread, "s"))
    return [measure for measure in found if np.isfinite(measure[1])]


class Voxels:
    """Voxels of the mask of one subject, as `Sites` says.

    Parameters
    ----------
    index : pandas.DataFrame
        The subject's rows.
    root : pathlib.Path
        Root of the data set.
    params : mapping
        As for `preprocess_bold`.
    """

    none_left = "every voxel of the mask is constant or NaN; check the mask"

    def __init__(self, index: pd.DataFrame, root: Path, params: Mapping[str, Any]) -> None:
        self._index, self._root, self._smooth = index, root, params["smooth"]
        self._paths = [root / path for path in index["path"]]
        self._images = [_open(path) for path in self._paths]
        _check_grid(self._images, self._paths)
        self._mask = mask_of(index, root, self._images, params["mask"])
        self._voxels = np.argwhere(self._mask)
        self._affine = self._images[0].affine
        self.names = np.array(["-".join(map(str, voxel)) for voxel in self._voxels])
        self.attributes = {
            "affine": json.dumps(self._affine.tolist()),
            "shape": json.dumps([int(n) for n in self._images[0].shape[:3]]),
        }

    def read(
        self, position: int, unusable: dict[int, tuple[str, str]]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a run: series (volumes, voxels), float64, and motion, estimated where no table is.

        Adds to `unusable` what cannot be used.
        """
        row = self._index.iloc[position]
        volumes = _volumes(self._images[position], self._paths[position], self._smooth)
        series = volumes[self._mask].T.astype(np.float64)
        note_unusable(series, str(row["run"]), unusable)
        return series, motion_of(row, self._root, volumes, self._mask, self._affine)

    def targets(self, atlas: Mapping[str, str] | None) -> dict[str, np.ndarray]:
        """Coordinates along `target`: region, x, y, z (mm), i, j, k."""
        xyz = self._voxels @ self._affine[:3, :3].T + self._affine[:3, 3]
        row = self._index.iloc[0]
        found = {"region": regions_of(row, self._root, self._images[0], self._voxels, atlas)}
        found |= {axis: xyz[:, i] for i, axis in enumerate("xyz")}
        found |= {axis: self._voxels[:, i].astype(np.int32) for i, axis in enumerate("ijk")}
        return found


def _open(path: Path) -> Any:
    """Open an image without reading its data."""
    import nibabel as nib

    return nib.load(path)


def _volumes(image: Any, path: Path, smooth: float | None) -> np.ndarray:
    """Read the data of an image, smoothed if asked: (i, j, k, volume), float32."""
    with told_if_cut_off(path):
        if smooth:
            from nilearn.image import smooth_img

            image = smooth_img(image, fwhm=float(smooth))
        return np.asarray(image.dataobj, dtype=np.float32)


def _check_grid(images: Sequence[Any], paths: Sequence[Path]) -> None:
    """Check that all runs lie on the grid of the first."""
    for image, path in zip(images, paths, strict=True):
        if image.shape[:3] != images[0].shape[:3] or not np.allclose(
            image.affine, images[0].affine, atol=1e-3
        ):
            raise InputError(
                f"{path}: its grid (shape {image.shape[:3]} and affine) is not that of "
                f"{paths[0].name}; resample the runs to one grid, or use derivatives in one space"
            )
