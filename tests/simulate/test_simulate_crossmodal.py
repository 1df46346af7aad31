"""People who see films without narration, and hear stories: the section `crossmodal`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_world import crossmodal_spec

from braid.bids import validate
from braid.common import InputError, read_table
from braid.simulate import World, make_world, pictures, write_dataset
from braid.simulate.recordings_bold import (
    THERMAL,
    BoldSubject,
    _left_over,
    _noise,
    bold_images,
    simulate_bold,
)
from braid.simulate.recordings_drive import draw_shared
from braid.simulate.recordings_settings import CrossmodalSettings, read_settings
from braid.simulate.truth import REPEATED_COLUMNS

SEED = 5


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(crossmodal_spec(), SEED)


@pytest.fixture(scope="module")
def settings(world: World) -> CrossmodalSettings:
    found = read_settings(world.spec)[2]
    assert found is not None
    return found


@pytest.fixture(scope="module")
def subject(world: World, settings: CrossmodalSettings) -> BoldSubject:
    return simulate_bold(world, settings, SEED, "02")


@pytest.fixture(scope="module")
def written(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossmodal")
    write_dataset(world, world.spec, SEED, folder / "bids", folder / "truth.tsv")
    return folder


def rows_of(subject: BoldSubject, kind: str) -> np.ndarray:
    return np.flatnonzero(subject.brain.voxels["kind"] == kind)


def test_the_official_validator_accepts_both_tasks(written: Path) -> None:
    assert validate(written / "bids")["errors"] == []
    runs = sorted(path.name for path in (written / "bids").rglob("sub-02*_bold.nii.gz"))
    assert runs == [
        *(f"sub-02_task-silentfilm_acq-repeat_run-{n}_bold.nii.gz" for n in (1, 2, 3)),
        "sub-02_task-silentfilm_run-1_bold.nii.gz",
        "sub-02_task-story_run-1_bold.nii.gz",
    ]
    sidecar = json.loads((written / "bids" / "task-silentfilm_bold.json").read_text())
    assert sidecar["TaskDescription"].endswith("without sound")


def test_captioned_pictures_are_written(written: Path, world: World) -> None:
    folder = written / "bids" / "stimuli" / "captioned"
    table = read_table(folder / "captions.tsv")
    assert list(table.columns) == ["picture", "caption"]
    assert len(table) == 12
    images, captions, _ = pictures(world, 12, "captioned")
    assert table["caption"].tolist() == captions
    with Image.open(folder / table["picture"][3]) as found:
        np.testing.assert_array_equal(np.asarray(found), images[3])


def test_nothing_is_said_in_a_silent_film(written: Path) -> None:
    folder = written / "bids" / "sub-02" / "func"
    silent = read_table(folder / "sub-02_task-silentfilm_run-1_events.tsv")
    assert set(silent["trial_type"]) == {"silentfilm", "scene_cut"}
    assert set(silent["stim_file"]) == {"film-1.mp4"}
    told = read_table(folder / "sub-02_task-story_run-1_events.tsv")
    assert "word" in set(told["trial_type"])


def test_a_person_beside_changes_nobody_else(written: Path, tmp_path: Path) -> None:
    spec = crossmodal_spec()
    del spec["crossmodal"]
    alone = make_world(spec, SEED)
    write_dataset(alone, spec, SEED, tmp_path / "bids", tmp_path / "truth.tsv")
    name = "bids/sub-01/func/sub-01_task-film_run-1_bold.nii.gz"
    assert (tmp_path / name).read_bytes() == (written / name).read_bytes()
    both, own = (read_table(folder / "truth.tsv") for folder in (written, tmp_path))
    both = both[both["subject"].astype(str).str.zfill(2) == "01"].reset_index(drop=True)
    pd.testing.assert_frame_equal(both[own.columns], own)


def test_repeats_differ_in_their_noise_alone(subject: BoldSubject, written: Path) -> None:
    repeats = [index for index, run in enumerate(subject.runs) if run.repeat]
    assert [subject.runs[index].repeat for index in repeats] == [1, 2, 3]
    first, second, third = repeats
    for other in (second, third):
        np.testing.assert_array_equal(subject.responses[first], subject.responses[other])
        r = np.corrcoef(subject.noises[first].ravel(), subject.noises[other].ravel())[0, 1]
        assert abs(r) < 0.05
    folder = written / "bids" / "sub-02" / "func"
    texts = [(folder / f"sub-02_task-silentfilm_acq-repeat_run-{n}_events.tsv") for n in (1, 2, 3)]
    assert len({path.read_text() for path in texts}) == 1
    assert set(read_table(texts[0])["stim_file"]) == {"clip.mp4"}
    assert (written / "bids" / "stimuli" / "clip.mp4").is_file()


def test_a_repeated_film_changes_no_other_run(
    world: World, settings: CrossmodalSettings, subject: BoldSubject
) -> None:
    alone = simulate_bold(world, replace(settings, repeats=0), SEED, "02")
    shown = [index for index, run in enumerate(subject.runs) if not run.repeat]
    assert [run.name for run in alone.runs] == [subject.runs[index].name for index in shown]
    for here, there in enumerate(shown):
        np.testing.assert_array_equal(alone.responses[here], subject.responses[there])
        np.testing.assert_array_equal(alone.noises[here], subject.noises[there])
    here, there = (next(bold_images(one, settings, SEED)) for one in (alone, subject))
    assert here[0].name == there[0].name
    np.testing.assert_array_equal(here[1], there[1])
    kept = [name for name in subject.truth if name not in REPEATED_COLUMNS]
    pd.testing.assert_frame_equal(subject.truth[kept], alone.truth)


def test_truth_of_repeats_is_what_many_repeats_show(
    world: World, settings: CrossmodalSettings
) -> None:
    """Share of signal, and spread of its estimate, over many draws of the same three repeats."""
    drawn = simulate_bold(world, settings, SEED, "02")
    repeats = [index for index, run in enumerate(drawn.runs) if run.repeat]
    kept = [_left_over(drawn.runs[index], settings, SEED, "02") for index in repeats]
    estimates = []
    for seed in range(40):
        z = []
        for index, part in zip(repeats, kept, strict=True):
            noise = _noise(drawn.runs[index], drawn.brain, settings, seed, "02")
            white = np.random.default_rng([seed, index]).normal(size=noise.shape)
            seen = part @ (drawn.responses[index] + noise + THERMAL * white)
            z.append((seen - seen.mean(axis=0)) / seen.std(axis=0))
        pairs = [np.mean(z[a] * z[b], axis=0) for a, b in ((0, 1), (0, 2), (1, 2))]
        estimates.append(np.mean(pairs, axis=0))
    truth, found = drawn.truth, np.array(estimates)
    assert truth.loc[truth["kind"] == "shared", "repeated_signal"].between(0, 1).all()
    for kinds in (["vision", "shared", "inverted"], ["silent", "language"]):
        own = truth["kind"].isin(kinds).to_numpy()
        bias = (found.mean(axis=0) - truth["repeated_signal"].to_numpy())[own].mean()
        assert abs(bias) < 0.02
        ratio = np.sqrt(np.mean(found.var(axis=0)[own]) / np.mean(truth["repeated_sd"][own] ** 2))
        assert 0.9 < ratio < 1.1
    assert (truth.loc[truth["kind"].isin(["silent", "language"]), "repeated_ceiling"] == 0).all()


def test_shared_voxels_mean_the_same_in_both_senses(subject: BoldSubject) -> None:
    for kind, sign in (("shared", 1.0), ("inverted", -1.0)):
        weights = subject.brain.weights[kind]
        seen, heard = weights["vision"][:-2], weights["language"]
        assert not weights["vision"][-2:].any(), "no place on the screen"
        for site in range(seen.shape[1]):
            assert np.corrcoef(seen[:, site], heard[:, site])[0, 1] == pytest.approx(sign, abs=0.1)


def test_dimensions_come_with_falling_variance(world: World, settings: CrossmodalSettings) -> None:
    latents = [world.films["film-1"].latents, world.stories["story-1"].latents]
    random = np.random.default_rng(0)
    _, places = draw_shared("shared", latents, settings.dimensions, 2000, random)
    first, second = (places**2).mean(axis=0)
    assert first > 1.5 * second


def test_who_is_silent_when(subject: BoldSubject) -> None:
    by_task = {
        run.stimulus.kind: at for run, at in zip(subject.runs, subject.responses, strict=True)
    }
    for kind, quiet in (("vision", "story"), ("language", "silentfilm")):
        assert not by_task[quiet][:, rows_of(subject, kind)].any()
    for kind in ("shared", "inverted"):
        assert all(
            (run[:, rows_of(subject, kind)].std(axis=0) > 0).all() for run in by_task.values()
        )
    assert not any(run[:, rows_of(subject, "silent")].any() for run in by_task.values())


def test_truth_names_the_places_on_the_shared_dimensions(
    written: Path, subject: BoldSubject
) -> None:
    truth = read_table(written / "truth.tsv")
    places = truth[["dimension_1", "dimension_2"]].apply(pd.to_numeric, errors="coerce")
    shared = truth["kind"].isin(["shared", "inverted"])
    assert places[shared].notna().all().all()
    assert places[~shared].isna().all().all()
    assert (places[shared] ** 2).sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-3)
    assert (truth.loc[shared, "snr"] > 0).all()
    # strength is as planted in the runs that it is defined on
    assert truth.loc[truth["kind"] == "language", "snr"].between(0.02, 3.0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subjects": ["01"]}, "names 01, who is one of 'bold.subjects'"),
        ({"repetition_time": 1.5}, "must be that of 'bold'"),
        ({"stories": []}, "'crossmodal.stories' is empty"),
        ({"dimensions": []}, "'crossmodal.dimensions' is empty"),
        ({"dimensions": [{"colour": {"pink": 1, "red": -1}}]}, "colour: pink, which"),
        ({"dimensions": [{"colour": {"red": 1, "blue": 1}}]}, "at one place"),
        ({"dimensions": {"colour": 1}}, "give a list of attributes"),
        ({"driven": {"vision": 1, "language": 1, "sum": 1, "joint": 1}}, "shared, inverted"),
        ({"films": ["film-9"]}, "'crossmodal.films' names 'film-9'"),
        ({"repeats": 1}, "'crossmodal.repeats' is 1"),
        ({"repeated": "film-1"}, "which is one of 'crossmodal.films' too"),
        ({"repeated": "film-9"}, "'crossmodal.repeated' names 'film-9'"),
    ],
)
def test_wrong_sections_are_refused(
    world: World, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    spec = {**world.spec, "crossmodal": {**world.spec["crossmodal"], **change}}
    with pytest.raises(InputError, match=message):
        write_dataset(world, spec, SEED, tmp_path / "bids", tmp_path / "truth.tsv")
