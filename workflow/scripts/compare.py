"""Compare models at the sites of one subject."""

from braid.common import job_log, provenance, read_array, read_table, seed_for, write_table
from braid.inference import COMPARISONS_COLUMNS, compare_models

with job_log(snakemake.log[0]):
    analysis, names = snakemake.params.analysis, snakemake.wildcards
    models = sorted({model for pair in analysis["compare"].values() for model in pair})
    table = compare_models(
        {model: read_array(snakemake.input[model]) for model in models},
        read_array(snakemake.input.response)["response"],
        analysis["compare"],
        analysis["swap"],
        seed=seed_for(snakemake.params.seed, "compare", names.analysis, names.subject),
        sites=[read_table(path) for path in snakemake.input.get("sites", [])],
    )
    table = table.assign(analysis=names.analysis, subject=names.subject)
    write_table(
        snakemake.output.table,
        table[list(COMPARISONS_COLUMNS)],
        COMPARISONS_COLUMNS,
        **provenance(snakemake.input, analysis),
    )
