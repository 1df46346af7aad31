"""The study file: schema, defaults, misspelt keys, slices."""

from __future__ import annotations

import importlib.util
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from braid import config as study
from braid.common import InputError

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = ROOT / "workflow" / "schemas"


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def demo():
    return study.read_yaml("config/config.yaml")


def test_every_shipped_study_is_valid():
    for path in [Path("config/config.yaml"), *Path("config/studies").glob("*.yaml")]:
        prepared = study.prepare(study.read_yaml(path), SCHEMAS, str(path))
        assert prepared["registry"]


def test_defaults_are_filled_in_and_the_input_is_left_alone(demo):
    before = deepcopy(demo)
    prepared = study.prepare(demo, SCHEMAS)
    assert demo == before
    assert prepared["analyses"]["bold_story"]["combinations"] == {}
    assert prepared["analyses"]["bold_story"]["ridge"]["standardize"] is True
    assert prepared["simulate"]["root"] == "results/demo/bids"


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ((), "sead", "seed"),
        (("datasets", "cinema_ieeg"), "subject", "subjects"),
        (("datasets", "cinema_ieeg", "preprocess"), "notsh", "notch"),
        (("analyses", "ieeg_film"), "fold", "folds"),
        (("analyses", "ieeg_film", "ridge", "alphas"), "hihg", "high"),
        (("analyses", "bold_film", "test"), "min_shfit", "min_shift"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest_valid_one(demo, path, wrong, right):
    place = demo = deepcopy(demo)
    for key in path:
        place = place[key]
    place[wrong] = place.pop(right)
    with pytest.raises(InputError) as caught:
        study.prepare(demo, SCHEMAS, "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    assert f"'{wrong}'" in message
    assert f"did you mean '{right}'?" in message


def test_a_misspelt_value_is_named(demo):
    demo["analyses"]["ieeg_film"]["folds"]["scheme"] = "block"
    with pytest.raises(InputError, match=r"analyses\.ieeg_film\.folds\.scheme.*mean 'blocks'"):
        study.prepare(demo, SCHEMAS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["analyses"]["ieeg_film"].update(dataset="cinema"), "did you mean 'cinema_"),
        (lambda d: d["analyses"]["ieeg_film"].update(tasks=["flim"]), "did you mean 'film'"),
        (lambda d: d["analyses"]["ieeg_film"]["models"].append("toy-vitt"), "'toy-vit'"),
        (
            lambda d: d["analyses"]["bold_film"]["compare"].update(x=["toy-vit", "togehter"]),
            "together",
        ),
        (lambda d: d["datasets"]["cinema_bold"].update(root="{data_root}/x"), "data_root"),
    ],
)
def test_names_that_must_agree(demo, change, message):
    demo = yaml.safe_load(yaml.safe_dump(demo))  # the anchors' lists are shared otherwise
    change(demo)
    with pytest.raises(InputError, match=message):
        study.prepare(demo, SCHEMAS)


def test_profile_huth_is_what_the_keys_say_unless_they_are_given(demo):
    folds = demo["analyses"]["bold_story"]["folds"] = {"scheme": "runs"}
    demo["analyses"]["bold_film"]["folds"] = folds  # as an anchor of YAML shares it
    demo["analyses"]["bold_story"]["ridge"] = {"profile": "huth", "memory_mb": 900}
    demo["seed"] = 12
    prepared = study.prepare(demo, SCHEMAS)["analyses"]
    story, film = prepared["bold_story"], prepared["bold_film"]
    assert story["folds"]["inner"] == {"length": 40, "held": None, "draws": 50, "seed": 12}
    assert story["ridge"]["alphas"] == {"low": 1, "high": 3, "n": 10}
    assert story["ridge"]["alpha_scale"] == "squared"
    assert story["ridge"]["standardize"] is False
    assert story["ridge"]["select"] == "r" and story["ridge"]["memory_mb"] == 900
    assert film["folds"]["inner"] == 5
    assert film["ridge"]["alpha_scale"] == "trace" and film["ridge"]["standardize"] is True
    chunks = study.chunks_of(story["folds"])
    assert chunks["draws"] == 50 and study.chunks_of(film["folds"]) is None

    demo["analyses"]["bold_story"]["ridge"]["alpha_scale"] = "absolute"
    demo["analyses"]["bold_story"]["folds"] = {"scheme": "runs", "inner": {"held": 125}}
    story = study.prepare(demo, SCHEMAS)["analyses"]["bold_story"]
    assert story["ridge"]["alpha_scale"] == "absolute" and story["folds"]["inner"]["held"] == 125
    assert story["ridge"]["alphas"] == {"low": 1, "high": 3, "n": 10}


