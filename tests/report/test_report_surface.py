"""Studies on surfaces: maps of vertices, and what the report calls them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_world import CONFIG, make_results, only

from braid.bids.surfaces import fsaverage_mesh, vertex_names
from braid.common import InputError, read_table, write_table
from braid.report import make_report
from braid.report.figure import Absent, Figure
from braid.report.figures_maps import map_best, map_scores
from braid.report.figures_surfaces import draw_surfaces, on_mesh
from braid.report.glass import score_ramp
from braid.report.results import Results, read_results
from braid.report.style import drawing_style, make_palette
from braid.report.words import plural, several

SIZE = 10242
PALETTE = make_palette(["toy-clip", "toy-vilt"])


def config_on(space: str) -> dict[str, Any]:
    """Config of the BOLD analysis, its data set on a surface."""
    config = only(CONFIG, "bold_film")
    dataset = config["datasets"]["cinema_bold"]
    dataset["derivative"] = {"root": "derivatives/fmriprep", "space": space, "desc": "preproc"}
    dataset["preprocess"] = {"confounds": "motion", "high_pass": 0.01}
    return config


def posterior(side: str, count: int) -> np.ndarray:
    """Hindmost vertices of a hemisphere, by their places."""
    return np.argsort(fsaverage_mesh("fsaverage5", "midthickness")[side][:, 1])[:count]


def put_on_surface(root: Path) -> None:
    """Rename sites to vertices: driven ones at the back of the left hemisphere."""
    sites = read_table(root / "tables" / "sites.tsv")
    driven = sorted(set(sites.loc[sites["significant"].astype(bool), "site"]))
    others = sorted(set(sites["site"]) - set(driven))
    names = vertex_names({"L": SIZE, "R": SIZE})
    back = posterior("L", len(driven))
    free = np.setdiff1d(np.arange(2 * SIZE), back)
    places = {**dict(zip(driven, back, strict=True)),
              **dict(zip(others, free[:: len(free) // len(others)], strict=False))}  # fmt: skip
    for table in ("sites", "comparisons"):
        path = root / "tables" / f"{table}.tsv"
        changed = read_table(path)
        changed["site"] = [names[places[site]] for site in changed["site"]]
        write_table(path, changed, dict.fromkeys(changed, "a column"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("surface") / "study"
    config = config_on("fsaverage5")
    make_results(root, config)
    put_on_surface(root)
    return read_results(root, config)


def on_space(results: Results, space: str) -> Results:
    return Results(**{**vars(results), "config": config_on(space)})


def coloured(picture: np.ndarray) -> np.ndarray:
    """Pixels that are no grey, (rows, columns)."""
    return np.ptp(picture[..., :3].astype(int), axis=2) > 40


def pixels(figure: Figure, version: str = "light") -> np.ndarray:
    from PIL import Image

    content = base64.b64decode(getattr(figure, version).split(",")[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


# figures ------------------------------------------------------------------------------------------


def test_scores_are_drawn_on_the_inflated_surface(results: Results, tmp_path: Path) -> None:
    with drawing_style():
        figure = map_scores(results, "bold_film", tmp_path)
    assert isinstance(figure, Figure)
    sites = results.sites_of("bold_film", "toy-vilt")
    count = int(sites["significant"].sum())
    assert (
        f"at the {count:,} significant of {len(sites):,} vertices of 2 subjects" in figure.caption
    )
    assert "The inflated surface of fsaverage5" in figure.caption
    assert "n counts the significant vertices of each" in figure.caption
    assert f"with {count:,} vertices coloured by the score of toy-vilt" in figure.alt
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"bold_film__map_scores{suffix}").stat().st_size > 10_000
    # what is significant lies in the left hemisphere; the scale stands right of both
    for version in ("light", "dark"):
        marks = coloured(pixels(figure, version))
        width = marks.shape[1]
        assert marks[:, : round(0.48 * width)].sum() > 1000
        assert not marks[:, round(0.5 * width) : round(0.9 * width)].any()


def test_best_models_are_drawn_in_their_colours(results: Results, tmp_path: Path) -> None:
    from matplotlib.colors import to_rgb

    with drawing_style():
        figure = map_best(results, "bold_film", PALETTE, tmp_path)
    assert isinstance(figure, Figure)
    assert "A full, not pale, colour marks where toy-vilt > toy-clip" in figure.caption
    assert "The trained model with the highest held-out r at each of" in figure.caption
    assert "vertices that at least one trained model predicts" in figure.caption
    brains = pixels(figure)[80:-70].reshape(-1, 3)
    wanted = 255 * np.array(to_rgb(PALETTE.colour("toy-vilt")))
    assert (np.abs(brains - wanted).max(axis=1) < 12).sum() > 200


def test_a_subjects_own_surface_is_not_drawn(results: Results, tmp_path: Path) -> None:
    native = on_space(results, "fsnative")
    for drawn in (
        map_scores(native, "bold_film", tmp_path),
        map_best(native, "bold_film", PALETTE, tmp_path),
    ):
        assert isinstance(drawn, Absent)
        assert "lie on each subject's own surface (fsnative)" in drawn.reason


def test_report_speaks_of_vertices(results: Results, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    make_report(results.root, results.config, page, tmp_path / "figures")
    html = page.read_text(encoding="utf-8")
    assert "vertices" in html and "vertexs" not in html and "vertexes" not in html
    assert "sampled to the cortical surface (fsaverage5)" in html
    assert "ertices without data (the medial wall) were left out" in html
    assert "brain mask" not in html
    for name in ("map_scores", "map_best"):
        assert (tmp_path / "figures" / f"bold_film__{name}.png").exists()


# from vertices to pixels --------------------------------------------------------------------------


def test_values_keep_their_places() -> None:
    found = on_mesh(["R-00007", "L-10241", "L-00003"], [1.0, 2.0, 3.0])
    assert found["R"][7] == 1 and found["L"][10241] == 2 and found["L"][3] == 3
    assert np.isfinite(found["L"]).sum() == 2 and np.isfinite(found["R"]).sum() == 1


def test_finer_meshes_keep_the_vertices_they_share() -> None:
    found = on_mesh(pd.Series(["L-000007", "L-040961"]), [1.0, 2.0])
    assert found["L"].shape == (SIZE,) and found["L"][7] == 1
    assert np.isfinite(found["L"]).sum() == 1


def test_values_of_a_coarser_mesh_fill_their_neighbourhood() -> None:
    found = on_mesh(["L-02561", "R-00010"], [1.0, 2.0])
    sphere = fsaverage_mesh("fsaverage5", "sphere")["L"]
    filled = np.flatnonzero(np.isfinite(found["L"]))
    # of 10242 vertices, each of 2562 stands for about four
    assert 2561 in filled and 3 <= len(filled) <= 7
    assert np.linalg.norm(sphere[filled] - sphere[2561], axis=1).max() < 6


def test_names_that_are_no_vertices_are_told() -> None:
    with pytest.raises(InputError, match="'3-4-5' is no vertex"):
        on_mesh(["3-4-5"], [1.0])


@pytest.mark.parametrize(("side", "columns"), [("L", (0, 1)), ("R", (2, 3))])
def test_a_single_vertex_is_seen_from_its_side_alone(side: str, columns: tuple[int, int]) -> None:
    import matplotlib.pyplot as plt

    points = fsaverage_mesh("fsaverage5", "infl")[side]
    outermost = int(np.argmin(points[:, 0]) if side == "L" else np.argmax(points[:, 0]))
    values = {"01": on_mesh([f"{side}-{outermost:05d}"], [0.2])}
    with drawing_style():
        canvas = draw_surfaces(values, score_ramp(), (0, 0.4))
    pictures = [axes.images[0].get_array() for axes in canvas.axes]
    titles = [axes.get_title() for axes in canvas.axes]
    plt.close(canvas)
    assert titles == ["left, lateral", "left, medial", "right, medial", "right, lateral"]
    seen = [bool(coloured(picture).any()) for picture in pictures]
    lateral = columns[0] if side == "L" else columns[1]
    assert seen == [column == lateral for column in range(4)]
    for picture in pictures:  # nothing is cut off, and there is paper around the brain
        edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert not edge[:, 3].any()
        assert (picture[..., 3] > 0).mean() > 0.3


def test_plurals() -> None:
    assert plural(1, "vertex") == "1 vertex"
    assert plural(2, "significant vertex") == "2 significant vertices"
    assert several("voxel") == "voxels"
