"""Dimensions that the encoding weights of two models share over the same sites."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, seed_for
from braid.concepts.pairs import Paired, paired_weights
from braid.concepts.pca import explained, left_out, mean_of_finite, principal
from braid.concepts.surrogates import correlations, spectral_null, spin_null
from braid.concepts.units import feature_components, scale_of
from braid.concepts.weights import Member
from braid.inference.decision import bh, p_values

SHARED_COLUMNS = {
    "direction": "Model whose weights, over its own features, the components are of",
    "component": "Number of the component, 1 has the largest share",
    "share": "Share of the variance of that model's weights",
    "r": "Pearson r over sites between the projections of the two models' weights on the "
    "component, each subject's projections centred on their own mean",
    "refit_mean": "Mean of r over the draws of the other model's weights",
    "refit_sd": "Standard deviation of r over these draws",
    "p_refit": "One-sided p of r against these draws, (k + 1) / (n_draws + 1)",
    "spatial_sd": "Standard deviation of r over maps of the other model that are as smooth",
    "p_spatial": "One-sided p of r against these maps, (k + 1) / (n_surrogates + 1)",
    "p": "The larger of the two p: neither explanation suffices",
    "q": "Benjamini-Hochberg false discovery rate over the components of this direction",
    "significant": "Whether q is at most the level asked for",
    "shuffled_any": "Share of shuffled data sets in which any component of this direction is "
    "called significant: draws of the other model's weights taken as if observed",
    "n_shuffled": "Shuffled data sets: the first of the draws, each tested against all others",
    "share_other": "Share of the variance of the other model's weights along the component",
    "share_other_null": "Mean of it over the draws of the other model's weights",
    "p_share": "One-sided p of share_other against these draws",
    "share_stimulus": "Share of the variance of the other model's weights along the principal "
    "component of this number of the stimulus features",
    "p_stimulus": "One-sided p of what components up to this one explain of the other model's "
    "weights beyond as many components of the stimulus features, against these draws",
    "loso_r": "r in a left-out subject, on the matching component of the other subjects, mean over "
    "subjects",
    "loso_share": "Share of a left-out subject's variance that this component explains, mean",
    "loso_share_other": "Share of the variance of the other model's weights in a left-out subject",
    "loso_share_stimulus": "Share of a left-out subject's variance along the component of this "
    "number of the stimulus features, mean",
    "loso_cosine": "Cosine of the component and the matching one of the other subjects (Hungarian "
    "method), mean magnitude over the subjects left out",
    "loso_rotated": "The same cosine after the others' components were rotated together onto these "
    "(orthogonal Procrustes)",
    "n_sites": "Sites that enter, over all subjects",
    "n_undefined": "Sites without weights in one of the models, which do not enter",
    "n_subjects": "Subjects that the sites come from",
    "n_draws": "Draws: the other analysis' responses circularly shifted within runs, fitted again",
    "n_surrogates": "Maps of the spatial null",
    "spatial": "Spatial null: spin, spectral, or none",
}
SPATIAL = ("auto", "spin", "spectral", "none")
_SPHERE = ["sphere_x", "sphere_y", "sphere_z"]
_PLACE = ["x", "y", "z"]
_LEAST = 3  # sites: two always correlate perfectly
_SHUFFLED = 50  # draws that are tested as if they were observed
_log = logging.getLogger("braid")


@dataclass(frozen=True)
class Shared:
    """What the analysis gives in one direction.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per component, columns of `SHARED_COLUMNS`; no rows with fewer than three sites.
    arrays : xarray.Dataset
        `loading(feature, component)`: as `weight_components` gives it, and as `extreme_units`
        takes it; `projection(site, component)` and `projection_other(site, component)`, of
        weights minus their mean over sites, NaN for sites without weights; `centre(feature)`;
        `r_refit(draw, component)`, `share_other_refit(draw, component)`,
        `r_spatial(surrogate, component)`; `r_subject(member, component)`, r within each subject.
        Coordinates of `site`: `subject`, `region`, `x y z` (mm), `score`, `score_other`, and, on
        surfaces, `sphere_x sphere_y sphere_z hemisphere`.
    """

    table: pd.DataFrame
    arrays: xr.Dataset


def cross_modal_components(
    members: Sequence[tuple[Member, Member]],
    layers: tuple[str, str],
    maps: tuple[np.ndarray, np.ndarray],
    features: tuple[xr.DataArray, xr.DataArray],
    params: Mapping[str, Any],
    seed: int,
    names: tuple[str, str] = ("language", "vision"),
) -> tuple[pd.DataFrame, dict[str, xr.Dataset]]:
    """Dimensions that two analyses of the same subjects share, in both directions.

    Components of the first model's weights, over its features, with the second model's weights
    mapped into these features and projected on them; and the reverse.

    Parameters
    ----------
    members : sequence of tuple of Member
        Per subject, its part in the two analyses.
    layers : tuple of str
        Layer of each analysis (see `common_layer`).
    maps : tuple of array
        From features of the first to those of the second, (features of the first, of the second),
        and back, (features of the second, of the first); in the units of the designs' features.
    features : tuple of xarray.DataArray, (unit, feature)
        Of these layers.
    params : mapping
        As for `shared_components`; `draws` (refits), optional `sites` ("both", see
        `paired_weights`); under each of `names` the `folds`, `ridge` and `test` of that analysis,
        and `standardize_features` of its design.
    seed : int
    names : tuple of str

    Returns
    -------
    table : pandas.DataFrame
        One row per direction and component, columns of `SHARED_COLUMNS`.
    arrays : dict of str to xarray.Dataset
        By direction (see `Shared`).

    Raises
    ------
    InputError
        See `paired_weights` and `shared_components`.
    """
    n_draws = int(params["draws"])
    if n_draws < 1:
        raise InputError(f"components: draws ({n_draws}) must be at least 1")
    of_each = params[names[0]], params[names[1]]
    first, second = (
        scale_of(own, bool(settings.get("standardize_features", False)))
        for own, settings in zip(features, of_each, strict=True)
    )
    scales = first, second
    which = str(params.get("sites", "both"))
    found = [
        pairs
        for both in members
        if (pairs := paired_weights(both, layers, maps, scales, of_each, which, n_draws, seed))
    ]
    tables, arrays = [], {}
    for number, name in enumerate(names):
        stimulus = feature_components(features[number], int(params["n"]))
        own_seed = seed_for(seed, name)
        shared = shared_components([p[number] for p in found], stimulus, params, own_seed, name)
        tables.append(shared.table)
        arrays[name] = shared.arrays
    return pd.concat(tables, ignore_index=True), arrays


def shared_components(
    pairs: Sequence[Paired],
    stimulus: np.ndarray,
    params: Mapping[str, Any],
    seed: int,
    direction: str = "language",
) -> Shared:
    """Principal components of one model's weights, and whether the other model shares them.

    The weights of all subjects' sites are stacked, centred and decomposed; the other model's are
    projected on the same components. Two nulls are asked for the correlation of the two
    projections over sites. *Refits*: the other model's responses are circularly shifted within
    runs and fitted again, so that its weights have nothing to do with its stimuli, while sites
    that respond alike still do. *Spatial*: the other model's projections are rotated on the sphere,
    or given other signs in space, so that they are as smooth but lie elsewhere. p is the larger
    of the two.

    Parameters
    ----------
    pairs : sequence of Paired
        One per subject.
    stimulus : array, (components, features)
        Principal components of the stimulus features (`feature_components`), to compare with.
    params : mapping
        `n` (components); optional `surrogates` (default 1000), `spatial` ("auto": spin where all
        sites have places on a sphere, else spectral where they have positions, else none), `fdr`
        (default 0.05).
    seed : int
    direction : str
        Name of the model whose weights are decomposed.

    Returns
    -------
    Shared

    Raises
    ------
    InputError
        If a parameter is not possible, features differ, or the spatial null asked for lacks places.
    """
    n = int(params["n"])
    if n < 1:
        raise InputError(f"components: n ({n}) must be at least 1")
    if not pairs:
        return _nothing(stimulus.shape[1], direction, pd.DataFrame())
    sites = pd.concat([pair.table for pair in pairs], ignore_index=True)
    own, other = _stacked(pairs, stimulus)
    used = _defined(own) & _defined(other)
    if np.count_nonzero(used) < _LEAST:
        _log.warning(
            "components: %d sites have weights of both models; shared components need %d",
            np.count_nonzero(used), _LEAST,
        )  # fmt: skip
        return _nothing(own.shape[1], direction, sites)
    data = _Data(own[used], other[used], sites[used].reset_index(drop=True))
    loadings, share = principal(data.own, n)
    if not len(loadings):
        _log.warning("components: the weights of all sites are the same; they have no component")
        return _nothing(own.shape[1], direction, sites)
    drawn = _drawn(pairs, used, np.concatenate([loadings, stimulus[:n]]))
    found = _tested(data, loadings, stimulus[:n], drawn, params, seed)
    table = pd.DataFrame(
        {
            "direction": direction,
            "component": np.arange(1, len(loadings) + 1),
            "share": share,
            **found.columns,
            **_without_each(data, loadings, stimulus),
            "n_sites": len(data.sites),
            "n_undefined": int(np.count_nonzero(~used)),
            "n_subjects": data.sites["subject"].nunique(),
            "n_draws": len(drawn.total),
            "n_surrogates": len(found.spatial),
            "spatial": found.kind,
        }
    )
    arrays = _arrays(data, used, sites, loadings, found, direction)
    return Shared(table[list(SHARED_COLUMNS)], arrays)


@dataclass(frozen=True)
class _Data:
    """Stacked weights of the sites that have them in both models."""

    own: np.ndarray
    other: np.ndarray
    sites: pd.DataFrame

    @property
    def subject(self) -> np.ndarray:
        """Subject of each site."""
        return self.sites["subject"].to_numpy(dtype=str)

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """Rows of each subject."""
        return [values[self.subject == one] for one in pd.unique(self.subject)]


@dataclass(frozen=True)
class _Drawn:
    """Draws of the other model's weights, projected.

    Attributes
    ----------
    projection : numpy.ndarray of float32, (draws, sites, components + those of the stimulus)
        Of centred weights.
    total : numpy.ndarray of float64, (draws,)
        Sum of squares of the centred weights.
    """

    projection: np.ndarray
    total: np.ndarray


@dataclass(frozen=True)
class _Found:
    """Columns of the table that rest on nulls, and the nulls."""

    columns: dict[str, Any]
    refit: np.ndarray
    share_refit: np.ndarray
    spatial: np.ndarray
    kind: str


def _stacked(pairs: Sequence[Paired], stimulus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of both models over all subjects, float64 (sites, features)."""
    widths = {part.shape[1] for pair in pairs for part in (pair.own, pair.other)}
    widths.add(stimulus.shape[1])
    if len(widths) > 1:
        raise InputError(
            f"components: weights and stimuli have {', '.join(map(str, sorted(widths)))} features; "
            "map both models' weights into one feature space"
        )
    for pair in pairs:
        if not len(pair.own) == len(pair.other) == len(pair.table):
            raise InputError(
                f"components: subject {pair.subject} has {len(pair.own)} and {len(pair.other)} "
                f"sites with weights and {len(pair.table)} in its table; give the same sites"
            )
    own, other = (
        np.concatenate([np.asarray(getattr(pair, name), dtype=np.float64) for pair in pairs])
        for name in ("own", "other")
    )
    return own, other


