"""Integration sites: what the page says of the integration tests, from their tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braid.config import integration_models, integration_roles, integration_settings
from braid.report.results import Results, flags
from braid.report.words import listed, p_value, plural, with_twins

ABOUT = {
    "multimodal": "the best multimodal model beats the best unimodal one",
    "matched": "of two models of one architecture, the one trained with language is better",
    "nonlinear": "the best multimodal model beats every linear combination of the two senses",
}
"""What each test asks."""

CHECKS = {"over_low_level": "over low-level", "beyond_low_level": "beyond low-level"}
"""What low-level features would not pass, and how the page calls it."""

SCOPES = ("weak", "strict")
"""Passed in any alignment, passed in all of them."""

SIDES = ("multimodal", "unimodal", "linear")
"""Roles of models that are compared."""

KEYS = ["subject", "site"]
"""Columns that name an electrode."""


@dataclass(frozen=True)
class Integration:
    """One integration of the config under one profile, and its tables.

    Attributes
    ----------
    name, profile : str
    entry : mapping
        Its entry in the config.
    tables : dict of str to pandas.DataFrame
        Those that are there, by name.
    roles, settings : mapping
        Models by role, and the settings of the profile with what the study changes.
    """

    name: str
    profile: str
    entry: Mapping[str, Any]
    tables: dict[str, pd.DataFrame]
    roles: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def alignments(self) -> list[str]:
        """Names of the alignments, in the order of the config."""
        return list(self.entry["alignments"])

    @property
    def scopes(self) -> list[str]:
        """Alignments, then weak and, with two alignments or more, strict."""
        return [*self.alignments, *self.decisions]

    @property
    def decisions(self) -> list[str]:
        """What is decided over alignments: `weak` and, with two alignments or more, `strict`."""
        return list(SCOPES if len(self.alignments) > 1 else SCOPES[:1])

    @property
    def tests(self) -> list[str]:
        """Tests that were made, in the order of the table of counts."""
        return list(dict.fromkeys(self.tables["counts"]["test"])) if self.complete else []

    @property
    def complete(self) -> bool:
        """Whether the tables are there without which there is nothing to say."""
        return {"sites", "counts"} <= self.tables.keys()

    def calls(self, test: str, scope: str) -> pd.Series:
        """Whether each electrode passes a test, in the order of the table of sites."""
        return self.flag(f"{test}_{scope}")

    def flag(self, column: str) -> pd.Series:
        """Read a column of truth values of the table of sites; one that is absent is false."""
        sites = self.tables["sites"]
        if column not in sites:
            return pd.Series(False, index=sites.index)
        return flags(sites[column])


def integrations_of(results: Results, name: str) -> list[Integration]:
    """Give an integration under each of its profiles, the first one first."""
    entry = results.further("integrations")[name]
    roles = integration_roles(entry, results.config["analyses"], results.config.get("registry", {}))
    return [
        Integration(
            name,
            profile,
            entry,
            results.integrations.get((name, profile), {}),
            roles,
            integration_settings(entry, profile),
        )
        for profile in entry["profiles"]
    ]


def headline_of(results: Results, name: str) -> Integration | None:
    """Give an integration under the first profile that has results; None if none has."""
    return next((one for one in integrations_of(results, name) if one.complete), None)


def models_of_integrations(results: Results) -> list[str]:
    """Models that the integrations of a study compare, in the order of its roles."""
    found = [
        model
        for name in results.further("integrations")
        for one in integrations_of(results, name)[:1]
        for model in integration_models(one.roles)
    ]
    return with_twins(list(dict.fromkeys(found)))


# sentences ----------------------------------------------------------------------------------------


def integration_sentences(results: Results) -> list[str]:
    """Say for the page's answer in short how many electrodes pass, weak beside strict."""
    return [
        f"{name}: {sentence}"
        for name in results.further("integrations")
        for sentence in short_answer(results, name)
    ]


def short_answer(results: Results, name: str, in_full: bool = False) -> list[str]:
    """Say how many electrodes pass each test of an integration, one entry per test.

    `in_full` adds the share at a typical subject, the labels, and the checks of low-level features.
    """
    here = [one for one in integrations_of(results, name) if one.complete]
    if not here:
        return ["there are no results of these tests."]
    said = [_test_sentences(here[0], test, in_full) for test in here[0].tests]
    said += [
        f"with the profile {other.profile} instead of {here[0].profile}: {_counts_in_short(other)}."
        for other in here[1:]
    ]
    if len(here[0].alignments) < 2:
        said.append("there is one alignment, so that no test can be strict.")
    return said


