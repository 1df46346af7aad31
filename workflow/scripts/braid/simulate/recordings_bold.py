"""Simulated BOLD runs (NIfTI) of people who watch films and listen to stories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import affine_transform, spline_filter
from scipy.signal import fftconvolve

from braid.common import rng
from braid.simulate.recordings_anatomy import (
    REGIONS,
)
from braid.simulate.recordings_brain import Brain, make_brain
from braid.simulate.recordings_drive import (
    dimensions,
    drive,
    spread,
)
from braid.simulate.recordings_events import (
    SILENT,
    SIMULATED,
    events_of,
    without_narration,
    write_tsv,
)
from braid.simulate.recordings_noise import (
    autoregressive,
    head_translations,
    slow_drift,
    spatial_noise,
)
from braid.simulate.recordings_settings import BoldSettings, CrossmodalSettings
from braid.simulate.truth import repeated_truth, truth_of
from braid.simulate.world import Stimulus, World

HIGH_PASS = 0.01  # Hz, above which the signal-to-noise ratio is defined
THERMAL = 0.002  # standard deviation of the images' own white noise, share of the baseline
DRIFT = 0.006  # Hz, fastest part of the slow drift
STRONG_AUTOCORRELATION = 0.85  # AR(1) coefficient of some silent voxels
ATLAS = Path("derivatives") / "atlas"
ATLAS_ENTITIES = "space-MNI152NLin2009cAsym_seg-regions"
_HRF_LENGTH = 32.0  # s


@dataclass(frozen=True)
class BoldRun:
    """One run: a stimulus, the time at which it starts (s) and the number of volumes.

    `repeat` counts the showings of a film that is shown several times, from 1; 0 for others.
    """

    stimulus: Stimulus
    number: int
    start: float
    n_volumes: int
    repeat: int = 0

    @property
    def name(self) -> str:
        """What its random numbers are drawn by."""
        return f"{self.stimulus.name} {self.repeat}" if self.repeat else self.stimulus.name


@dataclass(frozen=True)
class BoldSubject:
    """All that a subject's runs share; `bold_images` makes their images one by one.

    Attributes
    ----------
    subject : str
    brain : Brain
    runs : tuple of BoldRun
    responses, noises : tuple of ndarray of shape (volumes, voxels)
        Per run, planted response and noise, as shares of the baseline.
    truth : pandas.DataFrame
        Truth table of all brain voxels.
    """

    subject: str
    brain: Brain
    runs: tuple[BoldRun, ...]
    responses: tuple[np.ndarray, ...]
    noises: tuple[np.ndarray, ...]
    truth: pd.DataFrame


def simulate_bold(world: World, settings: BoldSettings, seed: int, subject: str) -> BoldSubject:
    """Simulate one subject: what every voxel does in every run.

    The latents of a stimulus, weighted and summed, go through a haemodynamic response whose time
    to peak differs between voxels, and are read at the middle of each volume. Pictures are absent
    from stories, so there `vision` and `joint` voxels are silent and `sum` voxels keep their
    language part. In the section `crossmodal` films have no narration, and strength and truth of a
    voxel are those of the silent films (`vision`), else of the stories. A film that is shown
    several times counts for neither; it starts at the same time of each of its runs, which differ
    in their noise alone.

    Parameters
    ----------
    world : World
    settings : BoldSettings
    seed : int
    subject : str

    Returns
    -------
    BoldSubject
    """
    runs = _plan_runs(world, settings, seed, subject)
    films = [run.stimulus for run in runs if run.stimulus.kind == "film"]
    shown = films or [run.stimulus for run in runs if not run.repeat]
    brain = make_brain(settings, shown, seed, subject)
    responses = [_response(run, brain, settings) for run in runs]
    noises = [_noise(run, brain, settings, seed, subject) for run in runs]
    snr, responses = _scale(runs, brain, responses, noises, settings, seed, subject)
    truth = _truth(runs, brain, snr, responses, noises, settings, seed, subject)
    return BoldSubject(subject, brain, runs, tuple(responses), tuple(noises), truth)


def bold_images(
    simulated: BoldSubject, settings: BoldSettings, seed: int
) -> Iterator[tuple[BoldRun, np.ndarray]]:
    """Make the images of a subject, run by run.

    A head movement shifts the static image (brain, skull, background) below the voxel grid; the
    planted response and the noise, some hundredths of it, stay in their voxels, so that silent
    voxels stay silent.

    Yields
    ------
    tuple of BoldRun and ndarray of shape (x, y, z, volumes), int16
    """
    brain = simulated.brain
    i, j, k = brain.voxels[["i", "j", "k"]].to_numpy().T
    for run, response, noise in zip(
        simulated.runs, simulated.responses, simulated.noises, strict=True
    ):
        moves, random = _movements(run, settings, seed, simulated.subject)
        images = _moved(brain.image, moves / settings.voxel_size)
        images += settings.baseline * THERMAL * random.normal(size=images.shape)
        drift = slow_drift(
            run.n_volumes, len(brain.voxels), 1 / settings.repetition_time, DRIFT, random
        )
        change = response + noise + settings.drift * drift.T
        images[:, i, j, k] += settings.baseline * change
        whole = np.clip(np.rint(images), 0, np.iinfo(np.int16).max).astype(np.int16)
        yield run, np.moveaxis(whole, 0, -1)


def _movements(
    run: BoldRun, settings: BoldSettings, seed: int, subject: str
) -> tuple[np.ndarray, np.random.Generator]:
    """Draw the head's translations in a run; give also what further artefacts are drawn from."""
    random = rng(seed, "bold", subject, run.name, "artefacts")
    return head_translations(run.n_volumes, settings.motion, settings.spikes, random), random


