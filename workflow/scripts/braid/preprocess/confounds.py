"""Nuisance time series of BOLD runs: motion, tables of confounds, spikes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids.files import given
from braid.bids.surfaces import hemispheres
from braid.common import InputError, read_table
from braid.preprocess.paths import resolve

_HEAD_RADIUS = 50.0  # mm (Power et al. 2012, NeuroImage 59:2142)
_MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")


def motion_of(
    row: pd.Series, root: Path, volumes: np.ndarray, mask: np.ndarray, affine: np.ndarray
) -> np.ndarray:
    """Motion parameters of a run.

    Parameters
    ----------
    row : pandas.Series
        Row of the index.
    root : pathlib.Path
        Root of the data set.
    volumes, mask, affine : numpy.ndarray
        As for `translations`.

    Returns
    -------
    numpy.ndarray
        (volumes, 6): translations (mm) and rotations (radians) of fMRIPrep's table where the index
        names one; otherwise (volumes, 3), the estimate of `translations`.
    """
    known = table_motion(row, root, volumes.shape[3])
    return translations(volumes, mask, affine) if known is None else known


def table_motion(row: pd.Series, root: Path, n_volumes: int) -> np.ndarray | None:
    """Motion parameters of fMRIPrep's table, (volumes, 6); None if the index names no table."""
    if not given(row.get("confounds")):
        return None
    return _columns(root / row["confounds"], _MOTION, n_volumes)


def confounds_of(
    row: pd.Series,
    root: Path,
    motion: np.ndarray | None,
    n_volumes: int,
    params: Mapping[str, Any],
) -> np.ndarray | None:
    """Confounds of a run.

    Parameters
    ----------
    row : pandas.Series
        Row of the index.
    root : pathlib.Path
        Root of the data set.
    motion : numpy.ndarray or None
        Of `motion_of`; None where nothing tells it.
    n_volumes : int
        Volumes of the run.
    params : mapping
        `confounds`: `none`; `motion` (these parameters with their first differences); a path
        pattern of a TSV with one row per volume, of which `confound_columns` are used; or
        `{strategy: [...], ...}` for `nilearn.interfaces.fmriprep.load_confounds`, where each volume
        that the strategy would drop gets a regressor of its own, so that time stays regular.

    Returns
    -------
    numpy.ndarray or None
        (volumes, confounds), float64.

    Raises
    ------
    InputError
        If motion is asked for and not known, the table is missing, has another number of rows than
        the run has volumes, lacks a column, or holds values that are not numbers below its first
        row.
    """
    wanted = params["confounds"]
    if wanted in (None, "none"):
        return None
    if isinstance(wanted, Mapping):
        return _fmriprep(row, root, wanted, n_volumes)
    if wanted != "motion":
        path = resolve(wanted, root, row, "confounds")
        return _columns(path, params["confound_columns"], n_volumes)
    if motion is None:
        raise motion_unknown(root / row["path"], "`preprocess.confounds`")
    return np.hstack([motion, np.diff(motion, axis=0, prepend=motion[:1])])


def motion_unknown(path: Path, key: str) -> InputError:
    """Error for a key that needs motion where neither a table nor an image tells it."""
    return InputError(
        f"{path}: {key} asks for head motion, which a recording on a surface does not tell; put "
        "fMRIPrep's *_desc-confounds_timeseries.tsv beside it, or change the key"
    )


