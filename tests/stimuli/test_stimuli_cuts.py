"""Scene cuts as units: where they come from, the frame there, and the sentence near it."""

from __future__ import annotations

import builtins
import json
from types import SimpleNamespace

import numpy as np
import pytest
from films import write_film

from braid.common import BraidError, InputError
from braid.simulate.recordings_events import events_of as simulated_events
from braid.stimuli import events_of, units_of
from braid.stimuli.films import frame_times

RUN = "task-film"
CUTS = {"kind": "scene_cuts"}
# sentence 1 lasts from 2.5 to 3.7 s, sentence 2 from 4.5 to 5.3 s, sentence 3 from 6.0 to 6.2 s
EVENTS = """onset\tduration\ttrial_type\tstim_file\tstim_time\ttext\tsentence
2.0\t5.0\tfilm\tcinema.mp4\t0\tn/a\tn/a
2.1\t0.0\tscene_cut\tcinema.mp4\t0.1\tn/a\tn/a
2.5\t0.3\tword\tcinema.mp4\t0.5\tthe\t1
2.9\t0.3\tword\tcinema.mp4\t0.9\tred\t1
3.3\t0.4\tword\tcinema.mp4\t1.3\tstar\t1
3.4\t0.0\tscene_cut\tcinema.mp4\t1.4\tn/a\tn/a
4.2\t0.0\tscene_cut\tcinema.mp4\t2.2\tn/a\tn/a
4.5\t0.3\tword\tcinema.mp4\t2.5\tit\t2
5.0\t0.3\tword\tcinema.mp4\t3.0\tfalls\t2
6.0\t0.2\tword\tcinema.mp4\t4.0\tdeep\t3
6.5\t0.0\tscene_cut\tcinema.mp4\t4.5\tn/a\tn/a
"""


@pytest.mark.parametrize(
    ("rule", "texts"),
    [
        # before all speech, within sentence 1, nearer to 2 than to 1, and after all speech
        ("nearest", ["the red star", "the red star", "it falls", "deep"]),
        ("preceding", ["the red star", "the red star", "the red star", "deep"]),
        ("following", ["the red star", "it falls", "it falls", "deep"]),
    ],
)
def test_the_whole_sentence_goes_with_the_frame_at_the_cut(dataset, rule, texts):
    index, root = dataset({RUN: EVENTS})
    events = events_of(index, root, {**CUTS, "sentence_match": rule})
    assert list(events["text"]) == texts
    np.testing.assert_allclose(events["onset"], [2.1, 3.4, 4.2, 6.5])
    np.testing.assert_allclose(events["frame_time"], [0.1, 1.4, 2.2, 4.5])
    assert list(events["target_start"]) == [0] * 4
    assert list(events["target_end"]) == [len(text) for text in texts]
    assert units_of([events])["unit"].is_unique


def test_the_distance_is_to_the_span_of_the_sentence(dataset):
    # 4.2 s is 0.5 s after sentence 1 ends and 0.3 s before sentence 2 begins, but 4.09 s is 0.39 s
    # after one and 0.41 s before the other; from the first words' onsets it would be sentence 2
    table = EVENTS.replace("4.2\t0.0\tscene_cut\tcinema.mp4\t2.2", "4.09\t0\tscene_cut\tn/a\tn/a")
    index, root = dataset({RUN: table})
    events = events_of(index, root, CUTS)
    assert events["text"].iloc[2] == "the red star"
    # a cut that names no film has no picture
    assert np.isnan(events["frame_time"].iloc[2]) and events["stimulus"].iloc[2] == "n/a"


def test_sentences_of_another_stimulus_do_not_count(dataset):
    lines = EVENTS.replace("deep", "other").split("\n")
    lines[10] = lines[10].replace("cinema.mp4", "story.tsv")
    index, root = dataset({RUN: "\n".join(lines)})
    (root / "stimuli" / "story.tsv").write_text("words\n")
    assert events_of(index, root, CUTS)["text"].iloc[-1] == "it falls"


