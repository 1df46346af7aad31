"""Check a study's tables against its truth and against figures that are known."""

from pathlib import Path

import pandas as pd

from braid.common import job_log, provenance, read_table, write_table
from braid.inference import EVALUATION_COLUMNS, check_expectations, evaluate, evaluate_integration

with job_log(snakemake.log[0]):
    inputs, params = snakemake.input, snakemake.params
    tables = {Path(path).stem: read_table(path) for path in inputs.tables}
    found = [check_expectations(tables, params.expect)]
    if inputs.transfers:
        parts = [read_table(path) for path in inputs.transfers]
        tables["transfers"] = pd.concat(parts, ignore_index=True)
    if inputs.truth:
        truth = read_table(inputs.truth)
        found.append(evaluate(tables, truth, params.analyses, params.transfers))
        for path in map(Path, inputs.integrations):
            name, profile = path.parts[-3:-1]
            found.append(
                evaluate_integration(
                    name, profile, params.integrations[name], read_table(path), truth
                )
            )
    # an empty table would turn the columns' types into object
    table = pd.concat([part for part in found if len(part)] or found, ignore_index=True)
    write_table(snakemake.output.table, table, EVALUATION_COLUMNS, **provenance(inputs))
