"""iEEG: what is left out, and what the filters and references do to known signals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from braid.common import InputError, read_array, write_array
from braid.preprocess import preprocess_ieeg

RATE = 500.0
TIME = np.arange(0, 20, 1 / RATE)
RUN = "task-film"
WHEN = ("before", "after")
ELECTRODES = (
    "name\tx\ty\tz\tsize\tregion\tarea\n"
    "LA1\t0.010\t0.020\t0.030\t1\tfusiform\tV4\n"
    "LA2\t0.014\t0.020\t0.030\t1\tfusiform\tV4\n"
    "LA3\t0.018\t0.020\t0.030\t1\tlingual\tV2\n"
    "XX9\t0.1\t0.1\t0.1\t1\tnowhere\tn/a\n"
)


def noise(name: str, scale: float = 10.0) -> np.ndarray:
    return np.random.default_rng(sum(map(ord, name))).normal(0, scale, TIME.size)


def shaft(*names: str) -> dict[str, np.ndarray]:
    return {name: noise(name) for name in names}


def middle(values: np.ndarray, rate: float, seconds: float = 2.0) -> np.ndarray:
    edge = int(seconds * rate)
    return values[edge:-edge]


def test_what_is_left_out_and_why(ieeg):
    channels = shaft("LA1", "LA2", "LA3", "LA4", "LA5", "LA6", "LA7", "ECG1", "LB1")
    channels["LA4"] = np.full(TIME.size, 3.0)
    channels["LA5"][100] = np.nan
    channels["LA6"] *= 40
    index, root = ieeg({RUN: channels}, RATE, {"LB1": "bad"}, {"ECG1": "ECG"})
    cleaned = preprocess_ieeg(index, root, {"noisy_threshold": 6, "exclude": ["LA7"]})
    assert list(cleaned.signal["target"].values) == ["LA1", "LA2", "LA3"]
    reasons = dict(zip(cleaned.excluded["target"], cleaned.excluded["reason"], strict=True))
    assert reasons == {
        "LA4": "flat",
        "LA5": "NaN",
        "LA6": "noisy",
        "LA7": "excluded",
        "LB1": "bad",
        "ECG1": "not a neural channel",
    }
    detail = cleaned.excluded.set_index("target")["detail"]
    assert detail["LB1"] == "seizure onset" and detail["ECG1"] == "type ECG"
    quality = cleaned.quality.set_index("measure")["value"]
    assert quality["channels recorded"] == 9 and quality["channels left out"] == 6


def test_a_channel_that_only_the_table_knows_is_listed_and_not_counted(ieeg):
    index, root = ieeg({RUN: shaft("LA1", "LA2")}, RATE)
    table = root / index["channels"].iloc[0]
    table.write_text(table.read_text("utf-8") + "LA9\tSEEG\tuV\tgood\tn/a\n", encoding="utf-8")
    cleaned = preprocess_ieeg(index, root, {})
    assert list(cleaned.excluded["reason"]) == ["not recorded"]
    quality = cleaned.quality.set_index("measure")["value"]
    assert (quality["channels recorded"], quality["channels left out"]) == (2, 0)


def test_without_any_step_the_recording_comes_back_in_microvolt(ieeg):
    channels = shaft("LA1", "LA2")
    index, root = ieeg({RUN: channels}, RATE)
    signal = preprocess_ieeg(index, root, {}).signal
    assert signal.dtype == np.float32 and signal.attrs["units"] == "uV"
    np.testing.assert_allclose(signal.values.T, list(channels.values()), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(signal["time"], TIME, atol=1e-12)


def test_edf_comes_back_in_microvolt_too(tmp_path):
    import mne

    from braid.bids import index_dataset

    channels = shaft("LA1", "LA2")
    info = mne.create_info(list(channels), RATE, "seeg")
    raw = mne.io.RawArray(1e-6 * np.array(list(channels.values())), info, verbose="ERROR")
    folder = tmp_path / "sub-01" / "ieeg"
    folder.mkdir(parents=True)
    mne.export.export_raw(folder / "sub-01_task-film_ieeg.edf", raw, verbose="ERROR")
    table = "name\ttype\tunits\nLA1\tSEEG\tuV\nLA2\tSEEG\tuV\n"
    (folder / "sub-01_task-film_channels.tsv").write_text(table)
    index = index_dataset("edf", {"root": tmp_path, "kind": "ieeg", "subjects": "all"})
    signal = preprocess_ieeg(index, tmp_path, {}).signal
    # 16 bits over about 80 uV
    np.testing.assert_allclose(signal.values.T, list(channels.values()), atol=0.01)


def test_the_array_survives_being_written(ieeg, tmp_path):
    index, root = ieeg({RUN: shaft("LA1", "LA2")}, RATE, electrodes=ELECTRODES)
    signal = preprocess_ieeg(index, root, {}).signal
    write_array(tmp_path / "clean.nc", signal)
    again = read_array(tmp_path / "clean.nc")["signal"]
    np.testing.assert_array_equal(again, signal)
    assert json.loads(again.attrs["runs"]) == [RUN]
    assert list(again["region"].values) == ["fusiform", "fusiform"]


def test_average_reference_removes_what_all_channels_share(ieeg):
    own = shaft(*(f"LA{i}" for i in range(1, 41)))  # more channels than one block holds
    shared = 200 * np.sin(2 * np.pi * 7 * TIME)
    bad = {"LB1": 1e4 * noise("LB1")}
    channels = {name: values + shared for name, values in own.items()}
    index, root = ieeg({RUN: {**channels, **bad}}, RATE, {"LB1": "bad"})
    signal = preprocess_ieeg(index, root, {"reference": "average"}).signal
    expected = np.array(list(own.values()))
    expected -= expected.mean(axis=0)
    # float32 on disk holds the shared 200 uV to 1e-5
    np.testing.assert_allclose(signal.values.T, expected, atol=1e-3)


def test_notch_removes_line_noise_and_says_so(ieeg):
    line = 100 * np.sin(2 * np.pi * 50 * TIME + 1) + 50 * np.sin(2 * np.pi * 100 * TIME)
    wave = 20 * np.sin(2 * np.pi * 10 * TIME)
    channels = {name: values + line + wave for name, values in shaft("LA1", "LA2", "LA3").items()}
    index, root = ieeg({RUN: channels}, RATE)
    for method in ("fir", "spectrum_fit"):
        cleaned = preprocess_ieeg(index, root, {"notch": [50, 100], "notch_method": method})
        quality = cleaned.quality.set_index("measure")["value"]
        assert quality["line noise at 50 Hz before"] > 1000
        assert quality["line noise at 100 Hz before"] > 250
        for line in (50, 100):
            before, after = (quality[f"line noise at {line} Hz {when}"] for when in WHEN)
            assert after < 0.01 * before
        # a wave elsewhere keeps its amplitude and its phase
        left = middle(cleaned.signal.values[:, 0], RATE)
        fitted = 2 * np.mean(left * np.sin(2 * np.pi * 10 * middle(TIME, RATE)))
        assert fitted == pytest.approx(20, abs=0.5)


def test_notch_of_second_order_and_its_phase(ieeg):
    line = 100 * np.sin(2 * np.pi * 60 * TIME)
    near = 20 * np.sin(2 * np.pi * 57 * TIME)
    index, root = ieeg({RUN: {"LA1": line + near + 1000.0}}, RATE)
    params = {"notch": [60], "notch_method": "iir"}
    found = {}
    for phase in ("zero", "causal"):
        signal = preprocess_ieeg(index, root, {**params, "notch_phase": phase}).signal
        found[phase] = signal.values[:, 0] - 1000.0
        left = middle(found[phase], RATE, 4)
        at_line = np.abs(2 * np.mean(left * np.exp(-2j * np.pi * 60 * middle(TIME, RATE, 4))))
        assert at_line < 0.2
    # what one pass does to 57 Hz, from the filter's transfer function
    from scipy.signal import freqz, iirnotch

    response = freqz(*iirnotch(60, 30, fs=RATE), [57.0], fs=RATE)[1][0]
    for phase, factor in (("causal", response), ("zero", abs(response) ** 2)):
        wave = 2 * np.mean(
            middle(found[phase], RATE, 4) * np.exp(-2j * np.pi * 57 * middle(TIME, RATE, 4))
        )
        assert wave == pytest.approx(-1j * 20 * factor, abs=0.1)
    # an offset does not ring at the start
    assert np.abs(found["causal"][:5]).max() < 130
    narrow = preprocess_ieeg(index, root, {**params, "notch_q": 300}).signal.values[:, 0] - 1000
    wave = np.abs(
        2 * np.mean(middle(narrow, RATE, 4) * np.exp(-2j * np.pi * 57 * middle(TIME, RATE, 4)))
    )
    assert wave == pytest.approx(20, abs=0.1) and abs(response) ** 2 < 0.95


def test_high_gamma_by_a_butterworth_filter(ieeg):
    inside = 30 * np.sin(2 * np.pi * 120 * TIME)
    outside = 30 * np.sin(2 * np.pi * 20 * TIME)
    index, root = ieeg({RUN: {"LA1": inside + outside + 1000.0}}, RATE)
    params = {"band": [70, 200], "band_method": "butterworth"}
    signal = preprocess_ieeg(index, root, params).signal
    assert np.abs(middle(signal.values[:, 0] - inside, RATE)).max() < 0.1
    # one side open, and another order: at the cut-off amplitude halves in two passes
    for band in ([120, None], [None, 20]):
        for order in (2, 5):
            given = {**params, "band": band, "band_order": order}
            low = preprocess_ieeg(index, root, given).signal.values[:, 0]
            low = middle(low - low.mean(), RATE)
            share = np.sqrt(2 * np.mean(low**2)) / 30
            assert share == pytest.approx(0.5, abs=0.03)
    power = preprocess_ieeg(index, root, {**params, "signal": "envelope", "log": True}).signal
    assert np.abs(middle(power.values[:, 0], RATE) - np.log(30)).max() < 0.01


def test_filters_commute_with_references(ieeg):
    channels = shaft("LA1", "LA2", "LA3", "LA4")
    index, root = ieeg({RUN: channels}, RATE)
    params = {"notch": [60], "notch_method": "iir", "band": [70, 200], "band_method": "butterworth"}
    plain = preprocess_ieeg(index, root, params).signal.values
    # filtered first, then the Laplacian: the order of the laboratory's reader
    expected = plain[:, 1:3] - (plain[:, :2] + plain[:, 2:]) / 2
    found = preprocess_ieeg(index, root, {**params, "reference": "laplacian"}).signal.values
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_standardised_channels(ieeg):
    channels = {"LA1": noise("LA1", 3) + 7, "LA2": noise("LA2", 40)}
    index, root = ieeg({"task-film_run-1": channels, "task-film_run-2": shaft("LA1", "LA2")}, RATE)
    signal = preprocess_ieeg(index, root, {"standardize": True}).signal
    assert signal.attrs["units"] == "sd"
    for run in (0, 1):
        values = signal.values[signal["run"] == run]
        np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-5)


def test_spikes_are_attenuated_or_bridged(ieeg):
    wave = 10 * np.sin(2 * np.pi * 3 * TIME)
    spiky = wave.copy()
    spiky[4000] += 500.0
    spiky[7001:7003] -= 500.0
    index, root = ieeg({RUN: {"LA1": spiky, "LA2": wave}}, RATE)
    params = {"despike": "attenuate", "despike_width": 0.042}  # 21 samples: 10 on either side
    cleaned = preprocess_ieeg(index, root, params)
    masked = np.zeros(TIME.size, dtype=bool)
    masked[3990:4011] = masked[6991:7013] = True
    np.testing.assert_allclose(
        cleaned.signal.values[:, 0], np.where(masked, 0.05 * spiky, spiky), atol=1e-3
    )
    np.testing.assert_allclose(cleaned.signal.values[:, 1], wave, atol=1e-4)
    quality = cleaned.quality.set_index("measure")["value"]
    assert quality["samples despiked"] == pytest.approx(masked.mean() / 2)
    bridged = preprocess_ieeg(index, root, {**params, "despike": "interpolate"}).signal.values[:, 0]
    line = np.interp(np.arange(3989, 4012), [3989, 4011], wave[[3989, 4011]])
    np.testing.assert_allclose(bridged[3989:4012], line, atol=1e-3)
    np.testing.assert_allclose(bridged[~masked], wave[~masked], atol=1e-3)
    # nothing is as large as this
    high = preprocess_ieeg(index, root, {**params, "despike_threshold": 90}).signal.values[:, 0]
    np.testing.assert_allclose(high, spiky, atol=1e-3)


def test_125_samples_at_2048_hz(ieeg):
    from braid.preprocess import IEEG
    from braid.preprocess.filters import despike

    block = np.zeros((1, 4096))
    block[0, 2000] = 1.0
    cleaned, share = despike(block, 2048.0, {**IEEG, "despike": "attenuate"})
    assert share[0] * 4096 == 125 and cleaned[0, 2000] == 0.05


def test_long_recordings_are_held_in_smaller_blocks(ieeg, monkeypatch):
    from braid.preprocess import ieeg as module

    index, root = ieeg({RUN: shaft(*(f"LA{i}" for i in range(1, 8)))}, RATE)
    params = {"reference": "average", "band": [1, 40], "resample": 100}
    whole = preprocess_ieeg(index, root, params).signal
    monkeypatch.setattr(module, "_BLOCK_VALUES", 2 * TIME.size)
    np.testing.assert_allclose(preprocess_ieeg(index, root, params).signal, whole, atol=1e-4)
    monkeypatch.setattr(module, "_BLOCK_VALUES", 1)
    np.testing.assert_allclose(preprocess_ieeg(index, root, params).signal, whole, atol=1e-4)


def test_band_pass_and_resampling_keep_what_is_inside(ieeg):
    inside, outside = np.sin(2 * np.pi * 8 * TIME), np.sin(2 * np.pi * 150 * TIME)
    channels = {"LA1": 30 * inside + 30 * outside + 1000.0}
    index, root = ieeg({RUN: channels}, RATE)
    signal = preprocess_ieeg(index, root, {"band": [0.5, 40], "resample": 128}).signal
    assert signal.sizes["time"] == 20 * 128 and signal.attrs["sampling_frequency"] == 128
    time = signal["time"].values
    np.testing.assert_allclose(time, np.arange(time.size) / 128)
    error = middle(signal.values[:, 0] - 30 * np.sin(2 * np.pi * 8 * time), 128, 4)
    assert np.abs(error).max() < 0.5


def test_envelope_follows_the_modulator(ieeg):
    modulator = 10 * (1 + 0.5 * np.sin(2 * np.pi * 0.7 * TIME))
    channels = {"LA1": modulator * np.sin(2 * np.pi * 100 * TIME) + noise("LA1", 0.1)}
    index, root = ieeg({RUN: channels}, RATE)
    params = {"signal": "envelope", "band": [70, 150], "resample": 50}
    signal = preprocess_ieeg(index, root, params).signal
    expected = 10 * (1 + 0.5 * np.sin(2 * np.pi * 0.7 * signal["time"].values))
    assert np.abs(middle(signal.values[:, 0] - expected, 50)).max() < 0.3
    logs = preprocess_ieeg(index, root, {**params, "log": True}).signal
    assert logs.attrs["units"] == "ln(uV)"
    assert np.abs(middle(logs.values[:, 0] - np.log(expected), 50)).max() < 0.05


def test_bipolar_reference(ieeg):
    channels = shaft("LA1", "LA2", "LA3", "LA5", "LB1")
    index, root = ieeg({RUN: channels}, RATE, electrodes=ELECTRODES, unit="m")
    cleaned = preprocess_ieeg(index, root, {"reference": "bipolar"})
    signal = cleaned.signal
    assert list(signal["target"].values) == ["LA1-LA2", "LA2-LA3"]
    np.testing.assert_allclose(signal.values[:, 0], channels["LA1"] - channels["LA2"], atol=1e-3)
    # midway between the contacts, metres turned into mm
    np.testing.assert_allclose(signal["x"], [12, 16])
    assert list(signal["region"].values) == ["fusiform", "fusiform/lingual"]
    lost = cleaned.excluded[cleaned.excluded["reason"] == "no shaft neighbour"]
    assert list(lost["target"]) == ["LA5", "LB1"]


def test_laplacian_reference(ieeg):
    channels = shaft("LA1", "LA2", "LA3", "LA4")
    index, root = ieeg({RUN: channels}, RATE)
    cleaned = preprocess_ieeg(index, root, {"reference": "laplacian"})
    assert list(cleaned.signal["target"].values) == ["LA2", "LA3"]
    expected = channels["LA3"] - (channels["LA2"] + channels["LA4"]) / 2
    np.testing.assert_allclose(cleaned.signal.values[:, 1], expected, atol=1e-3)
    assert list(cleaned.excluded["target"]) == ["LA1", "LA4"]
    quality = cleaned.quality.set_index("measure")["value"]
    assert quality["channels without shaft neighbours"] == 2


def test_positions_need_not_match_channels_one_to_one(ieeg):
    index, root = ieeg({RUN: shaft("LA1", "LA4")}, RATE, electrodes=ELECTRODES, unit="m")
    signal = preprocess_ieeg(index, root, {"region_column": "area"}).signal
    np.testing.assert_allclose(signal["z"], [30, np.nan])
    assert list(signal["region"].values) == ["V4", "n/a"]
    assert signal.attrs["coordinate_system"] == "ACPC"
    unknown = preprocess_ieeg(index, root, {"region_column": "dkt"}).signal
    assert set(unknown["region"].values) == {"n/a"}


def test_unit_of_the_coordinates(ieeg, caplog):
    index, root = ieeg({RUN: shaft("LA1", "LA4")}, RATE, electrodes=ELECTRODES, unit="n/a")
    assert np.isnan(preprocess_ieeg(index, root, {}).signal["x"]).all()
    path = root / "sub-01" / "ieeg" / "sub-01_coordsystem.json"
    path.write_text('{"iEEGCoordinateUnits": "inch"}')
    with pytest.raises(InputError, match=r"coordsystem\.json: iEEGCoordinateUnits 'inch' is not m"):
        preprocess_ieeg(index, root, {})
    path.unlink()
    signal = preprocess_ieeg(index, root, {}).signal
    np.testing.assert_allclose(signal["x"], [0.010, np.nan])
    assert "coordinates are taken as mm" in caplog.text


def test_runs_follow_one_another_and_share_their_channels(ieeg):
    first, second = shaft("LA1", "LA2", "LA3"), shaft("LA3", "LA2", "LA4")
    second["LA2"] = np.zeros(TIME.size)
    index, root = ieeg({"task-film_run-1": first, "task-film_run-2": second}, RATE)
    cleaned = preprocess_ieeg(index, root, {"resample": 100})
    signal = cleaned.signal
    assert list(signal["target"].values) == ["LA3"]
    assert list(np.bincount(signal["run"])) == [2000, 2000]
    assert signal["time"].values[2000] == 0.0
    reasons = dict(zip(cleaned.excluded["target"], cleaned.excluded["reason"], strict=True))
    assert reasons == {"LA2": "flat", "LA1": "not in every run", "LA4": "not in every run"}
    assert "run-2" in cleaned.excluded.set_index("target")["detail"]["LA2"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"notch": [300]}, "preprocess.notch asks for 300 Hz but the recording has 500 Hz"),
        ({"band": [1, 260]}, "preprocess.band asks for 260 Hz"),
        ({"band": [40, 1]}, r"\[40, 1\] is empty"),
        ({"resample": 1000}, "preprocess.resample asks for 1000 Hz"),
        ({"band": [1, 100], "resample": 128}, "128 Hz cannot hold the band up to 100 Hz"),
        ({"despike": "clip"}, "'clip' is not one of none, attenuate, interpolate"),
        ({"notch_phase": "causal"}, "only `notch_method: iir` can be causal"),
        ({"reference": "car"}, "'car' is not one of none, average, bipolar, laplacian"),
        ({"signal": "envelope"}, "an envelope needs `preprocess.band`"),
        ({"log": True}, "only an envelope has a logarithm"),
        ({"noch": [50]}, "unknown key 'noch'; did you mean 'notch'"),
        ({"types": ["ECOG"]}, "no channel is left .*not a neural channel"),
        ({"reference": "laplacian"}, "none of the 2 good channels has the neighbours"),
    ],
)
def test_bad_parameters(ieeg, params, words):
    index, root = ieeg({RUN: shaft("LA1", "LA2")}, RATE)
    with pytest.raises(InputError, match=words):
        preprocess_ieeg(index, root, params)


def test_missing_channels_table(ieeg):
    index, root = ieeg({RUN: shaft("LA1")}, RATE)
    index["channels"] = np.nan
    with pytest.raises(InputError, match=r"no channels\.tsv applies"):
        preprocess_ieeg(index, root, {})


def test_same_input_same_numbers(ieeg):
    index, root = ieeg({RUN: shaft("LA1", "LA2", "LA3")}, RATE)
    params = {"notch": [50], "reference": "average", "band": [1, 40], "resample": 128}
    one, other = (preprocess_ieeg(index, root, params).signal for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_the_schema_has_the_same_defaults(root):
    import yaml

    from braid.preprocess import IEEG

    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    stated = schema["$defs"]["preprocess_ieeg"]["properties"]
    assert {name: part["default"] for name, part in stated.items()} == IEEG
