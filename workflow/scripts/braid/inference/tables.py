"""Tables over subjects, models and analyses: what a report shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import t_interval
from braid.encoding import LAG_COLUMNS
from braid.inference.repeated import NORMALISED_COLUMNS, normalised_sites
from braid.inference.sites import SITES_COLUMNS
from braid.inference.swap import COMPARISONS_COLUMNS

Key = tuple[str, str, str]  # analysis, model, subject
Labels = TypeVar("Labels", bound=tuple[str, ...])
_INTERVAL = "of the mean over subjects, 95 %, Student's t; n/a with fewer than 2 subjects"

MODELS_COLUMNS = {
    "analysis": "Analysis of the config",
    "model": "Network, its untrained twin (_untrained) or a combination",
    "n_subjects": "Subjects",
    "n_sites": "Sites tested, over subjects",
    "n_significant": "Sites whose q is at most the level of the analysis",
    "share": "n_significant / n_sites",
    "score_mean": "Mean over subjects of each subject's mean score over tested sites, Pearson r",
    "score_low": f"Lower end of the interval {_INTERVAL}",
    "score_high": f"Upper end of the interval {_INTERVAL}",
    "score_median_significant": "Median score over significant sites, Pearson r",
}
REGIONS_COLUMNS = {
    "analysis": MODELS_COLUMNS["analysis"],
    "model": MODELS_COLUMNS["model"],
    "region": "Region label",
    "n_subjects": "Subjects with a tested site in the region",
    "n_sites": "Sites tested in the region, over subjects",
    "n_significant": MODELS_COLUMNS["n_significant"],
    "score_mean": "Mean over subjects of each subject's mean score in the region, Pearson r",
    "score_low": MODELS_COLUMNS["score_low"],
    "score_high": MODELS_COLUMNS["score_high"],
}
LAYERS_COLUMNS = {
    "analysis": MODELS_COLUMNS["analysis"],
    "subject": "Subject label",
    "model": MODELS_COLUMNS["model"],
    "layer": "Layer of the network",
    "depth": "Place of the layer, 0 the shallowest and 1 the deepest of those fitted",
    "score": "Mean over targets of the held-out Pearson r",
    "score_validation": "Mean over targets of the Pearson r in the inner folds",
    "n_targets": "Targets with a score",
    "chosen": "Whether the tests use this layer",
}
NULLS_COLUMNS = {
    "analysis": MODELS_COLUMNS["analysis"],
    "subject": "Subject label",
    "model": MODELS_COLUMNS["model"],
    "null": "Kind of null",
    "primary": "Whether p values come from this null",
    "null_sd": "Standard deviation of the score over draws, Pearson r; mean over targets",
    "null_mean": "Mean of the score over draws, Pearson r; mean over targets",
    "naive_sd": "What null_sd would be if held-out samples, and the scores of different folds, "
    "were independent",
    "ratio_to_shuffle": "null_sd over that of the shuffle null; n/a where there is none",
    "n_draws": "Draws",
    "distinct": "Distinct permutations that there are (10^18 stands for that many or more)",
    "n_targets": "Targets with a null",
    "note": "What to know about this null",
}
EXCLUDED_COLUMNS = {
    "dataset": "Dataset of the config",
    "subject": "Subject label",
    "target": "Channel, voxel or parcel left out",
    "reason": "Why, in a word",
    "detail": "Why, in full",
}
QUALITY_COLUMNS = {
    "dataset": "Dataset of the config",
    "subject": "Subject label",
    "run": "Run label",
    "measure": "What was measured",
    "value": "The number",
    "unit": "Its unit",
}
TIMING_COLUMNS = {
    "analysis": MODELS_COLUMNS["analysis"],
    "subject": "Subject label",
    "model": "Network whose features were shifted, the first of the analysis",
    **LAG_COLUMNS,
}
COLUMNS: dict[str, dict[str, str]] = {
    "sites": {**SITES_COLUMNS, **NORMALISED_COLUMNS},
    "models": MODELS_COLUMNS,
    "regions": REGIONS_COLUMNS,
    "comparisons": COMPARISONS_COLUMNS,
    "nulls": NULLS_COLUMNS,
    "layers": LAYERS_COLUMNS,
    "excluded": EXCLUDED_COLUMNS,
    "quality": QUALITY_COLUMNS,
    "timing": TIMING_COLUMNS,
}


def collect_tables(
    sites: Iterable[pd.DataFrame],
    comparisons: Iterable[pd.DataFrame],
    fits: Mapping[Key, xr.Dataset],
    nulls: Mapping[Key, xr.Dataset],
    excluded: Mapping[tuple[str, str], pd.DataFrame],
    quality: Mapping[tuple[str, str], pd.DataFrame],
    ceilings: Mapping[tuple[str, str], pd.DataFrame] | None = None,
    timing: Mapping[Key, pd.DataFrame] | None = None,
) -> dict[str, pd.DataFrame]:
    """Join the tables of all subjects, and sum them up.

    Parameters
    ----------
    sites, comparisons : iterable of pandas.DataFrame
        What `test_sites` and `compare_models` gave, labelled.
    fits, nulls : mapping of (analysis, model, subject) to xarray.Dataset
        What `fit_encoding` and `test_sites` gave; of a fit only the scores are read. A mapping
        that opens its files one at a time serves as well.
    excluded, quality : mapping of (dataset, subject) to pandas.DataFrame
        What the preprocessing gave.
    ceilings : mapping of (analysis, subject) to pandas.DataFrame, optional
        What `ceilings_table` gave, where there are repeats.
    timing : mapping of (analysis, model, subject) to pandas.DataFrame, optional
        What `lag_scan` gave.

    Returns
    -------
    dict of str to pandas.DataFrame
        By the names of `COLUMNS`, each with the columns described there.
    """
    all_sites = normalised_sites(_joined(sites, SITES_COLUMNS), fits, ceilings or {})
    dataset, scanned = ("dataset", "subject"), ("analysis", "model", "subject")
    return {
        "sites": all_sites,
        "models": models_table(all_sites),
        "regions": regions_table(all_sites),
        "comparisons": _joined(comparisons, COMPARISONS_COLUMNS),
        "nulls": nulls_table(nulls),
        "layers": layers_table(fits),
        "excluded": _labelled(excluded, dataset, EXCLUDED_COLUMNS),
        "quality": _labelled(quality, dataset, QUALITY_COLUMNS),
        "timing": _labelled(timing or {}, scanned, TIMING_COLUMNS),
    }


def models_table(sites: pd.DataFrame) -> pd.DataFrame:
    """Sum up sites by analysis and model; columns of `MODELS_COLUMNS`."""
    rows = []
    for (analysis, model), group in sites.groupby(["analysis", "model"], sort=False):
        tested = group[group["p"].notna()]
        significant = tested[tested["significant"].astype(bool)]
        rows.append(
            {
                "analysis": analysis,
                "model": model,
                "n_subjects": tested["subject"].nunique(),
                "n_sites": len(tested),
                "n_significant": len(significant),
                "share": len(significant) / len(tested) if len(tested) else np.nan,
                **_mean_over_subjects(tested),
                "score_median_significant": significant["score"].median(),
            }
        )
    return pd.DataFrame(rows, columns=list(MODELS_COLUMNS))


def regions_table(sites: pd.DataFrame) -> pd.DataFrame:
    """Sum up sites by analysis, model and region; columns of `REGIONS_COLUMNS`."""
    rows = []
    tested = sites[sites["p"].notna()].assign(region=lambda table: table["region"].fillna("n/a"))
    for (analysis, model, region), group in tested.groupby(
        ["analysis", "model", "region"], sort=False
    ):
        rows.append(
            {
                "analysis": analysis,
                "model": model,
                "region": region,
                "n_subjects": group["subject"].nunique(),
                "n_sites": len(group),
                "n_significant": int(group["significant"].astype(bool).sum()),
                **_mean_over_subjects(group),
            }
        )
    return pd.DataFrame(rows, columns=list(REGIONS_COLUMNS))


def layers_table(fits: Mapping[Key, xr.Dataset]) -> pd.DataFrame:
    """Mean scores of every layer of every fit; columns of `LAYERS_COLUMNS`."""
    rows = []
    for (analysis, model, subject), fit in fits.items():
        names = fit["layer"].values.astype(str)
        score, validation = fit["score"].values, fit["score_validation"].values
        for number, layer in enumerate(names):
            rows.append(
                {
                    "analysis": analysis,
                    "subject": subject,
                    "model": model,
                    "layer": layer,
                    "depth": number / (len(names) - 1) if len(names) > 1 else 1.0,
                    "score": _mean(score[number]),
                    "score_validation": _mean(validation[number]),
                    "n_targets": int(np.isfinite(score[number]).sum()),
                    "chosen": layer == fit.attrs["chosen_layer"],
                }
            )
    return pd.DataFrame(rows, columns=list(LAYERS_COLUMNS))


def nulls_table(nulls: Mapping[Key, xr.Dataset]) -> pd.DataFrame:
    """Width of every null; columns of `NULLS_COLUMNS`."""
    rows = []
    for (analysis, model, subject), found in nulls.items():
        draws, distinct, notes = (
            json.loads(found.attrs[name]) for name in ("draws", "distinct", "notes")
        )
        sd = {kind: _mean(found[f"null_sd_{kind}"].values) for kind in draws}
        for kind in draws:
            rows.append(
                {
                    "analysis": analysis,
                    "subject": subject,
                    "model": model,
                    "null": kind,
                    "primary": kind == found.attrs["primary"],
                    "null_sd": sd[kind],
                    "null_mean": _mean(found[f"null_mean_{kind}"].values),
                    "naive_sd": float(found.attrs["naive_sd"]),
                    "ratio_to_shuffle": sd[kind] / sd["shuffle"] if "shuffle" in sd else np.nan,
                    "n_draws": int(draws[kind]),
                    "distinct": int(distinct[kind]),
                    "n_targets": int(np.isfinite(found[f"null_sd_{kind}"].values).sum()),
                    "note": notes.get(kind, "n/a"),
                }
            )
    return pd.DataFrame(rows, columns=list(NULLS_COLUMNS))


def _mean_over_subjects(sites: pd.DataFrame) -> dict[str, float]:
    """Mean over subjects of the mean score over sites, with its interval."""
    means = sites.groupby("subject")["score"].mean()
    low, high = t_interval(means.to_numpy())
    return {"score_mean": float(means.mean()), "score_low": low, "score_high": high}


def _mean(values: np.ndarray) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if finite.size else np.nan


def _joined(tables: Iterable[pd.DataFrame], columns: Mapping[str, str]) -> pd.DataFrame:
    """Join tables, with the given columns; a table without rows where there is none."""
    tables = [table for table in tables if len(table)]
    if not tables:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(tables, ignore_index=True)[list(columns)]


def _labelled(
    tables: Mapping[Labels, pd.DataFrame],
    names: tuple[str, ...],
    columns: Mapping[str, str],
) -> pd.DataFrame:
    """Join tables, labelled with the parts of their keys."""
    return _joined(
        (table.assign(**dict(zip(names, key, strict=True))) for key, table in tables.items()),
        columns,
    )
