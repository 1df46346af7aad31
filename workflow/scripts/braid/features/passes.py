"""From units to pooled vectors: distinct inputs, batches, passes, with preparation ahead of them.

Three stages run at the same time and hand over in order: a thread decodes films and tokenises
texts, a few threads prepare pictures and one stacks batches; the calling thread runs the network;
a thread takes the results off the device and writes them.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import BraidError, InputError
from braid.features.ahead import map_ahead, run_ahead, run_behind
from braid.features.memory import free_memory, units_that_fit
from braid.features.pictures import Clip, Loader, iter_loaders, picture_order
from braid.features.regions import iter_regions
from braid.features.units import Unit
from braid.models import LoadedModel, Tokens

if TYPE_CHECKING:
    from torch import Tensor

    from braid.features.forward import Batch

_WINDOWS = {"vision": 1, "language": 8, "vision-language": 4}
"""Batches among which inputs of like length and shape are brought together."""

_AHEAD = 2
"""Batches that wait for the network, and results that wait to be written."""

Save = Callable[[Sequence["Item"], Mapping[str, np.ndarray]], None]
"""Takes inputs and, for each layer, their vectors (input, feature)."""


@dataclass(frozen=True)
class Item:
    """A distinct input, and the rows of the units that share it."""

    unit: Unit
    rows: tuple[int, ...]


@dataclass
class _Input:
    """An item as the network takes it."""

    item: Item
    tokens: Tokens | None = None
    image: dict[str, Tensor] = field(default_factory=dict)

    @property
    def truncated(self) -> bool:
        """Whether its text was cut."""
        return self.tokens is not None and self.tokens.truncated

    def shape(self) -> tuple[Any, ...]:
        """Tell what inputs of one batch must have in common, then what they had better."""
        sizes = tuple(tuple(value.shape) for value in self.image.values())
        return (sizes, len(self.tokens) if self.tokens is not None else 0)


@dataclass(frozen=True)
class _Prepared:
    """Inputs of one pass, and the same stacked."""

    inputs: list[_Input]
    stacked: Batch

    def __len__(self) -> int:
        return len(self.inputs)


def clip_of(model: LoadedModel) -> Clip | None:
    """Read which clip of the film an entry asks for in place of a picture."""
    asked = model.entry.get("clip")
    if not asked:
        return None
    name, seconds, frames = model.name, asked.get("seconds"), asked.get("frames")
    if set(asked) != {"seconds", "frames"}:
        raise InputError(f"model '{name}': clip must have the keys seconds and frames, no other")
    if not (isinstance(seconds, int | float) and seconds > 0):
        raise InputError(f"model '{name}': seconds of clip must be a positive number")
    if not (isinstance(frames, int) and frames > 0):
        raise InputError(f"model '{name}': frames of clip must be a positive whole number")
    if model.watch is None:
        raise InputError(f"model '{name}': the network takes no clips; remove the key 'clip'")
    return Clip(float(seconds), frames)


def distinct_items(model: LoadedModel, units: Sequence[Unit]) -> list[Item]:
    """Find the distinct inputs, in the order in which they are computed.

    Those with pictures in the order of their films; texts from the longest to the shortest, so
    that memory runs out at once if it does. An `InputError` names a unit whose word is not marked
    where a layer is averaged over it.
    """
    targets = _needs_targets(model)
    groups: dict[Any, list[int]] = {}
    for row, unit in enumerate(units):
        if targets and unit.text and unit.target is None:
            raise InputError(
                f"model '{model.name}': unit {unit.name} has no target_start and target_end, which "
                "pooling target_tokens needs"
            )
        seen = (unit.sha256, unit.stimulus, unit.frame_time) if unit.frame_time is not None else ()
        key = (
            seen if model.sees else None,
            unit.text if model.reads else None,
            unit.target if targets else None,
        )
        groups.setdefault(key, []).append(row)
    items = [Item(units[rows[0]], tuple(rows)) for rows in groups.values()]
    if model.sees:
        return sorted(items, key=lambda item: picture_order(item.unit))
    return sorted(items, key=lambda item: -len(item.unit.text))


def run_items(
    model: LoadedModel,
    items: Sequence[Item],
    root: str | Path,
    wanted: Mapping[str, Mapping[str, Any] | None],
    batch_size: int | None,
    memory_mb: float | None,
    save: Save,
) -> Iterator[tuple[Item, bool]]:
    """Run the network on all inputs.

    Parameters
    ----------
    model : LoadedModel
    items : sequence of Item
        From `distinct_items`.
    root : path-like
        Root of the data set.
    wanted : mapping of str to mapping or None
        Layers, and how each is reduced (see `braid.features.reduce`).
    batch_size : int or None
        Units per pass; by default as many as memory allows (see `braid.features.memory`), at most
        the entry's `batch_size`.
    memory_mb : float or None
        Memory of the job; what is free on the machine by default. Not used on a GPU.
    save : callable
        Called in a thread of its own, one call at a time.

    Yields
    ------
    item : Item
        Each once, when the network is done with it.
    truncated : bool
        Whether its text was cut.

    Raises
    ------
    InputError
        If a stimulus is wrong.
    BraidError
        If an input fails; it is named.
    """
    at_most = batch_size or int(model.entry.get("batch_size", 32))
    size, workers = batch_size, _workers(model)
    # the tokenizers' own threads; read at their first use
    os.environ.setdefault("RAYON_NUM_THREADS", str(workers))
    batches = _batches(model, items, root, at_most, workers)
    with _threads_kept(), run_ahead(batches, _AHEAD) as prepared, run_behind(_AHEAD) as hand:
        for first in prepared:
            size = size or _planned_size(model, first.inputs[0], wanted, at_most, memory_mb)
            waiting = [first]
            while waiting:
                batch = waiting.pop(0)
                if len(batch) > size:
                    waiting = [*_split(model, batch, size), *waiting]
                    continue
                try:
                    found = _run(model, batch, wanted)
                except (MemoryError, RuntimeError) as error:
                    if not _out_of_memory(error):
                        raise
                    size = _halved(model, batch, error)
                    waiting.insert(0, batch)
                    continue
                hand(partial(_keep, model, [one.item for one in batch.inputs], found, save))
                yield from ((one.item, one.truncated) for one in batch.inputs)


def _batches(
    model: LoadedModel, items: Sequence[Item], root: str | Path, size: int, workers: int
) -> Iterator[_Prepared]:
    """Prepare the inputs and give them in batches of one shape, the longest texts first."""
    _one_thread()
    shown = [item.unit for item in items]
    loaders = _loaders(model, shown, root)
    window = size * _WINDOWS[model.modality]
    with ThreadPoolExecutor(workers, "braid-pictures", initializer=_one_thread) as pool:
        for start in range(0, len(items), window):
            inputs = [_Input(item) for item in items[start : start + window]]
            _read(model, inputs)
            if model.sees:
                _see(model, inputs, loaders, pool, 2 * workers)
            inputs.sort(key=_Input.shape, reverse=True)
            while inputs:
                batch = _alike(inputs[:size])
                del inputs[: len(batch)]
                yield _Prepared(batch, _stacked(model, batch))


def _loaders(
    model: LoadedModel, units: Sequence[Unit], root: str | Path
) -> Iterator[Loader | None]:
    """Give for each unit a function that gives what the network sees of it."""
    if not model.sees:
        return iter(())
    if model.regions is not None:
        return iter_regions(model, units, root)
    return iter_loaders(units, root, clip_of(model))


def _workers(model: LoadedModel) -> int:
    """Threads that prepare pictures, so that all together do not ask for more than there are.

    On the CPU the network itself uses all threads that PyTorch may use, and preparing takes a few
    per cent of its time.
    """
    import torch

    threads = torch.get_num_threads()
    return max(1, threads - 1 if model.device.startswith("cuda") else threads // 4)


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Set PyTorch's number of threads as it was, after threads of the block have set their own."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _one_thread() -> None:
    """Keep PyTorch's operations in this thread to this thread; others are as they were."""
    import torch

    torch.set_num_threads(1)


