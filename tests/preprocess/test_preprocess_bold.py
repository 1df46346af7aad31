"""BOLD: masks, confounds, the one regression, and what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braid.bids import index_dataset
from braid.common import InputError, read_array, write_array
from braid.preprocess import preprocess_bold
from braid.preprocess.confounds import dvars, spikes, translations
from braid.preprocess.regression import clean_run, cosines, zscore

SHAPE, TR = (10, 11, 9), 2.0
MASK = "derivatives/slicemask/sub-{subject}/func/sub-{subject}_task-{task}_desc-brain_mask.nii.gz"
MOTION = (
    "derivatives/slicemask/sub-{subject}/func/"
    "sub-{subject}_task-{task}_run-{run}_desc-confounds_timeseries.tsv"
)


def head(n: int = 60, seed: int = 0, noise: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid of tissue in a dark background: volumes, and where the tissue is."""
    grid = np.indices(SHAPE).reshape(3, -1).T
    centre, radii = (np.array(SHAPE) - 1) / 2, np.array([4.0, 4.5, 3.5])
    inside = ((((grid - centre) / radii) ** 2).sum(axis=1) < 1).reshape(SHAPE)
    generator = np.random.default_rng(seed)
    texture = np.where(inside, 1000 + 100 * generator.normal(size=SHAPE), 50)
    return texture[..., None] + generator.normal(0, noise, (*SHAPE, n)), inside


# masks and what is left out -----------------------------------------------------------------------


def test_mask_is_found_from_the_data(bold):
    data, inside = head()
    index, root = bold({"task-film": data}, TR)
    signal = preprocess_bold(index, root, {}).signal
    found = np.zeros(SHAPE, dtype=bool)
    found[signal["i"], signal["j"], signal["k"]] = True
    overlap = 2 * (found & inside).sum() / (found.sum() + inside.sum())
    assert overlap > 0.95


def test_names_coordinates_and_clock(bold, tmp_path):
    data, _ = head()
    affine = np.array([[-3.0, 0, 0, 30], [0, 3, 0, -20], [0, 0, 4, 5], [0, 0, 0, 1]])
    index, root = bold({"task-film_run-1": data, "task-film_run-2": data[..., :40]}, TR, affine)
    signal = preprocess_bold(index, root, {}).signal
    one = signal.isel(target=17)
    voxel = [int(one[axis]) for axis in "ijk"]
    assert str(one["target"].values) == "-".join(map(str, voxel))
    np.testing.assert_allclose([one[axis] for axis in "xyz"], (affine @ [*voxel, 1])[:3])
    assert list(np.bincount(signal["run"])) == [60, 40]
    assert signal["time"].values[61] == TR and signal.attrs["repetition_time"] == TR
    write_array(tmp_path / "clean.nc", signal)
    again = read_array(tmp_path / "clean.nc")["signal"]
    np.testing.assert_array_equal(again, signal)
    assert json.loads(again.attrs["affine"]) == affine.tolist()
    assert json.loads(again.attrs["shape"]) == list(SHAPE)


def test_flat_and_nan_voxels_are_listed(bold):
    data, _ = head()
    data[5, 5, 4] = 1000.0
    second = data.copy()
    second[4, 5, 4, 7] = np.nan
    second[5, 5, 4] += np.random.default_rng(0).normal(size=60)
    data[6, 5, 4] = 1000 + np.arange(60)
    index, root = bold({"task-film_run-1": data, "task-film_run-2": second}, TR)
    cleaned = preprocess_bold(index, root, {"detrend": "linear", "mask": "auto"})
    reasons = dict(zip(cleaned.excluded["target"], cleaned.excluded["reason"], strict=True))
    assert reasons == {"5-5-4": "flat", "4-5-4": "NaN", "6-5-4": "nuisance only"}
    detail = cleaned.excluded.set_index("target")["detail"]
    assert "run-2" in detail["4-5-4"] and "run-1" in detail["5-5-4"]
    assert not set(reasons) & set(cleaned.signal["target"].values)
    assert np.isfinite(cleaned.signal).all()


