"""Every architecture of transformers that the studies name, against its own forward pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_transformers import MAKERS, _save

from braid.common import InputError
from braid.models import load_model
from braid.models.parts import part_of
from braid.models.pooling import pool

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
Checkpoint = Callable[[str], dict[str, Any]]
Activity = Callable[..., dict[str, Any]]
States = dict[str, Any]

PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 40, 52, 3), dtype=np.uint8))
TEXTS = ["the red circle moves", "", "big blue square"]
KINDS = [kind for kind in MAKERS if kind != "visual_bert"]
PLACED = ["qwen3_vl", "smolvlm"]
"""Language models that see."""


def _texts(kind: str) -> list[str]:
    """Texts; none is empty where the tokenizer would then give no token at all."""
    if kind == "siglip2_naflex":
        return ["circle", "right", "square"]  # its tokenizer does not split the tiny vocabulary
    return [TEXTS[0], "right", TEXTS[2]] if kind in (*PLACED, "gpt2") else TEXTS


def _processor(folder: Path) -> Any:
    five = transformers.__version__.startswith("5")
    options = {"backend": "pil"} if five else {"use_fast": False}
    return transformers.AutoImageProcessor.from_pretrained(folder, **options)


def _inputs(kind: str, entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the library makes of the texts and the pictures, with its own padding."""
    folder = Path(entry["path"])
    text, seen = {}, {}
    if entry["modality"] != "vision":
        words = transformers.AutoTokenizer.from_pretrained(folder)
        if words.pad_token_id is None:
            words.pad_token = words.eos_token
        # SigLIP's card demands padding to the full length, which is attended to
        full = {"padding": "max_length", "max_length": 24, "padding_side": "right"}
        options = full if "siglip" in kind else {}
        text = dict(words(_texts(kind), **{"padding": True, **options}, return_tensors="pt"))
        for key in ("token_type_ids", "attention_mask") if "siglip" in kind else ():
            text.pop(key, None)
        if kind == "clip":
            text.pop("token_type_ids", None)  # of the tiny tokenizer, not of CLIP's
    if entry["modality"] != "language":
        pictures = [Image.fromarray(picture) for picture in PICTURES]
        seen = dict(_processor(folder)(images=pictures, return_tensors="pt"))
    return text, seen


def _numbered(pattern: str, states: Any) -> States:
    """Names of layers with their states."""
    return {pattern.format(k): state for k, state in enumerate(states)}


def _sequence(pattern: str) -> Callable[..., States]:
    """States of a network that gives its hidden states as one tuple, the embedding first."""

    def states(network: Any, text: dict[str, Any], seen: dict[str, Any]) -> States:
        out = network(**text, **seen, output_hidden_states=True)
        found = _numbered(pattern, out.hidden_states[1:])
        if out.get("pooler_output") is not None:
            found |= {"pooler_output": out.pooler_output, "pooler": out.pooler_output}
        return found

    return states


def _blip(network: Any, text: dict[str, Any], seen: dict[str, Any]) -> States:
    vision = network.vision_model(seen["pixel_values"], output_hidden_states=True)
    fused = network.text_encoder(
        text["input_ids"],
        attention_mask=text["attention_mask"],
        encoder_hidden_states=vision.last_hidden_state,
        output_hidden_states=True,
    )
    out = network(
        input_ids=text["input_ids"],
        attention_mask=text["attention_mask"],
        pixel_values=seen["pixel_values"],
        use_itm_head=True,
    )
    return {
        **_numbered("vision_model.encoder.layers.{}", vision.hidden_states[1:]),
        **_numbered("text_encoder.encoder.layer.{}", fused.hidden_states[1:]),
        "itm_score": out.itm_score,
    }


def _flava(network: Any, text: dict[str, Any], seen: dict[str, Any]) -> States:
    out = network(**text, **seen)
    image, words = out.image_output.hidden_states, out.text_output.hidden_states
    joined = torch.cat(
        [network.image_to_mm_projection(image[-1]), network.text_to_mm_projection(words[-1])], dim=1
    )
    mask = torch.cat([torch.ones(len(joined), 1 + image[-1].shape[1]), text["attention_mask"]], 1)
    fused = network.multimodal_model(joined, attention_mask=mask, output_hidden_states=True)
    assert torch.equal(fused.last_hidden_state, out.multimodal_embeddings)
    return {
        **_numbered("image_model.encoder.layer.{}", image[1:]),
        **_numbered("text_model.encoder.layer.{}", words[1:]),
        **_numbered("multimodal_model.encoder.layer.{}", fused.hidden_states[1:]),
        "multimodal_model.pooler": fused.pooler_output,
    }


def _gpt2(network: Any, text: dict[str, Any], seen: dict[str, Any]) -> States:
    first, last = network(**text, output_hidden_states=True).hidden_states[1:]
    return {"h.0": first, "ln_f": last}


