"""The registry: what an entry may say, and what the messages tell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from braid.common import InputError
from braid.config import checkpoints_of, locked, read_lock
from braid.models import check_entry, model_folder, read_registry, weight_files
from braid.models.layers import expand, match, resolve_layers
from braid.models.registry import NETWORKS, repository_files
from braid.models.table import models_table

GOOD = {"source": "transformers", "modality": "language", "path": "x", "layers": ["a.{0..1}"]}


def test_shipped_registry_is_valid(root: Path) -> None:
    entries = read_registry(root / "config" / "models.yaml")
    toys = {"toy-vit", "toy-bert", "toy-clip", "toy-vilt"}
    assert toys | {"all-minilm-l6-v2", "onehot", "given"} <= set(entries)
    for name, entry in entries.items():
        assert entry["objective"], name
        if entry["source"] in NETWORKS:
            assert {"licence", "state"} <= set(entry), name
        if entry.get("hub"):
            assert {"parameters", "download", "data"} <= set(entry), name
            # a name of a branch would be another network tomorrow
            assert re.fullmatch("[0-9a-f]{40}", entry.get("revision", "0" * 40)), name


STUDIED = (
    *("slip-combo", "slip-clip", "slip-simclr", "albef", "blip", "flava", "beit", "convnext"),
    *("sbert", "simcse", "bridgetower-base", "bridgetower-large", "roberta-base", "vit-base"),
    *("clip-vit-b-32", "clip-vit-l-14", "vilt", "visualbert", "siglip2", "dinov2", "gpt2"),
    *("qwen3-vl", "smolvlm2"),
)


def test_the_page_about_the_networks_is_up_to_date(root: Path) -> None:
    config = root / "config"
    studies = [config / "config.yaml", *sorted((config / "studies").glob("*.yaml"))]
    page = models_table(read_registry(config / "models.yaml"), studies)
    assert page == (config / "models.md").read_text(encoding="utf-8"), (
        "write it again: python -m braid.models table"
    )
    for name in STUDIED:
        assert f"| `{name}` |" in page


def test_no_code_of_a_checkpoint_is_run(root: Path) -> None:
    """Nothing in the library unpickles freely, or runs code that came with a checkpoint."""
    for path in (root / "workflow").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "trust_remote_code" not in text, path
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = ast.unparse(node.func)
            given = {word.arg: word.value for word in node.keywords}
            if called == "torch.load":
                assert ast.unparse(given["weights_only"]) == "True", path
            if called in ("np.load", "numpy.load"):
                assert ast.unparse(given.get("allow_pickle", ast.Constant(False))) == "False", path
            assert called not in ("pickle.load", "pickle.loads", "joblib.load"), path


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
        ({"path": None}, "give one of 'path'"),
        ({"hub": "a/b"}, "give one of 'path'"),
        ({"path": None, "urls": ["https://a/b.pt", "https://c/b.pt"]}, "a file name of its own"),
        ({"path": None, "urls": ["https://a/b/"]}, "a file name of its own"),
        (
            {"path": None, "urls": ["https://a/b.pt"], "sha256": {"c.pt": "0" * 8}},
            "sha256 names 'c.pt'; did you mean 'b.pt'",
        ),
        (
            {"path": None, "urls": ["https://a/b.pt"], "sha256": {"b.pt": "0" * 7}},
            "8 to 64 hexadecimal digits, not '0000000'",
        ),
        ({"state": "toy"}, "state 'toy' is unknown"),
        ({"blank": "pictures"}, "'blank' leaves one of two inputs empty, but its modality is"),
        ({"blank": "image", "modality": "vision-language"}, "blank 'image' is unknown"),
        ({"pairing": {"shift": "text"}}, "and this entry does not take both"),
        (
            {"pairing": {"shift": "text"}, "modality": "vision-language", "blank": "text"},
            "and this entry does not take both",
        ),
        ({"pairing": 30}, "'pairing' must be a mapping"),
        ({"pairing": {"shift": "image"}}, "shift 'image' is unknown"),
        ({"pairing": {"shift": "text", "second": 3}}, "'pairing.second'; did you mean 'seconds'"),
        ({"pairing": {"shift": "text", "seconds": 0}}, "seconds must be a positive number, not 0"),
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


def test_unlocked_and_uncached_networks_tell_how_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path))
    facts = {"sha256": "0" * 64, "size": 3}
    for where in ({"hub": "some/network", "revision": "1" * 40}, {"urls": ["https://a.b/c.pt"]}):
        entry = {**GOOD, "path": None, **where}
        with pytest.raises(InputError, match=r"no entry of .*fetch --models mine` on a machine"):
            model_folder("mine", entry)
        lock = {checkpoints_of(entry)[0]: {"revision": "1" * 40, "files": {"c.pt": facts}}}
        with pytest.raises(InputError, match=r"c\.pt of .* is not in the local cache; run `python"):
            model_folder("mine", locked(entry, lock))


def test_a_lock_holds_for_all_entries_of_a_checkpoint() -> None:
    facts = {"sha256": "0" * 64, "size": 3}
    lock = {
        "a/b": {"revision": "1" * 40, "files": {"config.json": facts}},
        "https://c/d": {"files": {}},
    }
    entry = {**GOOD, "path": None, "hub": "a/b"}
    assert locked(entry, lock)["lock"]["revision"] == "1" * 40
    assert "lock" not in locked({**entry, "revision": "2" * 40}, lock)
    assert "lock" not in locked(GOOD, lock)
    both = {
        **GOOD,
        "path": None,
        "urls": ["https://c/d", "https://c/e"],
        "tokenizer": {"hub": "a/b"},
    }
    assert "lock" not in locked(both, lock)
    assert locked(both, lock)["tokenizer"]["lock"]["files"] == {"config.json": facts}
    assert "lock" not in both["tokenizer"]


def test_a_broken_lock_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "models.lock.yaml"
    assert read_lock(path) == {}
    for text, message in (
        ("- a\n", "must be a mapping"),
        ("a/b: {revision: x}\n", "the entry of a/b does not list its files"),
        ("a/b: {files: {c: {sha256: x}}}\n", "the entry of a/b does not list its files"),
        ("<<<<<<< HEAD\na: b\n", "not valid YAML"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_lock(path)


REPOSITORY = [
    ".gitattributes", "1_Pooling/config.json", "LICENSE", "README.md", "config.json",
    "data_config.json", "flax_model.msgpack", "merges.txt", "model.safetensors", "modules.json",
    "onnx/config.json", "onnx/model.onnx", "open_clip_model.safetensors", "pytorch_model.bin",
    "tf_model.h5", "tokenizer.json", "vocab.txt",
]  # fmt: skip
SETTINGS = ["1_Pooling/config.json", "config.json", "merges.txt", "modules.json", "tokenizer.json"]


def test_only_needed_files_of_a_repository_are_fetched() -> None:
    needed = repository_files({"source": "transformers"}, REPOSITORY)
    assert needed == sorted([*SETTINGS, "vocab.txt", "model.safetensors"])
    assert "open_clip_model.safetensors" in repository_files({"source": "open_clip"}, REPOSITORY)
    old = [file for file in REPOSITORY if not file.endswith(".safetensors")]
    assert "pytorch_model.bin" in repository_files({"source": "transformers"}, old)
    assert repository_files({}, REPOSITORY) == sorted([*SETTINGS, "vocab.txt"])
    named = repository_files({"source": "timm", "file": "pytorch_model.bin"}, REPOSITORY)
    assert "pytorch_model.bin" in named
    assert "model.safetensors" not in named
    shards = [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
    both = ["config.json", "model.safetensors.index.json", *shards]
    other = ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"]
    assert repository_files({"source": "transformers"}, [*both, *other]) == sorted(both)


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