def _moved(image: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Shift an image by each of some moves (voxels), (moves, x, y, z), with cubic splines.

    The spline coefficients are the same for all moves: they are computed once.
    """
    margin = 12  # voxels, as far as a cubic spline's prefilter reaches
    coefficients = spline_filter(np.pad(image, margin, mode="edge"), order=3, mode="nearest")
    ones = np.ones(image.ndim)
    return np.stack(
        [
            affine_transform(
                coefficients, ones, margin - move, image.shape, order=3, mode="nearest",
                prefilter=False,
            )
            for move in moves
        ]
    )  # fmt: skip


def write_bold(simulated: BoldSubject, settings: BoldSettings, root: Path, seed: int) -> None:
    """Write a subject's runs and their events into a BIDS root, and its regions beside them.

    The regions are a derivative, `derivatives/atlas/sub-*/anat/*_dseg.nii.gz`, on the grid of
    the runs.
    """
    import nibabel

    folder = root / f"sub-{simulated.subject}" / "func"
    folder.mkdir(parents=True)
    for run, images in bold_images(simulated, settings, seed):
        showing = "_acq-repeat" if run.repeat else ""
        stem = f"sub-{simulated.subject}_task-{run.stimulus.kind}{showing}_run-{run.number}"
        image = _nifti(images, simulated.brain.affine)
        image.header.set_zooms((*[settings.voxel_size] * 3, settings.repetition_time))
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, folder / f"{stem}_bold.nii.gz")
        write_tsv(folder / f"{stem}_events.tsv", events_of(run.stimulus, run.start))
    labels = np.zeros(settings.shape, dtype=np.int16)
    voxels = simulated.brain.voxels
    numbers = dict(zip(*atlas_table()[["name", "index"]].to_numpy().T, strict=True))
    labels[voxels["i"], voxels["j"], voxels["k"]] = voxels["region"].map(numbers)
    target = root / ATLAS / f"sub-{simulated.subject}" / "anat"
    target.mkdir(parents=True)
    nibabel.save(
        _nifti(labels, simulated.brain.affine),
        target / f"sub-{simulated.subject}_{ATLAS_ENTITIES}_dseg.nii.gz",
    )


def atlas_table() -> pd.DataFrame:
    """Label table of the atlas: `index` (from 1) and `name`, one row per region and hemisphere."""
    names = [f"{side}-{region}" for side in ("lh", "rh") for region in REGIONS]
    return pd.DataFrame({"index": np.arange(1, len(names) + 1), "name": names})


def bold_sidecar(task: str, settings: BoldSettings) -> dict[str, object]:
    """Sidecar of all runs of a task."""
    described = {
        "film": "Watching a film of moving objects and listening to its narrator",
        SILENT: "Watching a film of moving objects without sound",
        "story": "Listening to a story about objects, without pictures",
    }
    return {
        "TaskName": task,
        "TaskDescription": described[task],
        "Instructions": f"Please keep still and {'watch' if task == SILENT else 'listen'}.",
        "RepetitionTime": settings.repetition_time,
        "DelayTime": 0,
        "MRAcquisitionType": "3D",
        "EchoTime": 0.03,
        "FlipAngle": 75,
        "MagneticFieldStrength": 3,
        **SIMULATED,
        "StationName": "n/a",
        "ReceiveCoilName": "n/a",
        "ReceiveCoilActiveElements": "n/a",
        "MatrixCoilMode": "n/a",
        "CoilCombinationMethod": "n/a",
        "SequenceName": "n/a",
        "NonlinearGradientCorrection": False,
        "PulseSequenceType": "simulated",
        "PulseSequenceDetails": "A volume is taken at once, half a repetition time after its start",
    }


def _nifti(data: np.ndarray, affine: np.ndarray):  # type: ignore[no-untyped-def]
    """Image whose header says that its affine is exact and in MNI space."""
    import nibabel

    image = nibabel.Nifti1Image(data, affine)
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="mni")
    image.header.set_xyzt_units("mm")
    return image


def _plan_runs(
    world: World, settings: BoldSettings, seed: int, subject: str
) -> tuple[BoldRun, ...]:
    """Decide when the stimulus of each run starts and how long the run is."""
    runs = []
    for names, there in ((settings.films, world.films), (settings.stories, world.stories)):
        runs += [
            _plan_run(there[name], number, settings, seed, subject)
            for number, name in enumerate(names, start=1)
        ]
    if isinstance(settings, CrossmodalSettings) and settings.repeats:
        first = _plan_run(world.films[settings.repeated], 1, settings, seed, subject)
        runs += [
            replace(first, number=number, repeat=number)
            for number in range(1, settings.repeats + 1)
        ]
    return tuple(runs)


def _plan_run(
    shown: Stimulus, number: int, settings: BoldSettings, seed: int, subject: str
) -> BoldRun:
    """Decide when the stimulus of a run starts and how long the run is."""
    random = rng(seed, "bold", subject, shown.name, "timing")
    start = round(random.uniform(*settings.lead), 2)
    length = start + shown.duration + random.uniform(*settings.tail)
    n_volumes = int(np.ceil(length / settings.repetition_time))
    if isinstance(settings, CrossmodalSettings) and shown.kind == "film":
        shown = without_narration(shown)
    return BoldRun(shown, number, start, n_volumes)


def _response(run: BoldRun, brain: Brain, settings: BoldSettings) -> np.ndarray:
    """Response of every voxel in a run before scaling, shape (volumes, voxels)."""
    latents = run.stimulus.latents
    time = latents["time"].to_numpy()
    step = float(time[1] - time[0])
    middle = (np.arange(run.n_volumes) + 0.5) * settings.repetition_time - run.start
    response = np.zeros((run.n_volumes, len(brain.voxels)))
    for kind, weights in brain.weights.items():
        rows = np.flatnonzero(brain.voxels["kind"] == kind)
        kernels = haemodynamic_responses(brain.voxels["latency"].to_numpy()[rows], step)
        evoked = fftconvolve(drive(latents, weights), kernels, axes=0)
        clock = np.arange(len(evoked)) * step
        for row, series in zip(rows, evoked.T, strict=True):
            response[:, row] = np.interp(middle, clock, series, left=0.0, right=0.0)
    return response


def haemodynamic_responses(peaks: np.ndarray, step: float) -> np.ndarray:
    """Stretch Glover's haemodynamic response in time, so that it peaks when wanted.

    Parameters
    ----------
    peaks : ndarray of shape (sites,)
        Times to the peak, s.
    step : float
        Sampling interval, s.

    Returns
    -------
    ndarray of shape (time, sites)
        Each with a peak of 1.
    """
    from nilearn.glm.first_level import glover_hrf

    fine = 0.01
    canonical = np.asarray(glover_hrf(fine, oversampling=1, time_length=_HRF_LENGTH))
    clock = np.arange(len(canonical)) * fine
    time = np.arange(round(_HRF_LENGTH / step))[:, None] * step
    stretched = time * (clock[canonical.argmax()] / peaks)
    return np.interp(stretched, clock, canonical / canonical.max(), right=0.0)


def _noise(
    run: BoldRun, brain: Brain, settings: BoldSettings, seed: int, subject: str
) -> np.ndarray:
    """Noise of every voxel in a run, share of the baseline, shape (volumes, voxels)."""
    random = rng(seed, "bold", subject, run.name, "noise")
    i, j, k = brain.voxels[["i", "j", "k"]].to_numpy().T
    innovations = spatial_noise(run.n_volumes, settings.shape, random)[:, i, j, k]
    coefficients = np.where(
        brain.voxels["autocorrelated"], STRONG_AUTOCORRELATION, settings.autocorrelation
    )
    return settings.noise * autoregressive(coefficients, innovations)


def _scale(
    runs: tuple[BoldRun, ...],
    brain: Brain,
    responses: list[np.ndarray],
    noises: list[np.ndarray],
    settings: BoldSettings,
    seed: int,
    subject: str,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Scale the responses to their signal-to-noise ratios over the runs that count; give both."""
    snr, scale = np.zeros(len(brain.voxels)), np.zeros(len(brain.voxels))
    random = rng(seed, "bold", subject, "strength")
    for kind, number in settings.driven:
        snr[brain.voxels["kind"] == kind] = spread(*settings.snr, number, random)
    for counted, rows in _counted(runs, brain):
        planted = _variance([responses[index] for index in counted], settings)
        noise = _variance([noises[index] for index in counted], settings)
        driven = rows[snr[rows] > 0]
        scale[driven] = np.sqrt(snr[driven] * noise[driven] / planted[driven])
    return snr, [response * scale for response in responses]


def _counted(runs: tuple[BoldRun, ...], brain: Brain) -> list[tuple[list[int], np.ndarray]]:
    """Find the runs that strength and truth are taken from, and the voxels for which they are."""
    kinds = brain.voxels["kind"].to_numpy()
    films = [index for index, run in enumerate(runs) if run.stimulus.kind == "film"]
    if films:
        return [(films, np.arange(len(kinds)))]
    silent = [
        index for index, run in enumerate(runs) if run.stimulus.kind == SILENT and not run.repeat
    ]
    stories = [index for index, run in enumerate(runs) if run.stimulus.kind == "story"]
    seen = np.isin(kinds, ("vision", "silent"))
    return [(silent, np.flatnonzero(seen)), (stories, np.flatnonzero(~seen))]


def _variance(series: list[np.ndarray], settings: BoldSettings) -> np.ndarray:
    """Variance above 0.01 Hz over some runs, per voxel."""
    return np.concatenate([_high_passed(run, settings) for run in series]).var(axis=0)


def _high_passed(series: np.ndarray, settings: BoldSettings) -> np.ndarray:
    """Series (volumes, voxels) without mean, slope and what is slower than 0.01 Hz."""
    n = len(series)
    orders = np.arange(1, int(2 * n * settings.repetition_time * HIGH_PASS) + 1)
    basis = np.cos(np.pi * orders * (np.arange(n)[:, None] + 0.5) / n)
    basis = np.column_stack([np.ones(n), np.linspace(-1, 1, n), basis])
    fitted: np.ndarray = basis @ np.linalg.lstsq(basis, series, rcond=None)[0]
    return series - fitted


def _truth(
    runs: tuple[BoldRun, ...],
    brain: Brain,
    snr: np.ndarray,
    responses: list[np.ndarray],
    noises: list[np.ndarray],
    settings: BoldSettings,
    seed: int,
    subject: str,
) -> pd.DataFrame:
    """Truth table of all brain voxels."""
    sites, tables = brain.voxels.assign(subject=subject, snr=snr), []
    for counted, rows in _counted(runs, brain):
        latents = runs[counted[0]].stimulus.latents
        planted, noise = (
            np.concatenate([_high_passed(series[index], settings) for index in counted])
            for series in (responses, noises)
        )
        regressors = {kind: dimensions(kind, latents) for kind in sites["kind"].unique()}
        own = sites.iloc[rows]
        tables.append(truth_of("bold", own, planted[:, rows], noise[:, rows], regressors))
    table = pd.concat(tables).sort_index()
    repeated = [index for index, run in enumerate(runs) if run.repeat]
    if not repeated:
        return table
    kept = [_left_over(runs[index], settings, seed, subject) for index in repeated]
    seen = [part @ responses[index] for part, index in zip(kept, repeated, strict=True)]
    phi = np.where(sites["autocorrelated"], STRONG_AUTOCORRELATION, settings.autocorrelation)
    covariances = [
        {float(value): _noise_covariance(float(value), part, settings) for value in np.unique(phi)}
        for part in kept
    ]
    return table.assign(**repeated_truth(np.stack(seen), phi, covariances))


def _left_over(run: BoldRun, settings: BoldSettings, seed: int, subject: str) -> np.ndarray:
    """Matrix (volumes, volumes) that leaves of a series what trends and movements do not explain.

    Movements count with their first differences, as `confounds: motion` takes them out.
    """
    kept = _high_passed(np.eye(run.n_volumes), settings)
    moves, _ = _movements(run, settings, seed, subject)
    both = np.hstack([moves, np.diff(moves, axis=0, prepend=moves[:1])])
    basis, _ = np.linalg.qr(kept @ both)
    found: np.ndarray = kept - basis @ (basis.T @ kept)
    return found


def _noise_covariance(phi: float, kept: np.ndarray, settings: BoldSettings) -> np.ndarray:
    """Covariance over volumes of what is left of a voxel's noise."""
    lags = np.abs(np.subtract.outer(np.arange(len(kept)), np.arange(len(kept))))
    raw = settings.noise**2 * phi**lags + THERMAL**2 * np.eye(len(kept))
    found: np.ndarray = kept @ raw @ kept.T
    return found
