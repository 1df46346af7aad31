"""Probe whether a network, trained and untrained, uses the pairing of pictures and text."""

from pathlib import Path

import pandas as pd

from braid.common import end_job, job_log, provenance, read_table, seed_for, write_table
from braid.probe import PROBES_COLUMNS, load_matcher, pairing_of, probe_pairing

with job_log(snakemake.log[0]):
    params, root = snakemake.params, Path(snakemake.params.root)
    name, settings = snakemake.wildcards.probe, snakemake.params.settings
    seed = seed_for(params.seed, "probe", name)
    pairing = pairing_of(read_table(snakemake.input.units), root, settings, seed)
    rows = []
    for untrained in (False, True):
        network = load_matcher(
            settings["model"],
            params.entry,
            untrained=untrained,
            seed=seed_for(params.seed, "untrained", settings["model"]),
            device=params.device,
            offline=params.offline,
        )
        rows.append(probe_pairing(network, pairing, root))
    write_table(
        snakemake.output.table,
        pd.concat(rows, ignore_index=True).assign(probe=name),
        PROBES_COLUMNS,
        left_out=pairing.left_out,
        **provenance(snakemake.input, settings),
    )

end_job()
