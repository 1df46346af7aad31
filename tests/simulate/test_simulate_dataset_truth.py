"""What is planted is there, no more and no less, and the table of truth says how well it shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mne
import numpy as np
import pytest
import yaml
from scipy.signal import lfilter
from scipy.stats import norm
from small_world import WORLD, small_spec

from braid.common import rng
from braid.simulate import World, make_world
from braid.simulate.recordings_anatomy import REGIONS, region_of
from braid.simulate.recordings_bold import (
    BoldSubject,
    bold_images,
    haemodynamic_responses,
    simulate_bold,
)
from braid.simulate.recordings_drive import (
    PARTS,
    at_cuts,
    at_words,
    digest,
    draw_weights,
    drive,
    event_kernel,
    event_responses,
    spread,
)
from braid.simulate.recordings_ieeg import (
    IeegRecording,
    simulate_ieeg,
    windows_at_words,
)
from braid.simulate.recordings_noise import autoregressive, head_translations, power_law
from braid.simulate.recordings_settings import DRIVEN, BoldSettings, IeegSettings, read_settings
from braid.simulate.truth import effective_samples, expected_correlation, is_clear

SEED = 2024


@pytest.fixture(scope="module")
def world() -> World:
    """Give the demo's own world."""
    return make_world(yaml.safe_load(WORLD.read_text(encoding="utf-8")), SEED)


@pytest.fixture(scope="module")
def settings(world: World) -> tuple[IeegSettings, BoldSettings]:
    ieeg, bold, _ = read_settings(world.spec)
    assert ieeg is not None
    assert bold is not None
    return ieeg, bold


@pytest.fixture(scope="module")
def ieeg(world: World, settings: tuple[IeegSettings, BoldSettings]) -> IeegRecording:
    return simulate_ieeg(world, settings[0], SEED, "02")


@pytest.fixture(scope="module")
def bold(world: World, settings: tuple[IeegSettings, BoldSettings]) -> BoldSubject:
    return simulate_bold(world, settings[1], SEED, "01")


def held_out_r(design: np.ndarray, response: np.ndarray, folds: list[np.ndarray]) -> np.ndarray:
    """Mean correlation over folds of a nearly unpenalised fit, per column of `response`."""
    scores = []
    for fold in folds:
        train = np.setdiff1d(np.arange(len(design)), fold)
        mean, offset = design[train].mean(axis=0), response[train].mean(axis=0)
        centred = design[train] - mean
        # the codes of one attribute add up to zero: a small penalty makes their weights unique
        gram = centred.T @ centred + 1e-3 * len(train) * np.eye(design.shape[1])
        weights = np.linalg.solve(gram, centred.T @ (response[train] - offset))
        predicted = (design[fold] - mean) @ weights
        wanted = response[fold] - response[fold].mean(axis=0)
        predicted = predicted - predicted.mean(axis=0)
        norms = np.linalg.norm(predicted, axis=0) * np.linalg.norm(wanted, axis=0)
        scores.append((predicted * wanted).sum(axis=0) / norms)
    return np.mean(scores, axis=0)


# --- what is driven


def test_sum_of_two_parts_of_equal_size(world: World) -> None:
    films = [film.latents for film in world.films.values()]
    weights = draw_weights("sum", films, 20, rng(1))
    for part in PARTS["sum"]:
        alone = np.concatenate([drive(film, {part: weights[part]}) for film in films])
        np.testing.assert_allclose(alone.std(axis=0), 1, rtol=1e-6)
    whole, parts = drive(films[0], weights), [drive(films[0], {p: w}) for p, w in weights.items()]
    np.testing.assert_allclose(whole, sum(parts))


def test_stories_drive_language_only(world: World) -> None:
    films, story = [world.films["film-1"].latents], world.stories["story-1"].latents
    for kind in DRIVEN:
        weights = draw_weights(kind, films, 3, rng(2, kind))
        response = drive(story, weights)
        assert response.shape == (story.sizes["time"], 3)
        if "language" in weights:
            expected = drive(story, {"language": weights["language"]})
            np.testing.assert_array_equal(response, expected)
            assert response.std() > 0
        else:
            assert not response.any()


def test_a_word_counts_from_its_onset(world: World) -> None:
    film = world.films["cinema"]
    latents = at_words(film.latents, film.words["onset"].to_numpy())
    late = latents["time"].to_numpy() - film.words["onset"].to_numpy()
    assert (late > -1e-6).all()
    assert late.max() < 0.05 + 1e-6


