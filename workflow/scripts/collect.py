"""Join the tables of all subjects and models, and sum them up."""

from pathlib import Path

from braid.common import ArrayFiles, job_log, provenance, read_table, write_table
from braid.inference import COLUMNS, collect_tables


def labels(path, folders):
    """Names of the last folders of a path, and the subject that its file is of."""
    *parts, _ = Path(path).parts
    return (*parts[-folders:], Path(path).stem.removeprefix("sub-").split("_")[0])


with job_log(snakemake.log[0]):
    inputs = snakemake.input
    tables = collect_tables(
        sites=(read_table(path) for path in inputs.sites),
        comparisons=(read_table(path) for path in inputs.comparisons),
        # analysis, model and subject
        fits=ArrayFiles({labels(path, 2): path for path in inputs.fits}, without=("prediction",)),
        nulls=ArrayFiles({labels(path, 2): path for path in inputs.nulls}),
        # data set and subject
        excluded={labels(path, 1): read_table(path) for path in inputs.excluded},
        quality={labels(path, 1): read_table(path) for path in inputs.quality},
        # analysis and subject
        ceilings={labels(path, 1): read_table(path) for path in inputs.ceilings},
        timing={labels(path, 2): read_table(path) for path in inputs.timing},
    )
    origin = provenance(inputs.sites)
    for path in snakemake.output.tables:
        name = Path(path).stem
        write_table(path, tables[name], COLUMNS[name], **origin)
