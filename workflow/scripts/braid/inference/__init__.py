"""Statistics: permutation nulls with retraining, model comparisons, tables over subjects."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "decision": ("bh", "max_t", "p_values"),
    "evaluation": ("evaluate",),
    "expectations": ("EVALUATION_COLUMNS", "check_expectations"),
    "nulls": ("Draws", "draw_permutations"),
    "sites": ("SITES_COLUMNS", "test_sites"),
    "swap": ("COMPARISONS_COLUMNS", "compare_models"),
    "tables": ("COLUMNS", "collect_tables"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "COLUMNS",
    "COMPARISONS_COLUMNS",
    "EVALUATION_COLUMNS",
    "SITES_COLUMNS",
    "Draws",
    "bh",
    "check_expectations",
    "collect_tables",
    "compare_models",
    "draw_permutations",
    "evaluate",
    "max_t",
    "p_values",
    "test_sites",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'braid.inference' has no attribute '{name}'")
    return getattr(importlib.import_module(f"braid.inference.{_MODULE_OF[name]}"), name)
