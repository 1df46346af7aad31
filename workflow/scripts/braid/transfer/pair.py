"""Two analyses of one subject, joined into one problem: train on the source, test on the target."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from braid.common import InputError
from braid.encoding.design import delays_of, layer_names, name_of, read_design
from braid.encoding.fit import whole_fold
from braid.encoding.folds import Fold, folds_of, run_labels
from braid.encoding.forms import flat_columns

_APART = 5  # volumes left out between the halves of a run, beyond the longest delay
_TR_TOLERANCE = 0.02  # delays count volumes: beyond this they mean other times in the two analyses
_log = logging.getLogger("braid")


@dataclass(frozen=True)
class Joined:
    """Source rows followed by target rows.

    Attributes
    ----------
    x : numpy.ndarray of float32, (source rows + target rows, features x delays)
        Centred, and scaled if asked for, by the source rows that are in use.
    y : Stacked, (source rows + target rows, matched targets)
    n_source : int
        Source rows.
    n_delays : int
        Delays; features come delay-major.
    source_folds : list of Fold
        Outer folds of the source analysis.
    whole : Fold
        All source rows in use; its inner splits are the source's outer folds.
    folds : list of Fold
        One per run of the target: train on `whole`, test on that run.
    """

    x: np.ndarray
    y: Stacked
    n_source: int
    n_delays: int
    source_folds: list[Fold]
    whole: Fold
    folds: list[Fold]


class Stacked:
    """Responses of several analyses, one above the other, put together by blocks of targets.

    Whole-brain responses are never copied as a whole: `y[:, part]` copies the targets asked for.

    Parameters
    ----------
    responses : sequence of xarray.DataArray, (sample, target)
    columns : sequence of numpy.ndarray of int
        Matched targets in each of them.
    """

    def __init__(self, responses: Sequence[xr.DataArray], columns: Sequence[np.ndarray]) -> None:
        self.parts = [response.values for response in responses]
        self.columns = list(columns)
        self.shape = sum(len(values) for values in self.parts), len(self.columns[0])

    def __getitem__(self, key: tuple[slice | np.ndarray, slice | np.ndarray]) -> np.ndarray:
        """Rows and targets, float32."""
        rows, targets = key
        found = np.concatenate(
            [
                values[:, chosen[targets]]
                for values, chosen in zip(self.parts, self.columns, strict=True)
            ]
        )
        return np.asarray(found[rows], dtype=np.float32)


def check_pair(source: xr.Dataset, target: xr.Dataset, layer: str) -> None:
    """Refuse two designs between which a layer's weights cannot be carried over.

    Raises
    ------
    InputError
        If the target lacks the layer, or delays, numbers of features or subjects differ.
    """
    a, b = name_of(source), name_of(target)
    there = layer_names(target)
    if layer not in there:
        raise InputError(
            f"{b} has no layer '{layer}', which was chosen for {a}; it has {', '.join(there)}: "
            "extract the same layers for both analyses"
        )
    delays = delays_of(source), delays_of(target)
    if delays[0] != delays[1]:
        raise InputError(
            f"{a} and {b} have different delays ({delays[0]} and {delays[1]} samples); "
            "give both analyses the same 'design.delays'"
        )
    widths = [
        design[f"layer_{layer_names(design).index(layer):02d}"].shape[1]
        for design in (source, target)
    ]
    if widths[0] != widths[1]:
        raise InputError(
            f"{a} and {b} have {widths[0]} and {widths[1]} features in layer '{layer}'; "
            "extract both with the same network and pooling"
        )
    subjects = source.attrs.get("subject"), target.attrs.get("subject")
    if None not in subjects and str(subjects[0]) != str(subjects[1]):
        raise InputError(
            f"{a} and {b} are of subjects {subjects[0]} and {subjects[1]}; transfer stays within "
            "a subject"
        )
    _warn_of_rates(source, target, delays[0])


def match_targets(source: xr.DataArray, target: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Find the targets that both responses have, by name, in the order of the target response.

    Returns
    -------
    in_source, in_target : numpy.ndarray of int, (matched targets,)

    Raises
    ------
    InputError
        If they have none in common, or are recordings of different kinds.
    """
    kinds = source.attrs.get("kind"), target.attrs.get("kind")
    if None not in kinds and kinds[0] != kinds[1]:
        raise InputError(
            f"{name_of(source)} and {name_of(target)} are recordings of different kinds "
            f"({kinds[0]} and {kinds[1]}); transfer needs the same sites"
        )
    names = [str(name) for name in source["target"].values]
    position = {name: number for number, name in enumerate(names)}
    found = [
        (position[str(name)], number)
        for number, name in enumerate(target["target"].values)
        if str(name) in position
    ]
    if not found:
        raise InputError(
            f"{name_of(source)} and {name_of(target)} have no target in common (the first are "
            f"'{names[0]}' and '{target['target'].values[0]}'); use analyses of the same sites"
        )
    _log.info(
        "transfer: %d targets in common, of %d in the source and %d in the target",
        len(found), len(names), target.sizes["target"],
    )  # fmt: skip
    in_source, in_target = np.array(found).T
    return in_source, in_target


