"""Measure what study 1's search for integration sites finds of a planted truth, and what beside it.

Run by `make calibrate-integration`; writes rates.tsv, noise.tsv, group.tsv and electrodes.tsv (with
their JSON sidecars) into results/calibrate_integration. The film, the recordings, the networks and
every step are those of a study (`study.yaml`, `world.yaml`); the same code as in the workflow runs
them, in one process per subject instead of one per file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import material
import numpy as np
import pandas as pd
import xarray as xr

from braid.common import progress, read_table, seed_for, write_table
from braid.config import (
    BOOTSTRAPPED,
    Config,
    integration_layer,
    integration_models,
    integration_roles,
    integration_settings,
)
from braid.encoding import layer_names
from braid.inference import (
    Study,
    bootstrap_events,
    compare_candidates,
    correct_comparisons,
    integration_tables,
    stack_models,
    summarise_events,
)
from braid.inference.evaluation import NOMINAL, upper_bound
from braid.inference.evaluation_integration import PRECISION, RECALL, called_integration
from braid.inference.integration_study import GROUP_COLUMNS, sites_columns, wilson

KINDS = ("joint", "sum", "vision", "language", "silent")
SILENT = {"snr": [1e-9, 1e-9]}  # no response that a recording of 0.1 microvolt steps could hold
RATES_COLUMNS = {
    "data": "planted: six subjects; quarter k: their joint electrodes by signal-to-noise ratio",
    "profile": "Settings of the tests",
    "kind": "What drives the electrodes",
    "quantity": "integration: better than every unimodal network and every linear combination, in "
    "the same alignment; else the test, and the alignment (language: words, vision: scene cuts), "
    "or weak, strict: in any, in both",
    "count": "Electrodes of which this is true",
    "n": "Electrodes",
    "rate": "count / n",
    "low": "Lower end of its 95 % interval (Wilson)",
    "high": "Upper end",
    "asked": "What the rate should be",
    "reached": "Whether it is",
}
NOISE_COLUMNS = {
    "profile": RATES_COLUMNS["profile"],
    "quantity": RATES_COLUMNS["quantity"],
    "count": "Electrodes called over all data sets",
    "n": "Electrodes",
    "rate": "count / n",
    "bound": f"95 % binomial bound of {NOMINAL} over the electrodes",
    "sets": "Data sets with an electrode called, each corrected by itself",
    "n_sets": "Data sets",
    "sets_bound": f"95 % binomial bound of {NOMINAL} over the data sets",
    "reached": "Whether rate and sets are within their bounds",
}
Part = dict[tuple[str, str], tuple[xr.Dataset, pd.DataFrame]]  # by profile and alignment


def compared(
    study: Config, profiles: Sequence[str], root: Path, features: Path, subject: str
) -> Part:
    """Compare the candidates of one subject, in every profile and alignment."""
    # one line of progress per bootstrap would drown that of the whole
    with contextlib.redirect_stderr(io.StringIO()):
        entry = study["integrations"]["sites"]
        analyses = material.subject_of(study, root, features, subject)
        made: dict[Any, tuple[dict[str, xr.Dataset], dict[str, xr.Dataset]]] = {}
        found: Part = {}
        for profile in profiles:
            params = integration_settings(entry, profile)
            for alignment, analysis in entry["alignments"].items():
                key = analysis, tuple(str(params[name]) for name in BOOTSTRAPPED)
                if key not in made:
                    made[key] = _bootstrapped(study, *analyses[analysis], params, analysis)
                summaries, draws = made[key]
                scores = stack_models(summaries)
                seed = seed_for(study["seed"], "integration", alignment, subject)
                table = compare_candidates(scores, _roles(study), params, seed, draws)
                found[profile, alignment] = scores, table
        return found


def _bootstrapped(
    study: Config,
    designs: Mapping[str, xr.Dataset],
    response: xr.DataArray,
    params: Mapping[str, Any],
    analysis: str,
) -> tuple[dict[str, xr.Dataset], dict[str, xr.Dataset]]:
    """Bootstrap every model that the study compares: summaries and test scores."""
    entry = study["integrations"]["sites"]
    summaries, draws = {}, {}
    for model in integration_models(_roles(study)):
        layer = integration_layer(entry, model)
        scores = bootstrap_events(
            designs[model],
            response,
            layer_names(designs[model])[-1] if layer == "last" else layer,
            params,
            seed_for(study["seed"], "bootstrap", analysis),
        )
        summaries[model] = summarise_events(scores, params["level"])
        draws[model] = scores[["test"]]
    return summaries, draws


def _roles(study: Config) -> Config:
    return integration_roles(study["integrations"]["sites"], study["analyses"], study["registry"])


def tables_of(study: Config, parts: Sequence[Part], profile: str) -> dict[str, pd.DataFrame]:
    """Correct the comparisons of some subjects and decide the tests."""
    entry = study["integrations"]["sites"]
    params = integration_settings(entry, profile)
    scores = {name: [part[profile, name][0] for part in parts] for name in entry["alignments"]}
    tables = {name: [part[profile, name][1] for part in parts] for name in entry["alignments"]}
    comparisons = correct_comparisons(tables, params)
    made = Study(scores, comparisons, _roles(study), params)
    return integration_tables(made, seed_for(study["seed"], "integration", "sites"))


def electrodes_of(study: Config, sites: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Table of electrodes, with what was planted and whether each is called integration."""
    planted = truth[["subject", "site", "kind", "snr", "clear"]]
    alignments = list(study["integrations"]["sites"]["alignments"])
    table = sites.merge(planted, on=["subject", "site"], validate="one_to_one")
    return table.assign(integration=called_integration(table, alignments))


