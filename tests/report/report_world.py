"""A small, complete results folder of the contract in workflow/README.md, with random content."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import rng, write_array, write_json, write_table
from braid.concepts import COMPONENTS_COLUMNS, UNITS_COLUMNS
from braid.config import models_of
from braid.probe import PROBES_COLUMNS
from braid.transfer import MATRIX_COLUMNS, TIMES_COLUMNS, TRANSFER_COLUMNS

BINS = np.round(np.arange(-0.5, 1.31, 0.2), 3)
AFFINE = np.array([[6.0, 0, 0, -42], [0, 6.0, 0, -60], [0, 0, 6.0, -30], [0, 0, 0, 1]])
SHAPE = (14, 16, 10)
REGIONS = ["superiortemporal", "middletemporal", "lateraloccipital", "fusiform", "n/a"]
LAYERS = {
    "toy-vit": 4,
    "toy-bert": 4,
    "toy-clip": 5,
    "toy-vilt": 4,
    "concat": 4,
    "given": 1,
}
# how well each trained model predicts driven sites, in units of the noise
STRENGTH = {"toy-vit": 0.12, "toy-bert": 0.1, "toy-clip": 0.16, "toy-vilt": 0.22, "concat": 0.17}
NETWORKS = ["toy-vit", "toy-bert", "toy-clip", "toy-vilt"]

CONFIG: dict[str, Any] = {
    "study": "little",
    "question": "Which sites need <vision> & language together?",
    "seed": 7,
    "results": "results",
    "device": "cpu",
    "registry": {
        **{
            name: {
                "source": "open_clip" if name == "toy-clip" else "transformers",
                "modality": modality,
                "objective": "some objective",
                "licence": "BSD-3-Clause",
                "pooling": "mean",
            }
            for name, modality in zip(
                NETWORKS, ["vision", "language", "vision-language", "vision-language"], strict=True
            )
        },
        "given": {"source": "given", "modality": "given", "objective": "as the authors say"},
    },
    "simulate": {"world": "resources/world.yaml", "root": "bids", "truth": "truth.tsv"},
    "datasets": {
        "cinema_ieeg": {
            "root": "bids",
            "kind": "ieeg",
            "subjects": ["01", "02"],
            "tasks": ["film"],
            "validate": "error",
            "preprocess": {"notch": [50, 100], "reference": "average", "band": [0.1, 40],
                           "signal": "broadband", "resample": 128},
        },
        "cinema_bold": {
            "root": "bids",
            "kind": "bold",
            "subjects": ["01", "02"],
            "tasks": ["film", "story"],
            "validate": "warn",
            "preprocess": {"mask": "auto", "detrend": "linear", "high_pass": 0.01,
                           "confounds": "motion", "standardize": True},
        },
        "episodes": {
            "root": "other",
            "kind": "parcels",
            "subjects": ["001", "002"],
            "tasks": ["e1", "e2"],
            "validate": "skip",
            "preprocess": {},
        },
    },
    "analyses": {
        "ieeg_film": {
            "dataset": "cinema_ieeg",
            "tasks": ["film"],
            "units": {"kind": "words", "context_words": 12},
            "design": {"kind": "event_locked", "tmin": -0.5, "tmax": 1.5, "window": 0.2,
                       "step": 0.2},
            "models": ["toy-vit", "toy-bert", "toy-vilt"],
            "untrained": ["toy-vit", "toy-vilt"],
            "combinations": {"concat": ["toy-vit", "toy-bert"]},
            "folds": {"scheme": "blocks", "n": 5, "embargo": 4.0},
            "ridge": {"alphas": {"low": -2, "high": 6, "n": 9}, "alpha_scale": "trace",
                      "select": "r"},
            "test": {"nulls": ["circular_shift", "shuffle"], "n": 200, "min_shift": 20,
                     "block": 20, "alpha": "fixed", "fdr": 0.05},
            "swap": {"n": 250, "block": 15, "among": "all"},
            "compare": {"combination": ["toy-vilt", "concat"],
                        "trained": ["toy-vilt", "toy-vilt_untrained"]},
        },
        "bold_film": {
            "dataset": "cinema_bold",
            "tasks": ["film"],
            "units": {"kind": "words", "context_words": 12},
            "design": {"kind": "lanczos", "delays": [1, 2, 3, 4]},
            "models": ["toy-clip", "toy-vilt"],
            "untrained": ["toy-vilt"],
            "combinations": {},
            "folds": {"scheme": "runs"},
            "ridge": {"alphas": {"low": -2, "high": 6, "n": 9}, "alpha_scale": "trace",
                      "select": "r2"},
            "test": {"nulls": ["circular_shift"], "n": 200, "min_shift": 20, "fdr": 0.05},
            "compare": {"combination": ["toy-vilt", "toy-clip"]},
        },
        "parcels": {
            "dataset": "episodes",
            "tasks": ["e1", "e2"],
            "units": {"kind": "rows", "features": "stimuli/{task}.npy"},
            "design": {"kind": "rows", "delays": [0]},
            "models": ["given"],
            "untrained": [],
            "combinations": {},
            "folds": {"scheme": "holdout", "train": {"task": "e1"}, "test": {"task": "e2"},
                      "inner": 5},
            "ridge": {"alphas": {"low": 0, "high": 6, "n": 9}, "alpha_scale": "absolute",
                      "select": "mse"},
            "test": {"nulls": ["circular_shift"], "n": 200, "min_shift": 30, "fdr": 0.05},
            "compare": {},
        },
    },
    "transfers": {  # a report does not ask whether the sites of the two are the same
        "film_to_voxels": {"source": "ieeg_film", "target": "bold_film",
                           "models": ["toy-vilt", "toy-vilt_untrained"]},
    },
    "components": {
        "film_dimensions": {"analysis": "bold_film", "model": "toy-clip", "n": 4, "draws": 50},
        "too_few": {"analysis": "ieeg_film", "model": "toy-bert", "n": 5, "draws": 20},
    },
    "probes": {
        "film_pairing": {"analysis": "ieeg_film", "model": "toy-vilt", "draws": 60,
                         "min_shift": 25, "units": 150},
    },
    "expect": {},
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A results folder and the report made of it."""

    root: Path
    page: Path
    figures: Path

    @property
    def html(self) -> str:
        return self.page.read_text(encoding="utf-8")