def test_without_speech_the_text_is_empty(dataset):
    silent = "\n".join(line for line in EVENTS.split("\n") if "\tword\t" not in line)
    index, root = dataset({RUN: silent})
    events = events_of(index, root, CUTS)
    assert list(events["text"]) == [""] * 4 and list(events["word"]) == ["n/a"] * 4
    assert list(events["target_end"]) == [0] * 4


def test_the_sentence_as_it_is_written(dataset):
    lines = [line.split("\t") for line in EVENTS.strip().split("\n")]
    written = {"1": "The red star!", "2": "It falls.", "3": "Deep?", "sentence": "written"}
    table = "\n".join("\t".join([*line, written.get(line[-1], "n/a")]) for line in lines)
    params = {**CUTS, "sentence_text_column": "written"}
    index, root = dataset({RUN: table})
    assert list(events_of(index, root, params)["text"])[1:] == [
        "The red star!",
        "It falls.",
        "Deep?",
    ]
    index, root = dataset({RUN: table.replace("It falls.", "n/a")})
    with pytest.raises(InputError, match="row 8: no sentence in column 'written'"):
        events_of(index, root, params)


def test_events_of_the_simulated_world(dataset):
    import pandas as pd

    words = pd.DataFrame(
        {
            "onset": [0.5, 1.0, 2.5],
            "duration": [0.3, 0.3, 0.3],
            "text": ["a", "dog", "runs"],
            "sentence": [0, 0, 1],
            "sentence_text": ["a dog", "a dog", "runs"],
        }
    )
    stimulus = SimpleNamespace(
        words=words, duration=4.0, kind="film", cuts=[1.5, 2.0], path="stimuli/cinema.mp4"
    )
    table = simulated_events(stimulus, 3.0)
    index, root = dataset({RUN: table.to_csv(sep="\t", index=False, na_rep="n/a")})
    events = events_of(index, root, CUTS)
    np.testing.assert_allclose(events["onset"], [4.5, 5.0])
    # 1.5 s is 0.2 s after the first sentence, 2.0 s is 0.5 s before the second
    assert list(events["text"]) == ["a dog", "runs"]


# cuts of the film ---------------------------------------------------------------------------------


@pytest.fixture
def film_with_cuts(dataset):
    """A film of 12 s at 10 frames per second whose colour changes at 3 s and at 7.5 s."""
    colours = np.array([(250, 30, 30), (30, 30, 200), (40, 220, 60)])
    frames = [
        np.full((36, 64, 3), colours[int(np.searchsorted([3.0, 7.5], k / 10 + 1e-6))], np.uint8)
        for k in range(120)
    ]
    lines = [line for line in EVENTS.split("\n") if "scene_cut" not in line]
    table = "\n".join(lines).replace("cinema.mp4", "cuts.mkv").replace("2.0\t5.0", "2.0\t11.0")
    index, root = dataset({RUN: table})
    write_film(root / "stimuli" / "cuts.mkv", frames, 10)
    return index, root, table


def test_without_annotations_cuts_are_found_in_the_film(film_with_cuts, dataset):
    index, root, table = film_with_cuts
    events = events_of(index, root, CUTS)
    np.testing.assert_allclose(events["onset"], [5.0, 9.5], atol=1e-6)
    np.testing.assert_allclose(events["frame_time"], [3.0, 7.5])
    assert list(events["text"]) == ["it falls", "deep"]
    # a part of the film is shown, from 2 s of it on
    part = table.replace("2.0\t11.0\tfilm\tcuts.mkv\t0", "20.0\t4.0\tfilm\tcuts.mkv\t2.0")
    index, root = dataset({RUN: part})
    np.testing.assert_allclose(events_of(index, root, CUTS)["onset"], [21.0], atol=1e-6)
    # rows come first, unless the film is asked for
    both = table + "2.4\t0.0\tscene_cut\tcuts.mkv\t0.4\tn/a\tn/a\n"
    index, root = dataset({RUN: both})
    assert list(events_of(index, root, CUTS)["onset"]) == [2.4]
    assert len(events_of(index, root, {**CUTS, "cuts": "film"})) == 2
    index, root = dataset({RUN: table})
    with pytest.raises(InputError, match=r"no event of kind scene_cuts .* there are: film, word"):
        events_of(index, root, {**CUTS, "cuts": "events"})


