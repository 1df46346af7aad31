"""What the tests of networks share: a pass that keeps every named layer as it appears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tiny_transformers import MAKERS

from braid.models import LoadedModel

Activity = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Registry entry of a tiny checkpoint of transformers, by architecture."""
    folder = tmp_path_factory.mktemp("transformers")
    made: dict[str, dict[str, Any]] = {}

    def entry(kind: str) -> dict[str, Any]:
        if kind not in made:
            made[kind] = MAKERS[kind](folder / kind)
        return dict(made[kind])

    return entry


@pytest.fixture(scope="session")
def activity() -> Activity:
    """Function of a network, texts and pictures that gives the output of each named layer."""

    def run(
        model: LoadedModel, texts: Sequence[str] | None, pictures: Sequence[np.ndarray] | None
    ) -> dict[str, Any]:
        import torch

        found: dict[str, Any] = {}
        handles = []
        for layer in model.layers:
            if layer.module is None:
                continue

            def keep(_module: Any, _inputs: Any, output: Any, name: str = layer.name) -> None:
                assert name not in found
                found[name] = (output[0] if isinstance(output, tuple | list) else output).clone()

            handles.append(model.module.get_submodule(layer.module).register_forward_hook(keep))
        text = model.collate(model.tokenize(texts))[0] if texts is not None else None
        image = None
        if pictures is not None:
            seen = [model.see(picture) for picture in pictures]
            image = {key: torch.stack([one[key] for one in seen]) for key in seen[0]}
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # ViLT draws the order of its patches
            outputs = model.forward(text, image)
        for handle in handles:
            handle.remove()
        for layer in model.layers:
            if layer.output is not None and layer.output in outputs:
                found[layer.name] = outputs[layer.output]
        return found

    return run
