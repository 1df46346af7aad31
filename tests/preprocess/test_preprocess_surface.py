"""BOLD on surfaces: vertices, the medial wall, regions, and cleaning as of volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from surfaces import PREP, SIZE, TR, noise, surface_spec, write_gifti, write_surface

from braid.bids import index_dataset
from braid.bids.surfaces import fsaverage_mesh, sphere_of, vertex_places
from braid.common import InputError, read_array, write_array
from braid.preprocess import Cleaned, preprocess_bold
from braid.preprocess.regression import clean_run
from braid.stimuli import responses_of

RUNS = ("task-film_run-1", "task-film_run-2")
N = 50
WALL = {"L": slice(0, 30), "R": slice(100, 140)}
STRATEGY = {"strategy": ["motion", "wm_csf"], "motion": "basic", "wm_csf": "basic"}


def motion() -> np.ndarray:
    return 0.1 * np.random.default_rng(4).normal(size=(N, 6))


def series(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, a planted sine in one vertex of each side, drift and motion, and a medial wall."""
    left, right = noise(N, seed)
    time = np.arange(N)
    left[:, 500] += 60 * np.sin(2 * np.pi * time / 10)
    right[:, 700] += 60 * np.cos(2 * np.pi * time / 10)
    for side in (left, right):
        side += time[:, None] + 20 * motion()[:, :1].astype(np.float32)
    left[:, WALL["L"]] = 0
    right[:, WALL["R"]] = np.nan
    return left, right


@pytest.fixture
def root(tmp_path: Path) -> Path:
    runs = {label: series(seed) for seed, label in enumerate(RUNS)}
    write_surface(tmp_path, runs, motion=motion())
    return tmp_path


def clean(root: Path, space: str = "fsaverage5", **params: Any) -> Cleaned:
    return preprocess_bold(index_dataset("film", surface_spec(root, space)), root, params)


def test_names_coordinates_and_clock(root, tmp_path):
    signal = clean(root).signal
    sides, places = vertex_places(signal["target"].values)
    assert list(sides) == sorted(sides)  # left, then right
    middle = {
        side: (white + fsaverage_mesh("fsaverage5", "pial")[side]) / 2
        for side, white in fsaverage_mesh("fsaverage5", "white").items()
    }
    sphere = sphere_of(signal["target"].values, "fsaverage5")
    for side in "LR":
        mine = signal.isel(target=sides == side)
        xyz = np.stack([mine[axis] for axis in "xyz"], axis=1)
        np.testing.assert_allclose(xyz, middle[side][places[sides == side]])
        turned = np.stack([mine[f"sphere_{axis}"] for axis in "xyz"], axis=1)
        np.testing.assert_allclose(turned, sphere[side])
        assert (np.median(xyz[:, 0]) < 0) == (side == "L")
    assert list(np.bincount(signal["run"])) == [N, N]
    assert signal.attrs["kind"] == "bold" and signal.attrs["space"] == "fsaverage5"
    assert json.loads(signal.attrs["vertices"]) == [SIZE, SIZE]
    assert signal["time"].values[N + 1] == TR and signal.attrs["repetition_time"] == TR
    write_array(tmp_path / "clean.nc", signal)
    np.testing.assert_array_equal(read_array(tmp_path / "clean.nc")["signal"], signal)


def test_places_on_the_sphere_reach_the_responses(root):
    """Spin tests find them there, without a mesh."""
    signal = clean(root).signal
    events = pd.DataFrame({"event": [0, 1], "run": RUNS, "onset": 4.0, "duration": 2.0})
    response, _ = responses_of(signal, events, {"kind": "rows"})
    sides, _ = vertex_places(response["target"].values)
    sphere = sphere_of(response["target"].values, response.attrs["space"])
    for side in "LR":
        got = np.stack([response[f"sphere_{axis}"][sides == side] for axis in "xyz"], axis=1)
        np.testing.assert_allclose(got, sphere[side])
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 100, atol=0.02)


