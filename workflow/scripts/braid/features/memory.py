"""How many units fit into a job's memory at once."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SAFETY = 2.0
"""Kernels' own work space, and what the allocator loses between blocks: measured 1.7 (ViT-B/16)."""

_SHARE = 0.9
"""Share of the free memory that is planned with."""


def units_that_fit(run_one: Callable[[], Any], free_bytes: float, at_most: int) -> int:
    """Plan the number of units of a pass from the memory of a pass with one unit.

    Parameters
    ----------
    run_one : callable
        Runs the network on one unit.
    free_bytes : float
        Memory that the passes may take.
    at_most : int

    Returns
    -------
    int
        At least 1, at most `at_most`.
    """
    one = _SAFETY * peak_of(run_one)
    return int(max(1, min(at_most, _SHARE * free_bytes / max(one, 1.0))))


def peak_of(run: Callable[[], Any]) -> int:
    """Highest sum of the bytes of tensors that come to life while `run` runs.

    Counted operation by operation, so that it is the same on the CPU and on a GPU; what exists
    before (weights, inputs) does not count.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    living: dict[int, int] = {}
    peak = 0

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def] # fmt: skip
            nonlocal peak
            result = func(*args, **(kwargs or {}))
            # what an operation only looks at in another way is not new
            given = {storage._cdata for storage in storages((args, kwargs))}
            for storage in storages(result):
                if storage._cdata not in living and storage._cdata not in given:
                    living[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, living.pop, storage._cdata, None)
                    peak = max(peak, sum(living.values()))
            return result

    def storages(values: Any) -> list[Any]:
        return [
            value.untyped_storage()
            for value in tree_iter(values)
            if isinstance(value, torch.Tensor) and value.layout == torch.strided
        ]

    with Count():
        run()
    return peak


def free_memory(device: str, limit_mb: float | None) -> float:
    """Bytes that are free for passes: on a GPU its own, else of what the job may take.

    Parameters
    ----------
    device : str
    limit_mb : float or None
        Memory of the job in MB; what the machine has free where it is not known.
    """
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(free + unused)
    if limit_mb is not None:
        return max(0.0, limit_mb * 1e6 - resident_bytes())
    return _available()


def _available() -> float:
    """Bytes that the machine has free; no limit where it does not tell."""
    told = Path("/proc/meminfo")
    for line in told.read_text().splitlines() if told.exists() else ():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return float("inf")


def resident_bytes() -> int:
    """Resident set of this process."""
    status = Path("/proc/self/statm")
    if not status.exists():
        # no such file on macOS: the highest resident set so far is an upper bound
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
