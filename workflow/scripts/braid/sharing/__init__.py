"""Sharing: one archive of a finished study, and whether a run elsewhere gives the same numbers.

The last room: it reads what a finished run has left, as the report does, and no rule opens it.
`python -m braid share` and `python -m braid verify` are its doors on the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common.lazy import lazy_names

if TYPE_CHECKING:
    from braid.sharing.archive import share_study
    from braid.sharing.verify import Verdict, verify_archive
else:
    __getattr__ = lazy_names(
        __name__,
        {"archive": ("share_study",), "verify": ("Verdict", "verify_archive")},
    )

__all__ = ["Verdict", "share_study", "verify_archive"]
