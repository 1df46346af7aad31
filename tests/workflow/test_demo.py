"""The embedded demo, run as a user runs it, to its report."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from report_browser import check_page

from braid.common import read_table

ROOT = Path(__file__).resolve().parents[2]
MOST_MB = 4096


@pytest.fixture(scope="module")
def demo(snakemake, tmp_path_factory):
    """Results of the demo, and how long it took."""
    results = tmp_path_factory.mktemp("demo")
    started = time.monotonic()
    snakemake("--cores", "all", "--config", f"results={results}")
    print(f"the demo took {time.monotonic() - started:.0f} s")
    return results


# the rows that do not pass; the README says why of each. Any other row that fails is a failure here
MISSED = {
    ("ieeg_film", r"toy-bert minus untrained, mean r over \d+ driven sites"),
    ("ieeg_film", r"toy-bert better than untrained, share of \d+ driven sites"),
    ("ieeg_film", r"share of \d+ joint sites called combination"),
    ("bold_film", r"share of \d+ silent sites with p <= \.05 by toy-vilt"),
    ("bold_film", r"share of \d+ silent sites with p <= \.05 over models"),
    ("seen", r"share of \d+ silent sites with p <= \.05 by toy-vit"),
    ("seen", r"share of \d+ silent sites with p <= \.05 over models"),
    (
        "crossmodal_transfer",
        r"seen_to_heard: share of \d+ silent voxels with p <= \.05 by unimodal",
    ),
    (
        "seeg_integration",
        r"recommended: share of \d+ clearly driven joint sites called integration",
    ),
}


def test_the_planted_truth_is_found(demo):
    table = read_table(demo / "demo" / "evaluation.tsv")
    assert list(table.columns) == ["stage", "measure", "value", "threshold", "pass"]
    assert len(table) >= 125
    known = [
        any(stage == row.stage and re.match(pattern, row.measure) for stage, pattern in MISSED)
        for row in table.itertuples()
    ]
    assert sum(known) == len(MISSED), "a row that the README explains is no longer there"
    assert not table.loc[known, "pass"].astype(bool).any(), "a row that the README explains passes"
    # what the published procedure calls is shown beside, and vouched for by nobody
    paper = table["measure"].str.startswith("paper2024:")
    failed = table[~table["pass"].astype(bool) & ~pd.Series(known) & ~paper]
    assert failed.empty, failed.to_string()


def test_integration_sites_are_checked_against_the_truth(demo):
    """Where no integration was planted, no more than the nominal rate is called."""
    table = read_table(demo / "demo" / "evaluation.tsv").query("stage == 'seeg_integration'")
    assert {measure.split(":")[0] for measure in table["measure"]} == {"recommended", "paper2024"}
    assert table["measure"].str.contains("clearly driven joint sites").sum() == 2
    mistakes = table[table["threshold"].str.startswith(("<=", "="))]
    recommended = mistakes["measure"].str.startswith("recommended")
    assert len(mistakes[recommended]) >= 7
    assert mistakes[recommended]["pass"].astype(bool).all(), mistakes.to_string()


def test_transfer_between_senses_is_checked_against_the_truth(demo):
    """Shared voxels transfer both ways, and their planted dimensions come back."""
    table = read_table(demo / "demo" / "evaluation.tsv").query("stage == 'crossmodal_transfer'")
    measure, passed = table["measure"], table["pass"].astype(bool)
    for transfer in ("heard_to_seen", "seen_to_heard"):
        assert measure.str.contains(f"{transfer}: share of .* shared voxels found").sum() == 1
        assert measure.str.contains(f"{transfer}: .* inverted voxels").sum() == 2
        assert measure.str.contains(f"{transfer}: contrastive minus unimodal").sum() == 1
    dimensions = measure.str.contains("with the planted dimension")
    assert dimensions.sum() == 4
    assert passed[dimensions].all()
    assert measure.str.contains("50 shuffled data sets").sum() == 2
    assert measure.str.contains("seen: .* from repeats").sum() >= 3


def test_the_matrix_of_a_transfer_has_all_layers_and_both_tests(demo):
    """Where voxels are planted that share meanings, the matrix shows it in its chosen layers."""
    for folder in ("heard_to_seen", "seen_to_heard"):
        path = demo / "demo" / "transfers" / folder / "contrastive" / "sub-04_matrix.tsv"
        table = read_table(path)
        source, target = folder.split("_to_")
        assert list(table["test"].unique()) == [source, target]
        everywhere = table[table["region"] == "all"]
        assert everywhere.groupby("test")["layer"].nunique().eq(5).all()
        chosen = everywhere[everywhere["chosen"].astype(bool)]
        assert len(chosen) == 2 and (chosen["p"] <= 0.05).all()
        # of the two, only what is seen has a run that is shown again
        normalised = everywhere.set_index("test")["normalised"]
        assert normalised["seen"].notna().all() and normalised["heard"].isna().all()


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


def test_ridge_jobs_keep_to_the_memory_that_is_planned_for_them(demo, snakemake):
    rules = ("fit", "permute", "transfer", "transfer_matrix")
    plan = snakemake("--dry-run", "--forcerun", *rules, "--config", f"results={demo}")
    planned = re.findall(
        rf"^    benchmark: (\S+/(?:{'|'.join(rules)})/\S+)\n"
        r"(?:    .*\n)*?    resources: .*mem_mb=(\w+)",
        plan.stdout,
        flags=re.MULTILINE,
    )
    assert len(planned) > 70
    assert {Path(path).parts[-4] for path, _ in planned} >= {"transfer", "transfer_matrix"}
    shares = {}
    for path, megabytes in planned:
        used = pd.to_numeric(pd.read_csv(path, sep="\t")["max_rss"], errors="coerce").max()
        shares[path] = float(used) / int(megabytes)
    print(f"at most {max(shares.values()):.2f} of the planned memory")
    assert max(shares.values()) < 1


def test_only_the_evaluation_reads_the_truth():
    rules = ROOT / "workflow" / "rules"
    readers = []
    for path in rules.glob("*.smk"):
        for part in path.read_text().split("\nrule ")[1:]:
            if "truth=" in part.split("output:")[0]:
                readers.append(part.split(":")[0])
    assert readers == ["evaluate"]


def test_editing_one_network_re_runs_only_what_depends_on_it(demo, snakemake, tmp_path):
    registry = (ROOT / "config" / "models.yaml").read_text()
    edited = registry.replace("toy-vilt: &toy-vilt\n", "toy-vilt: &toy-vilt\n  batch_size: 7\n")
    assert edited != registry
    (tmp_path / "models.yaml").write_text(edited)
    settings = ("--config", f"results={demo}", f"models={tmp_path / 'models.yaml'}")
    counts = counts_of(snakemake("--dry-run", "--cores", "all", *settings))
    # the network, its twin and the two entries made of it, in three analyses and three subjects
    assert counts["features"] == 12
    assert counts["design"] == 36
    assert counts["combine"] == 15  # of cuts, only the one that the integration compares
    # the latter two are not fitted by themselves, but as two combinations; cuts are not fitted
    assert counts["fit"] == counts["permute"] == 24
    assert counts["compare"] == 6
    # all four and one combination, for words and cuts
    assert counts["bootstrap_events"] == 30
    assert counts["compare_integration"] == 12 and counts["integrate"] == 2
    rest = {"probe", "collect", "evaluate", "report", "all", "total"}
    made = {"features", "design", "combine", "fit", "permute", "compare"}
    assert set(counts) == made | rest | {"bootstrap_events", "compare_integration", "integrate"}


SHOWN = {"integrate": 2, "evaluate": 1, "report": 1, "all": 1}


@pytest.mark.parametrize(
    ("settings", "jobs"),
    [
        ({"q": 0.1}, SHOWN),
        ({"min_bins": 4}, {"compare_integration": 12, **SHOWN}),
        ({"draws": 70}, {"bootstrap_events": 66, "compare_integration": 12, **SHOWN}),
    ],
    ids=["level", "bins", "draws"],
)
def test_a_setting_of_the_integration_re_runs_only_what_depends_on_it(
    demo, snakemake, tmp_path, settings, jobs
):
    study = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    study["integrations"]["seeg_integration"]["settings"].update(settings)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    config = ("--configfile", str(tmp_path / "study.yaml"), "--config", f"results={demo}")
    counts = counts_of(snakemake("--dry-run", "--cores", "all", *config))
    assert counts == {**jobs, "total": sum(jobs.values())}


def counts_of(plan):
    """Jobs that a dry-run lists, by rule."""
    return {
        line.split()[0]: int(line.split()[1])
        for line in plan.stdout.split("Job stats:")[1].split("\n\n")[0].splitlines()
        if len(line.split()) == 2 and line.split()[1].isdigit()
    }
