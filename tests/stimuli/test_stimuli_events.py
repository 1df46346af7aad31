"""Events and units: contexts, frames, labels, rows, and bad tables."""

from __future__ import annotations

import numpy as np
import pytest

from braid.common import InputError, read_table, sha256_of, write_table
from braid.stimuli import EVENT_COLUMNS, UNIT_COLUMNS, events_of, units_of

FILM = """onset\tduration\ttrial_type\tstim_file\tstim_time\ttext\tsentence
2.0\t4.0\tfilm\tcinema.mp4\t0\tn/a\tn/a
2.5\t0.3\tword\tcinema.mp4\t0.5\tthe\t1
2.9\t0.3\tword\tcinema.mp4\t0.9\tred\t1
3.3\t0.4\tword\tcinema.mp4\t1.3\tstar\t1
3.4\t0.0\tscene_cut\tcinema.mp4\t1.4\tn/a\tn/a
4.1\t0.3\tword\tcinema.mp4\t2.1\tit\t2
4.5\t0.3\tword\tcinema.mp4\t2.5\tfalls\t2
"""
WORDS = {"kind": "words"}
RUN = "task-film"
EVERYWHERE = [name for name in EVENT_COLUMNS if not name.startswith("stretch_")]  # without pauses


def test_words_in_their_sentence_with_the_frame_shown(dataset):
    index, root = dataset({RUN: FILM})
    events = events_of(index, root, WORDS)
    assert list(events.columns) == [name for name in EVERYWHERE if name != "row"]
    assert list(events["text"]) == ["the", "the red", "the red star", "it", "it falls"]
    assert list(events["word"]) == ["the", "red", "star", "it", "falls"]
    np.testing.assert_allclose(events["onset"], [2.5, 2.9, 3.3, 4.1, 4.5])
    np.testing.assert_allclose(events["frame_time"], [0.5, 0.9, 1.3, 2.1, 2.5])
    assert list(events["event"]) == list(range(5)) and set(events["run"]) == {RUN}
    assert set(events["stimulus"]) == {"stimuli/cinema.mp4"}
    assert set(events["sha256"]) == {sha256_of(root / "stimuli/cinema.mp4")}
    for _, row in events.iterrows():
        assert row["text"][row["target_start"] : row["target_end"]] == row["word"]


def test_context_before_and_after_stays_in_the_sentence(dataset):
    index, root = dataset({RUN: FILM})
    events = events_of(index, root, {**WORDS, "context_words": 1, "context_after": 1})
    assert list(events["text"]) == ["the red", "the red star", "red star", "it falls", "it falls"]
    assert list(events["target_start"]) == [0, 4, 4, 0, 3]
    none = events_of(index, root, {**WORDS, "context_words": 0})
    assert list(none["text"]) == list(none["word"])


def test_without_sentences_the_context_is_the_run(dataset):
    table = "onset\tduration\ttext\n0.5\t0.2\tb\n0.1\t0.2\ta\n0.9\tn/a\tc  d\n"
    index, root = dataset({"task-a": table, "task-b": table})
    events = events_of(index, root, WORDS)
    # sorted by onset, never across runs; inner spaces are single
    assert list(events["text"]) == ["a", "a b", "a b c d"] * 2
    assert list(events["duration"]) == [0.2, 0.2, 0.0] * 2
    assert events["frame_time"].isna().all() and set(events["stimulus"]) == {"n/a"}
    # the same text without a stimulus is the same unit
    assert events["unit"].nunique() == 3


def test_stories_have_no_frames(dataset):
    index, root = dataset({RUN: FILM.replace("cinema.mp4", "story.tsv")})
    (root / "stimuli" / "story.tsv").write_text("words\n")
    events = events_of(index, root, WORDS)
    assert events["frame_time"].isna().all()
    np.testing.assert_allclose(events["stimulus_time"], [0.5, 0.9, 1.3, 2.1, 2.5])
    assert set(events["stimulus"]) == {"stimuli/story.tsv"}


def test_time_in_the_film_is_counted_from_the_film_row(dataset):
    lines = [line.split("\t") for line in FILM.strip().split("\n")]
    table = "\n".join("\t".join(line[:4] + line[5:]) for line in lines) + "\n"
    index, root = dataset({RUN: table})
    np.testing.assert_allclose(
        events_of(index, root, WORDS)["frame_time"], [0.5, 0.9, 1.3, 2.1, 2.5]
    )
    orphan = "\n".join(line for line in table.split("\n") if "\tfilm\t" not in line)
    index, root = dataset({RUN: orphan})
    with pytest.raises(InputError, match=r"row 1: there is no stim_time, and no film row"):
        events_of(index, root, WORDS)


