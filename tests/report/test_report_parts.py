"""Parts of the report: reductions, colours, methods text, summaries."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from report_world import BINS, CONFIG, Made, only

from braid.common import read_array
from braid.report.figure import FIXED, _contrast, _darken, _turned_rgba
from braid.report.figures_maps import best_models, headline_model
from braid.report.figures_quality import edge_shares, quality_canvas, quality_panels
from braid.report.figures_voxels import _cropped, _upright
from braid.report.fits import FitSummary, grids_of, summarise, summarise_fits
from braid.report.methods import cited, methods_text, with_links
from braid.report.references import REFERENCES
from braid.report.results import Results, flags, read_results
from braid.report.rows import fit_warnings
from braid.report.style import HUES, drawing_style, make_palette, tint
from braid.report.summary import (
    chosen_layers,
    key_numbers,
    least_hits,
    resolution,
    sees,
    site_needs,
)
from braid.report.words import (
    counted,
    listed,
    number,
    percent,
    plural,
    short_layers,
    spread,
    with_twins,
)


@pytest.fixture(scope="module")
def results(made: Made) -> Results:
    return read_results(made.root, CONFIG)


@pytest.fixture(scope="module")
def fits(results: Results) -> list[FitSummary]:
    return summarise_fits(results)


def test_importing_the_room_is_cheap() -> None:
    code = (
        "import sys, braid.report; "
        "print([m for m in ('matplotlib', 'nilearn', 'jinja2', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fits_are_reduced_site_by_window(made: Made, fits: list[FitSummary]) -> None:
    fit = read_array(made.root / "fits" / "ieeg_film" / "toy-vilt" / "sub-02.nc")
    mine = next(f for f in fits if (f.model, f.subject) == ("toy-vilt", "02"))
    assert mine.bins is not None
    np.testing.assert_allclose(mine.bins, BINS)
    chosen = fit["score"].sel(layer=mine.chosen)
    for place, site in enumerate(mine.sites):
        wanted = chosen.values[fit["site"].values == site]
        np.testing.assert_allclose(mine.curves[place], wanted, rtol=1e-6)
    np.testing.assert_allclose(
        mine.layer_scores, fit["score"].mean("target", skipna=True), rtol=1e-5
    )
    assert mine.n_tested == 100


def test_windows_in_another_order_are_sorted() -> None:
    fit = xr.Dataset(
        {"score": (("layer", "target"), [[1.0, 2.0, 3.0, 4.0]])},
        coords={
            "layer": ["only"],
            "target": ["A@2", "A@1", "B@2", "B@1"],
            "site": ("target", ["A", "A", "B", "B"]),
            "bin": ("target", [0.2, 0.1, 0.2, 0.1]),
        },
    )
    found = summarise(fit, "film", "toy", "01")
    np.testing.assert_array_equal(found.curves, [[2.0, 1.0], [4.0, 3.0]])
    assert found.chosen == "only"


def test_grids_place_every_voxel(results: Results) -> None:
    grid = grids_of(results, "bold_film")["01"]
    site, place = next(iter(grid.voxels.items()))
    assert site == "-".join(map(str, place))
    row = results.sites_of("bold_film").query("subject == '01' and site == @site").iloc[0]
    np.testing.assert_allclose((grid.affine @ [*place, 1])[:3], row[["x", "y", "z"]].astype(float))
    assert grids_of(results, "ieeg_film") == {}


def test_slices_are_upright_whatever_the_axes_of_the_image() -> None:
    # axes: up, to the left, to the back
    affine = np.array([[0, -3.0, 0, 30], [0, 0, -2.0, 20], [4.0, 0, 0, -10], [0, 0, 0, 1]])
    volume = np.zeros((3, 4, 5, 1))
    volume[2, 1, 3] = 7
    upright, turned = _upright(volume, affine)
    place = np.argwhere(upright[..., 0] == 7)[0]
    assert upright.shape == (4, 5, 3, 1)
    np.testing.assert_allclose(turned @ [*place, 1], affine @ [2, 1, 3, 1])
    assert (np.diag(turned) > 0).all()


def test_cropped_slices_keep_their_places() -> None:
    affine = np.array([[2.0, 0, 0, -10], [0, 3.0, 0, -20], [0, 0, 4.0, -30], [0, 0, 0, 1]])
    volume = np.zeros((6, 7, 5, 5))
    volume[2:5, 3:6, 1:4, 3] = 1
    volume[4, 5, 2, 0] = 7
    cropped, shifted = _cropped(volume, affine)
    assert cropped.shape == (3, 3, 5, 5)
    place = np.argwhere(cropped[..., 0] == 7)[0]
    np.testing.assert_allclose(shifted @ [*place, 1], affine @ [4, 5, 2, 1])


def test_best_model_per_site(results: Results) -> None:
    best = best_models(results, "ieeg_film")
    sites = results.sites_of("ieeg_film")
    assert not best.duplicated(["subject", "site"]).any()
    for _, row in best.iterrows():
        here = sites[(sites["subject"] == row["subject"]) & (sites["site"] == row["site"])]
        here = here[here["significant"] & ~here["model"].str.endswith("_untrained")]
        assert row["score"] == here["score"].max()
    rows = results.comparisons.query("analysis == 'ieeg_film' and comparison == 'combination'")
    hits = set(map(tuple, rows.loc[rows["significant"], ["subject", "site"]].to_numpy()))
    marked = set(map(tuple, best.loc[best["combined"], ["subject", "site"]].to_numpy()))
    assert marked == hits & set(map(tuple, best[["subject", "site"]].to_numpy())) != set()


def test_the_model_of_the_maps(results: Results) -> None:
    assert headline_model(results, "ieeg_film") == "toy-vilt"
    assert headline_model(results, "parcels") == "given"


def test_twins_follow_their_models() -> None:
    models = ["b", "a", "a_untrained", "b_untrained", "sum"]
    assert with_twins(models) == ["b", "b_untrained", "a", "a_untrained", "sum"]
    assert with_twins(["c_untrained"]) == ["c_untrained"]


def test_one_colour_per_model_and_a_tint_for_its_twin() -> None:
    palette = make_palette(["vit", "vit_untrained", "bert"])
    assert palette.colour("vit") != palette.colour("bert")
    assert palette.colour("vit_untrained") == tint(palette.colour("vit"), 0.55)
    assert len({make_palette(map(str, range(12))).colour(str(i)) for i in range(12)}) == 12


def test_dark_versions_turn_greys_and_keep_colours() -> None:
    white, black = (1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.5)
    assert max(_turned_rgba(white)[:3]) < 0.15
    assert min(_turned_rgba(black)[:3]) > 0.9
    assert _turned_rgba(black)[3] == 0.5
    blue = (0.0, 0.447, 0.698, 1.0)
    assert _turned_rgba(blue) == blue


def test_dark_versions_lift_colours_that_would_be_lost() -> None:
    from matplotlib.colors import to_rgba

    for hue in HUES:
        colour = to_rgba(hue)
        lifted = _turned_rgba(colour)
        assert _contrast(lifted[:3]) > 2.39
        assert (lifted == colour) == (_contrast(colour[:3]) > 2.4)
    indigo = _turned_rgba(to_rgba("#332288"))
    assert indigo[2] > max(indigo[:2])  # still blue


def test_dark_versions_leave_what_is_fixed() -> None:
    import matplotlib.pyplot as plt

    canvas, axes = plt.subplots()
    fixed, free = (axes.text(0, 0, "x", color="#101010", label=label) for label in (FIXED, ""))
    _darken(canvas)
    plt.close(canvas)
    assert fixed.get_color() == "#101010"
    assert free.get_color() != "#101010"


def test_dark_versions_fill_nothing_that_was_empty() -> None:
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle

    canvas, axes = plt.subplots()
    outline = axes.add_patch(Circle((0, 0), 1, facecolor="none", edgecolor="black", alpha=0.7))
    disc = axes.add_patch(Circle((0, 0), 1, facecolor="black", alpha=0.7))
    _darken(canvas)
    plt.close(canvas)
    assert outline.get_facecolor()[3] == 0
    assert min(outline.get_edgecolor()[:3]) > 0.9
    assert disc.get_facecolor()[3] == 0.7


def test_layers_are_shortened_only_while_they_differ() -> None:
    assert short_layers(["encoder.layer.0", "encoder.layer.11"]) == ["0", "11"]
    both = ["visual.transformer.resblocks.0", "transformer.resblocks.0"]
    assert short_layers(both) == ["visual.0", "0"]
    joined = [f"vit:layers.{i}+bert:encoder.layer.{i}" for i in range(2)]
    assert short_layers(joined) == ["0+0", "1+1"]
    clash = short_layers(["encoder.layer.0", "model.layers.0"])
    assert len(set(clash)) == 2


def test_before_and_after_share_a_panel() -> None:
    table = pd.DataFrame(
        {
            "subject": "01",
            "run": "r",
            "measure": ["line noise at 50 Hz before", "line noise at 50 Hz after", "tSNR"],
            "value": [30.0, 1.0, 200.0],
            "unit": "ratio",
        }
    )
    panels = quality_panels(table)
    # what never differs has no panel
    assert list(panels) == ["line noise at 50 Hz"]
    assert list(panels["line noise at 50 Hz"]["when"]) == ["before", "after"]
    assert quality_panels(table.assign(unit="volumes")) == {}


def test_edge_shares_weigh_fits_by_their_size(fits: list[FitSummary]) -> None:
    low, high = edge_shares(fits)
    assert (low, high) == pytest.approx((0.01, 0.12))
    assert all(math.isnan(share) for share in edge_shares([]))


def test_flags_read_what_tables_hold() -> None:
    column = pd.Series(["True", "false", "1", "0", None, "pass", True, 0.0])
    assert flags(column).tolist() == [True, False, True, False, False, True, True, False]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), (math.nan, "n/a"), (0.12345, "0.123"), (1234, "1,234"), (3e-6, "3e-06"),
     (0.0, "0.000"), ("n/a", "n/a"), (np.int64(7), "7"), (float("inf"), "n/a"), (10**18, "1e+18")],
)  # fmt: skip
def test_numbers_in_tables(value: Any, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.001, "< 1 %"), (0.006, "1 %"), (0.5, "50 %"), (1.0, "100 %"),
     (math.nan, "n/a")],
)  # fmt: skip
def test_a_share_above_nothing_is_not_written_as_nothing(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [([], "n/a"), ([math.nan], "n/a"), ([4032, 4032], "4,032"),
     ([2.5, math.nan, 0.5], "0.5 to 2.5"), ([314882, 313386], "313,386 to 314,882")],
)  # fmt: skip
def test_ranges(values: list[float], text: str) -> None:
    assert spread(values) == text


def test_counts_and_lists_read_well() -> None:
    assert counted(17, 120, "electrode") == "17 of 120 electrodes (14 %)"
    assert counted(0, 0, "electrode") == "0 of 0 electrodes (n/a)"
    assert plural(1, "site") == "1 site"
    assert plural(1200, "site") == "1,200 sites"
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a and b", "a, b and c"]  # fmt: skip


def test_key_numbers_hold_no_nan(results: Results, fits: list[FitSummary]) -> None:
    def leaves(value: Any) -> list[Any]:
        if isinstance(value, dict):
            value = list(value.values())
        if not isinstance(value, list):
            return [value]
        return [leaf for part in value for leaf in leaves(part)]

    numbers = key_numbers(results, fits)
    assert all(not isinstance(leaf, float) or math.isfinite(leaf) for leaf in leaves(numbers))
    assert numbers["versions"]["numpy"] == "2.4.6"
    assert numbers["versions"]["scipy"] == "1.17.1"


def test_what_the_sites_need_adds_up(results: Results, made: Made) -> None:
    needs = site_needs(results, "ieeg_film")
    sites = results.sites_of("ieeg_film")
    found = {
        model: set(map(tuple, part.loc[part["significant"], ["subject", "site"]].to_numpy()))
        for model, part in sites.groupby("model")
    }
    rows = results.comparisons.query("analysis == 'ieeg_film' and comparison == 'combination'")
    together = set(map(tuple, rows.loc[rows["significant"], ["subject", "site"]].to_numpy()))
    sees_it, reads_it = found["toy-vit"] - together, found["toy-bert"] - together
    joint = (found["toy-vilt"] | found["concat"]) - together - sees_it - reads_it
    assert needs.tested == 72
    assert needs.together == len(together) > 0
    assert needs.both == len(sees_it & reads_it) > 0
    assert needs.vision == len(sees_it - reads_it)
    assert needs.language == len(reads_it - sees_it)
    assert needs.joint == len(joint)
    parts = (
        needs.together,
        needs.both,
        needs.vision,
        needs.language,
        needs.joint,
        needs.unpredicted,
    )
    assert sum(parts) == needs.tested


def test_without_a_combination_nothing_is_said_of_both_together(results: Results) -> None:
    config = only(CONFIG, "ieeg_film")
    del config["analyses"]["ieeg_film"]["compare"]["combination"]
    needs = site_needs(Results(**{**vars(results), "config": config}), "ieeg_film")
    assert needs.together is None
    assert (
        needs.both + needs.vision + needs.language + needs.joint + needs.unpredicted == needs.tested
    )


def test_what_a_model_sees(results: Results) -> None:
    config = copy.deepcopy(CONFIG)
    config["analyses"]["ieeg_film"]["combinations"]["eyes"] = ["toy-vit", "toy-vit"]
    results = Results(**{**vars(results), "config": config})
    seen = {m: sees(results, "ieeg_film", m) for m in ("toy-vit", "toy-bert", "toy-vilt")}
    assert seen == {"toy-vit": "vision", "toy-bert": "language", "toy-vilt": "both"}
    assert sees(results, "ieeg_film", "concat") == "both"
    assert sees(results, "ieeg_film", "eyes") == "vision"
    assert sees(results, "parcels", "given") == "n/a"


@pytest.mark.parametrize(("draws", "sites"), [(19, 1), (500, 41), (500, 912), (99, 40), (2000, 25)])
def test_fewest_sites_that_can_be_significant(draws: int, sites: int) -> None:
    from statsmodels.stats.multitest import multipletests

    floor = 1 / (draws + 1)
    hits = [
        multipletests(np.where(np.arange(sites) < k, floor, 1.0), 0.05, "fdr_bh")[0].any()
        for k in range(1, sites + 1)
    ]
    assert least_hits(floor, [sites, 1], 0.05) == hits.index(True) + 1


def test_resolution_is_that_of_the_largest_subject() -> None:
    table = pd.DataFrame(
        {"subject": ["1"] * 60 + ["2"] * 8, "site": [*map(str, range(30))] * 2 + [*"abcdefgh"],
         "n_draws": 99}
    )  # fmt: skip
    assert resolution(table, 0.05) == {"draws": 99, "p": 0.01, "sites": 30, "least": 6}
    assert resolution(table.drop(columns="n_draws"), 0.05) is None
    assert resolution(table.iloc[:0], 0.05) is None


def test_chosen_layers_are_counted(fits: list[FitSummary]) -> None:
    mine = [fit for fit in fits if (fit.analysis, fit.model) == ("ieeg_film", "toy-vilt")]
    assert chosen_layers(mine) == "3"
    moved = replace(mine[0], chosen="encoder.layer.1")
    assert chosen_layers([moved, mine[1], mine[1]]) == "1 (1), 3 (2)"
    assert chosen_layers([]) == "n/a"


def test_warnings_that_differ_in_numbers_alone_are_one_row(fits: list[FitSummary]) -> None:
    first, second = fits[:2]
    said = [
        replace(first, warnings=("12 % of the penalties", "something else")),
        replace(second, warnings=("7.5 % of the penalties",)),
    ]
    rows = fit_warnings(said)
    assert [(row["warning"], row["numbers"], row["fits"]) for row in rows] == [
        ("… % of the penalties", "7.5 to 12", 2),
        ("something else", "n/a", 1),
    ]


def test_pictures_are_named_only_where_a_network_sees_them(
    results: Results, fits: list[FitSummary]
) -> None:
    config = only(CONFIG, "ieeg_film")
    entry = config["analyses"]["ieeg_film"]
    entry |= {"models": ["toy-bert"], "untrained": [], "combinations": {}, "compare": {}}
    story = Results(**{**vars(results), "config": config})
    for named, shown in ((results, True), (story, False)):
        text = {p.heading: p.text for p in methods_text(named, fits)}["Analysis ieeg_film"]
        assert ("with the frame shown at its onset" in text) == shown


def test_methods_give_the_parameters(results: Results, fits: list[FitSummary]) -> None:
    text = {p.heading: p.text for p in methods_text(results, fits)}
    ieeg = text["Recordings and preprocessing: cinema_ieeg"]
    assert "line noise was removed at 50 and 100 Hz" in ieeg
    assert "band-pass filtered from 0.1 to 40 Hz" in ieeg
    assert "resampled to 128 Hz" in ieeg
    analysis = text["Analysis ieeg_film"]
    assert "windows of 0.2 s in steps of 0.2 s from -0.5 to 1.5 s" in analysis
    assert "5 contiguous blocks, with 4 s on both sides" in analysis
    assert "9 values between 10⁻² and 10⁶ (relative to the mean eigenvalue" in analysis
    assert "200 draws of circular shifts" in analysis
    assert "toy-vilt against concat (combination)" in analysis
    assert "solved through the eigenvectors of the features' Gram matrix" in analysis
    bold = text["Analysis bold_film"]
    assert "delays of 1, 2, 3 and 4 volumes" in bold
    assert "leave one run out" in bold
    parcels = text["Analysis parcels"]
    assert "fit on runs with task e1, test on runs with task e2" in parcels
    assert "(absolute), chosen by mean squared error" in parcels
    assert "compared" not in parcels
    assert "seed 7" in text["Software and reproducibility"]


def test_methods_tell_how_inner_folds_were_drawn(results: Results, fits: list[FitSummary]) -> None:
    config = only(CONFIG, "parcels")
    entry = config["analyses"]["parcels"]
    entry["ridge"] |= {"alpha_scale": "squared", "select": "signed_root_r2"}
    for held, said in ((None, "a fifth of the rows, in chunks"), (125, "125 chunks")):
        entry["folds"]["inner"] = {"length": 40, "held": held, "draws": 50, "seed": 1}
        named = Results(**{**vars(results), "config": config})
        text = {p.heading: p.text for p in methods_text(named, fits)}["Analysis parcels"]
        assert f"50 random draws that each hold out {said} of 40 samples" in text
        assert "whose squares are the penalties" in text
        assert "chosen by the signed root of R²" in text


def test_only_works_that_are_used_are_cited(results: Results, fits: list[FitSummary]) -> None:
    keys = {key for key, _ in cited(methods_text(results, fits))}
    assert {"ridge", "fdr", "maxt", "pvalues", "bids", "mne", "nilearn", "clip", "vilt"} <= keys
    assert not {"fmriprep", "sentence-transformers"} & keys
    config = only(CONFIG, "parcels")
    parcels = Results(**{**vars(results), "config": config})
    keys = {key for key, _ in cited(methods_text(parcels, []))}
    assert not {"mne", "nilearn", "torch", "transformers", "clip"} & keys


def test_derivatives_are_credited(results: Results) -> None:
    config = copy.deepcopy(CONFIG)
    bold = config["datasets"]["cinema_bold"]
    bold["derivative"] = {"root": "derivatives/fmriprep"}
    bold["preprocess"]["confounds"] = {"strategy": ["motion", "wm_csf"]}
    paragraphs = methods_text(Results(**{**vars(results), "config": config}), [])
    text = next(p.text for p in paragraphs if p.heading.endswith("cinema_bold"))
    assert "fMRIPrep confounds (motion and wm_csf)" in text
    assert "fmriprep" in {key for key, _ in cited(paragraphs)}


def test_citations_become_links_and_the_rest_is_escaped() -> None:
    html = str(with_links("a < b [@ridge; fdr]."))
    assert html == (
        'a &lt; b (<a href="#ref-ridge">Hoerl &amp; Kennard 1970</a>; '
        '<a href="#ref-fdr">Benjamini &amp; Hochberg 1995</a>).'
    )


def test_every_reference_has_its_parts() -> None:
    for reference in REFERENCES.values():
        year = reference.short.split()[-1]
        assert f"({year})" in reference.full
        assert not reference.doi or reference.doi.startswith("10.")


def test_no_dot_of_a_quality_panel_is_cut_and_no_title_leaves_its_panel() -> None:
    import matplotlib.pyplot as plt

    measures = ["volumes seen", "largest framewise displacement", "temporal signal-to-noise"]
    table = pd.DataFrame(
        [
            {"dataset": "d", "subject": f"{s:03d}", "run": f"r{run}", "measure": name,
             "value": 1465.0 + 21 * run, "unit": "mm"}
            for name in measures
            for s in range(6)
            for run in (0, 1)
        ]
    )  # fmt: skip
    panels = quality_panels(table)
    with drawing_style():
        canvas = quality_canvas(panels)
        canvas.draw_without_rendering()
        for axes, part in zip(canvas.axes, panels.values(), strict=True):
            low, high = axes.get_ylim()
            assert low == 0
            assert high > 1.05 * part["value"].max()
        boxes = [axes.get_tightbbox() for axes in canvas.axes]
        plt.close(canvas)
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
