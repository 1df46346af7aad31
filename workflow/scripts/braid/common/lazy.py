"""Doors of a room that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package whose names are imported on first use (PEP 562).

    Every job is a process of its own: one that needs a single door of a room should not pay for
    the imports of all others. Type checkers do not see names that come about so; give them the
    same imports under `if TYPE_CHECKING`, and this to the other branch, so that a misspelt name
    stays an error.

    Parameters
    ----------
    package : str
        `__name__` of the package.
    modules : mapping of str to sequence of str
        Module of the package to the names that it holds. A name must not be that of a module:
        importing the module would put it in the place of the name.

    Returns
    -------
    callable
        Takes a name, gives the object; `AttributeError` where there is none.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        # found without this function from now on
        setattr(sys.modules[package], name, value)
        return value

    return load
