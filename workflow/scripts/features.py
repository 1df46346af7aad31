"""Extract a network's features of the units that the feature store lacks."""

from pathlib import Path

from braid.common import end_job, job_log, provenance, read_table, seed_for, write_json
from braid.config import UNTRAINED, base_of
from braid.features import FeatureStore, extract
from braid.models import load_model

with job_log(snakemake.log[0]):
    params, name = snakemake.params, snakemake.wildcards.model
    network = load_model(
        base_of(name),
        params.entry,
        untrained=name.endswith(UNTRAINED),
        seed=seed_for(params.seed, "untrained", base_of(name)),
        device=params.device,
        offline=params.offline,
    )
    manifest = extract(
        network,
        read_table(snakemake.input.units),
        Path(params.root),
        FeatureStore(params.store),
        memory_mb=snakemake.resources.mem_mb,
    )
    write_json(snakemake.output.manifest, {**manifest, "model": name, **provenance()})

end_job()
