"""Concepts: the dimensions that encoding weights of many sites share, and what they mean."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "components": ("COMPONENTS_COLUMNS", "Components", "weight_components"),
    "units": ("UNITS_COLUMNS", "extreme_units", "spread_of"),
    "weights": ("Member", "common_layer"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "COMPONENTS_COLUMNS",
    "UNITS_COLUMNS",
    "Components",
    "Member",
    "common_layer",
    "extreme_units",
    "spread_of",
    "weight_components",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'braid.concepts' has no attribute '{name}'")
    return getattr(importlib.import_module(f"braid.concepts.{_MODULE_OF[name]}"), name)
