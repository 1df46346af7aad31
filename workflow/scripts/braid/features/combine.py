"""Linear combinations: the features of several networks, side by side or projected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from braid.common import InputError


def combine_designs(
    designs: Mapping[str, xr.Dataset], projection: xr.Dataset | None = None
) -> xr.Dataset:
    """Join the designs of several models, layer by layer.

    Models of equal depth are paired by position. Where one is shallower, its layers are paired by
    relative depth: of its d layers, the one at position round(k (d - 1) / (D - 1)) joins the k-th
    of the deepest model's D layers (halves to the even position).

    Features stand side by side. With a learnt projection they are mapped into its dimensions and
    added up. Both are linear, so that they commute with averaging and resampling units, and with
    delays. The means that the projection was learnt without are not subtracted, for they are the
    units' and not those of resampled rows: for a row that is one unit this is a constant per
    column, which a fit takes off.

    Parameters
    ----------
    designs : mapping of str to xarray.Dataset
        Model to design (see `build_design`), in the order in which their features are joined.
    projection : xarray.Dataset, optional
        Of the same models and layers (see `learn_projection`).

    Returns
    -------
    xarray.Dataset
        A design; its layers are called `a:layer+b:layer`. Attribute `models` is a JSON list.
        Without a projection, `widths` is a JSON list, per layer, of the number of features of each
        model.

    Raises
    ------
    InputError
        If there are fewer than two designs, they differ in samples or delays, or the projection
        was learnt for others.
    """
    if len(designs) < 2:
        raise InputError("a combination needs at least two models; add one to its list")
    (first_name, first), *others = designs.items()
    for name, other in others:
        _check_alike(first_name, first, name, other)
    pairs = paired_layers({n: json.loads(design.attrs["layers"]) for n, design in designs.items()})
    labels = [label for label, _ in pairs]
    if projection is not None:
        _check_projection(projection, list(designs), labels)
    variables, widths = {}, []
    for k, (label, chosen) in enumerate(pairs):
        parts = [designs[name][f"layer_{number:02d}"].values for name, number in chosen.items()]
        widths.append([part.shape[1] for part in parts])
        variables[f"layer_{k:02d}"] = xr.DataArray(
            np.concatenate(parts, axis=1)
            if projection is None
            else _projected(parts, projection, k, label),
            dims=("sample", f"feature_{k:02d}"),
            attrs={"layer": label},
        )
    return xr.Dataset(
        variables,
        coords={str(name): first[name] for name in first.coords},
        attrs={
            **first.attrs,
            "layers": json.dumps(labels, ensure_ascii=False),
            "models": json.dumps(list(designs)),
            **({"widths": json.dumps(widths)} if projection is None else {}),
        },
    )


def paired_layers(layers: Mapping[str, Sequence[str]]) -> list[tuple[str, dict[str, int]]]:
    """Layers of a combination: what each is called, and the position of each model's in its own.

    Parameters
    ----------
    layers : mapping of str to sequence of str
        Model to the names of its layers, shallow to deep.
    """
    depth = max(map(len, layers.values()))
    chosen = [
        {name: pair_layer(k, depth, len(found)) for name, found in layers.items()}
        for k in range(depth)
    ]
    return [
        ("+".join(f"{name}:{layers[name][number]}" for name, number in pair.items()), pair)
        for pair in chosen
    ]


def pair_layer(k: int, depth: int, shallower: int) -> int:
    """Layer of a network with `shallower` layers that joins the k-th of `depth` layers."""
    return k if depth == 1 else round(k * (shallower - 1) / (depth - 1))


def _projected(
    parts: Sequence[np.ndarray], projection: xr.Dataset, k: int, label: str
) -> np.ndarray:
    """Features in the dimensions of the k-th pair of layers, float32; summed in float64."""
    total: np.ndarray | float = 0.0
    for side, part in enumerate(parts):
        weights = projection[f"map_{k:02d}_{side}"].values
        if part.shape[1] != len(weights):
            raise InputError(
                f"combination: {label} has a projection for {len(weights)} features and a design "
                f"of {part.shape[1]}; make both again from the same features"
            )
        total = total + part.astype(np.float64) @ weights.astype(np.float64)
    return np.asarray(total, dtype=np.float32)


def _check_projection(projection: xr.Dataset, models: list[str], labels: list[str]) -> None:
    """Stop where a projection was learnt for other models or layers."""
    for name, expected in (("models", models), ("layers", labels)):
        found = json.loads(projection.attrs[name])
        if found != expected:
            raise InputError(
                f"combination: the projection was learnt for the {name} {', '.join(found)}, the "
                f"designs are of {', '.join(expected)}; make it again"
            )


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
