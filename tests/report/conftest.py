"""Results folders and reports that several tests read."""

from __future__ import annotations

import fcntl
import os

import pytest
from report_world import CONFIG, Made, make_results

from braid.report import make_report


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Make the report of a small study with all three kinds of recording, once per run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # workers share it
    root = base / "report" / "little"
    done = Made(root, root / "report.html", root / "figures")
    root.parent.mkdir(exist_ok=True)
    with (root.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.page.exists():
            make_results(root, CONFIG)
            make_report(done.root, CONFIG, done.page, done.figures)
    return done
