"""Join the designs of several networks, layer by layer."""

from braid.common import job_log, provenance, read_array, read_json, write_array, write_json
from braid.features import combine_designs, design_shape

with job_log(snakemake.log[0]):
    members = snakemake.params.members
    designs = {
        name: read_array(path) for name, path in zip(members, snakemake.input.designs, strict=True)
    }
    learnt = snakemake.input.projection
    joined = combine_designs(designs, read_array(learnt) if learnt else None)
    write_array(snakemake.output.design, joined, **provenance(snakemake.input))
    targets = read_json(snakemake.input.shapes[0])["targets"]
    write_json(snakemake.output.shape, design_shape(joined, targets))
