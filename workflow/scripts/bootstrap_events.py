"""Bootstrap the scores of one model and one subject over events."""

from braid.common import job_log, provenance, read_array, seed_for, write_array
from braid.encoding import layer_names
from braid.inference import bootstrap_events, summarise_events

params, names, files = snakemake.params, snakemake.wildcards, snakemake.input
with job_log(snakemake.log[0]):
    design = read_array(files.design)
    scores = bootstrap_events(
        design,
        read_array(files.response)["response"],
        layer_names(design)[-1] if params.layer == "last" else params.layer,
        {**params.settings, "memory_mb": params.memory_mb},
        # not the model's name: models share their draws, so that they can be compared
        seed=seed_for(params.seed, "bootstrap", names.analysis),
        device=params.device,
    )
    origin = provenance(files, params.settings)
    write_array(
        snakemake.output.summary, summarise_events(scores, params.settings["level"]), **origin
    )
    # comparisons draw from what was tested; validation has done its work in the summary
    write_array(snakemake.output.draws, scores[["test"]], packed=("test",), **origin)