def _test_sentences(one: Integration, test: str, in_full: bool) -> str:
    """Say of one test how many electrodes pass, weak beside strict, with the intervals."""
    cells = {scope: count_cell(one, test, scope) for scope in one.decisions}
    groups = {scope: group_cell(one, test, scope) for scope in one.decisions}
    total = plural(next(iter(cells.values()))["sites"], "electrode")
    counts = [f"{scope} {cell['passes']:,} ({share_text(cell)})" for scope, cell in cells.items()]
    said = f"{test} test ({about(one, test)}): of {total}, {' and '.join(counts)} pass."
    means = [f"{scope} {cell['mean']}" for scope, cell in groups.items() if cell]
    if means:
        subjects = plural(max(cell["n_subjects"] for cell in groups.values() if cell), "subject")
        said += f" Mean over {subjects}: {', '.join(means)}"
        typical = [f"{scope} {cell['mixed']}" for scope, cell in groups.items() if cell]
        said += f"; at a typical one (mixed model): {', '.join(typical)}." if in_full else "."
    if in_full and test == "multimodal" and (null := label_rows(one)):
        drawn = [
            f"{scope} {null[scope]['mean']:.1f} ({p_value(null[scope]['p'])})"
            for scope in one.decisions
            if scope in null
        ]
        said += f" Under other labels of the same networks pass on average: {', '.join(drawn)}."
    for check in next(iter(cells.values()))["checks"] if in_full else ():
        counts = [f"{scope} {cell['checks'].get(check, 0):,}" for scope, cell in cells.items()]
        said += f" Of those that pass also {check} features: {', '.join(counts)}."
    default = [f"{scope} {cell['by_default']:,}" for scope, cell in cells.items()]
    return f"{said} Further wins by default, not counted: {', '.join(default)}."


def _counts_in_short(one: Integration) -> str:
    """Count what passes each test, weak beside strict, in one clause."""
    parts = []
    for test in one.tests:
        cells = {scope: count_cell(one, test, scope) for scope in one.decisions}
        counts = [f"{scope} {cell['passes']:,}" for scope, cell in cells.items()]
        default = [f"{cell['by_default']:,}" for cell in cells.values()]
        parts.append(f"{test} {', '.join(counts)} (further by default {', '.join(default)})")
    return "; ".join(parts)


def about(one: Integration, test: str) -> str:
    """Say what a test asks, with the names of the matched pair."""
    if test == "matched" and one.roles.get("matched"):
        return f"{one.roles['matched'][0]} beats {one.roles['matched'][1]}"
    return ABOUT.get(test, test)


def share_text(cell: Mapping[str, Any]) -> str:
    """Write a share with its Wilson interval."""
    return interval_text(cell, "share", "low", "high")


def interval_text(row: Mapping[str, Any], mean: str, low: str, high: str) -> str:
    """Write a share and the ends of its interval in percent, one decimal each."""
    if not math.isfinite(row[mean]):
        return "n/a"
    text = f"{100 * row[mean]:.1f} %"
    if math.isfinite(row[low]) and math.isfinite(row[high]):
        text += f" [{100 * row[low]:.1f}, {100 * row[high]:.1f}]"
    return text


# counts -----------------------------------------------------------------------------------------


def count_cell(one: Integration, test: str, scope: str) -> dict[str, Any]:
    """Electrodes that pass a test.

    Returns
    -------
    dict
        `passes`, `sites`, `share`, `low`, `high`; `checks`: of those that pass, by check of
        low-level features that was made, those that pass it too; `by_default`: further electrodes
        that would pass if every win by default counted; `on_default`: of those that pass, the ones
        that would not without electrodes where one side alone has enough bins.
    """
    table = one.tables["counts"]
    row = table[(table["test"] == test) & (table["scope"] == scope)]
    if row.empty:
        return (
            dict.fromkeys(("passes", "sites", "by_default", "on_default"), 0)
            | dict.fromkeys(("share", "low", "high"), math.nan)
            | {"checks": {}}
        )
    found = row.iloc[0]
    return {
        "passes": int(found["n_passes"]),
        "sites": int(found["n_sites"]),
        "by_default": int(found["n_default"]),
        "checks": {
            said: int(count)
            for check, said in CHECKS.items()
            if np.isfinite(count := _number(found.get(f"n_{check}")))
        },
        "on_default": int((one.calls(test, scope) & ~_without_defaults(one, test, scope)).sum()),
        **{key: float(found[key]) for key in ("share", "low", "high")},
    }


