import json

import numpy as np
import pytest

from braid.common import InputError, write_array
from braid.encoding import read_design
from braid.encoding.design import check_aligned, delayed, open_response


def test_delays_stay_within_runs():
    x = np.arange(1.0, 7.0)[:, None]
    runs = np.array([0, 0, 0, 1, 1, 1])
    found = delayed(x, runs, [0, 1, 2, -1])
    expected = [[1, 0, 0, 2], [2, 1, 0, 3], [3, 2, 1, 0], [4, 0, 0, 5], [5, 4, 0, 6], [6, 5, 4, 0]]
    assert np.array_equal(found, expected)


def test_a_delay_longer_than_a_run_gives_zeros():
    found = delayed(np.ones((4, 2)), np.array([0, 0, 1, 1]), [5, -5])
    assert found.shape == (4, 4)
    assert not found.any()


def test_delay_major_columns_from_file(pair, tmp_path):
    design, _ = pair(delays=(1, 2))
    write_array(tmp_path / "design.nc", design)
    found = read_design(tmp_path / "design.nc", "block.1")
    plain = design["layer_01"].values
    assert found.dtype == np.float32
    assert np.array_equal(found[2:150, :12], plain[1:149])
    assert np.array_equal(found[2:150, 12:], plain[:148])
    assert not found[150].any()


def test_unknown_layer_names_those_there(pair, tmp_path):
    design, _ = pair()
    write_array(tmp_path / "design.nc", design)
    with pytest.raises(InputError, match=r"design.nc: there is no layer 'block.9'.*block.0"):
        read_design(tmp_path / "design.nc", "block.9")


def test_a_feature_that_is_not_finite_is_named(pair):
    design, _ = pair()
    design["layer_01"][17, 3] = np.nan
    with pytest.raises(InputError, match=r"layer 'block.1' is not finite in sample 17 \(1 such"):
        read_design(design, "block.1")


def test_unequal_numbers_and_different_samples_are_refused(pair):
    design, response = pair()
    with pytest.raises(InputError, match="design has 300 samples but response has 299"):
        check_aligned(design, response[:-1])
    other = response.assign_coords(time=response["time"] + np.where(np.arange(300) == 7, 0.5, 0))
    with pytest.raises(InputError, match=r"differ in 'time' at sample 7 \(7.0 and 7.5\)"):
        check_aligned(design, other)
    other = response.assign_attrs(runs=json.dumps(["task-a", "task-b"]))
    with pytest.raises(InputError, match="list different runs"):
        check_aligned(design, other)


def test_a_file_without_responses_is_refused(pair, tmp_path):
    design, response = pair()
    write_array(tmp_path / "design.nc", design)
    with pytest.raises(InputError, match=r"design.nc: has no variable 'response'"):
        open_response(tmp_path / "design.nc")
    write_array(tmp_path / "response.nc", response)
    assert open_response(tmp_path / "response.nc").attrs["subject"] == "01"
