"""What the page says of clocks and of ceilings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_world import CONFIG, Made

from braid.report.checks import ceiling_rows, slice_notes, timing_notes
from braid.report.figure import Absent, Figure
from braid.report.figures_quality import timing_curves
from braid.report.page import draw_all, render
from braid.report.results import Results, read_results
from braid.report.style import drawing_style


@pytest.fixture(scope="module")
def results(made: Made) -> Results:
    return read_results(made.root, CONFIG)


def scans(**peaks: int) -> pd.DataFrame:
    """Scores that peak at the given lag of each subject."""
    rows = [
        ("bold_film", subject.removeprefix("s"), "toy-clip", lag, 2.0 * lag,
         0.1 - 0.01 * abs(lag - peak), 200)
        for subject, peak in peaks.items()
        for lag in range(-3, 4)
    ]  # fmt: skip
    columns = ["analysis", "subject", "model", "lag", "seconds", "score", "n_targets"]
    return pd.DataFrame(rows, columns=columns)


def test_clocks_that_agree_are_told_of_in_one_sentence(results: Results) -> None:
    found = replace(results, timing=scans(s01=0, s02=0))
    assert timing_notes(found) == ["bold_film: the score is highest at lag 0 in 2 of 2 subjects."]


def test_a_peak_elsewhere_is_told_with_both_scores(results: Results) -> None:
    first, advice = timing_notes(replace(results, timing=scans(s01=0, s02=2)))
    assert first == (
        "bold_film: the score is highest at lag 0 in 1 of 2 subjects and at lag +2 in sub-02 "
        "(r = 0.100, 0.080 at lag 0)."
    )
    assert "cut off at the start" in advice


def test_the_figure_has_a_line_per_subject(results: Results, tmp_path: Path) -> None:
    with drawing_style():
        figure = timing_curves(replace(results, timing=scans(s01=0, s02=2)), tmp_path)
    assert isinstance(figure, Figure)
    assert (tmp_path / "study__timing.png").is_file()
    assert figure.alt.endswith("highest at lag 0 in 1 of 2 scans.")


def test_without_scans_a_sentence_stands_there(
    results: Results, made: Made, tmp_path: Path
) -> None:
    assert timing_notes(results) == []
    absent = timing_curves(results, tmp_path)
    assert isinstance(absent, Absent) and absent.reason in made.html


def quality(shift: float) -> pd.DataFrame:
    columns = ["dataset", "subject", "run", "measure", "value", "unit"]
    rows = [("cinema_bold", s, "task-film_run-1", "slice time shift", shift, "s") for s in "12"]
    return pd.DataFrame(rows, columns=columns)


def test_slices_far_from_the_middle_are_told_of(results: Results) -> None:
    tr = float(results.index["cinema_bold"]["repetition_time"].iloc[0])
    (told,) = slice_notes(replace(results, quality=quality(-0.5 * tr)))
    assert told.startswith(f"cinema_bold: slices were acquired up to {tr / 2:.2f} s before the")
    assert slice_notes(replace(results, quality=quality(0.2 * tr))) == []
    (unknown,) = slice_notes(results)
    assert unknown == "cinema_bold: its sidecars do not tell when slices were acquired."


def with_ceilings(results: Results) -> Results:
    own = results.sites["analysis"] == "bold_film"
    sites = results.sites.assign(
        ceiling=np.where(own, 0.25, np.nan), normalised=np.where(own, 0.6, np.nan)
    )
    return replace(results, sites=sites)


def test_ceilings_are_summed_up_over_significant_sites(results: Results) -> None:
    assert ceiling_rows(results) == []
    rows = ceiling_rows(with_ceilings(results))
    assert {row["analysis"] for row in rows} == {"bold_film"}
    row = next(row for row in rows if row["model"] == "toy-vilt")
    sites = results.sites.query("analysis == 'bold_film' and model == 'toy-vilt'")
    assert row["sites"] == row["n_normalised"] == int(sites["significant"].sum()) > 0
    assert (row["ceiling"], row["normalised"]) == (0.25, 0.6)


def test_the_page_shows_both(results: Results, tmp_path: Path) -> None:
    found = replace(with_ceilings(results), timing=scans(s01=0, s02=1))
    with drawing_style():
        drawn = {key: Absent("") for key in draw_all_names(found, tmp_path)}
        drawn["study", "timing"] = timing_curves(found, tmp_path)
    html = render(found, [], drawn)
    assert "Ceilings of the mean over repeats" in html
    assert "at lag +1 in sub-02" in html


def draw_all_names(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Names of all figures of a report."""
    return list(draw_all(results, [], folder))
