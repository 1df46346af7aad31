"""Tiny data sets of each kind, written with the field's own tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def write_events(path: Path, rows: list[tuple], columns: tuple = ("onset", "duration")) -> None:
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def events_writer() -> Callable:
    return write_events


@pytest.fixture
def bold_root(tmp_path: Path) -> Path:
    """Two subjects, two runs of task film each, one of story; sidecars at the root only."""
    import nibabel as nib

    root = tmp_path / "bold"
    noise = np.random.default_rng(0)
    for subject in ("01", "02"):
        folder = root / f"sub-{subject}" / "func"
        folder.mkdir(parents=True)
        for label in ("task-film_run-01", "task-film_run-02", "task-story"):
            data = noise.normal(100, 5, (4, 5, 3, 20)).astype(np.float32)
            image = nib.Nifti1Image(data, np.diag([5.0, 5, 5, 1]))
            image.header.set_zooms((5, 5, 5, 2.0))
            image.header.set_xyzt_units("mm", "sec")
            nib.save(image, folder / f"sub-{subject}_{label}_bold.nii.gz")
            write_events(folder / f"sub-{subject}_{label}_events.tsv", [(1.0, 0.5), (39.0, 1.0)])
    for task in ("film", "story"):
        content = {"TaskName": task, "RepetitionTime": 2.0}
        (root / f"task-{task}_bold.json").write_text(json.dumps(content))
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    return root


@pytest.fixture
def ieeg_writer(tmp_path: Path) -> Callable[..., Path]:
    """Write one BrainVision recording with mne-bids; returns the root."""

    def write(
        subject: str = "01", acquisition: str | None = None, rate: float = 256.0, seconds: float = 8
    ) -> Path:
        import mne
        import mne_bids

        names = ["LA1", "LA2", "LA3", "ECG1"]
        info = mne.create_info(names, rate, ["seeg"] * 3 + ["ecg"])
        samples = np.random.default_rng(1).normal(0, 2e-5, (4, int(rate * seconds)))
        raw = mne.io.RawArray(samples, info, verbose="ERROR")
        raw.info["line_freq"] = 50
        path = mne_bids.BIDSPath(
            subject=subject,
            task="film",
            acquisition=acquisition,
            datatype="ieeg",
            root=tmp_path / "ieeg",
        )
        mne_bids.write_raw_bids(
            raw, path, format="BrainVision", allow_preload=True, overwrite=True, verbose="ERROR"
        )
        write_events(
            path.fpath.parent / f"{path.basename}_events.tsv", [(0.5, 0.2), (seconds - 0.5, 0.5)]
        )
        return Path(path.root)

    return write