def test_given_mask_must_lie_on_the_grid(bold):
    import nibabel as nib

    data, inside = head()
    index, root = bold({"task-film": data}, TR)
    affine = np.diag([5.0, 5, 5, 1])
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), root / "mask-01.nii.gz")
    signal = preprocess_bold(index, root, {"mask": "mask-{subject}.nii.gz"}).signal
    assert signal.sizes["target"] == inside.sum()
    nib.save(nib.Nifti1Image(inside[1:].astype(np.uint8), affine), root / "mask-01.nii.gz")
    with pytest.raises(InputError, match=r"mask-01\.nii\.gz: the mask .* does not lie on the grid"):
        preprocess_bold(index, root, {"mask": "mask-{subject}.nii.gz"})
    with pytest.raises(InputError, match=r"no such file; correct `preprocess\.mask`"):
        preprocess_bold(index, root, {"mask": "mask-{task}.nii.gz"})
    with pytest.raises(InputError, match=r"placeholder \{run\}, which run task-film does not have"):
        preprocess_bold(index, root, {"mask": "mask-{run}.nii.gz"})


def test_runs_on_different_grids(bold):
    data, _ = head()
    index, root = bold({"task-film_run-1": data, "task-film_run-2": data[1:]}, TR)
    with pytest.raises(InputError, match=r"run-2_bold.*its grid .* is not that of .*run-1_bold"):
        preprocess_bold(index, root, {})


@pytest.mark.parametrize("params", [{}, {"mask": "mask.nii.gz"}, {"smooth": 8}])
def test_image_that_was_cut_off(bold, params):
    import nibabel as nib

    data, inside = head()
    index, root = bold({"task-film_run-1": data, "task-film_run-2": data}, TR)
    affine = np.diag([5.0, 5, 5, 1])
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), root / "mask.nii.gz")
    path = root / index["path"].iloc[1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"run-2_bold\.nii\.gz: the image cannot be read"):
        preprocess_bold(index, root, params)


def test_regions_come_from_the_atlas(bold):
    import nibabel as nib

    data, _ = head()
    index, root = bold({"task-film": data}, TR)
    # an atlas on a grid twice as fine, in the same space
    labels = np.ones((20, 22, 18), np.int16)
    labels[10:] = 2
    labels[:, :, 16:] = 0
    fine = np.diag([2.5, 2.5, 2.5, 1])
    fine[:3, 3] = -1.25
    nib.save(nib.Nifti1Image(labels, fine), root / "atlas.nii.gz")
    (root / "atlas.tsv").write_text("index\tname\n1\tleft part\n2\tright part\n")
    atlas = {"image": "atlas.nii.gz", "labels": "atlas.tsv"}
    signal = preprocess_bold(index, root, {"atlas": atlas}).signal
    expected = np.where(signal["i"] < 5, "left part", "right part")
    expected[signal["k"] >= 8] = "n/a"
    assert list(signal["region"].values) == list(expected)


def test_parcels_are_means_before_anything_is_cleaned(bold):
    """As nilearn's label masker has it, motion left to neither."""
    import nibabel as nib
    from nilearn.maskers import NiftiLabelsMasker

    data, inside = head()
    data += 20 * np.sin(np.arange(60) / 5)  # common to all
    index, root = bold({"task-film_run-1": data, "task-film_run-2": data[..., :40] * 1.5}, TR)
    labels = np.where(inside, 1, 0).astype(np.int16)
    labels[5:][inside[5:]] = 2
    labels[:, 7:][inside[:, 7:]] = 4
    affine = nib.load(root / index["path"].iloc[0]).affine
    nib.save(nib.Nifti1Image(labels, affine), root / "atlas.nii.gz")
    (root / "atlas.tsv").write_text("index\tname\n1\tleft\n2\tright\n4\tfront\n")
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), root / "mask.nii.gz")
    params = {
        "mask": "mask.nii.gz", "atlas": {"image": "atlas.nii.gz", "labels": "atlas.tsv"},
        "average": True, "detrend": "linear",
    }  # fmt: skip
    signal = preprocess_bold(index, root, params).signal
    assert sorted(signal["target"].values) == ["front", "left", "right"]
    assert list(signal["site"].values) == list(signal["region"].values)
    assert "affine" not in signal.attrs and "i" not in signal.coords
    masker = NiftiLabelsMasker(root / "atlas.nii.gz", detrend=True, standardize="zscore_sample")
    for run, path in enumerate(index["path"]):
        expected = masker.fit_transform(root / path)
        expected = expected / expected.std(axis=0)  # z of the population, as here
        ours = signal.values[signal["run"].values == run]
        for column, name in enumerate(("left", "right", "front")):
            own = ours[:, list(signal["target"].values).index(name)]
            np.testing.assert_allclose(own, expected[:, column], atol=1e-3)
    voxels = np.argwhere(labels == 4) @ affine[:3, :3].T + affine[:3, 3]
    found = signal.sel(target="front")
    np.testing.assert_allclose([found[axis] for axis in "xyz"], voxels.mean(axis=0), rtol=1e-5)


