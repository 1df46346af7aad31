"""Known-good figures of real recordings."""

import json

import numpy as np
import pytest
import xarray as xr

from braid.encoding import fit_encoding

SONG = {1: 0.0609, 2: 0.0714, 3: 0.0996, 4: 0.0893, 5: 0.0600, 6: 0.0979}
FILMS = ("sitcomep1", "sitcomep2")


def zscored(values):
    return (values - values.mean(0)) / values.std(0)


SITCOM_TO_SITCOM = {
    "folds": {
        "scheme": "holdout",
        "train": {"task": "sitcomep1"},
        "test": {"task": "sitcomep2"},
    },
    "ridge": {
        "alphas": {"low": 0, "high": 5, "n": 11},
        "alpha_scale": "absolute",
        "select": "mse",
        "standardize": False,
    },
}


def song(folder, subject):
    x = [zscored(np.load(folder / f"stimuli/{film}_pc.npy")) for film in FILMS]
    stem = f"sub-{subject:03d}/func/sub-{subject:03d}"
    tail = "space-Schaefer200_desc-parcels_timeseries.npy"
    y = [zscored(np.load(folder / f"{stem}_task-{film}_{tail}")) for film in FILMS]
    coords = {
        "run": ("sample", np.repeat([0, 1], [len(part) for part in x])),
        "time": ("sample", np.concatenate([np.arange(len(part)) + 0.5 for part in x])),
    }
    attrs = {"runs": json.dumps([f"task-{film}" for film in FILMS])}
    names = [f"parcel-{number}" for number in range(y[0].shape[1])]
    design = xr.Dataset(
        {"layer_00": (("sample", "feature_layer_00"), np.concatenate(x))},
        coords=coords,
        attrs={**attrs, "layers": json.dumps(["given"]), "delays": "[0]"},
    )
    response = xr.DataArray(
        np.concatenate(y),
        dims=("sample", "target"),
        coords={**coords, "target": names, "site": ("target", names)},
        attrs=attrs,
    )
    return design, response


@pytest.mark.parametrize("subject", list(SONG))
def test_song_sitcom_to_sitcom(shared_data, subject):
    design, response = song(shared_data / "song2023", subject)
    fit = fit_encoding(design, response, SITCOM_TO_SITCOM)
    assert float(fit["score"].mean()) == pytest.approx(SONG[subject], abs=1e-3)


def test_haxby_one_hot_leave_one_run_out(shared_data):
    nib = pytest.importorskip("nibabel")
    import pandas as pd

    root = shared_data / "haxby_bids"
    mask_file = next((root / "derivatives" / "slicemask").rglob("*mask.nii.gz"))
    mask = nib.load(mask_file).get_fdata()[..., 0] > 0
    y, x, runs = [], [], []
    names: list[str] = []
    for number, file in enumerate(sorted((root / "sub-01" / "func").glob("*_bold.nii.gz"))):
        values = nib.load(file).get_fdata()[:, :, 0][mask].T
        t = np.linspace(-1, 1, len(values))
        trend = np.column_stack([np.ones_like(t), t, t**2])
        values = zscored(values - trend @ np.linalg.lstsq(trend, values, rcond=None)[0])
        events = pd.read_csv(str(file).replace("_bold.nii.gz", "_events.tsv"), sep="\t")
        names = names or sorted(set(events["trial_type"]))
        middle = (np.arange(len(values)) + 0.5) * 2.5
        on = np.zeros((len(values), len(names)))
        for row in events.itertuples():
            inside = (middle >= row.onset) & (middle < row.onset + row.duration)
            on[inside, names.index(row.trial_type)] = 1
        y.append(values)
        x.append(on)
        runs.append(np.full(len(values), number))
    assert len(y) == 12
    coords = {
        "run": ("sample", np.concatenate(runs)),
        "time": ("sample", np.concatenate([(np.arange(len(part)) + 0.5) * 2.5 for part in y])),
    }
    design = xr.Dataset(
        {"layer_00": (("sample", "feature_layer_00"), np.concatenate(x))},
        coords=coords,
        attrs={"layers": json.dumps(["onehot"]), "delays": "[1, 2, 3, 4]"},
    )
    voxels = [str(number) for number in range(int(mask.sum()))]
    response = xr.DataArray(
        np.concatenate(y),
        dims=("sample", "target"),
        coords={**coords, "target": voxels, "site": ("target", voxels)},
    )
    ridge = {"alphas": {"low": 1, "high": 1, "n": 1}, "alpha_scale": "absolute"}
    fit = fit_encoding(
        design, response, {"folds": {"scheme": "runs"}, "ridge": {**ridge, "standardize": False}}
    )
    score = fit["score"].values[0]
    assert len(score) == 530
    assert score.max() == pytest.approx(0.715, abs=0.01)
    assert score.mean() == pytest.approx(0.184, abs=0.01)
    assert np.sum(score > 0.3) == pytest.approx(125, abs=5)
