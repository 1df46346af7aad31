"""Tiny releases of the layouts of ds003020, shortclips and Popham et al. 2021."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from braid.bids import index_dataset
from braid.config import prepare, read_yaml
from braid.features import build_design
from braid.preprocess import preprocess_parcels
from braid.stimuli import events_of, responses_of, units_of

ROOT = Path(__file__).resolve().parents[2]
SCANNED = {"alpha": 50, "wheretheressmoke": 45}  # volumes of whole scans
MARKS = ("sp", "{BR}", "sentence_start", "", "LS", "ns", "lg", "sentence_end")


def intervals(seed: int, length: float) -> list[tuple[float, float, str]]:
    """Words of 0.4 s every 0.8 s, a mark between two words."""
    draw = np.random.default_rng(seed)
    rows: list[tuple[float, float, str]] = []
    for number, start in enumerate(np.arange(0.0, length - 0.8, 0.8)):
        rows.append((round(start, 3), round(start + 0.4, 3), f"w{draw.integers(1000)}x{number}"))
        rows.append((round(start + 0.4, 3), round(start + 0.8, 3), MARKS[number % len(MARKS)]))
    return rows


def long_grid(tiers: dict[str, list[tuple]], end: float) -> str:
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0 "]
    lines += [f"xmax = {end} ", "tiers? <exists> ", f"size = {len(tiers)} ", "item []: "]
    for number, (name, rows) in enumerate(tiers.items(), 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier" ']
        lines += [f'        name = "{name}" ', "        xmin = 0 ", f"        xmax = {end} "]
        lines += [f"        intervals: size = {len(rows)} "]
        for i, (start, stop, text) in enumerate(rows, 1):
            lines += [f"        intervals [{i}]:", f"            xmin = {start} "]
            lines += [f"            xmax = {stop} ", f'            text = "{text}" ']
    return "\n".join(lines) + "\n"


def short_grid(tiers: dict[str, list[tuple]], end: float) -> str:
    lines = ['File type = "ooTextFile short"', '"TextGrid"', "", "0", str(end), "<exists>"]
    lines += [str(len(tiers))]
    for name, rows in tiers.items():
        lines += ['"IntervalTier"', f'"{name}"', "0", str(end), str(len(rows))]
        for start, stop, text in rows:
            lines += [str(start), str(stop), f'"{text}"']
    return "\n".join(lines) + "\n"


def write_stories(folder: Path) -> None:
    """`TextGrids` and `respdict.json`; one grid in each format."""
    (folder / "TextGrids").mkdir(parents=True)
    for seed, (story, scanned) in enumerate(SCANNED.items()):
        length = (scanned - 10) * 2.0
        tiers = {"phone": [(0, length, "AH")], "word": intervals(seed, length)}
        text = long_grid(tiers, length) if seed == 0 else short_grid(tiers, length)
        (folder / "TextGrids" / f"{story}.TextGrid").write_text(text)
    (folder / "respdict.json").write_text(json.dumps({**SCANNED, "unheard": 99}))


def write_ds003020(root: Path, subjects: tuple[str, ...] = ("UTS01", "UTS02")) -> dict:
    """Root of the release; gives the responses by subject and story."""
    write_stories(root / "derivative")
    made = {}
    for number, subject in enumerate(subjects):
        folder = root / "derivative" / "preprocessed_data" / subject
        folder.mkdir(parents=True)
        for story, scanned in SCANNED.items():
            values = np.random.default_rng(number).normal(size=(scanned - 20, 7 + number))
            with h5py.File(folder / f"{story}.hf5", "w") as file:
                file["data"] = values
            made[subject, story] = values
    return made


def write_films(folder: Path, train: int = 2, volumes: int = 8, test_volumes: int = 6) -> None:
    """`train_00.hdf`, ..., `test.hdf`: 30 frames a volume, brightness rises with the frame."""
    folder.mkdir(parents=True)
    lengths = {f"train_{k:02d}": volumes for k in range(train)} | {"test": test_volumes}
    for number, (name, count) in enumerate(lengths.items()):
        level = 20 * number + np.linspace(0, 150, 30 * count)
        frames = np.broadcast_to(level[:, None, None, None], (30 * count, 16, 16, 3))
        with h5py.File(folder / f"{name}.hdf", "w") as file:
            file["stimuli"] = frames.astype(np.uint8)


def write_shortclips(root: Path) -> dict[str, np.ndarray]:
    """Root of the release with one subject; voxel 2 is NaN throughout, voxel 4 in one volume."""
    write_films(root / "stimuli")
    draw = np.random.default_rng(5)
    made = {"Y_train": draw.normal(3, 2, (16, 6)), "Y_test": draw.normal(size=(10, 6, 6))}
    for values in made.values():
        values[..., 2] = np.nan
    made["Y_train"][5, 4] = np.nan
    (root / "responses").mkdir()
    with h5py.File(root / "responses" / "S01_responses.hdf", "w") as file:
        for key, values in made.items():
            file[key] = values.astype(np.float32)
        file["run_onsets"] = np.array([0, 8])
    return made


def write_popham(root: Path) -> dict[str, np.ndarray]:
    """Release with subject S1: grid 2 x 3 x 4 (z, y, x), NaN outside of two overlapping shapes."""
    draw = np.random.default_rng(6)
    made = {f"storydata/{story}": n - 20 for story, n in SCANNED.items()}
    made |= {"moviedata/train": 16, "moviedata/test": 6}
    arrays = {}
    for name, volumes in made.items():
        values = draw.normal(size=(volumes, 2, 3, 4)).astype(np.float32)
        values[:, 0, 0] = np.nan  # outside for both
        values[:, 1, 2, 3 if name.startswith("story") else 0] = np.nan
        folder, file = name.split("/")
        path = root / folder / "S1" / f"{file}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, values)
        arrays[name] = values
    return arrays


def spec(root: Path, task: str, **keys: Any) -> dict[str, Any]:
    """Entry of a study's `datasets`, with the pattern that config/datasets gives."""
    entry = read_yaml(ROOT / "config" / "datasets" / "popham2021.yaml")["dataset"]
    return {**entry, "root": root, "subjects": "all", "tasks": [task], **keys}


