"""Linear combinations: the features of several networks side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import xarray as xr

from braid.common import InputError


def combine_designs(designs: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join the designs of several models, layer by layer.

    Models of equal depth are paired by position. Where one is shallower, its layers are paired by
    relative depth: of its d layers, the one at position round(k (d - 1) / (D - 1)) joins the k-th
    of the deepest model's D layers (halves to the even position).

    Parameters
    ----------
    designs : mapping of str to xarray.Dataset
        Model to design (see `build_design`), in the order in which their features are joined.

    Returns
    -------
    xarray.Dataset
        A design; its layers are called `a:layer+b:layer`. Attribute `models` is a JSON list, and
        `widths` a JSON list, per layer, of the number of features of each model.

    Raises
    ------
    InputError
        If there are fewer than two designs, or they differ in samples or delays.
    """
    if len(designs) < 2:
        raise InputError("a combination needs at least two models; add one to its list")
    (first_name, first), *others = designs.items()
    for name, other in others:
        _check_alike(first_name, first, name, other)
    layers = {name: json.loads(design.attrs["layers"]) for name, design in designs.items()}
    depth = max(map(len, layers.values()))
    variables, labels, widths = {}, [], []
    for k in range(depth):
        chosen = {name: pair_layer(k, depth, len(found)) for name, found in layers.items()}
        parts = [designs[name][f"layer_{number:02d}"].values for name, number in chosen.items()]
        labels.append("+".join(f"{name}:{layers[name][number]}" for name, number in chosen.items()))
        widths.append([part.shape[1] for part in parts])
        variables[f"layer_{k:02d}"] = xr.DataArray(
            np.concatenate(parts, axis=1),
            dims=("sample", f"feature_{k:02d}"),
            attrs={"layer": labels[-1]},
        )
    return xr.Dataset(
        variables,
        coords={str(name): first[name] for name in first.coords},
        attrs={
            **first.attrs,
            "layers": json.dumps(labels, ensure_ascii=False),
            "models": json.dumps(list(designs)),
            "widths": json.dumps(widths),
        },
    )


def pair_layer(k: int, depth: int, shallower: int) -> int:
    """Layer of a network with `shallower` layers that joins the k-th of `depth` layers."""
    return k if depth == 1 else round(k * (shallower - 1) / (depth - 1))


def _check_alike(a: str, first: xr.Dataset, b: str, other: xr.Dataset) -> None:
    """Stop where two designs cannot be joined."""
    for name in ("run", "time", "event"):
        if (name in first) != (name in other):
            raise InputError(f"combination: only one of {a} and {b} has the coordinate '{name}'")
        if name in first and not np.array_equal(first[name].values, other[name].values):
            raise InputError(
                f"combination: the samples of {a} and {b} differ in '{name}'; make both designs "
                "again from the same responses"
            )
    if first.sizes["sample"] != other.sizes["sample"]:
        raise InputError(f"combination: {a} and {b} differ in their number of samples")
    if first.attrs.get("delays") != other.attrs.get("delays"):
        raise InputError(f"combination: the designs of {a} and {b} differ in their delays")
