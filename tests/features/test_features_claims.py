"""Claims between real processes: one computes, the others wait, and none waits for the dead."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from braid.features import FeatureStore, claims, load_features
from braid.features.claims import claimed

WAIT = 180.0
# processes of their own that share one import of the libraries, which takes longest
SERVED = multiprocessing.get_context("forkserver")
SERVED.set_forkserver_preload(
    ["braid.features", "braid.models.transformers_networks", "torch", "pytest",
     "transformers.models.vit.modeling_vit", "transformers.models.auto.image_processing_auto"]
)  # fmt: skip
Film = tuple[Path, np.ndarray]


def _extract_slowly(
    entry: dict[str, Any], table: pd.DataFrame, root: str, store: str, barrier: Any, log: str
) -> None:
    """Extract in a process of its own; note each pass of the network."""
    import torch

    from braid.features import extract
    from braid.models import load_model

    torch.set_num_threads(1)
    claims.POLL = 0.05
    model = load_model("mine", entry)

    def note(*_: Any) -> None:
        time.sleep(0.3)
        with Path(log).open("a") as stream:
            stream.write(f"{os.getpid()}\n")

    assert model.module is not None
    model.module.register_forward_pre_hook(note)
    barrier.wait(WAIT)
    manifest = extract(model, table, root, store, batch_size=4)
    Path(f"{log}-{os.getpid()}.json").write_text(json.dumps(manifest))


def test_of_two_processes_that_lack_the_same_features_one_computes(
    tiny: Callable[[str], dict[str, Any]], units: pd.DataFrame, film: Film, tmp_path: Path
) -> None:
    log, store, barrier = tmp_path / "log", tmp_path / "store", SERVED.Barrier(2)
    work = (tiny("vit"), units, str(film[0]), str(store), barrier, str(log))
    processes = [SERVED.Process(target=_extract_slowly, args=work) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT)
        assert process.exitcode == 0
    passes = log.read_text().split()
    # nine units with a picture and one without, four at a time
    assert len(passes) == 3 and len(set(passes)) == 1
    manifests = [json.loads(path.read_text()) for path in tmp_path.glob("log-*.json")]
    assert len(manifests) == 2 and manifests[0] == manifests[1]
    for values in load_features(manifests[0], store).values():
        assert values.shape == (10, 16)
    assert list((store / ".claims").iterdir()) == [] and FeatureStore(store).partial() == []


def _hold(root: str, started: Any) -> None:
    """Hold a claim until killed."""
    with claimed(Path(root), "work", "work"):
        started.set()
        time.sleep(10 * WAIT)


def test_the_claim_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    started = SERVED.Event()
    holder = SERVED.Process(target=_hold, args=(str(tmp_path), started))
    holder.start()
    assert started.wait(WAIT)
    assert json.loads((tmp_path / "work" / "holder.json").read_text())["pid"] == holder.pid
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(WAIT)
    before = time.monotonic()
    with claimed(tmp_path, "work", "work"):
        assert time.monotonic() - before < 10
    assert list(tmp_path.iterdir()) == []


def _count(root: str, barrier: Any, path: str) -> None:
    """Add one to a number in a file, which only works where nobody else does it too."""
    claims.POLL = 0.05
    barrier.wait(WAIT)
    for _ in range(3):
        with claimed(Path(root), "work", "work"):
            before = int(Path(path).read_text())
            time.sleep(0.05)
            Path(path).write_text(str(before + 1))


def test_only_one_holds_a_claim_at_a_time(tmp_path: Path) -> None:
    count, barrier = tmp_path / "count", SERVED.Barrier(3)
    count.write_text("0")
    work = (str(tmp_path / "claims"), barrier, str(count))
    processes = [SERVED.Process(target=_count, args=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT)
        assert process.exitcode == 0
    assert count.read_text() == "9"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A claim of a process on another machine."""
    folder = tmp_path / "work"
    folder.mkdir()
    holder = {"host": "another." + socket.gethostname(), "pid": 1, "started": 0.0}
    (folder / "holder.json").write_text(json.dumps(holder))
    return folder / "holder.json"


def test_a_claim_from_elsewhere_is_believed_while_it_is_touched(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "POLL", 0.05)
    monkeypatch.setattr(claims, "STALE", 1.5)
    begun = time.monotonic()
    os.utime(foreign)
    with claimed(foreign.parents[1], "work", "features of mine"):
        waited = time.monotonic() - begun
    assert 1.0 < waited < 10
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and told[0].startswith("features of mine: process 1 on another.")


def test_an_old_or_damaged_claim_is_taken_away(foreign: Path) -> None:
    past = time.time() - 2 * claims.STALE
    os.utime(foreign, (past, past))
    begun = time.monotonic()
    with claimed(foreign.parents[1], "work", "work"):
        pass
    foreign.parent.mkdir()
    foreign.write_text("not JSON")
    os.utime(foreign, (past, past))
    with claimed(foreign.parents[1], "work", "work"):
        pass
    assert time.monotonic() - begun < 5


def test_a_holder_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.05)
    with claimed(tmp_path, "work", "work"):
        holder = tmp_path / "work" / "holder.json"
        os.utime(holder, (1, 1))
        for _ in range(200):
            if holder.stat().st_mtime > 1:
                break
            time.sleep(0.05)
        assert holder.stat().st_mtime > 1
