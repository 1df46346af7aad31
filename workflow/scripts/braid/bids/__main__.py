"""Command line of data sets: `python -m braid.bids import NAME SOURCE --out ROOT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from braid.bids.importers import (
    ArrayOptions,
    Options,
    complete_treebank,
    import_ds003020,
    import_popham2021,
    import_shortclips,
    import_treebank,
)
from braid.bids.importers.options import SCENES
from braid.common import BraidError, InputError

_ARRAY_OPTIONS = ("stories", "films", "repetition_time", "story_start")
_ARRAYS = {
    "ds003020": (import_ds003020, "stories of LeBel et al. 2023, as ready arrays (HDF5)"),
    "shortclips": (import_shortclips, "short silent films of the Gallant lab (HDF5)"),
    "popham2021": (import_popham2021, "stories and films of Popham et al. 2021 (.npy)"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    given = _parser().parse_args(arguments)
    try:
        report = _import_arrays(given) if given.dataset in _ARRAYS else _import_treebank(given)
    except BraidError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(report.to_csv(sep="\t", index=False, na_rep="n/a"), end="")
    return 0


def _import_treebank(given: argparse.Namespace) -> pd.DataFrame:
    """Import either form of Brain Treebank."""
    options = Options(
        films=given.films,
        scenes=given.scenes,
        scene_column=given.scene_column,
        offsets=_offsets(given.film_offset),
        subjects=tuple(given.subjects) if given.subjects else None,
        copy=given.copy,
    )
    if given.dataset == "treebank":
        return import_treebank(given.source, given.out, options)
    return complete_treebank(given.source, given.metadata, given.out, options)


def _import_arrays(given: argparse.Namespace) -> pd.DataFrame:
    """Import a data set of ready arrays."""
    wanted = {name: value for name, value in vars(given).items() if name in _ARRAY_OPTIONS}
    if given.subjects:
        wanted["subjects"] = tuple(given.subjects)
    importer, _ = _ARRAYS[given.dataset]
    return importer(given.source, given.out, ArrayOptions(**wanted))


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
        part = _dataset_parser(datasets, dataset, what)
        if dataset == "treebank-bids":
            part.add_argument(
                "--metadata", type=Path, required=True,
                help="folder with labels, timings and transcripts of the native data set",
            )  # fmt: skip
        part.add_argument(
            "--films", type=Path, help="folder with your copies of the films, named by film id"
        )
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
    for dataset, (_, what) in _ARRAYS.items():
        part = _dataset_parser(datasets, dataset, what)
        if dataset == "popham2021":
            part.add_argument(
                "--stories", type=Path,
                help="folder with TextGrids/ and respdict.json: `derivative` of ds003020",
            )  # fmt: skip
            part.add_argument(
                "--story-start", type=float, metavar="SECONDS",
                help="time in each story at which the first volume starts; without it "
                "respdict.json tells",
            )  # fmt: skip
        if dataset != "ds003020":
            part.add_argument(
                "--films", type=Path,
                help="folder with train_00.hdf, ..., test.hdf: `stimuli` of shortclips",
            )  # fmt: skip
        if dataset != "shortclips":
            part.add_argument(
                "--repetition-time", type=float, metavar="SECONDS",
                help="of the stories; default: 2.0045, the laboratory's code reckons with 2",
            )  # fmt: skip
    return parser


def _dataset_parser(datasets: Any, name: str, what: str) -> argparse.ArgumentParser:
    """Add a data set with what all of them are told."""
    part: argparse.ArgumentParser = datasets.add_parser(name, help=what, description=what)
    part.add_argument("source", type=Path, help="its root; stays as it is")
    part.add_argument("--out", type=Path, required=True, help="root of the new data set")
    part.add_argument("--subjects", type=int, nargs="+", metavar="N", help="default: all")
    return part


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
