"""Learn the maps between the feature spaces of a pair of networks."""

from braid.common import job_log, provenance, read_json, read_table, write_array, write_table
from braid.features import FeatureStore, load_features
from braid.transfer import QUALITY_COLUMNS, learn_alignment, pair_layers

params, files = snakemake.params, snakemake.input
with job_log(snakemake.log[0]):
    settings, store = params.settings, FeatureStore(params.store)
    language, vision = (
        load_features(read_json(path), store) for path in (files.language, files.vision)
    )
    pairs = pair_layers(list(language), list(vision), settings["layers"])
    maps, quality = learn_alignment(language, vision, read_table(files.pairs), pairs, settings)
    origin = provenance(files, settings)
    write_array(snakemake.output.maps, maps, **origin)
    write_table(snakemake.output.quality, quality, QUALITY_COLUMNS, **origin)