def test_what_draws_inner_folds_is_checked(demo):
    folds = demo["analyses"]["bold_story"]["folds"]
    folds["inner"] = {"lenght": 20}
    with pytest.raises(InputError, match=r"'lenght' in 'analyses.bold_story.folds.inner'.*length"):
        study.prepare(demo, SCHEMAS)
    folds["inner"] = {"draws": 0}
    with pytest.raises(InputError, match=r"analyses.bold_story.folds.inner.draws"):
        study.prepare(demo, SCHEMAS)
    folds["inner"] = 1
    with pytest.raises(InputError, match=r"analyses.bold_story.folds.inner"):
        study.prepare(demo, SCHEMAS)


def test_a_broken_yaml_is_named_with_its_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("study: x\n  seed: [1\n")
    with pytest.raises(InputError, match=r"broken\.yaml, line \d"):
        study.read_yaml(path)


def test_order_of_keys_does_not_matter():
    assert list(study.ordered({"b": {"d": 1, "c": [{"z": 1, "a": 2}]}, "a": 0})) == ["a", "b"]
    assert list(study.ordered({"b": {"d": 1, "c": 2}})["b"]) == ["c", "d"]


def test_subjects_all_of_a_root_that_is_not_there(tmp_path):
    entry = {"root": str(tmp_path / "nowhere"), "subjects": "all", "tasks": ["film"]}
    with pytest.raises(InputError, match=r"datasets\.x\.root: the BIDS root .*nowhere does not"):
        study.subjects_of("x", entry)
    with pytest.raises(InputError, match="holds no folder sub-"):
        study.subjects_of("x", {**entry, "root": str(tmp_path)})
    for subject, task in (("01", "film"), ("02", "rest")):
        (tmp_path / f"sub-{subject}" / "func").mkdir(parents=True)
        (tmp_path / f"sub-{subject}" / "func" / f"sub-{subject}_task-{task}_bold.json").touch()
    assert study.subjects_of("x", {**entry, "root": str(tmp_path)}) == ["01"]
    with pytest.raises(InputError, match="task story"):
        study.subjects_of("x", {**entry, "root": str(tmp_path), "tasks": ["story"]})


def test_digest_of_rooms_sees_its_own_rooms_and_what_these_import(tmp_path):
    for room in ("common", "encoding", "inference", "report"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text("x = 1\n")
    (tmp_path / "inference" / "a.py").write_text("from braid.encoding.a import x\n")

    def digest():
        return study.digest_of_rooms(tmp_path, "inference")

    before = digest()
    (tmp_path / "report" / "a.py").write_text("x = 2\n")
    (tmp_path / "inference" / "README.md").write_text("What is in here.\n")
    assert digest() == before
    for room in ("encoding", "common", "inference"):
        with (tmp_path / room / "a.py").open("a") as stream:
            stream.write("y = 2\n")
        after = digest()
        assert after != before
        before = after


def test_digest_of_a_module_sees_what_it_imports_and_not_its_whole_room(tmp_path):
    for room in ("common", "encoding", "inference"):
        (tmp_path / room).mkdir()
        for module in ("a", "b", "c"):
            (tmp_path / room / f"{module}.py").write_text("x = 1\n")
    (tmp_path / "inference" / "a.py").write_text(
        "from braid.encoding.a import x\nfrom braid.inference.b import x\n"
    )

    def digest():
        return study.digest_of_rooms(tmp_path, "inference.a")

    before = digest()
    (tmp_path / "inference" / "c.py").write_text("x = 2\n")
    assert digest() == before
    for path in ("inference/a", "inference/b", "encoding/c", "common/a"):
        with (tmp_path / f"{path}.py").open("a") as stream:
            stream.write("y = 2\n")
        after = digest()
        assert after != before
        before = after


def test_the_page_of_keys_is_up_to_date():
    spec = importlib.util.spec_from_file_location("document", ROOT / "config" / "document.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.document() == (ROOT / "config" / "README.md").read_text(encoding="utf-8")


def test_defaults_of_the_schema_are_those_of_the_library():
    from braid.preprocess import defaults

    definitions = study.read_yaml(SCHEMAS / "config.schema.yaml")["$defs"]
    for kind in ("ieeg", "bold", "parcels"):
        properties = definitions[f"preprocess_{kind}"]["properties"]
        schema = {name: part["default"] for name, part in properties.items()}
        assert schema == getattr(defaults, kind.upper())


def test_a_network_may_stand_in_a_combination_alone(demo):
    entry = study.prepare(demo, SCHEMAS)["analyses"]["bold_film"]
    assert "toy-vilt-words" in study.networks_of(entry)
    assert "toy-vilt-words" not in study.models_of(entry)
    assert len(set(study.networks_of(entry))) == len(study.networks_of(entry))


def test_an_unknown_member_of_a_combination_is_named(demo):
    demo["analyses"]["bold_film"]["combinations"]["apart"] = ["toy-vit", "toy-bret"]
    with pytest.raises(InputError, match=r"combinations\.apart.*'toy-bret'.*mean 'toy-bert'"):
        study.prepare(demo, SCHEMAS)
