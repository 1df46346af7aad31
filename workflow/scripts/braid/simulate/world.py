"""The world: a small cinema with planted truth. Films, stories, pictures and their latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, rng, write_table
from braid.common.files import PathLike
from braid.common.video import write_frames
from braid.simulate.language import Grammar, Word, draw_durations, draw_said, text_of
from braid.simulate.latents import film_latents, story_latents
from braid.simulate.scenes import Scene, draw_look, make_scene, render
from braid.simulate.spec import ROUND, check_spec, usual_sentence


@dataclass(frozen=True)
class Stimulus:
    """A film or a story, with all that is true of it."""

    name: str
    """`cinema`, `film-1`, `story-1`, ..."""
    kind: str
    """film | story."""
    duration: float
    """s."""
    path: str
    """File relative to the BIDS root: a film's video, a story's transcript."""
    words: pd.DataFrame
    """In order: `onset` and `duration` (s), `text`, `sentence` (int), `sentence_text`."""
    cuts: np.ndarray
    """Times of scene cuts, s, the film's start not counted; empty for stories."""
    latents: xr.Dataset
    """On `time` (s): `vision`, `language` and `joint`; stories have only `language`."""


@dataclass(frozen=True)
class World:
    """All stimuli of a world; pictures and frames are drawn on demand from the same seed."""

    spec: Mapping[str, Any]
    seed: int
    films: dict[str, Stimulus]
    stories: dict[str, Stimulus]
    scenes: dict[str, tuple[Scene, ...]]
    grammar: Grammar


@dataclass(frozen=True)
class _Spoken:
    """A sentence with the onsets and durations of its words, s."""

    words: list[Word]
    onsets: np.ndarray
    durations: np.ndarray

    @property
    def stop(self) -> float:
        return float(self.onsets[-1] + self.durations[-1])


def make_world(spec: Mapping[str, Any], seed: int) -> World:
    """Make the films and stories of a world; nothing is rendered yet.

    Parameters
    ----------
    spec : mapping
        The parsed `resources/world.yaml`.
    seed : int
        The same seed and description give the same world.

    Returns
    -------
    World

    Raises
    ------
    InputError
        If a key of the description is missing, unknown or impossible.
    """
    check_spec(spec)
    grammar = Grammar(spec["attributes"])
    values = _values(spec)
    films: dict[str, Stimulus] = {}
    scenes: dict[str, tuple[Scene, ...]] = {}
    rate = float(spec["latents"]["rate"])
    for name, duration in spec["film"]["films"].items():
        shots, spoken = _make_film(spec, grammar, float(duration), seed, name)
        words = _meanings(spoken)
        scenes[name] = tuple(shots)
        films[name] = Stimulus(
            name=name,
            kind="film",
            duration=float(duration),
            path=f"stimuli/{name}.mp4",
            words=_transcript(words),
            cuts=np.array([shot.start for shot in shots[1:]]),
            latents=film_latents(shots, words, values, float(duration), rate),
        )
    stories: dict[str, Stimulus] = {}
    for name, duration in spec["story"]["stories"].items():
        words = _meanings(_make_story(spec, grammar, float(duration), seed, name))
        stories[name] = Stimulus(
            name=name,
            kind="story",
            duration=float(duration),
            path=f"stimuli/{name}.tsv",
            words=_transcript(words),
            cuts=np.array([]),
            latents=story_latents(words, values, float(duration), rate),
        )
    return World(spec, seed, films, stories, scenes, grammar)


def render_frame(world: World, name: str, time: float) -> np.ndarray:
    """Draw what a film shows at a time.

    Parameters
    ----------
    world : World
    name : str
        A film's name.
    time : float
        s; the frame shown then is the last one that began at or before it.

    Returns
    -------
    numpy.ndarray
        uint8, (size, size, 3).

    Raises
    ------
    InputError
        If there is no such film, or the time lies outside it.
    """
    film = _film(world, name)
    if not 0 <= time < film.duration:
        raise InputError(
            f"film '{name}' has no frame at {time:g} s; it lasts from 0 to {film.duration:g} s"
        )
    frame_rate = world.spec["film"]["frame_rate"]
    return _draw(world, name, int(np.floor(time * frame_rate + 1e-6)))


