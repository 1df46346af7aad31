"""The registry of networks: what an entry may say, and where its files lie."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.common import InputError, read_json

NETWORKS = ("transformers", "sentence_transformers", "open_clip")
"""Sources that are networks with weights; the others compute features without one."""

CONTROLS = ("given", "onehot", "picture_statistics", "word_statistics")
"""Sources that need no network."""

MODALITIES = ("vision", "language", "vision-language", "given")
POOLINGS = ("mean", "max", "cls", "last", "target_tokens", "flatten", "none")
TOKENS = ("text", "image", "fused", "fused.text", "fused.image")
PRECISIONS = ("float32", "bfloat16", "float16")
TOO_LONG = ("left", "right", "error")
BLANKS = ("pictures", "text")

DEFAULTS: dict[str, Any] = {
    "pooling": "mean",
    "precision": "float32",
    "too_long": "left",
    "batch_size": 32,
    "processor": {},
    "column": "text",
}
"""Values of the keys that an entry leaves out."""

_ANY = {"source", "modality", "objective", "licence", "description", "size"}
_NETWORK = _ANY | {
    "path", "hub", "revision", "class", "layers", "pooling", "too_long", "max_tokens",
    "processor", "precision", "batch_size", "allow_missing", "blank",
}  # fmt: skip
_KEYS: dict[str, set[str]] = {
    **{source: _NETWORK for source in NETWORKS},
    "given": _ANY,
    "onehot": _ANY | {"column"},
    "picture_statistics": _ANY,
    "word_statistics": _ANY,
}

_ROOT = Path(__file__).resolve().parents[4]
_PACKAGE = "python-package:"
_OTHER_FORMATS = ["*.h5", "*.msgpack", "*.onnx", "*.ot", "onnx/*", "openvino/*", "coreml/*"]

_WEIGHTS = {
    "transformers": (
        "model.safetensors.index.json",
        "model.safetensors",
        "pytorch_model.bin.index.json",
        "pytorch_model.bin",
    ),
    "open_clip": (
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
        "open_clip_pytorch_model.pth",
        "model.safetensors",
        "pytorch_model.bin",
    ),
}
_WEIGHTS["sentence_transformers"] = _WEIGHTS["transformers"]


def read_registry(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read `config/models.yaml` and check every entry.

    Parameters
    ----------
    path : path-like
        YAML file: a mapping of names of networks to entries.

    Returns
    -------
    dict
        The entries as written, by name.

    Raises
    ------
    InputError
        If the file is missing, not a mapping, or an entry is wrong (see `check_entry`).
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; set the key `models` to the registry of networks")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({error})".replace("\n", " ")) from None
    if not isinstance(entries, dict):
        raise InputError(f"{path}: must be a mapping of names of networks to entries")
    for name, entry in entries.items():
        try:
            check_entry(str(name), entry)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return {str(name): entry for name, entry in entries.items()}


def check_entry(name: str, entry: Mapping[str, Any]) -> None:
    """Check the keys and values of one registry entry.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    entry : mapping
        `source` (one of `NETWORKS` or `CONTROLS`), `modality` (one of `MODALITIES`); networks
        also `path` (a folder, or `python-package:NAME/FOLDER`) or `hub` with `revision`, `layers`,
        and the optional keys of `DEFAULTS`.

    Raises
    ------
    InputError
        Names the entry, the wrong key or value, and the valid one nearest to it.
    """
    if not isinstance(entry, Mapping):
        raise InputError(f"model '{name}': its entry must be a mapping of keys to values")
    source = _one_of(name, entry, "source", tuple(_KEYS))
    _one_of(name, entry, "modality", MODALITIES)
    for key in entry:
        if key not in _KEYS[source]:
            raise InputError(
                f"model '{name}': unknown key '{key}' for source {source}"
                f"{nearest(str(key), sorted(_KEYS[source]))}"
            )
    if source in NETWORKS:
        _check_network(name, entry)


def with_defaults(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Complete an entry with `DEFAULTS` for the keys that it leaves out."""
    return {**DEFAULTS, **{key: value for key, value in entry.items() if value is not None}}


