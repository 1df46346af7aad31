"""What drives the simulated sites: weighted sums of the world's latents, never of a network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from scipy.signal import fftconvolve

#: Latents that drive each kind of site.
PARTS: dict[str, tuple[str, ...]] = {
    "vision": ("vision",),
    "language": ("language",),
    "sum": ("vision", "language"),
    "joint": ("joint",),
    "shared": ("vision", "language"),
    "inverted": ("vision", "language"),
    "silent": (),
}
_DECAY = 0.55  # spread of the weights on a shared dimension, over that on the one before it

Weights = dict[str, np.ndarray]


def draw_weights(
    kind: str, latents: Sequence[xr.Dataset], sites: int, random: np.random.Generator
) -> Weights:
    """Draw the weights of some sites of one kind.

    Parameters
    ----------
    kind : str
        One of the driven kinds.
    latents : sequence of xarray.Dataset
        Latents of the stimuli. Each part's drive has unit standard deviation over those that have
        it, so the two parts of a `sum` site count equally.
    sites : int
        Number of sites.
    random : numpy.random.Generator

    Returns
    -------
    dict of str to ndarray of shape (dimension, sites)
        Weights per part.
    """
    weights = {}
    for part in PARTS[kind]:
        values = _values(latents, part)
        drawn = random.normal(size=(values.shape[1], sites))
        weights[part] = drawn / (values @ drawn).std(axis=0)
    return weights


def draw_shared(
    kind: str,
    latents: Sequence[xr.Dataset],
    contrasts: Sequence[tuple[str, Sequence[tuple[str, float]]]],
    sites: int,
    random: np.random.Generator,
) -> tuple[Weights, np.ndarray]:
    """Draw the weights of sites that see and hear the same dimensions.

    Parameters
    ----------
    kind : str
        `shared`: the same weights for both senses; `inverted`: of opposite sign.
    latents : sequence of xarray.Dataset
        Latents of the stimuli. Each part's drive has unit standard deviation over those that have
        it.
    contrasts : sequence of (str, sequence of (str, float))
        Dimensions, of most variance first: an attribute, and the places of its values.
    sites : int
    random : numpy.random.Generator

    Returns
    -------
    weights : dict of str to ndarray of shape (dimension, sites)
        Weights per part.
    places : ndarray of shape (sites, contrasts)
        Where each site lies on the dimensions, as a vector of length 1.
    """
    spread_of = _DECAY ** np.arange(len(contrasts))
    places = random.normal(size=(sites, len(contrasts))) * spread_of
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    weights = {}
    for part, sign in (("vision", 1.0), ("language", -1.0 if kind == "inverted" else 1.0)):
        first = next(one for one in latents if part in one)
        names = first[f"{part}_dim"].to_numpy().tolist()
        values = _values(latents, part)
        directions = np.zeros((len(names), len(contrasts)))
        for column, (attribute, ends) in enumerate(contrasts):
            for value, place in ends:
                directions[names.index(f"{attribute}:{value}"), column] = place
        directions /= (values @ directions).std(axis=0)
        drawn = directions @ places.T
        weights[part] = sign * drawn / (values @ drawn).std(axis=0)
    return weights, places


def _values(latents: Sequence[xr.Dataset], part: str) -> np.ndarray:
    """One part of the latents of all stimuli that have it, (time, dimension)."""
    return np.concatenate([one[part].to_numpy() for one in latents if part in one]).astype(float)


def drive(latents: xr.Dataset, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sum the weighted latents; parts that a stimulus lacks (pictures in a story) count nothing.

    Returns
    -------
    ndarray of shape (time, sites)
    """
    parts = [
        latents[part].to_numpy().astype(float) @ matrix
        for part, matrix in weights.items()
        if part in latents
    ]
    sites = next(iter(weights.values())).shape[1]
    return np.sum(parts, axis=0) if parts else np.zeros((latents.sizes["time"], sites))


