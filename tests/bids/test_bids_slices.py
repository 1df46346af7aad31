"""When slices were acquired, against the middle of the volume."""

from __future__ import annotations

import math

import numpy as np
import pytest

from braid.bids import slice_shift
from braid.common import InputError


@pytest.mark.parametrize("shots", [1, 3])
def test_slices_spread_over_the_volume_have_no_shift(shots):
    times = list(np.tile(np.arange(30) * 2.0 / 30, shots))
    np.random.default_rng(0).shuffle(times)
    shift, spread = slice_shift({"SliceTiming": times}, 2.0)
    assert shift == pytest.approx(0, abs=1e-4) and spread == pytest.approx(58 / 30)


def test_a_pause_after_the_slices_makes_data_early():
    shift, spread = slice_shift({"SliceTiming": list(np.arange(30) * 1.0 / 30)}, 2.0)
    assert shift == pytest.approx(-0.5, abs=1e-4) and spread == pytest.approx(29 / 30)
    assert slice_shift({"SliceTiming": [0.0, 0.0]}, 2.0) == (0.0, 0.0)  # all at once


def test_corrected_data_are_where_they_were_brought():
    raw = {"SliceTiming": [0.0, 1.0]}
    for start, expected in ((1.0, 0.0), (0.0, -1.0), (0.975, -0.025)):
        metadata = {**raw, "SliceTimingCorrected": True, "StartTime": start}
        assert slice_shift(metadata, 2.0) == (pytest.approx(expected), 0.0)
    assert slice_shift({**raw, "SliceTimingCorrected": False, "StartTime": 0.0}, 2.0)[1] == 1.0


def test_what_the_sidecars_do_not_tell_is_nan():
    assert all(map(math.isnan, slice_shift({}, 2.0)))
    shift, spread = slice_shift({"SliceTimingCorrected": True}, 2.0)
    assert math.isnan(shift) and spread == 0


@pytest.mark.parametrize("times", [[0, 1500], [-0.1, 1], ["a"], [None], [[0, 1]], 1.0])
def test_times_outside_the_volume(times):
    with pytest.raises(InputError, match="sub-01: SliceTiming must hold times from 0 to 2 s"):
        slice_shift({"SliceTiming": times}, 2.0, "sub-01")
