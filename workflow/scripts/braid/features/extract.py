"""The door of the room: all layers of a network for all units, in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError, progress
from braid.features.controls import control_content, control_rows
from braid.features.passes import Item, clip_of, distinct_items, run_items
from braid.features.reduce import reduction_of
from braid.features.regions import regions_content
from braid.features.store import FeatureStore, Writer, key_of
from braid.features.units import Unit, blanked, mismatched, read_units, units_digest
from braid.models import Layer, LoadedModel
from braid.models.digests import digest
from braid.models.registry import CONTROLS, nearest, pairing_of

EXTRACTOR = "2"
"""Version of this room's computations; raise it when the same inputs give other numbers."""

_DEFAULTS = {"absent_picture": "zeros"}
_DTYPES = ("float32", "float16")


def extract(
    model: LoadedModel,
    units: pd.DataFrame,
    stimuli_root: str | Path,
    store: FeatureStore | str | Path,
    *,
    batch_size: int | None = None,
    memory_mb: float | None = None,
    params: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compute the features that the store lacks, and say where all of them are.

    A pass gives all layers that are lacking. Inputs that several units share run once. Texts of
    like length share a batch; films are decoded once, in order; results are in the order of the
    table. Where memory runs out the batch is halved, down to one unit. Decoding, tokenising and
    preparing pictures run ahead of the network, and writing behind it, in threads; the network
    takes as many threads as PyTorch is set to (OMP_NUM_THREADS). Of several processes that lack
    the same features one computes them and the others wait for it.

    Empty text is read as the network's special tokens alone (or one start token where it has none);
    a unit without a picture is shown zeros after the network's own normalisation, its mean colour.
    An entry with the key `clip` shows a stretch of the film from the unit's frame on instead of
    that frame. A network that takes regions of an object detector sees those of the entry's key
    `regions` (see `iter_regions`), and one region of zeros where there is no picture. An entry with
    the key `blank` sees all units so: its pictures, or its texts, are
    left empty; one with the key `pairing` sees pictures and texts that do not belong together
    (see `mismatched`).
    Text longer than the context is cut as the entry's `too_long` says, counted and warned of.
    The entry's `reduce` projects layers that are too wide (see `reduction_of`), its `dtype` float16
    halves what is stored.

    Parameters
    ----------
    model : LoadedModel
    units : pandas.DataFrame
        The units table of the contract.
    stimuli_root : path-like
        Root of the data set, to which the units' `stimulus` is relative.
    store : FeatureStore or path-like
    batch_size : int, optional
        Units per pass; by default as many as memory allows, at most the entry's `batch_size`.
    memory_mb : float, optional
        Memory that this process may use (MB); by default what the machine has free. On a GPU the
        GPU's own counts.
    params : mapping, optional
        `absent_picture`: `zeros` (default) or `error`.

    Returns
    -------
    dict
        The manifest: `model`, `modality`, `untrained`, `n_units`, `units_digest`, `layers` (a list
        of `layer`, `key`, `n_features`, shallow to deep), `weights`, `truncated` (number of units
        whose text was cut), `empty_text`, `absent_picture` (numbers of units), `store`.

    Raises
    ------
    InputError
        If the table, a stimulus or a setting is wrong.
    BraidError
        If a unit fails; it is named.
    """
    settings = _settings(params)
    store = store if isinstance(store, FeatureStore) else FeatureStore(store)
    listed = blanked(read_units(units, stimuli_root), model.entry.get("blank"))
    listed = mismatched(listed, pairing_of(model.entry))
    _check_modality(model, listed, settings)
    shared = _shared_fields(model, listed, settings, stimuli_root)
    own = {layer.name: _fields(model, layer, len(listed)) for layer in model.layers}
    fields = {name: {**shared, **content} for name, content in own.items()}
    keys = {name: key_of(content) for name, content in fields.items()}
    lacking = [name for name, key in keys.items() if not store.has(key)]
    if lacking:
        with store.claim(digest(shared), f"features of {model.name}"):
            # somebody else may have filled them while this process waited
            lacking = [name for name in lacking if not store.has(keys[name])]
            if lacking:
                wanted = {name: fields[name] for name in lacking}
                _fill(model, listed, stimuli_root, store, wanted, batch_size, memory_mb)
    notes = [store.describe(keys[layer.name])["notes"] for layer in model.layers]
    return {
        "model": model.name,
        "modality": model.modality,
        "untrained": model.untrained is not None,
        "n_units": len(listed),
        "units_digest": shared["stimuli"],
        "layers": [
            {"layer": layer.name, "key": keys[layer.name], "n_features": note["n_features"]}
            for layer, note in zip(model.layers, notes, strict=True)
        ],
        "weights": model.weights,
        "truncated": max(note["truncated"] for note in notes),
        "empty_text": sum(not unit.text for unit in listed) if model.reads else 0,
        "absent_picture": sum(u.frame_time is None for u in listed) if model.sees else 0,
        "store": str(store.root),
    }


def _settings(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Complete the settings with their defaults, and check them."""
    settings = {**_DEFAULTS, **(params or {})}
    for key in settings:
        if key not in _DEFAULTS:
            raise InputError(f"features: unknown key '{key}'{nearest(key, list(_DEFAULTS))}")
    if settings["absent_picture"] not in ("zeros", "error"):
        raise InputError(
            f"features: absent_picture '{settings['absent_picture']}' must be zeros or error"
        )
    return settings


def _check_modality(model: LoadedModel, units: Sequence[Unit], settings: Mapping[str, Any]) -> None:
    """Stop where a network would be given nothing of what it takes."""
    if model.source in CONTROLS:
        return
    texts = any(unit.text for unit in units)
    pictures = any(unit.frame_time is not None for unit in units)
    if model.modality == "language" and not texts:
        raise InputError(f"model '{model.name}' reads text and no unit has any")
    if model.modality == "vision" and not pictures:
        raise InputError(f"model '{model.name}' sees pictures and no unit has any")
    for unit in units:
        if model.sees and unit.frame_time is None and settings["absent_picture"] == "error":
            raise InputError(f"model '{model.name}': unit {unit.name} has no picture")


def _dtype(model: LoadedModel) -> str:
    """Read in which number format features are stored."""
    dtype = str(model.entry.get("dtype") or "float32")
    if dtype not in _DTYPES:
        raise InputError(f"model '{model.name}': dtype '{dtype}' must be {' or '.join(_DTYPES)}")
    return dtype


def _shared_fields(
    model: LoadedModel, units: Sequence[Unit], settings: Mapping[str, Any], root: str | Path
) -> dict[str, Any]:
    """List everything that the features of all layers depend on."""
    control, clip = model.source in CONTROLS, clip_of(model)
    regions = {} if model.regions is None else {"regions": regions_content(model, root)}
    return {
        **regions,
        "extractor": EXTRACTOR,
        "stimuli": units_digest(units),
        "source": model.source,
        "content": control_content(model, units, root) if control else None,
        "weights": model.weights,
        "revision": model.revision,
        "architecture": model.architecture,
        "untrained": model.untrained,
        "processor": model.processor,
        "context": dict(model.context),
        "absent_picture": settings["absent_picture"] if model.sees else None,
        "clip": None if clip is None else asdict(clip),
        "precision": model.precision,
        "dtype": _dtype(model),
    }


def _fields(model: LoadedModel, layer: Layer, n_units: int) -> dict[str, Any]:
    """List what the features of a layer depend on besides."""
    return {
        "layer": layer.module or f"output:{layer.output}",
        "tokens": layer.tokens,
        "pooling": layer.pooling,
        "normalize": layer.normalize,
        "batch_axis": layer.batch_axis,
        "reduce": reduction_of(model.name, model.entry, layer, n_units),
    }


def _fill(
    model: LoadedModel,
    units: Sequence[Unit],
    root: str | Path,
    store: FeatureStore,
    fields: Mapping[str, Mapping[str, Any]],
    batch_size: int | None,
    memory_mb: float | None,
) -> None:
    """Compute the lacking layers and write them as they come."""
    names = [unit.name for unit in units]
    with ExitStack() as stack:
        writers: dict[str, Writer] = {}
        for layer, content in fields.items():
            writers[layer] = store.writer(content, names, content["dtype"])
            stack.callback(writers[layer].discard)
        truncated = 0
        if model.source in CONTROLS:
            (writer,) = writers.values()
            for rows, values in control_rows(model, units, root):
                writer.write(rows, values)
        else:
            truncated = _run(model, units, root, writers, fields, batch_size, memory_mb)
        notes = {"model": model.name, "modality": model.modality, "truncated": truncated}
        for writer in writers.values():
            writer.commit(notes)


def _run(
    model: LoadedModel,
    units: Sequence[Unit],
    root: str | Path,
    writers: Mapping[str, Writer],
    fields: Mapping[str, Mapping[str, Any]],
    batch_size: int | None,
    memory_mb: float | None,
) -> int:
    """Run the network; gives the number of units whose text was cut."""

    def save(items: Sequence[Item], found: Mapping[str, np.ndarray]) -> None:
        rows = np.concatenate([item.rows for item in items])
        counts = [len(item.rows) for item in items]
        for layer, values in found.items():
            writers[layer].write(rows, np.repeat(values, counts, axis=0))

    items = distinct_items(model, units)
    wanted = {layer: content["reduce"] for layer, content in fields.items()}
    done = run_items(model, items, root, wanted, batch_size, memory_mb, save)
    what = f"{model.name}: features of {len(items)} distinct inputs"
    truncated = 0
    for item, cut in progress(done, what, total=len(items)):
        truncated += cut * len(item.rows)
    if truncated:
        side = {"left": "oldest", "right": "last"}[str(model.context["too_long"])]
        warnings.warn(
            f"model '{model.name}': the text of {truncated} of {len(units)} units is longer than "
            f"{model.context['max_tokens']} tokens and lost its {side} ones",
            stacklevel=4,
        )
    return truncated
