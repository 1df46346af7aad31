"""Event bootstrap of encoding models: validation and test scores, the penalty chosen each time.

A replicate draws events with replacement and puts them in the order of the film; all of the
cross-validation is then repeated on what was drawn: contiguous folds with a validation and a test
half, penalties chosen anew on validation. Copies of an event that a border separates are left out
of the training side, and of validation where the other side is the test (scheme `halves` of
`braid.encoding.make_folds`). Events, borders and penalties change from replicate to replicate,
so that each is a ridge problem of its own; one decomposition per fold serves all targets and
penalties.

Features are centred on the training rows, so that a penalised intercept, as in the paper's
released code, moves all predictions of a fold by one constant and no score: it needs no option.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from braid.common import InputError, progress, seed_for
from braid.encoding.backend import NUMPY, Backend, backend_for
from braid.encoding.design import (
    Source,
    check_aligned,
    name_of,
    open_design,
    open_response,
    read_design,
)
from braid.encoding.factors import factor_store
from braid.encoding.folds import make_folds
from braid.encoding.grid import Grid, make_grid
from braid.encoding.planner import MEMORY_MB, bootstrap_width
from braid.encoding.solver import Problem, centred, cross_validate_halves, prepare
from braid.inference.bootstrap import draw_bins, interval

SIDES = ("validation", "test")
_SUMMED = 2048  # targets


def draw_events(n_events: int, n: int, seed: int, block: int = 1) -> np.ndarray:
    """Events of each replicate, (n, n_events) of int, in ascending order.

    The same number and seed give every model the same draws.

    Parameters
    ----------
    n_events : int
    n : int
        Replicates.
    seed : int
    block : int
        Events that are drawn together, for events whose responses resemble those of their
        neighbours; 1 draws them one by one, as the paper does.
    """
    if not 1 <= block <= n_events:
        raise InputError(
            f"event_block: blocks of {block} events, but there are {n_events}; use shorter blocks"
        )
    return np.sort(draw_bins(n_events, n, seed_for(seed, "events"), block), axis=1)


def score_halves(
    x: np.ndarray,
    y: np.ndarray,
    runs: np.ndarray,
    times: np.ndarray,
    grid: Grid,
    n_folds: int = 5,
    embargo: float = 0.0,
    standardize: bool = True,
    backend: Backend = NUMPY,
    memory_mb: float = MEMORY_MB,
) -> tuple[np.ndarray, np.ndarray]:
    """Score every target on both halves, the penalty chosen on validation.

    The penalty of a target is the one with the highest mean r over the validation halves of all
    folds; both scores are means over folds at that penalty.

    Parameters
    ----------
    x : array, (n, p)
        Rows in the order of the film; copies of an event carry its run and time.
    y : array, (n, targets)
    runs, times : array, (n,)
        Run and onset (s) of each row.
    grid : Grid
    n_folds : int
    embargo : float
        Seconds (see `make_folds`).
    standardize : bool
        Scale features by their standard deviation over the training rows.
    backend : Backend
    memory_mb : float
        Limit that sets how many targets are made ready at a time; the result does not depend
        on it.

    Returns
    -------
    validation, test : numpy.ndarray of float64, (targets,)
        Pearson r.

    Raises
    ------
    InputError
        If a fold is left with too few rows.
    """
    folds = make_folds(runs, times, "halves", n_folds, embargo)
    problem = prepare(x, folds, grid, standardize, backend=backend, memory_mb=memory_mb)
    found = [
        cross_validate_halves(problem, centred(problem.arrange(y[:, part]))[0], grid)
        for part in _parts(problem, y.shape[1], memory_mb)
    ]
    validation, test = (np.concatenate(side) for side in zip(*found, strict=True))
    return validation, test


def bootstrap_events(
    design: Source,
    response: xr.DataArray | Source,
    layer: str,
    params: Mapping[str, Any],
    seed: int,
    device: str = "cpu",
    which: slice = slice(None),
) -> xr.Dataset:
    """Bootstrap one model's scores over events.

    One replicate of 3,000 events, 768 features and 24,150 targets (150 electrodes) takes 12 CPU s
    of an x86-64 core; 100 took 1.2 GB at most, and the scores of 1,000 are 0.2 GB
    (`tests/bench/bootstrap.py`). Decompositions do not go to the factor store, as no other job has
    the same rows.

    Parameters
    ----------
    design : xarray.Dataset or path
        Rows are events, one design row per response row.
    response : xarray.DataArray, xarray.Dataset or path
        Without NaN.
    layer : str
        One layer is bootstrapped; choose it beforehand.
    params : mapping
        Keys of `braid.inference.PROFILES`: `folds`, `embargo`, `alphas`,
        `alpha_scale`, `standardize`, `draws`, `event_block`; and `memory_mb`.
    seed : int
        With the subject's label it fixes the draws, which all models of a response share.
    device : {"cpu", "cuda", "auto"}
    which : slice
        Replicates to make, so that jobs can share them; parts joined along `draw` equal the whole.

    Returns
    -------
    xarray.Dataset
        `validation(draw, target)` and `test(draw, target)`, float32, Pearson r of each replicate;
        `validation_observed(target)` and `test_observed(target)`, of all events as they are. The
        coordinates of the targets are those of the response.

    Raises
    ------
    InputError
        If design and response do not line up, responses are not finite, or a fold is too small.
    """
    design, response = open_design(design), open_response(response)
    check_aligned(design, response)
    x, y = read_design(design, layer), np.asarray(response.values)
    bad = np.flatnonzero(~np.isfinite(y).all(axis=0))
    if len(bad):
        raise InputError(
            f"{name_of(response)}: target {response['target'].values[bad[0]]} has values that are "
            "not finite; leave such events or electrodes out"
        )
    runs, times = response["run"].values, response["time"].values.astype(float)
    grid = make_grid(params["alphas"], params["alpha_scale"])
    backend = backend_for(device)

    def scores(rows: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        return score_halves(
            *(x[rows], y[rows], runs[rows], times[rows], grid),
            n_folds=params["folds"],
            embargo=params["embargo"],
            standardize=params["standardize"],
            backend=backend,
            memory_mb=params.get("memory_mb", MEMORY_MB),
        )

    subject = str(response.attrs.get("subject", "n/a"))
    drawn = draw_events(len(x), params["draws"], seed_for(seed, subject), params["event_block"])
    drawn = drawn[which]
    out = np.full((2, len(drawn), y.shape[1]), np.nan, dtype=np.float32)
    with factor_store(None):
        for number, rows in enumerate(progress(drawn, "bootstrap")):
            out[:, number] = scores(rows)
    observed = scores(slice(None))
    variables: dict[str, Any] = {
        side: (("draw", "target"), out[number]) for number, side in enumerate(SIDES)
    }
    for side, values in zip(SIDES, observed, strict=True):
        variables[f"{side}_observed"] = ("target", values.astype(np.float32))
    coordinates = {
        name: coordinate
        for name, coordinate in response.coords.items()
        if coordinate.dims == ("target",)
    }
    return xr.Dataset(variables, coordinates, {"subject": subject, "layer": layer})


def summarise_events(scores: xr.Dataset, level: float = 0.95) -> xr.Dataset:
    """Mean and percentile interval of each target's replicates.

    Parameters
    ----------
    scores : xarray.Dataset
        From `bootstrap_events`.
    level : float

    Returns
    -------
    xarray.Dataset
        For validation and test: `{side}(target)`, the mean over replicates, `{side}_low` and
        `{side}_high`, float32; NaN where a replicate has no value. `test` is the working score
        of the comparisons; its replicates train on 63 % of the events and so lie below
        `test_observed`.
    """
    out = scores.drop_vars(list(SIDES))
    for side in SIDES:
        draws = scores[side].values
        # few targets at a time: quantiles need copies in float64
        ends = [
            interval(draws[:, start : start + _SUMMED], level)
            for start in range(0, draws.shape[1], _SUMMED)
        ]
        low, high = (np.concatenate(one) for one in zip(*ends, strict=True))
        for name, values in ((side, draws.mean(axis=0)), (f"{side}_low", low)):
            out[name] = ("target", values.astype(np.float32))
        out[f"{side}_high"] = ("target", high.astype(np.float32))
    out.attrs["level"] = level
    return out


def _parts(problem: Problem, n_targets: int, memory_mb: float) -> list[slice]:
    """Blocks of targets that are made ready at a time."""
    form = problem.form
    n, atoms = len(form.layout.order), form.layout.n_atoms
    whole = form.backend.device != "cpu"
    width = bootstrap_width(n, form.size, atoms, form.dtype.itemsize, n_targets, memory_mb, whole)
    return [slice(start, start + width) for start in range(0, n_targets, width)]
