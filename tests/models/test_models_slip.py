"""The SLIP family: published names, and open_clip's text tower and timm's trunk as oracles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braid.common import InputError
from braid.models import load_model

torch = pytest.importorskip("torch")
Tiny = Callable[[str], dict[str, Any]]
PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 40, 52, 3), dtype=np.uint8))
TEXTS = ["A red circle moves.", "", "the big blue square"]


def _stored(entry: dict[str, Any]) -> dict[str, Any]:
    (file,) = Path(entry["path"]).glob("*.pt")
    content = torch.load(file, weights_only=False)["state_dict"]
    return {key.removeprefix("module."): value for key, value in content.items()}


def test_published_names_and_shapes_at_full_size(shared_data: Path) -> None:
    from braid.models.slip_modules import ARCHITECTURES, SlipNetwork

    golden = json.loads((shared_data / "golden" / "slip_keys.json").read_text())
    assert set(golden) - {"_note"} == set(ARCHITECTURES)
    for name, sizes in ARCHITECTURES.items():
        with torch.device("meta"):
            network = SlipNetwork(sizes)
        mine = {key: list(value.shape) for key, value in network.state_dict().items()}
        assert mine == golden[name], name
    # table 1 of the specification, in millions
    with torch.device("meta"):
        counts = [
            sum(value.numel() for value in SlipNetwork(ARCHITECTURES[name]).parameters()) / 1e6
            for name in ("SLIP_VITB16", "CLIP_VITB16", "SIMCLR_VITB16")
        ]
    assert np.round(counts, 2).tolist() == [170.62, 149.62, 106.80]


def _open_clip_text(entry: dict[str, Any], stored: dict[str, Any]) -> Any:
    """open_clip's text tower, which has the same tensors, with the stored ones."""
    from open_clip.model import CLIPTextCfg, _build_text_tower

    sizes = entry["architecture"]
    config = CLIPTextCfg(
        context_length=sizes["context_length"],
        vocab_size=49408,
        width=sizes["text_width"],
        heads=sizes["text_heads"],
        layers=sizes["text_layers"],
    )
    tower = _build_text_tower(sizes["embedding"], config, quick_gelu=True)
    names = tower.state_dict().keys()
    # attn_mask is a buffer that is made, not stored
    assert set(names) - set(stored) <= {"attn_mask"}
    tower.load_state_dict({key: stored[key] for key in names if key in stored}, strict=False)
    return tower.eval()


def _timm_trunk(entry: dict[str, Any], stored: dict[str, Any]) -> Any:
    import timm

    sizes = entry["architecture"]
    trunk = timm.create_model(
        "vit_base_patch16_224",
        num_classes=0,
        img_size=sizes["image_size"],
        patch_size=sizes["patch_size"],
        embed_dim=sizes["vision_width"],
        depth=sizes["vision_layers"],
        num_heads=sizes["vision_heads"],
    )
    trunk.load_state_dict(
        {k.removeprefix("visual."): v for k, v in stored.items() if k.startswith("visual.")}
    )
    return trunk.eval()


