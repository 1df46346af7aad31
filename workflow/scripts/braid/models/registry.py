"""The registry of networks: what an entry may say, and where its files lie."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from braid.common import InputError, read_json

NETWORKS = ("transformers", "sentence_transformers", "open_clip", "timm", "slip", "albef")
"""Sources that are networks with weights; the others compute features without one."""

CONTROLS = (
    "given", "onehot", "picture_statistics", "motion_energy", "scene_cuts", "word_statistics",
    "word_frequency", "sound_envelope", "mel_spectrogram",
)  # fmt: skip
"""Sources that need no network."""

MODALITIES = ("vision", "language", "vision-language", "sound", "given")
POOLINGS = ("mean", "max", "cls", "last", "target_tokens", "flatten", "none")
TOKENS = ("text", "image", "fused", "fused.text", "fused.image")
PRECISIONS = ("float32", "bfloat16", "float16")
TOO_LONG = ("left", "right", "error")
BLANKS = ("pictures", "text")
SHIFT_SECONDS = 30.0
STATES = ("real", "tiny", "unsupported")

DEFAULTS: dict[str, Any] = {
    "pooling": "mean",
    "precision": "float32",
    "too_long": "left",
    "batch_size": 32,
    "processor": {},
    "column": "text",
}
"""Values of the keys that an entry leaves out."""

_ANY = {
    "source", "modality", "objective", "licence", "description", "state", "parameters", "download",
    "data",
}  # fmt: skip
_NETWORK = _ANY | {
    "path", "hub", "revision", "class", "layers", "pooling", "too_long", "max_tokens",
    "processor", "precision", "batch_size", "allow_missing", "blank", "pairing", "file",
    "architecture", "tokenizer", "clip", "reduce", "dtype", "urls", "sha256", "lock",
    "regions",
}  # fmt: skip
_KEYS: dict[str, set[str]] = {
    **{source: _NETWORK for source in NETWORKS},
    **{source: _ANY | {"settings"} for source in CONTROLS},
    "onehot": _ANY | {"column"},
}

_ROOT = Path(__file__).resolve().parents[4]
_PACKAGE = "python-package:"

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
_WEIGHTS["timm"] = ("model.safetensors", "pytorch_model.bin")
_WEIGHTS["slip"] = _WEIGHTS["albef"] = ()
_ENDINGS = (".safetensors", ".pt", ".pth", ".bin")
_SETTINGS = re.compile(r"(\d+_\w+/)?[^/]+\.(json|txt|model|jinja)")
"""Settings in a repository: files of these kinds at its root, and those of a module of
sentence-transformers; not those of exports to other formats."""


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
    What `hub` and `urls` name is looked for in the local cache, at the commit and with the digests
    of the lock file (see `braid.models.lock`); unless `offline`, what is not there is downloaded.

    Returns
    -------
    folder : pathlib.Path
    revision : str
        The commit of a hub snapshot, the digest of files from `urls`, the entry's `revision`, or
        `local`.

    Raises
    ------
    InputError
        If the folder, the Python package, the entry of the lock file or a locked file is absent, or
        a file differs from the lock.
    """
    if entry.get("hub") or entry.get("urls"):
        from braid.models.lock import locked_folder

        return locked_folder(name, entry, offline)
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
        If the folder holds none, its index names a file that is not there, or a file differs from
        the lock file.
    """
    folder, _ = model_folder(name, entry)
    names = _names_of_weights(name, entry, folder)
    for file in names:
        path = folder / file
        if not path.exists():
            continue
        files = [path]
        if file.endswith(".index.json"):
            shards = sorted({str(shard) for shard in read_json(path)["weight_map"].values()})
            for shard in shards:
                if not (folder / shard).exists():
                    raise InputError(f"model '{name}': {path} names {shard}, which is not there")
            files += [folder / shard for shard in shards]
        if entry.get("lock"):
            from braid.models.lock import check_locked

            check_locked(name, entry, folder, [str(part.relative_to(folder)) for part in files])
        return files
    raise InputError(
        f"model '{name}': {folder} holds no weights (looked for: {', '.join(names)}); "
        "fetch the checkpoint again"
    )


def _names_of_weights(name: str, entry: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Names that weight files may have; for formats without a fixed name the one that is there."""
    if entry.get("file"):
        return (str(entry["file"]),)
    names = _WEIGHTS[str(entry["source"])]
    if names or not folder.is_dir():
        return names
    there = sorted(path.name for path in folder.iterdir() if path.suffix in _ENDINGS)
    if len(there) > 1:
        raise InputError(
            f"model '{name}': {folder} holds several weight files ({', '.join(there)}); name one "
            "of them with the key 'file'"
        )
    return tuple(there) or tuple(f"*{ending}" for ending in _ENDINGS)


