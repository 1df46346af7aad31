"""Two real BIDS data sets without their recordings: these are made here, as long as declared.

Sidecars stay as they are. Every recording that is declared gets a header and a file of its full
size; samples (noise, line noise, responses to planted features at two channels) are written for one
subject of each data set, the others hold zeros that take no room on the disk.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from braid.bids import index_dataset
from braid.common import InputError, read_table
from braid.encoding import fit_encoding
from braid.features import FeatureStore, build_design, extract, load_features
from braid.models import load_model
from braid.preprocess import preprocess_ieeg
from braid.stimuli import events_of, responses_of, units_of

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:mne")
UNIT = 0.1  # uV per step of int16 in the EDF files
WINDOWS = {"kind": "event_locked", "tmin": -0.3, "tmax": 0.5, "window": 0.2, "step": 0.2}
ENCODING = {
    "folds": {"scheme": "blocks", "n": 4, "embargo": 2.0},
    "ridge": {"alphas": {"low": -1, "high": 5, "n": 7}},
    "layers": "last",
}
PODCAST = {
    "kind": "words",
    "text_column": "word",
    "annotations": [
        {"files": "stimuli/whisper-medium/transcript.tsv", "onset": "start", "end": "end"}
    ],
}
FILM = {"start": "music", "end": "offset"}  # its clock starts with the first music
FILM_WORDS = {
    "kind": "words",
    "text_column": "item",
    "annotations": [
        {**FILM, "files": "stimuli/annotations/sound/sound_annotation_words.tsv"},
    ],
}
CONCEPTS = {
    "kind": "labels",
    "column": "name",
    "annotations": [
        {**FILM, "files": "stimuli/annotations/video/video_annotation_{name}.tsv"},
    ],
}
SIZES = {"hand": 2.0, "smile": 2.0, "man": -2.0, "pippi": -2.0}  # what a concept does to a channel


# filling ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def podcast(shared_data, tmp_path_factory) -> Iterator[Path]:
    """The podcast skeleton with EDF files of all nine subjects."""
    root = tmp_path_factory.mktemp("skeleton") / "podcast"
    shutil.copytree(shared_data / "ieeg_podcast_skeleton", root)
    yield fill(root)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def film(shared_data, tmp_path_factory) -> Iterator[Path]:
    """The film skeleton with BrainVision files of all recordings of the film."""
    root = tmp_path_factory.mktemp("skeleton") / "film"
    shutil.copytree(shared_data / "ieeg_film_skeleton", root)
    yield fill(root)
    shutil.rmtree(root)


def fill(root: Path) -> Path:
    """Put an empty recording wherever one of the film or podcast is declared."""
    table = read_table(root / "MISSING_RECORDINGS.tsv")
    for _, row in table[table["kind"] == "ieeg_recording"].iterrows():
        path = root / row["path"]
        names = read_table(Path(f"{str(path).rsplit('_', 1)[0]}_channels.tsv"))["name"].tolist()
        rate = round(float(row["sampling_frequency"]))
        assert len(names) == int(row["n_channels"])
        if path.suffix == ".edf":
            # one sample more than the sidecar's RecordingDuration says, like the original
            write_edf(path, names, rate, round((int(row["declared_samples"]) + 1) / rate))
        elif "task-film" in path.name:
            write_vhdr(path, names, rate, int(row["declared_samples"]))
    return root


def write_edf(path: Path, names: list[str], rate: int, seconds: int) -> None:
    """An EDF file of zeros: records of 1 s, `UNIT` uV per step."""
    n = len(names)

    def fields(width: int, *entries: Any) -> str:
        return "".join(f"{entry!s:<{width}}" for entry in entries)

    start = fields(8, "0") + fields(80, "X X X X", "Startdate X X X X") + "01.01.8500.00.00"
    start += fields(8, 256 * (n + 1)) + fields(44, "") + fields(8, seconds, 1) + fields(4, n)
    signals = fields(16, *names) + fields(80, *[""] * n) + fields(8, *["uV"] * n)
    for entry in (-32768 * UNIT, round(32767 * UNIT, 4), -32768, 32767):
        signals += fields(8, *[entry] * n)
    signals += fields(80, *[""] * n) + fields(8, *[rate] * n) + fields(32, *[""] * n)
    header = (start + signals).encode("ascii")
    assert len(header) == 256 * (n + 1)
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + 2 * n * rate * seconds)


def write_vhdr(path: Path, names: list[str], rate: int, n_samples: int) -> None:
    """A BrainVision recording of zeros: float32, uV."""
    from pybv import write_brainvision

    write_brainvision(
        data=np.zeros((len(names), 1)), sfreq=rate, ch_names=names, fname_base=path.stem,
        folder_out=str(path.parent), resolution=1.0, unit="µV", fmt="binary_float32",
    )  # fmt: skip
    with path.open("wb") as stream:
        stream.truncate(4 * len(names) * n_samples)


def simulate(row: pd.Series, root: Path, planted: Mapping[str, pd.DataFrame], line: float) -> None:
    """Fill a recording: noise, line noise, and 200 ms of response from 100 ms after each onset.

    Parameters
    ----------
    row : pandas.Series
        Row of the index.
    root : pathlib.Path
    planted : mapping
        Channel to a table with `onset` (s) and `size` (standard deviations of the noise).
    line : float
        Hz.
    """
    path, rate, n = root / row["path"], round(row["sampling_frequency"]), int(row["n_samples"])
    names = read_table(root / row["channels"])["name"].tolist()
    responses = {}
    for name, events in planted.items():
        responses[name] = np.zeros(n)
        for onset, size in events[["onset", "size"]].to_numpy():
            first = round((onset + 0.1) * rate)
            responses[name][first : first + round(0.2 * rate)] += 20 * size
    noise = np.random.default_rng(7)
    wave = 30 * np.sin(2 * np.pi * line * np.arange(n) / rate)
    edf = path.suffix == ".edf"
    with (path if edf else path.with_suffix(".eeg")).open("r+b") as stream:
        stream.seek(256 * (len(names) + 1) if edf else 0)
        for start in range(0, n, 60 * rate):
            part = slice(start, min(start + 60 * rate, n))
            block = noise.normal(0, 20, (len(names), part.stop - start)) + wave[part]
            for name, response in responses.items():
                block[names.index(name)] += response[part]
            if edf:  # records of 1 s, in each one channel after the other
                steps = np.round(block / UNIT).reshape(len(names), -1, rate)
                stream.write(steps.transpose(1, 0, 2).astype("<i2").tobytes())
            else:
                stream.write(block.T.astype("<f4").tobytes())


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    paths = (path for path in root.rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def unchanged(root: Path, original: Path) -> bool:
    """Whether all files of the skeleton are still what they were."""
    return all(
        hashlib.sha256((root / name).read_bytes()).hexdigest() == digest
        for name, digest in digests(original).items()
    )


# the way through ----------------------------------------------------------------------------------


def scores(
    signal: Any, events: pd.DataFrame, root: Path, model: str, store: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Best held-out r of each channel and its window; and the events that were dropped."""
    entry = yaml.safe_load(Path(__file__).parents[1].joinpath("config/models.yaml").read_text())
    network = load_model(model, entry[model], untrained=False, seed=0, device="cpu", offline=True)
    cache = FeatureStore(store)
    manifest = extract(network, units_of([events]), root, cache)
    response, dropped = responses_of(signal, events, WINDOWS)
    design = build_design(load_features(manifest, cache), events, response, WINDOWS)
    fit = fit_encoding(design, response, ENCODING)
    table = pd.DataFrame(
        {
            "site": response["site"].values,
            "bin": response["bin"].values,
            "r": fit["score"].values[-1],
        }
    )
    best = table.sort_values("r", ascending=False).drop_duplicates("site").set_index("site")
    return best, dropped


