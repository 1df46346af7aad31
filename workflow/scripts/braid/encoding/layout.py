"""Rows sorted into atoms, so that every training and test set is a union of atoms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from braid.encoding.folds import Fold


@dataclass(frozen=True)
class Layout:
    """Partition of the rows in use into atoms: rows that always play the same role.

    Attributes
    ----------
    order : numpy.ndarray of int, (rows in use,)
        Row numbers, sorted by atom and by row within it.
    starts : numpy.ndarray of int, (n_atoms + 1,)
        Atom `a` is `order[starts[a]:starts[a + 1]]`.
    atom : numpy.ndarray of int, (n,)
        Atom of each row, -1 for rows that no set uses.
    """

    order: np.ndarray
    starts: np.ndarray
    atom: np.ndarray

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.starts) - 1

    @property
    def is_in_order(self) -> bool:
        """Whether `order` is one adjacent part of the rows as given."""
        return bool(np.all(np.diff(self.order) == 1))

    def pieces(self) -> list[slice]:
        """Slice of `order` that each atom occupies."""
        return [slice(a, b) for a, b in zip(self.starts[:-1], self.starts[1:], strict=True)]

    def members(self, rows: np.ndarray) -> np.ndarray:
        """Mask of the atoms that make up a set of rows."""
        mask = np.zeros(self.n_atoms, dtype=bool)
        mask[self.atom[rows]] = True
        size = int(np.diff(self.starts)[mask].sum())
        if size != len(rows) or np.any(self.atom[rows] < 0):
            raise ValueError("the rows are not a union of this layout's atoms")
        return mask

    def positions(self, mask: np.ndarray) -> slice | np.ndarray:
        """Where the rows of a set of atoms lie in `order`: a slice if they are adjacent."""
        atoms = np.flatnonzero(mask)
        if atoms[-1] - atoms[0] + 1 == len(atoms):
            return slice(int(self.starts[atoms[0]]), int(self.starts[atoms[-1] + 1]))
        return np.concatenate([np.arange(self.starts[a], self.starts[a + 1]) for a in atoms])

    def spans(self, mask: np.ndarray) -> list[slice]:
        """Adjacent parts of `order` that make up a set of atoms."""
        atoms = np.flatnonzero(mask)
        borders = np.flatnonzero(np.diff(atoms) > 1) + 1
        return [
            slice(int(self.starts[part[0]]), int(self.starts[part[-1] + 1]))
            for part in np.split(atoms, borders)
        ]


def make_layout(n: int, sets: Iterable[np.ndarray]) -> Layout:
    """Find the atoms of `n` rows under the given sets of rows.

    Two rows belong to one atom when every set holds both or neither. Atoms come in the order of
    their first rows, so contiguous folds leave the rows where they are.
    """
    sets = list(sets)
    member = np.zeros((len(sets), n), dtype=bool)
    for number, rows in enumerate(sets):
        member[number, rows] = True
    signature = np.packbits(member, axis=0)
    _, first, inverse = np.unique(signature, axis=1, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    atom = rank[inverse.ravel()]
    used = member.any(axis=0)
    # renumber so that the rows without a role (at most one atom) are -1
    numbers = np.cumsum(np.isin(np.arange(len(first)), atom[used])) - 1
    atom = np.where(used, numbers[atom], -1)
    order = np.argsort(atom, kind="stable")[np.count_nonzero(~used) :]
    starts = np.searchsorted(atom[order], np.arange(atom.max() + 2))
    return Layout(order, starts, atom)


def layout_of(n: int, folds: Sequence[Fold], nested: bool = True) -> Layout:
    """Layout of the outer and, if `nested`, the inner sets of some folds."""
    sets = []
    for fold in folds:
        sets += [fold.train, fold.test]
        if nested:
            sets += [rows for split in fold.inner for rows in (split.train, split.test)]
    return make_layout(n, sets)