def quantities(table: pd.DataFrame, alignments: Sequence[str]) -> list[str]:
    """Columns that say whether an electrode passes, the joint decision first."""
    scopes = (*alignments, "weak", "strict")
    names = [f"{test}_{scope}" for test in ("multimodal", "nonlinear") for scope in scopes]
    return ["integration", *(name for name in names if name in table)]


def rate_rows(table: pd.DataFrame, profile: str, alignments: Sequence[str]) -> list[dict]:
    """Rates of every kind, with precision and recall."""
    rows = []
    for kind in KINDS:
        own = table[table["kind"] == kind]
        for name in quantities(table, alignments):
            asked = _asked(kind, name, len(own))
            rows.append(_rate("planted", profile, kind, name, own[name].eq(True), *asked))
    called = table[table["integration"]]
    rows.append(
        _rate("planted", profile, "called", "precision", called["kind"] == "joint", ">=", PRECISION)
    )
    strict = [str(name) for name in table if str(name).endswith("_strict")]
    wrong = [table[name] & ~table[name.replace("_strict", "_weak")] for name in strict]
    rows.append(
        _rate("planted", profile, "all", "strict but not weak", pd.concat(wrong), "<=", 0.0)
    )
    joint = table[table["kind"] == "joint"].sort_values("snr")
    for number, part in enumerate(np.array_split(np.arange(len(joint)), 4), start=1):
        own = joint.iloc[part]
        data = f"quarter {number}, snr {own['snr'].min():.2f} to {own['snr'].max():.2f}"
        rows.append(_rate(data, profile, "joint", "integration", own["integration"]))
    return rows


def _asked(kind: str, name: str, n: int) -> tuple[str, float] | tuple[()]:
    """What issue and specification ask of a rate."""
    if kind == "joint":
        return (">=", RECALL) if name == "integration" else ()
    if name == "integration" or (kind == "sum" and name.startswith("nonlinear")):
        return "<=", upper_bound(n)
    return ()


def _rate(
    data: str,
    profile: str,
    kind: str,
    name: str,
    hits: pd.Series,
    sign: str = "",
    bound: float = np.nan,
) -> dict[str, Any]:
    """One row of the rates."""
    count, n = int(hits.sum()), len(hits)
    rate = count / n if n else np.nan
    low, high = wilson(np.array([count]), np.array([max(n, 1)]))
    reached = {"": "n/a", ">=": str(rate >= bound), "<=": str(rate <= bound)}[sign]
    asked = f"{sign} {bound:.4g}" if sign else "n/a"
    values = [data, profile, kind, name, count, n, rate, low[0], high[0], asked, reached]
    return dict(zip(RATES_COLUMNS, values, strict=True))


def noise_rows(
    tables: Sequence[pd.DataFrame], profile: str, alignments: Sequence[str]
) -> list[dict[str, Any]]:
    """Calls in data sets without any planted effect, each corrected by itself."""
    rows = []
    for name in quantities(tables[0], alignments):
        hits = [table[name].eq(True) for table in tables]
        every = pd.concat(hits)
        sets = sum(bool(one.any()) for one in hits)
        bounds = upper_bound(len(every)), upper_bound(len(hits))
        rate = every.mean()
        within = rate <= bounds[0] and sets / len(hits) <= bounds[1]
        values = [profile, name, int(every.sum()), len(every), rate, bounds[0]]
        values += [sets, len(hits), bounds[1] * len(hits), within]
        rows.append(dict(zip(NOISE_COLUMNS, values, strict=True)))
    return rows