def _defined(weights: np.ndarray) -> np.ndarray:
    """Sites that have weights."""
    return np.asarray(np.isfinite(weights).all(axis=1) & np.any(weights != 0, axis=1))


def _drawn(pairs: Sequence[Paired], used: np.ndarray, axes: np.ndarray) -> _Drawn:
    """Project each subject's draws as they come; the fewest draws of any subject count."""
    projected: list[np.ndarray] = []
    sums: list[np.ndarray] = []
    squares: list[np.ndarray] = []
    starts = np.cumsum([0, *(len(pair.own) for pair in pairs)])
    for pair, start in zip(pairs, starts, strict=False):
        rows = used[start : start + len(pair.own)]
        parts = [_reduced(np.asarray(draw)[rows], axes) for draw in pair.draws]
        if not parts:
            raise InputError(
                f"components: subject {pair.subject} has no draws of its weights; give at least 1"
            )
        projected.append(np.stack([part[0] for part in parts]))
        sums.append(np.stack([part[1] for part in parts]))
        squares.append(np.array([part[2] for part in parts]))
    n = min(map(len, projected))
    projection = np.concatenate([part[:n] for part in projected], axis=1)
    mean = np.sum([part[:n] for part in sums], axis=0) / projection.shape[1]
    total = np.sum([part[:n] for part in squares], axis=0)
    total = total - projection.shape[1] * np.sum(mean**2, axis=1)
    centred = projection - (mean @ axes.T)[:, None, :]
    return _Drawn(centred.astype(np.float32), total)


