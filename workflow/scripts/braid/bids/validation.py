"""The official BIDS validator."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from braid.common import BraidError, InputError

_EXECUTABLE = "bids-validator-deno"


def validate(root: str | os.PathLike[str]) -> dict[str, Any]:
    """Run the official BIDS validator on a data set.

    Parameters
    ----------
    root : path-like
        Root of the data set.

    Returns
    -------
    dict
        `valid` (bool: no error), `errors` (list of mappings with `code`, `location`, `message`),
        `warnings` (list of mappings with `code`, `count`, `message`, most frequent first),
        `validator` and `schema` (versions, text) and `files` (int).

    Raises
    ------
    InputError
        If the root does not exist.
    BraidError
        If the validator is not installed or gives no verdict.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such BIDS root; correct `root` of the dataset in the config")
    done = subprocess.run(
        [_executable(), "--json", str(root.resolve())], capture_output=True, text=True, check=False
    )
    try:
        verdict = json.loads(done.stdout)
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise BraidError(
            f"{root}: {_EXECUTABLE} gave no verdict (exit status {done.returncode}: {last}); "
            "run it by hand, or set `validate: skip`"
        ) from None
    return _summary(verdict)


def _executable() -> str:
    """Path of the validator, of this environment first."""
    beside = Path(sys.executable).with_name(_EXECUTABLE)
    found = str(beside) if beside.exists() else shutil.which(_EXECUTABLE)
    if found is None:
        raise BraidError(
            f"{_EXECUTABLE} is not installed in this environment; install the Python package of "
            "that name, or set `validate: skip`"
        )
    return found


def _summary(verdict: dict[str, Any]) -> dict[str, Any]:
    """Reduce the validator's JSON to what the report shows."""
    issues = verdict["issues"]["issues"]
    messages = verdict["issues"].get("codeMessages", {})
    errors = [
        {
            "code": issue["code"],
            "location": issue.get("location", "n/a"),
            "message": issue.get("issueMessage") or messages.get(issue["code"], ""),
        }
        for issue in issues
        if issue["severity"] == "error"
    ]
    counts = Counter(issue["code"] for issue in issues if issue["severity"] == "warning")
    warnings = [
        {"code": code, "count": count, "message": messages.get(code, "")}
        for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    return {
        "valid": not errors,
        "errors": errors,
        "warnings": warnings,
        "validator": f"{_EXECUTABLE} {importlib.metadata.version(_EXECUTABLE)}",
        "schema": verdict["summary"].get("schemaVersion", "n/a"),
        "files": verdict["summary"].get("totalFiles", 0),
    }
