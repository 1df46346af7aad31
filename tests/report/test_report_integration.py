"""Integration sites on the page: counts, calls of profiles, figures, methods, what is absent."""

from __future__ import annotations

import colorsys
import copy
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from integration_world import (
    ALIGNMENTS,
    NAME,
    config_with_integration,
    write_integration,
    write_space,
)
from matplotlib.colors import to_rgb
from report_browser import check_page
from report_world import make_results, only
from statsmodels.stats.proportion import proportion_confint

from braid.common import InputError, read_table, write_table
from braid.inference.integration_study import sites_columns
from braid.report import make_report
from braid.report.figure import Absent, Figure, _turned_rgba
from braid.report.figures_integration import (
    advantage,
    model_violins,
    objective_ranks,
    sites_by_region,
    twin_scores,
)
from braid.report.figures_integration_map import groups_of, sites_map
from braid.report.integration import (
    Integration,
    _test_sentences,
    count_cell,
    group_cell,
    headline_of,
    integrations_of,
    label_rows,
    place_note,
    short_answer,
    space_sentence,
)
from braid.report.integration_tables import (
    agreements,
    differences_of,
    electrode_rows,
    finest,
    integration_view,
    other_comparisons,
)
from braid.report.methods import methods_text
from braid.report.page import palette_of
from braid.report.results import Results, read_results
from braid.report.style import HUES, drawing_style, tint

CONFIG = config_with_integration()
TESTS = ["multimodal", "matched", "nonlinear"]


