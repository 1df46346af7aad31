"""What the page says of clocks and of ceilings: scans of lags, slice times, repeated runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from braid.report.results import Results
from braid.report.words import listed, score

_SHIFT = "slice time shift"
_LIMIT = 0.25  # of a repetition time: shifts above it are told of; slices cannot shift by over half


def timing_notes(results: Results) -> list[str]:
    """Sentences on the scans of lags: at which lag each subject's score is highest."""
    table = results.timing.assign(score=pd.to_numeric(results.timing["score"], errors="coerce"))
    notes, elsewhere = [], False
    for analysis, part in table.groupby("analysis", sort=False):
        told, here = [], 0
        for subject, scan in part.groupby("subject", sort=False):
            known = scan.dropna(subset=["score"]).set_index("lag")["score"]
            if known.empty or 0 not in known.index:
                continue
            lag = int(np.asarray(known.index)[int(known.argmax())])
            if lag == 0:
                here += 1
            else:
                what = f"at lag {lag:+d} in sub-{subject} (r = {score(known[lag])}, "
                told.append(f"{what}{score(known[0])} at lag 0)")
        if here:
            told.insert(0, f"at lag 0 in {here} of {part['subject'].nunique()} subjects")
        if told:
            notes.append(f"{analysis}: the score is highest {listed(told)}.")
        elsewhere |= len(told) > bool(here)
    if elsewhere:
        notes.append(
            "With several delays scores are level around lag 0, and a peak beside it can be "
            "chance. A peak further away, or the same one in all subjects, asks for a look at "
            "onsets, and at volumes that were cut off at the start."
        )
    return notes


def slice_notes(results: Results) -> list[str]:
    """Sentences on data sets whose slices were acquired far from the middle of the volume."""
    notes = []
    found = results.quality[results.quality["measure"] == _SHIFT]
    for name in results.datasets:
        if results.config["datasets"][name]["kind"] != "bold":
            continue
        shift = pd.to_numeric(found.loc[found["dataset"] == name, "value"], errors="coerce")
        index = results.index.get(name)
        if shift.dropna().empty:
            notes.append(f"{name}: its sidecars do not tell when slices were acquired.")
        elif index is not None and "repetition_time" in index:
            tr = float(index["repetition_time"].iloc[0])
            known = shift.dropna().to_numpy(dtype=float)
            worst = float(known[np.argmax(np.abs(known))])
            if abs(worst) > _LIMIT * tr:
                notes.append(
                    f"{name}: slices were acquired up to {abs(worst):.2f} s "
                    f"{'before' if worst < 0 else 'after'} the middle of the volume (mean over "
                    f"slices; TR {tr:g} s), where responses are placed. Correct slice times to "
                    "the middle of the volume."
                )
    return notes


def ceiling_rows(results: Results) -> list[dict[str, Any]]:
    """Ceilings and normalised scores of the significant sites, by analysis and model."""
    sites = results.sites
    if "ceiling" not in sites:
        return []
    sites = sites.assign(
        **{name: pd.to_numeric(sites[name], errors="coerce") for name in ("ceiling", "normalised")}
    )
    rows = []
    known = sites[sites["ceiling"].notna()]
    for (analysis, model), part in known.groupby(["analysis", "model"], sort=False):
        hit = part[part["significant"].astype(bool)]
        rows.append(
            {
                "analysis": analysis,
                "model": model,
                "sites": len(hit),
                "ceiling": float(hit["ceiling"].median()) if len(hit) else np.nan,
                "normalised": float(hit["normalised"].median()) if len(hit) else np.nan,
                "n_normalised": int(hit["normalised"].notna().sum()),
            }
        )
    return rows
