"""Checks of the world's description (`resources/world.yaml`)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from braid.common import InputError
from braid.simulate.scenes import COLOURS, MOTIONS, SHAPES, SIZES

#: Values that the renderer can draw, per attribute.
VALUES: dict[str, tuple[str, ...]] = {
    "shape": tuple(SHAPES),
    "colour": tuple(COLOURS),
    "size": tuple(SIZES),
    "motion": tuple(MOTIONS),
}

#: Claims after which the share that agrees is exact again; divides common shares.
ROUND = 4

_KEYS: dict[str, tuple[str, ...]] = {
    "picture": ("size", "distractors"),
    "film": ("frame_rate", "scene", "films"),
    "story": ("stories", "repeat"),
    "narrator": ("words_per_second", "pause", "mention", "agreement"),
    "latents": ("rate",),
    "attributes": tuple(VALUES),
}


def check_spec(spec: Mapping[str, Any], source: str = "world.yaml") -> None:
    """Check the sections of a world description that make the world.

    Sections of other readers (`ieeg`, `bold`, `toys`) are left to them.

    Parameters
    ----------
    spec : mapping
        The parsed description.
    source : str
        Name of the file, for messages.

    Raises
    ------
    InputError
        Names the first missing, unknown or impossible key.
    """
    for section, keys in _KEYS.items():
        if not isinstance(spec.get(section), Mapping):
            raise InputError(f"{source}: section '{section}' is missing; add it")
        for key in keys:
            if key not in spec[section]:
                raise InputError(f"{source}: key '{section}.{key}' is missing; add it")
        for key in spec[section]:
            if key not in keys:
                raise InputError(f"{source}: unknown key '{section}.{key}'{_nearest(key, keys)}")
    _check_numbers(spec, source)
    _check_words(spec["attributes"], source)


def usual_sentence(spec: Mapping[str, Any]) -> float:
    """Duration that few sentences exceed, with the pauses around them, in s."""
    narrator = spec["narrator"]
    return 9 / narrator["words_per_second"] + 2 * narrator["pause"][1]


def _nearest(key: str, keys: tuple[str, ...]) -> str:
    """Suggest the valid key that looks most like `key`."""
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.0)
    return f"; did you mean '{close[0]}'?" if close else ""


def _check_numbers(spec: Mapping[str, Any], source: str) -> None:
    film, narrator = spec["film"], spec["narrator"]
    positive = {
        "film.frame_rate": film["frame_rate"],
        "narrator.words_per_second": narrator["words_per_second"],
        "latents.rate": spec["latents"]["rate"],
        # a sentence that never mentions anything would be drawn for ever
        "narrator.mention": narrator["mention"],
    }
    for key, value in positive.items():
        if not value > 0:
            raise InputError(f"{source}: {key} is {value}; give a number above zero")
    probabilities = {
        "narrator.mention": narrator["mention"],
        "narrator.agreement": narrator["agreement"],
        "story.repeat": spec["story"]["repeat"],
    }
    for key, value in probabilities.items():
        if not 0 <= value <= 1:
            raise InputError(f"{source}: {key} is {value}; give a probability from 0 to 1")
    if narrator["agreement"] * ROUND % 1:
        raise InputError(
            f"{source}: narrator.agreement is {narrator['agreement']}; give a multiple of "
            f"{1 / ROUND:g}, since it is kept exactly over every {ROUND} claims"
        )
    if spec["picture"]["size"] < 16 or spec["picture"]["size"] % 2:
        raise InputError(
            f"{source}: picture.size is {spec['picture']['size']}; give an even number of at least "
            "16 pixels (the video codec needs even sides)"
        )
    _check_durations(spec, source)


def _check_durations(spec: Mapping[str, Any], source: str) -> None:
    low, high = spec["film"]["scene"]
    if not 0 < low < high:
        raise InputError(
            f"{source}: film.scene is {[low, high]}; give two durations in s, shortest first"
        )
    if high < usual_sentence(spec):
        raise InputError(
            f"{source}: film.scene ends at {high} s, too short for a sentence; give at least "
            f"{usual_sentence(spec):.1f} s, or a faster narrator"
        )
    for section, name in (("film", "films"), ("story", "stories")):
        for item, duration in spec[section][name].items():
            if duration < 4 * high:
                raise InputError(
                    f"{source}: {section}.{name}.{item} lasts {duration} s; give at least four "
                    f"times the longest scene ({4 * high:g} s)"
                )


def _check_words(attributes: Mapping[str, Any], source: str) -> None:
    seen: dict[str, str] = {}
    for attribute, values in attributes.items():
        if len(values) < 2:
            raise InputError(
                f"{source}: attributes.{attribute} has {len(values)} value; give at least two"
            )
        for value, words in values.items():
            place = f"attributes.{attribute}.{value}"
            if value not in VALUES[attribute]:
                raise InputError(
                    f"{source}: {place} cannot be drawn; the values of {attribute} are "
                    f"{', '.join(VALUES[attribute])}"
                )
            if not words:
                raise InputError(f"{source}: {place} has no words; give at least one")
            for word in words:
                if word != word.lower() or not word.isalpha():
                    raise InputError(
                        f"{source}: {place} has the word '{word}'; use one lower-case word"
                    )
                if word in seen:
                    raise InputError(
                        f"{source}: the word '{word}' stands under {seen[word]} and {place}; "
                        "keep it in one place"
                    )
                seen[word] = place
