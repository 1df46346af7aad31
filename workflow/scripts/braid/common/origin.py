"""Where a result comes from: versions, parameters and digests of inputs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import braid
from braid.common.files import PathLike, sha256_of

_PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "xarray": "xarray",
    "torch": "torch",
    "transformers": "transformers",
    "open_clip": "open_clip_torch",
    "mne": "mne",
    "mne_bids": "mne-bids",
    "nilearn": "nilearn",
    "sklearn": "scikit-learn",
    "statsmodels": "statsmodels",
}


def versions() -> dict[str, str]:
    """Versions of braid, Python and those of the field's packages that this process imported."""
    found = {"braid": braid.__version__, "python": platform.python_version()}
    for module, package in _PACKAGES.items():
        if module in sys.modules:
            found[package] = importlib.metadata.version(package)
    return found


def provenance(
    inputs: Iterable[PathLike] = (), parameters: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Attributes that every array and table's sidecar carries.

    Parameters
    ----------
    inputs : iterable of path-like
        Files, whose SHA-256 is noted; a folder is named without one.
    parameters : mapping, optional

    Returns
    -------
    dict
        `braid_versions`, `braid_parameters` and `braid_inputs`, each as JSON text. Inputs are
        named by their paths below the folder that they have in common, so that a study moved
        elsewhere keeps the names, and files of one name are told apart.
    """
    digests = {
        name: sha256_of(path) if path.is_file() else None
        for name, path in _names_below_common(inputs).items()
    }
    return {
        "braid_versions": json.dumps(versions()),
        "braid_parameters": json.dumps(dict(parameters or {}), sort_keys=True, default=str),
        "braid_inputs": json.dumps(digests, sort_keys=True),
    }


def _names_below_common(inputs: Iterable[PathLike]) -> dict[str, Path]:
    """Distinct paths by their names below the folder that holds them all."""
    paths = list(dict.fromkeys(Path(path).absolute() for path in inputs))
    if not paths:
        return {}
    common = os.path.commonpath([path.parent for path in paths])
    return {path.relative_to(common).as_posix(): path for path in paths}
