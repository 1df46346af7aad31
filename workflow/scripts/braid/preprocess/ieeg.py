"""Preprocessing of intracranial recordings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import welch

from braid.bids.files import given
from braid.common import InputError, progress, read_table
from braid.preprocess.channels import measured_exclusions, positions, stated_exclusions
from braid.preprocess.cleaned import Cleaned, assemble, excluded_table, quality_table
from braid.preprocess.defaults import IEEG, choice, with_defaults
from braid.preprocess.filters import band_pass, despike, envelope, notch, resample, standardize
from braid.preprocess.paths import of_kind
from braid.preprocess.reference import Derivation, derive, place

_BLOCK = 32  # channels held in float64 at once, at most
_BLOCK_VALUES = 64_000_000  # samples of channels held at once: fewer channels of long recordings
_MICROVOLT = 1e6


def preprocess_ieeg(index: pd.DataFrame, root: str | Path, params: Mapping[str, Any]) -> Cleaned:
    """Clean the iEEG recordings of one subject.

    Order: leave out channels that are not neural, marked bad, flat, NaN or (optionally) far noisier
    than the rest; re-reference; notch; band-pass; envelope; z-score; despike; resample. The filters
    are linear and the same for all channels, so re-referencing before them (as here) or after them
    differs by rounding only. All filters have zero phase, unless `notch_phase` is `causal`.
    Channels are processed in blocks: memory holds one block of one run in float64 and the resampled
    result in float32.

    Parameters
    ----------
    index : pandas.DataFrame
        Rows of `index_dataset` of one subject.
    root : path-like
        Root of the data set.
    params : mapping
        `dataset.preprocess` of the config; see `braid.preprocess.defaults.IEEG`.

    Returns
    -------
    Cleaned
        Signal in microvolt (its natural logarithm with `log`, standard deviations with
        `standardize`). A channel that is left out in one run is left out in all. Quality: per run
        the numbers of channels, the median standard deviation, for each notch frequency the ratio
        of the power at the line to that beside it, before and after, the number of channels without
        the shaft neighbours that the reference needs, and the share of samples despiked.

    Raises
    ------
    InputError
        If a run has no `channels.tsv`, no channel is left, or frequencies do not fit the rate.
    """
    index, root = of_kind(index, "ieeg"), Path(root)
    params = with_defaults(params, IEEG)
    _check_words(params)
    for _, row in index.iterrows():
        _check_frequencies(params, float(row["sampling_frequency"]), root / row["path"])
    names, excluded, counts = _select(index, root, params)
    derivation = derive(names, params["reference"])
    excluded += derivation.lost
    xyz, regions, system = _places(index, root, names, params["region_column"])
    new_xyz, new_regions = place(derivation, names, xyz, regions)

    runs, quality = {}, list(counts)
    if derivation.lost:
        lost = float(len(derivation.lost))
        quality.append(("all", "channels without shaft neighbours", lost, "channels"))
    for _, row in index.iterrows():
        values, measures = _process_run(root / row["path"], names, derivation, params)
        runs[row["run"]] = values
        quality += [(row["run"], *measure) for measure in measures]
    rate = float(params["resample"] or index["sampling_frequency"].iloc[0])
    targets = np.array(list(derivation.weights))
    signal = assemble(
        runs,
        rate,
        {
            "target": targets,
            "site": targets,
            "region": np.array(new_regions),
            **{axis: new_xyz[:, i] for i, axis in enumerate("xyz")},
        },
        {
            "kind": "ieeg",
            "subject": str(index["subject"].iloc[0]),
            "units": _unit(params),
            "reference": params["reference"],
            "coordinate_system": system,
        },
    )
    return Cleaned(signal, excluded_table(excluded), quality_table(quality))


# which channels -----------------------------------------------------------------------------------


def _select(
    index: pd.DataFrame, root: Path, params: Mapping[str, Any]
) -> tuple[list[str], list[tuple[str, str, str]], list[tuple[str, str, float, str]]]:
    """Channels that are good in every run, those that are not, and their numbers per run."""
    excluded: list[tuple[str, str, str]] = []
    counts: list[tuple[str, str, float, str]] = []
    recorded: list[list[str]] = []
    for _, row in index.iterrows():
        raw = _open(root / row["path"])
        if not given(row["channels"]):
            raise InputError(
                f"{root / row['path']}: no channels.tsv applies to this recording; add it, since "
                "it tells which channels are neural and good"
            )
        table = read_table(root / row["channels"], required=("name", "type"))
        stated = stated_exclusions(table, raw.ch_names, params)
        left_out = {name for name, _, _ in stated}
        candidates = [name for name in raw.ch_names if name not in left_out]
        variance = _variances(raw, candidates)
        measured = measured_exclusions(candidates, variance, params["noisy_threshold"])
        suffix = f" ({row['run']})" if len(index) > 1 else ""
        excluded += stated + [(name, why, detail + suffix) for name, why, detail in measured]
        recorded.append(list(raw.ch_names))
        n_bad = len(raw.ch_names) - len(candidates) + len(measured)
        counts.append((row["run"], "channels recorded", float(len(raw.ch_names)), "channels"))
        counts.append((row["run"], "channels left out", float(n_bad), "channels"))
    bad = {name for name, _, _ in excluded}
    everywhere = set.intersection(*map(set, recorded))
    some = [name for name in dict.fromkeys(chain(*recorded)) if name not in everywhere | bad]
    excluded += [(name, "not in every run", "recorded in some runs only") for name in some]
    good = [name for name in recorded[0] if name in everywhere and name not in bad]
    if not good:
        reasons = ", ".join(sorted({why for _, why, _ in excluded}))
        raise InputError(
            f"{root / index['path'].iloc[0]}: no channel is left (reasons: {reasons}); check type "
            "and status in channels.tsv"
        )
    return good, excluded, counts


def _places(
    index: pd.DataFrame, root: Path, names: Sequence[str], column: str
) -> tuple[np.ndarray, list[str], str]:
    """Coordinates and regions from the first electrodes table that the runs have."""
    tables = [value for value in index["electrodes"] if given(value)]
    return positions(root / tables[0] if tables else None, names, column)


# one run ------------------------------------------------------------------------------------------


def _process_run(
    path: Path, names: Sequence[str], derivation: Derivation, params: Mapping[str, Any]
) -> tuple[np.ndarray, list[tuple[str, float, str]]]:
    """Clean one run: (time, channel) in float32, and its quality measures."""
    raw = _open(path)
    rate = float(raw.info["sfreq"])
    common = _mean(raw, names) if derivation.average else None
    lines = [float(frequency) for frequency in params["notch"] or ()]
    ratios: dict[str, list[np.ndarray]] = {"before": [], "after": []}
    spread: list[np.ndarray] = []
    spikes: list[np.ndarray] = []
    values: np.ndarray | None = None
    targets = list(derivation.weights)
    size = _block_size(raw)
    starts = range(0, len(targets), size)
    for start in progress(starts, f"preprocessing {path.name}"):
        chosen = targets[start : start + size]
        parts = list(dict.fromkeys(name for new in chosen for name in derivation.weights[new]))
        recorded = _read(raw, parts)
        if lines:
            ratios["before"].append(line_ratios(recorded, rate, lines))
        mixing = np.array(
            [[derivation.weights[new].get(name, 0.0) for name in parts] for new in chosen]
        )
        block = mixing @ recorded
        if common is not None:
            block -= common
        block = notch(block, rate, lines, params)
        if lines:
            ratios["after"].append(line_ratios(block, rate, lines))
        block = band_pass(block, rate, params)
        if params["signal"] == "envelope":
            block = envelope(block, params["log"])
        spread.append(block.std(axis=1))
        if params["standardize"]:
            block = standardize(block)
        if params["despike"] != "none":
            block, share = despike(block, rate, params)
            spikes.append(share)
        block = resample(block, rate, params["resample"])
        if values is None:
            values = np.empty((block.shape[1], len(targets)), dtype=np.float32)
        values[:, start : start + len(chosen)] = block.T
    assert values is not None  # there is at least one channel
    unit = "ln(uV)" if params["log"] else "uV"
    spread_of_run = float(np.median(np.concatenate(spread)))
    measures = [*_line_measures(ratios, lines), ("median standard deviation", spread_of_run, unit)]
    if spikes:
        measures.append(("samples despiked", float(np.concatenate(spikes).mean()), "ratio"))
    return values, measures


def _unit(params: Mapping[str, Any]) -> str:
    """Name the unit of the result."""
    if params["standardize"]:
        return "sd"
    return "ln(uV)" if params["log"] else "uV"


def _line_measures(
    ratios: Mapping[str, Sequence[np.ndarray]], lines: Sequence[float]
) -> list[tuple[str, float, str]]:
    """Median line noise over channels, before and after, from the blocks' `line_ratios`."""
    return [
        (
            f"line noise at {line:g} Hz {when}",
            float(np.median(np.concatenate(found)[:, i])),
            "ratio",
        )
        for when, found in ratios.items()
        for i, line in enumerate(lines)
    ]


