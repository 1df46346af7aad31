"""Transfer: encoding models fitted in one analysis predict the responses of another."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {"sites": ("TRANSFER_COLUMNS", "transfer_sites")}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["TRANSFER_COLUMNS", "transfer_sites"]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'braid.transfer' has no attribute '{name}'")
    return getattr(importlib.import_module(f"braid.transfer.{_MODULE_OF[name]}"), name)
