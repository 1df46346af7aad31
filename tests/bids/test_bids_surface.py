"""Recordings on surfaces: pairs of hemispheres in the index, and clear errors for bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from surfaces import PREP, SIZE, TR, noise, surface_spec, write_gifti, write_surface

from braid.bids import index_dataset
from braid.bids.headers import gifti_shape
from braid.bids.surfaces import (
    FSAVERAGE,
    fsaverage_mesh,
    hemispheres,
    mesh_of,
    sphere_of,
    vertex_names,
    vertex_places,
)
from braid.common import InputError

RUN = "task-film_run-1"
STEM = f"sub-01_{RUN}_hemi-"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One run of 6 volumes on fsaverage5, with its raw events and the volumes beside it."""
    write_surface(tmp_path, {RUN: noise(6)}, motion=np.zeros((6, 6)))
    raw = tmp_path / "sub-01" / "func"
    (raw / f"sub-01_{RUN}_events.tsv").write_text("onset\tduration\n1.0\t10.0\n")
    folder = tmp_path / PREP / "sub-01" / "func"
    for name in ("space-MNI152NLin2009cAsym_desc-preproc_bold.json", "desc-brain_mask.nii.gz"):
        (folder / f"sub-01_{RUN}_{name}").write_text("{}")
    return tmp_path


def func(root: Path) -> Path:
    return root / PREP / "sub-01" / "func"


def test_hemispheres_are_one_recording(root):
    index = index_dataset("film", surface_spec(root))
    assert len(index) == 1
    row = index.iloc[0]
    assert row["path"] == f"derivatives/fmriprep/sub-01/func/{STEM}L_space-fsaverage5_bold.func.gii"
    assert (row["n_samples"], row["n_targets"], row["repetition_time"]) == (6, 2 * SIZE, TR)
    assert row["run"] == RUN and row["duration"] == 12.0
    assert row["events"] == f"sub-01/func/sub-01_{RUN}_events.tsv"
    assert row["confounds"].endswith(f"sub-01_{RUN}_desc-confounds_timeseries.tsv")
    assert row["mask"] is None  # fMRIPrep's mask of volumes has no place on a surface


def test_older_order_of_entities_and_densities(tmp_path):
    folder = write_surface(tmp_path, {RUN: noise(3, size=2562)}, "fsaverage_den-3k")
    row = index_dataset("film", surface_spec(tmp_path, "fsaverage")).iloc[0]
    assert row["n_targets"] == 2 * 2562
    assert mesh_of(tmp_path / row["path"]) == "fsaverage4"
    for path in list(folder.iterdir()):
        name = path.name.replace("_space-fsaverage_den-3k", "").replace(
            "_hemi", "_space-fsaverage4_hemi"
        )
        path.rename(path.with_name(name))
    row = index_dataset("film", surface_spec(tmp_path, "fsaverage4")).iloc[0]
    left, right = hemispheres(tmp_path / row["path"])
    assert "_space-fsaverage4_hemi-R_" in right.name and right.exists() and left.exists()


def test_two_densities_have_to_be_told_apart(root):
    write_surface(root, {RUN: noise(6)}, "fsaverage_den-10k")
    write_surface(root, {RUN: noise(6, size=2562)}, "fsaverage_den-3k")
    with pytest.raises(InputError, match=r"is the same run as .*`derivative\.den`"):
        index_dataset("film", surface_spec(root, "fsaverage"))
    index = index_dataset("film", surface_spec(root, "fsaverage", den="10k"))
    assert list(index["n_targets"]) == [2 * SIZE]


def test_shape_is_read_without_the_data(tmp_path):
    series = noise(5)[0]
    for one_array in (False, True):
        write_gifti(tmp_path / "x.func.gii", series, one_array)
        assert gifti_shape(tmp_path / "x.func.gii") == (5, SIZE)


# errors -------------------------------------------------------------------------------------------


def fails(root: Path, words: str, space: str = "fsaverage5") -> None:
    with pytest.raises(InputError, match=words) as caught:
        index_dataset("film", surface_spec(root, space))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("gone", "there"), ["LR", "RL"])
def test_one_hemisphere_missing(root, gone, there):
    (func(root) / f"{STEM}{gone}_space-fsaverage5_bold.func.gii").unlink()
    (func(root) / f"{STEM}{gone}_space-fsaverage5_bold.json").unlink()
    fails(
        root,
        rf"{STEM}{gone}_space-fsaverage5_bold\.func\.gii: hemisphere absent: there is "
        rf"{STEM}{there}_space-fsaverage5_bold\.func\.gii",
    )


