"""Blocks of targets, halved and repeated where memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from braid.common import BraidError
from braid.encoding.backend import Backend
from braid.encoding.planner import FLOOR, Plan
from braid.encoding.solver import Problem

Part = TypeVar("Part")
Made = TypeVar("Made", bound=Problem)

# what is tried where a form does not fit even in the smallest blocks
_NEXT = {"gram": "streamed"}

_log = logging.getLogger(__name__)


class OutOfMemory(BraidError):
    """Memory ran out in the smallest block."""


@dataclass
class Done(Generic[Part]):
    """Results of all blocks.

    Attributes
    ----------
    problem : Problem
    plan : Plan
        As made before the run; blocks may have become smaller.
    parts : list
        What each block gave, in the order of the targets.
    retries : list of str
        What was repeated, and why; for the log and the report.
    block : int
        Targets per block at the end.
    """

    problem: Problem
    plan: Plan
    parts: list[Part]
    retries: list[str] = field(default_factory=list)
    block: int = 0


def run_blocks(
    make: Callable[[str], tuple[Made, Plan]],
    form: str,
    n_targets: int,
    work: Callable[[Made, slice], Part],
    backend: Backend,
) -> Done[Part]:
    """Work on all targets, block by block.

    Where memory runs out, what is cached is freed, the block halved and repeated; in the
    smallest block, the next form is tried from the start.

    Parameters
    ----------
    make : callable
        Takes the name of a form, gives the problem and its plan.
    form : str
        Form to begin with, or "auto".
    n_targets : int
    work : callable
        Takes the problem and a slice of targets.
    backend : Backend

    Raises
    ------
    BraidError
        If no form fits.
    """
    retries: list[str] = []
    while True:
        made: tuple[Made, Plan] | None = None
        try:
            made = _made(make, form, backend)
            parts, block = _all_blocks(*made, n_targets, work, retries)
            return Done(*made, parts, retries, block)
        except OutOfMemory as error:
            now = made[0].form.name if made else form
            following = _NEXT.get("gram" if now == "auto" else now)
            if following is None:
                raise BraidError(f"{error}; use fewer features or a machine with more") from None
            _note(retries, f"{error}: going over to the {following} form")
            form, made = following, None
            backend.free()


def _made(
    make: Callable[[str], tuple[Made, Plan]], form: str, backend: Backend
) -> tuple[Made, Plan]:
    """Problem and plan, with a failed allocation told apart."""
    try:
        return make(form)
    except Exception as error:
        if not backend.is_out_of_memory(error):
            raise
    raise OutOfMemory(f"ridge: memory ran out while the {form} form was made ready")


def _all_blocks(
    problem: Made,
    plan: Plan,
    n_targets: int,
    work: Callable[[Made, slice], Part],
    retries: list[str],
) -> tuple[list[Part], int]:
    """Results of all blocks, smaller from the first on that does not fit, and that size."""
    parts, start, block = [], 0, plan.block
    backend = problem.form.backend
    while start < n_targets:
        part = slice(start, min(start + block, n_targets))
        try:
            parts.append(work(problem, part))
            start = part.stop
            continue
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
        # outside the handler: the traceback there still holds the arrays
        size = part.stop - part.start
        if size <= FLOOR:
            raise OutOfMemory(
                f"ridge: memory ran out in the {plan.form} form with {size} targets at a time "
                f"({plan.n} rows, {plan.p} features; {plan.peak_mb:.0f} MB were planned)"
            )
        block = max(FLOOR, _half(size))
        problem.forget()
        backend.free()
        _note(
            retries,
            f"ridge: memory ran out at targets {part.start} to {part.stop} of {n_targets} "
            f"({plan.form} form, {plan.peak_mb:.0f} MB planned): again with {block} at a time",
        )
    return parts, block


def _half(size: int) -> int:
    """Half a block, a multiple of the smallest one."""
    return max(FLOOR, size // 2 // FLOOR * FLOOR)


def _note(retries: list[str], text: str) -> None:
    """Say a retry in the log, and remember it."""
    _log.warning("%s", text)
    retries.append(text)


def slices(n: int, size: int) -> Sequence[slice]:
    """Slices of at most `size`."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
