"""Weights that come as one file of tensors, for the networks whose modules are ours."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braid.common import InputError
from braid.models.messages import first_line

if TYPE_CHECKING:
    from torch import Tensor, nn

_WRAPPER = "module."
"""What PyTorch's wrapper for several GPUs puts before the names of tensors."""


def read_tensors(
    name: str, path: Path, key: str | None = None, allowed: Sequence[type] = ()
) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, as safetensors or by PyTorch with `weights_only=True`.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    path : pathlib.Path
        `.safetensors`, or a file of `torch.save`.
    key : str, optional
        Where a file of `torch.save` holds the tensors, beside other things; files that hold
        nothing but tensors are taken too.
    allowed : sequence of type
        Classes that such a file may hold besides tensors and plain Python values; no code of
        theirs runs but their construction.

    Returns
    -------
    dict of str to torch.Tensor
        On the CPU, by name without the prefix `module.`.

    Raises
    ------
    InputError
        If the file is damaged, holds other objects, or has no tensors.
    """
    if path.suffix == ".safetensors":
        content: Any = _read_safetensors(name, path)
    else:
        content = _read_torch(name, path, allowed)
    if isinstance(content, Mapping) and key is not None:
        content = content.get(key, content)
    tensors = content.items() if isinstance(content, Mapping) else ()
    found = {str(tensor).removeprefix(_WRAPPER): value for tensor, value in tensors}
    if not found or not all(hasattr(value, "shape") for value in found.values()):
        where = f"under the key '{key}' " if key is not None else ""
        raise InputError(
            f"model '{name}': {path} holds no tensors {where}by name; correct 'path', 'file' or "
            "'source'"
        )
    return found


def load_tensors(
    name: str,
    path: Path,
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    ignored: Sequence[str] = (),
) -> None:
    """Put tensors into a network, every one in its place and none left over.

    Parameters
    ----------
    name, path
        Used in messages.
    module : torch.nn.Module
    tensors : mapping
        From `read_tensors`.
    ignored : sequence of str
        Patterns of tensors that the network does without.

    Raises
    ------
    InputError
        Names the first tensor that is missing, left over, or of another shape.
    """
    kept = {
        key: value
        for key, value in tensors.items()
        if not any(fnmatchcase(key, pattern) for pattern in ignored)
    }
    wanted = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    problems = (
        [f"lacks the tensor {key}" for key in wanted if key not in kept]
        + [f"has a tensor {key}, which the network has not" for key in kept if key not in wanted]
        + [
            f"has the tensor {key} with shape {tuple(kept[key].shape)} instead of {shape}"
            for key, shape in wanted.items()
            if key in kept and tuple(kept[key].shape) != shape
        ]
    )
    if problems:
        more = f" (and {len(problems) - 1} more of this kind)" if len(problems) > 1 else ""
        raise InputError(
            f"model '{name}': {path} {problems[0]}{more}; correct 'architecture', or fetch the "
            "checkpoint again"
        )
    module.load_state_dict(kept)


def _read_safetensors(name: str, path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _damaged(name, path, error) from error


def _read_torch(name: str, path: Path, allowed: Sequence[type]) -> Any:
    """Content of a file of `torch.save`."""
    import torch

    permit = torch.serialization.safe_globals(list(allowed)) if allowed else nullcontext()
    try:
        with permit:
            # tensors stay on disk until they are asked for: optimiser states never are
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        others = _unsafe(path)
        if not others:
            raise _damaged(name, path, error) from error
        raise InputError(
            f"model '{name}': {path} holds objects besides tensors ({', '.join(others)}), which "
            "are not loaded; save its tensors as safetensors and name that file"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise _damaged(name, path, error) from error


def _unsafe(path: Path) -> list[str]:
    """Classes and functions that a file would import."""
    import torch

    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # a file that cannot even be scanned is damaged, which the caller says
        return []


def _damaged(name: str, path: Path, error: Exception) -> InputError:
    """Error of a file that cannot be read."""
    return InputError(
        f"model '{name}': {path} cannot be loaded ({type(error).__name__}: {first_line(error)}); "
        "fetch the checkpoint again"
    )
