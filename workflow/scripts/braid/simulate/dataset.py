"""The demo's raw BIDS data set: recordings of the world's films and stories, with their truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed

import braid
from braid.common import InputError, atomic_folder, progress, read_json, write_json, write_text
from braid.simulate.recordings_bold import (
    ATLAS,
    atlas_table,
    bold_sidecar,
    simulate_bold,
    write_bold,
)
from braid.simulate.recordings_brain import check_room
from braid.simulate.recordings_events import SILENT, event_columns, write_tsv
from braid.simulate.recordings_ieeg import simulate_ieeg, write_ieeg
from braid.simulate.recordings_settings import (
    BoldSettings,
    CrossmodalSettings,
    IeegSettings,
    check_stimuli,
    read_settings,
)
from braid.simulate.truth import write_truth
from braid.simulate.world import World, pictures, write_transcript, write_video

BIDS_VERSION = "1.10.0"
NAME = "braid demo: a small cinema with planted truth"

README = """\
# A small cinema with planted truth

These recordings are simulated; nobody was recorded. People with depth electrodes (SEEG) watch one
film with narration, and the same people watch films and listen to stories in a scanner (BOLD).

- `sub-*/ieeg`: SEEG in BrainVision format (16 bit, 0.1 microvolt per step), task film. Bad channels
  are marked in channels.tsv. Coordinates are in MNI space, in millimetres.
- `sub-*/func`: BOLD, tasks film and story, or silentfilm (the films without their narration) and
  story, one stimulus per run. A volume shows the signal half a repetition time after its start.
  Runs of acq-repeat show one film again and again.
- `stimuli`: the films (H.264, silent), and the transcripts of films and stories; `captioned`
  holds still pictures with captions, which nobody was shown.
- `derivatives/atlas`: a label image of regions for every participant's voxels.

Every site follows a known rule: it is driven by what is seen, by what is said, by the sum of both,
by whether the two agree, by what both say alike, or by nothing. Which site follows which rule is
not part of this data set.
"""

ATLAS_README = """\
# Regions of the simulated brains

