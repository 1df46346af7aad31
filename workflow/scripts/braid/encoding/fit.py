"""Encoding models of one network and one subject: all layers, nested cross-validation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from braid.common import InputError, progress
from braid.encoding.backend import Backend, backend_for, free_device_mb
from braid.encoding.blocks import Done, run_blocks
from braid.encoding.design import (
    Source,
    check_aligned,
    layer_names,
    name_of,
    open_design,
    open_response,
    read_design,
)
from braid.encoding.folds import Fold, Split, folds_of
from braid.encoding.grid import Grid, edge_share, make_grid
from braid.encoding.missing import (
    MOST_PATTERNS,
    Pattern,
    check_infinite,
    folds_within,
    patterns_of,
)
from braid.encoding.planner import MEMORY_MB, Plan
from braid.encoding.solver import (
    Problem,
    Selection,
    centred,
    cross_validate,
    fit_selected,
    plan_for,
    predict_fixed,
    prepare,
)

Part = TypeVar("Part")

_EDGE = 0.05  # share of choices on an edge of the grid that is worth a warning
_DEVICE_SHARE = 0.85  # of a GPU's free memory


def fit_encoding(
    design: Source,
    response: xr.DataArray | Source,
    params: Mapping[str, Any],
    backend: str | None = None,
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
        `(sample, target)`. With `ridge.missing` "leave_out" (the default) targets with a missing
        value are left out (NaN) and counted. With "by_pattern" they are fitted and tested on the
        rows that they have, grouped by the rows that they lack, in at most `ridge.patterns` groups
        (default 8). Missing values are never filled.
    params : mapping
        `folds` (see `make_folds`), `ridge` (`alphas`, `alpha_scale`, `select`, `standardize`,
        `form`, `memory_mb`, `save_weights`, `missing`, `patterns`, `device`, `fast_math`), `layers`
        ("all", "last" or a list of names). On device `cpu` NumPy computes, on `cuda` torch; `auto`
        is the GPU where there is one.
    backend : {"numpy", "torch"}, optional
        Array library, instead of the device's own (for tests).

    Returns
    -------
    xarray.Dataset
        As `workflow/README.md` describes it under "Fit"; with `save_weights` also
        `weights(feature, target)` and `intercept(target)` of the chosen layer, fitted on all rows.

    Raises
    ------
    InputError
        If design and response do not line up, a value is infinite, missing values have too many
        patterns, or a parameter is not possible.
    BraidError
        If the device is not available, or the problem does not fit the memory limit.
    """
    design, response = open_design(design), open_response(response)
    check_aligned(design, response)
    y, setting = _setting(response, params, backend)
    layers = chosen_layers(design, params.get("layers") or "all")
    found: dict[str, Selection] = {}
    logs: dict[str, dict[str, Any]] = {}
    for layer in progress(layers, "fitting layers"):
        found[layer], logs[layer] = _fit_layer(read_design(design, layer), y, setting)
    best = best_layer(found)
    fit = _to_dataset(response, setting.folds, found)
    form = logs[best]["form"] if logs[best]["form"] == "streamed" else None
    fit["prediction"] = (
        ("sample", "target"),
        _predict(read_design(design, best), y, setting, found[best], form),
        {"long_name": f"held-out prediction of layer {best}", "units": "as the response"},
    )
    if setting.ridge.get("save_weights"):
        fit = fit.merge(refit_weights(design, response, best, params, backend))
    fit.attrs = _attributes(design, response, best, found, logs, setting)
    return fit


def _setting(
    response: xr.DataArray, params: Mapping[str, Any], backend: str | None
) -> tuple[np.ndarray, _Setting]:
    """Responses as float32 (samples, targets), and what the fits of all layers share."""
    ridge = dict(params.get("ridge") or {})
    chosen = backend_of(ridge, backend)
    grid = grid_of(ridge)
    folds = folds_of(response, params.get("folds") or {"scheme": "blocks", "n": 5})
    y, name = np.asarray(response.values, dtype=np.float32), name_of(response)
    check_infinite(y, name)
    patterns = patterns_of(
        y,
        np.arange(len(y)),
        name,
        str(ridge.get("missing", "leave_out")),
        int(ridge.get("patterns", MOST_PATTERNS)),
    )
    return y, _Setting(folds, grid, ridge, chosen, patterns, name)


