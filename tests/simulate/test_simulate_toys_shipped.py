"""The shipped toy networks know what they were trained for, and nothing else does so as well."""

from __future__ import annotations

import json
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from braid.common import seed_for
from braid.simulate import World, make_world, render_frame

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

SIZES = {"toy-vit": 1e6, "toy-bert": 1e6, "toy-clip": 1e6, "toy-vilt": 1e6}  # bytes


@pytest.fixture(scope="module")
def world(root: Path) -> World:
    """A world of another seed than the one trained on: other films, other pictures."""
    spec = yaml.safe_load((root / "resources" / "world.yaml").read_text())
    spec["story"]["stories"] = {}
    spec["film"]["films"] = {"cinema": 600}
    return make_world(spec, 99)


@pytest.fixture(scope="module")
def events(world: World) -> dict[str, list]:
    """Each word of the film: the sentence so far, and the frame shown at its onset."""
    words = world.films["cinema"].words
    texts = [
        text
        for _, sentence in words.groupby("sentence")["text"]
        for text in accumulate(sentence, lambda so_far, word: f"{so_far} {word}")
    ]
    frames = [render_frame(world, "cinema", onset) for onset in words["onset"]]
    return {"text": texts, "images": frames}


@pytest.fixture(scope="module")
def latents(world: World) -> dict[str, np.ndarray]:
    film = world.films["cinema"]
    rate = world.spec["latents"]["rate"]
    at = np.ceil(film.words["onset"].to_numpy() * rate - 1e-6).astype(int)
    return {name: film.latents[name].to_numpy()[at].astype(float) for name in film.latents}


def states(folder: Path, events: dict[str, list], trained: bool) -> dict[str, np.ndarray]:
    """Summary token and mean over tokens of each block."""
    if trained:
        network = transformers.AutoModel.from_pretrained(folder).eval()
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(1, folder.name))
            config = transformers.AutoConfig.from_pretrained(folder)
            network = transformers.AutoModel.from_config(config).eval()
    kind = network.config.model_type
    found: dict[str, list] = {}
    for start in range(0, len(events["text"]), 200):
        batch: dict = {}
        if kind != "vit":
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            texts = events["text"][start : start + 200]
            batch |= tokenizer(texts, padding=True, return_tensors="pt")
        if kind != "bert":
            processor = transformers.AutoImageProcessor.from_pretrained(folder)
            batch |= processor(images=events["images"][start : start + 200], return_tensors="pt")
        mask = batch.get("attention_mask")
        with torch.inference_mode():
            hidden = network(**batch, output_hidden_states=True).hidden_states[1:]
        for block, state in enumerate(hidden):
            weights = torch.ones(state.shape[:2])
            if mask is not None:
                weights[:, : mask.shape[1]] = mask.float()
            mean = (state * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
            found.setdefault(f"mean{block}", []).append(mean)
            found.setdefault(f"summary{block}", []).append(state[:, 0])
    return {name: torch.cat(parts).numpy().astype(float) for name, parts in found.items()}


def held_out_r(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of ridge predictions with held-out latents, mean over columns and five folds."""
    edges = np.linspace(0, len(x), 6).astype(int)
    scores = []
    for start, stop in pairwise(edges):
        train = np.r_[0 : max(0, start - 10), stop + 10 : len(x)]
        mean, spread = x[train].mean(0), x[train].std(0) + 1e-9
        z, test = (x[train] - mean) / spread, (x[start:stop] - mean) / spread
        gram = z.T @ z + 50.0 * np.eye(x.shape[1])
        predicted = test @ np.linalg.solve(gram, z.T @ (y[train] - y[train].mean(0)))
        scores += [
            np.corrcoef(predicted[:, column], y[start:stop, column])[0, 1]
            for column in range(y.shape[1])
        ]
    return float(np.mean(scores))


def best(features: dict[str, np.ndarray], latent: np.ndarray) -> float:
    return max(held_out_r(x, latent) for x in features.values())


@pytest.fixture(scope="module")
def toys(root: Path) -> Path:
    return root / "resources" / "toys"


@pytest.fixture(scope="module")
def features(toys: Path, events: dict) -> dict[str, dict[str, np.ndarray]]:
    found = {}
    for name in ("toy-vit", "toy-bert", "toy-vilt"):
        found[name] = states(toys / name, events, trained=True)
        found[f"{name}_untrained"] = states(toys / name, events, trained=False)
    return found


def test_vision_is_learned(features: dict, latents: dict):
    trained = best(features["toy-vit"], latents["vision"])
    untrained = best(features["toy-vit_untrained"], latents["vision"])
    assert trained > untrained + 0.1, (trained, untrained)
    assert abs(best(features["toy-vit"], latents["joint"])) < 0.2


def test_language_is_learned(features: dict, latents: dict):
    trained = best(features["toy-bert"], latents["language"])
    untrained = best(features["toy-bert_untrained"], latents["language"])
    assert trained > untrained + 0.05, (trained, untrained)


def test_only_what_joins_both_tells_whether_they_agree(features: dict, latents: dict):
    joint = latents["joint"]
    vilt = best(features["toy-vilt"], joint)
    untrained = best(features["toy-vilt_untrained"], joint)
    both = max(
        held_out_r(np.hstack([vision, language]), joint)
        for vision in features["toy-vit"].values()
        for language in (features["toy-bert"]["mean0"], features["toy-bert"]["mean3"])
    )
    assert vilt > both + 0.2, (vilt, both)
    assert vilt > untrained + 0.2, (vilt, untrained)
    assert abs(both) < 0.15


@pytest.mark.parametrize("name", SIZES)
def test_files_are_complete_and_small(root: Path, toys: Path, name: str):
    files = {path.name: path.stat().st_size for path in (toys / name).iterdir()}
    weights = [file for file in files if file.endswith(".safetensors")]
    assert len(weights) == 1
    assert files[weights[0]] < SIZES[name]
    training = json.loads((toys / name / "training.json").read_text())
    spec = yaml.safe_load((root / "resources" / "world.yaml").read_text())["toys"]
    spec |= {"steps": spec["steps"][name], "learning_rate": spec["learning_rate"][name]}
    assert training["settings"] == spec, "the shipped network was trained with other settings"
