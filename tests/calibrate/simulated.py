"""Simulated data with known truth, and one measurement of each kind from one data set.

Every function takes a seed and returns plain numbers, so that data sets can run side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import lfilter

from braid.common import rng
from braid.encoding.folds import Fold, make_folds
from braid.encoding.grid import Grid, make_grid
from braid.encoding.solver import (
    Selection,
    centred,
    cross_validate,
    mean_over_folds,
    predict_fixed,
    prepare,
)
from braid.inference.bootstrap import (
    bootstrap_bins,
    bootstrap_predictions,
    bootstrap_scores,
    draw_bins,
    draw_weights,
    interval,
    leave_one_out,
    make_blocks,
)
from braid.inference.decision import bh, max_t, p_values, studentised
from braid.inference.group import group_test
from braid.inference.nulls import Draws, draw_permutations
from braid.inference.permutation import draw_scores

DRAWS = 199
TARGETS = 8
GRID = make_grid({"low": -2, "high": 4, "n": 9}, "trace")
LENGTH = 20.0  # s, blocks
STEP = 1.0  # s between samples


def autocorrelated(generator: np.random.Generator, n: int, columns: int, phi: float) -> np.ndarray:
    """AR(1) noise of unit variance, (n, columns)."""
    noise = lfilter([1.0], [1.0, -phi], generator.standard_normal((n + 200, columns)), axis=0)
    return noise[200:] * np.sqrt(1 - phi**2)


def series(
    generator: np.random.Generator,
    phi: float,
    runs: int = 2,
    length: int = 300,
    features: int = 8,
    delays: int = 1,
    targets: int = TARGETS,
    signal: float = 0.0,
    driven: int | None = None,
    alike: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Autocorrelated features and responses of several runs.

    `signal` is the share of the responses' variance that the features explain, in the first
    `driven` targets (all by default). Features are independent, or `alike`, as those of networks
    are: mixtures of sources whose variances fall as 1/k^2 (for silent targets only).

    Returns
    -------
    x, y, runs, times
    """
    weights = _directions(generator, features * delays, targets)
    weights[:, targets if driven is None else driven :] = 0.0
    mixing = np.eye(features)
    if alike:
        mixing = (
            generator.standard_normal((features, features)) / np.arange(1, features + 1)[:, None]
        )
    xs, ys = [], []
    for _ in range(runs):
        base = autocorrelated(generator, length, features, phi) @ mixing
        lagged = [np.vstack([np.zeros((d, features)), base[: length - d]]) for d in range(delays)]
        x = np.hstack(lagged)
        clean = x @ weights
        noise = autocorrelated(generator, length, targets, phi)
        xs.append(x)
        ys.append(np.sqrt(signal) * clean + np.sqrt(1 - signal) * noise)
    run = np.repeat(np.arange(runs), length)
    times = np.tile(np.arange(length) * STEP, runs)
    return np.vstack(xs), np.vstack(ys).astype(np.float32), run, times


def _directions(generator: np.random.Generator, features: int, targets: int) -> np.ndarray:
    """Random weights of length 1: they turn features of unit variance into such signals."""
    weights = generator.standard_normal((features, targets))
    return weights / np.linalg.norm(weights, axis=0)


def fitted(
    x: np.ndarray, y: np.ndarray, folds: list[Fold], grid: Grid = GRID
) -> tuple[Selection, np.ndarray]:
    """Nested fit, and the mean held-out r."""
    problem = prepare(x, folds, grid)
    found = cross_validate(problem, centred(problem.arrange(y))[0], grid)
    return found, mean_over_folds(found.score)


def held_out(x: np.ndarray, y: np.ndarray, folds: list[Fold], alpha: np.ndarray) -> np.ndarray:
    """Held-out predictions, (n, targets)."""
    problem = prepare(x, folds, GRID, nested=False)
    prediction = np.full(y.shape, np.nan)
    block, mean = centred(problem.arrange(y))
    predict_fixed(problem, block, alpha, prediction, mean)
    return prediction


