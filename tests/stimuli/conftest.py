"""A short film with a readable clock, and data sets that show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from films import grey_frames, write_film

RATE = 10  # frames per second


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds; frame k is a uniform grey of 4 k + 10."""
    path = tmp_path_factory.mktemp("film") / "cinema.mp4"
    return write_film(path, grey_frames(50), RATE, "libx264", crf="1")


@pytest.fixture
def dataset(tmp_path: Path, film: Path) -> Callable[..., tuple[pd.DataFrame, Path]]:
    """Index of runs with the given events (run label -> table); the film lies in stimuli."""

    def make(runs: dict[str, str], n_samples: int = 1000, rate: float = 100.0):
        root = tmp_path / "bids"
        (root / "stimuli").mkdir(parents=True, exist_ok=True)
        if not (root / "stimuli" / "cinema.mp4").exists():
            (root / "stimuli" / "cinema.mp4").write_bytes(film.read_bytes())
        rows = []
        for run, table in runs.items():
            (root / f"{run}_events.tsv").write_text(table)
            rows.append(
                {
                    "subject": "01",
                    "run": run,
                    "path": f"{run}_ieeg.vhdr",
                    "events": f"{run}_events.tsv",
                    "sampling_frequency": rate,
                    "n_samples": n_samples,
                }
            )
        return pd.DataFrame(rows), root

    return make


@pytest.fixture
def signal() -> Callable[..., xr.DataArray]:
    """A clean signal of the given run lengths."""

    def make(lengths: list[int], rate: float, n_targets: int = 3, seed: int = 0, scale: float = 1):
        from braid.preprocess.cleaned import assemble

        noise = np.random.default_rng(seed)
        runs = {
            f"task-film_run-{i + 1}": (scale * noise.normal(size=(n, n_targets))).astype("f4")
            for i, n in enumerate(lengths)
        }
        names = np.array([f"LA{i}" for i in range(n_targets)])
        targets = {"target": names, "site": names, "region": np.array(["a"] * n_targets)}
        targets |= {axis: np.arange(n_targets, dtype=float) for axis in "xyz"}
        return assemble(runs, rate, targets, {"kind": "ieeg", "subject": "01"})

    return make