def make_results(root: Path, config: dict[str, Any], signal: float = 1.0) -> None:
    """Write every file that the report reads.

    `signal` scales how well trained models predict; 0 gives a study without any finding.
    """
    sites, comparisons, excluded, quality = [], [], [], []
    for analysis, entry in config["analyses"].items():
        dataset = config["datasets"][entry["dataset"]]
        for subject in dataset["subjects"]:
            targets = _targets(dataset["kind"], subject)
            found = {}
            for model in models_of(entry):
                found[model] = _one_fit(root, analysis, entry, model, subject, targets, signal)
                sites.append(found[model])
            comparisons += _compare(analysis, entry, subject, found)
            _dropped(root, analysis, subject)
        _manifests(root, analysis, entry)
    for name, dataset in config["datasets"].items():
        _index(root, name, dataset)
        for subject in dataset["subjects"]:
            quality += _quality(name, dataset, subject)
            excluded.append((name, subject, "LA1", "flat", "variance 0"))
    write_json(
        root / "validation" / "cinema_ieeg.json",
        {"valid": True, "errors": [], "validator": "3.0.2", "schema": "1.2.7",
         "warnings": [{"code": "SIDECAR_KEY_RECOMMENDED", "count": 12, "message": "a <b> key"}]},
    )  # fmt: skip
    write_json(
        root / "validation" / "cinema_bold.json",
        {"valid": False, "errors": [{"code": "EMPTY_FILE", "location": "/x.nii.gz",
                                     "message": "empty"}], "warnings": [], "validator": "3.0.2",
         "schema": "1.2.7"},
    )  # fmt: skip
    write_json(root / "validation" / "episodes.json", {"valid": None})
    versions = json.dumps({"braid": "0.1.0", "python": "3.11.2", "numpy": "2.4.6"})
    _table(root, "sites", pd.concat(sites, ignore_index=True), braid_versions=versions)
    table = pd.concat(sites, ignore_index=True)
    _table(root, "models", _means(table, ["analysis", "model"]))
    _table(
        root, "regions", _means(table.fillna({"region": "n/a"}), ["analysis", "model", "region"])
    )
    _table(root, "nulls", _nulls(table, config))
    names = "analysis subject comparison a b site region score_a score_b difference p q"
    columns = [*names.split(), "significant", "n_draws"]
    _table(root, "comparisons", pd.DataFrame(comparisons, columns=columns))
    names = ["dataset", "subject", "target", "reason", "detail"]
    _table(root, "excluded", pd.DataFrame(excluded, columns=names))
    names = ["dataset", "subject", "run", "measure", "value", "unit"]
    _table(root, "quality", pd.DataFrame(quality, columns=names))
    make_further(root, config)
    if config.get("simulate"):
        checks = pd.DataFrame(
            [
                ("ieeg", "share of silent sites called significant", 0.02, 0.09, True),
                ("ieeg", "share of clearly driven sites found", 0.74, 0.8, False),
                ("bold", "trained beats untrained", 0.113, "> 0", True),
            ],
            columns=["stage", "measure", "value", "threshold", "pass"],
        )
        write_table(root / "evaluation.tsv", checks, dict.fromkeys(checks, "a column"))


