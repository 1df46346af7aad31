"""Decide where vision and language are integrated, and sum it up."""

from pathlib import Path

from braid.common import job_log, provenance, read_array, read_table, seed_for, write_table
from braid.inference import Study, correct_comparisons, integration_columns, integration_tables


def by_alignment(paths, read):
    """Read files, by the folder they are in, which has the alignment's name."""
    found = {}
    for path in paths:
        found.setdefault(Path(path).parent.name, []).append(read(path))
    return found


params, names, files = snakemake.params, snakemake.wildcards, snakemake.input
with job_log(snakemake.log[0]):
    comparisons = correct_comparisons(by_alignment(files.comparisons, read_table), params.settings)
    scores, labels = (by_alignment(some, read_array) for some in (files.scores, files.labels))
    tables = integration_tables(
        Study(scores, comparisons, params.roles, params.settings, labels),
        seed=seed_for(params.seed, "integration", names.integration),
    )
    tables["comparisons"], columns = comparisons, integration_columns(list(scores))
    origin = provenance(files, params.settings)
    for path in snakemake.output.tables:
        name = Path(path).stem
        write_table(path, tables[name], columns[name], **origin)
