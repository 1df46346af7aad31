"""Find the principal components of encoding weights over the sites of all subjects."""

from braid.common import (
    job_log,
    provenance,
    read_json,
    read_table,
    seed_for,
    write_array,
    write_table,
)
from braid.concepts import (
    COMPONENTS_COLUMNS,
    UNITS_COLUMNS,
    common_layer,
    extreme_units,
    members_of,
    scale_of,
    weight_components,
)
from braid.encoding import factor_store
from braid.features import FeatureStore, load_features

params, files, output = snakemake.params, snakemake.input, snakemake.output
with job_log(snakemake.log[0]), factor_store(**params.factors):
    kinds = ("designs", "responses", "fits", "sites")
    members = members_of(params.subjects, **{kind: files[kind] for kind in kinds})
    layer = common_layer(members)
    features = load_features(read_json(files.manifest), FeatureStore(params.store))[layer]
    seed = seed_for(params.seed, "components", snakemake.wildcards.component)
    scale = scale_of(features, params.settings["standardize_features"])
    found = weight_components(members, layer, scale, params.settings, seed)
    units = extreme_units(found.arrays["loading"], features, read_table(files.units))
    origin = provenance(files, params.settings)
    write_table(output.components, found.table, COMPONENTS_COLUMNS, **origin)
    write_table(output.units, units, UNITS_COLUMNS, **origin)
    write_array(output.arrays, found.arrays, **origin)
