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
from braid.concepts import SHARED_COLUMNS as SHARED
from braid.concepts import UNITS_COLUMNS as UNITS
from braid.concepts import common_pair, cross_modal_components, members_of, units_of_both
from braid.encoding import factor_store
from braid.features import FeatureStore, load_features
from braid.transfer import SIDES, aligned_pairs, plain_maps

params, files, output = snakemake.params, snakemake.input, snakemake.output
KINDS = ("designs", "responses", "fits", "sites")
with job_log(snakemake.log[0]), factor_store(**params.factors):
    settings, store = params.settings, FeatureStore(params.store)
    maps = read_array(files.maps)
    parts = [
        members_of(params.subjects, **{kind: files[f"{side}_{kind}"] for kind in KINDS})
        for side in SIDES
    ]
    both = list(zip(*parts, strict=True))
    chosen = common_pair(both, pairs := aligned_pairs(maps))
    features = [
        load_features(read_json(files[f"{side}_manifest"]), store)[layer]
        for side, layer in zip(SIDES, pairs[chosen], strict=True)
    ]
    scored = [side for side in SIDES if settings[side]["standardize_features"]]
    seed = seed_for(params.seed, "shared components", snakemake.wildcards.shared)
    plain = plain_maps(maps, chosen, scored)
    table, arrays = cross_modal_components(both, pairs[chosen], plain, features, settings, seed)
    origin = provenance(files, settings)
    write_table(output.table, table, SHARED, **origin)
    units = [read_table(files[f"{side}_units"]) for side in SIDES]
    of_scored = [side in scored for side in SIDES]
    for number, side in enumerate(SIDES):
        ends = units_of_both(arrays[side]["loading"], features, units, plain, of_scored, number)
        write_array(output[side], arrays[side], **origin)
        write_table(output[f"units_{side}"], ends[0], UNITS, **origin)
        write_table(output[f"units_{side}_other"], ends[1], UNITS, **origin)
