"""The door of the room: from a registry entry to a network that is ready to run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from braid.common import InputError, seed_for
from braid.models.device import resolve_device
from braid.models.digests import digest
from braid.models.layers import Layer
from braid.models.loaded import LoadedModel
from braid.models.registry import CONTROLS, check_entry, model_folder, with_defaults

_LOADERS = {
    "transformers": ("transformers_networks", "load_transformers"),
    "sentence_transformers": ("transformers_networks", "load_transformers"),
    "open_clip": ("open_clip_networks", "load_open_clip"),
    "timm": ("timm_networks", "load_timm"),
    "slip": ("slip_networks", "load_slip"),
    "albef": ("albef_networks", "load_albef"),
}
"""Module and function that load each source."""


def load_model(
    name: str,
    entry: Mapping[str, Any],
    untrained: bool = False,
    seed: int = 0,
    device: str = "cpu",
    offline: bool = True,
) -> LoadedModel:
    """Load a network, or its untrained twin, with its layers, processor and digests.

    Weights are read as safetensors, or by PyTorch with `weights_only=True`; code that comes with a
    checkpoint is never run.

    Parameters
    ----------
    name : str
        Name of the entry.
    entry : mapping
        The registry entry (see `check_entry`).
    untrained : bool
        Use the architecture's own initialisation instead of the weights, which are not read.
    seed : int
        Seed of that initialisation; split by name, so that two networks differ. The state of the
        global generators is left as it was.
    device : str
        `cpu`, `cuda`, `cuda:N` or `auto`.
    offline : bool
        Never download; a locked file that is not in the local cache is an error. Files that the
        lock file does not name are never downloaded.

    Returns
    -------
    LoadedModel

    Raises
    ------
    InputError
        If the entry is wrong, files are missing or damaged, or a layer does not exist.
    BraidError
        If CUDA is asked for and there is none.
    """
    check_entry(name, entry)
    full = with_defaults(entry)
    if full["source"] in CONTROLS:
        if untrained:
            raise InputError(f"model '{name}': source {full['source']} has no untrained twin")
        return _control(name, full)
    device = resolve_device(device)
    init = seed_for(seed, "untrained", name) if untrained else None
    if not offline:
        for part in (full, full.get("tokenizer") or {}):
            if part.get("hub") or part.get("urls"):
                model_folder(name, part, offline)
    return _loader(str(full["source"]))(name, full, init, device)


def _loader(source: str) -> Callable[[str, Mapping[str, Any], int | None, str], LoadedModel]:
    """Loader of a source; its library is imported only now."""
    module, function = _LOADERS[source]
    return getattr(importlib.import_module(f"braid.models.{module}"), function)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's generator on the CPU inside the block, and restore its state after it."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _control(name: str, entry: Mapping[str, Any]) -> LoadedModel:
    """Describe a source of features that needs no network."""
    source = str(entry["source"])
    return LoadedModel(
        name=name,
        source=source,
        modality=str(entry["modality"]),
        layers=(Layer(source, None, source, "fused", "none"),),
        weights="none",
        revision="none",
        architecture=digest({"source": source}),
        processor=digest({"column": entry["column"]} if source == "onehot" else {}),
        context={},
        precision="float32",
        untrained=None,
        device="cpu",
        entry=entry,
    )
