"""What the toy networks learn from: captioned pictures and narration, never the latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from braid.simulate.language import Grammar, Word, draw_said, text_of
from braid.simulate.world import World, pictures

#: Probability that narration to learn from says an attribute twice in a row (see Grammar).
_REPEAT = 0.8


@dataclass(frozen=True)
class Bank:
    """Pictures, and what each shows."""

    images: np.ndarray  # uint8 (n, H, W, 3)
    values: list[dict[str, str]]  # attribute -> value, per picture
    options: Mapping[str, list[str]]  # attribute -> all its values
    grammar: Grammar
    mention: float  # probability that a sentence mentions an attribute

    def labels(self, attribute: str) -> np.ndarray:
        """Index of each picture's value of an attribute, int64 (n,)."""
        return np.array([self.options[attribute].index(row[attribute]) for row in self.values])


def make_bank(world: World, n: int, split: str) -> Bank:
    """Draw `n` pictures to learn from, or, under another `split`, to test on."""
    images, _, attributes = pictures(world, n, split)
    options = {name: list(values) for name, values in world.spec["attributes"].items()}
    values = attributes[list(options)].to_dict("records")
    return Bank(images, values, options, world.grammar, world.spec["narrator"]["mention"])  # type: ignore[arg-type]


def cut_short(words: Sequence[Word], generator: np.random.Generator) -> list[Word]:
    """Cut a sentence after a random word, at the first that means something or later.

    At the onset of a word only the sentence so far was said; networks are asked about such
    beginnings, so they learn from them too.
    """
    first = next(index for index, word in enumerate(words) if word.attribute is not None)
    return list(words[: int(generator.integers(first, len(words))) + 1])


def draw_caption(bank: Bank, index: int, generator: np.random.Generator, whole: float) -> str:
    """Say something true of a picture: a whole sentence, or (else) its beginning."""
    words = bank.grammar.sentence(draw_said(bank.values[index], bank.mention, generator), generator)
    return text_of(words if generator.random() < whole else cut_short(words, generator))


def draw_matching(bank: Bank, index: int, generator: np.random.Generator) -> tuple[str, bool]:
    """Draw a text for image-text matching, and whether it is true of the picture.

    Half of the texts are true. The others are hard negatives: true but for one attribute
    (sometimes more), which is swapped for another value. Only attributes within the beginning
    that is used are swapped, so that the length of a text tells nothing.
    """
    values = bank.values[index]
    words = bank.grammar.sentence(draw_said(values, bank.mention, generator), generator)
    if generator.random() < 0.7:
        words = cut_short(words, generator)
    if generator.random() < 0.5:
        return text_of(words), True
    told = [word.attribute for word in words if word.attribute is not None]
    swapped = {told[int(generator.integers(len(told)))]}
    if generator.random() < 0.3:
        swapped |= {name for name in told if generator.random() < 0.5}
    return text_of([_swap(bank, word, swapped, generator) for word in words]), False


def draw_narration(bank: Bank, generator: np.random.Generator) -> str:
    """Draw a sentence of narration about some object, whole or its beginning.

    Saying the same twice, "red or crimson", is what lets a network find out which words mean the
    same.
    """
    about = {
        name: values[int(generator.integers(len(values)))] for name, values in bank.options.items()
    }
    words = bank.grammar.sentence(draw_said(about, bank.mention, generator), generator, _REPEAT)
    return text_of(cut_short(words, generator) if generator.random() < 0.3 else words)


def _swap(bank: Bank, word: Word, swapped: set[str], generator: np.random.Generator) -> Word:
    """Say another value of an attribute, where the word's attribute is among those to swap."""
    if word.attribute not in swapped:
        return word
    others = [value for value in bank.options[word.attribute] if value != word.value]
    value = others[int(generator.integers(len(others)))]
    synonyms = bank.grammar.meanings[word.attribute][value]
    return Word(synonyms[int(generator.integers(len(synonyms)))], word.attribute, value)
