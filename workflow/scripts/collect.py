"""Join the tables of all subjects and models, and sum them up."""

from pathlib import Path

from braid.common import ArrayFiles, job_log, provenance, read_table, write_table
from braid.inference import COLUMNS, collect_tables


def labels(path):
    """Analysis, model and subject, or data set and subject, that a path names."""
    *_, last = folders = Path(path).parts
    subject = last.removeprefix("sub-").split(".")[0].split("_")[0]
    return (
        (*folders[-3:-1], subject) if folders[-4] in ("fits", "tests") else (folders[-2], subject)
    )


with job_log(snakemake.log[0]):
    inputs = snakemake.input
    tables = collect_tables(
        sites=(read_table(path) for path in inputs.sites),
        comparisons=(read_table(path) for path in inputs.comparisons),
        fits=ArrayFiles({labels(path): path for path in inputs.fits}, without=("prediction",)),
        nulls=ArrayFiles({labels(path): path for path in inputs.nulls}),
        excluded={labels(path): read_table(path) for path in inputs.excluded},
        quality={labels(path): read_table(path) for path in inputs.quality},
    )
    for path in snakemake.output.tables:
        name = Path(path).stem
        write_table(path, tables[name], COLUMNS[name], **provenance([*inputs.sites]))
