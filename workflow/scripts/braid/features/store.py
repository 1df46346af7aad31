"""The feature store: content-addressed, written atomically, checked when read."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr

from braid.common import InputError, current_umask, read_json, sha256_of, write_json
from braid.features.claims import claimed
from braid.models.digests import canonical, digest

_ARRAY, _UNITS, _KEY = "features.npy", "units.json", "key.json"
_WORK, _CLAIMS = ".partial", ".claims"


def key_of(fields: Mapping[str, Any]) -> str:
    """Key of features: SHA-256 of the canonical JSON of everything that they depend on."""
    return digest(fields)


class FeatureStore:
    """Features under `{root}/{key[:2]}/{key}/`.

    Each entry has `features.npy` (float32 or float16, unit x feature), `units.json` (the units'
    names, in order) and `key.json` (`fields` that the key covers, `sha256` of the other two files,
    `notes` that describe but do not identify). An entry appears complete or not at all; of two
    writers of the same key the first wins and the other's work is discarded. Several studies and
    users may share one store.

    Parameters
    ----------
    root : path-like
        Made when the first entry is written.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, key: str) -> Path:
        """Tell where the entry of a key lies, whether it is there or not."""
        return self.root / key[:2] / key

    def keys(self) -> list[str]:
        """List the keys of all entries, sorted."""
        return sorted(path.parent.name for path in self.root.glob(f"??/*/{_KEY}"))

    def has(self, key: str) -> bool:
        """Tell whether an entry is there and undamaged; a damaged one is warned of.

        A damaged entry counts as absent. Reads the whole entry to compare its checksums.
        """
        if not (self.folder(key) / _KEY).is_file():
            return False
        fault = self.fault(key)
        if fault:
            warnings.warn(f"feature store: {fault}; taken as absent", stacklevel=2)
        return not fault

    def fault(self, key: str) -> str:
        """Say what is wrong with an entry; empty if nothing is."""
        folder = self.folder(key)
        try:
            content = read_json(folder / _KEY)
            if key_of(content["fields"]) != key:
                return f"{folder / _KEY} does not describe its own key"
            for file, expected in content["sha256"].items():
                if sha256_of(folder / file) != expected:
                    return f"{folder / file} is damaged (its checksum differs)"
        except FileNotFoundError as error:
            return f"{error.filename} is missing"
        except (InputError, KeyError, TypeError, AttributeError) as error:
            return f"{folder / _KEY} is damaged ({error})"
        return ""

    def describe(self, key: str) -> dict[str, Any]:
        """Read an entry's `key.json`; an `InputError` if there is no such key."""
        path = self.folder(key) / _KEY
        if not path.is_file():
            raise InputError(f"{self.root}: no features under the key {key}")
        return read_json(path)

    def get(self, key: str) -> xr.DataArray:
        """Get the features of a key, after their checksums were compared.

        Returns
        -------
        xarray.DataArray
            float32, or float16 if it was stored so, (unit, feature), with the units' names; mapped
            from disk, not read into memory.

        Raises
        ------
        InputError
            If the entry is absent or damaged.
        """
        description = self.describe(key)
        fault = self.fault(key)
        if fault:
            raise InputError(f"feature store: {fault}; run the feature extraction again")
        values = np.load(self.folder(key) / _ARRAY, mmap_mode="r", allow_pickle=False)
        units = read_json(self.folder(key) / _UNITS)
        return xr.DataArray(
            values,
            dims=("unit", "feature"),
            coords={"unit": np.array(units, dtype=str)},
            name="features",
            attrs={"key": key, "layer": description["fields"].get("layer", "")},
        )

    def put(
        self,
        fields: Mapping[str, Any],
        units: Sequence[str],
        values: np.ndarray,
        notes: Mapping[str, Any] | None = None,
    ) -> str:
        """Store features that are in memory.

        Parameters
        ----------
        fields : mapping
            Everything that the features depend on; JSON content.
        units : sequence of str
            Names of the rows.
        values : numpy.ndarray
            (unit, feature).
        notes : mapping, optional
            Kept beside the features, not part of the key.

        Returns
        -------
        str
            The key.
        """
        writer = self.writer(fields, units)
        try:
            writer.write(np.arange(len(units)), values)
            return writer.commit(notes)
        finally:
            writer.discard()

    def writer(
        self, fields: Mapping[str, Any], units: Sequence[str], dtype: str = "float32"
    ) -> Writer:
        """Open an entry that is filled row by row (see `Writer`)."""
        return Writer(self, fields, units, dtype)

    def claim(self, name: str, what: str) -> AbstractContextManager[None]:
        """Wait while another process does the work of this name, then hold it (see `claimed`)."""
        return claimed(self.root / _CLAIMS, name, what)

    def explain(self, a: str, b: str) -> list[tuple[str, Any, Any]]:
        """List the fields in which two keys differ: name (nested: with dots), values of a and b."""
        first = dict(_flat(self.describe(a)["fields"]))
        second = dict(_flat(self.describe(b)["fields"]))
        return [
            (name, first.get(name), second.get(name))
            for name in sorted(first.keys() | second.keys())
            if first.get(name) != second.get(name)
        ]

    def remove(self, key: str) -> None:
        """Delete an entry; it disappears at once, whoever is reading."""
        aside = self._work_folder()
        try:
            self.folder(key).rename(aside / "removed")
        except FileNotFoundError:
            pass
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def partial(self) -> list[Path]:
        """List the folders of entries that are being written, or whose writer died."""
        return sorted((self.root / _WORK).glob("*"))

    def _work_folder(self) -> Path:
        """Make a new folder on the store's own file system."""
        work = self.root / _WORK
        work.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=work))

    def _adopt(self, folder: Path, key: str) -> None:
        """Move a complete folder into place, unless an undamaged entry is there already."""
        target = self.folder(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                folder.rename(target)
                return
            except OSError:
                # somebody was first; a folder cannot replace one that holds files
                if not target.exists():
                    raise
            if not self.fault(key):
                shutil.rmtree(folder)
                return
            self.remove(key)


class Writer:
    """An entry of a `FeatureStore` that is filled row by row, in any order.

    Rows go to disk at once, so that memory does not grow with their number. Call `commit` when all
    rows are written, and `discard` in any case (it does nothing after a commit).
    """

    def __init__(
        self,
        store: FeatureStore,
        fields: Mapping[str, Any],
        units: Sequence[str],
        dtype: str = "float32",
    ) -> None:
        self.store = store
        self.fields = json.loads(canonical(dict(fields)))
        self.units = [str(unit) for unit in units]
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.width: int | None = None
        self._folder = store._work_folder()
        self._stream: IO[bytes] | None = None
        self._start = 0
        self._written = np.zeros(len(self.units), dtype=bool)

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write rows.

        Parameters
        ----------
        rows : numpy.ndarray
            Positions of the rows, int.
        values : numpy.ndarray
            (row, feature), converted to the entry's number format.
        """
        values = np.ascontiguousarray(values, dtype=self.dtype)
        if self._stream is None:
            self._open(values.shape[1])
        if values.shape != (len(rows), self.width):
            raise ValueError(f"{values.shape} values for {len(rows)} rows of {self.width} features")
        assert self._stream is not None
        for row, vector in zip(rows, values, strict=True):
            self._stream.seek(self._start + int(row) * vector.nbytes)
            self._stream.write(vector.data)
        self._written[rows] = True

    def commit(self, notes: Mapping[str, Any] | None = None) -> str:
        """Finish the entry and move it into place; gives its key."""
        if not self._written.all():
            missing = self.units[int(np.argmin(self._written))]
            raise ValueError(f"row of unit {missing} was never written")
        if self._stream is None:
            self._open(0)
        assert self._stream is not None
        self._stream.close()
        write_json(self._folder / _UNITS, self.units)
        content = {
            "fields": self.fields,
            "sha256": {name: sha256_of(self._folder / name) for name in (_ARRAY, _UNITS)},
            "notes": {
                "n_units": len(self.units),
                "n_features": self.width,
                **dict(notes or {}),
            },
        }
        write_json(self._folder / _KEY, content)
        key = key_of(self.fields)
        # mkdtemp makes private folders; a store is shared
        self._folder.chmod(0o777 & ~current_umask())
        self.store._adopt(self._folder, key)
        return key

    def discard(self) -> None:
        """Delete what is unfinished."""
        if self._stream is not None:
            self._stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, width: int) -> None:
        """Start the array's file once the number of features is known."""
        self.width = width
        path = self._folder / _ARRAY
        # kept open until commit or discard
        stream = path.open("w+b")
        header = {
            "descr": self.dtype.str,
            "fortran_order": False,
            "shape": (len(self.units), width),
        }
        np.lib.format.write_array_header_1_0(stream, header)
        self._start = stream.tell()
        stream.truncate(self._start + len(self.units) * width * self.dtype.itemsize)
        self._stream = stream


def load_features(
    manifest: Mapping[str, Any], store: FeatureStore | str | Path
) -> dict[str, xr.DataArray]:
    """Get the features that a manifest lists.

    Parameters
    ----------
    manifest : mapping
        What `extract` gave.
    store : FeatureStore or path-like

    Returns
    -------
    dict of str to xarray.DataArray
        Layer to float32 or float16 (unit, feature), shallow to deep; mapped from disk.

    Raises
    ------
    InputError
        If the store lacks a key or its entry is damaged.
    """
    store = store if isinstance(store, FeatureStore) else FeatureStore(store)
    found = {}
    for layer in manifest["layers"]:
        try:
            found[layer["layer"]] = store.get(layer["key"])
        except InputError as error:
            raise InputError(
                f"features of {manifest['model']}, layer {layer['layer']}: {error}"
            ) from None
    return found


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give pairs of dotted name and value."""
    if isinstance(content, Mapping) and content:
        for name, value in content.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, content
