"""Encoding models: ridge from features to responses, with nested folds and blocked targets."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "design": ("check_aligned", "delayed", "layer_names", "read_design"),
    "estimator": ("RidgeCV",),
    "fit": ("fit_encoding", "refit_weights"),
    "folds": ("Fold", "Split", "folds_of", "make_folds", "run_labels"),
    "grid": ("Grid", "make_grid"),
    "planner": ("Plan", "plan_memory", "predict_job_mb"),
    "solver": ("prepare",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Fold",
    "Grid",
    "Plan",
    "RidgeCV",
    "Split",
    "check_aligned",
    "delayed",
    "fit_encoding",
    "folds_of",
    "layer_names",
    "make_folds",
    "make_grid",
    "plan_memory",
    "predict_job_mb",
    "prepare",
    "read_design",
    "refit_weights",
    "run_labels",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'braid.encoding' has no attribute '{name}'")
    return getattr(importlib.import_module(f"braid.encoding.{_MODULE_OF[name]}"), name)
