"""Loading: the library's own forward pass is the oracle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid.common import BraidError, InputError
from braid.models import load_model
from braid.models.pooling import pool

torch = pytest.importorskip("torch")
Tiny = Callable[[str], dict[str, Any]]
KINDS = ["bert", "gpt2", "vit", "vilt", "clip"]
WEIGHTS = (".safetensors", ".pt", ".pth")
ALL_KINDS = [*KINDS, "timm_beit", "timm_convnext", "slip", "slip_clip", "slip_simclr", "albef"]
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def _copy(entry: dict[str, Any], to: Path) -> dict[str, Any]:
    shutil.copytree(entry["path"], to)
    return {**entry, "path": str(to)}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_the_checkpoints(tiny: Tiny, kind: str) -> None:
    from safetensors.torch import load_file

    entry = tiny(kind)
    model = load_model("mine", entry)
    (file,) = Path(entry["path"]).glob("*.safetensors")
    loaded, stored = model.module.state_dict(), load_file(file)
    # a library may name tensors otherwise in files than in memory
    values = {(tuple(value.shape), value.numpy().tobytes()) for value in loaded.values()}
    assert stored
    for name, value in stored.items():
        assert (tuple(value.shape), value.numpy().tobytes()) in values, name
    assert not model.module.training
    assert len(model.layers) >= 2


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_untrained_twin(tiny: Tiny, kind: str) -> None:
    entry = tiny(kind)
    trained = load_model("mine", entry)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    twin = load_model("mine", entry, untrained=True, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    again = load_model("mine", entry, untrained=True, seed=1)
    other = load_model("mine", entry, untrained=True, seed=2)
    assert twin.weights == again.weights
    assert len({trained.weights, twin.weights, other.weights}) == 3
    assert twin.architecture == trained.architecture and twin.processor == trained.processor
    assert twin.untrained is not None and trained.untrained is None
    shapes = {name: value.shape for name, value in trained.module.state_dict().items()}
    assert {name: value.shape for name, value in twin.module.state_dict().items()} == shapes
    named = twin.module.named_parameters()
    matrices = [value for key, value in named if key.endswith("weight") and value.ndim == 2]
    assert matrices and all(value.std() > 1e-6 for value in matrices if value.numel() > 64)


def test_untrained_twin_never_reads_the_weights(tiny: Tiny, tmp_path: Path) -> None:
    for kind in ("bert", "clip", "timm_beit", "slip", "albef"):
        entry = _copy(tiny(kind), tmp_path / kind)
        (file,) = (f for f in Path(entry["path"]).iterdir() if f.suffix in WEIGHTS)
        file.unlink()
        twin = load_model("mine", entry, untrained=True, seed=1)
        assert twin.weights == load_model("mine", tiny(kind), untrained=True, seed=1).weights
        with pytest.raises(InputError, match="holds no weights"):
            load_model("mine", entry)


def test_untrained_twins_of_two_names_differ(tiny: Tiny) -> None:
    a, b = (load_model(name, tiny("bert"), untrained=True, seed=1) for name in "ab")
    assert a.weights != b.weights


def test_digests_follow_content(tiny: Tiny, tmp_path: Path) -> None:
    entry = _copy(tiny("bert"), tmp_path / "elsewhere")
    first, same = load_model("mine", tiny("bert")), load_model("other", entry)
    for name in ("weights", "architecture", "processor"):
        assert getattr(first, name) == getattr(same, name)
    folder = Path(entry["path"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_version": "0.0"}))
    assert load_model("other", entry).architecture == first.architecture
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    changed = load_model("other", entry)
    assert changed.architecture != first.architecture
    assert changed.weights == first.weights
    assert load_model("mine", {**entry, "max_tokens": 8}).context["max_tokens"] == 8


@pytest.mark.parametrize("kind", ["bert", "clip", "timm_convnext", "slip", "albef"])
def test_damaged_weights_are_named(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    entry = _copy(tiny(kind), tmp_path / kind)
    (file,) = (f for f in Path(entry["path"]).iterdir() if f.suffix in WEIGHTS)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"model 'mine': {entry['path']}.* cannot be loaded") as e:
        load_model("mine", entry)
    assert "\n" not in str(e.value) and "fetch the checkpoint again" in str(e.value)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_pattern_that_fits_nothing_is_named(tiny: Tiny, kind: str) -> None:
    for pattern in ("absent.{0..3}", "absent.*"):
        entry = {**tiny(kind), "layers": [{"module": pattern, "tokens": "image"}]}
        with pytest.raises(InputError, match=r"model 'mine': layer 'absent\..' does not exist; "):
            load_model("mine", entry, untrained=True)


def test_missing_tensor_is_an_error_unless_optional(tiny: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    entry = _copy(tiny("bert"), tmp_path / "bert")
    file = Path(entry["path"]) / "model.safetensors"
    tensors = load_file(file)
    pooler = {k: v for k, v in tensors.items() if not k.startswith("pooler")}
    save_file(pooler, file, metadata={"format": "pt"})
    load_model("mine", entry)
    with pytest.raises(InputError, match=r"lacks the tensor pooler\."):
        load_model("mine", {**entry, "layers": [{"output": "pooler_output", "pooling": "none"}]})
    lacking = {k: v for k, v in tensors.items() if "layer.1.output" not in k}
    save_file(lacking, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks the tensor encoder\.layer\.1\.output"):
        load_model("mine", entry)


def test_missing_parts_of_a_folder_are_named(tiny: Tiny, tmp_path: Path) -> None:
    entry = tiny("bert")
    empty = {**entry, "path": str(tmp_path)}
    with pytest.raises(InputError, match=r"has no config\.json"):
        load_model("mine", empty)
    with pytest.raises(InputError, match=r"has no open_clip_config\.json"):
        load_model("mine", {**tiny("clip"), "path": str(tmp_path)})
    with pytest.raises(InputError, match="has no class 'BertModle'"):
        load_model("mine", {**entry, "class": "BertModle"})
    with pytest.raises(InputError, match=r"layer 'encoder.layer.2' does not exist"):
        load_model("mine", {**entry, "layers": ["encoder.layer.{0..2}"]})
    with pytest.raises(InputError, match="has no untrained twin"):
        load_model("mine", {"source": "onehot", "modality": "language"}, untrained=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_cuda(tiny: Tiny) -> None:
    with pytest.raises(BraidError, match="none was found"):
        load_model("mine", tiny("bert"), device="cuda")
    assert load_model("mine", tiny("bert"), device="auto").device == "cpu"
    for wrong in ("gpu", "cuda:one", "cpu:0", "cudagraph"):
        with pytest.raises(InputError, match=f"device '{wrong}' is unknown"):
            load_model("mine", tiny("bert"), device=wrong)


def test_cuda_device_of_a_number_that_is_not_there(tiny: Tiny) -> None:
    with pytest.raises(BraidError, match="device cuda:99 was asked for and none was found"):
        load_model("mine", tiny("bert"), device="cuda:99")


def test_long_text_loses_its_oldest_words(tiny: Tiny) -> None:
    text = "red " * 5 + "blue " * 30 + "circle"
    for kind, limit in (("bert", 24), ("clip", 12)):
        left = load_model("mine", tiny(kind))
        right = load_model("mine", {**tiny(kind), "too_long": "right"})
        (tokens,) = left.tokenize([text])
        assert tokens.truncated and len(tokens) == limit
        assert tokens.inputs["input_ids"][0] == 2 and tokens.inputs["input_ids"][-1] == 3
        assert tokens.inputs["input_ids"][-2] == 5 + 3  # circle
        (tokens,) = right.tokenize([text])
        assert tokens.truncated and tokens.inputs["input_ids"][1] == 5 + 1  # red
        assert not left.tokenize(["red"])[0].truncated
        with pytest.raises(InputError, match=f"text of 38 tokens exceeds its context of {limit}"):
            load_model("mine", {**tiny(kind), "too_long": "error"}).tokenize([text])
    with pytest.raises(InputError, match="max_tokens 99 exceeds its context of 24"):
        load_model("mine", {**tiny("bert"), "max_tokens": 99})


def test_empty_text_is_special_tokens_or_one_start_token(tiny: Tiny) -> None:
    assert load_model("m", tiny("bert")).tokenize([""])[0].inputs["input_ids"] == [2, 3]
    assert load_model("m", tiny("gpt2")).tokenize([""])[0].inputs["input_ids"] == [2]


def test_open_clip_inputs_equal_its_own(tiny: Tiny) -> None:
    import open_clip
    from PIL import Image

    entry = tiny("clip")
    model = load_model("mine", entry)
    source = f"local-dir:{entry['path']}"
    _, _, preprocess = open_clip.create_model_and_transforms(source)
    texts = ["the red circle", "", "blue square  moves"]
    inputs, mask = model.collate(model.tokenize(texts))
    assert torch.equal(inputs["text"], open_clip.get_tokenizer(source)(texts))
    assert mask.sum(1).tolist() == [5, 2, 5]
    assert torch.equal(model.see(PICTURE)["image"], preprocess(Image.fromarray(PICTURE)))


def test_byte_pair_tokenizer_of_open_clip(tiny: Tiny, tmp_path: Path) -> None:
    import open_clip

    entry = _copy(tiny("clip"), tmp_path / "clip")
    path = Path(entry["path"]) / "open_clip_config.json"
    config = json.loads(path.read_text())
    del config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    config["model_cfg"]["text_cfg"].update(vocab_size=49408, pool_type="argmax")
    path.write_text(json.dumps(config))
    model = load_model("mine", entry, untrained=True)
    own = open_clip.get_tokenizer(f"local-dir:{entry['path']}")
    texts = ["A red circle.", "", "moves left"]
    assert torch.equal(model.collate(model.tokenize(texts))[0]["text"], own(texts))
    (long,) = model.tokenize(["red " * 30 + "blue"])
    assert long.truncated and len(long) == 12
    assert long.inputs["input_ids"][-2] == own.encode("blue")[0]


def test_vilt_keeps_all_patches(tiny: Tiny) -> None:
    assert load_model("mine", tiny("vilt")).module.config.max_image_length == -1


def test_pooling_by_hand() -> None:
    values = torch.tensor([[[1.0, 2], [3, 4], [99, 99]], [[5, 1], [7, 0], [3, 8]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    targets = torch.tensor([[False, True, False], [False, False, False]])
    expected = {
        "mean": [[2, 3], [5, 3]],
        "max": [[3, 4], [7, 8]],
        "cls": [[1, 2], [5, 1]],
        "last": [[3, 4], [3, 8]],
        "target_tokens": [[3, 4], [5, 3]],
        "flatten": [[1, 2, 3, 4, 99, 99], [5, 1, 7, 0, 3, 8]],
    }
    for how, wanted in expected.items():
        assert pool(values, mask, how, targets).tolist() == wanted, how
    maps = torch.arange(16.0).reshape(1, 2, 2, 4)
    assert pool(maps, None, "mean").tolist() == [[3.5, 11.5]]
    assert pool(values[:, 0], None, "mean").tolist() == [[1, 2], [5, 1]]
    with pytest.raises(ValueError, match="one vector per item"):
        pool(values, mask, "none")


def test_parts_of_fused_layers_by_hand() -> None:
    from braid.models.layers import Layer
    from braid.models.parts import part_of

    text_first = torch.tensor([[1, 2, 0, 8, 9], [3, 0, 0, 6, 7]])[:, :, None]
    image_first = torch.tensor([[8, 9, 1, 2, 0], [6, 7, 3, 0, 0]])[:, :, None]
    mask = torch.tensor([[True, True, False], [True, False, False]])
    targets = torch.tensor([[False, True, False], [True, False, False]])

    def kept(tokens: str, values: Any, first: bool, chosen: bool = False) -> list[list[int]]:
        layer = Layer("mine", "mine", None, tokens, "mean")
        part, real, target = part_of(layer, values, mask, targets, first)
        marks = target if chosen else real
        return [
            row[marks[k]].flatten().tolist() if marks is not None else row.flatten().tolist()
            for k, row in enumerate(part)
        ]

    for values, first in ((text_first, False), (image_first, True)):
        assert kept("fused.text", values, first) == [[1, 2], [3]]
        assert kept("fused.image", values, first) == [[8, 9], [6, 7]]
        assert sorted(kept("fused", values, first)[0]) == [1, 2, 8, 9]
        assert sorted(kept("fused", values, first)[1]) == [3, 6, 7]
        assert kept("fused", values, first, chosen=True) == [[2], [3]]
    assert kept("text", text_first[:, :3], False) == [[1, 2], [3]]
    with pytest.raises(ValueError, match="5 tokens for a text of 3; correct its 'tokens'"):
        kept("text", text_first, False)
    with pytest.raises(ValueError, match="2 tokens for a text of 3"):
        kept("fused", text_first[:, :2], False)
