"""A Slurm of one node, and studies that are sent to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from small_study import SmallStudy, said

HERE = Path(__file__).parent
# what a user fills in: the account and the partitions of the cluster
ACCOUNT = ("  # slurm_account: mylab\n", "  slurm_account: lab\n")
PARTITIONS = {
    "cpu": {"max_runtime": "1d", "max_mem_mb": 64000, "max_threads": 16},
    "gpu": {
        "max_runtime": "1d",
        "max_mem_mb": 64000,
        "max_threads": 16,
        "max_gpu": 1,
        "available_gpu_models": ["toy"],
    },
}
# a test does not wait as long as a cluster asks one to
IMPATIENT = ("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "10")


def wait_until(happened: Callable[[], object], seconds: float = 300) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)


class Cluster:
    """A running Slurm, asked through its own commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def ask(self, *command: str) -> str:
        """Call a command of Slurm; gives what it prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, said(done)
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Every job that the accounts hold, oldest first."""
        names = "jobidraw,jobname,comment,state,partition,reqmem,alloctres"
        fields = f"--format={names}"
        lines = self.ask("sacct", "--allocations", "--noheader", "--parsable2", fields).splitlines()
        keys = names.split(",")
        return [dict(zip(keys, line.split("|"), strict=True)) for line in lines]

    def running(self, name: str) -> str | None:
        """Give the number of the running job whose comment holds a name, if there is one."""
        for line in self.ask("squeue", "--noheader", "--format=%A|%T|%k").splitlines():
            number, state, comment = line.split("|", 2)
            if state == "RUNNING" and name in comment:
                return number
        return None

    def lose_node(self) -> None:
        """Take the node away from its jobs, and give it back when they have left it."""
        node = self.ask("sinfo", "--noheader", "--format=%n").split()[0]
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        wait_until(lambda: "R" not in self.ask("squeue", "--noheader", "--format=%t"))
        resume = ["scontrol", "update", f"nodename={node}", "state=resume"]
        wait_until(lambda: subprocess.run(resume, env=self.environment).returncode == 0)
        wait_until(lambda: "down" not in self.ask("sinfo", "--noheader", "--format=%T"))

    def last(self) -> int:
        """Number of the newest job."""
        return max((int(job["jobidraw"]) for job in self.jobs()), default=0)

    def since(self, number: int, name: str = "") -> list[dict[str, str]]:
        """Jobs after a number whose comment holds a name."""
        jobs = [job for job in self.jobs() if int(job["jobidraw"]) > number]
        return [job for job in jobs if name in job["comment"]]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start a Slurm of one node; stop it after the last test."""
    if not os.environ.get("BRAID_SLURM"):
        pytest.skip("`make test-slurm` installs and starts a Slurm for this test")
    folder = tmp_path_factory.mktemp("slurm")
    done = subprocess.run([HERE / "start.sh", folder], capture_output=True, text=True)
    try:
        assert done.returncode == 0, said(done)
        yield Cluster(folder)
    finally:
        subprocess.run([HERE / "stop.sh", folder], check=True)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> SmallStudy:
    """Give a study that ran on this machine alone, without Slurm."""
    study = SmallStudy(tmp_path_factory.mktemp("local") / "clone", subjects=["01", "02"])
    # a network asks for a GPU, and does without where there is none
    study.config["device"] = "auto"
    study.config["analyses"]["blocks"]["models"] = ["toy-bert"]
    study.write_config()
    profile = study.folder / "slurm" / "profile.v9+.yaml"
    text = profile.read_text()
    assert ACCOUNT[0] in text
    profile.write_text(text.replace(*ACCOUNT))
    table = study.folder / "slurm" / "partitions.yaml"
    table.write_text(yaml.safe_dump({"partitions": PARTITIONS}))
    done = study.snakemake("--profile", "workflow/profiles/default")
    assert done.returncode == 0, said(done)
    return study


class Sent:
    """A study that is sent to the cluster."""

    def __init__(self, study: SmallStudy, cluster: Cluster) -> None:
        self.study, self.cluster = study, cluster
        self.arguments = ("--profile", "slurm", *IMPATIENT)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        more = {"env": self.cluster.environment, "timeout": 1500}
        return self.study.snakemake(*self.arguments, *arguments, **more)

    def start(self) -> subprocess.Popen[str]:
        """Start the controlling process and do not wait for it."""
        return subprocess.Popen(
            self.study.command(*self.arguments),
            cwd=self.study.folder,
            env=self.cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def in_the_middle(self, process: subprocess.Popen[str]) -> str:
        """Wait until the fits are being made; gives the number of their job."""
        begun = self.study.results / "logs/fit/blocks/toy-bert/sub-01.log"
        wait_until(lambda: begun.is_file() or process.poll() is not None)
        assert process.poll() is None, process.communicate()[0][-6000:]
        number = self.cluster.running("encode")
        assert number is not None
        return number

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Wait for the controlling process, which must succeed; gives what it said."""
        try:
            text, _ = process.communicate(timeout=1500)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text, _ = process.communicate()
            raise AssertionError(f"still running after 25 minutes\n{text[-6000:]}") from None
        assert process.returncode == 0, text[-6000:]
        return text


@pytest.fixture
def sent(tmp_path: Path, undisturbed: SmallStudy, cluster: Cluster) -> Callable[..., Sent]:
    """Copy the finished study, take results away, and give it for the cluster to finish."""

    def without(*results: str) -> Sent:
        study = SmallStudy.__new__(SmallStudy)
        study.folder = tmp_path / "clone"
        study.results = study.folder / "results" / "small"
        shutil.copytree(undisturbed.folder, study.folder, symlinks=True)
        for name in results:
            path = study.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        return Sent(study, cluster)

    return without
