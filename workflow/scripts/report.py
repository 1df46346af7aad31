"""Write the report."""

from pathlib import Path

from braid.common import job_log
from braid.report import make_report

with job_log(snakemake.log[0]):
    params, output = snakemake.params, snakemake.output
    make_report(Path(params.results), params.config, Path(output.page), Path(output.figures))
