"""Encoding weights of one subject's significant sites, observed and under the null."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, progress, read_table, seed_for
from braid.encoding.design import (
    Source,
    check_aligned,
    delays_of,
    name_of,
    open_design,
    open_response,
    read_design,
)
from braid.encoding.fit import backend_of, grid_of, refit_weights, whole_fold
from braid.encoding.folds import folds_of
from braid.encoding.solver import centred, fit_fixed, prepare
from braid.inference.decision import group_targets
from braid.inference.sites import best_targets, check_fit, draws_of


@dataclass(frozen=True)
class Member:
    """One subject's part.

    Attributes
    ----------
    subject : str
    design, response, fit : xarray.Dataset or path
        Of one network and one analysis; paths are opened one subject at a time.
    sites : pandas.DataFrame
        The tested sites: `site`, `significant`.
    """

    subject: str
    design: Source
    response: Source | xr.DataArray
    fit: Source
    sites: pd.DataFrame


def members_of(subjects: Sequence[str], **files: Sequence[str]) -> list[Member]:
    """Put the files of an analysis together, by subject.

    Parameters
    ----------
    subjects : sequence of str
    files : sequence of path
        `designs`, `responses`, `fits` and `sites`, each in the order of the subjects.
    """
    kinds = (files[kind] for kind in ("designs", "responses", "fits", "sites"))
    return [
        Member(subject, design, response, fit, read_table(sites))
        for subject, design, response, fit, sites in zip(subjects, *kinds, strict=True)
    ]


@dataclass(frozen=True)
class Weights:
    """Weights of a subject's sites, made comparable.

    Attributes
    ----------
    subject : str
    values : numpy.ndarray of float32, (1 + draws, sites, features)
        The observed weights first, then those of the draws. Delays are averaged, features count
        in units of `scale`, and each site's vector is as long as its score.
    table : pandas.DataFrame
        `subject`, `site`, `region`, `x`, `y`, `z`, `score` of each site.
    """

    subject: str
    values: np.ndarray
    table: pd.DataFrame


def common_pair(members: Sequence[tuple[Member, Member]], pairs: Sequence[tuple[str, str]]) -> int:
    """Choose one pair of layers for all subjects: highest mean validation r over both analyses.

    Parameters
    ----------
    members : sequence of tuple of Member
        Per subject, its part in the two analyses.
    pairs : sequence of (str, str)
        Layer of the first and of the second.

    Returns
    -------
    int
        Position of the pair.

    Raises
    ------
    InputError
        If no pair was fitted in every subject.
    """
    means = np.full((len(pairs), 2, len(members)), np.nan)
    for column, both in enumerate(members):
        for side, member in enumerate(both):
            own = open_design(member.fit)["score_validation"].mean("target").to_series()
            means[:, side, column] = own.reindex([pair[side] for pair in pairs]).to_numpy(float)
    mean = means.mean(axis=(1, 2))
    if not np.isfinite(mean).any():
        raise InputError(
            "components: no pair of aligned layers was fitted in all subjects and both analyses; "
            "fit all layers"
        )
    return int(np.nanargmax(mean))


def common_layer(members: Sequence[Member]) -> str:
    """Choose one layer for all subjects: highest mean validation r over subjects.

    A subject's value is the mean over targets of `score_validation`, which comes from training
    rows only. Ties go to the shallower layer.

    Raises
    ------
    InputError
        If no layer was fitted in every subject.
    """
    means = []
    for member in members:
        validation = open_design(member.fit)["score_validation"]
        means.append(validation.mean("target").to_series())
    table = pd.concat(means, axis=1, join="inner").dropna()
    if table.empty:
        raise InputError(
            f"{', '.join(name_of(open_design(member.fit)) for member in members)}: no layer was "
            "fitted in all of them; fit the same layers for every subject"
        )
    return str(table.mean(axis=1).idxmax())


def weights_of(
    member: Member,
    layer: str,
    scale: np.ndarray,
    params: Mapping[str, Any],
    n_draws: int,
    seed: int,
) -> Weights | None:
    """Fit a subject's significant sites on all rows, and again to moved responses.

    An electrode is represented by its bin with the highest validation r. Penalties are chosen
    once, on the observed responses, and kept in every draw.

    Parameters
    ----------
    member : Member
    layer : str
    scale : array, (features,)
        Standard deviation of each feature over the units; 0 for one that does not vary.
    params : mapping
        `folds`, `ridge`, `test` of the analysis.
    n_draws : int
        Circular shifts of the responses within runs.
    seed : int

    Returns
    -------
    Weights or None
        None if no site is significant or none has a positive score in this layer.

    Raises
    ------
    InputError
        If the inputs do not belong together, or a run is too short to shift.
    """
    design, response = open_design(member.design), open_response(member.response)
    fit = open_design(member.fit)
    check_aligned(design, response)
    check_fit(fit, response)
    chosen = _targets(member, fit, response, layer)
    if not len(chosen):
        return None
    kept = response.isel(target=chosen)
    score = fit["score"].sel(layer=layer).values[chosen].astype(np.float64)
    found = np.stack(
        list(drawn_weights(member.subject, design, kept, layer, params, n_draws, seed))
    )
    check_features(design, layer, found.shape[2], scale)
    found = found * scale.astype(np.float32)
    length = np.linalg.norm(found, axis=2, keepdims=True)
    unit = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
    values = unit * score[:, None].astype(np.float32)
    return Weights(member.subject, values, described(member.subject, kept, score))


def check_features(design: xr.Dataset, layer: str, n: int, scale: np.ndarray) -> None:
    """Refuse a scale of other features than the weights'."""
    if n != len(scale):
        raise InputError(
            f"{name_of(design)} has {n} features in layer '{layer}', but the units "
            f"have {len(scale)}; make the design anew from the features"
        )


