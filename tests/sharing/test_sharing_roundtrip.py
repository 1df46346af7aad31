"""A study is run, shared, run again elsewhere from the archive, and verified."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr
import yaml
from small_study import SmallStudy, said

pytestmark = pytest.mark.slow  # runs a study twice

VALIDATOR = "roc-validator==0.13.0"
SUBJECTS = ["01"]


def braid(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "braid", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """The study where it was run first."""
    made = SmallStudy(tmp_path_factory.mktemp("first"), SUBJECTS)
    made.config["datasets"]["blocks"]["subjects"] = "all"
    made.write_config()
    done = made.snakemake("--cores", "2", "--quiet", "all")
    assert done.returncode == 0, said(done)
    return made


@pytest.fixture(scope="module")
def archive(study: SmallStudy) -> Path:
    done = braid(study.folder, "share", "--configfile", "study.yaml")
    assert done.returncode == 0, said(done)
    return study.folder / "results" / "small.zip"


@pytest.fixture(scope="module")
def elsewhere(
    study: SmallStudy, archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> SmallStudy:
    """Another copy of the project with the data set, run from the archive's config."""
    made = copy(study)
    made.folder = tmp_path_factory.mktemp("second") / "clone"
    made.results = made.folder / "results" / "small"
    # not from the working tree, which may have changed since
    left = shutil.ignore_patterns("results", ".snakemake", "study.yaml")
    shutil.copytree(study.folder, made.folder, ignore=left)
    with zipfile.ZipFile(archive) as held:
        held.extractall(made.folder / "shared")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all"]
    command += ["--configfile", "shared/config/config.yaml"]
    command += ["--config", "models=shared/config/models.yaml"]
    done = subprocess.run(command, cwd=made.folder, capture_output=True, text=True)
    assert done.returncode == 0, said(done)
    return made


@pytest.fixture
def results(elsewhere: SmallStudy, tmp_path: Path) -> Iterator[Path]:
    """The results of the second run, for a test to spoil: they are put back afterwards."""
    kept = tmp_path / "kept"
    shutil.copytree(elsewhere.results, kept)
    yield elsewhere.results
    shutil.rmtree(elsewhere.results)
    kept.rename(elsewhere.results)


def test_an_archive_holds_what_is_needed_and_no_raw_data(study, archive):
    with zipfile.ZipFile(archive) as held:
        names = set(held.namelist())
        config = yaml.safe_load(held.read("config/config.yaml"))
        assert held.read("config/study.yaml") == (study.folder / "study.yaml").read_bytes()
        assert held.read("config/models.yaml") == (study.folder / "config/models.yaml").read_bytes()
        code = json.loads(held.read("code.json"))
    assert {
        *("results/report.html", "results/tables/sites.tsv", "results/tables/sites.json"),
        *("requirements.lock", "envs/statistics.yaml", "Snakefile", "workflow/rules/common.smk"),
        *("ro-crate-metadata.json", "fingerprints.tsv", "README.md"),
    } <= names
    assert any(name.startswith("results/figures/") for name in names)
    folders = {name.split("/")[1] for name in names if name.startswith("results/")}
    assert not folders & {"units", "events", "features", "design", "logs", "benchmarks", "bids"}
    assert not [name for name in names if name.endswith((".nc", ".nii.gz", ".npy"))]
    # subjects are named, defaults filled in, and the copy is no git clone
    assert config["datasets"]["blocks"]["subjects"] == SUBJECTS
    assert config["analyses"]["blocks"]["test"]["fdr"] == 0.05
    assert code["commit"] is None and re.fullmatch("[0-9a-f]{64}", code["digest"])


def test_the_same_results_give_the_same_bytes(study, archive):
    again = study.folder / "again" / archive.name
    done = braid(study.folder, "share", "--configfile", "study.yaml", "--out", str(again))
    assert done.returncode == 0, said(done)
    assert again.read_bytes() == archive.read_bytes()


def test_every_job_and_file_is_described(archive):
    with zipfile.ZipFile(archive) as held:
        graph = json.loads(held.read("ro-crate-metadata.json"))["@graph"]
        names = set(held.namelist()) - {"ro-crate-metadata.json"}
    entities = {entity["@id"]: entity for entity in graph}
    assert names == {unquote(part["@id"]) for part in entities["./"]["hasPart"]}
    actions = [entity for entity in graph if entity["@type"] == "CreateAction"]
    fits = [action for action in actions if action["name"].startswith("fit: ")]
    assert [action["instrument"]["@id"] for action in fits] == ["workflow/scripts/fit.py"]
    made = fits[0]["result"]["@id"]
    assert made == "#results/small/fits/blocks/onehot/sub-01.nc"
    assert entities[made]["@type"] == "CreativeWork"
    # what the fit has made, the test and the tables take
    takers = {a["name"].split(":")[0] for a in actions if {"@id": made} in as_list(a["object"])}
    assert takers == {"permute", "collect", "report"}
    assert all(action["startTime"] <= action["endTime"] for action in actions)


def as_list(value):
    return value if isinstance(value, list) else [value]


def test_a_run_elsewhere_is_equal(elsewhere, archive):
    done = braid(elsewhere.folder, "verify", str(archive))
    assert done.returncode == 0, said(done)
    assert "0 differ, 0 missing" in done.stdout
    assert "code here is not" not in done.stdout