def _number(value: Any) -> float:
    """Read a number that may be missing, or `n/a`."""
    return float(pd.to_numeric(value, errors="coerce")) if value is not None else math.nan


def label_rows(one: Integration) -> dict[str, dict[str, float]]:
    """Give by scope how many electrodes pass the multimodal test under other labels of its models.

    Returns
    -------
    dict of str to dict
        `passes`, `mean`, `high` (95th percentile), `labellings`, `p`; nothing where models were
        not relabelled.
    """
    table = one.tables.get("labels", pd.DataFrame(columns=["n_labellings"]))
    return {
        str(row["scope"]): {
            "passes": int(row["n_passes"]),
            "mean": float(row["null_mean"]),
            "high": float(row["null_high"]),
            "labellings": int(row["n_labellings"]),
            "p": float(row["p"]),
        }
        for _, row in table[table["n_labellings"] > 0].iterrows()
    }


def _without_defaults(one: Integration, test: str, scope: str) -> pd.Series:
    """Whether each electrode passes where both sides have enough bins."""
    sites = one.tables["sites"]
    tested = []
    for alignment in one.alignments:
        status = sites.get(f"{test}_{alignment}_status", pd.Series("n/a", index=sites.index))
        tested.append((one.calls(test, alignment) & (status == "tested")).to_numpy(bool))
    if scope in SCOPES:
        found = np.any(tested, axis=0) if scope == "weak" else np.all(tested, axis=0)
    else:
        found = tested[one.alignments.index(scope)]
    return pd.Series(found, index=sites.index)


def group_cell(one: Integration, test: str, scope: str) -> dict[str, Any] | None:
    """Share of electrodes that pass with subjects as a random effect; None without the table."""
    table = one.tables.get("group", pd.DataFrame(columns=["test", "scope"]))
    row = table[(table["test"] == test) & (table["scope"] == scope)]
    if row.empty:
        return None
    found = row.iloc[0]
    cell: dict[str, Any] = {
        key: float(found[key])
        for key in ("share", "low", "high", "mixed_share", "mixed_low", "mixed_high")
    }
    if not cell["low"] < cell["high"]:
        # where no electrode passes, or all do, draws of them have no spread
        cell |= {"low": math.nan, "high": math.nan}
    return cell | {
        "n_subjects": int(found["n_subjects"]),
        "mean": interval_text(cell, "share", "low", "high"),
        "mixed": interval_text(cell, "mixed_share", "mixed_low", "mixed_high"),
    }


# places -------------------------------------------------------------------------------------------


def space_known(results: Results, one: Integration) -> bool:
    """Tell whether the preprocessing recorded in which space all coordinates are."""
    spaces = results.coordinate_systems(dataset_of(results, one))
    return bool(spaces) and not {"n/a", "Other"} & set(spaces)


def space_sentence(results: Results, one: Integration, outlined: bool) -> str:
    """Say in which space the coordinates of the electrodes are, and what an outline is worth."""
    dataset = dataset_of(results, one)
    spaces = results.coordinate_systems(dataset)
    if not space_known(results, one):
        said = f"The data set {dataset} does not say in which space its coordinates are"
        return said + ("; the outline is for orientation only." if outlined else ".")
    said = f"The coordinates of {dataset} are in {listed(spaces)}"
    if not outlined:
        return f"{said}."
    if all(space.startswith(("MNI", "ICBM")) for space in spaces):
        return f"{said}, and the outline is that of the MNI152 template."
    return f"{said}; the outline, MNI152, is for orientation only."


def place_note(results: Results, one: Integration) -> str:
    """Warn of coordinates that are absent, or of unknown space; empty if there is no need."""
    xyz = one.tables["sites"][["x", "y", "z"]].astype(float)
    placed = np.isfinite(xyz).all(axis=1)
    if not placed.any() or space_known(results, one):
        return ""
    return space_sentence(results, one, outlined=False) + (
        " Nothing here depends on it but the map."
    )


def dataset_of(results: Results, one: Integration) -> str:
    """Name the data set of an integration's analyses, which they share."""
    return results.dataset_of(next(iter(one.entry["alignments"].values())))


def key_rows(results: Results) -> dict[str, Any]:
    """Give the counts of all integrations and profiles, for programs."""
    return {
        name: {
            one.profile: [
                {"test": test, "scope": scope} | count_cell(one, test, scope)
                for test in one.tests
                for scope in one.scopes
            ]
            for one in integrations_of(results, name)
        }
        for name in results.further("integrations")
    }
