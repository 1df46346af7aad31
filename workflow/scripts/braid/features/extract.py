"""The door of the room: all layers of a network for all units, in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from braid.common import BraidError, InputError, progress
from braid.features.controls import control_rows, picture_order
from braid.features.pictures import iter_pictures
from braid.features.store import FeatureStore, Writer, key_of
from braid.features.units import Unit, blanked, read_units, units_digest
from braid.models import Layer, LoadedModel, Tokens
from braid.models.registry import CONTROLS, nearest

if TYPE_CHECKING:
    from torch import Tensor

EXTRACTOR = "1"
"""Version of this room's computations; raise it when the same inputs give other numbers."""

_DEFAULTS = {"absent_picture": "zeros"}
_WINDOW = 8
"""Batches whose pictures are decoded ahead, so that texts of like length can share a batch."""


@dataclass
class _Item:
    """A distinct input and the units that share it."""

    unit: Unit
    tokens: Tokens | None
    rows: list[int]
    image: dict[str, Tensor] = field(default_factory=dict)

    def shape(self) -> tuple[Any, ...]:
        """Tell what items of one batch must have in common, then what they had better."""
        sizes = tuple(tuple(value.shape) for value in self.image.values())
        return (sizes, len(self.tokens) if self.tokens is not None else 0)