def make_further(root: Path, config: dict[str, Any]) -> None:
    """Write what the rules of the further analyses write."""
    for name, entry in config.get("transfers", {}).items():
        dataset = config["datasets"][config["analyses"][entry["target"]]["dataset"]]
        source = config["datasets"][config["analyses"][entry["source"]]["dataset"]]
        for model in entry["models"]:
            for subject in dataset["subjects"]:
                targets = _targets(dataset["kind"], subject)
                _transfer(root, name, model, subject, targets)
                _matrix(root, name, entry, model, subject, targets)
                if source["kind"] == dataset["kind"] == "ieeg":
                    _times(root, name, model, subject, targets)
    for name, entry in config.get("components", {}).items():
        analysis = config["analyses"][entry["analysis"]]
        kind = config["datasets"][analysis["dataset"]]["kind"]
        _components(root, name, 0 if name == "too_few" else entry["n"], kind)
        write_units(root, entry["analysis"])
    for name, entry in config.get("probes", {}).items():
        _probe(root, name, entry)


def only(config: dict[str, Any], *analyses: str) -> dict[str, Any]:
    """Copy of a config with some of its analyses, their data sets, and no further analyses."""
    config = copy.deepcopy(config)
    for key in ("transfers", "components", "probes"):
        config.pop(key, None)
    config["analyses"] = {name: config["analyses"][name] for name in analyses}
    used = {entry["dataset"] for entry in config["analyses"].values()}
    config["datasets"] = {name: config["datasets"][name] for name in used}
    return config


def _table(root: Path, name: str, table: pd.DataFrame, **sidecar: Any) -> None:
    write_table(root / "tables" / f"{name}.tsv", table, dict.fromkeys(table, "a column"), **sidecar)


