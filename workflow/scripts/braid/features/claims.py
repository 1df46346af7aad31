"""Claims: of processes that are about to do the same work, one does it and the others wait.

A claim only saves time. Whatever goes wrong with it, two processes at worst do the same work, and
the store keeps the result of the first; so nothing depends on clocks or on locks of the file
system. A claim is a folder that appears complete by one rename, which is atomic on network file
systems too. Its holder touches it as long as it lives; one that has not been touched for a while
is taken away. Ages are measured on the clock of the file system, by touching a file there.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from braid.common import current_umask, write_json

BEAT = 15.0
"""Seconds between two signs of life."""

STALE = 300.0
"""Seconds without one after which a holder is taken for dead; file systems show news late."""

POLL = 2.0
"""Seconds between two looks at a claim that somebody else holds."""

_HOLDER = "holder.json"


@contextmanager
def claimed(root: Path, name: str, what: str) -> Iterator[None]:
    """Hold a claim inside the block; wait before it while another living process holds it.

    Parameters
    ----------
    root : pathlib.Path
        Folder of the claims; made if absent.
    name : str
        Of the work; the same for processes that would do the same.
    what : str
        The work in words, for the line that tells of waiting.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / name
    me = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
    told = False
    while not _take(folder, me):
        holder = _holder(folder)
        if holder is None:
            continue
        if _is_dead(folder, holder):
            _remove(folder)
            continue
        if not told:
            told = True
            print(
                f"{what}: process {holder.get('pid')} on {holder.get('host')} computes the same; "
                "waiting for it",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(POLL)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(folder, ended), name="braid-claim", daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        if _holder(folder) == me:
            _remove(folder)


def _take(folder: Path, me: dict[str, Any]) -> bool:
    """Put a claim into place; tells whether it was free."""
    fresh = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        write_json(fresh / _HOLDER, me)
        fresh.chmod(0o777 & ~current_umask())
        fresh.rename(folder)
        return True
    except OSError as error:
        # a folder cannot replace one that holds a file
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _holder(folder: Path) -> dict[str, Any] | None:
    """Who holds a claim: nothing is known of it if damaged, None if it was just given back."""
    try:
        return dict(json.loads((folder / _HOLDER).read_text(encoding="utf-8")))
    except OSError:
        return None
    except ValueError:
        return {}


def _is_dead(folder: Path, holder: dict[str, Any]) -> bool:
    """Tell whether a holder's process is gone, or has not been heard of for long."""
    if holder.get("host") == socket.gethostname() and not _lives(int(holder["pid"])):
        return True
    try:
        with tempfile.NamedTemporaryFile(prefix=".", dir=folder.parent) as probe:
            os.utime(probe.name)
            now = Path(probe.name).stat().st_mtime
        return now - (folder / _HOLDER).stat().st_mtime > STALE
    except FileNotFoundError:
        # given back just now
        return False


def _lives(pid: int) -> bool:
    """Tell whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _beat(folder: Path, ended: threading.Event) -> None:
    """Touch a claim until its work has ended, or it is gone."""
    while not ended.wait(BEAT):
        try:
            os.utime(folder / _HOLDER)
        except OSError:
            return


def _remove(folder: Path) -> None:
    """Take a claim away; it disappears at once."""
    aside = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        folder.rename(aside / "old")
    except OSError:
        # somebody else was faster
        pass
    finally:
        shutil.rmtree(aside, ignore_errors=True)