def _read(model: LoadedModel, inputs: Sequence[_Input]) -> None:
    """Tokenise the texts of some inputs."""
    if not model.reads or model.tokenize is None:
        return
    texts = sorted({one.item.unit.text for one in inputs})
    tokens = dict(zip(texts, model.tokenize(texts), strict=True))
    for one in inputs:
        one.tokens = tokens[one.item.unit.text]
        if _needs_targets(model):
            _check_target(model, one)


def _see(
    model: LoadedModel,
    inputs: Sequence[_Input],
    loaders: Iterator[Loader | None],
    pool: ThreadPoolExecutor,
    depth: int,
) -> None:
    """Prepare the pictures of some inputs; one that several in a row show is prepared once."""
    groups = [list(group) for _, group in groupby(inputs, key=lambda one: _shown(one.item.unit))]
    # an item each has its loader; those of a group give the same picture
    firsts = ([next(loaders) for _ in group] for group in groups)
    calls = (
        partial(_look, model, group[0].item, load)
        for group, (load, *_) in zip(groups, firsts, strict=True)
    )
    for group, image in zip(groups, map_ahead(pool, calls, depth), strict=True):
        for one in group:
            one.image = image


def _shown(unit: Unit) -> tuple[str, float] | None:
    """Tell units apart that show different pictures."""
    return None if unit.frame_time is None else (unit.stimulus, unit.frame_time)


