"""Alignments, and the dimensions that two analyses share: what the page says of them."""

from __future__ import annotations

from typing import Any

from braid.report.further import unit_ends
from braid.report.results import Results
from braid.report.words import plural

SIDES = ("language", "vision")


def alignment_view(results: Results) -> dict[str, Any]:
    """Rows of all alignments of a study, and sentences on those that are not there.

    Returns
    -------
    dict
        `rows`: per alignment, pair, layers and direction, the columns of the table of its quality
        and the `alignment` and `pair`; `missing`.
    """
    rows: list[dict[str, Any]] = []
    missing: list[str] = []
    for name, entry in results.further("alignments").items():
        for pair, networks in entry["pairs"].items():
            table = results.alignments.get((name, pair))
            if table is None:
                missing.append(f"There is no result of the alignment {name} of the pair {pair}.")
                continue
            who = {side: networks[side] for side in SIDES}
            rows += [
                {"alignment": name, "pair": pair, "networks": who, **dict(row)}
                for _, row in table.iterrows()
            ]
    return {"rows": rows, "missing": missing}


def shared_view(results: Results, name: str) -> dict[str, Any]:
    """Tables of one analysis of shared components.

    Returns
    -------
    dict
        `name`, `reason` (a sentence if there is nothing to show, else None), `about` (sites,
        subjects, draws and the spatial null in words), `floor` (smallest possible p), `rows` (a
        dict per direction and component) and `ends` (by direction, lists of units).
    """
    entry = results.further("shared_components")[name]
    view: dict[str, Any] = {
        "name": name, "analyses": {side: entry[side] for side in SIDES}, "reason": None,
        "about": "", "floor": "", "rows": [], "ends": {},
    }  # fmt: skip
    table = results.shared.get(name)
    if table is None:
        return view | {"reason": f"There is no result of the shared components {name}."}
    if table.empty:
        return view | {
            "reason": f"Fewer than three sites are predicted in both {entry['language']} and "
            f"{entry['vision']}, so there are no shared components."
        }
    first = table.iloc[0]
    null = {
        "spin": "rotations of the surface",
        "spectral": "maps of the same smoothness",
        "none": "no null in space, for there are no positions",
    }[str(first["spatial"])]
    return view | {
        "about": f"{plural(int(first['n_sites']), 'site')} of "
        f"{plural(int(first['n_subjects']), 'subject')}; {plural(int(first['n_draws']), 'refit')}; "
        f"{null}",
        "floor": f"{1 / (int(first['n_draws']) + 1):.2g}",
        "rows": [dict(row) for _, row in table.iterrows()],
        "ends": {
            side: unit_ends(results.shared_units[name, side])
            for side in SIDES
            if (name, side) in results.shared_units
        },
    }


def shared_sentences(results: Results) -> list[str]:
    """Say how many dimensions two analyses share."""
    said = []
    for name, table in results.shared.items():
        entry = results.further("shared_components")[name]
        for side, part in table.groupby("direction", sort=False):
            found = int(part["significant"].sum())
            said.append(
                f"{name}: on {found} of {plural(len(part), 'component')} of the {side} model's "
                f"weights the models of {entry['language']} and {entry['vision']} agree over sites."
            )
    return said
