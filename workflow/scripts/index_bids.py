"""List the recordings of one subject and check that they can be used."""

from braid.bids import INDEX_COLUMNS, index_dataset
from braid.common import job_log, provenance, write_table

with job_log(snakemake.log[0]):
    table = index_dataset(snakemake.wildcards.dataset, snakemake.params.dataset)
    write_table(
        snakemake.output.table,
        table,
        INDEX_COLUMNS,
        **provenance(parameters=snakemake.params.dataset),
    )
