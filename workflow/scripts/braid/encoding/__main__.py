"""Command line of the factor store: `python -m braid.encoding ls|gc`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from braid.common import BraidError, InputError
from braid.encoding.factors import Entry, FactorStore

_DAY = 24 * 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m braid.encoding", description=__doc__)
    parser.add_argument(
        "--store", type=Path, default=Path("results/factor_store"), help="root of the store"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", help="list the designs whose decompositions are kept")
    gc = commands.add_parser("gc", help="remove what was not used for longest")
    gc.add_argument("--older-than", type=float, metavar="DAYS", help="all not used for so long")
    gc.add_argument("--above", type=float, metavar="GB", help="so many that this size stays")
    gc.add_argument("--delete", action="store_true", help="really remove; else only say what")
    options = parser.parse_args(arguments)
    store = FactorStore(options.store)
    try:
        if options.command == "ls":
            _list(store)
        else:
            _collect(store, options.older_than, options.above, options.delete)
    except BraidError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _list(store: FactorStore) -> None:
    """Print one line per design, form and precision."""
    print("problem\tform\tprecision\trows\tfeatures\tbackend\tfiles\tMB\tdays_unused")
    there = sorted(store.entries(), key=lambda entry: entry.path.parent.name)
    for problem, group in groupby(there, key=lambda entry: entry.path.parent.name):
        entries, fields = list(group), store.describe(problem)
        rows, features = fields.get("shape", ["n/a", "n/a"])
        backend = fields.get("computed_by", {}).get("backend", "n/a")
        unused = (time.time() - max(entry.used for entry in entries)) / _DAY
        # what all forms of more features than rows share has no form of its own
        form, precision = fields.get("form", "rows"), fields.get("dtype", "float64")
        print(
            problem[:16], form, precision, rows, features, backend,
            len(entries), f"{_size(entries) / 1e6:.1f}", f"{unused:.1f}", sep="\t",
        )  # fmt: skip


def _collect(
    store: FactorStore, older_than: float | None, above: float | None, delete: bool
) -> None:
    """Remove what was not used for longest."""
    if older_than is None and above is None:
        raise InputError("gc: say what may go, with --older-than DAYS or --above GB")
    there = store.entries()
    chosen = store.unused(
        None if older_than is None else older_than * _DAY, None if above is None else above * 1e9
    )
    if delete:
        store.remove(chosen)
    done = "freed" if delete else "would be freed (add --delete to do it)"
    print(f"{len(chosen)} of {len(there)} files; {_size(chosen) / 1e6:.1f} MB {done}")


def _size(entries: Sequence[Entry]) -> int:
    """Bytes of some files."""
    return sum(entry.size for entry in entries)


if __name__ == "__main__":
    sys.exit(main())
