"""Simulated SEEG recordings (BrainVision) of people who watch a film with narration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from braid.common import rng, write_json
from braid.simulate.recordings_anatomy import SHAFTS, contact_positions, hemisphere_of, region_of
from braid.simulate.recordings_drive import (
    Weights,
    at_cuts,
    at_words,
    digest,
    dimensions,
    draw_weights,
    drive,
    event_kernel,
    event_responses,
    spread,
)
from braid.simulate.recordings_events import SIMULATED, events_of, write_tsv
from braid.simulate.recordings_noise import line_noise, power_law, slow_drift
from braid.simulate.recordings_settings import DRIVEN, KINDS, IeegSettings
from braid.simulate.truth import truth_of
from braid.simulate.world import Stimulus, World

WINDOW = 0.2  # s, over which the signal-to-noise ratio is defined
HIGH_PASS = 0.1  # Hz, above which it is defined
DRIFT = 0.015  # Hz, fastest part of the slow drift
RESOLUTION = 0.1  # microvolt per step of the 16-bit file
BAD = {
    "flat": "no signal, contact not connected",
    "noisy": "very noisy, contact outside the brain",
    "line": "line noise only, broken cable",
}


@dataclass(frozen=True)
class IeegRecording:
    """One simulated recording.

    Attributes
    ----------
    data : ndarray of shape (channels, samples), float32
        Microvolt.
    contacts : pandas.DataFrame
        One row per channel: `name`, `x`, `y`, `z` (mm), `hemisphere`, `region`, `bad` (reason,
        empty for good ones), and what is planted: `kind`, `snr`, `latency`, `weights`,
        `autocorrelated`.
    start : float
        Time at which the film starts, s.
    truth : pandas.DataFrame
        Truth table of the good channels.
    """

    data: np.ndarray
    contacts: pd.DataFrame
    start: float
    truth: pd.DataFrame


def simulate_ieeg(world: World, settings: IeegSettings, seed: int, subject: str) -> IeegRecording:
    """Simulate one subject.

    Every word, and every scene cut where `responds_to` names it, evokes a response whose amplitude
    is a weighted sum of the latents at that event (`at_words`, `at_cuts`), with the same weights
    and the same latency. The contacts of a patch see one source with one latency; their weights
    add up to zero, as the two sides of a dipole layer do, so that an average over all good contacts
    carries none of it and re-referencing leaves silent contacts silent. Bipolar neighbours of a
    patch do see it.

    Parameters
    ----------
    world : World
    settings : IeegSettings
    seed : int
    subject : str

    Returns
    -------
    IeegRecording
    """
    film = world.films[settings.film]
    timing = rng(seed, "ieeg", subject, "timing")
    start = round(timing.uniform(*settings.lead), 2)
    length = start + film.duration + timing.uniform(*settings.tail)
    n_samples = round(length * settings.sampling_frequency)
    contacts = _place_contacts(settings, seed, subject)
    good = (contacts["bad"] == "").to_numpy()
    noise = _background(settings, contacts, n_samples, seed, subject)
    referenced = noise - noise[good].mean(axis=0)
    response, contacts, truth = _plant(film, settings, contacts, referenced, start, seed, subject)
    data = noise + response
    _add_artefacts(data, settings, contacts, seed, subject)
    return IeegRecording(data, contacts, start, truth)


def write_ieeg(
    recording: IeegRecording, film: Stimulus, settings: IeegSettings, root: Path, subject: str
) -> None:
    """Write a recording with its sidecars into a BIDS root.

    Parameters
    ----------
    recording : IeegRecording
    film : Stimulus
    settings : IeegSettings
    root : pathlib.Path
    subject : str
    """
    from pybv import write_brainvision

    folder = root / f"sub-{subject}" / "ieeg"
    folder.mkdir(parents=True)
    stem = f"sub-{subject}_task-film"
    contacts = recording.contacts
    # 16 bit as amplifiers write it: half the size of float, and finer than any noise here
    write_brainvision(
        data=recording.data * 1e-6,
        sfreq=settings.sampling_frequency,
        ch_names=list(contacts["name"]),
        fname_base=f"{stem}_ieeg",
        folder_out=str(folder),
        resolution=RESOLUTION,
        unit="µV",
        fmt="binary_int16",
    )
    write_json(folder / f"{stem}_ieeg.json", _sidecar(recording, settings))
    write_tsv(folder / f"{stem}_channels.tsv", _channels(contacts, settings))
    write_tsv(folder / f"{stem}_events.tsv", events_of(film, recording.start))
    space = f"sub-{subject}_space-MNI152NLin2009cAsym"
    write_tsv(folder / f"{space}_electrodes.tsv", _electrodes(contacts))
    write_json(
        folder / f"{space}_coordsystem.json",
        {
            "iEEGCoordinateSystem": "MNI152NLin2009cAsym",
            "iEEGCoordinateUnits": "mm",
            "iEEGCoordinateSystemDescription": "ICBM 152 nonlinear 2009c, asymmetric",
            "iEEGCoordinateProcessingDescription": "none, simulated",
            "iEEGCoordinateProcessingReference": "n/a",
        },
    )


def _place_contacts(settings: IeegSettings, seed: int, subject: str) -> pd.DataFrame:
    """Put the depth electrodes, and say what drives each contact."""
    random = rng(seed, "ieeg", subject, "contacts")
    left = bool(random.integers(2))
    rows = []
    for shaft in SHAFTS:
        positions = contact_positions(shaft, left, settings.contacts_per_shaft, random)
        first = int(random.integers(settings.contacts_per_shaft - settings.patch + 1))
        for number, position in enumerate(positions):
            inside = first <= number < first + settings.patch
            rows.append(
                {
                    "name": f"{'L' if left else 'R'}{shaft.letter}{number + 1}",
                    **dict(zip("xyz", position.round(2), strict=True)),
                    "hemisphere": hemisphere_of(position)[0].upper(),
                    "kind": shaft.kind if inside else "silent",
                }
            )
    contacts = pd.DataFrame(rows)
    contacts["region"] = region_of(contacts[["x", "y", "z"]].to_numpy())
    contacts["bad"] = ""
    silent = contacts.index[contacts["kind"] == "silent"].to_numpy()
    # the first subject has all kinds of bad channel, the next ones fewer
    count = len(BAD) - settings.subjects.index(subject) % len(BAD)
    reasons = random.permutation(list(BAD))[:count]
    contacts.loc[random.choice(silent, size=count, replace=False), "bad"] = reasons
    usable = contacts.index[(contacts["kind"] == "silent") & (contacts["bad"] == "")].to_numpy()
    contacts["autocorrelated"] = False
    slow = random.choice(usable, size=len(usable) // 4, replace=False)
    contacts.loc[slow, "autocorrelated"] = True
    return contacts


def _background(
    settings: IeegSettings, contacts: pd.DataFrame, n_samples: int, seed: int, subject: str
) -> np.ndarray:
    """Brain activity that nothing drives: each contact's own, its shaft's, and everybody's."""
    random = rng(seed, "ieeg", subject, "background")
    rate = settings.sampling_frequency
    slow = contacts["autocorrelated"].to_numpy()
    exponents = np.where(slow, 2.0, random.uniform(0.8, 1.2, len(contacts)))
    shafts = contacts["name"].str.rstrip("0123456789")
    shaft, names = pd.factorize(shafts)
    own = power_law(exponents, n_samples, rate, random)
    shared = power_law(np.ones(len(names) + 1), n_samples, rate, random)
    gain = random.uniform(0.85, 1.15, len(contacts)).astype(np.float32)
    noise = np.float32(settings.noise_sd * 0.8) * own
    noise += np.float32(settings.noise_sd * 0.6) * shared[shaft]
    noise += (np.float32(settings.shared_sd) * gain)[:, None] * shared[-1]
    return noise


