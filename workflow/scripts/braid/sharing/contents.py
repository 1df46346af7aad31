"""What of a study's results goes into an archive, and what is only fingerprinted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_RECORDS = ("benchmarks", "logs")
"""Folders of the results that say how a run went, not what came out: times, hosts, paths."""

_STIMULI = ("events", "units", "captioned")
"""Folders whose tables repeat the recordings' events and the stimuli's text, which are not ours."""


@dataclass(frozen=True)
class Contents:
    """Files of a study's results, by their paths in them, sorted.

    Attributes
    ----------
    tables : tuple of str
        Tables that are shared, each with its JSON sidecar.
    withheld : tuple of str
        Tables of events and stimuli: fingerprinted, not shared.
    arrays : tuple of str
        netCDF files: fingerprinted, not shared.
    pages : tuple of str
        The report and its figures.
    """

    tables: tuple[str, ...]
    withheld: tuple[str, ...]
    arrays: tuple[str, ...]
    pages: tuple[str, ...]


def contents_of(results: Path, data: Iterable[Path] = ()) -> Contents:
    """Sort the files of a study's results into what is shared and what is not.

    Parameters
    ----------
    results : pathlib.Path
        Folder of one study.
    data : iterable of pathlib.Path
        Roots of the study's data sets; what lies in them is raw data and left out.
    """
    found: dict[str, list[str]] = {"tables": [], "withheld": [], "arrays": [], "pages": []}
    for name in _files(results, {path.resolve() for path in data}):
        folder = name.split("/")[0]
        if folder in _RECORDS:
            continue
        if name.endswith(".tsv"):
            found["withheld" if folder in _STIMULI else "tables"].append(name)
        elif name.endswith(".nc"):
            found["arrays"].append(name)
        elif folder in ("figures", "report.html"):
            found["pages"].append(name)
    return Contents(**{kind: tuple(names) for kind, names in found.items()})


def _files(results: Path, data: set[Path]) -> Iterator[str]:
    """Paths of all files below the results but hidden ones and raw data, sorted."""
    raw = [path.relative_to(results.resolve()) for path in data if _within(path, results)]
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and not any(name.is_relative_to(root) for root in raw):
            yield name.as_posix()


def _within(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder.resolve())
