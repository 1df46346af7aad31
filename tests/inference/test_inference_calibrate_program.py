"""The program of `make calibrate` runs; what it measures is its own business."""

import subprocess
import sys

from braid.common import read_json, read_table


def test_a_small_share_of_the_calibration_runs_to_its_tables(root, tmp_path):
    program = root / "tests" / "calibrate" / "calibrate.py"
    options = ["--scale", "0.001", "--only", "phi 0.6", "--workers", "1", "--out", tmp_path]
    done = subprocess.run(
        [sys.executable, program, *map(str, options)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "nulls, phi 0.6: 3 done" in done.stderr
    table = read_table(tmp_path / "calibration.tsv")
    assert {"false positives", "family-wise error", "coverage"} <= set(table["quantity"])
    assert table["rate"].between(table["low"] - 1e-9, table["high"] + 1e-9).all()
    assert set(table["phi"]) == {0.6}
    sidecar = read_json(tmp_path / "calibration.json")
    assert sidecar["scale"] == 0.001
    assert (tmp_path / "power.tsv").exists()
    assert (tmp_path / "calibration.png").stat().st_size > 10_000
