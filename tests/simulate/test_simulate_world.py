"""The world: its films, stories, pictures, words and latents."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import ndimage

from braid.common import InputError, read_table
from braid.simulate import (
    World,
    make_world,
    pictures,
    render_frame,
    write_transcript,
    write_video,
)


@pytest.fixture(scope="module")
def spec(root: Path) -> dict:
    return yaml.safe_load((root / "resources" / "world.yaml").read_text())


@pytest.fixture(scope="module")
def world(spec: dict) -> World:
    return make_world(spec, 7)


@pytest.fixture(scope="module")
def long_world(spec: dict) -> World:
    """One film long enough for correlations of a few hundredths to show."""
    longer = copy.deepcopy(spec)
    longer["film"]["films"] = {"cinema": 6000}
    longer["story"]["stories"] = {}
    return make_world(longer, 7)


def meaning(spec: dict) -> dict[str, tuple[str, str]]:
    return {
        word: (attribute, value)
        for attribute, values in spec["attributes"].items()
        for value, words in values.items()
        for word in words
    }


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The protagonist without distractors of its colour."""
    parts, _ = ndimage.label(mask)
    return parts == np.bincount(parts[parts > 0]).argmax()


def ridge_r2(x: np.ndarray, y: np.ndarray, folds: int = 5) -> np.ndarray:
    """Held-out r2 per column of y, over contiguous folds."""
    edges = np.linspace(0, len(x), folds + 1).astype(int)
    held_out = np.empty_like(y)
    for start, stop in pairwise(edges):
        train = np.r_[0:start, stop : len(x)]
        mean_x, mean_y = x[train].mean(0), y[train].mean(0)
        centred = x[train] - mean_x
        gram = centred.T @ centred + 1e-3 * len(train) * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, centred.T @ (y[train] - mean_y))
        held_out[start:stop] = (x[start:stop] - mean_x) @ weights + mean_y
    return 1 - ((y - held_out) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)


def test_same_seed_same_world(spec: dict, world: World):
    again, other = make_world(spec, 7), make_world(spec, 8)
    for name, film in world.films.items():
        pd.testing.assert_frame_equal(film.words, again.films[name].words)
        assert film.latents.identical(again.films[name].latents)
        assert not film.words.equals(other.films[name].words)
    np.testing.assert_array_equal(
        render_frame(world, "cinema", 100), render_frame(again, "cinema", 100)
    )


def test_a_film_does_not_depend_on_the_others(spec: dict, world: World):
    fewer = copy.deepcopy(spec)
    fewer["film"]["films"] = {"film-2": spec["film"]["films"]["film-2"]}
    pd.testing.assert_frame_equal(
        make_world(fewer, 7).films["film-2"].words, world.films["film-2"].words
    )


def test_films_and_stories_are_as_described(spec: dict, world: World):
    assert set(world.films) == set(spec["film"]["films"])
    assert set(world.stories) == set(spec["story"]["stories"])
    for stimulus in [*world.films.values(), *world.stories.values()]:
        words = stimulus.words
        assert list(words) == ["onset", "duration", "text", "sentence", "sentence_text"]
        assert (words["onset"].diff().dropna() > 0).all()
        ends = words["onset"] + words["duration"]
        assert (ends.to_numpy()[:-1] <= words["onset"].to_numpy()[1:] + 2e-3).all()
        assert words["onset"].iloc[0] > 0
        assert ends.iloc[-1] < stimulus.duration
        assert 2.0 <= len(words) / stimulus.duration <= 3.0
        for _, sentence in words.groupby("sentence"):
            assert " ".join(sentence["text"]) == sentence["sentence_text"].iloc[0]
    for film in world.films.values():
        lengths = np.diff(np.r_[0, film.cuts, film.duration])
        low, high = spec["film"]["scene"]
        assert lengths.min() >= low - 1e-9
        assert (lengths <= high + 0.1 + 1e-9).all()  # a scene ends with a whole frame
        # cuts fall on frames
        np.testing.assert_allclose(film.cuts * 10, np.round(film.cuts * 10), atol=1e-6)
    for story in world.stories.values():
        assert set(story.latents.data_vars) == {"language"}
        assert len(story.cuts) == 0


