"""The toy networks: train them on the world, write them in standard formats, say how good they are.

Needs torch, transformers and open_clip, which are imported when the door is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError, rng, seed_for, write_json
from braid.simulate.toys_data import Bank, draw_caption, draw_matching, draw_narration, make_bank
from braid.simulate.world import World

if TYPE_CHECKING:
    from transformers import BertTokenizer

    from braid.simulate.toys_networks import Network

#: All toy networks.
TOYS = ("toy-vit", "toy-bert", "toy-clip", "toy-vilt")
#: Items that a network is tested on after training.
_TESTED = 1000


@dataclass
class _Workshop:
    """What the networks are made from, each part drawn or trained when first needed."""

    toys: Mapping[str, Any]
    size: int  # side of a picture, pixels
    world: World
    seed: int
    tokenizer: BertTokenizer
    banks: dict[str, Bank] = field(default_factory=dict)
    made: dict[str, Network] = field(default_factory=dict)
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)

    def bank(self, split: str) -> Bank:
        if split not in self.banks:
            n = self.toys["pictures"] if split == "train" else _TESTED
            self.banks[split] = make_bank(self.world, n, split)
        return self.banks[split]


def train_toys(world: World, out: Path, names: Sequence[str], seed: int) -> None:
    """Train toy networks on the world and write them.

    They learn from pictures, captions and narration by standard objectives; the latents that make
    brain responses are not used. On one machine, with one number of threads, the same seed gives
    the same weights; elsewhere they differ in their last digits, which training enlarges, so that
    only accuracies are comparable (within about two percentage points).

    Parameters
    ----------
    world : World
        Its description's section `toys` holds widths, depths and numbers of steps.
    out : pathlib.Path
        Each network gets a folder of its name here: `toy-vit`, `toy-bert`, `toy-vilt` in the
        format of transformers, `toy-clip` in that of open_clip. `training.json` beside the
        weights holds the settings, and the accuracies on items not trained on.
    names : sequence of str
        Networks to train. `toy-vilt` starts from `toy-vit` and `toy-bert`, which are trained
        for it where they are not asked for.
    seed : int

    Raises
    ------
    InputError
        If a name is unknown, or the description lacks the section or a key.
    """
    toys = _settings(world.spec)
    for name in names:
        if name not in TOYS:
            raise InputError(f"there is no toy network '{name}'; there are {', '.join(TOYS)}")
    from braid.simulate.toys_networks import make_tokenizer

    tokenizer = make_tokenizer(world.grammar.vocabulary(), toys["text_length"])
    workshop = _Workshop(toys, world.spec["picture"]["size"], world, seed, tokenizer)
    with _reproducible(toys["threads"]):
        for name in names:
            _make(name, workshop)
            _save(name, workshop, Path(out) / name)


def _settings(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Section `toys`, checked."""
    toys = spec.get("toys")
    if not isinstance(toys, Mapping):
        raise InputError("world.yaml: section 'toys' is missing; add it to train toy networks")
    needed = "width depth heads hidden patch text_length pictures batch learning_rate steps threads"
    for key in needed.split():
        if key not in toys:
            raise InputError(f"world.yaml: key 'toys.{key}' is missing; add it")
    for key in toys:
        if key not in needed.split():
            raise InputError(f"world.yaml: unknown key 'toys.{key}'; remove it")
    for key in ("steps", "learning_rate"):
        for name in TOYS:
            if name not in toys[key]:
                raise InputError(f"world.yaml: key 'toys.{key}.{name}' is missing; add it")
    if spec["picture"]["size"] % toys["patch"]:
        raise InputError(
            f"world.yaml: toys.patch is {toys['patch']}; give a divisor of picture.size "
            f"({spec['picture']['size']})"
        )
    return toys


@contextmanager
def _reproducible(threads: int) -> Iterator[None]:
    """Fix what the results of training depend on beside the seed, and restore it afterwards."""
    import torch

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])


def _make(name: str, workshop: _Workshop) -> Any:
    """Train a network, unless it was trained already, and measure what it learned."""
    if name not in workshop.made:
        import torch

        makers: dict[str, Callable[..., Any]] = {
            "toy-vit": _make_vit,
            "toy-bert": _make_bert,
            "toy-clip": _make_clip,
            "toy-vilt": _make_vilt,
        }
        parents = [_make(parent, workshop) for parent in _PARENTS.get(name, ())]
        torch.manual_seed(seed_for(workshop.seed, "toys", name, "start"))
        generator = rng(workshop.seed, "toys", name, "train")
        test = rng(workshop.seed, "toys", name, "test")
        workshop.made[name], workshop.accuracy[name] = makers[name](
            workshop, generator, test, *parents
        )
    return workshop.made[name]


