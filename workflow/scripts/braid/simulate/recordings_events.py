"""Events of a simulated run: the stimulus, its words and its scene cuts, on the run's clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

import braid
from braid.simulate.world import Stimulus

COLUMNS: dict[str, dict[str, object]] = {
    "onset": {"Description": "Onset from the first sample of the recording", "Units": "s"},
    "duration": {"Description": "Duration of the event", "Units": "s"},
    "trial_type": {
        "Description": "Kind of event",
        "Levels": {
            "film": "A film with narration, from its first frame to its last",
            "silentfilm": "A film shown without its narration, from its first frame to its last",
            "story": "A narrated story without pictures",
            "word": "One word of the narration",
            "scene_cut": "First frame of a new scene",
        },
    },
    "text": {"Description": "The word that is said, in lower case"},
    "sentence": {"Description": "Number of the sentence that the word belongs to, from 0"},
    "stim_file": {"Description": "Stimulus file in the folder stimuli"},
    "stim_time": {"Description": "Time of the event in the stimulus", "Units": "s"},
}


#: What both kinds of recording say in their sidecars; nobody and nothing was recorded.
SIMULATED: dict[str, object] = {
    "Manufacturer": "none, simulated",
    "ManufacturersModelName": "none, simulated",
    "DeviceSerialNumber": "n/a",
    "SoftwareVersions": f"braid {braid.__version__}",
    "InstitutionName": "none, simulated",
    "InstitutionAddress": "n/a",
    "InstitutionalDepartmentName": "n/a",
    "CogAtlasID": "n/a",
    "CogPOID": "n/a",
}


SILENT = "silentfilm"
"""Task, and kind of stimulus, of films that are shown without their narration."""


def without_narration(film: Stimulus) -> Stimulus:
    """Take the narration from a film: its words, and the latents that come with them."""
    return replace(film, kind=SILENT, words=film.words.iloc[:0], latents=film.latents[["vision"]])


def event_columns() -> dict[str, object]:
    """Sidecar of the events: what each column means, and what showed the stimuli."""
    presentation = {"SoftwareName": "braid", "SoftwareVersion": braid.__version__}
    return {**COLUMNS, "StimulusPresentation": presentation}


def events_of(stimulus: Stimulus, start: float) -> pd.DataFrame:
    """Tabulate the events of one run.

    Parameters
    ----------
    stimulus : Stimulus
    start : float
        Time at which the stimulus starts, s after the first sample of the recording.

    Returns
    -------
    pandas.DataFrame
        The columns of `COLUMNS`, sorted by onset: one row for the stimulus, one per word and one
        per scene cut.
    """
    words = stimulus.words
    rows = pd.concat(
        [
            pd.DataFrame(
                {
                    "stim_time": [0.0],
                    "duration": [stimulus.duration],
                    "trial_type": [stimulus.kind],
                }
            ),
            pd.DataFrame(
                {
                    "stim_time": words["onset"],
                    "duration": words["duration"],
                    "trial_type": "word",
                    "text": words["text"],
                    "sentence": words["sentence"].astype("Int64"),
                }
            ),
            pd.DataFrame(
                {
                    "stim_time": np.asarray(stimulus.cuts, dtype=float),
                    "duration": 0.0,
                    "trial_type": "scene_cut",
                }
            ),
        ],
        ignore_index=True,
    )
    rows["stim_file"] = PurePosixPath(stimulus.path).name
    rows["onset"] = (rows["stim_time"] + start).round(4)
    rows["stim_time"] = rows["stim_time"].round(4)
    return rows.sort_values("onset", kind="stable", ignore_index=True)[list(COLUMNS)]


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    """Write a BIDS table; its columns are described by a sidecar of its own or higher up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
