"""BIDS sidecars of Brain Treebank: channels, electrodes, participants, the data set itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import braid
from braid.bids.importers.treebank_events import EVENT_COLUMNS
from braid.bids.importers.treebank_source import RATE, clean_label
from braid.common import InputError, atomic_path, read_json, write_json, write_text

BIDS_VERSION = "1.10.0"
GENERATOR = "braid import"
_COORDINATES = {
    "iEEGCoordinateSystem": "Other",
    "iEEGCoordinateUnits": "n/a",
    "iEEGCoordinateSystemDescription": (
        "x, y, z are L, I and P of depth-wm.csv of Brain Treebank, unchanged: positive numbers in "
        "each participant's own image. Neither space nor unit is documented; they are not in any "
        "template space and cannot be compared between participants."
    ),
    "iEEGCoordinateProcessingDescription": "none",
    "iEEGCoordinateProcessingReference": "n/a",
}
_ELECTRODES = {
    "region_desikan": "Region in the Desikan-Killiany atlas",
    "region_destrieux": "Region in the Destrieux atlas",
    "region_dkt": "Region in the Desikan-Killiany-Tourville atlas",
}
_CHANNELS = {
    "group": "Shaft of the contact: its label without the number",
    "status_description": "Why a channel is bad, or what is known of one that is no contact",
}
_README = """\
# Brain Treebank, imported by braid