def study_of(name: str, root: Path, network: str) -> dict[str, Any]:
    """Study of one analysis that is what config/datasets says, prepared as for a run."""
    entry = read_yaml(ROOT / "config" / "datasets" / f"{name}.yaml")
    analysis = {key: entry[key] for key in ("units", "design", "repeats", "folds") if key in entry}
    analysis |= {"dataset": name, "tasks": entry["dataset"]["tasks"], "models": [network]}
    study = {
        "study": "entry",
        "models": str(ROOT / "config" / "models.yaml"),
        "datasets": {name: {**entry["dataset"], "root": str(root)}},
        "analyses": {"own": analysis},
    }
    return prepare(study, ROOT / "workflow" / "schemas")


def run_through(
    root: Path,
    task: str,
    subject: str,
    units: dict[str, Any],
    design: dict[str, Any],
    dataset: dict[str, Any] | None = None,
    repeats: Sequence[Mapping[str, Any]] = (),
) -> tuple[xr.DataArray, xr.Dataset, pd.DataFrame, dict[str, np.ndarray]]:
    """Index, clean, list events and units, cut responses, and lay out random features."""
    dataset = dataset or spec(root, task)
    index = index_dataset("set", dataset)
    rows = index[index["subject"] == subject]
    cleaned = preprocess_parcels(rows, root, dataset["preprocess"])
    events = events_of(rows, root, units)
    table = units_of([events])
    response, _ = responses_of(cleaned.signal, events, design, repeats)
    values = np.random.default_rng(1).normal(size=(len(table), 3)).astype(np.float32)
    names = table["unit"].to_numpy(str)
    feature = xr.DataArray(values, dims=("unit", "feature"), coords={"unit": names})
    built = build_design({"layer": feature}, events, response, design)
    return response, built, events, dict(zip(names, values, strict=True))
