"""Ceilings of a study's targets from repeated runs, and the scores of these runs over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, seed_for
from braid.encoding.folds import run_labels
from braid.inference.ceilings import LOWEST, from_repeats, normalise, split_half

CEILINGS_COLUMNS = {
    "run": "Run that holds the mean over repeats: the first of them",
    "target": "Voxel, parcel, or electrode and window",
    "site": "Electrode, voxel or parcel",
    "region": "Region label of the site",
    "n_repeats": "Repeats of the run",
    "n_samples": "Samples (volumes or events) of each repeat",
    "explainable": "Variance of the mean over repeats, each z-scored, over the mean of their "
    "variances (which is 1); 1 / n_repeats where nothing repeats",
    "signal": "Share of the variance of one repeat that repeats: the mean correlation of all pairs "
    "of repeats; unbiased, so below 0 where chance has it so",
    "ceiling": "Share of the variance of the mean over repeats that a perfect model explains, from "
    "signal (Spearman-Brown), which counts as 0 if it is below",
    "reliability": "Correlation of the means over either half of the repeats, mean over divisions, "
    "corrected to their number (Spearman-Brown); with an odd number each division leaves one out",
}
NORMALISED_COLUMNS = {
    "ceiling": "Share of the variance of the mean over repeats that a perfect model explains, at "
    "the target that gives the score; mean over the repeated runs; n/a without repeats",
    "normalised": "Pearson r of the fold that tests that mean and nothing else, over the square "
    "root of its ceiling; mean over such folds. Above 1 where chance has it so; n/a where the "
    f"ceiling is below {LOWEST} and where there is no such fold (folds that are blocks)",
}
_BLOCK = 4096  # targets whose repeats are held in double precision at once


def ceilings_table(
    response: xr.DataArray, rows: Mapping[str, Sequence[np.ndarray]], seed: int
) -> pd.DataFrame:
    """Estimate from repeats how well any model could predict each target.

    Parameters
    ----------
    response : xarray.DataArray
        `response(sample, target)` of single repeats.
    rows : mapping of str to sequence of numpy.ndarray
        By the label of its first run, each stimulus: the rows of every repeat
        (`braid.stimuli.repeated_responses` gives both).
    seed : int
        For the halves of `split_half`.

    Returns
    -------
    pandas.DataFrame
        One row per stimulus and target, columns `CEILINGS_COLUMNS`. Repeats are z-scored each by
        itself; the mean that they describe is that of such repeats.
    """
    tables = []
    for run, own in rows.items():
        found: dict[str, list[np.ndarray]] = {
            name: [] for name in ("explainable", "signal", "ceiling", "reliability")
        }
        for start in range(0, response.sizes["target"], _BLOCK):
            some = response.values[:, start : start + _BLOCK]
            stacked = np.stack([some[part] for part in own])
            block = from_repeats(stacked)
            for name in ("explainable", "signal", "ceiling"):
                found[name].append(getattr(block, name))
            # the same halves for all targets
            found["reliability"].append(split_half(stacked, seed_for(seed, "halves", run)))
        tables.append(
            pd.DataFrame(
                {
                    "run": run,
                    **{name: response[name].values for name in ("target", "site", "region")},
                    "n_repeats": len(own),
                    "n_samples": len(own[0]),
                    **{name: np.concatenate(parts) for name, parts in found.items()},
                }
            )
        )
    return pd.concat(tables, ignore_index=True)[list(CEILINGS_COLUMNS)]


def normalised_sites(
    sites: pd.DataFrame,
    fits: Mapping[tuple[str, str, str], xr.Dataset],
    ceilings: Mapping[tuple[str, str], pd.DataFrame],
) -> pd.DataFrame:
    """Add to a table of sites their ceilings, and the scores of repeated runs over them.

    Only a fold that tests the mean over repeats and nothing else has a score that its ceiling
    limits; the score of a site is a mean over folds, most of which test single runs.

    Parameters
    ----------
    sites : pandas.DataFrame
        Columns of `SITES_COLUMNS`, of all analyses, models and subjects.
    fits : mapping of (analysis, model, subject) to xarray.Dataset
        What `fit_encoding` gave.
    ceilings : mapping of (analysis, subject) to pandas.DataFrame
        What `ceilings_table` gave, where there are repeats.

    Returns
    -------
    pandas.DataFrame
        The table with the columns `NORMALISED_COLUMNS`.

    Raises
    ------
    InputError
        If a site's target has no row among the ceilings of its analysis.
    """
    sites = sites.assign(**dict.fromkeys(NORMALISED_COLUMNS, np.nan))
    if not ceilings:
        return sites
    for analysis, model, subject in fits:
        table = ceilings.get((analysis, subject))
        own = sites.index[
            (sites["analysis"] == analysis)
            & (sites["model"] == model)
            & (sites["subject"].astype(str) == subject)
        ]
        if table is None or own.empty:
            continue
        wide = table.pivot(index="target", columns="run", values="ceiling")
        targets = _targets(sites.loc[own])
        absent = [target for target in targets if target not in wide.index]
        if absent:
            raise InputError(
                f"ceilings of analysis {analysis}, subject {subject}: target {absent[0]} is not "
                "among them; make them from the same responses as the fits"
            )
        sites.loc[own, "ceiling"] = wide.mean(axis=1).loc[targets].to_numpy()
        fit = fits[analysis, model, subject]
        sites.loc[own, "normalised"] = _normalised(fit, wide)[
            pd.Index(fit["target"].values.astype(str)).get_indexer(targets)
        ]
    return sites


def _targets(sites: pd.DataFrame) -> list[str]:
    """Name the target that gives each site's score: the site, or one of its windows."""
    return [
        f"{site}@{start:+.3f}" if np.isfinite(start) else str(site)
        for site, start in zip(sites["site"], sites["best_bin"].astype(float), strict=True)
    ]


def _normalised(fit: xr.Dataset, ceilings: pd.DataFrame) -> np.ndarray:
    """Normalised scores of all targets of a fit, NaN where no fold tests a mean over repeats."""
    labels, targets = run_labels(fit), fit["target"].values.astype(str)
    score = fit["score_fold"].sel(layer=fit.attrs["chosen_layer"]).values
    found = []
    for fold in range(len(score)):
        runs = np.unique(fit["run"].values[fit["fold"].values == fold])
        label = labels[int(runs[0])] if len(runs) == 1 else None
        # of a run that is cut into blocks, a block is not what the ceiling describes
        whole = label is not None and np.all(
            fit["fold"].values[fit["run"].values == runs[0]] == fold
        )
        if whole and label in ceilings.columns:
            ceiling = ceilings[label].reindex(targets).to_numpy(dtype=float)
            found.append(normalise(score[fold], ceiling).score)
    return np.mean(found, axis=0) if found else np.full(len(targets), np.nan)
