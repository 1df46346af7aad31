"""Tables of integration sites on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from braid.report.integration import (
    KEYS,
    SIDES,
    Integration,
    about,
    count_cell,
    dataset_of,
    group_cell,
    integrations_of,
    label_rows,
    place_note,
    short_answer,
)
from braid.report.results import Results
from braid.report.summary import least_hits
from braid.report.words import capital, listed, number, plural, with_twins

MOST_ELECTRODES = 60
"""Electrodes that the table of those that pass lists."""


_CHECKED = {
    "over low-level": "Over low-level: of those that pass, the ones where the best multimodal "
    "model also beats low-level features.",
    "beyond low-level": "Beyond low-level: of those that pass, the ones where the best multimodal "
    "model also beats the best unimodal one with low-level features beside those of both.",
}
"""What the counts of a check are."""


def integration_views(results: Results) -> list[dict[str, Any]]:
    """Tables of every integration of a study, in the order of the config."""
    return [integration_view(results, name) for name in results.further("integrations")]


def integration_view(results: Results, name: str) -> dict[str, Any]:
    """Tables of one integration.

    Returns
    -------
    dict
        `name`, `missing` (sentences on what is not there), `found` (whether there is anything to
        show) and, where there is: `intro`, `profile` (whose figures are shown), `profiles`,
        `sentences`, `place_note`, `scopes`, `calls`, `group`, `labels` (rows), `agreements`
        (see there), `checks` (sentences), `finest` (a sentence), `differences` (a sentence),
        `comparisons`, `models`, `objectives`, `subjects`, `electrodes` (rows), `more` (electrodes
        that pass and are not listed), `alone` (what a twin without enough bins means here).
    """
    every = integrations_of(results, name)
    here = [one for one in every if one.complete]
    view: dict[str, Any] = {
        "name": name,
        "found": bool(here),
        "missing": [
            f"There is no result of the integration {name} with the profile {one.profile}."
            for one in every
            if not one.complete
        ],
    }
    if not here:
        return view
    first = here[0]
    passing = electrode_rows(first)
    return view | {
        "intro": _intro(results, first),
        "profile": first.profile,
        "profiles": [one.profile for one in here],
        "tests": first.tests,
        "sentences": [capital(text) for text in short_answer(results, name, in_full=True)],
        "place_note": place_note(results, first),
        "scopes": [(scope, _scope_label(first, scope)) for scope in first.scopes],
        "calls": _by_scope(here, count_cell),
        "checks": [
            said
            for check, said in _CHECKED.items()
            if check in count_cell(first, first.tests[0], "weak")["checks"]
        ],
        "group": _by_scope(here, group_cell),
        "labels": [
            {"profile": one.profile, "label": _scope_label(one, scope)} | row
            for one in here
            for scope, row in label_rows(one).items()
        ],
        "agreements": agreements(here),
        "finest": finest(first),
        "differences": differences_of(here),
        "comparisons": [row for one in here for row in other_comparisons(one)],
        "models": models_by_alignment(first),
        "alone": {
            "tested": "these are among those compared",
            "apart": "these were not compared",
        }[first.settings["defaults"]],
        "objectives": table_rows(first, "objectives"),
        "subjects": subject_rows(first),
        "electrodes": passing[:MOST_ELECTRODES],
        "more": max(0, len(passing) - MOST_ELECTRODES),
    }


def _intro(results: Results, one: Integration) -> str:
    """Say what events are, and what profiles there are."""
    sees = [
        f"{alignment} (events of analysis {analysis})"
        for alignment, analysis in one.entry["alignments"].items()
    ]
    dataset = dataset_of(results, one)
    sites = one.tables["sites"]
    return (
        f"{plural(len(sites), 'electrode')} of "
        f"{plural(sites['subject'].nunique(), 'subject')} of data set {dataset}, tested in "
        f"{plural(len(sees), 'alignment')}: {listed(sees)}."
    )


def _scope_label(one: Integration, scope: str) -> str:
    """Head a column with a scope."""
    every = "both" if len(one.alignments) == 2 else "all"
    return {"weak": "Weak: any", "strict": f"Strict: {every}"}.get(scope, capital(scope))


def _by_scope(
    here: Sequence[Integration], cell: Callable[[Integration, str, str], Any]
) -> list[dict[str, Any]]:
    """One row per test and profile, with a cell for each scope."""
    return [
        {
            "test": test,
            "about": about(one, test),
            "profile": one.profile,
            "first": place == 0,
            "cells": [cell(one, test, scope) for scope in one.scopes],
        }
        for test in here[0].tests
        for place, one in enumerate(here)
    ]


def agreements(here: Sequence[Integration]) -> list[dict[str, Any]]:
    """Count the electrodes that two profiles both call, or only one of them.

    Returns
    -------
    list of dict
        One per pair of profiles: `a`, `b`, and `rows`, one per test and scope, with `calls_a`,
        `calls_b`, `both`, `only_a`, `only_b`, `neither`. An electrode that a profile lacks is not
        called by it.
    """
    return [
        {
            "a": a.profile,
            "b": b.profile,
            "rows": [
                _agreement(a, b, test, scope)
                for test in a.tests
                if test in b.tests
                for scope in a.scopes
            ],
        }
        for a, b in combinations(here, 2)
    ]


def _agreement(a: Integration, b: Integration, test: str, scope: str) -> dict[str, Any]:
    """Compare the calls of two profiles in one test and scope."""
    first, second = (_called(one, test, scope) for one in (a, b))
    every = {tuple(key) for one in (a, b) for key in one.tables["sites"][KEYS].to_numpy().tolist()}
    return {
        "test": test,
        "label": _scope_label(a, scope),
        "calls_a": len(first),
        "calls_b": len(second),
        "both": len(first & second),
        "only_a": len(first - second),
        "only_b": len(second - first),
        "neither": len(every - first - second),
    }


def finest(one: Integration) -> str:
    """Say how many electrodes must have the smallest possible p before any is called.

    Empty where a single one is enough.
    """
    table = one.tables.get("comparisons", pd.DataFrame(columns=["comparison", "p"]))
    asked = [*one.tests, *(f"over_{model}" for model in one.roles["linear"])]
    counts = table[table["comparison"].isin(asked)].groupby("comparison")["p"].count()
    if counts.empty or not counts.max():
        return ""
    draws, level = int(one.settings["bin_draws"]), float(one.settings["q"])
    floor = 1 / (draws + 1)
    least = least_hits(floor, [int(counts.max())], level)
    if least < 2:
        return ""
    said = (
        f"With {draws:,} draws of bins no p is below {number(floor, 4)}. A comparison is made at "
        f"up to {counts.max():,} electrodes, those of all alignments together; "
    )
    if least > counts.max():
        said += f"none of them can be called at a false discovery rate of {level:g}, however clear."
    else:
        said += (
            f"at least {least} of them must reach that p before any is called at a false discovery "
            f"rate of {level:g}; fewer cannot be, however clear they are."
        )
    return f"{said} More draws (bin_draws) lower this number."


def _called(one: Integration, test: str, scope: str) -> set[tuple[str, str]]:
    """Electrodes that pass, as (subject, site)."""
    return set(map(tuple, one.tables["sites"].loc[one.calls(test, scope), KEYS].to_numpy()))


_DIFFERENCES: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "embargo": ("what is dropped around held-out events", lambda p: f"{p['embargo']:g} s"),
    "bins": (
        "the bins on which two models are compared",
        lambda p: {"union": "those that either keeps", "own": "each its own"}[p["bins"]],
    ),
    "defaults": (
        "a model that alone has enough bins",
        lambda p: {"tested": "tested like the rest", "apart": "wins by default, apart"}[
            p["defaults"]
        ],
    ),
    "resample": (
        "how bins are drawn",
        lambda p: (
            "one by one" if p["resample"] == "iid" else f"in blocks of {p['block_bins']:g} bins"
        ),
    ),
    "events": (
        "what each draw of bins sees",
        lambda p: {
            "resampled": "another replicate of the events",
            "fixed": "the mean over replicates",
        }[p["events"]],
    ),
    "bin_filter": (
        "how a bin comes to count",
        lambda p: {
            "boot_ci": "validation interval above 0",
            "perm_fdr": "permutation test",
        }[p["bin_filter"]],
    ),
    "equalise": (
        "a side with more models",
        lambda p: "scored as the best of as many as the other" if p["equalise"] else "as it is",
    ),
    "labellings": (
        "models relabelled at random as a null",
        lambda p: f"{p['labellings']:,} times" if p["labellings"] else "not",
    ),
    "fdr_order": (
        "the electrodes over which false discoveries are controlled",
        lambda p: {
            "after_nobs": "those with enough bins",
            "before_nobs": "all with anything to compare",
        }[p["fdr_order"]],
    ),
}
"""What a setting is, and how its value reads."""


def differences_of(here: Sequence[Integration]) -> str:
    """Say in one sentence what the profiles of an integration differ in; empty if in nothing."""
    if len(here) < 2:
        return ""
    said = []
    for key in here[0].settings:
        if len({repr(one.settings[key]) for one in here}) < 2:
            continue
        what, how = _DIFFERENCES.get(key, (key.replace("_", " "), None))
        values = [
            f"{one.profile}: {how(one.settings) if how else _plain_value(one.settings[key])}"
            for one in here
        ]
        said.append(f"{what} ({'; '.join(values)})")
    if not said:
        return "The profiles do not differ in any setting."
    return f"The profiles differ in {listed(said)}."


def _plain_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return str(value)


def other_comparisons(one: Integration) -> list[dict[str, Any]]:
    """Sum up every comparison of models but those with untrained twins, by alignment.

    Returns
    -------
    list of dict
        `profile`, `alignment`, `comparison`, `sites`, `tested` (both models have enough bins),
        `default_a`, `default_b` (one alone has), `significant`, `effect` (mean over electrodes
        that were tested).
    """
    table = one.tables.get("comparisons")
    if table is None:
        return []
    rows = []
    keys = ["comparison", "alignment"]
    for (comparison, alignment), part in table.groupby(keys, sort=False):
        if comparison in {"trained", "untrained"}:
            continue
        status = part["status"].value_counts()
        tested = part[part["status"] == "tested"]
        rows.append(
            {
                "profile": one.profile,
                "comparison": comparison,
                "alignment": alignment,
                "sites": len(part),
                **{key: int(status.get(key, 0)) for key in ("tested", "default_a", "default_b")},
                "significant": int(part["significant"].sum()),
                "effect": float(tested["effect"].mean()) if len(tested) else math.nan,
            }
        )
    return rows


def table_rows(one: Integration, table: str) -> list[dict[str, Any]]:
    """List the rows of one of the tables as they are; none if it is absent."""
    found = one.tables.get(table)
    return [] if found is None else [dict(row) for _, row in found.iterrows()]


def models_by_alignment(one: Integration) -> list[tuple[str, list[dict[str, Any]]]]:
    """Give the rows of the table of models of each alignment, twins after their models.

    `twin` says that a row is of an untrained twin, `has_twin` that the model has one.
    """
    twins = one.roles["untrained"]
    rows = [
        row
        | {
            "twin": row["model"] in twins.values(),
            "has_twin": row["model"] in twins,
            "side": row["side"] if row["side"] in SIDES else "",
        }
        for row in table_rows(one, "models")
    ]
    order = with_twins(list(dict.fromkeys(row["model"] for row in rows)))
    rows.sort(key=lambda row: order.index(row["model"]))
    found = [(name, [row for row in rows if row["alignment"] == name]) for name in one.alignments]
    return [(name, some) for name, some in found if some]


def subject_rows(one: Integration) -> list[dict[str, Any]]:
    """Count the electrodes that pass in each subject, weak and strict, a cell per test."""
    table = one.tables.get("subjects")
    if table is None:
        return []
    wide = table.set_index(["subject", "test", "scope"])["n_passes"]
    rows = []
    for subject, part in table.groupby("subject", sort=True):
        cells = [
            [int(wide.get((subject, test, scope), 0)) for scope in one.decisions]
            for test in one.tests
        ]
        rows.append({"subject": subject, "sites": int(part["n_sites"].iloc[0]), "cells": cells})
    return rows


@dataclass(frozen=True)
class Passed:
    """What one electrode passes of one test.

    Attributes
    ----------
    where : str
        Alignments in which it passes, `all` if it does in all; empty if in none.
    strict : bool
    effect : float
        Largest difference in test r among them; NaN if in none.
    """

    where: str
    strict: bool
    effect: float


def electrode_rows(one: Integration) -> list[dict[str, Any]]:
    """List the electrodes that pass any test, those that pass most first.

    Returns
    -------
    list of dict
        `subject`, `site`, `region`, and `cells`, a `Passed` per test; by the number of strict
        tests passed, then of any, then by the largest effect.
    """
    sites = one.tables["sites"]
    found = {test: _passed(one, test) for test in one.tests}
    rows = []
    for place, site in enumerate(sites[[*KEYS, "region"]].to_dict("records")):
        cells = [found[test][place] for test in one.tests]
        if any(cell.where for cell in cells):
            rows.append({str(key): site[key] for key in site} | {"cells": cells})
    return sorted(rows, key=lambda row: _order(row["cells"]))


def _passed(one: Integration, test: str) -> list[Passed]:
    """Say of every electrode what it passes of one test."""
    calls = {scope: one.calls(test, scope).to_numpy(bool) for scope in one.scopes}
    sites = one.tables["sites"]
    effects = {
        name: sites.get(f"{test}_{name}_effect", pd.Series(np.nan, sites.index)).to_numpy(float)
        for name in one.alignments
    }
    rows = []
    for place in range(len(sites)):
        where = [name for name in one.alignments if calls[name][place]]
        strict = "strict" in calls and bool(calls["strict"][place])
        effect = max((effects[name][place] for name in where), default=math.nan)
        rows.append(Passed("all" if strict else listed(where), strict, float(effect)))
    return rows


def _order(cells: Sequence[Passed]) -> tuple[int, int, float]:
    """Give what rows are sorted by: the electrodes that pass most first."""
    return (
        -sum(cell.strict for cell in cells),
        -sum(bool(cell.where) for cell in cells),
        -max(cell.effect for cell in cells if cell.where),
    )
