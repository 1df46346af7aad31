"""Spoken stories: the events of a run from the times of words, and where the run begins in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braid.bids.importers.textgrid import read_textgrid, words_of
from braid.common import InputError, read_json, write_table

REPETITION_TIME = 2.0045  # s
SILENCE = 10.0  # s of each scan before the story starts
CUT = (10, 10)  # volumes that the released arrays lack at the start and the end of a scan
_WORD_COLUMNS = {
    "onset": "Onset in the story (s)",
    "duration": "Duration (s)",
    "text": "The word that is said",
}


@dataclass(frozen=True)
class Story:
    """A story and its words.

    Attributes
    ----------
    name : str
    duration : float
        s, as long as its transcript.
    words : pandas.DataFrame
        `onset`, `duration` (s in the story), `text`.
    left_out : int
        Intervals of the transcript that are no words.
    path : pathlib.Path
        Its transcript.
    """

    name: str
    duration: float
    words: pd.DataFrame
    left_out: int
    path: Path

    @property
    def stim_file(self) -> str:
        """Its words in the folder `stimuli`."""
        return f"{self.name}.tsv"


def read_story(folder: Path, name: str) -> Story:
    """Read the transcript `name.TextGrid` of a folder."""
    path = folder / f"{name}.TextGrid"
    grid = read_textgrid(path)
    words, left_out = words_of(grid, path)
    return Story(name, grid.duration, words, left_out, path)


def write_story(out: Path, story: Story) -> None:
    """Write the words of a story into the folder `stimuli` of a data set."""
    write_table(out / "stimuli" / story.stim_file, story.words, _WORD_COLUMNS)


def read_respdict(path: Path) -> dict[str, int]:
    """Read the numbers of volumes of whole scans, by story.

    Raises
    ------
    InputError
        If the file is missing, or an entry is no number of volumes.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: must hold one number of volumes per story; copy it again")
    for story, count in found.items():
        if isinstance(count, bool) or not isinstance(count, int) or count <= sum(CUT):
            raise InputError(
                f"{path}: story '{story}' has {count!r} volumes; more than {sum(CUT)} are needed, "
                "copy the file again"
            )
    return found


def checked_repetition_time(given: float | None) -> float:
    """Repetition time of stories, s: the user's, else the data set's."""
    if given is None:
        return REPETITION_TIME
    if not 0 < given < SILENCE:
        raise InputError(f"--repetition-time {given:g}: give seconds, such as {REPETITION_TIME}")
    return given


def story_start(repetition_time: float) -> float:
    """Give the time in a story at which the first volume of its released array starts, s.

    The laboratory's code has a story begin 10 s after the first volume of its scan, gives it a row
    of features for every volume but the last 5, and drops 10 rows at the start and 5 at the end; as
    many as the array has. So the array's first row is the scan's volume 10 (from 0).
    """
    return CUT[0] * repetition_time - SILENCE


def check_rows(story: str, rows: int, scanned: int | None, path: Path, respdict: Path) -> None:
    """Check that an array has the volumes that features of its story are made for.

    Parameters
    ----------
    story : str
    rows : int
        Volumes of the array.
    scanned : int or None
        Volumes of the scan by `respdict.json`.
    path, respdict : pathlib.Path
        For error messages.

    Raises
    ------
    InputError
    """
    if scanned is None:
        raise InputError(
            f"{respdict}: says nothing of story '{story}', for which there is {path}; copy it again"
        )
    if rows != scanned - sum(CUT):
        raise InputError(
            f"{path}: has {rows} volumes, but the scan of '{story}' had {scanned} by "
            f"{respdict.name}, of which {scanned - sum(CUT)} are left without the first {CUT[0]} "
            f"and the last {CUT[1]}; copy both files again from one version of the data set"
        )


def story_events(story: Story, start: float) -> pd.DataFrame:
    """Events of a run: the story, and its words.

    Parameters
    ----------
    story : Story
    start : float
        Time in the story at which the first volume starts, s.
    """
    words = pd.DataFrame(
        {
            "onset": story.words["onset"] - start,
            "duration": story.words["duration"],
            "trial_type": "word",
            "text": story.words["text"],
            "stim_file": story.stim_file,
            "stim_time": story.words["onset"],
        }
    )
    whole = {
        "onset": -start,
        "duration": story.duration,
        "trial_type": "story",
        "text": "n/a",
        "stim_file": story.stim_file,
        "stim_time": 0.0,
    }
    table = pd.concat([pd.DataFrame([whole]), words], ignore_index=True)
    times = ["onset", "duration", "stim_time"]
    return table.assign(**table[times].round(4)).sort_values(
        "onset", kind="stable", ignore_index=True
    )


def check_inside(story: Story, start: float, length: float, before: float, after: float) -> None:
    """Check that all words were said while the scanner ran.

    Parameters
    ----------
    story : Story
    start : float
        Time in the story at which the first volume starts, s.
    length : float
        Of the array, s.
    before, after : float
        What was cut off its start and its end, s.

    Raises
    ------
    InputError
    """
    words = story.words
    first = float(words["onset"].min()) - start
    last = float((words["onset"] + words["duration"]).max()) - start
    if first < -before or last > length + after:
        raise InputError(
            f"{story.path}: the words are said from {first:.1f} s to {last:.1f} s after the first "
            f"volume, but the scan lasted from {-before:.1f} s to {length + after:.1f} s; this is "
            "the transcript of another story, or the repetition time is wrong"
        )


def story_measures(story: Story, start: float) -> dict[str, float]:
    """Lines of the report on a story."""
    return {
        "words": len(story.words),
        "marks that are no words, left out": story.left_out,
        "first volume after the start of the story (s)": round(start, 4),
    }
