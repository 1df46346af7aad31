"""Learn the projection of a combination of two networks from the stimuli."""

from braid.common import job_log, provenance, read_json, read_table, write_array
from braid.features import FeatureStore, learn_projection, load_features

with job_log(snakemake.log[0]):
    settings, store = snakemake.params.settings, FeatureStore(snakemake.params.store)
    features = {
        name: load_features(read_json(path), store)
        for name, path in zip(snakemake.params.members, snakemake.input.manifests, strict=True)
    }
    learnt = learn_projection(features, read_table(snakemake.input.units), **settings)
    write_array(snakemake.output.projection, learnt, **provenance(snakemake.input, settings))
