"""Features without a network: given arrays, one-hot labels, low-level measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from braid.common import InputError
from braid.features.pictures import iter_pictures
from braid.features.units import Unit, stimulus_path
from braid.models import LoadedModel

Rows = Iterator[tuple[np.ndarray, np.ndarray]]
"""Positions of units, and their features."""

_BLOCK = 4096


def control_rows(model: LoadedModel, units: Sequence[Unit], root: str | Path) -> Rows:
    """Compute the features of a control.

    Parameters
    ----------
    model : LoadedModel
        Of one of the sources of `braid.models.registry.CONTROLS`.
    units : sequence of Unit
    root : path-like
        Root of the data set.

    Yields
    ------
    rows : numpy.ndarray
        Positions of units.
    values : numpy.ndarray
        float32 (row, feature).
    """
    sources: dict[str, Callable[[LoadedModel, Sequence[Unit], str | Path], Rows]] = {
        "given": _given,
        "onehot": _onehot,
        "picture_statistics": _picture_statistics,
        "word_statistics": _word_statistics,
    }
    return sources[model.source](model, units, root)


def _given(model: LoadedModel, units: Sequence[Unit], root: str | Path) -> Rows:
    """Read rows of arrays in `.npy` files; all files must have the same number of columns."""
    widths: dict[str, int] = {}
    for stimulus in sorted({unit.stimulus for unit in units}):
        rows = np.array([k for k, unit in enumerate(units) if unit.stimulus == stimulus])
        for k in rows:
            if not stimulus or units[k].row is None:
                raise InputError(
                    f"model '{model.name}': unit {units[k].name} names no row of a file of "
                    "features; use it with units of kind rows"
                )
        path = stimulus_path(units[rows[0]], root)
        values = _array(path)
        widths[str(path)] = values.shape[1]
        if len(set(widths.values())) > 1:
            told = ", ".join(f"{file} {width}" for file, width in widths.items())
            raise InputError(f"model '{model.name}': files differ in their features ({told})")
        wanted = np.array([units[k].row for k in rows])
        if wanted.max() >= len(values):
            raise InputError(
                f"{path}: row {wanted.max()} is asked for but the file has {len(values)} rows; "
                "features and events must be equal in number"
            )
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            found = np.asarray(values[wanted[part]], dtype=np.float32)
            bad = ~np.isfinite(found).all(axis=1)
            if bad.any():
                raise InputError(
                    f"{path}: row {wanted[part][bad][0]} holds a value that is not a finite number"
                )
            yield rows[part], found


def _array(path: Path) -> np.ndarray:
    """Map a two-dimensional numeric array from disk."""
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as a NumPy array ({error})") from None
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.number):
        raise InputError(
            f"{path}: given features must be a table of numbers (row, feature), not "
            f"{values.dtype} of shape {values.shape}"
        )
    return values


def _onehot(model: LoadedModel, units: Sequence[Unit], root: str | Path) -> Rows:
    """Give one column per distinct text, sorted; a unit without text is all zeros."""
    column = str(model.entry["column"])
    if column not in ("text", "word"):
        raise InputError(f"model '{model.name}': column must be text or word, not '{column}'")
    labels = [unit.word if column == "word" else unit.text for unit in units]
    names = sorted(set(labels) - {""})
    if not names:
        raise InputError(f"model '{model.name}': no unit has a {column}")
    position = {name: k for k, name in enumerate(names)}
    for start in range(0, len(units), _BLOCK):
        part = labels[start : start + _BLOCK]
        values = np.zeros((len(part), len(names)), dtype=np.float32)
        for k, label in enumerate(part):
            if label:
                values[k, position[label]] = 1.0
        yield np.arange(start, start + len(part)), values


def _picture_statistics(model: LoadedModel, units: Sequence[Unit], root: str | Path) -> Rows:
    """Give mean luminance, its standard deviation (contrast), and mean red, green and blue, 0 to 1.

    Luminance by the weights of ITU-R BT.709. A unit without a picture is all zeros.
    """
    weights = np.array([0.2126, 0.7152, 0.0722])
    if all(unit.frame_time is None for unit in units):
        raise InputError(f"model '{model.name}': no unit has a picture")
    order = sorted(range(len(units)), key=lambda k: picture_order(units[k]))
    pictures = iter_pictures([units[k] for k in order], root)
    for k, picture in zip(order, pictures, strict=True):
        values = np.zeros((1, 5), dtype=np.float32)
        if picture is not None:
            scaled = picture / 255.0
            luminance = scaled @ weights
            values[0] = [luminance.mean(), luminance.std(), *scaled.mean(axis=(0, 1))]
        yield np.array([k]), values


def _word_statistics(model: LoadedModel, units: Sequence[Unit], root: str | Path) -> Rows:
    """Give a constant (resampled: the word rate), characters of the word, words of context."""
    if all(not unit.text for unit in units):
        raise InputError(f"model '{model.name}': no unit has a text")
    values = np.array(
        [
            [float(bool(u.text)), len(u.word or u.text.rsplit(" ", 1)[-1]), len(u.text.split())]
            for u in units
        ],
        dtype=np.float32,
    )
    yield np.arange(len(units)), values


def picture_order(unit: Unit) -> tuple[bool, str, float]:
    """Sort so that each film is decoded once, from its start."""
    shown = unit.frame_time is not None
    return (not shown, unit.stimulus if shown else "", unit.frame_time or 0.0)
