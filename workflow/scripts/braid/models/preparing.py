"""Preparation of pictures by settings: resize, crop, normalise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError
from braid.models.loaded import See
from braid.models.registry import nearest

if TYPE_CHECKING:
    from torch import Tensor


def preparation(name: str, settings: Mapping[str, Any], overrides: Mapping[str, Any]) -> See:
    """Make the function that prepares a picture for a network's picture tower.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    settings : mapping
        As open_clip's: `size` (pixels), `mean` and `std` (of each colour, in 0..1),
        `interpolation` (bilinear or bicubic), `resize_mode` (`shortest`: the shorter edge, then a
        crop of the centre; `squash`: both edges; `longest`: padded).
    overrides : mapping
        Of the entry's key `processor`.

    Returns
    -------
    callable
        One picture, uint8 (H, W, 3), to `image`, float32 (3, size, size).

    Raises
    ------
    InputError
        If an override is unknown.
    """
    from dataclasses import asdict

    from open_clip.transform import PreprocessCfg, image_transform_v2

    known = asdict(PreprocessCfg())
    for key in overrides:
        if key not in known:
            raise InputError(
                f"model '{name}': unknown key '{key}' of 'processor'{nearest(key, list(known))}"
            )
    # a checkpoint's own settings may hold more than the preparation knows
    kept = {key: value for key, value in settings.items() if key in known}
    transform = image_transform_v2(PreprocessCfg(**{**kept, **overrides}), is_train=False)
    return partial(see_one, transform)


def see_one(transform: Callable[[Any], Tensor], picture: np.ndarray) -> dict[str, Tensor]:
    """One picture to the image tower's input, without a batch axis."""
    from PIL import Image

    return {"image": transform(Image.fromarray(picture))}
