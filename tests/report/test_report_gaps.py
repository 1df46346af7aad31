"""What a study lacks is said in a sentence, and bad results stop with one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from report_world import CONFIG, make_results, only

from braid.common import InputError, read_table, write_table
from braid.report import make_report
from braid.report.figure import Absent, Figure
from braid.report.figures_maps import map_best, map_scores
from braid.report.figures_scores import by_layer, by_region, distributions, timecourse
from braid.report.fits import summarise, summarise_fits
from braid.report.results import Results, read_results
from braid.report.style import drawing_style, make_palette

PALETTE = make_palette(["toy-vit", "toy-bert", "toy-vilt", "concat"])


def small(analysis: str, *models: str) -> dict[str, Any]:
    """Config of one analysis with few models, one subject and no comparison."""
    config = only(CONFIG, analysis)
    entry = config["analyses"][analysis]
    entry |= {"models": list(models), "untrained": [], "combinations": {}, "compare": {}}
    config["datasets"][entry["dataset"]]["subjects"] = ["01"]
    return config


def rewrite(root: Path, table: str, change: dict[str, Any]) -> None:
    """Set columns of a table."""
    path = root / "tables" / f"{table}.tsv"
    changed = read_table(path).assign(**change)
    write_table(path, changed, dict.fromkeys(changed, "a column"))


@pytest.fixture
def electrodes(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    config = small("ieeg_film", "toy-vit")
    make_results(tmp_path / "study", config)
    return tmp_path / "study", config


def test_only_the_table_of_sites_is_needed(electrodes: tuple[Path, dict[str, Any]]) -> None:
    root, config = electrodes
    sites = (root / "tables" / "sites.tsv").read_text()
    bare = root.parent / "bare"
    (bare / "tables").mkdir(parents=True)
    (bare / "tables" / "sites.tsv").write_text(sites)
    make_report(bare, config, bare / "report.html", bare / "figures")
    html = (bare / "report.html").read_text()
    for sentence in (
        "There is no index of the recordings of this data set.",
        "There is no record of the BIDS validator for this data set.",
        "The preprocessing of this study recorded no quality measures.",
        "There is no table of null distributions, so their width is not shown.",
        "The fits of this study record no penalties.",
        "No model of ieeg_film was fitted with more than one layer.",
        "there is nothing to evaluate against",
        "The study compares no models in ieeg_film.",
        "ieeg_film has one trained model, so there is no best one to map.",
    ):
        assert sentence in html
    shown = re.sub(r'"data:[^"]*"', "", html.split("</style>")[1])
    assert not re.search(r"\b(nan|inf|None)\b", shown, re.IGNORECASE)


def test_a_study_without_findings(tmp_path: Path) -> None:
    config = small("ieeg_film", "toy-vit", "toy-bert")
    make_results(tmp_path / "study", config, signal=0.0)
    rewrite(tmp_path / "study", "sites", {"significant": False})
    make_report(tmp_path / "study", config, tmp_path / "r.html", tmp_path / "figures")
    html = (tmp_path / "r.html").read_text()
    assert "No trained model predicts any electrode significantly." in html
    assert "so there is no map of scores" in html
    assert "No site of ieeg_film is significant, so there is no time course to average." in html
    assert "No electrode of ieeg_film is significant for any trained model." in html


@pytest.fixture
def voxels(tmp_path: Path) -> Results:
    config = small("bold_film", "toy-bert", "toy-vilt")
    make_results(tmp_path / "study", config)
    return read_results(tmp_path / "study", config)


def test_scores_that_are_all_missing(voxels: Results, tmp_path: Path) -> None:
    rewrite(voxels.root, "sites", {"score": np.nan, "p": np.nan, "q": np.nan, "significant": False})
    rewrite(voxels.root, "regions", {"score_mean": np.nan})
    results = read_results(voxels.root, voxels.config)
    with drawing_style():
        drawn = distributions(results, "bold_film", PALETTE, tmp_path)
        regions = by_region(results, "bold_film", PALETTE, tmp_path)
    assert drawn == Absent("No site has a finite score, so there is no distribution to show.")
    assert isinstance(regions, Absent)
    make_report(voxels.root, voxels.config, tmp_path / "r.html", tmp_path / "figures")
    assert "No site of bold_film has a p value." in (tmp_path / "r.html").read_text()


def test_voxels_without_a_grid_or_coordinates_are_ordered(voxels: Results, tmp_path: Path) -> None:
    for path in (voxels.root / "fits" / "bold_film").rglob("*.nc"):
        path.unlink()
    rewrite(voxels.root, "sites", dict.fromkeys("xyz", np.nan))
    results = read_results(voxels.root, voxels.config)
    with drawing_style():
        scores = map_scores(results, "bold_film", tmp_path)
        best = map_best(results, "bold_film", PALETTE, tmp_path)
    assert isinstance(scores, Figure)
    assert "have no coordinates in these results, so they are ordered by score" in scores.caption
    assert isinstance(best, Absent)
    assert "have no coordinates" in best.reason


def test_voxels_outside_the_template_get_slices(voxels: Results, tmp_path: Path) -> None:
    rewrite(voxels.root, "sites", {"x": voxels.sites["x"] + 300})
    results = read_results(voxels.root, voxels.config)
    with drawing_style():
        inside = map_scores(voxels, "bold_film", tmp_path / "inside")
        outside = map_scores(results, "bold_film", tmp_path / "outside")
    assert isinstance(inside, Figure)
    assert isinstance(outside, Figure)
    assert "along the line of sight" in inside.caption
    assert "do not fit the MNI152 brain" in outside.caption


def test_kinds_without_windows_have_no_time_course(voxels: Results, tmp_path: Path) -> None:
    fits = summarise_fits(voxels)
    drawn = timecourse(voxels, "bold_film", fits, PALETTE, tmp_path)
    assert isinstance(drawn, Absent)
    assert "not cut into windows" in drawn.reason
    with drawing_style():
        layers = by_layer(voxels, "bold_film", fits, PALETTE, tmp_path)
    assert isinstance(layers, Figure)


def test_empty_comparisons_and_exclusions(electrodes: tuple[Path, dict[str, Any]]) -> None:
    root, config = electrodes
    excluded = read_table(root / "tables" / "excluded.tsv").iloc[:0]
    write_table(root / "tables" / "excluded.tsv", excluded, dict.fromkeys(excluded, "a column"))
    make_report(root, config, root / "report.html", root / "figures")
    html = (root / "report.html").read_text()
    assert "No electrode of this data set was left out." in html
    assert "The study compares no models in ieeg_film." in html


def test_no_table_of_sites(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tables/sites\.tsv: no such file"):
        make_report(tmp_path, CONFIG, tmp_path / "r.html", tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_column_is_missing(electrodes: tuple[Path, dict[str, Any]]) -> None:
    root, config = electrodes
    sites = read_table(root / "tables" / "sites.tsv").drop(columns="significant")
    write_table(root / "tables" / "sites.tsv", sites, dict.fromkeys(sites, "a column"))
    with pytest.raises(InputError, match=r"sites\.tsv: column 'significant' is missing"):
        make_report(root, config, root / "r.html", root / "f")


def test_an_analysis_that_the_config_does_not_name(
    electrodes: tuple[Path, dict[str, Any]],
) -> None:
    root, _ = electrodes
    with pytest.raises(InputError, match="analysis 'ieeg_film' is not in the config; remake"):
        make_report(root, only(CONFIG, "parcels"), root / "r.html", root / "f")


def test_a_config_without_analyses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="key 'analyses' is missing or empty"):
        make_report(tmp_path, {"study": "x"}, tmp_path / "r.html", tmp_path / "f")


def test_a_fit_whose_chosen_layer_is_none_of_its_layers() -> None:
    fit = xr.Dataset(
        {"score": (("layer", "target"), np.zeros((2, 3)))},
        coords={"layer": ["a", "b"], "target": ["x", "y", "z"]},
        attrs={"chosen_layer": "c"},
    )
    with pytest.raises(InputError, match=r"chosen_layer 'c' is none of its layers \(a, b\)"):
        summarise(fit, "film", "toy", "01")


def test_a_table_that_is_no_table(electrodes: tuple[Path, dict[str, Any]]) -> None:
    root, config = electrodes
    (root / "tables" / "models.tsv").write_text("")
    with pytest.raises(InputError, match=r"models\.tsv: cannot be read as a tab-separated table"):
        make_report(root, config, root / "r.html", root / "f")


def test_numbers_written_as_words_are_read(electrodes: tuple[Path, dict[str, Any]]) -> None:
    root, config = electrodes
    results = read_results(root, config)
    rewrite(root, "sites", {"significant": np.where(results.sites["significant"], "True", "False")})
    again = read_results(root, config)
    pd.testing.assert_series_equal(results.sites["significant"], again.sites["significant"])
    assert again.sites["significant"].any()


def test_what_a_killed_job_left_behind_is_not_read(
    electrodes: tuple[Path, dict[str, Any]],
) -> None:
    root, config = electrodes
    before = read_results(root, config)
    for folder, name in (
        (root / "fits" / "a", ".sub-01-0a1b2c3d.nc"),
        (root / "features" / "words", ".toy-vit-0a1b2c3d.json"),
        (root / "tables", ".sites-0a1b2c3d.json"),
        (root / "index", ".cinema-0a1b2c3d.tsv"),
        (root / "validation", ".cinema-0a1b2c3d.json"),
    ):
        (folder / "model").mkdir(parents=True, exist_ok=True)
        for place in (folder, folder / "model"):
            (place / name).write_bytes(b"half")
    after = read_results(root, config)
    assert set(after.index) == set(before.index)
    assert after.versions == before.versions