@pytest.mark.parametrize("kind", ["slip", "slip_clip"])
def test_text_tower_is_that_of_open_clip(
    tiny: Tiny, activity: Callable[..., dict[str, Any]], kind: str
) -> None:
    import open_clip

    entry = tiny(kind)
    mine = activity(load_model("mine", entry), TEXTS, PICTURES)
    tower = _open_clip_text(entry, _stored(entry))
    numbers = open_clip.SimpleTokenizer(context_length=12)(TEXTS)
    tokens: dict[str, Any] = {}
    for k, block in enumerate(tower.transformer.resblocks):
        block.register_forward_hook(
            lambda _m, _i, out, k=k: tokens.update({f"transformer.resblocks.{k}": out})
        )
    tower.ln_final.register_forward_hook(lambda _m, _i, out: tokens.update(ln_final=out))
    with torch.inference_mode():
        features = torch.nn.functional.normalize(tower(numbers), dim=-1)
    assert len(tokens) == 3
    for name, wanted in tokens.items():
        torch.testing.assert_close(mine[name], wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(mine["text_features"], features, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["slip", "slip_clip", "slip_simclr"])
def test_pictures_follow_timm_and_the_published_preparation(
    tiny: Tiny, activity: Callable[..., dict[str, Any]], kind: str
) -> None:
    from PIL import Image
    from torchvision import transforms

    entry = tiny(kind)
    stored = _stored(entry)
    model = load_model("mine", entry)
    mine = activity(model, TEXTS if model.reads else None, PICTURES)
    prepare = transforms.Compose(
        [
            transforms.Resize(32),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    pictures = torch.stack([prepare(Image.fromarray(picture)) for picture in PICTURES])
    with torch.inference_mode():
        trunk = _timm_trunk(entry, stored)
        pooled, states = trunk(pictures), trunk.forward_intermediates(pictures, norm=False)[1]
        torch.testing.assert_close(mine["visual"], pooled, rtol=0, atol=1e-6)
        for k, state in enumerate(states):
            spread = mine[f"visual.blocks.{k}"][:, 1:].transpose(1, 2).reshape(state.shape)
            torch.testing.assert_close(spread, state, rtol=0, atol=1e-6)
        if kind != "slip_simclr":
            features = pooled @ stored["image_projection"]
            features /= features.norm(dim=-1, keepdim=True)
            torch.testing.assert_close(mine["image_features"], features, rtol=0, atol=1e-6)
            torch.testing.assert_close(mine["joint"], features * mine["text_features"])
        if kind != "slip_clip":
            torch.testing.assert_close(
                mine["ssl_features"], _head(stored, pooled), rtol=0, atol=1e-6
            )


def _head(stored: dict[str, Any], x: Any) -> Any:
    """The head of self-supervision, written out: linear, batch norm, ReLU, twice, then linear."""
    value = {k.removeprefix("image_mlp."): v for k, v in stored.items() if "image_mlp" in k}
    for k in (1, 2):
        x = x @ value[f"layer{k}.weight"].T + value[f"layer{k}.bias"]
        spread = (value[f"bn{k}.running_var"] + 1e-5).sqrt()
        x = (x - value[f"bn{k}.running_mean"]) / spread
        x = (x * value[f"bn{k}.weight"] + value[f"bn{k}.bias"]).clamp(min=0)
    return x @ value["layer3.weight"].T + value["layer3.bias"]


def test_one_tower_at_a_time(tiny: Tiny, activity: Callable[..., dict[str, Any]]) -> None:
    entry = tiny("slip")
    both = activity(load_model("mine", entry), TEXTS, PICTURES)
    seeing = {**entry, "modality": "vision", "layers": ["visual"]}
    reading = {**entry, "modality": "language", "layers": ["ln_final"]}
    assert torch.equal(
        activity(load_model("mine", seeing), None, PICTURES)["visual"], both["visual"]
    )
    assert torch.equal(
        activity(load_model("mine", reading), TEXTS, None)["ln_final"], both["ln_final"]
    )


def test_only_the_training_settings_are_let_in(tiny: Tiny, tmp_path: Path) -> None:
    """A file with any other object is refused, and the object is never made."""
    entry = tiny("slip")
    (file,) = Path(entry["path"]).glob("*.pt")
    content = torch.load(file, weights_only=False)
    mark = tmp_path / "run"

    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    folder = tmp_path / "bad"
    folder.mkdir()
    torch.save({**content, "args": Payload()}, folder / "bad.pt")
    with pytest.raises(InputError, match=r"bad\.pt holds objects besides tensors \(.*Path"):
        load_model("mine", {**entry, "path": str(folder)})
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("module.ln_final.weight"), "lacks the tensor ln_final.weight; correct"),
        (
            lambda t: t.update({"module.ln_end.weight": t.pop("module.ln_final.weight")}),
            r"lacks the tensor ln_final.weight \(and 1 more",
        ),
        (
            lambda t: t.update({"module.extra": torch.zeros(2)}),
            "has a tensor extra, which the network has not",
        ),
        (
            lambda t: t.update({"module.logit_scale": torch.zeros(3)}),
            r"has the tensor logit_scale with shape \(3,\) instead of \(\)",
        ),
    ],
)
def test_wrong_tensors_are_named(
    tiny: Tiny, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    entry = tiny("slip")
    (file,) = Path(entry["path"]).glob("*.pt")
    content = torch.load(file, weights_only=False)
    change(content["state_dict"])
    torch.save(content, tmp_path / "wrong.pt")
    with pytest.raises(InputError, match=rf"model 'mine': .*wrong\.pt {message}"):
        load_model("mine", {**entry, "path": str(tmp_path)})


def test_wrong_files_are_named(tiny: Tiny, tmp_path: Path) -> None:
    entry = tiny("slip")
    (file,) = Path(entry["path"]).glob("*.pt")
    (tmp_path / "cut.pt").write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"cut\.pt cannot be loaded .*; fetch the checkpoint"):
        load_model("mine", {**entry, "path": str(tmp_path)})
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"several weight files \(cut\.pt, list\.pt\).*'file'"):
        load_model("mine", {**entry, "path": str(tmp_path)})
    with pytest.raises(InputError, match=r"list\.pt holds no tensors under the key 'state_dict'"):
        load_model("mine", {**entry, "path": str(tmp_path), "file": "list.pt"})
    with pytest.raises(InputError, match=r"holds no weights \(looked for: absent\.pt\)"):
        load_model("mine", {**entry, "path": str(tmp_path), "file": "absent.pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": None}, "'architecture' is missing .one of: SLIP_VITS16,"),
        ({"architecture": "SLIP_VITB61"}, "'SLIP_VITB61' is unknown; did you mean 'SLIP_VITB16'"),
        ({"architecture": {"visionwidth": 3}}, "unknown size 'visionwidth'.*'vision_width'"),
        ({"architecture": {"vision_width": "3"}}, "'vision_width' .* must be of type int, not '3'"),
        ({"architecture": {"family": "SLAP"}}, "family 'SLAP' .*did you mean 'SLIP'"),
        ({"architecture": {"family": "SIMCLR"}}, "a SimCLR network does not read"),
        ({"layers": ["visual.block.{0..1}"], "modality": "vision"}, "'visual.block.0' does not"),
        ({"processor": {"siez": 8}}, "unknown key 'siez' of 'processor'; did you mean 'size'"),
    ],
)
def test_wrong_entry_is_named(tiny: Tiny, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"model 'mine': .*{message}"):
        load_model("mine", {**tiny("slip"), **change}, untrained=True)