def test_recording_absent_beside_its_sidecars(root):
    for path in func(root).glob("*.func.gii"):
        path.unlink()
    fails(root, r"recording absent: there is this file but no \.func\.gii file beside it")


def test_hemisphere_that_was_not_fetched(root):
    path = func(root) / f"{STEM}R_space-fsaverage5_bold.func.gii"
    path.unlink()
    path.symlink_to("../../.git/annex/objects/aa/bb/key")
    fails(root, r"hemi-R_.*git-annex file whose content has not been fetched")


def test_hemispheres_of_unequal_length(root):
    write_gifti(func(root) / f"{STEM}R_space-fsaverage5_bold.func.gii", noise(5)[0])
    fails(root, rf"{STEM}R_.*: 5 volumes but 6 in {STEM}L_")


def test_mesh_of_another_size(root):
    write_gifti(func(root) / f"{STEM}R_space-fsaverage5_bold.func.gii", noise(6, size=2562)[0])
    fails(
        root,
        rf"{STEM}R_.*: 2562 vertices, but fsaverage5 has 10242 in each hemisphere \(fsaverage4 has "
        "as many",
    )


def test_density_that_fsaverage_does_not_have(root):
    write_surface(root, {RUN: noise(3, size=32492)}, "fsaverage_den-32k")
    fails(root, "den-32k is no density of fsaverage; those there are: 3k, 10k", "fsaverage")


def test_file_that_is_no_time_series(root):
    path = func(root) / f"{STEM}L_space-fsaverage5_bold.func.gii"
    write_gifti(path, noise(1)[0])
    fails(root, r"hemi-L_.*must be a time series of several volumes, this file has 1 arrays")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    fails(root, r"hemi-L_.*not a readable GIFTI file")


def test_no_repetition_time(root):
    for path in func(root).glob("*_space-fsaverage5_bold.json"):
        path.write_text("{}")
    fails(root, "no JSON sidecar states its RepetitionTime")
    stated = json.dumps({"RepetitionTime": 1.5})
    (root / "task-film_bold.json").write_text(stated)  # that of the raw recordings counts too
    fails(root, r"events\.tsv: row 1: event from 1\.000 s to 11\.000 s lies outside")


# vertices and meshes ------------------------------------------------------------------------------


def test_names_of_vertices_and_back():
    names = vertex_names({"L": 3, "R": 2})
    assert list(names) == ["L-00000", "L-00001", "L-00002", "R-00000", "R-00001"]
    sides, places = vertex_places(names[[3, 1]])
    assert list(sides) == ["R", "L"] and list(places) == [0, 1]
    large = vertex_names({"L": 100_001, "R": 1})
    assert large[0] == "L-000000" and list(large) == sorted(large)
    with pytest.raises(InputError, match="target '3-4-5' is no vertex"):
        vertex_places(["3-4-5"])


def test_meshes_are_nested():
    """Each coarser mesh covers the sphere evenly with vertices of fsaverage5."""
    from scipy.spatial import cKDTree

    fine = fsaverage_mesh("fsaverage5", "sphere")
    for mesh, size in list(FSAVERAGE.items())[:2]:
        for side, xyz in fsaverage_mesh(mesh, "sphere").items():
            assert xyz.shape == (size, 3)
            gap = cKDTree(xyz).query(xyz, k=2)[0][:, 1]
            # distance of neighbours if the vertices shared the sphere as triangles do
            even = np.sqrt(4 * np.pi * 100**2 / size * 2 / np.sqrt(3))
            assert 0.8 * even < gap.min() and gap.max() < 1.2 * even
            np.testing.assert_array_equal(xyz, fine[side][:size])


def test_sphere_of_chosen_vertices():
    sphere = fsaverage_mesh("fsaverage5", "sphere")
    found = sphere_of(["R-00007", "L-10241", "R-00003"], "fsaverage5")
    np.testing.assert_array_equal(found["R"], sphere["R"][[7, 3]])
    np.testing.assert_array_equal(found["L"], sphere["L"][[10241]])
    np.testing.assert_allclose(np.linalg.norm(found["R"], axis=1), 100, atol=0.02)
    with pytest.raises(InputError, match="vertex 2562 is none of fsaverage4"):
        sphere_of(["L-02562"], "fsaverage4")
    with pytest.raises(InputError, match="fsnative: the sphere of this surface is not known"):
        sphere_of(["L-00000"], "fsnative")


def test_mesh_that_cannot_be_fetched(tmp_path, monkeypatch):
    """nilearn has no copy of fsaverage6 here, and no way to the network."""
    monkeypatch.setenv("NILEARN_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(
        InputError, match=r"fsaverage6: nilearn cannot fetch this mesh .*fsaverage5"
    ):
        fsaverage_mesh("fsaverage6", "sphere")
