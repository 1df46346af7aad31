"""Join the designs of several networks, layer by layer."""

from braid.common import job_log, provenance, read_array, write_array
from braid.features import combine_designs

with job_log(snakemake.log[0]):
    members = snakemake.params.members
    designs = {
        name: read_array(path) for name, path in zip(members, snakemake.input.designs, strict=True)
    }
    write_array(snakemake.output[0], combine_designs(designs), **provenance(snakemake.input))
