"""The names in transfers, components, integrations and probes are checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braid.common import InputError
from braid.config import (
    has_timing,
    integration_layer,
    integration_models,
    integration_roles,
    integration_settings,
    prepare,
    read_yaml,
    shared_bootstraps,
    transfer_models,
    transfer_networks,
)


@pytest.fixture
def demo(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Prepare the demo, with parts of one stage replaced."""
    monkeypatch.chdir(root)

    def made(**stages: Any) -> dict[str, Any]:
        config = {**read_yaml("config/config.yaml"), **stages}
        return prepare(config, root / "workflow" / "schemas", "here.yaml")

    return made


def test_defaults_and_a_network_that_only_a_probe_names(demo: Callable[..., Any]) -> None:
    study = demo(
        transfers={},
        components={"one": {"analysis": "bold_film", "model": "toy-vit_untrained"}},
        probes={"one": {"analysis": "bold_film", "model": "toy-vilt"}},
    )
    assert study["components"]["one"]["draws"] == 50
    assert study["probes"]["one"]["units"] == 300 and study["probes"]["one"]["min_shift"] == 30
    assert "toy-vilt" in study["registry"]


ALIGNED = {
    "source": "heard", "target": "seen", "alignment": "captioned", "pairs": ["unimodal"],
    "from": "language",
}  # fmt: skip
CAPTIONED = {
    "pictures": {"root": "{results}/pictures"},
    "pairs": {"two": {"language": "toy-bert", "vision": "toy-vit"}},
}


def test_repeats_name_tasks_of_the_analysis(demo: Callable[..., Any], root: Path) -> None:
    analyses = read_yaml(root / "config" / "config.yaml")["analyses"]
    analyses["seen"]["repeats"] = [{"task": ["silentfilm"]}, {"task": "storry"}]
    with pytest.raises(InputError, match=r"seen\.repeats\.1\.task: unknown name 'storry'"):
        demo(analyses=analyses)
    analyses["seen"]["repeats"] = [{"acquisition": "repeat", "task": "silentfilm"}]
    assert demo(analyses=analyses)["analyses"]["seen"]["repeats"] == analyses["seen"]["repeats"]


def test_lags_are_scanned_in_volumes_that_are_fitted(demo: Callable[..., Any], root: Path) -> None:
    study = demo()
    timed = {name for name, entry in study["analyses"].items() if has_timing(entry)}
    assert timed == {"seen"}
    analyses = read_yaml(root / "config" / "config.yaml")["analyses"]
    for entry in analyses.values():
        entry.pop("timing", None)
    filled = demo(analyses=analyses)["analyses"]
    timed = {name for name, entry in filled.items() if has_timing(entry)}
    assert timed == {"bold_film", "bold_story", "seen", "heard"}  # none of iEEG
    assert filled["seen"]["timing"] == {"lags": [-3, -2, -1, 0, 1, 2, 3], "targets": 200}


def captioned(language: str, vision: str) -> dict[str, Any]:
    """Entry of an alignment of one pair."""
    return {**CAPTIONED, "pairs": {"one": {"language": language, "vision": vision}}}


def test_networks_of_a_transfer_through_an_alignment(demo: Callable[..., Any]) -> None:
    study = demo()
    heard, seen = (study["transfers"][name] for name in ("heard_to_seen", "seen_to_heard"))
    assert transfer_models(heard) == ["contrastive", "unimodal"]
    assert transfer_models(study["transfers"]["film_to_story"]) == ["toy-bert"]
    maps = study["alignments"]
    assert transfer_networks(heard, maps, "unimodal") == ("toy-bert", "toy-vit")
    assert transfer_networks(seen, maps, "unimodal") == ("toy-vit", "toy-bert")
    assert transfer_networks(study["transfers"]["film_to_story"], maps, "toy-bert") == (
        "toy-bert", "toy-bert",
    )  # fmt: skip
    assert maps["captioned"]["pictures"]["root"] == "results/demo/bids/stimuli/captioned"
    # a network that only an alignment names is read too
    other = demo(transfers={}, shared_components={}, alignments={"one": {
        **CAPTIONED, "pairs": {"new": {"language": "all-minilm-l6-v2", "vision": "toy-vit"}}
    }})  # fmt: skip
    assert "all-minilm-l6-v2" in other["registry"]


