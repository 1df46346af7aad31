"""A world of one short film for each kind of recording and one story, quick to write."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

WORLD = Path(__file__).resolve().parents[2] / "resources" / "world.yaml"


def small_spec() -> dict[str, Any]:
    """Give the demo's description with short films, few contacts and few voxels."""
    spec = copy.deepcopy(yaml.safe_load(WORLD.read_text(encoding="utf-8")))
    spec["picture"]["size"] = 16
    spec["film"]["films"] = {"cinema": 50, "film-1": 40}
    spec["story"]["stories"] = {"story-1": 40}
    spec["ieeg"] |= {
        "subjects": ["01", "02"],
        "sampling_frequency": 256,
        "contacts_per_shaft": 4,
        "patch": 3,
    }
    spec["bold"] |= {
        "subjects": ["01"],
        "films": ["film-1"],
        "stories": ["story-1"],
        "shape": [10, 12, 9],
        "voxel_size": 16,
        "driven": {"vision": 10, "language": 8, "sum": 7, "joint": 9},
    }
    del spec["crossmodal"], spec["captioned"]
    return spec


def crossmodal_spec() -> dict[str, Any]:
    """Give a small world of one person who sees a silent film and hears a story, beside another."""
    spec, whole = small_spec(), yaml.safe_load(WORLD.read_text(encoding="utf-8"))
    del spec["ieeg"]
    spec["captioned"] = {"pictures": 12}
    spec["film"]["films"] = {"film-1": 120, "clip": 60}
    spec["story"]["stories"] = {"story-1": 120}
    spec["crossmodal"] = whole["crossmodal"] | {
        **{key: spec["bold"][key] for key in ("films", "stories", "shape", "voxel_size")},
        "subjects": ["02"],
        "driven": {"vision": 10, "language": 8, "shared": 12, "inverted": 10},
    }
    return spec