def run_planted(study: Config, folder: Path, features: Path, workers: int) -> dict[str, Any]:
    """Rates over the six subjects of the planted world, and what the group tables say."""
    profiles = list(study["integrations"]["sites"]["profiles"])
    alignments = list(study["integrations"]["sites"]["alignments"])
    job = partial(compared, study, profiles, folder / "bids", features)
    parts = map_subjects(job, folder, workers, "planted")
    truth = read_table(folder / "truth.tsv")
    rates, groups, electrodes = [], [], []
    for profile in profiles:
        tables = tables_of(study, parts, profile)
        found = electrodes_of(study, tables["sites"], truth)
        rates += rate_rows(found, profile, alignments)
        groups.append(tables["group"].assign(profile=profile))
        electrodes.append(found.assign(profile=profile))
    return {
        "rates": pd.DataFrame(rates, columns=list(RATES_COLUMNS)),
        "group": pd.concat(groups)[["profile", *GROUP_COLUMNS]],
        "electrodes": pd.concat(electrodes).filter(items=list(electrodes_columns(alignments))),
    }


def run_noise(study: Config, folder: Path, features: Path, workers: int) -> pd.DataFrame:
    """Calls in recordings without responses; every subject is a data set of its own."""
    profiles = list(study["integrations"]["sites"]["profiles"])
    alignments = list(study["integrations"]["sites"]["alignments"])
    job = partial(compared, study, profiles, folder / "bids", features)
    parts = map_subjects(job, folder, workers, "without effects")
    truth = read_table(folder / "truth.tsv")
    rows = []
    for profile in profiles:
        tables = [
            electrodes_of(study, tables_of(study, [part], profile)["sites"], truth)
            for part in parts
        ]
        rows += noise_rows(tables, profile, alignments)
    return pd.DataFrame(rows, columns=list(NOISE_COLUMNS))


def electrodes_columns(alignments: Sequence[str]) -> dict[str, str]:
    """Describe the columns of the table of electrodes."""
    return {
        "profile": RATES_COLUMNS["profile"],
        **sites_columns(alignments),
        "kind": RATES_COLUMNS["kind"],
        "snr": "Planted signal-to-noise ratio at the words, variances",
        "integration": "Whether it is called an integration site",
    }


def map_subjects(job: Any, folder: Path, workers: int, label: str) -> list[Part]:
    """Run a job over the subjects of a data set, in processes of one thread each."""
    subjects = sorted(path.name[4:] for path in (folder / "bids").glob("sub-*"))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(progress(pool.map(job, subjects), label, total=len(subjects)))


def main() -> None:
    """Simulate, measure, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/calibrate_integration"))
    parser.add_argument("--seed", type=int, default=0, help="of the recordings")
    parser.add_argument("--film", type=float, help="duration of the film, s; else as in world.yaml")
    parser.add_argument("--draws", type=int, default=100, help="replicates of the events")
    parser.add_argument("--noise-draws", type=int, default=40, help="the same without effects")
    parser.add_argument("--sets", type=int, default=20, help="data sets without effects")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as scratch:
        folder = Path(scratch)
        film = {"film": {"films": {"cinema": options.film}}} if options.film else {}
        material.write_recordings(folder / "planted", film, options.seed)
        study = material.read_study(options.out, options.draws)
        features = folder / "features"
        material.extract_features(study, folder / "planted" / "bids", features)
        tables = run_planted(study, folder / "planted", features, options.workers)
        planted_seconds = round(time.monotonic() - start)
        subjects = [f"{number:02d}" for number in range(1, options.sets + 1)]
        silent = {**film, "ieeg": {**SILENT, "subjects": subjects}}
        material.write_recordings(folder / "silent", silent, seed_for(options.seed, "silent"))
        study = material.read_study(options.out, options.noise_draws, untrained=False)
        tables["noise"] = run_noise(study, folder / "silent", features, options.workers)
    about = {
        "date": date.today().isoformat(),
        "machine": f"{options.workers} processes, {platform.machine()}",
        "seconds": round(time.monotonic() - start),
        "seconds_planted": planted_seconds,
        "seed": options.seed,
        "film": material.world_of(film)["film"]["films"]["cinema"],
        "draws": options.draws,
        "noise_draws": options.noise_draws,
        "sets": options.sets,
    }
    columns = {
        "rates": RATES_COLUMNS,
        "noise": NOISE_COLUMNS,
        "group": {"profile": RATES_COLUMNS["profile"], **GROUP_COLUMNS},
        "electrodes": electrodes_columns(list(study["integrations"]["sites"]["alignments"])),
    }
    for name, table in tables.items():
        described = {column: columns[name][column] for column in table}
        write_table(options.out / f"{name}.tsv", table, described, **about)
        if name != "electrodes":
            print(table.to_string(index=False, float_format="{:.4f}".format))
    print(f"{options.out}: {', '.join(columns)}; {about['seconds']} s")


if __name__ == "__main__":
    main()
