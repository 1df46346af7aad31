"""The registry: what an entry may say, and what the messages tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from braid.common import InputError
from braid.models import check_entry, model_folder, read_registry, weight_files
from braid.models.layers import expand, match, resolve_layers

GOOD = {"source": "transformers", "modality": "language", "path": "x", "layers": ["a.{0..1}"]}


def test_shipped_registry_is_valid(root: Path) -> None:
    entries = read_registry(root / "config" / "models.yaml")
    toys = {"toy-vit", "toy-bert", "toy-clip", "toy-vilt"}
    assert toys | {"all-minilm-l6-v2", "onehot", "given"} <= set(entries)
    assert all(entry["objective"] for entry in entries.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poolling": "mean"}, "unknown key 'poolling'.*did you mean 'pooling'"),
        ({"source": "transformer"}, "source 'transformer' is unknown; did you mean 'transformers'"),
        ({"source": None}, "key 'source' is missing"),
        ({"modality": "visoin"}, "modality 'visoin' is unknown; did you mean 'vision'"),
        ({"pooling": "men"}, "pooling 'men' is unknown; did you mean 'mean'"),
        ({"precision": "float8"}, "precision 'float8' is unknown"),
        ({"too_long": "middle"}, "too_long 'middle' is unknown; valid are: left, right, error"),
        ({"layers": []}, "key 'layers' is missing"),
        ({"path": None}, "give either 'path'"),
        ({"hub": "a/b"}, "give either 'path'"),
        ({"path": None, "hub": "a/b"}, "needs a pinned 'revision'"),
        ({"blank": "pictures"}, "'blank' leaves one of two inputs empty, but its modality is"),
        ({"blank": "image", "modality": "vision-language"}, "blank 'image' is unknown"),
        ({"batch_size": 0}, "batch_size must be a positive whole number, not 0"),
        ({"max_tokens": True}, "max_tokens must be a positive whole number, not True"),
    ],
)
def test_wrong_entry_is_named(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"model 'mine': .*{message}"):
        check_entry("mine", {**GOOD, **change})


def test_registry_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.yaml: no such file"):
        read_registry(tmp_path / "absent.yaml")
    path = tmp_path / "models.yaml"
    path.write_text("mine: {source: onehot, modality: language, colum: text}\n")
    with pytest.raises(InputError, match=r"models\.yaml: model 'mine': .*'colum'.*'column'"):
        read_registry(path)
    path.write_text("- a\n- b\n")
    with pytest.raises(InputError, match="must be a mapping"):
        read_registry(path)


def test_missing_folders_and_packages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder .*nowhere does not exist"):
        model_folder("mine", {**GOOD, "path": str(tmp_path / "nowhere")})
    with pytest.raises(InputError, match=r"package no_such_one is not installed.*no-such-one"):
        model_folder("mine", {**GOOD, "path": "python-package:no_such_one/model"})
    with pytest.raises(InputError, match="package braid has no folder nothing"):
        model_folder("mine", {**GOOD, "path": "python-package:braid/nothing"})
    with pytest.raises(InputError, match="holds no weights"):
        weight_files("mine", {**GOOD, "path": str(tmp_path)})
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "one.st"}}')
    with pytest.raises(InputError, match=r"names one\.st, which is not there"):
        weight_files("mine", {**GOOD, "path": str(tmp_path)})


def test_uncached_hub_network_tells_how_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    entry = {**GOOD, "path": None, "hub": "some/network", "revision": "0" * 40}
    with pytest.raises(InputError, match=r"some/network at revision 0+ is not in the local cache"):
        model_folder("mine", entry)


def test_relative_path_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, revision = model_folder("mine", {**GOOD, "path": "workflow"})
    assert (folder / "scripts" / "braid").is_dir()
    assert revision == "local"


MODULES = ["", "embed", "layers", *[f"layers.{k}" for k in range(12)], "layers.1.mlp", "norm"]


def test_patterns() -> None:
    assert expand("a.{0..2}.b.{3..4}") == [
        "a.0.b.3", "a.0.b.4", "a.1.b.3", "a.1.b.4", "a.2.b.3", "a.2.b.4",
    ]  # fmt: skip
    assert match("layers.*", MODULES) == [f"layers.{k}" for k in range(12)]
    assert match("layers.?", MODULES) == [f"layers.{k}" for k in range(10)]
    assert match("norm", MODULES) == ["norm"]
    assert match("layers.12", MODULES) == []


def test_missing_layer_lists_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"model 'mine': layer 'layer.1' does not exist; there are: layers.1,"
    ):
        resolve_layers("mine", {**GOOD, "layers": ["layer.{1..2}"]}, MODULES, ())
    with pytest.raises(InputError, match=r"'layers.12' does not exist.* and \d+ more"):
        resolve_layers("mine", {**GOOD, "layers": ["layers.{0..12}"]}, MODULES, ())
    with pytest.raises(InputError, match="output 'jiont' does not exist; there are: joint"):
        resolve_layers("mine", {**GOOD, "layers": [{"output": "jiont"}]}, MODULES, ("joint",))


def test_alternative_paths_keep_the_first_names() -> None:
    entry = {**GOOD, "layers": [{"module": ["encoder.layer.{0..1}", "layers.{0..1}"]}]}
    layers = resolve_layers("mine", entry, MODULES, ())
    assert [(layer.name, layer.module) for layer in layers] == [
        ("encoder.layer.0", "layers.0"),
        ("encoder.layer.1", "layers.1"),
    ]


def test_same_module_twice_is_told_apart() -> None:
    entry = {**GOOD, "layers": ["norm", {"module": "norm", "pooling": "cls"}]}
    names = [layer.name for layer in resolve_layers("mine", entry, MODULES, ())]
    assert names == ["norm@text.mean", "norm@text.cls"]
    with pytest.raises(InputError, match=r"layer norm@text\.mean is listed 2 times"):
        resolve_layers("mine", {**GOOD, "layers": ["norm", "norm"]}, MODULES, ())


def test_layer_options_are_checked() -> None:
    def resolve(item: object, **change: object) -> None:
        resolve_layers("mine", {**GOOD, **change, "layers": [item]}, MODULES, ())

    with pytest.raises(InputError, match="unknown key 'poling' of a layer; did you mean 'pooling'"):
        resolve({"module": "norm", "poling": "cls"})
    with pytest.raises(InputError, match="pooling 'sum' is unknown"):
        resolve({"module": "norm", "pooling": "sum"})
    with pytest.raises(InputError, match="needs either 'module' or 'output'"):
        resolve({"tokens": "text"})
    with pytest.raises(InputError, match="needs 'tokens'"):
        resolve("norm", modality="vision-language")
    with pytest.raises(InputError, match="cannot stand for 12 layers"):
        resolve({"module": "layers.*", "name": "all"})