def test_medial_wall_is_left_out_and_recorded(root):
    cleaned = clean(root)
    wall = [f"L-{i:05d}" for i in range(30)] + [f"R-{i:05d}" for i in range(100, 140)]
    assert list(cleaned.excluded["target"]) == wall
    assert set(cleaned.excluded["reason"]) == {"no data"}
    details = cleaned.excluded["detail"]
    assert details.iloc[0] == "zero throughout task-film_run-1 (medial wall)"
    assert details.iloc[-1] == "NaN throughout task-film_run-1 (medial wall)"
    assert cleaned.signal.sizes["target"] == 2 * SIZE - len(wall)
    assert not set(wall) & set(cleaned.signal["target"].values)


def test_vertex_without_data_in_one_run_is_left_out_of_all(root):
    folder = root / PREP / "sub-01" / "func"
    left, _ = series(1)
    left[:, 4000] = 0
    left[3, 4001] = np.nan
    write_gifti(folder / f"sub-01_{RUNS[1]}_hemi-L_space-fsaverage5_bold.func.gii", left)
    found = clean(root).excluded.set_index("target")
    assert found.loc["L-04000", "detail"] == "zero throughout task-film_run-2 (medial wall)"
    assert found.loc["L-04001", "reason"] == "NaN"


def test_planted_signals_survive_cleaning(root):
    signal = clean(root, detrend="linear", high_pass=0.02, confounds="motion").signal
    time = np.arange(N)
    moves = np.hstack([motion(), np.diff(motion(), axis=0, prepend=motion()[:1])])
    for name, wave in (("L-00500", np.sin), ("R-00700", np.cos)):
        planted = wave(2 * np.pi * time / 10)[:, None]
        # what is left of the wave beside 17 regressors, which share some of it by chance
        left = clean_run(planted, TR, "linear", 0.02, moves)[:, 0]
        got = signal.sel(target=name).values[:N]
        assert np.corrcoef(got, left)[0, 1] > 0.9
        other = signal.sel(target=name.replace("00", "01", 1)).values[:N]
        assert abs(np.corrcoef(other, left)[0, 1]) < 0.6
    centred = motion() - motion().mean(axis=0)
    assert np.abs(centred.T @ signal.values[:N]).max() < 1e-3


def write_volumes(root: Path) -> None:
    """Write the same series as voxels of images, in the same derivative."""
    import nibabel as nib

    grid = (36, 569)  # 2 x 10242
    folder = root / PREP / "sub-01" / "func"
    for seed, label in enumerate(RUNS):
        voxels = np.concatenate(series(seed), axis=1).T.reshape(*grid, 1, N)
        stem = f"sub-01_{label}_space-MNI_desc"
        image = nib.Nifti1Image(voxels, np.eye(4))
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = TR
        nib.save(image, folder / f"{stem}-preproc_bold.nii.gz")
        (folder / f"{stem}-preproc_bold.json").write_text(json.dumps({"RepetitionTime": TR}))
        mask = nib.Nifti1Image(np.ones((*grid, 1), np.uint8), np.eye(4))
        nib.save(mask, folder / f"{stem}-brain_mask.nii.gz")


