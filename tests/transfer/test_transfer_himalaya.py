"""Cross-modal predictions of a fixed case beside himalaya's: delays, runs, both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from two_analyses import Analysis, make

from braid.encoding import folds_of, read_design, refit_weights
from braid.encoding.fit import whole_fold
from braid.transfer import transfer_sites

DELAYS = (1, 2, 3, 4)
TARGETS = 30
ALPHAS = np.logspace(0, 5, 11)
RUNS = {"film": (130, 110, 120), "story": (90, 140)}


def params(folds: dict[str, Any], select: str, form: str) -> dict[str, Any]:
    ridge = {
        "alphas": {"low": 0, "high": 5, "n": 11},
        "alpha_scale": "absolute",
        "select": select,
        "standardize": False,
        "form": form,
    }
    return {"folds": folds, "ridge": ridge, "test": {"n": 19, "min_shift": 20}}


@pytest.fixture(scope="module")
def analyses() -> dict[str, Analysis]:
    """Weights of the story are those of the film in part; targets between noise and signal."""
    rng = np.random.default_rng(11)
    film = rng.standard_normal((6 * len(DELAYS), TARGETS)) / np.sqrt(24)
    film *= np.linspace(0, 1.5, TARGETS)
    story = 0.7 * film + 0.3 * rng.standard_normal(film.shape) / np.sqrt(24)
    weights = {"film": film, "story": story}
    settings = params({"scheme": "runs"}, "r", "auto")
    return {
        name: make(name, weights[name], seed, RUNS[name], DELAYS, params=settings)
        for seed, name in enumerate(weights, start=1)
    }


@pytest.mark.parametrize("form", ["gram", "kernel", "svd"])
@pytest.mark.parametrize(
    ("folds", "select"),
    [
        ({"scheme": "runs"}, "r"),
        ({"scheme": "blocks", "n": 5, "embargo": 5.0}, "mse"),
        ({"scheme": "runs", "inner": {"length": 20, "draws": 6, "seed": 3}}, "r2"),
    ],
    ids=["runs", "blocks", "chunks"],
)
@pytest.mark.parametrize("direction", [("film", "story"), ("story", "film")])
def test_predictions_and_scores_are_those_of_himalaya(
    analyses: dict[str, Analysis],
    direction: tuple[str, str],
    folds: dict[str, Any],
    select: str,
    form: str,
) -> None:
    himalaya = pytest.importorskip("himalaya.ridge", reason="himalaya is not installed")
    from himalaya import scoring

    source, target = (analyses[name] for name in direction)
    settings = params(folds, select, form)
    layer = str(source.fit.attrs["chosen_layer"])
    fitted = refit_weights(source.design, source.response, layer, settings)
    x = {one: delayed(analyses[one].design, layer) for one in direction}
    predicted = x[direction[1]] @ fitted["weights"].values.astype(float)
    predicted += fitted["intercept"].values

    criterion = {"r": "correlation_score", "mse": "l2_neg_loss", "r2": "r2_score"}[select]
    theirs = himalaya.RidgeCV(
        alphas=ALPHAS,
        fit_intercept=True,
        cv=list(splits(source, folds)),
        solver_params={"score_func": getattr(scoring, criterion)},
    ).fit(x[direction[0]], source.response.values.astype(float))
    assert np.array_equal(
        np.log10(fitted["alpha_all"]).round(4), np.log10(theirs.best_alphas_).round(4)
    )
    assert len(np.unique(theirs.best_alphas_)) >= 3
    expected = theirs.predict(x[direction[1]])
    spread = target.response.values.std(axis=0)
    assert predicted / spread == pytest.approx(expected / spread, abs=1e-5)

    table = transfer_sites(*source.args(), *target.args(), settings, seed=1)
    assert list(table["layer"]) == [layer] * TARGETS
    runs, y = target.response["run"].values, target.response.values.astype(float)
    by_run = [pearson(expected[runs == run], y[runs == run]) for run in np.unique(runs)]
    assert table["score"].to_numpy(float) == pytest.approx(np.mean(by_run, axis=0), abs=1e-5)
    assert table["score"].max() > 0.3


def splits(source: Analysis, folds: dict[str, Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """What chooses the penalties of a model of all rows: the outer folds, or chunks."""
    rows = np.arange(source.response.sizes["sample"])
    inner = whole_fold(folds_of(source.response, folds), rows).inner
    return [(split.train, split.test) for split in inner]


def delayed(design: xr.Dataset, layer: str) -> np.ndarray:
    """Delayed features by a plain loop over runs, (samples, delays x features), float64."""
    names = ["low", "high"]
    x = design[f"layer_{names.index(layer):02d}"].values.astype(float)
    out = np.zeros((len(x), len(DELAYS) * x.shape[1]))
    runs = design["run"].values
    for run in np.unique(runs):
        rows = np.flatnonzero(runs == run)
        for number, delay in enumerate(DELAYS):
            columns = slice(number * x.shape[1], (number + 1) * x.shape[1])
            out[rows[delay:], columns] = x[rows[:-delay]]
    assert np.array_equal(out, read_design(design, layer))
    return out


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return np.asarray((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)))
