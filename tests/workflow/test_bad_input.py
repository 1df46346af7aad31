"""Bad input stops the run with one clear sentence and leaves nothing half-written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def no_root(tiny):
    shutil.rmtree(tiny.root)
    return [r"bids", "does not exist"]


def annex_link(tiny):
    path = tiny.bold("02")
    path.unlink()
    path.symlink_to("../../.git/annex/objects/aB/cD/MD5E-s100--0.nii.gz/MD5E-s100--0.nii.gz")
    return [path.name, "annex"]


def events_outside(tiny):
    tiny.write_events("02", "4\t12\tface\n95\t12\thouse\n")
    return [tiny.events("02").name, "row 2|line 3", "96"]


def events_column(tiny):
    tiny.events("01").write_text("onset\tduration\tcondition\n4\t12\tface\n")
    return [tiny.events("01").name, "'?trial_type'?"]


def events_no_onset(tiny):
    tiny.write_events("01", "4\t12\tface\nn/a\t12\thouse\n")
    return [tiny.events("01").name, "onset", "row 2|line 3"]


def unequal_numbers(tiny):
    tiny.use_parcels()
    tiny.write_parcels("b", rows=110)
    return ["b_features.npy", "110", "120"]


def undecodable_film(tiny):
    tiny.use_film()
    (tiny.root / "stimuli").mkdir(exist_ok=True)
    (tiny.root / "stimuli" / "film.mp4").write_bytes(b"this is not a film" * 100)
    return [r"film\.mp4", "decode"]


def misspelt_key(tiny):
    tiny.config["analyses"]["blocks"]["rigde"] = {}
    return ["unknown key 'rigde'", "did you mean 'ridge'"]


def missing_layer(tiny):
    registry = yaml.safe_load((ROOT / "config" / "models.yaml").read_text())
    registry["toy-bert"]["layers"] = ["encoder.layer.9"]
    (tiny.folder / "models.yaml").write_text(yaml.safe_dump(registry))
    tiny.config["models"] = str(tiny.folder / "models.yaml")
    tiny.config["analyses"]["blocks"]["models"] = ["toy-bert"]
    return ["toy-bert", r"encoder\.layer\.9", r"encoder\.layer\.3"]


def repetition_time(tiny):
    sidecar = {"TaskName": "blocks", "RepetitionTime": 1.5}
    (tiny.root / "task-blocks_bold.json").write_text(json.dumps(sidecar))
    return [r"bold\.(nii\.gz|json)", "1.5", r"\b2(\.0)?\b"]


def different_rates(tiny):
    (tiny.root / "task-blocks_bold.json").unlink()
    for run, tr in (("01", 2.0), ("02", 2.5)):
        tiny.write_bold(run, tr)
        sidecar = {"TaskName": "blocks", "RepetitionTime": tr}
        Path(str(tiny.bold(run)).replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    return [tiny.bold("01").name, tiny.bold("02").name, r"\b2(\.0)?\b", r"2\.5"]


CASES = (
    no_root,
    annex_link,
    events_outside,
    events_column,
    events_no_onset,
    unequal_numbers,
    undecodable_film,
    misspelt_key,
    missing_layer,
    repetition_time,
    different_rates,
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input(case, tiny, snakemake):
    expected = case(tiny)
    done = snakemake("--cores", "1", "--configfile", tiny.write_config(), check=False)
    assert done.returncode != 0
    said = re.findall(r"^.*?braid: (.*)$", done.stdout + done.stderr, flags=re.MULTILINE)
    assert len(set(said)) == 1, f"one sentence, not {said}\n{done.stderr[-3000:]}"
    for pattern in expected:
        assert re.search(pattern, said[0]), f"{pattern!r} is not in: {said[0]}"
    assert "Traceback" not in done.stderr
    assert tiny.leftovers() == []
    # before long work starts: nothing was cleaned or fitted
    assert not list(tiny.results.rglob("fits/*"))


def test_nan_and_flat_parcels_are_excluded_and_listed(tiny, snakemake):
    tiny.use_parcels()
    path = tiny.func / "sub-01_task-a_desc-parcels_timeseries.npy"
    array = np.load(path)
    array[5, 1] = np.nan
    array[:, 4] = 3.0
    np.save(path, array)
    snakemake("--cores", "2", "--configfile", tiny.write_config())
    excluded = (tiny.results / "tiny" / "tables" / "excluded.tsv").read_text()
    assert "parcel-001" in excluded
    assert "parcel-004" in excluded
    assert "parcel-000" not in excluded
    sites = (tiny.results / "tiny" / "tables" / "sites.tsv").read_text()
    assert "parcel-000" in sites
    assert "parcel-004" not in sites


def test_the_tiny_study_itself_runs_and_has_nothing_left_to_do(tiny, snakemake):
    arguments = ("--cores", "2", "--configfile", tiny.write_config())
    snakemake(*arguments)
    assert (tiny.results / "tiny" / "report.html").exists()
    assert "Nothing to be done" in snakemake(*arguments).stderr