@pytest.mark.parametrize(
    "params",
    [
        {"standardize": False, "detrend": "quadratic"},
        {"detrend": "linear", "high_pass": 0.015, "confounds": "motion"},
        {"confounds": STRATEGY, "spikes": {"measure": "dvars", "threshold": 2.0}},
        {"confounds": STRATEGY, "spikes": {"measure": "displacement", "threshold": 20.0}},
    ],
)
def test_cleaned_as_the_same_series_in_a_volume(root, params):
    write_volumes(root)
    surface, volume = clean(root, **params), clean(root, "MNI", **params)
    np.testing.assert_allclose(surface.signal.values, volume.signal.values, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(surface.quality, volume.quality)
    assert len(surface.excluded) == len(volume.excluded)
    regressors = surface.quality.set_index("measure")["value"]["confound regressors"]
    assert set(regressors) != {0.0} or "confounds" not in params


def test_volumes_that_a_strategy_drops_become_spikes(root):
    folder = root / PREP / "sub-01" / "func"
    marked = {3, 20}
    for path in folder.glob("*_desc-confounds_timeseries.tsv"):
        head, *rows = path.read_text().splitlines()
        moved = [f"{row}\t{5.0 if i in marked else 0.1}\t1" for i, row in enumerate(rows)]
        named = f"{head}\tframewise_displacement\tstd_dvars"
        path.write_text("\n".join([named, *moved]) + "\n")
    wanted = {"strategy": ["scrub"], "scrub": 0, "fd_threshold": 1.0, "std_dvars_threshold": 3}
    cleaned = clean(root, confounds=wanted, standardize=False)
    assert set(cleaned.quality.set_index("measure")["value"]["confound regressors"]) == {2}
    np.testing.assert_allclose(cleaned.signal.values[[3, 20]], 0, atol=1e-3)


# regions ------------------------------------------------------------------------------------------

NAMES = ["unknown", "superiortemporal", "fusiform"]


def write_annot(path: Path, labels: np.ndarray) -> None:
    from nibabel.freesurfer import write_annot

    table = np.array([[25, 5, 25, 0, 0], [140, 220, 220, 0, 0], [180, 220, 140, 0, 0]])
    write_annot(path, labels, table, NAMES, fill_ctab=True)


def write_labels(path: Path, labels: np.ndarray) -> None:
    from nibabel import save
    from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable

    table = GiftiLabelTable()
    for key, name in enumerate(NAMES):
        label = GiftiLabel(10 * key)
        label.label = name
        table.labels.append(label)
    array = GiftiDataArray(
        (10 * labels).astype(np.int32), intent="NIFTI_INTENT_LABEL", datatype="NIFTI_TYPE_INT32"
    )
    save(GiftiImage(darrays=[array], labeltable=table), path)


def regions(side: str) -> np.ndarray:
    labels = np.zeros(SIZE, dtype=int)
    labels[500:600] = 1 if side == "L" else 2
    return labels


@pytest.mark.parametrize(
    ("pattern", "write"),
    [
        ("atlas/{side}.aparc.annot", write_annot),
        ("atlas/sub-{subject}_hemi-{hemi}_seg-aparc_dseg.label.gii", write_labels),
    ],
)
def test_regions_of_an_atlas(root, pattern, write):
    (root / "atlas").mkdir()
    for side in "LR":
        path = pattern.format(side=f"{side.lower()}h", hemi=side, subject="01")
        write(root / path, regions(side))
    signal = clean(root, atlas={"image": pattern}).signal
    found = signal["region"]
    assert set(found.sel(target=["L-00500", "L-00599"]).values) == {"superiortemporal"}
    assert set(found.sel(target=["R-00500", "R-00599"]).values) == {"fusiform"}
    counts = dict(zip(*np.unique(found, return_counts=True), strict=True))
    assert counts["superiortemporal"] == counts["fusiform"] == 100
    assert set(counts) == {"n/a", "superiortemporal", "fusiform"}
    means = clean(root, atlas={"image": pattern}, average=True).signal
    assert list(means["target"].values) == ["L-superiortemporal", "R-fusiform"]
    assert list(means["region"].values) == ["superiortemporal", "fusiform"]
    write(root / pattern.format(side="rh", hemi="R", subject="01"), regions("R")[:2562])
    with pytest.raises(InputError, match="labels of 2562 vertices, but hemisphere R has 10242"):
        clean(root, atlas={"image": pattern})


# a subject's own surface --------------------------------------------------------------------------

SIZES = {"L": 300, "R": 320}


def write_native(root: Path, space: str = "fsnative") -> np.ndarray:
    """A recording on a surface of its own, without the mesh; gives coordinates for one."""
    draw = np.random.default_rng(3)
    sides = tuple(draw.normal(1000, 10, (20, size)) for size in SIZES.values())
    write_surface(root, {"task-film": sides}, space, draw.normal(size=(20, 6)))
    return draw.normal(size=(sum(SIZES.values()), 3)).astype(np.float32)


def write_mesh(root: Path, part: str, xyz: np.ndarray, middle: str = "") -> None:
    from nibabel import save
    from nibabel.gifti import GiftiDataArray, GiftiImage

    for side, points in zip("LR", np.split(xyz, [SIZES["L"]]), strict=True):
        arrays = [
            GiftiDataArray(points, intent="NIFTI_INTENT_POINTSET"),
            GiftiDataArray(np.array([[0, 1, 2]], np.int32), intent="NIFTI_INTENT_TRIANGLE"),
        ]
        path = root / PREP / "sub-01" / "anat" / f"sub-01_hemi-{side}_{middle}{part}.surf.gii"
        path.parent.mkdir(exist_ok=True)
        save(GiftiImage(darrays=arrays), path)


def test_native_surface_takes_coordinates_of_the_derivative(tmp_path):
    xyz = write_native(tmp_path)
    signal = clean(tmp_path, "fsnative").signal
    assert np.isnan(signal["x"]).all() and "sphere_x" not in signal.coords
    assert json.loads(signal.attrs["vertices"]) == list(SIZES.values())
    write_mesh(tmp_path, "midthickness", np.zeros_like(xyz), "space-fsLR_den-32k_")
    assert np.isnan(clean(tmp_path, "fsnative").signal["x"]).all()
    for part, points in (("pial", xyz), ("midthickness", 2 * xyz)):
        write_mesh(tmp_path, part, points)
        signal = clean(tmp_path, "fsnative").signal
        got = np.stack([signal[axis] for axis in "xyz"], axis=1)
        np.testing.assert_allclose(got, points)
    write_mesh(tmp_path, "midthickness", np.vstack([xyz, xyz[:5]]))
    with pytest.raises(InputError, match=r"hemi-R_midthickness.*325 vertices, but .* have 320"):
        clean(tmp_path, "fsnative")


# what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (
            {"smooth": 4},
            r"preprocess\.smooth: series on a surface are not smoothed here; set it to",
        ),
        ({"mask": "mask.nii.gz"}, r"preprocess\.mask: .* leave it at `auto`"),
        ({"atlas": {"image": "a", "labels": "b"}}, r"preprocess\.atlas\.labels: .*remove the key"),
        ({"atlas": {"image": "{hem}.annot"}}, r"placeholder \{hem\}.*there are: hemi"),
        ({"spikes": {"measure": "fd", "threshold": 1}}, "'fd' is not one of displacement, dvars"),
    ],
)
def test_bad_parameters(root, params, words):
    with pytest.raises(InputError, match=words) as caught:
        clean(root, **params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "params", [{"confounds": "motion"}, {"spikes": {"measure": "displacement", "threshold": 1}}]
)
def test_motion_needs_a_table(tmp_path, params):
    write_surface(tmp_path, {RUNS[0]: noise(N)})
    with pytest.raises(InputError, match=r"asks for head motion, .*put fMRIPrep's \*_desc-conf"):
        clean(tmp_path, **params)
    measures = set(clean(tmp_path).quality["measure"])
    assert "DVARS" in measures and "framewise displacement" not in measures


