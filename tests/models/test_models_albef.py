"""ALBEF: BERT, BLIP's fusing layers and timm's trunk as oracles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid.common import InputError
from braid.models import load_model

torch = pytest.importorskip("torch")
Tiny = Callable[[str], dict[str, Any]]
Activity = Callable[..., dict[str, Any]]
PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 40, 52, 3), dtype=np.uint8))
TEXTS = ["the red circle moves", "", "big blue square"]


def test_published_names_and_shapes_at_full_size(shared_data: Path) -> None:
    """BERT's names from transformers, those of trunk and fusion from the family's other network."""
    from transformers import BertConfig, BertModel

    from braid.models.albef_modules import ARCHITECTURES, AlbefNetwork

    golden = json.loads((shared_data / "golden" / "blip_keys.json").read_text())
    blip = golden["blip_itm_base_384"]
    with torch.device("meta"):
        bert = BertModel(BertConfig(), add_pooling_layer=False)
        network = AlbefNetwork(ARCHITECTURES["ALBEF_VITB16"])
    wanted = {k: shape for k, shape in blip.items() if k.startswith("visual_encoder.")}
    wanted["visual_encoder.pos_embed"] = [1, 1 + 16 * 16, 768]  # pretrained at 256 pixels
    for key, value in bert.state_dict().items():
        wanted[f"text_encoder.bert.{key}"] = list(value.shape)
    for k in range(6, 12):
        part = f"encoder.layer.{k}.crossattention."
        for key, shape in blip.items():
            if key.startswith(f"text_encoder.{part}"):
                wanted[key.replace("text_encoder.", "text_encoder.bert.")] = shape
    wanted |= {"vision_proj.weight": [256, 768], "vision_proj.bias": [256]}
    wanted |= {"text_proj.weight": [256, 768], "text_proj.bias": [256]}
    wanted |= {"itm_head.weight": [2, 768], "itm_head.bias": [2], "temp": []}
    mine = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert len([key for key in wanted if "crossattention" in key]) == 6 * 10
    assert mine == {k: v for k, v in wanted.items() if not k.endswith("position_ids")}


def _stored(entry: dict[str, Any]) -> dict[str, Any]:
    return torch.load(Path(entry["path"]) / "ALBEF.pth")["model"]


def _part(stored: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}


def test_pictures_follow_timm(tiny: Tiny, activity: Activity) -> None:
    import timm
    from PIL import Image
    from torchvision import transforms

    entry = tiny("albef")
    mine = activity(load_model("mine", entry), TEXTS, PICTURES)
    trunk = timm.create_model(
        "vit_base_patch16_224", num_classes=0, img_size=32, patch_size=8, embed_dim=24, depth=2,
        num_heads=2,
    ).eval()  # fmt: skip
    stored = _stored(entry)
    trunk.load_state_dict(_part(stored, "visual_encoder."))
    prepare = transforms.Compose(
        [
            transforms.Resize((32, 32), transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    pictures = torch.stack([prepare(Image.fromarray(picture)) for picture in PICTURES])
    with torch.inference_mode():
        tokens = trunk.forward_features(pictures)
    torch.testing.assert_close(mine["visual_encoder.norm"], tokens, rtol=0, atol=1e-6)
    features = tokens[:, 0] @ stored["vision_proj.weight"].T + stored["vision_proj.bias"]
    features /= features.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(mine["image_features"], features, rtol=0, atol=1e-6)
    torch.testing.assert_close(mine["joint"], features * mine["text_features"])


def test_text_layers_are_berts(tiny: Tiny, activity: Activity) -> None:
    from transformers import BertConfig, BertModel

    entry = tiny("albef")
    model = load_model("mine", entry)
    mine = activity(model, TEXTS, PICTURES)
    config = BertConfig(
        vocab_size=16, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=24,
    )  # fmt: skip
    bert = BertModel(config, add_pooling_layer=False).eval()
    stored = _stored(entry)
    lower = {
        key: value
        for key, value in _part(stored, "text_encoder.bert.").items()
        if not key.startswith(("encoder.layer.2", "encoder.layer.3")) and "position_ids" not in key
    }
    bert.load_state_dict(lower)
    inputs, mask = model.collate(model.tokenize(TEXTS))
    with torch.inference_mode():
        states = bert(
            inputs["text"], attention_mask=mask.long(), output_hidden_states=True
        ).hidden_states
    for k in range(2):
        found = mine[f"text_encoder.bert.encoder.layer.{k}"]
        torch.testing.assert_close(found[mask], states[k + 1][mask], rtol=0, atol=1e-6)


def test_fusing_layers_are_blips(tiny: Tiny, activity: Activity) -> None:
    from transformers.models.blip.modeling_blip_text import BlipTextConfig, BlipTextModel

    entry = tiny("albef")
    model = load_model("mine", entry)
    mine = activity(model, TEXTS, PICTURES)
    stored = _stored(entry)
    config = BlipTextConfig(
        vocab_size=16, hidden_size=16, encoder_hidden_size=24, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=24,
    )  # fmt: skip
    blip = BlipTextModel(config, add_pooling_layer=False).eval()
    upper = {
        f"layer.{k}.{key}": value
        for k in range(2)
        for key, value in _part(stored, f"text_encoder.bert.encoder.layer.{k + 2}.").items()
    }
    blip.encoder.load_state_dict(upper)
    _, mask = model.collate(model.tokenize(TEXTS))
    with torch.inference_mode():
        states = blip(
            encoder_embeds=mine["text_encoder.bert.encoder.layer.1"],
            attention_mask=mask.long(),
            encoder_hidden_states=mine["visual_encoder.norm"],
            output_hidden_states=True,
            is_decoder=False,
        ).hidden_states
    for k in range(2):
        found = mine[f"text_encoder.bert.encoder.layer.{k + 2}"]
        torch.testing.assert_close(found[mask], states[k + 1][mask], rtol=0, atol=1e-6)
    logits = states[-1][:, 0] @ stored["itm_head.weight"].T + stored["itm_head.bias"]
    torch.testing.assert_close(mine["itm_logits"], logits, rtol=0, atol=1e-6)


def test_padding_does_not_count(tiny: Tiny, activity: Activity) -> None:
    model = load_model("mine", tiny("albef"))
    together = activity(model, TEXTS, PICTURES)
    alone = activity(model, TEXTS[2:], PICTURES[2:])
    layer = "text_encoder.bert.encoder.layer.3"
    torch.testing.assert_close(together[layer][2:, :5], alone[layer], rtol=0, atol=1e-6)


def test_one_input_at_a_time(tiny: Tiny, activity: Activity) -> None:
    entry = tiny("albef")
    both = activity(load_model("mine", entry), TEXTS, PICTURES)
    seeing = {**entry, "modality": "vision", "layers": ["visual_encoder.norm"]}
    reading = {**entry, "modality": "language", "layers": [{"output": "text_features"}]}
    found = activity(load_model("mine", seeing), None, PICTURES)["visual_encoder.norm"]
    assert torch.equal(found, both["visual_encoder.norm"])
    found = activity(load_model("mine", reading), TEXTS, None)["text_features"]
    assert torch.equal(found, both["text_features"])


def test_other_size_of_pictures_interpolates_positions(tiny: Tiny, activity: Activity) -> None:
    entry = tiny("albef")
    model = load_model("mine", {**entry, "processor": {"size": 24}})
    assert model.see(PICTURES[0])["image"].shape == (3, 24, 24)
    assert activity(model, TEXTS, PICTURES)["visual_encoder.norm"].shape == (3, 1 + 9, 24)
    places = _stored(entry)["visual_encoder.pos_embed"]
    grid = places[:, 1:].reshape(1, 4, 4, 24).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(grid, size=(3, 3), mode="bicubic")
    wanted = torch.cat([places[:, :1], resized.permute(0, 2, 3, 1).reshape(1, 9, 24)], dim=1)
    torch.testing.assert_close(model.module.visual_encoder.pos_embed.data, wanted)
    usual = load_model("mine", entry)
    assert model.architecture != usual.architecture and model.processor != usual.processor
    with pytest.raises(InputError, match="size 20 of 'processor' must be a multiple of"):
        load_model("mine", {**entry, "processor": {"size": 20}})


def test_punctuation_is_blank_and_places_stay(tiny: Tiny) -> None:
    model = load_model("mine", tiny("albef"))
    text = '"Red!" The circle...'
    (tokens,) = model.tokenize([text])
    (plain,) = model.tokenize(["red the circle"])
    assert tokens.inputs["input_ids"] == plain.inputs["input_ids"]
    assert [text[a:b] for a, b in tokens.offsets[1:-1]] == ["Red", "The", "circle"]


def test_tokenizer_of_another_folder(tiny: Tiny, tmp_path: Path) -> None:
    entry = tiny("albef")
    (tmp_path / "weights").mkdir()
    shutil.copy(Path(entry["path"]) / "ALBEF.pth", tmp_path / "weights")
    moved = {**entry, "path": str(tmp_path / "weights")}
    with pytest.raises(InputError, match=r"weights has no usable tokenizer \("):
        load_model("mine", moved)
    model = load_model("mine", {**moved, "tokenizer": {"path": entry["path"]}})
    usual = load_model("mine", entry)
    assert model.processor == usual.processor
    assert model.tokenize(TEXTS) == usual.tokenize(TEXTS)


def test_missing_tensor_is_named(tiny: Tiny, tmp_path: Path) -> None:
    entry = tiny("albef")
    stored = _stored(entry)
    layer = "text_encoder.bert.encoder.layer.2.crossattention.self.key.weight"
    # the momentum copy does not stand in for it
    assert layer.replace("text_encoder", "text_encoder_m") in stored
    torch.save({"model": {k: v for k, v in stored.items() if k != layer}}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=f"lacks the tensor {layer}"):
        load_model("mine", {**entry, "path": str(tmp_path)})
    with pytest.raises(InputError, match="architecture 'ALBEF_VITB61' is unknown; did you mean"):
        load_model("mine", {**entry, "architecture": "ALBEF_VITB61"})
