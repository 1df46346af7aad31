"""Real recordings through the same rules, with the figures they are known to give."""

from __future__ import annotations

import pytest

from braid.common import read_table


@pytest.mark.parametrize("name", ["haxby", "song2023"])
def test_study_gives_its_known_figures(name, snakemake, shared_data, tmp_path):
    snakemake(
        *("--cores", "2", "--configfile", f"config/studies/{name}.yaml"),
        *("--config", f"results={tmp_path}", f"data_root={shared_data}"),
    )
    table = read_table(tmp_path / name / "evaluation.tsv")
    print(table.to_string())
    assert len(table) >= 2
    assert table["pass"].astype(bool).all(), table.to_string()
    assert (tmp_path / name / "report.html").stat().st_size > 100_000
