"""What is measured: sizes, made data, and the settings under which himalaya was fastest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

ALPHAS = np.logspace(0, 7, 20)
FOLDS = 5


@dataclass(frozen=True)
class Setting:
    """How himalaya runs a case; found with `ridge.py --tune`, see `tests/bench/ridge.py`."""

    estimator: str = "RidgeCV"
    backend: str = "numpy"
    targets_batch: int | None = None
    alphas_batch: int | None = None


@dataclass(frozen=True)
class Case:
    """One size of the problem: n rows, p features, t targets."""

    name: str
    n: int
    p: int
    t: int
    aim: float
    kind: str = "cv"
    repeats: int = 5
    sklearn: bool = False
    draws: int = 0
    himalaya: dict[str, Setting] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


FAST = Setting("RidgeCV", "numpy", 500, 5)
CUDA = Setting("RidgeCV", "torch_cuda", None, 5)
CASES = (
    Case("n10p", 3000, 300, 3000, 8.0, sklearn=True, himalaya={"cpu": FAST, "cuda": CUDA}),
    Case(
        "wide",
        1500,
        2048,
        4000,
        3.0,
        sklearn=True,
        himalaya={
            "cpu": Setting("KernelRidgeCV", "torch", None, 5),
            "cuda": Setting("KernelRidgeCV", "torch_cuda", None, 5),
        },
    ),
    Case("n4p", 3000, 768, 24000, 3.0, repeats=2, himalaya={"cpu": FAST, "cuda": CUDA}),
    Case("n18p", 9000, 512, 15000, 8.0, repeats=1, himalaya={"cpu": FAST, "cuda": CUDA}),
    Case(
        "permutations",
        1800,
        300,
        2000,
        50.0,
        kind="permutations",
        draws=100,
        himalaya={"cpu": FAST, "cuda": CUDA},
    ),
)


def case_from(found: dict[str, Any]) -> Case:
    """Give back what `Case.to_dict` gave."""
    settings = {device: Setting(**setting) for device, setting in found["himalaya"].items()}
    return Case(**{**found, "himalaya": settings})


def make_data(n: int, p: int, t: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features with a power-law spectrum, and targets of which up to 60 % of variance is signal.

    Returns
    -------
    x : numpy.ndarray of float32, (n, p)
        Columns of mean 1 and variance of about 1; eigenvalues fall as 1 / rank.
    y : numpy.ndarray of float32, (n, t)
        Of mean 1; share of signal in the variance uniform between 0 and 0.6.
    """
    rng = np.random.default_rng([seed, n, p, t])
    normal = np.float32
    spectrum = 1.0 / np.sqrt(np.arange(1, p + 1, dtype=normal))
    latent = rng.standard_normal((n, p), dtype=normal) * (spectrum / np.linalg.norm(spectrum))
    x = latent @ rng.standard_normal((p, p), dtype=normal)
    x += 1.0
    weights = rng.standard_normal((p, t), dtype=normal) / np.sqrt(p, dtype=normal)
    y = x @ weights
    y -= y.mean(axis=0)
    share = rng.uniform(0.0, 0.6, t).astype(normal)
    y *= np.sqrt(share) / y.std(axis=0)
    for start in range(0, n, 500):
        part = y[start : start + 500]
        part += np.sqrt(1 - share) * rng.standard_normal(part.shape, dtype=normal)
    y += 1.0
    return x, y


def blocks(n: int, k: int) -> list[np.ndarray]:
    """Rows of `k` contiguous folds."""
    return np.array_split(np.arange(n), k)


def shifts(n: int, draws: int, seed: int = 0) -> np.ndarray:
    """Row indices of circular shifts, (draws, n): row i takes the response of row [draw, i]."""
    by = np.random.default_rng([seed, n]).choice(np.arange(30, n - 30), draws, replace=False)
    return ((np.arange(n) + by[:, None]) % n).astype(np.int32)
