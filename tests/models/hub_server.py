"""A small server: files at addresses, and repositories by the hub's own protocol.

It serves what `huggingface_hub` asks of a hub without Xet: the description and the files of a
revision, and a file of a commit with its ETag and size. Downloads can be made to break off.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """What the server holds, what it was asked, and how it misbehaves.

    Attributes
    ----------
    files : dict of str to bytes
        Content by path.
    repositories : dict of str to dict
        Hub id to commit to file to content; the last commit is `main`.
    break_after : list of int
        For the next answers with a body, in turn: bytes after which the connection breaks.
    ranges : bool
        Whether parts of files can be asked for.
    asked : list of (str, str, str or None)
        Method, path and range of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    ranges: bool = True
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""

    def gets(self) -> list[str]:
        """Paths of the files that were asked for, with their bodies."""
        return [path for method, path, _ in self.asked if method == "GET" and "/api/" not in path]


def large(content: bytes) -> dict[str, Any]:
    """What the hub says of a large file."""
    digest = hashlib.sha256(content).hexdigest()
    return {"sha256": digest, "oid": digest, "size": len(content), "pointerSize": 134}


@contextmanager
def serving() -> Iterator[Served]:
    """Run the server on a free port of this machine."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, body: bool) -> None:
            path = self.path.split("?")[0]
            served.asked.append((self.command, path, self.headers.get("Range")))
            listed = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path)
            if listed:
                return self.describe(listed[1], listed[3] or "main", listed[2] == "tree")
            resolved = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            if resolved:
                commits = served.repositories.get(resolved[1], {})
                content = commits.get(resolved[2], {}).get(resolved[3])
                return self.give(content, body, {"X-Repo-Commit": resolved[2]})
            return self.give(served.files.get(path), body, {})

        def describe(self, repository: str, revision: str, tree: bool) -> None:
            commits = served.repositories.get(repository)
            if commits is None:
                return self.refuse("RepoNotFound")
            commit = list(commits)[-1] if revision == "main" else revision
            if commit not in commits:
                return self.refuse("RevisionNotFound")
            files = [
                {
                    **{"type": "file", "path": name, "rfilename": name},
                    **{"size": len(content), "oid": hashlib.sha1(content).hexdigest()},
                    **({"lfs": large(content)} if name.endswith(".safetensors") else {}),
                }
                for name, content in commits[commit].items()
            ]
            said = files if tree else {"id": repository, "sha": commit, "siblings": files}
            self.give(json.dumps(said).encode(), True, {"Content-Type": "application/json"})

        def refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def give(self, content: bytes | None, body: bool, headers: dict[str, str]) -> None:
            if content is None:
                return self.refuse("EntryNotFound")
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            start, end = self.part_of(len(content), tag)
            if start > 0 and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start or end != len(content) else 200)
            for name, value in {**headers, "ETag": tag, "Accept-Ranges": "bytes"}.items():
                self.send_header(name, value)
            if start or end != len(content):
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            if body:
                self.send(content[start:end])

        def part_of(self, size: int, tag: str) -> tuple[int, int]:
            """First byte, and one past the last, that is asked for and may be given."""
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if not asked or not served.ranges or self.headers.get("If-Range", tag) != tag:
                return 0, size
            return int(asked[1]), int(asked[2]) + 1 if asked[2] else size

        def send(self, content: bytes) -> None:
            after = served.break_after.pop(0) if served.break_after else len(content)
            self.wfile.write(content[:after])
            if after < len(content):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
