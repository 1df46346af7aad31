"""Do features and responses run on the same clock? Scores when features are shifted in time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError
from braid.encoding.design import Source, delays_of, layer_names, open_design, open_response
from braid.encoding.fit import fit_encoding

LAG_COLUMNS = {
    "lag": "Samples by which the features come later than the design says",
    "seconds": "The same, s; n/a where samples are events",
    "score": "Held-out r, mean over the targets with a score",
    "n_targets": "Targets with a score",
}


def lag_scan(
    design: Source,
    response: xr.DataArray | Source,
    lags: Sequence[int],
    params: Mapping[str, Any],
    layer: str | None = None,
    targets: int = 200,
) -> pd.DataFrame:
    """Score an encoding model with its features shifted by each lag.

    The lags are added to the delays of the design, within runs. Where the clocks agree the score is
    highest at lag 0, or, with several delays that cover the haemodynamic response, level around it.
    A peak elsewhere tells of onsets that are off, of volumes that were cut off, or of features that
    already hold the haemodynamic response. Every lag has the same rows; those that reach over a
    run's border are zero, which costs large lags a little.

    Parameters
    ----------
    design : xarray.Dataset or path
        Samples must be volumes (evenly spaced within runs).
    response : xarray.DataArray, xarray.Dataset or path
    lags : sequence of int
        Samples; positive ones take earlier features.
    params : mapping
        `folds` and `ridge` of the analysis, as for `fit_encoding`.
    layer : str, optional
        Default: the layer in the middle.
    targets : int
        Targets to fit at most, evenly spaced over all: choosing them by score would favour the lag
        at which they were chosen.

    Returns
    -------
    pandas.DataFrame
        Columns `LAG_COLUMNS`, in the order of `lags`.

    Raises
    ------
    InputError
        If there is no lag, one is no whole number or stands twice, there is no such layer, or
        samples are events.
    """
    design, response = open_design(design), open_response(response)
    names = layer_names(design)
    layer = names[len(names) // 2] if layer is None else layer
    if layer not in names:
        raise InputError(f"lag scan: there is no layer '{layer}'; there are {', '.join(names)}")
    steps = [int(lag) for lag in lags]
    if not steps or len(set(steps)) < len(steps) or any(lag != int(lag) for lag in lags):
        raise InputError(f"lag scan: lags must be different whole numbers of samples, not {lags}")
    if str(design.attrs.get("design")) == "event_locked":
        raise InputError("lag scan: samples are events, which have no neighbours in time")
    number = min(targets, response.sizes["target"])
    kept = np.unique(np.linspace(0, response.sizes["target"] - 1, number).astype(int))
    some = response.isel(target=kept)
    tr = response.attrs.get("repetition_time")
    wanted = {"folds": params.get("folds"), "ridge": params.get("ridge"), "layers": [layer]}
    rows = []
    for lag in steps:
        delays = json.dumps([delay + lag for delay in delays_of(design)])
        fit = fit_encoding(design.assign_attrs(delays=delays), some, wanted)
        scores = fit["score"].sel(layer=layer).values
        found = scores[np.isfinite(scores)]
        seconds = lag * float(tr) if tr not in (None, "") else np.nan
        rows.append((lag, seconds, found.mean() if found.size else np.nan, found.size))
    return pd.DataFrame(rows, columns=list(LAG_COLUMNS))
