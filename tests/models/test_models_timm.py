"""Networks of timm, saved and run by timm itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braid.common import InputError
from braid.models import load_model
from braid.models.pooling import pool

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
Tiny = Callable[[str], dict[str, Any]]
Activity = Callable[..., dict[str, Any]]
PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 70, 90, 3), dtype=np.uint8))


def _own(entry: dict[str, Any]) -> tuple[Any, Any]:
    """Network and prepared pictures, by timm's own interface."""
    network = timm.create_model(f"local-dir:{entry['path']}", pretrained=True).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    return network, torch.stack([prepare(Image.fromarray(picture)) for picture in PICTURES])


def test_beit_layers_and_pictures(tiny: Tiny, activity: Activity) -> None:
    entry = tiny("timm_beit")
    network, pictures = _own(entry)
    model = load_model("mine", entry)
    assert torch.equal(torch.stack([model.see(one)["image"] for one in PICTURES]), pictures)
    assert pictures.mean() < 0.6  # the saved mean and spread, not ImageNet's
    mine = activity(model, None, PICTURES)
    with torch.inference_mode():
        output = network(pictures)
        states = network.forward_intermediates(
            pictures, return_prefix_tokens=True, norm=False, output_fmt="NLC",
            intermediates_only=True,
        )  # fmt: skip
        pooled = network.forward_head(network.forward_features(pictures), pre_logits=True)
    for k, (tokens, first) in enumerate(states):
        wanted = torch.cat([first, tokens], dim=1)
        torch.testing.assert_close(mine[f"blocks.{k}"], wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(mine["fc_norm"], pooled, rtol=0, atol=1e-6)
    torch.testing.assert_close(mine["output"], output, rtol=0, atol=1e-6)
    assert output.shape == (3, 5)


def test_convnext_maps_are_averaged_over_places(tiny: Tiny, activity: Activity) -> None:
    entry = tiny("timm_convnext")
    network, pictures = _own(entry)
    mine = activity(load_model("mine", entry), None, PICTURES)
    with torch.inference_mode():
        _, states = network.forward_intermediates(pictures)
        output = network(pictures)
        pooled = network.forward_head(network.forward_features(pictures), pre_logits=True)
    assert states[-1].shape == (3, 20, 2, 2)
    for k, state in enumerate(states):
        torch.testing.assert_close(mine[f"stages.{k}"], state, rtol=0, atol=1e-6)
        torch.testing.assert_close(
            pool(mine[f"stages.{k}"], None, "mean"), state.mean((2, 3)), rtol=0, atol=1e-6
        )
    last = pool(mine["head.norm"], None, "mean")
    torch.testing.assert_close(last, pooled, rtol=0, atol=1e-6)
    torch.testing.assert_close(mine["output"], output, rtol=0, atol=1e-6)


def test_architecture_and_weight_file(tiny: Tiny, tmp_path: Path, activity: Activity) -> None:
    """The same network from a bare checkpoint, as training programs leave it."""
    entry = tiny("timm_beit")
    network, _ = _own(entry)
    wrapped = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "beit.pth")
    config = json.loads((Path(entry["path"]) / "config.json").read_text())
    bare = {
        **entry,
        "path": str(tmp_path),
        "file": "beit.pth",
        "architecture": {"name": "beit_base_patch16_224", **config["model_args"]},
        "processor": {
            "input_size": (3, 32, 32), "crop_pct": 0.9, "mean": (0.5, 0.4, 0.3),
            "std": (0.2, 0.3, 0.4),
        },
    }  # fmt: skip
    mine, same = load_model("mine", entry), load_model("mine", bare)
    assert torch.equal(same.see(PICTURES[0])["image"], mine.see(PICTURES[0])["image"])
    for name, value in activity(mine, None, PICTURES).items():
        assert torch.equal(activity(same, None, PICTURES)[name], value), name
    assert same.weights != mine.weights  # another file
    (tmp_path / "beit.pth").unlink()
    load_model("mine", bare, untrained=True)


def test_nothing_is_downloaded_or_left_out(tiny: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    entry = tiny("timm_beit")
    shutil.copytree(entry["path"], tmp_path / "lacking")
    file = tmp_path / "lacking" / "model.safetensors"
    tensors = load_file(file)
    for key in ("head.weight", "blocks.1.mlp.fc1.bias"):
        save_file({k: v for k, v in tensors.items() if k != key}, file)
        with pytest.raises(InputError, match=r"cannot be loaded by timm .*; fetch the checkpoint"):
            load_model("mine", {**entry, "path": str(file.parent)})
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InputError, match="cannot be loaded by timm"):
        load_model("mine", {**entry, "path": str(file.parent)})
    file.unlink()
    with pytest.raises(InputError, match="holds no weights"):
        load_model("mine", {**entry, "path": str(file.parent)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "bait_base_patch16_224"}, "did you mean 'beit_base_patch16_224'"),
        ({"modality": "vision-language"}, "networks of timm only see"),
        ({"processor": {"crop": 1}}, "unknown key 'crop' of 'processor'"),
        ({"layers": ["block.0"]}, "layer 'block.0' does not exist; there are: blocks.0"),
        ({"layers": [{"output": "logits"}]}, "output 'logits' does not exist; there are: output"),
    ],
)
def test_wrong_entry_is_named(tiny: Tiny, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"model 'mine': .*{message}"):
        load_model("mine", {**tiny("timm_beit"), **change}, untrained=True)


def test_folder_without_configuration_is_named(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no config\.json; correct its key `path`, or set"):
        load_model("mine", {**tiny("timm_beit"), "path": str(tmp_path)}, untrained=True)
