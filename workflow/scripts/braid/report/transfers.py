"""Scores of transfers by layer, region and time, as the figures take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from braid.config import transfer_models
from braid.report.results import Results

ALL = "all"
"""Name that the tables give to all regions together."""

MOST_REGIONS = 8
"""Regions that a layer profile shows."""


@dataclass(frozen=True)
class Profile:
    """Scores of one way of training and testing by layer.

    Attributes
    ----------
    train, test : str
        Analyses; the same where runs are left out within one.
    layers : tuple of str
        In the order of the network.
    subjects : tuple of str
    score, null_mean, null_sd, q : numpy.ndarray
        (subject, layer); mean Pearson r over the region's sites, its null, and q. NaN where there
        is none.
    chosen : numpy.ndarray of bool
        (subject, layer): the layer that the training folds choose.
    n_sites : int
        Sites over all subjects.
    """

    train: str
    test: str
    layers: tuple[str, ...]
    subjects: tuple[str, ...]
    score: np.ndarray
    null_mean: np.ndarray
    null_sd: np.ndarray
    q: np.ndarray
    chosen: np.ndarray
    n_sites: int

    @property
    def mean(self) -> np.ndarray:
        """Mean over the subjects that have a score, (layer,)."""
        return finite_mean(self.score)

    @property
    def band(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the null of one subject, mean -+ 1.96 sd, means over subjects, (layer,) each."""
        middle, sd = finite_mean(self.null_mean), finite_mean(self.null_sd)
        return middle - 1.96 * sd, middle + 1.96 * sd


def profile_of(
    results: Results, name: str, model: str, train: str, test: str, region: str = ALL
) -> Profile | None:
    """Scores of one transfer and model by layer; None if its matrix has no such rows."""
    table = results.transfer_matrix
    rows = table[
        (table["transfer"] == name) & (table["model"] == model) & (table["region"] == region)
        & (table["train"] == train) & (table["test"] == test)
    ]  # fmt: skip
    if rows.empty:
        return None
    layers, subjects = (tuple(dict.fromkeys(rows[key].astype(str))) for key in ("layer", "subject"))
    indexed = rows.drop_duplicates(["subject", "layer"]).set_index(["subject", "layer"])

    def wide(column: str) -> np.ndarray:
        values = pd.to_numeric(indexed[column], errors="coerce").unstack("layer")
        return values.reindex(index=subjects, columns=layers).to_numpy(float)

    n_sites = indexed["n_sites"].groupby("subject").max().sum()
    return Profile(
        train, test, layers, subjects,
        score=wide("score"), null_mean=wide("null_mean"), null_sd=wide("null_sd"), q=wide("q"),
        chosen=np.nan_to_num(wide("chosen")).astype(bool),
        n_sites=int(n_sites),
    )  # fmt: skip


def profiles_of(results: Results, name: str, model: str, region: str = ALL) -> dict[str, Profile]:
    """Profiles of a transfer: `across` the two, and within its `source` and its `target`.

    What its own matrix lacks is taken from that of another transfer with the same model, which
    tests the same analysis within itself.
    """
    entry = results.further("transfers")[name]
    found = {"across": profile_of(results, name, model, entry["source"], entry["target"], region)}
    others = [other for other in results.further("transfers") if other != name]
    for side in ("source", "target"):
        own = (
            profile_of(results, one, model, entry[side], entry[side], region)
            for one in (name, *others)
        )
        found[side] = next((profile for profile in own if profile is not None), None)
    return {key: profile for key, profile in found.items() if profile is not None}


def models_with_profiles(results: Results, name: str) -> list[str]:
    """Models of a transfer whose matrix has scores across its two analyses."""
    entry = results.further("transfers")[name]
    return [
        model
        for model in transfer_models(entry)
        if (across := profile_of(results, name, model, entry["source"], entry["target"]))
        and np.isfinite(across.score).any()
    ]


def regions_of(results: Results, name: str) -> list[str]:
    """Regions of a transfer's matrix, those with the most sites first."""
    entry = results.further("transfers")[name]
    table = results.transfer_matrix
    rows = table[
        (table["transfer"] == name) & ~table["region"].isin([ALL, "n/a"])
        & (table["train"] == entry["source"]) & (table["test"] == entry["target"])
    ]  # fmt: skip
    sizes = rows.groupby(["region", "subject"])["n_sites"].max().groupby("region").sum()
    return list(sizes.sort_values(ascending=False, kind="stable").index)


def groups_of(results: Results) -> dict[str, list[str]]:
    """Transfers between the same two analyses, either way: by the first, the names of all."""
    found: dict[frozenset[str], list[str]] = {}
    for name, entry in results.further("transfers").items():
        found.setdefault(frozenset((entry["source"], entry["target"])), []).append(name)
    return {names[0]: names for names in found.values()}


def between_times(results: Results) -> list[str]:
    """Transfers whose analyses have times: those of recordings of electrodes."""
    return [
        name
        for name, entry in results.further("transfers").items()
        if results.kind_of(entry["source"]) == results.kind_of(entry["target"]) == "ieeg"
    ]


def positions_of(profiles: Sequence[Profile]) -> list[np.ndarray]:
    """Places of each profile's layers on an axis that they share, as the first has them.

    Of two networks with as many layers each the layers face each other in order; the layers of a
    shorter or longer one are spread over the whole axis.
    """
    length = len(profiles[0].layers) - 1
    return [np.linspace(0, length, len(profile.layers)) for profile in profiles]


def finite_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is finite; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
