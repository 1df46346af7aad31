"""Sizes and rates of recordings, read from their headers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from braid.bids.files import check_fetched
from braid.bids.surfaces import check_sizes
from braid.common import InputError, read_json

TR_TOLERANCE = 1e-3  # s
_SECONDS = {"sec": (1.0,), "msec": (1e-3,), "usec": (1e-6,), "unknown": (1.0, 1e-3)}
# volumes cut off the start (a key of BIDS) and the end (which BIDS has no key for)
_DISCARDED = ("NumberOfVolumesDiscardedByUser", "NumberOfVolumesDiscardedAtEnd")
# files that must lie beside the one that is named in the index
_PARTS = {".vhdr": (".eeg", ".vmrk"), ".set": (".fdt",)}


@dataclass(frozen=True)
class Header:
    """Size and rate of one recording.

    Attributes
    ----------
    sampling_frequency : float
        Hz; for volumes 1 / repetition time.
    repetition_time : float or None
        s; None for iEEG.
    n_samples : int
        Samples or volumes.
    n_targets : int
        Channels, voxels of the grid, vertices of both hemispheres, or parcels.
    before, after : float
        s of the recording that were cut off its start and its end; events may lie there.
    """

    sampling_frequency: float
    repetition_time: float | None
    n_samples: int
    n_targets: int
    before: float = 0.0
    after: float = 0.0

    @property
    def duration(self) -> float:
        """Length of the recording, s."""
        return self.n_samples / self.sampling_frequency


def ieeg_header(path: Path, metadata: Mapping[str, Any]) -> Header:
    """Header of an iEEG recording (any format that `mne.io.read_raw` reads)."""
    for suffix in _PARTS.get(path.suffix, ()):
        check_fetched(path.with_suffix(suffix))
    import mne

    try:
        raw = mne.io.read_raw(path, preload=False, verbose="ERROR")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: the recording cannot be opened ({reason}); check that all of its files are "
            "there and complete"
        ) from None
    rate = float(raw.info["sfreq"])
    stated = metadata.get("SamplingFrequency")
    if isinstance(stated, int | float) and abs(stated - rate) > 1e-3 * rate:
        raise InputError(
            f"{path}: the header says {rate:g} Hz but SamplingFrequency of its JSON sidecar says "
            f"{stated:g} Hz; correct the one that is wrong"
        )
    return Header(rate, None, int(raw.n_times), len(raw.ch_names))


def bold_header(path: Path, metadata: Mapping[str, Any]) -> Header:
    """Header of a 4-D NIfTI image; its repetition time must agree with the sidecar's."""
    import nibabel as nib

    try:
        image: Any = nib.load(path)  # its base class has no shape
    except (nib.filebasedimages.ImageFileError, OSError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a readable NIfTI image ({reason}); copy it again") from None
    shape = image.shape
    if len(shape) != 4 or shape[3] < 2:
        raise InputError(
            f"{path}: a BOLD run must be 4-D with several volumes, this image has shape {shape}; "
            "leave it out through `tasks`, `sessions`, `acquisitions` or `runs`"
        )
    tr = _repetition_time(path, metadata)
    step = float(image.header.get_zooms()[3])
    unit = image.header.get_xyzt_units()[1]
    readings = [step * factor for factor in _SECONDS.get(unit, (1.0,))]
    # a header that leaves the field at zero does not state a repetition time
    if step > 0 and min(abs(reading - tr) for reading in readings) > TR_TOLERANCE:
        raise InputError(
            f"{path}: RepetitionTime of its JSON sidecar is {tr:g} s but the NIfTI header says "
            f"{readings[0]:g} s; correct the one that is wrong"
        )
    return Header(1.0 / tr, tr, int(shape[3]), int(np.prod(shape[:3])))


def surface_header(paths: Sequence[Path], mesh: str, metadata: Mapping[str, Any]) -> Header:
    """Header of a recording on a surface: one GIFTI file for each hemisphere, left first.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Left and right.
    mesh : str
        Of `braid.bids.surfaces.mesh_of`.
    metadata : mapping
        Of the sidecars.

    Raises
    ------
    InputError
        If a file is no time series, its size is not that of the mesh, or hemispheres differ in
        volumes.
    """
    tr = _repetition_time(paths[0], metadata)
    (volumes, left), (others, right) = (gifti_shape(path) for path in paths)
    if volumes != others:
        raise InputError(
            f"{paths[1]}: {others} volumes but {volumes} in {paths[0].name}; both hemispheres of a "
            "run must have the same; make the shorter one again"
        )
    check_sizes(paths, (left, right), mesh)
    return Header(1.0 / tr, tr, volumes, left + right)


def gifti_shape(path: Path) -> tuple[int, int]:
    """Volumes and vertices of a GIFTI time series, without decoding its data.

    GIFTI keeps a time series as one array of vertices for each volume (FreeSurfer and fMRIPrep), or
    as one of vertices x volumes.
    """
    shapes: list[tuple[int, ...]] = []

    def note(name: str, attributes: dict[str, str]) -> None:
        if name == "DataArray":
            count = int(attributes["Dimensionality"])
            shapes.append(tuple(int(attributes[f"Dim{i}"]) for i in range(count)))

    parser = expat.ParserCreate()
    parser.StartElementHandler = note
    try:
        with path.open("rb") as stream:
            parser.ParseFile(stream)
    except (expat.ExpatError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a readable GIFTI file ({error}); copy it again") from None
    if len(shapes) == 1 and len(shapes[0]) == 2:
        vertices, volumes = shapes[0]
    else:
        flat = {int(np.prod(shape)) for shape in shapes if sum(n > 1 for n in shape) <= 1}
        vertices = flat.pop() if len(flat) == 1 else 0
        volumes = len(shapes)
    if vertices < 1 or volumes < 2:
        raise InputError(
            f"{path}: a BOLD run on a surface must be a time series of several volumes, this file "
            f"has {len(shapes)} arrays of shape {', '.join(map(str, sorted(set(shapes)))) or 'n/a'}"
            "; leave it out through `tasks`, `sessions`, `acquisitions` or `runs`"
        )
    return volumes, vertices


def parcel_header(path: Path, repetition_time: float | None) -> Header:
    """Header of a parcel array: `.npy` (volumes, parcels) or `.tsv` with one column per parcel.

    Its sidecar may say in `NumberOfVolumesDiscardedByUser` and `NumberOfVolumesDiscardedAtEnd` how
    many volumes were cut off; what was presented then is still part of the events.
    """
    sidecar = path.with_suffix(".json")
    metadata = read_json(sidecar) if sidecar.exists() else {}
    if repetition_time is None or "RepetitionTime" in metadata:
        tr = _repetition_time(path, metadata)
    else:
        tr = float(repetition_time)
    if repetition_time is not None and abs(tr - repetition_time) > TR_TOLERANCE:
        raise InputError(
            f"{sidecar}: RepetitionTime is {tr:g} s but `repetition_time` in the config is "
            f"{repetition_time:g} s; remove the key, or correct the sidecar"
        )
    shape = _array_shape(path)
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(
            f"{path}: parcel time series must be a table of volumes x parcels, this one has shape "
            f"{shape}; correct `pattern`, or convert the file"
        )
    cut = (_discarded(sidecar, metadata, key) for key in _DISCARDED)
    return Header(1.0 / tr, tr, shape[0], shape[1], *(count * tr for count in cut))


def _discarded(path: Path, metadata: Mapping[str, Any], key: str) -> int:
    """Count the volumes that a sidecar says were cut off; none if it says nothing."""
    count = metadata.get(key, 0)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise InputError(f"{path}: {key} is {count!r}; write a whole number of volumes, 0 or more")
    return count


def _array_shape(path: Path) -> tuple[int, ...]:
    """Shape of a `.npy` or `.tsv` array without reading all of it."""
    if path.suffix == ".npy":
        try:
            return tuple(np.load(path, mmap_mode="r", allow_pickle=False).shape)
        except (ValueError, EOFError) as error:
            raise InputError(
                f"{path}: not a plain NumPy array ({error}); save it again without objects"
            ) from None
    with path.open(encoding="utf-8-sig") as stream:
        columns = len(stream.readline().rstrip("\n").split("\t"))
        return sum(1 for line in stream if line.strip()), columns


def _repetition_time(path: Path, metadata: Mapping[str, Any]) -> float:
    """Repetition time (s) that the sidecars state."""
    tr = metadata.get("RepetitionTime")
    if isinstance(tr, bool) or not isinstance(tr, int | float) or not tr > 0:
        raise InputError(
            f"{path}: no JSON sidecar states its RepetitionTime as a number of seconds above zero; "
            "add it"
            + (" (sparse acquisitions are not supported)" if "VolumeTiming" in metadata else "")
        )
    return float(tr)