def test_sentences_stay_within_their_scene(world: World):
    film = world.films["cinema"]
    ends = film.words["onset"] + film.words["duration"]
    scene_of_start = np.searchsorted(film.cuts, film.words["onset"])
    scene_of_end = np.searchsorted(film.cuts, ends)
    np.testing.assert_array_equal(scene_of_start, scene_of_end)


def test_latents_follow_from_words_and_scenes(spec: dict, world: World):
    """Recompute all three latents from the transcript and the scenes, word by word."""
    film, meanings = world.films["cinema"], meaning(spec)
    latents, scenes = film.latents, world.scenes["cinema"]
    time = latents["time"].to_numpy()
    np.testing.assert_allclose(np.diff(time), 1 / spec["latents"]["rate"])
    for at in range(37, len(time), 401):
        now = time[at]
        scene = next(s for s in scenes if s.start <= now + 1e-9 and now < s.stop - 1e-9)
        spoken = film.words[film.words["onset"] <= now]
        said, began = {}, -1.0
        if len(spoken):
            sentence = spoken[spoken["sentence"] == spoken["sentence"].iloc[-1]]
            began = sentence["onset"].iloc[0]
            said = dict(meanings[text] for text in sentence["text"] if text in meanings)
        for attribute, values in spec["attributes"].items():
            for value in values:
                name, share = f"{attribute}:{value}", 1 / len(values)
                shown = float(scene.look.values[attribute] == value) - share
                assert latents["vision"].sel(vision_dim=name)[at] == pytest.approx(shown)
                told = float(said[attribute] == value) - share if attribute in said else 0.0
                assert latents["language"].sel(language_dim=name)[at] == pytest.approx(told)
            agree = 0.0
            if attribute in said and began >= scene.start:
                agree = 1.0 if said[attribute] == scene.look.values[attribute] else -1.0
            assert latents["joint"].sel(joint_dim=attribute)[at] == agree
        place = scene.look_at(now)
        shown = latents["vision"].sel(vision_dim=["position:x", "position:y"])[at]
        np.testing.assert_allclose(
            shown, [(place.x - 0.5) * 6, (place.y - 0.5) * 6], rtol=1e-4, atol=1e-5
        )


def test_agreement_is_balanced(spec: dict, world: World):
    """Within every value shown, and within every value said, half agree."""
    joint = world.films["cinema"].latents["joint"]
    assert np.abs(joint.mean("time")).max() < 0.06
    assert float((joint != 0).mean()) > 0.3
    meanings = meaning(spec)
    film, scenes = world.films["cinema"], world.scenes["cinema"]
    starts = np.array([scene.start for scene in scenes])
    rows = [
        (*meanings[word.text], scenes[np.searchsorted(starts, word.onset, "right") - 1].look.values)
        for word in film.words.itertuples()
        if word.text in meanings
    ]
    table = pd.DataFrame(
        [(name, said, shown[name]) for name, said, shown in rows],
        columns=["attribute", "said", "shown"],
    )
    table["agree"] = table["said"] == table["shown"]
    by_shown = table.groupby(["attribute", "shown"])["agree"].mean()
    by_said = table.groupby(["attribute", "said"])["agree"].mean()
    # rounds of four cards: at most two cards of an unfinished round are out of balance
    assert (by_shown - 0.5).abs().max() < 0.06
    assert (by_said - 0.5).abs().max() < 0.12