def _bridgetower(network: Any, text: dict[str, Any], seen: dict[str, Any]) -> States:
    out = network(**text, **seen, output_hidden_states=True)
    words, image, cross = out.hidden_states
    # the library gives a layer's two streams with their links added: read the streams themselves
    assert len(words) == len(image) == 5 and len(cross) == 2
    return {
        **_numbered("text_model.encoder.layer.{}", words[1:]),
        **_numbered("vision_model.visual.transformer.resblocks.{}", image[1:]),
        **_numbered("cross_modal_text_layers.{}", [pair[0] for pair in cross]),
        **_numbered("cross_modal_image_layers.{}", [pair[1] for pair in cross]),
        "pooler_output": out.pooler_output,
    }


def _towers(network: Any, text: dict[str, Any], seen: dict[str, Any]) -> States:
    out = network(**text, **seen, output_hidden_states=True)
    vision, words = out.vision_model_output.hidden_states, out.text_model_output.hidden_states
    if vision is None:  # SigLIP of transformers 4.57 keeps none
        shapes = [seen[key] for key in ("spatial_shapes",) if key in seen]
        vision = _stacked(network.vision_model, seen["pixel_values"], *shapes)
        words = _stacked(network.text_model, text["input_ids"])
    unit = torch.nn.functional.normalize
    return {
        **_numbered("vision_model.encoder.layers.{}", vision[1:]),
        **_numbered("text_model.encoder.layers.{}", words[1:]),
        "image_embeds": out.image_embeds,
        "text_embeds": out.text_embeds,
        "joint": unit(out.image_embeds, dim=-1) * unit(out.text_embeds, dim=-1),
    }


def _stacked(tower: Any, *inputs: Any) -> list[Any]:
    """States of a tower, layer by layer, where nothing is masked."""
    states = [tower.embeddings(*inputs)]
    for layer in tower.encoder.layers:
        out = layer(states[-1], attention_mask=None)
        states.append(out[0] if isinstance(out, tuple) else out)
    return states


OWN: dict[str, Callable[..., States]] = {
    "blip": _blip,
    "flava": _flava,
    "beit": _sequence("layers.{}"),
    "convnext": _sequence("encoder.stages.{}"),
    "vit": _sequence("layers.{}"),
    "dinov2": _sequence("encoder.layer.{}"),
    "bert": _sequence("encoder.layer.{}"),
    "roberta": _sequence("encoder.layer.{}"),
    "mpnet": _sequence("encoder.layer.{}"),
    "gpt2": _gpt2,
    "bridgetower": _bridgetower,
    "vilt": _sequence("encoder.layer.{}"),
    "clip": _towers,
    "siglip": _towers,
    "siglip2_naflex": _towers,
}


def _network(entry: dict[str, Any]) -> Any:
    """The checkpoint, loaded by the class that its configuration names."""
    folder = entry["path"]
    (made_as,) = transformers.AutoConfig.from_pretrained(folder).architectures
    network = getattr(transformers, made_as).from_pretrained(folder).eval()
    if hasattr(network.config, "max_image_length"):
        network.config.max_image_length = -1
    return network


@pytest.mark.parametrize("kind", list(OWN))
def test_layers_are_the_librarys(checkpoint: Checkpoint, activity: Activity, kind: str) -> None:
    entry = checkpoint(kind)
    model = load_model("mine", entry)
    texts = _texts(kind) if model.reads else None
    mine = activity(model, texts, PICTURES if model.sees else None)
    text, seen = _inputs(kind, entry)
    with torch.inference_mode():
        torch.manual_seed(0)  # ViLT draws the order of its patches
        own = OWN[kind](_network(entry), text, seen)
    assert len(set(own) & set(mine)) == len(mine) - (kind == "gpt2")
    for name, value in mine.items():
        if name in own:
            torch.testing.assert_close(value, own[name], rtol=0, atol=1e-6, msg=f"{kind}: {name}")


