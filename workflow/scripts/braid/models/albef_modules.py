"""ALBEF (Li et al. 2021, arXiv 2107.07651): a picture encoder, and a text encoder that fuses.

Written from the paper and the published names of the checkpoints' tensors. The picture encoder is
timm's vision transformer (Dosovitskiy et al. 2021). The text encoder is BERT (Devlin et al. 2019),
whose upper half also attends to the picture's tokens. transformers' BERT is not used: its layers
attend to other tokens in a causal decoder only, with keys of their own width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention


@dataclass(frozen=True)
class AlbefSizes:
    """Sizes of an ALBEF; the defaults are the published ones (ViT-B/16 and BERT-base).

    Attributes
    ----------
    vision_width, vision_layers, vision_heads, patch_size, image_size : int
        Picture encoder; sizes of patches and pictures in pixels, in pretraining.
    text_width, text_layers, text_heads, text_hidden, vocabulary, positions : int
        Text encoder; longest text in tokens.
    fusion_layer : int
        Number of layers that see text alone.
    embedding : int
        Dimension of the space of contrastive learning.
    """

    vision_width: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    patch_size: int = 16
    image_size: int = 256
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_hidden: int = 3072
    vocabulary: int = 30522
    positions: int = 512
    fusion_layer: int = 6
    embedding: int = 256


ARCHITECTURES = {"ALBEF_VITB16": AlbefSizes()}
"""The published network."""


class Embeddings(nn.Module):
    """Words, their positions and their segment (always the first), normalised."""

    def __init__(self, sizes: AlbefSizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocabulary, sizes.text_width, padding_idx=0)
        self.position_embeddings = nn.Embedding(sizes.positions, sizes.text_width)
        self.token_type_embeddings = nn.Embedding(2, sizes.text_width)
        self.LayerNorm = nn.LayerNorm(sizes.text_width, eps=1e-12)

    def forward(self, text: Tensor) -> Tensor:
        """Token numbers (batch, token) to (batch, token, width)."""
        places = self.position_embeddings.weight[: text.shape[1]]
        segment = self.token_type_embeddings.weight[0]
        return self.LayerNorm(self.word_embeddings(text) + places + segment)


class HeadedAttention(nn.Module):
    """Scaled dot-product attention with several heads."""

    def __init__(self, width: int, heads: int, source_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(source_width, width)
        self.value = nn.Linear(source_width, width)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from `x` (batch, token, width) to `source`, where the mask is true."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x), self.key(source), self.value(source))
        )
        found = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return found.transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """Project, add what was there before, normalise."""

    def __init__(self, width: int, output: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, output)
        self.LayerNorm = nn.LayerNorm(output, eps=1e-12)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Tokens (batch, token, width) to (batch, token, output)."""
        return self.LayerNorm(self.dense(x) + before)


class Attention(nn.Module):
    """Attention with its residual, under the names of BERT's tensors."""

    def __init__(self, width: int, heads: int, source_width: int) -> None:
        super().__init__()
        self.self = HeadedAttention(width, heads, source_width)
        self.output = Residual(width, width)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from `x` to `source`."""
        return self.output(self.self(x, source, mask), x)


class Intermediate(nn.Module):
    """Hidden layer of the perceptron."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (batch, token, width) to (batch, token, hidden)."""
        return gelu(self.dense(x))


class TextLayer(nn.Module):
    """One layer of BERT; a fusing one attends to the picture between text and perceptron."""

    def __init__(self, sizes: AlbefSizes, fuses: bool) -> None:
        super().__init__()
        width, heads = sizes.text_width, sizes.text_heads
        self.attention = Attention(width, heads, width)
        self.crossattention = Attention(width, heads, sizes.vision_width) if fuses else None
        self.intermediate = Intermediate(width, sizes.text_hidden)
        self.output = Residual(sizes.text_hidden, width)

    def forward(self, x: Tensor, mask: Tensor, picture: Tensor | None) -> Tensor:
        """Text tokens (batch, token, width) to the same."""
        x = self.attention(x, x, mask)
        if self.crossattention is not None:
            assert picture is not None
            x = self.crossattention(x, picture, None)
        return self.output(self.intermediate(x), x)


