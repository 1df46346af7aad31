"""The jobs of a finished run, from Snakemake's own summary of it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from braid.common import InputError

_HEADER = "output_file\tdate\trule\tlog-file(s)\tinput-file(s)\tshellcmd\tstatus\tplan"


@dataclass(frozen=True)
class Job:
    """One job that has run.

    Attributes
    ----------
    rule : str
    inputs, outputs : tuple of str
        Paths from the working directory.
    ended : float
        When its last output was written, s since 1970.
    seconds : float or None
        How long it took, from its benchmark; None if there is none.
    """

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ended: float
    seconds: float | None


def jobs_of(summary: str) -> list[Job]:
    """Read the jobs from what `snakemake --detailed-summary` says, in the order of their end.

    Parameters
    ----------
    summary : str
        Its standard output, given in the working directory of the run.

    Raises
    ------
    InputError
        If an output is missing, or is not what the study, the code and the data would give now.
    """
    rows = list(_rows(summary))
    stale = [row["output_file"] for row in rows if row["plan"] != "no update"]
    if stale:
        raise InputError(
            f"{stale[0]}: not up to date with the study, as {len(stale)} of {len(rows)} outputs; "
            "run the study to its end before you share it"
        )
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        # one log per job
        found.setdefault((row["rule"], row["log-file(s)"]), []).append(row)
    jobs = [_job(rule, log, group) for (rule, log), group in found.items()]
    return sorted(jobs, key=lambda job: (job.ended, job.rule, job.outputs))


def _rows(summary: str) -> Iterator[dict[str, str]]:
    lines = summary.splitlines()
    if _HEADER not in lines:
        raise InputError("snakemake --detailed-summary: gave no table; look at what it says")
    names = _HEADER.split("\t")
    # not the csv module: lists of inputs are longer than the fields it takes
    for line in lines[lines.index(_HEADER) + 1 :]:
        yield dict(zip(names, line.split("\t"), strict=True))


def _job(rule: str, log: str, rows: list[dict[str, str]]) -> Job:
    outputs = tuple(sorted(row["output_file"] for row in rows))
    named = rows[0]["input-file(s)"]
    return Job(
        rule=rule,
        inputs=tuple(sorted(named.split(","))) if named not in ("-", "") else (),
        outputs=outputs,
        ended=max(Path(path).stat().st_mtime for path in outputs),
        seconds=_seconds(log),
    )


def _seconds(log: str) -> float | None:
    """Duration from the benchmark that lies where the log does, in `benchmarks` for `logs`."""
    path = Path(log.replace("/logs/", "/benchmarks/", 1)).with_suffix(".tsv")
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as stream:
        measured = next(csv.DictReader(stream, delimiter="\t"), {}).get("s", "")
    return float(measured) if measured not in ("", "NA", "-") else None