def test_podcast_from_index_to_encoding(podcast, shared_data, tmp_path):
    spec = {"root": podcast, "kind": "ieeg", "subjects": "all", "tasks": ["podcast"]}
    with pytest.raises(InputError, match=r"sub-07.*2048 Hz.*set `preprocess.resample`"):
        index_dataset("podcast", spec)
    index = index_dataset("podcast", {**spec, "preprocess": {"resample": 128}})
    assert len(index) == 9 and set(index["duration"]) == {1800.0}
    assert sorted(set(index["sampling_frequency"])) == [512.0, 2048.0]
    assert index["electrodes"].str.contains("space-MNI152NLin2009aSym").all()

    own = index[index["subject"] == "08"]
    words = events_of(own, podcast, PODCAST)
    assert len(words) == 5134  # the number of words that the data set's description gives
    assert words["onset"].iloc[0] == pytest.approx(3.71)
    assert words["onset"].iloc[-1] < 1799.4 + 1e-6
    assert words["text"].iloc[2] == "Act one, monkey" and words["frame_time"].isna().all()

    length = words["word"].str.len()
    size = 1.5 * (length - length.mean()) / length.std()
    planted = words[["onset"]].assign(size=size)
    table = read_table(podcast / own["channels"].iloc[0], required=("name", "type"))
    good = table[(table["status"] == "good") & (table["type"] == "ECOG")]["name"].tolist()
    simulate(own.iloc[0], podcast, {good[10]: planted}, 60.0)
    params = {
        "notch": [60], "notch_method": "iir", "resample": 64,
        "region_column": "group",
    }  # fmt: skip
    cleaned = preprocess_ieeg(own, podcast, params)
    assert list(cleaned.signal["target"].values) == good
    assert cleaned.signal.sizes["time"] == 1800 * 64
    assert np.isfinite(cleaned.signal["x"]).all() and "n/a" not in cleaned.signal["region"].values
    reasons = cleaned.excluded["reason"].value_counts()
    assert reasons["bad"] + reasons["not a neural channel"] == len(table) - len(good)
    quality = cleaned.quality.set_index("measure")["value"]
    assert quality["line noise at 60 Hz after"] < 0.01 * quality["line noise at 60 Hz before"]

    best, dropped = scores(cleaned.signal, words, podcast, "word-rate", tmp_path / "store")
    assert dropped.empty
    assert best.index[0] == good[10] and best["bin"].iloc[0] == 0.1
    assert best["r"].iloc[0] > 0.5 and best["r"].iloc[1] < 0.1
    assert unchanged(podcast, shared_data / "ieeg_podcast_skeleton")


