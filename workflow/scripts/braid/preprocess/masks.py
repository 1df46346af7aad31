"""Which voxels are brain, and which region they belong to."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids import check_fetched
from braid.bids.files import given
from braid.common import InputError, read_table
from braid.preprocess.paths import resolve

# opening (in voxels) needs room: smallest side of the grid -> strongest opening to try
_OPENINGS = ((20, 2), (5, 1), (1, 0))


def mask_of(index: pd.DataFrame, root: Path, images: Sequence[Any], mask: str) -> np.ndarray:
    """Brain mask of a subject.

    Parameters
    ----------
    index : pandas.DataFrame
        The subject's rows.
    root : pathlib.Path
        Root of the data set.
    images : sequence of nibabel images
        The runs, on one grid.
    mask : str
        `auto`: the runs' common mask where the index names masks (fMRIPrep), else computed from the
        mean over all runs; otherwise a path pattern within the root.

    Returns
    -------
    numpy.ndarray
        bool, (i, j, k).

    Raises
    ------
    InputError
        If the mask does not lie on the runs' grid, or is empty.
    """
    if mask != "auto":
        paths = list(dict.fromkeys(resolve(mask, root, row, "mask") for _, row in index.iterrows()))
    else:
        paths = list(dict.fromkeys(root / value for value in index["mask"] if given(value)))
        if not paths:
            return _computed(images, [root / path for path in index["path"]])
    found = np.ones(images[0].shape[:3], dtype=bool)
    for path in paths:
        found &= _on_grid(path, images[0])
    if not found.any():
        raise InputError(f"{paths[0]}: the mask is empty; correct `preprocess.mask` in the config")
    return found


@contextmanager
def told_if_cut_off(path: Path) -> Iterator[None]:
    """Turn what reading raises where an image's data end too early into an `InputError`."""
    try:
        yield
    except (EOFError, OSError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: the image cannot be read ({reason}); copy it again") from None


def _on_grid(path: Path, image: Any) -> np.ndarray:
    """Read a mask and check that it lies on the grid of the runs."""
    import nibabel as nib

    check_fetched(path)
    loaded: Any = nib.load(path)
    if loaded.shape[:3] != image.shape[:3] or not np.allclose(
        loaded.affine, image.affine, atol=1e-3
    ):
        raise InputError(
            f"{path}: the mask (shape {loaded.shape[:3]}) does not lie on the grid of the runs "
            f"(shape {image.shape[:3]}); resample it, or correct `preprocess.mask`"
        )
    return np.asarray(loaded.dataobj).reshape(image.shape[:3]) > 0


def _computed(images: Sequence[Any], paths: Sequence[Path]) -> np.ndarray:
    """Compute a mask from the mean image.

    `nilearn.masking.compute_epi_mask` separates brain from background at the widest gap of the
    intensity histogram. Its morphological opening, in voxels, needs a grid with room for it: 2 on
    grids of at least 20 voxels along each side, 1 from 5 voxels, none on thinner ones (a single
    slice), where only the threshold is left. A weaker opening is tried where a stronger one leaves
    nothing.
    """
    import nibabel as nib
    from nilearn.masking import compute_epi_mask

    mean = np.zeros(images[0].shape[:3])
    for image, path in zip(images, paths, strict=True):
        with told_if_cut_off(path):
            mean += np.asarray(image.dataobj, dtype=np.float32).mean(axis=3) / len(images)
    picture = nib.Nifti1Image(mean.astype(np.float32), images[0].affine)
    smallest = min(mean.shape)
    for side, opening in _OPENINGS:
        if smallest < side:
            continue
        with warnings.catch_warnings():
            # an empty mask is dealt with below
            warnings.simplefilter("ignore")
            found = compute_epi_mask(picture, opening=opening or False)
        mask = np.asarray(found.dataobj) > 0
        if mask.any():
            return mask
    raise InputError(
        f"{paths[0]}: no brain can be told from its background; give a mask in `preprocess.mask`"
    )


def regions_of(
    row: pd.Series, root: Path, image: Any, voxels: np.ndarray, atlas: Mapping[str, str] | None
) -> np.ndarray:
    """Region of each voxel.

    Parameters
    ----------
    row : pandas.Series
        A row of the index, for the placeholders of the paths.
    root : pathlib.Path
        Root of the data set.
    image : nibabel image
        Grid of the voxels.
    voxels : numpy.ndarray
        (voxels, 3), indices.
    atlas : mapping or None
        `image`: path pattern of a label image in the same space, resampled to the grid by nearest
        neighbour; `labels`: path pattern of a TSV with columns `index` and `name`.

    Returns
    -------
    numpy.ndarray
        Text; `n/a` where there is no atlas or no label.
    """
    regions = np.full(len(voxels), "n/a", dtype=object)
    if atlas:
        from nilearn.image import resample_to_img

        if not atlas.get("labels"):
            raise InputError(
                "preprocess.atlas.labels: the atlas of an image needs the path of a TSV with "
                "columns index and name; add it"
            )
        path = resolve(atlas["image"], root, row, "atlas.image")
        table = read_table(
            resolve(atlas["labels"], root, row, "atlas.labels"), required=("index", "name")
        )
        labels = resample_to_img(
            str(path), image.slicer[..., :1], interpolation="nearest", force_resample=True
        )
        grid = np.asarray(labels.dataobj).reshape(image.shape[:3]).round().astype(int)
        known = dict(zip(table["index"].astype(int), table["name"].astype(str), strict=True))
        regions = np.array([known.get(int(one), "n/a") for one in grid[tuple(voxels.T)]], object)
    return regions.astype(str)
