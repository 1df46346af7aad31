"""Command line of data sets: `python -m braid.bids import treebank|treebank-bids`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from braid.bids.importers import Options, complete_treebank, import_treebank
from braid.bids.importers.options import SCENES
from braid.common import BraidError, InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    given = _parser().parse_args(arguments)
    try:
        options = Options(
            films=given.films,
            scenes=given.scenes,
            scene_column=given.scene_column,
            offsets=_offsets(given.film_offset),
            subjects=tuple(given.subjects) if given.subjects else None,
            copy=given.copy,
        )
        if given.dataset == "treebank":
            report = import_treebank(given.source, given.out, options)
        else:
            report = complete_treebank(given.source, given.metadata, given.out, options)
    except BraidError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.to_csv(sep="\t", index=False, na_rep="n/a"), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    """Make the command line's parser."""
    parser = argparse.ArgumentParser(prog="python -m braid.bids", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    what = "make a BIDS data set of a public one"
    datasets = commands.add_parser("import", help=what, description=what).add_subparsers(
        dest="dataset", required=True
    )
    for dataset, what in (
        ("treebank", "Brain Treebank as its authors distribute it (HDF5)"),
        ("treebank-bids", "its BIDS conversion NEMAR nm000253, which has no events"),
    ):
        part = datasets.add_parser(dataset, help=what, description=what)
        part.add_argument("source", type=Path, help="its root; stays as it is")
        if dataset == "treebank-bids":
            part.add_argument(
                "--metadata", type=Path, required=True,
                help="folder with labels, timings and transcripts of the native data set",
            )  # fmt: skip
        part.add_argument("--out", type=Path, required=True, help="root of the new data set")
        part.add_argument(
            "--films", type=Path, help="folder with your copies of the films, named by film id"
        )
        part.add_argument("--subjects", type=int, nargs="+", metavar="N", help="default: all")
        part.add_argument(
            "--scenes", choices=SCENES, default="auto",
            help="where scene cuts come from; default: annotations, else the film",
        )  # fmt: skip
        part.add_argument("--scene-column", help="column with the start of annotated scenes")
        part.add_argument(
            "--film-offset", nargs="+", default=[], metavar="FILM=SECONDS",
            help="where the transcript's film starts in your copy",
        )  # fmt: skip
        part.add_argument(
            "--copy", action="store_true", help="copy films and recordings instead of linking"
        )
    return parser


def _offsets(entries: Sequence[str]) -> dict[str, float]:
    """Offsets of films from `film=seconds`."""
    found = {}
    for entry in entries:
        film, _, seconds = entry.partition("=")
        try:
            found[film] = float(seconds)
        except ValueError:
            raise InputError(f"--film-offset {entry}: give it as FILM=SECONDS") from None
    return found


if __name__ == "__main__":
    sys.exit(main())