def _look(model: LoadedModel, item: Item, load: Loader | None) -> dict[str, Tensor]:
    """Prepare a picture with the network's processor; without one, zeros after normalisation."""
    assert model.see is not None
    clip = clip_of(model)
    picture = _nothing(model, clip) if load is None else load()
    try:
        if clip is None or model.watch is None:
            image = model.see(picture)
        else:
            image = model.watch(picture, clip.rate)
    except BraidError:
        raise
    except Exception as error:
        raise BraidError(
            f"model '{model.name}': the picture of {_told(item)} cannot be prepared "
            f"({type(error).__name__}: {error})"
        ) from error
    if load is not None:
        return image
    # masks, sizes and place holders are whole numbers
    return {key: value * 0 if value.is_floating_point() else value for key, value in image.items()}


def _nothing(model: LoadedModel, clip: Clip | None) -> np.ndarray:
    """Something of the kind that a network sees, for units that show nothing."""
    if model.regions is not None:
        return np.zeros((1, model.regions), dtype=np.float32)
    shape = (224, 224, 3) if clip is None else (clip.frames, 224, 224, 3)
    return np.full(shape, 128, dtype=np.uint8)


def _alike(inputs: Sequence[_Input]) -> list[_Input]:
    """Take the first inputs, as long as their pictures have the same shape."""
    first = inputs[0].shape()[0]
    return list(takewhile(lambda one: one.shape()[0] == first, inputs))


def _stacked(model: LoadedModel, inputs: Sequence[_Input]) -> Batch:
    """Stack inputs to those of a pass."""
    import torch

    from braid.features.forward import Batch

    text, mask, targets, image = None, None, None, None
    if model.reads:
        assert model.collate is not None
        text, mask = model.collate([one.tokens for one in inputs if one.tokens is not None])
        targets = torch.zeros_like(mask)
        for k, one in enumerate(inputs):
            marks = torch.tensor(_target_tokens(one), dtype=torch.bool)
            targets[k, : len(marks)] = marks
    if model.sees:
        image = {key: torch.stack([one.image[key] for one in inputs]) for key in inputs[0].image}
    return Batch(text, image, mask, targets, len(inputs))


def _needs_targets(model: LoadedModel) -> bool:
    """Tell whether a layer is averaged over the tokens of the word itself."""
    return any(layer.pooling == "target_tokens" for layer in model.layers)


def _check_target(model: LoadedModel, one: _Input) -> None:
    """Stop where the tokens to be averaged are unknown or were cut off."""
    unit, tokens = one.item.unit, one.tokens
    if not unit.text or tokens is None:
        return
    if tokens.offsets is None:
        raise InputError(
            f"model '{model.name}': its tokenizer does not tell where tokens stand in the text; "
            "use another pooling than target_tokens"
        )
    if not any(_target_tokens(one)):
        raise InputError(
            f"model '{model.name}': the word of unit {unit.name} ('{unit.word}') was cut off with "
            "its context; shorten the context"
        )


def _target_tokens(one: _Input) -> list[bool]:
    """Mark the tokens that belong to the target word."""
    assert one.tokens is not None
    target = one.item.unit.target
    if target is None or one.tokens.offsets is None:
        return [False] * len(one.tokens)
    start, end = target
    return [a < end and b > start and b > a for a, b in one.tokens.offsets]


