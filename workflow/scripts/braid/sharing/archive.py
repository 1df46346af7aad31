"""One archive of a finished study, for those who want to check it or run it themselves."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from braid.common import InputError, atomic_path
from braid.sharing.code_version import code_files, code_version
from braid.sharing.contents import Contents, contents_of
from braid.sharing.crate import crate_of
from braid.sharing.fingerprints import COLUMNS, fingerprints_of
from braid.sharing.jobs import jobs_of
from braid.sharing.study import Study, read_study

METADATA = "ro-crate-metadata.json"
CODE = "code.json"
CONFIG = "config/config.yaml"
FINGERPRINTS = "fingerprints.tsv"
RESULTS = "results/"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that the format knows: equal contents give equal archives."""

_README = """\
# Study {study}

{question}

- `results/`: report, figures, and tables with a description of every column (JSON).
- `fingerprints.tsv`: digest, range and mean of every array and of the tables of events and stimuli;
  the arrays and these tables are not here.
- `config/config.yaml`: the study with every default filled in; it runs as it is.
- `config/study.yaml`: the study as its author wrote it.
- `config/models.yaml`, `config/models.lock.yaml`: the networks, and which files of them are read.
- `Snakefile`, `workflow/`, `envs/`, `requirements.lock`: the code, and all packages' versions.
- `code.json`: commit of the code ({version}).
- `ro-crate-metadata.json`: which job made what from what, and when (RO-Crate, Provenance Run Crate
  0.5).

Raw data, features and networks are not here. To run the study again, put this archive into a clone
of braid (that commit, `make env`), and say where the data sets are if the study does not:

```bash
.venv/bin/python -m zipfile -e {archive} shared
.venv/bin/snakemake --cores all --configfile shared/config/config.yaml \\
  --config models=shared/config/models.yaml
.venv/bin/braid verify {archive}
```

The last command says which numbers differ, if any.
"""


def share_study(
    file: Path,
    summary: str,
    snakemake: str,
    out: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    license_: str | None = None,
) -> Path:
    """Write the archive of a finished study; the working directory is the root of the clone.

    Parameters
    ----------
    file : pathlib.Path
        The study's file.
    summary : str
        What `snakemake --detailed-summary` says of it.
    snakemake : str
        Version of Snakemake.
    out : pathlib.Path, optional
        The archive (zip); `{study}.zip` beside the results' folder if left open.
    overrides : mapping, optional
        Keys given with `--config`.
    license_ : str, optional
        Licence of the results, a URL or text.

    Returns
    -------
    pathlib.Path
        The archive. The same results give the same bytes.

    Raises
    ------
    InputError
        If the study is not valid or has not been run to its end.
    """
    code = code_files(Path())
    study = read_study(file, overrides or {})
    jobs = jobs_of(summary)
    contents = contents_of(study.results, study.data)
    if not contents.tables:
        raise InputError(f"{study.results}: holds no table; run the study before you share it")
    out = out or study.results.with_name(f"{study.name}.zip")
    version = code_version(Path(), code)
    fingerprints = fingerprints_of(study.results, [*contents.withheld, *contents.arrays])
    files: dict[str, Path | bytes] = {
        **code,
        **_study_files(study),
        **study.registry,
        **_result_files(study.results, contents),
        **_fingerprint_files(fingerprints),
        CODE: _json(version),
    }
    files["README.md"] = _README.format(
        study=study.name,
        question=study.config.get("question", ""),
        version=_said(version),
        archive=out.name,
    ).encode()
    files = dict(sorted(files.items()))
    crate = crate_of(files, jobs, study.results, study.config, version, snakemake, license_)
    write_zip(out, {METADATA: _json(crate), **files})
    return out


def write_zip(path: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write a zip whose bytes depend on names and contents alone, in the order given."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, source in files.items():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # Unix, wherever it is written
            opened = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
            with opened as stream, archive.open(entry, "w", force_zip64=True) as target:
                while chunk := stream.read(1 << 20):
                    target.write(chunk)


def _study_files(study: Study) -> dict[str, Path | bytes]:
    text = yaml.safe_dump(study.config, sort_keys=False, allow_unicode=True)
    return {CONFIG: text.encode(), "config/study.yaml": study.file}


def _result_files(results: Path, contents: Contents) -> dict[str, Path | bytes]:
    sidecars = [str(Path(name).with_suffix(".json")) for name in contents.tables]
    names = [*contents.tables, *contents.pages]
    names += [name for name in sidecars if (results / name).is_file()]
    return {f"{RESULTS}{name}": results / name for name in names}


def _fingerprint_files(table: pd.DataFrame) -> dict[str, Path | bytes]:
    text = table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n")
    sidecar = {name: {"Description": text} for name, text in COLUMNS.items()}
    return {FINGERPRINTS: text.encode(), "fingerprints.json": _json(sidecar)}


def _said(version: Mapping[str, Any]) -> str:
    if version["commit"] is None:
        return "not known, the folder was no git clone"
    return f"{version['commit']}{', changed since' if version['dirty'] else ', unchanged'}"


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
