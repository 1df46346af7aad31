"""The size of a design, so that a fit's memory can be planned before it runs."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr


def design_shape(design: xr.Dataset, n_targets: int) -> dict[str, int]:
    """Sizes of what a ridge fit of a design will see.

    Parameters
    ----------
    design : xarray.Dataset
        See `build_design`.
    n_targets : int
        Targets of the response that goes with it.

    Returns
    -------
    dict of str to int
        `samples`, `runs`, `features` (of the widest layer, times delays), `layers`, `targets`.
    """
    widths = [int(variable.shape[1]) for variable in design.data_vars.values()]
    stored = design.attrs.get("delays", "[0]")
    delays = json.loads(stored) if isinstance(stored, str) else stored
    return {
        "samples": int(design.sizes["sample"]),
        "runs": len(np.unique(design["run"].values)),
        "features": max(widths) * len(delays),
        "layers": len(widths),
        "targets": int(n_targets),
    }
