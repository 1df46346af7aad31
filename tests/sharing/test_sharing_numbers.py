"""Comparison of tables and arrays, and the version of the code."""

from __future__ import annotations

import os
import subprocess
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from braid.common import InputError, write_array, write_table
from braid.sharing import fingerprints
from braid.sharing.archive import write_zip
from braid.sharing.code_version import code_files, code_version
from braid.sharing.contents import contents_of
from braid.sharing.fingerprints import differing, fingerprints_of
from braid.sharing.jobs import jobs_of
from braid.sharing.tables import Tolerance, compare_tables, read_text_table

EXACT = Tolerance()


def text(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_equal_text_is_equal_and_other_text_is_not():
    old = text(site=["01", "02", "03"], r=["0.10", "n/a", "2"])
    assert compare_tables("t.tsv", old.copy(), old, EXACT) == []
    new = text(site=["01", "2", "03"], r=["0.1", "n/a", "2"])
    site, r = compare_tables("t.tsv", new, old, EXACT)
    assert site.what == "column site: 1 of 3 rows, by up to 0"
    assert site.examples == ("row 2: 2 here, 02 in the archive",)
    assert r.examples == ("row 1: 0.1 here, 0.10 in the archive",)


@pytest.mark.parametrize(
    ("new", "tolerance", "equal"),
    [
        ("1.001", Tolerance(rtol=1e-2), True),
        ("1.001", Tolerance(rtol=1e-4), False),
        ("1.001", Tolerance(atol=1e-2), True),
        ("0.999", Tolerance(rtol=1.1e-3), True),
        ("n/a", Tolerance(rtol=10, atol=10), False),
        ("nan", Tolerance(rtol=10, atol=10), False),
        ("one", Tolerance(rtol=10), False),
        ("1", Tolerance(rtol=1e-12), True),
    ],
)
def test_tolerance(new, tolerance, equal):
    found = compare_tables("t.tsv", text(r=[new]), text(r=["1.0"]), tolerance)
    assert (found == []) is equal


def test_rows_and_columns_that_are_not_there():
    old = text(a=["1", "2"], b=["1", "2"])
    (rows,) = compare_tables("t.tsv", old.iloc[:1], old, EXACT)
    assert rows.what == "1 rows here, 2 in the archive"
    (columns,) = compare_tables("t.tsv", old.rename(columns={"b": "c"}), old, EXACT)
    assert columns.what == "other columns here: without b; with c besides"


def test_first_cells_are_shown_and_all_counted():
    new, old = text(r=[str(i + 0.5) for i in range(9)]), text(r=[str(i) for i in range(9)])
    (found,) = compare_tables("t.tsv", new, old, EXACT, show=2)
    assert found.what == "column r: 9 of 9 rows, by up to 0.5" and len(found.examples) == 2


def as_written(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Fingerprints as an archive holds them."""
    table.to_csv(folder / "f.tsv", sep="\t", index=False, na_rep="n/a")
    return read_text_table(folder / "f.tsv")


def arrays(folder: Path, **values: np.ndarray) -> pd.DataFrame:
    dataset = xr.Dataset(
        {
            name: ([f"{name}_{axis}" for axis in range(value.ndim)], value)
            for name, value in values.items()
        }
    )
    write_array(folder / "a.nc", dataset)
    return as_written(fingerprints_of(folder, ["a.nc"]), folder)


def test_fingerprint_of_an_array(tmp_path):
    values = np.array([[1.0, 2.0], [np.nan, 6.0]], dtype=np.float32)
    (row,) = arrays(tmp_path, x=values).to_dict("records")
    assert (row["variable"], row["type"], row["shape"], row["missing"]) == (
        "x",
        "float32",
        "2x2",
        "1",
    )
    measures = [float(row[key]) for key in ("low", "high", "mean", "sd")]
    np.testing.assert_allclose(measures, [1, 6, 3, np.std([1, 2, 6])], rtol=1e-12)


def test_fingerprints_do_not_depend_on_the_slices_read(tmp_path, monkeypatch):
    values = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    labels = np.array([f"s{i}" for i in range(50)])
    whole = arrays(tmp_path, x=values, label=labels)
    monkeypatch.setattr(fingerprints, "_CHUNK", 7)
    sliced = arrays(tmp_path, x=values, label=labels)
    assert list(whole["sha256"]) == list(sliced["sha256"])
    assert list(differing(sliced, whole, Tolerance(rtol=1e-12))) == []


def test_differing_arrays_are_told_apart(tmp_path):
    values = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    old = arrays(tmp_path, x=values, y=values)
    assert list(differing(arrays(tmp_path, x=values, y=values), old, EXACT)) == []
    # one value changed in its last place is seen, and within a tolerance it is not counted
    nudged = values.copy()
    nudged[3, 1] = np.nextafter(nudged[3, 1], np.float32(9))
    new = arrays(tmp_path, x=nudged, y=values)
    assert [name for name, _ in differing(new, old, EXACT)] == ["x"]
    assert list(differing(new, old, Tolerance(rtol=1e-6))) == []
    new = arrays(tmp_path, x=values[:49], z=values)
    found = dict(differing(new, old, Tolerance(rtol=1)))
    assert found == {
        "x": "shape 49x3 here, 50x3 in the archive",
        "y": "not here",
        "z": "only here",
    }
    permuted = arrays(tmp_path, x=values[::-1], y=values)
    assert [name for name, _ in differing(permuted, old, EXACT)] == ["x"]


def test_fingerprint_of_a_table(tmp_path):
    table = pd.DataFrame({"unit": ["a", "b", "c"], "onset": [1.5, np.nan, 2.5]})
    write_table(tmp_path / "t.tsv", table, {"unit": "Unit", "onset": "s"})
    old = as_written(fingerprints_of(tmp_path, ["t.tsv"]), tmp_path)
    onset = old.set_index("variable").loc["onset"]
    assert (onset["missing"], onset["low"], onset["high"], onset["mean"]) == (
        "1",
        "1.5",
        "2.5",
        "2.0",
    )
    write_table(tmp_path / "t.tsv", table.assign(unit=["a", "b", "d"]), {"unit": "U", "onset": "s"})
    new = as_written(fingerprints_of(tmp_path, ["t.tsv"]), tmp_path)
    assert list(differing(new, old, Tolerance(rtol=1))) == [("unit", "other values")]


def test_contents_leave_out_raw_data_and_records(tmp_path):
    for name in (
        *("tables/sites.tsv", "bids/participants.tsv", "events/a/sub-01.tsv", "units/a.tsv"),
        *("captioned/a/captions.tsv", "captioned/a/captions/m.json"),
        *("logs/x.log", "benchmarks/x.tsv", "fits/a/m/sub-01.nc", "report.html"),
        *("figures/a.svg", "figures/.snakemake_timestamp", "bids/derivatives/d.nc"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = contents_of(tmp_path, [tmp_path / "bids", tmp_path.parent / "elsewhere"])
    assert found.tables == ("tables/sites.tsv",)
    captions = "captioned/a/captions.tsv"
    assert found.withheld == (captions, "events/a/sub-01.tsv", "units/a.tsv")
    assert found.arrays == ("fits/a/m/sub-01.nc",)
    assert found.pages == ("figures/a.svg", "report.html")


def test_jobs_are_read_from_the_summary(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("r/a.tsv", "r/a.json", "r/benchmarks/one/a.tsv"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("s\tmax_rss\n2.5\t10\n")
    header = "output_file\tdate\trule\tlog-file(s)\tinput-file(s)\tshellcmd\tstatus\tplan\n"
    first, second = (
        f"r/a.{ending}\tSat\tone\tr/logs/one/a.log\tr/y,r/x\t-\tok\tno update\n"
        for ending in ("tsv", "json")
    )
    (job,) = jobs_of("said before\n" + header + first + second)
    assert job.rule == "one" and job.inputs == ("r/x", "r/y") and job.seconds == 2.5
    assert job.outputs == ("r/a.json", "r/a.tsv")
    with pytest.raises(InputError, match="not up to date with the study"):
        jobs_of(header + first + second.replace("no update", "update pending"))
    with pytest.raises(InputError, match="gave no table"):
        jobs_of("")


def test_version_of_the_code(tmp_path):
    root = tmp_path / "clone"
    (root / "workflow").mkdir(parents=True)
    (root / "Snakefile").write_text("")
    (root / "workflow" / "a.py").write_text("a = 1\n")

    def version() -> dict:
        return code_version(root, code_files(root))

    before = version()
    assert (before["commit"], before["dirty"]) == (None, None)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "one"]):
        subprocess.run([*git, *command], cwd=root, check=True)
    clean = version()
    assert len(clean["commit"]) == 40 and clean["dirty"] is False and clean["changed"] == []
    assert clean["digest"] == before["digest"]
    (root / "workflow" / "a.py").write_text("a = 2\n")
    (root / "workflow" / "b c.py").write_text("")
    changed = version()
    assert changed["commit"] == clean["commit"] and changed["dirty"] is True
    assert changed["changed"] == ["workflow/a.py", "workflow/b c.py"]
    assert changed["digest"] != clean["digest"]
    with pytest.raises(InputError, match="holds no Snakefile"):
        code_files(tmp_path)


def test_a_zip_depends_on_its_contents_alone(tmp_path):
    source = tmp_path / "s.txt"
    for name, time in (("one.zip", 1e9), ("two.zip", 1.5e9)):
        source.write_text("same")
        os.utime(source, (time, time))
        write_zip(tmp_path / name, {"a/s.txt": source, "b.txt": b"bytes"})
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as held:
        assert held.namelist() == ["a/s.txt", "b.txt"] and held.read("a/s.txt") == b"same"


def test_the_command_exists():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["braid"].partition(":")
    assert callable(getattr(import_module(module), name))
