"""Measure how far the tests and intervals of `braid.inference` keep what they promise.

Run by `make calibrate`; writes calibration.tsv, power.tsv (with their JSON sidecars) and
calibration.png. Nothing is judged to pass or fail here: rates stand with their intervals.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simulated
from scipy import stats

from braid.common import progress, seed_for, write_table

LEVELS = (0.01, 0.05)
PHIS = (0.3, 0.6, 0.9)
SIGNALS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
SHIFTS = [("circular_shift", how) for how in ("fixed", "hybrid", "reselect")]
WAYS = [*SHIFTS, ("block", "fixed"), ("shuffle", "fixed")]
SHADES = {"keeps": "#30638e", "cautious": "#7a9e7e", "liberal": "#c1121f"}
COLUMNS = {
    "quantity": "False positives, family-wise error, false discoveries, or coverage",
    "test": "Null or interval, and how penalties were treated",
    "data": "The simulated data",
    "phi": "Autocorrelation of features and responses from one sample to the next, AR(1); for "
    "events the time in s within which both decorrelate; for images the share of a trial's "
    "variance that the image fixes; for groups the number of subjects",
    "level": "What the rate should be",
    "rate": "What it was",
    "low": "Lower end of its 95 % interval (Wilson, with the spread over data sets; of false "
    "discoveries, normal)",
    "high": "Upper end",
    "n": "p values or intervals counted (targets times data sets)",
    "verdict": "keeps: the level lies within the interval; cautious, or liberal: the test says "
    "too little, or too much",
}
POWER_COLUMNS = {
    "test": COLUMNS["test"],
    "phi": "Autocorrelation from one sample to the next, AR(1)",
    "signal": "Share of the responses' variance that the features explain",
    "score": "Mean held-out Pearson r",
    "power": "Share of targets with p <= .05",
    "low": "Lower end of its 95 % interval (Wilson)",
    "high": "Upper end",
    "n": "Targets",
}


@dataclass
class Task:
    """One measurement, repeated over seeds."""

    name: str
    measure: Callable[[int], dict[str, Any]]
    repeats: int
    about: dict[str, Any] = field(default_factory=dict)


def quietly(measure: Callable[[int], dict[str, Any]], seed: int) -> dict[str, Any]:
    """One measurement without the progress lines of the library."""
    with contextlib.redirect_stderr(io.StringIO()):
        return measure(seed)


def tasks_of(scale: float, only: str = "") -> list[Task]:
    """Measurements whose name holds `only`; `scale` 1 gives at least 1000 silent targets each."""

    def times(n: int) -> int:
        return max(3, round(n * scale))

    few = "2 runs of 300 samples, 8 features"
    many = "4 runs of 130 samples, 30 features at 4 delays"
    alike = "4 runs of 130 samples, 30 correlated features at 4 delays"
    tasks = []
    for phi in PHIS:
        about = {"phi": phi, "data": few}
        one = partial(simulated.false_positives, phi=phi, ways=WAYS)
        tasks.append(Task(f"nulls, phi {phi}", one, times(250), about))
        for signal in (0.0, 0.2):
            one = partial(simulated.swap, phi=phi, signal=signal)
            data = f"2 equal models, {signal:.0%} explained"
            tasks.append(
                Task(f"swap, phi {phi}, {data}", one, times(150), {"phi": phi, "data": data})
            )
        fdr = partial(simulated.discoveries, phi=phi)
        tasks.append(
            Task(f"FDR, phi {phi}", fdr, times(80), {**about, "data": "20 targets, 10 driven"})
        )
    for data, correlated in ((many, False), (alike, True)):
        wide = partial(
            simulated.false_positives,
            phi=0.6,
            ways=SHIFTS,
            runs=4,
            length=130,
            features=30,
            delays=4,
            alike=correlated,
        )
        tasks.append(Task(f"nulls, {data}", wide, times(150), {"phi": 0.6, "data": data}))
    for driven in (0, 8, 40):
        about = {"phi": 0.6, "data": f"4 layers, 8 silent and {driven} driven targets choose"}
        one = partial(simulated.layers, driven=driven)
        tasks.append(Task(f"layers, {driven} driven", one, times(150), about))
    for tau in (1.0, 4.0):
        about = {"phi": tau, "data": "600 irregular events in one run, 8 features"}
        tasks.append(
            Task(f"events, {tau} s", partial(simulated.events, tau=tau), times(130), about)
        )
    for shared in (0.0, 0.3):
        about = {"phi": shared, "data": "160 images three times, 8 features"}
        one = partial(simulated.images, shared=shared)
        tasks.append(Task(f"images, {shared}", one, times(130), about))
    for subjects in (5, 12):
        about = {"phi": subjects, "data": "subjects"}
        one = partial(simulated.group, subjects=subjects)
        tasks.append(Task(f"group of {subjects}", one, times(300), about))
    for phi in (0.0, 0.6):
        about = {"phi": phi, "data": f"{few}, 5 % or 30 % explained"}
        truth = partial(simulated.true_scores, phi=phi)
        tasks.append(Task(f"true scores, phi {phi}", truth, times(1500), about))
        one = partial(simulated.bootstrap_intervals, phi=phi)
        tasks.append(Task(f"intervals, phi {phi}", one, times(150), about))
    for phi in (0.0, 0.8):
        about = {"phi": phi, "data": "80 bins of one electrode"}
        tasks.append(Task(f"bins, phi {phi}", partial(simulated.bins, phi=phi), times(1000), about))
    ways = [*SHIFTS[:2], ("block", "fixed")]
    for signal in SIGNALS:
        about = {"phi": 0.6, "signal": signal}
        one = partial(simulated.power, phi=0.6, signal=signal, ways=ways)
        tasks.append(Task(f"power, signal {signal}", one, times(40), about))
    # intervals need the true scores that they should cover
    return [task for task in tasks if only in task.name.replace("true scores", "intervals")]


def measured(tasks: list[Task], seed: int, workers: int) -> Iterator[tuple[Task, pd.DataFrame]]:
    """Run all tasks; one row per seed."""
    # one thread each, which new processes read when they start: they share the cores
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for task in tasks:
            seeds = [seed_for(seed, task.name, number) for number in range(task.repeats)]
            found = pool.map(partial(quietly, task.measure), seeds, chunksize=4)
            rows = list(progress(found, task.name, total=len(seeds)))
            yield task, pd.DataFrame(rows)


def rate_row(
    about: dict[str, Any], quantity: str, test: str, hits: np.ndarray, level: float
) -> dict[str, Any]:
    """Rate of something that should happen with probability `level`; hits by data set."""
    rate, low, high, n = wilson(hits)
    return _row(about, quantity, test, level, rate, low, high, n)


def wilson(hits: np.ndarray) -> tuple[float, float, float, int]:
    """Rate with its Wilson interval, and how many were counted.

    Targets of one data set share features and draws. Where that makes them alike, they count as
    the number of independent ones whose rate would vary as the data sets' rates do.

    Parameters
    ----------
    hits : array of bool, (data sets,) or (data sets, targets)
    """
    hits = np.asarray(hits, dtype=np.float64).reshape(len(hits), -1)
    rate, n = hits.mean(), hits.size
    variance = hits.mean(axis=1).var(ddof=1) / len(hits)
    independent = min(n, rate * (1 - rate) / variance) if variance > 0 else n
    z = stats.norm.ppf(0.975)
    centre = (rate + z**2 / (2 * independent)) / (1 + z**2 / independent)
    half = z * np.sqrt(rate * (1 - rate) / independent + z**2 / (4 * independent**2))
    half /= 1 + z**2 / independent
    return rate, max(centre - half, 0.0), min(centre + half, 1.0), n


def mean_row(
    about: dict[str, Any], quantity: str, test: str, values: np.ndarray, level: float
) -> dict[str, Any]:
    """Mean of something that should be at most `level`."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    mean = values.mean()
    return _row(about, quantity, test, level, mean, mean - half, mean + half, len(values))


