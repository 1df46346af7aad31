"""Score one subject's encoding models with their features shifted in time."""

from braid.common import job_log, provenance, read_array, write_table
from braid.encoding import LAG_COLUMNS, lag_scan

params, files = snakemake.params.analysis, snakemake.input
with job_log(snakemake.log[0]):
    table = lag_scan(
        read_array(files.design),
        read_array(files.response)["response"],
        params["timing"]["lags"],
        params,
        targets=params["timing"]["targets"],
    )
    write_table(snakemake.output.table, table, LAG_COLUMNS, **provenance(files, params))
