"""Predict every window of electrodes from every other, across two analyses of one subject."""

from braid.common import job_log, provenance, read_array, seed_for, write_array, write_table
from braid.encoding import factor_store
from braid.transfer import TIMES_COLUMNS, aligned_layers, transfer_times

params, names, files = snakemake.params, snakemake.wildcards, snakemake.input
with job_log(snakemake.log[0]), factor_store(**params.factors):
    layers = aligned_layers(read_array(files.maps), params.analysis["from"]) if files.maps else None
    sites, table = transfer_times(
        files.source_design,
        files.source_response,
        read_array(files.source_fit, without=("prediction",)),
        files.target_design,
        files.target_response,
        read_array(files.target_fit, without=("prediction",)),
        {**params.analysis, "layers": layers},
        seed=seed_for(params.seed, "transfer", names.transfer, names.subject),
    )
    origin = provenance(files, params.analysis)
    table = table.assign(transfer=names.transfer, subject=names.subject, model=names.model)
    write_table(snakemake.output.table, table[list(TIMES_COLUMNS)], TIMES_COLUMNS, **origin)
    write_array(snakemake.output.sites, sites, **origin)
