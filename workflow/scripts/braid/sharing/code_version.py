"""Which version of the code a study was run with."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from braid.common import InputError, sha256_of

_FILES = ("Snakefile", "requirements.lock", "pyproject.toml", "LICENSE", "CITATION.cff")
_FOLDERS = ("workflow", "envs")


def code_files(root: Path) -> dict[str, Path]:
    """Files of the workflow by their paths in the clone, sorted: rules, scripts, library, locks.

    Raises
    ------
    InputError
        If the folder is no clone of braid.
    """
    if not (root / "Snakefile").is_file() or not (root / "workflow").is_dir():
        raise InputError(
            f"{root.resolve()}: holds no Snakefile and workflow folder; "
            "run the command in the root of a clone of braid"
        )
    paths = [root / name for name in _FILES]
    paths += [path for name in _FOLDERS for path in sorted((root / name).rglob("*"))]
    return {
        path.relative_to(root).as_posix(): path
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def code_version(root: Path, files: Mapping[str, Path]) -> dict[str, Any]:
    """Commit of the code, whether it was changed since, and its digest.

    Parameters
    ----------
    root : pathlib.Path
        The clone.
    files : mapping of str to pathlib.Path
        As `code_files` gives them.

    Returns
    -------
    dict
        `commit` (null outside of git), `dirty` (whether files of the working tree differ from
        that commit, null outside of git), `changed` (their names), `digest` (SHA-256 over the
        names and contents of `files`).
    """
    commit = _git(root, "rev-parse", "HEAD") if _is_clone(root) else None
    # -z: names are not quoted; each is preceded by two letters and a blank
    listed = _git(root, "status", "--porcelain", "-z", "--no-renames") if commit else None
    changed = [entry[3:] for entry in (listed or "").split("\0") if entry]
    return {
        "commit": commit.strip() if commit else None,
        "dirty": bool(changed) if commit else None,
        "changed": sorted(changed),
        "digest": digest_of(files),
    }


def digest_of(files: Mapping[str, Path]) -> str:
    """SHA-256 over the names and contents of files, whatever their order."""
    return joined_digest((name, sha256_of(path)) for name, path in files.items())


def joined_digest(digests: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over names and the digests of their contents, whatever their order."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def _is_clone(root: Path) -> bool:
    """Whether the folder is the root of a git working tree, and not a folder in another one."""
    top = _git(root, "rev-parse", "--show-toplevel")
    return top is not None and Path(top.strip()).resolve() == root.resolve()


def _git(root: Path, *arguments: str) -> str | None:
    """Ask git; nothing where it is not installed or knows nothing of the folder."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
