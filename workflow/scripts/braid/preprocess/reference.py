"""Re-referencing of iEEG: which recorded channels make each new one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from braid.common import InputError


@dataclass(frozen=True)
class Derivation:
    """New channels as weighted sums of recorded ones.

    Attributes
    ----------
    weights : dict of str to dict of str to float
        New channel -> recorded channel -> weight.
    average : bool
        Whether the mean of all good channels is subtracted as well.
    lost : list of (channel, reason, detail)
        Good channels that the scheme cannot use.
    """

    weights: dict[str, dict[str, float]]
    average: bool = False
    lost: list[tuple[str, str, str]] = field(default_factory=list)


def derive(names: Sequence[str], scheme: str) -> Derivation:
    """Plan a re-referencing scheme.

    Parameters
    ----------
    names : sequence of str
        Good channels.
    scheme : {"none", "average", "bipolar", "laplacian"}
        `average`: minus the mean of all good channels. `bipolar`: differences of contacts whose
        numbers on the same shaft differ by one. `laplacian`: a contact minus the mean of its two
        neighbours on the shaft; a contact without both is lost. Shafts are told by names: letters
        then a number (`LA3`). On grids, rows of contacts run into one another by number: use
        `average` there.

    Raises
    ------
    InputError
        If no channel is left.
    """
    if scheme in ("none", "average"):
        return Derivation({name: {name: 1.0} for name in names}, average=scheme == "average")
    shafts = _shafts(names)
    plan = _bipolar(shafts) if scheme == "bipolar" else _laplacian(shafts)
    used = {name for parts in plan.values() for name in parts}
    if scheme == "laplacian":
        used = set(plan)
    lost = [
        (name, "no shaft neighbour", f"needed by the {scheme} reference")
        for name in names
        if name not in used
    ]
    if not plan:
        raise InputError(
            f"preprocess.reference: none of the {len(names)} good channels has the neighbours on "
            f"its shaft that the {scheme} reference needs; use `average` or `none`"
        )
    return Derivation(plan, lost=lost)


def _shafts(names: Sequence[str]) -> dict[str, dict[int, str]]:
    """Contacts by shaft and number."""
    shafts: dict[str, dict[int, str]] = {}
    for name in names:
        match = re.fullmatch(r"(.*?)(\d+)", name)
        if match:
            shafts.setdefault(match[1], {})[int(match[2])] = name
    return shafts


def _bipolar(shafts: Mapping[str, Mapping[int, str]]) -> dict[str, dict[str, float]]:
    """Differences of neighbours."""
    return {
        f"{contacts[number]}-{contacts[number + 1]}": {
            contacts[number]: 1.0,
            contacts[number + 1]: -1.0,
        }
        for contacts in shafts.values()
        for number in sorted(contacts)
        if number + 1 in contacts
    }


def _laplacian(shafts: Mapping[str, Mapping[int, str]]) -> dict[str, dict[str, float]]:
    """Contacts minus the mean of both neighbours."""
    return {
        contacts[number]: {
            contacts[number]: 1.0,
            contacts[number - 1]: -0.5,
            contacts[number + 1]: -0.5,
        }
        for contacts in shafts.values()
        for number in sorted(contacts)
        if number - 1 in contacts and number + 1 in contacts
    }


def place(
    derivation: Derivation, names: Sequence[str], xyz: np.ndarray, regions: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Coordinates and regions of new channels.

    A bipolar channel lies midway between its contacts; where these lie in different regions its
    region is both, joined by a slash. Any other channel lies where its contact does.
    """
    row = {name: position for position, name in enumerate(names)}
    new_xyz = np.full((len(derivation.weights), 3), np.nan)
    new_regions = []
    for position, (new, parts) in enumerate(derivation.weights.items()):
        contacts = [new] if new in parts else list(parts)
        places = [row[contact] for contact in contacts]
        new_xyz[position] = xyz[places].mean(axis=0)
        new_regions.append("/".join(dict.fromkeys(regions[place] for place in places)))
    return new_xyz, new_regions