def _row(
    about: dict[str, Any],
    quantity: str,
    test: str,
    level: float,
    rate: float,
    low: float,
    high: float,
    n: int,
) -> dict[str, Any]:
    """One row of the table, with its verdict."""
    above, below = ("cautious", "liberal") if quantity == "coverage" else ("liberal", "cautious")
    verdict = above if low > level else below if high < level else "keeps"
    return {
        "quantity": quantity,
        "test": test,
        "data": about["data"],
        "phi": about["phi"],
        "level": level,
        "rate": rate,
        "low": low,
        "high": high,
        "n": n,
        "verdict": verdict,
    }


def false_positive_rows(task: Task, found: pd.DataFrame) -> list[dict[str, Any]]:
    """Rates of p at or below each level, and of families with one."""
    rows = []
    for name in found.columns:
        p = np.stack([np.atleast_1d(one) for one in found[name]])
        quantity = "family-wise error" if name.startswith("max-T") else "false positives"
        for level in LEVELS:
            rows.append(rate_row(task.about, quantity, name.replace("_", " "), p <= level, level))
    return rows


def coverage_rows(task: Task, found: pd.DataFrame, truth: np.ndarray) -> list[dict[str, Any]]:
    """Share of intervals that hold the true score."""
    rows = []
    for name in found.columns:
        ends = np.stack(found[name].to_list())
        inside = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        rows.append(rate_row(task.about, "coverage", f"bootstrap, {name}", inside, 0.95))
    return rows


def power_rows(task: Task, found: pd.DataFrame) -> list[dict[str, Any]]:
    """Share of driven targets found."""
    rows = []
    score = float(np.mean(np.concatenate(found["score"].to_list())))
    for name in found.columns.drop("score"):
        power, low, high, n = wilson(np.stack(found[name].to_list()) <= 0.05)
        rows.append(
            {
                "test": name.replace("_", " "),
                **task.about,
                "score": score,
                "power": power,
                "low": low,
                "high": high,
                "n": n,
            }
        )
    return rows


