"""Small helpers that every room shares: errors, files, randomness, progress, provenance.

Names are loaded on first use, so that `braid.common.errors` and `braid.config` work in an
environment that has Snakemake and little else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common.lazy import lazy_names

if TYPE_CHECKING:
    from braid.common.arrays import ArrayFiles, read_array, write_array
    from braid.common.errors import BraidError, InputError
    from braid.common.files import (
        atomic_folder,
        atomic_path,
        current_umask,
        read_json,
        sha256_of,
        write_json,
        write_text,
    )
    from braid.common.intervals import t_interval
    from braid.common.job import end_job, job_log
    from braid.common.origin import provenance
    from braid.common.progress_lines import progress
    from braid.common.random import rng, seed_for
    from braid.common.runs import runs_that_fit
    from braid.common.tables import read_table, write_table
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "arrays": ("ArrayFiles", "read_array", "write_array"),
            "errors": ("BraidError", "InputError"),
            "files": (
                "atomic_folder",
                "atomic_path",
                "current_umask",
                "read_json",
                "sha256_of",
                "write_json",
                "write_text",
            ),
            "intervals": ("t_interval",),
            "job": ("end_job", "job_log"),
            "origin": ("provenance",),
            "progress_lines": ("progress",),
            "random": ("rng", "seed_for"),
            "runs": ("runs_that_fit",),
            "tables": ("read_table", "write_table"),
        },
    )

__all__ = [
    "ArrayFiles",
    "BraidError",
    "InputError",
    "atomic_folder",
    "atomic_path",
    "current_umask",
    "end_job",
    "job_log",
    "lazy_names",
    "progress",
    "provenance",
    "read_array",
    "read_json",
    "read_table",
    "rng",
    "runs_that_fit",
    "seed_for",
    "sha256_of",
    "t_interval",
    "write_array",
    "write_json",
    "write_table",
    "write_text",
]
