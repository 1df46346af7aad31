"""What a missing key of `dataset.preprocess` means, for each kind of recording."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from braid.common import InputError

IEEG: dict[str, Any] = {
    "notch": [],  # Hz, frequencies to remove; none if empty
    "notch_method": "fir",  # fir (zero phase) | spectrum_fit (sinusoids subtracted) | iir
    "notch_q": 30,  # iir: frequency over the width at half power
    "notch_phase": "zero",  # iir: zero (forwards and backwards) | causal
    "reference": "none",  # none | average | bipolar | laplacian
    "band": None,  # [low, high] in Hz; null for either side leaves it open
    "band_method": "fir",  # fir | butterworth (both of zero phase)
    "band_order": 5,  # butterworth
    "signal": "broadband",  # broadband | envelope (of the band, by the Hilbert transform)
    "log": False,  # natural logarithm of the envelope
    "standardize": False,  # z-score each channel over each run
    "despike": "none",  # none | attenuate (leaves steps) | interpolate
    "despike_threshold": 4.0,  # z over the run above which a sample is a spike
    "despike_width": 0.061,  # s masked around each such sample, in all (125 samples at 2048 Hz)
    "despike_factor": 0.05,  # attenuate: by which the signal is multiplied
    "resample": None,  # Hz; null keeps the recording's rate
    "noisy_threshold": None,  # robust z of the log variance above which a channel is left out
    "exclude": [],  # further channels to leave out, by name
    "region_column": "region",  # column of electrodes.tsv with the region's name
    "types": ["ECOG", "SEEG", "DBS"],  # channel types to keep
}

BOLD: dict[str, Any] = {
    "mask": "auto",  # auto | path pattern of an image, within the root; of a surface, auto alone
    "smooth": None,  # mm, full width at half maximum; of a surface, null alone
    "detrend": "none",  # none | linear | quadratic
    "high_pass": None,  # Hz, cosine basis
    "confounds": "none",  # none | motion | path pattern of a TSV | {strategy: [...]} (fMRIPrep)
    "confound_columns": None,  # columns of that TSV; all if null
    "spikes": None,  # {measure: displacement | dvars, threshold: ...}: one regressor per volume
    # {image: path pattern, labels: path of a TSV with index and name}; of a surface, {image} alone
    "atlas": None,
    "average": False,  # means over the regions of the atlas, in the place of voxels or vertices
    "standardize": True,  # z-score per run
}

PARCELS: dict[str, Any] = {
    "detrend": "none",  # none | linear | quadratic
    "high_pass": None,  # Hz, cosine basis
    "columns": "parcel",  # parcel | voxel: what targets are called
    # path of a TSV with one row per parcel: name, region, i, j, k, x, y, z (all optional)
    "labels": None,
    "standardize": True,  # z-score per run
}


def with_defaults(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what is missing; an unknown key is an `InputError` with the nearest valid one."""
    for key in params:
        if key not in defaults:
            near = get_close_matches(key, defaults, n=1) or sorted(defaults)
            raise InputError(
                f"preprocess: unknown key '{key}'; did you mean {' or '.join(map(repr, near))}?"
            )
    return {**defaults, **params}


def choice(params: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    """Value of a key that must be one of a few words."""
    value = params[key]
    if value not in allowed:
        raise InputError(f"preprocess.{key}: '{value}' is not one of {', '.join(allowed)}")
    return str(value)