def _plant(
    film: Stimulus,
    settings: IeegSettings,
    contacts: pd.DataFrame,
    noise: np.ndarray,
    start: float,
    seed: int,
    subject: str,
) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Plant responses: signals (channels, samples), contacts with what was planted, and truth.

    `noise` is what an analysis with an average reference is left with. Strength and truth are those
    of the words: what scene cuts evoke is noise to them, as far as it reaches into their windows.
    """
    rate = settings.sampling_frequency
    response = np.zeros_like(noise)
    contacts = contacts.assign(snr=0.0, latency=np.nan, weights="n/a")
    words = start + film.words["onset"].to_numpy()
    background = high_passed(noise, rate)
    planted, left = (np.zeros((len(words), len(contacts))) for _ in range(2))
    for kind in DRIVEN:
        sites = np.flatnonzero(contacts["kind"] == kind)
        random = rng(seed, "ieeg", subject, "source", kind)
        weights = draw_weights(kind, [film.latents], len(sites), random)
        gains = random.permutation(np.linspace(1.0, 0.35, len(sites)))
        weights = {part: _balanced(matrix * gains) for part, matrix in weights.items()}
        latency = round(random.uniform(*settings.latency), 3)
        by_words, by_cuts = _evoked(film, settings, weights, latency, start, noise.shape[1])
        peaks = np.broadcast_to(words[:, None] + latency, (len(words), len(sites)))
        planted[:, sites] = windows_at_words(high_passed(by_words, rate), peaks, rate)
        left[:, sites] = windows_at_words(background[sites], peaks, rate)
        ratio = planted[:, sites].var(axis=0) / left[:, sites].var(axis=0)
        scale = np.sqrt(_strengths(settings, seed, kind)[subject] / ratio.max())
        response[sites] = scale * (by_words + by_cuts)
        planted[:, sites] *= scale
        left[:, sites] += scale * windows_at_words(high_passed(by_cuts, rate), peaks, rate)
        ratio = planted[:, sites].var(axis=0) / left[:, sites].var(axis=0)
        contacts.loc[sites, "snr"] = ratio
        contacts.loc[sites, "latency"] = latency
        contacts.loc[sites, "weights"] = [digest(weights, site) for site in range(len(sites))]
    good = np.flatnonzero(contacts["bad"] == "")
    truth = truth_of(
        "ieeg",
        contacts.iloc[good].rename(columns={"name": "site"}).assign(subject=subject),
        planted[:, good],
        left[:, good],
        {kind: dimensions(kind, film.latents) for kind in KINDS},
    )
    return response, contacts, truth


def _evoked(
    film: Stimulus,
    settings: IeegSettings,
    weights: Weights,
    latency: float,
    start: float,
    n_samples: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Add up what words and what scene cuts evoke, (sites, n_samples) each; 0 where cuts do not."""
    rate = settings.sampling_frequency
    kernel = event_kernel(latency, settings.kernel_width, rate)

    def responses(latents: xr.Dataset, onsets: np.ndarray) -> np.ndarray:
        samples = np.round((start + onsets) * rate).astype(int)
        return event_responses(drive(latents, weights), samples, kernel, n_samples)

    onsets = film.words["onset"].to_numpy()
    by_words = responses(at_words(film.latents, onsets), onsets)
    if "scene_cut" not in settings.responds_to:
        return by_words, np.zeros_like(by_words)
    return by_words, responses(at_cuts(film.latents, film.cuts), film.cuts)