class TextLayers(nn.Module):
    """The layers of BERT, under the name of the checkpoints' tensors."""

    def __init__(self, sizes: AlbefSizes) -> None:
        super().__init__()
        self.layer = nn.ModuleList(
            TextLayer(sizes, k >= sizes.fusion_layer) for k in range(sizes.text_layers)
        )


class BertEncoder(nn.Module):
    """BERT whose last layers fuse, under the names of the checkpoints' tensors."""

    def __init__(self, sizes: AlbefSizes) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        self.encoder = TextLayers(sizes)
        self.fusion_layer = sizes.fusion_layer
        self.apply(_initialise)

    def read(self, text: Tensor, mask: Tensor) -> Tensor:
        """Token numbers and what is real of them (batch, token) to tokens before the fusion."""
        x = self.embeddings(text)
        for layer in self.encoder.layer[: self.fusion_layer]:
            x = layer(x, mask[:, None, None], None)
        return x

    def fuse(self, tokens: Tensor, mask: Tensor, picture: Tensor) -> Tensor:
        """Tokens of `read` and of the picture (batch, token, width) to fused text tokens."""
        for layer in self.encoder.layer[self.fusion_layer :]:
            tokens = layer(tokens, mask[:, None, None], picture)
        return tokens


class TextEncoder(nn.Module):
    """BERT, under the name of the checkpoints' tensors."""

    def __init__(self, sizes: AlbefSizes) -> None:
        super().__init__()
        self.bert = BertEncoder(sizes)


class AlbefNetwork(nn.Module):
    """ALBEF without its momentum copies and its head of masked language modelling."""

    def __init__(self, sizes: AlbefSizes) -> None:
        super().__init__()
        self.visual_encoder = VisionTransformer(
            img_size=sizes.image_size,
            patch_size=sizes.patch_size,
            embed_dim=sizes.vision_width,
            depth=sizes.vision_layers,
            num_heads=sizes.vision_heads,
            num_classes=0,
            global_pool="",
        )
        self.text_encoder = TextEncoder(sizes)
        self.vision_proj = nn.Linear(sizes.vision_width, sizes.embedding)
        self.text_proj = nn.Linear(sizes.text_width, sizes.embedding)
        self.itm_head = nn.Linear(sizes.text_width, 2)
        self.temp = nn.Parameter(torch.tensor(0.07))

    def forward(
        self, text: Tensor | None, mask: Tensor | None, image: Tensor | None
    ) -> dict[str, Tensor]:
        """Run what the inputs allow.

        Parameters
        ----------
        text, mask : torch.Tensor or None
            Token numbers, and true where they are real, (batch, token).
        image : torch.Tensor or None
            (batch, 3, row, column).

        Returns
        -------
        dict of str to torch.Tensor
            `image_embeds`, `text_embeds` (tokens before the fusion), `image_features`,
            `text_features` (length 1, of the space of contrastive learning), `last_hidden_state`
            (fused text tokens), `itm_logits` (not matching, matching).
        """
        found: dict[str, Tensor] = {}
        if image is not None:
            found["image_embeds"] = self.visual_encoder(image)
            pooled = self.vision_proj(found["image_embeds"][:, 0])
            found["image_features"] = normalize(pooled, dim=-1)
        if text is not None:
            assert mask is not None
            found["text_embeds"] = self.text_encoder.bert.read(text, mask)
            pooled = self.text_proj(found["text_embeds"][:, 0])
            found["text_features"] = normalize(pooled, dim=-1)
        if mask is not None and "text_embeds" in found and "image_embeds" in found:
            found["last_hidden_state"] = self.text_encoder.bert.fuse(
                found["text_embeds"], mask, found["image_embeds"]
            )
            found["itm_logits"] = self.itm_head(found["last_hidden_state"][:, 0])
        return found


def _initialise(module: nn.Module) -> None:
    """Draw weights as BERT does."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