_PARENTS = {"toy-vilt": ("toy-vit", "toy-bert")}


def _make_vit(workshop: _Workshop, generator: np.random.Generator, _: np.random.Generator) -> Any:
    import torch

    from braid.simulate.toys_networks import make_vit
    from braid.simulate.toys_training import pixels_of, train_vit

    network = make_vit(workshop.toys, workshop.size)
    heads = train_vit(network, workshop.bank("train"), workshop.toys, generator)
    bank = workshop.bank("test")
    with torch.inference_mode():
        pooled = network(pixel_values=pixels_of(bank.images)).pooler_output
        right = {
            f"{name} named": float((head(pooled).argmax(1).numpy() == bank.labels(name)).mean())
            for name, head in heads.items()
        }
    return network, right


def _make_bert(
    workshop: _Workshop, generator: np.random.Generator, test: np.random.Generator
) -> Any:
    import torch

    from braid.simulate.toys_networks import make_bert
    from braid.simulate.toys_training import encode, hide_words, train_bert

    network = make_bert(workshop.toys, workshop.tokenizer)
    train_bert(network, workshop.tokenizer, workshop.bank("train"), workshop.toys, generator)
    texts = [draw_narration(workshop.bank("test"), test) for _ in range(_TESTED)]
    batch = encode(workshop.tokenizer, texts)
    ids, labels = hide_words(batch.pop("input_ids"), workshop.tokenizer, test)
    with torch.inference_mode():
        guesses = network(input_ids=ids, **batch).logits.argmax(-1)
    hidden = labels >= 0
    return network, {"hidden words guessed": float((guesses == labels)[hidden].float().mean())}


def _make_clip(
    workshop: _Workshop, generator: np.random.Generator, test: np.random.Generator
) -> Any:
    import torch

    from braid.simulate.toys_networks import make_clip
    from braid.simulate.toys_training import clip_ids, pixels_of, train_clip

    network = make_clip(workshop.toys, workshop.size, workshop.tokenizer)
    train_clip(network, workshop.tokenizer, workshop.bank("train"), workshop.toys, generator)
    bank = workshop.bank("test")
    captions = [draw_caption(bank, index, test, whole=1.0) for index in range(_TESTED)]
    with torch.inference_mode():
        image, text, _ = network(
            pixels_of(bank.images), clip_ids(workshop.tokenizer, captions, workshop.toys)
        )
    groups = [slice(start, start + 50) for start in range(0, _TESTED, 50)]
    own = torch.arange(50)
    right = [((image[at] @ text[at].T).argmax(1) == own).float().mean() for at in groups]
    return network, {"caption found among 50": float(torch.stack(right).mean())}


def _make_vilt(
    workshop: _Workshop,
    generator: np.random.Generator,
    test: np.random.Generator,
    vit: Network,
    bert: Network,
) -> Any:
    import torch

    from braid.simulate.toys_networks import make_vilt
    from braid.simulate.toys_training import (
        encode,
        pixels_of,
        start_vilt,
        train_vilt,
        vilt_inputs,
    )

    network = make_vilt(workshop.toys, workshop.size, workshop.tokenizer)
    start_vilt(network, vit, bert)
    train_vilt(network, workshop.tokenizer, workshop.bank("train"), workshop.toys, generator)
    bank = workshop.bank("test")
    drawn = [draw_matching(bank, index, test) for index in range(_TESTED)]
    with torch.inference_mode():
        output = network.vilt(
            **encode(workshop.tokenizer, [text for text, _ in drawn]),
            **vilt_inputs(network, pixels_of(bank.images)),
        )
        judged = network.rank_output(output.pooler_output).squeeze(1).numpy() > 0
    return network, {"matching judged": float(np.mean(judged == [true for _, true in drawn]))}


def _save(name: str, workshop: _Workshop, folder: Path) -> None:
    """Write a network, and beside it how it was trained."""
    from braid.simulate.toys_networks import clip_config, save_clip, save_transformer

    network, tokenizer = workshop.made[name], workshop.tokenizer
    toys, size = workshop.toys, workshop.size
    training = {
        "seed": workshop.seed,
        "settings": {
            **toys,
            "steps": toys["steps"][name],
            "learning_rate": toys["learning_rate"][name],
        },
        "accuracy": workshop.accuracy[name],
        "started_from": list(_PARENTS.get(name, ())),
    }
    if name == "toy-clip":
        save_clip(network, folder, clip_config(toys, size, len(tokenizer)), tokenizer)
    else:
        save_transformer(network, folder, size, None if name == "toy-vit" else tokenizer)
    write_json(folder / "training.json", training)
