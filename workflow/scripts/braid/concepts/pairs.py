"""Weights of two models of one subject, at the same sites and in one feature space."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, seed_for
from braid.concepts.weights import Member, check_features, described, drawn_weights
from braid.encoding.design import check_aligned, name_of, open_design, open_response
from braid.inference.decision import group_targets
from braid.inference.sites import best_targets, check_fit

WHICH = ("both", "either", "all")
_SPHERE = ("sphere_x", "sphere_y", "sphere_z", "hemisphere")


@dataclass(frozen=True)
class Paired:
    """Weights of a subject's sites in the feature space of one of two models.

    Rows with a value that is not finite, or of length 0, are sites without weights.

    Attributes
    ----------
    subject : str
    own : numpy.ndarray, (sites, features)
        Of the model whose features these are.
    other : numpy.ndarray, (sites, features)
        Of the other model, mapped into these features.
    draws : iterable of numpy.ndarray, (sites, features)
        The other model's weights, fitted again to moved responses and mapped likewise; read once,
        one after the other.
    table : pandas.DataFrame
        One row per site: `subject site region x y z score score_other`, and, of sites on a surface,
        `sphere_x sphere_y sphere_z hemisphere`.
    """

    subject: str
    own: np.ndarray
    other: np.ndarray
    draws: Iterable[np.ndarray]
    table: pd.DataFrame


def mapped_weights(weights: np.ndarray, alignment: np.ndarray) -> np.ndarray:
    """Weights over the features that an alignment gives, as weights over those that it takes.

    Where x_V is about x_L M, a response x_V b_V is about x_L (M b_V): a row of weights b_V' becomes
    b_V' M'. The map of features from language to vision takes weights from vision to language.

    Parameters
    ----------
    weights : array, (sites, features given)
    alignment : array, (features taken, features given)
        M, in the units of the features.

    Returns
    -------
    numpy.ndarray, (sites, features taken)

    Raises
    ------
    InputError
        If the map does not give as many features as there are weights.
    """
    if alignment.ndim != 2 or alignment.shape[1] != weights.shape[-1]:
        raise InputError(
            f"components: an alignment of shape {alignment.shape} cannot take weights over "
            f"{weights.shape[-1]} features; give (features of the space they go to, "
            f"{weights.shape[-1]})"
        )
    return np.asarray(weights @ alignment.T)


def comparable(weights: np.ndarray, scale: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Weights per standard deviation of the feature, each site's as long as its score.

    Parameters
    ----------
    weights : array, (sites, features)
    scale : array, (features,)
    score : array, (sites,)

    Returns
    -------
    numpy.ndarray of float32, (sites, features)
        NaN for sites without weights.
    """
    scaled = weights * scale
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit = np.divide(scaled, length, out=np.full(scaled.shape, np.nan), where=length > 0)
    return np.asarray(unit * score[:, None], dtype=np.float32)


def paired_weights(
    members: tuple[Member, Member],
    layers: tuple[str, str],
    maps: tuple[np.ndarray, np.ndarray],
    scales: tuple[np.ndarray, np.ndarray],
    params: tuple[Mapping[str, Any], Mapping[str, Any]],
    which: str,
    n_draws: int,
    seed: int,
) -> tuple[Paired, Paired] | None:
    """Weights of two models of one subject, in the features of the first and of the second.

    Sites are matched by name; an electrode is represented in each analysis by its bin with the
    highest validation r there. Delays are averaged, the map is applied, then weights are made
    `comparable`. The draws of the two analyses are independent. They are fitted when they are
    read, so that they never stand in memory together.

    Parameters
    ----------
    members : tuple of Member
        Of the two analyses, for example language and vision; `sites` tells which are significant
        within that analysis. Sites chosen because one analysis' model predicts the other's
        responses have weights that agree, by that choice alone.
    layers : tuple of str
    maps : tuple of array
        From features of the first to those of the second, (features of the first, of the second),
        and from the second to the first; see `mapped_weights`.
    scales : tuple of array, (features,)
        Standard deviation of each analysis' features over its units.
    params : tuple of mapping
        `folds`, `ridge`, `test` of the two analyses.
    which : {"both", "either", "all"}
        Sites that are significant in both tables, in one of them, or all that stand in both. A
        site that a model does not predict (score not above 0) is left out; one without a score is
        kept, without weights.
    n_draws : int
    seed : int

    Returns
    -------
    tuple of Paired, or None
        None where no site is left.

    Raises
    ------
    InputError
        If inputs do not belong together, or a run is too short to shift.
    """
    names = _sites_of(members, which)
    sides = [_Side.of(*parts, names) for parts in zip(members, layers, strict=True)]
    score = np.stack([side.score for side in sides])
    kept = ~np.any(score <= 0, axis=0)
    if not np.isfinite(score[:, kept]).all(axis=0).any():
        return None
    refits = [
        _Refits(side.only(kept), layer, given, n_draws, seed_for(seed, "pair", number))
        for number, (side, layer, given) in enumerate(zip(sides, layers, params, strict=True))
    ]
    raw = [refit.observed() for refit in refits]
    for side, layer, values, scale in zip(sides, layers, raw, scales, strict=True):
        check_features(side.design, layer, values.shape[1], scale)
    found = []
    for own, alignment in enumerate(maps):
        other = 1 - own
        into = _Into(alignment, scales[own], score[other, kept])
        found.append(
            Paired(
                members[own].subject,
                comparable(raw[own], scales[own], score[own, kept]),
                into(raw[other]),
                _Mapped(refits[other], into),
                _described(sides[own].only(kept), score[other, kept]),
            )
        )
    return found[0], found[1]


