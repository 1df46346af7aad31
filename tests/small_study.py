"""A copy of the project with a small study in it: what users have, and may edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
VOLUMES, TR, SHAPE = 48, 2.0, (4, 4, 2)
CONFIG: dict[str, Any] = {
    "study": "small",
    "datasets": {
        "blocks": {
            "root": "bids",
            "kind": "bold",
            "subjects": ["01", "02"],
            "tasks": ["blocks"],
            "validate": "skip",
            "preprocess": {"mask": "sub-{subject}/func/mask.nii.gz", "confounds": "none"},
        }
    },
    "analyses": {
        "blocks": {
            "dataset": "blocks",
            "tasks": ["blocks"],
            "units": {"kind": "labels"},
            "design": {"kind": "boxcar", "delays": [1, 2]},
            "models": ["onehot"],
            "folds": {"scheme": "runs"},
            "ridge": {"alphas": {"low": 0, "high": 2, "n": 3}},
            "test": {"n": 19, "min_shift": 4},
        }
    },
}


def copy_project(folder: Path) -> Path:
    """Copy what a clone of the working tree holds, uncommitted changes included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def write_dataset(root: Path, subjects: list[str]) -> None:
    """Write a BIDS data set: two runs of labelled blocks per subject, all of noise."""
    root.mkdir(parents=True)
    description = {"Name": "Small", "BIDSVersion": "1.10.0"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    sidecar = {"TaskName": "blocks", "RepetitionTime": TR}
    (root / "task-blocks_bold.json").write_text(json.dumps(sidecar))
    for subject in subjects:
        generator = np.random.default_rng(int(subject))
        func = root / f"sub-{subject}" / "func"
        func.mkdir(parents=True)
        affine = np.diag([4.0, 4.0, 4.0, 1.0])
        nibabel.Nifti1Image(np.ones(SHAPE, np.uint8), affine).to_filename(func / "mask.nii.gz")
        for run in ("01", "02"):
            name = f"sub-{subject}_task-blocks_run-{run}"
            data = 1000 + 10 * generator.standard_normal((*SHAPE, VOLUMES))
            image = nibabel.Nifti1Image(data.astype(np.float32), affine)
            image.header.set_zooms((4, 4, 4, TR))
            image.header.set_xyzt_units("mm", "sec")
            image.to_filename(func / f"{name}_bold.nii.gz")
            rows = "4\t12\tface\n28\t12\thouse\n52\t12\tcat\n76\t8\tshoe\n"
            (func / f"{name}_events.tsv").write_text("onset\tduration\ttrial_type\n" + rows)


class SmallStudy:
    """A copy of the project, a data set in its folder `bids`, and the study `study.yaml` of it."""

    def __init__(self, folder: Path, subjects: list[str]) -> None:
        self.folder = copy_project(folder)
        self.results = folder / "results" / "small"
        self.config = deepcopy(CONFIG)
        write_dataset(folder / "bids", subjects)

    def write_config(self) -> None:
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))

    def command(self, *arguments: str) -> list[str]:
        fixed = ("-m", "snakemake", "--nocolor", "--configfile", "study.yaml")
        return [sys.executable, *fixed, *arguments]

    def snakemake(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Call Snakemake as a user does in a clone; gives the finished process."""
        command = self.command(*arguments)
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **more)

    def tables(self) -> dict[str, bytes]:
        """Content of every table of the results, by its path in them."""
        return {
            str(path.relative_to(self.results)): path.read_bytes()
            for path in sorted(self.results.rglob("*.tsv"))
            if "benchmarks" not in path.parts
        }

    def leftovers(self) -> list[str]:
        """Files that a job wrote aside and did not move into place."""
        hidden = [path for path in self.results.rglob(".*") if path.is_file()]
        # Snakemake's own mark in a folder that is an output
        return [str(path) for path in hidden if path.name != ".snakemake_timestamp"]


def said(done: subprocess.CompletedProcess[str]) -> str:
    """End of what a process said, for the message of a failed test."""
    return f"{done.args}{os.linesep}{done.stdout[-3000:]}{os.linesep}{done.stderr[-6000:]}"
