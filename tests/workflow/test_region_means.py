"""A study of means over the regions of an atlas, run to its report."""

from __future__ import annotations

import re

import nibabel
import numpy as np
import pytest
from small_study import SHAPE, SmallStudy, said

from braid.common import read_array, read_table

REGIONS = ["front", "middle", "back"]  # of the first axis; the last slice belongs to none


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """Give the finished study of one subject, whose voxels are averaged by region."""
    study = SmallStudy(tmp_path_factory.mktemp("regions"), subjects=["01"])
    root = study.folder / "bids"
    labels = np.zeros(SHAPE, np.int16)
    labels[:3] = np.arange(1, 4)[:, None, None]
    atlas = root / "derivatives" / "atlas"
    atlas.mkdir(parents=True)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    nibabel.Nifti1Image(labels, affine).to_filename(atlas / "sub-01_dseg.nii.gz")
    rows = "".join(f"{number}\t{name}\n" for number, name in enumerate(REGIONS, start=1))
    (atlas / "dseg.tsv").write_text("index\tname\n" + rows)
    dataset = study.config["datasets"]["blocks"]
    dataset["subjects"] = ["01"]
    dataset["preprocess"] |= {
        "atlas": {
            "image": "derivatives/atlas/sub-{subject}_dseg.nii.gz",
            "labels": "derivatives/atlas/dseg.tsv",
        },
        "average": True,
    }
    study.write_config()
    done = study.snakemake("--cores", "2")
    assert done.returncode == 0, said(done)
    return study


def test_sites_are_the_regions(finished):
    sites = read_table(finished.results / "tables" / "sites.tsv")
    assert sites["region"].tolist() == REGIONS
    clean = next((finished.results / "clean").rglob("*.nc"))
    signal = read_array(clean)["signal"]
    assert signal["region"].values.tolist() == REGIONS


def test_a_region_is_the_mean_of_its_voxels(finished):
    func = finished.folder / "bids" / "sub-01" / "func"
    signal = read_array(next((finished.results / "clean").rglob("*.nc")))["signal"]
    for run, path in enumerate(sorted(func.glob("*_bold.nii.gz"))):
        data = nibabel.load(path).get_fdata()
        for place, name in enumerate(REGIONS):
            mean = data[place].mean(axis=(0, 1))
            expected = (mean - mean.mean()) / mean.std()
            found = signal.values[signal["run"] == run, signal["region"] == name]
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_page_speaks_of_regions(finished):
    page = (finished.results / "report.html").read_text()
    assert "3 parcels" in page
    assert not re.search(r"\d voxels?\b", page)
