"""What one edit runs again: the jobs that a dry-run lists, against those that should be listed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path

import pytest
import yaml
from small_study import SmallStudy, said

SUBJECTS, MODELS = ("01", "02"), ("onehot", "toy-bert")
LIBRARY = Path("workflow/scripts/braid")
Edit = Callable[[SmallStudy], None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """Give the finished study of two subjects, two networks and a component analysis."""
    study = SmallStudy(tmp_path_factory.mktemp("reruns"), subjects=["01", "02", "03"])
    analysis = study.config["analyses"]["blocks"]
    analysis["models"] = list(MODELS)
    analysis["compare"] = {"words": ["toy-bert", "onehot"]}
    study.config["components"] = {
        "dimensions": {"analysis": "blocks", "model": "toy-bert", "n": 2, "draws": 19}
    }
    study.write_config()
    done = study.snakemake("--cores", "2", "--verbose")
    assert done.returncode == 0, said(done)
    (study.folder / "run.log").write_text(done.stderr)
    return study


def jobs_of(study: SmallStudy) -> set[str]:
    """Jobs that a dry-run lists: rule and wildcards, without the target itself."""
    done = study.snakemake("--dry-run", "--cores", "2")
    assert done.returncode == 0, said(done)
    if "Nothing to be done" in done.stdout + done.stderr:
        return set()
    jobs = set()
    for block in re.split(r"^(?:local)?rule ", done.stdout, flags=re.MULTILINE)[1:]:
        rule = block.split(":")[0]
        found = re.search(r"^    wildcards: (.*)$", block, flags=re.MULTILINE)
        values = [part.split("=")[1] for part in found.group(1).split(", ")] if found else []
        jobs.add(" ".join([rule, "/".join(values)]).strip())
    return jobs - {"all"}


def per_fit(*rules: str, models=MODELS, subjects=SUBJECTS) -> set[str]:
    return {f"{r} blocks/{model}/{s}" for r in rules for model in models for s in subjects}


def per_subject(*rules: str, subjects=SUBJECTS) -> set[str]:
    return {f"{rule} blocks/{subject}" for rule in rules for subject in subjects}


COMPARED = per_subject("compare")
TIMED = {"models": ["onehot"]}  # the first of the analysis
SHOWN = {"collect", "report"}
COMPONENTS = {"components dimensions"}
ONE_MORE = ("01", "02", "03")
PROJECTED = {"networks": ["toy-vit", "toy-bert"], "projection": {}}


def config(change: Callable[[dict], object]) -> Edit:
    """Edit of the study file."""

    def edit(study: SmallStudy) -> None:
        change(study.config)
        study.write_config()

    return edit


def text(path: Path | str, change: Callable[[str], str]) -> Edit:
    """Edit of a file of the project; the file must change by it."""

    def edit(study: SmallStudy) -> None:
        file = study.folder / path
        before = file.read_text()
        after = change(before)
        assert after != before
        file.write_text(after)

    return edit


def one_layer(content: str) -> str:
    registry = yaml.safe_load(content)
    registry["toy-bert"]["layers"] = ["encoder.layer.{0..2}"]
    return yaml.safe_dump(registry, sort_keys=False)


def other_licence(content: str) -> str:
    registry = yaml.safe_load(content)
    registry["toy-bert"]["licence"] = "MIT"
    return yaml.safe_dump(registry, sort_keys=False)


def other_colour(content: str) -> str:
    return re.sub(r"\"#[0-9a-fA-F]{6}\"", '"#123456"', content, count=1)


def comment(content: str) -> str:
    return content + "\n# a remark\n"


def nothing(study: SmallStudy) -> None:
    """Leave all as it is."""


def other_order(content: dict) -> None:
    analysis = content["analyses"]["blocks"]
    content["analyses"]["blocks"] = dict(reversed(analysis.items()))


EDITS: dict[str, tuple[Edit, set[str]]] = {
    "nothing": (nothing, set()),
    # the report tells of the analyses in the order of the config
    "order of keys": (config(other_order), {"report"}),
    "layers of one network": (
        text("config/models.yaml", one_layer),
        {"features blocks/toy-bert"}
        | per_fit("design", "fit", "permute", models=["toy-bert"])
        | COMPARED
        | COMPONENTS
        | SHOWN,
    ),
    # what only describes a network
    "licence of one network": (text("config/models.yaml", other_licence), {"report"}),
    # no number depends on it
    "place of the factor store": (
        config(lambda c: c.update(factor_store="elsewhere", factor_store_gb=1)),
        {"report"},
    ),
    "alpha grid": (
        config(lambda c: c["analyses"]["blocks"]["ridge"]["alphas"].update(n=4)),
        per_fit("fit", "permute") | per_fit("timing", **TIMED) | COMPARED | COMPONENTS | SHOWN,
    ),
    "number of permutations": (
        config(lambda c: c["analyses"]["blocks"]["test"].update(n=29)),
        per_fit("permute") | COMPONENTS | SHOWN,
    ),
    # whether a further subject saw units that the others did not is known only when the table of
    # units is made: what follows from it is listed, and features come from the store
    "one subject more": (
        config(lambda c: c["datasets"]["blocks"].update(subjects=list(ONE_MORE))),
        per_subject("index_bids", "preprocess_bold", "events", "responses", subjects=["03"])
        | {"index_dataset blocks", "units blocks"}
        | {f"features blocks/{model}" for model in MODELS}
        | per_fit("design", "fit", "permute", subjects=ONE_MORE)
        | per_fit("timing", subjects=ONE_MORE, **TIMED)
        | per_subject("compare", subjects=ONE_MORE)
        | COMPONENTS
        | SHOWN,
    ),
    "one projection more": (
        config(lambda c: c["analyses"]["blocks"].update(combinations=dict(both=PROJECTED))),
        {"features blocks/toy-vit", "project blocks/both"}
        | per_fit("design", models=["toy-vit"])
        | per_fit("combine", "fit", "permute", models=["both"])
        | SHOWN,
    ),
    "draws of the component analysis": (
        config(lambda c: c["components"]["dimensions"].update(draws=29)),
        COMPONENTS | {"report"},
    ),
    "colour of a figure": (
        text(LIBRARY / "report" / "figures_quality.py", other_colour),
        {"report"},
    ),
    "comment in a script": (
        text("workflow/scripts/fit.py", comment),
        per_fit("fit", "permute") | COMPARED | COMPONENTS | SHOWN,
    ),
    "library used by one rule": (
        text(LIBRARY / "concepts" / "pca.py", comment),
        COMPONENTS | {"report"},
    ),
    "library used by several rules": (
        text(LIBRARY / "inference" / "decision.py", comment),
        per_fit("permute") | COMPARED | COMPONENTS | SHOWN,
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_runs_again_what_depends_on_it_and_nothing_else(finished, name):
    edit, expected = EDITS[name]
    before = finished.config
    kept = finished.folder.with_name("kept")
    shutil.copytree(finished.folder, kept, ignore=shutil.ignore_patterns(".snakemake", "results"))
    finished.config = yaml.safe_load((kept / "study.yaml").read_text())
    try:
        edit(finished)
        listed = jobs_of(finished)
    finally:
        finished.config = before
        shutil.copytree(kept, finished.folder, dirs_exist_ok=True)
        shutil.rmtree(kept)
    assert listed == expected, f"missing {expected - listed}; too many {listed - expected}"


def with_one_subject_more(finished: SmallStudy, folder: Path) -> SmallStudy:
    """Copy the finished study and give it a third subject, of whom nothing is made yet."""
    study = copy(finished)
    study.folder, study.config = folder, deepcopy(finished.config)
    study.results = folder / "results" / "small"
    shutil.copytree(finished.folder, folder, symlinks=True)
    study.config["datasets"]["blocks"]["subjects"] = list(ONE_MORE)
    study.write_config()
    return study


def test_the_scheduler_works_only_when_jobs_start_or_end(finished):
    log = (finished.folder / "run.log").read_text()
    ended, passes = log.count("Finished jobid"), log.count("Ready jobs: ")
    assert ended > 20
    assert passes > 1
    # one before the first job, at most one for each that ended
    assert passes <= ended + 1, (passes, ended)


@pytest.mark.parametrize("label", ["shoe", "chair"])
def test_units_that_are_made_first_keep_the_other_subjects(finished, tmp_path, label):
    """Whether the units are what they were is known to a plan that is made after them."""
    study = with_one_subject_more(finished, tmp_path / "clone")
    for events in (study.folder / "bids" / "sub-03" / "func").glob("*_events.tsv"):
        events.write_text(events.read_text().replace("shoe", label))
    done = study.snakemake("--cores", "2", "--until", "units")
    assert done.returncode == 0, said(done)
    again, features = ["03"], set()
    if label == "chair":  # the others have not seen it
        again, features = ONE_MORE, {f"features blocks/{model}" for model in MODELS}
    expected = (
        per_subject("preprocess_bold", "responses", subjects=["03"])
        | {"index_dataset blocks"}
        | features
        | per_fit("design", "fit", "permute", subjects=again)
        | per_fit("timing", subjects=again, **TIMED)
        | per_subject("compare", subjects=again)
        | COMPONENTS
        | SHOWN
    )
    listed = jobs_of(study)
    assert listed == expected, f"missing {expected - listed}; too many {listed - expected}"