def test_parcels_without_voxels_are_listed_and_no_atlas_is_refused(bold):
    import nibabel as nib

    data, inside = head()
    data[5:8, 5, 4] = 7.0  # the whole of region 2 is constant
    index, root = bold({"task-film": data}, TR)
    labels = inside.astype(np.int16)
    labels[5:8, 5, 4] = 2
    affine = nib.load(root / index["path"].iloc[0]).affine
    nib.save(nib.Nifti1Image(labels, affine), root / "atlas.nii.gz")
    (root / "atlas.tsv").write_text("index\tname\n1\trest\n2\tdead\n")
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), root / "mask.nii.gz")
    params = {"mask": "mask.nii.gz", "average": True}
    atlas = {"image": "atlas.nii.gz", "labels": "atlas.tsv"}
    cleaned = preprocess_bold(index, root, {**params, "atlas": atlas})
    assert list(cleaned.signal["target"].values) == ["rest"]
    assert list(cleaned.excluded["target"]) == ["dead"]
    with pytest.raises(InputError, match="average: there is no atlas to average over"):
        preprocess_bold(index, root, params)


# the regression -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("detrend", "degree"), [("linear", 1), ("quadratic", 2)])
def test_one_regression_equals_least_squares(detrend, degree):
    generator = np.random.default_rng(3)
    n = 100
    line = np.arange(n)
    confounds = generator.normal(size=(n, 3)).cumsum(axis=0)
    series = generator.normal(size=(n, 5)) + 0.01 * line[:, None] ** 2 + confounds @ np.ones((3, 5))
    orders = np.arange(1, int(2 * n * 0.01 * TR) + 1)
    cosines = np.cos(np.pi * (line[:, None] + 0.5) * orders / n)
    powers = (line[:, None] / n) ** np.arange(degree + 1)
    design = np.hstack([powers, cosines, confounds])
    expected = series - design @ np.linalg.lstsq(design, series, rcond=None)[0]
    found = clean_run(series, TR, detrend, 0.01, confounds)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    # nothing of any nuisance is left, which regressing in steps does not achieve
    assert np.abs(design.T @ found).max() < 1e-7


@pytest.mark.parametrize(
    ("n", "tr", "high_pass"), [(121, 2.5, 0.01), (100, 2.0, 0.01), (37, 1, 0.3)]
)
def test_cosines_are_those_of_nilearn(n, tr, high_pass):
    from nilearn.glm.first_level.design_matrix import create_cosine_drift

    theirs = create_cosine_drift(high_pass, tr * np.arange(n))[:, :-1]
    np.testing.assert_allclose(cosines(n, tr, high_pass), theirs, atol=1e-12)


def test_a_cosine_at_the_cut_off_is_there_whatever_the_rounding():
    assert 2 * 225 * 0.1 * 1.4 < 63  # in binary
    assert cosines(225, 1.4, 0.1).shape == (225, 63)


def test_a_confound_like_a_cosine_does_not_switch_the_filter_off():
    n = 120
    time = np.arange(n)
    slow = np.cos(np.pi * (time + 0.5) * 2 / n)
    series = np.random.default_rng(0).normal(size=(n, 2)) + 5 * slow[:, None]
    other = np.cos(np.pi * (time + 0.5) / n)
    found = clean_run(series, TR, "none", 0.01, other[:, None])
    assert np.abs(slow @ found).max() < 1e-8


def test_too_many_regressors():
    series = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(InputError, match=r"sub-01_bold: 29 nuisance regressors for 30 volumes"):
        clean_run(series, TR, confounds=np.eye(30)[:, :29], name="sub-01_bold")


