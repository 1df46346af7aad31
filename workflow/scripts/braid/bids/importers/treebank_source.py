"""Files of Brain Treebank as its authors distribute them (arXiv 2411.08343).

Layout, below one root (the archives unpacked side by side):

- `sub_X_trialYYY.h5` or `all_subject_data/sub_X_trialYYY.h5`
- `electrode_labels/sub_X/electrode_labels.json`, `corrupted_elec.json`
- `localization/sub_X/depth-wm.csv`
- `subject_metadata/sub_X_trialYYY_metadata.json`, `subject_timings/sub_X_trialYYY_timings.csv`
- `transcripts/{film}/features.csv`, `scene_annotations/{film}*.csv`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.bids.files import check_fetched
from braid.common import InputError, read_json

RATE = 2048.0  # Hz, of every recording
FRAME_RATE = 24000 / 1001  # Hz, at which the authors counted frames of films
REGIONS = {
    "region_desikan": "DesikanKilliany",
    "region_destrieux": "Destrieux",
    "region_dkt": "DKT",
}
SCENE_COLUMNS = ("start", "start_time", "movie_time", "onset", "time", "start_frame", "frame")
# columns in which "null" or "nan" is text; others are numbers if all of their cells are
_TEXT = {"text", "lemma", "sentence", "speaker"}
# differences to the word before: empty for many words that lack nothing else
_NOT_NEEDED = ["word_diff", "onset_diff"]
_BORDERS = {"beginning", "end", "pause", "unpause"}


@dataclass(frozen=True, order=True)
class Trial:
    """One recording: a subject who watches one film.

    Attributes
    ----------
    subject, trial : int
        As counted by Brain Treebank: subjects from 1, trials from 0.
    """

    subject: int
    trial: int

    @property
    def native(self) -> str:
        """Stem of the native files."""
        return f"sub_{self.subject}_trial{self.trial:03d}"

    @property
    def label(self) -> str:
        """Label of the subject in BIDS."""
        return f"{self.subject:02d}"

    @property
    def stem(self) -> str:
        """Stem of the BIDS files; runs count from 1, as in the public BIDS conversion."""
        return f"sub-{self.label}_task-movie_run-{self.trial + 1:02d}"


def clean_label(label: str) -> str:
    """Electrode label without the marks `*`, `#` and `_`, which the files do not use alike."""
    return re.sub(r"[*#_\s]", "", label)


def find_trials(root: Path) -> dict[Trial, Path]:
    """Find the recordings of the native layout, in order of subject and trial.

    Raises
    ------
    InputError
        If there is none.
    """
    found = {}
    for folder in (root, root / "all_subject_data"):
        for path in sorted(folder.glob("sub_*_trial*.h5")):
            match = re.fullmatch(r"sub_(\d+)_trial(\d+)", path.stem)
            if match:
                found[Trial(int(match[1]), int(match[2]))] = path
    if not found:
        raise InputError(
            f"{root}: no sub_X_trialYYY.h5 here or in all_subject_data; name the folder into which "
            "the archives of Brain Treebank were unpacked"
        )
    return dict(sorted(found.items()))


def read_labels(root: Path, subject: int) -> list[str]:
    """Labels of a subject's electrodes as they are in the file: the i-th is dataset i.

    Raises
    ------
    InputError
        If the file is missing, no list of text, or two labels are the same but for their marks.
    """
    path = root / "electrode_labels" / f"sub_{subject}" / "electrode_labels.json"
    check_fetched(path)
    labels = read_json(path)
    if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
        raise InputError(f"{path}: must be a list of labels; copy it again")
    seen: dict[str, str] = {}
    for label in labels:
        other = seen.setdefault(clean_label(label), label)
        if other is not label:
            raise InputError(
                f"{path}: '{other}' and '{label}' are the same label once *, # and _ are removed; "
                "rename one of them"
            )
    return labels


def read_corrupted(root: Path, subject: int) -> set[str]:
    """Read the cleaned labels of a subject's corrupted electrodes.

    The keys are `sub_1` or `subject1`, depending on the copy.

    Raises
    ------
    InputError
        If the file is missing or has no entry for the subject.
    """
    path = root / "corrupted_elec.json"
    check_fetched(path)
    content = read_json(path)
    for key in (f"sub_{subject}", f"subject{subject}"):
        if key in content:
            return {clean_label(str(one)) for one in content[key]}
    raise InputError(
        f"{path}: no entry 'sub_{subject}' or 'subject{subject}'; add it, as an empty list if none "
        "of the subject's electrodes is corrupted"
    )


def read_localization(root: Path, subject: int) -> pd.DataFrame:
    """Positions and regions of a subject's contacts.

    Returns
    -------
    pandas.DataFrame
        Indexed by cleaned label: `x`, `y`, `z` (the file's L, I, P: numbers in no documented space
        or unit) and the columns of `REGIONS` (text, None where empty).

    Raises
    ------
    InputError
        If the file or a column is missing.
    """
    path = root / "localization" / f"sub_{subject}" / "depth-wm.csv"
    table = _read_csv(path, ("Electrode", "L", "I", "P", *REGIONS.values()))
    found = pd.DataFrame(index=[clean_label(one) for one in table["Electrode"]])
    for axis, column in zip("xyz", ("L", "I", "P"), strict=True):
        found[axis] = _numbers(table[column], path).to_numpy()
    for name, column in REGIONS.items():
        found[name] = table[column].where(table[column] != "", None).to_numpy()
    return found[~found.index.duplicated()]


def read_film_id(root: Path, trial: Trial) -> tuple[str, str]:
    """Film of a trial: its id, which names files, and its title.

    Raises
    ------
    InputError
        If the file or its entry `filename` is missing.
    """
    path = root / "subject_metadata" / f"{trial.native}_metadata.json"
    check_fetched(path)
    content = read_json(path)
    if not content.get("filename"):
        raise InputError(f"{path}: has no entry 'filename', the id of the film; copy it again")
    return str(content["filename"]), str(content.get("title") or content["filename"])


def read_timings(root: Path, trial: Trial) -> tuple[pd.DataFrame, Path]:
    """Triggers of a trial, in the order of their samples.

    Returns
    -------
    table : pandas.DataFrame
        `movie_time` (float, s), `index` (int, sample) and `kind` (`beginning`, `end`, `pause`,
        `unpause`, else `trigger`). Rows without a time or a sample are left out.
    path : pathlib.Path
        The file.

    Raises
    ------
    InputError
        If the file or a column is missing, or fewer than two triggers are there.
    """
    path = root / "subject_timings" / f"{trial.native}_timings.csv"
    table = _read_csv(path, ("movie_time", "index"))
    kinds = pd.Series("trigger", index=table.index)
    # copies differ in which of the two columns says it
    for column in ("type", "trig_type"):
        if column in table.columns:
            words = table[column].str.strip().str.lower()
            kinds = kinds.where(~words.isin(_BORDERS), words)
    found = pd.DataFrame(
        {
            "movie_time": _numbers(table["movie_time"], path),
            "index": _numbers(table["index"], path),
            "kind": kinds,
        }
    ).dropna()
    if len(found) < 2:
        raise InputError(
            f"{path}: fewer than two triggers with movie_time and index; copy it again"
        )
    found["index"] = found["index"].round().astype("int64")
    return found.sort_values("index", kind="stable", ignore_index=True), path


def read_transcript(root: Path, film: str) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Words and sentences of a film.

    Words with an empty cell are left out, as by the data set's authors, after `word_diff` and
    `onset_diff` were dropped: these are empty for many words that lack nothing else.

    Returns
    -------
    words : pandas.DataFrame
        As in the file, sorted by `start` (s); numbers as float64. Text such as "null" stays text.
    sentences : pandas.DataFrame
        `sentence_idx`, `sentence`, `start`, `end` (s), sorted by start; all words count.
    incomplete : int
        Words left out.

    Raises
    ------
    InputError
        If the file or a column is missing, or no word is left.
    """
    path = root / "transcripts" / film / "features.csv"
    table = _read_csv(path, ("text", "start", "end", "sentence", "sentence_idx"))
    unnamed = [name for name in table.columns if not name or name.startswith("Unnamed")]
    table = table.drop(columns=[*unnamed, *(set(_NOT_NEEDED) & set(table.columns))])
    for name in table.columns:
        if name in _TEXT:
            # text with tabs or line breaks in it would not survive a table
            cells = [" ".join(str(cell).split()) or None for cell in table[name]]
            table[name] = pd.Series(cells, index=table.index, dtype=object)
        else:
            numbers = pd.to_numeric(table[name].replace("", np.nan), errors="coerce")
            is_text = (numbers.isna() & ~table[name].str.lower().isin(["", "nan"])).any()
            table[name] = table[name].replace("", None) if is_text else numbers.astype(float)
    for name in ("start", "end", "sentence_idx"):
        table[name] = _numbers(table[name], path)
    timed = table.dropna(subset=["start", "end", "sentence", "sentence_idx"])
    sentences = timed.groupby("sentence_idx", as_index=False).agg(
        sentence=("sentence", "first"), start=("start", "min"), end=("end", "max")
    )
    words = table.dropna()
    if words.empty:
        raise InputError(f"{path}: no word has all of its cells filled; copy it again")
    return (
        words.sort_values("start", kind="stable", ignore_index=True),
        sentences.sort_values("start", kind="stable", ignore_index=True),
        len(table) - len(words),
    )


