"""Small helpers that every room shares: errors, files, randomness, progress, provenance, schemas."""

from braid.common.errors import BraidError, InputError
from braid.common.io import (
    atomic_path,
    read_array,
    read_json,
    read_table,
    sha256_of,
    write_array,
    write_json,
    write_table,
    write_text,
)
from braid.common.progress import progress
from braid.common.provenance import provenance
from braid.common.random import rng, seed_for

__all__ = [
    "BraidError",
    "InputError",
    "atomic_path",
    "progress",
    "provenance",
    "read_array",
    "read_json",
    "read_table",
    "rng",
    "seed_for",
    "sha256_of",
    "write_array",
    "write_json",
    "write_table",
    "write_text",
]
