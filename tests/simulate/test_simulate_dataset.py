"""The written data set: valid BIDS, readable by the field's tools, the same for the same seed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import mne_bids
import numpy as np
import pandas as pd
import pytest
from nibabel.nifti1 import Nifti1Image
from small_world import small_spec

from braid.common import read_table
from braid.simulate import World, make_world, write_dataset
from braid.simulate.recordings_events import COLUMNS as EVENT_COLUMNS
from braid.simulate.truth import COLUMNS as TRUTH_COLUMNS

SEED = 5


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(small_spec(), SEED)


@pytest.fixture(scope="module")
def written(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(world, world.spec, SEED, folder / "bids", folder / "truth.tsv")
    return folder


@pytest.fixture(scope="module")
def truth(written: Path) -> pd.DataFrame:
    return read_table(written / "truth.tsv")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def validate(root: Path) -> list[dict[str, str]]:
    validator = Path(sys.executable).parent / "bids-validator-deno"
    if not validator.exists():
        pytest.skip(f"the official validator is not in this environment ({validator})")
    ran = subprocess.run(
        [validator, "--json", str(root)], capture_output=True, text=True, check=False
    )
    issues: list[dict[str, str]] = json.loads(ran.stdout)["issues"]["issues"]
    return issues


def test_official_validator_finds_no_error(written: Path) -> None:
    issues = validate(written / "bids")
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    # recommended keys of scanner and author that a simulation has not; nothing else is missing
    assert {issue["code"] for issue in issues} <= {
        "TOO_FEW_AUTHORS",
        "JSON_KEY_RECOMMENDED",
        "SIDECAR_KEY_RECOMMENDED",
    }


def test_official_validator_accepts_the_atlas(written: Path) -> None:
    issues = validate(written / "bids" / "derivatives" / "atlas")
    assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_nothing_but_data_set_and_truth_is_written(written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == ["bids", "truth.json", "truth.tsv"]


def test_data_set_does_not_tell_the_truth(written: Path) -> None:
    for path in (written / "bids").rglob("*"):
        if path.suffix in (".tsv", ".json", ".md"):
            text = path.read_text(encoding="utf-8")
            assert "silent site" not in text
            assert "joint" not in text
            assert "snr" not in text.lower()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_same_seed_same_bytes(written: Path, world: World, tmp_path: Path, n_jobs: int) -> None:
    write_dataset(world, world.spec, SEED, tmp_path / "bids", tmp_path / "truth.tsv", n_jobs)
    old, new = digests(written), digests(tmp_path)
    # the sidecar names the packages that this process has imported by then
    old.pop("truth.json"), new.pop("truth.json")
    assert new == old
    old_sidecar, new_sidecar = (
        json.loads((folder / "truth.json").read_text()) for folder in (written, tmp_path)
    )
    assert {**new_sidecar, "braid_versions": ""} == {**old_sidecar, "braid_versions": ""}


def test_other_seed_other_recordings(written: Path, world: World, tmp_path: Path) -> None:
    write_dataset(world, world.spec, SEED + 1, tmp_path / "bids", tmp_path / "truth.tsv")
    old, new = digests(written), digests(tmp_path)
    changed = {name for name in old if old[name] != new.get(name)}
    assert {name for name in old if name.endswith((".eeg", "bold.nii.gz"))} <= changed
    # the stimuli are the world's, whatever the seed of the recordings
    assert not any("stimuli" in name for name in changed)


def test_one_recording_does_not_depend_on_the_others(written: Path, tmp_path: Path) -> None:
    spec = small_spec()
    del spec["bold"]
    world = make_world(spec, SEED)
    write_dataset(world, spec, SEED, tmp_path / "bids", tmp_path / "truth.tsv")
    name = "bids/sub-02/ieeg/sub-02_task-film_ieeg.eeg"
    assert digests(tmp_path)[name] == digests(written)[name]
    assert not list((tmp_path / "bids").rglob("func"))


def test_ieeg_is_read_by_mne_bids(written: Path, truth: pd.DataFrame) -> None:
    path = mne_bids.BIDSPath(
        subject="01", task="film", datatype="ieeg", root=written / "bids", extension=".vhdr"
    )
    raw = mne_bids.read_raw_bids(path, verbose="error")
    assert raw.info["sfreq"] == 256
    assert set(raw.get_channel_types()) == {"seeg"}
    assert len(raw.ch_names) == 24
    assert len(raw.info["bads"]) == 3
    sites = truth.query("kind_of_recording == 'ieeg' and subject == '01'")["site"]
    assert set(sites) == set(raw.ch_names) - set(raw.info["bads"])
    positions = raw.get_montage().get_positions()
    assert np.abs(np.array(list(positions["ch_pos"].values()))).max() < 0.12  # m
    assert positions["coord_frame"] == "mni_tal"


def test_bad_channels_are_what_they_are_said_to_be(written: Path) -> None:
    folder = written / "bids" / "sub-01" / "ieeg"
    channels = pd.read_csv(folder / "sub-01_task-film_channels.tsv", sep="\t")
    raw = mne_bids.read_raw_bids(
        mne_bids.BIDSPath(
            subject="01", task="film", datatype="ieeg", root=written / "bids", extension=".vhdr"
        ),
        verbose="error",
    )
    data = pd.DataFrame(raw.get_data().T * 1e6, columns=raw.ch_names)
    bad = channels[channels["status"] == "bad"].set_index("status_description")["name"]
    assert sorted(text.split(",")[0] for text in bad.index) == [
        "line noise only",
        "no signal",
        "very noisy",
    ]
    good = data[channels.loc[channels["status"] == "good", "name"]]
    for text, name in bad.items():
        if str(text).startswith("no signal"):
            assert data[name].std() == 0
        elif str(text).startswith("very noisy"):
            # white noise: sample-to-sample changes are far larger than in any good channel
            assert data[name].diff().std() > 5 * good.diff().std().max()
        else:
            power = np.abs(np.fft.rfft(data[name] - data[name].mean())) ** 2
            frequency = np.fft.rfftfreq(len(data), 1 / 256)
            near = (np.abs(frequency - 50) < 1) | (np.abs(frequency - 100) < 1)
            assert power[near].sum() / power.sum() > 0.99


def test_good_channels_have_line_noise_and_a_pink_background(written: Path) -> None:
    raw = mne_bids.read_raw_bids(
        mne_bids.BIDSPath(
            subject="02", task="film", datatype="ieeg", root=written / "bids", extension=".vhdr"
        ),
        verbose="error",
    )
    spectrum = raw.compute_psd(fmax=120, picks="seeg", exclude="bads", verbose="error")
    power, frequency = spectrum.get_data().mean(axis=0), spectrum.freqs
    at = {f: power[np.abs(frequency - f).argmin()] for f in (5, 20, 44, 50, 56, 94, 100, 106)}
    assert at[50] > 10 * max(at[44], at[56])
    assert at[100] > 3 * max(at[94], at[106])
    slope = np.log(at[5] / at[44]) / np.log(44 / 5)
    assert 0.7 < slope < 2.1


def test_electrodes_are_described(written: Path) -> None:
    folder = written / "bids" / "sub-01" / "ieeg"
    table = pd.read_csv(next(folder.glob("*_electrodes.tsv")), sep="\t")
    assert table["name"].is_unique
    assert set(table["hemisphere"]) == {"L"} or set(table["hemisphere"]) == {"R"}
    assert (np.sign(table["x"]) == np.where(table["hemisphere"] == "L", -1, 1)).all()
    assert table["region"].str.match(r"[lr]h-[a-z]+$").all()


@pytest.mark.parametrize(
    ("events", "name", "kind"),
    [
        ("sub-01/ieeg/sub-01_task-film_events.tsv", "cinema", "film"),
        ("sub-01/func/sub-01_task-film_run-1_events.tsv", "film-1", "film"),
        ("sub-01/func/sub-01_task-story_run-1_events.tsv", "story-1", "story"),
    ],
)
def test_events_are_on_the_recordings_clock(
    written: Path, world: World, events: str, name: str, kind: str
) -> None:
    table = read_table(written / "bids" / events)
    stimulus = {**world.films, **world.stories}[name]
    assert list(table.columns) == list(EVENT_COLUMNS)
    assert table["onset"].is_monotonic_increasing
    whole = table[table["trial_type"] == kind]
    assert len(whole) == 1
    assert whole["duration"].item() == stimulus.duration
    start = whole["onset"].item()
    words = table[table["trial_type"] == "word"]
    assert list(words["text"]) == list(stimulus.words["text"])
    np.testing.assert_allclose(words["onset"], start + stimulus.words["onset"], atol=1e-3)
    np.testing.assert_allclose(words["stim_time"], stimulus.words["onset"], atol=1e-3)
    assert list(words["sentence"].astype(int)) == list(stimulus.words["sentence"])
    assert (table["trial_type"] == "scene_cut").sum() == len(stimulus.cuts)
    files = written / "bids" / "stimuli"
    assert {str(file) for file in table["stim_file"]} == {Path(stimulus.path).name}
    assert (files / Path(stimulus.path).name).is_file()


def test_events_lie_within_the_recordings(written: Path) -> None:
    root = written / "bids"
    for path in root.rglob("*_events.tsv"):
        table = read_table(path)
        if "ieeg" in path.name or path.parent.name == "ieeg":
            sidecar = Path(str(path).replace("_events.tsv", "_ieeg.json"))
            length = json.loads(sidecar.read_text())["RecordingDuration"]
        else:
            image = Nifti1Image.from_filename(str(path).replace("_events.tsv", "_bold.nii.gz"))
            length = image.shape[3] * 2.0
        first, last = table["onset"].min(), (table["onset"] + table["duration"]).max()
        assert first > 3
        assert last + 3 < length


def test_bold_header(written: Path) -> None:
    path = written / "bids" / "sub-01" / "func" / "sub-01_task-film_run-1_bold.nii.gz"
    image = Nifti1Image.from_filename(path)
    assert image.get_data_dtype() == np.int16
    assert image.header.get_zooms() == (16, 16, 16, 2)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert image.shape[:3] == (10, 12, 9)
    sidecar = json.loads((written / "bids" / "task-film_bold.json").read_text())
    assert sidecar["RepetitionTime"] == 2.0
    assert sidecar["TaskName"] == "film"


def test_atlas_names_the_regions_of_the_truth(written: Path, truth: pd.DataFrame) -> None:
    atlas = written / "bids" / "derivatives" / "atlas"
    labels = pd.read_csv(atlas / "seg-regions_dseg.tsv", sep="\t").set_index("index")["name"]
    image = Nifti1Image.from_filename(next(atlas.glob("sub-01/anat/*_dseg.nii.gz")))
    numbers = np.asarray(image.dataobj)
    bold = Nifti1Image.from_filename(
        next((written / "bids").rglob("sub-01_task-film_run-1_bold.nii.gz"))
    )
    np.testing.assert_array_equal(image.affine, bold.affine)
    sites = truth.query("kind_of_recording == 'bold'")
    for site, region in zip(sites["site"], sites["region"], strict=True):
        i, j, k = map(int, site.split("-"))
        assert labels[numbers[i, j, k]] == region
    assert (numbers > 0).sum() == len(sites)


def test_truth_table_is_complete(written: Path, truth: pd.DataFrame) -> None:
    assert list(truth.columns) == list(TRUTH_COLUMNS)
    assert truth["clear"].dtype == bool
    assert not truth.duplicated(["kind_of_recording", "subject", "site"]).any()
    bold = truth.query("kind_of_recording == 'bold'")
    counts = bold["kind"].value_counts().to_dict()
    assert {kind: counts[kind] for kind in small_spec()["bold"]["driven"]} == small_spec()["bold"][
        "driven"
    ]
    ieeg = truth.query("kind_of_recording == 'ieeg' and kind != 'silent'")
    assert (ieeg.groupby(["subject", "kind"]).size() == 3).all()
    silent = truth["kind"] == "silent"
    assert (truth.loc[silent, "snr"] == 0).all()
    assert not truth.loc[silent, "clear"].any()
    assert (truth.loc[~silent, "snr"] > 0).all()
    assert truth.loc[~silent, "weights"].is_unique
    sidecar = json.loads((written / "truth.json").read_text(encoding="utf-8"))
    assert set(TRUTH_COLUMNS) <= set(sidecar)
    assert "expected" in sidecar["Criterion"]["Description"]
