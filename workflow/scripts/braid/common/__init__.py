"""Small helpers that every room shares: errors, files, randomness, progress, provenance.

Names are loaded on first use, so that `braid.common.errors` and `braid.config` work in an
environment that has Snakemake and little else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braid.common.errors import BraidError, InputError
    from braid.common.io import (
        ArrayFiles,
        atomic_path,
        read_array,
        read_json,
        read_table,
        sha256_of,
        write_array,
        write_json,
        write_table,
        write_text,
    )
    from braid.common.job import job_log
    from braid.common.origin import provenance
    from braid.common.progress_lines import progress
    from braid.common.random import rng, seed_for

_HOME = {
    "errors": ("BraidError", "InputError"),
    "io": (
        "ArrayFiles",
        "atomic_path",
        "read_array",
        "read_json",
        "read_table",
        "sha256_of",
        "write_array",
        "write_json",
        "write_table",
        "write_text",
    ),
    "job": ("job_log",),
    "progress_lines": ("progress",),
    "origin": ("provenance",),
    "random": ("rng", "seed_for"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "ArrayFiles",
    "BraidError",
    "InputError",
    "atomic_path",
    "job_log",
    "progress",
    "provenance",
    "read_array",
    "read_json",
    "read_table",
    "rng",
    "seed_for",
    "sha256_of",
    "write_array",
    "write_json",
    "write_table",
    "write_text",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'braid.common' has no attribute '{name}'")
    return getattr(importlib.import_module(f"braid.common.{_MODULE_OF[name]}"), name)
