"""Estimate from repeated runs how well any model could predict one subject's responses."""

from braid.common import job_log, provenance, read_array, read_table, seed_for, write_table
from braid.inference import CEILINGS_COLUMNS, ceilings_table
from braid.stimuli import repeated_responses

params, names, files = snakemake.params, snakemake.wildcards, snakemake.input
with job_log(snakemake.log[0]):
    response, rows = repeated_responses(
        read_array(files.signal)["signal"],
        read_table(files.events),
        params.analysis["design"],
        params.analysis["repeats"],
    )
    seed = seed_for(params.seed, "ceilings", names.analysis, names.subject)
    table = ceilings_table(response, rows, seed)
    write_table(
        snakemake.output.table, table, CEILINGS_COLUMNS, **provenance(files, params.analysis)
    )
