"""Headless Chromium driven through its debugging pipe, and what a report must be like in it."""

from __future__ import annotations

import base64
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WIDE, NARROW = 1280, 400
"""Widths in CSS pixels: a laptop's window and a telephone's."""

# elements whose text is wider than they are; at full width, tables too that need scrolling
_TOO_WIDE = """(selector) => Array.from(document.querySelectorAll(selector))
  .filter((element) => element.scrollWidth > element.clientWidth + 1)
  .map((element) => element.textContent.trim().replace(/\\s+/g, " ").slice(0, 80))"""

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """Path of Chromium, or None where it is not installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of a running Chromium, and what it complained of."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing, self._pending, self._number = reading, writing, b"", 0
        self.messages: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the DevTools protocol and wait for its answer."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._writing, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next(30)
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])
            self.messages.append(message)

    def open(self, page: Path, width: int, dark: bool = False, media: str = "screen") -> None:
        """Open a file at a width in CSS pixels, and wait until it has loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.messages.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        self._wait("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression on the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors on the console, exceptions, and requests that failed or left the file."""
        found = []
        for message in self.messages:
            method, params = message.get("method"), message.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(f"exception: {params['exceptionDetails']['text']}")
            elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
                found.append(f"console: {params['args']}")
            elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
                found.append(f"log: {params['entry']['text']}")
            elif method == "Network.loadingFailed":
                found.append(f"failed: {params.get('errorText')}")
            elif method == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(("file:", "data:")):
                    found.append(f"request: {url}")
        return found

    def screenshot(self, path: Path, top: float = 0, height: float | None = None) -> None:
        """Save a picture of the page, or of a part of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": size["width"], "scale": 1,
                "height": min(height or size["height"], size["height"] - top)}  # fmt: skip
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _wait(self, method: str) -> None:
        while not any(message.get("method") == method for message in self.messages):
            self.messages.append(self._next(30))

    def _next(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._reading], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser did not answer")
            part = os.read(self._reading, 1 << 20)
            if not part:
                raise RuntimeError("the browser closed its pipe")
            self._pending += part
        first, self._pending = self._pending.split(b"\0", 1)
        return dict(json.loads(first))


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Start Chromium with an empty profile and end it again."""
    # Chromium reads commands from descriptor 3 and answers on descriptor 4
    command_out, command_in = os.pipe()
    answer_out, answer_in = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                "bash", "-c", f'exec "$@" 3<&{command_out} 4>&{answer_in}', "bash", program,
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
                "--hide-scrollbars", f"--user-data-dir={profile}", "--remote-debugging-pipe",
            ],
            pass_fds=(command_out, answer_in),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(command_out)
        os.close(answer_in)
        try:
            yield Browser(answer_out, command_in)
        finally:
            os.close(command_in)
            os.close(answer_out)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def complaints_of(page: Path, running: Browser, width: int, dark: bool) -> list[str]:
    """Open a report and list what is wrong with how it looks.

    Parameters
    ----------
    page : pathlib.Path
        An HTML file that `braid.report.make_report` wrote.
    running : Browser
    width : int
        Of the window, CSS pixels.
    dark : bool
        Whether the reader prefers dark colours.

    Returns
    -------
    list of str
        Messages on the console, requests, pictures that are not drawn or have no text, a page
        wider than its window, text wider than its cell, tables wider than a full window, a
        background of the wrong lightness.
    """
    running.open(page, width, dark)
    running.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true })")
    found = running.complaints()
    images = running.evaluate(
        "Array.from(document.images, (image) => [image.naturalWidth, image.alt.length])"
    )
    found += ["no picture"] * (not images)
    found += [f"picture {i} is empty" for i, (size, _) in enumerate(images) if not size]
    found += [f"picture {i} has no text" for i, (_, length) in enumerate(images) if not length]
    total = running.evaluate("document.documentElement.scrollWidth")
    if total != width:
        found.append(f"the page is {total} pixels wide in a window of {width}")
    boxes = "td, th, h1, h2, h3, h4, figcaption" + (", .scroll" if width >= WIDE else "")
    wide = running.evaluate(f"({_TOO_WIDE})({json.dumps(boxes)})")
    found += [f"wider than its box: {text}" for text in wide]
    background = running.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = [int(part) for part in re.findall(r"\d+", background)[:3]]
    if (max(lightness) < 128) != dark:
        found.append(f"background {background} where dark is {dark}")
    return found


def check_page(page: Path) -> None:
    """Assert that a report looks right: wide and narrow, light and dark; skip without Chromium."""
    program = find_browser()
    if program is None:
        pytest.skip("Chromium is not installed; the report is not opened in a browser")
    with browser(program) as running:
        found = {
            f"{width} pixels, {'dark' if dark else 'light'}": complaints
            for width in (WIDE, NARROW)
            for dark in (False, True)
            if (complaints := complaints_of(page, running, width, dark))
        }
    assert not found, found
