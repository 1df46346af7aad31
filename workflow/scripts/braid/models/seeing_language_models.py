"""Language models of transformers that see: pictures stand as tokens before the text.

A picture's place holders, and what the network's chat puts before a user's text, come from the
checkpoint's own processor. What the text tokens are is thus known: those after all of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from braid.common import InputError
from braid.models.loaded import Inputs
from braid.models.messages import first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

_MARK = "THE TEXT"
_DROPS_BLACK = ("smolvlm", "idefics3")
"""Kinds of network that take a picture of zeros for padding, and leave it out."""


def places_pictures(config: Any) -> bool:
    """Whether a configuration is that of a language model with place holders for pictures."""
    return any(
        getattr(config, key, None) is not None for key in ("image_token_id", "image_token_index")
    )


def processor_of(name: str, folder: Path, pictures: Any) -> Any:
    """Load a folder's joint processor of text, pictures and clips.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    folder : pathlib.Path
    pictures : transformers.BaseImageProcessor
        Used in place of the processor's own.

    Raises
    ------
    InputError
        If there is none, or a package that it needs is missing.
    """
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(
            f"model '{name}': {folder} has no usable processor ({first_line(error)}); fetch the "
            "checkpoint again, or install what it needs"
        ) from error
    processor.image_processor = pictures
    return processor


def see_placed(processor: Any, picture: np.ndarray) -> dict[str, Tensor]:
    """One picture, uint8 (H, W, 3), to the tokens before the text and what they stand for.

    The first axis of each input is the one along which the pictures of a batch follow each other.
    """
    from PIL import Image

    found = processor(
        text=[_before(processor, "image")],
        images=[[Image.fromarray(picture)]],
        return_tensors="pt",
    )
    return _tensors(found)


def watch_placed(processor: Any, clip: np.ndarray, rate: float) -> dict[str, Tensor]:
    """One clip, uint8 (frame, H, W, 3), at `rate` frames per second, likewise.

    All its frames are shown: choosing them is the caller's matter.
    """
    import torch

    frames = len(clip)
    facts = {
        "fps": rate,
        "total_num_frames": frames,
        "frames_indices": list(range(frames)),
        "duration": frames / rate,
    }
    found = processor(
        text=[_before(processor, "video")],
        videos=[[torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 3, 1, 2)))]],
        video_metadata=[facts],
        do_sample_frames=False,
        return_tensors="pt",
    )
    return _tensors(found)


def run_placed(module: nn.Module, text: Inputs | None, image: Inputs | None) -> dict[str, Any]:
    """Forward pass over the picture's tokens followed by the text's, to named outputs."""
    import torch

    if text is None:
        raise InputError("a language model that sees needs text; set 'modality' to vision-language")
    inputs: dict[str, Any] = dict(text)
    if image is not None:
        # the processors put the pictures of a batch one after the other in this way
        seen = {key: value.flatten(0, 1) for key, value in image.items()}
        placed = seen["input_ids"].shape
        for key, value in seen.items():
            if value.shape != placed:
                inputs[key] = value
            else:
                after = text.get(key, torch.zeros_like(text["input_ids"]))
                inputs[key] = torch.cat([value, after], dim=1)
        if getattr(module.config, "model_type", "") in _DROPS_BLACK:
            # too small to change any other number
            inputs["pixel_values"] = inputs["pixel_values"] + 1e-30
    return dict(module(**inputs, use_cache=False, return_dict=True).items())


def _before(processor: Any, kind: str) -> str:
    """Tell what stands before a user's text: the chat's beginning and a sign for the picture."""
    if not getattr(processor, "chat_template", None):
        return str(getattr(processor, f"{kind}_token"))
    content = [{"type": kind}, {"type": "text", "text": _MARK}]
    return str(processor.apply_chat_template([{"role": "user", "content": content}])).split(_MARK)[
        0
    ]


def _tensors(found: Mapping[str, Any]) -> dict[str, Tensor]:
    """Leave out what is not a tensor."""
    return {key: value for key, value in found.items() if hasattr(value, "shape")}
