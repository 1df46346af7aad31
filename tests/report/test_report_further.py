"""Transfers, components and probes on the page: shown, left out, or named as absent."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_world import CONFIG, Made, make_further, make_results, only

from braid.common import InputError, read_table
from braid.report import make_report
from braid.report.figure import Absent, Figure
from braid.report.figures_further import transfer_scatter
from braid.report.further import further_view, missing_transfers, transfer_rows, unit_text
from braid.report.methods import methods_text
from braid.report.results import Results, read_results
from braid.report.style import drawing_style, make_palette

PALETTE = make_palette(["toy-vilt"])
NAME = "film_to_voxels"


def section_of(html: str) -> str:
    """Text of the section, tags taken out."""
    found = re.search(r'<section id="further">(.*?)</section>', html, re.DOTALL)
    assert found
    return re.sub(r"<[^>]+>", " ", re.sub(r'"data:[^"]*"', "", found.group(1)))


def with_further(**entries: Any) -> dict[str, Any]:
    """Config with these further analyses and no others."""
    config = copy.deepcopy(CONFIG)
    return config | {"transfers": {}, "components": {}, "probes": {}} | entries


@pytest.fixture(scope="module")
def results(made: Made) -> Results:
    return read_results(made.root, CONFIG)


@pytest.fixture(scope="module")
def section(made: Made) -> str:
    return re.sub(r"\s+", " ", section_of(made.html))


def test_transfers_are_counted_as_in_their_files(
    made: Made, results: Results, section: str
) -> None:
    rows = {row["model"]: row for row in transfer_rows(results)}
    assert list(rows) == ["toy-vilt", "toy-vilt_untrained"]
    for model, row in rows.items():
        # the matrix lies beside them
        paths = sorted((made.root / "transfers" / NAME / model).glob("sub-??.tsv"))
        tables = [pd.read_csv(path, sep="\t", na_values="n/a") for path in paths]
        assert row["subjects"] == len(tables) == 2
        assert row["sites"] == sum(map(len, tables))
        assert row["significant"] == sum(int(table["significant"].sum()) for table in tables)
        scored = [table.dropna(subset=["score", "score_within"]) for table in tables]
        assert [len(table) for table in scored] == [len(table) - 1 for table in tables]
        for key in ("score", "score_within"):
            assert row[key] == pytest.approx(np.mean([table[key].mean() for table in scored]))
        counts = f"{row['sites']:,} {row['significant']:,} ({100 * row['share']:.0f} %)"
        assert (
            f"{model} none (raw) 2 {counts} {row['score']:.3f} {row['score_within']:.3f}"
            in re.sub(r"\s+", " ", section)
        )
    assert rows["toy-vilt"]["significant"] > rows["toy-vilt_untrained"]["significant"] == 0


def test_a_scatter_shows_every_scored_site(results: Results, tmp_path: Path) -> None:
    with drawing_style():
        drawn = transfer_scatter(results, NAME, PALETTE, tmp_path)
    assert isinstance(drawn, Figure)
    row = transfer_rows(results)[0]
    scored = row["sites"] - 2  # one site of each subject was not tested
    assert f"toy-vilt: {row['significant']:,} of {scored:,} voxels significant." in drawn.caption
    text = (tmp_path / f"{NAME}__transfer.svg").read_text()
    for label in (
        f"{row['significant']:,} of {scored:,}",
        "r within bold_film",
        "r from ieeg_film",
    ):
        assert label in text


def test_components_and_their_units(section: str) -> None:
    assert "weights of toy-clip in bold_film (layer encoder.layer.2; 1,234 sites of 2" in section
    # number, share, null, p, left out
    assert "1 41.2 20.0 ± 3.1 0.0196 31.0" in section
    assert "4 10.3 5.0 ± 3.1 0.0784 7.8" in section
    assert "3 a top &lt;word&gt; of 3 (31.0 s) a top &lt;word&gt; of 3 (32.0 s) 33.0 s" in section
    assert "a bottom &lt;word&gt; of 1 (11.0 s)" in section
    assert "of 4 (" not in section


def test_no_component_where_too_few_sites_are_significant(section: str, results: Results) -> None:
    assert results.components["too_few"].empty
    assert "toy-bert predicts fewer than two significant sites of ieeg_film" in section
    assert "Units at the ends of the components too_few" not in section


def test_probes_of_both_weights(section: str) -> None:
    assert "film_pairing toy-vilt trained 150 2.345 1.234 0.81 73 % 0.0164 60" in section
    assert "film_pairing toy-vilt untrained 150 0.500 0.500 -0.02 50 % 0.6000 60" in section


def test_key_numbers_hold_them(made: Made) -> None:
    found = re.search(r'id="key-numbers">(.*?)</script>', made.html, re.DOTALL)
    assert found
    numbers = json.loads(found.group(1))
    assert [row["transfer"] for row in numbers["transfers"]] == [NAME, NAME]
    assert [row["component"] for row in numbers["components"]["film_dimensions"]] == [1, 2, 3, 4]
    assert numbers["components"]["too_few"] == []
    assert [row["effect"] for row in numbers["probes"]] == [0.81, -0.02]


@pytest.mark.parametrize("empty", [True, False])
def test_a_study_without_any_has_no_section(tmp_path: Path, empty: bool) -> None:
    config = only(CONFIG, "parcels") | ({"transfers": {}, "components": {}} if empty else {})
    make_results(tmp_path / "study", config)
    make_report(tmp_path / "study", config, tmp_path / "r.html", tmp_path / "figures")
    html = (tmp_path / "r.html").read_text()
    assert "further" not in html.lower()
    assert '<section id="quality">' in html


def test_only_what_the_config_names_is_read(made: Made) -> None:
    view = further_view(read_results(made.root, with_further(probes=CONFIG["probes"])))
    assert view is not None
    assert len(view["probes"]["rows"]) == 2
    assert view["transfers"] | {"electrodes": None} == {
        "names": [], "rows": [], "missing": [], "electrodes": None, "scale": None, "groups": [],
        "timed": []}  # fmt: skip
    assert view["components"] == []


def test_absent_files_are_named(tmp_path: Path) -> None:
    config = only(CONFIG, "parcels")
    config["transfers"] = {"again": {"source": "parcels", "target": "parcels", "models": ["given"]}}
    config["components"] = {"dims": {"analysis": "parcels", "model": "given", "n": 2, "draws": 9}}
    config["probes"] = {"pairs": CONFIG["probes"]["film_pairing"] | {"analysis": "parcels"}}
    root = tmp_path / "study"
    make_results(root, config)
    for folder in ("transfers", "components", "probes"):
        shutil.rmtree(root / folder)
    make_report(root, config, tmp_path / "r.html", tmp_path / "figures")
    section = section_of((tmp_path / "r.html").read_text())
    for sentence in (
        "There is no result of the transfer again with given.",
        "No site of the transfer again has a score, so there is no figure of it.",
        "There is no result of the components dims.",
        "There is no result of the probe pairs.",
    ):
        assert sentence in section
    assert not re.search(r"\b(nan|inf|None)\b", section, re.IGNORECASE)
    make_further(root, config)
    (root / "transfers" / "again" / "given" / "sub-002.tsv").unlink()
    (root / "components" / "dims" / "components_units.tsv").unlink()
    make_report(root, config, tmp_path / "r.html", tmp_path / "figures")
    section = section_of((tmp_path / "r.html").read_text())
    assert "The transfer again with given has no result of subject 002." in section
    assert "There is no table of the units at the ends of the components dims." in section
    assert (tmp_path / "figures" / "again__transfer.png").exists()


def test_scores_that_are_all_missing(results: Results, tmp_path: Path) -> None:
    bare = replace(results, transfers=results.transfers.assign(score=np.nan))
    drawn = transfer_scatter(bare, NAME, PALETTE, tmp_path)
    assert isinstance(drawn, Absent)
    assert f"No site of the transfer {NAME} has a score" in drawn.reason
    assert all(math.isnan(row["score"]) for row in transfer_rows(bare))
    assert missing_transfers(bare) == []


def test_a_column_is_missing(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.root / "tables", tmp_path / "tables")
    (tmp_path / "probes").mkdir()
    table = read_table(made.root / "probes" / "film_pairing.tsv").drop(columns="effect")
    table.to_csv(tmp_path / "probes" / "film_pairing.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"film_pairing\.tsv: column 'effect' is missing"):
        read_results(tmp_path, CONFIG)


@pytest.mark.parametrize(
    ("unit", "several", "text"),
    [
        ({"text": "a dog", "time": 1.25, "stimulus": "s/film.mp4"}, False, "a dog (1.2 s)"),
        ({"text": "a dog", "time": 1.25, "stimulus": "s/film.mp4"}, True, "a dog (film, 1.2 s)"),
        ({"text": None, "time": 3.0, "stimulus": "s/film.mp4"}, True, "film, 3.0 s"),
        ({"text": "a dog", "time": np.nan, "stimulus": None}, True, "a dog"),
        ({"text": np.nan, "time": np.nan, "stimulus": None}, False, "n/a"),
        ({"text": "x" * 90 + "end", "time": 2.0, "stimulus": None}, False,
         "…" + "x" * 77 + "end (2.0 s)"),
    ],
)  # fmt: skip
def test_units_are_written_short(unit: dict[str, Any], several: bool, text: str) -> None:
    assert unit_text(unit, several) == text


def test_methods_give_the_parameters(results: Results) -> None:
    text = {p.heading: p.text for p in methods_text(results, [])}["Further analyses"]
    assert (
        "Transfer film_to_voxels: toy-vilt and toy-vilt_untrained from ieeg_film to bold_film, "
        "with 200 draws of circular shifts of the responses within runs by at least 20 s" in text
    )
    assert "Components film_dimensions: 4 components of toy-clip in bold_film, 50 draws" in text
    assert (
        "Probe film_pairing: toy-vilt on up to 150 units of ieeg_film, 60 shifts of at least 25 s"
        in text
    )
    bare = replace(results, config=with_further())
    assert "Further analyses" not in {p.heading for p in methods_text(bare, [])}
