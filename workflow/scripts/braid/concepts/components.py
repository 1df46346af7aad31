"""Principal components of encoding weights over the significant sites of all subjects."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError
from braid.concepts.pca import left_out_shares, of_the_rest, principal, shares
from braid.concepts.weights import Member, Weights, weights_of
from braid.inference.decision import p_values

COMPONENTS_COLUMNS = {
    "component": "Number of the component, 1 has the largest share",
    "share": "Share of the variance of the sites' weights",
    "null_mean": "Mean over the draws of the share of the component of this number",
    "null_sd": "Standard deviation of it over the draws",
    "p": "One-sided p of the component's share in the variance that the components before it "
    "leave, (k + 1) / (n_draws + 1)",
    "loso_share": "Share of a left-out subject's variance that the matching component of the other "
    "subjects explains, mean over subjects",
    "n_sites": "Sites whose weights enter, over all subjects",
    "n_subjects": "Subjects that they come from",
    "n_draws": "Draws of the null: responses circularly shifted within runs and fitted again",
    "layer": "Layer of the network, one for all subjects: highest mean validation r over subjects",
}
_log = logging.getLogger("braid")


@dataclass(frozen=True)
class Components:
    """What the analysis gives.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per component, columns of `COMPONENTS_COLUMNS`; no rows where fewer than two sites
        are significant.
    arrays : xarray.Dataset
        `loading(feature, component)`: of length 1, for features in standard deviations over the
        units; `projection(site, component)`: of the sites' centred weights; `centre(feature)`;
        `share_null(draw, component)`. Coordinates of `site`: `subject`, `region`, `x y z` (mm)
        and `score`.
    """

    table: pd.DataFrame
    arrays: xr.Dataset


def weight_components(
    members: Sequence[Member],
    layer: str,
    scale: np.ndarray,
    params: Mapping[str, Any],
    seed: int,
) -> Components:
    """Principal components of the weights of all subjects' significant sites, with inference.

    Weights are fitted on all rows, averaged over delays, expressed per standard deviation of the
    feature over the units, scaled to length 1 per site and multiplied by the site's held-out r;
    then all subjects' sites are stacked, centred and decomposed. The null fits the same sites,
    with the same penalties, to responses that are circularly shifted within runs. A small p says
    that the weights are more alike than the features' and the sites' own covariance makes them;
    that the sites were chosen for being predictable is not part of the null. Each component is
    tested on the variance that those before it leave.

    Parameters
    ----------
    members : sequence of Member
        One per subject.
    layer : str
        See `common_layer`.
    scale : array, (features,)
        Standard deviation of each feature over the units.
    params : mapping
        `n` (components), `draws`; `folds`, `ridge`, `test` of the analysis (`test.min_shift`).
    seed : int

    Returns
    -------
    Components

    Raises
    ------
    InputError
        If inputs do not belong together, or a run is too short to shift.
    """
    n, n_draws = int(params["n"]), int(params["draws"])
    if n < 1 or n_draws < 1:
        raise InputError(f"components: n ({n}) and draws ({n_draws}) must be at least 1")
    found = [
        weights
        for member in members
        if (weights := weights_of(member, layer, scale, params, n_draws, seed)) is not None
    ]
    n_sites = sum(len(weights.table) for weights in found)
    if n_sites < 2:
        _log.warning(
            "components: %d significant sites are predicted in layer %s; components need two",
            n_sites, layer,
        )  # fmt: skip
        return _nothing(len(scale), layer)
    return _decomposed(found, layer, n)


def _decomposed(found: Sequence[Weights], layer: str, n: int) -> Components:
    """Components of stacked weights."""
    # a subject with few possible shifts has fewer draws
    n_values = min(len(weights.values) for weights in found)
    stacked = np.concatenate([weights.values[:n_values] for weights in found], axis=1).astype(float)
    loadings, share = principal(stacked[0], n)
    null = np.stack([shares(values, len(share)) for values in stacked[1:]])
    sites = pd.concat([weights.table for weights in found], ignore_index=True)
    table = pd.DataFrame(
        {
            "component": np.arange(1, len(share) + 1),
            "share": share,
            "null_mean": null.mean(axis=0),
            "null_sd": null.std(axis=0),
            "p": p_values(of_the_rest(share), of_the_rest(null)),
            "loso_share": left_out_shares([weights.values[0] for weights in found], loadings),
            "n_sites": len(sites),
            "n_subjects": len(found),
            "n_draws": len(null),
            "layer": layer,
        }
    )
    centre = stacked[0].mean(axis=0)
    arrays = _arrays(loadings, (stacked[0] - centre) @ loadings.T, centre, null, sites, layer)
    return Components(table, arrays)


def _arrays(
    loadings: np.ndarray,
    projection: np.ndarray,
    centre: np.ndarray,
    null: np.ndarray,
    sites: pd.DataFrame,
    layer: str,
) -> xr.Dataset:
    """Labelled arrays, float32."""
    about = {
        "loading": "weight per standard deviation of the feature, scaled to length 1",
        "projection": "projection of the site's centred weights",
        "centre": "mean over sites of the scaled weights",
        "share_null": "share of variance in each draw",
    }
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "loading": (("feature", "component"), loadings.T),
        "projection": (("site", "component"), projection),
        "centre": (("feature",), centre),
        "share_null": (("draw", "component"), null),
    }
    return xr.Dataset(
        {
            name: (dims, values.astype(np.float32), {"long_name": about[name], "units": "1"})
            for name, (dims, values) in variables.items()
        },
        coords={
            "component": np.arange(1, len(loadings) + 1),
            "site": ("site", sites["site"].astype(str).to_numpy(dtype=object)),
            **{
                name: ("site", sites[name].astype(str).to_numpy(dtype=object))
                for name in ("subject", "region")
            },
            **{
                name: ("site", sites[name].astype(np.float32).to_numpy())
                for name in ("x", "y", "z", "score")
            },
        },
        attrs={"layer": layer},
    )


def _nothing(n_features: int, layer: str) -> Components:
    """No component at all, in the same shape."""
    columns = ["subject", "site", "region", "x", "y", "z", "score"]
    arrays = _arrays(
        np.zeros((0, n_features)),
        np.zeros((0, 0)),
        np.zeros(n_features),
        np.zeros((0, 0)),
        pd.DataFrame({name: [] for name in columns}),
        layer,
    )
    return Components(pd.DataFrame({name: [] for name in COMPONENTS_COLUMNS}), arrays)
