"""Probe: what a vision-language network does with the pairing of pictures and text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.probe.matching import load_matcher
    from braid.probe.pairing import PROBES_COLUMNS, pairing_of, probe_pairing
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "matching": ("load_matcher",),
            "pairing": ("PROBES_COLUMNS", "pairing_of", "probe_pairing"),
        },
    )

__all__ = [
    "PROBES_COLUMNS",
    "load_matcher",
    "pairing_of",
    "probe_pairing",
]
