"""Reading designs and responses: delays within runs, and checks that rows belong together."""

from __future__ import annotations

import json
import os

import numpy as np
import xarray as xr

from braid.common import InputError, read_array
from braid.encoding.folds import run_labels

Source = xr.Dataset | str | os.PathLike[str]


def open_design(design: Source) -> xr.Dataset:
    """Give a design as a Dataset, read from its file if a path is given."""
    return design if isinstance(design, xr.Dataset) else _named(read_array(design), design)


def open_response(response: xr.DataArray | Source) -> xr.DataArray:
    """Give a response as a DataArray `(sample, target)`, read from its file if need be."""
    if isinstance(response, xr.DataArray):
        array = response
    else:
        dataset = response if isinstance(response, xr.Dataset) else open_design(response)
        if "response" not in dataset:
            raise InputError(
                f"{name_of(dataset)}: has no variable 'response'; make it with the responses rule"
            )
        array = dataset["response"]
        array.attrs = {**dataset.attrs, **array.attrs}
        array.encoding.setdefault("source", dataset.encoding.get("source", ""))
    return array.transpose("sample", "target")


def layer_names(design: xr.Dataset) -> list[str]:
    """Layers of a design, shallow to deep, as its attribute `layers` lists them."""
    stored = design.attrs.get("layers")
    if stored is None:
        raise InputError(f"{name_of(design)}: the attribute 'layers' is missing; make it anew")
    return list(json.loads(stored)) if isinstance(stored, str) else list(stored)


def read_design(design: Source, layer: str) -> np.ndarray:
    """Read one layer's design matrix, delayed within runs.

    Parameters
    ----------
    design : xarray.Dataset or path
        As `workflow/README.md` describes it.
    layer : str
        Name of a layer, or of its variable (`layer_00`).

    Returns
    -------
    numpy.ndarray of float32, (samples, features x delays)
        Delay-major: all features at the first delay, then all at the second. A positive delay
        takes the features of that many samples earlier; rows that reach over their run's border
        are 0 there.

    Raises
    ------
    InputError
        If there is no such layer, or a feature is not finite.
    """
    design = open_design(design)
    names = layer_names(design)
    variables = {name: f"layer_{number:02d}" for number, name in enumerate(names)}
    variable = variables.get(layer, layer)
    if variable not in design.data_vars:
        raise InputError(
            f"{name_of(design)}: there is no layer '{layer}'; the layers are {', '.join(names)}"
        )
    x = np.asarray(design[variable].transpose("sample", ...).values, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise InputError(
            f"{name_of(design)}: layer '{layer}' is not finite in sample {bad[0]} "
            f"({len(bad)} such samples); extract the features anew"
        )
    return delayed(x, design["run"].values, delays_of(design))


def delays_of(design: xr.Dataset) -> list[int]:
    """Delays of a design, in samples."""
    stored = design.attrs.get("delays", "[0]")
    return [int(delay) for delay in (json.loads(stored) if isinstance(stored, str) else stored)]


def delayed(x: np.ndarray, runs: np.ndarray, delays: list[int]) -> np.ndarray:
    """Put delayed copies of `x` (n, p) side by side, filled with 0 at the borders of runs."""
    if delays == [0]:
        return x
    out = np.zeros((x.shape[0], x.shape[1] * len(delays)), dtype=x.dtype)
    borders = np.flatnonzero(np.diff(runs)) + 1
    for start, stop in zip(np.r_[0, borders], np.r_[borders, len(runs)], strict=True):
        for position, delay in enumerate(delays):
            columns = slice(position * x.shape[1], (position + 1) * x.shape[1])
            first, last = max(start, start + delay), min(stop, stop + delay)
            if first < last:
                out[first:last, columns] = x[first - delay : last - delay]
    return out


def check_aligned(design: xr.Dataset, response: xr.DataArray) -> None:
    """Refuse a design and a response whose samples are not the same, in the same order.

    Raises
    ------
    InputError
        Naming both files and the first row that differs.
    """
    a, b = name_of(design), name_of(response)
    n, m = design.sizes["sample"], response.sizes["sample"]
    if n != m:
        raise InputError(
            f"{a} has {n} samples but {b} has {m}: features and responses do not line up; "
            "make both from the same events"
        )
    for key, tolerance in (("run", 0.0), ("event", 0.0), ("time", 1e-3)):
        if key not in design.coords or key not in response.coords:
            continue
        differ = np.abs(design[key].values - response[key].values) > tolerance
        if differ.any():
            row = int(np.flatnonzero(differ)[0])
            raise InputError(
                f"{a} and {b} differ in '{key}' at sample {row} ({design[key].values[row]} and "
                f"{response[key].values[row]}): features and responses do not line up; "
                "make both from the same events"
            )
    if "runs" in design.attrs and "runs" in response.attrs:
        differing = run_labels(design) != run_labels(response)
        if differing:
            raise InputError(f"{a} and {b} list different runs; make both from the same events")


def name_of(labelled: xr.Dataset | xr.DataArray) -> str:
    """File a labelled array was read from, or what it is, for messages."""
    source = labelled.encoding.get("source")
    if source:
        return str(source)
    return "response" if isinstance(labelled, xr.DataArray) else "design"


def _named(dataset: xr.Dataset, path: str | os.PathLike[str]) -> xr.Dataset:
    """Remember the file that a Dataset came from."""
    dataset.encoding["source"] = os.fspath(path)
    return dataset