def test_zscore_uses_the_population_standard_deviation():
    series = np.random.default_rng(0).normal(3, 2, (50, 4))
    expected = (series - series.mean(axis=0)) / series.std(axis=0)
    np.testing.assert_allclose(zscore(series), expected)
    assert np.isnan(zscore(np.ones((5, 1)))).all()


def test_runs_are_standardised_each(bold):
    data, _ = head()
    index, root = bold({"task-film_run-1": data, "task-film_run-2": 3 * data + 50}, TR)
    signal = preprocess_bold(index, root, {"high_pass": 0.01}).signal
    for run in (0, 1):
        values = signal.values[signal["run"] == run]
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-4)
    raw = preprocess_bold(index, root, {"standardize": False}).signal
    assert raw.values[raw["run"] == 1].std() == pytest.approx(15, rel=0.05)


def test_smoothing_lowers_independent_noise(bold):
    data, _ = head()
    index, root = bold({"task-film": data}, TR)
    plain = preprocess_bold(index, root, {"standardize": False}).signal
    smooth = preprocess_bold(index, root, {"standardize": False, "smooth": 8}).signal
    assert smooth.std() < 0.5 * plain.std()


# motion -------------------------------------------------------------------------------------------


def test_translations_are_estimated_in_millimetres():
    from scipy.ndimage import gaussian_filter, shift

    generator = np.random.default_rng(5)
    _, inside = head()
    still = gaussian_filter(np.where(inside, 1000 + 300 * generator.normal(size=SHAPE), 0), 1.2)
    true = 0.15 * generator.normal(size=(40, 3))
    true -= true.mean(axis=0)
    volumes = np.stack([shift(still, one, order=3, mode="nearest") for one in true], axis=-1)
    affine = np.diag([-3.0, 3.0, 4.0, 1.0])
    found = translations(volumes, inside, affine)
    expected = true @ affine[:3, :3].T
    for axis in range(3):
        assert np.corrcoef(found[:, axis], expected[:, axis])[0, 1] > 0.98
    assert np.abs(found - expected).max() < 0.2 * np.abs(expected).max()


def test_motion_regressors_remove_what_motion_made(bold):
    from scipy.ndimage import gaussian_filter, shift

    data, _ = head(80, noise=1.0)
    still = gaussian_filter(data.mean(axis=-1), 1.0)
    jitter = 0.2 * np.random.default_rng(1).normal(size=(80, 3))
    moved = np.stack([shift(still, one, order=1, mode="nearest") for one in jitter], axis=-1)
    index, root = bold({"task-film": moved + data - data.mean(axis=-1, keepdims=True)}, TR)
    params = {"standardize": False}
    before = preprocess_bold(index, root, params).signal
    after = preprocess_bold(index, root, {**params, "confounds": "motion"})
    assert float(after.signal.var()) < 0.3 * float(before.var())
    quality = after.quality.set_index("measure")["value"]
    assert quality["confound regressors"] == 6
    assert quality["framewise displacement"] > 0.5


def test_spikes_mark_single_volumes(bold):
    data, _ = head()
    data[..., 30] += 200
    index, root = bold({"task-film": data}, TR)
    cleaned = preprocess_bold(index, root, {"spikes": {"measure": "dvars", "threshold": 5}})
    # the volume itself and the way back
    assert cleaned.quality.set_index("measure")["value"]["confound regressors"] == 2
    assert np.abs(cleaned.signal.values[30]).max() < 1e-3
    change = np.array([0.0, 1.0, 1.1, 0.9, 9.0, 1.0])
    marks = spikes(change, change, {"measure": "displacement", "threshold": 5})
    assert marks.shape == (6, 1) and marks[4, 0] == 1
    with pytest.raises(InputError, match=r"'fd' is not one of displacement, dvars"):
        spikes(change, change, {"measure": "fd", "threshold": 1})
    np.testing.assert_allclose(dvars(np.array([[0.0, 0], [3, 4]])), [0, np.sqrt(12.5)])


# tables of confounds ------------------------------------------------------------------------------