def test_a_cut_shows_the_new_scene_and_what_was_said_last(world: World) -> None:
    film, scenes = world.films["cinema"], world.scenes["cinema"]
    latents = at_cuts(film.latents, film.cuts)
    attributes = list(world.spec["attributes"])
    vision, language, joint = (
        latents[part].to_pandas() for part in ("vision", "language", "joint")
    )
    words = {
        text: (name, value)
        for name, values in world.spec["attributes"].items()
        for value, texts in values.items()
        for text in texts
    }
    for row, cut in enumerate(film.cuts):
        before = film.words[film.words["onset"] < cut]
        last = before[before["sentence"] == before["sentence"].iloc[-1]]
        said = dict(words[text] for text in last["text"] if text in words)
        for name in attributes:
            seen = scenes[row + 1].look.values[name]
            assert vision.iloc[row][f"{name}:{seen}"] > 0.5
            told = language.iloc[row].filter(like=f"{name}:")
            agrees = joint.iloc[row][name]
            if name in said:
                assert told[f"{name}:{said[name]}"] > 0.5
                assert agrees == (1.0 if said[name] == seen else -1.0)
            else:
                assert not told.any()
                assert agrees == 0
    # nothing was said about the new scene: the film's own latent does not know
    assert not at_words(film.latents, film.cuts)["joint"].any()
    assert set(np.unique(joint)) == {-1.0, 0.0, 1.0}


def test_kernel_peaks_where_it_should() -> None:
    kernel = event_kernel(0.3, 0.08, 1000)
    assert kernel.argmax() == 300
    assert kernel.max() == pytest.approx(1)
    time = np.arange(len(kernel)) / 1000
    mean = (time * kernel).sum() / kernel.sum()
    assert np.sqrt(((time - mean) ** 2 * kernel).sum() / kernel.sum()) == pytest.approx(
        0.08, rel=0.1
    )


def test_haemodynamic_responses_peak_where_they_should() -> None:
    peaks = np.array([4.0, 5.0, 6.5])
    responses = haemodynamic_responses(peaks, 0.05)
    np.testing.assert_allclose(responses.argmax(axis=0) * 0.05, peaks, atol=0.05)
    np.testing.assert_allclose(responses.max(axis=0), 1, atol=1e-3)
    assert (responses.min(axis=0) < -0.05).all()  # undershoot
    assert not responses[0].any()


def test_responses_to_overlapping_words_add_up() -> None:
    kernel = np.array([0.0, 1.0, 0.5])
    found = event_responses(np.array([[2.0], [3.0], [1.0]]), np.array([1, 2, 2]), kernel, 6)
    np.testing.assert_allclose(found, [[0, 0, 2, 1 + 4, 2, 0]], atol=1e-12)


def test_spread_covers_the_range() -> None:
    values = np.sort(spread(0.01, 1.0, 10, rng(3)))
    edges = 0.01 * 100 ** (np.arange(11) / 10)
    assert ((values >= edges[:-1]) & (values <= edges[1:])).all()


def test_digest_tells_weights_apart() -> None:
    weights = {"vision": np.array([[1.0, 1.0, 2.0]]), "language": np.array([[3.0, 3.0, 3.0]])}
    assert digest(weights, 0) == digest(weights, 1) != digest(weights, 2)
    assert digest({"vision": weights["vision"]}, 0) != digest({"joint": weights["vision"]}, 0)


# --- noise


def test_power_law_has_its_slope() -> None:
    noise = power_law(np.array([1.0, 2.0]), 2**16, 256.0, rng(4))
    frequency = np.fft.rfftfreq(2**16, 1 / 256)
    power = np.abs(np.fft.rfft(noise, axis=1)) ** 2
    band = (frequency > 0.2) & (frequency < 50)
    for row, exponent in enumerate((1.0, 2.0)):
        slope = np.polyfit(np.log(frequency[band]), np.log(power[row, band]), 1)[0]
        assert slope == pytest.approx(-exponent, abs=0.05)
    np.testing.assert_allclose(noise.std(axis=1), 1, rtol=1e-4)


