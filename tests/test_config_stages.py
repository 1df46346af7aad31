"""The names in transfers, components and probes are checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braid.common import InputError
from braid.config import prepare, read_yaml


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


@pytest.mark.parametrize(
    ("stage", "entry", "message"),
    [
        ("transfers", {"source": "bold_flim", "target": "bold_story", "models": ["toy-bert"]},
         r"transfers\.one\.source: unknown name 'bold_flim'; did you mean 'bold_film'"),
        ("transfers", {"source": "bold_film", "target": "bold_story", "models": ["toy-vit"]},
         r"transfers\.one\.models: unknown name 'toy-vit'"),
        ("transfers", {"source": "bold_film", "target": "bold_film", "models": ["toy-vit"]},
         r"transfers\.one: source and target both use the runs of task film"),
        ("transfers", {"source": "bold_film", "target": "bold_story"}, "'models' is missing"),
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
