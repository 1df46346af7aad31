"""Files, randomness, progress and the frame of a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from braid.common import (
    ArrayFiles,
    InputError,
    atomic_folder,
    atomic_path,
    progress,
    provenance,
    read_array,
    read_json,
    read_table,
    rng,
    seed_for,
    t_interval,
    write_array,
    write_json,
    write_table,
)


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "table.tsv"
    write_table(path, pd.DataFrame({"a": [1]}), {"a": "A number"})
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert sorted(p.name for p in path.parent.iterdir()) == ["table.json", "table.tsv"]
    assert read_table(path)["a"].tolist() == [1]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    umask = os.umask(0o022)
    try:
        write_json(tmp_path / "x.json", {})
    finally:
        os.umask(umask)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o644


def test_tables_keep_labels_missing_values_and_descriptions(tmp_path):
    table = pd.DataFrame(
        {
            "subject": ["01", "02"],
            "dataset": ["2023", "2024"],
            "x": [0.5, np.nan],
            "text": ["NA", "null"],
            "ok": [True, False],
        }
    )
    described = dict.fromkeys(table.columns, "What it is")
    write_table(tmp_path / "t.tsv", table, described, Units="mm")
    back = read_table(tmp_path / "t.tsv", required=("subject",))
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    sidecar = read_json(tmp_path / "t.json")
    assert sidecar["x"] == {"Description": "What it is"}
    assert sidecar["Units"] == "mm"


def test_a_column_without_description_is_refused(tmp_path):
    with pytest.raises(ValueError, match="without a description: b"):
        write_table(tmp_path / "t.tsv", pd.DataFrame({"a": [1], "b": [2]}), {"a": "A"})
    assert not list(tmp_path.iterdir())


def test_reading_what_is_missing_or_broken_names_the_file(tmp_path):
    with pytest.raises(InputError, match=r"no\.tsv: no such file"):
        read_table(tmp_path / "no.tsv")
    with pytest.raises(InputError, match=r"no\.nc: no such file"):
        read_array(tmp_path / "no.nc")
    (tmp_path / "t.tsv").write_text("onset\tduration\n1\t2\n")
    with pytest.raises(InputError, match=r"t\.tsv: column 'text' is missing \(it has: onset, dur"):
        read_table(tmp_path / "t.tsv", required=("onset", "text"))
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x\.json: not valid JSON \(line 1"):
        read_json(tmp_path / "x.json")


def test_a_byte_order_mark_is_not_part_of_the_first_column(tmp_path):
    (tmp_path / "t.tsv").write_bytes(b"\xef\xbb\xbfname\ttype\nA1\tSEEG\n")
    assert list(read_table(tmp_path / "t.tsv").columns) == ["name", "type"]


def test_arrays_come_back_with_their_labels(tmp_path):
    array = xr.DataArray(
        np.arange(4096, dtype=np.float32).reshape(64, 64),
        dims=("sample", "target"),
        coords={"target": [f"A{i}" for i in range(64)]},
        name="response",
        attrs={"units": "z"},
    )
    write_array(tmp_path / "a.nc", array, runs=["task-film"], nothing=None, flag=True, map={"a": 1})
    back = read_array(tmp_path / "a.nc")
    xr.testing.assert_identical(back["response"], array)
    assert back.attrs["runs"] == '["task-film"]'
    assert back.attrs["map"] == '{"a": 1}'
    assert back["response"].dtype == np.float32


def test_seeds_depend_on_names_and_not_on_order_of_use():
    first = rng(1, "permute", "01").random(3)
    rng(1, "other").random(100)
    assert np.array_equal(rng(1, "permute", "01").random(3), first)
    assert not np.array_equal(rng(2, "permute", "01").random(3), first)
    # names do not run into each other
    assert seed_for(1, "ab", "c") != seed_for(1, "a", "bc")


def test_progress_writes_plain_lines_where_there_is_no_terminal(capsys):
    assert list(progress(range(3), "counting", every=0.0)) == [0, 1, 2]
    error = capsys.readouterr().err
    assert "counting: 2/3" in error
    assert "counting: 3 done" in error
    assert "\r" not in error


def test_provenance_digests_inputs(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    attributes = provenance([tmp_path / "a.txt", tmp_path], {"alpha": 1})
    assert "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in str(attributes)
    assert '"alpha": 1' in attributes["braid_parameters"]
    assert '"numpy"' in attributes["braid_versions"]


def _job(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    log = tmp_path / "logs" / "job.log"
    code = f"from braid.common import InputError, job_log\nwith job_log({str(log)!r}):\n"
    code += textwrap.indent(textwrap.dedent(body), "    ")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_a_job_with_bad_input_ends_with_one_sentence(tmp_path):
    done = _job(tmp_path, "raise InputError('events.tsv, row 3: onset is missing; add it')")
    assert done.returncode == 1
    assert done.stderr == "braid: events.tsv, row 3: onset is missing; add it\n"
    assert "row 3" in (tmp_path / "logs" / "job.log").read_text()


def test_a_job_that_breaks_keeps_its_traceback(tmp_path):
    done = _job(tmp_path, "print('before'); import os; os.system('echo from C'); 1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    log = (tmp_path / "logs" / "job.log").read_text()
    assert "before" in log
    assert "from C" in log
    assert "Traceback" in log
    assert "ZeroDivisionError" in log


def test_a_job_that_ends_well_says_nothing_on_the_terminal(tmp_path):
    done = _job(tmp_path, "import warnings; warnings.warn('careful'); print('x')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "careful" in (tmp_path / "logs" / "job.log").read_text()


def test_a_job_searches_rarely_for_cycles_and_leaves_the_interpreter_as_it_was(tmp_path):
    body = "import gc; assert gc.get_threshold()[0] > 10_000; assert gc.get_freeze_count()"
    code = "import gc\nbefore = gc.get_threshold()\nfrom braid.common import job_log\n"
    code += f"with job_log({str(tmp_path / 'job.log')!r}):\n    {body}\n"
    code += "assert gc.get_threshold() == before"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_job_ended_at_once_has_written_and_tidied_up():
    body = """
        import atexit, sys
        from braid.common import end_job
        atexit.register(lambda: print("tidied"))
        sys.stdout.write("written\\n")
        {}
        end_job()
        sys.exit(3)
    """
    ends = {"pass": (0, "written\ntidied\n"), "1 / 0": (1, "written\ntidied\n")}
    for line, expected in ends.items():
        code = textwrap.dedent(body).format(line)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == expected


def test_interval_is_that_of_the_t_distribution():
    values = np.array([0.1, 0.3, 0.25, 0.4])
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((wanted.low, wanted.high))
    assert t_interval([*values, np.nan]) == t_interval(values)


def test_interval_needs_two_values():
    assert np.isnan(t_interval([0.3])).all()
    assert np.isnan(t_interval([np.nan, 0.2])).all()
    assert t_interval([1.0, 1.0]) == (1.0, 1.0)


def test_array_files_are_read_one_at_a_time(tmp_path):
    for name in ("a", "b"):
        array = xr.Dataset({"score": ("target", [1.0, 2.0]), "prediction": ("target", [0.0, 0.0])})
        write_array(tmp_path / f"{name}.nc", array, name=name)
    files = ArrayFiles({n: tmp_path / f"{n}.nc" for n in ("a", "b")}, without=("prediction",))
    assert list(files) == ["a", "b"]
    assert files["b"].attrs["name"] == "b"
    assert list(files["a"]) == ["score"]


def test_a_temporary_file_keeps_all_suffixes(tmp_path):
    import nibabel as nib

    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    with atomic_path(tmp_path / "sub-01_bold.nii.gz") as temporary:
        nib.save(image, temporary)
    assert nib.load(tmp_path / "sub-01_bold.nii.gz").shape == (2, 2, 2)
    assert (tmp_path / "sub-01_bold.nii.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_a_table_never_stands_without_its_description(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("braid.common.tables.write_json", fail)
    with pytest.raises(OSError, match="disk full"):
        write_table(tmp_path / "t.tsv", pd.DataFrame({"a": [1]}), {"a": "A number"})
    assert not list(tmp_path.iterdir())


def test_an_interrupted_folder_leaves_the_old_one(tmp_path):
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "deep" / "root") as fresh:
            assert not list(fresh.iterdir())
            (fresh / "a.txt").write_text(content)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "deep" / "root") as fresh:
        (fresh / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["root"]
    assert (tmp_path / "deep" / "root" / "a.txt").read_text() == "new"


def test_a_damaged_array_is_named(tmp_path):
    write_array(tmp_path / "a.nc", xr.Dataset({"x": ("t", np.zeros(5000))}))
    content = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "a.nc").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"a\.nc: cannot be read as netCDF4"):
        read_array(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"a\.nc: cannot be read as netCDF4"):
        ArrayFiles({"a": tmp_path / "a.nc"})["a"]
    with pytest.raises(InputError, match=r"b\.nc: no such file"):
        ArrayFiles({"b": tmp_path / "b.nc"})["b"]


def test_inputs_of_one_name_are_told_apart_wherever_the_study_lies(tmp_path):
    noted = []
    for study in ("here", "elsewhere"):
        paths = [tmp_path / study / kind / "sub-01.nc" for kind in ("design", "fits")]
        for number, path in enumerate(paths):
            path.parent.mkdir(parents=True)
            path.write_text(str(number))
        noted.append(json.loads(provenance([*paths, paths[0].parent])["braid_inputs"]))
    assert list(noted[0]) == ["design", "design/sub-01.nc", "fits/sub-01.nc"]
    assert noted[0] == noted[1]
    assert noted[0]["design"] is None
    assert len(set(noted[0].values())) == 3


def test_packed_correlations_are_small_and_exact_to_their_step(tmp_path):
    values = np.random.default_rng(0).uniform(-1, 1, (40, 500)).astype(np.float32)
    values[0, :3] = [-1.0, 1.0, np.nan]
    array = xr.Dataset({"r": (("draw", "target"), values), "n": ("target", np.arange(500))})
    write_array(tmp_path / "packed.nc", array, packed=("r",))
    write_array(tmp_path / "plain.nc", array)
    back = read_array(tmp_path / "packed.nc")
    assert back["r"].dtype == np.float32
    np.testing.assert_allclose(back["r"], values, atol=0.51 / 32000)
    assert np.isnan(back["r"].values[0, 2]) and back["n"].equals(array["n"])
    sizes = [(tmp_path / name).stat().st_size for name in ("packed.nc", "plain.nc")]
    assert sizes[0] < 0.7 * sizes[1]
