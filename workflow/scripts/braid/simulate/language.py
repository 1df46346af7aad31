"""What is said: a small grammar, sentences with several words for one meaning, and their timing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

ARTICLES = ("a", "the", "one", "this")
NOUNS = ("thing", "object", "figure", "item")  # where the shape is not said
VERBS = ("moves", "glides", "drifts", "travels")
OPENERS = ("now", "look", "here", "then")
LINKS = ("and", "is", "that", "or")


@dataclass(frozen=True)
class Word:
    """A word, and the attribute value that it means, if any."""

    text: str
    attribute: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class Grammar:
    """The narrator's words: attribute -> value -> words that mean it."""

    meanings: Mapping[str, Mapping[str, Sequence[str]]]

    def vocabulary(self) -> list[str]:
        """List all words that the narrator knows, in a fixed order."""
        words = [*ARTICLES, *NOUNS, *VERBS, *OPENERS, *LINKS]
        for values in self.meanings.values():
            for synonyms in values.values():
                words.extend(synonyms)
        return words

    def sentence(
        self, said: Mapping[str, str], generator: np.random.Generator, repeat: float = 0.0
    ) -> list[Word]:
        """Put attribute values into words.

        The order of the attributes varies between sentences, and any word for a value may be
        used.

        Parameters
        ----------
        said : mapping of str to str
            Attribute (shape, colour, size, motion) to value; attributes may be absent.
        generator : numpy.random.Generator
        repeat : float
            Probability that an attribute is said again at once in another word, "red or crimson".

        Returns
        -------
        list of Word
        """
        told = {name: self._tell(name, value, generator, repeat) for name, value in said.items()}
        adjectives = [told[name] for name in ("size", "colour") if name in told]
        if len(adjectives) == 2 and generator.random() < 0.5:
            adjectives.reverse()
        noun = told.get("shape") or [_any(NOUNS, generator)]
        verb, where = _any(VERBS, generator), told.get("motion", [])
        article = _any(ARTICLES, generator)
        plain = [word for adjective in adjectives for word in adjective]
        linked = _joined(adjectives) if adjectives else []
        form = int(generator.integers(4)) if adjectives else int(generator.integers(2))
        if form == 0:
            words = [article, *plain, *noun, verb, *where]
        elif form == 1:
            words = [*where, verb, article, *plain, *noun]
        elif form == 2:
            words = [article, *noun, Word("that"), verb, *where, Word("is"), *linked]
        else:
            words = [article, *noun, Word("that"), Word("is"), *linked, verb, *where]
        if generator.random() < 0.4:
            words.insert(0, _any(OPENERS, generator))
        return words

    def _tell(
        self, name: str, value: str, generator: np.random.Generator, repeat: float
    ) -> list[Word]:
        """Say one value, sometimes twice."""
        synonyms = self.meanings[name][value]
        twice = len(synonyms) > 1 and generator.random() < repeat
        chosen = generator.choice(len(synonyms), size=1 + twice, replace=False)
        words = [Word(synonyms[index], name, value) for index in chosen]
        return [words[0], Word("or"), words[1]] if twice else words


def _any(words: Sequence[str], generator: np.random.Generator) -> Word:
    """Choose a word at random."""
    return Word(words[int(generator.integers(len(words)))])


def _joined(adjectives: Sequence[list[Word]]) -> list[Word]:
    """Link two adjectives by "and"."""
    return [*adjectives[0], *([Word("and"), *adjectives[1]] if len(adjectives) == 2 else [])]


def text_of(words: Sequence[Word]) -> str:
    """Join words by single spaces."""
    return " ".join(word.text for word in words)


def draw_said(
    values: Mapping[str, str], mention: float, generator: np.random.Generator
) -> dict[str, str]:
    """Choose what a sentence says: each attribute with probability `mention`, at least two."""
    names = list(values)
    while True:
        chosen = [name for name in names if generator.random() < mention]
        if len(chosen) >= min(2, len(names)):
            return {name: values[name] for name in chosen}


def draw_durations(
    words: Sequence[Word], words_per_second: float, generator: np.random.Generator
) -> np.ndarray:
    """Draw how long each word takes, s, float64 (n_words,): longer words take longer.

    The expected mean over many words is about `1 / words_per_second`.
    """
    letters = np.array([len(word.text) for word in words], dtype=float)
    relative = 0.5 + 0.1 * letters  # 1 for a word of five letters
    return relative * generator.uniform(0.85, 1.15, size=len(words)) / words_per_second