def nearest(word: str, valid: list[str] | tuple[str, ...]) -> str:
    """Text `; did you mean 'x'?` or, where nothing is near, the list of what is valid."""
    close = difflib.get_close_matches(word, valid, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; valid are: {', '.join(valid)}"


def model_folder(name: str, entry: Mapping[str, Any], offline: bool = True) -> tuple[Path, str]:
    """Folder of a network's files, and its revision.

    A relative `path` is looked for in the working directory, then in the root of the project.
    A `hub` id is looked for in the local Hugging Face cache; unless `offline`, what is not there is
    downloaded.

    Returns
    -------
    folder : pathlib.Path
    revision : str
        The commit of a hub snapshot, the entry's `revision`, or `local`.

    Raises
    ------
    InputError
        If the folder, the Python package or the cached snapshot is absent.
    """
    if entry.get("hub"):
        return _hub_folder(name, entry, offline)
    revision = str(entry.get("revision") or "local")
    path = str(entry["path"])
    if path.startswith(_PACKAGE):
        return _package_folder(name, path.removeprefix(_PACKAGE)), revision
    for folder in (Path(path), _ROOT / path):
        if folder.is_dir():
            return folder, revision
    raise InputError(f"model '{name}': folder {path} does not exist; correct its key `path`")


def weight_files(name: str, entry: Mapping[str, Any]) -> list[Path]:
    """Files that hold a network's weights, in the order in which they are digested.

    Raises
    ------
    InputError
        If the folder holds none, or its index names a file that is not there.
    """
    folder, _ = model_folder(name, entry)
    names = _WEIGHTS[str(entry["source"])]
    for file in names:
        path = folder / file
        if not path.exists():
            continue
        if not file.endswith(".index.json"):
            return [path]
        shards = sorted({str(shard) for shard in read_json(path)["weight_map"].values()})
        for shard in shards:
            if not (folder / shard).exists():
                raise InputError(f"model '{name}': {path} names {shard}, which is not there")
        return [path, *(folder / shard for shard in shards)]
    raise InputError(
        f"model '{name}': {folder} holds no weights (looked for: {', '.join(names)}); "
        "fetch the checkpoint again"
    )


def _one_of(name: str, entry: Mapping[str, Any], key: str, valid: tuple[str, ...]) -> str:
    """Value of a key that must be one of a few."""
    value = entry.get(key)
    if value is None:
        raise InputError(f"model '{name}': key '{key}' is missing (one of: {', '.join(valid)})")
    if value not in valid:
        raise InputError(f"model '{name}': {key} '{value}' is unknown{nearest(str(value), valid)}")
    return str(value)


def _check_network(name: str, entry: Mapping[str, Any]) -> None:
    """Check the keys that only networks have."""
    if bool(entry.get("path")) == bool(entry.get("hub")):
        raise InputError(f"model '{name}': give either 'path' (a folder) or 'hub' (an id)")
    if entry.get("hub") and not entry.get("revision"):
        raise InputError(f"model '{name}': a hub id needs a pinned 'revision' (a commit)")
    if not entry.get("layers"):
        raise InputError(f"model '{name}': key 'layers' is missing (a list, shallow to deep)")
    full = with_defaults(entry)
    _one_of(name, full, "pooling", POOLINGS)
    _one_of(name, full, "precision", PRECISIONS)
    _one_of(name, full, "too_long", TOO_LONG)
    if full.get("blank") is not None:
        _one_of(name, full, "blank", BLANKS)
        if full["modality"] != "vision-language":
            raise InputError(
                f"model '{name}': 'blank' leaves one of two inputs empty, but its modality is "
                f"{full['modality']}; remove the key"
            )
    for key in ("batch_size", "max_tokens"):
        value = full.get(key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or value < 1):
            raise InputError(f"model '{name}': {key} must be a positive whole number, not {value}")


def _package_folder(name: str, path: str) -> Path:
    """Folder inside an installed Python package, given as `package/folder`."""
    package, _, inside = path.partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"model '{name}': Python package {package} is not installed; install it with "
            f"`pip install {package.replace('_', '-')}`"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / inside
    if not folder.is_dir():
        raise InputError(f"model '{name}': package {package} has no folder {inside}")
    return folder


def _hub_folder(name: str, entry: Mapping[str, Any], offline: bool) -> tuple[Path, str]:
    """Snapshot of a hub repository in the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    hub, revision = str(entry["hub"]), str(entry["revision"])
    try:
        folder = Path(
            snapshot_download(
                hub, revision=revision, local_files_only=offline, ignore_patterns=_OTHER_FORMATS
            )
        )
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise InputError(
            f"model '{name}': the hub has no {hub} at revision {revision}; correct 'hub' or "
            "'revision'"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError):
        raise InputError(
            f"model '{name}': {hub} at revision {revision} is not in the local cache; fetch it on "
            f"a machine with a network: `hf download {hub} --revision {revision}`"
        ) from None
    return folder, folder.name
