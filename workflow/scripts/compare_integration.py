"""Compare the candidates of one subject and alignment at every site."""

from pathlib import Path

from braid.common import (
    ArrayFiles,
    job_log,
    provenance,
    seed_for,
    write_array,
    write_table,
)
from braid.inference import (
    CANDIDATES_COLUMNS,
    compare_candidates,
    relabel_candidates,
    stack_models,
)


def by_model(paths):
    """Paths by the folder they are in, which has the model's name."""
    return {Path(path).parent.name: path for path in paths}


params, names, files = snakemake.params, snakemake.wildcards, snakemake.input
with job_log(snakemake.log[0]):
    settings = params.settings
    scores = stack_models(
        ArrayFiles(by_model(files.summaries)),
        ArrayFiles(by_model(files.permuted)) if files.permuted else None,
        settings["level"],
    )
    how = {
        "roles": params.roles,
        "params": settings,
        "seed": seed_for(params.seed, "integration", names.alignment, names.subject),
        "draws": ArrayFiles(by_model(files.draws)) if files.draws else None,
    }
    table, labels = compare_candidates(scores, **how), relabel_candidates(scores, **how)
    origin = provenance(files, settings)
    write_table(snakemake.output.table, table, CANDIDATES_COLUMNS, **origin)
    write_array(snakemake.output.scores, scores, **origin)
    write_array(snakemake.output.labels, labels, **origin)
