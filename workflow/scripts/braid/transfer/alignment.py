"""Alignment: linear maps between the feature spaces of two networks, from captioned pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, progress
from braid.encoding import Fold, Split, make_grid
from braid.encoding.grid import Grid
from braid.encoding.solver import centred, fit_fixed, fit_selected, prepare
from braid.features.combine import pair_layer
from braid.models.layers import expand

SIDES = ("language", "vision")
FEWEST = 20
"""Pictures from which a map can be learnt."""

QUALITY_COLUMNS = {
    "language_layer": "Layer of the language network, or of the language side of one",
    "vision_layer": "Layer of the vision network, or of the vision side of one",
    "direction": "Space that is predicted from the other: language or vision",
    "n_pictures": "Captioned pictures",
    "n_features": "Features predicted that vary",
    "r2": "Median over these of the share of variance explained, pictures held out",
    "rank": "Mean over held-out rows of the share of wrong matches that predict worse, by the "
    "correlation of predicted and true features: 1 best, .5 by chance",
    "first": "Share of held-out rows whose own match correlates highest",
    "first_chance": "The same by chance",
    "rank_identity": "rank of the features as they are, where both spaces have as many; else n/a",
    "alpha": "Median over features of the penalty of the final map, in mean eigenvalues",
}

Features = Mapping[str, xr.DataArray]


def pair_layers(
    language: Sequence[str], vision: Sequence[str], named: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Pair the layers of two networks, or of the two sides of one, one to one.

    Parameters
    ----------
    language, vision : sequence of str
        Names of the layers, shallow to deep.
    named : mapping of str to str, optional
        Language layer to vision layer; `{0..3}` counts, in both alike. By default every layer of
        the shallower network is paired with the layer of the deeper one at the same relative depth.

    Returns
    -------
    list of (str, str)
        Language layer and vision layer.

    Raises
    ------
    InputError
        If a layer that is named is not there, or is named twice.
    """
    if not named:
        depth = min(len(language), len(vision))
        return [
            (
                language[pair_layer(k, depth, len(language))],
                vision[pair_layer(k, depth, len(vision))],
            )
            for k in range(depth)
        ]
    heard = [name for pattern in named for name in expand(pattern)]
    seen = [name for pattern in named.values() for name in expand(pattern)]
    if len(heard) != len(seen):
        raise InputError(
            f"alignment: {len(heard)} language layers are named and {len(seen)} vision layers; let "
            "both count alike"
        )
    for side, names, there in zip(SIDES, (heard, seen), (language, vision), strict=True):
        for name in names:
            if name not in there:
                raise InputError(
                    f"alignment: there is no {side} layer '{name}'; there are {', '.join(there)}"
                )
            if names.count(name) > 1:
                raise InputError(f"alignment: {side} layer '{name}' is named twice; pair it once")
    return list(zip(heard, seen, strict=True))


def aligned_pairs(maps: xr.Dataset) -> list[tuple[str, str]]:
    """Give the pairs of layers that were aligned: language layer and vision layer."""
    return [(str(heard), str(seen)) for heard, seen in json.loads(maps.attrs["layers"])]


def aligned_layers(maps: xr.Dataset, side: str) -> list[str]:
    """Layers of one side that were aligned."""
    return [pair[SIDES.index(side)] for pair in aligned_pairs(maps)]


