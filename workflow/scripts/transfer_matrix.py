"""Score the layers of one network within a sense and across, for one subject."""

from braid.common import job_log, provenance, read_array, read_table, seed_for, write_table
from braid.encoding import factor_store
from braid.transfer import MATRIX_COLUMNS, aligned_layers, transfer_matrix

params, names, files = snakemake.params, snakemake.wildcards, snakemake.input
with job_log(snakemake.log[0]), factor_store(**params.factors):
    layers = aligned_layers(read_array(files.maps), params.analysis["from"]) if files.maps else None
    table = transfer_matrix(
        files.source_design,
        files.source_response,
        read_array(files.source_fit, without=("prediction",)),
        files.target_design,
        files.target_response,
        read_array(files.target_fit, without=("prediction",)),
        {**params.analysis, "layers": layers},
        # not the model's name: models share their draws, so that they can be compared
        seed=seed_for(params.seed, "transfer", names.transfer, names.subject),
        ceilings={
            side: read_table(path)
            for side in ("source", "target")
            if (path := files.get(f"{side}_ceilings"))
        },
    )
    table = table.assign(transfer=names.transfer, subject=names.subject, model=names.model)
    write_table(
        snakemake.output.table,
        table[list(MATRIX_COLUMNS)],
        MATRIX_COLUMNS,
        **provenance(files, params.analysis),
    )
