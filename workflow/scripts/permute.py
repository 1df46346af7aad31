"""Test the encoding models of one network and one subject by permutation."""

from braid.common import job_log, provenance, read_array, seed_for, write_array, write_table
from braid.encoding import factor_store
from braid.inference import SITES_COLUMNS, test_sites

params, names = snakemake.params, snakemake.wildcards
with job_log(snakemake.log[0]), factor_store(**params.factors):
    nulls, sites = test_sites(
        read_array(snakemake.input.design),
        read_array(snakemake.input.response)["response"],
        read_array(snakemake.input.fit),
        params.analysis,
        # not the model's name: models share their draws, so that they can be compared
        seed=seed_for(params.seed, "permute", names.analysis, names.subject),
    )
    origin = provenance(snakemake.input, params.analysis)
    labels = {"analysis": names.analysis, "subject": names.subject, "model": names.model}
    write_array(snakemake.output.nulls, nulls, **labels, **origin)
    write_table(
        snakemake.output.sites, sites.assign(**labels)[list(SITES_COLUMNS)], SITES_COLUMNS, **origin
    )