def test_confounds_from_a_table(bold):
    data, _ = head()
    table = np.random.default_rng(2).normal(size=(60, 2))
    rows = ["a\tb\tc"] + [f"{a}\t{b}\tn/a" for a, b in table]
    files = {"conf/sub-01_film.tsv": "\n".join(rows) + "\n"}
    index, root = bold({"task-film": data + 50 * table[:, 0]}, TR, files=files)
    params = {"confounds": "conf/sub-{subject}_{task}.tsv", "standardize": False}
    with pytest.raises(InputError, match=r"sub-01_film\.tsv: row 2: column 'c' is not a number"):
        preprocess_bold(index, root, params)
    cleaned = preprocess_bold(index, root, {**params, "confound_columns": ["a", "b"]})
    assert np.abs(table.T @ cleaned.signal.values).max() < 1e-2
    with pytest.raises(InputError, match="column 'd' is missing"):
        preprocess_bold(index, root, {**params, "confound_columns": ["d"]})
    path = root / "conf/sub-01_film.tsv"
    path.write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(InputError, match="59 rows of confounds for 60 volumes"):
        preprocess_bold(index, root, {**params, "confound_columns": ["a"]})


def fmriprep(bold, n: int = 60):
    """A derivative as fMRIPrep names it; gives index, root and its motion parameters."""
    import nibabel as nib

    data, inside = head(n)
    _, root = bold({"task-film": data}, TR)
    folder = root / "derivatives" / "fmriprep" / "sub-01" / "func"
    folder.mkdir(parents=True)
    stem = "sub-01_task-film_"
    space = "space-MNI152NLin2009cAsym_"
    image = nib.load(root / "sub-01" / "func" / f"{stem}bold.nii.gz")
    nib.save(image, folder / f"{stem}{space}desc-preproc_bold.nii.gz")
    mask = nib.Nifti1Image(inside.astype(np.uint8), image.affine)
    nib.save(mask, folder / f"{stem}{space}desc-brain_mask.nii.gz")
    motion = 0.1 * np.random.default_rng(4).normal(size=(n, 6))
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
    lines = ["\t".join([*names, "csf", "white_matter"])]
    lines += ["\t".join(map(str, [*row, row[0] ** 2, row[1] ** 2])) for row in motion]
    table = "\n".join(lines) + "\n"
    (folder / f"{stem}desc-confounds_timeseries.tsv").write_text(table)
    described = {name: {"Method": "Mean"} for name in (*names, "csf", "white_matter")}
    (folder / f"{stem}desc-confounds_timeseries.json").write_text(json.dumps(described))
    spec = {
        "root": root,
        "kind": "bold",
        "subjects": ["01"],
        "derivative": {"root": "derivatives/fmriprep", "space": "MNI152NLin2009cAsym"},
    }
    return index_dataset("prep", spec), root, motion, inside


def test_fmriprep_derivatives(bold):
    index, root, motion, inside = fmriprep(bold)
    cleaned = preprocess_bold(index, root, {"confounds": "motion"})
    assert cleaned.signal.sizes["target"] == inside.sum()
    centred = motion - motion.mean(axis=0)
    assert np.abs(centred.T @ cleaned.signal.values).max() < 1e-3
    quality = cleaned.quality.set_index("measure")["value"]
    assert quality["confound regressors"] == 12
    step = np.abs(np.diff(motion, axis=0, prepend=motion[:1]))
    step[:, 3:] *= 50  # radians on a sphere of 50 mm
    expected = step.sum(axis=1).mean()
    assert quality["framewise displacement"] == pytest.approx(expected, rel=1e-6)


def times(cleaned):
    quality = cleaned.quality.set_index("measure")["value"]
    return {name: value for name, value in quality.items() if name.startswith("slice time")}


def test_slice_times_are_told_where_the_sidecars_do(bold):
    data, _ = head()
    index, root = bold({"task-film": data}, TR)
    assert times(preprocess_bold(index, root, {})) == {}
    # all slices in the first second of two
    (root / "task-film_bold.json").write_text(json.dumps({"SliceTiming": [0.0, 0.5]}))
    found = times(preprocess_bold(index, root, {}))
    assert found == {"slice time shift": pytest.approx(-0.5), "slice time spread": 0.5}


def test_slice_times_of_a_derivative_are_its_own(bold):
    index, root, _, _ = fmriprep(bold)
    (root / "task-film_bold.json").write_text(json.dumps({"SliceTiming": [0.0, 0.5]}))
    assert times(preprocess_bold(index, root, {}))["slice time shift"] == pytest.approx(-0.5)
    corrected = {"SliceTimingCorrected": True, "StartTime": 0.25}
    sidecar = root / "derivatives" / "fmriprep" / "task-film_bold.json"
    sidecar.write_text(json.dumps(corrected))
    found = times(preprocess_bold(index, root, {}))
    assert found == {"slice time shift": pytest.approx(-0.75), "slice time spread": 0.0}


