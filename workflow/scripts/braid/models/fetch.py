"""Downloading what networks are read from, on a machine with a network.

Jobs only read what is in the local cache and in the lock file; this module fills both.
"""

from __future__ import annotations

import math
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from braid.common import BraidError, InputError, progress, sha256_of
from braid.config import checkpoints_of, read_lock
from braid.models.lock import add_to_lock, cached_folder
from braid.models.registry import file_of, is_weights, repository_files

_CHUNK = 1 << 20
_TRIES = 5
_PAUSE = 2.0
"""Seconds before a broken download is taken up again; twice as long each further time."""


def fetch(name: str, entry: Mapping[str, Any], lock_file: Path, update: bool = False) -> None:
    """Download all that an entry needs, and write it to the lock file.

    What the lock file has already is fetched as it says, and must have the digests that it says;
    what it has not is fetched at the entry's revision or, if it gives none, at the newest one.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    entry : mapping
        The registry entry (see `check_entry`). One with `path` needs no download.
    lock_file : pathlib.Path
    update : bool
        Take the newest revision of what the registry does not pin, whatever the lock file says.

    Raises
    ------
    InputError
        If the hub has no such repository or revision, a repository needs a licence to be accepted,
        an address does not exist, or a file differs from the registry's or the lock file's digest.
    BraidError
        If the network fails.
    """
    for part in (entry, entry.get("tokenizer") or {}):
        keep = {} if update else read_lock(lock_file)
        if part.get("hub"):
            _fetch_repository(name, part, keep, lock_file)
        elif part.get("urls"):
            _fetch_files(name, part, keep, lock_file)


def download_locked(name: str, entry: Mapping[str, Any]) -> None:
    """Download the files that an entry's `lock` lists, and nothing else.

    Raises
    ------
    InputError, BraidError
        As `fetch`.
    """
    lock = entry["lock"]
    if entry.get("hub"):
        _snapshot(name, str(entry["hub"]), str(lock["revision"]), list(lock["files"]))
    for url in map(str, entry.get("urls") or ()):
        digest = str(lock["files"][file_of(url)]["sha256"])
        _fetch_file(name, url, cached_folder(entry), digest)


def download(url: str, path: Path) -> None:
    """Download a file, taking up what an earlier try left, and move it into place when complete.

    A partial download lies beside its destination as `NAME.part`, with the server's mark of its
    version in `NAME.part.tag`: a file that has changed on the server since begins anew.

    Parameters
    ----------
    url : str
        http or https.
    path : pathlib.Path
        Destination; its folder is made.

    Raises
    ------
    InputError
        If the server says that there is no such file.
    BraidError
        If the connection breaks off five times.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE * 2 ** (attempt - 1))
        try:
            _download_rest(url, part)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise InputError(
                    f"{url}: the server answers {error.code} {error.reason}; correct the address "
                    "in the registry"
                ) from None
            failure: Exception = error
        except (OSError, HTTPException) as error:
            failure = error
        else:
            part.replace(path)
            _tag_of(part).unlink(missing_ok=True)
            return
    raise BraidError(
        f"{url}: the download broke off {_TRIES} times (last: {failure}); run the same command "
        "again, it takes up where this one ended"
    )


def _download_rest(url: str, part: Path) -> None:
    """Download what a partial file lacks."""
    tag = _tag_of(part)
    start = part.stat().st_size if part.exists() and tag.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        # the server sends the rest only if the file is still the one that the mark belongs to
        headers |= {"Range": f"bytes={start}-", "If-Range": tag.read_text()}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        # nothing lies beyond what is here; whether that is the whole file only a new start tells
        part.unlink()
        raise ConnectionError("the partial file is as long as the file or longer") from None
    with answer:
        if answer.status != 206:
            start = 0
        elif not (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            raise ConnectionError("the server sent another part of the file than asked for")
        mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        # a weak mark says nothing about single bytes
        if mark and not mark.startswith("W/"):
            tag.write_text(mark)
        else:
            tag.unlink(missing_ok=True)
        length = answer.headers.get("Content-Length")
        expected = start + int(length) if length is not None else None
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            for chunk in progress(_chunks(answer), f"fetching {url}", _count(length)):
                stream.write(chunk)
            size = stream.tell()
    if expected is not None and size != expected:
        raise ConnectionError(f"{size} bytes came instead of {expected}")


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    """Content of an answer, piece by piece."""
    while chunk := answer.read(_CHUNK):
        yield chunk


def _count(length: str | None) -> int | None:
    """Count the pieces, if the length is known."""
    return math.ceil(int(length) / _CHUNK) if length is not None else None


def _tag_of(part: Path) -> Path:
    """Where the version of a partial file is noted."""
    return part.with_name(part.name + ".tag")


def _fetch_repository(
    name: str, entry: Mapping[str, Any], keep: Mapping[str, Any], lock_file: Path
) -> None:
    """Download a repository's files and lock them."""
    hub, (checkpoint,) = str(entry["hub"]), checkpoints_of(entry)
    known = keep.get(checkpoint, {})
    revision = known.get("revision") or entry.get("revision")
    commit, published = _listed(name, hub, revision)
    wanted = repository_files(entry, list(published))
    if entry.get("source") and not any(map(is_weights, wanted)):
        raise InputError(
            f"model '{name}': {hub} at {commit} holds no weights that source {entry['source']} "
            "reads; correct 'source' or 'hub'"
        )
    missing = set(known.get("files", {})) - set(published)
    if missing:
        raise InputError(
            f"model '{name}': {hub} at {commit} has no {min(missing)}, which the lock file lists; "
            "remove its entry there and fetch again"
        )
    size = sum(int(published[file]["size"] or 0) for file in wanted)
    print(f"{name}: {hub} at {commit}, {size / 1e6:.1f} MB")
    folder = _snapshot(name, hub, commit, wanted)
    files = {file: _facts(folder / file) for file in wanted}
    _compare(name, folder, files, published, "the hub")
    _compare(name, folder, files, known.get("files", {}), "the lock file")
    add_to_lock(lock_file, checkpoint, {"revision": commit, "files": files})