def test_still_pictures_are_shown_at_time_zero(dataset):
    from PIL import Image

    index, root = dataset({RUN: FILM.replace("cinema.mp4", "scene.png")})
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(root / "stimuli" / "scene.png")
    assert set(events_of(index, root, WORDS)["frame_time"]) == {0.0}


def test_frames_with_the_words_said_so_far(dataset):
    index, root = dataset({RUN: FILM})
    events = events_of(index, root, {"kind": "frames", "step": 0.5})
    assert len(events) == 8
    np.testing.assert_allclose(events["onset"], 2.0 + 0.5 * np.arange(8))
    np.testing.assert_allclose(events["frame_time"], 0.5 * np.arange(8))
    assert set(events["duration"]) == {0.5}
    # between sentences, the last one
    said = ["", "the", "the red", "the red star", "the red star", "it falls"]
    assert list(events["text"]) == [*said, "it falls", "it falls"]
    assert list(events["word"])[:3] == ["n/a", "the", "red"]
    spans = events["target_start"].iloc[3], events["target_end"].iloc[3]
    assert spans == (8, 12)


def test_labels_keep_durations_and_repeat_units(dataset):
    table = "onset\tduration\ttrial_type\n1\t2\tface\n4\t2\tscrambledpix\n7\t2\tface\n9\t0\trest\n"
    index, root = dataset({RUN: table})
    params = {
        "kind": "labels",
        "labels": ["face", "scrambledpix"],
        "names": {"scrambledpix": "scrambled picture"},
    }
    events = events_of(index, root, params)
    assert list(events["text"]) == ["face", "scrambled picture", "face"]
    assert list(events["duration"]) == [2, 2, 2] and events["frame_time"].isna().all()
    units = units_of([events])
    assert list(units["text"]) == ["face", "scrambled picture"]
    assert list(events_of(index, root, {"kind": "labels"})["text"])[-1] == "rest"


def test_numbers_as_labels_do_not_depend_on_missing_ones(dataset):
    plain = "onset\tduration\tcode\n1\t2\t1\n4\t2\t2\n"
    index, root = dataset({"task-a": plain, "task-b": plain + "7\t2\tn/a\n"})
    params = {"kind": "labels", "column": "code", "labels": [1, 2], "names": {2: "two"}}
    events = events_of(index, root, params)
    assert list(events["text"]) == ["1", "two"] * 2
    assert events["unit"].nunique() == 2


def test_the_last_start_counts_whatever_the_order_of_the_rows(dataset):
    rows = FILM.strip().split("\n")
    again = [row.replace("\t0.5\tthe", "\tn/a\tthe") for row in rows]
    earlier = rows[1].replace("2.0\t4.0", "0.5\t1.0")
    # the row of the first showing stands last
    index, root = dataset({RUN: "\n".join([*again, earlier]) + "\n"})
    assert events_of(index, root, WORDS)["frame_time"].iloc[0] == pytest.approx(0.5)


def test_the_picture_shown_just_after_the_end_is_the_last(dataset):
    from braid.stimuli import iter_frames

    index, root = dataset({RUN: FILM.replace("\t2.5\tfalls", "\t5.1\tfalls")})
    time = events_of(index, root, WORDS)["frame_time"].iloc[-1]
    assert time == 5.0
    assert len(list(iter_frames(root / "stimuli" / "cinema.mp4", [time]))) == 1


def test_a_subject_without_the_task(dataset):
    index, root = dataset({RUN: FILM})
    with pytest.raises(InputError, match="no recording of the tasks of the analysis"):
        events_of(index.iloc[:0], root, WORDS)


def test_a_table_without_trial_types_has_no_film(dataset):
    index, root = dataset({RUN: "onset\tduration\n1\t2\n"})
    with pytest.raises(InputError, match=r"no event of kind frames .* has no column trial_type"):
        events_of(index, root, {"kind": "frames"})


def test_rows_are_volumes(dataset):
    index, root = dataset({RUN: FILM}, n_samples=7, rate=0.5)
    np.save(root / "stimuli" / "film_pc.npy", np.zeros((7, 4)))
    events = events_of(index, root, {"kind": "rows", "features": "stimuli/{task}_pc.npy"})
    assert list(events["row"]) == list(range(7))
    np.testing.assert_allclose(events["onset"], 2.0 * np.arange(7))
    assert events["unit"].nunique() == 7 and list(events.columns) == EVERYWHERE
    # another content of the file makes other units
    np.save(root / "stimuli" / "film_pc.npy", np.ones((7, 4)))
    again = events_of(index, root, {"kind": "rows", "features": "stimuli/{task}_pc.npy"})
    assert not set(again["unit"]) & set(events["unit"])


