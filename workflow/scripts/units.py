"""Gather the distinct units that the subjects of an analysis were shown."""

from braid.common import job_log, provenance, read_table, write_table
from braid.stimuli import UNIT_COLUMNS, units_of

with job_log(snakemake.log[0]):
    units = units_of(read_table(path) for path in snakemake.input.events)
    write_table(snakemake.output.table, units, UNIT_COLUMNS, **provenance())