One label image per participant, on the grid of that participant's BOLD runs. The numbers are those
of `seg-regions_dseg.tsv`: regions of the Desikan-Killiany kind, `lh-` in the left and `rh-` in the
right hemisphere. Each voxel belongs to the region whose centre in MNI space is nearest.
"""


def write_dataset(
    world: World, spec: Mapping[str, Any], seed: int, root: Path, truth: Path, n_jobs: int = 1
) -> None:
    """Write the raw BIDS data set of a world, and the truth table outside of it.

    The data set is written beside `root` and moved into place when it is complete.

    Parameters
    ----------
    world : World
    spec : mapping
        World description; sections `ieeg` and `bold` say what is recorded (either may be absent).
    seed : int
        The same seed gives the same data set.
    root : path
        Root of the data set. An older one made by this function is replaced.
    truth : path
        TSV of the truth table, outside `root`.
    n_jobs : int
        Processes that share the films and participants; the data set does not depend on it.

    Raises
    ------
    InputError
        If the description is wrong, `truth` lies within `root`, or `root` holds something else.
    """
    root, truth = Path(root), Path(truth)
    ieeg, narrated, crossmodal = read_settings(spec)
    sections: dict[str, BoldSettings | None] = {"bold": narrated, "crossmodal": crossmodal}
    bold = {name: settings for name, settings in sections.items() if settings is not None}
    check_stimuli(ieeg, bold, world.films, world.stories)
    for section, settings in bold.items():
        check_room(section, settings)
    _check_places(root, truth)
    with atomic_folder(root) as folder:
        _write_top(folder, world, ieeg, bold)
        if bold:
            _write_atlas(folder)
        if spec.get("captioned"):
            _write_captioned(folder, world, int(spec["captioned"]["pictures"]))
        if bold and n_jobs > 1:
            import nilearn.glm.first_level  # noqa: F401  what the others use is named as used here
        parts = [delayed(_write_stimulus)(folder, world, name) for name in _shown(ieeg, bold)]
        for subject in () if ieeg is None else ieeg.subjects:
            parts.append(delayed(_write_ieeg_of)(folder, world, ieeg, seed, subject))
        for settings in bold.values():
            for subject in settings.subjects:
                parts.append(delayed(_write_bold_of)(folder, world, settings, seed, subject))
        written = Parallel(n_jobs, return_as="generator")(parts)
        done = list(progress(written, "simulating films and recordings", total=len(parts)))
        parameters = {"seed": seed, **{name: spec.get(name) for name in ("ieeg", *sections)}}
        write_truth(truth, [table for table in done if table is not None], parameters)


def _write_ieeg_of(
    folder: Path, world: World, settings: IeegSettings, seed: int, subject: str
) -> pd.DataFrame:
    """Simulate and write the iEEG of a participant, and give its truth."""
    recording = simulate_ieeg(world, settings, seed, subject)
    write_ieeg(recording, world.films[settings.film], settings, folder, subject)
    return recording.truth


def _write_bold_of(
    folder: Path, world: World, settings: BoldSettings, seed: int, subject: str
) -> pd.DataFrame:
    """Simulate and write the BOLD of a participant, and give its truth."""
    simulated = simulate_bold(world, settings, seed, subject)
    write_bold(simulated, settings, folder, seed)
    return simulated.truth


def _check_places(root: Path, truth: Path) -> None:
    """Refuse to hide the truth in the data set, and to replace what this function did not make."""
    if truth.suffix != ".tsv":
        raise InputError(f"{truth}: the truth table must end in .tsv; rename it")
    if truth.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"{truth}: the truth table must lie outside the data set {root}; choose another folder"
        )
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    description = root / "dataset_description.json"
    if not description.is_file() or read_json(description).get("Name") != NAME:
        raise InputError(
            f"{root}: already exists and is not a data set made here; "
            "move it away or choose another root"
        )


def _write_top(
    folder: Path, world: World, ieeg: IeegSettings | None, bold: Mapping[str, BoldSettings]
) -> None:
    """Write what stands at the top of the data set."""
    write_json(folder / "dataset_description.json", _description("raw"))
    write_text(folder / "README.md", README)
    write_text(folder / "CHANGES", f"{braid.__version__} 2025-01-01\n  - Simulated.\n")
    kinds = [*([] if ieeg is None else [ieeg]), *bold.values()]
    subjects = sorted({subject for settings in kinds for subject in settings.subjects})
    participants = pd.DataFrame(
        {
            "participant_id": [f"sub-{subject}" for subject in subjects],
            "species": "simulated",
            "age": "n/a",
            "sex": "n/a",
        }
    )
    write_tsv(folder / "participants.tsv", participants)
    write_json(
        folder / "participants.json",
        {
            "species": {"Description": "What was recorded; these participants are simulated"},
            "age": {"Description": "Age; simulated participants have none", "Units": "year"},
            "sex": {"Description": "Sex; simulated participants have none"},
        },
    )
    described: dict[str, BoldSettings | None] = {} if ieeg is None else {"film": None}
    for section, settings in bold.items():
        described["film" if section == "bold" else SILENT] = settings
        if settings.stories:
            described["story"] = settings
    for task, shown in described.items():
        write_json(folder / f"task-{task}_events.json", event_columns())
        if shown is not None:
            write_json(folder / f"task-{task}_bold.json", bold_sidecar(task, shown))
    if ieeg is not None:
        _write_ieeg_columns(folder)


def _write_ieeg_columns(folder: Path) -> None:
    """Describe the columns of electrodes.tsv that the standard does not define."""
    write_json(
        folder / "space-MNI152NLin2009cAsym_electrodes.json",
        {
            "region": {
                "Description": "Region of the Desikan-Killiany kind that the contact lies in, "
                "with its hemisphere"
            },
            "group": {"Description": "Shaft that the contact belongs to"},
        },
    )


def _description(kind: str) -> dict[str, Any]:
    """Contents of dataset_description.json."""
    description: dict[str, Any] = {
        "Name": NAME,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "License": "CC0",
        "Authors": ["braid"],
        "Keywords": ["simulation", "film", "narration", "SEEG", "BOLD"],
        "Acknowledgements": "none",
        "HowToAcknowledge": "Name braid and its version",
        "Funding": ["none"],
        "EthicsApprovals": ["none needed, simulated"],
        "ReferencesAndLinks": ["none"],
        "GeneratedBy": [{"Name": "braid", "Version": braid.__version__}],
    }
    return description


def _shown(ieeg: IeegSettings | None, bold: Mapping[str, BoldSettings]) -> list[str]:
    """Names of all films and stories that somebody was shown."""
    names: list[str] = [] if ieeg is None else [ieeg.film]
    for settings in bold.values():
        names += [*settings.films, *settings.stories]
        if isinstance(settings, CrossmodalSettings) and settings.repeats:
            names.append(settings.repeated)
    return list(dict.fromkeys(names))


def _write_stimulus(folder: Path, world: World, name: str) -> None:
    """Render a film, and write the transcript of a film or story."""
    stimulus = world.films[name] if name in world.films else world.stories[name]
    path = folder / stimulus.path
    path.parent.mkdir(exist_ok=True)
    if stimulus.kind == "film":
        write_video(world, name, path)
    write_transcript(stimulus, path.with_suffix(".tsv"))


def _write_captioned(folder: Path, world: World, n: int) -> None:
    """Write still pictures with a caption each, which nobody was shown."""
    from PIL import Image

    images, captions, _ = pictures(world, n, "captioned")
    target = folder / "stimuli" / "captioned"
    target.mkdir(parents=True)
    names = [f"picture-{number:04d}.png" for number in range(1, n + 1)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(target / name)
    write_tsv(target / "captions.tsv", pd.DataFrame({"picture": names, "caption": captions}))
    write_json(
        target / "captions.json",
        {
            "picture": {"Description": "Picture, in this folder"},
            "caption": {"Description": "A sentence that is true of it, in the narrator's words"},
        },
    )


def _write_atlas(folder: Path) -> None:
    """Start the derivative with the regions: its description and label table."""
    target = folder / ATLAS
    target.mkdir(parents=True)
    write_json(
        target / "dataset_description.json",
        {**_description("derivative"), "Name": "Regions of the simulated brains"},
    )
    write_text(target / "README.md", ATLAS_README)
    write_tsv(target / "seg-regions_dseg.tsv", atlas_table())
    write_json(
        target / "seg-regions_dseg.json",
        {
            "Description": "Regions of the simulated brains",
            "SpatialReference": "The BOLD runs of the same participant",
        },
    )