def join(
    source: tuple[xr.Dataset, xr.DataArray],
    target: tuple[xr.Dataset, xr.DataArray],
    columns: tuple[np.ndarray, np.ndarray],
    layer: str,
    params: Mapping[str, Any],
    halves: bool = False,
) -> Joined:
    """Put a source's rows and a target's rows one after the other.

    Features are centred and scaled by constants of the source rows in use, so that predictions
    are those of weights fitted on the source alone, whichever form the solver takes.

    Parameters
    ----------
    source, target : tuple of Dataset and DataArray
        Design and response.
    columns : tuple of numpy.ndarray of int
        Matched targets without missing values, in either response.
    layer : str
    params : mapping
        `folds` and `ridge` of the source analysis.
    halves : bool
        Cut a target of one run in two, without the rows between that one half's delays reach.
    """
    x = [read_design(design, layer) for design, _ in (source, target)]
    outer = folds_of(source[1], params.get("folds") or {"scheme": "blocks", "n": 5})
    rows = np.unique(np.concatenate([np.r_[fold.train, fold.test] for fold in outer]))
    centre = x[0][rows].mean(axis=0, dtype=np.float64)
    sd = x[0][rows].std(axis=0, dtype=np.float64)
    flat = flat_columns(sd, centre)
    standardize = (params.get("ridge") or {}).get("standardize", True)
    scale = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, sd if standardize else 1.0))
    n_source, whole = len(x[0]), whole_fold(outer, rows)
    return Joined(
        x=np.concatenate([((part - centre) * scale).astype(np.float32) for part in x]),
        y=Stacked([source[1], target[1]], columns),
        n_source=n_source,
        n_delays=len(delays_of(source[0])),
        source_folds=outer,
        whole=whole,
        folds=_runs_of(target[1], n_source, whole, max(delays_of(target[0])) if halves else None),
    )


def _runs_of(
    response: xr.DataArray, offset: int, whole: Fold, delay: int | None = None
) -> list[Fold]:
    """One fold per run of the target, or per half of the only one."""
    runs, labels = response["run"].values, run_labels(response)
    parts = {labels[int(run)]: np.flatnonzero(runs == run) for run in np.unique(runs)}
    if len(parts) == 1 and delay is not None:
        ((label, rows),) = parts.items()
        middle, gap = len(rows) // 2, delay + _APART
        if middle <= gap:
            raise InputError(
                f"{name_of(response)}: the only run, of {len(rows)} volumes, is too short to be "
                "cut in two; use the tuning 'none'"
            )
        parts = {
            f"{label}, first half": rows[:middle],
            f"{label}, second half": rows[middle + gap :],
        }
    return [Fold(label, whole.train, offset + rows, whole.inner) for label, rows in parts.items()]


def _warn_of_rates(source: xr.Dataset, target: xr.Dataset, delays: list[int]) -> None:
    """Warn where the same delay in volumes is another delay in seconds."""
    stated = [design.attrs.get("repetition_time") for design in (source, target)]
    if any(value in (None, "") for value in stated) or delays == [0]:
        return
    a, b = (float(value) for value in stated if value is not None)
    if abs(a - b) > _TR_TOLERANCE * min(a, b):
        _log.warning(
            "transfer: %s and %s have repetition times of %g and %g s; the same delay in volumes "
            "is not the same time", name_of(source), name_of(target), a, b,
        )  # fmt: skip
