"""A large study is planned in less than a minute and little memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SUBJECTS, NETWORKS, LAYERS = 30, 20, 12
SECONDS, GIGABYTES = 60, 4


def large_study(folder: Path) -> Path:
    """Write a study of 30 subjects, 20 networks with their untrained twins, 12 layers each."""
    registry = {
        f"network-{number:02}": {
            "source": "transformers",
            "path": str(folder / "networks" / f"network-{number:02}"),
            "modality": "language",
            "parameters": 110,
            "layers": [f"encoder.layer.{layer}" for layer in range(LAYERS)],
        }
        for number in range(NETWORKS)
    }
    (folder / "models.yaml").write_text(yaml.safe_dump(registry))
    root = folder / "bids"
    subjects = [f"{number:02}" for number in range(1, SUBJECTS + 1)]
    for subject in subjects:
        func = root / f"sub-{subject}" / "func"
        func.mkdir(parents=True)
        for run in range(1, 5):
            (func / f"sub-{subject}_task-story_run-{run:02}_bold.nii.gz").touch()
    study = {
        "study": "large",
        "results": str(folder / "results"),
        "models": str(folder / "models.yaml"),
        "datasets": {
            "stories": {"root": str(root), "kind": "bold", "subjects": "all", "tasks": ["story"]}
        },
        "analyses": {
            "story": {
                "dataset": "stories",
                "tasks": ["story"],
                "units": {"kind": "words"},
                "design": {"kind": "lanczos", "delays": [1, 2, 3, 4]},
                "models": sorted(registry),
                "untrained": sorted(registry),
                "folds": {"scheme": "runs"},
                "compare": {name: [name, f"{name}_untrained"] for name in sorted(registry)},
            }
        },
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


@pytest.mark.parametrize("profile", [[], ["--profile", "slurm"]], ids=["local", "slurm"])
def test_a_large_study_is_planned_in_time(tmp_path, profile):
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--nolock"]
    command += ["--cores", "2", "--configfile", str(large_study(tmp_path)), *profile]
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    assert status == 0, said[-4000:]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, flags=re.MULTILINE))
    fits = SUBJECTS * NETWORKS * 2
    assert {name: int(jobs[name]) for name in ("features", "design", "fit", "permute")} == {
        "features": NETWORKS * 2,
        "design": fits,
        "fit": fits,
        "permute": fits,
    }
    gigabytes = usage.ru_maxrss / 2**20  # Linux counts in kB
    # what other work on this machine takes is not counted
    busy = usage.ru_utime + usage.ru_stime
    print(
        f"{jobs['total']} jobs planned in {seconds:.1f} s, of these {busy:.1f} s on the processor, "
        f"with {gigabytes:.2f} GB"
    )
    assert busy < SECONDS and gigabytes < GIGABYTES, (seconds, busy, gigabytes)
