"""Memory planner: what a fit will need, and how many targets go in one block."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from braid.common import BraidError

_MB = 2.0**20
_FLOOR = 64  # targets; below this the products no longer pay
_CAP = 4096  # targets; above this larger blocks no longer gain speed
MEMORY_MB = 1500.0


@dataclass(frozen=True)
class Plan:
    """What a fit needs.

    Attributes
    ----------
    form : str
    n, p, targets : int
        Size of the problem.
    sets, atoms : int
        Distinct training sets, and atoms of rows.
    block : int
        Targets per block.
    keep : int
        Eigenbases kept at a time; with fewer than `sets`, every block of targets makes them anew.
    peak_mb : float
        Predicted peak in MB, without the interpreter and without the caller's own arrays.
    dtype : str
        Of the products with targets.
    """

    form: str
    n: int
    p: int
    targets: int
    sets: int
    atoms: int
    block: int
    keep: int
    peak_mb: float
    dtype: str

    def to_json(self) -> str:
        """JSON text, for an attribute."""
        return json.dumps({**asdict(self), "peak_mb": round(self.peak_mb, 1)})


def plan_memory(
    n: int,
    p: int,
    targets: int,
    form: str = "gram",
    sets: int = 1,
    atoms: int = 1,
    alphas: int = 1,
    itemsize: int = 4,
    memory_mb: float = MEMORY_MB,
    most: int = _CAP,
) -> Plan:
    """Predict the peak memory of a cross-validated fit and choose the block of targets.

    The limit is a parameter and not what happens to be free, so that a job rounds alike
    wherever it runs.

    Parameters
    ----------
    n, p, targets : int
        Rows in use, features (times delays), targets.
    form : {"gram", "kernel", "svd"}
    sets : int
        Distinct training sets over outer and inner folds; their eigenbases are kept.
    atoms : int
        Atoms of rows (see `braid.encoding.layout`).
    alphas : int
        Penalties in the grid.
    itemsize : int
        Bytes per number in products with targets, 4 or 8.
    memory_mb : float
        Limit.
    most : int
        Largest block wanted.

    Returns
    -------
    Plan

    Raises
    ------
    BraidError
        If even the smallest block does not fit.
    """
    fixed, each, column = _costs(n, p, form, atoms, alphas, itemsize)
    free = memory_mb * _MB - fixed
    wanted = min(targets, most)
    keep = int(min(sets, (free - column * wanted) // each))
    if keep < sets:
        # bases will be made anew for every block, so rather large blocks than many bases
        wanted = targets
        keep = int(max(1, min(sets, (free - column * wanted) // each)))
    block = int(min(wanted, (free - each * keep) // column))
    if block < min(targets, _FLOOR):
        need = (fixed + each + column * min(targets, _FLOOR)) / _MB
        raise BraidError(
            f"ridge: the {form} form needs {need:.0f} MB for {n} rows and {p} features, but "
            f"ridge.memory_mb allows {memory_mb:.0f}; raise it or use fewer features"
        )
    return Plan(
        form=form,
        n=n,
        p=p,
        targets=targets,
        sets=sets,
        atoms=atoms,
        block=block,
        keep=keep,
        peak_mb=(fixed + each * keep + column * block) / _MB,
        dtype="float32" if itemsize == 4 else "float64",
    )


def _costs(
    n: int, p: int, form: str, atoms: int, alphas: int, itemsize: int
) -> tuple[float, float, float]:
    """Bytes that are always there, per eigenbasis, and per target of a block."""
    q, s = p + 1, itemsize
    r = min(n, p)
    if form == "gram":
        fixed = (8 + s) * n * q + 8 * atoms * q * q + 8 * 4 * q * q
        each = (8 + 2 * s) * q * q
        column = s * (2 * n + (atoms + 2) * q + 5 * q)
    else:
        size = n * n if form == "kernel" else n * p
        fixed = s * n * p + 8 * size + 8 * 4 * r * max(n, r)
        each = 8 * r * n + (8 * r * p if form == "svd" else 0) + s * r * r
        column = s * (3 * n + 5 * r)
    return fixed, each, column + 8 * (4 * alphas + 16)