def write_video(world: World, name: str, path: PathLike) -> None:
    """Render a film to a video file (H.264 in MP4, silent), at the world's frame rate."""
    film = _film(world, name)
    frame_rate = world.spec["film"]["frame_rate"]
    count = round(film.duration * frame_rate)
    write_frames(path, (_draw(world, name, index) for index in range(count)), frame_rate)


def pictures(world: World, n: int, split: str) -> tuple[np.ndarray, list[str], pd.DataFrame]:
    """Draw captioned still pictures, all attribute values equally often in expectation.

    Parameters
    ----------
    world : World
    n : int
        Number of pictures.
    split : str
        Name of the set; another name gives other pictures.

    Returns
    -------
    images : numpy.ndarray
        uint8, (n, size, size, 3).
    captions : list of str
        One true sentence per picture, in the narrator's words.
    attributes : pandas.DataFrame
        One row per picture: `shape`, `colour`, `size`, `motion`, and the place `x`, `y` (shares
        of the side).
    """
    generator = rng(world.seed, "pictures", split)
    spec = world.spec
    size = spec["picture"]["size"]
    images = np.empty((n, size, size, 3), dtype=np.uint8)
    captions, rows = [], []
    for index in range(n):
        values = {
            name: options[int(generator.integers(len(options)))]
            for name, options in _values(spec).items()
        }
        look = draw_look(values, generator, spec["picture"]["distractors"])
        images[index] = render(look, size)
        said = draw_said(values, spec["narrator"]["mention"], generator)
        captions.append(text_of(world.grammar.sentence(said, generator)))
        rows.append({**values, "x": look.x, "y": look.y})
    return images, captions, pd.DataFrame(rows)


def write_transcript(stimulus: Stimulus, path: PathLike) -> None:
    """Write the words of a stimulus as a table with a sidecar (`.tsv`, `.json`)."""
    write_table(
        path,
        stimulus.words,
        {
            "onset": "Onset of the word from the start of the stimulus, in seconds",
            "duration": "Duration of the word, in seconds",
            "text": "The word, in lower case",
            "sentence": "Number of the sentence, from 0",
            "sentence_text": "The whole sentence",
        },
    )


def _values(spec: Mapping[str, Any]) -> dict[str, list[str]]:
    """Attribute to its values."""
    return {name: list(options) for name, options in spec["attributes"].items()}


def _film(world: World, name: str) -> Stimulus:
    if name not in world.films:
        raise InputError(f"there is no film '{name}'; the films are {', '.join(world.films)}")
    return world.films[name]


def _draw(world: World, name: str, frame: int) -> np.ndarray:
    """Draw a frame by its number."""
    time = frame / world.spec["film"]["frame_rate"]
    scenes = world.scenes[name]
    # the tolerance keeps a cut that falls on a frame at that very frame
    at = np.searchsorted([scene.start for scene in scenes], time + 1e-6, side="right") - 1
    return render(scenes[at].look_at(time), world.spec["picture"]["size"])


def _make_film(
    spec: Mapping[str, Any], grammar: Grammar, duration: float, seed: int, name: str
) -> tuple[list[Scene], list[_Spoken]]:
    """Fill a film with scenes, each with one or two sentences; the last one is silent."""
    generator = rng(seed, "film", name)
    frame_rate = spec["film"]["frame_rate"]
    shortest, longest = spec["film"]["scene"]
    shown = {name: _deck(options, generator) for name, options in _values(spec).items()}
    said = _agreements(spec, generator)
    scenes: list[Scene] = []
    spoken: list[_Spoken] = []
    start = 0.0
    while True:
        values = {attribute: next(deck) for attribute, deck in shown.items()}
        sentences, stop = _narrate_scene(spec, grammar, values, said, start, generator)
        stop = max(stop, start + shortest)
        stop = round(np.ceil(stop * frame_rate - 1e-6)) / frame_rate
        if stop + shortest > duration:
            break
        scenes.append(_scene(spec, values, start, stop, generator))
        spoken.extend(sentences)
        start = stop
    stops = [duration] if duration - start <= longest else [duration - longest / 2, duration]
    for stop in stops:
        values = {attribute: next(deck) for attribute, deck in shown.items()}
        scenes.append(_scene(spec, values, start, stop, generator))
        start = stop
    return scenes, spoken


def _scene(
    spec: Mapping[str, Any],
    values: Mapping[str, str],
    start: float,
    stop: float,
    generator: np.random.Generator,
) -> Scene:
    return make_scene(values, start, stop, generator, spec["picture"]["distractors"])


