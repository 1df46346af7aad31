"""The factorisation store: eigenbases on disk, computed once for everyone who has the same rows.

Decompositions depend on the stimulus, the folds and the scaling, and on no response: subjects who
saw the same stimuli, regions, fits, permutation tests and transfers can share them. Inside
`with factor_store(folder):` whatever `braid.encoding.solver.prepare` makes ready looks there first.

No number depends on the store. The key covers the content of the design's rows, how they are
divided into atoms, scaling, form and precision, and all that decides how a computation rounds: the
source of this room, the versions of the numerical libraries, the kind of processor and the number
of threads. What differs in any of these is made anew, and what is read back equals what would
have been made to the last bit, in the same order in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from braid.common import InputError, atomic_path, read_json, write_json
from braid.encoding.backend import Backend, blas_pools
from braid.encoding.layout import Layout

Made = TypeVar("Made")

SMALLEST = 384  # dimensions of a decomposition from which reading clearly beats making
LIMIT_GB = 20.0
_SPARE = 0.1  # share of the limit that is freed beyond need, and added between two looks at sizes
_CHUNK = 2**22  # numbers of a design that are digested at a time
_ABOUT = "problem.json"

_log = logging.getLogger(__name__)
_current: ContextVar[FactorStore | None] = ContextVar("factor_store", default=None)


@dataclass(frozen=True)
class Entry:
    """A file of the store: `path`, `size` (bytes), `used` (last use, s since 1970)."""

    path: Path
    size: int
    used: float


class FactorStore:
    """Arrays under `{root}/{problem[:2]}/{problem}/{name}.npz`, each with its SHA-256.

    A file appears complete or not at all, and of two writers of one name the last wins with the
    same content. A missing or damaged file, a folder that went away and a folder that cannot be
    written to are no errors: what is not found is computed. Files not used for longest go when the
    store grows beyond its limit.

    Parameters
    ----------
    root : path-like
        Made when the first file is written.
    limit_gb : float or None
        Size of the store, 1e9 bytes, roughly: sizes are looked up now and then.
    """

    def __init__(self, root: str | os.PathLike[str], limit_gb: float | None = LIMIT_GB) -> None:
        self.root = Path(root)
        self.limit = math.inf if limit_gb is None else limit_gb * 1e9
        self.n_read = self.n_written = 0  # files
        self._unseen = math.inf  # bytes written since sizes were last looked up
        self._writes = True

    def get(self, problem: str, name: str) -> tuple[Any, list[np.ndarray]] | None:
        """Read a file: what its arrays are, and the arrays; None if it is not there or damaged."""
        path = self._path(problem, name)
        try:
            found = _read(path, f"{problem}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # NumPy and zipfile raise many kinds for damaged files
            warnings.warn(f"factor store: {path} is damaged ({error}); computed anew", stacklevel=2)
            return None
        with contextlib.suppress(OSError):  # read-only, or removed since: only `unused` looks at it
            os.utime(path)
        self.n_read += 1
        return found

    def put(
        self,
        problem: str,
        name: str,
        about: Any,
        arrays: Sequence[np.ndarray],
        described: Mapping[str, Any],
    ) -> None:
        """Write a file, and `described` beside it once per problem; warn once if that fails."""
        if not self._writes:
            return
        path = self._path(problem, name)
        try:
            if not (path.parent / _ABOUT).is_file():
                write_json(path.parent / _ABOUT, dict(described))
            _write(path, f"{problem}/{name}", about, arrays)
            self.n_written += 1
            self._count(path.stat().st_size)
        except OSError as error:
            self._writes = False
            warnings.warn(
                f"factor store: {self.root} cannot be written to ({error}); decompositions are "
                "computed and not kept",
                stacklevel=2,
            )

    def entries(self) -> list[Entry]:
        """List the files, those not used for longest first."""
        found = []
        for path in self.root.glob("??/*/*.npz"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # removed by another process
            found.append(Entry(path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda entry: (entry.used, entry.path))

    def describe(self, problem: str) -> dict[str, Any]:
        """Tell what a problem's key covers; nothing if that is missing or damaged."""
        try:
            return dict(read_json(self.root / problem[:2] / problem / _ABOUT))
        except InputError:
            return {}

    def unused(self, older_than: float | None, most: float | None) -> list[Entry]:
        """Files not used for `older_than` s, and of the others so many that `most` bytes stay."""
        there, now = self.entries(), time.time()
        old = [e for e in there if older_than is not None and now - e.used > older_than]
        rest = there[len(old) :]
        size = sum(entry.size for entry in rest)
        while most is not None and rest and size > most:
            old.append(rest[0])
            size -= rest.pop(0).size
        return old

    def remove(self, entries: Sequence[Entry]) -> None:
        """Delete files, and the folders that this leaves empty."""
        for entry in entries:
            entry.path.unlink(missing_ok=True)
        for folder in {entry.path.parent for entry in entries}:
            if not any(folder.glob("*.npz")):
                (folder / _ABOUT).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # another process has just written there
                    folder.rmdir()

    def _path(self, problem: str, name: str) -> Path:
        """Where a file lies, whether it is there or not."""
        return self.root / problem[:2] / problem / f"{name}.npz"

    def _count(self, size: int) -> None:
        """Note a file written, and make room when the store may have outgrown its limit."""
        self._unseen += size
        if self._unseen <= _SPARE * self.limit:
            return
        self._unseen = 0.0
        there = sum(entry.size for entry in self.entries())
        if there > self.limit:
            self.remove(self.unused(None, (1 - _SPARE) * self.limit))