def null_of(
    x: np.ndarray, y: np.ndarray, folds: list[Fold], found: Selection, draws: Draws, how: str
) -> np.ndarray:
    """Null scores, (draws, targets)."""
    return draw_scores(x, folds, GRID, {}, y, [draws], found.alpha, how)[0][0]


def false_positives(
    seed: int, phi: float, ways: list[tuple[str, str]], **shape: Any
) -> dict[str, Any]:
    """p values of silent targets, and family-wise p of the family, by null and penalties."""
    x, y, runs, times = series(rng(seed, "series", phi), phi, **shape)
    folds = make_folds(runs, times, "blocks", n=4, embargo=5.0)
    found, observed = fitted(x, y, folds)
    result: dict[str, Any] = {}
    for kind, how in ways:
        draws = draw_permutations(
            kind,
            runs,
            times,
            DRAWS,
            seed,
            min_shift=20.0,
            block=LENGTH,
            span=shape.get("delays", 1) - 1,
        )
        null = null_of(x, y, folds, found, draws, how)
        result[f"{kind} {how}"] = p_values(observed, null)
        if (kind, how) == ways[0]:
            result["max-T raw"] = np.min(max_t(observed, null))
            result["max-T studentised"] = np.min(max_t(*studentised(observed, null)))
    return result


def layers(seed: int, driven: int, n_layers: int = 4) -> dict[str, Any]:
    """p of silent targets in the layer with the best inner r, and of the best of all layers.

    `driven` further targets, which the second layer predicts, choose too.
    """
    generator = rng(seed, "layers", driven)
    common, silent, runs, times = series(generator, 0.6)
    xs = [common + series(generator, 0.6)[0] for _ in range(n_layers)]
    signal = 0.3 * xs[1] @ _directions(generator, common.shape[1], max(driven, 1))
    noise = series(generator, 0.6, targets=max(driven, 1))[1]
    y = np.hstack([silent, (signal + noise)[:, :driven]]).astype(np.float32)
    folds = make_folds(runs, times, "blocks", n=4, embargo=5.0)
    draws = draw_permutations("circular_shift", runs, times, DRAWS, seed, min_shift=20.0)
    found = [fitted(x, y, folds) for x in xs]
    best = int(np.argmax([np.nanmean(selection.validation) for selection, _ in found]))
    nulls = [
        null_of(x, y, folds, selection, draws, "fixed")
        for x, (selection, _) in zip(xs, found, strict=True)
    ]
    scaled = [studentised(score, null) for (_, score), null in zip(found, nulls, strict=True)]
    highest = [np.fmax.reduce(values)[..., :TARGETS] for values in zip(*scaled, strict=True)]
    own = slice(TARGETS)
    return {
        "circular shift, layer given": p_values(found[0][1][own], nulls[0][:, own]),
        "circular shift, layer chosen": p_values(found[best][1][own], nulls[best][:, own]),
        "circular shift, any layer": p_values(*highest),
    }


def events(seed: int, tau: float) -> dict[str, Any]:
    """p values of silent targets at irregular events; responses decorrelate within `tau` s."""
    generator = rng(seed, "events", tau)
    gaps = generator.gamma(2.0, 0.25, size=600)
    times = np.cumsum(gaps)
    x, y = (_at_events(generator, gaps, tau, columns) for columns in (8, TARGETS))
    runs = np.zeros(600, dtype=int)
    folds = make_folds(runs, times, "blocks", n=4, embargo=4.0)
    found, observed = fitted(x, y.astype(np.float32), folds)
    result = {}
    for kind in ("circular_shift", "shuffle"):
        draws = draw_permutations(kind, runs, times, DRAWS, seed, min_shift=20.0)
        null = null_of(x, y.astype(np.float32), folds, found, draws, "fixed")
        result[f"{kind} fixed"] = p_values(observed, null)
    return result


