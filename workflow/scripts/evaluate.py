"""Check a study's tables against its truth and against figures that are known."""

from pathlib import Path

import pandas as pd

from braid.common import job_log, provenance, read_array, read_table, write_table
from braid.inference import (
    EVALUATION_COLUMNS,
    check_expectations,
    evaluate,
    evaluate_ceilings,
    evaluate_crossmodal,
    evaluate_integration,
    evaluate_shared,
)

SIDES = ("language", "vision")

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
        aligned = {
            name: tables["transfers"].query("transfer == @name") for name in params.multimodal
        }
        found.append(evaluate_crossmodal(aligned, truth, params.multimodal))
        for path in map(Path, inputs.shared):
            arrays = {side: read_array(path.parent / f"{side}.nc") for side in SIDES}
            found.append(evaluate_shared(path.parent.name, read_table(path), arrays, truth))
        paths = [Path(path) for path in inputs.ceilings]
        ceilings = {(one.parent.name, one.stem.split("-")[-1]): read_table(one) for one in paths}
        found.append(evaluate_ceilings(ceilings, truth))
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
