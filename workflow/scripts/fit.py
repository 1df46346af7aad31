"""Fit the encoding models of one network and one subject."""

from braid.common import job_log, provenance, read_array, write_array
from braid.encoding import fit_encoding

with job_log(snakemake.log[0]):
    params = snakemake.params
    fit = fit_encoding(
        read_array(snakemake.input.design),
        read_array(snakemake.input.response)["response"],
        params.analysis,
    )
    write_array(snakemake.output[0], fit, **provenance(snakemake.input, params.analysis))
