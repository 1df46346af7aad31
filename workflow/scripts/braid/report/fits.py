"""What the report takes from fits, tests and responses, reduced file by file."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, read_table
from braid.report.results import Results


@dataclass(frozen=True)
class FitSummary:
    """One model's fit to one subject.

    Attributes
    ----------
    analysis, model, subject : str
    layers : tuple of str
        Shallow to deep.
    layer_scores : numpy.ndarray
        Held-out r per layer, mean over the targets that have a score.
    chosen : str
        The layer that was chosen on training data.
    form : str
        Form of the solver, `n/a` if the fit does not say.
    alphas : numpy.ndarray
        Chosen penalties of the chosen layer, all folds and targets, finite ones.
    edge_low, edge_high : float
        Share of penalties on the lowest and highest value of the grid; NaN if not recorded.
    warnings : tuple of str
        What the solver warned of.
    bins : numpy.ndarray or None
        Start of each window relative to the event (s), ascending; None without windows.
    sites : numpy.ndarray
        Names of the sites, in the order of the rows of `curves`.
    curves : numpy.ndarray
        Held-out r of the chosen layer, (site, bin); (site, 1) without windows.
    n_tested : int
        Samples that were held out once.
    """

    analysis: str
    model: str
    subject: str
    layers: tuple[str, ...]
    layer_scores: np.ndarray
    chosen: str
    form: str
    alphas: np.ndarray
    edge_low: float
    edge_high: float
    warnings: tuple[str, ...]
    bins: np.ndarray | None
    sites: np.ndarray
    curves: np.ndarray
    n_tested: int


@dataclass(frozen=True)
class Grid:
    """Grid of voxels of one subject.

    Attributes
    ----------
    affine : numpy.ndarray
        (4, 4), voxel indices to mm.
    shape : tuple of int
        Number of voxels along each axis.
    voxels : dict of str to tuple of int
        Indices of each site.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]
    voxels: dict[str, tuple[int, int, int]]


def summarise_fits(results: Results) -> list[FitSummary]:
    """Read every fit once, without its predictions."""
    return [
        summarise(fit, analysis, model, subject)
        for analysis in results.analyses
        for model in results.models(analysis)
        for subject, fit in results.fits(analysis, model)
    ]


def summarise(fit: xr.Dataset, analysis: str, model: str, subject: str) -> FitSummary:
    """Reduce one fit to what the figures need."""
    layers = tuple(map(str, fit["layer"].values))
    chosen = str(fit.attrs.get("chosen_layer") or layers[-1])
    if chosen not in layers:
        raise InputError(
            f"fit of {model} in {analysis}, subject {subject}: chosen_layer '{chosen}' is none of "
            f"its layers ({', '.join(layers)}); fit it again"
        )
    position = layers.index(chosen)
    score = fit["score"].values
    bins, sites, curves = _curves(fit, score[position])
    alphas = fit["alpha"].values[position].ravel() if "alpha" in fit else np.array([])
    alphas = alphas[np.isfinite(alphas)]
    tested = fit["fold"].values >= 0 if "fold" in fit else np.zeros(0, bool)
    return FitSummary(
        analysis=analysis,
        model=model,
        subject=subject,
        layers=layers,
        layer_scores=np.array([_mean(row) for row in score]),
        chosen=chosen,
        form=str(fit.attrs.get("form", "n/a")),
        alphas=alphas,
        edge_low=float(fit.attrs.get("edge_low", np.nan)),
        edge_high=float(fit.attrs.get("edge_high", np.nan)),
        warnings=tuple(json.loads(fit.attrs.get("warnings") or "[]")),
        bins=bins,
        sites=sites,
        curves=curves,
        n_tested=int(tested.sum()),
    )


def grids_of(results: Results, analysis: str) -> dict[str, Grid]:
    """Voxel grids of an analysis by subject; empty if its fits have no affine."""
    models = results.models(analysis)
    found = {} if not models else {s: _grid(fit) for s, fit in results.fits(analysis, models[0])}
    return {subject: grid for subject, grid in found.items() if grid is not None}


def _grid(fit: xr.Dataset) -> Grid | None:
    """Grid of voxels as a fit's attributes and coordinates give it."""
    if not {"affine", "shape"} <= set(fit.attrs) or not {"i", "j", "k"} <= set(fit.coords):
        return None
    indices = np.stack([fit[axis].values for axis in "ijk"], axis=1).astype(int)
    shape = json.loads(fit.attrs["shape"])
    return Grid(
        affine=np.array(json.loads(fit.attrs["affine"]), float),
        shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        voxels={
            str(site): (int(i), int(j), int(k))
            for site, (i, j, k) in zip(fit["site"].values, indices, strict=True)
        },
    )


def dropped_events(results: Results) -> pd.DataFrame:
    """Events left out of the responses, counted by analysis, subject and reason."""
    rows = []
    for analysis in results.analyses:
        for path in sorted((results.root / "responses" / analysis).glob("sub-*_dropped.tsv")):
            table = read_table(path)
            reasons = table["reason"] if "reason" in table else pd.Series(["n/a"] * len(table))
            subject = path.stem.removeprefix("sub-").removesuffix("_dropped")
            rows += [
                {"analysis": analysis, "subject": subject, "reason": reason, "events": int(count)}
                for reason, count in reasons.value_counts().items()
            ]
    return pd.DataFrame(rows, columns=["analysis", "subject", "reason", "events"])


def _curves(fit: xr.Dataset, score: np.ndarray) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Arrange the scores of one layer as (site, bin)."""
    names = fit["site"].values if "site" in fit.coords else fit["target"].values
    bins = np.asarray(fit["bin"].values, float) if "bin" in fit.coords else np.array([np.nan])
    if not np.isfinite(bins).all():
        frame = pd.DataFrame({"site": names.astype(str), "r": score})
        wide = frame.groupby("site", sort=False)["r"].mean()
        return None, wide.index.to_numpy(), wide.to_numpy()[:, None]
    frame = pd.DataFrame({"site": names.astype(str), "bin": bins, "r": score})
    # files hold bins in single precision
    frame["bin"] = frame["bin"].round(4)
    table = frame.pivot_table(index="site", columns="bin", values="r", dropna=False, sort=False)
    table = table.sort_index(axis=1)
    return table.columns.to_numpy(float), table.index.to_numpy(), table.to_numpy(float)


def _mean(values: np.ndarray) -> float:
    """Mean of the finite values; NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
