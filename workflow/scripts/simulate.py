"""Make the demo's BIDS data set, and the table of its truth beside it."""

from pathlib import Path

from braid.common import job_log
from braid.config import read_yaml
from braid.simulate import make_world, write_dataset

with job_log(snakemake.log[0]):
    world = make_world(read_yaml(snakemake.input.world), snakemake.params.seed)
    write_dataset(
        world,
        world.spec,
        snakemake.params.seed,
        Path(snakemake.output.root),
        Path(snakemake.output.truth),
        n_jobs=snakemake.threads,
    )