def test_joint_is_no_linear_function_of_the_others(long_world: World):
    latents = long_world.films["cinema"].latents.isel(time=slice(None, None, 5))
    vision, language, joint = (
        latents[name].to_numpy().astype(float) for name in ("vision", "language", "joint")
    )
    both = np.hstack([vision, language])
    assert np.abs(ridge_r2(both, joint)).max() < 0.02
    # agreeing half of the time is more than by chance among 3 or 4 values, so that what is shown
    # and what is said share a little; their codes correlate by about 0.3 while both are there
    assert ridge_r2(language, vision).max() < 0.1
    assert ridge_r2(vision, language).max() < 0.1
    # the test can fail: a product of what is shown and said does give the joint
    shapes = [name for name in latents["language_dim"].to_numpy() if name.startswith("shape:")]
    shown = latents["vision"].sel(vision_dim=shapes).to_numpy()
    told = latents["language"].sel(language_dim=shapes).to_numpy()
    product = np.column_stack([(shown * told).sum(1), (told != 0).any(1)])
    # after a cut the last sentence is still remembered, but is about another picture
    same_picture = (told != 0).any(1) == (joint[:, 0] != 0)
    assert ridge_r2(product[same_picture], joint[same_picture, :1])[0] > 0.99


def test_agreement_share_is_obeyed(spec: dict):
    agreeing = copy.deepcopy(spec)
    agreeing["narrator"]["agreement"] = 1.0
    joint = make_world(agreeing, 1).films["cinema"].latents["joint"]
    assert float(joint.min()) == 0.0
    assert float(joint.max()) == 1.0


def test_pictures_and_captions_agree(spec: dict, world: World):
    images, captions, attributes = pictures(world, 300, "test")
    assert images.shape == (300, 64, 64, 3)
    assert images.dtype == np.uint8
    meanings = meaning(spec)
    for caption, row in zip(captions, attributes.to_dict("records"), strict=True):
        told = [meanings[word] for word in caption.split() if word in meanings]
        assert len({attribute for attribute, _ in told}) >= 2
        assert all(row[attribute] == value for attribute, value in told)
    again, _, _ = pictures(world, 3, "test")
    other, _, _ = pictures(world, 3, "train")
    np.testing.assert_array_equal(again, images[:3])
    assert not np.array_equal(other, images[:3])


def test_colour_size_and_motion_show_in_the_picture(world: World):
    """Simple measurements of the pixels tell what the attributes say."""
    images, _, attributes = pictures(world, 400, "test")
    rgb = images.astype(float)
    purest = {
        "red": rgb[..., 0] - rgb[..., 1:].max(-1),
        "green": rgb[..., 1] - rgb[..., ::2].max(-1),
        "blue": rgb[..., 2] - rgb[..., :2].max(-1),
        "yellow": rgb[..., :2].min(-1) - rgb[..., 2],
    }
    area = {name: (pure > 60).sum((1, 2)) for name, pure in purest.items()}
    guess = pd.DataFrame(area).idxmax(axis=1)
    assert (guess == attributes["colour"]).mean() > 0.97
    pixels = pd.DataFrame(area).max(axis=1).groupby(attributes["size"]).median()
    assert pixels["small"] < pixels["medium"] < pixels["large"]
    # the front is brighter than the back
    for motion, axis, sign in (("right", 1, 1), ("left", 1, -1), ("down", 0, 1), ("up", 0, -1)):
        rows = attributes.index[attributes["motion"] == motion]
        slopes = []
        for row in rows:
            # light and shade leave the saturation of a colour as it is
            saturation = 1 - rgb[row].min(-1) / np.maximum(rgb[row].max(-1), 1)
            where = largest_part(saturation > 0.5)
            position = np.argwhere(where)[:, axis]
            brightness = rgb[row][where].sum(-1)
            slopes.append(sign * np.polyfit(position, brightness, 1)[0])
        assert np.mean(np.array(slopes) > 0) > 0.95


