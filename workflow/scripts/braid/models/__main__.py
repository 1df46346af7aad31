"""Command line of the networks: `python -m braid.models fetch|verify|list|table`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braid.common import BraidError, InputError, write_text
from braid.config import check, lock_file, read_lock, read_yaml, used_by
from braid.models.fetch import fetch
from braid.models.lock import differences, state_of
from braid.models.registry import nearest, read_registry
from braid.models.table import models_table

_REGISTRY = "config/models.yaml"
_SCHEMA = Path(__file__).parents[3] / "schemas" / "config.schema.yaml"
Registry = dict[str, dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "table":
            return _table(options.registry, options.studies, options.out)
        registry_file, names = _chosen(options)
        registry = read_registry(registry_file)
        lock = lock_file(registry_file)
        for name in names:
            if name not in registry:
                raise InputError(
                    f"{registry_file}: there is no network '{name}'{nearest(name, list(registry))}"
                )
        if options.command == "fetch":
            return _fetch(registry, names, lock, options.update)
        if options.command == "verify":
            return _verify(registry, names or list(registry), lock)
        return _list(registry, names or list(registry), lock)
    except BraidError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    """Make the command line's parser."""
    parser = argparse.ArgumentParser(prog="python -m braid.models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, what in (
        ("fetch", "download what a study needs, and write it to the lock file"),
        ("verify", "digest what is in the local cache and compare it with the lock file"),
        ("list", "say of each network whether it is locked and in the local cache"),
    ):
        part = commands.add_parser(command, help=what, description=what)
        part.add_argument(
            "study", nargs="?",
            help="a study file, or the name of one in config/studies; default: only --models",
        )  # fmt: skip
        part.add_argument("--models", nargs="+", default=[], metavar="NAME", help="only these")
        part.add_argument(
            "--registry", default=None, help=f"default: the study's own, or {_REGISTRY}"
        )
        if command == "fetch":
            part.add_argument(
                "--update", action="store_true",
                help="take the newest revision of what the registry does not pin",
            )  # fmt: skip
    table = commands.add_parser("table", help="write the page about all networks")
    table.add_argument("--registry", default=_REGISTRY)
    table.add_argument(
        "--studies", nargs="*", type=Path, default=None, help="default: all in config/"
    )
    table.add_argument("--out", type=Path, default=Path("config/models.md"))
    return parser


def _chosen(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Registry, and names of the networks that the command is about; none stands for all."""
    names = list(options.models)
    registry = options.registry or _REGISTRY
    if options.study:
        path = _study_file(options.study)
        content = check(read_yaml(path), read_yaml(_SCHEMA), str(path))
        registry = options.registry or str(content["models"])
        needed = used_by(content)
        for name in names:
            if name not in needed:
                raise InputError(
                    f"{options.study}: the study has no network '{name}'{nearest(name, needed)}"
                )
        names = names or needed
    elif options.command == "fetch" and not names:
        raise InputError("fetch: name a study, or networks with --models")
    return registry, names


def _study_file(study: str) -> Path:
    """File of a study given by its path or its name."""
    path = Path(study)
    return path if path.suffix in (".yaml", ".yml") else Path("config/studies") / f"{study}.yaml"


def _fetch(registry: Registry, names: Sequence[str], lock: Path, update: bool) -> int:
    """Download and lock networks."""
    for name in names:
        if state_of(registry[name], {}) == "local":
            print(f"{name}: needs no download")
        else:
            fetch(name, registry[name], lock, update)
    return 0


def _verify(registry: Registry, names: Sequence[str], lock: Path) -> int:
    """Compare the local cache with the lock file."""
    known = read_lock(lock)
    found = [line for name in names for line in differences(name, registry[name], known)]
    for line in found:
        print(line)
    print(f"{len(names)} networks, {len(found)} differences")
    return 1 if found else 0


def _list(registry: Registry, names: Sequence[str], lock: Path) -> int:
    """Print one line per network."""
    known = read_lock(lock)
    print("network\tsource\tcheckpoint\tcache\tstate\tMB")
    for name in names:
        entry = registry[name]
        checkpoint = entry.get("hub") or " ".join(entry.get("urls", [])) or entry.get("path", "n/a")
        print(
            name, entry["source"], checkpoint, state_of(entry, known), entry.get("state", "n/a"),
            entry.get("download", "n/a"), sep="\t",
        )  # fmt: skip
    return 0


def _table(registry: str, studies: Sequence[Path] | None, out: Path) -> int:
    """Write the page about all networks."""
    if studies is None:
        studies = [Path("config/config.yaml"), *sorted(Path("config/studies").glob("*.yaml"))]
    write_text(out, models_table(read_registry(registry), studies))
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