def _at_events(
    generator: np.random.Generator, gaps: np.ndarray, tau: float, columns: int
) -> np.ndarray:
    """Ornstein-Uhlenbeck noise of unit variance at events, (events, columns)."""
    out = generator.standard_normal((len(gaps), columns))
    kept = np.exp(-gaps / tau)
    for row in range(1, len(gaps)):
        out[row] = kept[row] * out[row - 1] + np.sqrt(1 - kept[row] ** 2) * out[row]
    return out


def images(seed: int, shared: float) -> dict[str, Any]:
    """p values of targets that respond to images, reliably, in a way the features do not show.

    `shared` is the share of a trial's variance that the image fixes.
    """
    generator = rng(seed, "images", shared)
    n_images, repeats = 160, 3
    features = generator.standard_normal((n_images, 8))
    of_image = generator.standard_normal((n_images, TARGETS))
    # each quarter of the session shows its own images, in random order
    unit = np.concatenate(
        [generator.permutation(np.tile(part, repeats)) for part in np.split(np.arange(160), 4)]
    )
    y = np.sqrt(shared) * of_image[unit]
    y += np.sqrt(1 - shared) * generator.standard_normal(y.shape)
    runs, times = np.zeros(len(unit), dtype=int), np.arange(len(unit)) * 4.0
    folds = make_folds(runs, times, "blocks", n=4)
    role = np.repeat(np.arange(4), len(unit) // 4)
    x, y = features[unit], y.astype(np.float32)
    found, observed = fitted(x, y, folds)
    result = {}
    for kind in ("image", "shuffle"):
        draws = draw_permutations(kind, runs, times, DRAWS, seed, units=unit, roles=role)
        null = null_of(x, y, folds, found, draws, "fixed")
        result[f"{kind} fixed"] = p_values(observed, null)
    return result


def discoveries(seed: int, phi: float) -> dict[str, Any]:
    """Share of false ones among the targets that BH at .05 finds; half of 20 are driven."""
    x, y, runs, times = series(rng(seed, "fdr", phi), phi, targets=20, signal=0.1, driven=10)
    folds = make_folds(runs, times, "blocks", n=4, embargo=5.0)
    found, observed = fitted(x, y, folds)
    draws = draw_permutations(
        "circular_shift", runs, times, DRAWS, seed, min_shift=20.0, block=LENGTH
    )
    chosen = bh(p_values(observed, null_of(x, y, folds, found, draws, "hybrid"))) <= 0.05
    return {"BH": chosen[10:].sum() / max(chosen.sum(), 1), "found": chosen[:10].mean()}


def power(seed: int, phi: float, signal: float, ways: list[tuple[str, str]]) -> dict[str, Any]:
    """p values of driven targets."""
    x, y, runs, times = series(rng(seed, "power", phi, signal), phi, signal=signal)
    folds = make_folds(runs, times, "blocks", n=4, embargo=5.0)
    found, observed = fitted(x, y, folds)
    result: dict[str, Any] = {"score": observed}
    for kind, how in ways:
        draws = draw_permutations(kind, runs, times, DRAWS, seed, min_shift=20.0, block=LENGTH)
        result[f"{kind} {how}"] = p_values(observed, null_of(x, y, folds, found, draws, how))
    return result


def _for_coverage(seed: int, phi: float) -> tuple[np.ndarray, ...]:
    """Driven targets: two with 5 %, two with 30 % of their variance explained."""
    generator = rng(seed, "coverage", phi)
    x, weak, runs, times = series(generator, phi, targets=2, signal=0.05)
    _, silent, _, _ = series(generator, phi, targets=2)
    strong = np.sqrt(0.3) * x @ _directions(generator, x.shape[1], 2) + np.sqrt(0.7) * silent
    return x, np.hstack([weak, strong]).astype(np.float32), runs, times


def true_scores(seed: int, phi: float) -> dict[str, Any]:
    """Held-out r of one data set; the mean over many is what intervals should cover."""
    x, y, runs, times = _for_coverage(seed, phi)
    folds = make_folds(runs, times, "blocks", n=4, embargo=5.0)
    return {"score": fitted(x, y, folds)[1]}


def bootstrap_intervals(seed: int, phi: float, replicates: int = 199) -> dict[str, Any]:
    """95 % intervals of each target's score, by several bootstraps, (2, targets) each."""
    x, y, runs, times = _for_coverage(seed, phi)
    folds = make_folds(runs, times, "blocks", n=4, embargo=5.0)
    found, observed = fitted(x, y, folds)
    result: dict[str, Any] = {}
    for name, length in (("blocks", LENGTH), ("single rows", None)):
        blocks = make_blocks(folds, runs, times, length)
        weights = draw_weights(blocks, replicates, seed)
        draws = bootstrap_scores(x, y, folds, found.alpha, blocks, weights)
        result[f"{name}, percentile"] = np.stack(interval(draws))
        if length is None:
            continue
        left_out = bootstrap_scores(x, y, folds, found.alpha, blocks, leave_one_out(blocks))
        result[f"{name}, BCa"] = np.stack(interval(draws, observed=observed, jackknife=left_out))
        prediction = held_out(x, y, folds, found.alpha)
        only = bootstrap_predictions(y, prediction, blocks, weights)
        result["test-only blocks, percentile"] = np.stack(interval(only))
    return result


def bins(seed: int, phi: float) -> dict[str, Any]:
    """Whether 95 % intervals of the mean over 80 bins hold its true value, 0."""
    score = autocorrelated(rng(seed, "bins", phi), 80, 1, phi)
    result = {}
    for name, block in (("bins one by one", 1), ("bins in moving blocks of 8", 8)):
        draws = bootstrap_bins(score, draw_bins(80, 499, seed, block))
        low, high = interval(draws)
        result[name] = float(low[0] <= 0 <= high[0])
    return result


def group(seed: int, subjects: int) -> dict[str, Any]:
    """p of a mean over subjects of 0, of normal and of skewed values."""
    generator = rng(seed, "group", subjects)
    result = {}
    for name, values in (
        ("normal", generator.standard_normal((subjects, TARGETS))),
        ("skewed", generator.exponential(size=(subjects, TARGETS)) - 1.0),
    ):
        found = group_test(values, seed, n=999)
        result[f"t, {name}"], result[f"sign flip, {name}"] = found.p_t, found.p_flip
    return result


def swap(seed: int, phi: float, signal: float) -> dict[str, Any]:
    """p values of the swap test between two fitted models that are equally good.

    Each has features of its own; both explain half of `signal`, the share of the responses'
    variance that is not noise.
    """
    import xarray as xr

    from braid.inference.swap import compare_models

    generator = rng(seed, "swap", phi, signal)
    x = {}
    x["a"], silent, runs, times = series(generator, phi)
    x["b"] = series(generator, phi)[0]
    clean = sum(one @ _directions(generator, one.shape[1], TARGETS) for one in x.values())
    y = (np.sqrt(signal / 2) * clean + np.sqrt(1 - signal) * silent).astype(np.float32)
    folds = make_folds(runs, times, "blocks", n=4, embargo=5.0)
    fold = np.zeros(len(y), dtype=int)
    for number, one in enumerate(folds):
        fold[one.test] = number
    coords = {
        "run": ("sample", runs),
        "time": ("sample", times),
        "target": [f"t{number}" for number in range(TARGETS)],
        "site": ("target", [f"s{number}" for number in range(TARGETS)]),
    }
    dims = ("sample", "target")
    response = xr.DataArray(y, dims=dims, coords=coords)
    fits = {
        name: xr.Dataset(
            {
                "prediction": (dims, held_out(one, y, folds, fitted(one, y, folds)[0].alpha)),
                "fold": ("sample", fold),
            },
            coords=coords,
        )
        for name, one in x.items()
    }
    table = compare_models(
        fits, response, {"a > b": ("a", "b")}, {"n": DRAWS, "block": LENGTH}, seed
    )
    return {"swap": table["p"].to_numpy()}
