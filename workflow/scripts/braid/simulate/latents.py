"""The world's latent variables: what is seen, what was said, and whether the two agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from braid.simulate.scenes import Scene

#: Place of the protagonist, scaled to about -1 to 1.
PLACE = ("x", "y")


def vision_dims(values: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of the dimensions of `vision`: `attribute:value`, and the place."""
    return [*language_dims(values), *(f"position:{name}" for name in PLACE)]


def language_dims(values: Mapping[str, Sequence[str]]) -> list[str]:
    """Names of the dimensions of `language`: `attribute:value`."""
    return [f"{name}:{value}" for name, options in values.items() for value in options]


def film_latents(
    scenes: Sequence[Scene],
    meanings: pd.DataFrame,
    values: Mapping[str, Sequence[str]],
    duration: float,
    rate: float,
) -> xr.Dataset:
    """Latents of a film.

    Parameters
    ----------
    scenes : sequence of Scene
        In order, from 0 to `duration`.
    meanings : pandas.DataFrame
        One row per word, in order: `onset` (s), `sentence`, `attribute` and `value` (None for
        words without such a meaning).
    values : mapping of str to sequence of str
        Attribute to its values.
    duration : float
        s.
    rate : float
        Hz.

    Returns
    -------
    xarray.Dataset
        On `time` (s, at `rate`), float32. `vision(time, vision_dim)`: centred one-hot codes of
        the protagonist's attributes and its place. `language(time, language_dim)`: centred
        one-hot codes of the values said so far in the current sentence, 0 for attributes not
        said, kept until the next sentence starts. `joint(time, joint_dim)`: per attribute +1
        where what was said agrees with what is seen, -1 where it does not, 0 where nothing was
        said about this scene yet.
    """
    time = _grid(duration, rate)
    starts = np.array([scene.start for scene in scenes])
    which = np.searchsorted(starts, time, side="right") - 1
    seen = {
        name: np.array([list(options).index(scene.look.values[name]) for scene in scenes])[which]
        for name, options in values.items()
    }
    place = np.array(
        [
            (look.x, look.y)
            for look in (scenes[scene].look_at(at) for scene, at in zip(which, time, strict=True))
        ]
    )
    vision = np.hstack(
        [
            *(_code(seen[name], len(options)) for name, options in values.items()),
            (place - 0.5) * 6,
        ]
    )
    said, since = _said(meanings, values, time)
    # a sentence was said about the scene in which it began: after a cut nothing was said yet
    about_now = np.searchsorted(starts, since, side="right") - 1 == which
    joint = np.column_stack(
        [
            np.where(
                (said[name] >= 0) & about_now, np.where(said[name] == seen[name], 1.0, -1.0), 0.0
            )
            for name in values
        ]
    )
    return _dataset(
        time,
        vision=(vision, vision_dims(values)),
        language=(_language(said, values), language_dims(values)),
        joint=(joint, list(values)),
    )


def story_latents(
    meanings: pd.DataFrame, values: Mapping[str, Sequence[str]], duration: float, rate: float
) -> xr.Dataset:
    """Latents of a story: only `language`, as in `film_latents`."""
    time = _grid(duration, rate)
    said, _ = _said(meanings, values, time)
    return _dataset(time, language=(_language(said, values), language_dims(values)))


def _grid(duration: float, rate: float) -> np.ndarray:
    return np.arange(round(duration * rate)) / rate


def _code(index: np.ndarray, n: int) -> np.ndarray:
    """Centred one-hot rows (each sums to 0); rows of 0 where the index is negative."""
    rows = np.eye(n) - 1.0 / n
    return np.where(index[:, None] >= 0, rows[index], 0.0)


def _said(
    meanings: pd.DataFrame, values: Mapping[str, Sequence[str]], time: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Index of the value said so far per attribute (-1: not said), and the sentence's onset."""
    states = {name: np.full(len(meanings) + 1, -1) for name in values}
    since = np.full(len(meanings) + 1, -np.inf)
    current: dict[str, int] = {}
    sentence = -1
    for row, word in enumerate(meanings.itertuples(index=False), start=1):
        since[row] = since[row - 1]
        if int(word.sentence) != sentence:  # type: ignore[arg-type]
            sentence, current, since[row] = int(word.sentence), {}, word.onset  # type: ignore
        if isinstance(word.attribute, str):
            current[word.attribute] = list(values[word.attribute]).index(str(word.value))
        for name, index in current.items():
            states[name][row] = index
    # a word counts from its onset on; the tolerance keeps an onset on the grid at its own sample
    row_now = np.searchsorted(meanings["onset"].to_numpy(), time + 1e-9, side="right")
    return {name: state[row_now] for name, state in states.items()}, since[row_now]


def _language(said: Mapping[str, np.ndarray], values: Mapping[str, Sequence[str]]) -> np.ndarray:
    return np.hstack([_code(said[name], len(options)) for name, options in values.items()])


def _dataset(time: np.ndarray, **latents: tuple[np.ndarray, list[str]]) -> xr.Dataset:
    variables = {
        name: (("time", f"{name}_dim"), array.astype(np.float32))
        for name, (array, _) in latents.items()
    }
    coords: dict[str, object] = {"time": ("time", time, {"units": "s"})}
    coords |= {f"{name}_dim": names for name, (_, names) in latents.items()}
    return xr.Dataset(variables, coords=coords)
