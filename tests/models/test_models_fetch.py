"""Downloads, the lock file, and what a job does with both: against real servers, on one machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hub_server import Served, serving

from braid.common import BraidError, InputError, sha256_of
from braid.config import locked, read_lock
from braid.models import fetch as fetching
from braid.models import load_model, model_folder
from braid.models.__main__ import main
from braid.models.fetch import download, fetch

CONTENT = np.random.default_rng(0).bytes(300_000)
OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """Give a server that is the hub, and an empty local cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(fetching, "_PAUSE", 0.0)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
    with serving() as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        template = f"{served.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield served


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if ".part" in path.name]


def test_a_broken_download_is_taken_up_where_it_ended(server: Served, tmp_path: Path) -> None:
    server.files["/w.pt"] = CONTENT
    server.break_after += [100_000, 50_000]
    download(f"{server.address}/w.pt", tmp_path / "w.pt")
    assert (tmp_path / "w.pt").read_bytes() == CONTENT
    assert [part for _, _, part in server.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert leftovers(tmp_path) == []


def test_a_later_command_takes_up_what_an_earlier_one_left(server: Served, tmp_path: Path) -> None:
    server.files["/w.pt"] = CONTENT
    server.break_after += [20_000] * 5
    with pytest.raises(BraidError, match=r"broke off 5 times .*run the same command again"):
        download(f"{server.address}/w.pt", tmp_path / "w.pt")
    assert not (tmp_path / "w.pt").exists()
    assert (tmp_path / "w.pt.part").read_bytes() == CONTENT[:100_000]
    download(f"{server.address}/w.pt", tmp_path / "w.pt")
    assert (tmp_path / "w.pt").read_bytes() == CONTENT
    assert server.asked[-1][2] == "bytes=100000-"


def test_a_file_that_changed_on_the_server_begins_anew(server: Served, tmp_path: Path) -> None:
    server.files["/w.pt"] = CONTENT
    server.break_after += [10_000] * 5
    with pytest.raises(BraidError):
        download(f"{server.address}/w.pt", tmp_path / "w.pt")
    server.files["/w.pt"] = CONTENT[::-1]
    download(f"{server.address}/w.pt", tmp_path / "w.pt")
    assert (tmp_path / "w.pt").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_and_a_shorter_file_begin_anew(
    server: Served, tmp_path: Path
) -> None:
    server.files["/w.pt"] = CONTENT
    server.ranges = False
    server.break_after += [100_000]
    download(f"{server.address}/w.pt", tmp_path / "w.pt")
    assert (tmp_path / "w.pt").read_bytes() == CONTENT
    server.ranges = True
    # a partial file as long as the whole: the server has nothing to add to it
    (tmp_path / "v.pt.part").write_bytes(CONTENT)
    (tmp_path / "v.pt.part.tag").write_text(f'"{hashlib.sha256(CONTENT).hexdigest()}"')
    server.files["/v.pt"] = CONTENT
    download(f"{server.address}/v.pt", tmp_path / "v.pt")
    assert (tmp_path / "v.pt").read_bytes() == CONTENT


def test_an_address_without_a_file_is_named(server: Served, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"/none\.pt: the server answers 404 .*correct the address"
    ):
        download(f"{server.address}/none.pt", tmp_path / "none.pt")
    assert len(server.asked) == 1
    with pytest.raises(BraidError, match="broke off 5 times"):
        download("http://127.0.0.1:9/x.pt", tmp_path / "x.pt")


def slip(server: Served, **change: Any) -> dict[str, Any]:
    """Entry of a file at an address."""
    return {
        "source": "slip",
        "urls": [f"{server.address}/w.pt"],
        "architecture": "SIMCLR_VITS16",
        "modality": "vision",
        "layers": ["visual"],
        **change,
    }


def test_files_from_addresses_are_locked_and_checked(server: Served, tmp_path: Path) -> None:
    server.files["/w.pt"] = CONTENT
    lock, digest = tmp_path / "models.lock.yaml", hashlib.sha256(CONTENT).hexdigest()
    entry = slip(server, sha256={"w.pt": digest[:8]})
    fetch("mine", entry, lock)
    assert read_lock(lock) == {
        entry["urls"][0]: {"files": {"w.pt": {"sha256": digest, "size": len(CONTENT)}}}
    }
    # again: nothing is downloaded, the lock stays as it is
    before, asked = lock.read_text(), len(server.asked)
    fetch("mine", entry, lock)
    assert (lock.read_text(), len(server.asked)) == (before, asked)
    folder, revision = model_folder("mine", locked(entry, read_lock(lock)))
    assert sha256_of(folder / "w.pt") == digest
    assert revision.startswith("sha256-")
    with pytest.raises(InputError, match=r"which does not begin with 00000000; remove it"):
        fetch("mine", slip(server, sha256={"w.pt": "0" * 8}), tmp_path / "other.lock.yaml")
    assert not (tmp_path / "other.lock.yaml").exists()
    # the server has another file now, which the lock does not mean
    (folder / "w.pt").unlink()
    server.files["/w.pt"] = CONTENT[::-1]
    with pytest.raises(InputError, match=rf"does not begin with {digest}"):
        fetch("mine", slip(server), lock)
    assert lock.read_text() == before


def repository(tiny_folder: Path) -> dict[str, bytes]:
    """Files of a hub repository: a small network, and what nobody needs of it."""
    files = {path.name: path.read_bytes() for path in tiny_folder.iterdir()}
    others = {"README.md": b"# mine", "pytorch_model.bin": CONTENT, "onnx/model.onnx": CONTENT}
    return {**files, **others}


@pytest.fixture
def entry(server: Served, tiny: Any) -> dict[str, Any]:
    """Give the entry of a tiny BERT on the hub, which has two commits."""
    made = tiny("bert")
    files = repository(Path(made["path"]))
    changed = {**files, "config.json": files["config.json"].replace(b"0.1", b"0.2")}
    assert changed != files
    server.repositories["someone/bert"] = {OLD: files, NEW: changed}
    return {**{k: v for k, v in made.items() if k != "path"}, "hub": "someone/bert"}


def test_a_repository_is_locked_and_read_offline(
    server: Served, entry: dict[str, Any], tiny: Any, tmp_path: Path
) -> None:
    lock = tmp_path / "models.lock.yaml"
    fetch("mine", {**entry, "revision": OLD}, lock)
    content = read_lock(lock)[f"someone/bert@{OLD}"]
    assert content["revision"] == OLD
    fetched = {path.rsplit("/", 1)[1] for path in server.gets()}
    assert fetched == set(content["files"])
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= fetched
    assert not {"README.md", "pytorch_model.bin", "model.onnx"} & fetched
    asked = len(server.asked)
    mine = load_model("mine", locked({**entry, "revision": OLD}, read_lock(lock)))
    assert len(server.asked) == asked
    # the same network as from its own folder
    assert (mine.weights, mine.revision) == (load_model("mine", tiny("bert")).weights, OLD)


def test_a_tokenizer_of_its_own_comes_without_weights(
    server: Served, entry: dict[str, Any], tmp_path: Path
) -> None:
    lock = tmp_path / "models.lock.yaml"
    server.files["/w.pt"] = CONTENT
    both = slip(server, source="albef", tokenizer={"hub": "someone/bert", "revision": OLD})
    fetch("mine", both, lock)
    known = read_lock(lock)
    assert set(known) == {f"someone/bert@{OLD}", both["urls"][0]}
    assert "tokenizer.json" in known[f"someone/bert@{OLD}"]["files"]
    assert "model.safetensors" not in known[f"someone/bert@{OLD}"]["files"]
    folder, revision = model_folder("mine", locked(both, known)["tokenizer"])
    assert (folder / "tokenizer.json").exists() and revision == OLD
    # the network itself is another entry of the same repository: the lock has both now
    fetch("other", {**entry, "revision": OLD}, lock)
    files = read_lock(lock)[f"someone/bert@{OLD}"]["files"]
    assert {"tokenizer.json", "model.safetensors"} <= set(files)


def test_a_damaged_download_is_not_locked(
    server: Served, entry: dict[str, Any], tmp_path: Path
) -> None:
    lock = tmp_path / "models.lock.yaml"
    fetch("mine", entry, lock)
    path = model_folder("mine", locked(entry, read_lock(lock)))[0] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    lock.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors has SHA-256 .* as the hub says"):
        fetch("mine", entry, lock)
    assert not lock.exists()
    path.resolve().unlink()
    path.unlink(missing_ok=True)
    fetch("mine", entry, lock)
    assert load_model("mine", locked(entry, read_lock(lock))).revision == NEW


def test_without_a_revision_the_lock_keeps_one(
    server: Served, entry: dict[str, Any], tmp_path: Path
) -> None:
    lock, commits = tmp_path / "models.lock.yaml", server.repositories["someone/bert"]
    newest = commits.pop(NEW)
    fetch("mine", entry, lock)
    assert read_lock(lock)["someone/bert"]["revision"] == OLD
    commits[NEW] = newest
    fetch("mine", entry, lock)
    assert read_lock(lock)["someone/bert"]["revision"] == OLD
    fetch("mine", entry, lock, update=True)
    assert read_lock(lock)["someone/bert"]["revision"] == NEW
    # a pinned one is another checkpoint, and both stay, in order
    fetch("mine", {**entry, "revision": OLD}, lock)
    assert list(read_lock(lock)) == ["someone/bert", f"someone/bert@{OLD}"]


def test_what_differs_from_the_lock_stops(
    server: Served, entry: dict[str, Any], tmp_path: Path
) -> None:
    lock = tmp_path / "models.lock.yaml"
    fetch("mine", entry, lock)
    full = locked(entry, read_lock(lock))
    folder, _ = model_folder("mine", full)
    for name in ("model.safetensors", "tokenizer.json"):
        path = folder / name
        right = path.read_bytes()
        path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
        with pytest.raises(
            InputError, match=rf"{name} has SHA-256 .* as the lock file says; remove"
        ):
            load_model("mine", full)
        # an untrained twin reads no weights, but its tokenizer
        if name == "model.safetensors":
            load_model("mine", full, untrained=True)
        path.write_bytes(right)
    load_model("mine", full)
    less = {k: v for k, v in full["lock"]["files"].items() if k != "model.safetensors"}
    with pytest.raises(InputError, match=r"model\.safetensors is not in the lock file"):
        load_model("mine", {**full, "lock": {**full["lock"], "files": less}})
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json of someone/bert is not in the local cache"):
        load_model("mine", full)


def test_only_locked_files_are_downloaded_by_a_job_that_may(
    server: Served, entry: dict[str, Any], tmp_path: Path
) -> None:
    lock = tmp_path / "models.lock.yaml"
    with pytest.raises(InputError, match="no entry of someone/bert"):
        load_model("mine", entry, offline=False)
    assert server.asked == []
    fetch("mine", entry, lock)
    full = locked(entry, read_lock(lock))
    folder, _ = model_folder("mine", full)
    expected = load_model("mine", full).weights
    for path in folder.iterdir():
        path.resolve().unlink()
        path.unlink()
    with pytest.raises(InputError, match="not in the local cache"):
        load_model("mine", full)
    assert load_model("mine", full, offline=False).weights == expected


def test_a_hub_that_refuses_is_named(server: Served, entry: dict[str, Any], tmp_path: Path) -> None:
    lock = tmp_path / "models.lock.yaml"
    with pytest.raises(InputError, match="the hub has no no/one; correct its key 'hub'"):
        fetch("mine", {**entry, "hub": "no/one"}, lock)
    with pytest.raises(InputError, match=r"someone/bert has no revision c+; correct its key"):
        fetch("mine", {**entry, "revision": "c" * 40}, lock)
    server.repositories["someone/empty"] = {OLD: {"config.json": b"{}"}}
    with pytest.raises(InputError, match="holds no weights that source transformers reads"):
        fetch("mine", {**entry, "hub": "someone/empty"}, lock)
    assert not lock.exists()


@pytest.fixture
def registry(server: Served, entry: dict[str, Any], tmp_path: Path) -> Path:
    """Give a registry of three networks, and a study of two of them."""
    server.files["/w.pt"] = CONTENT
    entries = {
        "bert": entry,
        "simclr": slip(server),
        "other": {**entry, "hub": "no/one"},
        "onehot": {"source": "onehot", "modality": "language"},
    }
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump(entries))
    analysis = {
        "dataset": "d",
        "tasks": ["t"],
        "units": {"kind": "labels"},
        "design": {"kind": "boxcar"},
        "models": ["onehot"],
        "untrained": ["bert"],
        "combinations": {"both": ["onehot", "simclr"]},
    }
    study = {
        "study": "s",
        "models": str(path),
        "datasets": {"d": {"root": "{data_root}/d", "kind": "bold", "tasks": ["t"]}},
        "analyses": {"a": analysis},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    return path


def test_a_study_is_fetched_listed_and_verified(
    server: Served, registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, lock = str(tmp_path / "study.yaml"), tmp_path / "models.lock.yaml"
    assert main(["verify", study]) == 1
    assert "simclr: http" in capsys.readouterr().out
    # networks that stand only in a combination, and untrained twins, are needed too
    assert main(["fetch", study]) == 0
    assert set(read_lock(lock)) == {"someone/bert", f"{server.address}/w.pt"}
    assert "onehot: needs no download" in capsys.readouterr().out
    assert main(["verify", study]) == 0
    assert "3 networks, 0 differences" in capsys.readouterr().out
    assert main(["list", "--registry", str(registry)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    listed = {row[0]: row[3] for row in rows}
    assert (listed["bert"], listed["simclr"]) == ("ready", "ready")
    assert (listed["other"], listed["onehot"]) == ("unlocked", "local")
    for path in (tmp_path / "cache" / "braid").rglob("w.pt"):
        path.write_bytes(CONTENT[::-1])
    assert main(["verify", study]) == 1
    assert "differs from the lock file" in capsys.readouterr().out


def test_the_command_line_names_what_is_wrong(
    registry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = str(tmp_path / "study.yaml")
    for arguments, message in (
        (["fetch"], "name a study, or networks with --models"),
        (["fetch", "nowhere"], "config/studies/nowhere.yaml: no such file"),
        (
            ["fetch", study, "--models", "brt"],
            "the study has no network 'brt'; did you mean 'bert'",
        ),
        (
            ["list", "--models", "brt", "--registry", str(registry)],
            "no network 'brt'; did you mean",
        ),
        (["fetch", "--models", "other", "--registry", str(registry)], "the hub has no no/one"),
    ):
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert message in said
        assert said.count("\n") == 1