def test_autoregressive_noise_keeps_its_variance() -> None:
    coefficients = np.array([0.0, 0.4, 0.85])
    noise = autoregressive(coefficients, rng(5).normal(size=(20000, 3)))
    np.testing.assert_allclose(noise.var(axis=0), 1, rtol=0.1)
    lagged = [np.corrcoef(series[1:], series[:-1])[0, 1] for series in noise.T]
    np.testing.assert_allclose(lagged, coefficients, atol=0.03)


def test_head_movements_are_slow_but_for_the_spikes() -> None:
    still = head_translations(130, 0.15, 0, rng(6))
    np.testing.assert_allclose(still.std(axis=0), 0.15)
    moving = head_translations(130, 0.15, 2, rng(6))
    assert 1 <= (np.abs(moving - still).max(axis=1) > 1e-9).sum() <= 4


# --- power


def test_effective_samples_of_autoregressive_series() -> None:
    # for two AR(1) series the sum over lags is (1 + ab) / (1 - ab)
    a, b, n = 0.8, 0.6, 20000
    random = rng(7)
    series = [
        lfilter([1], [1, -coefficient], random.normal(size=(n, 8)), axis=0)
        for coefficient in (a, b)
    ]
    found = effective_samples(*series).mean()
    assert found == pytest.approx(n * (1 - a * b) / (1 + a * b), rel=0.15)


def test_expected_correlation_is_what_regression_reaches() -> None:
    random = rng(8)
    n, p, snr = 300, 12, 0.2
    scores = []
    for _ in range(60):
        design = random.normal(size=(2 * n, p))
        signal = design @ random.normal(size=p)
        response = signal / signal.std() * np.sqrt(snr) + random.normal(size=2 * n)
        weights = np.linalg.lstsq(design[:n], response[:n], rcond=None)[0]
        scores.append(np.corrcoef(design[n:] @ weights, response[n:])[0, 1])
    expected = expected_correlation(np.array([snr]), np.array([n]), np.array([p]))
    assert np.mean(scores) == pytest.approx(expected.item(), abs=0.02)
    assert expected_correlation(np.zeros(1), np.ones(1), np.ones(1)) == 0


def test_clear_is_what_a_fair_network_finds() -> None:
    # a network that sees a quarter of the variance through as many features as are charged for
    random, n, snr = rng(9), 700, np.array([0.05, 2.0])
    found = []
    for _ in range(20):
        seen = random.normal(size=(2 * n, 64))
        signal = seen @ random.normal(size=(64, 1))
        signal /= signal.std()
        hidden = random.normal(size=(2 * n, 1))
        response = np.sqrt(snr) * (0.5 * signal + np.sqrt(0.75) * hidden)
        response = response + random.normal(size=(2 * n, 2))
        weights = np.linalg.lstsq(seen[:n], response[:n], rcond=None)[0]
        prediction = seen[n:] @ weights
        r = [np.corrcoef(prediction[:, k], response[n:, k])[0, 1] for k in (0, 1)]
        found.append(np.array(r) * np.sqrt(n) > norm.isf(0.025 / 10))
    assert np.mean(found, axis=0)[0] < 0.5
    assert np.mean(found, axis=0)[1] >= 0.9
    effective = np.full(2, float(n))
    np.testing.assert_array_equal(is_clear("ieeg", snr, effective), [False, True])


def test_clear_needs_more_data_in_bold_than_one_delay_would() -> None:
    snr, n = np.array([0.5, 0.5, 2.0]), np.array([200.0, 1000.0, 1000.0])
    np.testing.assert_array_equal(is_clear("bold", snr, n), [False, True, True])
    assert not is_clear("ieeg", np.zeros(1), np.array([1e6])).any()


# --- iEEG


def test_reference_keeps_silent_contacts_silent(
    world: World, settings: tuple[IeegSettings, BoldSettings]
) -> None:
    """The planted part of a recording is the difference from one with hardly any signal."""
    spec = small_spec()
    spec["ieeg"]["subjects"] = ["01"]
    small = make_world(spec, SEED)
    loud, *_ = read_settings(spec)
    spec["ieeg"]["snr"] = [1e-12, 1e-12]
    mute, *_ = read_settings(spec)
    assert loud is not None
    assert mute is not None
    with_it, without = (simulate_ieeg(small, chosen, SEED, "01") for chosen in (loud, mute))
    planted = with_it.data.astype(float) - without.data
    contacts = with_it.contacts
    driven = (contacts["kind"] != "silent").to_numpy()
    assert not planted[~driven].any()
    assert (planted[driven].std(axis=1) > 1).all()
    good = (contacts["bad"] == "").to_numpy()
    assert np.abs(planted[good].mean(axis=0)).max() < 1e-3  # microvolt


