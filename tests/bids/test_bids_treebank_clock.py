"""Brain Treebank: from film time to samples, sentences near cuts, files as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from treebank_world import FILM, LABELS, timings_table, words_table, write_metadata

from braid.bids.cuts import match_sentences
from braid.bids.importers import treebank_source as source
from braid.bids.importers.treebank_clock import place, segments_of
from braid.bids.importers.treebank_events import events_table
from braid.common import InputError

RATE = 2048.0
HERE = Path("timings.csv")


def triggers(film, sample, kinds=None):
    kind = kinds if kinds is not None else ["trigger"] * len(film)
    return pd.DataFrame({"movie_time": film, "index": sample, "kind": kind})


def rule_of_the_authors(timings, time):
    """The published rule, word by word: the nearest trigger of all."""
    nearest = (timings["movie_time"] - time).abs().idxmin()
    row = timings.loc[nearest]
    return round(row["index"] + (time - row["movie_time"]) * RATE)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_without_pauses_it_is_the_published_rule(seed):
    random = np.random.default_rng(seed)
    film = np.cumsum(random.uniform(0.8, 1.2, 40))
    # the clocks of film and recording differ a little, and triggers jitter
    sample = np.round(film * RATE * 1.0003 + 5000 + random.normal(0, 3, 40)).astype("int64")
    timings = triggers(film, sample)
    times = random.uniform(film[0], film[-1] - 1e-6, 50)
    placed = place(segments_of(timings, HERE, RATE), times, RATE)
    assert list(placed.sample) == [rule_of_the_authors(timings, time) for time in times]


def paused():
    """A trigger each second; paused for 100 s at 10.4 s, by rows with an older film time."""
    film = [*np.arange(0, 11.0), 9.97, 9.97, *np.arange(11, 20.0)]
    seconds = [*np.arange(0, 11.0), 10.4, 110.4, *np.arange(111, 120.0)]
    kinds = ["trigger"] * 11 + ["pause", "unpause"] + ["trigger"] * 9
    return triggers(film, np.round(np.array(seconds) * RATE).astype("int64"), kinds)


def test_a_pause_costs_no_word_its_place():
    timings = paused()
    segments = segments_of(timings, HERE, RATE)
    borders = [(one.low, one.high) for one in segments]
    assert borders == [(0, pytest.approx(10.4, abs=1e-3)), (pytest.approx(10.4, abs=1e-3), 19.0)]
    times = np.array([3.2, 9.98, 10.0, 10.3, 10.45, 10.9, 17.7])
    truth = np.where(times < 10.4, times, times + 100) * RATE
    placed = place(segments, times, RATE)
    assert np.abs(placed.sample - truth).max() <= 1
    # the nearest trigger of all is on the other side of the pause, or is the row of the pause
    published = np.array([rule_of_the_authors(timings, time) for time in times])
    assert list(np.abs(published - truth) > 0.1 * RATE) == [
        *(False, True, False, False, True, False, False),
    ]


def test_moments_that_were_not_shown_have_no_sample():
    film = [5.0, 6, 7, 30, 31, 32]
    kinds = ["beginning", "trigger", "end", "beginning", "trigger", "end"]
    timings = triggers(film, [0, 2048, 4096, 90_000, 92_048, 94_096], kinds)
    placed = place(
        segments_of(timings, HERE, RATE), np.array([4.9, 6.5, 7, 20, 30, 31.9, 32, 40]), RATE
    )
    assert list(placed.missing) == [
        *("before the first trigger", "", "", "not shown", "", ""),
        *("after the last trigger", "after the last trigger"),
    ]
    assert list(placed.sample) == [-1, 3072, 4096, -1, 90_000, 93_891, -1, -1]


def test_a_pause_that_nothing_ends_is_an_error():
    kinds = ["trigger", "pause", "trigger", "trigger"]
    with pytest.raises(InputError, match=r"timings\.csv: 2 triggers follow a pause"):
        segments_of(triggers([0, 1, 1, 2], [0, 10, 20, 30], kinds), HERE, RATE)
    kinds = ["trigger", "pause", "trigger", "unpause", "trigger"]
    segments = segments_of(triggers([0, 1, 1, 1, 2], [0, 10, 20, 30, 40], kinds), HERE, RATE)
    assert [(one.start, one.stop) for one in segments] == [(0, 10), (30, 40)]


def test_sentences_near_a_moment():
    start, end = np.array([1.0, 4, 9]), np.array([2.0, 8, 10])
    found = match_sentences(np.array([0.5, 3.0, 5.0, 8.4, 20]), start, end)
    assert list(found["preceding"]) == [0, 0, 1, 1, 2]
    assert list(found["following"]) == [0, 1, 2, 2, 2]
    assert list(found["nearest"]) == [0, 0, 1, 1, 2]  # 3.0 is as near to both: the earlier


def test_events_outside_the_recording_are_left_out_and_counted():
    segments = segments_of(triggers(np.arange(11.0), np.arange(11) * 2048), HERE, RATE)
    words = pd.DataFrame(
        {
            "start": [1.0, 4.9, 8.0],
            "end": [1.2, 5.1, 8.2],
            "text": list("abc"),
            "sentence": ["A b c."] * 3,
            "sentence_idx": [0.0] * 3,
        }
    )
    sentences = pd.DataFrame({"sentence": ["A b c."], "start": [1.0], "end": [8.2]})
    table, counts = events_table(
        segments, words, sentences, np.array([2.0, 7.0]), round(5 * RATE), RATE
    )
    assert counts == {
        "words": 1,
        "words outside the recording": 2,
        "scene cuts": 1,
        "scene cuts outside the recording": 1,
    }
    assert list(table["trial_type"]) == ["film", "word", "scene_cut"]
    assert table["stim_file"].isna().all()


# files ------------------------------------------------------------------------------------------


def test_word_diff_and_onset_diff_do_not_cost_words(tmp_path):
    write_metadata(tmp_path)
    words, sentences, incomplete = source.read_transcript(tmp_path, FILM)
    assert words_table().dropna().empty  # with these columns not one word would be left
    assert (len(words), incomplete) == (81, 1)
    assert list(words["text"][:5]) == ["word0", "word1", "word2", "null", 'so "NA"']
    assert words["rms"].dtype == float
    assert len(sentences) == 17 and sentences["end"].iloc[1] == pytest.approx(5.0125)


@pytest.mark.parametrize("column", ["type", "trig_type"])
def test_pauses_are_found_in_either_column(tmp_path, column):
    write_metadata(tmp_path)
    path = tmp_path / "subject_timings" / "sub_2_trial000_timings.csv"
    timings_table(column).to_csv(path, index=False)
    table, _ = source.read_timings(tmp_path, source.Trial(2, 0))
    assert table["kind"].value_counts().to_dict() == {
        "trigger": 39,
        "beginning": 1,
        "pause": 1,
        "unpause": 1,
    }


@pytest.mark.parametrize("key", ["sub_2", "subject2"])
def test_corrupted_labels_under_either_key(tmp_path, key):
    (tmp_path / "corrupted_elec.json").write_text(f'{{"{key}": ["R_B2*"]}}')
    assert source.read_corrupted(tmp_path, 2) == {"RB2"}
    with pytest.raises(InputError, match="no entry 'sub_3' or 'subject3'"):
        source.read_corrupted(tmp_path, 3)


def test_labels_that_are_one_without_their_marks(tmp_path):
    write_metadata(tmp_path)
    path = tmp_path / "electrode_labels" / "sub_2" / "electrode_labels.json"
    assert source.read_labels(tmp_path, 2) == LABELS
    path.write_text('["LA1", "LA2", "LA1*"]')
    with pytest.raises(InputError, match=r"'LA1' and 'LA1\*' are the same label"):
        source.read_labels(tmp_path, 2)
    path.write_text('["LA1", "LA1"]')
    with pytest.raises(InputError, match="'LA1' and 'LA1' are the same label"):
        source.read_labels(tmp_path, 2)


@pytest.mark.parametrize(
    ("text", "column", "times"),
    [
        ("start,name\n0,a\n12.5,b\n61,c\n", None, [12.5, 61.0]),
        ("scene,frame\n1,0\n2,240\n", None, [240 * 1001 / 24000]),
        ("begins\n0:00:00\n0:01:02.5\n", "begins", [62.5]),
    ],
)
def test_scene_annotations(tmp_path, text, column, times):
    path = tmp_path / "scene_annotations" / f"{FILM}.csv"
    path.parent.mkdir()
    path.write_text(text)
    assert source.find_scene_annotations(tmp_path, FILM) == path
    assert source.read_scene_cuts(path, column) == pytest.approx(times)


def test_scene_annotations_of_unknown_columns_name_them(tmp_path):
    path = tmp_path / "scenes.csv"
    path.write_text("begins,label\n1,a\n")
    with pytest.raises(InputError, match=r"--scene-column \(there are: begins, label\)"):
        source.read_scene_cuts(path)
    path.write_text("start\n1\nlater\n")
    with pytest.raises(InputError, match="row 2: start 'later' is no number"):
        source.read_scene_cuts(path)


def test_missing_files_and_columns_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no sub_X_trialYYY\.h5 here"):
        source.find_trials(tmp_path)
    with pytest.raises(InputError, match=r"features\.csv: no such file; unpack"):
        source.read_transcript(tmp_path, FILM)
    write_metadata(tmp_path)
    path = tmp_path / "transcripts" / FILM / "features.csv"
    words_table().drop(columns="sentence").to_csv(path)
    with pytest.raises(InputError, match="column 'sentence' is missing"):
        source.read_transcript(tmp_path, FILM)