def tables_of(
    results: Iterator[tuple[Task, pd.DataFrame]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn measurements into the two tables."""
    rows, power, truth = [], [], {}
    for task, found in results:
        kind = task.name.split(",")[0]
        if kind == "true scores":
            truth[task.about["phi"]] = np.stack(found["score"].to_list()).mean(axis=0)
        elif kind == "intervals":
            rows += coverage_rows(task, found, truth[task.about["phi"]])
        elif kind == "bins":
            for name in found.columns:
                rows.append(
                    rate_row(task.about, "coverage", f"bootstrap, {name}", found[name], 0.95)
                )
        elif kind == "FDR":
            about = task.about
            rows.append(mean_row(about, "false discoveries", "BH", found["BH"].to_numpy(), 0.05))
        elif kind == "power":
            power += power_rows(task, found)
        else:
            rows += false_positive_rows(task, found)
    return (
        pd.DataFrame(rows, columns=list(COLUMNS)).sort_values(
            "quantity", kind="stable", ignore_index=True
        ),
        pd.DataFrame(power, columns=list(POWER_COLUMNS)),
    )


def draw_figure(table: pd.DataFrame, power: pd.DataFrame, path: Path) -> None:
    """Rates with their intervals beside what they should be, and power."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    errors = table[(table["quantity"] != "coverage") & (table["level"] == 0.05)]
    covered = table[table["quantity"] == "coverage"]
    height = max(7.0, 0.17 * len(errors) + 1.2)
    figure, axes = plt.subplot_mosaic(
        [["errors", "coverage"], ["errors", "power"]], figsize=(15, height), layout="constrained"
    )
    _draw_rates(axes["errors"], errors, 0.05, "Errors at a level of .05")
    _draw_rates(axes["coverage"], covered, 0.95, "Coverage of 95 % intervals")
    ticks = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
    axes["errors"].set_xscale("log")
    axes["errors"].set_xlim(0.008, 0.6)
    axes["errors"].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes["errors"].minorticks_off()
    axis = axes["power"]
    for name, part in power.groupby("test", sort=False):
        at = [SIGNALS.index(signal) for signal in part["signal"]]
        axis.fill_between(at, part["low"], part["high"], alpha=0.15)
        axis.plot(at, part["power"], "o-", ms=4, label=name)
    axis.axhline(0.05, color="black", lw=0.8, ls="--")
    axis.set_xticks(range(len(SIGNALS)), [f"{signal:.0%}" for signal in SIGNALS])
    axis.set_xlabel("share of variance that the features explain")
    axis.set_ylabel("share of targets with p ≤ .05")
    axis.set_title("Power: 2 runs of 300 samples, phi .6", fontsize=10)
    if len(power):
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_rates(axis: Any, rows: pd.DataFrame, level: float, title: str) -> None:
    """One line per rate, coloured by its verdict."""
    place = np.arange(len(rows))[::-1]
    for at, row in zip(place, rows.itertuples(), strict=True):
        shade = SHADES[row.verdict]
        axis.plot([row.low, row.high], [at, at], color=shade, lw=2)
        axis.plot(row.rate, at, "o", color=shade, ms=4)
    names = [f"{row.test} · {row.data} · {row.phi:g}" for row in rows.itertuples()]
    axis.set_yticks(place, names, fontsize=6)
    axis.set_ylim(-1, len(rows))
    axis.axvline(level, color="black", lw=0.8, ls="--")
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("rate, with its 95 % interval")
    for verdict, shade in SHADES.items():
        axis.plot([], [], "o-", color=shade, label=verdict)
    axis.legend(fontsize=7, loc="upper right" if level < 0.5 else "upper left")


def main() -> None:
    """Measure, write the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/calibrate"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the data sets to make")
    parser.add_argument("--only", default="", help="measure only what has this in its name")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    start = time.monotonic()
    tasks = tasks_of(options.scale, options.only)
    if not tasks:
        parser.error(f"--only: no measurement has '{options.only}' in its name")
    table, power = tables_of(measured(tasks, options.seed, options.workers))
    about = {
        "date": date.today().isoformat(),
        "machine": f"{options.workers} processes, {platform.machine()}",
        "seconds": round(time.monotonic() - start),
        "seed": options.seed,
        "scale": options.scale,
        "draws": simulated.DRAWS,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_table(options.out / "calibration.tsv", table, COLUMNS, **about)
    write_table(options.out / "power.tsv", power, POWER_COLUMNS, **about)
    draw_figure(table, power, options.out / "calibration.png")
    print(table.to_string(index=False, float_format="{:.4f}".format))
    print(f"{options.out}/calibration.tsv, power.tsv, calibration.png; {about['seconds']} s")


if __name__ == "__main__":
    main()
