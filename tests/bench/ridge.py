"""Time and memory of braid's ridge beside himalaya's and scikit-learn's: `make bench`.

    python tests/bench/ridge.py                      # all cases, results/bench/ridge.json and .txt
    python tests/bench/ridge.py --case n10p          # one of them
    python tests/bench/ridge.py --case wide --tune   # himalaya's settings on this machine

Protocol. Each contender has a process of its own that holds the same made data; the processes
are asked in turn (braid, himalaya, braid, ...), never two at a time. After a warm-up on some of
the targets, the first full fits are compared, else the case is printed as failed and without
times: penalties must be those of himalaya for 99.9 % of the targets, and weights within 1e-4 of
himalaya's in float64 (`weights_max_rel_diff`, on the first 256 targets). himalaya's own float32
run is measured against the same (`himalaya_weights_max_rel_diff`): KernelRidgeCV, which is its
fastest for more features than rows, does not keep 1e-4 there. Times are medians; `cpu` is the
process's CPU time over all threads, which another load on the machine disturbs least. Memory is
the highest resident set above that before the first fit, with the data already there.
scikit-learn chooses one penalty per target by leave-one-out only, so its penalties are others
and only its time is told.

Where braid is not installed: `PYTHONPATH=workflow/scripts python tests/bench/ridge.py`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from cases import ALPHAS, CASES, FOLDS, Case, Setting, make_data

HERE = Path(__file__).resolve().parent
AGREE, CLOSE, SCORES = 0.999, 1e-4, 1e-4
WARM = 256  # targets of the warm-up
WAYS = {"refit": (1,), "grouped": (2, 6), "grouped_cv": (2, 6)}  # draws measured


class Contender:
    """A worker process and its answers."""

    def __init__(
        self, name: str, case: Case, device: str, threads: int, alpha: str | None = None
    ) -> None:
        count = str(threads)
        limits = {f"{lib}_NUM_THREADS": count for lib in ("OMP", "OPENBLAS", "MKL")}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **limits},
        )
        self.name, self.peak = name, 0.0
        self.walls: list[float] = []
        self.cpus: list[float] = []
        self._send(contender=name, case=case.to_dict(), device=device, alpha=alpha)
        self.ask("settle")

    def _send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, do: str, **how: Any) -> dict[str, Any]:
        """Wait for the answer to one command."""
        assert self.process.stdout is not None
        self._send(do=do, **how)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended; see its message above")
        return json.loads(line)

    def fit(self, **how: Any) -> dict[str, Any]:
        """One timed fit that counts."""
        reply = self.ask("fit", **how)
        self.walls.append(reply["wall"])
        self.cpus.append(reply["cpu"])
        self.peak = reply["peak_mb"]
        return reply

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def figures(self) -> dict[str, Any]:
        """Times and memory, with the name in front."""
        return {
            f"{self.name}_s": float(np.median(self.walls)),
            f"{self.name}_min_s": min(self.walls),
            f"{self.name}_cpu_s": float(np.median(self.cpus)),
            f"{self.name}_cpu_min_s": min(self.cpus),
            f"{self.name}_all_s": self.walls,
            f"{self.name}_peak_mb": self.peak,
        }


def compare(folder: Path) -> dict[str, float]:
    """Share of equal penalties, and differences of weights where the penalties are equal."""
    ours, theirs, exact = (load(folder / f"{who}.npz") for who in ("braid", "himalaya", "exact"))
    same, some = equal(ours["alpha"], theirs["alpha"]), len(exact["alpha"])
    mine = equal(ours["alpha"][:some], exact["alpha"])
    his = equal(theirs["alpha"][:some], exact["alpha"])
    ours, theirs, exact = ours["weights"], theirs["weights"], exact["weights"]
    return {
        "alpha_agreement": float(same.mean()),
        "weights_max_rel_diff": relative(ours[:, :some][:, mine], exact[:, mine]),
        "himalaya_weights_max_rel_diff": relative(theirs[:, :some][:, his], exact[:, his]),
        "weights_max_rel_diff_timed": relative(ours[:, same], theirs[:, same]),
    }


def equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two penalties are the same one of the grid."""
    return np.isclose(a, b, rtol=1e-3)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Largest over columns of |a - b| / |b|."""
    difference = np.linalg.norm(a.astype(np.float64) - b, axis=0)
    return float(np.max(difference / np.linalg.norm(b.astype(np.float64), axis=0)))


def run_cv(case: Case, device: str, repeats: int, threads: int, folder: Path) -> dict[str, Any]:
    """Cross-validated ridge: compare, then time in turn."""
    say(f"{case.name}: himalaya in float64, some targets")
    exact = Contender("himalaya", case, "cpu", threads)
    exact.ask("reference", targets=min(WARM, case.t), save=str(folder / "exact.npz"))
    exact.close()
    braid = Contender("braid", case, device, threads)
    himalaya = Contender("himalaya", case, device, threads)
    for one in (braid, himalaya):
        one.ask("fit", targets=min(WARM, case.t))
    replies = {}
    for one in (braid, himalaya):
        say(f"{case.name}: {one.name}, 1 of {repeats}")
        replies[one.name] = one.fit(save=str(folder / f"{one.name}.npz"))
    found: dict[str, Any] = dict(compare(folder))
    found["himalaya_setting"] = asdict(case.himalaya.get(device, Setting()))
    if found["alpha_agreement"] < AGREE or found["weights_max_rel_diff"] > CLOSE:
        found["failed"] = "results differ"
    else:
        for turn in range(2, repeats + 1):
            for one in (braid, himalaya):
                say(f"{case.name}: {one.name}, {turn} of {repeats}")
                one.fit()
        found |= {**braid.figures(), **himalaya.figures(), "form": replies["braid"]["form"]}
        if device == "cuda":
            rate = braid.ask("sweep")["flops_per_s"]
            found["sweep_tflops"], found["sweep_share"] = rate / 1e12, rate / matmul_rate()
    braid.close()
    himalaya.close()
    if case.sklearn and device == "cpu":
        sklearn = Contender("sklearn", case, device, threads)
        say(f"{case.name}: scikit-learn, once")
        sklearn.fit()
        sklearn.close()
        found |= sklearn.figures()
    return found


def run_permutations(
    case: Case, device: str, repeats: int, threads: int, folder: Path
) -> dict[str, Any]:
    """Retrained permutations at fixed penalties, against each way that himalaya offers."""
    from contenders import observed_alpha

    alpha = str(folder / "alpha.npy")
    np.save(alpha, observed_alpha(case, *make_data(case.n, case.p, case.t)))
    braid = Contender("braid", case, device, threads, alpha)
    himalaya = Contender("himalaya", case, device, threads, alpha)
    braid.ask("fit", draws=2)
    himalaya.ask("fit", draws=1, way="grouped_cv")
    say(f"{case.name}: braid, 1 of {repeats}")
    braid.fit(draws=case.draws, save=str(folder / "braid.npz"))
    braid.ask("weights", save=str(folder / "weights.npy"))
    ways: dict[str, dict[str, float]] = {}
    found = {"alpha_agreement": 1.0, "weights_max_rel_diff": 0.0, "scores_max_abs_diff": 0.0}
    for way in WAYS:
        say(f"{case.name}: himalaya, {way}")
        ways[way] = scaled(himalaya, way, case.draws, folder / f"{way}.npz")
        if way != "refit":  # it chooses other penalties
            theirs, ours = load(folder / f"{way}.npz"), load(folder / "braid.npz")
            apart = np.abs(ours["null"][: len(theirs["null"])] - theirs["null"]).max()
            weights = relative(np.load(folder / "weights.npy"), theirs["weights"])
            found["scores_max_abs_diff"] = max(found["scores_max_abs_diff"], float(apart))
            found["weights_max_rel_diff"] = max(found["weights_max_rel_diff"], weights)
    if found["weights_max_rel_diff"] > CLOSE or found["scores_max_abs_diff"] > SCORES:
        braid.close()
        himalaya.close()
        return {"failed": "results differ", **found}
    best = min((way for way in WAYS if way != "refit"), key=lambda way: ways[way]["wall"])
    walls, cpus = [ways[best]["wall"]], [ways[best]["cpu"]]
    for turn in range(1, repeats):
        say(f"{case.name}: braid, then himalaya ({best}), {turn + 1} of {repeats}")
        braid.fit(draws=case.draws)
        again = scaled(himalaya, best, case.draws, None)
        walls.append(again["wall"])
        cpus.append(again["cpu"])
    himalaya.walls, himalaya.cpus = walls, cpus
    result = {**braid.figures(), **himalaya.figures(), **found, "himalaya_way": best}
    braid.close()
    himalaya.close()
    # the peak of the way that is timed, in a fresh process and at the few draws it was run with
    alone = Contender("himalaya", case, device, threads, alpha)
    result["himalaya_peak_mb"] = alone.ask("fit", draws=WAYS[best][-1], way=best)["peak_mb"]
    alone.close()
    result["himalaya_ways_s"] = {way: figures["wall"] for way, figures in ways.items()}
    result["himalaya_ways_cpu_s"] = {way: figures["cpu"] for way, figures in ways.items()}
    result["himalaya_measured_draws"] = {way: list(draws) for way, draws in WAYS.items()}
    return result


def scaled(himalaya: Contender, way: str, draws: int, save: Path | None) -> dict[str, float]:
    """Seconds for all draws, from a few: what draws share counts once, the rest per draw."""
    replies = []
    for number in WAYS[way]:
        keep = str(save) if save is not None and number == WAYS[way][-1] else None
        replies.append(himalaya.ask("fit", draws=number, way=way, save=keep))
    himalaya.peak = replies[-1]["peak_mb"]
    if len(replies) == 1:
        return {key: replies[0][key] * draws / WAYS[way][0] for key in ("wall", "cpu")}
    (few, more), (first, second) = WAYS[way], replies
    return {
        key: second[key] + (draws - more) * max(second[key] - first[key], 0.0) / (more - few)
        for key in ("wall", "cpu")
    }


def load(path: Path) -> dict[str, np.ndarray]:
    """Arrays of one file."""
    with np.load(path) as found:
        return dict(found)


def tune(case: Case, device: str, threads: int, targets: int) -> None:
    """Print the time of himalaya's settings on some of the targets."""
    targets = min(case.t, targets)
    backends = ["torch_cuda"] if device == "cuda" else ["numpy", "torch"]
    likely, other = "RidgeCV", "KernelRidgeCV"
    if case.p > case.n:
        likely, other = other, likely
    tried = [
        Setting(likely, backend, size, alphas)
        for backend in backends
        for size in (None, 500)
        for alphas in (1, 5, None)
    ] + [Setting(other, backends[0], None, 5)]
    himalaya = Contender("himalaya", case, device, threads)
    print(f"{case.name}, {targets} targets\n{'setting':60s} {'wall s':>8s} {'CPU s':>8s}")
    for setting in tried:
        reply = himalaya.ask("fit", targets=targets, setting=asdict(setting))
        label = ", ".join(str(value) for value in asdict(setting).values())
        print(f"{label:60s} {reply['wall']:8.2f} {reply['cpu']:8.2f}", flush=True)
    himalaya.close()


