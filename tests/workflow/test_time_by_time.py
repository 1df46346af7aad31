"""Electrodes: a transfer between two tasks, its matrix and time by time, run as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pybv import write_brainvision

from braid.common import read_array, read_table

RATE, GAP, EVENTS = 100, 1.2, 90
SIZES = np.array([-40.0, 30.0, -20.0, 50.0, 10.0, -50.0, 20.0, -10.0, 40.0])  # µV, by label


def _write_recording(folder: Path, stem: str, signals: np.ndarray, onsets: np.ndarray) -> None:
    """Write a recording (µV) with its sidecars and events; A1 holds for a while what was shown."""
    names = [f"A{number + 1}" for number in range(len(signals))]
    task = stem.split("task-")[1]
    sidecar = {"TaskName": task, "SamplingFrequency": RATE, "PowerLineFrequency": 50,
               "SoftwareFilters": "n/a", "iEEGReference": "none"}  # fmt: skip
    (folder / f"{stem}_ieeg.json").write_text(json.dumps(sidecar))
    rows = "\n".join(f"{name}\tSEEG\tµV\tn/a\tn/a\t{RATE}\tgood" for name in names)
    (folder / f"{stem}_channels.tsv").write_text(
        "name\ttype\tunits\tlow_cutoff\thigh_cutoff\tsampling_frequency\tstatus\n" + rows + "\n",
        encoding="utf-8",
    )
    shown = np.random.default_rng(len(task)).permutation(len(onsets)) % len(SIZES)
    rows = "\n".join(f"{t:.3f}\t0.5\tlabel{k}" for t, k in zip(onsets, shown, strict=True))
    (folder / f"{stem}_events.tsv").write_text("onset\tduration\ttrial_type\n" + rows + "\n")
    for onset, label in zip(onsets, shown, strict=True):
        at = round((onset + 0.2) * RATE)
        signals[0, at : at + 30] += SIZES[label]
    write_brainvision(
        data=signals * 1e-6, sfreq=RATE, ch_names=names, fname_base=f"{stem}_ieeg",
        folder_out=str(folder), resolution=0.1, fmt="binary_float32",
    )  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A data set of one subject with two tasks, and a study that transfers between them."""
    folder = tmp_path / "bids" / "sub-01" / "ieeg"
    folder.mkdir(parents=True)
    description = {"Name": "Two tasks", "BIDSVersion": "1.10.0"}
    (tmp_path / "bids" / "dataset_description.json").write_text(json.dumps(description))
    onsets = 2.0 + GAP * np.arange(EVENTS)
    for seed, task in enumerate(("pictures", "words")):
        noise = np.random.default_rng(seed).standard_normal((3, round((onsets[-1] + 4) * RATE)))
        _write_recording(folder, f"sub-01_task-{task}", 20.0 * noise, onsets)
    analysis = {
        "dataset": "electrodes",
        "units": {"kind": "labels"},
        "design": {"kind": "event_locked", "tmin": -0.2, "tmax": 0.8, "window": 0.2, "step": 0.2},
        "models": ["onehot"],
        "folds": {"scheme": "blocks", "n": 3, "embargo": 1.0},
        "ridge": {"alphas": {"low": 0, "high": 2, "n": 3}},
        "test": {"n": 39, "min_shift": 4},
    }
    config = {
        "study": "times",
        "results": str(tmp_path / "results"),
        "datasets": {
            "electrodes": {
                "root": str(tmp_path / "bids"), "kind": "ieeg", "subjects": ["01"],
                "tasks": ["pictures", "words"], "validate": "skip",
                "preprocess": {"notch": [], "reference": "none", "band": None, "resample": 50},
            }
        },
        "analyses": {task: {**analysis, "tasks": [task]} for task in ("pictures", "words")},
        "transfers": {
            "over": {
                "source": "pictures", "target": "words", "models": ["onehot"],
                "matrix": {"draws": 39},
            }
        },
    }  # fmt: skip
    return tmp_path, config


def test_electrodes_transfer_from_time_to_time(study: Any, snakemake: Any) -> None:
    folder, config = study
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    snakemake("--cores", "2", "--configfile", str(folder / "study.yaml"))
    out = folder / "results" / "times" / "transfers" / "over" / "onehot"
    sites = read_table(out / "sub-01.tsv").set_index("site")
    assert sites.loc["A1", "score"] > 0.5 and sites.loc["A1", "p"] == pytest.approx(1 / 40)
    matrix = read_table(out / "sub-01_matrix.tsv")
    assert list(matrix["test"].unique()) == ["pictures", "words"] and (matrix["p"] <= 0.05).all()
    by_site = read_array(out / "sub-01_times.nc")
    score = by_site["score"].sel(site="A1")
    held = [time for time in score["time_train"].values if 0.15 < time < 0.35]
    assert held and float(score.sel(time_train=held, time_test=held).min()) > 0.5
    before = score["time_train"].values < -0.1
    assert float(np.abs(score.values[before]).max()) < 0.4
    table = read_table(out / "sub-01_times.tsv")
    assert len(table) == by_site.sizes["time_train"] ** 2 and set(table["region"]) == {"all"}
    assert (folder / "results" / "times" / "report.html").exists()


def test_a_transfer_without_matrix_has_neither(study: Any, snakemake: Any) -> None:
    folder, config = study
    config["transfers"]["over"]["matrix"] = None
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    plan = snakemake("--dry-run", "--configfile", str(folder / "study.yaml"))
    assert "transfer_times" not in plan.stdout and "transfer_matrix" not in plan.stdout
    assert " transfer " in plan.stdout.replace("\n", " ")
