"""Cut the responses of an analysis out of one subject's cleaned recordings."""

from braid.common import job_log, provenance, read_array, read_table, write_array, write_table
from braid.stimuli import DROPPED_COLUMNS, responses_of

with job_log(snakemake.log[0]):
    params = snakemake.params.analysis
    signal = read_array(snakemake.input.signal)["signal"]
    events = read_table(snakemake.input.events)
    response, dropped = responses_of(signal, events, params["design"], params["repeats"])
    origin = provenance(snakemake.input, params)
    write_array(snakemake.output.response, response, **origin)
    write_table(snakemake.output.dropped, dropped, DROPPED_COLUMNS, **origin)