@contextlib.contextmanager
def factor_store(
    root: str | os.PathLike[str] | None, limit_gb: float | None = LIMIT_GB
) -> Iterator[FactorStore | None]:
    """Let every problem made ready in this block share its decompositions through a folder.

    A context and not a parameter of every door between a script and the solver, as no number
    depends on it.

    Parameters
    ----------
    root : path-like or None
        None or empty: nothing is kept.
    limit_gb : float or None
        As for `FactorStore`.
    """
    store = FactorStore(root, limit_gb) if root else None
    token = _current.set(store)
    try:
        yield store
    finally:
        _current.reset(token)
    if store is not None and (store.n_read or store.n_written):
        _log.info("factor store: %d files read, %d written", store.n_read, store.n_written)


@dataclass(frozen=True)
class Shelf:
    """The part of a store that belongs to one design, folds and way to compute.

    Attributes
    ----------
    store : FactorStore
    fields : dict
        What the key covers, JSON content.
    backend : Backend
        Where arrays go.
    """

    store: FactorStore
    fields: dict[str, Any]
    backend: Backend

    def narrowed(self, size: int, **more: Any) -> Shelf | None:
        """Give the part for which these fields hold too; None for few dimensions (`size`)."""
        if not is_worth_keeping(size):
            return None
        return Shelf(self.store, {**self.fields, **more}, self.backend)

    @cached_property
    def problem(self) -> str:
        """SHA-256 of the fields."""
        text = json.dumps(self.fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def name(self, kind: str, sets: Sequence[np.ndarray]) -> str:
        """Name of what belongs to some sets of atoms, when computed with the threads of now."""
        total = hashlib.sha256(f"{_threads(self.backend)}".encode())
        for members in sets:
            total.update(f"|{members.dtype.str}{members.shape}".encode() + members.tobytes())
        return f"{kind}-{total.hexdigest()[:32]}"


def is_worth_keeping(size: int) -> bool:
    """Tell whether decompositions of so many dimensions are worth keeping."""
    return size >= SMALLEST


def shelf_for(
    x: Any, layout: Layout, standardize: bool, size: int, backend: Backend
) -> Shelf | None:
    """Shelf of a design in the present store.

    Parameters
    ----------
    x : array-like, (n, p)
        As for `prepare`; the rows in use are read once, in chunks.
    layout : Layout
    standardize : bool
    size : int
        Dimensions of the decompositions.
    backend : Backend

    Returns
    -------
    Shelf or None
        None without a store, or where decompositions have fewer than `SMALLEST` dimensions.
    """
    store = _current.get()
    if store is None or not is_worth_keeping(size):
        return None
    covered = {
        "design": digest_of_rows(x, layout.order),
        "shape": [len(layout.order), int(x.shape[1])],
        "atoms": layout.starts.tolist(),
        "standardize": bool(standardize),
        "computed_by": _computed_by(backend),
    }
    return Shelf(store, covered, backend)


def fetch(
    shelf: Shelf | None,
    kind: str,
    sets: Sequence[np.ndarray],
    make: Callable[[], Made],
    build: Callable[..., Made],
) -> Made:
    """Read what was made before, or make it and keep it.

    Parameters
    ----------
    shelf : Shelf or None
        None: only make it.
    kind : str
    sets : sequence of numpy.ndarray
        With the shelf's fields, all that it depends on.
    make : callable
        Gives a dataclass or a dict of numbers, None, arrays and dicts of these. Fields of a
        dataclass that have a default factory are taken as caches and left out.
    build : callable
        Takes what was read by name: the dataclass, or `dict`.
    """
    if shelf is None:
        return make()
    name = shelf.name(kind, sets)
    found = shelf.store.get(shelf.problem, name)
    if found is not None:
        about, arrays = found
        return build(**_unpacked(about, arrays, shelf.backend))
    made, arrays = make(), []
    about = _packed(made, arrays, shelf.backend)
    shelf.store.put(shelf.problem, name, about, arrays, shelf.fields)
    return made


def digest_of_rows(x: Any, order: np.ndarray) -> str:
    """SHA-256 of the rows of a design in a given order, with their number type."""
    total = hashlib.sha256()
    step = max(1, _CHUNK // max(1, int(x.shape[1])))
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        adjacent = rows[-1] - rows[0] + 1 == len(rows) and np.all(np.diff(rows) == 1)
        chosen = x[slice(int(rows[0]), int(rows[-1]) + 1) if adjacent else rows]
        values = np.ascontiguousarray(chosen)
        total.update(values.dtype.str.encode() + values.tobytes())
    return total.hexdigest()


def _computed_by(backend: Backend) -> dict[str, Any]:
    """Tell what decides how a computation rounds, but for the number of threads."""
    return {
        "code": _CODE,
        "backend": backend.name,
        "device": backend.device,
        **_libraries(backend.name, backend.device),
    }


def _code() -> str:
    """SHA-256 of the source of this room and of `common`: changed code finds nothing old."""
    total = hashlib.sha256()
    library = Path(__file__).resolve().parents[1]
    for path in sorted([*library.glob("common/*.py"), *library.glob("encoding/*.py")]):
        total.update(f"{path.relative_to(library).as_posix()}\0".encode() + path.read_bytes())
    return total.hexdigest()


_CODE = _code()  # when it is imported: files that are edited later are not what runs here


@lru_cache(maxsize=4)
def _libraries(name: str, device: str) -> dict[str, Any]:
    """Tell the versions of the numerical libraries, and the instructions that they use here."""
    import scipy

    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    found: dict[str, Any] = {
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "processor": sorted([*simd.get("baseline", []), *simd.get("found", [])]),
    }
    if name == "torch":
        import torch

        found["torch"] = torch.__version__
        found["unit"] = (
            torch.cuda.get_device_name()
            if device == "cuda"
            else torch.backends.cpu.get_cpu_capability()
        )
        return found
    kept = ("internal_api", "version", "architecture")
    found["blas"] = sorted(
        {" ".join(str(pool.get(key, "")) for key in kept) for pool in blas_pools().info()}
    )
    return found


def _threads(backend: Backend) -> int:
    """Threads that a decomposition would use now."""
    if backend.name == "torch":
        import torch

        return torch.get_num_threads() if backend.device == "cpu" else 1
    return backend.workers()


def _packed(value: Any, arrays: list[np.ndarray], backend: Backend) -> Any:
    """JSON content that describes a value; its arrays are added to the list."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_dataclass(value):
        value = {
            field.name: getattr(value, field.name)
            for field in fields(value)
            if field.default_factory is MISSING
        }
    if isinstance(value, Mapping):
        return {name: _packed(part, arrays, backend) for name, part in value.items()}
    on_device = not isinstance(value, np.ndarray)
    arrays.append(backend.to_numpy(value) if on_device else value)
    return [len(arrays) - 1, on_device]


def _unpacked(about: Any, arrays: list[np.ndarray], backend: Backend) -> Any:
    """Value that `_packed` described."""
    if isinstance(about, dict):
        return {name: _unpacked(part, arrays, backend) for name, part in about.items()}
    if not isinstance(about, list):
        return about
    number, on_device = about
    array = arrays[number]
    if not on_device:
        return array
    if array.flags.c_contiguous:
        return backend.asarray(array, array.dtype)
    # columns stay adjacent in memory, which decides how products round
    return backend.asarray(array.T, array.dtype).T


def _write(path: Path, name: str, about: Any, arrays: Sequence[np.ndarray]) -> None:
    """Write arrays with what they are and a checksum of all, aside first."""
    text = json.dumps({"name": name, "about": about}).encode()
    parts = {f"array_{number:02d}": array for number, array in enumerate(arrays)}
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            about=np.frombuffer(text, np.uint8),
            sha256=np.frombuffer(_checksum(text, arrays), np.uint8),
            allow_pickle=False,
            **parts,
        )


def _read(path: Path, name: str) -> tuple[Any, list[np.ndarray]]:
    """Read what `_write` wrote; a `ValueError` or another error if it is not that any more."""
    with np.load(path, allow_pickle=False) as archive:
        text = archive["about"].tobytes()
        numbers = range(len(archive.files) - 2)
        arrays = [archive[f"array_{number:02d}"] for number in numbers]
        if archive["sha256"].tobytes() != _checksum(text, arrays):
            raise ValueError("its checksum differs")
    content = json.loads(text)
    if content["name"] != name:
        raise ValueError("it has the content of another")
    return content["about"], arrays


def _checksum(text: bytes, arrays: Sequence[np.ndarray]) -> bytes:
    """SHA-256 of a description and of arrays: their types, shapes and bytes."""
    total = hashlib.sha256(text)
    for array in arrays:
        order = "C" if array.flags.c_contiguous else "F"
        total.update(f"|{array.dtype.str}{array.shape}{order}".encode())
        total.update(np.ascontiguousarray(array if order == "C" else array.T).data)
    return total.digest()
