"""Memory of a transfer's job, from the shapes of both designs, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping

from braid.common import BraidError
from braid.encoding.planner import MB, MEMORY_MB, plan_memory

_BASE_MB = 400.0  # the interpreter with NumPy, SciPy, xarray, pandas and scikit-learn
_NULL = 8.0  # bytes per draw, option and target: the scores, and once more as they are joined
_DECIDED = 32.0  # bytes per draw and target: studentised scores in float64, with their copies
_MATRIX = 24.0  # bytes per draw and target: null scores of a layer, and weighted in float64


def predict_transfer_mb(
    n_source: int,
    n_target: int,
    p: int,
    targets: int,
    n_folds: int,
    n_runs: int,
    layers: tuple[int, int] = (1, 1),
    alphas: int = 15,
    draws: int = 1000,
    options: int = 1,
    memory_mb: float = MEMORY_MB,
    matrix: bool = False,
    chunks: Mapping[str, int] | None = None,
) -> int:
    """Predict the peak memory of a transfer of one network and subject, MB.

    Responses and the target's held-out predictions are in memory once; the solver, and all that
    is made of predictions, works on blocks of targets, so that what grows with the number of
    targets is what was read and the null scores.

    Parameters
    ----------
    n_source, n_target : int
        Samples.
    p : int
        Features of the widest layer times delays.
    targets : int
        Of the larger response.
    n_folds : int
        Outer folds of the source.
    n_runs : int
        Runs of the target.
    layers : tuple of int
        Layers in both designs' files, all of which are read.
    alphas : int
        Penalties in the grid.
    draws : int
    options : int
        Options for tuning of opposite sign.
    memory_mb : float
        Limit of the solver (`ridge.memory_mb`).
    matrix : bool
        Whether it is the transfer matrix, which holds the null scores of one layer at a time.
    chunks : mapping, optional
        `length` and `draws` of inner folds that are drawn (see `Chunks`).
    """
    n = n_source + n_target
    designs = 4.0 * p * (n_source * layers[0] + n_target * layers[1])
    # joined, and one part in float64 while it is scaled
    joined = 4.0 * n * p * 2 + 16.0 * max(n_source, n_target) * p
    responses = 5.0 * n * targets + 4.0 * n_target * targets
    fits = targets * sum(layers) * (n_folds + n_runs) * 8.0
    null = draws * targets * (_MATRIX if matrix else _NULL * options + _DECIDED)
    train = max(2, n_source - n_source // max(n_folds, 2))
    pairs = [(n_source, max(1, n_target // max(n_runs, 1)))]
    pairs += [(train, max(1, n_source - train))] * n_folds
    drawn = chunks["draws"] if chunks else 0
    pairs += [(max(2, n_source - n_source // 5), max(1, n_source // 5))] * drawn
    form = "gram" if p <= train else "kernel"
    try:
        solver = plan_memory(
            n, p, targets, form, atoms=n_source if chunks else n_folds + n_runs, alphas=alphas,
            memory_mb=memory_mb, pairs=pairs, copies=8 if chunks else 4,
        ).peak_mb  # fmt: skip
    except BraidError:
        solver = memory_mb
    return int(_BASE_MB + (designs + joined + responses + fits + null) / MB + solver) + 1