def refit_weights(
    design: Source,
    response: xr.DataArray | Source,
    layer: str,
    params: Mapping[str, Any],
    backend: str | None = None,
) -> xr.Dataset:
    """Fit one layer on all rows, with penalties chosen by the outer folds.

    Parameters
    ----------
    design, response, params, backend
        As for `fit_encoding`.
    layer : str

    Returns
    -------
    xarray.Dataset
        `weights(feature, target)` for the features as `read_design` gives them, `intercept`
        and `alpha_all(target)`; NaN for targets that are not fitted.
    """
    design, response = open_design(design), open_response(response)
    y, setting = _setting(response, params, backend)
    x, n_targets = read_design(design, layer), y.shape[1]
    weights = np.full((x.shape[1], n_targets), np.nan, dtype=np.float32)
    intercept, alphas = np.full(n_targets, np.nan), np.full(n_targets, np.nan)
    for pattern in setting.patterns:
        outer = folds_within(setting.folds, pattern.rows, setting.name)
        rows = np.unique(np.concatenate([np.r_[fold.train, fold.test] for fold in outer]))
        everything = whole_fold(outer, rows)

        def work(
            problem: Problem,
            part: slice,
            targets: np.ndarray = pattern.targets,
            fold: Fold = everything,
        ) -> None:
            at = targets[part]
            block, mean = _targets(problem, y, at)
            found, added, alpha = fit_selected(problem, block, fold, setting.grid, setting.select)
            weights[:, at], intercept[at], alphas[at] = found, added + mean, alpha

        setting.run(x, [everything], len(pattern.targets), work)
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
    """Fold that trains on all rows in use, with the outer folds inside, or draws of its own.

    Where inner folds are drawn as chunks, so are those of all rows.
    """
    if outer[0].chunks is not None:
        return Fold("all", rows, rows, outer[0].chunks.splits("all", rows), outer[0].chunks)
    if len(outer) > 1:
        splits = tuple(Split(fold.train, fold.test) for fold in outer)
    else:
        fold = outer[0]
        splits = (Split(fold.train, fold.test), Split(fold.test, fold.train))
    return Fold("all", rows, rows, splits)


def backend_of(ridge: Mapping[str, Any], library: str | None = None) -> Backend:
    """Backend that the config's `ridge` entry asks for (see `backend_for`)."""
    device = str(ridge.get("device", "cpu"))
    return backend_for(device, library, bool(ridge.get("fast_math", False)))


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


@dataclass(frozen=True)
class _Setting:
    """What the fits of all layers share."""

    folds: list[Fold]
    grid: Grid
    ridge: Mapping[str, Any]
    backend: Backend
    patterns: list[Pattern]
    name: str

    @property
    def select(self) -> str:
        """What the inner folds maximise."""
        return str(self.ridge.get("select", "r"))

    def run(
        self,
        x: Any,
        folds: list[Fold],
        n_targets: int,
        work: Callable[[Problem, slice], Part],
        nested: bool = True,
        alpha_floor: float | None = None,
        form: str | None = None,
    ) -> Done[Part]:
        """Do the work in blocks of targets that fit the memory."""

        def make(form: str) -> tuple[Problem, Plan]:
            memory_mb = memory_limit(self.ridge, self.backend)
            problem = prepare(
                x, folds, self.grid, self.ridge.get("standardize", True), form, nested,
                alpha_floor, backend=self.backend, memory_mb=memory_mb,
            )  # fmt: skip
            n_alphas = len(self.grid.values) if nested else 1
            return problem, plan_for(problem, x.shape[1], n_targets, n_alphas, nested, memory_mb)

        form = form or str(self.ridge.get("form", "auto"))
        return run_blocks(make, form, n_targets, work, self.backend)


def memory_limit(ridge: Mapping[str, Any], backend: Backend) -> float:
    """Limit of the solver in MB: as asked for, what is free on a GPU, or the default."""
    asked = ridge.get("memory_mb")
    if asked is not None:
        return float(asked)
    free = free_device_mb(backend)
    return MEMORY_MB if free is None else _DEVICE_SHARE * free


def _fit_layer(x: Any, y: np.ndarray, setting: _Setting) -> tuple[Selection, dict[str, Any]]:
    """Nested cross-validation of one layer, for all targets; NaN where there is no fit."""
    shape = (len(setting.folds), y.shape[1])
    found = Selection(np.full(shape, -1), *(np.full(shape, np.nan) for _ in range(3)))
    logs: list[dict[str, Any]] = []
    for pattern in setting.patterns:
        folds = folds_within(setting.folds, pattern.rows, setting.name)

        def work(problem: Problem, part: slice, targets: np.ndarray = pattern.targets) -> Selection:
            block = _targets(problem, y, targets[part])[0]
            return cross_validate(problem, block, setting.grid, setting.select)

        done = setting.run(x, folds, len(pattern.targets), work)
        for name in ("index", "alpha", "score", "validation"):
            parts = [getattr(part, name) for part in done.parts]
            getattr(found, name)[:, pattern.targets] = np.concatenate(parts, axis=1)
        logs.append(_log_of(done, x.shape[1]))
    # patterns after the first differ in their rows only
    retries = [text for log in logs for text in log["retries"]]
    zero = max(log["n_zero_columns"] for log in logs)
    return found, {**logs[0], "retries": retries, "n_zero_columns": zero, "patterns": len(logs)}


