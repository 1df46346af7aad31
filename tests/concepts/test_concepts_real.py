"""Components of weights on real recordings: known-good shares, and what two films share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from braid.concepts import Member, cross_modal_components, weight_components
from braid.concepts.pca import principal
from braid.encoding import fit_encoding, refit_weights

SHARES = [0.213, 0.153, 0.071, 0.062, 0.036, 0.035]
RIDGE = {
    "alphas": {"low": 0, "high": 5, "n": 11},
    "alpha_scale": "absolute",
    "select": "mse",
    "standardize": False,
}
WITHIN: dict[str, Any] = {
    "folds": {"scheme": "blocks", "n": 5},
    "ridge": RIDGE,
    "test": {"min_shift": 30},
}
FILMS = ("sitcomep1", "sitcomep2")
N_TOP = 50


def zscored(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean(0)) / values.std(0))


def unit_rows(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def recording(root: Path, subject: str, films: tuple[str, ...]) -> tuple[xr.Dataset, xr.DataArray]:
    x = [zscored(np.load(root / f"stimuli/{film}_pc.npy")) for film in films]
    stem = root / f"sub-{subject}/func/sub-{subject}_task-"
    tail = "_space-Schaefer200_desc-parcels_timeseries.npy"
    y = [zscored(np.load(f"{stem}{film}{tail}")) for film in films]
    coords = {
        "run": ("sample", np.repeat(np.arange(len(films)), [len(part) for part in x])),
        "time": ("sample", np.concatenate([np.arange(len(part)) + 0.5 for part in x])),
    }
    attrs = {"runs": json.dumps([f"task-{film}" for film in films]), "subject": subject}
    names = [f"parcel-{number}" for number in range(y[0].shape[1])]
    design = xr.Dataset(
        {"layer_00": (("sample", "feature_00"), np.concatenate(x).astype(np.float32))},
        coords=coords,
        attrs={**attrs, "layers": json.dumps(["given"]), "delays": "[0]"},
    )
    response = xr.DataArray(
        np.concatenate(y).astype(np.float32),
        dims=("sample", "target"),
        coords={**coords, "target": names, "site": ("target", names)},
        attrs=attrs,
    )
    return design, response


def member(root: Path, subject: str, film: str, top: np.ndarray, unit: bool) -> Member:
    """One film of a subject; `unit`: weights of length 1, whatever they predict."""
    design, response = recording(root, subject, (film,))
    fit = fit_encoding(design, response, WITHIN)
    if unit:
        fit["score"] = xr.ones_like(fit["score"])
    names = response["site"].values
    sites = pd.DataFrame({"site": names, "significant": np.isin(np.arange(len(names)), top)})
    return Member(subject, design, response, fit, sites)


@pytest.fixture(scope="module")
def root(shared_data: Path) -> Path:
    return shared_data / "song2023"


@pytest.fixture(scope="module")
def subjects(root: Path) -> list[str]:
    return [path.name.removeprefix("sub-") for path in sorted(root.glob("sub-*"))]


@pytest.fixture(scope="module")
def top(root: Path, subjects: list[str]) -> np.ndarray:
    """Quarter of the parcels that sitcom 1 predicts best in sitcom 2, mean over subjects."""
    params = {
        "folds": {"scheme": "holdout", "train": {"task": FILMS[0]}, "test": {"task": FILMS[1]}},
        "ridge": RIDGE,
    }
    scores = [
        fit_encoding(*recording(root, subject, FILMS), params)["score"].values[0]
        for subject in subjects
    ]
    return np.argsort(-np.mean(scores, axis=0))[:N_TOP]


def test_shares_of_unit_weights(root: Path, subjects: list[str], top: np.ndarray) -> None:
    members = [member(root, subject, FILMS[0], top, unit=True) for subject in subjects]
    params = {**WITHIN, "n": 6, "draws": 19}
    table = weight_components(members, "given", np.ones(100), params, seed=0).table
    assert (table["n_sites"] == 300).all() and (table["n_subjects"] == 6).all()
    # the known shares come from a ridge without intercepts: of these 300 parcels 20 choose a
    # neighbouring penalty there
    np.testing.assert_allclose(table["share"], SHARES, atol=1.5e-3)
    # of moved responses no component stands out
    assert (table["p"][:2] == 1 / 20).all()
    assert (table["null_mean"][:2] < 0.1).all() and (table["share"][:2] > 0.15).all()


@pytest.mark.parametrize(("intercept", "tolerance"), [(True, 1e-4), (False, 6e-4)])
def test_shares_of_another_solver(
    root: Path, subjects: list[str], top: np.ndarray, intercept: bool, tolerance: float
) -> None:
    """With intercepts it gives our weights, without them the known shares to their last digit."""
    solver = pytest.importorskip("himalaya.ridge").RidgeCV(
        alphas=np.logspace(0, 5, 11), cv=5, fit_intercept=intercept
    )
    rows, own = [], []
    for subject in subjects:
        design, response = recording(root, subject, FILMS[:1])
        x, y = design["layer_00"].values.astype(float), response.values.astype(float)
        rows.append(solver.fit(x, y).coef_.T[top])
        own.append(refit_weights(design, response, "given", WITHIN)["weights"].values.T[top])
    found, ours = (principal(np.concatenate([unit_rows(part) for part in parts]), 6)[1]
                   for parts in (rows, own))  # fmt: skip
    np.testing.assert_allclose(found, ours if intercept else SHARES, atol=tolerance)


def test_two_sitcoms_share_components(root: Path, subjects: list[str], top: np.ndarray) -> None:
    """Another episode with the same features: the map between the two spaces is the identity."""
    members = [
        tuple(member(root, subject, film, top, unit=False) for film in FILMS)
        for subject in subjects
    ]
    volumes = [zscored(np.load(root / f"stimuli/{film}_pc.npy")) for film in FILMS]
    unit = xr.DataArray(np.concatenate(volumes), dims=("unit", "feature"))
    params = {"n": 3, "draws": 39, "first": WITHIN, "second": WITHIN}
    maps = np.eye(100), np.eye(100)
    pairs = [(one, two) for one, two in members]
    table, _ = cross_modal_components(
        pairs, ("given", "given"), maps, (unit, unit), params, 0, ("first", "second")
    )
    first = table[table["component"] == 1]
    assert (first["p_refit"] == 1 / 40).all() and (first["r"] > 0.3).all()
    assert (first["share_other"] > 2 * first["share_other_null"]).all()
