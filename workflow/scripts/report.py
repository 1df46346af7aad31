"""Write the report."""

from pathlib import Path

from braid.common import job_log
from braid.report import make_report

with job_log(snakemake.log[0]):
    output = snakemake.output
    page = Path(output.page)
    make_report(
        page.parent,
        snakemake.params.config,
        page,
        Path(output.figures),
        n_jobs=snakemake.threads,
    )
