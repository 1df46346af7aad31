"""Arrays in NumPy, HDF5 and Zarr files, opened without being read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braid.common import InputError, sha256_of

_HDF5 = {".h5", ".hdf5", ".hdf", ".hf5"}


def split_dataset(path: str | Path) -> tuple[Path, str]:
    """Split `file::dataset`, the name of a data set in a file, into both; it may have none."""
    file, _, dataset = str(path).partition("::")
    return Path(file), dataset


def array_digest(path: Path) -> str:
    """SHA-256 of a file; of the names and contents of all files where it is a folder (Zarr)."""
    if not path.is_dir():
        return sha256_of(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    inside = [[file.relative_to(path).as_posix(), sha256_of(file)] for file in files]
    text = json.dumps(inside, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def open_array(path: Path) -> Any:
    """Open a two-dimensional numeric array without reading it.

    Parameters
    ----------
    path : pathlib.Path
        A `.npy` file, or an HDF5 (`.h5`, `.hdf5`, `.hdf`, `.hf5`) or Zarr (`.zarr`) store with the
        name of the data set in it: `features.h5::layer_3`. The name may be left out where the store
        holds one data set alone.

    Returns
    -------
    numpy.ndarray, h5py.Dataset or zarr.Array
        (row, feature); rows are read when they are asked for.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds no such array.
    """
    values = open_any(path)
    if len(values.shape) != 2 or not np.issubdtype(values.dtype, np.number):
        raise InputError(
            f"{path}: given features must be a table of numbers (row, feature), not "
            f"{values.dtype} of shape {tuple(values.shape)}"
        )
    return values


def open_any(path: Path) -> Any:
    """Open an array of any shape and type."""
    file, dataset = split_dataset(path)
    check_there(file)
    if file.suffix == ".zarr":
        return _open_zarr(file, dataset)
    if file.suffix.lower() in _HDF5:
        return _open_hdf5(file, dataset)
    if dataset:
        raise InputError(f"{file}: only HDF5 and Zarr stores have data sets; remove '::{dataset}'")
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: cannot be read as a NumPy array ({error})") from None


def open_store(file: Path) -> Any:
    """Open a file that holds several arrays: names to arrays, which are read when asked for.

    Parameters
    ----------
    file : pathlib.Path
        HDF5, Zarr, or NumPy's `.npz`.

    Raises
    ------
    InputError
        If the file is missing, damaged or of another kind.
    """
    check_there(file)
    if file.suffix == ".zarr":
        import zarr

        try:
            return zarr.open(file, mode="r")
        except Exception as error:  # the library raises many kinds
            raise InputError(f"{file}: cannot be read as Zarr ({error})") from None
    if file.suffix.lower() in _HDF5:
        import h5py

        try:
            return h5py.File(file, "r")
        except OSError as error:
            raise InputError(f"{file}: cannot be read as HDF5 ({error})") from None
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: cannot be read as a NumPy array ({error})") from None


def _open_hdf5(file: Path, dataset: str) -> Any:
    """Open a data set of an HDF5 file."""
    import h5py

    store = open_store(file)
    names: list[str] = []
    store.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    return store[_chosen(file, dataset, names)]


def _open_zarr(file: Path, dataset: str) -> Any:
    """Open an array of a Zarr store."""
    import zarr

    store = open_store(file)
    if isinstance(store, zarr.Array):
        return store
    names = [name for name, item in store.members(max_depth=None) if isinstance(item, zarr.Array)]
    return store[_chosen(file, dataset, names)]


def _chosen(file: Path, dataset: str, names: Sequence[str]) -> str:
    """Name of the data set that is meant."""
    wanted = dataset.strip("/")
    if wanted in names:
        return wanted
    if not wanted and len(names) == 1:
        return names[0]
    there = ", ".join(sorted(names)) or "none"
    problem = f"it has no data set '{wanted}'" if wanted else "say which data set is meant"
    raise InputError(f"{file}: {problem}; write {file.name}::NAME with one of: {there}")


def check_there(file: Path) -> None:
    """Stop where a file is absent."""
    if not file.exists():
        raise InputError(f"{file}: no such file of features; correct the path in the settings")