def test_fmriprep_strategies_of_nilearn(bold):
    index, root, motion, _ = fmriprep(bold)
    wanted = {"strategy": ["motion", "wm_csf"], "motion": "basic", "wm_csf": "basic"}
    cleaned = preprocess_bold(index, root, {"confounds": wanted})
    assert cleaned.quality.set_index("measure")["value"]["confound regressors"] == 8
    centred = motion - motion.mean(axis=0)
    assert np.abs(centred.T @ cleaned.signal.values).max() < 1e-3
    with pytest.raises(InputError, match=r"`preprocess\.confounds` cannot be loaded"):
        preprocess_bold(index, root, {"confounds": {"strategy": ["moton"]}})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"detrend": "cubic"}, "'cubic' is not one of none, linear, quadratic"),
        ({"higpass": 0.01}, "unknown key 'higpass'; did you mean 'high_pass'"),
        ({"confounds": "none.tsv"}, r"none\.tsv: no such file; correct `preprocess\.confounds`"),
        ({"high_pass": 0.3}, "0.3 Hz would remove everything from volumes 2 s apart"),
        ({"high_pass": 0.249}, "nuisance regressors for 60 volumes"),
    ],
)
def test_bad_parameters(bold, params, words):
    index, root = bold({"task-film": head()[0]}, TR)
    with pytest.raises(InputError, match=words):
        preprocess_bold(index, root, params)


# real recordings ----------------------------------------------------------------------------------


def haxby(shared_data):
    root = shared_data / "haxby_bids"
    spec = {"root": root, "kind": "bold", "subjects": ["01"], "tasks": ["objectviewing"]}
    return index_dataset("haxby", spec), root


def test_haxby_as_the_study_sets_it(shared_data):
    index, root = haxby(shared_data)
    cleaned = preprocess_bold(index, root, {"mask": MASK, "detrend": "quadratic"})
    assert cleaned.signal.shape == (12 * 121, 530) and cleaned.excluded.empty
    # a single slice: the mask that is found is the one that was drawn
    assert preprocess_bold(index, root, {}).signal.sizes["target"] == 530


def test_haxby_known_good_encoding(shared_data):
    """Box-cars delayed by 1-4 volumes, ridge alpha 10, leave one run out."""
    from braid.bids import read_events

    index, root = haxby(shared_data)
    signal = preprocess_bold(index, root, {"mask": MASK, "detrend": "quadratic"}).signal
    designs = []
    for _, row in index.iterrows():
        events = read_events(root / row["events"])
        boxes = np.zeros((121, 8))
        middle = 2.5 * (np.arange(121) + 0.5)
        for column, label in enumerate(sorted(set(events["trial_type"]))):
            for _, event in events[events["trial_type"] == label].iterrows():
                end = event["onset"] + event["duration"]
                boxes[(middle >= event["onset"]) & (middle < end), column] = 1
        delayed = [np.vstack([np.zeros((d, 8)), boxes[:-d]]) for d in (1, 2, 3, 4)]
        designs.append(np.hstack(delayed))
    runs = signal["run"].values
    design = np.vstack(designs)
    scores = []
    for held in range(12):
        train, test = runs != held, runs == held
        centred = design[train] - design[train].mean(axis=0)  # an unpenalised intercept
        gram = centred.T @ centred + 10 * np.eye(32)
        weights = np.linalg.solve(gram, centred.T @ signal.values[train])
        prediction = zscore(design[test] @ weights)
        scores.append((prediction * zscore(signal.values[test])).mean(axis=0))
    r = np.mean(scores, axis=0)
    assert (round(float(r.mean()), 3), round(float(r.max()), 3)) == (0.184, 0.715)
    assert (r > 0.3).sum() == 125


def test_haxby_with_its_motion_tables(shared_data):
    index, root = haxby(shared_data)
    cleaned = preprocess_bold(index, root, {"mask": MASK, "confounds": MOTION, "high_pass": 0.01})
    count = cleaned.quality[cleaned.quality["measure"] == "confound regressors"]["value"]
    assert set(count) == {6}