def at_words(latents: xr.Dataset, onsets: np.ndarray) -> xr.Dataset:
    """Latents as they are once each word has begun (a word counts from its onset)."""
    index = np.searchsorted(latents["time"].to_numpy(), onsets - 1e-9)
    return latents.isel(time=np.minimum(index, latents.sizes["time"] - 1))


def at_cuts(latents: xr.Dataset, cuts: np.ndarray) -> xr.Dataset:
    """Latents at scene cuts: the new scene, and the sentence being said or said last.

    `joint` says per attribute whether the two agree, +1 or -1, 0 where the sentence does not say.
    (The film's own `joint` is 0 until a sentence about the new scene begins.)
    """
    now = at_words(latents, cuts)
    dims = now["joint_dim"].to_numpy().tolist()
    return now.assign(joint=(("time", "joint_dim"), _agreement(now, dims)))


def _agreement(latents: xr.Dataset, attributes: Sequence[str]) -> np.ndarray:
    """+1 where what is said of an attribute agrees with what is seen, -1 where not, else 0."""
    found = np.zeros((latents.sizes["time"], len(attributes)), dtype=np.float32)
    for column, attribute in enumerate(attributes):
        seen, said = (
            latents[part][:, latents[f"{part}_dim"].str.startswith(f"{attribute}:")].to_numpy()
            for part in ("vision", "language")
        )
        agree = seen.argmax(axis=1) == said.argmax(axis=1)
        # codes are centred: all are 0 where nothing is said
        found[:, column] = np.where(said.any(axis=1), np.where(agree, 1.0, -1.0), 0.0)
    return found


def digest(weights: Mapping[str, np.ndarray], site: int) -> str:
    """Twelve hexadecimal digits that identify the weights of one site."""
    sha = hashlib.sha256()
    for part, matrix in weights.items():
        sha.update(part.encode())
        sha.update(np.ascontiguousarray(matrix[:, site], dtype="<f4").tobytes())
    return sha.hexdigest()[:12]


def dimensions(kind: str, latents: xr.Dataset) -> int:
    """Count the latent dimensions of a stimulus that drive a kind of site."""
    return sum(latents.sizes[f"{part}_dim"] for part in PARTS[kind] if part in latents)


def event_kernel(latency: float, width: float, sampling_frequency: float) -> np.ndarray:
    """Response to one word or scene cut: a gamma function with a peak of 1 at `latency`.

    Parameters
    ----------
    latency, width : float
        Time to peak and approximate standard deviation, s.
    sampling_frequency : float
        Hz.
    """
    shape = (latency / width) ** 2
    time = np.arange(1, round((latency + 6 * width) * sampling_frequency)) / sampling_frequency
    relative = time / latency
    return np.concatenate([[0.0], np.exp(shape * (np.log(relative) + 1 - relative))])


def event_responses(
    amplitudes: np.ndarray, samples: np.ndarray, kernel: np.ndarray, n_samples: int
) -> np.ndarray:
    """Add up the responses to all events.

    Parameters
    ----------
    amplitudes : ndarray of shape (events, sites)
    samples : ndarray of int, shape (events,)
        Sample at which each event starts.
    kernel : ndarray of shape (k,)
    n_samples : int
        Length of the recording.

    Returns
    -------
    ndarray of shape (sites, n_samples)
    """
    impulses = np.zeros((n_samples, amplitudes.shape[1]))
    np.add.at(impulses, samples, amplitudes)
    responses: np.ndarray = fftconvolve(impulses.T, kernel[None], axes=1)[:, :n_samples]
    return responses


def spread(low: float, high: float, n: int, random: np.random.Generator) -> np.ndarray:
    """Draw `n` values, one in each of `n` equal parts of the logarithmic range, in random order."""
    share = (random.permutation(n) + random.uniform(size=n)) / max(n, 1)
    return low * (high / low) ** share
