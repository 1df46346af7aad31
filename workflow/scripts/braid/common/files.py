"""Writing and reading of files: aside first, then moved into place; text, JSON, digests.

What is written appears under its name when it is complete, so that an interrupted job leaves
nothing that looks finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from braid.common.errors import InputError

PathLike = str | os.PathLike[str]


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
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=plain) + "\n")


def read_json(path: PathLike) -> Any:
    """Read a JSON file; a missing or malformed one is an `InputError` that names it."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON (line {error.lineno}: {error.msg})") from None


def sha256_of(path: PathLike) -> str:
    """SHA-256 of a file's bytes, as hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def plain(value: Any) -> Any:
    """JSON form of NumPy scalars and arrays, and of paths."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
