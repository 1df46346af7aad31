"""Features without a network: given arrays, one-hot labels, low-level measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braid.common import InputError, read_table
from braid.features.given import given_content, given_rows
from braid.features.motion import motion_energy, scene_cuts
from braid.features.pictures import iter_pictures, picture_order
from braid.features.sound import mel_spectrogram, sound_envelope
from braid.features.units import Unit
from braid.features.windows import Rows
from braid.models import LoadedModel
from braid.models.digests import digest, file_digest
from braid.models.registry import nearest
from braid.stimuli.arrays import split_dataset

_BLOCK = 4096

SETTINGS: dict[str, dict[str, Any]] = {
    "given": {
        "path": None,  # one array for all units, in the root: FILE or FILE::DATASET
        "key": None,  # column of the units by whose entries rows are found; else by `row`
        "keys": None,  # names of the array's rows: FILE.txt, FILE.npy or FILE::DATASET
    },
    "onehot": {},
    "picture_statistics": {},
    "word_statistics": {},
    "word_frequency": {
        "table": None,  # TSV in the root or the working directory, with the next two columns
        "word": "word",
        "count": "count",  # per million, or of any corpus
    },
    "motion_energy": {
        "window": 0.5,  # s from the unit's frame on
        "rate": 15,  # frames per second
        "size": 96,  # pixels, height to which frames are shrunk
        "spatial_frequencies": [2, 4, 8, 16],  # cycles per height of the picture
        "temporal_frequencies": [0, 2, 4],  # Hz
        "directions": 8,
    },
    "scene_cuts": {"window": 0.5, "rate": 12, "threshold": 0.5},
    "sound_envelope": {"window": 0.5},
    "mel_spectrogram": {"window": 0.5, "bands": 32, "low": 50, "high": 8000},
}
"""Settings of the sources and what is taken where an entry's `settings` leave them out."""

_OF_FILMS = ("picture_statistics", "motion_energy", "scene_cuts")
_OF_SOUND = ("sound_envelope", "mel_spectrogram")


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

    Raises
    ------
    InputError
        If a setting, a stimulus or a file is wrong, or no unit has what the source measures.
    """
    settings = _settings(model)
    if model.source in _OF_FILMS and all(unit.frame_time is None for unit in units):
        raise InputError(f"model '{model.name}': no unit has a picture")
    measures: dict[str, Callable[[Sequence[Unit], str | Path, Mapping[str, Any]], Rows]] = {
        "motion_energy": motion_energy,
        "scene_cuts": scene_cuts,
        "sound_envelope": sound_envelope,
        "mel_spectrogram": mel_spectrogram,
    }
    if model.source in measures:
        return measures[model.source](units, root, settings)
    if model.source == "given":
        return given_rows(model.name, units, root, settings)
    if model.source == "word_frequency":
        return _word_frequency(model.name, units, root, settings)
    others: dict[str, Callable[[LoadedModel, Sequence[Unit], str | Path], Rows]] = {
        "onehot": _onehot,
        "picture_statistics": _picture_statistics,
        "word_statistics": _word_statistics,
    }
    return others[model.source](model, units, root)


def control_content(model: LoadedModel, units: Sequence[Unit], root: str | Path) -> dict[str, Any]:
    """List what the features of a control depend on besides the units: settings and files."""
    settings = _settings(model)
    content: dict[str, Any] = {"settings": settings}
    if model.source == "given":
        # where a file lies does not matter, what is in it does
        kept = {"key": settings["key"], "files": given_content(root, settings)}
        content["settings"] = kept
        # digests of units are those of whole files
        datasets = [split_dataset(unit.stimulus)[1] for unit in units]
        if any(datasets) and not settings["path"]:
            content["datasets"] = digest(datasets)
    if model.source == "word_frequency":
        content["table"] = file_digest(_table(model.name, root, settings))
    if model.source in _OF_SOUND:
        content["times"] = digest([unit.time for unit in units])
    return content


def _settings(model: LoadedModel) -> dict[str, Any]:
    """Complete an entry's settings with the defaults of its source, and check their names."""
    defaults = SETTINGS[model.source]
    given = dict(model.entry.get("settings") or {})
    for key, value in given.items():
        if key not in defaults:
            raise InputError(
                f"model '{model.name}': unknown setting '{key}' of source {model.source}"
                f"{nearest(str(key), list(defaults)) if defaults else '; it has none'}"
            )
        if isinstance(defaults[key], int | float) and not (
            isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        ):
            raise InputError(
                f"model '{model.name}': setting {key} must be a positive number, not {value}"
            )
    return {**defaults, **given}


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


def _word_frequency(
    name: str, units: Sequence[Unit], root: str | Path, settings: Mapping[str, Any]
) -> Rows:
    """Give log10 of the count of each unit's word, and 1 if the table has the word, else 0.

    A word that the table lacks counts as half the rarest; a unit without a word is all zeros. Case
    and punctuation around a word do not matter.
    """
    path = _table(name, root, settings)
    word, count = str(settings["word"]), str(settings["count"])
    table = read_table(path, required=(word, count), **{word: str})
    counts = dict(zip(map(_bare, table[word].astype(str)), table[count].astype(float), strict=True))
    if not counts or not all(value > 0 for value in counts.values()):
        raise InputError(f"{path}: column '{count}' must hold positive numbers")
    rarest = min(counts.values()) / 2
    values = np.zeros((len(units), 2), dtype=np.float32)
    for k, unit in enumerate(units):
        if bare := _bare(unit.word):
            values[k] = [np.log10(counts.get(bare, rarest)), bare in counts]
    if not values[:, 1].any():
        raise InputError(f"model '{name}': {path} has none of the units' words; correct `table`")
    yield np.arange(len(units)), values


def _table(name: str, root: str | Path, settings: Mapping[str, Any]) -> Path:
    """Find the table of word counts."""
    if not settings["table"]:
        raise InputError(
            f"model '{name}': set `table` of its settings to a table of word counts (TSV)"
        )
    for path in (Path(root) / str(settings["table"]), Path(str(settings["table"]))):
        if path.is_file():
            return path
    raise InputError(f"model '{name}': {settings['table']}: no such table; correct `table`")


def _bare(word: str) -> str:
    """Take case and punctuation off a word."""
    return word.casefold().strip(".,;:!?\"'()[]{}<>\u2026\u2013\u2014\u2018\u2019\u201c\u201d-")