@pytest.mark.parametrize("kind", PLACED)
def test_language_models_that_see(checkpoint: Checkpoint, activity: Activity, kind: str) -> None:
    """Pictures and text in the library's own order: the chat's beginning, the picture, the text."""
    entry = checkpoint(kind)
    processor = transformers.AutoProcessor.from_pretrained(entry["path"])
    processor.image_processor = _processor(entry["path"])
    prompts = []
    for text in _texts(kind):
        content = [{"type": "image"}, {"type": "text", "text": text}]
        whole = processor.apply_chat_template([{"role": "user", "content": content}])
        prompts.append(whole[: whole.index(text) + len(text)])
    pictures = [[Image.fromarray(picture)] for picture in PICTURES]
    inputs = processor(text=prompts, images=pictures, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = _network(entry)(**inputs, output_hidden_states=True).hidden_states
    model = load_model("mine", entry)
    mine = activity(model, _texts(kind), PICTURES)
    numbered = [name for name in mine if ".layers." in name]
    last = next(name for name in mine if name.endswith("norm"))
    assert len(numbered) == 2 and model.image_first
    torch.testing.assert_close(mine[last], states[2], rtol=0, atol=1e-6)
    tokens = model.tokenize(_texts(kind))
    _, mask = model.collate(tokens)
    # Qwen adds to the picture's tokens between layers, and the library's states are before or
    # after that in different versions
    before = states[1].shape[1] - mask.shape[1]
    first = mine[numbered[0]][:, before:]
    torch.testing.assert_close(first, states[1][:, before:], rtol=0, atol=1e-6)
    # and the text is where `part_of` looks for it
    (layer,) = [layer for layer in model.layers if layer.name == numbered[0]]
    kept, kept_mask, _ = part_of(layer, inputs["input_ids"][:, :, None], mask, None, True)
    assert layer.tokens == "fused.text"
    for row, text in enumerate(tokens):
        assert kept[row, kept_mask[row], 0].tolist() == text.inputs["input_ids"]


@pytest.mark.parametrize("kind", PLACED)
def test_clips(checkpoint: Checkpoint, kind: str) -> None:
    entry = checkpoint(kind)
    model = load_model("mine", entry)
    clip = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    content = [{"type": "video"}, {"type": "text", "text": "the circle"}]
    processor = transformers.AutoProcessor.from_pretrained(entry["path"])
    whole = processor.apply_chat_template([{"role": "user", "content": content}])
    facts = {"fps": 2.0, "total_num_frames": 4, "frames_indices": [0, 1, 2, 3], "duration": 2.0}
    own = processor(
        text=[whole[: whole.index("the circle") + 10]],
        videos=[[clip]],
        video_metadata=[facts],
        do_sample_frames=False,
        return_tensors="pt",
    )
    own = {key: value for key, value in own.items() if hasattr(value, "shape")}
    text, _ = model.collate(model.tokenize(["the circle"]))
    image = {key: value[None] for key, value in model.watch(clip, 2.0).items()}
    with torch.inference_mode():
        mine = model.forward(text, image)["last_hidden_state"]
        wanted = _network(entry)(**own).last_hidden_state
    torch.testing.assert_close(mine, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_unit_is_the_same_in_every_batch(
    checkpoint: Checkpoint, activity: Activity, kind: str
) -> None:
    """Neither padding nor the other units of a batch change a pooled layer."""
    model = load_model("mine", checkpoint(kind))
    texts = _texts(kind)

    def pooled(rows: slice) -> States:
        found = activity(
            model, texts[rows] if model.reads else None, PICTURES[rows] if model.sees else None
        )
        mask = model.collate(model.tokenize(texts[rows]))[1] if model.reads else None
        vectors = {}
        for layer in model.layers:
            values = found[layer.name]
            if layer.batch_axis == 1:
                values = values.transpose(0, 1)
            real = None
            if values.ndim == 3:
                values, real, _ = part_of(layer, values, mask, None, model.image_first)
            vectors[layer.name] = pool(values, real, layer.pooling)
        return vectors

    together = pooled(slice(0, 3))
    for row in range(3):
        for name, value in pooled(slice(row, row + 1)).items():
            torch.testing.assert_close(together[name][row], value[0], rtol=0, atol=2e-6, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_untrained_twins(checkpoint: Checkpoint, kind: str) -> None:
    entry = checkpoint(kind)
    twin = load_model("mine", entry, untrained=True, seed=1)
    again = load_model("mine", entry, untrained=True, seed=1)
    other = load_model("mine", entry, untrained=True, seed=2)
    trained = load_model("mine", entry)
    assert twin.weights == again.weights
    assert len({twin.weights, other.weights, trained.weights}) == 3
    assert [layer.name for layer in twin.layers] == [layer.name for layer in trained.layers]
    # the library's own spread, not that of the checkpoint
    wide = [value for value in twin.module.parameters() if value.ndim == 2 and value.numel() > 200]
    assert wide and all(value.std() > 1e-4 for value in wide)


@pytest.mark.parametrize("kind", [kind for kind in PLACED if kind == "smolvlm"])
def test_black_picture_is_seen(checkpoint: Checkpoint, kind: str) -> None:
    """A picture of zeros after normalisation stands where there is none; it is not left out."""
    model = load_model("mine", checkpoint(kind))
    text, _ = model.collate(model.tokenize(["red", "blue"]))
    seen = model.see(PICTURES[0])
    zeros = {k: v * 0 if v.is_floating_point() else v for k, v in seen.items()}
    small = {k: v * 0 + 1e-12 if v.is_floating_point() else v for k, v in seen.items()}
    with torch.inference_mode():
        found, near = (
            model.forward(text, {key: torch.stack([value] * 2) for key, value in picture.items()})
            for picture in (zeros, small)
        )
    torch.testing.assert_close(
        found["last_hidden_state"], near["last_hidden_state"], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "bridgetower"])
def test_positions_that_begin_after_padding(
    checkpoint: Checkpoint, activity: Activity, kind: str
) -> None:
    model = load_model("mine", checkpoint(kind))
    (tokens,) = model.tokenize(["red " * 40])
    assert model.context["max_tokens"] == len(tokens) == 22 and tokens.truncated
    activity(model, ["red " * 40], PICTURES[:1] if model.sees else None)


def test_siglip_reads_lower_case(checkpoint: Checkpoint) -> None:
    model = load_model("mine", checkpoint("siglip"))
    mixed, plain = model.tokenize(["The RED circle", "the red circle"])
    assert mixed == plain and [a for a, b in mixed.offsets if b] == [0, 4, 8]


REGIONS = np.random.default_rng(3).standard_normal((3, 5, 20)).astype(np.float32)


def test_regions_in_place_of_pictures(checkpoint: Checkpoint, activity: Activity) -> None:
    entry = {**checkpoint("visual_bert"), "regions": "regions.h5"}
    model = load_model("mine", entry)
    assert model.regions == 20 and not model.image_first
    twin = load_model("mine", entry, untrained=True)
    assert twin.regions == 20 and twin.weights != model.weights
    mine = activity(model, TEXTS, list(REGIONS))
    words = transformers.AutoTokenizer.from_pretrained(entry["path"])
    text = words(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        own = _network(entry)(
            **text, visual_embeds=torch.tensor(REGIONS), output_hidden_states=True
        )
    for name, state in _numbered("encoder.layer.{}", own.hidden_states[1:]).items():
        torch.testing.assert_close(mine[name], state, rtol=0, atol=1e-6, msg=name)


def test_a_tokenizer_from_elsewhere(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """As for VisualBERT, whose repositories hold no vocabulary."""
    entry = {**checkpoint("visual_bert"), "regions": "regions.h5"}
    whole = load_model("mine", entry)
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((Path(entry["path"]) / file).read_bytes())
    apart = {**entry, "path": str(tmp_path)}
    with pytest.raises(InputError, match=r"has no usable tokenizer \("):
        load_model("mine", apart)
    model = load_model("mine", {**apart, "tokenizer": {"path": entry["path"]}})
    assert model.tokenize(TEXTS) == whole.tokenize(TEXTS)
    assert model.processor == whole.processor


def test_without_regions_it_is_said_what_to_give(checkpoint: Checkpoint) -> None:
    said = "VisualBertModel takes regions of an object detector in place of pictures; detect .*"
    with pytest.raises(InputError, match=said + "'regions' .* features, stimulus and, for films, "):
        load_model("mine", checkpoint("visual_bert"))
    with pytest.raises(InputError, match="ViltModel takes pictures, not regions of an object"):
        load_model("mine", {**checkpoint("vilt"), "regions": "regions.h5"})


def test_folder_without_vocabulary_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """The library would make an empty vocabulary, and every word unknown."""
    from transformers import BertConfig, BertModel

    _save(tmp_path, BertModel(BertConfig(vocab_size=16, hidden_size=16, num_hidden_layers=1,
                                         num_attention_heads=2, intermediate_size=8)),
          reads=False)  # fmt: skip
    entry = {**checkpoint("bert"), "path": str(tmp_path), "layers": ["encoder.layer.0"]}
    with pytest.raises(InputError, match=r"has no usable tokenizer \("):
        load_model("mine", entry)


def test_sentences_are_those_of_sentence_transformers(
    checkpoint: Checkpoint, tmp_path: Path, activity: Activity
) -> None:
    """An MPNet with mean pooling, saved by sentence-transformers."""
    library = pytest.importorskip("sentence_transformers")
    parts = library.models if hasattr(library, "models") else library.sentence_transformer.modules
    words = parts.Transformer(checkpoint("mpnet")["path"], max_seq_length=20)
    network = library.SentenceTransformer(
        modules=[words, parts.Pooling(16, pooling_mode="mean"), parts.Normalize()], device="cpu"
    )
    network.save(str(tmp_path))
    entry = {
        "source": "sentence_transformers", "path": str(tmp_path), "modality": "language",
        "layers": ["encoder.layer.{0..1}", {"output": "sentence_embedding"}],
    }  # fmt: skip
    model = load_model("mine", entry)
    assert model.context["max_tokens"] == 20
    mine = activity(model, TEXTS, None)["sentence_embedding"]
    wanted = torch.tensor(network.encode(TEXTS))
    torch.testing.assert_close(mine, wanted, rtol=0, atol=1e-6)
