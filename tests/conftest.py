"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from designs import design_and_response
from tiny_networks import MAKERS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the project."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings and reference outputs; the test is skipped where they are absent."""
    data = Path(os.environ.get("BRAID_SHARED", ROOT.parent / "shared")) / "data"
    if not data.is_dir():
        pytest.skip(f"real recordings are not here ({data}); set BRAID_SHARED to their folder")
    return data


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


@pytest.fixture(scope="session")
def pair() -> Callable[..., tuple[xr.Dataset, xr.DataArray]]:
    """Maker of a design and a response."""
    return design_and_response