SEEG of people who watch feature films (Wang et al. 2024, arXiv 2411.08343, CC BY 4.0).
`code/` tells for each recording what was left out. Films are not part of the data set: `stimuli`
holds, or links to, the copies of the person who imported it, and must not be passed on.
"""


def channel_type(label: str) -> str:
    """BIDS type of a channel by its cleaned label."""
    if re.match(r"DC\d*$", label, flags=re.IGNORECASE):
        return "MISC"
    if label.upper().startswith("TRIG"):
        return "TRIG"
    return "SEEG"


def channels_table(
    labels: Sequence[str], corrupted: set[str], unlabelled: Sequence[str] = ()
) -> pd.DataFrame:
    """Contents of channels.tsv.

    Parameters
    ----------
    labels : sequence of str
        Labels with or without their marks, in the order of the recording.
    corrupted : set of str
        Cleaned labels of bad channels.
    unlabelled : sequence of str
        Recorded channels behind them that have no label; never used for analysis.
    """
    names = [clean_label(label) for label in labels]
    types = [channel_type(name) for name in names]
    rows = []
    for name, kind in zip(names, types, strict=True):
        neural = kind == "SEEG"
        bad = name in corrupted
        status = ("bad" if bad else "good") if neural else "n/a"
        reason = "listed in corrupted_elec.json" if bad else "n/a"
        group = name.rstrip("0123456789") if neural else "n/a"
        rows.append((name, kind, group, status, reason))
    rows += [(name, "MISC", "n/a", "n/a", "has no label") for name in unlabelled]
    table = pd.DataFrame(rows, columns=["name", "type", "group", "status", "status_description"])
    for place, (name, value) in enumerate(
        {"units": "µV", "low_cutoff": "n/a", "high_cutoff": "n/a"}.items(), start=2
    ):
        table.insert(place, name, value)
    table.insert(6, "sampling_frequency", RATE)
    return table


def electrodes_table(channels: pd.DataFrame, localization: pd.DataFrame) -> pd.DataFrame:
    """Contents of electrodes.tsv: a row for each contact; unlocalized ones have no position."""
    contacts = channels.loc[channels["type"] == "SEEG", ["name", "group"]]
    table = localization.reindex(contacts["name"])
    table.insert(0, "name", contacts["name"].to_numpy())
    table.insert(4, "size", "n/a")
    table["group"] = contacts["group"].to_numpy()
    return table.reset_index(drop=True)


def recording_sidecar(
    channels: pd.DataFrame, title: str, n_samples: int, known: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Contents of `*_ieeg.json`; `known` are entries of an earlier one, which stay if not wrong."""
    counts = channels["type"].value_counts()
    return {
        "iEEGReference": "unknown",
        "SoftwareFilters": "n/a",
        **(known or {}),
        "TaskName": "movie",
        "TaskDescription": f"Watching the film '{title}' with sound",
        "MovieTitle": title,
        "SamplingFrequency": RATE,
        "PowerLineFrequency": 60,
        "RecordingDuration": n_samples / RATE,
        "RecordingType": "continuous",
        "SEEGChannelCount": int(counts.get("SEEG", 0)),
        "ECOGChannelCount": 0,
        "EEGChannelCount": 0,
        "EOGChannelCount": 0,
        "ECGChannelCount": 0,
        "EMGChannelCount": 0,
        "MiscChannelCount": int(counts.get("MISC", 0)),
        "TriggerChannelCount": int(counts.get("TRIG", 0)),
    }


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    """Write a BIDS table whose columns are described by the standard or at the root."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep="\t", index=False, na_rep="n/a", lineterminator="\n")


def write_electrodes(folder: Path, subject: str, table: pd.DataFrame) -> None:
    """Write electrodes.tsv, its sidecar and coordsystem.json, which claims no known space."""
    stem = folder / f"sub-{subject}"
    write_tsv(Path(f"{stem}_electrodes.tsv"), table)
    described = {name: {"Description": text} for name, text in _ELECTRODES.items()}
    write_json(Path(f"{stem}_electrodes.json"), described)
    write_json(Path(f"{stem}_coordsystem.json"), _COORDINATES)


def check_target(out: Path, sources: Sequence[Path], subjects: Sequence[str]) -> None:
    """Refuse to write into a source, into what was not imported here, or over a subject.

    Raises
    ------
    InputError
    """
    for source in sources:
        if out.resolve() == source.resolve() or out.resolve().is_relative_to(source.resolve()):
            raise InputError(
                f"{out}: lies in {source}, which stays as it is; choose another folder"
            )
        if source.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{out}: holds {source}, which stays as it is; choose another folder")
    if not out.exists() or not any(out.iterdir()):
        return
    description = out / "dataset_description.json"
    made = read_json(description).get("GeneratedBy", []) if description.is_file() else []
    if GENERATOR not in {one.get("Name") for one in made}:
        raise InputError(f"{out}: is there and was not imported here; choose another folder")
    for subject in subjects:
        if (out / f"sub-{subject}").exists():
            raise InputError(
                f"{out / f'sub-{subject}'}: is there already; remove it to import it again, or "
                "name other subjects"
            )


def write_top(out: Path, description: dict[str, Any], people: pd.DataFrame | None = None) -> None:
    """Write what belongs to the whole data set; called again when subjects were added.

    Parameters
    ----------
    out : pathlib.Path
    description : dict
        Entries of dataset_description.json that the source has.
    people : pandas.DataFrame, optional
        participants.tsv of the source. Age and sex are `n/a` where it has none.
    """
    out.mkdir(parents=True, exist_ok=True)
    generators = [one for one in description.get("GeneratedBy", []) if one.get("Name") != GENERATOR]
    write_json(
        out / "dataset_description.json",
        {
            "Name": "Brain Treebank",
            "License": "CC BY 4.0",
            "HowToAcknowledge": "Cite Wang et al. 2024, Brain Treebank, arXiv 2411.08343",
            "ReferencesAndLinks": ["https://arxiv.org/abs/2411.08343"],
            "SourceDatasets": [{"URL": "https://braintreebank.dev"}],
            **description,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "raw",
            "GeneratedBy": [*generators, {"Name": GENERATOR, "Version": braid.__version__}],
        },
    )
    write_text(out / "README", _README)
    write_json(out / "task-movie_events.json", EVENT_COLUMNS)
    described = {name: {"Description": text} for name, text in _CHANNELS.items()}
    write_json(out / "task-movie_channels.json", described)
    names = sorted(path.name for path in out.glob("sub-*") if path.is_dir())
    table = pd.DataFrame({"participant_id": names})
    if people is not None:
        table = table.merge(people.drop_duplicates("participant_id"), how="left")
    for name in ("age", "sex"):
        if name not in table.columns:
            table[name] = "n/a"
    write_tsv(out / "participants.tsv", table)
