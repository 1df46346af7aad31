"""Fit the encoding models of one network and one subject."""

from braid.common import job_log, provenance, read_array, write_array
from braid.encoding import factor_store, fit_encoding

params = snakemake.params
with job_log(snakemake.log[0]), factor_store(**params.factors):
    fit = fit_encoding(
        read_array(snakemake.input.design),
        read_array(snakemake.input.response)["response"],
        params.analysis,
    )
    write_array(snakemake.output[0], fit, **provenance(snakemake.input, params.analysis))
