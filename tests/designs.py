"""Small designs and responses in the shape of the contract."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr


def design_and_response(
    runs: tuple[int, ...] = (150, 150),
    p: int = 12,
    targets: int = 20,
    layers: int = 3,
    delays: tuple[int, ...] = (0,),
    signal: float = 0.6,
    step: float = 1.0,
    bins: int = 1,
    seed: int = 0,
) -> tuple[xr.Dataset, xr.DataArray]:
    """Design and response; the first half of the targets follows layer_01's features."""
    rng = np.random.default_rng(seed)
    n = sum(runs)
    coords: dict[str, Any] = {
        "run": ("sample", np.repeat(np.arange(len(runs)), runs)),
        "time": ("sample", np.concatenate([np.arange(size) * step for size in runs])),
        "event": ("sample", np.arange(n)),
    }
    labels = json.dumps([f"task-film_run-{run + 1:02d}" for run in range(len(runs))])
    base = rng.standard_normal((n, p))
    noise = [abs(layer - 1) * 3.0 for layer in range(layers)]
    design = xr.Dataset(
        {
            f"layer_{layer:02d}": (
                ("sample", f"feature_layer_{layer:02d}"),
                (base + noise[layer] * rng.standard_normal((n, p))).astype(np.float32),
                {"layer": f"block.{layer}"},
            )
            for layer in range(layers)
        },
        coords=coords,
        attrs={
            "layers": json.dumps([f"block.{layer}" for layer in range(layers)]),
            "delays": json.dumps(list(delays)),
            "runs": labels,
        },
    )
    y = rng.standard_normal((n, targets))
    y[:, : targets // 2] += signal * base @ rng.standard_normal((p, targets // 2))
    response = xr.DataArray(
        y.astype(np.float32),
        dims=("sample", "target"),
        coords={
            **coords,
            "target": [f"t{target:03d}" for target in range(targets)],
            "site": ("target", [f"s{target // bins:03d}" for target in range(targets)]),
            "bin": ("target", np.arange(targets) % bins * 0.05),
            "x": ("target", np.arange(targets) // bins * 1.0),
            "y": ("target", np.full(targets, np.nan)),
            "z": ("target", np.zeros(targets)),
            "region": ("target", [f"region{target // bins % 2}" for target in range(targets)]),
        },
        attrs={"runs": labels, "subject": "01", "kind": "bold"},
        name="response",
    )
    return design, response
