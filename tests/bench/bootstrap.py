"""Time and memory of one event bootstrap of study 1: `make bench-bootstrap`.

    python tests/bench/bootstrap.py                    # a tenth of it: 100 replicates
    python tests/bench/bootstrap.py --replicates 10    # a shorter look
    python tests/bench/bootstrap.py --device cuda

One subject and one model: 150 electrodes x 161 bins, 3,000 events, 768 features; the whole job has
1,000 replicates. The job runs in a process of its own and does what the workflow's does: it reads
a design and a response, bootstraps, and writes replicates and summary. `bootstrap.json` and
`bootstrap.txt` in `results/bench` hold its wall and CPU seconds, its peak memory beside what the
planner said before, and the seconds of the whole job as they follow from those of a fit. Other
load on the machine shows in the wall seconds, and, where threads wait for one another, in the CPU
seconds too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from cases import make_data

from braid.common import read_array, write_array
from braid.encoding.planner import MEMORY_MB, predict_bootstrap_mb
from braid.inference import bootstrap_events, settings, summarise_events

ELECTRODES, BINS, EVENTS, FEATURES, WHOLE = 150, 161, 3000, 768, 1000
LIMIT_MB = 4096


def write_inputs(folder: Path, electrodes: int) -> None:
    """Write the design and the response, events 0.4 to 2 s apart in one film."""
    x, y = make_data(EVENTS, FEATURES, electrodes * BINS)
    onset = 2 + np.cumsum(np.random.default_rng(1).uniform(0.4, 2.0, EVENTS))
    rows = {"run": ("sample", np.zeros(EVENTS, dtype=int)), "time": ("sample", onset)}
    about = {"layers": '["last"]', "delays": "[0]", "runs": '["task-film"]'}
    design = xr.Dataset({"layer_00": (("sample", "feature_00"), x)}, rows, about)
    sites = [f"LT{number}" for number in range(electrodes)]
    bins = np.round(-2 + 0.025 * np.arange(BINS), 6)
    response = xr.Dataset(
        {"response": (("sample", "target"), y)},
        {
            **rows,
            "target": [f"{site}@{time:+.3f}" for site in sites for time in bins],
            "site": ("target", np.repeat(sites, BINS)),
            "bin": ("target", np.tile(bins, electrodes)),
        },
        {"subject": "01", "runs": '["task-film"]'},
    )
    write_array(folder / "design.nc", design)
    write_array(folder / "response.nc", response)


def job(folder: Path, replicates: int, device: str) -> None:
    """Do what the workflow's job does, and say what it took."""
    start, cpu = time.perf_counter(), time.process_time()
    params = settings(draws=replicates)
    design = read_array(folder / "design.nc")
    response = read_array(folder / "response.nc")["response"]
    scores = bootstrap_events(design, response, "last", params, seed=1, device=device)
    write_array(folder / "summary.nc", summarise_events(scores, params["level"]))
    write_array(folder / "draws.nc", scores[["test"]], packed=("test",))
    found: dict[str, Any] = {
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mean_test_r": float(scores["test"].mean()),
    }
    if device == "cuda":
        import torch

        found["device_peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
        found["device"] = torch.cuda.get_device_name()
    (folder / "found.json").write_text(json.dumps(found))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run the job in a process of its own."""
    threads = {name: str(args.threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    sizes = [str(args.replicates), str(args.electrodes)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, args.electrodes)
        subprocess.run(
            [sys.executable, __file__, "--job", name, "--device", args.device,
             "--replicates", sizes[0], "--electrodes", sizes[1]],
            env={**os.environ, **threads},
            check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    targets = args.electrodes * BINS
    predicted = predict_bootstrap_mb(
        EVENTS, FEATURES, targets, args.replicates, MEMORY_MB, workers=args.threads
    )
    fits = args.replicates + 1  # and that of the events as they are
    return {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "events": EVENTS,
        "features": FEATURES,
        "targets": targets,
        "replicates": args.replicates,
        "threads": args.threads,
        "device": args.device,
        "load_before": args.load,
        **found,
        "predicted_mb": predicted,
        "whole_predicted_mb": predict_bootstrap_mb(
            EVENTS, FEATURES, targets, WHOLE, MEMORY_MB, workers=args.threads
        ),
        "wall_s_per_fit": found["wall_s"] / fits,
        "cpu_s_per_fit": found["cpu_s"] / fits,
        "whole_wall_s": found["wall_s"] / fits * (WHOLE + 1),
    }


def text_of(found: dict[str, Any]) -> str:
    """Text for people."""
    return (
        f"{found['when']}: {found['replicates']} replicates of {found['events']} events, "
        f"{found['features']} features, {found['targets']} targets on {found['device']}, "
        f"{found['threads']} threads: {found['wall_s']:.0f} s wall, {found['cpu_s']:.0f} s CPU, "
        f"peak {found['peak_mb']:.0f} MB (predicted {found['predicted_mb']} MB); "
        f"{found['wall_s_per_fit']:.2f} s wall and {found['cpu_s_per_fit']:.2f} s CPU per fit; "
        f"{WHOLE} replicates would take {found['whole_wall_s'] / 3600:.1f} h (load average before: "
        f"{found['load_before']:.1f})\n"
    )


def main() -> int:
    """Measure; 1 if the job needs more than 4 GB."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=WHOLE // 10)
    parser.add_argument("--electrodes", type=int, default=ELECTRODES)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        job(args.job, args.replicates, args.device)
        return 0
    args.load = os.getloadavg()[0]
    found = measure(args)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bootstrap.json").write_text(json.dumps(found, indent=1) + "\n")
    (args.out / "bootstrap.txt").write_text(text_of(found))
    print(text_of(found), end="")
    return int(found["peak_mb"] > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