def find_scene_annotations(root: Path, film: str) -> Path | None:
    """File with the annotated scenes of a film; None if there is none."""
    folder = root / "scene_annotations"
    found = [folder / f"{film}.csv", *sorted(folder.glob(f"{film}[_.]*.csv"))]
    found += sorted((folder / film).glob("*.csv"))
    return next((path for path in found if path.exists() or path.is_symlink()), None)


def read_scene_cuts(path: Path, column: str | None = None) -> np.ndarray:
    """Film times at which annotated scenes start.

    What the columns are called is not documented: one of `SCENE_COLUMNS` is taken, or the one that
    the user names. Entries are seconds, `h:mm:ss`, or frames where the name says so.

    Returns
    -------
    numpy.ndarray
        float64, s, ascending, without the start of the film.

    Raises
    ------
    InputError
        If no such column is there, or an entry is no time.
    """
    table = _read_csv(path, ())
    name = column or next((one for one in SCENE_COLUMNS if one in table.columns), None)
    if name is None or name not in table.columns:
        raise InputError(
            f"{path}: no column {column or ', '.join(SCENE_COLUMNS)}; name the one with the start "
            f"of each scene through --scene-column (there are: {', '.join(table.columns)})"
        )
    cells = table[name].map(_seconds)
    times = _numbers(cells, path).dropna().to_numpy(float)
    times = np.unique(times / FRAME_RATE if "frame" in name.lower() else times)
    return times[times > 0]


def _seconds(cell: str) -> Any:
    """Seconds of an entry `h:mm:ss` or `mm:ss`; others as they are."""
    if not re.fullmatch(r"(\d+:)?\d+:\d+(\.\d+)?", cell.strip()):
        return cell
    total = 0.0
    for part in cell.split(":"):
        total = 60 * total + float(part)
    return total


def _read_csv(path: Path, required: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV as text ("null" is a word); the first missing column is named."""
    check_fetched(path)
    if not path.exists():
        raise InputError(
            f"{path}: no such file; unpack the archive of Brain Treebank that holds it"
        )
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except ValueError as error:  # all that parsing and decoding raise
        raise InputError(f"{path}: cannot be read as a table ({error}); copy it again") from None
    for name in required:
        if name not in table.columns:
            raise InputError(
                f"{path}: column '{name}' is missing (it has: {', '.join(table.columns)}); copy "
                "the file again"
            )
    return table.reset_index(drop=True)


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    """Convert a column to float64, empty cells to NaN; the first that is no number is named."""
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    wrong = numbers.isna() & ~column.isna() & ~column.astype(str).str.lower().isin(["", "nan"])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{path}: row {row + 1}: {column.name} '{column.iloc[row]}' is no number; correct it"
        )
    return numbers
