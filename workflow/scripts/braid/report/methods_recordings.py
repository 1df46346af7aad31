"""The methods text of the recordings: how they were read and preprocessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from braid.report.words import capital, listed, surface_of


def recordings_text(dataset: Mapping[str, Any]) -> str:
    """Describe how one data set was read and preprocessed."""
    kind = dataset["kind"]
    source = {
        "ieeg": "Intracranial recordings in iEEG-BIDS format [@bids; ieeg-bids] were read with "
        "MNE-Python and MNE-BIDS [@mne; mne-bids].",
        "bold": "BOLD images in BIDS format [@bids] were read with nilearn [@nilearn].",
        "parcels": "Ready-made time series of parcels, laid out as in BIDS [@bids], were read as "
        "they are.",
    }[kind]
    if dataset.get("derivative"):
        source = (
            "BOLD images preprocessed with fMRIPrep [@fmriprep] were read from BIDS derivatives "
            "[@bids] with nilearn [@nilearn]."
        )
    if surface := surface_of(dataset):
        source = (
            "BOLD preprocessed with fMRIPrep [@fmriprep] and sampled to the cortical surface "
            f"({surface}) was read from BIDS derivatives [@bids], both hemispheres together; "
            "meshes are those of nilearn [@nilearn]."
        )
    checked = {
        "error": "The official BIDS validator had to pass.",
        "warn": "The official BIDS validator was run; its issues are listed above.",
    }.get(str(dataset.get("validate")), "The BIDS validator was not run.")
    entry = dict(dataset.get("preprocess") or {})
    if kind == "bold":
        steps = _bold_steps(entry, surface is not None)
    else:
        steps = {"ieeg": _ieeg_steps, "parcels": _slow_steps}[kind](entry)
    done = f" {capital('; then '.join(steps))}." if steps else " No further step was applied."
    return f"{source} {checked}{done}"


def _ieeg_steps(entry: Mapping[str, Any]) -> list[str]:
    """List the steps of the preprocessing of iEEG in the order in which they are applied."""
    steps = ["channels marked as bad, flat channels and channels with missing values were left out"]
    if entry.get("noisy_threshold") is not None:
        steps[0] += (
            f", as were channels whose log variance had a robust z above "
            f"{entry['noisy_threshold']:g}"
        )
    if entry.get("notch"):
        how = "zero-phase FIR notch filters"
        if entry.get("notch_method") == "spectrum_fit":
            how = "fitted sinusoids, which were subtracted"
        lines = listed([f"{hertz:g}" for hertz in entry["notch"]])
        steps.append(f"line noise was removed at {lines} Hz with {how}")
    reference = {
        "average": "the average of the remaining channels",
        "bipolar": "neighbours on the same shaft (bipolar)",
        "laplacian": "the mean of both neighbours on the same shaft (Laplacian)",
    }.get(str(entry.get("reference")))
    if reference:
        steps.append(f"signals were re-referenced to {reference}")
    if entry.get("band"):
        steps.append(_band(entry["band"]))
    if entry.get("signal") == "envelope":
        scale = "natural logarithm of the " if entry.get("log") else ""
        steps.append(f"the {scale}Hilbert envelope of the band was taken")
    if entry.get("resample"):
        steps.append(f"signals were resampled to {entry['resample']:g} Hz")
    return steps


def _band(band: Sequence[float | None]) -> str:
    low, high = band
    if low is None:
        return f"signals were low-pass filtered at {high:g} Hz"
    if high is None:
        return f"signals were high-pass filtered at {low:g} Hz"
    return f"signals were band-pass filtered from {low:g} to {high:g} Hz"


def _bold_steps(entry: Mapping[str, Any], surface: bool) -> list[str]:
    """List the steps of the preprocessing of BOLD images or surfaces."""
    mask = str(entry.get("mask", "auto"))
    steps = [
        "voxels were taken from a brain mask computed from the mean image of each subject's runs"
        if mask == "auto"
        else f"voxels were taken from the mask {mask}"
    ]
    if surface:
        steps = ["vertices without data (the medial wall) were left out"]
    if entry.get("smooth"):
        steps.append(f"images were smoothed ({entry['smooth']:g} mm full width at half maximum)")
    if entry.get("average"):
        noun = "vertices" if surface else "voxels"
        steps.append(f"the {noun} of each region of the atlas were averaged")
    confounds = entry.get("confounds", "none")
    removed = _trends(entry)
    if confounds == "motion":
        removed.append(
            "fMRIPrep's estimates of head motion"
            if surface
            else "estimates of head motion made from the images"
        )
    elif isinstance(confounds, Mapping):
        removed.append(
            f"fMRIPrep confounds ({listed(list(map(str, confounds.get('strategy', []))))})"
        )
    elif confounds != "none":
        columns = entry.get("confound_columns")
        removed.append(
            f"the confounds in {confounds}" + (f" ({listed(columns)})" if columns else "")
        )
    if entry.get("spikes"):
        spikes = entry["spikes"]
        removed.append(
            f"one regressor per volume with {spikes['measure']} above {spikes['threshold']:g}"
        )
    if removed:
        steps.append(f"{listed(removed)} were removed from each run in one regression")
    return [*steps, *_standardised(entry)]


def _slow_steps(entry: Mapping[str, Any]) -> list[str]:
    """List the steps of the preprocessing of parcels."""
    removed = _trends(entry)
    steps = [f"{listed(removed)} were removed from each run in one regression"] if removed else []
    return [*steps, *_standardised(entry)]


def _trends(entry: Mapping[str, Any]) -> list[str]:
    """Name what the regression removes of slow changes."""
    removed = []
    if entry.get("detrend", "none") != "none":
        removed.append(f"{entry['detrend']} trends")
    if entry.get("high_pass"):
        removed.append(f"cosines up to {entry['high_pass']:g} Hz")
    return removed


def _standardised(entry: Mapping[str, Any]) -> list[str]:
    return ["time series were z-scored within each run"] if entry.get("standardize", True) else []
