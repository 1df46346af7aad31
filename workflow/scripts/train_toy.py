"""Train one toy network on the demo's world."""

from pathlib import Path

from braid.common import job_log
from braid.config import read_yaml
from braid.simulate import make_world, train_toys

with job_log(snakemake.log[0]):
    world = make_world(read_yaml(snakemake.input.world), snakemake.params.seed)
    folder = Path(snakemake.output.folder)
    train_toys(world, folder.parent, [snakemake.wildcards.toy], snakemake.params.seed)
