"""What the sections of a world description say about the recordings to make."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from braid.common import InputError

KINDS = ("vision", "language", "sum", "joint", "silent")
DRIVEN = KINDS[:-1]
CROSSMODAL = ("vision", "language", "shared", "inverted")
"""Kinds of driven voxels in the section `crossmodal`."""
EVENTS = ("word", "scene_cut")

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Recordings:
    """What both kinds of recording have in common.

    Attributes
    ----------
    subjects : tuple of str
        Subject labels, without `sub-`.
    lead, tail : tuple of float
        Recorded time before a stimulus starts and after it ends, s: the range that the time of
        each run is drawn from.
    snr : tuple of float
        Lowest and highest planted signal-to-noise ratio (variances) of driven sites; values are
        spread evenly over its logarithm.
    latency : tuple of float
        Range of the time to the peak of the response, s: after the onset of an event (iEEG), or
        of the haemodynamic response (BOLD).
    """

    subjects: tuple[str, ...]
    lead: Range
    tail: Range
    snr: Range
    latency: Range


@dataclasses.dataclass(frozen=True)
class IeegSettings(Recordings):
    """Section `ieeg`.

    Attributes
    ----------
    film : str
        Name of the film that every subject watches.
    sampling_frequency : float
        Hz.
    contacts_per_shaft : int
        Contacts on each depth electrode.
    patch : int
        Neighbouring contacts that see one source.
    responds_to : tuple of str
        Events of the film that evoke responses: `word`, and `scene_cut` or not.
    kernel_width : float
        Width (standard deviation) of the response to one event, s.
    noise_sd : float
        Standard deviation of a contact's own background activity, microvolt.
    shared_sd : float
        Standard deviation of the background that all contacts share, microvolt.
    line : float
        Amplitude of the 50 Hz line noise, microvolt; its 100 Hz harmonic has 0.4 of it.
    drift : float
        Amplitude of the slow drift, microvolt.
    """

    film: str
    sampling_frequency: float
    contacts_per_shaft: int
    patch: int
    responds_to: tuple[str, ...]
    kernel_width: float
    noise_sd: float
    shared_sd: float
    line: float
    drift: float


@dataclasses.dataclass(frozen=True)
class BoldSettings(Recordings):
    """Section `bold`.

    Attributes
    ----------
    films, stories : tuple of str
        Names of the films and stories that every subject sees and hears, one run each.
    repetition_time : float
        s.
    shape : tuple of int
        Voxels along the three axes.
    voxel_size : float
        Edge of a voxel, mm.
    radii : tuple of float
        Semi-axes of the ellipsoid brain, mm.
    driven : tuple of (str, int)
        Number of voxels of each driven kind.
    baseline : float
        Mean image intensity in the brain.
    noise : float
        Standard deviation of a voxel's noise, share of the baseline.
    autocorrelation : float
        Coefficient of that noise's AR(1) process.
    drift : float
        Amplitude of the slow drift, share of the baseline.
    motion : float
        Size of the slow head translation, mm (standard deviation).
    spikes : int
        Sudden, brief head movements per run.
    """

    films: tuple[str, ...]
    stories: tuple[str, ...]
    repetition_time: float
    shape: tuple[int, int, int]
    voxel_size: float
    radii: tuple[float, float, float]
    driven: tuple[tuple[str, int], ...]
    baseline: float
    noise: float
    autocorrelation: float
    drift: float
    motion: float
    spikes: int


@dataclasses.dataclass(frozen=True)
class CrossmodalSettings(BoldSettings):
    """Section `crossmodal`: BOLD of people who see films without narration, and hear stories.

    Attributes
    ----------
    dimensions : tuple of (str, tuple of (str, float))
        What voxels that both senses drive tell apart, of most variance first: an attribute, and
        the place of its values on the dimension.
    repeated : str
        Name of a further film, which everybody sees several times.
    repeats : int
        How many times, one run each; 0 for never.
    """

    dimensions: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    repeated: str
    repeats: int


Settings = TypeVar("Settings", IeegSettings, BoldSettings, CrossmodalSettings)


def read_settings(
    spec: Mapping[str, Any],
) -> tuple[IeegSettings | None, BoldSettings | None, CrossmodalSettings | None]:
    """Check and read the sections `ieeg`, `bold` and `crossmodal` of a world description.

    Parameters
    ----------
    spec : mapping
        World description; any section may be left out, not all.

    Returns
    -------
    tuple
        Settings of the three kinds of recordings, None for a section left out.

    Raises
    ------
    InputError
        A key is missing, unknown or has a value that cannot be.
    """
    if not any(spec.get(section) for section in ("ieeg", "bold", "crossmodal")):
        raise InputError(
            "world description: neither 'ieeg' nor 'bold' nor 'crossmodal' is there; add at least "
            "one of them"
        )
    ieeg = _section(spec, "ieeg", IeegSettings)
    bold = _section(spec, "bold", BoldSettings)
    crossmodal = _section(spec, "crossmodal", CrossmodalSettings)
    if ieeg is not None:
        _check_ieeg(ieeg)
    if bold is not None:
        _check_bold("bold", bold, DRIVEN)
    if crossmodal is not None:
        _check_bold("crossmodal", crossmodal, CROSSMODAL)
        _check_dimensions(crossmodal, spec["attributes"])
        _check_repeated(crossmodal)
        both = set(crossmodal.subjects) & set(bold.subjects if bold else ())
        if both:
            raise InputError(
                f"world description: 'crossmodal.subjects' names {min(both)}, who is one of "
                "'bold.subjects' too; give others"
            )
        if bold and bold.repetition_time != crossmodal.repetition_time:
            raise InputError(
                "world description: 'crossmodal.repetition_time' must be that of 'bold', with "
                "which it shares the task 'story'"
            )
    return ieeg, bold, crossmodal


def check_stimuli(
    ieeg: IeegSettings | None,
    bold: Mapping[str, BoldSettings],
    films: Collection[str],
    stories: Collection[str],
) -> None:
    """Check that the world has what is to be shown.

    Parameters
    ----------
    ieeg : settings or None
    bold : mapping of str to settings
        By section.
    films, stories : collection of str
        Names of the world's films and stories.

    Raises
    ------
    InputError
        Names the key, the absent film or story, and those there are.
    """
    wanted = [] if ieeg is None else [("ieeg.film", ieeg.film, films)]
    for section, settings in bold.items():
        wanted += [(f"{section}.films", name, films) for name in settings.films]
        wanted += [(f"{section}.stories", name, stories) for name in settings.stories]
        if isinstance(settings, CrossmodalSettings) and settings.repeats:
            wanted.append((f"{section}.repeated", settings.repeated, films))
    for key, name, there in wanted:
        if name not in there:
            raise InputError(
                f"world description: '{key}' names '{name}', which the world lacks; "
                f"use {', '.join(there)}"
            )


def _section(spec: Mapping[str, Any], section: str, settings: type[Settings]) -> Settings | None:
    """Read one section; unknown and missing keys are errors."""
    given = spec.get(section)
    if not given:
        return None
    names = [field.name for field in dataclasses.fields(settings)]
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)
            raise InputError(
                f"world description: '{section}.{key}' is not a key; did you mean '{near[0]}'?"
            )
    for field in dataclasses.fields(settings):
        if field.name not in given:
            raise InputError(f"world description: '{section}.{field.name}' is missing; add it")
        _check_type(f"{section}.{field.name}", str(field.type), given[field.name])
    values = settings(**{name: _frozen(given[name]) for name in names})
    _check_common(section, values)
    return values


def _check_type(key: str, wanted: str, value: Any) -> None:
    """Refuse a value of another type than the attribute of the settings has."""
    if wanted == "str":
        fits, words = isinstance(value, str), "text"
    elif wanted == "tuple[str, ...]":
        fits, words = _all(value, str), "a list of texts, in quotes where they are numbers"
    elif wanted == "float":
        fits, words = _all([value], int, float), "a number"
    elif wanted == "int":
        fits, words = _all([value], int), "a whole number"
    elif wanted == "tuple[tuple[str, int], ...]":
        fits, words = isinstance(value, Mapping) and _all([*value.values()], int), "whole numbers"
    elif wanted == "tuple[tuple[str, tuple[tuple[str, float], ...]], ...]":
        fits, words = _all(value, Mapping), "a list of attributes with numbers by value"
        fits = fits and all(
            isinstance(one, Mapping) and _all([*one.values()], int, float)
            for part in value
            for one in part.values()
        )
    else:
        fits, words = _all(value, int, float), "a list of numbers"
    if not fits:
        raise InputError(f"world description: '{key}' is {value!r}; give {words}")


def _all(values: Any, *types: type) -> bool:
    """Whether this is a list of values of these types; booleans are no numbers."""
    return isinstance(values, list | tuple) and all(
        isinstance(value, types) and not isinstance(value, bool) for value in values
    )


def _frozen(value: Any) -> Any:
    """Immutable form of a value read from YAML."""
    if isinstance(value, Mapping):
        return tuple((str(name), _frozen(one)) for name, one in value.items())
    if isinstance(value, list) and _all(value, Mapping):
        return tuple(pair for one in value for pair in _frozen(one))
    return tuple(value) if isinstance(value, list) else value


def _check_common(section: str, values: Recordings) -> None:
    """Refuse what no recording can have."""
    if not values.subjects or not all(label.isalnum() for label in values.subjects):
        raise InputError(
            f"world description: '{section}.subjects' must list labels of letters and digits only"
        )
    if len(set(values.subjects)) < len(values.subjects):
        raise InputError(f"world description: '{section}.subjects' names a subject twice")
    for name in ("lead", "tail", "snr", "latency"):
        _check_range(section, name, getattr(values, name))


def _check_ieeg(values: IeegSettings) -> None:
    """Refuse what no iEEG recording can have."""
    _check_positive("ieeg", values, "sampling_frequency", "kernel_width", "noise_sd")
    if not 2 <= values.patch < values.contacts_per_shaft:
        raise InputError(
            "world description: 'ieeg.patch' must be at least 2 and below "
            "'ieeg.contacts_per_shaft', so that a shaft also has contacts outside its patch"
        )
    wrong = [name for name in values.responds_to if name not in EVENTS]
    if wrong or "word" not in values.responds_to:
        raise InputError(
            f"world description: 'ieeg.responds_to' is {list(values.responds_to)}; give [word] or "
            "[word, scene_cut]"
        )


def _check_bold(section: str, values: BoldSettings, driven: Sequence[str]) -> None:
    """Refuse what no BOLD recording can have."""
    where = f"world description: '{section}."
    _check_positive(section, values, "repetition_time", "voxel_size", "baseline", "noise")
    if len(values.shape) != 3 or len(values.radii) != 3:
        raise InputError(f"{where}shape' and '{section}.radii' need three numbers")
    if not values.films:
        raise InputError(f"{where}films' is empty; name at least one film")
    if not 0 <= values.autocorrelation < 1:
        raise InputError(f"{where}autocorrelation' must lie in [0, 1)")
    if sorted(dict(values.driven)) != sorted(driven):
        raise InputError(f"{where}driven' needs one number for each of {', '.join(driven)}")
    if min(dict(values.driven).values()) < 1:
        raise InputError(f"{where}driven' needs numbers above zero")


def _check_dimensions(
    values: CrossmodalSettings, attributes: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse shared dimensions of values that there are not, and stories that there are none of."""
    if not values.stories:
        raise InputError("world description: 'crossmodal.stories' is empty; name at least one")
    if not values.dimensions:
        raise InputError("world description: 'crossmodal.dimensions' is empty; give at least one")
    for attribute, places in values.dimensions:
        for value, _ in places:
            if value not in attributes.get(attribute, {}):
                raise InputError(
                    f"world description: 'crossmodal.dimensions' names {attribute}: {value}, which "
                    "is not among the attributes"
                )
        if len({place for _, place in places}) < 2:
            raise InputError(
                f"world description: 'crossmodal.dimensions' puts all values of {attribute} at one "
                "place; a dimension has two ends"
            )


def _check_repeated(values: CrossmodalSettings) -> None:
    """Refuse repeats that are none, and a film that is shown by itself too."""
    if values.repeats < 0 or values.repeats == 1:
        raise InputError(
            f"world description: 'crossmodal.repeats' is {values.repeats}; give 2 or more, or 0"
        )
    if values.repeats and values.repeated in values.films:
        raise InputError(
            f"world description: 'crossmodal.repeated' names {values.repeated}, which is one of "
            "'crossmodal.films' too; give another film"
        )


def _check_range(section: str, name: str, values: Sequence[float]) -> None:
    """Refuse anything but two positive numbers in order."""
    if len(values) != 2 or not 0 < values[0] <= values[1]:
        raise InputError(
            f"world description: '{section}.{name}' must be two positive numbers, lowest first"
        )


def _check_positive(section: str, values: Recordings, *names: str) -> None:
    """Refuse numbers that are not above zero."""
    for name in names:
        if not getattr(values, name) > 0:
            raise InputError(f"world description: '{section}.{name}' must be above zero")
