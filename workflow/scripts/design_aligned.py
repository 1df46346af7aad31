"""Build the design of one network for one subject, in the feature space of another."""

from braid.common import (
    job_log,
    provenance,
    read_array,
    read_json,
    read_table,
    write_array,
    write_json,
)
from braid.features import FeatureStore, build_design, design_shape, load_features
from braid.transfer import aligned

files, design = snakemake.input, snakemake.params.design["design"]
with job_log(snakemake.log[0]):
    own = load_features(read_json(files.manifest), FeatureStore(snakemake.params.store))
    features = aligned(own, read_array(files.maps), snakemake.wildcards.space)
    response = read_array(files.response)["response"]
    built = build_design(features, read_table(files.events), response, design)
    write_array(snakemake.output.design, built, **provenance(files, design))
    write_json(snakemake.output.shape, design_shape(built, response.sizes["target"]))