def _strengths(settings: IeegSettings, seed: int, kind: str) -> dict[str, float]:
    """Signal-to-noise ratio of the strongest contact of each subject's patch of one kind."""
    random = rng(seed, "ieeg", "strength", kind)
    values = spread(*settings.snr, len(settings.subjects), random)
    return dict(zip(settings.subjects, values.tolist(), strict=True))


def _balanced(weights: np.ndarray) -> np.ndarray:
    """Weights (dimension, sites) whose sum over the sites is zero."""
    return weights - weights.mean(axis=1, keepdims=True)


def high_passed(signals: np.ndarray, sampling_frequency: float) -> np.ndarray:
    """Signals without what is slower than 0.1 Hz, by a gain that rises linearly from 0 Hz.

    Such is the gain of the usual zero-phase filter with a pass-band from 0.1 Hz.

    Parameters
    ----------
    signals : ndarray of shape (channels, samples)
    sampling_frequency : float
        Hz.

    Returns
    -------
    ndarray of shape (channels, samples), float32
    """
    n_samples = signals.shape[1]
    length = next_fast_len(n_samples, real=True)
    gain = np.minimum(rfftfreq(length, 1 / sampling_frequency) / HIGH_PASS, 1.0)
    passed = np.empty(signals.shape, dtype=np.float32)
    for row, signal in enumerate(signals):
        passed[row] = irfft(rfft(signal, length) * gain, length)[:n_samples]
    return passed


