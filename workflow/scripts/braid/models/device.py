"""The device that a network runs on."""

from __future__ import annotations

from braid.common import BraidError, InputError


def resolve_device(device: str) -> str:
    """Turn `cpu`, `cuda`, `cuda:N` or `auto` into a device that is there.

    Raises
    ------
    BraidError
        If CUDA is asked for and there is none.
    InputError
        If the word is unknown.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"device '{device}' is unknown; set `device` to cpu, cuda or auto")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BraidError(
            "device cuda was asked for and none was found; run on a node with a GPU, or set "
            "`device` to auto or cpu"
        )
    return device
