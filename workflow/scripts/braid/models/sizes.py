"""Sizes of the networks whose modules are ours, from an entry's key `architecture`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from braid.common import InputError
from braid.models.registry import nearest

Sizes = TypeVar("Sizes")


def sizes_of(name: str, entry: Mapping[str, Any], published: Mapping[str, Sizes]) -> Sizes:
    """Look a network's sizes up, or make them from a mapping.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    entry : mapping
        `architecture` is one of the published names, or a mapping of sizes; what the mapping
        leaves out is as in the sizes' class.
    published : mapping of str to dataclass
        The sizes of the published networks, by name.

    Raises
    ------
    InputError
        If the key is missing, the name is unknown, or a size is unknown or no whole number.
    """
    wanted = entry.get("architecture")
    if wanted is None:
        raise InputError(
            f"model '{name}': key 'architecture' is missing (one of: {', '.join(published)})"
        )
    if not isinstance(wanted, Mapping):
        if wanted not in published:
            raise InputError(
                f"model '{name}': architecture '{wanted}' is unknown"
                f"{nearest(str(wanted), list(published))}"
            )
        return published[str(wanted)]
    kind = type(next(iter(published.values())))
    known = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    for key, value in wanted.items():
        if key not in known:
            raise InputError(
                f"model '{name}': unknown size '{key}' in 'architecture'{nearest(key, list(known))}"
            )
        if type(value) is not type(known[key]):
            raise InputError(
                f"model '{name}': size '{key}' in 'architecture' must be of type "
                f"{type(known[key]).__name__}, not {value!r}"
            )
    return kind(**wanted)
