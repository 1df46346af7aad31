"""Pauses: nothing runs over them, and films go on where they were stopped."""

from __future__ import annotations

import numpy as np
import pytest

from braid.common import InputError, read_table, write_table
from braid.stimuli import EVENT_COLUMNS, events_of, responses_of

RUN = "task-film_run-1"
# the film is stopped at 4.0 s for 3 s, after 2 of its 4 s
PAUSED = """onset\tduration\ttrial_type\tstim_file\ttext\tsentence
2.0\t7.0\tfilm\tcinema.mp4\tn/a\tn/a
2.5\t0.3\tword\tcinema.mp4\tthe\t1
3.3\t0.4\tword\tcinema.mp4\tred\t1
4.0\t3.0\tpause\tn/a\tn/a\tn/a
7.5\t0.3\tword\tcinema.mp4\tstar\t1
8.5\t0.3\tword\tcinema.mp4\tfalls\t1
"""
WORDS = {"kind": "words"}
LOCKED = {"kind": "event_locked", "tmin": -0.5, "tmax": 0.5, "window": 0.2, "step": 0.1}


def unpaused(table: str) -> str:
    """The same pause as two rows without a duration."""
    pause, unpause = (f"{{}}\t0\t{name}\tn/a\tn/a\tn/a" for name in ("pause", "unpause"))
    return table.replace(
        "4.0\t3.0\tpause\tn/a\tn/a\tn/a", f"{pause.format('4.0')}\n{unpause.format('7.0')}"
    )


@pytest.mark.parametrize("table", [PAUSED, unpaused(PAUSED), PAUSED + "5\t1\tpause" + "\tn/a" * 3])
def test_stretches_and_times_in_the_film(dataset, table):
    index, root = dataset({RUN: table})
    events = events_of(index, root, WORDS)
    assert list(events["stretch_start"]) == [0, 0, 7, 7]
    assert list(events["stretch_end"]) == [4, 4, 10, 10]
    np.testing.assert_allclose(events["frame_time"], [0.5, 1.3, 2.5, 3.5])
    # a sentence goes on after the pause
    assert events["text"].iloc[-1] == "the red star falls"


def test_frames_and_cuts_stop_with_the_film(dataset):
    index, root = dataset({RUN: PAUSED})
    events = events_of(index, root, {"kind": "frames", "step": 0.5})
    np.testing.assert_allclose(events["onset"], [2, 2.5, 3, 3.5, 7, 7.5, 8, 8.5])
    np.testing.assert_allclose(events["frame_time"], 0.5 * np.arange(8))
    cut = "8.0\t0\tscene_cut\tcinema.mp4\tn/a\tn/a\n"
    index, root = dataset({RUN: PAUSED + cut})
    cuts = events_of(index, root, {"kind": "scene_cuts"})
    assert list(cuts["frame_time"]) == [3.0] and list(cuts["stretch_start"]) == [7.0]


def test_windows_over_a_pause_are_dropped_and_counted(dataset, signal, tmp_path):
    going_on = PAUSED.replace("\tpause", "\trest").replace("cinema.mp4", "n/a")
    index, root = dataset({RUN: PAUSED, "task-film_run-2": going_on})
    events = events_of(index, root, WORDS)
    write_table(tmp_path / "events.tsv", events, EVENT_COLUMNS)
    array = signal([1000, 1000], 100.0)
    for table in (events, read_table(tmp_path / "events.tsv")):
        response, dropped = responses_of(array, table, {**LOCKED, "tmax": 0.8})
        # 3.3 s runs into the pause, 8.5 s is far from the end at 10 s; run 2 has no pause
        assert list(response["event"].values) == [0, 2, 3, 4, 5, 6, 7]
        assert list(dropped["event"]) == [1]
        assert list(dropped["reason"]) == ["a window runs over a pause"]
    # up to the very pause, and from its end on
    exact = {**LOCKED, "tmin": -0.5, "tmax": 0.7}
    assert responses_of(array, events, exact)[1].empty
    late = responses_of(array, events, {**LOCKED, "tmin": -0.51})[1]
    assert list(late["event"]) == [2]
    with pytest.raises(InputError, match=r"all 4 events have windows that leave .* over a pause"):
        responses_of(array, events.iloc[:4], {**LOCKED, "tmin": -3, "tmax": 2})


def test_an_event_within_a_pause_is_dropped(dataset, signal):
    index, root = dataset({RUN: PAUSED + "5.5\t0.1\tword\tn/a\tuh\t2\n"})
    events = events_of(index, root, WORDS)
    assert list(events["word"])[2] == "uh"
    _, dropped = responses_of(signal([1000], 100.0), events, {**LOCKED, "tmin": 0, "tmax": 0.2})
    assert list(dropped["event"]) == [2]


def test_other_names_of_pauses(dataset):
    index, root = dataset({RUN: PAUSED.replace("pause", "stopped").replace("cinema.mp4", "n/a")})
    assert "stretch_end" not in events_of(index, root, WORDS).columns
    assert "stretch_end" in events_of(index, root, {**WORDS, "pause_types": ["stopped"]}).columns


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("4.0\t3.0\tpause", "4.0\tn/a\tpause"), "row 4: a pause without duration, and no unpause"),
        (("4.0\t3.0\tpause", "n/a\t3.0\tpause"), "row 4: a pause without onset"),
    ],
)
def test_pauses_without_an_end(dataset, change, words):
    index, root = dataset({RUN: PAUSED.replace(*change)})
    with pytest.raises(InputError, match=words):
        events_of(index, root, WORDS)
