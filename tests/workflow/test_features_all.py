"""The target `features_all`: every network once for what it is shown, from locked files."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_study import ROOT, SmallStudy, said

from braid.common import sha256_of

COMMIT = "a" * 40
STUDIES = {
    # each of 12 networks and its untrained twin, and 4 controls, for words and for scene cuts
    "seeg_integration": Counter(language=28, vision=28),
    # two analyses of the stories and two of the films share each set of stimuli
    "crossmodal_transfer": Counter(stories=7, films=7),
}


def features_of(plan: str) -> list[tuple[str, str, dict[str, str]]]:
    """Stimuli, network and resources of each job of the rule `features` in a plan."""
    found = []
    for block in re.split(r"^(?=rule |localrule )", plan, flags=re.MULTILINE):
        if block.startswith("rule features:"):
            named = re.search(r"wildcards: analysis=(\S+), model=(\S+)$", block, flags=re.MULTILINE)
            resources = re.search(r"^    resources: (.*)$", block, flags=re.MULTILINE)
            assert named and resources
            pairs = (part.split("=") for part in resources.group(1).split(", "))
            found.append((named.group(1), named.group(2), dict(pairs)))
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_lists_each_network_once_per_stimulus_set(name, snakemake, tmp_path):
    done = snakemake(
        *(
            "features_all",
            "--dry-run",
            "--cores",
            "1",
            "--configfile",
            f"config/studies/{name}.yaml",
        ),
        *("--config", f"results={tmp_path}", f"data_root={tmp_path / 'none'}"),
    )
    jobs = features_of(done.stdout)
    assert Counter(stimuli for stimuli, _, _ in jobs) == STUDIES[name]
    assert len({(stimuli, model) for stimuli, model, _ in jobs}) == len(jobs)
    registry = yaml.safe_load((ROOT / "config" / "models.yaml").read_text())
    for _, model, resources in jobs:
        parameters = registry[model.removesuffix("_untrained")].get("parameters", 0)
        # what is no network needs no GPU; a larger network needs more room for its weights
        assert resources["gpu"] == ("1" if parameters else "0")
        assert int(resources["mem_mb"]) > 2 * 4 * parameters
    assert not re.search(r"^(design|fit|preprocess_\w+) ", done.stdout, flags=re.MULTILINE)


@pytest.mark.parametrize("name", STUDIES)
def test_a_run_without_the_recordings_stops_at_once(name, snakemake, tmp_path):
    done = snakemake(
        *("features_all", "--cores", "1", "--configfile", f"config/studies/{name}.yaml"),
        *("--config", f"results={tmp_path}", f"data_root={tmp_path / 'none'}"),
        check=False,
    )
    assert done.returncode != 0
    said = re.findall(r"^braid: (.*)$", done.stderr, flags=re.MULTILINE)
    assert len(said) == 1
    assert re.search(r"datasets\.\w+\.root: the BIDS root .*none/\w+ does not exist; put", said[0])
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


STUDIED = ("onehot", "toy-bert", "ours")


class Shared(SmallStudy):
    """A study of two analyses of the same stimuli, with a network from the hub's local cache."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ["01"])
        self.cache = folder / "cache"
        self.config["datasets"]["blocks"]["subjects"] = ["01"]
        analysis = self.config["analyses"]["blocks"]
        analysis["models"] = ["onehot", "toy-bert"]
        names = ["cat", "face", "house", "shoe"]
        (folder / "bids" / "names.txt").write_text("\n".join(names))
        self.write_given(1)
        again = {
            **analysis,
            "models": ["hub-bert", "toy-bert", "ours"],
            "ridge": {"alpha_scale": "absolute"},
        }
        self.config["analyses"]["again"] = again
        self.registry = yaml.safe_load((folder / "config" / "models.yaml").read_text())
        toy = {k: v for k, v in self.registry["toy-bert"].items() if k != "path"}
        self.registry["hub-bert"] = {**toy, "hub": "some/bert", "parameters": 100}
        found = {"path": "ours.npy", "key": "text", "keys": "names.txt"}
        self.registry["ours"] = {"source": "given", "modality": "given", "settings": found}
        files = self.put_into_cache(folder / "resources" / "toys" / "toy-bert")
        self.lock: dict[str, Any] = {"some/bert": {"revision": COMMIT, "files": files}}
        self.write_config()

    def write_given(self, scale: float) -> None:
        """Write an array of given features, a row per label, into the data set's root."""
        np.save(self.folder / "bids" / "ours.npy", scale * np.eye(4))

    def put_into_cache(self, network: Path) -> dict[str, dict[str, Any]]:
        """Lay a network out as the library of the hub does; gives what the lock says of it."""
        repository = self.cache / "hub" / "models--some--bert"
        (repository / "blobs").mkdir(parents=True)
        (repository / "snapshots" / COMMIT).mkdir(parents=True)
        files = {}
        for path in network.iterdir():
            digest = sha256_of(path)
            shutil.copy(path, repository / "blobs" / digest)
            link = repository / "snapshots" / COMMIT / path.name
            link.symlink_to(Path("../../blobs") / digest)
            files[path.name] = {"sha256": digest, "size": path.stat().st_size}
        return files

    def write_config(self) -> None:
        super().write_config()
        if hasattr(self, "lock"):
            config = self.folder / "config"
            (config / "models.yaml").write_text(yaml.safe_dump(self.registry, sort_keys=False))
            (config / "models.lock.yaml").write_text(yaml.safe_dump(self.lock))

    def features(self, *arguments: str) -> Any:
        environment = {**os.environ, "HF_HOME": str(self.cache), "HF_HUB_OFFLINE": "1"}
        return self.snakemake("--cores", "2", *arguments, "features_all", env=environment)

    def listed(self) -> set[tuple[str, str]]:
        """Features that a dry-run lists."""
        done = self.features("--dry-run")
        assert done.returncode == 0, said(done)
        return {(stimuli, model) for stimuli, model, _ in features_of(done.stdout)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Give a study whose features are made."""
    study = Shared(tmp_path_factory.mktemp("shared"))
    done = study.features()
    assert done.returncode == 0, said(done)
    return study


@pytest.fixture
def edited(made: Shared) -> Iterator[Shared]:
    """Give the same study, to be edited; the edit is undone."""
    text = yaml.safe_dump([made.config, made.registry, made.lock])
    yield made
    made.config, made.registry, made.lock = yaml.safe_load(text)
    made.write_config()


def test_analyses_of_the_same_stimuli_share_their_features(tmp_path):
    study = Shared(tmp_path)
    assert study.listed() == {("again", model) for model in (*STUDIED, "hub-bert")}


def test_other_units_are_other_stimuli(edited):
    edited.config["analyses"]["blocks"]["units"] = {"kind": "labels", "names": {"face": "a face"}}
    edited.write_config()
    assert {("blocks", model) for model in ("onehot", "toy-bert")} <= edited.listed()


def test_made_features_are_not_made_again(edited):
    assert edited.listed() == set()


def test_given_arrays_that_changed_are_read_again(edited):
    edited.write_given(2)
    assert edited.listed() == {("again", "ours")}
    edited.write_given(1)
    assert edited.listed() == set()


def test_what_features_do_not_depend_on_makes_nothing(edited):
    edited.config["analyses"] = dict(reversed(edited.config["analyses"].items()))
    # what only describes a network, and what is locked of another
    edited.registry["hub-bert"] |= {"licence": "MIT", "parameters": 200, "state": "tiny"}
    edited.lock["other/network"] = {"revision": COMMIT, "files": {}}
    edited.write_config()
    assert edited.listed() == set()


def test_an_edited_entry_makes_only_its_own(edited):
    edited.registry["toy-bert"]["layers"] = ["encoder.layer.{0..2}"]
    edited.write_config()
    assert edited.listed() == {("again", "toy-bert")}


def test_another_lock_makes_only_what_it_locks(edited):
    edited.lock["some/bert"]["revision"] = "b" * 40
    edited.write_config()
    assert edited.listed() == {("again", "hub-bert")}


# the next two come last: a job that fails removes its manifest
def test_a_file_that_differs_from_the_lock_stops_the_run(edited):
    edited.lock["some/bert"]["files"]["model.safetensors"]["sha256"] = "0" * 64
    edited.write_config()
    done = edited.features()
    assert done.returncode != 0
    assert re.search(r"braid: model 'hub-bert': \S+model\.safetensors has SHA-256", done.stderr)


def test_a_network_that_is_not_locked_tells_how_to_fetch_it(edited):
    edited.lock = {}
    edited.write_config()
    assert ("again", "hub-bert") in edited.listed()
    done = edited.features()
    assert done.returncode != 0
    assert "the lock file of the registry has no entry of some/bert; run `python -m" in done.stderr
