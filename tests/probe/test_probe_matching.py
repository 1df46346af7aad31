"""Matching scores: the libraries' own forward passes are the oracle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid.common import InputError
from braid.probe import load_matcher
from braid.probe.matching import scorer_of

torch = pytest.importorskip("torch")
Tiny = Callable[[str], dict[str, Any]]
TEXTS = ["the red circle", "blue", "the big blue square moves left"]
PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
PAIRS = [(text, picture) for text in range(3) for picture in range(3)]


def _scores(entry: dict[str, Any], **options: Any) -> np.ndarray:
    score = scorer_of(load_matcher("mine", {**entry, **options}), TEXTS, PICTURES)
    texts, pictures = np.array(PAIRS).T
    return score(texts, pictures)


def test_retrieval_head_of_a_fused_network(tiny: Tiny) -> None:
    from transformers import AutoTokenizer, ViltForImageAndTextRetrieval, ViltImageProcessor

    entry = tiny("vilt_with_head")
    network = ViltForImageAndTextRetrieval.from_pretrained(entry["path"]).eval()
    network.config.max_image_length = -1
    read = AutoTokenizer.from_pretrained(entry["path"])
    see = ViltImageProcessor.from_pretrained(entry["path"])
    expected = []
    for text, picture in PAIRS:
        inputs = {
            **read(TEXTS[text], return_tensors="pt"),
            **see(PICTURES[picture], return_tensors="pt"),
        }
        with torch.inference_mode():
            expected.append(network(**inputs).logits.item())
    found = _scores(entry)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.std() > 1e-3
    np.testing.assert_allclose(_scores(entry, batch_size=1), found, atol=1e-5)
    np.testing.assert_allclose(_scores(entry, batch_size=4), found, atol=1e-5)


def test_cosine_of_open_clip(tiny: Tiny) -> None:
    import open_clip
    from PIL import Image

    entry = tiny("clip")
    source = f"local-dir:{entry['path']}"
    network, _, see = open_clip.create_model_and_transforms(source)
    network.eval()
    with torch.inference_mode():
        texts = network.encode_text(open_clip.get_tokenizer(source)(TEXTS))
        pictures = network.encode_image(torch.stack([see(Image.fromarray(p)) for p in PICTURES]))
        cosine = torch.nn.functional.cosine_similarity(texts[:, None], pictures[None], dim=-1)
    np.testing.assert_allclose(_scores(entry), cosine.numpy().ravel(), atol=1e-5)


def test_cosine_of_two_towers_in_transformers(tiny: Tiny) -> None:
    entry = tiny("clip_of_transformers")
    model = load_matcher("mine", entry)
    tokens, _ = model.collate(model.tokenize(TEXTS))
    seen = torch.stack([model.see(p)["pixel_values"] for p in PICTURES])
    with torch.inference_mode():
        # the logits are cosines times a temperature
        outputs = model.module(**tokens, pixel_values=seen)
        cosine = outputs.logits_per_text / model.module.logit_scale.exp()
    np.testing.assert_allclose(_scores(entry), cosine.numpy().ravel(), atol=1e-5)


def test_untrained_twin(tiny: Tiny) -> None:
    entry = tiny("vilt_with_head")
    trained = load_matcher("mine", entry)
    twin, again = (load_matcher("mine", entry, untrained=True, seed=1) for _ in range(2))
    assert twin.weights == again.weights != trained.weights
    assert twin.untrained is not None and twin.architecture == trained.architecture


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("vilt", "is a ViltModel, which has no score of a picture and a text; use one of Vilt"),
        ("bert", "its modality is language; pairing needs a vision-language network"),
        ("vit", "its modality is vision; pairing needs"),
    ],
)
def test_networks_without_a_score(tiny: Tiny, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=f"model 'mine': .*{message}"):
        load_matcher("mine", tiny(kind))


@pytest.mark.parametrize("part", ["rank_output", "vilt.pooler"])
def test_checkpoint_without_its_head(tiny: Tiny, tmp_path: Path, part: str) -> None:
    from safetensors.torch import load_file, save_file

    entry = tiny("vilt_with_head")
    shutil.copytree(entry["path"], tmp_path / "copy")
    file = tmp_path / "copy" / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if not name.startswith(part)}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=rf"lacks the tensor {part}\."):
        load_matcher("mine", {**entry, "path": str(tmp_path / "copy")})
