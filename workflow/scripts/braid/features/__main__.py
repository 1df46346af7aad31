"""Command line of the feature store: `python -m braid.features ls|explain|gc`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braid.common import BraidError, InputError, read_json
from braid.features.store import FeatureStore

_ABANDONED = 24 * 3600.0
"""Seconds after which an unfinished entry is taken as left by a job that died."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m braid.features", description=__doc__)
    parser.add_argument(
        "--store", type=Path, default=Path("results/feature_store"), help="root of the store"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", help="list the entries")
    explain = commands.add_parser("explain", help="say in which fields two keys differ")
    explain.add_argument("keys", nargs=2, metavar="KEY", help="a key or its beginning")
    gc = commands.add_parser("gc", help="remove entries that no named study uses")
    gc.add_argument(
        "--keep-used-by", nargs="+", type=Path, required=True, metavar="CONFIG",
        help="study files; the keys in their manifests are kept",
    )  # fmt: skip
    gc.add_argument("--delete", action="store_true", help="really remove; else only say what")
    options = parser.parse_args(arguments)
    store = FeatureStore(options.store)
    try:
        if options.command == "ls":
            _list(store)
        elif options.command == "explain":
            _explain(store, *options.keys)
        else:
            _collect(store, options.keep_used_by, options.delete)
    except BraidError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _list(store: FeatureStore) -> None:
    """Print one line per entry."""
    print("key\tmodel\tlayer\tpooling\tunits\tfeatures\tuntrained\tMB")
    there = store.keys()
    for key in there:
        entry = store.describe(key)
        fields, notes = entry["fields"], entry["notes"]
        untrained = "no" if fields.get("untrained") is None else "yes"
        print(
            key[:16], notes.get("model", "n/a"), fields.get("layer", "n/a"),
            fields.get("pooling", "n/a"), notes["n_units"], notes["n_features"], untrained,
            f"{_size(store.folder(key)) / 1e6:.1f}", sep="\t",
        )  # fmt: skip


def _explain(store: FeatureStore, a: str, b: str) -> None:
    """Print the fields that differ."""
    differences = store.explain(_complete(store, a), _complete(store, b))
    if not differences:
        print("the keys are the same")
    for name, first, second in differences:
        print(f"{name}: {json.dumps(first)} -> {json.dumps(second)}")


def _collect(store: FeatureStore, configs: Sequence[Path], delete: bool) -> None:
    """Remove entries that no manifest of the studies names, and what dead writers left."""
    used = set().union(*(used_keys(path) for path in configs))
    there = store.keys()
    unused = [key for key in there if key not in used]
    old = [path for path in store.partial() if time.time() - path.stat().st_mtime > _ABANDONED]
    size = sum(_size(path) for path in [*map(store.folder, unused), *old])
    for key in unused:
        print(f"{'removing' if delete else 'would remove'} {key}")
        if delete:
            store.remove(key)
    for path in old:
        print(f"{'removing' if delete else 'would remove'} unfinished {path.name}")
        if delete:
            shutil.rmtree(path)
    done = "freed" if delete else "would be freed (add --delete to do it)"
    print(f"{len(unused)} of {len(there)} entries are not used; "
          f"{size / 1e6:.1f} MB {done}")  # fmt: skip


def used_keys(config: Path) -> set[str]:
    """Keys in the feature manifests of a study.

    Parameters
    ----------
    config : pathlib.Path
        Study file; its `results` and `study` say where the manifests are.

    Raises
    ------
    InputError
        If the study has no manifest yet, for then everything would count as unused.
    """
    import yaml

    if not config.is_file():
        raise InputError(f"{config}: no such file")
    content: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    folder = Path(content.get("results", "results")) / str(content.get("study"))
    manifests = sorted(folder.glob("features/*/*.json"))
    if not manifests:
        raise InputError(
            f"{config}: no feature manifest under {folder / 'features'}; run the study first, or "
            "name the folder from which it was run by changing into it"
        )
    return {layer["key"] for path in manifests for layer in read_json(path).get("layers", [])}


def _complete(store: FeatureStore, start: str) -> str:
    """Find the one key that begins so."""
    there = store.keys()
    found = [key for key in there if key.startswith(start)]
    if len(found) != 1:
        raise InputError(f"{store.root}: {len(found)} keys begin with '{start}'; give more of it")
    return found[0]


def _size(folder: Path) -> int:
    """Bytes under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