def test_without_the_detector_the_error_says_what_to_install(film_with_cuts, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "scenedetect":
            raise ImportError("No module named 'scenedetect'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    index, root, _ = film_with_cuts
    with pytest.raises(BraidError, match=r"install scenedetect.*rows of events\.tsv"):
        events_of(index, root, CUTS)


# which frame --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["words", "scene_cuts"])
@pytest.mark.parametrize(
    ("match", "shown"),
    # frames come every 0.1 s: at 0.1 s one starts, 1.42 s lies between two
    [("nearest", [0.1, 1.42]), ("subsequent", [0.1, 1.5]), ("preceding", [0.1, 1.4])],
)
def test_frame_match(dataset, kind, match, shown):
    rows = "2.1\t0\t{0}\tcinema.mp4\t0.1\ta\t1\n3.42\t0\t{0}\tcinema.mp4\t1.42\tb\t1\n"
    row = rows.format("word" if kind == "words" else "scene_cut")
    index, root = dataset({RUN: "\n".join(EVENTS.split("\n")[:2]) + "\n" + row})
    events = events_of(index, root, {"kind": kind, "frame_match": match})
    np.testing.assert_allclose(events["frame_time"], shown)


def test_frames_before_the_first_and_after_the_last_are_these(dataset):
    from braid.stimuli.sources import Sources

    _, root = dataset({RUN: EVENTS})
    source = Sources(root).file("stimuli/cinema.mp4")
    assert source.frame_time(4.95, "subsequent") == 4.9
    assert source.frame_time(-0.01, "preceding") == 0.0


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ffv1"), ("b.mp4", "libx264")])
def test_times_of_frames_are_those_decoded(tmp_path, name, codec):
    import av

    noise = np.random.default_rng(3)
    frames = [noise.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(30)]
    path = write_film(tmp_path / name, frames, 24, codec)
    with av.open(str(path)) as container:
        decoded = [float(frame.time) for frame in container.decode(video=0)]
    np.testing.assert_allclose(frame_times(path), np.array(decoded) - decoded[0], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "params", "words"),
    [
        (("3.4\t0.0\tscene", "n/a\t0.0\tscene"), CUTS, "row 6: a scene cut without an onset"),
        (("\tsentence\n", "\tnumber\n"), CUTS, "column 'sentence' is missing, which tells"),
        (("4.5\tn/a", "14.5\tn/a"), CUTS, r"row 11: asks for 14\.500 s of cinema\.mp4"),
        (("", ""), {**CUTS, "sentence_match": "next"}, "'next' is not one of nearest, preceding"),
        (("", ""), {**CUTS, "frame_match": "next"}, "'next' is not one of nearest, subsequent"),
        (("", ""), {**CUTS, "cuts": "flim"}, "'flim' is not one of auto, events, film"),
        (("", ""), {**CUTS, "context_words": 3}, "unknown key 'context_words'"),
    ],
)
def test_bad_input(dataset, change, params, words):
    index, root = dataset({RUN: EVENTS.replace(*change) if change[0] else EVENTS})
    with pytest.raises(InputError, match=words) as caught:
        events_of(index, root, params)
    assert "\n" not in str(caught.value)


def test_the_schema_knows_the_same_keys(root):
    import yaml

    from braid.stimuli.defaults import UNITS

    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    for kind in ("words", "frames", "scene_cuts", "labels"):
        keys = schema["$defs"][f"units_{kind}"]["properties"]
        parts = {
            name: schema["$defs"][part["$ref"].rsplit("/", 1)[-1]] if "$ref" in part else part
            for name, part in keys.items()
        }
        stated = {name: part["default"] for name, part in parts.items() if name != "kind"}
        assert json.dumps(stated, sort_keys=True) == json.dumps(UNITS[kind], sort_keys=True)
