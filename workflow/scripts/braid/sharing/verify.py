"""Whether a run here gives the numbers of an archive."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from braid.common import InputError, read_json
from braid.sharing.archive import CODE, CONFIG, FINGERPRINTS, METADATA, RESULTS
from braid.sharing.code_version import code_files, digest_of
from braid.sharing.fingerprints import differing, fingerprints_of
from braid.sharing.tables import Difference, Tolerance, compare_tables, read_text_table

NOT_COMPARED = (
    "times, hosts and logs (benchmarks/, logs/, ro-crate-metadata.json); what sidecars say of "
    "versions, parameters and inputs (braid_*); attributes of arrays"
)
_LOCK = "requirements.lock"


@dataclass
class Verdict:
    """What a comparison found.

    Attributes
    ----------
    compared : int
        Files whose numbers were compared.
    differences : list of Difference
    missing : list of str
        Files of the archive, by their paths in the results, that are not here.
    notes : list of str
        What may explain differences, and what is not counted as one.
    """

    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 1 if a number differs, else 2 if something is missing, else 0."""
        return 1 if self.differences else 2 if self.missing else 0


def verify_archive(
    archive: Path,
    results: Path | None = None,
    tolerance: Tolerance | None = None,
    show: int = 3,
) -> Verdict:
    """Compare the numbers of an archive with those of a finished run.

    Tables are compared cell by cell, arrays and tables of stimuli by their fingerprints, columns'
    descriptions as they are. Figures that are drawn otherwise are noted, not counted: fonts and
    matplotlib's version change a drawing, and its numbers are in what is compared.

    Parameters
    ----------
    archive : pathlib.Path
        As `share_study` writes it.
    results : pathlib.Path, optional
        Folder of the run; by default that of the archive's study below the working directory.
    tolerance : Tolerance, optional
        Exact by default: the text of the cells must be equal.
    show : int
        How many cells to name per column.

    Raises
    ------
    InputError
        If the archive is none of braid's, or there is no such run; the message says how to make
        it.
    """
    tolerance = tolerance or Tolerance()
    with _opened(archive) as held:
        config = yaml.safe_load(held.read(CONFIG))
        folder = results or Path(config["results"]) / config["study"]
        if not folder.is_dir():
            raise InputError(f"{folder}: no such results; {_how_to_run(archive, config, results)}")
        verdict = Verdict()
        names = [name for name in sorted(held.namelist()) if name.startswith(RESULTS)]
        redrawn = []
        for name in names:
            file = name.removeprefix(RESULTS)
            if not (folder / file).is_file():
                verdict.missing.append(file)
            elif file.endswith(".tsv"):
                here, there = read_text_table(folder / file), _text_table(held, name)
                verdict.differences += compare_tables(file, here, there, tolerance, show)
                verdict.compared += 1
            elif file.endswith(".json"):
                verdict.differences += _compare_sidecars(folder / file, file, held.read(name))
            elif (folder / file).read_bytes() != held.read(name):
                redrawn.append(file)
        _compare_fingerprints(verdict, folder, _text_table(held, FINGERPRINTS), tolerance)
        if redrawn:
            verdict.notes.append(f"drawn otherwise here, not counted: {_listed(redrawn, show)}")
        verdict.notes += _code_notes(held, show)
    return verdict


def _how_to_run(archive: Path, config: dict[str, Any], results: Path | None) -> str:
    if results is not None:
        return "name the folder of a finished run after --against"
    data = " data_root=FOLDER" if config.get("data_root") else ""
    return (
        "make them and verify again:\n"
        f"  python -m zipfile -e {archive} shared\n"
        "  snakemake --cores all --configfile shared/config/config.yaml "
        f"--config models=shared/config/models.yaml{data}"
    )


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive and see that it is one of a study."""
    if not archive.is_file():
        raise InputError(f"{archive}: no such archive")
    try:
        held = zipfile.ZipFile(archive)
    except zipfile.BadZipFile:
        raise InputError(f"{archive}: no zip file, or damaged; fetch it again") from None
    with held:
        absent = {METADATA, CONFIG, FINGERPRINTS, CODE} - set(held.namelist())
        if absent:
            raise InputError(
                f"{archive}: holds no {sorted(absent)[0]}; it is no archive of `braid share`"
            )
        yield held


def _text_table(held: zipfile.ZipFile, name: str) -> pd.DataFrame:
    with io.BytesIO(held.read(name)) as stream:
        return read_text_table(stream)


def _compare_sidecars(path: Path, file: str, there: bytes) -> list[Difference]:
    """Compare what sidecars say, but for where the numbers come from."""
    ours, theirs = read_json(path), json.loads(there)
    unlike = sorted(
        key
        for key in ours.keys() | theirs.keys()
        if not key.startswith("braid_") and ours.get(key) != theirs.get(key)
    )
    return [Difference(file, f"described otherwise: {', '.join(unlike)}")] if unlike else []


def _compare_fingerprints(
    verdict: Verdict, folder: Path, there: pd.DataFrame, tolerance: Tolerance
) -> None:
    grouped = {str(file): rows for file, rows in there.groupby("file", sort=False)}
    present = [file for file in grouped if (folder / file).is_file()]
    verdict.missing += [file for file in grouped if file not in present]
    # numbers in the form in which they are written
    here = fingerprints_of(folder, present).fillna("n/a").astype(str)
    ours = {str(file): rows for file, rows in here.groupby("file", sort=False)}
    for file in present:
        empty = here.iloc[:0]
        for name, change in differing(ours.get(file, empty), grouped[file], tolerance):
            verdict.differences.append(Difference(file, f"{name}: {change}"))
    verdict.compared += len(present)


def _code_notes(held: zipfile.ZipFile, show: int) -> list[str]:
    """Say where the code and the locked versions here are not those of the archive."""
    code = json.loads(held.read(CODE))
    try:
        here = code_files(Path())
    except InputError:
        return ["the working directory is no clone of braid: its code was not compared"]
    if digest_of(here) == code["digest"]:
        return []
    names = set(held.namelist())
    unlike = [
        name
        for name in sorted(here.keys() | {n for n in names if _is_code(n)})
        if name not in here or name not in names or here[name].read_bytes() != held.read(name)
    ]
    notes = [f"the code here is not that of the archive: {_listed(unlike, show)}"]
    if _LOCK in unlike:
        notes.append(f"{_LOCK} differs: the packages may have other versions")
    return notes


def _is_code(name: str) -> bool:
    return name.startswith(("workflow/", "envs/")) or name in ("Snakefile", _LOCK)


def _listed(names: list[str], show: int) -> str:
    more = f" and {len(names) - show} more" if len(names) > show else ""
    return f"{', '.join(names[:show])}{more}"
