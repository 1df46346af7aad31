"""Memory planner: what a fit will need, and how many targets go in one block."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from braid.common import BraidError

MB = 2.0**20
MANY = 64  # atoms; of more, matrices are made from rows when they are asked for
FLOOR = 64  # targets; below this the products no longer pay
_CAP = 2048  # targets of a block on the CPU; larger ones no longer gain speed
MEMORY_MB = 1500.0
_SLACK = 1.08  # what the allocator takes on top of the arrays; measured
_DRAW = 16.0  # bytes per draw and target: the score, and the statistic in float64 with a copy
_SPLIT = 10.0  # bytes per row of a drawn split: its number, and two marks while atoms are found
_COPIES = 3  # of the rows of targets, while an event bootstrap makes them ready
_TILE = 512  # targets; a multiple of all that `tile_width` gives
_BASE_MB = 350.0  # the interpreter with NumPy, SciPy, xarray, pandas and scikit-learn


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
        Predicted peak in MB of all that the solver allocates: its own copies of X, Gram or kernel
        matrices, eigenbases, one block of targets and the working arrays. Not counted: the
        interpreter, and the caller's arrays (X and Y as given, and the results that grow with the
        number of targets). See `predict_job_mb` for these.
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


@dataclass(frozen=True)
class Costs:
    """Bytes that a form takes.

    Attributes
    ----------
    always : float
        From the start to the end.
    making : float
        While an eigenbasis is made, beyond what is kept of it.
    each : float
        Kept per eigenbasis.
    column : float
        Per target of a block.
    working : float
        Per target that is worked on.
    buffer : float
        Of the largest temporary array, per target and at most.
    tile : int or None
        Targets that are worked on at a time by one worker; None: the whole block.
    gathered : float
        Rows that one worker picks at a time.
    """

    always: float
    making: float
    each: float
    column: float
    working: float
    buffer: tuple[float, float]
    tile: int | None
    gathered: float = 0.0

    def peak(self, keep: int, block: int, workers: int) -> float:
        """Bytes at the worst moment: making eigenbases, or working on targets."""
        width = block if self.tile is None else min(block, self.tile)
        busy = 1 if self.tile is None else min(workers, -(-block // max(width, 1)))
        at_work = width * self.working + min(self.buffer[0] * width, self.buffer[1])
        at_work += self.gathered
        most = max(self.making, self.column * block + busy * at_work)
        return _SLACK * (self.always + self.each * keep + most)


def stored_atoms(n_atoms: int) -> int:
    """Atoms of which the Gram form keeps matrices; of more than `MANY` only that of all rows."""
    return n_atoms if n_atoms <= MANY else 1


def tile_width(size: int) -> int:
    """Targets of one tile on the CPU, for so many dimensions."""
    return 256 if size > 128 else 512


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
    most: int | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    workers: int = 1,
    on_device: bool = False,
    copies: int = 4,
    kernels: int = 1,
    extra: float = 0.0,
    swept: int | None = None,
) -> Plan:
    """Predict the peak memory of a cross-validated fit and choose the block of targets.

    The limit is a parameter and not what happens to be free, so that a job rounds alike
    wherever it runs.

    Parameters
    ----------
    n, p, targets : int
        Rows in use, features (times delays), targets.
    form : {"gram", "streamed", "kernel", "svd"}
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
    most : int, optional
        Largest block wanted; by default what is fast on the CPU, and all targets on a GPU.
    pairs : sequence of (int, int), optional
        Training and test rows of each distinct training set; by default `sets` times all rows
        and a fifth of them.
    workers : int
        Tiles of targets that are worked on at a time (threads of BLAS).
    on_device : bool
        Whether a block is worked on as a whole, as on a GPU, and not in tiles.
    copies : int
        Bytes per row and target that a block of targets takes, centred: its itemsize, and twice
        that where the rows have to be put in order first.
    kernels : int
        Feature spaces that have kernels of their own.
    extra : float
        Further bytes per target of a block.
    swept : int, optional
        Bytes per number in the products of the sweep over penalties; by default `itemsize`.

    Returns
    -------
    Plan

    Raises
    ------
    BraidError
        If even the smallest block does not fit.
    """
    pairs = list(pairs) if pairs else [(n, max(1, n // 5))] * sets
    sets, limit = len(pairs), memory_mb * MB
    whole = targets if most is None and on_device else min(targets, most or _CAP)
    shapes = (n, p, form, atoms, alphas, itemsize, pairs)
    more = (float(copies * n) + extra, kernels, swept or itemsize)
    tiled = _costs(*shapes, not on_device, *more)
    # where bases are made anew for every block, rather large blocks than many bases
    untiled = _costs(*shapes, False, *more)
    for costs, keep, wanted in ((tiled, sets, whole), (untiled, 1, targets)):
        block = _largest(costs, keep, wanted, workers, limit)
        if block >= min(targets, FLOOR):
            break
    else:
        need = untiled.peak(1, min(targets, FLOOR), 1) / MB
        raise BraidError(
            f"ridge: the {form} form needs {need:.0f} MB for {n} rows and {p} features, but "
            f"ridge.memory_mb allows {memory_mb:.0f}; raise it or use fewer features"
        )
    while keep + 1 < sets and costs.peak(keep + 1, block, workers) <= limit:
        keep += 1
    return Plan(
        form=form,
        n=n,
        p=p,
        targets=targets,
        sets=sets,
        atoms=atoms,
        block=block,
        keep=keep,
        peak_mb=costs.peak(keep, block, workers) / MB,
        dtype="float32" if itemsize == 4 else "float64",
    )


def always_mb(n: int, p: int, form: str, atoms: int, itemsize: int) -> float:
    """MB that a form takes before there is a target."""
    return _costs(n, p, form, atoms, 1, itemsize, [(n, max(1, n // 5))], True).peak(1, 0, 0) / MB


def predict_job_mb(
    n: int,
    p: int,
    targets: int,
    layers: int = 1,
    n_folds: int = 5,
    nested: bool = True,
    alphas: int = 15,
    memory_mb: float = MEMORY_MB,
    workers: int = 1,
    draws: int = 0,
    chunks: Mapping[str, int] | None = None,
) -> int:
    """Memory that a fit's job needs, MB, from shapes alone, before anything is read.

    Counts the interpreter, the design and the responses as read from their files (float32), one
    layer's design matrix with its delays, the solver's plan, held-out predictions and scores.
    For a rule's `mem_mb`.

    Parameters
    ----------
    n, p, targets : int
        Samples; features of the widest layer times delays; targets.
    layers : int
        Layers of the design; all are read.
    n_folds : int
        Outer folds.
    nested : bool
        Whether inner folds choose penalties.
    alphas : int
        Penalties in the grid.
    memory_mb : float
        Limit of the solver (`ridge.memory_mb`); the plan may need less.
    workers : int
        Threads.
    draws : int
        Draws of a permutation test, whose null scores stay in memory until the decision.
    chunks : mapping, optional
        `length` and `draws` of inner folds that are drawn (see `Chunks`).
    """
    train, test = max(2, n - n // n_folds), max(1, n // n_folds)
    pairs = [(train, test)] * n_folds
    atoms, drawn = n_folds * (2 if nested else 1), 0
    if nested and chunks:
        drawn = n_folds * chunks["draws"]
        pairs += [(max(2, train - train // 5), max(1, train // 5))] * drawn
        # chunks of one outer fold cut through those of another
        atoms = min(n, n_folds * (n // chunks["length"] + 1))
        atoms = n if atoms > MANY else atoms
    elif nested:
        pairs += [(max(2, train - test), test)] * (n_folds * (n_folds - 1) // 2)
    form = "gram" if p <= train else "kernel"
    try:
        plan = plan_memory(
            n, p, targets, form, atoms=atoms, alphas=alphas, memory_mb=memory_mb,
            pairs=pairs, workers=workers, copies=8 if drawn else 4,
        )  # fmt: skip
        peak = plan.peak_mb
    except BraidError:
        peak = memory_mb
    arrays = 4.0 * n * p * (layers + 1) + 4.0 * n * targets * 3
    results = targets * (layers * n_folds * (4.0 * 3 + 8.0 * 4) + draws * _DRAW)
    results += drawn * n * _SPLIT
    return int(-(-(_BASE_MB + (arrays + results) / MB + peak) // 1))


def predict_bootstrap_mb(
    n: int,
    p: int,
    targets: int,
    draws: int,
    memory_mb: float = MEMORY_MB,
    n_folds: int = 5,
    alphas: int = 7,
    layers: int = 1,
    workers: int = 1,
) -> int:
    """Memory that the event bootstrap of one model needs, MB, from shapes alone.

    Counts the interpreter, the design and the responses as read from their files (float32) and as
    one replicate draws them, the folds with a validation and a test half each, the targets that
    are worked on at a time, and the scores of all replicates. For a rule's `mem_mb`.

    Parameters
    ----------
    n, p, targets : int
        Events; features of the layer that is bootstrapped, times delays; electrodes times bins.
    draws : int
        Replicates of the job.
    memory_mb : float
        What limits the targets worked on at a time, as `bootstrap_events` takes it.
    n_folds : int
    alphas : int
        Penalties in the grid.
    layers : int
        Layers of the design's file; all are read.
    workers : int
        Threads.
    """
    held = max(2, n // n_folds)
    train = max(2, n - held)
    form = "gram" if p <= train else "kernel"
    # what an embargo cuts off: both ends of a block, and the end of its validation half
    atoms = max(2 * n_folds, 5 * n_folds - 2)
    size = p if form == "gram" else n
    # small penalties of features that resemble one another need products in float64
    costs = _costs(n, p, form, atoms, alphas, 8, [(train, held)], True)
    block = bootstrap_width(n, size, atoms, 8, targets, memory_mb)
    tile = min(block, costs.tile or block)
    busy = min(workers, -(-block // tile))
    one = tile * (costs.working + 8.0 * n_folds * size)
    at_work = busy * (one + min(costs.buffer[0] * tile, costs.buffer[1]))
    copies = _COPIES * 4.0 * n * block
    solver = costs.always + n_folds * costs.each + copies + max(costs.making, at_work)
    arrays = 4.0 * n * p * (layers + 2) + 4.0 * n * targets * 2
    results = 4.0 * 2 * draws * targets
    return int(-(-(_BASE_MB + (arrays + results + _SLACK * solver) / MB) // 1))


def bootstrap_width(
    n: int,
    size: int,
    atoms: int,
    itemsize: int,
    targets: int,
    memory_mb: float,
    whole: bool = False,
) -> int:
    """Targets of an event bootstrap that are made ready at a time, in a quarter of the memory.

    Copies of their rows count; `whole` (on a GPU, where there are no tiles) also their
    cross-products with all atoms.
    """
    column = _COPIES * 4.0 * n + (itemsize * (atoms + 8.0) * size if whole else 0.0)
    width = int(0.25 * memory_mb * MB // column)
    # whole tiles, so that results do not hang on the limit
    width = width // _TILE * _TILE if width >= _TILE else max(width, FLOOR)
    return min(width, max(targets, 1))


def predict_bootstrap_minutes(n: int, p: int, targets: int, draws: int) -> int:
    """Time that the event bootstrap of one model may take on one core, for a rule's `runtime`.

    Products with targets are most of it: 14 s of one x86-64 core for 3,000 events, 768 features
    and 24,150 targets. Three times that, as cores differ, and a quarter of an hour.

    Parameters
    ----------
    n, p, targets, draws : int
        As for `predict_bootstrap_mb`.
    """
    seconds = 14.0 / (3000 * 768 * 24150) * n * min(n, p) * targets
    return 15 + int(3 * draws * seconds / 60)


def _largest(costs: Costs, keep: int, wanted: int, workers: int, limit: float) -> int:
    """Largest block, up to `wanted`, whose peak keeps to the limit; 0 if there is none."""
    block = wanted
    while block >= min(wanted, FLOOR) and costs.peak(keep, block, workers) > limit:
        block = block - FLOOR if block % FLOOR == 0 else block // FLOOR * FLOOR
    return block


def _costs(
    n: int,
    p: int,
    form: str,
    atoms: int,
    alphas: int,
    itemsize: int,
    pairs: Sequence[tuple[int, int]],
    in_tiles: bool,
    column: float = 0.0,
    kernels: int = 1,
    swept: int = 4,
) -> Costs:
    """Bytes of a form; `column`: bytes per target of the blocks that the caller makes."""
    s, most, test = itemsize, max(a for a, _ in pairs), max(b for _, b in pairs)
    gathered = 0.0
    if form in ("gram", "streamed"):
        r, few = p, test < p and form == "gram"
        kept = stored_atoms(atoms)
        always = 8.0 * kept * p * p + (s * n * p if form == "gram" else 0)
        chunk = 24.0 * min(n * p, max(2**20, p))
        making = max(24.0 * p * p, 32.0 * test * p + 8.0 * p * p if few else 32.0 * p * p) + chunk
        each = s * p * (p + 1) + swept * p * min(test, p) * (2 if few else 1) + 8.0 * alphas * p
        width = 1.0 * s * (n + (kept + 3) * p)
        if atoms > MANY:
            gathered = 1.0 * s * min(n * p, max(2**20, p))
    else:
        r = min(most, p)
        # the kernels of several spaces have a weighted sum
        stored = n * n * (kernels + (kernels > 1)) if form == "kernel" else n * p
        always = 8.0 * stored + (s * n * p if form == "kernel" else 0)
        if form == "kernel":
            making = 8.0 * max(3 * most * most, n * n + 2 * n * 512)
        else:
            making = 8.0 * (max(most, test) * p + 3 * r * r)
        beside = 8.0 * (n - most) * r if form == "kernel" else 2.0 * s * p * r
        if kernels > 1:
            beside += 8.0 * most * r
        each = s * (most * r + (test + min(test, r)) * r) + beside + 8.0 * alphas * r
        width = 1.0 * s * n
    # W, H and their product in float64, moments of all penalties
    width += (4 * s + 8.0) * r + 8.0 * 10 * alphas
    if atoms > MANY:
        width += 2 * 8.0 * atoms  # sums of each and of its squares
    size = p if form in ("gram", "streamed") else n
    buffer = 3.0 * swept * r * alphas, 3.0 * swept * 2**21
    tile = tile_width(size) if in_tiles else None
    return Costs(always, making, each, column, width, buffer, tile, gathered)
