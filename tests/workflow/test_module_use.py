"""braid as a module of another workflow, as snakedeploy deploys it, and for the catalog."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from small_study import CONFIG, copy_project, said, write_dataset

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = """\
configfile: "config/config.yaml"


module braid:
    snakefile:
        "../clone/Snakefile"
    config:
        config


use rule * from braid as braid_*


rule count:
    input:
        "results/small/tables/sites.tsv",
    output:
        "sites.txt",
    shell:
        "wc -l < {input} > {output}"


rule everything:
    default_target: True
    input:
        "sites.txt",
        rules.braid_all.input,
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory beside a clone, with a data set and a study of it."""
    folder = tmp_path_factory.mktemp("module")
    copy_project(folder / "clone")
    work = folder / "work"
    write_dataset(work / "bids", ["01"])
    (work / "config").mkdir()
    study = {**CONFIG, "models": "../clone/config/models.yaml"}
    study["datasets"] = {"blocks": {**CONFIG["datasets"]["blocks"], "subjects": ["01"]}}
    (work / "config" / "config.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    return work


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--nocolor", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_another_workflow_uses_the_rules(elsewhere):
    (elsewhere / "Snakefile").write_text(SNAKEFILE)
    done = snakemake(elsewhere)
    assert done.returncode == 0, said(done)
    table = (elsewhere / "results" / "small" / "tables" / "sites.tsv").read_text()
    assert int((elsewhere / "sites.txt").read_text()) == len(table.splitlines()) > 2
    assert (elsewhere / "results" / "small" / "report.html").is_file()
    # nothing is written into the clone
    assert not (elsewhere.parent / "clone" / "results").exists()
    again = snakemake(elsewhere, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr, said(again)


def test_a_deployed_snakefile_uses_them_under_their_own_names(elsewhere):
    """What `snakedeploy deploy-workflow` writes, with the clone as its snakefile."""
    deployed = elsewhere.parent / "deployed"
    shutil.copytree(elsewhere / "config", deployed / "config")
    (deployed / "workflow").mkdir()
    text = SNAKEFILE[: SNAKEFILE.index("rule count:")].replace(" as braid_*", "")
    (deployed / "workflow" / "Snakefile").write_text(text.replace("../clone", "../../clone"))
    done = snakemake(deployed, "--dry-run", "--quiet", "rules")
    assert done.returncode == 0, said(done)
    assert "permute " in done.stdout + done.stderr


def test_an_address_in_the_place_of_a_clone_is_refused(elsewhere):
    """What `snakedeploy` writes names the repository's address."""
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=elsewhere.parent / "clone"
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/Snakefile"
        text = SNAKEFILE[: SNAKEFILE.index("rule count:")].replace("../clone/Snakefile", address)
        (elsewhere / "Addressed").write_text(text)
        done = snakemake(elsewhere, "--dry-run", "--snakefile", "Addressed")
        server.shutdown()
    assert done.returncode != 0
    assert "clone the repository and name the clone's Snakefile" in done.stdout + done.stderr


def test_the_catalog_finds_what_it_asks_for(snakemake):
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert {"mandatory-flags", "software-stack-deployment", "report"} == set(usage)
    assert usage["software-stack-deployment"]["conda"] is True
    assert (ROOT / "config" / "README.md").is_file() and (ROOT / "LICENSE").is_file()
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    # a repository with a folder `workflow` is looked for there
    jobs = [
        snakemake("--dry-run", "--quiet", "rules", "--cores", "1", *arguments)
        for arguments in ([], ["--snakefile", "workflow/Snakefile"])
    ]
    totals = [
        [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("total ")]
        for done in jobs
    ]
    assert totals[0] and set(totals[0]) == set(totals[1])
