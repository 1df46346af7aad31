"""Lag scan: a planted delay, and real recordings whose best lag is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_encoding_real import SITCOM_TO_SITCOM, song

from braid.common import InputError
from braid.encoding import LAG_COLUMNS, lag_scan

RIDGE = {"alphas": {"low": -2, "high": 3, "n": 6}, "alpha_scale": "trace"}


def delayed_by(pair, lag: int, delays=(0,)):
    """Responses that follow features of `lag` samples before, within runs."""
    design, response = pair(layers=1, targets=30)
    x = design["layer_00"].values
    noise = np.random.default_rng(3)
    y = noise.standard_normal(response.shape)
    weights = noise.standard_normal((x.shape[1], y.shape[1]))
    for run in np.unique(design["run"]):
        rows = np.flatnonzero(design["run"].values == run)
        y[rows[lag:]] += x[rows[: len(rows) - lag]] @ weights
    design.attrs["delays"] = json.dumps(list(delays))
    return design, response.copy(data=y.astype(np.float32))


def test_a_planted_delay_is_found(pair):
    design, response = delayed_by(pair, 2)
    response.attrs["repetition_time"] = 1.5
    found = lag_scan(design, response, range(-2, 5), {"ridge": RIDGE}, targets=12)
    assert list(found.columns) == list(LAG_COLUMNS)
    best = found.loc[found["score"].idxmax()]
    assert (best["lag"], best["seconds"], best["n_targets"]) == (2, 3.0, 12)
    others = found.loc[found["lag"] != 2, "score"]
    assert best["score"] > 0.8 and others.abs().max() < 0.2


def test_lags_are_added_to_the_delays_of_the_design(pair):
    design, response = delayed_by(pair, 3, delays=(1, 2))
    found = lag_scan(design, response, [-1, 0, 1, 2, 3], {"ridge": RIDGE}).set_index("lag")["score"]
    assert found[1] > 0.8 and found[2] > 0.8  # delays 2, 3 and 3, 4
    assert max(found[-1], found[0], found[3]) < 0.2
    assert "delays" in design.attrs and json.loads(design.attrs["delays"]) == [1, 2]


@pytest.mark.parametrize("lags", [[], [0, 0], [0.5]])
def test_lags_that_make_no_sense(pair, lags):
    design, response = pair(layers=1)
    with pytest.raises(InputError, match="different whole numbers"):
        lag_scan(design, response, lags, {"ridge": RIDGE})


def test_what_has_no_lags(pair):
    design, response = pair(layers=1)
    with pytest.raises(InputError, match="no layer 'deep'"):
        lag_scan(design, response, [0], {"ridge": RIDGE}, layer="deep")
    with pytest.raises(InputError, match="samples are events"):
        lag_scan(design.assign_attrs(design="event_locked"), response, [0], {"ridge": RIDGE})


def test_song_features_are_on_the_clock_of_the_responses(shared_data):
    """Known, mean of four subjects: .019 when 4 s early, .080 as they are, .036 when 4 s late."""
    found = [
        lag_scan(*song(shared_data / "song2023", subject), [-4, 0, 4], SITCOM_TO_SITCOM)["score"]
        for subject in (1, 2, 3, 4)
    ]
    np.testing.assert_allclose(np.mean(found, axis=0), [0.019, 0.080, 0.036], atol=0.002)