def test_sites_respond_at_cuts_where_the_world_says_so(
    world: World, settings: tuple[IeegSettings, BoldSettings], ieeg: IeegRecording
) -> None:
    """What a recording holds more than one of a world without responses at cuts."""
    deaf = dataclasses.replace(settings[0], responds_to=("word",))
    without = simulate_ieeg(world, deaf, SEED, "02")
    film, rate = world.films["cinema"], settings[0].sampling_frequency
    evoked = ieeg.data.astype(float) - without.data
    contacts = ieeg.contacts
    driven = np.flatnonzero((contacts["kind"] != "silent").to_numpy())
    assert not np.delete(evoked, driven, axis=0).any()
    for site in driven:
        kind, latency = contacts["kind"][site], contacts["latency"][site]
        peaks = ieeg.start + film.cuts[:, None] + latency
        at_peak = windows_at_words(evoked[[site]], peaks, rate)[:, 0]
        latents = at_cuts(film.latents, film.cuts)
        design = np.hstack([latents[part].to_numpy().astype(float) for part in PARTS[kind]])
        fitted = design @ np.linalg.lstsq(design, at_peak, rcond=None)[0]
        assert np.corrcoef(fitted, at_peak)[0, 1] > 0.99
    # the truth is that of the words, which cuts hardly reach
    for name, off in (("snr", 0.02), ("n_effective", 0.02), ("expected_r", 0.01)):
        before, after = (one.truth[name].to_numpy(dtype=float) for one in (without, ieeg))
        np.testing.assert_allclose(after, before, rtol=off)
    np.testing.assert_array_equal(ieeg.truth["weights"], without.truth["weights"])


def test_ieeg_shows_what_was_planted(
    world: World, settings: tuple[IeegSettings, BoldSettings], ieeg: IeegRecording
) -> None:
    film, rate = world.films["cinema"], settings[0].sampling_frequency
    contacts = ieeg.contacts
    good = (contacts["bad"] == "").to_numpy()
    signals = ieeg.data[good] - ieeg.data[good].mean(axis=0)
    table = ieeg.truth
    latency = table["latency"].fillna(0.3).to_numpy()
    words = film.words["onset"].to_numpy()
    peaks = ieeg.start + words[:, None] + latency
    filtered = mne.filter.filter_data(signals.astype(float), rate, 0.1, 40.0, verbose="error")
    response = windows_at_words(filtered, peaks, rate)
    latents = at_words(film.latents, words)
    folds = np.array_split(np.arange(len(words)), 5)
    scores = {
        kind: held_out_r(
            np.hstack([latents[part].to_numpy().astype(float) for part in PARTS[kind]]),
            response,
            folds,
        )
        for kind in DRIVEN
    }
    for kind in DRIVEN:
        own = (table["kind"] == kind).to_numpy()
        np.testing.assert_allclose(
            scores[kind][own].mean(), table["expected_r"][own].mean(), atol=0.08
        )
    joint = (table["kind"] == "joint").to_numpy()
    assert np.abs(scores["sum"][joint]).max() < 0.15
    assert np.abs(scores["joint"][~joint]).max() < 0.15
    silent = (table["kind"] == "silent").to_numpy()
    everything = np.array([scores[kind][silent] for kind in DRIVEN])
    assert np.abs(everything.mean(axis=1)).max() < 0.05
    assert table.loc[table["clear"], "expected_r"].min() > 0.15


def test_strength_is_spread_over_subjects() -> None:
    spec = small_spec()
    spec["ieeg"]["subjects"] = ["01", "02", "03"]
    small = make_world(spec, SEED)
    chosen, *_ = read_settings(spec)
    assert chosen is not None
    tables = [simulate_ieeg(small, chosen, SEED, subject).truth for subject in chosen.subjects]
    low, high = chosen.snr
    third = np.log(high / low) / 3
    for kind in DRIVEN:
        peaks = [table.loc[table["kind"] == kind, "snr"].max() for table in tables]
        strata = np.floor(np.log(np.sort(peaks) / low) / third)
        np.testing.assert_array_equal(strata, [0, 1, 2])


# --- BOLD


