"""What the simulated integration study is made of: its film, recordings, features and designs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from braid.bids import index_dataset
from braid.common import progress, read_json, seed_for, write_json
from braid.config import Config, base_of, networks_of, prepare, read_yaml
from braid.features import FeatureStore, build_design, combine_designs, extract, load_features
from braid.models import load_model
from braid.preprocess import preprocess_ieeg
from braid.simulate import make_world, write_dataset
from braid.stimuli import events_of, responses_of, units_of

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
WORLD_SEED = 2024  # of the film, which all recordings share: features are extracted once


def read_study(results: Path, draws: int, untrained: bool = True) -> Config:
    """Read the study, complete, with its results in a folder and so many replicates of the events.

    Without `untrained` no untrained network is compared.
    """
    found = {**read_yaml(HERE / "study.yaml"), "results": str(results)}
    study = prepare(found, PROJECT / "workflow" / "schemas", "study.yaml")
    study["integrations"]["sites"]["settings"]["draws"] = draws
    if not untrained:
        for analysis in study["analyses"].values():
            analysis["untrained"] = []
    return study


def world_of(changes: Mapping[str, Any]) -> Config:
    """Give the demo's world with what differs in the larger one, and further changes."""
    spec = read_yaml(PROJECT / "resources" / "world.yaml")
    return merged(merged(spec, read_yaml(HERE / "world.yaml")), changes)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Config:
    """Copy of a mapping with changes at any depth; an empty one empties, null takes away."""
    found = copy.deepcopy(dict(base))
    for key, value in changes.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping) and value and key not in ("films", "stories"):
            found[key] = merged(found.get(key, {}), value)
        else:
            found[key] = copy.deepcopy(value)
    return found


def write_recordings(folder: Path, changes: Mapping[str, Any], seed: int) -> None:
    """Simulate a data set, `folder/bids`, and its truth, `folder/truth.tsv`."""
    spec = world_of(changes)
    world = make_world(spec, WORLD_SEED)
    write_dataset(world, spec, seed, folder / "bids", folder / "truth.tsv")


def extract_features(study: Config, root: Path, folder: Path) -> None:
    """Run every network of every analysis over the units that a data set's subjects were shown.

    Manifests lie in `folder/ANALYSIS/MODEL.json`, features in `folder/store`.
    """
    store = FeatureStore(folder / "store")
    dataset = study["datasets"]["cinema"]
    for name, analysis in study["analyses"].items():
        index = index_dataset("cinema", {**dataset, "root": str(root)})
        tables = [events_of(own, root, analysis["units"]) for _, own in index.groupby("subject")]
        units = units_of(tables)
        for model in progress(networks_of(analysis), f"features of {name}"):
            network = load_model(
                base_of(model),
                study["registry"][base_of(model)],
                untrained=model != base_of(model),
                seed=seed_for(study["seed"], "untrained", base_of(model)),
                device="cpu",
                offline=True,
            )
            write_json(folder / name / f"{model}.json", extract(network, units, root, store))


def subject_of(
    study: Config, root: Path, features: Path, subject: str
) -> dict[str, tuple[dict[str, xr.Dataset], xr.DataArray]]:
    """Designs by model, and responses, of one subject, by analysis."""
    dataset = {**study["datasets"]["cinema"], "root": str(root), "subjects": [subject]}
    index = index_dataset("cinema", dataset)
    signal = preprocess_ieeg(index, root, dataset["preprocess"]).signal
    store = FeatureStore(features / "store")
    found = {}
    for name, analysis in study["analyses"].items():
        events = events_of(index, root, analysis["units"])
        response, _ = responses_of(signal, events, analysis["design"])
        designs = {
            model: _design(features / name / f"{model}.json", store, events, response, analysis)
            for model in networks_of(analysis)
        }
        for combination, members in analysis["combinations"].items():
            designs[combination] = combine_designs({one: designs[one] for one in members})
        found[name] = designs, response
    return found


def _design(
    manifest: Path,
    store: FeatureStore,
    events: pd.DataFrame,
    response: xr.DataArray,
    analysis: Mapping[str, Any],
) -> xr.Dataset:
    """Design of one network."""
    features = load_features(read_json(manifest), store)
    return build_design(features, events, response, analysis["design"])