def translations(volumes: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Estimate the head's translation in each volume, without realigning anything.

    One linear regression: a small shift d turns the mean image m into m - d . grad(m), so each
    volume's difference from the mean is regressed, over the voxels of the mask, on the gradients of
    the mean and on the mean itself (changes of overall intensity). Good for shifts well below a
    voxel; rotations are not estimated.

    Parameters
    ----------
    volumes : numpy.ndarray
        (i, j, k, volume).
    mask : numpy.ndarray
        bool, (i, j, k); one voxel around it is used as well, since edges tell most.
    affine : numpy.ndarray
        (4, 4), voxel indices to mm.

    Returns
    -------
    numpy.ndarray
        (volumes, 3), mm, relative to the run's mean; zero along an axis with one slice.
    """
    from scipy.ndimage import binary_dilation

    finite = np.nan_to_num(volumes, nan=0.0, posinf=0.0, neginf=0.0)
    mean = finite.mean(axis=3, dtype=np.float64)
    around = binary_dilation(mask)
    axes = [axis for axis in range(3) if mean.shape[axis] > 1]
    gradients = [np.gradient(mean, axis=axis)[around] for axis in axes]
    design = np.stack([*gradients, mean[around], np.ones(around.sum())], axis=1)
    difference = finite[around].astype(np.float64) - mean[around][:, None]
    weights = np.linalg.lstsq(design, difference, rcond=None)[0]
    shifts = np.zeros((volumes.shape[3], 3))
    shifts[:, axes] = -weights[: len(axes)].T
    return shifts @ affine[:3, :3].T


def displacement_of(motion: np.ndarray) -> np.ndarray:
    """Framewise displacement of a run (mm; zero at the first volume), as Power et al. (2012).

    Parameters
    ----------
    motion : numpy.ndarray
        Of `motion_of`; rotations count as the way on a sphere of 50 mm.
    """
    steps = np.abs(np.diff(motion, axis=0, prepend=motion[:1]))
    return steps[:, :3].sum(axis=1) + _HEAD_RADIUS * steps[:, 3:].sum(axis=1)


def dvars(series: np.ndarray) -> np.ndarray:
    """Root mean square over voxels of the change from volume to volume; zero at the first."""
    return np.sqrt(np.mean(np.diff(series, axis=0, prepend=series[:1]) ** 2, axis=1))


def spikes(
    displacement: np.ndarray | None, change: np.ndarray, rule: Mapping[str, Any]
) -> np.ndarray:
    """One regressor for each volume with too much motion or change.

    Parameters
    ----------
    displacement, change : numpy.ndarray
        (volumes,), framewise displacement in mm (None where motion is not known) and DVARS.
    rule : mapping
        `measure`: `displacement` (threshold in mm) or `dvars` (threshold in robust z: distance from
        the median in units of 1.4826 median absolute deviations). `threshold`: number.

    Returns
    -------
    numpy.ndarray
        (volumes, spikes), zeros and ones.
    """
    measure = rule.get("measure")
    if measure == "displacement" and displacement is not None:
        marked = displacement > rule["threshold"]
    elif measure == "dvars":
        centre = np.median(change[1:])
        spread = 1.4826 * np.median(np.abs(change[1:] - centre))
        marked = change - centre > rule["threshold"] * spread
    else:
        raise InputError(
            f"preprocess.spikes.measure: '{measure}' is not one of displacement, dvars"
        )
    return np.eye(len(marked))[:, marked]


def _columns(path: Path, names: tuple[str, ...] | list[str] | None, n_volumes: int) -> np.ndarray:
    """Read confounds from a TSV; `n/a` is allowed in the first row only (derivatives)."""
    table = read_table(path, required=tuple(names or ()))
    if names:
        table = table[list(names)]
    if len(table) != n_volumes:
        raise InputError(
            f"{path}: {len(table)} rows of confounds for {n_volumes} volumes; there must be one "
            "row per volume"
        )
    numbers = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64, copy=True)
    numbers[0] = np.nan_to_num(numbers[0])
    wrong = np.argwhere(~np.isfinite(numbers))
    if wrong.size:
        line, column = wrong[0]
        raise InputError(
            f"{path}: row {line + 1}: column '{table.columns[column]}' is not a number; choose "
            "other columns in `preprocess.confound_columns`, or correct the table"
        )
    return numbers


def _fmriprep(row: pd.Series, root: Path, wanted: Mapping[str, Any], n_volumes: int) -> np.ndarray:
    """Confounds by the strategies of nilearn; dropped volumes become spikes."""
    from nilearn.interfaces.fmriprep import load_confounds

    options = dict(wanted)
    strategy = tuple(options.pop("strategy", ()))
    path = root / row["path"]
    # nilearn takes a surface as the pair of its hemispheres
    image = list(map(str, hemispheres(path))) if path.suffix == ".gii" else str(path)
    try:
        table, kept = load_confounds(image, strategy=strategy, **options)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{root / row['path']}: `preprocess.confounds` cannot be loaded ({reason}); check the "
            "strategy and that fMRIPrep's confounds lie beside the image"
        ) from None
    columns = np.nan_to_num(table.to_numpy(np.float64))
    if kept is None:
        return columns
    dropped = np.setdiff1d(np.arange(n_volumes), kept)
    return np.hstack([columns, np.eye(n_volumes)[:, dropped]])