def test_an_edited_number_is_named(results, elsewhere, archive):
    path = results / "tables" / "sites.tsv"
    lines = path.read_text().splitlines(keepends=True)
    column = lines[0].rstrip().split("\t").index("score")
    cells = lines[4].rstrip("\n").split("\t")
    old = cells[column]
    cells[column] = repr(float(old) * (1 + 1e-6))
    lines[4] = "\t".join(cells) + "\n"
    path.write_text("".join(lines))

    done = braid(elsewhere.folder, "verify", str(archive))
    assert done.returncode == 1, said(done)
    assert re.search(r"^tables/sites\.tsv: column score: 1 of \d+ rows", done.stdout, re.MULTILINE)
    assert f"  row 4: {cells[column]} here, {old} in the archive" in done.stdout
    assert "1 differ, 0 missing" in done.stdout
    assert braid(elsewhere.folder, "verify", str(archive), "--rtol", "1e-5").returncode == 0
    assert braid(elsewhere.folder, "verify", str(archive), "--rtol", "1e-7").returncode == 1


def test_an_edited_array_is_named(results, elsewhere, archive):
    path = results / "fits" / "blocks" / "onehot" / "sub-01.nc"
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        fit = dataset.load()
    fit["score"].values.flat[np.argmax(fit["score"].values)] += 0.5
    fit.to_netcdf(path, engine="h5netcdf")
    done = braid(elsewhere.folder, "verify", str(archive))
    assert done.returncode == 1, said(done)
    assert "fits/blocks/onehot/sub-01.nc: score: high " in done.stdout
    assert "1 differ, 0 missing" in done.stdout


def test_what_is_missing_is_named(results, elsewhere, archive):
    (results / "tables" / "regions.tsv").unlink()
    (results / "units" / "blocks.tsv").unlink()
    done = braid(elsewhere.folder, "verify", str(archive))
    assert done.returncode == 2, said(done)
    assert "missing here: tables/regions.tsv" in done.stdout
    assert "missing here: units/blocks.tsv" in done.stdout


def test_descriptions_count_and_provenance_does_not(results, elsewhere, archive):
    path = results / "tables" / "sites.json"
    sidecar = json.loads(path.read_text())
    path.write_text(json.dumps({**sidecar, "braid_versions": "{}"}))
    assert braid(elsewhere.folder, "verify", str(archive)).returncode == 0
    path.write_text(json.dumps({**sidecar, "score": {"Description": "other"}}))
    done = braid(elsewhere.folder, "verify", str(archive))
    assert done.returncode == 1
    assert "tables/sites.json: described otherwise: score" in done.stdout


def test_without_results_the_command_that_makes_them_is_said(archive, tmp_path):
    done = braid(tmp_path, "verify", str(archive))
    assert done.returncode == 2
    assert "--configfile shared/config/config.yaml" in done.stderr


def test_other_code_is_noted(results, elsewhere, archive):
    script = elsewhere.folder / "workflow" / "scripts" / "fit.py"
    text = script.read_text()
    script.write_text(text + "# changed\n")
    try:
        done = braid(elsewhere.folder, "verify", str(archive))
    finally:
        script.write_text(text)
    assert done.returncode == 0
    assert "the code here is not that of the archive: workflow/scripts/fit.py" in done.stdout


def test_a_study_that_is_not_run_to_its_end_is_refused(study):
    changed = {**study.config, "seed": 99}
    (study.folder / "changed.yaml").write_text(yaml.safe_dump(changed))
    done = braid(study.folder, "share", "--configfile", "changed.yaml", "--out", "changed.zip")
    assert done.returncode == 2
    assert "not up to date with the study" in done.stderr
    assert not (study.folder / "changed.zip").exists()


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as held:
        held.writestr("notes.txt", "none")
    (tmp_path / "text.zip").write_text("none")
    for name, message in {
        "other.zip": "no archive of `braid share`",
        "text.zip": "no zip file, or damaged",
        "absent.zip": "no such archive",
    }.items():
        done = braid(tmp_path, "verify", name)
        assert done.returncode == 2
        assert done.stderr.startswith(f"braid: {name}: ") and message in done.stderr


@pytest.mark.skipif(
    "BRAID_INSTALL" not in os.environ, reason="installs a package: make test-envs runs it"
)
def test_the_provenance_conforms_to_its_profiles(archive, tmp_path):
    uv = [sys.executable, "-m", "uv"]
    python = tmp_path / "validator" / "bin" / "python"
    subprocess.run([*uv, "venv", "--quiet", str(tmp_path / "validator")], check=True)
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), VALIDATOR, "rocrate"]
    subprocess.run(install, check=True)
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad):
        with zipfile.ZipFile(archive) as held:
            held.extractall(folder)
    # a job whose tool is not said is against the profile, and only that
    path = bad / "ro-crate-metadata.json"
    document = json.loads(path.read_text())
    job = next(entity for entity in document["@graph"] if entity["@id"] == "#job-3")
    del job["instrument"]
    path.write_text(json.dumps(document))
    program = Path(__file__).with_name("validate_crate.py")
    command = [str(python), str(program), "required", str(good), str(bad)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, said(done)
    found, found_bad = json.loads(done.stdout.splitlines()[-1])
    assert found == []
    assert any("MUST have an instrument" in message for _, _, message in found_bad)
