"""Memory of a whole-brain transfer beside what is planned for it: `make bench-transfer`.

    python tests/bench/transfer.py              # a tenth; results/bench/transfer.txt
    python tests/bench/transfer.py --voxels 800 # less

A whole brain is 80,000 voxels, 3,600 volumes of a source and as many of a target in 12 runs, and
768 features with 4 delays (3,072 columns), 1,000 draws. A tenth of the voxels shows all that does
not grow with them, and what does at a tenth. Responses, predictions and features are noise of the
true size in the true files; transfer is tested with fixed penalties, then the matrix of one layer
is made, each in a process of its own, as jobs are. Peaks are of the resident set.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from braid.common import read_array, write_array
from braid.transfer.memory import predict_transfer_mb

WHOLE = 80_000
LIMIT_MB = 16_384.0


@dataclass(frozen=True)
class Size:
    """Size of a transfer; the same volumes for the source and the target."""

    voxels: int = WHOLE // 10
    volumes: int = 3600
    features: int = 768
    delays: int = 4
    runs: int = 12
    draws: int = 20
    memory_mb: float = 1500.0

    def predicted(self, matrix: bool) -> int:
        """MB that the planner asks for."""
        return predict_transfer_mb(
            n_source=self.volumes,
            n_target=self.volumes,
            p=self.features * self.delays,
            targets=self.voxels,
            n_folds=self.runs,
            n_runs=self.runs,
            alphas=3,
            draws=self.draws,
            options=2,
            memory_mb=self.memory_mb,
            matrix=matrix,
        )

    def params(self) -> dict[str, Any]:
        """Settings of a transfer."""
        return {
            "folds": {"scheme": "runs", "inner": 3},
            "ridge": {
                "alphas": {"low": 0, "high": 4, "n": 3},
                "memory_mb": self.memory_mb,
                "standardize": False,
            },
            "test": {"n": self.draws, "min_shift": 20},
            "tuning": ["none", "sign_loo"],
        }


def make_files(folder: Path, size: Size) -> None:
    """Write designs, responses and fits of a source and a target, a block of targets at a time."""
    for side, seed in (("source", 1), ("target", 2)):
        rng = np.random.default_rng(seed)
        per_run = size.volumes // size.runs
        sample = {
            "run": ("sample", np.repeat(np.arange(size.runs), per_run)),
            "time": ("sample", np.tile(np.arange(per_run) * 2.0, size.runs)),
        }
        attrs = {
            "runs": json.dumps([f"task-{side}_run-{run + 1:02d}" for run in range(size.runs)]),
            "subject": "01",
            "kind": "bold",
            "repetition_time": 2.0,
        }
        n = per_run * size.runs
        x = rng.standard_normal((n, size.features), dtype=np.float32)
        about = {
            **attrs,
            "layers": '["one"]',
            "delays": json.dumps(list(range(1, size.delays + 1))),
        }
        design = xr.Dataset({"layer_00": (("sample", "feature_00"), x)}, coords=sample)
        write_array(folder / f"{side}_design.nc", design, **about)
        names = {"target": [f"voxel-{k:06d}" for k in range(size.voxels)]}
        y = rng.standard_normal((n, size.voxels), dtype=np.float32)
        where = {**sample, **names, "site": ("target", names["target"])}
        response = xr.DataArray(y, dims=("sample", "target"), coords=where, name="response")
        write_array(folder / f"{side}_response.nc", response, **attrs)
        per_fold = np.full((1, size.runs, size.voxels), 100.0, dtype=np.float32)
        fit = xr.Dataset(
            {
                "score": (("layer", "target"), per_fold[:, 0] * 0 + 0.1),
                "score_validation": (("layer", "target"), per_fold[:, 0] * 0 + 0.1),
                "score_fold": (("layer", "fold", "target"), per_fold * 0 + 0.1),
                "alpha": (("layer", "fold", "target"), per_fold),
                "prediction": (("sample", "target"), y),
                "fold": sample["run"],
            },
            coords={**names, "layer": ["one"]},
        )
        write_array(folder / f"{side}_fit.nc", fit, **attrs, chosen_layer="one", model="noise")


def job(folder: Path, what: str, size: Size) -> dict[str, Any]:
    """Do what the rule's script does, in this process."""
    import pandas as pd

    from braid.transfer import transfer_matrix, transfer_sites

    matrix = what == "matrix"
    fits = [
        read_array(folder / f"{side}_fit.nc", ("prediction",) if matrix or side == "source" else ())
        for side in ("source", "target")
    ]
    args = [
        item
        for side, fit in zip(("source", "target"), fits, strict=True)
        for item in (folder / f"{side}_design.nc", folder / f"{side}_response.nc", fit)
    ]
    started = time.monotonic()
    if matrix:
        table = transfer_matrix(*args, size.params(), 1)
    else:
        own = pd.DataFrame({"site": fits[1]["target"].values.astype(str), "p": 0.01})
        table = transfer_sites(*args, size.params(), 1, own)
    return {"what": what, "rows": len(table), "seconds": time.monotonic() - started}


def measure(size: Size, what: str, folder: Path) -> dict[str, Any]:
    """Run a job in a process of its own, and tell its peak beside the plan."""
    words = [sys.executable, __file__, "--job", what, str(folder), json.dumps(asdict(size))]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "predicted_mb": size.predicted(what == "matrix")}


def peak_mb() -> float:
    """Highest resident set of this process, MB."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> int:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--voxels", type=int, default=Size.voxels)
    parser.add_argument("--draws", type=int, default=Size.draws)
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        what, folder, size = given.job
        found = job(Path(folder), what, Size(**json.loads(size)))
        print(json.dumps({**found, "peak_mb": peak_mb()}))
        return 0
    size = Size(voxels=given.voxels, draws=given.draws)
    lines, fits = [], True
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), size)
        for what in ("sites", "matrix"):
            found = measure(size, what, Path(folder))
            whole = Size(voxels=WHOLE, draws=1000 if what == "sites" else 200)
            planned = whole.predicted(what == "matrix")
            fits &= found["peak_mb"] <= found["predicted_mb"] and planned <= LIMIT_MB
            lines.append(
                f"{what}: {size.voxels} voxels, {size.volumes} + {size.volumes} volumes, "
                f"{size.features * size.delays} columns, {size.draws} draws: "
                f"peak {found['peak_mb']:.0f} MB, planned {found['predicted_mb']} MB, "
                f"{found['seconds']:.0f} s; planned for {WHOLE} voxels and {whole.draws} draws: "
                f"{planned} MB"
            )
            print(lines[-1], flush=True)
    out = Path("results/bench/transfer.txt")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n")
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
