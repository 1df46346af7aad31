"""One seed in the config, split per job by name."""

from __future__ import annotations

import hashlib

import numpy as np


def seed_for(seed: int, *names: object) -> int:
    """Derive a 63-bit seed from the study's seed and the names of a job.

    The same names give the same numbers whatever runs beside them, in whatever order.
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rng(seed: int, *names: object) -> np.random.Generator:
    """NumPy generator for the job of these names (see `seed_for`)."""
    return np.random.default_rng(seed_for(seed, *names))
