"""Checkpoints of transformers at tiny size: one of every architecture that the studies name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_networks import SIZE, SPECIAL, WORDS, tokenizer

PIXELS = 32
PATCH = 8
SQUARE = {"height": PIXELS, "width": PIXELS}
TEXT = {**SIZE, "vocab_size": 16, "max_position_embeddings": 24, "pad_token_id": 0}
SEEN = {**SIZE, "image_size": PIXELS, "patch_size": PATCH}


def _save(folder: Path, network: Any, pictures: Any = None, reads: bool = True) -> None:
    """Save a network with weights that are all different, and what goes with it."""
    import torch

    torch.manual_seed(20)
    with torch.no_grad():
        for value in network.parameters():
            value.normal_(std=0.2)
    network.save_pretrained(folder)
    if reads:
        tokenizer(folder)
    if pictures is not None:
        pictures.save_pretrained(folder)


def _entry(folder: Path, modality: str, layers: list[Any], **more: Any) -> dict[str, Any]:
    """An entry of the registry."""
    entry = {"source": "transformers", "path": str(folder), "modality": modality}
    return {**entry, "layers": layers, **more}


def blip(folder: Path) -> dict[str, Any]:
    from transformers import BlipConfig, BlipForImageTextRetrieval, BlipImageProcessor

    config = BlipConfig(
        text_config={**TEXT, "encoder_hidden_size": 16, "projection_dim": 12, "bos_token_id": 2},
        vision_config=SEEN,
        projection_dim=12,
        image_text_hidden_size=12,
    )
    _save(folder, BlipForImageTextRetrieval(config), BlipImageProcessor(size=SQUARE))
    layers = [
        {"module": "vision_model.encoder.layers.{0..1}", "tokens": "image"},
        {"module": "text_encoder.encoder.layer.{0..1}", "tokens": "text"},
        {"output": "itm_score", "pooling": "none"},
    ]
    return _entry(folder, "vision-language", layers, **{"class": "BlipForImageTextRetrieval"})


def flava(folder: Path) -> dict[str, Any]:
    from transformers import FlavaConfig, FlavaImageProcessor, FlavaModel

    config = FlavaConfig(
        text_config=TEXT, image_config=SEEN, multimodal_config=dict(SIZE), projection_dim=12,
        hidden_size=16,
    )  # fmt: skip
    pictures = FlavaImageProcessor(size=SQUARE, crop_size=SQUARE)
    _save(folder, FlavaModel(config), pictures)
    layers = [
        {"module": "image_model.encoder.layer.{0..1}", "tokens": "image"},
        {"module": "text_model.encoder.layer.{0..1}", "tokens": "text"},
        {"module": "multimodal_model.encoder.layer.{0..1}", "tokens": "fused"},
        {"module": "multimodal_model.pooler", "tokens": "fused", "pooling": "none"},
    ]
    return _entry(folder, "vision-language", layers, **{"class": "FlavaModel"})


def beit(folder: Path) -> dict[str, Any]:
    from transformers import BeitConfig, BeitImageProcessor, BeitModel

    _save(folder, BeitModel(BeitConfig(**SEEN)), BeitImageProcessor(size=SQUARE, crop_size=SQUARE),
          reads=False)  # fmt: skip
    return _entry(
        folder,
        "vision",
        [{"module": ["layers.{0..1}", "encoder.layer.{0..1}"]}, {"output": "pooler_output"}],
    )


def convnext(folder: Path) -> dict[str, Any]:
    from transformers import ConvNextConfig, ConvNextImageProcessor, ConvNextModel

    config = ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 2, 1], image_size=64)
    pictures = ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=1.0)
    _save(folder, ConvNextModel(config), pictures, reads=False)
    return _entry(folder, "vision", ["encoder.stages.{0..3}", {"output": "pooler_output"}])


def vit(folder: Path) -> dict[str, Any]:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    _save(folder, ViTModel(ViTConfig(**SEEN)), ViTImageProcessor(size=SQUARE), reads=False)
    layers = [{"module": ["layers.{0..1}", "encoder.layer.{0..1}"]}, {"output": "pooler_output"}]
    return _entry(folder, "vision", layers)


def dinov2(folder: Path) -> dict[str, Any]:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    pictures = BitImageProcessor(size={"shortest_edge": PIXELS}, crop_size=SQUARE)
    _save(folder, Dinov2Model(Dinov2Config(**SEEN)), pictures, reads=False)
    return _entry(
        folder,
        "vision",
        ["encoder.layer.{0..1}", {"output": "pooler_output"}],
    )


def bert(folder: Path) -> dict[str, Any]:
    """SimCSE is a BERT whose pooler is used."""
    from transformers import BertConfig, BertModel

    _save(folder, BertModel(BertConfig(**TEXT)))
    return _entry(folder, "language", ["encoder.layer.{0..1}", {"module": "pooler"}])


def roberta(folder: Path) -> dict[str, Any]:
    """Positions begin after the padding token's number: 24 of them hold 22 tokens."""
    from transformers import RobertaConfig, RobertaModel

    _save(folder, RobertaModel(RobertaConfig(**{**TEXT, "pad_token_id": 1})))
    tokenizer(folder, max_length=512, padding="[UNK]")
    return _entry(folder, "language", ["encoder.layer.{0..1}"])