def machine(device: str, threads: int) -> dict[str, Any]:
    """Machine class, without names."""
    found: dict[str, Any] = {
        "class": f"{threads} {platform.machine()} cores",
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }
    if device == "cuda":
        import torch

        found["device"] = torch.cuda.get_device_name()
        found["float32_matmul_tflops"] = matmul_rate() / 1e12
    return found


def matmul_rate(size: int = 8192) -> float:
    """Float32 matrix products per second on the device, TF32 off, in FLOP/s."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.randn(size, size, device="cuda")
    best = np.inf
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ a
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


def versions() -> dict[str, str]:
    """Versions of what takes part."""
    found = {}
    for name in ("numpy", "scipy", "torch", "himalaya", "scikit-learn"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def table(cases: list[dict[str, Any]]) -> str:
    """Text for people."""
    lines = [
        "case          n     p      t  device  braid s  himalaya s  ratio  CPU ratio   aim"
        "  braid MB  himalaya MB  same alpha  weights"
    ]
    for one in cases:
        head = f"{one['name']:12s} {one['n']:5d} {one['p']:5d} {one['t']:6d}  {one['device']:6s}"
        tail = f"{100 * one['alpha_agreement']:9.2f} %  {one['weights_max_rel_diff']:.1e}"
        if "failed" in one:
            lines.append(f"{head}  FAILED: {one['failed']}; same alpha, weights: {tail}")
            continue
        lines.append(
            f"{head} {one['braid_s']:8.2f} {one['himalaya_s']:11.2f} {one['ratio']:6.1f}"
            f" {one['ratio_cpu']:10.1f} {one['aim']:5.0f} {one['braid_peak_mb']:9.0f}"
            f" {one['himalaya_peak_mb']:12.0f}  {tail}"
        )
    for one in cases:
        if "sklearn_s" in one:
            lines.append(
                f"{one['name']}: scikit-learn RidgeCV (leave-one-out, other penalties) "
                f"{one['sklearn_s']:.2f} s, {one['sklearn_peak_mb']:.0f} MB"
            )
        if "sweep_share" in one:
            lines.append(
                f"{one['name']}: {100 * one['sweep_share']:.0f} % of the device's float32 matrix "
                f"product rate during the sweep ({one['sweep_tflops']:.1f} TFLOP/s)"
            )
        if "himalaya_ways_s" in one:
            ways = ", ".join(f"{way} {s:.1f} s" for way, s in one["himalaya_ways_s"].items())
            lines.append(f"{one['name']}: himalaya, {one['draws']} draws, scaled: {ways}")
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress, apart from the results."""
    print(f"[{datetime.datetime.now():%H:%M:%S}] {text}", file=sys.stderr, flush=True)


