"""Learnt linear combinations: two networks in the dimensions that pictures and texts share."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, starmap

import numpy as np
import pandas as pd
import xarray as xr
from scipy.linalg import solve_triangular

from braid.common import InputError, progress
from braid.features.combine import paired_layers
from braid.features.units import read_units

FEWEST = 10
"""Units with picture and text from which a projection can be learnt."""

PARTS = 5
"""Contiguous parts of these units, each held out once."""

LEAST_PENALTY = 1e-6
"""Below it the covariances of more features than units cannot be inverted reliably."""

Features = Mapping[str, xr.DataArray]


def learn_projection(
    features: Mapping[str, Features], units: pd.DataFrame, dim: int, penalty: float
) -> xr.Dataset:
    """Learn from the stimuli alone how to project two networks into shared dimensions.

    Layers are paired as `combine_designs` pairs them. Over the units that have a picture and a
    text, a canonical correlation analysis with a ridge (Vinod 1976, "Canonical ridge and
    econometrics of joint production") finds maps W_a and W_b of the features A and B such that
    A W_a and B W_b agree: for the covariances S of the centred features,
    K = (S_aa + r_a I)^(-1/2) S_ab (S_bb + r_b I)^(-1/2) = U C V', W_a = (S_aa + r_a I)^(-1/2) U,
    W_b likewise with V, and r is `penalty` times the mean eigenvalue of S. The combined features
    A W_a + B W_b are a linear projection of the concatenation (A, B). The closed form has no
    randomness; the sign of each dimension is that of its largest weight in W_a.

    Whether something was learnt is seen where it was not learnt from: each of five contiguous
    parts of the units is held out once, and A W_a and B W_b are correlated there.

    Parameters
    ----------
    features : mapping of str to mapping of str to xarray.DataArray
        Two networks; each layer, shallow to deep, (unit, feature).
    units : pandas.DataFrame
        The units table of the contract. Its order matters only for what is held out.
    dim : int
        Dimensions of the combined features; fewer where units or features have fewer.
    penalty : float
        Ridge in mean eigenvalues of a network's covariance.

    Returns
    -------
    xarray.Dataset
        For the k-th pair of layers, with k of two digits and s = 0 for the first network, 1 for the
        second: `map_k_s` (feature_k_s, dimension_k), `mean_k_s` (feature_k_s) over the units,
        `correlation_k` (dimension_k) in the units that it was learnt from, `held_out_k` (part,
        dimension_k) in each part held out, NaN where the others have fewer dimensions; float32,
        of most correlation first. Attributes `models`, `layers` (JSON lists, as in the design),
        `n_units`, `dim`, `penalty`.

    Raises
    ------
    InputError
        If there are not two networks, fewer than ten units have a picture and a text, a network
        has no features of one of them, a feature is not finite, or a layer is the same for all.
    """
    if len(features) != 2:
        raise InputError(f"a projection joins two networks, not {len(features)}; name two")
    if dim < 1 or penalty < LEAST_PENALTY:
        raise InputError(
            f"projection: dim {dim} must be at least 1, and penalty {penalty} at least "
            f"{LEAST_PENALTY}"
        )
    wanted = _paired_units(units)
    pairs = paired_layers({name: list(layers) for name, layers in features.items()})
    variables: dict[str, xr.DataArray] = {}
    for number, (label, chosen) in enumerate(progress(pairs, "learning projections")):
        sides = [
            _matrix(name, list(features[name])[k], features[name], wanted)
            for name, k in chosen.items()
        ]
        variables |= _labelled(f"{number:02d}", *_fitted(sides, dim, penalty))
        _warn_of_chance(label, variables[f"held_out_{number:02d}"].values)
    return xr.Dataset(
        variables,
        attrs={
            "models": json.dumps(list(features)),
            "layers": json.dumps([label for label, _ in pairs], ensure_ascii=False),
            "n_units": len(wanted),
            "dim": dim,
            "penalty": penalty,
        },
    )


def _paired_units(units: pd.DataFrame) -> list[str]:
    """Names of the units that have a picture and a text, in the order of the table."""
    # the root only serves to compute digests that the table lacks, which are not needed here
    listed = read_units(units, "")
    found = [unit.name for unit in listed if unit.text and unit.frame_time is not None]
    if len(found) < FEWEST:
        raise InputError(
            f"units table: {len(found)} of {len(listed)} units have a picture and a text, and a "
            f"projection needs {FEWEST}; use a concatenation (a list of networks) instead"
        )
    return found


def _matrix(name: str, layer: str, layers: Features, wanted: list[str]) -> np.ndarray:
    """Features of the wanted units, float64 (unit, feature)."""
    stored = layers[layer]
    rows = pd.Index(stored["unit"].values.astype(str)).get_indexer(pd.Index(wanted))
    if (rows < 0).any():
        raise InputError(
            f"features of {name}: unit {wanted[int(np.argmax(rows < 0))]} has no features in layer "
            f"{layer}; run the workflow again from the units"
        )
    values = stored.values[rows].astype(np.float64)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"features of {name}: layer {layer} of unit {wanted[int(np.argmax(bad))]} holds a "
            "value that is not a finite number; remove its entry from the feature store and "
            "extract it again"
        )
    if (values == values[0]).all():
        raise InputError(
            f"features of {name}: layer {layer} is the same for all units with picture and text; "
            "leave the network out of the projection"
        )
    return values


def _fitted(
    sides: list[np.ndarray], dim: int, penalty: float
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray, np.ndarray]:
    """Fit a pair of layers: maps and means of both, correlations where learnt and held out."""
    means = [side.mean(axis=0) for side in sides]
    spans = [_in_row_space(side - mean) for side, mean in zip(sides, means, strict=True)]
    # covariances in the row space have the trace of those of all features, not their mean
    ridges = [penalty / side.shape[1] for side in sides]
    both, width = np.hstack([span.rows for span in spans]), spans[0].rows.shape[1]
    gram = both.T @ both
    maps = _canonical_maps(gram / len(both), width, ridges, dim)
    held_out = np.full((PARTS, maps[0].shape[1]), np.nan)
    for part, rows in enumerate(_contiguous(len(both))):
        left = both[rows]
        n = len(both) - len(left)
        # all rows sum to zero, so those kept have the held-out ones' sum with the other sign
        mean = left.sum(axis=0) / n
        rest = (gram - left.T @ left) / n - np.outer(mean, mean)
        a, b = _canonical_maps(rest, width, ridges, dim)
        kept = min(a.shape[1], held_out.shape[1])
        found = _correlations(left[:, :width] @ a, left[:, width:] @ b)
        held_out[part, :kept] = found[:kept]
    learnt = _correlations(both[:, :width] @ maps[0], both[:, width:] @ maps[1])
    whole = [span.unfold(found) for span, found in zip(spans, maps, strict=True)]
    signs = np.sign(whole[0][np.abs(whole[0]).argmax(axis=0), np.arange(len(learnt))])
    return [found * signs for found in whole], means, learnt, held_out


@dataclass(frozen=True)
class _Span:
    """Coordinates `rows` in the space that features span, and its `basis` (None: their own)."""

    rows: np.ndarray
    basis: np.ndarray | None = None

    def unfold(self, weights: np.ndarray) -> np.ndarray:
        """Weights of the features themselves."""
        return weights if self.basis is None else self.basis @ weights


def _in_row_space(values: np.ndarray) -> _Span:
    """Take features in the space that their rows span, where they are more than rows.

    A canonical map has no weight outside it, so that more features cost no more than as many as
    there are units.
    """
    if values.shape[1] <= len(values):
        return _Span(values)
    basis, rows = np.linalg.qr(values.T)
    return _Span(rows.T, basis)


def _canonical_maps(
    covariance: np.ndarray, width: int, ridges: list[float], dim: int
) -> tuple[np.ndarray, np.ndarray]:
    """Solve for both maps, given the joint covariance; the first side has `width` columns.

    Cholesky factors stand for the square roots, which differ from them by a rotation only.
    """
    sides = [covariance[:width, :width], covariance[width:, width:]]
    factors = [
        np.linalg.cholesky(side + ridge * np.trace(side) * np.eye(len(side)))
        for side, ridge in zip(sides, ridges, strict=True)
    ]
    half = solve_triangular(factors[0], covariance[:width, width:], lower=True)
    coupled = solve_triangular(factors[1], half.T, lower=True).T
    left, strength, right = np.linalg.svd(coupled, full_matrices=False)
    # directions beyond the rank are those of rounding, which the ridges magnify
    smallest = max(coupled.shape) * np.finfo(float).eps / np.sqrt(ridges[0] * ridges[1])
    kept = min(dim, int((strength > smallest).sum()))
    rotations = (left[:, :kept], right[:kept].T)
    a, b = (
        solve_triangular(factor, rotation, lower=True, trans="T")
        for factor, rotation in zip(factors, rotations, strict=True)
    )
    return a, b


def _contiguous(n: int) -> Iterator[slice]:
    """Contiguous parts of n rows, as equal as can be."""
    borders = np.linspace(0, n, PARTS + 1).round().astype(int)
    return starmap(slice, pairwise(borders))


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson correlation of each column of a with that of b; NaN where one does not vary."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    empty = np.full(scale.shape, np.nan)
    return np.divide((a * b).sum(axis=0), scale, out=empty, where=scale > 0)


def _labelled(
    number: str,
    maps: list[np.ndarray],
    means: list[np.ndarray],
    learnt: np.ndarray,
    held_out: np.ndarray,
) -> dict[str, xr.DataArray]:
    """Name the arrays of a pair of layers."""
    dimension = f"dimension_{number}"
    arrays: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
    for side, (found, mean) in enumerate(zip(maps, means, strict=True)):
        feature = f"feature_{number}_{side}"
        arrays[f"map_{number}_{side}"] = (found, (feature, dimension))
        arrays[f"mean_{number}_{side}"] = (mean, (feature,))
    arrays[f"correlation_{number}"] = (learnt, (dimension,))
    arrays[f"held_out_{number}"] = (held_out, ("part", dimension))
    return {
        name: xr.DataArray(values.astype(np.float32), dims=dims)
        for name, (values, dims) in arrays.items()
    }


def _warn_of_chance(label: str, held_out: np.ndarray) -> None:
    """Warn where even the first dimension does not hold for units that were held out."""
    if not np.nanmean(held_out[:, 0]) > 0:
        warnings.warn(
            f"projection of {label}: pictures and texts do not agree on units held out "
            f"(correlation {np.nanmean(held_out[:, 0]):.2f}); it says nothing of what they share",
            stacklevel=3,
        )
