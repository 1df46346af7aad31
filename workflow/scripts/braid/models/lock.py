"""The lock file: at which commit, and with which digests, a network's files are read.

`config/models.lock.yaml` is written by `python -m braid.models fetch` and belongs to the study: who
has it reads the same files. What a job loads is compared with it, settings and tokenizers whenever
a network is loaded, weights whenever they are read; a file is digested once per process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from braid.common import InputError, sha256_of, write_text
from braid.config import checkpoints_of, locked, read_lock
from braid.models.digests import file_digest
from braid.models.registry import is_weights

_HEADER = """\
# Written by `python -m braid.models fetch`: do not edit. Commit and SHA-256 of everything that the
# networks in models.yaml are read from.
"""
FETCH = "`python -m braid.models fetch --models {name}` on a machine with a network"
"""What a user has to do who lacks a network's files."""


def locked_folder(name: str, entry: Mapping[str, Any], offline: bool) -> tuple[Path, str]:
    """Folder in the local cache of what an entry's `hub` or `urls` name, checked by the lock.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    entry : mapping
        With `hub` or `urls`, and `lock` (see `braid.config.locked`).
    offline : bool
        Do not download what is not there.

    Returns
    -------
    folder : pathlib.Path
    revision : str
        The commit, or the beginning of a digest over the files from `urls`.

    Raises
    ------
    InputError
        If the lock has no entry, a file is not there, or one that holds no weights differs.
    """
    lock = entry.get("lock")
    if not lock:
        raise InputError(
            f"model '{name}': the lock file of the registry has no entry of "
            f"{' and '.join(checkpoints_of(entry))}; run {FETCH.format(name=name)}"
        )
    folder = cached_folder(entry)
    missing = [file for file in lock["files"] if not (folder / file).exists()]
    if missing and not offline:
        from braid.models.fetch import download_locked

        download_locked(name, entry)
        missing = []
    if missing:
        raise InputError(
            f"model '{name}': {missing[0]} of {checkpoints_of(entry)[0]} is not in the local "
            f"cache; run {FETCH.format(name=name)}"
        )
    check_locked(name, entry, folder, [file for file in lock["files"] if not is_weights(file)])
    return folder, str(lock.get("revision") or f"sha256-{_digest(lock['files'])}")


def check_locked(name: str, entry: Mapping[str, Any], folder: Path, files: Iterable[str]) -> None:
    """Compare files of a network with the lock.

    Raises
    ------
    InputError
        Names the first file that the lock does not list, or that differs from it.
    """
    known = entry["lock"]["files"]
    for file in files:
        if file not in known:
            raise InputError(
                f"model '{name}': {folder / file} is not in the lock file of the registry; run "
                f"{FETCH.format(name=name)}"
            )
        found = file_digest(folder / file)
        if found != known[file]["sha256"]:
            raise InputError(
                f"model '{name}': {folder / file} has SHA-256 {found}, not {known[file]['sha256']} "
                f"as the lock file says; remove it and run {FETCH.format(name=name)}"
            )


def cached_folder(entry: Mapping[str, Any]) -> Path:
    """Folder in the local cache where an entry's files lie, or would lie.

    Hub repositories lie where the library of the hub puts them, at the locked commit; files from
    `urls` beside them, in `braid/`. Both are under the folder that the environment variable
    `HF_HOME` names, by default `~/.cache/huggingface`.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if entry.get("urls"):
        addresses = "\n".join(map(str, entry["urls"]))
        digest = hashlib.sha256(addresses.encode()).hexdigest()
        return Path(constants.HF_HOME) / "braid" / digest[:16]
    folder = repo_folder_name(repo_id=str(entry["hub"]), repo_type="model")
    return Path(constants.HF_HUB_CACHE) / folder / "snapshots" / str(entry["lock"]["revision"])


def state_of(entry: Mapping[str, Any], lock: Mapping[str, Any]) -> str:
    """Tell how much of what an entry needs is here: a word.

    `ready`, `partly` or `absent` say whether what the lock lists is in the cache, by its size (see
    `differences` for digests). `unlocked` was never fetched for this lock file, `local` needs no
    download.
    """
    parts = [
        locked(part, lock)
        for part in (entry, entry.get("tokenizer") or {})
        if part.get("hub") or part.get("urls")
    ]
    if not parts:
        return "local"
    if not all(part.get("lock") for part in parts):
        return "unlocked"
    here = [
        _here(cached_folder(part) / file, facts)
        for part in parts
        for file, facts in part["lock"]["files"].items()
    ]
    return "ready" if all(here) else "partly" if any(here) else "absent"


def differences(name: str, entry: Mapping[str, Any], lock: Mapping[str, Any]) -> list[str]:
    """Digest everything that an entry has in the cache; one sentence per file that is not right."""
    found = []
    for part in (entry, entry.get("tokenizer") or {}):
        if not (part.get("hub") or part.get("urls")):
            continue
        content = locked(part, lock).get("lock")
        if not content:
            found.append(f"{name}: {' and '.join(checkpoints_of(part))} is not in the lock file")
            continue
        folder = cached_folder(locked(part, lock))
        for file, facts in content["files"].items():
            if not (folder / file).exists():
                found.append(f"{name}: {file} of {checkpoints_of(part)[0]} is not in the cache")
            elif sha256_of(folder / file) != facts["sha256"]:
                found.append(f"{name}: {folder / file} differs from the lock file")
    return found


def add_to_lock(path: Path, checkpoint: str, content: Mapping[str, Any]) -> None:
    """Put one checkpoint into a lock file; all others stay, and so does its order.

    Parameters
    ----------
    path : pathlib.Path
        Written aside and moved into place.
    checkpoint : str
        See `braid.config.checkpoints_of`.
    content : mapping
        `revision` (hub) and `files`: name to `sha256` and `size`. Files that the lock has at this
        revision, and that are not named here, stay.
    """
    lock = read_lock(path)
    before = lock.get(checkpoint, {})
    same = before.get("revision") == content.get("revision")
    files = {**(before.get("files", {}) if same else {}), **content["files"]}
    lock[checkpoint] = {**content, "files": files}
    write_text(path, _HEADER + yaml.safe_dump(lock, sort_keys=True, width=1000))


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """First digits of a digest over the digests of files."""
    text = "\n".join(f"{name} {files[name]['sha256']}" for name in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _here(path: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a file is in the cache, with the size that it should have."""
    return path.exists() and path.stat().st_size == facts["size"]
