"""Words and numbers as all parts of the report write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from braid.bids.surfaces import is_surface
from braid.config import UNTRAINED

NOUN = {"ieeg": "electrode", "bold": "voxel", "parcels": "parcel"}
"""What a site is called, by kind of recording."""

_PLURALS = {"vertex": "vertices"}

KIND = {"ieeg": "intracranial EEG", "bold": "BOLD", "parcels": "parcel time series"}
"""What a kind of recording is called."""

_SUPERSCRIPTS = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")

LONGEST_LAYER = 16
"""Characters of a layer's name that figures and tables show; of a longer one both ends."""


def is_untrained(model: str) -> bool:
    """Tell whether a model's name is that of an untrained twin."""
    return model.endswith(UNTRAINED)


def with_twins(models: Sequence[str]) -> list[str]:
    """Order models so that an untrained twin follows its model."""
    twins = [model for model in models if is_untrained(model)]
    ordered = []
    for model in models:
        if model not in twins:
            ordered += [model, *(twin for twin in twins if twin == f"{model}{UNTRAINED}")]
    return ordered + [twin for twin in twins if twin not in ordered]


def surface_of(dataset: Mapping[str, Any]) -> str | None:
    """Surface on which the series of a data set of the config lie (`space` entity), else None."""
    space = (dataset.get("derivative") or {}).get("space")
    return str(space) if dataset["kind"] == "bold" and is_surface(space) else None


def noun_of(dataset: Mapping[str, Any]) -> str:
    """Name a site of a data set of the config: electrode, voxel, vertex or parcel."""
    if (dataset.get("preprocess") or {}).get("average"):
        return "parcel"
    return "vertex" if surface_of(dataset) else NOUN[dataset["kind"]]


def several(noun: str) -> str:
    """Plural of a noun, the last word of which may be irregular."""
    first, gap, last = noun.rpartition(" ")
    return f"{first}{gap}{_PLURALS.get(last, last + 's')}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Write a count with its noun: `1 site`, `12 sites`."""
    return f"{count:,} {noun if count == 1 else nouns or several(noun)}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Write names as a sentence does: `a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def capital(text: str) -> str:
    """Begin a text with a capital letter and leave the rest as it is."""
    return text[:1].upper() + text[1:]


def spread(values: Iterable[float]) -> str:
    """Smallest and largest of the finite values, once if they are equal; `n/a` without any."""
    known = np.asarray(list(values), float)
    known = known[np.isfinite(known)]
    if not known.size:
        return "n/a"
    low, high = (f"{value:,.10g}" for value in (known.min(), known.max()))
    return low if low == high else f"{low} to {high}"


def number(value: Any, digits: int = 3) -> str:
    """Write a number for a table; what is missing is `n/a`, text stays text."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "n/a"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int | np.integer) and abs(int(value)) < 10**12:
        return f"{int(value):,}"
    size = abs(float(value))
    if size and (size < 10**-digits or size >= 1e5):
        return f"{value:.2g}"
    return f"{value:.{digits}f}"


def score(value: float) -> str:
    """Write a correlation with three decimals."""
    return f"{value:.3f}" if np.isfinite(value) else "n/a"


def percent(share: float) -> str:
    """Write a share as a percentage without decimals; one above 0 is never written as 0."""
    if not np.isfinite(share):
        return "n/a"
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def p_value(p: float) -> str:
    """Write a p value with two significant digits."""
    return f"p = {p:.2g}" if np.isfinite(p) else "p undefined"


def power(exponent: float) -> str:
    """Write a power of ten as print does."""
    return "10" + f"{exponent:g}".translate(_SUPERSCRIPTS)


def counted(count: int, total: int, noun: str) -> str:
    """Write a part of a whole: `17 of 120 electrodes (14 %)`."""
    share = percent(count / total) if total else "n/a"
    return f"{count:,} of {plural(total, noun)} ({share})"


def tested_how(test: Mapping[str, Any]) -> str:
    """Say in one clause how the sites of an analysis were tested, from its entry `test`."""
    kind = str((test.get("nulls") or ["permutation"])[0]).replace("_", "-")
    return (
        f"{kind} permutation test with {test.get('n', 'n/a')} refitted draws, "
        f"false discovery rate q at most {test.get('fdr', 0.05):g} over the sites of each subject"
    )


def score_meaning(noun: str) -> str:
    """Say in one clause what the score of a site is, by what a site is called."""
    if noun == NOUN["ieeg"]:
        return "held-out Pearson r of an electrode's best window"
    return f"held-out Pearson r of a {noun}"


def null_meanings(test: Mapping[str, Any]) -> dict[str, str]:
    """Say what each kind of null does to the responses."""
    return {
        "circular_shift": "circular shifts of the responses within runs by at least "
        f"{test.get('min_shift', 20):g} s (and never less than the delays' span plus ten samples)",
        "block": f"permutations of blocks of {test.get('block', 20):g} s within runs",
        "image": "permutations in which all presentations of a stimulus move together",
        "shuffle": "permutations of single samples, which ignore autocorrelation and are shown for "
        "comparison only",
    }


def penalties_of_draws(test: Mapping[str, Any]) -> str:
    """Say which penalties the refitted models of a null have."""
    return {
        "fixed": "with the penalties of the observed fit",
        "reselect": "with penalties chosen anew",
        "hybrid": "with the penalties of the observed fit, and widened by the ratio of standard "
        "deviations that choosing penalties anew makes in the first 50 draws",
    }[test.get("alpha", "fixed")]


def short_layers(layers: Sequence[str]) -> list[str]:
    """Shorten layers' names to what tells them apart: the parts around their numbers."""
    # a combination joins its members' layers as `member:layer+member:layer`
    words = ("transformer", "resblocks", "encoder", "layers", "layer", "blocks", "model")
    short = []
    for layer in layers:
        members = [member.rpartition(":")[2].split(".") for member in layer.split("+")]
        kept = [".".join(part for part in parts if part not in words) for parts in members]
        short.append("+".join(kept) if all(kept) else layer)
    if len(set(short)) < len(layers):
        short = list(layers)
    half = LONGEST_LAYER // 2
    return [
        name if len(name) <= LONGEST_LAYER else name[: half - 1] + "…" + name[-half:]
        for name in short
    ]