def _log_of(done: Done[Any], n_features: int) -> dict[str, Any]:
    """Tell how a fit was done."""
    problem = done.problem
    log = {
        "form": problem.form.name,
        "why": problem.why,
        "plan": json.loads(done.plan.to_json()),
        "backend": problem.form.backend.name,
        "device": problem.form.backend.device,
        "n_features": n_features,
        "n_zero_columns": max(problem.n_zero(number) for number in range(len(problem.folds))),
        "retries": done.retries,
    }
    if problem.disagreement:
        log["fast_math_disagreement"] = float(np.mean(problem.disagreement))
    return log


def _targets(problem: Problem, y: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arrange and centre some targets over the rows in use; with their means."""
    if len(targets) and targets[-1] - targets[0] + 1 == len(targets):
        part = y[:, int(targets[0]) : int(targets[-1]) + 1]
    else:
        part = y[:, targets]
    return centred(problem.arrange(part))


def _predict(
    x: Any, y: np.ndarray, setting: _Setting, selection: Selection, form: str | None
) -> np.ndarray:
    """Held-out predictions of the chosen layer, (samples, targets), NaN where never tested."""
    out = np.full(y.shape, np.nan, dtype=np.float32)
    for pattern in setting.patterns:
        folds = folds_within(setting.folds, pattern.rows, setting.name)
        alpha = selection.alpha[:, pattern.targets]

        def work(
            problem: Problem,
            part: slice,
            targets: np.ndarray = pattern.targets,
            alpha: np.ndarray = alpha,
        ) -> None:
            block, mean = _targets(problem, y, targets[part])
            found = np.full((len(y), block.shape[1]), np.nan, dtype=np.float32)
            predict_fixed(problem, block, alpha[:, part], found, mean)
            out[:, targets[part]] = found

        setting.run(x, folds, len(pattern.targets), work, False, float(alpha.min()), form)
    out[:, np.all(np.isnan(selection.score), axis=0)] = np.nan
    return out


def _to_dataset(
    response: xr.DataArray,
    folds: list[Fold],
    found: Mapping[str, Selection],
) -> xr.Dataset:
    """Scores and penalties of all layers as labelled arrays."""
    arrays = {
        name: np.stack([getattr(selection, name) for selection in found.values()]).astype(
            np.float32
        )
        for name in ("score", "alpha", "validation")
    }
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


def _best_predicted(validation: np.ndarray) -> np.ndarray:
    """Tenth of the targets that the inner folds predict best, of (folds, targets).

    A target that nothing predicts chooses any penalty, the edges of the grid most often; only
    what the predicted targets choose tells whether the grid is wide enough.
    """
    mean = np.nan_to_num(_mean_over_folds(validation[None])[0], nan=-np.inf)
    order = np.argsort(-mean, kind="stable")
    return order[: max(1, np.count_nonzero(np.isfinite(mean)) // 10)]


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
    setting: _Setting,
) -> dict[str, Any]:
    """Attributes: what the solver logs, and what describes the targets."""
    chosen = found[best]
    grid, ridge = setting.grid, setting.ridge
    fitted = chosen.index[0] >= 0
    undefined = np.all(np.isnan(chosen.score), axis=0) & fitted
    warnings = []
    low, high = edge_share(chosen.index[:, fitted], len(grid.values))
    best_predicted = _best_predicted(chosen.validation)
    shares = edge_share(chosen.index[:, best_predicted], len(grid.values))
    for share, edge in zip(shares, ("lowest", "highest"), strict=True):
        if share > _EDGE:
            warnings.append(
                f"{100 * share:.0f} % of the penalties that the best-predicted tenth of the "
                f"targets chose are the {edge} of the grid: widen it"
            )
    if n_constant := int(undefined.sum()):
        warnings.append(f"{n_constant} targets have no score: they or the predictions are constant")
    if n_missing := int(np.sum(~fitted)):
        warnings.append(f"{n_missing} targets have missing values and were left out")
    n_partial = sum(len(pattern.targets) for pattern in setting.patterns if not pattern.rows.all())
    if n_partial:
        warnings.append(f"{n_partial} targets were fitted without the rows that they lack")
    warnings += logs[best]["retries"]
    kept = ("kind", "subject", "runs", "repetition_time", "sampling_frequency", "affine", "shape")
    return {
        **{name: response.attrs[name] for name in kept if name in response.attrs},
        **{name: design.attrs[name] for name in ("model",) if name in design.attrs},
        "chosen_layer": best,
        "chosen_by": "highest mean r in the inner folds, over targets and outer folds",
        "form": logs[best]["form"],
        "why_form": logs[best]["why"],
        "plan": json.dumps(logs[best]["plan"]),
        "backend": logs[best]["backend"],
        "device": logs[best]["device"],
        "retries": json.dumps(logs[best]["retries"]),
        "solver": json.dumps(logs),
        "n_zero_columns": int(logs[best]["n_zero_columns"]),
        "n_missing_targets": n_missing,
        "n_partial_targets": n_partial,
        "n_undefined_targets": n_constant,
        "alphas": json.dumps([float(value) for value in grid.values]),
        "alpha_scale": grid.scale,
        "select": ridge.get("select", "r"),
        "edge_low": low,
        "edge_high": high,
        "warnings": json.dumps(warnings),
    }
