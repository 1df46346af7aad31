"""A learnt projection from the stimuli to the fit: what pictures and texts share, and no more."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from films import write_film

from braid.common import read_array, read_table

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
SCENES, START = 40, 4.0  # of one volume each; s


def _scene(colour: str, generator: np.random.Generator) -> np.ndarray:
    """A square of one colour, anywhere on grey noise."""
    picture = generator.integers(90, 130, (64, 64, 3), dtype=np.uint8)
    row, column = generator.integers(0, 40, 2)
    picture[row : row + 24, column : column + 24] = COLOURS[colour]
    return picture


@pytest.fixture
def narrated(tiny):
    """A study whose film names the colour that it shows; half of its voxels follow that colour."""
    generator = np.random.default_rng(1)
    names = generator.permutation(np.repeat(list(COLOURS), SCENES // len(COLOURS)))
    frames = [_scene(name, generator) for name in names for _ in range(2)]
    write_film(tiny.root / "stimuli" / "film.mkv", frames, rate=1)
    rows = [f"{START}\t{tiny.TR * SCENES}\tfilm\tn/a\tfilm.mkv\t0"]
    rows += [
        f"{START + tiny.TR * k}\t1\tword\t{name}\tfilm.mkv\t{tiny.TR * k}"
        for k, name in enumerate(names)
    ]
    table = "\n".join(["onset\tduration\ttrial_type\ttext\tstim_file\tstim_time", *rows])
    # one volume later, warm colours or none
    driven = np.zeros(tiny.VOLUMES)
    driven[3 : 3 + SCENES] = np.where(np.isin(names, ["red", "yellow"]), 1.0, -1.0)
    for run in ("01", "02"):
        tiny.events(run).write_text(table + "\n")
        image = nibabel.load(tiny.bold(run))
        data = np.asanyarray(image.dataobj).copy()
        data[:2] += 20 * driven
        nibabel.Nifti1Image(data, image.affine, image.header).to_filename(tiny.bold(run))
    tiny.config["analyses"]["blocks"] |= {
        "units": {"kind": "words", "context_words": 0},
        "design": {"kind": "lanczos", "delays": [1, 2]},
        "models": ["toy-bert"],
        "combinations": {
            "lin": {"networks": ["toy-bert", "toy-vit"], "projection": {"dim": 3, "penalty": 0.1}}
        },
    }
    return tiny


def test_a_projection_is_learnt_and_fitted(narrated, snakemake):
    config, results = narrated.write_config(), narrated.results / "tiny"
    path = "blocks/lin/sub-01.nc"
    arguments = (str(results / "fits" / path), "--cores", "2", "--configfile", config)
    snakemake(*arguments)
    learnt = read_array(results / "projections" / "blocks" / "lin.nc")
    assert json.loads(learnt.attrs["models"]) == ["toy-bert", "toy-vit"]
    assert learnt.attrs["n_units"] == len(read_table(results / "units" / "blocks.tsv")) == SCENES
    for k in range(4):
        # four colours differ in three dimensions
        assert (learnt[f"held_out_{k:02d}"].mean("part") > 0.5).all()
    designs = {
        name: read_array(results / "design" / "blocks" / name / "sub-01.nc")
        for name in ("toy-bert", "toy-vit", "lin")
    }
    expected = sum(
        designs[name]["layer_02"].values @ learnt[f"map_02_{side}"].values
        for side, name in enumerate(["toy-bert", "toy-vit"])
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(designs["lin"]["layer_02"], expected, atol=1e-4 * scale)
    fit = read_array(results / "fits" / path)
    score = fit["score"].sel(layer=fit.attrs["chosen_layer"])
    follows = fit["i"].values < 2
    assert score[follows].min() > 0.5 > score[~follows].max()
    assert "Nothing to be done" in snakemake(*arguments).stderr
