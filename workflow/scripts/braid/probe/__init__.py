"""Probe: what a vision-language network does with the pairing of pictures and text."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "matching": ("load_matcher",),
    "pairing": ("PROBES_COLUMNS", "pairing_of", "probe_pairing"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["PROBES_COLUMNS", "load_matcher", "pairing_of", "probe_pairing"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'braid.probe' has no attribute '{name}'")
    return getattr(importlib.import_module(f"braid.probe.{_MODULE_OF[name]}"), name)
