"""Further analyses: what the page says of transfers, components and probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from braid.config import transfer_models
from braid.report.results import Results
from braid.report.transfers import between_times, groups_of
from braid.report.words import listed, plural

MOST_COMPONENTS = 3
"""Components whose units the page lists; those of the others are in the table."""

MOST_TEXT = 80
"""Characters of a unit's text that the page shows; of a longer one it shows the end."""

RELATIVE = ("relative", "relative_low", "relative_high")
"""Columns of transfers on the relative score, across over within, and its interval."""

KEYS = ("alignments", "transfers", "components", "shared_components", "probes")
"""Keys of the config that name further analyses."""


def further_view(results: Results) -> dict[str, Any] | None:
    """Tables of the further analyses of a study; None if its config names none.

    Returns
    -------
    dict or None
        Keys `transfers` (with `names`, `rows`, `missing`; `scale`: that of the bars of relative
        scores, None without any; `groups`: transfers that stand for those between the same two
        analyses; `timed`: those between recordings of electrodes; and `electrodes`: whether any
        target is such a recording), `components` (one entry per name) and
        `probes` (with `names`, `rows`, `missing`).
    """
    if not any(results.further(key) for key in KEYS):
        return None
    transfers = transfer_rows(results)
    return {
        "transfers": {
            "names": list(results.further("transfers")),
            "rows": transfers,
            "scale": relative_scale(transfers),
            "groups": list(groups_of(results)),
            "timed": between_times(results),
            "missing": missing_transfers(results),
            "electrodes": any(
                results.kind_of(entry["target"]) == "ieeg"
                for entry in results.further("transfers").values()
            ),
        },
        "components": [component_view(results, name) for name in results.further("components")],
        "probes": {
            "names": list(results.further("probes")),
            "rows": probe_rows(results),
            "missing": [
                f"There is no result of the probe {name}."
                for name in results.further("probes")
                if name not in results.probes
            ],
        },
    }


def transfer_rows(results: Results) -> list[dict[str, Any]]:
    """Summarise each transfer by model, in the order of the config.

    Returns
    -------
    list of dict
        Keys `transfer`, `model`, `tuning` (of opposite sign, and what the score is worth then),
        `raw` (whether nothing is done about it), `subjects`, `sites` (matched), `significant`,
        `share`, `score` and `score_within`. These two are means over subjects of the mean over
        the sites that have both scores; NaN if none has. `relative`: median of what was reached
        across of what is reached within, over the sites that have it; `relative_low` and
        `relative_high`: medians of the ends of their intervals. NaN where the table has none.
    """
    rows = []
    for name, entry in results.further("transfers").items():
        parts = (
            (model, tuning, sites_of_transfer(results, name, model, tuning))
            for model in transfer_models(entry)
            for tuning in entry.get("tuning", ["none"])
        )
        for model, tuning, part in parts:
            if part.empty:
                continue
            means = _with_both(part).groupby("subject")[["score", "score_within"]].mean().mean()
            rows.append(
                {
                    "transfer": name,
                    "model": model,
                    "tuning": f"{tuning} ({part['worth'].iloc[0]})",
                    "raw": tuning == "none",
                    "subjects": int(part["subject"].nunique()),
                    "sites": len(part),
                    "significant": int(part["significant"].sum()),
                    "share": float(part["significant"].mean()),
                    "score": float(means["score"]),
                    "score_within": float(means["score_within"]),
                    **{key: _median(part, key) for key in RELATIVE},
                }
            )
    return rows