def _planned_size(
    model: LoadedModel,
    one: _Input,
    wanted: Mapping[str, Mapping[str, Any] | None],
    at_most: int,
    memory_mb: float | None,
) -> int:
    """Plan the number of units of a pass, from the memory of a pass with one of the largest."""
    batch = _Prepared([one], _stacked(model, [one]))
    free = free_memory(model.device, memory_mb)
    if model.device == "cpu":
        # batches and windows that wait for their turn
        image = sum(value.nbytes for value in one.image.values())
        free -= image * at_most * (2 * _AHEAD + 2 * _WINDOWS[model.modality])
    try:
        size = units_that_fit(lambda: _run(model, batch, wanted), free, at_most)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        return _halved(model, batch, error)
    if size < at_most:
        room = max(free, 0) / 1e6
        print(
            f"{model.name}: {size} units at once, not {at_most}, for {room:.0f} MB are free",
            file=sys.stderr,
            flush=True,
        )
    return size


def _split(model: LoadedModel, batch: _Prepared, size: int) -> list[_Prepared]:
    """Make batches of at most `size` inputs from a larger one."""
    parts = [batch.inputs[k : k + size] for k in range(0, len(batch), size)]
    return [_Prepared(part, _stacked(model, part)) for part in parts]


def _run(
    model: LoadedModel, batch: _Prepared, wanted: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, Tensor]:
    """Run one batch; a unit that fails is found and named."""
    import torch

    from braid.features.forward import layer_tensors

    try:
        return layer_tensors(model, batch.stacked, wanted)
    except (BraidError, MemoryError):
        raise
    except Exception as error:
        if _out_of_memory(error):
            raise
        if len(batch) == 1:
            raise BraidError(
                f"model '{model.name}': {_told(batch.inputs[0].item)} fails "
                f"({type(error).__name__}: {error})"
            ) from error
        parts = [_run(model, part, wanted) for part in _split(model, batch, 1)]
        warnings.warn(
            f"model '{model.name}': {len(batch)} units fail together, not one by one "
            f"({type(error).__name__}: {error}); they were run one by one",
            stacklevel=2,
        )
        return {name: torch.cat([part[name] for part in parts]) for name in wanted}


def _keep(
    model: LoadedModel, items: Sequence[Item], found: Mapping[str, Tensor], save: Save
) -> None:
    """Take the vectors of a batch off the device, check and save them."""
    values = {name: vectors.float().cpu().numpy() for name, vectors in found.items()}
    largest = np.finfo(str(model.entry.get("dtype") or "float32")).max
    for layer, vectors in values.items():
        bad = ~(np.abs(vectors) <= largest).all(axis=1)
        if bad.any():
            item = items[int(np.argmax(bad))]
            if np.isfinite(vectors).all():
                raise BraidError(
                    f"model '{model.name}': layer {layer} gives values beyond {largest:g} for "
                    f"{_told(item)}; use dtype: float32"
                )
            raise BraidError(
                f"model '{model.name}': layer {layer} gives values that are not finite for "
                f"{_told(item)}; use precision: float32"
            )
    save(items, values)


def _out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on the CPU or on a GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _halved(model: LoadedModel, batch: _Prepared, error: BaseException) -> int:
    """Half the number of units for which memory did not suffice; an error where it was one."""
    if len(batch) == 1:
        raise BraidError(
            f"model '{model.name}': memory runs out on a single unit "
            f"({_told(batch.inputs[0].item)}); give the job more memory"
        ) from error
    size = len(batch) // 2
    warnings.warn(
        f"model '{model.name}': out of memory with {len(batch)} units at once; going on with "
        f"{size}",
        stacklevel=3,
    )
    if model.device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
    return size


def _told(item: Item) -> str:
    """Describe an item's first unit in words."""
    unit = item.unit
    parts = [f"unit {unit.name}"]
    if unit.frame_time is not None:
        parts.append(f"{unit.stimulus} at {unit.frame_time:.3f} s")
    if unit.text:
        parts.append(f"text '{unit.text[:60]}'")
    return ", ".join(parts)