def extract(
    model: LoadedModel,
    units: pd.DataFrame,
    stimuli_root: str | Path,
    store: FeatureStore | str | Path,
    *,
    batch_size: int | None = None,
    params: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compute the features that the store lacks, and say where all of them are.

    A pass gives all layers that are lacking. Inputs that several units share run once. Texts of
    like length share a batch; films are decoded once, in order; results are in the order of the
    table. Where memory runs out the batch is halved, down to one unit.

    Empty text is read as the network's special tokens alone (or one start token where it has none);
    a unit without a picture is shown zeros after the network's own normalisation, its mean colour.
    An entry with the key `blank` sees all units so: its pictures, or its texts, are left empty.
    Text longer than the context is cut as the entry's `too_long` says, counted and warned of.

    Parameters
    ----------
    model : LoadedModel
    units : pandas.DataFrame
        The units table of the contract.
    stimuli_root : path-like
        Root of the data set, to which the units' `stimulus` is relative.
    store : FeatureStore or path-like
    batch_size : int, optional
        Units per pass; the entry's by default.
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
    _check_modality(model, listed, settings)
    stimuli = units_digest(listed)
    fields = {layer.name: _fields(model, layer, stimuli, settings) for layer in model.layers}
    keys = {name: key_of(content) for name, content in fields.items()}
    lacking = [name for name, key in keys.items() if not store.has(key)]
    if lacking:
        _fill(model, listed, stimuli_root, store, {name: fields[name] for name in lacking},
              batch_size or int(model.entry.get("batch_size", 32)))  # fmt: skip
    notes = [store.describe(keys[layer.name])["notes"] for layer in model.layers]
    return {
        "model": model.name,
        "modality": model.modality,
        "untrained": model.untrained is not None,
        "n_units": len(listed),
        "units_digest": stimuli,
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


def _fields(
    model: LoadedModel, layer: Layer, stimuli: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """List everything that the features of a layer depend on."""
    return {
        "extractor": EXTRACTOR,
        "stimuli": stimuli,
        "source": model.source,
        "weights": model.weights,
        "revision": model.revision,
        "architecture": model.architecture,
        "untrained": model.untrained,
        "processor": model.processor,
        "context": dict(model.context),
        "absent_picture": settings["absent_picture"] if model.sees else None,
        "precision": model.precision,
        "layer": layer.module or f"output:{layer.output}",
        "tokens": layer.tokens,
        "pooling": layer.pooling,
        "normalize": layer.normalize,
    }


def _fill(
    model: LoadedModel,
    units: Sequence[Unit],
    root: str | Path,
    store: FeatureStore,
    fields: Mapping[str, Mapping[str, Any]],
    batch_size: int,
) -> None:
    """Compute the lacking layers and write them as they come."""
    names = [unit.name for unit in units]
    with ExitStack() as stack:
        writers: dict[str, Writer] = {}
        for layer, content in fields.items():
            writers[layer] = store.writer(content, names)
            stack.callback(writers[layer].discard)
        truncated = 0
        if model.source in CONTROLS:
            (writer,) = writers.values()
            for rows, values in control_rows(model, units, root):
                writer.write(rows, values)
        else:
            items = _distinct(model, units)
            truncated = sum(len(i.rows) for i in items if i.tokens and i.tokens.truncated)
            _warn_truncated(model, truncated, len(units))
            what = f"{model.name}: features of {len(items)} distinct inputs"
            passes = _passes(model, items, root, set(writers), batch_size)
            for item, found in progress(passes, what, total=len(items)):
                rows = np.array(item.rows)
                for layer, vector in found.items():
                    writers[layer].write(rows, np.broadcast_to(vector, (len(rows), len(vector))))
        notes = {"model": model.name, "modality": model.modality, "truncated": truncated}
        for writer in writers.values():
            writer.commit(notes)


def _distinct(model: LoadedModel, units: Sequence[Unit]) -> list[_Item]:
    """Find the distinct inputs, in the order in which they are computed."""
    targets = any(layer.pooling == "target_tokens" for layer in model.layers)
    groups: dict[Any, list[int]] = {}
    for row, unit in enumerate(units):
        seen = (unit.sha256, unit.stimulus, unit.frame_time) if unit.frame_time is not None else ()
        key = (
            seen if model.sees else None,
            unit.text if model.reads else None,
            unit.target if targets else None,
        )
        groups.setdefault(key, []).append(row)
    tokens: dict[str, Tokens] = {}
    if model.tokenize is not None and model.reads:
        texts = sorted({units[rows[0]].text for rows in groups.values()})
        tokens = dict(zip(texts, model.tokenize(texts), strict=True))
    items = [
        _Item(units[rows[0]], tokens.get(units[rows[0]].text) if model.reads else None, rows)
        for rows in groups.values()
    ]
    if targets:
        for item in items:
            _check_target(model, item)
    if model.sees:
        return sorted(items, key=lambda item: picture_order(item.unit))
    return sorted(items, key=_Item.shape)


def _check_target(model: LoadedModel, item: _Item) -> None:
    """Stop where the word to be averaged is unknown or was cut off."""
    unit, tokens = item.unit, item.tokens
    if not unit.text or tokens is None:
        return
    if tokens.offsets is None:
        raise InputError(
            f"model '{model.name}': its tokenizer does not tell where tokens stand in the text; "
            "use another pooling than target_tokens"
        )
    if unit.target is None:
        raise InputError(
            f"model '{model.name}': unit {unit.name} has no target_start and target_end, which "
            "pooling target_tokens needs"
        )
    if not any(_target_tokens(item)):
        raise InputError(
            f"model '{model.name}': the word of unit {unit.name} ('{unit.word}') was cut off with "
            "its context; shorten the context"
        )


def _target_tokens(item: _Item) -> list[bool]:
    """Mark the tokens that belong to the target word."""
    assert item.tokens is not None
    if item.unit.target is None or item.tokens.offsets is None:
        return [False] * len(item.tokens)
    start, end = item.unit.target
    return [a < end and b > start and b > a for a, b in item.tokens.offsets]


def _warn_truncated(model: LoadedModel, truncated: int, total: int) -> None:
    """Say how many texts were cut."""
    if truncated:
        side = {"left": "oldest", "right": "last"}[str(model.context["too_long"])]
        warnings.warn(
            f"model '{model.name}': the text of {truncated} of {total} units is longer than "
            f"{model.context['max_tokens']} tokens and lost its {side} ones",
            stacklevel=3,
        )


def _passes(
    model: LoadedModel, items: list[_Item], root: str | Path, wanted: set[str], batch_size: int
) -> Iterator[tuple[_Item, dict[str, np.ndarray]]]:
    """Run all items; gives each with the vectors of its layers."""
    size = batch_size
    for window in _windows(model, items, root, batch_size):
        start = 0
        while start < len(window):
            batch = _alike(window[start : start + size])
            try:
                found = _run(model, batch, wanted)
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise BraidError(
                        f"model '{model.name}': memory runs out on a single unit "
                        f"({_told(batch[0])}); give the job more memory"
                    ) from error
                size = max(1, len(batch) // 2)
                warnings.warn(
                    f"model '{model.name}': out of memory with {len(batch)} units at once; going "
                    f"on with {size}",
                    stacklevel=2,
                )
                _free(model)
                continue
            for k, item in enumerate(batch):
                yield item, {layer: values[k] for layer, values in found.items()}
            start += len(batch)


def _windows(
    model: LoadedModel, items: list[_Item], root: str | Path, batch_size: int
) -> Iterator[list[_Item]]:
    """Give items with pictures, a few batches at a time, sorted by shape and length of text."""
    if not model.sees:
        yield items
        return
    assert model.see is not None
    pictures = iter_pictures([item.unit for item in items], root)
    absent = None
    previous: tuple[Any, dict[str, Tensor]] | None = None
    for start in range(0, len(items), _WINDOW * batch_size):
        window = items[start : start + _WINDOW * batch_size]
        for item in window:
            picture = next(pictures)
            shown = (item.unit.stimulus, item.unit.frame_time)
            if picture is None:
                absent = absent or _absent_picture(model)
                item.image = absent
            elif previous is not None and previous[0] == shown:
                item.image = previous[1]
            else:
                item.image = _look(model, item, picture)
                previous = (shown, item.image)
        yield sorted(window, key=_Item.shape)
        for item in window:
            item.image = {}


def _look(model: LoadedModel, item: _Item, picture: np.ndarray) -> dict[str, Tensor]:
    """Prepare a picture with the network's processor."""
    assert model.see is not None
    try:
        return model.see(picture)
    except (ValueError, RuntimeError) as error:
        raise BraidError(
            f"model '{model.name}': the picture of {_told(item)} cannot be prepared ({error})"
        ) from error


def _absent_picture(model: LoadedModel) -> dict[str, Tensor]:
    """Make what is shown where there is no picture: zeros after normalisation."""
    assert model.see is not None
    seen = model.see(np.full((224, 224, 3), 128, dtype=np.uint8))
    return {key: value if key == "pixel_mask" else value * 0 for key, value in seen.items()}


def _alike(items: list[_Item]) -> list[_Item]:
    """Take the first items, as long as their pictures have the same shape."""
    first = items[0].shape()[0]
    return list(takewhile(lambda item: item.shape()[0] == first, items))


def _run(model: LoadedModel, items: Sequence[_Item], wanted: set[str]) -> dict[str, np.ndarray]:
    """Run one batch; a unit that fails is found and named."""
    from braid.features.forward import run_layers

    try:
        found = run_layers(model, _batch(model, items), wanted)
    except (BraidError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and _out_of_memory(error):
            raise
        if len(items) > 1:
            parts = [_run(model, [item], wanted) for item in items]
            warnings.warn(
                f"model '{model.name}': {len(items)} units fail together, not one by one "
                f"({type(error).__name__}: {error}); they were run one by one",
                stacklevel=2,
            )
            return {name: np.concatenate([part[name] for part in parts]) for name in wanted}
        raise BraidError(
            f"model '{model.name}': {_told(items[0])} fails ({type(error).__name__}: {error})"
        ) from error
    for layer, values in found.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise BraidError(
                f"model '{model.name}': layer {layer} gives values that are not finite for "
                f"{_told(items[int(np.argmax(bad))])}; use precision: float32"
            )
    return found


def _batch(model: LoadedModel, items: Sequence[_Item]) -> Any:
    """Stack items to the inputs of a pass."""
    import torch

    from braid.features.forward import Batch

    text, mask, targets, image = None, None, None, None
    if model.reads:
        assert model.collate is not None
        text, mask = model.collate([item.tokens for item in items if item.tokens is not None])
        targets = torch.zeros_like(mask)
        for k, item in enumerate(items):
            marks = torch.tensor(_target_tokens(item), dtype=torch.bool)
            targets[k, : len(marks)] = marks
    if model.sees:
        image = {key: torch.stack([i.image[key] for i in items]) for key in items[0].image}
    return Batch(text, image, mask, targets, len(items))


def _out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on the CPU or on a GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _free(model: LoadedModel) -> None:
    """Give cached memory of the GPU back before the next try."""
    if model.device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def _told(item: _Item) -> str:
    """Describe an item's first unit in words."""
    unit = item.unit
    parts = [f"unit {unit.name}"]
    if unit.frame_time is not None:
        parts.append(f"{unit.stimulus} at {unit.frame_time:.3f} s")
    if unit.text:
        parts.append(f"text '{unit.text[:60]}'")
    return ", ".join(parts)