def mpnet(folder: Path) -> dict[str, Any]:
    from transformers import MPNetConfig, MPNetModel

    _save(folder, MPNetModel(MPNetConfig(**{**TEXT, "pad_token_id": 1})))
    tokenizer(folder, max_length=512, padding="[UNK]")
    return _entry(folder, "language", ["encoder.layer.{0..1}", {"module": "pooler"}])


def gpt2(folder: Path) -> dict[str, Any]:
    from tiny_networks import gpt2 as make

    return {**make(folder), "layers": ["h.{0..1}", "ln_f"]}


def bridgetower(folder: Path) -> dict[str, Any]:
    from transformers import BridgeTowerConfig, BridgeTowerImageProcessor, BridgeTowerModel

    config = BridgeTowerConfig(
        text_config={**TEXT, "pad_token_id": 1, "num_hidden_layers": 4, "hidden_size": 64},
        vision_config={"hidden_size": 64, "num_hidden_layers": 4, "image_size": PIXELS,
                       "patch_size": PATCH},
        hidden_size=64, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2,
    )  # fmt: skip
    pictures = BridgeTowerImageProcessor(
        size={"shortest_edge": PIXELS}, size_divisor=8, crop_size={"shortest_edge": PIXELS}
    )
    _save(folder, BridgeTowerModel(config), pictures)
    tokenizer(folder, padding="[UNK]")
    layers = [
        {"module": "text_model.encoder.layer.{0..3}", "tokens": "text"},
        {"module": "vision_model.visual.transformer.resblocks.{0..3}", "tokens": "image",
         "batch_axis": 1},
        {"module": "cross_modal_text_layers.{0..1}", "tokens": "text"},
        {"module": "cross_modal_image_layers.{0..1}", "tokens": "image"},
        {"output": "pooler_output", "pooling": "none"},
    ]  # fmt: skip
    return _entry(folder, "vision-language", layers, **{"class": "BridgeTowerModel"})


def vilt(folder: Path) -> dict[str, Any]:
    from transformers import ViltConfig, ViltImageProcessor, ViltModel

    pictures = ViltImageProcessor(size={"shortest_edge": PIXELS}, size_divisor=8)
    _save(folder, ViltModel(ViltConfig(**TEXT, image_size=PIXELS, patch_size=PATCH)), pictures)
    layers = [{"module": "encoder.layer.{0..1}", "tokens": "fused"}, {"output": "pooler_output"}]
    return _entry(folder, "vision-language", layers)


def clip(folder: Path) -> dict[str, Any]:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    config = CLIPConfig(
        text_config={**TEXT, "bos_token_id": 2, "eos_token_id": 3}, vision_config=SEEN,
        projection_dim=12,
    )  # fmt: skip
    pictures = CLIPImageProcessor(size={"shortest_edge": PIXELS}, crop_size=SQUARE)
    _save(folder, CLIPModel(config), pictures)
    return _entry(folder, "vision-language", _towers())


def _towers() -> list[dict[str, Any]]:
    """Layers of two towers of transformers."""
    return [
        {"module": "vision_model.encoder.layers.{0..1}", "tokens": "image"},
        {"module": "text_model.encoder.layers.{0..1}", "tokens": "text"},
        {"output": "image_embeds", "pooling": "none"},
        {"output": "text_embeds", "pooling": "none"},
        {"output": "joint", "pooling": "none"},
    ]


def siglip(folder: Path) -> dict[str, Any]:
    """The checkpoints of SigLIP 2 with pictures of one size are of SigLIP's class."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    config = SiglipConfig(
        text_config={**TEXT, "bos_token_id": 2, "eos_token_id": 3}, vision_config=SEEN
    )
    _save(folder, SiglipModel(config), SiglipImageProcessor(size=SQUARE))
    return _entry(folder, "vision-language", _towers())


def siglip2_naflex(folder: Path) -> dict[str, Any]:
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    config = Siglip2Config(
        text_config={**TEXT, "bos_token_id": 2, "eos_token_id": 3},
        vision_config={**SIZE, "patch_size": PATCH, "num_patches": 16},
    )
    _save(folder, Siglip2Model(config), Siglip2ImageProcessor(patch_size=PATCH, max_num_patches=16))
    return _entry(folder, "vision-language", _towers())


def visual_bert(folder: Path) -> dict[str, Any]:
    from transformers import VisualBertConfig, VisualBertModel

    config = VisualBertConfig(**TEXT, visual_embedding_dim=20)
    _save(folder, VisualBertModel(config))
    return _entry(
        folder, "vision-language", [{"module": "encoder.layer.{0..1}", "tokens": "fused"}]
    )


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "blip": blip,
    "flava": flava,
    "beit": beit,
    "convnext": convnext,
    "vit": vit,
    "dinov2": dinov2,
    "bert": bert,
    "roberta": roberta,
    "mpnet": mpnet,
    "gpt2": gpt2,
    "bridgetower": bridgetower,
    "vilt": vilt,
    "clip": clip,
    "siglip": siglip,
    "siglip2_naflex": siglip2_naflex,
    "visual_bert": visual_bert,
}


def _chat_tokenizer(added: list[str], **named: str) -> Any:
    """A tokenizer that knows the signs of a chat with pictures, besides the tiny vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, *WORDS, "user", "User", ":", "<", ">", "seconds", "0", "1", "2", "3", "."]
    inner = Tokenizer(
        models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]", eos_token="[SEP]",
        model_max_length=512, additional_special_tokens=added, **named,
    )  # fmt: skip


CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)


def qwen3_vl(folder: Path) -> dict[str, Any]:
    import transformers as t

    added = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
             "<|video_pad|>"]  # fmt: skip
    words = _chat_tokenizer(added)
    if t.__version__.startswith("4"):  # its processor takes no other class
        words.save_pretrained(folder)
        words = t.Qwen2TokenizerFast.from_pretrained(folder)
    number = dict(zip(added, words.convert_tokens_to_ids(added), strict=True))
    turns = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                 "mrope_section": [2, 1, 1]}}  # fmt: skip
    if t.__version__.startswith("4"):
        turns = {"rope_scaling": {"rope_type": "default", "mrope_section": [2, 1, 1]}}
    config = t.Qwen3VLConfig(
        text_config={**SIZE, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(words),
                     "max_position_embeddings": 512, "pad_token_id": 0,
                     **turns},
        vision_config={"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2,
                       "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2,
                       "out_hidden_size": 16, "num_position_embeddings": 64,
                       "deepstack_visual_indexes": [0, 1]},
        image_token_id=number["<|image_pad|>"],
        video_token_id=number["<|video_pad|>"],
        vision_start_token_id=number["<|vision_start|>"],
        vision_end_token_id=number["<|vision_end|>"],
    )  # fmt: skip
    size = {"shortest_edge": 64, "longest_edge": 4096}
    settings = {"patch_size": 4, "temporal_patch_size": 2, "merge_size": 2, "size": size}
    processor = t.Qwen3VLProcessor(
        t.Qwen2VLImageProcessor(**settings), words, t.Qwen3VLVideoProcessor(**settings), CHAT
    )
    _save(folder, t.Qwen3VLModel(config), processor, reads=False)
    layers = [
        {"module": "visual.blocks.{0..1}", "tokens": "image", "pooling": "mean"},
        {"module": "language_model.layers.{0..1}", "tokens": "fused.text"},
        {"module": "language_model.norm", "tokens": "fused"},
    ]
    return _entry(folder, "vision-language", layers[1:], **{"class": "Qwen3VLModel"})


SMOL_CHAT = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% elif part['type'] == 'video' %}<video>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
)


def smolvlm(folder: Path) -> dict[str, Any]:
    import transformers as t

    signs = {"fake_image_token": "<fake_token_around_image>", "image_token": "<image>",
             "end_of_utterance_token": "<end_of_utterance>", "global_image_token": "<global-img>",
             "video_token": "<video>"}  # fmt: skip
    words = _chat_tokenizer(["<|im_start|>", *signs.values()], extra_special_tokens=signs)
    config = t.SmolVLMConfig(
        text_config={**SIZE, "model_type": "llama", "num_key_value_heads": 2,
                     "vocab_size": len(words), "max_position_embeddings": 512, "pad_token_id": 0},
        vision_config={**SEEN, "num_channels": 3},
        scale_factor=2,
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    settings = dict(
        do_image_splitting=False, size={"longest_edge": PIXELS},
        max_image_size={"longest_edge": PIXELS},
    )  # fmt: skip
    video = t.SmolVLMVideoProcessor(
        size={"longest_edge": PIXELS}, max_image_size={"longest_edge": PIXELS}, num_frames=4, fps=1
    )
    processor = t.SmolVLMProcessor(
        t.SmolVLMImageProcessor(**settings), words, video, image_seq_len=4, chat_template=SMOL_CHAT
    )
    _save(folder, t.SmolVLMModel(config), processor, reads=False)
    layers = [
        {"module": "text_model.layers.{0..1}", "tokens": "fused.text"},
        {"module": "text_model.norm", "tokens": "fused"},
    ]
    return _entry(folder, "vision-language", layers, **{"class": "SmolVLMModel"})


MAKERS |= {"qwen3_vl": qwen3_vl, "smolvlm": smolvlm}
