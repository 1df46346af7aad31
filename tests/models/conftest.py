"""Tiny checkpoints, made once per test session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_networks import MAKERS


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Registry entry of a tiny network, by kind; its folder is made at the first call."""
    folder: Path = tmp_path_factory.mktemp("tiny")
    made: dict[str, dict[str, Any]] = {}

    def entry(kind: str) -> dict[str, Any]:
        if kind not in made:
            made[kind] = MAKERS[kind](folder / kind)
        return dict(made[kind])

    return entry