def test_frames_move_within_a_scene_and_change_at_cuts(world: World):
    film, scene = world.films["cinema"], world.scenes["cinema"][3]
    cut = film.cuts[3]
    within = render_frame(world, "cinema", cut - 0.2).astype(float)
    last = render_frame(world, "cinema", cut - 0.05).astype(float)
    after = render_frame(world, "cinema", cut).astype(float)
    assert 0 < np.abs(last - within).mean() < 5
    assert np.abs(after - last).mean() > 4 * np.abs(last - within).mean()
    dx, dy = scene.velocity
    assert (dx, dy) != (0, 0)
    # a time between two frames shows the earlier one
    np.testing.assert_array_equal(
        render_frame(world, "cinema", 10.0), render_frame(world, "cinema", 10.09)
    )


def test_video_holds_the_frames(spec: dict, tmp_path: Path):
    av = pytest.importorskip("av")
    short = copy.deepcopy(spec)
    short["film"]["films"] = {"clip": 32}
    world = make_world(short, 7)
    write_video(world, "clip", tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 10.0
        assert stream.codec_context.name == "h264"
        frames = [
            (frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)
        ]
    assert len(frames) == 320
    for index in (0, 57, 200, 319):
        time, frame = frames[index]
        assert time == pytest.approx(index / 10)
        wanted = render_frame(world, "clip", index / 10).astype(float)
        assert np.abs(frame - wanted).mean() < 8  # compression, and colour at half resolution
    write_video(world, "clip", tmp_path / "again.mp4")
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "clip.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.mp4", "clip.mp4"]


def test_transcript_is_written_and_read(world: World, tmp_path: Path):
    story = world.stories["story-1"]
    write_transcript(story, tmp_path / "story-1.tsv")
    table = read_table(tmp_path / "story-1.tsv", required=("onset", "duration", "text", "sentence"))
    np.testing.assert_allclose(table["onset"], story.words["onset"])
    assert list(table["text"]) == list(story.words["text"])
    assert (tmp_path / "story-1.json").exists()


def test_unknown_film_and_time_outside(world: World):
    with pytest.raises(InputError, match=r"no film 'film-9'; the films are cinema, film-1"):
        render_frame(world, "film-9", 0.0)
    with pytest.raises(InputError, match=r"film 'cinema' has no frame at 600 s; .* 0 to 600 s"):
        render_frame(world, "cinema", 600.0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("narrator",), None, "section 'narrator' is missing"),
        (("narrator", "agreement"), 1.5, "narrator.agreement is 1.5; give a probability"),
        (("narrator", "agreement"), 0.6, "narrator.agreement is 0.6; give a multiple of 0.25"),
        (("narrator", "mention"), 0, "narrator.mention is 0; give a number above zero"),
        (("narrator", "words_per_second"), 0, "words_per_second is 0; give a number above zero"),
        (
            ("narrator", "agrement"),
            0.5,
            "'narrator.agrement'; did you mean 'agreement'",
        ),
        (("film", "scene"), [8.0, 3.0], "film.scene is .*shortest first"),
        (("film", "scene"), [1.0, 3.5], "film.scene ends at 3.5 s, too short for a sentence"),
        (("film", "films"), {"cinema": 10}, "film.films.cinema lasts 10 s; give at least"),
        (("picture", "size"), 63, "picture.size is 63; give an even number"),
        (("attributes", "shape", "star"), ["star"], "shape.star cannot be drawn; .*disc, square"),
        (("attributes", "colour", "red"), [], "attributes.colour.red has no words"),
        (("attributes", "colour", "red"), ["Red"], "the word 'Red'; use one lower-case word"),
        (("attributes", "colour", "red"), ["blue"], "'blue' stands under .*red and .*blue"),
    ],
)
def test_bad_descriptions_are_named(spec: dict, path: tuple, value: object, message: str):
    bad = copy.deepcopy(spec)
    inner = bad
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    with pytest.raises(InputError, match=message):
        make_world(bad, 1)
