"""How many electrodes pass when networks change sides: the null of the selection of candidates.

The best of several networks is compared with the best of several others. Whatever the networks
are, some electrodes pass: one network may be the best by far, or one side may have more of them.
The labels "multimodal" and "unimodal" are therefore exchanged among the candidates, the whole
procedure (ranking on validation, comparison, false discovery rate over all electrodes) is done
again, and the number of electrodes that pass is compared with the numbers under other labels.

It tests whether the labels say more about which electrodes pass than any other division of the
same networks into two sides of the same sizes: the networks are what is exchanged, so that a small
p speaks of these networks as classes and not of an electrode, and with few networks p cannot be
small. Networks of a class that resemble each other (one trunk, one training set) are not
exchangeable with the others; a small p can then mean what they share beside the labels, for which
the matched pair is the comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from braid.common import InputError, progress, rng
from braid.inference.decision import bh
from braid.inference.integration import STATUS, Question, compare_sides, is_tested

LABELS_COLUMNS = {
    "scope": "Alignment; weak: passed in any alignment; strict: passed in all of them",
    "n_sites": "Electrodes",
    "n_passes": "Electrodes where the best multimodal model beats the best unimodal one",
    "null_mean": "Mean of that number over other labels of the same networks",
    "null_high": "95th percentile of that number over other labels",
    "n_labellings": "Other labels that were tried",
    "p": "(1 + other labels with at least n_passes) / (n_labellings + 1)",
}


def labellings(n: int, k: int, most: int) -> np.ndarray:
    """Ways of calling k of n networks multimodal, the true one first.

    All of them where there are at most `most` others; else so many distinct ones at random, the
    same in every subject.

    Returns
    -------
    numpy.ndarray of int, (1 + ways, k)
        Positions; the true one is 0 to k - 1.
    """
    true = tuple(range(k))
    if comb(n, k) - 1 <= most:
        return np.array(list(combinations(range(n), k)), dtype=int).reshape(-1, k)
    generator, found = rng(0, "labels", n, k), {true: None}
    while len(found) <= most:
        found[tuple(sorted(generator.choice(n, k, replace=False).tolist()))] = None
    return np.array(list(found), dtype=int)


def relabel_candidates(
    scores: xr.Dataset,
    roles: Mapping[str, Any],
    params: Mapping[str, Any],
    seed: int,
    draws: Mapping[str, xr.Dataset] | None = None,
) -> xr.Dataset:
    """Compare one subject's candidates under other labels.

    Parameters
    ----------
    scores, roles, params, seed, draws
        As `compare_candidates` takes them; `labellings` of the settings says how many labels are
        tried.

    Returns
    -------
    xarray.Dataset
        `p(labelling, site)`, float64, and `status(labelling, site)`, int8, the position in
        `STATUS`; `multimodal(labelling)`, the models called so. The first labels are the true ones.

    Raises
    ------
    InputError
        If there are no multimodal or no unimodal models.
    """
    multimodal, unimodal = (list(roles.get(side, ())) for side in ("multimodal", "unimodal"))
    if not multimodal or not unimodal:
        raise InputError("integration: labels need multimodal and unimodal models; name both")
    networks = np.array([*multimodal, *unimodal])
    if draws is not None and params["events"] == "resampled":
        # read once, not once per labelling
        draws = {name: draws[name] for name in networks.tolist() if name in draws}
    ways = labellings(len(networks), len(multimodal), params["labellings"])
    names, p, status = [], [], []
    for way in progress(ways, "labels"):
        side = np.isin(np.arange(len(networks)), way)
        question = Question(
            "multimodal", networks[side].tolist(), networks[~side].tolist(), even=True
        )
        table = compare_sides(scores, question, params, seed, draws)
        names.append(" ".join(question.a))
        p.append(table["p"].to_numpy(dtype=float))
        status.append([STATUS.index(one) for one in table["status"]])
    dims = ("labelling", "site")
    return xr.Dataset(
        {"p": (dims, np.stack(p)), "status": (dims, np.array(status, dtype=np.int8))},
        {"site": scores["site"].values, "multimodal": ("labelling", names)},
        {"subject": scores.attrs["subject"]},
    )


def label_null(
    labels: Mapping[str, Sequence[xr.Dataset]], params: Mapping[str, Any]
) -> pd.DataFrame:
    """Compare the number of electrodes that pass with the numbers under other labels.

    Parameters
    ----------
    labels : mapping of str to sequence of xarray.Dataset
        By alignment, one per subject, from `relabel_candidates`.
    params : mapping
        Of `settings`.

    Returns
    -------
    pandas.DataFrame
        Columns of `LABELS_COLUMNS`: one row per alignment, weak, and strict where there are two
        alignments; p is NaN where no other labels were tried.

    Raises
    ------
    InputError
        If subjects or alignments differ in their labels.
    """
    parts = [(alignment, one) for alignment, some in labels.items() for one in some]
    if not parts:
        return pd.DataFrame(columns=list(LABELS_COLUMNS))
    first = parts[0][1]["multimodal"].values
    if any(not np.array_equal(one["multimodal"].values, first) for _, one in parts):
        raise InputError("integration: subjects differ in their labels; compare them all anew")
    rows = pd.DataFrame(
        [
            (alignment, str(one.attrs["subject"]), site)
            for alignment, one in parts
            for site in one["site"].values.tolist()
        ],
        columns=["alignment", "subject", "site"],
    )
    p, status = (
        np.concatenate([one[name].values for _, one in parts], axis=1) for name in ("p", "status")
    )
    passing = np.stack([_passing(*of, params) for of in zip(p, status, strict=True)], axis=1)
    sites = pd.MultiIndex.from_frame(rows[["subject", "site"]])
    found = {}
    for alignment in dict.fromkeys(rows["alignment"]):
        here = (rows["alignment"] == alignment).to_numpy()
        # an electrode that an alignment lacks does not pass there
        own = pd.DataFrame(passing[here], index=sites[here])
        found[alignment] = own.reindex(sites.unique(), fill_value=False).to_numpy(dtype=bool)
    every = list(found.values())
    found["weak"] = np.logical_or.reduce(every)
    if len(every) > 1:
        found["strict"] = np.logical_and.reduce(every)
    table = pd.DataFrame([_row(scope, passes) for scope, passes in found.items()])
    return table[list(LABELS_COLUMNS)]


def _passing(p: np.ndarray, status: np.ndarray, params: Mapping[str, Any]) -> np.ndarray:
    """Electrodes of all subjects and alignments that pass under one labelling."""
    tested = is_tested(pd.Series(np.array(STATUS)[status]), params).to_numpy()
    entering = p if params["fdr_order"] == "before_nobs" else np.where(tested, p, np.nan)
    return tested & (np.nan_to_num(bh(entering), nan=1.0) <= params["q"])


def _row(scope: str, passes: np.ndarray) -> dict[str, Any]:
    """One row of the table, from (electrodes, labellings)."""
    count = passes.sum(axis=0)
    others = count[1:]
    return {
        "scope": scope,
        "n_sites": len(passes),
        "n_passes": int(count[0]),
        "null_mean": others.mean() if len(others) else np.nan,
        "null_high": np.quantile(others, 0.95) if len(others) else np.nan,
        "n_labellings": len(others),
        "p": (1 + np.sum(others >= count[0])) / (len(others) + 1) if len(others) else np.nan,
    }
