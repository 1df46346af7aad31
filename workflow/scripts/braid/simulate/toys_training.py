"""How each toy network is trained: one standard objective per kind of network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from braid.common import progress
from braid.simulate.toys_data import (
    Bank,
    draw_caption,
    draw_matching,
    draw_narration,
)
from braid.simulate.toys_networks import MEAN, STD, Network

if TYPE_CHECKING:
    from transformers import BertTokenizer

    Loss = Callable[[np.random.Generator], torch.Tensor]

#: Share of words that masked language modelling hides.
_HIDDEN = 0.25
#: Label of tokens that a loss leaves out.
_IGNORE = -100


def optimise(
    modules: Iterable[nn.Module],
    loss_of: Loss,
    toys: Mapping[str, Any],
    name: str,
    generator: np.random.Generator,
) -> None:
    """Minimise a loss by AdamW with a linear warm-up and a cosine decline, in place.

    Parameters
    ----------
    modules : iterable of torch.nn.Module
    loss_of : callable
        Draws a batch with the generator that it is given, and gives its loss.
    toys : mapping
        `steps`, `learning_rate`.
    name : str
        Network.
    generator : numpy.random.Generator
    """
    steps, highest = toys["steps"][name], toys["learning_rate"][name]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=highest, weight_decay=0.01)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps)),
    )
    for module in modules:
        module.train()
    for _ in progress(range(steps), f"training {name}"):
        optimiser.zero_grad(set_to_none=True)
        loss_of(generator).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    for module in modules:
        module.eval()


def pixels_of(images: np.ndarray) -> torch.Tensor:
    """Normalise pictures as the saved processors do, float32 (n, 3, H, W)."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255.0
    return (pixels - MEAN) / STD


