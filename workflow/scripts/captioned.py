"""Make units of captioned pictures."""

from braid.common import job_log, provenance, write_table
from braid.stimuli import CAPTIONS_COLUMNS, UNIT_COLUMNS, captioned_units

given, output = snakemake.params.pictures, snakemake.output
with job_log(snakemake.log[0]):
    pictures, captions, pairs = captioned_units(given["root"], given["table"], given["captions"])
    write_table(output.pictures, pictures, UNIT_COLUMNS, **provenance())
    write_table(output.captions, captions, UNIT_COLUMNS, **provenance())
    write_table(output.pairs, pairs, CAPTIONS_COLUMNS, **provenance())
