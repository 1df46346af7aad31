"""The networks of SLIP (Mu et al. 2021, arXiv 2112.12750): SLIP, CLIP and SimCLR on one trunk.

Written from the paper and the published names of the checkpoints' tensors. The picture tower is
timm's vision transformer (Dosovitskiy et al. 2021); the text tower is the causal transformer of
CLIP (Radford et al. 2021, section 2.4); the head of self-supervision is a three-layer perceptron
with batch normalisation (Chen et al. 2020).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


@dataclass(frozen=True)
class SlipSizes:
    """Sizes of a network of this family; the defaults are those of ViT-B/16.

    Attributes
    ----------
    family : str
        `SLIP` (both objectives), `CLIP` (no head of self-supervision) or `SIMCLR` (no text).
    vision_width, vision_layers, vision_heads, patch_size, image_size : int
        Picture tower; sizes of patches and pictures in pixels.
    text_width, text_layers, text_heads, context_length, vocabulary : int
        Text tower; lengths in tokens.
    embedding : int
        Dimension of the space that pictures and texts share.
    head_hidden, head_output : int
        Widths of the head of self-supervision.
    """

    family: str = "SLIP"
    vision_width: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    patch_size: int = 16
    image_size: int = 224
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    context_length: int = 77
    vocabulary: int = 49408
    embedding: int = 512
    head_hidden: int = 4096
    head_output: int = 256


FAMILIES = ("SLIP", "CLIP", "SIMCLR")
# the small trunk has 12 heads, as in MoCo v3 (Chen et al. 2021), not timm's 6
_TRUNKS = {"VITS16": (384, 12, 12), "VITB16": (768, 12, 12), "VITL16": (1024, 24, 16)}

ARCHITECTURES = {
    f"{family}_{trunk}": SlipSizes(family, width, layers, heads)
    for family in FAMILIES
    for trunk, (width, layers, heads) in _TRUNKS.items()
}
"""The published networks, by the names that their checkpoints use."""


class QuickGELU(nn.Module):
    """CLIP's approximation of the GELU, x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply to each number."""
        return x * torch.sigmoid(1.702 * x)


class Perceptron(nn.Module):
    """Two layers, four times as wide between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.gelu = QuickGELU()
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (batch, token, width) to the same."""
        return self.c_proj(self.gelu(self.c_fc(x)))


class TextBlock(nn.Module):
    """One layer of the text tower: attention to earlier tokens, then a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = Perceptron(width)
        self.ln_2 = nn.LayerNorm(width)

    def initialise(self, width: int, layers: int) -> None:
        """Draw the weights as CLIP does, for a tower of this width and depth."""
        nn.init.normal_(self.attn.in_proj_weight, std=width**-0.5)
        nn.init.normal_(self.attn.out_proj.weight, std=(2 * layers * width) ** -0.5)
        nn.init.normal_(self.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(self.mlp.c_proj.weight, std=(2 * layers * width) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (batch, token, width) to the same; each sees itself and those before it."""
        length = x.shape[1]
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=later, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class TextTransformer(nn.Module):
    """The layers of the text tower, under the name that the checkpoints use."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(TextBlock(width, heads) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (batch, token, width) to the same."""
        return self.resblocks(x)


class SlipNetwork(nn.Module):
    """SLIP, CLIP or SimCLR (see `SlipSizes`)."""

    def __init__(self, sizes: SlipSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.visual = VisionTransformer(
            img_size=sizes.image_size,
            patch_size=sizes.patch_size,
            embed_dim=sizes.vision_width,
            depth=sizes.vision_layers,
            num_heads=sizes.vision_heads,
            num_classes=0,
        )
        if sizes.family != "SIMCLR":
            width = sizes.text_width
            self.transformer = TextTransformer(width, sizes.text_layers, sizes.text_heads)
            self.token_embedding = nn.Embedding(sizes.vocabulary, width)
            self.positional_embedding = nn.Parameter(torch.empty(sizes.context_length, width))
            self.ln_final = nn.LayerNorm(width)
            self.image_projection = nn.Parameter(torch.empty(sizes.vision_width, sizes.embedding))
            self.text_projection = nn.Parameter(torch.empty(width, sizes.embedding))
            self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
            self._initialise()
        if sizes.family != "CLIP":
            self.image_mlp = _head(sizes.vision_width, sizes.head_hidden, sizes.head_output)

    def encode_image(self, image: Tensor) -> dict[str, Tensor]:
        """Pictures (batch, 3, row, column) to `image_features` and `ssl_features`.

        Both (batch, feature), as they leave their projection; which of them there are depends on
        the family.
        """
        pooled = self.visual(image)
        found = {}
        if self.sizes.family != "SIMCLR":
            found["image_features"] = pooled @ self.image_projection
        if self.sizes.family != "CLIP":
            found["ssl_features"] = self.image_mlp(pooled)
        return found

    def encode_text(self, text: Tensor) -> Tensor:
        """Token numbers (batch, token) to features (batch, feature), read at the end token.

        The end token has the highest number of all.
        """
        x = self.token_embedding(text) + self.positional_embedding[: text.shape[1]]
        x = self.ln_final(self.transformer(x))
        ends = x[torch.arange(len(x), device=x.device), text.argmax(dim=-1)]
        return ends @ self.text_projection

    def _initialise(self) -> None:
        """Draw the text tower's weights as CLIP does; the trunk draws its own."""
        width, layers = self.sizes.text_width, self.sizes.text_layers
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        for block in self.transformer.modules():
            if isinstance(block, TextBlock):
                block.initialise(width, layers)
        nn.init.normal_(self.image_projection, std=self.sizes.vision_width**-0.5)
        nn.init.normal_(self.text_projection, std=width**-0.5)


def _head(width: int, hidden: int, output: int) -> nn.Sequential:
    """Make the head of self-supervision."""
    return nn.Sequential(
        OrderedDict(
            layer1=nn.Linear(width, hidden),
            bn1=nn.BatchNorm1d(hidden),
            relu1=nn.ReLU(),
            layer2=nn.Linear(hidden, hidden),
            bn2=nn.BatchNorm1d(hidden),
            relu2=nn.ReLU(),
            layer3=nn.Linear(hidden, output),
        )
    )