def encode(tokenizer: BertTokenizer, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    """Tokenize texts, padded to the longest."""
    return dict(tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt"))


def hide_words(
    ids: torch.Tensor, tokenizer: BertTokenizer, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide words at random for masked language modelling.

    Of the words chosen, eight in ten become [MASK], one another word, one stays (Devlin et al.
    2019).

    Returns
    -------
    ids : torch.Tensor
        int64, as given but for the hidden words.
    labels : torch.Tensor
        int64, the hidden words, and -100 elsewhere.
    """
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    draw = torch.from_numpy(generator.random(tuple(ids.shape)))
    chosen = (draw < _HIDDEN) & ~special
    labels = torch.where(chosen, ids, torch.full_like(ids, _IGNORE))
    fate = torch.from_numpy(generator.random(tuple(ids.shape)))
    other = torch.from_numpy(generator.integers(4, len(tokenizer) - 1, size=tuple(ids.shape)))
    hidden = torch.where(chosen & (fate < 0.8), tokenizer.mask_token_id, ids)
    return torch.where(chosen & (fate >= 0.9), other, hidden), labels


def train_vit(
    network: Network, bank: Bank, toys: Mapping[str, Any], generator: np.random.Generator
) -> nn.ModuleDict:
    """Train a ViT to name each attribute of a picture (one softmax each); gives the heads."""
    heads = nn.ModuleDict(
        {name: nn.Linear(toys["width"], len(values)) for name, values in bank.options.items()}
    )
    labels = {name: torch.from_numpy(bank.labels(name)) for name in bank.options}

    def loss_of(generator: np.random.Generator) -> torch.Tensor:
        rows = generator.integers(len(bank.images), size=toys["batch"])
        pooled = network(pixel_values=pixels_of(bank.images[rows])).pooler_output
        losses = [F.cross_entropy(head(pooled), labels[name][rows]) for name, head in heads.items()]
        return torch.stack(losses).sum()

    optimise([network, heads], loss_of, toys, "toy-vit", generator)
    return heads


def train_bert(
    network: Network,
    tokenizer: BertTokenizer,
    bank: Bank,
    toys: Mapping[str, Any],
    generator: np.random.Generator,
) -> None:
    """Train a BERT on narration by masked language modelling (Devlin et al. 2019)."""

    def loss_of(generator: np.random.Generator) -> torch.Tensor:
        batch = encode(tokenizer, [draw_narration(bank, generator) for _ in range(toys["batch"])])
        ids, labels = hide_words(batch.pop("input_ids"), tokenizer, generator)
        return network(input_ids=ids, labels=labels, **batch).loss

    optimise([network], loss_of, toys, "toy-bert", generator)


def train_clip(
    network: Network,
    tokenizer: BertTokenizer,
    bank: Bank,
    toys: Mapping[str, Any],
    generator: np.random.Generator,
) -> None:
    """Train a CLIP to tell which caption belongs to which picture (Radford et al. 2021)."""
    size = toys["batch"]
    target = torch.arange(size)

    def loss_of(generator: np.random.Generator) -> torch.Tensor:
        rows = generator.choice(len(bank.images), size=size, replace=False)
        texts = [draw_caption(bank, row, generator, whole=0.7) for row in rows]
        image, text, scale = network(pixels_of(bank.images[rows]), clip_ids(tokenizer, texts, toys))
        logits = scale * image @ text.T
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    optimise([network], loss_of, toys, "toy-clip", generator)


def clip_ids(
    tokenizer: BertTokenizer, texts: Sequence[str], toys: Mapping[str, Any]
) -> torch.Tensor:
    """Tokenize texts at CLIP's fixed length."""
    return tokenizer(
        list(texts),
        padding="max_length",
        max_length=toys["text_length"],
        truncation=True,
        return_tensors="pt",
    )["input_ids"]


def vilt_inputs(network: Network, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Embed whole pictures of the network's own size as it does, without its slow general path.

    ViLT's own path crops, pads and shuffles the patches of each picture one by one; for pictures
    of the network's size the result is this, in another order of patches.
    """
    embed = network.vilt.embeddings
    patches = embed.patch_embeddings(pixels).flatten(2).transpose(1, 2)
    images = torch.cat([embed.cls_token.expand(len(pixels), -1, -1), patches], dim=1)
    images = images + embed.position_embeddings
    return {
        "image_embeds": images,
        "pixel_mask": torch.ones(images.shape[:2], dtype=torch.long),
    }


def start_vilt(network: Network, vit: Network, bert: Network) -> None:
    """Start a ViLT from a trained ViT and a trained BERT of its shape.

    The published ViLT starts from a ViT too (Kim et al. 2021); BERT gives the words' embeddings.
    """
    same = {
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "layernorm_before": "layernorm_before",
        "layernorm_after": "layernorm_after",
    }
    own = network.vilt.state_dict()
    given = vit.state_dict()
    for name in own:
        if name.startswith("encoder.layer."):
            _, _, block, rest = name.split(".", 3)
            module, kind = rest.rsplit(".", 1)
            source = next(key for key, value in same.items() if value == module)
            own[name] = given[f"layers.{block}.{source}.{kind}"]
        elif name in given and not name.startswith("pooler"):
            own[name] = given[name]
    words = bert.bert.embeddings.state_dict()
    own |= {f"embeddings.text_embeddings.{name}": words[name] for name in words}
    network.vilt.load_state_dict(own)


def train_vilt(
    network: Network,
    tokenizer: BertTokenizer,
    bank: Bank,
    toys: Mapping[str, Any],
    generator: np.random.Generator,
) -> None:
    """Train a ViLT on image-text matching with hard negatives, and on masked words.

    Each batch is one half matching (does the text, whole or its beginning, hold for the
    picture?), one half masked language modelling of true captions.
    """
    from transformers.models.vilt.modeling_vilt import ViltMLMHead

    words = ViltMLMHead(network.config)
    half = toys["batch"] // 2

    def loss_of(generator: np.random.Generator) -> torch.Tensor:
        rows = generator.integers(len(bank.images), size=2 * half)
        matching = [draw_matching(bank, row, generator) for row in rows[:half]]
        captions = [draw_caption(bank, row, generator, whole=0.7) for row in rows[half:]]
        batch = encode(tokenizer, [text for text, _ in matching] + captions)
        hidden, labels = hide_words(batch["input_ids"][half:], tokenizer, generator)
        batch["input_ids"] = torch.cat([batch["input_ids"][:half], hidden])
        output = network.vilt(**batch, **vilt_inputs(network, pixels_of(bank.images[rows])))
        logits = network.rank_output(output.pooler_output[:half]).squeeze(1)
        truth = torch.tensor([float(true) for _, true in matching])
        length = labels.shape[1]
        guesses = words(output.last_hidden_state[half:, :length])
        return F.binary_cross_entropy_with_logits(logits, truth) + F.cross_entropy(
            guesses.flatten(0, 1), labels.flatten(), ignore_index=_IGNORE
        )

    optimise([network, words], loss_of, toys, "toy-vilt", generator)
