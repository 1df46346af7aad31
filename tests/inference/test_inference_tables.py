import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from braid.common import write_table
from braid.inference import COLUMNS, COMPARISONS_COLUMNS, SITES_COLUMNS, collect_tables
from braid.inference.tables import (
    layers_table,
    models_table,
    nulls_table,
    regions_table,
)


def sites_of(subject, model, scores, significant, region="a", p=0.5):
    table = pd.DataFrame({name: pd.Series(dtype=object) for name in SITES_COLUMNS})
    table["site"] = [f"s{number}" for number in range(len(scores))]
    return table.assign(
        analysis="film",
        subject=subject,
        model=model,
        score=scores,
        significant=significant,
        region=region,
        p=p,
    )


@pytest.fixture
def sites():
    return pd.concat(
        [
            sites_of(
                "01",
                "net",
                [0.1, 0.3, np.nan],
                [False, True, False],
                ["a", "b", "b"],
                [0.5, 0.01, np.nan],
            ),
            sites_of("02", "net", [0.2, 0.4], [True, True], ["a", "a"]),
            sites_of("02", "twin", [0.0], [False]),
        ],
        ignore_index=True,
    )


def test_models_are_summed_up_over_subjects_and_tested_sites(sites):
    table = models_table(sites).set_index("model")
    net = table.loc["net"]
    assert [net["n_subjects"], net["n_sites"], net["n_significant"], net["share"]] == [
        2,
        4,
        3,
        0.75,
    ]
    assert net["score_mean"] == pytest.approx(0.25)
    assert net["score_median_significant"] == pytest.approx(0.3)
    low, high = stats.t.interval(0.95, 1, loc=0.25, scale=stats.sem([0.2, 0.3]))
    assert [net["score_low"], net["score_high"]] == pytest.approx([low, high])
    assert np.isnan(table.loc["twin", "score_low"])
    assert np.isnan(table.loc["twin", "score_median_significant"])


def test_regions_count_only_tested_sites(sites):
    table = regions_table(sites).set_index(["model", "region"])
    assert table.loc[("net", "b"), "n_sites"] == 1
    assert table.loc[("net", "a"), "n_sites"] == 3
    assert table.loc[("net", "a"), "n_subjects"] == 2
    assert table.loc[("net", "a"), "score_mean"] == pytest.approx(np.mean([0.1, 0.3]))


def fit():
    return xr.Dataset(
        {
            "score": (("layer", "target"), [[0.1, np.nan], [0.3, 0.5], [np.nan, np.nan]]),
            "score_validation": (("layer", "target"), [[0.0, 0.2], [0.2, 0.4], [0.1, 0.1]]),
        },
        coords={"layer": ["l0", "l1", "l2"]},
        attrs={"chosen_layer": "l1"},
    )


def nulls(kinds):
    return xr.Dataset(
        {
            f"null_{what}_{kind}": ("target", [value, value, np.nan])
            for what, values in (("sd", kinds), ("mean", dict.fromkeys(kinds, 0.0)))
            for kind, value in values.items()
        },
        attrs={
            "primary": next(iter(kinds)),
            "draws": json.dumps(dict.fromkeys(kinds, 99)),
            "distinct": json.dumps(dict.fromkeys(kinds, 10**18)),
            "notes": json.dumps({"shuffle": "careful"} if "shuffle" in kinds else {}),
            "naive_sd": 0.025,
        },
    )


def test_layers_have_depth_and_the_choice():
    table = layers_table({("film", "net", "01"): fit()})
    assert table["depth"].tolist() == [0, 0.5, 1]
    assert table["chosen"].tolist() == [False, True, False]
    assert table["score"][:2].tolist() == pytest.approx([0.1, 0.4])
    assert np.isnan(table["score"][2])
    assert table["n_targets"].tolist() == [1, 2, 0]


def test_nulls_have_their_ratio_to_shuffling():
    found = {
        ("film", "net", "01"): nulls({"circular_shift": 0.05, "shuffle": 0.025}),
        ("film", "net", "02"): nulls({"circular_shift": 0.04}),
    }
    table = nulls_table(found)
    assert table["ratio_to_shuffle"].tolist()[:2] == pytest.approx([2.0, 1.0])
    assert np.isnan(table["ratio_to_shuffle"][2])
    assert table["primary"].tolist() == [True, False, True]
    assert table["n_targets"].tolist() == [2, 2, 2]
    assert table["note"].tolist() == ["n/a", "careful", "n/a"]


def test_all_tables_can_be_written_with_their_descriptions(sites, tmp_path):
    excluded = pd.DataFrame({"target": ["A1"], "reason": ["flat"], "detail": ["no variance"]})
    quality = pd.DataFrame(
        {"run": ["task-film"], "measure": ["tsnr"], "value": [3.0], "unit": ["1"]}
    )
    tables = collect_tables(
        [sites],
        [],
        {("film", "net", "01"): fit()},
        {("film", "net", "01"): nulls({"block": 0.1})},
        {("set", "01"): excluded},
        {("set", "01"): quality, ("set", "02"): quality[:0]},
    )
    assert set(tables) == set(COLUMNS)
    for name, table in tables.items():
        assert list(table.columns) == list(COLUMNS[name])
        write_table(tmp_path / f"{name}.tsv", table, COLUMNS[name])
    assert tables["excluded"]["subject"].tolist() == ["01"]
    assert list(tables["comparisons"].columns) == list(COMPARISONS_COLUMNS)
    assert tables["comparisons"].empty
