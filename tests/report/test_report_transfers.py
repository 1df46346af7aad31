"""Transfers by layer, region and time, and on the brain: shown, or named as absent."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_world import BINS, CONFIG, make_results, only

from braid.bids.surfaces import vertex_names
from braid.report.figure import Absent, Figure
from braid.report.figures_transfer_maps import transfer_map
from braid.report.figures_transfers import (
    _outline,
    layer_profiles,
    matrix_heat,
    times_heat,
)
from braid.report.further import relative_scale, transfer_rows
from braid.report.methods_further import further_text
from braid.report.results import Results, read_results
from braid.report.style import drawing_style, make_palette
from braid.report.transfers import (
    ALL,
    between_times,
    groups_of,
    positions_of,
    profile_of,
    profiles_of,
    regions_of,
)

PALETTE = make_palette(["toy-vilt", "toy-vit"])
MODELS = ["toy-vilt", "toy-vit"]


def both_ways() -> dict[str, Any]:
    """Two analyses of electrodes and one of voxels, with transfers there and back."""
    config = only(CONFIG, "ieeg_film", "bold_film")
    config["analyses"]["ieeg_again"] = copy.deepcopy(config["analyses"]["ieeg_film"])
    config["transfers"] = {
        "there": {"source": "ieeg_film", "target": "ieeg_again", "models": MODELS},
        "back": {"source": "ieeg_again", "target": "ieeg_film", "models": MODELS},
        "voxels": {"source": "ieeg_film", "target": "bold_film", "models": ["toy-vilt"]},
    }
    return config


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = tmp_path_factory.mktemp("transfers") / "study"
    config = both_ways()
    make_results(root, config)
    return read_results(root, config)


def drawn(figure: Figure | Absent) -> Figure:
    assert isinstance(figure, Figure), figure
    return figure


# reading ------------------------------------------------------------------------------------------


def test_the_sites_of_a_transfer_are_not_mixed_with_its_matrix(results: Results) -> None:
    assert set(results.transfers["site"].str.len() > 0) == {True}
    assert "train" not in results.transfers
    assert len(results.transfer_matrix) and len(results.transfer_times)


def test_profiles_hold_layers_in_order_and_what_was_chosen(results: Results) -> None:
    found = profile_of(results, "there", "toy-vilt", "ieeg_film", "ieeg_again")
    assert found is not None
    assert found.layers == tuple(f"encoder.layer.{i}" for i in range(4))
    assert found.subjects == ("01", "02")
    assert found.n_sites == 72
    assert found.chosen.tolist() == [[False, False, True, False]] * 2
    table = results.transfer_matrix
    rows = table[(table["transfer"] == "there") & (table["model"] == "toy-vilt")
                 & (table["region"] == ALL) & (table["test"] == "ieeg_again")
                 & (table["layer"] == "encoder.layer.3")]  # fmt: skip
    assert found.mean[3] == pytest.approx(rows["score"].mean())
    assert found.band[0] == pytest.approx([-0.0196] * 4)
    assert profile_of(results, "there", "toy-bert", "ieeg_film", "ieeg_again") is None


def test_the_score_within_the_target_comes_from_the_transfer_back(results: Results) -> None:
    found = profiles_of(results, "there", "toy-vilt")
    assert {key: (p.train, p.test) for key, p in found.items()} == {
        "across": ("ieeg_film", "ieeg_again"),
        "source": ("ieeg_film", "ieeg_film"),
        "target": ("ieeg_again", "ieeg_again"),
    }
    assert set(profiles_of(results, "voxels", "toy-vilt")) == {"across", "source"}


def test_transfers_between_the_same_analyses_are_one_group(results: Results) -> None:
    assert groups_of(results) == {"there": ["there", "back"], "voxels": ["voxels"]}
    assert between_times(results) == ["there", "back"]


def test_layers_of_networks_of_other_depth_face_each_other(results: Results) -> None:
    long = profile_of(results, "there", "toy-vilt", "ieeg_film", "ieeg_again")
    assert long is not None
    short = replace(long, layers=long.layers[:2])
    first, second = positions_of([long, short])
    assert first.tolist() == [0, 1, 2, 3]
    assert second.tolist() == [0, 3]


# layers -------------------------------------------------------------------------------------------


def test_a_profile_shows_every_model_and_the_regions(results: Results, tmp_path: Path) -> None:
    with drawing_style():
        figure = drawn(layer_profiles(results, "there", PALETTE, tmp_path))
    regions = regions_of(results, "there")
    assert 0 < len(regions) <= 5 and ALL not in regions and "n/a" not in regions
    assert "over the 72 electrodes of 2 subjects" in figure.caption
    assert "of 99 draws of the null" in figure.caption
    assert "within ieeg_film and ieeg_again, runs left out" in figure.caption
    assert f"Small panels: {len(regions)} regions" in figure.caption
    across = profile_of(results, "there", "toy-vilt", "ieeg_film", "ieeg_again")
    assert across is not None
    assert f"toy-vilt {across.mean.max():.3f} in layer 3" in figure.alt
    text = (tmp_path / "there__transfer_layers.svg").read_text()
    for label in (*MODELS, *regions, "within ieeg_again", "chosen layer"):
        assert label in text


def test_one_subject_without_regions(results: Results, tmp_path: Path) -> None:
    table = results.transfer_matrix
    alone = replace(
        results, transfer_matrix=table[(table["subject"] == "01") & (table["region"] == ALL)]
    )
    with drawing_style():
        figure = drawn(layer_profiles(alone, "voxels", PALETTE, tmp_path))
    assert "of 1 subject" in figure.caption
    assert "The voxels have no region labels" in figure.caption
    assert "Small panels" not in figure.caption + figure.alt


def test_profiles_and_matrices_that_are_absent_or_empty(results: Results, tmp_path: Path) -> None:
    none = replace(results, transfer_matrix=results.transfer_matrix.iloc[:0])
    empty = replace(results, transfer_matrix=results.transfer_matrix.assign(score=np.nan))
    for bare, said in (
        (none, "There is no matrix of the transfer there"),
        (empty, "The matrix of the transfer there has no score"),
    ):
        for figure in (
            layer_profiles(bare, "there", PALETTE, tmp_path),
            matrix_heat(bare, ["there", "back"], tmp_path),
        ):
            assert isinstance(figure, Absent)
            assert figure.reason.startswith(said)
    assert not list(tmp_path.iterdir())


def test_a_layer_without_a_score_is_left_out(results: Results, tmp_path: Path) -> None:
    table = results.transfer_matrix
    gone = table["layer"] == "encoder.layer.1"
    holed = replace(results, transfer_matrix=table.assign(score=table["score"].mask(gone)))
    profile = profile_of(holed, "there", "toy-vilt", "ieeg_film", "ieeg_again")
    assert profile is not None and np.isnan(profile.mean).tolist() == [False, True, False, False]
    with drawing_style():
        figures = [
            drawn(layer_profiles(holed, "there", PALETTE, tmp_path)),
            drawn(matrix_heat(holed, ["there", "back"], tmp_path)),
        ]
    assert not any("nan" in figure.alt + figure.caption for figure in figures)


# matrix -------------------------------------------------------------------------------------------


def test_the_matrix_has_a_row_per_training_and_test(results: Results, tmp_path: Path) -> None:
    with drawing_style():
        figure = drawn(matrix_heat(results, ["there", "back"], tmp_path))
    text = (tmp_path / "there__transfer_matrix.svg").read_text()
    for train in ("ieeg_film", "ieeg_again"):
        for test in ("ieeg_film", "ieeg_again"):
            assert text.count(f"{train} → {test}") == len(MODELS)
            profile = profile_of(
                results, "there" if train == "ieeg_film" else "back", "toy-vilt", train, test
            )
            assert profile is not None
            said = f"toy-vilt, {train} to {test}: {profile.mean.min():.3f} to "
            assert said in figure.alt
    assert "transfers/there or back/*/sub-*_matrix.tsv" in figure.caption


# times --------------------------------------------------------------------------------------------


def test_times_are_drawn_with_what_is_significant(results: Results, tmp_path: Path) -> None:
    with drawing_style():
        figure = drawn(times_heat(results, "there", tmp_path))
    table = results.transfer_times
    rows = table[(table["transfer"] == "there") & (table["model"] == "toy-vilt")]
    count = int((rows[rows["subject"] == "01"]["q"] <= 0.05).sum())
    assert 0 < count < len(BINS) ** 2
    assert f"toy-vilt: {count} cells of {len(BINS) ** 2}, highest r = " in figure.caption
    assert "trained at 0.3 s and tested at 0.3 s" in figure.caption
    assert "more than half of the subjects" in figure.caption
    one = replace(results, transfer_times=table[table["subject"] == "01"])
    with drawing_style():
        assert "in the subject." in drawn(times_heat(one, "there", tmp_path)).caption


def test_times_that_are_absent(results: Results, tmp_path: Path) -> None:
    for table in (
        results.transfer_times.iloc[:0],
        results.transfer_times.assign(score=np.nan),
    ):
        figure = times_heat(replace(results, transfer_times=table), "there", tmp_path)
        assert isinstance(figure, Absent)
        assert "no scores of the transfer there by training and test time" in figure.reason


def test_cells_are_outlined_once() -> None:
    edges = np.arange(4.0)
    marked = np.zeros((3, 3), bool)
    assert _outline(marked, edges, edges) == []
    marked[1, 1] = True
    lines = _outline(marked, edges, edges)
    assert {tuple(map(tuple, line)) for line in lines} == {
        ((1, 2), (1, 1)), ((1, 2), (2, 2)), ((1, 1), (1, 2)), ((2, 2), (1, 2)),
    }  # fmt: skip
    marked[1, 2] = True  # a side that two cells share is none of the outline
    assert len(_outline(marked, edges, edges)) == 6


# maps ---------------------------------------------------------------------------------------------


def test_electrodes_are_mapped_together(results: Results, tmp_path: Path) -> None:
    with drawing_style():
        figure = drawn(transfer_map(results, "there", tmp_path))
    sites = results.transfers[
        (results.transfers["transfer"] == "there") & (results.transfers["model"] == "toy-vilt")
    ]
    assert f"at the {sites['score'].notna().sum()} electrodes of 2 subjects" in figure.caption
    assert "The outline is that of the MNI152 template" in figure.caption
    assert f"{int(sites['significant'].sum())} of them significant" in figure.alt
    text = (tmp_path / "there__transfer_map.svg").read_text()
    assert "ieeg_film → ieeg_again" in text and "within ieeg_again" in text
    assert "sign" not in text


def test_voxels_are_mapped_by_subject_with_their_signs(results: Results, tmp_path: Path) -> None:
    table = results.transfers
    turned = table.assign(
        tuning="sign_loo", worth="held out", sign=np.where(table["score"] > 0.05, -1.0, 1.0)
    )
    signed = replace(results, transfers=pd.concat([table, turned], ignore_index=True))
    with drawing_style():
        figure = drawn(transfer_map(signed, "voxels", tmp_path))
    own = turned[(turned["transfer"] == "voxels") & turned["significant"]]
    counts = [int((own["sign"] > 0).sum()), int((own["sign"] < 0).sum())]
    assert min(counts) > 0
    assert f"significant, {counts[0]:,} above 0 and {counts[1]:,} below it" in figure.caption
    text = (tmp_path / "voxels__transfer_map.svg").read_text()
    for label in ("sub-01", "sub-02", "sign, sign_loo", "opposite sign"):
        assert label in text
    # thousands of voxels are pixels there
    assert (tmp_path / "voxels__transfer_map.svg").stat().st_size < 600_000


def test_places_that_are_missing_or_fit_no_brain(results: Results, tmp_path: Path) -> None:
    table = results.transfers
    bare = replace(results, transfers=table.assign(x=np.nan))
    figure = transfer_map(bare, "there", tmp_path)
    assert isinstance(figure, Absent) and "have no coordinates" in figure.reason
    unscored = replace(results, transfers=table.assign(score=np.nan))
    figure = transfer_map(unscored, "there", tmp_path)
    assert isinstance(figure, Absent) and "has a score with toy-vilt, so there" in figure.reason
    far = replace(results, transfers=table.assign(x=table["x"] + 500))
    with drawing_style():
        assert "No outline is drawn" in drawn(transfer_map(far, "there", tmp_path)).caption


def test_vertices_are_drawn_on_the_surface(results: Results, tmp_path: Path) -> None:
    config = copy.deepcopy(dict(results.config))
    config["datasets"]["cinema_bold"]["derivative"] = {"root": "x", "space": "fsaverage5"}
    table = results.transfers
    own = table[(table["transfer"] == "voxels") & (table["subject"] == "01")]
    names = vertex_names({"L": 10242, "R": 10242})
    vertices = own.assign(site=names[: len(own)])
    surface = replace(results, config=config, transfers=vertices)
    with drawing_style():
        figure = drawn(transfer_map(surface, "voxels", tmp_path))
    assert "The inflated surface of fsaverage5" in figure.caption
    assert "vertices of 1 subject" in figure.caption
    config["datasets"]["cinema_bold"]["derivative"]["space"] = "fsnative"
    figure = transfer_map(surface, "voxels", tmp_path)
    assert isinstance(figure, Absent) and "fsnative" in figure.reason


# table and text -----------------------------------------------------------------------------------


def test_relative_scores_are_medians_over_sites(results: Results) -> None:
    row = next(r for r in transfer_rows(results) if r["transfer"] == "there")
    own = results.transfers[
        (results.transfers["transfer"] == "there") & (results.transfers["model"] == "toy-vilt")
    ]
    for key in ("relative", "relative_low", "relative_high"):
        assert row[key] == pytest.approx(own[key].median())
    scale = relative_scale(transfer_rows(results))
    assert scale is not None and scale[0] <= 0 and scale[1] >= 1
    old = results.transfers.drop(columns=["relative_low", "relative_high"])
    row = transfer_rows(replace(results, transfers=old))[0]
    assert np.isfinite(row["relative"]) and np.isnan(row["relative_low"])
    without = replace(results, transfers=old.drop(columns="relative"))
    assert relative_scale(transfer_rows(without)) is None


def test_methods_say_what_the_matrix_is(results: Results) -> None:
    text = further_text(results)
    assert "The transfer matrix holds the score of every layer" in text
    assert "its 95 % interval comes from blocks of the target's time" in text
    assert "models trained in each window" in text
    config = copy.deepcopy(dict(results.config))
    config["transfers"]["there"]["tuning"] = ["dim_sign"]
    bare = replace(
        results, config=config, transfers=results.transfers.drop(columns="relative_low"),
        transfer_matrix=results.transfer_matrix.iloc[:0],
        transfer_times=results.transfer_times.iloc[:0],
    )  # fmt: skip
    text = further_text(bare)
    assert "for dim_sign the prediction is split along the principal components" in text
    assert "transfer matrix" not in text and "interval" not in text