def _means(sites: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean over subjects of each subject's mean score, and an interval of made-up width."""
    table = sites.groupby([*by, "subject"])["score"].mean().groupby(by).mean()
    means = table.rename("score_mean").reset_index()
    sizes = sites.groupby(by).size().rename("n_sites").reset_index()
    sizes["n_subjects"] = sites.groupby(by)["subject"].nunique().to_numpy()
    means = means.merge(sizes, on=by)
    return means.assign(score_low=means["score_mean"] - 0.02, score_high=means["score_mean"] + 0.02)


def _nulls(sites: pd.DataFrame, config: dict[str, Any]) -> pd.DataFrame:
    """Widths of the nulls of every fit."""
    rows = []
    for (analysis, subject, model), _ in sites.groupby(["analysis", "subject", "model"]):
        draw = rng(4, analysis, subject, model)
        for null in config["analyses"][analysis]["test"]["nulls"]:
            width = {"circular_shift": 0.05, "shuffle": 0.03}[null] + draw.normal(0, 0.002)
            note = "anti-conservative where rows are autocorrelated" if null == "shuffle" else None
            rows.append(
                {"analysis": analysis, "subject": subject, "model": model, "null": null,
                 "null_sd": width, "naive_sd": 0.028, "n_draws": 200, "distinct": 1180,
                 "note": note}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _targets(kind: str, subject: str) -> pd.DataFrame:
    """Sites of one subject: name, region, coordinates, and whether the site is driven."""
    draw = rng(1, kind, subject)
    if kind == "ieeg":
        xyz = draw.uniform([-60, -90, -30], [60, 50, 60], (36, 3))
        names = [f"{'LR'[i % 2]}{'ABC'[i // 12]}{i % 12 + 1}" for i in range(36)]
    elif kind == "bold":
        grid = np.argwhere(np.ones(SHAPE))
        centre = (np.array(SHAPE) - 1) / 2
        grid = grid[(((grid - centre) / (centre * 0.9)) ** 2).sum(axis=1) < 1]
        xyz = grid @ AFFINE[:3, :3].T + AFFINE[:3, 3]
        names = [f"{i}-{j}-{k}" for i, j, k in grid]
    else:
        xyz = np.full((60, 3), np.nan)
        names = [f"parcel-{i:03d}" for i in range(60)]
    table = pd.DataFrame({"site": names, "x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2]})
    table["region"] = draw.choice(REGIONS, len(table)) if kind != "parcels" else "n/a"
    driven = xyz[:, 1] < -20 if kind != "parcels" else draw.random(len(table)) < 0.6
    table["driven"] = driven
    return table


def _one_fit(
    root: Path, analysis: str, entry: dict[str, Any], model: str, subject: str,
    targets: pd.DataFrame, signal: float,
) -> pd.DataFrame:  # fmt: skip
    """Write fit and test of one model and subject; return its rows of the table of sites."""
    draw = rng(2, analysis, model, subject)
    kind = entry["design"]["kind"]
    bins = BINS if kind == "event_locked" else np.array([np.nan])
    layers = [f"encoder.layer.{i}" for i in range(LAYERS[model.removesuffix("_untrained")])]
    strength = 0.0 if model.endswith("_untrained") else STRENGTH.get(model, 0.2) * signal
    shape = np.exp(-(((bins - 0.3) / 0.25) ** 2)) if kind == "event_locked" else np.ones(1)
    truth = targets["driven"].to_numpy()[:, None] * strength * shape
    depth = np.linspace(0.4, 1, len(layers))[:, None, None]
    score = depth * truth + draw.normal(0, 0.03, (len(layers), *truth.shape))
    score[:, 0] = np.nan  # a site without a score
    flat = score.reshape(len(layers), -1).astype(np.float32)
    n_sites, n_bins = truth.shape
    names = np.repeat(targets["site"].to_numpy(str), n_bins)
    coords: dict[str, Any] = {
        "layer": layers,
        "target": [f"{s}@{b:+.3f}" for s in targets["site"] for b in bins]
        if kind == "event_locked"
        else targets["site"].to_numpy(str),
        "site": ("target", names),
        "region": ("target", np.repeat(targets["region"].to_numpy(str), n_bins)),
        **{axis: ("target", np.repeat(targets[axis].to_numpy(), n_bins)) for axis in "xyz"},
    }
    attrs: dict[str, Any] = {
        "chosen_layer": layers[-1],
        "form": "gram",
        "alphas": json.dumps(list(np.logspace(-2, 6, 9))),
        "edge_low": 0.01,
        "edge_high": 0.12,
        "warnings": json.dumps(["12 % of the chosen penalties are the highest of the grid"]),
        "braid_versions": json.dumps({"braid": "0.1.0", "scipy": "1.17.1"}),
    }
    if kind == "event_locked":
        coords["bin"] = ("target", np.tile(bins, n_sites))
    if kind == "lanczos":
        ijk = np.array([list(map(int, s.split("-"))) for s in targets["site"]])
        coords |= {axis: ("target", ijk[:, i]) for i, axis in enumerate("ijk")}
        attrs |= {"affine": json.dumps(AFFINE.tolist()), "shape": json.dumps(SHAPE)}
    alpha = 10.0 ** draw.integers(-2, 7, (len(layers), 2, flat.shape[1])).astype(float)
    fit = xr.Dataset(
        {
            "score": (("layer", "target"), flat),
            "alpha": (("layer", "fold", "target"), alpha.astype(np.float32)),
            "fold": ("sample", np.repeat([0, 1], 50)),
            "prediction": (("sample", "target"), np.zeros((100, flat.shape[1]), np.float32)),
        },
        coords=coords,
        attrs=attrs,
    )
    write_array(root / "fits" / analysis / model / f"sub-{subject}.nc", fit)
    last = score[-1]
    filled = np.where(np.isfinite(last), last, -np.inf)
    best = filled.argmax(axis=1)
    top = last[np.arange(n_sites), best]
    p = np.clip(1 - draw.random(n_sites), 1 / 201, 1)
    p = np.where(truth.max(axis=1) > 0.05, 1 / 201, p)
    p = np.where(np.isfinite(top), p, np.nan)
    q = np.clip(p * 4, 0, 1)
    return targets.drop(columns="driven").assign(
        analysis=analysis, subject=subject, model=model, layer=layers[-1], n_targets=n_bins,
        best_bin=bins[best], score=top, score_validation=top, statistic=top / 0.03,
        null_mean=0.0, null_sd=0.03, p=p, q=q, p_fwe=np.clip(p * 20, 0, 1), significant=q < 0.05,
        n_draws=200, null=entry["test"]["nulls"][0],
    )  # fmt: skip


def _compare(
    analysis: str, entry: dict[str, Any], subject: str, found: dict[str, pd.DataFrame]
) -> list[tuple[Any, ...]]:
    rows = []
    for name, (a, b) in entry["compare"].items():
        for (_, x), (_, y) in zip(found[a].iterrows(), found[b].iterrows(), strict=True):
            difference = x["score"] - y["score"]
            p = 0.005 if difference > 0.06 else 0.4
            rows.append((analysis, subject, name, a, b, x["site"], x["region"], x["score"],
                         y["score"], difference, p, p * 2, p < 0.05, 200))  # fmt: skip
    return rows


def _transfer(root: Path, name: str, model: str, subject: str, targets: pd.DataFrame) -> None:
    draw = rng(5, name, model, subject)
    n = len(targets)
    strength = 0.0 if model.endswith("_untrained") else 0.15
    within = targets["driven"] * strength + draw.normal(0, 0.03, n)
    score = 0.6 * within + draw.normal(0, 0.02, n)
    score.iloc[0] = np.nan  # a site that was not tested
    hit = (targets["driven"] & score.notna()).to_numpy() & (strength > 0)
    p = np.where(hit, 1 / 201, 0.5)
    table = targets.drop(columns="driven").assign(
        transfer=name, subject=subject, model=model, layer="encoder.layer.3", score=score,
        tuning="none", worth="raw", sign=np.sign(score),
        relative=np.where(hit, score / within, np.nan),
        relative_low=np.where(hit, score / within - 0.2, np.nan),
        relative_high=np.where(hit, score / within + 0.3, np.nan),
        score_within=within, null_mean=0.0, null_sd=0.03, p=p, q=p, p_fwe=p, significant=hit,
        n_draws=200, null="circular_shift",
    )  # fmt: skip
    path = root / "transfers" / name / model / f"sub-{subject}.tsv"
    write_table(path, table[list(TRANSFER_COLUMNS)], TRANSFER_COLUMNS)


def _matrix(
    root: Path, name: str, entry: dict[str, Any], model: str, subject: str, targets: pd.DataFrame
) -> None:
    """Scores within and across, by layer and region; the last layer but one is chosen."""
    draw = rng(6, name, model, subject)
    trained = not model.endswith("_untrained")
    layers = [f"encoder.layer.{i}" for i in range(LAYERS[model.removesuffix("_untrained")])]
    sizes = {"all": len(targets), **targets["region"].value_counts().to_dict()}
    sizes.pop("n/a", None)
    rows = [
        {"transfer": name, "subject": subject, "model": model, "train": entry["source"],
         "test": test, "layer": layer, "chosen": number == max(len(layers) - 2, 0),
         "region": region, "n_sites": size,
         "score": trained * (0.02 + 0.02 * number) * scale + draw.normal(0, 0.004),
         "normalised": np.nan, "null_mean": 0.0, "null_sd": 0.01, "p": 0.01,
         "q": 0.02 if trained else 0.6, "p_fwe": 0.03, "n_draws": 99}
        for test, scale in ((entry["source"], 1.4), (entry["target"], 1.0))
        for number, layer in enumerate(layers)
        for region, size in sizes.items()
    ]  # fmt: skip
    path = root / "transfers" / name / model / f"sub-{subject}_matrix.tsv"
    write_table(path, pd.DataFrame(rows)[list(MATRIX_COLUMNS)], MATRIX_COLUMNS)


def _times(root: Path, name: str, model: str, subject: str, targets: pd.DataFrame) -> None:
    """Scores that are high where both times lie near 0.3 s, and significant there."""
    draw = rng(7, name, model, subject)
    rows = []
    for train in BINS:
        for test in BINS:
            peak = np.exp(-((train - 0.3) ** 2 + (test - 0.3) ** 2) / 0.1)
            peak = 0.0 if model.endswith("_untrained") else float(peak)
            rows.append(
                {"transfer": name, "subject": subject, "model": model, "region": "all",
                 "time_train": train, "time_test": test, "n_sites": len(targets),
                 "score": 0.1 * peak + draw.normal(0, 0.01), "null_mean": 0.0, "null_sd": 0.01,
                 "p": 0.01, "q": 0.01 if peak > 0.5 else 0.7, "p_fwe": 0.05, "n_draws": 99}
            )  # fmt: skip
    path = root / "transfers" / name / model / f"sub-{subject}_times.tsv"
    write_table(path, pd.DataFrame(rows)[list(TIMES_COLUMNS)], TIMES_COLUMNS)


def projections(kind: str, n: int, *variables: str) -> xr.Dataset:
    """Arrays of components: projections of some sites of two subjects, one of them NaN."""
    draw = rng(8, kind, n)
    subjects = {"ieeg": ["01", "02"], "bold": ["01", "02"], "parcels": ["001", "002"]}[kind]
    tables = [_targets(kind, s).iloc[::7].assign(subject=s) for s in subjects]
    sites = pd.concat(tables, ignore_index=True)
    values = {name: draw.normal(0, 1, (len(sites), n)) for name in variables}
    for own in values.values():
        own[:1] = np.nan
    return xr.Dataset(
        {name: (("site", "component"), own.astype(np.float32)) for name, own in values.items()},
        coords={
            "component": np.arange(1, n + 1),
            "site": ("site", sites["site"].to_numpy(object)),
            "subject": ("site", sites["subject"].to_numpy(object)),
            **{axis: ("site", sites[axis].to_numpy(np.float32)) for axis in "xyz"},
        },
    )


def write_units(root: Path, analysis: str) -> None:
    """Table of the units of an analysis: those at the ends of components, with their frames."""
    table = pd.DataFrame(
        {"unit": [f"u{rank}" for rank in (1, 2, 3)], "stimulus": "stimuli/film.mp4",
         "stimulus_time": [1.0, 6.0, 7.0], "frame_time": [1.0, 6.0, 7.0]}
    )  # fmt: skip
    write_table(root / "units" / f"{analysis}.tsv", table, dict.fromkeys(table, "a column"))


def _components(root: Path, name: str, n: int, kind: str) -> None:
    numbers = np.arange(1, n + 1)
    table = pd.DataFrame(
        {"component": numbers, "share": 0.4123 / numbers, "null_mean": 0.2 / numbers,
         "null_sd": 0.0312, "p": numbers / 51, "loso_share": 0.31 / numbers, "n_sites": 1234,
         "n_subjects": 2, "n_draws": 50, "layer": "encoder.layer.2"}
    )  # fmt: skip
    units = pd.DataFrame(
        [
            {"component": number, "end": end, "rank": rank, "unit": f"u{rank}",
             "stimulus": "stimuli/film.mp4", "time": 10.0 * number + rank,
             "text": None if rank == 3 else f"a {end} <word> of {number}", "projection": 1.0 / rank}
            for number in numbers
            for end in ("top", "bottom")
            for rank in (1, 2, 3)
        ],
        columns=list(UNITS_COLUMNS),
    )  # fmt: skip
    folder = root / "components" / name
    write_array(folder / "components.nc", projections(kind, n, "projection"))
    write_table(folder / "components.tsv", table, COMPONENTS_COLUMNS)
    write_table(folder / "components_units.tsv", units, UNITS_COLUMNS)


def _probe(root: Path, name: str, entry: dict[str, Any]) -> None:
    both = [("trained", 2.345, 1.234, 0.81, 0.73, 1 / 61), ("untrained", 0.5, 0.5, -0.02, 0.5, 0.6)]
    table = pd.DataFrame(
        [
            {"probe": name, "model": entry["model"], "weights": weights, "n_units": entry["units"],
             "score_true": true, "score_shifted": shifted, "difference": true - shifted,
             "effect": effect, "share_higher": share, "null_sd": 0.05, "p": p,
             "n_draws": entry["draws"]}
            for weights, true, shifted, effect, share, p in both
        ]
    )  # fmt: skip
    write_table(root / "probes" / f"{name}.tsv", table, PROBES_COLUMNS)


def _dropped(root: Path, analysis: str, subject: str) -> None:
    n = 2 if subject == "01" else 0
    table = pd.DataFrame(
        {"event": range(n), "run": "task-film", "onset": 0.1, "reason": "window leaves the run"},
        columns=["event", "run", "onset", "reason"],
    )
    path = root / "responses" / analysis / f"sub-{subject}_dropped.tsv"
    write_table(path, table, dict.fromkeys(table, "a column"))


def _manifests(root: Path, analysis: str, entry: dict[str, Any]) -> None:
    for name in entry["models"]:
        layers = [{"layer": f"encoder.layer.{i}", "key": "k", "n_features": 64}
                  for i in range(LAYERS[name])]  # fmt: skip
        write_json(
            root / "features" / analysis / f"{name}.json",
            {"model": name, "n_units": 1300, "layers": layers, "truncated": 0,
             "weights": "ab12" * 16},
        )  # fmt: skip


def _index(root: Path, name: str, dataset: dict[str, Any]) -> None:
    slow = dataset["kind"] != "ieeg"
    rows = [
        {"dataset": name, "subject": s, "task": t, "run": f"task-{t}", "kind": dataset["kind"],
         "sampling_frequency": 0.5 if slow else 512.0, "repetition_time": 2.0 if slow else np.nan,
         "n_samples": 300 if slow else 314368, "n_targets": 4032 if slow else 38,
         "duration": 600.0 if slow else 614.0}
        for s in dataset["subjects"]
        for t in dataset["tasks"]
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    write_table(root / "index" / f"{name}.tsv", table, dict.fromkeys(table, "a column"))


def _quality(name: str, dataset: dict[str, Any], subject: str) -> list[tuple[Any, ...]]:
    draw = rng(3, name, subject)
    if dataset["kind"] == "ieeg":
        return [
            (name, subject, "task-film", f"line noise at {line} Hz {when}", value, "ratio")
            for line in (50, 100)
            for when, value in (("before", 40 * draw.random() + 20), ("after", draw.random() + 0.5))
        ]
    if dataset["kind"] == "bold":
        return [
            (name, subject, f"task-{task}_run-{run}", measure, size * (1 + draw.random()), unit)
            for task in dataset["tasks"]
            for run in (1, 2)
            for measure, size, unit in (
                ("temporal signal-to-noise", 40, "ratio"),
                ("framewise displacement", 0.1, "mm"),
                ("DVARS", 12, "image units"),
            )
        ]
    return []