def test_voxels_do_what_they_should(bold: BoldSubject) -> None:
    kind = bold.brain.voxels["kind"].to_numpy()
    for run, response in zip(bold.runs, bold.responses, strict=True):
        moving = response.std(axis=0) > 0
        assert not moving[kind == "silent"].any()
        if run.stimulus.kind == "film":
            assert moving[kind != "silent"].all()
        else:
            np.testing.assert_array_equal(moving, np.isin(kind, ["language", "sum"]))
        # nothing happens before the stimulus
        before = (np.arange(run.n_volumes) + 0.5) * 2.0 < run.start
        assert before.any()
        assert not response[before].any()


def test_bold_shows_what_was_planted(
    world: World, settings: tuple[IeegSettings, BoldSettings], bold: BoldSubject
) -> None:
    films = [index for index, run in enumerate(bold.runs) if run.stimulus.kind == "film"]
    table = bold.truth
    planted = np.concatenate([bold.responses[index] for index in films])
    measured = np.concatenate([bold.responses[i] + bold.noises[i] for i in films])
    driven = (table["kind"] != "silent").to_numpy()
    r = np.array(
        [np.corrcoef(planted[:, site], measured[:, site])[0, 1] for site in np.flatnonzero(driven)]
    )
    snr = table.loc[driven, "snr"].to_numpy()
    # slow parts count here but not in `snr`: agreement within noise, and without bias
    difference = r - np.sqrt(snr / (1 + snr))
    assert np.abs(difference).max() < 0.2
    assert abs(difference.mean()) < 0.03


def test_images_hold_responses_motion_and_drift(
    settings: tuple[IeegSettings, BoldSettings], bold: BoldSubject
) -> None:
    run, image = next(iter(bold_images(bold, settings[1], SEED)))
    assert image.dtype == np.int16
    assert image.shape == (*settings[1].shape, run.n_volumes)
    i, j, k = bold.brain.voxels[["i", "j", "k"]].to_numpy().T
    series = image[i, j, k].astype(float)
    np.testing.assert_allclose(series.mean(), settings[1].baseline, rtol=0.1)
    strongest = bold.truth["snr"].to_numpy().argmax()
    found = np.corrcoef(series[strongest], bold.responses[0][:, strongest])[0, 1]
    assert found > 0.3


def test_mask_is_found_and_keeps_all_driven_voxels(
    settings: tuple[IeegSettings, BoldSettings], bold: BoldSubject
) -> None:
    from nibabel import Nifti1Image
    from nilearn.masking import compute_epi_mask

    _, data = next(iter(bold_images(bold, settings[1], SEED)))
    mask = compute_epi_mask(Nifti1Image(data, bold.brain.affine)).get_fdata().astype(bool)
    voxels = bold.brain.voxels[["i", "j", "k"]].to_numpy()
    brain = np.zeros(mask.shape, dtype=bool)
    brain[tuple(voxels.T)] = True
    assert not (mask & ~brain).any()
    assert (mask & brain).sum() > 0.95 * brain.sum()
    driven = voxels[bold.brain.voxels["kind"] != "silent"]
    assert mask[tuple(driven.T)].all()


def test_clusters_are_where_they_are_at_home(bold: BoldSubject) -> None:
    voxels = bold.brain.voxels
    positions = np.column_stack([voxels[["i", "j", "k"]], np.ones(len(voxels))])
    places = positions @ bold.brain.affine.T
    middle = {kind: places[voxels["kind"] == kind].mean(axis=0) for kind in DRIVEN}
    assert middle["vision"][1] < -55  # posterior
    assert middle["language"][1] > middle["joint"][1]
    assert middle["joint"][2] > middle["sum"][2]  # parietal above ventral temporal
    for kind in DRIVEN:
        sides = np.sign(places[voxels["kind"] == kind][:, 0])
        assert abs(sides.sum()) <= 1


def test_regions_mirror_at_the_midline() -> None:
    centres = np.array(list(REGIONS.values()))
    assert region_of(centres) == [f"rh-{name}" for name in REGIONS]
    assert region_of(centres * [-1, 1, 1]) == [f"lh-{name}" for name in REGIONS]


def test_importing_the_room_is_cheap(root: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; import braid.simulate, braid.simulate.dataset; "
        "heavy = {'mne', 'nilearn', 'torch', 'pybv', 'nibabel'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=root / "workflow" / "scripts", timeout=60
    )
