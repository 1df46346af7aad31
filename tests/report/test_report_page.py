"""The page as a whole: what it says is what the tables say, and it needs nothing beside it."""

from __future__ import annotations

import base64
import json
import re
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from report_world import CONFIG, Made, make_results, only

from braid.report import make_report
from braid.report.results import read_results
from braid.report.rows import network_rows

SECTIONS = [
    "answer",
    "data",
    "networks",
    "scores",
    "maps",
    "comparisons",
    "further",
    "quality",
    "evaluation",
    "methods",
    "references",
    "reproduce",
]


class Page(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._skipped = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._skipped += tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._skipped -= tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(made: Made) -> Page:
    return Page(made.html)


@pytest.fixture(scope="module")
def numbers(made: Made) -> dict:
    found = re.search(r'id="key-numbers">(.*?)</script>', made.html, re.DOTALL)
    assert found
    return json.loads(found.group(1))


def test_every_section_is_there_and_in_the_contents(page: Page) -> None:
    assert [e["id"] for e in page.all("section")] == SECTIONS
    links = {e.get("href") for e in page.all("a")}
    assert {f"#{name}" for name in SECTIONS} <= links
    ids = [e["id"] for _, e in page.elements if "id" in e]
    assert len(ids) == len(set(ids))
    assert {link for link in links if link and link.startswith("#")} <= {f"#{i}" for i in ids}


def test_nothing_is_loaded_from_elsewhere(page: Page, made: Made) -> None:
    assert not page.all("iframe")
    assert all("src" not in e for e in page.all("script"))
    assert all(str(e["href"]).startswith("data:") for e in page.all("link"))
    for tag, key in (("img", "src"), ("source", "srcset")):
        assert all(str(e[key]).startswith("data:image/png;base64,") for e in page.all(tag))
    assert not re.search(r"url\(|@import", made.html)
    outside = [str(e["href"]) for e in page.all("a") if not str(e["href"]).startswith("#")]
    assert outside and all(link.startswith("https://doi.org/10.") for link in outside)
    assert made.page.stat().st_size < 8e6


def test_figures_have_texts_and_real_pictures(page: Page, made: Made) -> None:
    images = page.all("img")
    assert len(images) >= 15
    assert len(images) == len(page.all("source")) == made.html.count("<figcaption>")
    for image in images:
        assert len(str(image["alt"])) > 30
        assert base64.b64decode(str(image["src"]).split(",")[1]).startswith(b"\x89PNG")
    for caption in re.findall(r"<figcaption>(.*?)</figcaption>", made.html, re.DOTALL):
        assert len(caption) > 150


def test_figures_are_files_with_stable_names(made: Made) -> None:
    names = {path.name for path in made.figures.iterdir()}
    stems = {name.rsplit(".", 1)[0] for name in names}
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    expected = {f"ieeg_film__{what}" for what in (
        "scores", "timecourse", "regions", "layers", "map_scores", "map_best", "comparisons",
        "pvalues")}  # fmt: skip
    assert (
        expected
        | {"film_to_voxels__transfer", "study__quality", "study__nulls", "study__penalties"}
        <= stems
    )
    for path in made.figures.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 90
            # not an empty canvas
            assert len(image.convert("RGB").getcolors(1 << 24) or []) > 8


def test_counts_are_those_of_the_tables(page: Page, numbers: dict, made: Made) -> None:
    sites = pd.read_csv(made.root / "tables" / "sites.tsv", sep="\t", na_values="n/a")
    for name, analysis in numbers["analyses"].items():
        mine = sites[sites["analysis"] == name]
        assert {row["model"] for row in analysis["models"]} == set(mine["model"])
        for row in analysis["models"]:
            part = mine[mine["model"] == row["model"]]
            assert row["sites"] == len(part)
            assert row["significant"] == part["significant"].sum()
            assert row["best"] == pytest.approx(part["score"].max())
            assert f"{row['significant']:,} of {row['sites']:,}" in page.text
    comparisons = pd.read_csv(made.root / "tables" / "comparisons.tsv", sep="\t")
    for row in numbers["analyses"]["ieeg_film"]["comparisons"]:
        mine = comparisons[
            (comparisons["analysis"] == "ieeg_film")
            & (comparisons["comparison"] == row["comparison"])
        ]
        assert row["significant"] == mine["significant"].sum() > 0
        assert f"{row['significant']} of 72" in page.text
    hits = numbers["analyses"]["ieeg_film"]["needs"]["together"]
    assert f"toy-vilt predicts better than concat at {hits} of 72 electrodes" in page.text
    models = pd.read_csv(made.root / "tables" / "models.tsv", sep="\t")
    means = models.set_index(["analysis", "model"])["score_mean"]
    for row in numbers["analyses"]["bold_film"]["models"]:
        assert row["mean"] == pytest.approx(means["bold_film", row["model"]])


def test_evaluation_is_shown_as_it_is(page: Page, numbers: dict) -> None:
    assert [row["pass"] for row in numbers["evaluation"]] == [True, False, True]
    assert "2 of 3 checks passed" in page.text
    assert "Not passed: 1 of ieeg; they are listed under Evaluation." in page.text


def test_the_answer_keeps_the_order_of_the_config(made: Made) -> None:
    headings = re.findall(r"<h3>(.*?)</h3>", made.html.split('<section id="data">')[0])
    further = ["Transfers", "Components", "Probes", "Checks"]
    assert headings == [*CONFIG["analyses"], *further]
    assert headings[:3] != sorted(headings[:3])


def test_the_answer_tells_what_was_found(made: Made, page: Page) -> None:
    answer = re.sub(r"\s+", " ", page.text.split("Answer in short")[2].split("All numbers are")[0])
    for sentence in (
        "Intracranial EEG, 72 electrodes of 2 subjects tested.",
        "film_to_voxels: toy-vilt, trained on ieeg_film alone, predicts bold_film at",
        "film_dimensions: 2 of 4 components of the weights of toy-clip in bold_film are larger",
        "they hold 62 % of the variance of the weights",
        "0.81 with trained weights (p = 0.016) and -0.02 with untrained weights (p = 0.6)",
    ):
        assert sentence in answer
    assert "too_few" not in answer


def test_data_section_tells_validation_and_exclusions(page: Page) -> None:
    assert "BIDS validator 3.0.2 (schema 1.2.7): valid, 0 errors" in page.text
    assert "not valid, 1 error" in page.text
    assert "The BIDS validator was not run on this data set." in page.text
    assert "sub-01 LA1, sub-02 LA1" in page.text


def test_text_from_the_study_is_escaped(made: Made, page: Page) -> None:
    assert "Which sites need <vision> & language together?" in page.text
    assert "need <vision>" not in made.html
    assert "a &lt;b&gt; key" in made.html


def test_a_hostile_name_cannot_leave_its_place(tmp_path: Path) -> None:
    config = only(CONFIG, "parcels")
    config["question"] = "</script><script>alert(1)</script>"
    root = tmp_path / "study"
    make_results(root, config)
    sites = (root / "tables" / "sites.tsv").read_text()
    (root / "tables" / "sites.tsv").write_text(sites.replace("parcel-003", "<img src=x>"))
    make_report(root, config, tmp_path / "report.html", tmp_path / "figures")
    html = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in html
    assert "<img src=x>" not in html
    assert html.count("</script>") == 2


def test_the_same_results_give_the_same_files_whoever_draws(made: Made, tmp_path: Path) -> None:
    make_report(made.root, CONFIG, tmp_path / "b.html", tmp_path / "b", n_jobs=2)
    assert made.page.read_bytes() == (tmp_path / "b.html").read_bytes()
    names = {path.name for path in made.figures.iterdir()}
    assert names == {path.name for path in (tmp_path / "b").iterdir()}
    for name in names:
        assert (made.figures / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_networks_that_only_combinations_join_are_listed(made: Made) -> None:
    results = read_results(made.root, CONFIG)
    config = deepcopy(CONFIG)
    config["registry"]["words-alone"] = {"modality": "vision-language", "blank": "pictures"}
    name = results.analyses[0]
    config["analyses"][name]["combinations"] = {"both": ["toy-vit", "words-alone"]}
    rows = {row["name"]: row for row in network_rows(replace(results, config=config))}
    assert rows["toy-vit"]["fitted"] and not rows["words-alone"]["fitted"]
    assert rows["words-alone"]["blank"] == "pictures"
