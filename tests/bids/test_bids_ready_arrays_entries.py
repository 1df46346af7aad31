"""What config/datasets says of each set of ready arrays: valid, and enough to run through."""

from __future__ import annotations

import numpy as np
import pytest
import ready_arrays_world as world

from braid.bids.importers import (
    ArrayOptions,
    import_ds003020,
    import_popham2021,
    import_shortclips,
)


def made(name, folder):
    """Import a tiny release; gives its root."""
    source, out = folder / "source", folder / "out"
    if name == "ds003020":
        world.write_ds003020(source, ("UTS01",))
        import_ds003020(source, out)
    elif name == "shortclips":
        world.write_shortclips(source)
        import_shortclips(source, out)
    else:
        world.write_popham(source)
        world.write_stories(folder / "stories")
        world.write_films(folder / "films")
        options = ArrayOptions(stories=folder / "stories", films=folder / "films")
        import_popham2021(source, out, options)
    return out


@pytest.mark.parametrize(
    ("name", "network", "volumes"),
    [("ds003020", "gpt2", 55), ("shortclips", "dinov2", 22), ("popham2021", "gpt2", 55)],
)
def test_a_study_names_it_as_its_entry_says(tmp_path, name, network, volumes):
    root = made(name, tmp_path)
    study = world.study_of(name, root, network)
    analysis, dataset = study["analyses"]["own"], study["datasets"][name]
    response, built, _, _ = world.run_through(
        root, analysis["tasks"][0], "01", analysis["units"], analysis["design"], dataset,
        analysis["repeats"],
    )  # fmt: skip
    assert response.sizes["sample"] == built.sizes["sample"] == volumes
    assert str(response["target"].values[0]) == "voxel-000000"
    values = built["layer_00"]
    np.testing.assert_allclose(values.groupby("run").mean().values, 0, atol=1e-5)
    np.testing.assert_allclose(values.groupby("run").std().values, 1, atol=1e-4)