def line_ratios(block: np.ndarray, rate: float, lines: Sequence[float]) -> np.ndarray:
    """Power at each line frequency relative to that beside it.

    Parameters
    ----------
    block : numpy.ndarray
        (channels, samples).
    rate : float
        Hz.
    lines : sequence of float
        Hz.

    Returns
    -------
    numpy.ndarray
        (channels, lines): mean Welch power within 0.5 Hz of the line, over that 3 to 6 Hz away on
        both sides; 1 means that nothing stands out.
    """
    frequencies, power = welch(block, rate, nperseg=min(block.shape[1], int(4 * rate)))
    ratios = np.full((len(block), len(lines)), np.nan)
    for i, line in enumerate(lines):
        distance = np.abs(frequencies - line)
        near, beside = distance <= 0.5, (distance >= 3) & (distance <= 6)
        if near.any() and beside.any():
            ratios[:, i] = power[:, near].mean(axis=1) / power[:, beside].mean(axis=1)
    return ratios


# reading ------------------------------------------------------------------------------------------


def _open(path: Path) -> Any:
    """Open a recording without reading its samples."""
    import mne

    return mne.io.read_raw(path, preload=False, verbose="ERROR")


def _read(raw: Any, names: Sequence[str]) -> np.ndarray:
    """Read some channels in microvolt: (channels, samples), in the order of the names."""
    row = {name: position for position, name in enumerate(raw.ch_names)}
    picks = [row[name] for name in names]
    return _MICROVOLT * raw.get_data(picks=picks, verbose="ERROR")


