"""A small world: sites that follow language and vision, along dimensions that both share or not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.signal import lfilter
from scipy.spatial.distance import pdist, squareform

from braid.concepts import Member
from braid.encoding import fit_encoding

P = 8
LAYERS = ("text", "image")
ANALYSIS: dict[str, Any] = {
    "folds": {"scheme": "runs"},
    "ridge": {"alphas": {"low": -2, "high": 2, "n": 3}},
    "test": {"min_shift": 20},
}
PARAMS: dict[str, Any] = {
    "n": 4,
    "draws": 39,
    "surrogates": 199,
    "language": ANALYSIS,
    "vision": ANALYSIS,
}


@dataclass(frozen=True)
class World:
    """What was planted, and what the analyses see.

    Attributes
    ----------
    members : list of tuple of Member
    maps : tuple of array
        Language to vision, and back.
    features : tuple of DataArray
    directions : array, (features, 6)
        In language features, per standard deviation: two shared, two of language, two of vision.
    truth : array, (sites, 6)
        What each site has of them, over all subjects.
    """

    members: list[tuple[Member, Member]]
    maps: tuple[np.ndarray, np.ndarray]
    features: tuple[xr.DataArray, xr.DataArray]
    directions: np.ndarray
    truth: np.ndarray


def smooth_fields(positions: np.ndarray, n: int, reach: float, seed: int) -> np.ndarray:
    """Gaussian fields with a squared-exponential covariance, (sites, n), variance 1."""
    covariance = np.exp(-0.5 * (squareform(pdist(positions)) / reach) ** 2)
    root = np.linalg.cholesky(covariance + 1e-5 * np.eye(len(positions)))
    return np.asarray(root @ np.random.default_rng(seed).standard_normal((len(positions), n)))


def make_world(
    seed: int,
    subjects: int = 2,
    sites: int = 40,
    common: bool = True,
    noise: float = 2.0,
    vision: bool = True,
    gains: tuple[float, ...] = (3.0, 2.0, 1.2, 0.8, 1.2, 0.8),
) -> World:
    """Fit both analyses of a world.

    `common`: the sites of the two shared dimensions are the same in both senses; if not, either
    sense has its own smooth maps of all four. `vision`: responses to films follow them at all.
    """
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((P, 6)))[0]
    scale, scale_vision = np.linspace(1, 5, P), np.linspace(4, 2, P)
    turn = np.linalg.qr(rng.standard_normal((P, P)))[0]
    # not symmetric, not orthogonal; dimensions apart in one space are apart in the other
    to_vision = np.diag(1 / scale) @ turn @ np.diag(scale_vision)
    given = np.diag(scale), np.diag(scale) @ to_vision
    members, truth = [], []
    for number in range(subjects):
        positions = rng.uniform(0, 60, (sites, 3))
        amounts = smooth_fields(positions, 8, 15.0, int(rng.integers(1 << 30)))
        amounts[:, :6] *= gains
        amounts[:, 6:] *= gains[:2]
        language = amounts[:, [0, 1, 2, 3]] @ directions[:, [0, 1, 2, 3]].T
        own = amounts[:, [0, 1] if common else [6, 7]]
        seen = own @ directions[:, :2].T + amounts[:, [4, 5]] @ directions[:, [4, 5]].T
        weights = (language / scale, vision * (seen / scale) @ np.linalg.inv(to_vision).T)
        members.append(
            tuple(
                _member(f"{number + 1:02d}", weight.T, layer, made, positions, noise, rng)
                for weight, layer, made in zip(weights, LAYERS, given, strict=True)
            )
        )
        truth.append(amounts[:, :6])
    features = tuple(
        xr.DataArray(
            rng.standard_normal((300, P)) @ made,
            dims=("unit", "feature"),
            coords={"unit": [f"u{unit}" for unit in range(300)]},
        )
        for made in given
    )
    maps = to_vision, np.linalg.inv(to_vision)
    return World(members, maps, features, directions, np.concatenate(truth))


def _member(
    subject: str,
    weights: np.ndarray,
    layer: str,
    given: np.ndarray,
    positions: np.ndarray,
    noise: float,
    rng: np.random.Generator,
) -> Member:
    """Fit one analysis; features are white noise through an autoregression, times `given`."""
    runs, size, targets = 3, 130, weights.shape[1]
    n = runs * size
    coords: dict[str, Any] = {
        "run": ("sample", np.repeat(np.arange(runs), size)),
        "time": ("sample", np.tile(np.arange(size) * 1.0, runs)),
    }
    attrs = {"runs": json.dumps([f"run-{run}" for run in range(runs)]), "subject": subject}
    x = lfilter([0.8], [1, -0.6], rng.standard_normal((n, P)), axis=0) @ given
    y = x @ weights + noise * lfilter([0.8], [1, -0.6], rng.standard_normal((n, targets)), axis=0)
    design = xr.Dataset(
        {"layer_00": (("sample", "feature_00"), x.astype(np.float32))},
        coords=coords,
        attrs={**attrs, "layers": json.dumps([layer]), "delays": "[0]"},
    )
    names = [f"s{site:02d}" for site in range(targets)]
    response = xr.DataArray(
        y.astype(np.float32),
        dims=("sample", "target"),
        coords={
            **coords,
            "target": names,
            "site": ("target", names),
            "region": ("target", ["region"] * targets),
            **{axis: ("target", positions[:, k]) for k, axis in enumerate("xyz")},
        },
        attrs=attrs,
        name="response",
    )
    sites = pd.DataFrame({"site": names, "significant": True})
    return Member(subject, design, response, fit_encoding(design, response, ANALYSIS), sites)
