"""Encoding models of one network and one subject: all layers, nested cross-validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from braid.common import BraidError, InputError, progress
from braid.encoding.design import (
    Source,
    check_aligned,
    layer_names,
    name_of,
    open_design,
    open_response,
    read_design,
)
from braid.encoding.folds import Fold, folds_of
from braid.encoding.grid import Grid, edge_share, make_grid
from braid.encoding.planner import MEMORY_MB, Plan
from braid.encoding.solver import (
    Problem,
    Selection,
    centred,
    cross_validate,
    fit_fixed,
    plan_for,
    predict_fixed,
    prepare,
    select_alpha,
)

_EDGE = 0.05  # share of choices on an edge of the grid that is worth a warning


def fit_encoding(
    design: Source,
    response: xr.DataArray | Source,
    params: Mapping[str, Any],
    device: str = "cpu",
) -> xr.Dataset:
    """Fit ridge from each layer's features to every target, and score it on held-out rows.

    Penalties are chosen per target and outer fold on inner folds of the training rows. The
    chosen layer is the one with the highest mean, over targets and outer folds, of the inner
    folds' r at the chosen penalty. These means are taken inside training rows only; with more
    than one outer fold every row is a training row of some fold, so the layer (one choice for
    all targets) is not independent of the rows that test it. With `holdout` it is.

    Parameters
    ----------
    design : xarray.Dataset or path
    response : xarray.DataArray, xarray.Dataset or path
        `(sample, target)`. Targets with a missing value are left out (NaN) and counted.
    params : mapping
        `folds` (see `make_folds`), `ridge` (`alphas`, `alpha_scale`, `select`, `standardize`,
        `form`, `memory_mb`, `save_weights`), `layers` ("all", "last" or a list of names).
    device : {"cpu", "auto", "cuda"}

    Returns
    -------
    xarray.Dataset
        As `workflow/README.md` describes it under "Fit"; with `save_weights` also
        `weights(feature, target)` and `intercept(target)` of the chosen layer, fitted on all rows.

    Raises
    ------
    InputError
        If design and response do not line up, or a parameter is not possible.
    BraidError
        If the device is not available, or the problem does not fit the memory limit.
    """
    check_device(device)
    design, response = open_design(design), open_response(response)
    check_aligned(design, response)
    ridge = dict(params.get("ridge") or {})
    grid = grid_of(ridge)
    folds = folds_of(response, params.get("folds") or {"scheme": "blocks", "n": 5})
    layers = chosen_layers(design, params.get("layers") or "all")
    y, finite = finite_targets(response)
    found: dict[str, Selection] = {}
    logs: dict[str, dict[str, Any]] = {}
    for layer in progress(layers, "fitting layers"):
        found[layer], logs[layer] = _fit_layer(read_design(design, layer), y, folds, grid, ridge)
    best = best_layer(found)
    fit = _to_dataset(response, folds, found, finite)
    prediction = np.full(response.shape, np.nan, dtype=np.float32)
    prediction[:, finite] = _predict(read_design(design, best), y, folds, grid, ridge, found[best])
    fit["prediction"] = (
        ("sample", "target"),
        prediction,
        {"long_name": f"held-out prediction of layer {best}", "units": "as the response"},
    )
    if ridge.get("save_weights"):
        fit = fit.merge(refit_weights(design, response, best, params))
    fit.attrs = _attributes(design, response, best, found, logs, grid, ridge, finite)
    return fit


def refit_weights(
    design: Source,
    response: xr.DataArray | Source,
    layer: str,
    params: Mapping[str, Any],
) -> xr.Dataset:
    """Fit one layer on all rows, with penalties chosen by the outer folds.

    Parameters
    ----------
    design, response, params
        As for `fit_encoding`.
    layer : str

    Returns
    -------
    xarray.Dataset
        `weights(feature, target)` for the features as `read_design` gives them, `intercept`
        and `alpha_all(target)`; NaN for targets that have missing values.
    """
    design, response = open_design(design), open_response(response)
    ridge = dict(params.get("ridge") or {})
    grid = grid_of(ridge)
    x = read_design(design, layer)
    outer = folds_of(response, params.get("folds") or {"scheme": "blocks", "n": 5})
    y, finite = finite_targets(response)
    rows = np.unique(np.concatenate([np.r_[fold.train, fold.test] for fold in outer]))
    everything = whole_fold(outer, rows)
    problem, plan = _prepared(x, [everything], grid, ridge, y.shape[1])
    weights = np.full((x.shape[1], response.sizes["target"]), np.nan, dtype=np.float32)
    intercept = np.full(response.sizes["target"], np.nan)
    alphas = np.full(response.sizes["target"], np.nan)
    columns = np.flatnonzero(finite)
    for part in _blocks(len(columns), plan.block):
        block, mean = centred(problem.arrange(y[:, part]))
        alpha, _ = select_alpha(problem, block, everything, grid, ridge.get("select", "r"))
        found, added = fit_fixed(problem, block, rows, alpha)
        weights[:, columns[part]] = found
        intercept[columns[part]], alphas[columns[part]] = added + mean, alpha
    return xr.Dataset(
        {
            "weights": (("feature", "target"), weights, {"units": "response per feature"}),
            "intercept": ("target", intercept.astype(np.float32)),
            "alpha_all": ("target", alphas.astype(np.float32)),
        },
        coords={"target": response["target"]},
        attrs={"layer": layer},
    )


def whole_fold(outer: list[Fold], rows: np.ndarray) -> Fold:
    """Fold that trains on all rows in use, with the outer folds (or one's inner) inside."""
    from braid.encoding.folds import Split

    if len(outer) > 1:
        splits = tuple(Split(fold.train, fold.test) for fold in outer)
    else:
        fold = outer[0]
        splits = (Split(fold.train, fold.test), Split(fold.test, fold.train))
    return Fold("all", rows, rows, splits)


def check_device(device: str) -> None:
    """Refuse a device that is not there; never fall back in silence.

    Raises
    ------
    BraidError
        For `cuda`: there is no CUDA device, or this solver does not use it.
    InputError
        For a name that is no device.
    """
    if device not in ("cpu", "auto", "cuda"):
        raise InputError(f"device: '{device}' is not one of cpu, cuda, auto")
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise BraidError(
                "device: cuda was asked for, but there is no CUDA device here; use auto"
            )
        raise BraidError("device: cuda is not supported by the ridge solver; use auto or cpu")


def grid_of(ridge: Mapping[str, Any]) -> Grid:
    """Make the grid of penalties from the config's `ridge` entry."""
    default = {"low": -2, "high": 6, "n": 15}
    return make_grid(ridge.get("alphas") or default, ridge.get("alpha_scale", "trace"))


def chosen_layers(design: xr.Dataset, wanted: str | list[str]) -> list[str]:
    """Layers to fit: all, the last (deepest), or those named."""
    names = layer_names(design)
    if wanted == "all":
        return names
    if wanted == "last":
        return names[-1:]
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    for layer in wanted:
        if layer not in names:
            raise InputError(
                f"{name_of(design)}: there is no layer '{layer}'; the layers are {', '.join(names)}"
            )
    return wanted


def finite_targets(response: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Targets without missing values, float32 (samples, finite targets), and their mask.

    Raises
    ------
    InputError
        If no target is left.
    """
    y = np.asarray(response.values, dtype=np.float32)
    finite = np.asarray(np.isfinite(y).all(axis=0))
    if not finite.any():
        raise InputError(
            f"{name_of(response)}: every target has missing values; check the preprocessing"
        )
    return (y if finite.all() else y[:, finite]), finite


def best_layer(found: Mapping[str, Selection]) -> str:
    """Layer with the highest mean validation r over targets and folds; the first of equals."""
    means = {
        layer: float(np.nanmean(selection.validation))
        if np.isfinite(selection.validation).any()
        else -np.inf
        for layer, selection in found.items()
    }
    return max(means, key=lambda layer: means[layer])


def _prepared(
    x: np.ndarray, folds: list[Fold], grid: Grid, ridge: Mapping[str, Any], n_targets: int
) -> tuple[Problem, Plan]:
    """Problem and plan of one layer."""
    problem = prepare(
        x, folds, grid, ridge.get("standardize", True), form=ridge.get("form", "auto")
    )
    plan = plan_for(
        problem,
        x.shape[1],
        n_targets,
        len(grid.values),
        memory_mb=ridge.get("memory_mb", MEMORY_MB),
    )
    return problem, plan


def _blocks(n: int, size: int) -> list[slice]:
    """Slices of at most `size`."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _fit_layer(
    x: np.ndarray, y: np.ndarray, folds: list[Fold], grid: Grid, ridge: Mapping[str, Any]
) -> tuple[Selection, dict[str, Any]]:
    """Nested cross-validation of one layer, in blocks of targets."""
    problem, plan = _prepared(x, folds, grid, ridge, y.shape[1])
    parts = [
        cross_validate(
            problem,
            centred(problem.arrange(y[:, part]))[0],
            grid,
            ridge.get("select", "r"),
        )
        for part in _blocks(y.shape[1], plan.block)
    ]
    selection = Selection(
        *(
            np.concatenate([getattr(part, name) for part in parts], axis=1)
            for name in ("index", "alpha", "score", "validation")
        )
    )
    log = {
        "form": problem.form.name,
        "why": problem.why,
        "plan": json.loads(plan.to_json()),
        "n_features": x.shape[1],
        "n_zero_columns": max(problem.n_zero(number) for number in range(len(folds))),
    }
    return selection, log


def _predict(
    x: np.ndarray,
    y: np.ndarray,
    folds: list[Fold],
    grid: Grid,
    ridge: Mapping[str, Any],
    selection: Selection,
) -> np.ndarray:
    """Held-out predictions of the chosen layer, (samples, targets), NaN where never tested."""
    problem = prepare(
        x,
        folds,
        grid,
        ridge.get("standardize", True),
        ridge.get("form", "auto"),
        nested=False,
        alpha_floor=float(selection.alpha.min()),
    )
    out = np.full(y.shape, np.nan, dtype=np.float32)
    plan = plan_for(problem, x.shape[1], y.shape[1], 1, False, ridge.get("memory_mb", MEMORY_MB))
    for part in _blocks(y.shape[1], plan.block):
        block, mean = centred(problem.arrange(y[:, part]))
        predict_fixed(problem, block, selection.alpha[:, part], out[:, part], mean)
    constant = np.all(np.isnan(selection.score), axis=0)
    out[:, constant] = np.nan
    return out


def _to_dataset(
    response: xr.DataArray,
    folds: list[Fold],
    found: Mapping[str, Selection],
    finite: np.ndarray,
) -> xr.Dataset:
    """Scores and penalties of all layers as labelled arrays."""
    shape = (len(found), len(folds), len(finite))
    arrays = {
        name: np.full(shape, np.nan, dtype=np.float32) for name in ("score", "alpha", "validation")
    }
    for number, selection in enumerate(found.values()):
        for name, array in arrays.items():
            array[number][:, finite] = getattr(selection, name)
    fold_of = np.full(response.sizes["sample"], -1, dtype=np.int32)
    for number, fold in enumerate(folds):
        fold_of[fold.test] = number
    coords = {
        name: coord
        for name, coord in response.coords.items()
        if set(coord.dims) in ({"sample"}, {"target"})
    }
    per_fold = ("layer", "fold", "target")
    return xr.Dataset(
        {
            "score": (
                ("layer", "target"),
                _mean_over_folds(arrays["score"]),
                {"long_name": "held-out Pearson r, mean over outer folds", "units": "1"},
            ),
            "score_validation": (
                ("layer", "target"),
                _mean_over_folds(arrays["validation"]),
                {"long_name": "Pearson r in the inner folds, mean", "units": "1"},
            ),
            "score_fold": (
                per_fold,
                arrays["score"],
                {"long_name": "held-out Pearson r", "units": "1"},
            ),
            "alpha": (
                per_fold,
                arrays["alpha"],
                {"long_name": "penalty", "units": "eigenvalues of the Gram matrix"},
            ),
            "fold": ("sample", fold_of, {"long_name": "outer fold that tests the sample"}),
        },
        coords={
            **coords,
            "layer": list(found),
            "fold_label": ("fold", [fold.label for fold in folds]),
        },
    )


def _mean_over_folds(values: np.ndarray) -> np.ndarray:
    """Mean over folds of (layer, fold, target), leaving out NaN; NaN where there is none."""
    count = np.isfinite(values).sum(axis=1)
    total = np.nansum(values, axis=1, dtype=np.float64)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean.astype(np.float32)


def _attributes(
    design: xr.Dataset,
    response: xr.DataArray,
    best: str,
    found: Mapping[str, Selection],
    logs: Mapping[str, Mapping[str, Any]],
    grid: Grid,
    ridge: Mapping[str, Any],
    finite: np.ndarray,
) -> dict[str, Any]:
    """Attributes: what the solver logs, and what describes the targets."""
    chosen = found[best]
    undefined = np.all(np.isnan(chosen.score), axis=0)
    warnings = []
    low, high = edge_share(chosen.index, len(grid.values))
    for share, edge in ((low, "lowest"), (high, "highest")):
        if share > _EDGE:
            warnings.append(
                f"{100 * share:.0f} % of the chosen penalties are the {edge} of the grid"
            )
    if n_constant := int(undefined.sum()):
        warnings.append(f"{n_constant} targets have no score: they or the predictions are constant")
    if n_missing := int(np.sum(~finite)):
        warnings.append(f"{n_missing} targets have missing values and were left out")
    kept = ("kind", "subject", "runs", "repetition_time", "sampling_frequency", "affine", "shape")
    return {
        **{name: response.attrs[name] for name in kept if name in response.attrs},
        **{name: design.attrs[name] for name in ("model",) if name in design.attrs},
        "chosen_layer": best,
        "chosen_by": "highest mean r in the inner folds, over targets and outer folds",
        "form": logs[best]["form"],
        "why_form": logs[best]["why"],
        "plan": json.dumps(logs[best]["plan"]),
        "solver": json.dumps(logs),
        "n_zero_columns": int(logs[best]["n_zero_columns"]),
        "n_missing_targets": int(np.sum(~finite)),
        "n_undefined_targets": n_constant,
        "alphas": json.dumps([float(value) for value in grid.values]),
        "alpha_scale": grid.scale,
        "select": ridge.get("select", "r"),
        "edge_low": low,
        "edge_high": high,
        "warnings": json.dumps(warnings),
    }