def _sites_of(members: tuple[Member, Member], which: str) -> list[str]:
    """Names of the sites that enter, in the order of the first table."""
    if which not in WHICH:
        raise InputError(f"components: sites '{which}' is not one of {', '.join(WHICH)}")
    if members[0].subject != members[1].subject:
        raise InputError(
            f"components: analyses of subjects {members[0].subject} and {members[1].subject} are "
            "no pair; pair analyses of the same subject"
        )
    tables = [
        member.sites["significant"].astype(bool).set_axis(member.sites["site"].astype(str))
        for member in members
    ]
    first, second = tables[0].align(tables[1], join="inner")
    chosen = {
        "both": first & second,
        "either": first | second,
        "all": first | ~first,
    }[which]
    there = set(chosen.index[chosen])
    return [name for name in tables[0].index if name in there]


@dataclass(frozen=True)
class _Side:
    """One analysis of a subject, restricted to one target per site."""

    subject: str
    design: xr.Dataset
    response: xr.DataArray
    score: np.ndarray

    @classmethod
    def of(cls, member: Member, layer: str, names: list[str]) -> _Side:
        """Open an analysis and find the target that represents each site."""
        design, response = open_design(member.design), open_response(member.response)
        fit = open_design(member.fit)
        check_aligned(design, response)
        check_fit(fit, response)
        sites = group_targets(response["site"].values)
        unknown = sorted(set(names) - set(sites.names))
        if unknown:
            raise InputError(
                f"{name_of(response)} has no site '{unknown[0]}', which the table of tested sites "
                f"of subject {member.subject} names; test again"
            )
        best = best_targets(fit["score_validation"].sel(layer=layer).values.astype(float), sites)
        place = {name: number for number, name in enumerate(sites.names)}
        at = best[[place[name] for name in names]].astype(int)
        score = fit["score"].sel(layer=layer).values[at].astype(np.float64)
        return cls(member.subject, design, response.isel(target=at), score)

    def only(self, kept: np.ndarray) -> _Side:
        """Restrict it to some sites."""
        response = self.response.isel(target=np.flatnonzero(kept))
        return _Side(self.subject, self.design, response, self.score[kept])


@dataclass(frozen=True)
class _Refits:
    """Weights of one analysis, observed and drawn; fitted whenever they are read."""

    side: _Side
    layer: str
    params: Mapping[str, Any]
    n_draws: int
    seed: int

    def __iter__(self) -> Iterator[np.ndarray]:
        """Observed weights first, (sites, features); NaN for sites without a score."""
        fitted = np.isfinite(self.side.score)
        response = self.side.response.isel(target=np.flatnonzero(fitted))
        for weights in drawn_weights(
            self.side.subject, self.side.design, response, self.layer, self.params,
            self.n_draws, self.seed,
        ):  # fmt: skip
            found = np.full((len(fitted), weights.shape[1]), np.nan, dtype=np.float32)
            found[fitted] = weights
            yield found

    def observed(self) -> np.ndarray:
        """Weights of the responses as they are."""
        return next(iter(self))


@dataclass(frozen=True)
class _Into:
    """The other model's weights, taken into a model's features and made comparable."""

    alignment: np.ndarray
    scale: np.ndarray
    score: np.ndarray

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        return comparable(mapped_weights(weights, self.alignment), self.scale, self.score)


@dataclass(frozen=True)
class _Mapped:
    """Draws of the other model's weights."""

    refits: _Refits
    into: _Into

    def __iter__(self) -> Iterator[np.ndarray]:
        for weights in itertools.islice(self.refits, 1, None):
            yield self.into(weights)


def _described(side: _Side, score_other: np.ndarray) -> pd.DataFrame:
    """One row per site."""
    table = described(side.subject, side.response, side.score)
    table["score_other"] = score_other
    for name in _SPHERE:
        if name in side.response.coords:
            table[name] = side.response[name].values
    return table
