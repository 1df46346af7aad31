"""The suite's own arithmetic, on tables made by hand, and what its film and study hold."""

from __future__ import annotations

from pathlib import Path

import calibrate_integration as suite
import material
import numpy as np
import pandas as pd
import pytest

from braid.config import integration_roles
from braid.simulate import make_world
from braid.simulate.recordings_anatomy import SHAFTS
from braid.simulate.recordings_settings import read_settings


def electrodes(**called: int) -> pd.DataFrame:
    """Ten electrodes of each kind, the first ones of which pass."""
    rows = [
        {
            "kind": kind,
            "snr": number / 10,
            "integration": number < called.get(kind, 0),
            "multimodal_words": number < called.get(kind, 0),
            "multimodal_weak": number < called.get(kind, 0),
            "multimodal_strict": False,
        }
        for kind in suite.KINDS
        for number in range(10)
    ]
    return pd.DataFrame(rows)


def test_rates_precision_and_recall() -> None:
    rows = pd.DataFrame(suite.rate_rows(electrodes(joint=6, vision=2), "recommended", ["words"]))
    planted = rows[rows["data"] == "planted"].set_index(["kind", "quantity"])
    recall, precision = planted.loc[("joint", "integration")], planted.loc[("called", "precision")]
    assert (recall["count"], recall["n"], recall["reached"]) == (6, 10, "False")
    assert (precision["count"], precision["n"], precision["reached"]) == (6, 8, "False")
    assert planted.loc[("vision", "integration"), "reached"] == "True"  # 2 of 10: bound .2
    assert planted.loc[("silent", "integration"), "rate"] == 0
    assert planted.loc[("all", "strict but not weak"), "reached"] == "True"
    quarters = rows[rows["data"].str.startswith("quarter")]
    assert quarters["n"].tolist() == [3, 3, 2, 2]
    assert quarters["count"].tolist() == [3, 3, 0, 0]
    nothing = suite.rate_rows(electrodes(), "recommended", ["words"])
    assert np.isnan(next(row for row in nothing if row["quantity"] == "precision")["rate"])


def test_strict_calls_that_are_not_weak_are_counted() -> None:
    table = electrodes().assign(multimodal_strict=True)
    rows = pd.DataFrame(suite.rate_rows(table, "recommended", ["words"]))
    row = rows.set_index("quantity").loc["strict but not weak"]
    assert (row["count"], row["reached"]) == (50, "False")


def test_noise_counts_electrodes_and_data_sets() -> None:
    tables = [electrodes(silent=1), electrodes(), electrodes(joint=1, sum=1)]
    rows = pd.DataFrame(suite.noise_rows(tables, "recommended", ["words"]))
    row = rows.set_index("quantity").loc["integration"]
    assert (row["count"], row["n"], row["sets"], row["n_sets"]) == (3, 150, 2, 3)
    assert row["sets_bound"] == 1
    assert not row["reached"]
    assert rows.set_index("quantity").loc["multimodal_strict", "reached"]


def test_changes_reach_any_depth_and_replace_films() -> None:
    base = {"film": {"scene": [3, 8], "films": {"a": 1, "b": 2}}, "bold": {"x": 1}}
    found = material.merged(base, {"film": {"films": {"c": 3}}, "bold": None})
    assert found == {"film": {"scene": [3, 8], "films": {"c": 3}}}
    assert base["bold"] == {"x": 1}


def test_the_world_is_as_large_as_the_docs_say() -> None:
    spec = material.world_of({})
    settings, bold, _ = read_settings(spec)
    assert settings is not None
    assert bold is None
    assert len(settings.subjects) == 6
    assert len(settings.subjects) * len(SHAFTS) * settings.contacts_per_shaft == 396
    film = make_world(spec, material.WORLD_SEED).films[settings.film]
    assert len(film.cuts) > 500
    assert len(film.words) > 4000
    assert "scene_cut" in settings.responds_to


@pytest.mark.parametrize("untrained", [True, False])
def test_the_study_is_complete(tmp_path: Path, untrained: bool) -> None:
    study = material.read_study(tmp_path, 7, untrained)
    entry = study["integrations"]["sites"]
    assert entry["settings"]["draws"] == 7
    assert list(entry["profiles"]) == ["recommended", "paper2024"]
    roles = integration_roles(entry, study["analyses"], study["registry"])
    assert bool(roles["untrained"]) is untrained