def _targets(member: Member, fit: xr.Dataset, response: xr.DataArray, layer: str) -> np.ndarray:
    """Target of each significant site: the one with the highest validation r."""
    wanted = set(member.sites.loc[member.sites["significant"].astype(bool), "site"].astype(str))
    sites = group_targets(response["site"].values)
    unknown = sorted(wanted - set(sites.names))
    if unknown:
        raise InputError(
            f"{name_of(response)} has no site '{unknown[0]}', which the table of tested sites of "
            f"subject {member.subject} names; test again"
        )
    best = best_targets(fit["score_validation"].sel(layer=layer).values.astype(float), sites)
    score = fit["score"].sel(layer=layer).values[best]
    # a vector as long as its score: what this layer does not predict would count for nothing
    keep = [name in wanted and value > 0 for name, value in zip(sites.names, score, strict=True)]
    return best[np.array(keep, dtype=bool)]


def drawn_weights(
    subject: str,
    design: xr.Dataset,
    response: xr.DataArray,
    layer: str,
    params: Mapping[str, Any],
    n_draws: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """Weights of the observed responses and then of moved ones, mean over delays.

    Parameters
    ----------
    subject : str
    design : xarray.Dataset
    response : xarray.DataArray, (sample, target)
        Targets that have been fitted.
    layer, params, n_draws, seed
        As for `weights_of`.

    Yields
    ------
    numpy.ndarray of float32, (targets, features)
        1 + draws of them, per unit of the features as the design holds them.
    """
    ridge, grid = dict(params.get("ridge") or {}), grid_of(dict(params.get("ridge") or {}))
    alpha = refit_weights(design, response, layer, params)["alpha_all"].values.astype(np.float64)
    outer = folds_of(response, params.get("folds") or {"scheme": "blocks", "n": 5})
    rows = np.unique(np.concatenate([np.r_[fold.train, fold.test] for fold in outer]))
    test = {**(params.get("test") or {}), "n": n_draws}
    own = seed_for(seed, "components", subject)
    (drawn,) = draws_of(design, response, outer, ["circular_shift"], test, own)
    problem = prepare(
        read_design(design, layer),
        [whole_fold(outer, rows)],
        grid,
        ridge.get("standardize", True),
        ridge.get("form", "auto"),
        nested=False,
        alpha_floor=float(alpha.min()),
        backend=backend_of(ridge),
    )
    y = np.asarray(response.values, dtype=np.float32)
    everything = [np.arange(len(y)), *drawn.rows]
    for moved in progress(everything, f"weights of sub-{subject}"):
        weights, _ = fit_fixed(problem, centred(problem.arrange(y[moved]))[0], rows, alpha)
        by_delay = weights.reshape(len(delays_of(design)), -1, weights.shape[1])
        yield by_delay.mean(axis=0).T.astype(np.float32)


def described(subject: str, response: xr.DataArray, score: np.ndarray) -> pd.DataFrame:
    """One row per site: `subject`, `site`, `region`, `x`, `y`, `z`, `score`."""
    missing = {"region": "n/a"}
    return pd.DataFrame(
        {
            "subject": subject,
            "site": response["site"].values.astype(str),
            **{
                name: response[name].values
                if name in response.coords
                else missing.get(name, np.nan)
                for name in ("region", "x", "y", "z")
            },
            "score": score,
        }
    )
