"""`snakemake --profile slurm` on a real Slurm: to the report, and through what goes wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_study import said

HERE = Path(__file__).parent
# the fits and what comes after are made again; what comes before is there
LATE = tuple(f"results/small/{name}" for name in ("fits", "tests", "tables", "logs", "report.html"))


def megabytes(job: dict[str, str]) -> int:
    """Memory that a job asked for."""
    text = job["reqmem"]
    return round(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


def asked_by_kind(jobs: list[dict[str, str]]) -> str:
    """Number of jobs of each kind, and the least and the most memory that one asked for."""
    kinds: dict[str, list[int]] = {}
    for job in jobs:
        kind = job["comment"].removeprefix("rule_").split("_wildcards_")[0]
        kinds.setdefault(kind, []).append(megabytes(job))
    return "\n".join(
        f"{kind}: {len(asked)} of {min(asked)} to {max(asked)} MB" for kind, asked in kinds.items()
    )


def test_a_study_runs_to_its_report(sent, cluster, undisturbed):
    study = sent("results", ".snakemake")
    done = study.call("--set-resources", "features:gpu_model=toy")
    assert done.returncode == 0, said(done)
    jobs = cluster.jobs()
    print("\n".join(map(str, jobs)))
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    assert (study.study.results / "report.html").stat().st_size > 100_000
    assert study.study.tables() == undisturbed.tables()
    # the rule that asks for a GPU got the device, and nothing else did
    (features,) = [job for job in jobs if job["comment"].startswith("rule_features")]
    assert features["partition"] == "gpu"
    assert "gres/gpu=1" in features["alloctres"]
    others = [job for job in jobs if job is not features]
    assert {job["partition"] for job in others} == {"cpu"}
    assert not any("gpu" in job["alloctres"] for job in others)
    # two subjects, one job for each step that is grouped
    encode = [job for job in jobs if "encode" in job["comment"]]
    assert len(encode) == 1
    # and it asked for the memory that is planned for both from the sizes of their designs
    plan = study.study.snakemake("--dry-run", "--forcerun", "permute", "--cores", "1")
    planned = re.findall(r"benchmark: \S+/permute/.*?mem_mb=(\d+)", plan.stdout, re.DOTALL)
    assert len(planned) == 2
    assert megabytes(encode[0]) == sum(map(int, planned)) < 3000
    assert (study.study.results / "logs/fit/blocks/toy-bert/sub-02.log").is_file()
    assert "Nothing to be done" in study.call().stderr


@pytest.mark.slow
def test_a_job_killed_for_memory_gets_more(sent, cluster):
    study, before = sent(), cluster.last()
    done = study.call("--snakefile", str(HERE / "ballast.smk"))
    assert done.returncode == 0, said(done)
    first, second = cluster.since(before, "ballast")
    assert first["state"] in ("FAILED", "OUT_OF_MEMORY")
    assert (second["state"], megabytes(first), megabytes(second)) == ("COMPLETED", 600, 1200)
    kept = sorted((study.study.folder / "results/slurm_logs").rglob("*.log"))
    assert len(kept) == 1
    assert "memory limit" in kept[0].read_text()


@pytest.mark.slow
def test_a_cancelled_job_is_sent_again(sent, cluster, undisturbed):
    study, before = sent(*LATE), cluster.last()
    process = study.start()
    cluster.ask("scancel", study.in_the_middle(process))
    study.finish(process)
    first, second = cluster.since(before, "encode")
    assert first["state"].startswith("CANCELLED")
    assert second["state"] == "COMPLETED"
    assert megabytes(second) == 2 * megabytes(first)
    assert study.study.tables() == undisturbed.tables()
    assert study.study.leftovers() == []


@pytest.mark.slow
def test_a_killed_snakemake_goes_on_where_it_was(sent, cluster, undisturbed):
    study = sent(*LATE)
    process = study.start()
    study.in_the_middle(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    refused = study.call()
    assert refused.returncode != 0
    assert "--unlock" in refused.stderr
    clean = subprocess.run(
        ["slurm/after_kill.sh", *study.arguments, "--configfile", "study.yaml"],
        cwd=study.study.folder,
        env=cluster.environment,
        capture_output=True,
        text=True,
    )
    assert clean.returncode == 0, said(clean)
    assert cluster.ask("squeue", "--noheader") == ""
    done = study.call()
    assert done.returncode == 0, said(done)
    assert study.study.tables() == undisturbed.tables()
    assert study.study.leftovers() == []


@pytest.mark.slow
def test_a_node_that_fails_gives_its_job_back(sent, cluster, undisturbed):
    study, before = sent(*LATE), cluster.last()
    process = study.start()
    study.in_the_middle(process)
    cluster.lose_node()
    study.finish(process)
    (job,) = cluster.since(before, "encode")
    assert job["state"] == "COMPLETED"
    # the same job twice: once cut off, once finished
    fields = ("--allocations", "--noheader", "--parsable2", "--format=state")
    states = cluster.ask("sacct", "--duplicates", "--jobs", job["jobidraw"], *fields).split()
    assert states == ["NODE_FAIL", "COMPLETED"]
    assert study.study.tables() == undisturbed.tables()
    assert study.study.leftovers() == []


@pytest.mark.slow
def test_the_demo_runs_to_its_report(sent, cluster):
    study, before = sent("results"), cluster.last()
    command = [sys.executable, "-m", "snakemake", "--nocolor", *study.arguments]
    done = subprocess.run(
        command,
        cwd=study.study.folder,
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=7200,
    )
    assert done.returncode == 0, said(done)
    results = study.study.folder / "results" / "demo"
    assert (results / "report.html").stat().st_size > 100_000
    assert (results / "evaluation.tsv").is_file()
    jobs = cluster.since(before)
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    steps = int(re.findall(r"of (\d+) steps", done.stderr)[-1])
    print(f"{steps} steps in {len(jobs)} Slurm jobs", asked_by_kind(jobs), sep="\n")
    assert len(jobs) < steps / 2
