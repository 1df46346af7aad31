"""BrainVision recordings written piece by piece, and headers with other channel names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from braid.common import InputError

_BLOCK = 1 << 16  # samples: 50 MB of float32 for 200 channels
_CHANNEL = re.compile(r"^(Ch\d+=)((?:\\1|[^,\r\n])*)", flags=re.MULTILINE)


def write_in_blocks(
    folder: Path, stem: str, names: Sequence[str], rate: float, blocks: Iterable[np.ndarray]
) -> int:
    """Write a recording whose samples come in blocks of time.

    Header and markers are written by pybv, the samples here: pybv takes a recording as one array.

    Parameters
    ----------
    folder : pathlib.Path
    stem : str
        File name without extension.
    names : sequence of str
        Channels.
    rate : float
        Hz.
    blocks : iterable of numpy.ndarray
        (channels, samples), microvolts, one after the other; stored as float32, 1 microvolt.

    Returns
    -------
    int
        Samples written.
    """
    from pybv import write_brainvision

    write_brainvision(
        data=np.zeros((len(names), 1)),
        sfreq=rate,
        ch_names=list(names),
        fname_base=stem,
        folder_out=str(folder),
        resolution=1.0,
        unit="µV",
        fmt="binary_float32",
    )
    written = 0
    with (folder / f"{stem}.eeg").open("wb") as stream:
        for block in blocks:
            stream.write(np.ascontiguousarray(block.T, dtype="<f4").tobytes())
            written += block.shape[1]
    return written


def hdf5_length(path: Path) -> tuple[int, int]:
    """Count the datasets `data/electrode_{i}` of a file, and the samples in each.

    Raises
    ------
    InputError
        If the file cannot be read, a number is missing, or lengths differ.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            group = file.get("data")
            sizes = {} if group is None else {name: one.shape for name, one in group.items()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5 ({error}); copy it again") from None
    expected = [f"electrode_{number}" for number in range(len(sizes))]
    if not sizes or set(sizes) != set(expected):
        missing = next((name for name in expected if name not in sizes), "electrode_0")
        raise InputError(f"{path}: there is no dataset data/{missing}; copy the file again")
    first = sizes["electrode_0"]
    for name in expected:
        if len(sizes[name]) != 1 or sizes[name] != first:
            raise InputError(
                f"{path}: data/{name} has the shape {sizes[name]} but data/electrode_0 "
                f"{first}; copy the file again"
            )
    return len(sizes), int(first[0])


def hdf5_blocks(path: Path, n_channels: int, block: int = _BLOCK) -> Iterator[np.ndarray]:
    """Read the first datasets `data/electrode_{i}`, block by block.

    Blocks end where the file's own chunks end, so that each of these is read once (chunks of more
    than four blocks excepted, which are read anew for each block).

    Parameters
    ----------
    path : pathlib.Path
    n_channels : int
    block : int
        Samples of a block, about.

    Yields
    ------
    numpy.ndarray
        float32, (n_channels, samples).
    """
    import h5py

    # one cache of chunks per dataset would take more memory than the block, for no use
    with h5py.File(path, "r", rdcc_nbytes=0) as file:
        channels = [file["data"][f"electrode_{number}"] for number in range(n_channels)]
        chunk = int(channels[0].chunks[0]) if channels[0].chunks else 1
        step = max(block // chunk, 1) * chunk if chunk <= 4 * block else block
        length = channels[0].shape[0]
        for start in range(0, length, step):
            samples = np.empty((n_channels, min(step, length - start)), dtype=np.float32)
            for row, channel in zip(samples, channels, strict=True):
                row[:] = channel[start : start + step]
            yield samples


def header_names(path: Path) -> list[str]:
    """Channel names of a `.vhdr` file, in order."""
    return [name.replace(r"\1", ",") for _, name in _CHANNEL.findall(_channel_infos(path)[1])]


def renamed_header(path: Path, names: Sequence[str]) -> str:
    """Text of a `.vhdr` file with other channel names, in the order of the old ones."""
    before, infos, after = _channel_infos(path)
    new = iter(names)
    named = _CHANNEL.sub(lambda match: match[1] + next(new).replace(",", r"\1"), infos)
    return before + named + after


def _channel_infos(path: Path) -> tuple[str, str, str]:
    """Text of a header before, in and after its section about channels."""
    text = path.read_text(encoding="utf-8-sig")
    before, section, rest = text.partition("[Channel Infos]")
    if not section:
        raise InputError(f"{path}: has no section [Channel Infos]; copy it again")
    end = re.search(r"^\[", rest, flags=re.MULTILINE)
    stop = end.start() if end else len(rest)
    return before + section, rest[:stop], rest[stop:]
