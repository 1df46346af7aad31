"""Networks that score how well a picture and a text belong together, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError, progress, read_json
from braid.features.forward import Batch, run_layers
from braid.models import LoadedModel, Tokens, load_model, model_folder

if TYPE_CHECKING:
    from torch import Tensor

_FUSED = ("ViltForImageAndTextRetrieval",)
"""Classes of transformers with one matching logit for a picture and a text."""

_TOWERS = ("CLIPModel", "SiglipModel", "AlignModel")
"""Classes of transformers with one embedding for each."""

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def load_matcher(
    name: str,
    entry: Mapping[str, Any],
    untrained: bool = False,
    seed: int = 0,
    device: str = "cpu",
    offline: bool = True,
) -> LoadedModel:
    """Load a vision-language network with its matching score.

    Its layers are the outputs that the score is made of: the logit of the retrieval head of a
    fused network (ViLT; Kim et al. 2021), or the embeddings of a dual encoder (CLIP; Radford et
    al. 2021), whose score is their cosine.

    Parameters
    ----------
    name, entry, untrained, seed, device, offline
        As for `braid.models.load_model`.

    Returns
    -------
    LoadedModel

    Raises
    ------
    InputError
        If the network does not take both pictures and text, or its checkpoint has no such score.
    """
    if entry.get("modality") != "vision-language":
        raise InputError(
            f"model '{name}': its modality is {entry.get('modality')}; pairing needs a "
            "vision-language network"
        )
    if entry.get("source") == "open_clip":
        layers = _embeddings("image_features", "text_features")
        return load_model(name, {**entry, "layers": layers}, untrained, seed, device, offline)
    folder, _ = model_folder(name, entry, offline)
    made_as = str(entry.get("class") or _class_of(folder / "config.json"))
    if made_as in _FUSED:
        # the module is listed so that a checkpoint without the pooler below the head is refused
        layers = [
            {"module": "vilt.pooler", "tokens": "fused", "pooling": "none"},
            {"output": "logits", "pooling": "none"},
        ]
    elif made_as in _TOWERS:
        layers = _embeddings("image_embeds", "text_embeds")
    else:
        raise InputError(
            f"model '{name}': the checkpoint in {folder} is a {made_as or 'network of no class'}, "
            f"which has no score of a picture and a text; use one of {', '.join(_FUSED + _TOWERS)} "
            "or an open_clip folder"
        )
    head = {**entry, "class": made_as, "layers": layers}
    return load_model(name, head, untrained, seed, device, offline)


def scorer_of(model: LoadedModel, texts: Sequence[str], pictures: Sequence[np.ndarray]) -> Scorer:
    """Give a function that scores pairs of these texts and pictures, by their numbers.

    Parameters
    ----------
    model : LoadedModel
        Of `load_matcher`.
    texts : sequence of str
    pictures : sequence of array, uint8 (row, column, 3)

    Returns
    -------
    callable
        `(text numbers, picture numbers)`, each (pairs,), to scores, float64 (pairs,). A fused
        network runs once per pair; a dual encoder has run once per text and picture before.
    """
    assert model.tokenize is not None and model.see is not None
    tokens = model.tokenize(list(texts))
    seen = [model.see(picture) for picture in pictures]
    outputs = [layer.name for layer in model.layers if layer.output is not None]
    if len(outputs) == 1:
        return _fused(model, tokens, seen, outputs[0])
    return _towers(model, tokens, seen, outputs)


def _embeddings(*outputs: str) -> list[dict[str, str]]:
    """Layers that are embeddings, picture first."""
    return [{"output": output, "pooling": "none"} for output in outputs]


def _class_of(config: Any) -> str:
    """Class that a transformers checkpoint was saved as; empty if it does not say."""
    return str((read_json(config).get("architectures") or [""])[0])


def _fused(
    model: LoadedModel, tokens: Sequence[Tokens], seen: Sequence[Mapping[str, Tensor]], output: str
) -> Scorer:
    """Score by a pass per pair."""

    def score(text: np.ndarray, picture: np.ndarray) -> np.ndarray:
        found = np.empty(len(text))
        # texts of like length share a pass, so that little of it is padding
        order = np.argsort([len(tokens[number]) for number in text], kind="stable")
        for rows in _batches(order, model):
            batch = _batch(model, [tokens[i] for i in text[rows]], [seen[i] for i in picture[rows]])
            found[rows] = run_layers(model, batch, {output})[output][:, 0]
        return found

    return score


def _towers(
    model: LoadedModel,
    tokens: Sequence[Tokens],
    seen: Sequence[Mapping[str, Tensor]],
    outputs: Sequence[str],
) -> Scorer:
    """Score by the cosine of embeddings."""
    embedded: list[list[np.ndarray]] = [[] for _ in outputs]
    for rows in progress(list(_batches(np.arange(len(tokens)), model)), f"embedding, {model.name}"):
        batch = _batch(model, [tokens[i] for i in rows], [seen[i] for i in rows])
        found = run_layers(model, batch, set(outputs))
        for part, output in zip(embedded, outputs, strict=True):
            part.append(found[output].astype(np.float64))
    image, text = (np.concatenate(part) for part in embedded)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    text /= np.linalg.norm(text, axis=1, keepdims=True)

    def score(text_rows: np.ndarray, picture_rows: np.ndarray) -> np.ndarray:
        return np.einsum("ij,ij->i", text[text_rows], image[picture_rows])

    return score


def _batches(order: np.ndarray, model: LoadedModel) -> list[np.ndarray]:
    """Pieces of the batch size of the registry's entry."""
    size = int(model.entry["batch_size"])
    return [order[start : start + size] for start in range(0, len(order), size)]


def _batch(
    model: LoadedModel, tokens: Sequence[Tokens], seen: Sequence[Mapping[str, Tensor]]
) -> Batch:
    """Put the inputs of one pass together."""
    import torch

    assert model.collate is not None
    text, mask = model.collate(tokens)
    image = {key: torch.stack([one[key] for one in seen]) for key in seen[0]}
    return Batch(text=text, image=image, mask=mask, targets=None, size=len(tokens))
