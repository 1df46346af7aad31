"""Tables of integration tests for a report: scores made up, everything after them the library's."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from report_world import CONFIG

from braid.common import rng, write_array, write_table
from braid.config import integration_models, integration_roles, integration_settings
from braid.inference import (
    Study,
    compare_candidates,
    correct_comparisons,
    integration_tables,
    relabel_candidates,
    stack_models,
    summarise_events,
)
from braid.inference.integration_study import integration_columns

NAME = "fusion_sites"
ALIGNMENTS = {"language": "film_words", "vision": "film_cuts"}
# region: a place in it, mm, and the kinds of electrodes there
REGIONS = {
    "superiortemporal": ((58, -20, 5), ("product", "language", "language", "sum")),
    "inferiorparietal": ((46, -62, 36), ("product", "product", "sum", "vision")),
    "lateraloccipital": ((34, -86, 6), ("vision", "vision", "vision", "noise")),
    "fusiform": ((36, -52, -18), ("vision", "sum", "product", "noise")),
    "insula": ((38, 4, 2), ("noise", "noise", "product", "language")),
    "superiorfrontal": ((12, 40, 40), ("noise", "noise", "noise", "language")),
    "n/a": ((24, -30, 30), ("noise", "noise", "noise", "noise")),
}
# r that each kind of model reaches at each kind of electrode: vision, language, linear, multimodal,
# low-level
DRIVEN = {
    "vision": (0.25, 0.0, 0.24, 0.23, 0.1),
    "language": (0.0, 0.22, 0.2, 0.2, 0.15),
    "sum": (0.17, 0.15, 0.25, 0.24, 0.1),
    "product": (0.08, 0.08, 0.1, 0.26, 0.05),
    "noise": (0.0, 0.0, 0.0, 0.0, 0.0),
}
SEES = {
    "slip-simclr": "vision", "beit": "vision", "simcse": "language", "sbert": "language",
    "slip-combo": "multimodal", "slip-clip": "multimodal", "albef": "multimodal",
    "flava": "multimodal", "concat": "linear", "multilin": "linear", "loudness": "low-level",
}  # fmt: skip
# how much of it a network reaches
QUALITY = {"slip-combo": 1.0, "slip-clip": 0.95, "albef": 0.85, "flava": 0.6, "beit": 0.8,
           "sbert": 0.85}  # fmt: skip
OBJECTIVES = {"slip-combo": "contrastive and self-supervised", "slip-clip": "contrastive",
              "albef": "fusion, cross-attention", "flava": "fusion, cross-attention"}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """How large a made-up study is."""

    subjects: int = 3
    each: int = 1  # electrodes per region and kind
    step: float = 0.1  # s between bins
    draws: int = 40
    bin_draws: int = 200


def config_with_integration(size: Size = Size(), **entry: Any) -> dict[str, Any]:
    """Study of the report's world with an integration, whose analyses are not fitted."""
    config = copy.deepcopy(CONFIG)
    config["datasets"]["treebank"] = {
        "root": "treebank", "kind": "ieeg", "subjects": subjects_of(size), "tasks": ["movie"],
        "validate": "skip", "preprocess": config["datasets"]["cinema_ieeg"]["preprocess"],
    }  # fmt: skip
    networks = [name for name, side in SEES.items() if side not in ("linear", "low-level")]
    for name in networks:
        seen = {"multimodal": "vision-language"}.get(SEES[name], SEES[name])
        config["registry"][name] = {
            "source": "transformers", "modality": seen, "licence": "MIT", "pooling": "mean",
            "objective": OBJECTIVES.get(name, "something unimodal"),
        }  # fmt: skip
    for analysis in ALIGNMENTS.values():
        config["analyses"][analysis] = copy.deepcopy(config["analyses"]["ieeg_film"]) | {
            "dataset": "treebank", "tasks": ["movie"], "fit": False, "models": networks,
            "untrained": networks, "compare": {},
            "design": {"kind": "event_locked", "tmin": -2.0, "tmax": 2.0, "window": 0.2,
                       "step": size.step},
            "combinations": {name: ["slip-simclr", "simcse"]
                             for name, side in SEES.items() if side == "linear"},
        }  # fmt: skip
    config["integrations"] = {
        NAME: {
            "alignments": ALIGNMENTS,
            "multimodal": [name for name, side in SEES.items() if side == "multimodal"],
            "unimodal": [n for n, side in SEES.items() if side in ("vision", "language")],
            "linear": ["concat", "multilin"],
            "matched": ["slip-combo", "slip-simclr"],
            "low_level": "loudness",
            "beyond_low_level": False,
            "pairs": {"contrast": ["slip-clip", "slip-simclr"]},
            "objectives": OBJECTIVES,
            "profiles": {"recommended": {}, "paper2024": {}},
            "settings": {"bin_draws": size.bin_draws, "draws": size.draws, "labellings": 5,
                         **({} if size.step < 0.05 else {"min_bins": 6, "block_bins": 2})},
        }
        | entry
    }  # fmt: skip
    return config


def subjects_of(size: Size) -> list[str]:
    """Labels of the subjects."""
    return [f"{number:02d}" for number in range(1, size.subjects + 1)]