def _narrate_scene(
    spec: Mapping[str, Any],
    grammar: Grammar,
    values: Mapping[str, str],
    said: Mapping[tuple[str, str], Iterator[str]],
    start: float,
    generator: np.random.Generator,
) -> tuple[list[_Spoken], float]:
    """Say one or two sentences, as many as fit into the longest scene; also when the last ends."""
    longest, pause = spec["film"]["scene"][1], spec["narrator"]["pause"]
    wanted = 1 + int(generator.integers(2))
    sentences: list[_Spoken] = []
    now = start
    while len(sentences) < wanted:
        # do not begin what would hardly fit: claims thrown away would unbalance the decks
        if sentences and now - start > longest - usual_sentence(spec):
            break
        mentioned = draw_said(values, spec["narrator"]["mention"], generator)
        claims = {name: next(said[name, value]) for name, value in mentioned.items()}
        sentence = _speak(spec, grammar.sentence(claims, generator), now, generator)
        if sentences and sentence.stop + pause[1] > start + longest:
            break
        sentences.append(sentence)
        now = sentence.stop
    return sentences, now + generator.uniform(*pause)


def _make_story(
    spec: Mapping[str, Any], grammar: Grammar, duration: float, seed: int, name: str
) -> list[_Spoken]:
    """Fill a story with sentences about objects that nobody sees."""
    generator = rng(seed, "story", name)
    decks = {name: _deck(options, generator) for name, options in _values(spec).items()}
    spoken: list[_Spoken] = []
    now = 0.0
    while True:
        values = {attribute: next(deck) for attribute, deck in decks.items()}
        claims = draw_said(values, spec["narrator"]["mention"], generator)
        words = grammar.sentence(claims, generator, spec["story"]["repeat"])
        sentence = _speak(spec, words, now, generator)
        if sentence.stop > duration - spec["narrator"]["pause"][1]:
            return spoken
        spoken.append(sentence)
        now = sentence.stop


def _speak(
    spec: Mapping[str, Any], words: list[Word], now: float, generator: np.random.Generator
) -> _Spoken:
    """Time the words of a sentence that begins after a pause."""
    durations = draw_durations(words, spec["narrator"]["words_per_second"], generator).round(3)
    begin = now + generator.uniform(*spec["narrator"]["pause"])
    onsets = begin + np.concatenate([[0.0], np.cumsum(durations)[:-1]])
    return _Spoken(words, onsets.round(3), durations)


def _deck(options: Sequence[str], generator: np.random.Generator) -> Iterator[str]:
    """Deal values at random, each equally often over every round."""
    while True:
        for index in generator.permutation(len(options)):
            yield options[index]


def _agreements(
    spec: Mapping[str, Any], generator: np.random.Generator
) -> dict[tuple[str, str], Iterator[str]]:
    """Decks of what is said, per attribute and value shown.

    Within each attribute and value shown, what is said agrees in the wanted share of the cards,
    and disagrees by every other value equally often, so that what is shown, what is said, and
    whether they agree stay uncorrelated in a film of finite length.
    """
    share = float(spec["narrator"]["agreement"])
    decks = {}
    for name, options in _values(spec).items():
        for shown in options:
            others = [value for value in options if value != shown]
            decks[name, shown] = _agreement_deck(shown, others, share, generator)
    return decks


def _agreement_deck(
    shown: str, others: Sequence[str], share: float, generator: np.random.Generator
) -> Iterator[str]:
    """Deal what is said: the share that agrees is kept over every round of `ROUND` cards."""
    other = _deck(others, generator)
    agreeing = round(share * ROUND)
    while True:
        for card in generator.permutation(ROUND):
            yield shown if card < agreeing else next(other)


def _meanings(spoken: Sequence[_Spoken]) -> pd.DataFrame:
    """One row per word, with its meaning."""
    rows = [
        (onset, duration, word.text, number, text_of(sentence.words), word.attribute, word.value)
        for number, sentence in enumerate(spoken)
        for word, onset, duration in zip(
            sentence.words, sentence.onsets, sentence.durations, strict=True
        )
    ]
    columns = ["onset", "duration", "text", "sentence", "sentence_text", "attribute", "value"]
    return pd.DataFrame(rows, columns=columns)


def _transcript(meanings: pd.DataFrame) -> pd.DataFrame:
    """Leave out the words' meaning, which only the latents may know."""
    return meanings.drop(columns=["attribute", "value"])
