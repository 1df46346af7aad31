"""The registry as a table for people: `config/models.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from braid.config import read_yaml, used_by
from braid.models.registry import NETWORKS, pairing_of

_INTRODUCTION = """\
# The networks

<!-- Written by `python -m braid.models table` from models.yaml and studies/: do not edit. -->

What [models.yaml](models.yaml) holds. State: *real*, tested with these weights; *tiny*, the same
loading code tested against the library's own forward pass on a small checkpoint of the true format;
*unsupported*, not run yet. Parameters in millions, downloads in MB (`?`: not known before).
Licences are those that the publishers state; read them before you use a network.

Jobs never download. On a machine with a network,

```bash
python -m braid.models fetch STUDY     # what a study needs, into the cache and models.lock.yaml
python -m braid.models list            # which networks are locked and in the cache
python -m braid.models verify STUDY    # digests of the cache against the lock
```

`STUDY` is a study file, or the name of one in `studies/`; `--models NAME ...` takes some networks
only. Files lie under `HF_HOME` (by default `~/.cache/huggingface`), on a cluster a folder that the
nodes share. [models.lock.yaml](models.lock.yaml) holds the commit and the SHA-256 of every file:
keep it with your study, and who fetches with it gets the same files or an error. A job compares
what it reads with the lock; what differs stops it.
"""
_COLUMNS = (
    "network", "studies", "state", "shown", "trained for", "trained on", "parameters", "licence",
    "download", "checkpoint",
)  # fmt: skip
_HUB = "https://huggingface.co"


def models_table(registry: Mapping[str, Mapping[str, Any]], studies: Sequence[Path]) -> str:
    """Write the page about the networks of a registry.

    Parameters
    ----------
    registry : mapping
        From `read_registry`; only its networks are listed, not features without one.
    studies : sequence of pathlib.Path
        Study files; each is named at the networks that it runs.

    Returns
    -------
    str
        Markdown.
    """
    used = users(studies)
    networks = {name: entry for name, entry in registry.items() if entry["source"] in NETWORKS}
    rows = [_row(name, entry, used.get(name, [])) for name, entry in networks.items()]
    head = ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    return "\n".join([_INTRODUCTION, *head, *rows]) + "\n"


def users(studies: Sequence[Path]) -> dict[str, list[str]]:
    """Names of the studies that run each network, trained or untrained."""
    found: dict[str, list[str]] = {}
    for path in studies:
        content = read_yaml(path)
        for name in used_by(content):
            found.setdefault(name, []).append(str(content["study"]))
    return {name: sorted(of) for name, of in found.items()}


def _row(name: str, entry: Mapping[str, Any], studies: Sequence[str]) -> str:
    """One line of the table."""
    cells = (
        f"`{name}`",
        ", ".join(studies),
        entry.get("state", ""),
        f"{entry['modality']}{_shown(entry)}",
        entry.get("objective", ""),
        entry.get("data", ""),
        f"{entry['parameters']:g}" if "parameters" in entry else "",
        entry.get("licence", ""),
        f"{entry['download']:g}" if "download" in entry else _size_of(entry),
        _checkpoint(entry),
    )
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _shown(entry: Mapping[str, Any]) -> str:
    """Say how the inputs of a network differ from what the units have."""
    pairing = pairing_of(entry)
    if pairing is not None:
        return f", {pairing['shift']} shifted by {pairing['seconds']:g} s"
    return f", no {entry['blank']}" if entry.get("blank") else ""


def _size_of(entry: Mapping[str, Any]) -> str:
    """Say in place of a size whether there is a download."""
    return "none" if entry.get("path") else "?"


def _checkpoint(entry: Mapping[str, Any]) -> str:
    """Where the weights come from, and which version."""
    if entry.get("hub"):
        revision = str(entry.get("revision") or "main")
        link = f"[{entry['hub']}]({_HUB}/{entry['hub']}/tree/{revision})"
        return link if entry.get("revision") else f"{link}, the commit of the lock file"
    if entry.get("urls"):
        return ", ".join(f"[{url.rsplit('/', 1)[-1]}]({url})" for url in entry["urls"])
    return f"`{entry['path']}`"