def _reduced(weights: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Projections of one draw, (sites, axes), the sum of its weights and their squares."""
    values = weights.astype(np.float64)
    return values @ axes.T, values.sum(axis=0), float(np.sum(values**2))


def _tested(
    data: _Data,
    loadings: np.ndarray,
    stimulus: np.ndarray,
    drawn: _Drawn,
    params: Mapping[str, Any],
    seed: int,
) -> _Found:
    """Correlations and shares with their nulls."""
    k, subject = len(loadings), data.subject
    own = (data.own - data.own.mean(axis=0)) @ loadings.T
    other = (data.other - data.other.mean(axis=0)) @ loadings.T
    r = correlations(own, other, subject)
    refit = np.stack([correlations(own, part[:, :k], subject) for part in drawn.projection])
    kind, spatial = _spatial(own, other, data.sites, params, seed)
    p_refit, p_spatial, p, q = _decided(r, refit, spatial)
    level = float(params.get("fdr", 0.05))
    shuffled = []
    for number in range(min(_SHUFFLED, len(refit) // 2)):
        part = drawn.projection[number, :, :k]
        _, found = _spatial(own, part, data.sites, params, seed_for(seed, "shuffled", str(number)))
        decided = _decided(refit[number], np.delete(refit, number, axis=0), found)
        shuffled.append(bool((np.nan_to_num(decided[-1], nan=1.0) <= level).any()))
    share_drawn = np.sum(drawn.projection.astype(np.float64) ** 2, axis=1) / drawn.total[:, None]
    share, share_stimulus = explained(data.other, loadings), explained(data.other, stimulus)
    beyond = _beyond(share, share_stimulus)
    columns = {
        "r": r,
        "refit_mean": mean_of_finite(refit),
        "refit_sd": _spread(refit),
        "p_refit": p_refit,
        "spatial_sd": _spread(spatial),
        "p_spatial": p_spatial,
        "p": p,
        "q": q,
        "significant": np.nan_to_num(q, nan=1.0) <= level,
        "shuffled_any": float(np.mean(shuffled)) if shuffled else np.nan,
        "n_shuffled": len(shuffled),
        "share_other": share,
        "share_other_null": share_drawn[:, :k].mean(axis=0),
        "p_share": p_values(share, share_drawn[:, :k]),
        "share_stimulus": _filled(share_stimulus, k),
        "p_stimulus": p_values(beyond, _beyond(share_drawn[:, :k], share_drawn[:, k:])),
    }
    return _Found(columns, refit, share_drawn[:, :k], spatial, kind)


def _decided(
    r: np.ndarray, refit: np.ndarray, spatial: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compute p against refits, against maps in space, the larger of both, and q."""
    p_refit = p_values(r, refit)
    p_spatial = p_values(r, spatial) if len(spatial) else np.full(len(r), np.nan)
    p = np.fmax(p_refit, p_spatial)
    return p_refit, p_spatial, p, bh(p)


def _spread(null: np.ndarray) -> np.ndarray:
    """Compute the standard deviation over draws that have a value; NaN where none has."""
    return np.asarray(np.sqrt(mean_of_finite((null - mean_of_finite(null)) ** 2)))


def _beyond(share: np.ndarray, share_stimulus: np.ndarray) -> np.ndarray:
    """Share of components up to each one, beyond that of as many of the stimulus."""
    reference = _filled(share_stimulus, share.shape[-1], 0.0)
    return np.asarray(np.cumsum(share, axis=-1) - np.cumsum(reference, axis=-1))


def _filled(values: np.ndarray, n: int, fill: float = np.nan) -> np.ndarray:
    """First `n` along the last axis, filled up where there are fewer."""
    values = values[..., :n]
    missing = [(0, 0)] * (values.ndim - 1) + [(0, n - values.shape[-1])]
    return np.pad(values, missing, constant_values=fill)


def _spatial(
    own: np.ndarray,
    other: np.ndarray,
    sites: pd.DataFrame,
    params: Mapping[str, Any],
    seed: int,
) -> tuple[str, np.ndarray]:
    """Kind of the spatial null and its correlations, (surrogates, components)."""
    asked, n = str(params.get("spatial", "auto")), int(params.get("surrogates", 1000))
    if asked not in SPATIAL:
        raise InputError(f"components: spatial '{asked}' is not one of {', '.join(SPATIAL)}")
    has = {"spin": _complete(sites, _SPHERE), "spectral": _complete(sites, _PLACE), "none": True}
    kind = next(name for name, there in has.items() if there) if asked == "auto" else asked
    if not has[kind]:
        where = "places on a sphere" if kind == "spin" else "positions"
        raise InputError(
            f"components: spatial '{kind}' needs {where} of all sites, and some have none; use "
            "'auto' or 'none'"
        )
    subject = sites["subject"].to_numpy(dtype=str)
    own_seed = seed_for(seed, "spatial")
    if kind == "spin":
        sphere = sites[_SPHERE].to_numpy(dtype=float)
        hemisphere = sites["hemisphere"].to_numpy(dtype=str)
        return kind, spin_null(own, other, sphere, hemisphere, subject, n, own_seed)
    if kind == "spectral":
        place = sites[_PLACE].to_numpy(dtype=float)
        return kind, spectral_null(own, other, place, subject, n, own_seed)
    _log.warning("components: sites have no positions; only refits stand against chance")
    return kind, np.zeros((0, own.shape[1]))


def _complete(sites: pd.DataFrame, names: Sequence[str]) -> bool:
    """Whether every site has all of these coordinates."""
    if not set(names) <= set(sites.columns):
        return False
    return bool(np.isfinite(sites[list(names)].to_numpy(dtype=float)).all())


def _without_each(data: _Data, loadings: np.ndarray, stimulus: np.ndarray) -> dict[str, np.ndarray]:
    """Means over the subjects left out, of what the others' components say about them."""
    own, other = data.parts(data.own), data.parts(data.other)
    names = ("r", "share", "share_other", "share_stimulus", "cosine", "rotated")
    found = {name: np.full((len(own), len(loadings)), np.nan) for name in names}
    for part in left_out(own, loadings):
        at = part.subject, part.mine
        mine, theirs = own[part.subject], other[part.subject]
        alone = np.zeros(len(mine))
        if len(mine) >= _LEAST:
            found["r"][at] = correlations(mine @ part.theirs.T, theirs @ part.theirs.T, alone)
        found["share"][at] = explained(mine, part.theirs)
        found["share_other"][at] = explained(theirs, part.theirs)
        found["share_stimulus"][part.subject] = _filled(explained(mine, stimulus), len(loadings))
        found["cosine"][at] = np.abs(np.sum(loadings[part.mine] * part.theirs, axis=1))
        found["rotated"][at] = np.sum(loadings[part.mine] * part.rotated, axis=1)
    return {f"loso_{name}": mean_of_finite(values) for name, values in found.items()}


def _arrays(
    data: _Data,
    used: np.ndarray,
    sites: pd.DataFrame,
    loadings: np.ndarray,
    found: _Found,
    direction: str,
) -> xr.Dataset:
    """Labelled arrays of all sites; those without weights are NaN."""
    projection = np.full((2, len(sites), len(loadings)), np.nan)
    for number, values in enumerate((data.own, data.other)):
        projection[number, used] = (values - values.mean(axis=0)) @ loadings.T
    members = list(pd.unique(data.subject))
    r = [
        correlations(a @ loadings.T, b @ loadings.T, np.zeros(len(a)))
        if len(a) >= _LEAST
        else np.full(len(loadings), np.nan)
        for a, b in zip(data.parts(data.own), data.parts(data.other), strict=True)
    ]
    return _dataset(
        {
            "loading": loadings.T,
            "projection": projection[0],
            "projection_other": projection[1],
            "centre": data.own.mean(axis=0),
            "r_refit": found.refit,
            "share_other_refit": found.share_refit,
            "r_spatial": found.spatial,
            "r_subject": np.stack(r),
        },
        sites,
        members,
        {"direction": direction, "spatial": found.kind},
    )


_ABOUT = {
    "loading": (("feature", "component"), "weight per standard deviation, scaled to length 1"),
    "projection": (("site", "component"), "projection of the site's centred weights"),
    "projection_other": (
        ("site", "component"),
        "projection of the centred weights of the other model",
    ),
    "centre": (("feature",), "mean over sites of the scaled weights"),
    "r_refit": (("draw", "component"), "correlation in each draw of the other model's weights"),
    "share_other_refit": (("draw", "component"), "share of the other model's variance in a draw"),
    "r_spatial": (("surrogate", "component"), "correlation with each map that is as smooth"),
    "r_subject": (("member", "component"), "correlation over the sites of one subject"),
}


def _dataset(
    values: Mapping[str, np.ndarray],
    sites: pd.DataFrame,
    members: Iterable[str],
    attrs: Mapping[str, str],
) -> xr.Dataset:
    """Variables as `_ABOUT` describes them, float32, with the coordinates that the sites have."""
    texts = [name for name in ("subject", "region", "hemisphere") if name in sites]
    numbers = [name for name in (*_PLACE, *_SPHERE, "score", "score_other") if name in sites]
    names = sites["site"] if "site" in sites else pd.Series(dtype=str)
    return xr.Dataset(
        {
            name: (dims, values[name].astype(np.float32), {"long_name": about, "units": "1"})
            for name, (dims, about) in _ABOUT.items()
        },
        coords={
            "component": np.arange(1, values["loading"].shape[1] + 1),
            "site": ("site", names.astype(str).to_numpy(dtype=object)),
            "member": ("member", np.array(list(members), dtype=object)),
            **{name: ("site", sites[name].astype(str).to_numpy(dtype=object)) for name in texts},
            **{name: ("site", sites[name].to_numpy(dtype=np.float32)) for name in numbers},
        },
        attrs=dict(attrs),
    )


def _nothing(n_features: int, direction: str, sites: pd.DataFrame) -> Shared:
    """No component at all, in the same shape."""
    empty = {
        name: np.zeros([{"feature": n_features, "site": len(sites)}.get(dim, 0) for dim in dims])
        for name, (dims, _) in _ABOUT.items()
    }
    arrays = _dataset(empty, sites, [], {"direction": direction, "spatial": "none"})
    return Shared(pd.DataFrame({name: [] for name in SHARED_COLUMNS}), arrays)
