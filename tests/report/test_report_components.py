"""Components on the brain, with the words and pictures at their ends."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_world import CONFIG, make_results, only, projections, write_units

from braid.common import write_array
from braid.common.video import write_frames
from braid.concepts import SHARED_COLUMNS, UNITS_COLUMNS
from braid.report.figure import Absent, Figure, finish
from braid.report.figures_components import component_jobs, drawn_numbers
from braid.report.pictures import apart, frames_of, shrunk, thumbnails
from braid.report.results import Results, read_results
from braid.report.style import drawing_style

NAME = "film_dimensions"
RED, BLUE = (200, 30, 30), (30, 30, 200)


def write_stimuli(root: Path) -> None:
    """Write a film that turns from red to blue after five seconds, and a picture."""
    (root / "stimuli").mkdir(parents=True)
    frames = (np.full((160, 240, 3), RED if n < 50 else BLUE, np.uint8) for n in range(100))
    write_frames(root / "stimuli" / "film.mp4", frames, 10.0)
    Image.new("RGB", (300, 200), BLUE).save(root / "stimuli" / "picture.png")


def studied(root: Path) -> dict[str, Any]:
    """Config with plain and with shared components, and stimuli that are there."""
    config = only(CONFIG, "bold_film")
    config["datasets"]["cinema_bold"]["root"] = str(root / "bids")
    config["analyses"]["heard"] = copy.deepcopy(config["analyses"]["bold_film"])
    config["components"] = {NAME: CONFIG["components"][NAME]}
    config["shared_components"] = {
        "meanings": {"language": "heard", "vision": "bold_film", "alignment": "a", "pair": "p",
                     "n": 3, "draws": 99}
    }  # fmt: skip
    return config


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("components")
    config = studied(root)
    make_results(root / "study", config)
    write_stimuli(root / "bids")
    for side in ("language", "vision"):
        arrays = projections("bold", 3, "projection", "projection_other")
        write_array(root / "study" / "shared_components" / "meanings" / f"{side}.nc", arrays)
    write_units(root / "study", "heard")
    shared = pd.DataFrame(0.25, index=range(6), columns=list(SHARED_COLUMNS)).assign(
        direction=["language"] * 3 + ["vision"] * 3, component=[1, 2, 3] * 2,
        significant=[False, True, True, False, False, False], n_sites=115, n_subjects=2,
        n_draws=99, spatial="spectral",
    )  # fmt: skip
    read = read_results(root / "study", config)
    return replace(read, shared={"meanings": shared})


def draw(results: Results, name: str, what: str, folder: Path) -> Figure | Absent:
    job = next(
        job for where, own, job in component_jobs(results, folder) if (where, own) == (name, what)
    )
    with drawing_style():
        return job()


def test_significant_components_are_drawn_else_the_first(results: Results) -> None:
    jobs = [(name, what) for name, what, _ in component_jobs(results, Path())]
    assert jobs == [
        (NAME, "component_1"), (NAME, "component_2"),
        ("meanings", "shared_language_2"), ("meanings", "shared_language_3"),
        ("meanings", "shared_vision_1"),
    ]  # fmt: skip
    assert drawn_numbers(None) == drawn_numbers(results.components[NAME].iloc[:0]) == []
    many = pd.DataFrame({"component": range(1, 9), "p": 0.01})
    assert drawn_numbers(many) == [1, 2, 3]


def test_a_component_lies_on_the_brain_beside_its_ends(results: Results, tmp_path: Path) -> None:
    figure = draw(results, NAME, "component_1", tmp_path)
    assert isinstance(figure, Figure)
    arrays = results.component_arrays("components", NAME, "components")
    assert arrays is not None
    known = int(np.isfinite(arrays["projection"].values[:, 0]).sum())
    assert f"{known} voxels of 2 subjects, drawn over each other" in figure.caption
    assert "mind the terms of the data set" in figure.caption
    assert "could not be read" not in figure.caption
    # of moments 1 s apart only the first is listed
    assert "a top <word> of 1 (11 s)" in figure.alt
    assert "(12 s)" not in figure.alt
    with Image.open(tmp_path / f"{NAME}__component_1.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    right = pixels[:, pixels.shape[1] // 3 :]
    # the frame at 1 s is red, and shown at both ends
    assert (np.abs(right - RED).max(axis=2) < 25).sum() > 2000


def test_both_projections_of_a_shared_component(results: Results, tmp_path: Path) -> None:
    figure = draw(results, "meanings", "shared_language_2", tmp_path)
    assert isinstance(figure, Figure)
    assert (
        "weights of heard (left) and of bold_film (right) on component 2 of the language"
        in figure.caption
    )
    assert "r = 0.25 over sites, q = 0.25, significant" in figure.caption
    assert "There is no table of the units at its ends." in figure.caption
    text = (tmp_path / "meanings__shared_language_2.svg").read_text()
    assert ">heard<" in text and ">bold_film<" in text


def test_arrays_or_pictures_that_are_absent(results: Results, tmp_path: Path) -> None:
    gone = replace(results, root=tmp_path / "nowhere")
    for name, what in ((NAME, "component_1"), ("meanings", "shared_vision_1")):
        figure = draw(gone, name, what, tmp_path)
        assert isinstance(figure, Absent) and "so there is no map" in figure.reason
    config = copy.deepcopy(dict(results.config))
    config["datasets"]["cinema_bold"]["root"] = str(tmp_path / "moved")
    figure = draw(replace(results, config=config), NAME, "component_2", tmp_path)
    assert isinstance(figure, Figure)
    assert "The pictures of stimuli/film.mp4 could not be read" in figure.caption
    assert "mind the terms" not in figure.caption


def test_words_alone_are_listed(results: Results, tmp_path: Path) -> None:
    ends = pd.DataFrame(
        [
            {"component": 2, "end": end, "rank": rank, "unit": f"w{rank}", "stimulus": "story.tsv",
             "time": 20.0 * rank, "text": f"{end} words number {rank} " + "and more " * 12,
             "projection": 1.0}
            for end in ("top", "bottom")
            for rank in (1, 2)
        ],
        columns=list(UNITS_COLUMNS),
    )  # fmt: skip
    heard = replace(results, shared_units={("meanings", "language"): ends})
    figure = draw(heard, "meanings", "shared_language_2", tmp_path)
    assert isinstance(figure, Figure)
    text = (tmp_path / "meanings__shared_language_2.svg").read_text()
    assert "… " in text and "and more and more" in text
    assert "Top: … " in figure.alt and "(20 s)" in figure.alt


def test_moments_of_one_scene_are_shown_once() -> None:
    units = pd.DataFrame(
        {"stimulus": ["a", "a", "b", "a", "a"], "time": [10.0, 11.0, 11.0, 15.0, np.nan],
         "text": list("vwxyz")}
    )  # fmt: skip
    assert apart(units, 5)["text"].tolist() == ["v", "x", "y", "z"]
    assert apart(units, 2)["text"].tolist() == ["v", "x"]
    assert apart(units.iloc[:0], 2).empty


def test_thumbnails_are_frames_of_films_and_pictures(results: Results, tmp_path: Path) -> None:
    root = Path(results.config["datasets"]["cinema_bold"]["root"])
    film, picture = "stimuli/film.mp4", "stimuli/picture.png"
    found, failed = thumbnails(root, [(film, 6.0), (film, 1.0), (picture, 0.0)], height=64)
    assert failed == ""
    assert {key: value.shape for key, value in found.items()} == {
        (film, 1.0): (64, 96, 3), (film, 6.0): (64, 96, 3), (picture, 0.0): (64, 96, 3),
    }  # fmt: skip
    for key, colour in (((film, 1.0), RED), ((film, 6.0), BLUE), ((picture, 0.0), BLUE)):
        assert np.abs(found[key].mean(axis=(0, 1)) - colour).max() < 12
    found, failed = thumbnails(root, [("stimuli/none.mp4", 0.0), (film, 99.0)])
    assert found == {}
    assert failed == (
        "The pictures of stimuli/none.mp4 and 1 more could not be read, so they are not shown."
    )
    small = np.zeros((10, 20, 3), np.uint8)
    assert shrunk(small, 64).shape == (10, 20, 3)


def test_units_without_a_frame_have_no_picture(results: Results, tmp_path: Path) -> None:
    assert frames_of(results, "bold_film", ["u1", "u9"]) == {"u1": ("stimuli/film.mp4", 1.0)}
    assert frames_of(replace(results, root=tmp_path), "bold_film", ["u1"]) == {}


def test_a_component_of_words_has_pictures_too(results: Results, tmp_path: Path) -> None:
    words, pictures = (
        pd.DataFrame(
            [
                {"component": 2, "end": end, "rank": 1, "unit": unit, "stimulus": stimulus,
                 "time": 1.0, "text": text, "projection": 1.0}
                for end in ("top", "bottom")
            ],
            columns=list(UNITS_COLUMNS),
        )
        for unit, stimulus, text in (("w", "story.tsv", "a word"), ("u1", "stimuli/film.mp4", None))
    )  # fmt: skip
    both = replace(
        results,
        shared_units={("meanings", "language"): words, ("meanings", "language_other"): pictures},
    )
    figure = draw(both, "meanings", "shared_language_2", tmp_path)
    assert isinstance(figure, Figure)
    assert "of heard and, taken into its features by the alignment, of bold_film, with" in (
        figure.caption
    )
    assert "Top: a word (1 s); 1 s." in figure.alt
    assert "mind the terms" in figure.caption


def test_photographs_keep_their_shades_and_paper_stays_clean(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    shades = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(shades).resize((400, 400), Image.Resampling.BICUBIC))
    with drawing_style():
        canvas = plt.figure(figsize=(4, 4))
        axes = canvas.add_axes((0.25, 0.25, 0.5, 0.5))
        axes.imshow(smooth)
        axes.set_axis_off()
        finish(canvas, tmp_path, "photo", "a caption", "a text", photos=True)
    with Image.open(tmp_path / "photo.png") as picture:
        assert picture.mode == "P"
        pixels = np.asarray(picture.convert("RGB")).astype(float)
    border = len(pixels) // 5
    assert (pixels[:border] == 255).all() and (pixels[:, -border:] == 255).all()
    inner = pixels[2 * border : -2 * border, 2 * border : -2 * border]
    part = smooth[120:280, 120:280]
    assert np.abs(inner.mean(axis=(0, 1)) - part.mean(axis=(0, 1))).max() < 4
