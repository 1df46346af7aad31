"""The embedded demo, run as a user runs it, to its report."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest
from report_browser import check_page

from braid.common import read_table

MOST_MB = 4096


@pytest.fixture(scope="module")
def demo(snakemake, tmp_path_factory):
    """Results of the demo, and how long it took."""
    results = tmp_path_factory.mktemp("demo")
    started = time.monotonic()
    snakemake("--cores", "all", "--config", f"results={results}")
    print(f"the demo took {time.monotonic() - started:.0f} s")
    return results


# what a study must find; the README says which other rows do not pass, and why
REQUIRED = (
    r"share of \d+ silent sites called significant",
    r"share of \d+ clearly driven sites found",
    r"toy-(?:vit|vilt) minus untrained",
    r"share of \d+ joint sites with combination p <= .05",
    r"share of \d+ (?:sum|vision|language) sites with combination p <= .05",
    r"share of \d+ (?:sum|vision|language) sites called combination",
)


@pytest.mark.parametrize("measure", REQUIRED)
def test_the_planted_truth_is_found(demo, measure):
    table = read_table(demo / "demo" / "evaluation.tsv")
    assert list(table.columns) == ["stage", "measure", "value", "threshold", "pass"]
    rows = table[table["measure"].str.contains(measure)]
    assert len(rows) >= 2
    print(rows.to_string())
    assert rows["pass"].astype(bool).all(), rows.to_string()


def test_a_trained_language_network_beats_its_twin_in_bold(demo):
    table = read_table(demo / "demo" / "evaluation.tsv")
    rows = table[table["measure"].str.contains("toy-bert minus untrained")]
    rows = rows[rows["stage"].str.startswith("bold")]
    assert len(rows) == 2
    assert rows["pass"].astype(bool).all(), rows.to_string()


def test_nothing_is_left_to_do(demo, snakemake):
    done = snakemake("--cores", "all", "--config", f"results={demo}")
    assert "Nothing to be done" in done.stderr


def test_the_report_looks_right_in_a_browser(demo):
    check_page(demo / "demo" / "report.html")


def test_no_job_needs_much_memory(demo):
    peaks = {}
    for path in (demo / "demo" / "benchmarks").rglob("*.tsv"):
        column = pd.read_csv(path, sep="\t")["max_rss"]
        peaks[str(path.relative_to(demo))] = pd.to_numeric(column, errors="coerce").max()
    largest = max(peaks, key=lambda name: peaks[name] if peaks[name] > 0 else 0)
    print(f"largest: {largest} {peaks[largest]:.0f} MB")
    assert peaks[largest] < MOST_MB


def test_only_the_evaluation_reads_the_truth():
    rules = Path(__file__).resolve().parents[2] / "workflow" / "rules"
    readers = []
    for path in rules.glob("*.smk"):
        for part in path.read_text().split("\nrule ")[1:]:
            if "truth=" in part.split("output:")[0]:
                readers.append(part.split(":")[0])
    assert readers == ["evaluate"]


def test_editing_one_network_re_runs_only_what_depends_on_it(demo, snakemake, tmp_path):
    registry = (Path(__file__).resolve().parents[2] / "config" / "models.yaml").read_text()
    edited = registry.replace("toy-vilt: &toy-vilt\n", "toy-vilt: &toy-vilt\n  batch_size: 7\n")
    assert edited != registry
    (tmp_path / "models.yaml").write_text(edited)
    settings = ("--config", f"results={demo}", f"models={tmp_path / 'models.yaml'}")
    done = snakemake("--dry-run", "--cores", "all", *settings)
    counts = {
        line.split()[0]: int(line.split()[1])
        for line in done.stdout.split("Job stats:")[1].split("\n\n")[0].splitlines()
        if len(line.split()) == 2 and line.split()[1].isdigit()
    }
    # the network, its twin and the two entries made of it, in two analyses and three subjects
    assert counts["features"] == 8
    assert counts["design"] == 24
    assert counts["combine"] == 12
    # the latter two are not fitted by themselves, but as two combinations
    assert counts["fit"] == counts["permute"] == 24
    assert counts["compare"] == 6
    rest = {"probe", "collect", "evaluate", "report", "all", "total"}
    assert set(counts) == {"features", "design", "combine", "fit", "permute", "compare", *rest}
