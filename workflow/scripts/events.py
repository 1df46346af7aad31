"""Put the stimuli of an analysis on the clock of one subject's recordings."""

from pathlib import Path

from braid.common import job_log, provenance, read_table, write_table
from braid.stimuli import EVENT_COLUMNS, events_of

with job_log(snakemake.log[0]):
    analysis = snakemake.params.analysis
    index = read_table(snakemake.input.index)
    index = index[index["task"].isin(analysis["tasks"])]
    events = events_of(index, Path(snakemake.params.root), analysis["units"])
    write_table(
        snakemake.output.table, events, EVENT_COLUMNS, **provenance(snakemake.input, analysis)
    )