@pytest.mark.parametrize(
    ("stage", "entry", "message"),
    [
        ("transfers", {"source": "bold_flim", "target": "bold_story", "models": ["toy-bert"]},
         r"transfers\.one\.source: unknown name 'bold_flim'; did you mean 'bold_film'"),
        ("transfers", {"source": "bold_film", "target": "bold_story", "models": ["toy-vit"]},
         r"transfers\.one\.models: unknown name 'toy-vit'"),
        ("transfers", {"source": "bold_film", "target": "bold_film", "models": ["toy-vit"]},
         r"transfers\.one: source and target both use the runs of task film"),
        ("transfers", {"source": "bold_film", "target": "bold_story"},
         r"transfers\.one: give either 'models', or all of 'alignment', 'pairs' and 'from'"),
        ("transfers", {"source": "heard", "target": "seen", "pairs": ["unimodal"]},
         "or all of 'alignment'"),
        ("transfers", {**ALIGNED, "models": ["toy-clip"]}, "give either 'models'"),
        ("transfers", {**ALIGNED, "alignment": "captionned"},
         r"one\.alignment: unknown name 'captionned'; did you mean 'captioned'"),
        ("transfers", {**ALIGNED, "pairs": ["unimodel"]}, r"one\.pairs: .*mean 'unimodal'"),
        ("transfers", {**ALIGNED, "from": "vision"},
         r"one\.pairs\.unimodal \(analysis heard\): unknown name 'toy-vit'"),
        ("transfers", {**ALIGNED, "tuning": ["sign_lou"]}, "'sign_lou'"),
        ("alignments", captioned("toy-vit", "toy-vit"),
         r"pairs\.one\.language: toy-vit is no language network"),
        ("alignments", captioned("toy-brt", "toy-vit"),
         r"pairs\.one\.language: unknown name 'toy-brt'; did you mean 'toy-bert'"),
        ("alignments",
         {**CAPTIONED, "pairs": {"toy-clip": {"language": "toy-bert", "vision": "toy-vit"}}},
         "is the name of a network too"),
        ("alignments", {**CAPTIONED, "captions": "all"}, "'all'"),
        ("components", {"analysis": "bold_film", "model": "concat"},
         r"components\.one\.model: unknown name 'concat'"),
        ("probes", {"analysis": "bold_film", "model": "toy-bert"},
         r"probes\.one\.model: toy-bert is no vision-language network"),
        ("probes", {"analysis": "bold_film", "model": "toy-vilt", "drows": 3}, "'drows'.*'draws'"),
    ],
)  # fmt: skip
def test_wrong_names_are_named(
    demo: Callable[..., Any], stage: str, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        demo(**{stage: {"one": entry}})


def integration(**changes: Any) -> dict[str, Any]:
    """Entry of an integration on the demo's analyses."""
    entry = {
        "alignments": {"language": "ieeg_film"},
        "multimodal": ["toy-vilt"],
        "unimodal": ["toy-vit", "toy-vilt-words"],
        "linear": ["apart"],
    }
    return {**entry, **changes}


def test_roles_and_settings_of_an_integration(demo: Callable[..., Any]) -> None:
    entry = integration(
        profiles={"recommended": {}, "paper2024": {"embargo": 2.0}},
        settings={"draws": 30, "embargo": 2},
        layers={"toy-vilt": "encoder.layer.2"},
    )
    study = demo(integrations={"one": entry})
    filled = study["integrations"]["one"]
    roles = integration_roles(filled, study["analyses"], study["registry"])
    # toy-vilt-words is only a member of a combination, without a twin
    assert roles["untrained"] == {"toy-vilt": "toy-vilt_untrained", "toy-vit": "toy-vit_untrained"}
    assert "matching" in roles["objectives"]["toy-vilt"]
    assert integration_models(roles) == [
        *("toy-vilt", "toy-vit", "toy-vilt-words", "apart"),
        *("toy-vilt_untrained", "toy-vit_untrained"),
    ]
    assert integration_layer(filled, "toy-vilt_untrained") == "encoder.layer.2"
    assert integration_layer(filled, "toy-vit") == "last"
    paper, own = (integration_settings(filled, name) for name in ("paper2024", "recommended"))
    assert (paper["resample"], own["resample"], paper["draws"]) == ("iid", "block", 30)


def test_low_level_features_stand_beside_every_candidate(
    demo: Callable[..., Any], root: Path
) -> None:
    analyses = read_yaml(root / "config" / "config.yaml")["analyses"]
    film = analyses["ieeg_film"]
    film["combinations"] = {**film["combinations"], "low": ["luminance", "word-rate"]}
    film["combinations"]["lin"] = {"networks": ["toy-vit", "toy-bert"], "projection": {}}
    entry = integration(low_level="low", beyond_low_level=True, unimodal=["toy-vit", "apart"])
    study = demo(analyses=analyses, integrations={"one": entry})
    made = study["analyses"]["ieeg_film"]["combinations"]
    assert made["toy-vilt_with_low"] == ["toy-vilt", "luminance", "word-rate"]
    assert made["apart_with_low"] == [*made["apart"], "luminance", "word-rate"]
    roles = integration_roles(study["integrations"]["one"], study["analyses"], study["registry"])
    assert roles["low_level"] == "low"
    assert roles["with_low_level"]["toy-vit"] == "toy-vit_with_low"
    assert {"low", "toy-vit_with_low", "apart_with_low"} <= set(integration_models(roles))
    for changes, message in (
        ({"low_level": "lo"}, r"one\.low_level.*'lo'"),
        ({"low_level": None}, r"one\.beyond_low_level: name the low-level"),
        ({"unimodal": ["lin"]}, r"one\.beyond_low_level: lin and low cannot"),
    ):
        wrong = {key: value for key, value in {**entry, **changes}.items() if value is not None}
        with pytest.raises(InputError, match=message):
            demo(analyses=analyses, integrations={"one": wrong})


def test_profiles_share_bootstraps_that_are_alike(demo: Callable[..., Any]) -> None:
    profiles = {"recommended": {}, "paper2024": {}}
    study = demo(
        integrations={
            "apart": integration(profiles=profiles),
            "alike": integration(profiles=profiles, settings={"embargo": 3}),
        }
    )
    assert shared_bootstraps(study["integrations"]) == {
        "apart": {"recommended": "recommended", "paper2024": "paper2024"},
        "alike": {"recommended": "recommended", "paper2024": "recommended"},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alignments": {"language": "ieeg_flim"}}, r"alignments\.language.*mean 'ieeg_film'"),
        (
            {"alignments": {"language": "ieeg_film", "vision": "ieeg_cutz"}},
            r"alignments\.vision.*mean 'ieeg_cuts'",
        ),
        ({"alignments": {"language": "bold_film"}}, "bold_film is not event_locked"),
        ({"multimodal": ["toy-viltt"]}, r"one\.multimodal.*'toy-viltt'; did you mean 'toy-vilt'"),
        ({"matched": ["toy-vilt", "dinov2-base"]}, r"one\.matched.*'dinov2-base'"),
        ({"pairs": {"x": ["toy-vilt", "togehter"]}}, r"one\.pairs.*mean 'together'"),
        ({"pairs": {"over_it": ["toy-vilt", "toy-vit"]}}, r"one\.pairs: 'over_it' is a name"),
        ({"pairs": {"trained": ["toy-vilt", "toy-vit"]}}, r"one\.pairs: 'trained' is a name"),
        ({"alignments": {"weak": "ieeg_film"}}, r"one\.alignments: 'weak' is a name"),
        ({"layers": {"toy-bilt": "last"}}, r"one\.layers.*'toy-bilt'; did you mean 'toy-vilt'"),
        ({"objectives": {"toy-bilt": "x"}}, r"one\.objectives.*mean 'toy-vilt'"),
        ({"profiles": {"paper": {}}}, "'paper'.*'paper2024'"),
        ({"settings": {"bins": "own"}}, r"profiles\.recommended: defaults"),
        ({"settings": {"min_bin": 3}}, "'min_bin'.*'min_bins'"),
        ({"settings": {"bin_filter": "perm_fdr"}}, r"bin_filter.*'toy-vilt-words'"),
    ],
)
def test_wrong_integrations_are_named(
    demo: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        demo(integrations={"one": integration(**changes)})


def test_fits_that_are_needed_are_asked_for(demo: Callable[..., Any], root: Path) -> None:
    analyses = read_yaml(root / "config" / "config.yaml")["analyses"]
    analyses["bold_film"] = {**analyses["bold_film"], "fit": False}
    with pytest.raises(InputError, match=r"bold_film\.compare: .*'fit: false'"):
        demo(analyses=analyses)
    analyses["bold_film"].pop("compare")
    with pytest.raises(InputError, match=r"transfers\..*bold_film has 'fit: false'"):
        demo(analyses=analyses)
