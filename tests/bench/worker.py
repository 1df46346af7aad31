"""One contender in its own process: reads commands, one JSON line each, and answers likewise.

Two such processes live side by side and are asked in turn, so that times are interleaved and
neither sees the other's memory.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from cases import Case, Setting, case_from, make_data


class Worker:
    """Data and settings of one case."""

    def __init__(self, contender: str, case: Case, device: str, alpha: str | None) -> None:
        self.contender, self.case, self.device = contender, case, device
        self.x, self.y = make_data(case.n, case.p, case.t)
        self.alpha = None if alpha is None else np.load(alpha)
        self.setting = case.himalaya.get(device, Setting())
        self.base = 0.0

    def reference(self, targets: int) -> dict[str, Any]:
        """himalaya in float64 on some of the targets."""
        import contenders

        x, y = self.x.astype(np.float64), self.y[:, :targets].astype(np.float64)
        return contenders.himalaya_cv(self.setting, x, y)

    def sweep_rate(self) -> float:
        """Floating-point operations per second of braid's sweep; best of three after one."""
        import contenders

        sweep = contenders.braid_sweep(self.case, self.x, self.y, self.device)
        sweep()
        rates = []
        for _ in range(3):
            synchronize(self.device)
            start = time.perf_counter()
            operations = sweep()
            synchronize(self.device)
            rates.append(operations / (time.perf_counter() - start))
        return max(rates)

    def fit(self, targets: int | None = None, draws: int = 0, way: str = "") -> dict[str, Any]:
        """Run once; on the first `targets` only, if given."""
        import contenders

        x, y, case = self.x, self.y[:, :targets], self.case
        if case.kind == "cv":
            if self.contender == "braid":
                return contenders.braid_cv(case, x, y, self.device)
            if self.contender == "sklearn":
                return contenders.sklearn_cv(x, y)
            return contenders.himalaya_cv(self.setting, x, y)
        assert self.alpha is not None
        if self.contender == "braid":
            return contenders.braid_permutations(case, x, y, self.alpha, draws, self.device)
        return contenders.himalaya_permutations(way, self.setting, case, x, y, self.alpha, draws)

    def settle(self) -> None:
        """Load what a fit loads, on a problem of no size, and start counting memory."""
        import contenders

        case = Case("tiny", 60, 5, 8, 1.0, himalaya=self.case.himalaya)
        x, y = make_data(60, 5, 8)
        if self.contender == "braid":
            contenders.braid_cv(case, x, y, self.device)
        elif self.contender == "himalaya":
            contenders.himalaya_cv(self.setting, x, y)
        else:
            contenders.sklearn_cv(x, y)
        square = np.ones((600, 600), dtype=np.float32)
        square @ square  # so that the BLAS has its buffers
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
        self.base = memory_mb("VmRSS")
        if self.device == "cuda":
            import torch

            torch.cuda.reset_peak_memory_stats()

    def peak_mb(self) -> float:
        """Highest memory above that before the first fit: on the device, where there is one."""
        if self.device == "cuda":
            import torch

            return torch.cuda.max_memory_allocated() / 2**20
        return memory_mb("VmHWM") - self.base


def memory_mb(what: str) -> float:
    """One figure of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(what)


def timed(worker: Worker, **how: Any) -> tuple[dict[str, Any], float, float]:
    """Result, wall seconds and CPU seconds of one fit."""
    gc.collect()
    synchronize(worker.device)
    wall, cpu = time.perf_counter(), time.process_time()
    found = worker.fit(**how)
    synchronize(worker.device)
    return found, time.perf_counter() - wall, time.process_time() - cpu


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def answer(worker: Worker, order: dict[str, Any], out: TextIO) -> None:
    """Do what one line asks."""
    do = order.pop("do")
    reply: dict[str, Any] = {}
    if do == "settle":
        worker.settle()
    elif do == "sweep":
        reply["flops_per_s"] = worker.sweep_rate()
    elif do == "reference":
        np.savez(order["save"], **worker.reference(order["targets"]))
    elif do == "weights":
        import contenders

        assert worker.alpha is not None
        weights = contenders.braid_weights(worker.case, worker.x, worker.y, worker.alpha)
        np.save(order["save"], weights)
    elif do == "fit":
        save = order.pop("save", None)
        if setting := order.pop("setting", None):
            worker.setting = Setting(**setting)
        found, reply["wall"], reply["cpu"] = timed(worker, **order)
        reply["peak_mb"] = worker.peak_mb()
        if "form" in found:
            reply["form"] = str(found.pop("form"))
        if save is not None:
            np.savez(save, **found)
    out.write(json.dumps(reply) + "\n")
    out.flush()


def main() -> None:
    """Answer until the input ends."""
    # what libraries print must not end up among the answers
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start = json.loads(sys.stdin.readline())
    worker = Worker(start["contender"], case_from(start["case"]), start["device"], start["alpha"])
    for line in sys.stdin:
        answer(worker, json.loads(line), out)


if __name__ == "__main__":
    main()
