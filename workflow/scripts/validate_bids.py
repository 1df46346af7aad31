"""Run the official BIDS validator on a data set."""

import logging
from pathlib import Path

from braid.bids import validate
from braid.common import InputError, job_log, write_json

with job_log(snakemake.log[0]):
    root, strictness = Path(snakemake.params.root), snakemake.params.strictness
    verdict = {"valid": None, "skipped": True} if strictness == "skip" else validate(root)
    errors = verdict.get("errors", [])
    if errors:
        message = f"{root}: the BIDS validator reports {len(errors)} errors, the first: {errors[0]}"
        if strictness == "error":
            raise InputError(f"{message}; mend them or set 'validate: warn'")
        logging.getLogger("braid").warning(message)
    write_json(snakemake.output[0], verdict)
