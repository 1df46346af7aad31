"""Find the dimensions that the encoding weights of two analyses share over the same sites."""

from braid.common import (
    job_log,
    provenance,
    read_array,
    read_json,
    read_table,
    seed_for,
    write_array,
    write_table,
)
from braid.concepts import (
    SHARED_COLUMNS,
    UNITS_COLUMNS,
    Member,
    common_pair,
    cross_modal_components,
    extreme_units,
)
from braid.encoding import factor_store
from braid.features import FeatureStore, load_features
from braid.transfer import aligned_layers, plain_maps

SIDES = ("language", "vision")
params, files, output = snakemake.params, snakemake.input, snakemake.output


def members(side):
    """Parts of all subjects in one analysis."""
    kinds = ("designs", "responses", "fits", "sites")
    paths = zip(params.subjects, *(files[f"{side}_{kind}"] for kind in kinds), strict=True)
    return [Member(subject, *some, read_table(sites)) for subject, *some, sites in paths]


with job_log(snakemake.log[0]), factor_store(**params.factors):
    both, maps = list(zip(*map(members, SIDES), strict=True)), read_array(files.maps)
    pairs = list(zip(*(aligned_layers(maps, side) for side in SIDES), strict=True))
    chosen = common_pair(both, pairs)
    features = {
        side: load_features(read_json(files[f"{side}_manifest"]), FeatureStore(params.store))[layer]
        for side, layer in zip(SIDES, pairs[chosen], strict=True)
    }
    seed = seed_for(params.seed, "shared components", snakemake.wildcards.shared)
    table, arrays = cross_modal_components(
        both, pairs[chosen], plain_maps(maps, chosen), (*features.values(),), params.settings, seed
    )
    origin = provenance(files, params.settings)
    write_table(output.table, table, SHARED_COLUMNS, **origin)
    for side, found in arrays.items():
        units = read_table(files[f"{side}_units"])
        units = extreme_units(found["loading"], features[side], units)
        write_array(output[side], found, **origin)
        write_table(output[f"units_{side}"], units, UNITS_COLUMNS, **origin)
