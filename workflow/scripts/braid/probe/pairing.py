"""Pairing: whether a network uses which picture belongs to which text."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braid.common import InputError, progress
from braid.features.pictures import iter_pictures
from braid.features.units import Unit, read_units
from braid.inference.decision import p_values
from braid.inference.nulls import draw_permutations
from braid.models import LoadedModel
from braid.probe.matching import scorer_of

PROBES_COLUMNS = {
    "probe": "Probe of the config",
    "model": "Network",
    "weights": "trained, or untrained (the architecture's own initialisation)",
    "n_units": "Units with a text and a frame whose pairs were scored",
    "score_true": "Mean matching score of the true pairs: the logit of the retrieval head, or the "
    "cosine of the embeddings",
    "score_shifted": "Mean matching score of the same texts with shifted frames",
    "difference": "score_true minus score_shifted",
    "effect": "Mean over its standard deviation, over units, of a unit's true score minus the mean "
    "of its shifted ones",
    "share_higher": "Share of units whose true pair scores higher than the mean of its shifted "
    "pairs; ties count half",
    "null_sd": "Standard deviation over the shifts of the mean score of a shifted pairing",
    "p": "One-sided p of score_true among the shifts, (k + 1) / (n_draws + 1)",
    "n_draws": "Shifts of the frames in time: circular, within each film",
}
_log = logging.getLogger("braid")


@dataclass(frozen=True)
class Pairing:
    """Units in the order of their films, and the shifts of their frames.

    Attributes
    ----------
    units : list of Unit
        With a text and a frame, sorted by film and frame time.
    shifted : numpy.ndarray of int, (draws, units)
        Unit i is shown the frame of unit `shifted[draw, i]`.
    left_out : mapping of str to int
        Units without `text`, without `frame`, and beyond the limit (`limit`).
    """

    units: list[Unit]
    shifted: np.ndarray
    left_out: Mapping[str, int]


def pairing_of(
    table: pd.DataFrame, root: str | Path, params: Mapping[str, Any], seed: int
) -> Pairing:
    """Choose the units of the probe, and draw the shifts.

    Parameters
    ----------
    table : pandas.DataFrame
        The units table.
    root : path-like
        Root of the data set.
    params : mapping
        `draws`; `min_shift` (s): no unit is shown a frame of its film nearer than this; `units`:
        the most units to use, evenly spaced over those there are (default 300).
    seed : int

    Raises
    ------
    InputError
        If no unit has both a text and a frame, or a film is too short for the shifts.
    """
    listed = read_units(table, root)
    both = [unit for unit in listed if unit.text and unit.frame_time is not None]
    if not both:
        raise InputError(
            f"units table: none of {len(listed)} units has both a text and a frame; pairing needs "
            "an analysis of films with words"
        )
    both.sort(key=lambda unit: (unit.stimulus, unit.frame_time))
    most = int(params.get("units", 300))
    chosen = [both[i] for i in np.unique(np.linspace(0, len(both) - 1, most).round().astype(int))]
    left_out = {
        "text": sum(not unit.text for unit in listed),
        "frame": sum(bool(unit.text) and unit.frame_time is None for unit in listed),
        "limit": len(both) - len(chosen),
    }
    _log.info(
        "pairing: %d units; left out: %d without text, %d without a frame, %d beyond the limit",
        len(chosen), left_out["text"], left_out["frame"], left_out["limit"],
    )  # fmt: skip
    return Pairing(chosen, _shifts(chosen, params, seed), left_out)


def probe_pairing(model: LoadedModel, pairing: Pairing, root: str | Path) -> pd.DataFrame:
    """Compare the matching score of true pairs with that of pairs shifted in time.

    Both kinds of pairs hold the same texts and the same frames, so that only which belongs to
    which can make a difference. Under the null the true pairing is one of the shifts; p holds for
    films that are long compared with their scenes, for shifts within a scene are nearly one.

    Parameters
    ----------
    model : LoadedModel
        Of `load_matcher`.
    pairing : Pairing
    root : path-like
        Root of the data set.

    Returns
    -------
    pandas.DataFrame
        One row, columns of `PROBES_COLUMNS`; `probe` is for the caller to fill in.
    """
    pictures = [picture for picture in iter_pictures(pairing.units, root) if picture is not None]
    score = scorer_of(model, [unit.text for unit in pairing.units], pictures)
    numbers = np.arange(len(pairing.units))
    every = [
        score(numbers, frames)
        for frames in progress([numbers, *pairing.shifted], f"scoring pairs, {model.name}")
    ]
    row = {
        "probe": "n/a",
        "model": model.name,
        "weights": "trained" if model.untrained is None else "untrained",
        **compare_pairs(every[0], np.stack(every[1:])),
    }
    return pd.DataFrame([row], columns=list(PROBES_COLUMNS))


def compare_pairs(true: np.ndarray, shifted: np.ndarray) -> dict[str, float | int]:
    """Compute the figures of a probe.

    Parameters
    ----------
    true : array, (units,)
        Scores of the true pairs.
    shifted : array, (draws, units)
        Scores with shifted frames.
    """
    each = true - shifted.mean(axis=0)
    means = shifted.mean(axis=1)
    spread = float(each.std(ddof=1)) if len(each) > 1 else 0.0
    return {
        "n_units": len(true),
        "score_true": float(true.mean()),
        "score_shifted": float(shifted.mean()),
        "difference": float(each.mean()),
        "effect": float(each.mean()) / spread if spread > 0 else float("nan"),
        "share_higher": float(np.mean((each > 0) + 0.5 * (each == 0))),
        "null_sd": float(means.std()),
        "p": float(p_values(true.mean(keepdims=True), means[:, None])[0]),
        "n_draws": len(shifted),
    }


def _shifts(units: Sequence[Unit], params: Mapping[str, Any], seed: int) -> np.ndarray:
    """Circular shifts of the frames within each film."""
    names = list(dict.fromkeys(unit.stimulus for unit in units))
    times = np.array([float(unit.frame_time or 0.0) for unit in units])
    try:
        drawn = draw_permutations(
            "circular_shift",
            np.array([names.index(unit.stimulus) for unit in units]),
            times,
            int(params["draws"]),
            seed,
            min_shift=float(params["min_shift"]),
            run_labels=names,
        )
    except InputError as error:
        raise InputError(
            f"probes: a film is too short to shift its frames by {params['min_shift']:g} s; lower "
            f"'min_shift' ({error})"
        ) from None
    if drawn.note:
        _log.info("pairing: %s", drawn.note)
    return drawn.rows