def relative_scale(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Give the ends of the scale of a table's relative scores; it holds 0 and 1."""
    known = [row[key] for row in rows for key in RELATIVE if np.isfinite(row[key])]
    return (min(0.0, *known), max(1.0, *known)) if known else None


def _median(sites: pd.DataFrame, column: str) -> float:
    """Median of the finite values of a column; NaN if it has none, or is absent."""
    if column not in sites:
        return float("nan")
    values = pd.to_numeric(sites[column], errors="coerce").to_numpy(float)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")


def sites_of_transfer(
    results: Results, name: str, model: str, tuning: str = "none"
) -> pd.DataFrame:
    """Rows of one transfer, model and option for tuning of opposite sign."""
    table = results.transfers
    chosen = (table["transfer"] == name) & (table["model"] == model)
    return table[chosen & (table["tuning"] == tuning)]


def points_of_transfer(results: Results, name: str, model: str) -> pd.DataFrame:
    """Rows of one transfer and model that have both scores."""
    return _with_both(sites_of_transfer(results, name, model))


def missing_transfers(results: Results) -> list[str]:
    """Name the results of transfers that are not there, a sentence per transfer and model.

    A subject is expected where both analyses have scores for it.
    """
    said = []
    for name, entry in results.further("transfers").items():
        expected = set(results.subjects(entry["source"])) & set(results.subjects(entry["target"]))
        for model in transfer_models(entry):
            found = set(sites_of_transfer(results, name, model)["subject"])
            absent = sorted(expected - found)
            if not found:
                said.append(f"There is no result of the transfer {name} with {model}.")
            elif absent:
                who = f"{'subject' if len(absent) == 1 else 'subjects'} {listed(absent)}"
                said.append(f"The transfer {name} with {model} has no result of {who}.")
    return said


def component_view(results: Results, name: str) -> dict[str, Any]:
    """Tables of one component analysis.

    Returns
    -------
    dict
        Keys `name`, `analysis`, `model`; `reason` (a sentence if there is nothing to show, else
        None); `about` (layer, sites and subjects in words), `floor` (smallest
        possible p), `rows`, `n_draws` and `ends` (of the
        first components: lists of units at the `top` and the `bottom`).
    """
    entry = results.further("components")[name]
    view: dict[str, Any] = {
        "name": name,
        "analysis": entry["analysis"],
        "model": entry["model"],
        "reason": None,
        "about": "",
        "floor": "",
        "rows": [],
        "ends": [],
        "missing": None,
    }
    table = results.components.get(name)
    if table is None:
        return view | {"reason": f"There is no result of the components {name}."}
    if table.empty:
        return view | {
            "reason": f"{entry['model']} predicts fewer than two significant sites of "
            f"{entry['analysis']} in the layer that suits all subjects, so there are no components."
        }
    first = table.iloc[0]
    units = results.component_units.get(name)
    return view | {
        "about": f"layer {first['layer']}; {plural(int(first['n_sites']), 'site')} of "
        f"{plural(int(first['n_subjects']), 'subject')}; {plural(int(first['n_draws']), 'draw')}",
        "floor": f"{1 / (int(first['n_draws']) + 1):.2g}",
        "rows": component_rows(table),
        "ends": [] if units is None else unit_ends(units),
        "missing": f"There is no table of the units at the ends of the components {name}."
        if units is None
        else None,
    }


def component_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """List the components; shares are of 1."""
    return [
        {
            "component": int(row["component"]),
            **{
                key: float(row[key]) for key in ("share", "null_mean", "null_sd", "p", "loso_share")
            },
        }
        for row in table.to_dict("records")
    ]


def unit_ends(units: pd.DataFrame) -> list[dict[str, Any]]:
    """List the units at both ends of the first components, the most extreme one first."""
    several = units["stimulus"].nunique() > 1
    rows = []
    for number, part in units.groupby("component", sort=True):
        ordered = part.sort_values("rank", kind="stable").to_dict("records")
        rows.append(
            {
                "component": int(str(number)),
                **{
                    end: [unit_text(unit, several) for unit in ordered if unit["end"] == end]
                    for end in ("top", "bottom")
                },
            }
        )
    return rows[:MOST_COMPONENTS]


def unit_text(unit: Mapping[Any, Any], several: bool) -> str:
    """Write a unit as its text and its time, with its stimulus if there are several."""
    text = "" if pd.isna(unit["text"]) else str(unit["text"]).strip()
    if len(text) > MOST_TEXT:
        text = "…" + text[-MOST_TEXT:].lstrip()
    place = [] if pd.isna(unit["time"]) else [f"{float(unit['time']):.1f} s"]
    if several and not pd.isna(unit["stimulus"]):
        place.insert(0, PurePosixPath(str(unit["stimulus"])).stem)
    where = ", ".join(place)
    if text and where:
        return f"{text} ({where})"
    return text or where or "n/a"


def probe_rows(results: Results) -> list[dict[str, Any]]:
    """List the networks that were probed, trained and untrained, in the order of the config."""
    rows = []
    for name, table in results.probes.items():
        for row in table.to_dict("records"):
            rows.append(
                {
                    "probe": name,
                    "model": str(row["model"]),
                    "weights": str(row["weights"]),
                    "units": int(row["n_units"]),
                    **{
                        key: float(row[key])
                        for key in ("score_true", "score_shifted", "effect", "share_higher", "p")
                    },
                    "draws": int(row["n_draws"]),
                }
            )
    return rows


def _with_both(sites: pd.DataFrame) -> pd.DataFrame:
    """Rows whose score and score within the target are both finite."""
    values = sites[["score", "score_within"]].apply(pd.to_numeric, errors="coerce")
    finite = np.isfinite(values.to_numpy(float)).all(axis=1)
    return sites.assign(**{str(key): values[key] for key in values})[finite]