def _blocks(raw: Any, names: Sequence[str]) -> Iterator[np.ndarray]:
    """Read channels block by block."""
    size = _block_size(raw)
    for start in range(0, len(names), size):
        yield _read(raw, names[start : start + size])


def _block_size(raw: Any) -> int:
    """Channels to hold at once."""
    return min(_BLOCK, max(1, _BLOCK_VALUES // raw.n_times))


def _variances(raw: Any, names: Sequence[str]) -> np.ndarray:
    """Variance of each channel (uV^2); NaN where a sample is not finite."""
    with np.errstate(invalid="ignore"):
        found = [block.var(axis=1) for block in _blocks(raw, names)]
    return np.concatenate(found) if found else np.empty(0)


def _mean(raw: Any, names: Sequence[str]) -> np.ndarray:
    """Mean over channels: (samples,)."""
    total = np.zeros(raw.n_times)
    for block in _blocks(raw, names):
        total += block.sum(axis=0)
    return total / len(names)


# checks -------------------------------------------------------------------------------------------


def _check_words(params: Mapping[str, Any]) -> None:
    """Keys that take one of a few words."""
    choice(params, "reference", ("none", "average", "bipolar", "laplacian"))
    choice(params, "signal", ("broadband", "envelope"))
    choice(params, "notch_method", ("fir", "spectrum_fit", "iir"))
    choice(params, "notch_phase", ("zero", "causal"))
    choice(params, "band_method", ("fir", "butterworth"))
    choice(params, "despike", ("none", "attenuate", "interpolate"))
    if params["notch_phase"] == "causal" and params["notch_method"] != "iir":
        raise InputError("preprocess.notch_phase: only `notch_method: iir` can be causal; set it")
    if params["signal"] == "envelope" and not params["band"]:
        raise InputError("preprocess.signal: an envelope needs `preprocess.band` (low, high)")
    if params["log"] and params["signal"] != "envelope":
        raise InputError("preprocess.log: only an envelope has a logarithm; set `signal: envelope`")


def _check_frequencies(params: Mapping[str, Any], rate: float, path: Path) -> None:
    """Frequencies must fit the sampling rate of the recording."""
    low, high = params["band"] or (None, None)
    new = params["resample"]
    for key, frequency in (
        *(("notch", line) for line in params["notch"] or ()),
        ("band", high),
    ):
        if frequency is not None and frequency >= rate / 2:
            raise InputError(
                f"{path}: preprocess.{key} asks for {frequency:g} Hz but the recording has "
                f"{rate:g} Hz and holds nothing above {rate / 2:g} Hz; lower it"
            )
    if low is not None and high is not None and low >= high:
        raise InputError(f"preprocess.band: [{low:g}, {high:g}] is empty; give low, then high")
    if new and new > rate:
        raise InputError(
            f"{path}: preprocess.resample asks for {new:g} Hz but the recording has {rate:g} Hz; "
            "lower it, or set it to null"
        )
    if new and high is not None and params["signal"] == "broadband" and high > new / 2:
        raise InputError(
            f"preprocess.resample: {new:g} Hz cannot hold the band up to {high:g} Hz; raise it "
            f"above {2 * high:g} Hz, or lower the band"
        )
