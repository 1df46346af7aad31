"""Labelled arrays: netCDF4 through h5netcdf."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from braid.common.errors import InputError
from braid.common.files import PathLike, atomic_path, plain

Key = TypeVar("Key")


_PACKED = {
    "dtype": "int16",
    "scale_factor": np.float32(1 / 32000),
    "_FillValue": np.int16(-32768),
}


def write_array(
    path: PathLike,
    array: xr.Dataset | xr.DataArray,
    *,
    packed: Sequence[str] = (),
    **attrs: Any,
) -> None:
    """Write a labelled array as compressed netCDF4 (h5netcdf), atomically.

    Parameters
    ----------
    path : path-like
        Destination, ending in `.nc`.
    array : xarray.Dataset or xarray.DataArray
        A DataArray needs a name.
    packed : sequence of str
        Variables with values from -1 to 1, as correlations are, that are kept as integers of 16
        bits, in steps of 1/32000; they are read as float32.
    **attrs
        Global attributes to add; mappings and lists of text are stored as JSON text.
    """
    dataset = array.to_dataset() if isinstance(array, xr.DataArray) else array.copy()
    dataset.attrs = {name: _attribute(value) for name, value in {**dataset.attrs, **attrs}.items()}
    encoding = {
        str(name): {
            "zlib": True,
            "complevel": 1,
            "shuffle": True,
            **(_PACKED if name in packed else {}),
        }
        for name, variable in dataset.data_vars.items()
        if np.issubdtype(variable.dtype, np.number) and (variable.size > 1024 or name in packed)
    }
    with atomic_path(path) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def read_array(path: PathLike, without: Sequence[str] = ()) -> xr.Dataset:
    """Read a netCDF file, but for some variables, into memory and close it.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    return _load(path, without)


class ArrayFiles(Mapping[Key, xr.Dataset]):
    """Arrays in files, by a key; each is read when asked for and not kept.

    Parameters
    ----------
    paths : mapping of key to path-like
    without : tuple of str
        Variables that are not read.
    """

    def __init__(self, paths: Mapping[Key, PathLike], without: tuple[str, ...] = ()) -> None:
        self.paths = dict(paths)
        self.without = list(without)

    def __getitem__(self, key: Key) -> xr.Dataset:
        return _load(self.paths[key], self.without)

    def __iter__(self) -> Iterator[Key]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


def _load(path: PathLike, without: Sequence[str] = ()) -> xr.Dataset:
    """Read a netCDF file but for some variables, and close it."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            return dataset.drop_vars(without, errors="ignore").load()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read as netCDF4 ({error}); remove it and make it again"
        ) from None


def _attribute(value: Any) -> Any:
    """Turn a value into something netCDF can store as an attribute."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int | float | np.generic | np.ndarray):
        return value
    return json.dumps(value, ensure_ascii=False, default=plain)
