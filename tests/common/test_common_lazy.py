"""Doors that are imported on first use: one list of names, however it is written."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "workflow" / "scripts" / "braid"
LAZY = sorted(
    path.parent.name
    for path in LIBRARY.glob("*/__init__.py")
    if "lazy_names(" in path.read_text(encoding="utf-8")
)


def parts(room: str) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Names by module: as type checkers see them, and as they are loaded."""
    tree = ast.parse((LIBRARY / room / "__init__.py").read_text(encoding="utf-8"))
    (branch,) = (node for node in tree.body if isinstance(node, ast.If))
    typed = {
        node.module.split(".")[-1]: {alias.name for alias in node.names}
        for node in branch.body
        if isinstance(node, ast.ImportFrom) and node.module
    }
    (assigned,) = branch.orelse
    assert isinstance(assigned, ast.Assign) and isinstance(assigned.value, ast.Call)
    loaded = eval(ast.unparse(assigned.value.args[1]))
    return typed, {module: set(names) for module, names in loaded.items()}


@pytest.mark.parametrize("room", LAZY)
def test_type_checkers_see_what_is_loaded(room):
    typed, loaded = parts(room)
    assert typed == loaded
    names = set().union(*loaded.values())
    assert not names & set(loaded), "a module would hide the name"
    package = importlib.import_module(f"braid.{room}")
    assert set(package.__all__) - {"lazy_names"} == names
    for module, there in loaded.items():
        source = importlib.import_module(f"braid.{room}.{module}")
        for name in there:
            assert getattr(package, name) is getattr(source, name)


@pytest.mark.parametrize("room", LAZY)
def test_an_unknown_name_is_an_attribute_error(room):
    package = importlib.import_module(f"braid.{room}")
    with pytest.raises(AttributeError, match=f"module 'braid.{room}' has no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize("room", LAZY)
def test_a_room_is_cheap_until_a_door_is_used(room):
    code = (
        f"import sys, braid.{room}; print(*(sys.modules.keys() & {{'numpy', 'pandas', 'torch'}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