def test_film_from_index_to_encoding(film, shared_data, tmp_path):
    spec = {"root": film, "kind": "ieeg", "subjects": "all", "tasks": ["film"]}
    with pytest.raises(InputError, match=r"sampling frequency is .* select recordings of one rate"):
        index_dataset("film", spec)
    index = index_dataset("film", {**spec, "preprocess": {"resample": 128}})
    assert len(index) == 9  # two kinds of grids in sub-36 and sub-45, no iEEG in sub-44
    declared = read_table(film / "MISSING_RECORDINGS.tsv").set_index("path")
    for _, row in index.iterrows():
        told = declared.loc[row["path"].replace(".vhdr", ".eeg")]
        assert row["n_samples"] == int(told["declared_samples"])
        assert row["sampling_frequency"] == float(told["sampling_frequency"])
    # the film starts at another time in each recording
    first = {}
    for subject in ("07", "22", "60"):
        own = index[index["subject"] == subject]
        words = events_of(own, film, FILM_WORDS)
        assert len(words) == 446
        first[subject] = words["onset"].iloc[0] - 30.736
    assert first == pytest.approx({"07": 12.188, "22": 34.633, "60": 0.68})

    own = index[index["subject"] == "07"]
    words, concepts = (events_of(own, film, units) for units in (FILM_WORDS, CONCEPTS))
    assert concepts["text"].nunique() == 135 and len(concepts) == 1056
    horse = concepts[concepts["text"] == "horse"]
    np.testing.assert_allclose(horse["onset"].iloc[:2], [12.188, 12.188 + 20.4])
    np.testing.assert_allclose(horse["duration"].iloc[:2], [16.6, 7.88])

    length = words["word"].str.len()
    spoken = words[["onset"]].assign(size=1.5 * (length - length.mean()) / length.std())
    # most concepts start together with others; these four seldom do
    four = events_of(own, film, {**CONCEPTS, "labels": list(SIZES)})
    assert set(four["unit"]) < set(concepts["unit"]) and len(four) == 90
    seen = four[["onset"]].assign(size=four["text"].map(SIZES))
    table = read_table(film / own["channels"].iloc[0], required=("name", "type"))
    good = table[(table["status"] == "good") & (table["type"] == "ECOG")]["name"].tolist()
    simulate(own.iloc[0], film, {good[4]: spoken, good[20]: seen}, 50.0)
    params = {
        "notch": [50, 100], "reference": "average", "band": [70, 150], "band_method": "butterworth",
        "signal": "envelope", "log": True, "resample": 64,
    }  # fmt: skip
    envelope = preprocess_ieeg(own, film, params).signal
    assert list(envelope["target"].values) == good and np.isfinite(envelope.values).all()
    params = {"notch": [50, 100], "resample": 64}
    cleaned = preprocess_ieeg(own, film, params)
    quality = cleaned.quality.set_index("measure")["value"]
    assert quality["line noise at 50 Hz after"] < 0.01 * quality["line noise at 50 Hz before"]
    assert cleaned.signal.sizes["time"] == int(np.ceil(own["n_samples"].iloc[0] / 8))

    store = tmp_path / "store"
    best, dropped = scores(cleaned.signal, words, film, "word-rate", store)
    assert best.index[0] == good[4] and best["bin"].iloc[0] == 0.1 and dropped.empty
    assert best["r"].iloc[0] > 0.5 and best["r"].iloc[1] < 0.25
    best, dropped = scores(cleaned.signal, four, film, "onehot", store)
    assert best.index[0] == good[20] and best["bin"].iloc[0] == 0.1 and dropped.empty
    # 90 events: chance gives the largest of 216 windows about 0.3
    assert best["r"].iloc[0] > 0.5 and best["r"].iloc[1] < 0.45
    # all 135 concepts make a design too
    assert len(responses_of(cleaned.signal, concepts, WINDOWS)[0]) == 1056
    assert unchanged(film, shared_data / "ieeg_film_skeleton")


# without recordings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "task"), [("ieeg_podcast_skeleton", "podcast"), ("ieeg_film_skeleton", "film")]
)
def test_as_they_are_the_recordings_are_absent(shared_data, tmp_path, folder, task):
    spec = {"root": shared_data / folder, "kind": "ieeg", "subjects": "all", "tasks": [task]}
    with pytest.raises(InputError, match=r"_ieeg\.json: recording absent.*git-annex"):
        index_dataset("skeleton", spec)
    # in a checkout of git-annex the recordings are links to what was not fetched
    root = tmp_path / folder
    shutil.copytree(shared_data / folder, root)
    table = read_table(root / "MISSING_RECORDINGS.tsv")
    for name in table.loc[table["kind"].str.startswith("ieeg_"), "path"]:
        if "derivatives" not in name:
            link = root / name
            depth = "../" * name.count("/")
            link.symlink_to(f"{depth}.git/annex/objects/aa/bb/MD5E-s1--0/{link.name}")
    with pytest.raises(InputError, match=r"git-annex file whose content has not been fetched"):
        index_dataset("skeleton", {**spec, "root": root})
