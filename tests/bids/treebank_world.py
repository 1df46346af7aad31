"""A tiny Brain Treebank: one subject, one film with a pause, files laid out as the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from films import write_film

RATE = 2048
FILM = "tiny-film"
LABELS = ["LA1", "LA2*", "#RB1", "R_B2", "DC4", "TRIG1"]
CLEAN = ["LA1", "LA2", "RB1", "RB2", "DC4", "TRIG1"]
LEAD, PAUSE_AT, PAUSE = (
    2.5,
    19.85,
    5.0,
)  # s: recorded before the film; film time and length of pause
FILM_SECONDS, RECORDED = 42.0, 48.0
LAST_TRIGGER = 39.0  # s of film
FRAMES = 24
LUMA = (0.299, 0.587, 0.114)  # of red, green, blue (ITU-R BT.601)
CUTS = (10.0, 25.0, 33.0)  # s of film


def recorded_at(time: Any) -> np.ndarray:
    """Recording time of a film time, s: the truth that the importer does not see."""
    time = np.asarray(time, dtype=float)
    return LEAD + time + PAUSE * (time >= PAUSE_AT)


def grey_at(time: float) -> int:
    """Grey of the picture at a film time: another one each 3 frames, in no order."""
    return int(np.random.default_rng(int(time * 8)).integers(60, 120))


def picture(time: float) -> np.ndarray:
    """Picture at a film time: its grey on a ground whose colour tells the scene."""
    frame = np.full((36, 64, 3), grey_at(time), np.uint8)
    scene = int(np.searchsorted(CUTS, time, side="right"))
    colour = [(255, 0, 0), (40, 40, 60), (0, 255, 0), (50, 40, 40)][scene]
    frame[:, :32] = colour
    return frame


def write_tiny_film(folder: Path, late: float = 0.0, speed: float = 1.0) -> Path:
    """Write the film; `late` (s) puts a black lead before it, `speed` runs it faster."""
    n = round((late + FILM_SECONDS / speed) * FRAMES)
    times = [(k / FRAMES - late) * speed for k in range(n)]
    frames = [picture(t + 1e-6) if t > -1e-6 else np.zeros((36, 64, 3), np.uint8) for t in times]
    return write_film(folder / f"{FILM}.mkv", frames, FRAMES)


def words_table() -> pd.DataFrame:
    """The transcript: a word each 0.5 s, sentences of five words."""
    start = np.arange(0.3125, 41.0, 0.5)
    n = len(start)
    numbers = np.arange(n)
    texts = [f"word{k}" for k in numbers]
    texts[3], texts[4] = "null", 'so "NA"'
    sentence = numbers // 5
    brightness = [float((picture(time) @ LUMA).mean()) for time in start]
    table = pd.DataFrame(
        {
            "text": texts,
            "start": start,
            "end": start + 0.2,
            "sentence": [f"Sentence {k} of the film." for k in sentence],
            "sentence_idx": sentence.astype(float),
            "rms": np.linspace(0.1, 0.9, n),
            "mean_pixel_brightness": brightness,
            "word_diff": np.where(numbers % 2, 0.5, np.nan),
            "onset_diff": np.nan,
        }
    )
    table.loc[6, "rms"] = np.nan  # a word with an empty cell
    return table


def timings_table(column: str = "type") -> pd.DataFrame:
    """Triggers each second of film, and a pause."""
    rows = [("beginning", 0.0, round(LEAD * RATE))]
    for time in np.arange(1.0, LAST_TRIGGER + 0.5):
        rows.append(("trigger", time, round(float(recorded_at(time)) * RATE)))
    at = round((LEAD + PAUSE_AT) * RATE)
    place = next(k for k, row in enumerate(rows) if row[1] >= PAUSE_AT)
    rows[place:place] = [
        ("pause", PAUSE_AT, at),
        ("unpause", PAUSE_AT, at + round(PAUSE * RATE)),
    ]
    table = pd.DataFrame(rows, columns=[column, "movie_time", "index"])
    if column != "type":
        table.insert(0, "type", "video")
    return table


def signals() -> np.ndarray:
    """Samples of all datasets, microvolts."""
    noise = np.random.default_rng(5)
    return noise.normal(0, 50, (len(LABELS), round(RECORDED * RATE)))


def write_metadata(root: Path, subject: int = 2) -> None:
    """Write everything but recordings."""

    def put(path: str, content: Any) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(content))

    def table(path: str, content: pd.DataFrame, **options: Any) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        content.to_csv(root / path, **options)

    stem = f"sub_{subject}_trial000"
    put(f"electrode_labels/sub_{subject}/electrode_labels.json", LABELS)
    put("corrupted_elec.json", {f"sub_{subject}": ["R_B2*", "gone1"]})
    put(f"subject_metadata/{stem}_metadata.json", {"title": "Tiny", "filename": FILM})
    table(f"subject_timings/{stem}_timings.csv", timings_table(), index=False)
    table(f"transcripts/{FILM}/features.csv", words_table())
    contacts = pd.DataFrame(
        {
            "Electrode": ["LA1", "LA2", "RB1*"],
            "L": [60.0, 65, 70],
            "I": [90.0, 91, 92],
            "P": [120.0, 121, 122],
            "DesikanKilliany": ["ctx-lh-insula", "", "ctx-rh-insula"],
            "Destrieux": ["a", "b", "c"],
            "DKT": ["insula", "Unknown", "bankssts"],
        }
    )
    table(f"localization/sub_{subject}/depth-wm.csv", contacts, index=False)


def write_native(root: Path, extra: int = 0) -> np.ndarray:
    """Write a native data set, with datasets behind the labelled ones; gives the samples."""
    write_metadata(root)
    samples = signals()
    with h5py.File(root / "sub_2_trial000.h5", "w") as file:
        group = file.create_group("data")
        for number, row in enumerate([*samples, *samples[:extra]]):
            group.create_dataset(f"electrode_{number}", data=row, chunks=(10_000,))
    return samples


def write_converted(root: Path, names: list[str], seconds: float = RECORDED) -> np.ndarray:
    """Write a data set like the public BIDS conversion; gives the samples."""
    from pybv import write_brainvision

    samples = signals()[np.arange(len(names)) % len(LABELS), : round(seconds * RATE)]
    folder = root / "sub-02" / "ieeg"
    folder.mkdir(parents=True)
    stem = "sub-02_task-movie_run-01"
    write_brainvision(
        data=samples * 1e-6,
        sfreq=RATE,
        ch_names=names,
        fname_base=f"{stem}_ieeg",
        folder_out=str(folder),
    )
    sidecar = {"TaskName": "movie", "iEEGReference": "unknown", "SEEGChannelCount": len(names)}
    (folder / f"{stem}_ieeg.json").write_text(json.dumps(sidecar))
    status = ["bad" if name.startswith("DC") else "good" for name in names]
    channels = pd.DataFrame({"name": names, "type": "seeg", "units": "µV", "status": status})
    channels.to_csv(folder / f"{stem}_channels.tsv", sep="\t", index=False)
    places = pd.DataFrame({"name": names, "x": 1.0, "y": 2.0, "z": 3.0, "size": "n/a"})
    places.loc[1:, ["x", "y", "z"]] = np.nan
    places.to_csv(folder / "sub-02_electrodes.tsv", sep="\t", index=False, na_rep="n/a")
    coordinates = {"iEEGCoordinateSystem": "MNI152Lin", "iEEGCoordinateUnits": "mm"}
    (folder / "sub-02_coordsystem.json").write_text(json.dumps(coordinates))
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "Converted", "BIDSVersion": "1.9.0", "DatasetDOI": "doi:10.1/x"})
    )
    (root / "participants.tsv").write_text("participant_id\thand\nsub-01\tn/a\n")
    return samples