def windows_at_words(
    signals: np.ndarray, peaks: np.ndarray, sampling_frequency: float
) -> np.ndarray:
    """Means over windows of 0.2 s.

    Parameters
    ----------
    signals : ndarray of shape (channels, samples)
    peaks : ndarray of shape (words, channels)
        Centres of the windows, s.
    sampling_frequency : float
        Hz.

    Returns
    -------
    ndarray of shape (words, channels)
    """
    half = max(round(WINDOW / 2 * sampling_frequency), 1)
    centre = np.round(peaks * sampling_frequency).astype(int)
    sums = np.cumsum(signals, axis=1, dtype=np.float64)
    last = signals.shape[1] - 1
    first, stop = np.clip(centre - half, 0, last), np.clip(centre + half, 0, last)
    columns = np.arange(len(signals))
    windows: np.ndarray = (sums[columns, stop] - sums[columns, first]) / (2 * half)
    return windows


def _add_artefacts(
    data: np.ndarray, settings: IeegSettings, contacts: pd.DataFrame, seed: int, subject: str
) -> None:
    """Add line noise and drift in place, and spoil the bad channels."""
    random = rng(seed, "ieeg", subject, "artefacts")
    channels, n_samples = data.shape
    rate = settings.sampling_frequency
    line = np.float32(settings.line) * line_noise(n_samples, channels, rate, random)
    data += line
    data += np.float32(settings.drift) * slow_drift(n_samples, channels, rate, DRIFT, random)
    for channel, bad in enumerate(contacts["bad"]):
        if bad == "flat":
            data[channel] = 0
        elif bad == "line":
            data[channel] = 6 * line[channel]
        elif bad == "noisy":
            data[channel] += 12 * settings.noise_sd * random.normal(size=n_samples)


def _sidecar(recording: IeegRecording, settings: IeegSettings) -> dict[str, object]:
    """Sidecar of the recording."""
    channels, n_samples = recording.data.shape
    return {
        "TaskName": "film",
        "TaskDescription": "Watching a film of moving objects and listening to its narrator",
        "Instructions": "Please watch and listen.",
        **SIMULATED,
        "SamplingFrequency": settings.sampling_frequency,
        "PowerLineFrequency": 50,
        "SoftwareFilters": "n/a",
        "HardwareFilters": "n/a",
        "iEEGReference": "simulated contact far from all others",
        "iEEGGround": "n/a",
        "iEEGPlacementScheme": "depth electrodes in one hemisphere",
        "iEEGElectrodeGroups": f"{len(SHAFTS)} shafts of {settings.contacts_per_shaft} contacts",
        "ElectrodeManufacturer": "none, simulated",
        "ElectrodeManufacturersModelName": "none, simulated",
        "ElectricalStimulation": False,
        "SubjectArtefactDescription": "n/a",
        "RecordingDuration": n_samples / settings.sampling_frequency,
        "RecordingType": "continuous",
        "SEEGChannelCount": channels,
        "ECOGChannelCount": 0,
        "EEGChannelCount": 0,
        "EOGChannelCount": 0,
        "ECGChannelCount": 0,
        "EMGChannelCount": 0,
        "MiscChannelCount": 0,
        "TriggerChannelCount": 0,
    }


def _channels(contacts: pd.DataFrame, settings: IeegSettings) -> pd.DataFrame:
    """Contents of channels.tsv."""
    return pd.DataFrame(
        {
            "name": contacts["name"],
            "type": "SEEG",
            "units": "µV",
            "low_cutoff": "n/a",
            "high_cutoff": "n/a",
            "group": contacts["name"].str.rstrip("0123456789"),
            "sampling_frequency": settings.sampling_frequency,
            "status": np.where(contacts["bad"] == "", "good", "bad"),
            "status_description": contacts["bad"].map({"": "n/a", **BAD}),
        }
    )


def _electrodes(contacts: pd.DataFrame) -> pd.DataFrame:
    """Contents of electrodes.tsv."""
    return pd.DataFrame(
        {
            **{name: contacts[name] for name in ("name", "x", "y", "z")},
            "size": 5.0,
            "hemisphere": contacts["hemisphere"],
            "region": contacts["region"],
            "group": contacts["name"].str.rstrip("0123456789"),
        }
    )