def repository_files(entry: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Files of a hub repository that an entry needs: its weights in one format, and their settings.

    Parameters
    ----------
    entry : mapping
        An entry of the registry, or a key `tokenizer` of one, which needs no weights.
    names : sequence of str
        All files of the repository, by their paths in it.

    Returns
    -------
    list of str
        Sorted.
    """
    weights = _WEIGHTS.get(str(entry.get("source")), ())
    if entry.get("file"):
        weights = (str(entry["file"]),)
    first = next((file for file in weights if file in names), None)
    wanted = {file for file in names if _SETTINGS.fullmatch(file) and file != "data_config.json"}
    wanted -= {file for file in names if file.endswith(".index.json")}
    if first is not None:
        wanted.add(first)
        if first.endswith(".index.json"):
            stem, ending = first.removesuffix(".index.json").rsplit(".", 1)
            wanted |= {file for file in names if fnmatch(file, f"{stem}-*-of-*.{ending}")}
    return sorted(wanted)


def is_weights(file: str) -> bool:
    """Whether a file holds weights, which are large, and not settings."""
    return file.endswith(_ENDINGS)


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
    if sum(bool(entry.get(key)) for key in ("path", "hub", "urls")) != 1:
        raise InputError(
            f"model '{name}': give one of 'path' (a folder), 'hub' (an id) and 'urls' (addresses)"
        )
    _check_urls(name, entry)
    if not entry.get("layers"):
        raise InputError(f"model '{name}': key 'layers' is missing (a list, shallow to deep)")
    full = with_defaults(entry)
    _one_of(name, full, "pooling", POOLINGS)
    _one_of(name, full, "precision", PRECISIONS)
    _one_of(name, full, "too_long", TOO_LONG)
    if full.get("state") is not None:
        _one_of(name, full, "state", STATES)
    if full.get("blank") is not None:
        _one_of(name, full, "blank", BLANKS)
        if full["modality"] != "vision-language":
            raise InputError(
                f"model '{name}': 'blank' leaves one of two inputs empty, but its modality is "
                f"{full['modality']}; remove the key"
            )
    _check_pairing(name, full)
    for key in ("batch_size", "max_tokens"):
        value = full.get(key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or value < 1):
            raise InputError(f"model '{name}': {key} must be a positive whole number, not {value}")


def pairing_of(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Which of two inputs is shifted against the other, and how far (s), if one is."""
    if not entry.get("pairing"):
        return None
    return {"seconds": SHIFT_SECONDS, **entry["pairing"]}


def _check_pairing(name: str, entry: Mapping[str, Any]) -> None:
    """Check the key that shifts one of two inputs against the other."""
    pairing = entry.get("pairing")
    if pairing is None:
        return
    if not isinstance(pairing, Mapping):
        raise InputError(f"model '{name}': 'pairing' must be a mapping of 'shift' and 'seconds'")
    for key in pairing:
        if key not in ("shift", "seconds"):
            raise InputError(
                f"model '{name}': unknown key 'pairing.{key}'"
                f"{nearest(str(key), ('shift', 'seconds'))}"
            )
    _one_of(name, pairing, "shift", BLANKS)
    seconds = pairing.get("seconds", SHIFT_SECONDS)
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not seconds > 0:
        raise InputError(
            f"model '{name}': pairing.seconds must be a positive number, not {seconds}"
        )
    if entry["modality"] != "vision-language" or entry.get("blank") is not None:
        raise InputError(
            f"model '{name}': 'pairing' shifts one of two inputs against the other, and this entry "
            "does not take both; remove the key"
        )


def _check_urls(name: str, entry: Mapping[str, Any]) -> None:
    """Check the addresses of files, and the digests that these must have."""
    files = [file_of(url) for url in entry.get("urls") or ()]
    for file in files:
        if not file or files.count(file) > 1:
            raise InputError(
                f"model '{name}': every address under 'urls' must end in a file name of its own"
            )
    for file, digest in (entry.get("sha256") or {}).items():
        if file not in files:
            raise InputError(f"model '{name}': sha256 names '{file}'{nearest(str(file), files)}")
        if not re.fullmatch("[0-9a-f]{8,64}", str(digest)):
            raise InputError(
                f"model '{name}': the sha256 of {file} must be 8 to 64 hexadecimal digits, not "
                f"'{digest}'"
            )


def file_of(url: str) -> str:
    """Name of the file at an address."""
    return urlsplit(url).path.rpartition("/")[2]


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
