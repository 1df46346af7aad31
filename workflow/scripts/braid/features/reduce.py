"""Reduction of wide layers by sparse random projection."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from braid.common import InputError, rng
from braid.models import Layer
from braid.models.registry import nearest

if TYPE_CHECKING:
    from torch import Tensor

_DEFAULTS: dict[str, Any] = {
    "method": "srp",
    "dim": "auto",
    "eps": 0.1,
    "seed": 0,
    "layers": ["*"],
}


def johnson_lindenstrauss(n: int, eps: float) -> int:
    """Dimension that keeps the distances between `n` points within a factor of 1 +- `eps`.

    floor(4 ln n / (eps^2 / 2 - eps^3 / 3)) (Dasgupta & Gupta 2003, theorem 2.1).
    """
    return math.floor(4 * math.log(n) / (eps**2 / 2 - eps**3 / 3))


def reduction_of(
    name: str, entry: Mapping[str, Any], layer: Layer, n_units: int
) -> dict[str, Any] | None:
    """Read how the features of a layer are to be reduced, for the key and for `project`.

    Parameters
    ----------
    name : str
        Name of the network, used in messages.
    entry : mapping
        Its `reduce` has `method` (`srp` or `none`), `dim` (`auto`, from the number of units and
        `eps`, or a number), `eps` (0.1), `seed` (0) and `layers` (patterns of names; all).
    layer : Layer
    n_units : int
        Rows of the features.

    Returns
    -------
    dict or None
        `method`, `dim`, `seed`; None where nothing is reduced.

    Raises
    ------
    InputError
        Names the key that is wrong.
    """
    if not entry.get("reduce"):
        return None
    asked = {**_DEFAULTS, **entry["reduce"]}
    for key in asked:
        if key not in _DEFAULTS:
            near = nearest(str(key), list(_DEFAULTS))
            raise InputError(f"model '{name}': unknown key '{key}' of reduce{near}")
    if asked["method"] not in ("srp", "none"):
        raise InputError(
            f"model '{name}': method '{asked['method']}' of reduce must be srp or none"
        )
    if asked["method"] == "none" or not any(fnmatchcase(layer.name, p) for p in asked["layers"]):
        return None
    dim, eps = asked["dim"], float(asked["eps"])
    if dim == "auto":
        if not 0 < eps < 1:
            raise InputError(f"model '{name}': eps {eps:g} of reduce must lie between 0 and 1")
        dim = johnson_lindenstrauss(max(n_units, 2), eps)
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
        raise InputError(
            f"model '{name}': dim of reduce must be auto or a positive whole number, not {dim}"
        )
    return {"method": "srp", "dim": dim, "seed": int(asked["seed"])}


def project(values: Tensor, reduction: Mapping[str, Any]) -> Tensor:
    """Project features that are wider than the reduction's dimension; others stay as they are.

    Parameters
    ----------
    values : torch.Tensor
        float32 (batch, feature).
    reduction : mapping
        See `reduction_of`.

    Returns
    -------
    torch.Tensor
        float32 (batch, dim), on the same device.
    """
    import torch

    width, dim = values.shape[1], int(reduction["dim"])
    if width <= dim:
        return values
    matrix = _matrix_on(width, dim, int(reduction["seed"]), str(values.device))
    with torch.autocast(values.device.type, enabled=False):
        return (matrix @ values.T.contiguous()).T.contiguous()


def projection_matrix(width: int, dim: int, seed: int) -> sparse.csr_matrix:
    """Very sparse random projection (Li, Hastie & Church 2006).

    An entry is not zero with probability p = 1 / sqrt(width), and then +-1 / sqrt(p dim) with
    equal chances, so that expected squared lengths are kept.

    Parameters
    ----------
    width, dim : int
        Features before and after.
    seed : int
        The same for all layers of one width.

    Returns
    -------
    scipy.sparse.csr_matrix
        float32 (dim, width).
    """
    random = rng(seed, "sparse random projection", width, dim)
    density, size = 1 / math.sqrt(width), dim * width
    # the gaps between the successes of a Bernoulli process are geometric
    found, last = [], -1
    while last < size:
        gaps = random.geometric(density, math.ceil(size * density) + 1)
        found.append(last + np.cumsum(gaps))
        last = int(found[-1][-1])
    places = np.concatenate(found)
    places = places[places < size]
    signs = random.integers(0, 2, len(places)) * 2 - 1
    values = (signs / math.sqrt(density * dim)).astype(np.float32)
    return sparse.csr_matrix((values, (places // width, places % width)), shape=(dim, width))


@lru_cache(maxsize=4)
def _matrix_on(width: int, dim: int, seed: int, device: str) -> Tensor:
    """Put the projection on a device; layers of one width share it."""
    import torch

    matrix = projection_matrix(width, dim, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse (invariant|CSR)")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data),
            size=matrix.shape,
            device=device,
        )