def write_integration(root: Path, config: dict[str, Any], size: Size = Size()) -> None:
    """Write the tables of every profile of the integration, as the rules do."""
    entry = config["integrations"][NAME]
    roles = integration_roles(entry, config["analyses"], config["registry"])
    scores: dict[str, list[xr.Dataset]] = {name: [] for name in entry["alignments"]}
    tables: dict[tuple[str, str], list[Any]] = {}
    labels: dict[tuple[str, str], list[Any]] = {}
    for alignment in entry["alignments"]:
        for subject in subjects_of(size):
            drawn = {
                model: _bootstrap(model, alignment, subject, size)
                for model in integration_models(roles)
            }
            stack = stack_models({model: summarise_events(one) for model, one in drawn.items()})
            scores[alignment].append(stack)
            for profile in entry["profiles"]:
                params = integration_settings(entry, profile)
                tables.setdefault((profile, alignment), []).append(
                    compare_candidates(stack, roles, params, config["seed"], drawn)
                )
                labels.setdefault((profile, alignment), []).append(
                    relabel_candidates(stack, roles, params, config["seed"], drawn)
                )
    columns = integration_columns(list(entry["alignments"]))
    for profile in entry["profiles"]:
        params = integration_settings(entry, profile)
        compared = correct_comparisons(
            {name: tables[profile, name] for name in entry["alignments"]}, params
        )
        relabelled = {name: labels[profile, name] for name in entry["alignments"]}
        study = Study(scores, compared, roles, params, relabelled)
        made = {**integration_tables(study, config["seed"], 300), "comparisons": compared}
        for name, table in made.items():
            path = root / "integration" / NAME / profile / f"{name}.tsv"
            write_table(path, table, columns[name])


def write_space(root: Path, subject: str, space: str) -> None:
    """Write what the preprocessing records of a subject's coordinates."""
    signal = xr.DataArray(np.zeros((1, 1), np.float32), dims=("time", "target"), name="signal")
    signal.attrs["coordinate_system"] = space
    write_array(root / "clean" / "treebank" / f"sub-{subject}.nc", signal)


def _bootstrap(model: str, alignment: str, subject: str, size: Size) -> xr.Dataset:
    """Make up both scores of every replicate, of the targets of one subject."""
    untrained = model.endswith("_untrained")
    base = model.removesuffix("_untrained")
    times = np.round(np.arange(-2.0, 2.0 + size.step / 2, size.step), 6)
    course = np.exp(-0.5 * ((times - 0.4) / 0.45) ** 2)
    place = ("vision", "language", "linear", "multimodal", "low-level").index(SEES[base])
    dice = rng(5, "electrodes", subject)  # the same for all models
    rows = [
        (region, kind, np.array(centre) * [dice.choice([-1, 1]), 1, 1] + dice.normal(0, 5, 3),
         dice.lognormal(-0.1, 0.4), dice.random())
        for region, (centre, kinds) in REGIONS.items()
        for kind in kinds
        for _ in range(size.each)
    ]  # fmt: skip
    noise = rng(5, model, alignment, subject)
    level = np.array(
        [
            _level(kind, place, alignment, luck) * gain * QUALITY.get(base, 0.9)
            for _, kind, _, gain, luck in rows
        ]
    )
    level *= 0.12 if untrained else 1.0
    shape = (size.draws, len(rows), len(times))
    # what the noise of an electrode has in common over models, bins and replicates
    common = rng(5, "noise", alignment, subject).normal(0, 0.02, (2, len(rows), len(times)))
    sites = [f"LT{number}" for number in range(1, len(rows) + 1)]
    at = np.repeat(np.arange(len(rows)), len(times))
    xyz = np.array([where for _, _, where, _, _ in rows])
    xyz[np.array([region == "n/a" for region, *_ in rows])] = np.nan
    return xr.Dataset(
        {
            side: (
                ("draw", "target"),
                (
                    level[:, None] * course
                    + common[number]
                    + noise.normal(0, 0.01, (1, *shape[1:]))
                    + noise.normal(0, 0.015, (size.draws, len(rows), 1))
                    + noise.normal(0, 0.02, shape)
                ).reshape(size.draws, -1).astype(np.float32),
            )
            for number, side in enumerate(("validation", "test"))
        },
        {
            "target": [f"{sites[place]}@{time:+.3f}" for place, time in
                       zip(at, np.tile(times, len(rows)), strict=True)],
            "site": ("target", np.array(sites)[at]),
            "bin": ("target", np.tile(times, len(rows))),
            "region": ("target", np.array([region for region, *_ in rows])[at]),
            **{axis: ("target", xyz[at, number]) for number, axis in enumerate("xyz")},
        },
        {"subject": subject},
    )  # fmt: skip


def _level(kind: str, place: int, alignment: str, luck: float) -> float:
    """Score of a kind of model at the peak; some products are driven in one alignment only."""
    if kind == "product" and luck < 0.7 and (luck < 0.35) == (alignment == "language"):
        return DRIVEN["language" if alignment == "language" else "vision"][place] * 0.6
    return DRIVEN[kind][place] * (1.0 if alignment == "language" else 0.85)