def learn_alignment(
    language: Features,
    vision: Features,
    captions: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    params: Mapping[str, Any],
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Learn per pair of layers how to predict one space from the other, in both directions.

    Features of both sides are centred and scaled to unit variance over the pictures; a ridge per
    direction predicts the scaled features Y of one side from those X of the other, with one
    penalty per feature, chosen in folds of whole pictures: M = (X'X + a I)^-1 X'Y. Applied as
    x M. Whether the map holds for other pictures is told by the same folds: features and retrieval
    of the pictures held out.

    Parameters
    ----------
    language, vision : mapping of str to xarray.DataArray
        Layer to (unit, feature): features of captions, and of pictures.
    captions : pandas.DataFrame
        One row per caption: `picture` and `caption`, the units of both.
    pairs : sequence of (str, str)
        See `pair_layers`.
    params : mapping
        `captions`: `mean` (features of a picture's captions are averaged) or `rows` (each counts);
        `folds`; `alphas` (`low`, `high`, `n`: powers of ten, in mean eigenvalues).

    Returns
    -------
    maps : xarray.Dataset
        For the k-th pair, k of two digits: `to_vision_k (language_k, vision_k)`, `to_language_k
        (vision_k, language_k)`, float32; `mean_language_k`, `sd_language_k`, `mean_vision_k`,
        `sd_vision_k`, float64 (0 where a feature does not vary). Attribute `layers`: JSON list of
        pairs.
    quality : pandas.DataFrame
        Columns of `QUALITY_COLUMNS`, a row per pair and direction.

    Raises
    ------
    InputError
        If there are fewer than twenty pictures, a unit has no features, or a value is not finite.
    """
    n_pictures = captions["picture"].nunique()
    if n_pictures < FEWEST:
        raise InputError(
            f"alignment: {n_pictures} captioned pictures are too few; give at least {FEWEST}"
        )
    variables: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for k, (heard, seen) in enumerate(progress(pairs, "aligning")):
        sides = _rows_of(language[heard], vision[seen], captions, params["captions"])
        pictures = sides.pop("picture")
        scaled = {}
        for name, values in sides.items():
            mean, sd = values.mean(axis=0), values.std(axis=0)
            # what rounding leaves of a constant is a constant
            sd = np.where(sd > 1e-6 * np.abs(mean), sd, 0.0)
            variables[f"mean_{name}_{k:02d}"] = ((f"{name}_{k:02d}",), mean)
            variables[f"sd_{name}_{k:02d}"] = ((f"{name}_{k:02d}",), sd)
            scaled[name] = _scaled(values, mean, sd)
        for to, of in (SIDES, SIDES[::-1]):
            weights, found = _map(scaled[of], scaled[to], pictures, params)
            variables[f"to_{to}_{k:02d}"] = (
                (f"{of}_{k:02d}", f"{to}_{k:02d}"),
                weights.astype(np.float32),
            )
            rows.append(
                {
                    "language_layer": heard,
                    "vision_layer": seen,
                    "direction": to,
                    "n_pictures": n_pictures,
                    "n_features": int(np.count_nonzero(variables[f"sd_{to}_{k:02d}"][1])),
                    **found,
                }
            )
    maps = xr.Dataset(variables, attrs={"layers": json.dumps([list(pair) for pair in pairs])})
    return maps, pd.DataFrame(rows)[list(QUALITY_COLUMNS)]


def aligned(features: Features, maps: xr.Dataset, to: str) -> dict[str, xr.DataArray]:
    """Take features of one side into the space of the other: x M, in that space's own units.

    Parameters
    ----------
    features : mapping of str to xarray.DataArray
        Layer to (unit, feature); layers without a partner are left out.
    maps : xarray.Dataset
        From `learn_alignment`.
    to : {"language", "vision"}
        The space that they are taken into.

    Returns
    -------
    dict of str to xarray.DataArray
        By the layer of that space, float32 (unit, feature).

    Raises
    ------
    InputError
        If a paired layer is absent or has another number of features than it had.
    """
    of = SIDES[1 - SIDES.index(to)]
    found = {}
    for k, pair in enumerate(aligned_pairs(maps)):
        names = dict(zip(SIDES, pair, strict=True))
        if names[of] not in features:
            raise InputError(
                f"alignment: layer '{names[of]}' was aligned but has no features; extract it, or "
                f"leave it out of the alignment's layers"
            )
        values = features[names[of]].transpose("unit", ...)
        mean, sd = (maps[f"{what}_{of}_{k:02d}"].values for what in ("mean", "sd"))
        if values.shape[1] != len(mean):
            raise InputError(
                f"alignment: layer '{names[of]}' has {values.shape[1]} features, but was aligned "
                f"with {len(mean)}; learn the alignment anew"
            )
        moved = _scaled(values.values.astype(float), mean, sd) @ maps[f"to_{to}_{k:02d}"].values
        there = moved * maps[f"sd_{to}_{k:02d}"].values + maps[f"mean_{to}_{k:02d}"].values
        found[names[to]] = xr.DataArray(
            there.astype(np.float32), {"unit": values["unit"].values}, ("unit", "feature")
        )
    return found


def plain_maps(
    maps: xr.Dataset, pair: int, standardized: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Give both maps of a pair of layers in the units of designs, without their means.

    Parameters
    ----------
    maps : xarray.Dataset
        From `learn_alignment`.
    pair : int
        Position of the pair of layers.
    standardized : sequence of str
        Sides whose designs have z-scored features; the others' are in the features' own units.

    Returns
    -------
    to_vision, to_language : numpy.ndarray of float64
        (language features, vision features) and (vision features, language features): of features
        that a design has centred, x_L to_vision is about x_V.
    """
    found = []
    for to, of in (SIDES[::-1], SIDES):
        weights = maps[f"to_{to}_{pair:02d}"].values.astype(np.float64)
        sd_of, sd_to = (
            np.sign(sd) if side in standardized else sd
            for side, sd in ((one, maps[f"sd_{one}_{pair:02d}"].values) for one in (of, to))
        )
        inverse = np.divide(1.0, sd_of, out=np.zeros_like(sd_of), where=sd_of > 0)
        found.append(inverse[:, None] * weights * sd_to)
    return found[0], found[1]


def aligned_weights(weights: np.ndarray, maps: xr.Dataset, layer: str, to: str) -> np.ndarray:
    """Take the weights of a model of one side into the space of the other.

    A model of vision features x_V predicts x_V b_V. For what is heard x_V is about x_L M, with M
    the map from language to vision features, so that x_L (M b_V) predicts the same: the weights
    are multiplied by the map that leads *to* their own space.

    Parameters
    ----------
    weights : numpy.ndarray, (..., features)
        Per standard deviation of the features.
    maps : xarray.Dataset
        From `learn_alignment`.
    layer : str
        Layer of the space that the weights are taken from.
    to : {"language", "vision"}
        The space that they are taken into.

    Returns
    -------
    numpy.ndarray, (..., features of that space)
        Per standard deviation of the features over the captioned pictures.
    """
    of = SIDES[1 - SIDES.index(to)]
    own = aligned_layers(maps, of)
    if layer not in own:
        raise InputError(f"alignment: layer '{layer}' was not aligned; there are {', '.join(own)}")
    found: np.ndarray = weights @ maps[f"to_{of}_{own.index(layer):02d}"].values.T
    return found


def _rows_of(
    language: xr.DataArray, vision: xr.DataArray, captions: pd.DataFrame, how: str
) -> dict[str, np.ndarray]:
    """Rows of both sides that belong together, and the number of their picture."""
    picture, first = np.unique(captions["picture"].to_numpy(str), return_inverse=True)
    seen = _values(vision, picture, "picture")
    heard = _values(language, captions["caption"].to_numpy(str), "caption")
    if how == "rows":
        return {"language": heard, "vision": seen[first], "picture": first}
    if how != "mean":
        raise InputError(f"alignment.captions: '{how}' is not one of mean, rows, join, first")
    total = np.zeros((len(picture), heard.shape[1]))
    np.add.at(total, first, heard)
    count = np.bincount(first, minlength=len(picture))[:, None]
    return {"language": total / count, "vision": seen, "picture": np.arange(len(picture))}


def _values(features: xr.DataArray, units: np.ndarray, what: str) -> np.ndarray:
    """Features of some units, float64 (unit, feature)."""
    rows = pd.Index(features["unit"].values.astype(str)).get_indexer(pd.Index(units))
    if (rows < 0).any():
        raise InputError(
            f"alignment: {what} unit {units[int(np.argmax(rows < 0))]} has no features; run the "
            "workflow again from the captioned pictures"
        )
    values = features.transpose("unit", ...).values[rows].astype(np.float64)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"alignment: features of {what} unit {units[int(np.argmax(bad))]} hold a value that is "
            "not a finite number; remove them from the feature store and extract them again"
        )
    return values


def _scaled(values: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Centre and scale; 0 where a feature does not vary."""
    return np.divide(values - mean, sd, out=np.zeros_like(values), where=sd > 0)


def _map(
    x: np.ndarray, y: np.ndarray, pictures: np.ndarray, params: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, float]]:
    """Map from x to y, (x features, y features), and how it does on pictures held out."""
    grid = make_grid(params["alphas"], "trace")
    varies = y.std(axis=0) > 0
    weights = np.zeros((x.shape[1], y.shape[1]))
    if not varies.any() or not (x.std(axis=0) > 0).any():
        raise InputError(
            "alignment: all pictures, or all captions, have the same features in a layer; leave it "
            "out of the alignment's layers"
        )

    predicted = np.zeros_like(y)
    ranks, firsts, plain, chance = [], [], [], []
    n_folds = int(params["folds"])
    for train, test in _folds(pictures, n_folds):
        found, _ = _ridge(x[train], y[train][:, varies], _folds(pictures[train], n_folds), grid)
        centre = x[train].mean(axis=0), y[train][:, varies].mean(axis=0)
        predicted[np.ix_(test, varies)] = (x[test] - centre[0]) @ found + centre[1]
        ranks += [_ranks(predicted[test], y[test], pictures[test])]
        firsts += [ranks[-1] >= 1]
        chance += [np.full(len(test), 1 / len(np.unique(pictures[test])))]
        if x.shape == y.shape:
            plain += [_ranks(x[test], y[test], pictures[test])]
    left = ((y - predicted) ** 2).sum(axis=0)[varies]
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)[varies]
    weights[:, varies], alpha = _ridge(x, y[:, varies], _folds(pictures, n_folds), grid)
    # features of unit variance: the mean eigenvalue of their Gram matrix is the number of rows
    return weights, {
        "r2": float(np.median(1 - left / total)),
        "rank": float(np.concatenate(ranks).mean()),
        "first": float(np.concatenate(firsts).mean()),
        "first_chance": float(np.concatenate(chance).mean()),
        "rank_identity": float(np.concatenate(plain).mean()) if plain else np.nan,
        "alpha": float(np.median(alpha) / len(x)),
    }


def _ridge(
    x: np.ndarray, y: np.ndarray, splits: Sequence[tuple[np.ndarray, np.ndarray]], grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of centred features, (x features, y features), and the penalty of each y feature."""
    rows = np.arange(len(x))
    fold = Fold("all", rows, rows, tuple(Split(*split) for split in splits))
    problem = prepare(x, [fold], grid, False, dtype=np.float64)
    block = centred(problem.arrange(y))[0]
    if len(grid.values) == 1:
        basis = problem.form.basis(problem.form.layout.members(rows))
        alpha = np.full(y.shape[1], grid.absolute(basis.mean_eigenvalue)[0])
        return fit_fixed(problem, block, rows, alpha)[0], alpha
    weights, _, alpha = fit_selected(problem, block, fold, grid, "r2")
    return weights, alpha


def _folds(pictures: np.ndarray, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds of whole pictures: training and held-out rows."""
    part = np.unique(pictures, return_inverse=True)[1] % n
    return [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(n)]


def _ranks(predicted: np.ndarray, true: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """Share of rows of other pictures that fit a prediction worse than its own row, (rows,)."""
    a, b = (
        _scaled(one.T, one.mean(axis=1), one.std(axis=1)).T / np.sqrt(one.shape[1])
        for one in (predicted, true)
    )
    match = a @ b.T
    other = pictures[:, None] != pictures[None]
    own = np.diag(match)[:, None]
    better = ((match < own) + 0.5 * (match == own)) * other
    return np.asarray(better.sum(axis=1) / other.sum(axis=1))
