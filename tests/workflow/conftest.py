"""Running the workflow as a user does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def snakemake() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the command line from the root of the project; gives the finished process."""

    def call(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        # tests run side by side from one folder; each has its own results
        command = [sys.executable, "-m", "snakemake", "--nocolor", "--nolock", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if check and done.returncode:
            pytest.fail(
                f"snakemake {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
            )
        return done

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Give a small BIDS data set of BOLD and parcels, and a study of it."""
    return Tiny(tmp_path)


class Tiny:
    """A data set of one subject: two runs of labelled blocks, a film, parcels; and its study."""

    VOLUMES, TR = 48, 2.0

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.results = folder, folder / "bids", folder / "results"
        self.func = self.root / "sub-01" / "func"
        self.func.mkdir(parents=True)
        self._json(
            self.root / "dataset_description.json", {"Name": "Tiny", "BIDSVersion": "1.10.0"}
        )
        self._json(
            self.root / "task-blocks_bold.json", {"TaskName": "blocks", "RepetitionTime": self.TR}
        )
        self.generator = np.random.default_rng(0)
        for run in ("01", "02"):
            self.write_bold(run)
            self.write_events(run)
        for film in ("a", "b"):
            self.write_parcels(film)
        self.config = {
            "study": "tiny",
            "results": str(self.results),
            "datasets": {
                "blocks": {
                    "root": str(self.root),
                    "kind": "bold",
                    "subjects": ["01"],
                    "tasks": ["blocks"],
                    "validate": "skip",
                    "preprocess": {"mask": "sub-01/func/mask.nii.gz", "confounds": "none"},
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
                    "test": {"n": 19, "min_shift": 4},
                }
            },
        }

    @staticmethod
    def _json(path: Path, content: object) -> None:
        path.write_text(json.dumps(content))

    def bold(self, run: str) -> Path:
        return self.func / f"sub-01_task-blocks_run-{run}_bold.nii.gz"

    def events(self, run: str) -> Path:
        return self.func / f"sub-01_task-blocks_run-{run}_events.tsv"

    def write_bold(self, run: str, tr: float = TR) -> None:
        shape = (5, 5, 3, self.VOLUMES)
        data = 1000 + 10 * self.generator.standard_normal(shape).astype(np.float32)
        image = nibabel.Nifti1Image(data, np.diag([4.0, 4.0, 4.0, 1.0]))
        image.header.set_zooms((4, 4, 4, tr))
        image.header.set_xyzt_units("mm", "sec")
        image.to_filename(self.bold(run))
        mask = nibabel.Nifti1Image(np.ones(shape[:3], np.uint8), image.affine)
        mask.to_filename(self.func / "mask.nii.gz")

    def write_events(
        self, run: str, rows: str = "4\t12\tface\n28\t12\thouse\n52\t12\tface\n"
    ) -> None:
        self.events(run).write_text("onset\tduration\ttrial_type\n" + rows)

    def write_parcels(self, film: str, rows: int = 120) -> None:
        name = f"sub-01_task-{film}_desc-parcels_timeseries"
        array = self.generator.standard_normal((120, 6)).astype(np.float32)
        np.save(self.func / f"{name}.npy", array)
        self._json(self.func / f"{name}.json", {"RepetitionTime": 1.0})
        (self.root / "stimuli").mkdir(exist_ok=True)
        features = self.generator.standard_normal((rows, 4)).astype(np.float32)
        np.save(self.root / "stimuli" / f"{film}_features.npy", features)

    def use_parcels(self) -> None:
        arrays = "sub-{subject}/func/sub-{subject}_task-{task}_desc-parcels_timeseries.npy"
        self.config["datasets"] = {
            "parcels": {
                "root": str(self.root),
                "kind": "parcels",
                "subjects": ["01"],
                "tasks": ["a", "b"],
                "validate": "skip",
                "pattern": arrays,
            }
        }
        self.config["analyses"] = {
            "films": {
                "dataset": "parcels",
                "tasks": ["a", "b"],
                "units": {"kind": "rows", "features": "stimuli/{task}_features.npy"},
                "design": {"kind": "rows"},
                "models": ["given"],
                "folds": {"scheme": "holdout", "train": {"task": "a"}, "test": {"task": "b"}},
                "test": {"n": 19, "min_shift": 10},
            }
        }

    def use_film(self) -> None:
        """Let the runs show a film, whose file the caller writes to `stimuli/film.mp4`."""
        for run in ("01", "02"):
            self.events(run).write_text(
                "onset\tduration\ttrial_type\tstim_file\n4\t60\tfilm\tfilm.mp4\n"
            )
        analysis = self.config["analyses"]["blocks"]
        analysis["units"] = {"kind": "frames", "step": 2.0}
        analysis["design"] = {"kind": "lanczos", "delays": [1, 2]}

    def write_config(self) -> str:
        path = self.folder / "study.yaml"
        path.write_text(yaml.safe_dump(self.config))
        return str(path)

    def leftovers(self) -> list[str]:
        """Files that a job wrote aside and did not move into place."""
        return [str(path) for path in self.results.rglob(".*") if path.is_file()]