def test_unequal_numbers_of_features_and_events(dataset):
    index, root = dataset({RUN: FILM}, n_samples=8)
    np.save(root / "stimuli" / "film_pc.npy", np.zeros((7, 4)))
    with pytest.raises(InputError) as caught:
        events_of(index, root, {"kind": "rows", "features": "stimuli/{task}_pc.npy"})
    text = str(caught.value)
    assert "unequal numbers of features and events: 7 rows" in text and "8 volumes" in text
    assert "film_pc.npy" in text and "task-film_ieeg.vhdr" in text


def test_units_are_the_union_whatever_the_order(dataset, tmp_path):
    index, root = dataset({RUN: FILM})
    words = events_of(index, root, WORDS)
    frames = events_of(index, root, {"kind": "frames", "step": 1.0})
    later = words.assign(onset=words["onset"] + 7, event=words["event"] + 1)
    units = units_of([words, frames, later])
    assert len(units) == 5 + 4 and units["unit"].is_unique
    assert units["stimulus_time"].is_monotonic_increasing
    for order in ([later, frames, words], [frames, words.iloc[::-1], later]):
        assert units_of(order).equals(units)
    # and nothing changes by way of a file
    for name, table in (("a", words), ("b", frames)):
        write_table(tmp_path / f"{name}.tsv", table, EVENT_COLUMNS)
    back = [read_table(tmp_path / f"{name}.tsv") for name in "ab"]
    again = units_of(back)
    assert list(again["unit"]) == list(units["unit"])
    assert list(again["text"].fillna("")) == list(units["text"])
    write_table(tmp_path / "units.tsv", units, UNIT_COLUMNS)


def test_digest_follows_the_content(dataset):
    index, root = dataset({RUN: FILM})
    units = events_of(index, root, WORDS)["unit"]
    assert units.str.fullmatch("[0-9a-f]{12}").all()
    assert list(events_of(index, root, WORDS)["unit"]) == list(units)
    shifted = FILM.replace("\t0.5\tthe", "\t0.6\tthe")
    index, root = dataset({RUN: shifted})
    other = events_of(index, root, WORDS)["unit"]
    assert other[0] != units[0] and list(other[1:]) == list(units[1:])


@pytest.mark.parametrize(
    ("change", "params", "words"),
    [
        (("2.9\t0.3", "n/a\t0.3"), WORDS, "row 3: text without an onset"),
        (("\tred\t", "\tn/a\t"), WORDS, "row 3: a word without text"),
        (("text", "wrd"), WORDS, r"column 'text' is missing.*`units\.text_column`"),
        (("duration", "length"), WORDS, "column 'duration' is missing"),
        (("\t2.5\tfalls", "\t9.5\tfalls"), WORDS, r"row 7: asks for 9\.500 s of cinema\.mp4"),
        (("cinema", "comedy"), WORDS, r"stim_file 'comedy\.mp4' is not there"),
        (("2.0\t4.0", "2.0\t7.0"), {"kind": "frames"}, r"row 1: asks for 7\.000 s"),
        (("2.0\t4.0", "2.0\tn/a"), {"kind": "frames"}, "row 1: the film has no duration"),
        (("word", "speech"), WORDS, "trial types there are: film, scene_cut, speech"),
        (("4.5\t0.3", "4.5\tn/a"), {"kind": "labels"}, "row 7: label 'word' without duration"),
        (("", ""), {"kind": "labels", "column": "cat"}, "column 'cat' of `units.column`"),
        (("", ""), {"kind": "pictures"}, "'pictures' is not one of words, frames"),
        (("", ""), {**WORDS, "contxt_words": 3}, "unknown key 'contxt_words'.*context_words"),
        (("", ""), {"kind": "rows"}, "needs the path pattern"),
        (("", ""), {"kind": "rows", "features": "{run}.npy"}, r"placeholder \{run\}"),
        (("", ""), {"kind": "rows", "features": "{task.npy"}, "is no path pattern"),
        (("", ""), {"kind": "rows", "features": "x.npy"}, r"x\.npy: no such feature file"),
    ],
)
def test_bad_input(dataset, change, params, words):
    index, root = dataset({RUN: FILM.replace(*change) if change[0] else FILM})
    with pytest.raises(InputError, match=words) as caught:
        events_of(index, root, params)
    assert "\n" not in str(caught.value)


def test_film_that_cannot_be_decoded(dataset):
    index, root = dataset({RUN: FILM})
    (root / "stimuli" / "cinema.mp4").write_bytes(b"\x00" * 5000)
    for params in (WORDS, {"kind": "frames"}):
        with pytest.raises(InputError, match=r"cinema\.mp4: the film cannot be decoded"):
            events_of(index, root, params)


def test_run_without_events(dataset):
    index, root = dataset({RUN: FILM})
    index["events"] = np.nan
    with pytest.raises(InputError, match=r"no events\.tsv applies to this run"):
        events_of(index, root, WORDS)
