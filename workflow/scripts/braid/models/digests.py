"""Digests of what a network is: weight files, configuration files, tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.common import read_json, sha256_of

if TYPE_CHECKING:
    from torch import nn

_VOLATILE = ("transformers_version", "_name_or_path", "torch_dtype", "dtype", "use_cache")
_FILES: dict[tuple[str, int, int], str] = {}


def canonical(content: Any) -> str:
    """JSON text with sorted keys and no spaces, the same for the same content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(content: Any) -> str:
    """SHA-256 of the canonical JSON of `content`, as hex."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, computed once per process while its size and time stay the same."""
    path = Path(path).resolve()
    status = path.stat()
    known = (str(path), status.st_mtime_ns, status.st_size)
    if known not in _FILES:
        _FILES[known] = sha256_of(path)
    return _FILES[known]


def weights_digest(files: Iterable[Path]) -> str:
    """One SHA-256 over the weight files, whatever their folder is called."""
    return digest([file_digest(path) for path in files])


def config_digest(paths: Iterable[Path], extra: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of JSON configuration files without what merely tells who wrote them.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        Files that do not exist are left out; those that are not JSON enter by their bytes.
    extra : mapping, optional
        Overrides that enter too.
    """
    content: dict[str, Any] = {"extra": dict(extra or {})}
    for path in paths:
        if path.is_file():
            content[path.name] = (
                _steady(read_json(path)) if path.suffix == ".json" else file_digest(path)
            )
    return digest(content)


def tensors_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, types and bytes of a network's parameters and buffers."""
    import torch

    total = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        total.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        total.update(memoryview(plain.numpy()))
    return total.hexdigest()


def _steady(content: Any) -> Any:
    """Leave out the keys that differ between versions of the library."""
    if isinstance(content, dict):
        return {key: _steady(value) for key, value in content.items() if key not in _VOLATILE}
    if isinstance(content, list):
        return [_steady(value) for value in content]
    return content
