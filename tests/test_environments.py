"""The environments of the rules carry the versions of the lock."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


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
        named = re.findall(r'"\.\./\.\./envs/(\w+)\.yaml"', text)
        assert len(named) == len(re.findall(r"^ *script:", text, flags=re.MULTILINE)), rules.name
        used |= set(named)
    assert used == {path.stem for path in ENVIRONMENTS}


def test_the_running_environment_is_the_lock():
    from importlib.metadata import version

    for name in ("numpy", "torch", "transformers", "mne", "nilearn", "snakemake", "xarray"):
        pinned = {v for (n, _), v in LOCK.items() if n == name}
        assert version(name).split("+")[0] in pinned
