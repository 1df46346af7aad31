"""Clean the BOLD of one subject."""

from pathlib import Path

from braid.common import job_log, provenance, read_table, write_array, write_table
from braid.preprocess import EXCLUDED_COLUMNS, QUALITY_COLUMNS, preprocess_bold

with job_log(snakemake.log[0]):
    index = read_table(snakemake.input.index)
    cleaned = preprocess_bold(index, Path(snakemake.params.root), snakemake.params.preprocess)
    origin = provenance(snakemake.input, snakemake.params.preprocess)
    write_array(snakemake.output.signal, cleaned.signal, **origin)
    write_table(snakemake.output.excluded, cleaned.excluded, EXCLUDED_COLUMNS, **origin)
    write_table(snakemake.output.quality, cleaned.quality, QUALITY_COLUMNS, **origin)
