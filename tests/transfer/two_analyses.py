"""Maker of an analysis: design, response and fit, with known weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy.signal import lfilter

from braid.encoding import fit_encoding

PARAMS: dict[str, Any] = {
    "folds": {"scheme": "blocks", "n": 4},
    "ridge": {"alphas": {"low": -2, "high": 4, "n": 7}},
    "test": {"n": 39, "min_shift": 20},
}


@dataclass
class Analysis:
    design: xr.Dataset
    response: xr.DataArray
    fit: xr.Dataset

    def args(self) -> tuple[xr.Dataset, xr.DataArray, xr.Dataset]:
        return self.design, self.response, self.fit


def red(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """AR(1) noise of unit variance."""
    return lfilter([np.sqrt(1 - 0.7**2)], [1, -0.7], rng.standard_normal((n, k)), axis=0)


def make(
    task: str,
    weights: np.ndarray,
    seed: int,
    runs: tuple[int, ...] = (160, 150),
    delays: tuple[int, ...] = (0,),
    signal: float = 1.0,
    bins: int = 1,
    fit: bool = True,
    params: dict[str, Any] = PARAMS,
) -> Analysis:
    """`weights` is (features x delays, targets), delay-major."""
    rng = np.random.default_rng(seed)
    n, p, targets = sum(runs), len(weights) // len(delays), weights.shape[1]
    coords: dict[str, Any] = {
        "run": ("sample", np.repeat(np.arange(len(runs)), runs)),
        "time": ("sample", np.concatenate([np.arange(size) * 1.0 for size in runs])),
        "event": ("sample", np.full(n, -1)),
    }
    labels = json.dumps([f"task-{task}_run-{run + 1:02d}" for run in range(len(runs))])
    x = red(rng, n, p)
    attrs = {"runs": labels, "subject": "01", "kind": "bold", "repetition_time": 1.0}
    design = xr.Dataset(
        {
            "layer_00": (("sample", "feature_00"), red(rng, n, p).astype(np.float32)),
            "layer_01": (("sample", "feature_01"), (3 * x + 5).astype(np.float32)),
        },
        coords=coords,
        attrs={**attrs, "layers": '["low", "high"]', "delays": json.dumps(list(delays))},
    )
    moved = np.zeros((n, len(weights)))
    for number, delay in enumerate(delays):
        for run in range(len(runs)):
            rows = np.flatnonzero(coords["run"][1] == run)
            moved[rows[delay:], number * p : (number + 1) * p] = x[rows[: len(rows) - delay]]
    y = signal * moved @ weights + red(rng, n, targets)
    response = xr.DataArray(
        y.astype(np.float32),
        dims=("sample", "target"),
        coords={
            **coords,
            "target": [f"t{target:02d}" for target in range(targets)],
            "site": ("target", [f"s{target // bins:02d}" for target in range(targets)]),
            "region": ("target", [f"region{target % 2}" for target in range(targets)]),
            "x": ("target", np.arange(targets) * 1.0),
        },
        attrs=attrs,
        name="response",
    )
    return Analysis(design, response, fit_encoding(design, response, params) if fit else None)