def run_case(case: Case, device: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one case."""
    repeats = args.repeats or case.repeats
    run = run_cv if case.kind == "cv" else run_permutations
    with tempfile.TemporaryDirectory() as folder:
        found = run(case, device, repeats, args.threads, Path(folder))
    sizes = {"name": case.name, "n": case.n, "p": case.p, "t": case.t, "device": device}
    result = {**sizes, "aim": case.aim, "repeats": repeats, "draws": case.draws, **found}
    if "failed" not in found:
        result["ratio"] = found["himalaya_s"] / found["braid_s"]
        result["ratio_cpu"] = found["himalaya_cpu_s"] / found["braid_cpu_s"]
        result["ratio_min"] = found["himalaya_min_s"] / found["braid_min_s"]
    return result


def main() -> int:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [case.name for case in CASES]
    parser.add_argument("--case", action="append", choices=names, help="may be given repeatedly")
    parser.add_argument("--device", choices=["cpu", "cuda", "all"], default="all")
    parser.add_argument("--repeats", type=int, help="instead of each case's own number")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--tune", action="store_true", help="himalaya's settings; no comparison")
    parser.add_argument("--targets", type=int, default=1000, help="at most, for --tune")
    args = parser.parse_args()
    chosen = [case for case in CASES if not args.case or case.name in args.case]
    devices = devices_of(args.device)
    if args.tune:
        for case in chosen:
            tune(case, devices[-1], args.threads, args.targets)
        return 0
    start, cases = time.perf_counter(), []
    for device in devices:
        for case in chosen:
            cases.append(run_case(case, device, args))
            print(table(cases[-1:]), flush=True)
    result = {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - start,
        "machine": machine(devices[-1], args.threads),
        "versions": versions(),
        "alphas": ALPHAS.tolist(),
        "folds": FOLDS,
        "cases": cases,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "ridge.json").write_text(json.dumps(result, indent=1) + "\n")
    text = f"{result['when']}, {result['machine']['class']}, {result['versions']}\n{table(cases)}\n"
    (args.out / "ridge.txt").write_text(text)
    print(f"\n{text}{args.out / 'ridge.json'} written in {result['seconds']:.0f} s")
    return int(any("failed" in one for one in cases))


def devices_of(wanted: str) -> list[str]:
    """Devices to measure on."""
    if wanted != "all":
        return [wanted]
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


if __name__ == "__main__":
    sys.exit(main())
