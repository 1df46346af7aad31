"""Join the indexes of a data set's subjects and check that they agree."""

from pathlib import Path

import pandas as pd

from braid.bids import INDEX_COLUMNS, check_rates
from braid.common import job_log, provenance, read_table, write_table

with job_log(snakemake.log[0]):
    table = pd.concat([read_table(path) for path in snakemake.input.tables], ignore_index=True)
    check_rates(table, Path(snakemake.params.root), snakemake.params.resample)
    write_table(snakemake.output.table, table, INDEX_COLUMNS, **provenance(snakemake.input.tables))
