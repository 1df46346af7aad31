"""Build the design of one network for one subject."""

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

with job_log(snakemake.log[0]):
    design = snakemake.params.design["design"]
    manifest = read_json(snakemake.input.manifest)
    features = load_features(manifest, FeatureStore(snakemake.params.store))
    response = read_array(snakemake.input.response)["response"]
    built = build_design(features, read_table(snakemake.input.events), response, design)
    write_array(snakemake.output.design, built, **provenance(snakemake.input, design))
    write_json(snakemake.output.shape, design_shape(built, response.sizes["target"]))