def _fetch_files(
    name: str, entry: Mapping[str, Any], keep: Mapping[str, Any], lock_file: Path
) -> None:
    """Download files from their addresses and lock them."""
    folder = cached_folder(entry)
    digests = entry.get("sha256") or {}
    for url in map(str, entry["urls"]):
        known = keep.get(url, {}).get("files", {})
        file = file_of(url)
        digest = str(known[file]["sha256"] if known else digests.get(file, ""))
        print(f"{name}: {url}")
        _fetch_file(name, url, folder, digest)
        add_to_lock(lock_file, url, {"files": {file: _facts(folder / file)}})


def _fetch_file(name: str, url: str, folder: Path, digest: str) -> None:
    """Download a file whose digest must begin as given, unless it is here already."""
    path = folder / file_of(url)
    if not path.exists():
        download(url, path)
    found = sha256_of(path)
    if not found.startswith(digest):
        raise InputError(
            f"model '{name}': {path}, from {url}, has SHA-256 {found}, which does not begin with "
            f"{digest}; remove it and fetch again, and if that changes nothing, the file on the "
            "server is another one than the registry or the lock file means"
        )


def _compare(
    name: str,
    folder: Path,
    files: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    who: str,
) -> None:
    """Stop where what was downloaded has another digest than is known of it."""
    for file, facts in files.items():
        digest = known.get(file, {}).get("sha256")
        if digest and facts["sha256"] != digest:
            raise InputError(
                f"model '{name}': {folder / file} has SHA-256 {facts['sha256']}, not {digest} as "
                f"{who} says; remove it and fetch again"
            )


def _facts(path: Path) -> dict[str, Any]:
    """Give what the lock keeps of a file."""
    return {"sha256": sha256_of(path), "size": path.stat().st_size}


def _listed(
    name: str, hub: str, revision: str | None
) -> tuple[str, dict[str, dict[str, int | str | None]]]:
    """Commit of a revision, and of each of its files the size (bytes) and, if large, the digest."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        info = HfApi().model_info(hub, revision=revision, files_metadata=True)
    except (HfHubHTTPError, OSError) as error:
        raise _hub_error(name, hub, revision or "main", error) from None
    files = {
        part.rfilename: {"size": part.size, "sha256": part.lfs.sha256 if part.lfs else None}
        for part in info.siblings or ()
    }
    return str(info.sha), files


def _snapshot(name: str, hub: str, commit: str, files: list[str]) -> Path:
    """Download files of a repository at a commit into the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub, revision=commit, allow_patterns=files))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _hub_error(name, hub, commit, error) from None


def _hub_error(name: str, hub: str, revision: str, error: Exception) -> BraidError:
    """Say in one sentence why the hub gives nothing."""
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return InputError(
            f"model '{name}': {hub} is given only to who accepts its licence; do so on its page at "
            "the hub, and run `hf auth login` here"
        )
    if isinstance(error, RepositoryNotFoundError):
        return InputError(f"model '{name}': the hub has no {hub}; correct its key 'hub'")
    if isinstance(error, RevisionNotFoundError):
        return InputError(
            f"model '{name}': {hub} has no revision {revision}; correct its key 'revision'"
        )
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return BraidError(
        f"model '{name}': {hub} at {revision} could not be fetched ({line}); run this on a machine "
        "with a network, or try again later"
    )