def test_runs_on_different_native_surfaces(tmp_path):
    write_native(tmp_path)
    sides = tuple(np.random.default_rng(size).normal(size=(20, size)) for size in (300, 321))
    write_surface(tmp_path, {"task-story": sides}, "fsnative")
    with pytest.raises(InputError, match=r"task-story_hemi-R.*: 321 vertices but 320 in the first"):
        clean(tmp_path, "fsnative")


def test_recording_that_changed_after_indexing(root):
    """Preprocessing reads the files again, and does not trust what the index found."""
    index = index_dataset("film", surface_spec(root))
    path = (
        root / PREP / "sub-01" / "func" / f"sub-01_{RUNS[1]}_hemi-R_space-fsaverage5_bold.func.gii"
    )
    write_gifti(path, noise(N - 1)[0])
    with pytest.raises(InputError, match=rf"{path.name}: {N - 1} volumes but {N}"):
        preprocess_bold(index, root, {})
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=rf"{path.name}: not a readable GIFTI file"):
        preprocess_bold(index, root, {})


def test_index_row_of_another_mesh_is_told(root):
    write_surface(root, {"task-story": noise(N, size=2562)}, "fsaverage4")
    both = [
        index_dataset("film", surface_spec(root, space)) for space in ("fsaverage5", "fsaverage4")
    ]
    with pytest.raises(InputError, match="is on fsaverage4, the first run on fsaverage5"):
        preprocess_bold(pd.concat(both, ignore_index=True), root, {})