@dataclass(frozen=True)
class World:
    """A study of nothing but an integration, whose analyses are not fitted by themselves."""

    root: Path
    config: dict[str, Any]
    html: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("integration") / "study"
    make_results(root, only(CONFIG, "ieeg_film") | {"integrations": {}})
    for path in (root / "tables").glob("*.tsv"):
        # as the rules write them where no analysis is fitted
        read_table(path).iloc[:0].to_csv(path, sep="\t", index=False)
    config = only(CONFIG, *ALIGNMENTS.values())
    write_integration(root, config)
    make_report(root, config, root / "report.html", root / "figures")
    return World(root, config, (root / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def results(world: World) -> Results:
    return read_results(world.root, world.config)


@pytest.fixture(scope="module")
def one(results: Results) -> Integration:
    found = headline_of(results, NAME)
    assert found is not None
    return found


@pytest.fixture
def copied(world: World, tmp_path: Path) -> Path:
    """Copy of the results that a test may change."""
    shutil.copytree(world.root, tmp_path / "study")
    return tmp_path / "study"


def text_of(html: str, section: str) -> str:
    """Text of a section, tags taken out."""
    found = re.search(rf'<section id="{section}">(.*?)</section>', html, re.DOTALL)
    assert found
    plain = re.sub(r"<[^>]+>", " ", re.sub(r'"data:[^"]*"', "", found.group(1)))
    return re.sub(r"\s+", " ", plain)


def with_sites(one: Integration, **changes: Any) -> Integration:
    """The same integration with other values in its table of electrodes."""
    return replace(one, tables=one.tables | {"sites": one.tables["sites"].assign(**changes)})


def without(one: Integration, *names: str) -> Integration:
    """The same integration without some of its tables."""
    return replace(one, tables={k: v for k, v in one.tables.items() if k not in names})


def short_answer_of(one: Integration) -> str:
    """Say what the page says of the first test of an integration."""
    return _test_sentences(one, one.tests[0], in_full=True)


def drawn(job: Callable[..., Figure | Absent], *args: Any) -> Figure:
    with drawing_style():
        found = job(*args)
    assert isinstance(found, Figure)
    return found


# counts -------------------------------------------------------------------------------------------


def test_weak_and_strict_stand_side_by_side_with_wilson_intervals(
    world: World, results: Results
) -> None:
    section, answer = text_of(world.html, "integration"), text_of(world.html, "answer")
    for one in integrations_of(results, NAME):
        sites = one.tables["sites"]
        for test in TESTS:
            said = []
            for scope in ("weak", "strict"):
                passes = int(sites[f"{test}_{scope}"].sum())
                low, high = proportion_confint(passes, len(sites), method="wilson")
                share = f"{100 * passes / len(sites):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
                assert f"{passes} of {len(sites)} {share} default: +" in section
                said.append(f"{scope} {passes} ({share})")
            if one.profile == "recommended":
                sentence = f"of {len(sites)} electrodes, {' and '.join(said)} pass."
                assert sentence in section and sentence in answer
    # the two differ here, so that nothing above holds by accident
    assert len({int(sites[f"multimodal_{scope}"].sum()) for scope in ("weak", "strict")}) == 2


def test_wins_by_default_are_counted_apart(results: Results) -> None:
    paper = integrations_of(results, NAME)[1]
    sites = paper.tables["sites"]
    for alignment in ALIGNMENTS:
        cell = count_cell(paper, "matched", alignment)
        apart = (sites[f"matched_{alignment}_status"] == "default_a").sum()
        assert cell["by_default"] == apart > 0
        assert cell["on_default"] == 0  # untested wins are in no count
    text = " ".join(short_answer(results, NAME))
    weak, strict = (count_cell(paper, "matched", scope) for scope in ("weak", "strict"))
    assert (
        f"matched weak {weak['passes']}, strict {strict['passes']} "
        f"(further by default {weak['by_default']}, {strict['by_default']})" in text
    )


def test_passes_that_rest_on_one_side_alone_are_named(one: Integration) -> None:
    count = len(one.tables["sites"])
    passes = np.zeros(count, bool)
    passes[:3] = True
    status = np.array(["tested", "default_a", "tested"] + ["neither"] * (count - 3))
    other = np.array(["default_a", "default_a", "tested"] + ["neither"] * (count - 3))
    made = with_sites(
        one,
        multimodal_language=passes,
        multimodal_vision=passes,
        multimodal_weak=passes,
        multimodal_strict=passes,
        multimodal_language_status=status,
        multimodal_vision_status=other,
    )
    found = {
        scope: count_cell(made, "multimodal", scope)["on_default"]
        for scope in ("language", "vision", "weak", "strict")
    }
    assert found == {"language": 1, "vision": 2, "weak": 1, "strict": 2}


def test_group_intervals_are_those_of_the_table(world: World, one: Integration) -> None:
    section = text_of(world.html, "integration")
    for _, row in one.tables["group"].iterrows():
        cell = group_cell(one, row["test"], row["scope"])
        assert cell is not None and cell["mean"] in section and cell["mixed"] in section
        assert cell["mean"].startswith(f"{100 * row['share']:.1f} %")
        if row["low"] < row["high"]:
            assert cell["mean"].endswith(f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]")
        if np.isfinite(row["mixed_low"]):
            assert f"[{100 * row['mixed_low']:.1f}, {100 * row['mixed_high']:.1f}]" in cell["mixed"]


def test_no_interval_where_draws_have_no_spread(one: Integration) -> None:
    group = one.tables["group"].assign(share=0.0, low=0.0, high=0.0, mixed_share=np.nan)
    cell = group_cell(replace(one, tables=one.tables | {"group": group}), "matched", "weak")
    assert cell is not None
    assert (cell["mean"], cell["mixed"]) == ("0.0 %", "n/a")


def test_what_low_level_features_explain_is_counted(world: World, one: Integration) -> None:
    sites = one.tables["sites"]
    for scope in ("weak", "strict"):
        both = sites[f"multimodal_{scope}"] & sites[f"over_low_level_{scope}"]
        checks = count_cell(one, "multimodal", scope)["checks"]
        assert checks == {"over low-level": both.sum()}  # the other check was not asked
    assert both.sum() > 0
    section = text_of(world.html, "integration")
    assert f"over low-level: {both.sum()}" in section
    assert "low-level features beside" not in section
    assert not re.search(r"beyond low-level: \d", section, re.IGNORECASE)
    bare = one.tables["counts"].drop(columns=["n_over_low_level", "n_beyond_low_level"])
    older = replace(one, tables=one.tables | {"counts": bare})
    assert count_cell(older, "multimodal", "weak")["checks"] == {}


def test_counts_under_other_labels_stand_beside_the_true_ones(
    world: World, one: Integration
) -> None:
    table = one.tables["labels"].set_index("scope")
    rows = label_rows(one)
    assert list(rows) == ["language", "vision", "weak", "strict"]
    section = text_of(world.html, "integration")
    for scope, row in rows.items():
        assert row["passes"] == count_cell(one, "multimodal", scope)["passes"]
        assert row["p"] == table.loc[scope, "p"] and row["labellings"] == 5
        assert f"{row['passes']} {row['mean']:.1f} {row['high']:.1f} 5 {row['p']:.4f}" in section
    mean = table["null_mean"]
    assert f"pass on average: weak {mean['weak']:.1f} (p = " in short_answer_of(one)
    none = replace(one, tables=one.tables | {"labels": table.reset_index().assign(n_labellings=0)})
    assert label_rows(none) == label_rows(without(one, "labels")) == {}


# profiles -----------------------------------------------------------------------------------------


def test_calls_of_profiles_are_compared_at_each_electrode(results: Results) -> None:
    a, b = integrations_of(results, NAME)
    count = len(a.tables["sites"])
    first, second = np.zeros(count, bool), np.zeros(count, bool)
    first[[0, 1, 2]] = True
    second[[2, 3]] = True
    a = with_sites(a, matched_strict=first)
    b = with_sites(b, matched_strict=second)
    # an electrode that one of the two lacks
    b = replace(b, tables=b.tables | {"sites": b.tables["sites"].drop(index=0)})
    pair = agreements([a, b])[0]
    row = next(r for r in pair["rows"] if (r["test"], r["label"]) == ("matched", "Strict: both"))
    assert (pair["a"], pair["b"]) == ("recommended", "paper2024")
    assert {key: row[key] for key in ("calls_a", "calls_b", "both", "only_a", "only_b")} == {
        "calls_a": 3, "calls_b": 2, "both": 1, "only_a": 2, "only_b": 1,
    }  # fmt: skip
    assert row["neither"] == count - 4
    assert agreements([a]) == []


def test_what_profiles_differ_in_is_said(results: Results) -> None:
    here = integrations_of(results, NAME)
    said = differences_of(here)
    for part in (
        "what is dropped around held-out events (recommended: 4.2 s; paper2024: 0 s)",
        "how bins are drawn (recommended: in blocks of 2 bins; paper2024: one by one)",
    ):
        assert part in said
    different = [key for key in here[0].settings if here[0].settings[key] != here[1].settings[key]]
    assert said.count("recommended: ") == len(different) >= 6
    assert differences_of(here[:1]) == ""
    same = replace(here[1], settings=here[0].settings)
    assert differences_of([here[0], same]) == "The profiles do not differ in any setting."
    more = replace(here[1], settings={**here[0].settings, "draws": 7})
    assert "draws (recommended: 40; paper2024: 7)" in differences_of([here[0], more])


def test_too_few_draws_are_pointed_out(world: World, one: Integration) -> None:
    table = one.tables["comparisons"]
    asked = table[table["comparison"].isin([*TESTS[:2], "over_concat", "over_multilin"])]
    most = int(asked.groupby("comparison")["p"].count().max())
    least = int(np.ceil(most / 201 / 0.05))
    said = finest(one)
    assert "With 200 draws of bins no p is below 0.0050" in said
    assert f"up to {most} electrodes" in said and f"at least {least} of them" in said
    assert said in text_of(world.html, "integration")
    assert finest(replace(one, settings={**one.settings, "bin_draws": 10_000_000})) == ""
    assert finest(without(one, "comparisons")) == ""
    coarse = finest(replace(one, settings={**one.settings, "bin_draws": 9}))
    assert "no p is below 0.1000" in coarse and "none of them can be called" in coarse


# tables -------------------------------------------------------------------------------------------


def test_electrodes_that_pass_most_come_first(one: Integration) -> None:
    sites = one.tables["sites"]
    rows = electrode_rows(one)
    anywhere = np.any([one.calls(test, "weak") for test in TESTS], axis=0)
    assert len(rows) == int(anywhere.sum()) > 0
    strict = [sum(cell.strict for cell in row["cells"]) for row in rows]
    assert strict == sorted(strict, reverse=True) and strict[0] > strict[-1]
    for row in rows:
        at = sites[(sites["subject"] == row["subject"]) & (sites["site"] == row["site"])].iloc[0]
        assert row["region"] == at["region"]
        for test, cell in zip(TESTS, row["cells"], strict=True):
            passed = [name for name in ALIGNMENTS if at[f"{test}_{name}"]]
            assert cell.where == ("all" if len(passed) == 2 else "".join(passed))
            if passed:
                assert cell.effect == max(at[f"{test}_{name}_effect"] for name in passed)


def test_every_comparison_is_summed_up_even_one_unknown(one: Integration) -> None:
    table = one.tables["comparisons"]
    extra = table[table["comparison"] == "matched"].assign(comparison="beyond_something", novel=1)
    made = replace(one, tables=one.tables | {"comparisons": pd.concat([table, extra])})
    rows = {(row["comparison"], row["alignment"]): row for row in other_comparisons(made)}
    assert {name for name, _ in rows} == {
        *TESTS[:2], "over_concat", "over_multilin", "first", "contrast", "beyond_something",
        "over_low_level",
    }  # fmt: skip
    part = extra[extra["alignment"] == "vision"]
    row = rows["beyond_something", "vision"]
    assert row["significant"] == part["significant"].sum()
    assert row["tested"] == (part["status"] == "tested").sum()
    assert row["default_a"] == (part["status"] == "default_a").sum()
    tested = part[part["status"] == "tested"]
    assert row["effect"] == pytest.approx(tested["effect"].mean())


def test_key_numbers_hold_the_counts(world: World, one: Integration) -> None:
    found = re.search(r'id="key-numbers">(.*?)</script>', world.html, re.DOTALL)
    assert found
    numbers = json.loads(found.group(1))["integrations"][NAME]
    assert list(numbers) == ["recommended", "paper2024"]
    rows = {(row["test"], row["scope"]): row for row in numbers["recommended"]}
    for _, row in one.tables["counts"].iterrows():
        assert rows[row["test"], row["scope"]]["passes"] == row["n_passes"]


# figures ------------------------------------------------------------------------------------------


def test_violins_show_each_pair_where_one_of_the_two_is_predicted(
    results: Results, one: Integration, tmp_path: Path
) -> None:
    table = one.tables["comparisons"]
    rows = table[(table["comparison"] == "trained") & (table["status"] != "neither")]
    scores = twin_scores(one)
    assert len(scores) == len(rows)
    assert set(scores["model"]) == set(one.roles["untrained"])
    paired = rows[rows["a"] == "slip-combo"]
    mine = scores[scores["model"] == "slip-combo"]
    assert mine["trained"].to_numpy() == pytest.approx(paired["score_a"].to_numpy())
    assert mine["untrained"].to_numpy() == pytest.approx(paired["score_b"].to_numpy(), nan_ok=True)
    figure = drawn(model_violins, results, one, palette_of(results), tmp_path)
    text = (tmp_path / f"{NAME}__integration_models.svg").read_text()
    for label in ("language", "vision", "slip-combo", "unimodal", "untrained"):
        assert f">{label}<" in text
    assert f"is {mine['trained'].median():.3f} trained" in figure.alt
    assert "above 0 without any signal" in figure.caption


def test_a_model_without_any_bin_is_found_by_its_twin(one: Integration) -> None:
    table = one.tables["comparisons"]
    trained = table["comparison"] == "trained"
    bare = table.assign(a=table["a"].where(~trained, "n/a"))
    found = twin_scores(replace(one, tables=one.tables | {"comparisons": bare}))
    assert found["model"].tolist() == twin_scores(one)["model"].tolist()


def test_regions_carry_a_star_where_electrodes_pass_strictly(
    results: Results, one: Integration, tmp_path: Path
) -> None:
    figure = drawn(sites_by_region, results, one, tmp_path)
    text = (tmp_path / f"{NAME}__integration_regions.svg").read_text()
    table = one.tables["regions"]
    strict = table[(table["scope"] == "strict") & (table["region"] != "n/a")]
    stars = strict.loc[strict["n_passes"] > 0, "n_passes"]
    assert sorted(re.findall(r"★ (\d+)", text)) == sorted(map(str, stars))
    assert len(stars) > 0
    bare = table.loc[table["region"] == "n/a", "n_sites"].max()
    assert f"{bare} electrodes without a region label are not shown" in figure.caption
    nothing = replace(one, tables=one.tables | {"regions": table.assign(region="n/a")})
    found = sites_by_region(results, nothing, tmp_path)
    assert isinstance(found, Absent) and "no region labels" in found.reason


def test_the_course_peaks_where_it_was_planted(
    results: Results, one: Integration, tmp_path: Path
) -> None:
    figure = drawn(advantage, results, one, tmp_path)
    times = one.tables["times"]
    part = times[(times["comparison"] == "multimodal") & (times["alignment"] == "language")]
    peak = part.loc[part["effect"].idxmax()]
    assert abs(peak["bin"] - 0.4) < 0.5
    assert f"{peak['effect']:.3f}, in the window from {peak['bin']:.2f} s" in figure.alt
    assert "(3 subjects)" in figure.caption
    text = (tmp_path / f"{NAME}__integration_times.svg").read_text()
    for label in ("matched: slip-combo − slip-simclr", "best multimodal − concat"):
        assert label in text


def test_objectives_are_ranked(results: Results, one: Integration, tmp_path: Path) -> None:
    figure = drawn(objective_ranks, results, one, tmp_path)
    table = one.tables["objectives"]
    for alignment in ALIGNMENTS:
        best = table[(table["alignment"] == alignment) & (table["rank"] == 1)].iloc[0]
        assert f"{best['objective']} ({alignment})" in figure.alt
    single = table[table["objective"] == "contrastive"]
    found = objective_ranks(
        results, replace(one, tables=one.tables | {"objectives": single}), tmp_path
    )
    assert isinstance(found, Absent) and "fewer than two" in found.reason


def test_electrodes_are_grouped_by_where_they_pass(one: Integration) -> None:
    count = len(one.tables["sites"])
    language, vision, default = (np.zeros(count, bool) for _ in range(3))
    language[[0, 1]], vision[[1, 2]], default[3] = True, True, True
    made = with_sites(
        one,
        matched_language=language,
        matched_vision=vision,
        matched_language_default=False,
        matched_vision_default=default,
    )
    groups, ringed = groups_of(made, "matched")
    assert groups[:4].tolist() == ["language", "all", "vision", "none"]
    assert np.flatnonzero(ringed).tolist() == [3]


@pytest.mark.parametrize(
    ("spaces", "said"),
    [
        ((), "does not say in which space its coordinates are"),
        (("n/a", "n/a", "n/a"), "does not say in which space its coordinates are"),
        (("Other", "MNI152Lin", "MNI152Lin"), "does not say in which space its coordinates are"),
        (("MNI152Lin",) * 3, "in MNI152Lin, and the outline is that of the MNI152 template"),
        (("ACPC",) * 3, "in ACPC; the outline, MNI152, is for orientation only"),
    ],
)
def test_the_map_says_in_which_space_electrodes_are(
    spaces: tuple[str, ...], said: str, world: World, results: Results, tmp_path: Path
) -> None:
    for subject, space in zip(["01", "02", "03"], spaces, strict=False):
        write_space(tmp_path, subject, space)
    found = headline_of(results, NAME)
    assert found is not None
    there = replace(results, root=tmp_path)
    assert said in space_sentence(there, found, outlined=True)
    assert bool(place_note(there, found)) == ("not say" in said)


def test_the_map_shows_every_electrode_with_coordinates(
    results: Results, one: Integration, tmp_path: Path
) -> None:
    figure = drawn(sites_map, results, one, tmp_path)
    sites = one.tables["sites"]
    placed = sites.dropna(subset=["x", "y", "z"])
    assert f"Maps of {len(placed)} electrodes." in figure.alt
    assert f"{len(sites) - len(placed)} electrodes without coordinates are not shown" in (
        figure.caption
    )
    assert "outline is for orientation only" in figure.caption
    for test in TESTS:
        strict = int(sites[f"{test}_strict"].sum())
        assert f"{strict} in all alignments" in figure.alt or not strict


def test_coordinates_that_fit_no_brain_get_no_outline(
    results: Results, one: Integration, tmp_path: Path
) -> None:
    sites = one.tables["sites"]
    voxels = with_sites(one, **{axis: sites[axis] + 128 for axis in "xyz"})
    figure = drawn(sites_map, results, voxels, tmp_path)
    assert "No outline is drawn" in figure.caption
    text = (tmp_path / f"{NAME}__integration_map.svg").read_text()
    assert ">z (mm)<" in text
    bare = with_sites(one, x=np.nan)
    found = sites_map(results, bare, tmp_path)
    assert isinstance(found, Absent) and "no coordinates" in found.reason
    assert place_note(results, bare) == ""  # the figure's place says it


def test_tints_of_untrained_twins_are_darker_on_dark_paper() -> None:
    def lightness(colour: tuple[float, ...]) -> float:
        return colorsys.rgb_to_hls(*colour[:3])[1]

    for hue in HUES:
        light = (*to_rgb(tint(hue, 0.55)), 1.0)
        assert lightness(_turned_rgba(light)) < lightness(light) - 0.1
        # a full colour stays, or becomes lighter where it would be lost
        full = (*to_rgb(hue), 1.0)
        assert _turned_rgba(full) == full or lightness(_turned_rgba(full)) > lightness(full)


# what is absent -----------------------------------------------------------------------------------


def test_a_study_without_integration_has_no_section(tmp_path: Path) -> None:
    config = only(CONFIG, "parcels") | {"integrations": {}}
    make_results(tmp_path / "study", config)
    make_report(tmp_path / "study", config, tmp_path / "r.html", tmp_path / "figures")
    html = (tmp_path / "r.html").read_text()
    assert "Integration sites" not in html
    assert 'id="integration' not in html


def test_absent_tables_are_named(copied: Path, world: World, tmp_path: Path) -> None:
    folder = copied / "integration" / NAME
    shutil.rmtree(folder / "recommended")
    for name in ("regions", "times", "models", "objectives", "comparisons", "group", "subjects"):
        (folder / "paper2024" / f"{name}.tsv").unlink()
    make_report(copied, world.config, tmp_path / "r.html", tmp_path / "figures")
    section = text_of((tmp_path / "r.html").read_text(), "integration")
    for sentence in (
        f"There is no result of the integration {NAME} with the profile recommended.",
        f"The comparisons of {NAME} with untrained networks are not there",
        "so there is no course of the advantage",
        "there is nothing to rank",
    ):
        assert sentence in section
    assert "paper2024" in section
    assert not re.search(r"\b(nan|None)\b", section)


def test_no_result_at_all_is_named(world: World, results: Results) -> None:
    bare = replace(results, integrations={})
    view = integration_view(bare, NAME)
    assert not view["found"] and len(view["missing"]) == 2
    assert short_answer(bare, NAME) == ["there are no results of these tests."]
    assert headline_of(bare, NAME) is None


def test_one_alignment_has_no_strict_test(results: Results, world: World) -> None:
    config = copy.deepcopy(world.config)
    config["integrations"][NAME]["alignments"] = {"language": "film_words"}
    bare = replace(results, config=config)
    said = short_answer(bare, NAME)
    assert said[-1] == "there is one alignment, so that no test can be strict."
    assert "strict" not in " ".join(said[:-1])
    view = integration_view(bare, NAME)
    assert [scope for scope, _ in view["scopes"]] == ["language", "weak"]


def test_a_column_is_missing(copied: Path, world: World) -> None:
    path = copied / "integration" / NAME / "recommended" / "counts.tsv"
    read_table(path).drop(columns="n_default").to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=r"counts\.tsv: column 'n_default' is missing"):
        read_results(copied, world.config)


def test_further_columns_are_let_be(copied: Path, world: World) -> None:
    path = copied / "integration" / NAME / "recommended" / "sites.tsv"
    table = read_table(path).assign(kind="product")
    write_table(path, table, sites_columns(list(ALIGNMENTS)) | {"kind": "What was planted"})
    assert integration_view(read_results(copied, world.config), NAME)["found"]


def test_analyses_that_are_not_fitted_say_so(world: World) -> None:
    said = f"not fitted by themselves; what they predict is in the integration {NAME}."
    assert text_of(world.html, "scores").count(said) == 2
    assert text_of(world.html, "answer").count(said) == 2
    before = text_of(world.html, "methods").split(f"Integration {NAME}")[0]
    assert before.count(said) == 2 and "circular" not in before


# words --------------------------------------------------------------------------------------------


def test_methods_give_the_settings_of_the_profile(results: Results, world: World) -> None:
    text = {p.heading: p.text for p in methods_text(results, [])}
    models = text[f"Integration {NAME}: encoding models"]
    for part in (
        "[@integration]", "5 contiguous folds", "with 4.2 s dropped", "7 from 10⁻¹ to 10⁵",
        "40 bootstrap samples", "95 % percentile interval", "if 6 count",
    ):  # fmt: skip
        assert part in models
    tests = text[f"Integration {NAME}: tests"]
    for part in (
        "200 draws in moving blocks of 2", "another replicate of the events",
        "slip-combo beats slip-simclr", "beats concat and multilin, all of them", "[@wilson]",
        "the best multimodal model beats loudness.",
        "What is said here holds for the profile recommended.",
    ):  # fmt: skip
        assert part in tests
    kept = text[f"Integration {NAME}: what to keep in mind"]
    for part in ("A weak pass is not a strict one", "filter of bins", "selected on validation",
                 "A win by default"):  # fmt: skip
        assert part in kept
    assert "Subramaniam V, Conwell C" in text_of(world.html, "references")
    config = copy.deepcopy(world.config)
    config["integrations"][NAME]["profiles"] = {"paper2024": {}}
    plain = {p.heading: p.text for p in methods_text(replace(results, config=config), [])}
    assert "nothing dropped between" in plain[f"Integration {NAME}: encoding models"]
    tests = plain[f"Integration {NAME}: tests"]
    assert "draws one by one" in tests and "wins by default, untested" in tests
    assert "What is said here" not in tests


def test_looks_right_in_the_browser(world: World) -> None:
    for name in ("map", "models", "regions", "times", "objectives"):
        assert f'<figure id="{NAME}__integration_{name}">' in world.html
    check_page(world.root / "report.html")
