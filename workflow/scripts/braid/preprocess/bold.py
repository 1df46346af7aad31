"""Preprocessing of BOLD images: raw ones lightly, fMRIPrep's with their own confounds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError, progress
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
    spikes,
)
from braid.preprocess.defaults import BOLD, choice, with_defaults
from braid.preprocess.masks import mask_of, regions_of, told_if_cut_off
from braid.preprocess.paths import of_kind
from braid.preprocess.regression import clean_run, left_without_variance, zscore

Measure = tuple[str, float, str]


def preprocess_bold(index: pd.DataFrame, root: str | Path, params: Mapping[str, Any]) -> Cleaned:
    """Clean the BOLD runs of one subject.

    Each run is optionally smoothed, then masked; trends, slow drifts, confounds and spikes are
    taken out in one regression; the residuals are z-scored. Images are not realigned: raw
    recordings get their translations estimated and regressed out at most (`confounds: motion`),
    which is no substitute for fMRIPrep, whose derivatives are taken through `dataset.derivative`.

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
        One target per voxel of the mask, named `i-j-k`, in z-scores, or in the image's units with
        zero mean per run. A voxel that is constant or NaN in one run, or in which nothing but
        nuisance is found, is left out in all. Quality: per run the median temporal
        signal-to-noise, DVARS, framewise displacement and the number of nuisance regressors.

    Raises
    ------
    InputError
        If runs differ in grid, a mask, confounds or atlas file is missing or does not fit, or more
        regressors are asked for than a run has volumes.
    """
    index, root = of_kind(index, "bold"), Path(root)
    params = with_defaults(params, BOLD)
    choice(params, "detrend", ("none", "linear", "quadratic"))
    paths = [root / path for path in index["path"]]
    images = [_open(path) for path in paths]
    _check_grid(images, paths)
    mask = mask_of(index, root, images, params["mask"])
    voxels = np.argwhere(mask)
    names = np.array(["-".join(map(str, voxel)) for voxel in voxels])
    unusable: dict[int, tuple[str, str]] = {}
    runs: dict[str, np.ndarray] = {}
    quality: list[tuple[str, str, float, str]] = []
    for position, (_, row) in enumerate(progress(list(index.iterrows()), "preprocessing BOLD")):
        # one run at a time: raw volumes are let go before the next are read
        series, measures = _process_run(images[position], root, row, mask, params, unusable)
        runs[str(row["run"])] = series.astype(np.float32)
        quality += [(str(row["run"]), *measure) for measure in measures]
    kept = np.array([i for i in range(len(voxels)) if i not in unusable], dtype=int)
    if not kept.size:
        raise InputError(f"{paths[0]}: every voxel of the mask is constant or NaN; check the mask")
    runs = {label: series[:, kept] for label, series in runs.items()}
    affine = images[0].affine
    xyz = voxels @ affine[:3, :3].T + affine[:3, 3]
    regions = regions_of(index.iloc[0], root, images[0], voxels, params["atlas"])
    targets = {"target": names, "site": names, "region": regions}
    targets |= {axis: xyz[:, i] for i, axis in enumerate("xyz")}
    targets |= {axis: voxels[:, i].astype(np.int32) for i, axis in enumerate("ijk")}
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
            "affine": json.dumps(affine.tolist()),
            "shape": json.dumps([int(n) for n in images[0].shape[:3]]),
        },
    )
    excluded = [(names[i], *why) for i, why in sorted(unusable.items())]
    return Cleaned(signal, excluded_table(excluded), quality_table(quality))


def _process_run(
    image: Any,
    root: Path,
    row: pd.Series,
    mask: np.ndarray,
    params: Mapping[str, Any],
    unusable: dict[int, tuple[str, str]],
) -> tuple[np.ndarray, list[Measure]]:
    """Clean one run: (volumes, voxels of the mask); adds to `unusable` what cannot be used."""
    path = root / row["path"]
    volumes = _volumes(image, path, params["smooth"])
    series = volumes[mask].T.astype(np.float64)
    note_unusable(series, str(row["run"]), unusable)
    series = np.nan_to_num(series, nan=0.0, posinf=0.0, neginf=0.0)
    good = np.array([i not in unusable for i in range(series.shape[1])])
    if not good.any():
        return series, []
    motion = motion_of(row, root, volumes, mask, image.affine)
    del volumes
    displacement = displacement_of(motion)
    regressors = confounds_of(row, root, motion, params)
    change = dvars(series[:, good])
    if params["spikes"]:
        marks = spikes(displacement, change, params["spikes"])
        regressors = marks if regressors is None else np.hstack([regressors, marks])
    tr = float(row["repetition_time"])
    cleaned = clean_run(series, tr, params["detrend"], params["high_pass"], regressors, str(path))
    empty = left_without_variance(series, cleaned) & good
    for i in np.flatnonzero(empty):
        unusable.setdefault(int(i), ("nuisance only", f"nothing else in {row['run']}"))
    snr = series[:, good].mean(axis=0) / series[:, good].std(axis=0)
    measures: list[Measure] = [
        ("temporal signal-to-noise", float(np.median(snr)), "ratio"),
        ("framewise displacement", float(displacement.mean()), "mm"),
        ("largest framewise displacement", float(displacement.max()), "mm"),
        ("DVARS", float(change[1:].mean()), "image units"),
        ("confound regressors", float(0 if regressors is None else regressors.shape[1]), "columns"),
    ]
    return (zscore(cleaned) if params["standardize"] else cleaned), measures


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
