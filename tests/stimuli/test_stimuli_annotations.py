"""Annotations: tables of the stimulus that take the place of rows of the events, or join them."""

from __future__ import annotations

import numpy as np
import pytest

from braid.common import InputError
from braid.stimuli import events_of
from braid.stimuli.annotations import ANNOTATIONS

RUN = "task-film"
EVENTS = "onset\tduration\ttrial_type\n9.0\t1\tmusic\n2.0\t4.0\tmusic\n1.0\t0\tstart\n"
WORDS = "item\tonset\toffset\nthe\t0.5\t0.75\nred\t0.9\t0.8\n"
PLACE = {"files": "stimuli/words.tsv", "end": "offset", "start": "music"}


def annotated(**changes):
    return {"kind": "words", "text_column": "item", "annotations": [{**PLACE, **changes}]}


def test_words_count_from_the_first_event_that_starts_the_film(dataset):
    index, root = dataset({RUN: EVENTS})
    (root / "stimuli" / "words.tsv").write_text(WORDS)
    events = events_of(index, root, annotated())
    np.testing.assert_allclose(events["onset"], [2.5, 2.9])
    np.testing.assert_allclose(events["duration"], [0.25, 0.0])
    assert list(events["text"]) == ["the", "the red"]
    # without a stimulus there is no picture, and the time is the recording's
    assert events["frame_time"].isna().all()
    np.testing.assert_allclose(events["stimulus_time"], [2.5, 2.9])
    shown = events_of(index, root, annotated(stim_file="cinema.mp4"))
    np.testing.assert_allclose(shown["frame_time"], [0.5, 0.9])
    first = events_of(index, root, annotated(start=None))
    np.testing.assert_allclose(first["onset"], [0.5, 0.9])


def test_a_run_without_events(dataset):
    index, root = dataset({RUN: EVENTS})
    (root / "stimuli" / "words.tsv").write_text("word\tstart\tlasts\nthe\t0.5\t0.2\n")
    index["events"] = np.nan
    change = {"onset": "start", "end": None, "duration": "lasts", "start": None}
    events = events_of(index, root, {**annotated(**change), "text_column": "word"})
    assert list(events["onset"]) == [0.5] and list(events["duration"]) == [0.2]
    with pytest.raises(InputError, match=r"_ieeg\.vhdr: no event of type 'music'"):
        events_of(index, root, annotated(onset="start", end=None))


def test_one_table_per_label(dataset):
    index, root = dataset({RUN: EVENTS})
    (root / "stimuli" / "seen").mkdir()
    for name, rows in (("horse", "1.5\t2.0\n3\t4\n"), ("old door", "0.5\t1\n")):
        (root / "stimuli" / "seen" / f"film_{name}.tsv").write_text(f"onset\toffset\n{rows}")
    (root / "stimuli" / "seen" / "other.tsv").write_text("n\n1\n")
    params = {
        "kind": "labels",
        "column": "name",
        "annotations": [{**PLACE, "files": "stimuli/seen/{task}_{name}.tsv"}],
    }
    events = events_of(index, root, params)
    assert list(events["text"]) == ["old door", "horse", "horse"]
    np.testing.assert_allclose(events["onset"], [2.5, 3.5, 5.0])
    np.testing.assert_allclose(events["duration"], [0.5, 0.5, 1.0])
    assert list(events_of(index, root, {**params, "labels": ["horse"]})["onset"]) == [3.5, 5.0]


def test_several_tables_join_the_events(dataset):
    index, root = dataset({RUN: EVENTS})
    (root / "stimuli" / "words.tsv").write_text(
        "item\tonset\toffset\tsentence\nthe\t0.5\t0.75\t1\nred\t0.9\t1.2\t1\n"
    )
    (root / "stimuli" / "cuts.tsv").write_text("onset\n3.0\n")
    cuts = {
        "files": "stimuli/cuts.tsv",
        "start": "music",
        "trial_type": "scene_cut",
        "stim_file": "cinema.mp4",
    }
    params = {"kind": "scene_cuts", "text_column": "item", "annotations": [PLACE, cuts]}
    events = events_of(index, root, params)
    assert list(events["text"]) == ["the red"] and list(events["onset"]) == [5.0]
    assert list(events["frame_time"]) == [3.0] and list(events["duration"]) == [0.0]


@pytest.mark.parametrize(
    ("table", "params", "words"),
    [
        (WORDS, annotated(files="stimuli/x.tsv"), r"x\.tsv: no such table; correct `units\.annot"),
        (WORDS, annotated(files=""), r"units\.annotations\.files: give the path pattern"),
        (WORDS, annotated(files="stimuli/{run}.tsv"), r"placeholder \{run\}"),
        (WORDS, annotated(start="speech"), r"events\.tsv: no event of type 'speech'"),
        (WORDS, annotated(onset="begin"), r"words\.tsv: column 'begin' is missing"),
        (WORDS, annotated(fles="x"), "unknown key 'fles'; did you mean files"),
        (WORDS.replace("0.9\t", "n/a\t"), annotated(), r"words\.tsv: row 2: no onset; add it"),
        (WORDS.replace("0.9\t", "0,9\t"), annotated(), r"words\.tsv: row 2: onset '0,9' is not"),
        (WORDS.replace("red", "n/a"), annotated(), r"words\.tsv: row 2: a word without text"),
    ],
)
def test_bad_input(dataset, table, params, words):
    index, root = dataset({RUN: EVENTS})
    (root / "stimuli" / "words.tsv").write_text(table)
    with pytest.raises(InputError, match=words) as caught:
        events_of(index, root, params)
    assert "\n" not in str(caught.value)


def test_the_schema_has_the_same_defaults(root):
    import yaml

    from braid.stimuli.defaults import EVENT_LOCKED

    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())["$defs"]
    for section, defaults in (("annotation", ANNOTATIONS), ("design_event_locked", EVENT_LOCKED)):
        keys = schema[section]["properties"]
        stated = {name: part.get("default") for name, part in keys.items()}
        assert stated == {**defaults, **({"kind": None} if "kind" in defaults else {})}
