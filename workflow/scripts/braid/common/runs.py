"""Runs chosen by the BIDS entities in their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHORT = {"session": "ses", "acquisition": "acq"}


def runs_that_fit(labels: Sequence[str], filters: Sequence[Mapping[str, Any]]) -> list[str]:
    """Find the runs whose label fits one of some filters, in the order of the labels.

    Parameters
    ----------
    labels : sequence of str
        Such as `ses-1_task-film_acq-test_run-02`.
    filters : sequence of mapping
        Entity to its value, or to a list of those allowed; all entities of a filter must fit. Run 1
        is run 01.
    """
    return [label for label in labels if any(_fits(label, wanted) for wanted in filters)]


def _fits(label: str, wanted: Mapping[str, Any]) -> bool:
    """Whether a run's label has all the entities wanted."""
    entities = dict(part.split("-", 1) for part in label.split("_") if "-" in part)
    for entity, values in wanted.items():
        allowed = values if isinstance(values, list | tuple) else [values]
        have = entities.get(_SHORT.get(entity, entity))
        if have is None or not any(_same(have, str(value)) for value in allowed):
            return False
    return True


def _same(have: str, wanted: str) -> bool:
    """Whether two entity values are equal; run 1 is run 01."""
    return have == wanted or (have.isdigit() and wanted.isdigit() and int(have) == int(wanted))
