"""Reading and writing of arrays (netCDF4), tables (TSV with a JSON sidecar) and JSON.

Everything is written beside its destination and moved into place when complete, so that an
interrupted job leaves nothing that looks finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from braid.common.errors import InputError

PathLike = str | os.PathLike[str]
Key = TypeVar("Key")

# labels stay text: subject "01" is not the number 1
_TEXT_COLUMNS = (
    *("participant_id", "subject", "session", "task", "acquisition", "run", "name", "channel"),
    *("target", "site", "unit", "text", "word", "sentence", "stim_file", "stimulus", "model"),
    *("layer", "region", "trial_type"),
)


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it there if the block ends without an error.

    Parameters
    ----------
    path : path-like
        Final destination; its parents are made.

    Yields
    ------
    pathlib.Path
        Path to write to, with the same suffixes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # what a library writes can depend on the suffixes, `.nii.gz` for one
    suffixes = "".join(path.suffixes)
    stem = path.name.removesuffix(suffixes)
    handle, name = tempfile.mkstemp(prefix=f".{stem}-", suffix=suffixes, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; results are shared with collaborators
        temporary.chmod(0o666 & ~current_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: PathLike) -> Iterator[Path]:
    """Give a new folder beside `folder`; put it in its place if the block ends without an error.

    What was there before is moved aside first and deleted last, so that at no time half of it is
    left under its name.

    Parameters
    ----------
    folder : path-like
        Final destination; its parents are made.

    Yields
    ------
    pathlib.Path
        Empty folder to write to, of the same name.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as room:
        fresh = Path(room) / folder.name
        fresh.mkdir()
        yield fresh
        if folder.exists():
            folder.rename(Path(room) / "old")
        fresh.rename(folder)


def current_umask() -> int:
    """File permissions that this process withholds (they can only be read by setting them)."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def write_text(path: PathLike, text: str) -> None:
    """Write `text` (UTF-8) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: PathLike, content: Any) -> None:
    """Write JSON atomically, keys in the order given."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n")


def read_json(path: PathLike) -> Any:
    """Read a JSON file; a missing or malformed one is an `InputError` that names it."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON (line {error.lineno}: {error.msg})") from None


def write_table(
    path: PathLike,
    table: pd.DataFrame,
    columns: Mapping[str, str] | None = None,
    **sidecar: Any,
) -> None:
    """Write a table as TSV with a JSON sidecar, as BIDS does.

    Parameters
    ----------
    path : path-like
        Destination, ending in `.tsv`; the sidecar has the same stem and ends in `.json`.
    table : pandas.DataFrame
        Written without its index; missing values become `n/a`.
    columns : mapping of str to str
        One description per column. A column without a description is an error.
    **sidecar
        Further entries of the sidecar (provenance, units, parameters).
    """
    path = Path(path)
    columns = dict(columns or {})
    undescribed = [name for name in table.columns if name not in columns]
    if undescribed:
        raise ValueError(f"{path.name}: columns without a description: {', '.join(undescribed)}")
    described = {name: {"Description": columns[name]} for name in table.columns}
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
        # before the table appears, so that there is none without its description
        write_json(path.with_suffix(".json"), {**described, **sidecar})


def read_table(path: PathLike, required: tuple[str, ...] = (), **dtypes: Any) -> pd.DataFrame:
    """Read a TSV; labels stay text ("01" is not 1).

    Parameters
    ----------
    path : path-like
    required : tuple of str
        Columns that must be there; the first missing one is named in an `InputError`.
    **dtypes
        Column types. Columns named subject, session, run, task, acquisition, channel, target,
        unit, site and their like are text unless said otherwise.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    text = dict.fromkeys(_TEXT_COLUMNS, str)
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            na_values=["n/a"],
            keep_default_na=False,
            encoding="utf-8-sig",
            dtype={**text, **dtypes},
        )
    except ValueError as error:  # all that parsing, decoding and conversion raise
        raise InputError(f"{path}: cannot be read as a tab-separated table ({error})") from None
    for name in required:
        if name not in table.columns:
            raise InputError(
                f"{path}: column '{name}' is missing (it has: {', '.join(map(str, table.columns))})"
            )
    return table


def write_array(path: PathLike, array: xr.Dataset | xr.DataArray, **attrs: Any) -> None:
    """Write a labelled array as compressed netCDF4 (h5netcdf), atomically.

    Parameters
    ----------
    path : path-like
        Destination, ending in `.nc`.
    array : xarray.Dataset or xarray.DataArray
        A DataArray needs a name.
    **attrs
        Global attributes to add; mappings and lists of text are stored as JSON text.
    """
    dataset = array.to_dataset() if isinstance(array, xr.DataArray) else array.copy()
    dataset.attrs = {name: _attribute(value) for name, value in {**dataset.attrs, **attrs}.items()}
    encoding = {
        str(name): {"zlib": True, "complevel": 1, "shuffle": True}
        for name, variable in dataset.data_vars.items()
        if np.issubdtype(variable.dtype, np.number) and variable.size > 1024
    }
    with atomic_path(path) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def read_array(path: PathLike) -> xr.Dataset:
    """Read a netCDF file into memory and close it.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    return _load(path)


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


def sha256_of(path: PathLike) -> str:
    """SHA-256 of a file's bytes, as hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


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
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """JSON form of NumPy scalars and arrays, and of paths."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
