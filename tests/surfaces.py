"""A derivative on a surface as fMRIPrep writes it, with series that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 10242  # vertices of fsaverage5 in each hemisphere
TR = 2.0
PREP = Path("derivatives") / "fmriprep"


def write_gifti(path: Path, series: np.ndarray, one_array: bool = False) -> None:
    """Write (volumes, vertices) as GIFTI: an array per volume, or one of vertices x volumes."""
    from nibabel import save
    from nibabel.gifti import GiftiDataArray, GiftiImage

    parts = [series.T] if one_array else list(series)
    arrays = [
        GiftiDataArray(
            np.ascontiguousarray(part, dtype=np.float32),
            intent="NIFTI_INTENT_TIME_SERIES",
            datatype="NIFTI_TYPE_FLOAT32",
        )
        for part in parts
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    save(GiftiImage(darrays=arrays), path)


def write_surface(
    root: Path,
    runs: Mapping[str, tuple[np.ndarray, np.ndarray]],
    space: str = "fsaverage5",
    motion: np.ndarray | None = None,
    subject: str = "01",
) -> Path:
    """Write runs (label -> series of the left and right hemisphere); gives the folder `func`.

    `space` may carry further entities. With `motion` (volumes, 6) each run has confounds.
    """
    (root / f"sub-{subject}" / "func").mkdir(parents=True, exist_ok=True)
    folder = root / PREP / f"sub-{subject}" / "func"
    for label, sides in runs.items():
        for side, series in zip("LR", sides, strict=True):
            stem = f"sub-{subject}_{label}_hemi-{side}_space-{space}_bold"
            write_gifti(folder / f"{stem}.func.gii", series)
            (folder / f"{stem}.json").write_text(json.dumps({"RepetitionTime": TR}))
        if motion is not None:
            write_confounds(folder / f"sub-{subject}_{label}_desc-confounds_timeseries", motion)
    return folder


def write_confounds(stem: Path, motion: np.ndarray) -> None:
    """Write motion, and two tissue signals made of it, as fMRIPrep's table."""
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    names += ["csf", "white_matter"]
    table = np.column_stack([motion, motion[:, 0] ** 2, motion[:, 1] ** 2])
    lines = ["\t".join(names), *("\t".join(map(str, row)) for row in table)]
    stem.with_suffix(".tsv").write_text("\n".join(lines) + "\n")
    described = {name: {"Method": "Mean"} for name in names}
    stem.with_suffix(".json").write_text(json.dumps(described))


def surface_spec(root: Path, space: str = "fsaverage5", **derivative: Any) -> dict[str, Any]:
    """What the config says of such a data set."""
    return {
        "root": root,
        "kind": "bold",
        "subjects": ["01"],
        "derivative": {"root": str(PREP), "space": space, **derivative},
    }


def noise(volumes: int, seed: int = 0, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Series of both hemispheres around 1000."""
    draw = np.random.default_rng(seed)
    left, right = draw.normal(1000, 10, (2, volumes, size)).astype(np.float32)
    return left, right
