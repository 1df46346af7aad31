"""Predict one analysis's responses with the models of another, for one network and subject."""

from braid.common import job_log, provenance, read_array, read_table, seed_for, write_table
from braid.encoding import factor_store
from braid.transfer import TRANSFER_COLUMNS, aligned_layers, transfer_sites

params, names, files = snakemake.params, snakemake.wildcards, snakemake.input
with job_log(snakemake.log[0]), factor_store(**params.factors):
    layers = aligned_layers(read_array(files.maps), params.analysis["from"]) if files.maps else None
    table = transfer_sites(
        files.source_design,
        files.source_response,
        read_array(files.source_fit, without=("prediction",)),
        files.target_design,
        files.target_response,
        read_array(files.target_fit),
        {**params.analysis, "layers": layers},
        # not the model's name: models share their draws, so that they can be compared
        seed=seed_for(params.seed, "transfer", names.transfer, names.subject),
        target_sites=read_table(files.target_sites),
    )
    counts = table.attrs
    table = table.assign(transfer=names.transfer, subject=names.subject, model=names.model)
    write_table(
        snakemake.output.table,
        table[list(TRANSFER_COLUMNS)],
        TRANSFER_COLUMNS,
        **counts,
        **provenance(files, params.analysis),
    )
