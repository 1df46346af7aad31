"""The device that a network runs on."""

from __future__ import annotations

import re

from braid.common import BraidError, InputError


def resolve_device(device: str) -> str:
    """Turn `cpu`, `cuda`, `cuda:N` or `auto` into a device that is there.

    Raises
    ------
    BraidError
        If CUDA, or a device of this number, is asked for and there is none.
    InputError
        If the word is unknown.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    asked = re.fullmatch(r"cpu|cuda(?::(\d+))?", device)
    if not asked:
        raise InputError(f"device '{device}' is unknown; set `device` to cpu, cuda, cuda:N or auto")
    if device.startswith("cuda") and torch.cuda.device_count() <= int(asked[1] or 0):
        raise BraidError(
            f"device {device} was asked for and none was found; run on a node with a GPU, or set "
            "`device` to auto or cpu"
        )
    return device
