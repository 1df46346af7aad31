"""Integration sites against the planted truth: recall, precision, mistakes by kind."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from braid.common import InputError
from braid.inference.evaluation import NOMINAL, lower_bound, row_of, true_of, upper_bound
from braid.inference.expectations import EVALUATION_COLUMNS
from braid.inference.integration import TESTS

RECALL, PRECISION = 0.7, 0.9


def called_integration(sites: pd.DataFrame, alignments: Sequence[str]) -> pd.Series:
    """Sites called integration sites, in some alignment.

    Such a site passes two tests at once: the best multimodal model beats the best unimodal one and
    every linear combination of unimodal ones. The first alone is passed by a site that adds up
    what it sees and hears.

    Parameters
    ----------
    sites : pandas.DataFrame
        The study's table of sites.
    alignments : sequence of str

    Returns
    -------
    pandas.Series of bool
    """
    found = pd.Series(False, index=sites.index)
    for alignment in alignments:
        tests = [f"multimodal_{alignment}", f"nonlinear_{alignment}"]
        found |= sites[[name for name in tests if name in sites]].eq(True).all(axis=1)
    return found


def evaluate_integration(
    name: str, profile: str, alignments: Sequence[str], sites: pd.DataFrame, truth: pd.DataFrame
) -> pd.DataFrame:
    """Compare the calls of an integration with what was planted.

    Measures, over the sites of iEEG that have a truth:

    - recall: clearly driven joint sites (`clear` in the truth) called integration sites; at least
      the 5 % binomial bound of 0.7.
    - precision: joint sites among those called; at least the 5 % binomial bound of 0.9.
    - sites of every other kind called integration sites, and sum sites that pass the nonlinear
      test; at most the 95 % binomial bound of .05.
    - strict calls that are not weak ones: none.

    Parameters
    ----------
    name, profile : str
        The stage is the name; the profile stands before each measure.
    alignments : sequence of str
    sites : pandas.DataFrame
        The study's table of sites.
    truth : pandas.DataFrame
        See `evaluate`.

    Returns
    -------
    pandas.DataFrame
        Columns of `EVALUATION_COLUMNS`.

    Raises
    ------
    InputError
        If no site of the study is in the truth.
    """
    planted = truth[truth["kind_of_recording"] == "ieeg"][["subject", "site", "kind", "clear"]]
    table = sites.merge(planted, on=["subject", "site"])
    if table.empty:
        raise InputError(
            f"truth: none of the sites of integration '{name}' is in it; subjects and sites must "
            "be named alike"
        )
    called = called_integration(table, alignments)
    joint = table["kind"] == "joint"
    rows = []
    clear = called[joint & true_of(table["clear"])]
    if len(clear):
        bound = lower_bound(len(clear), RECALL)
        rows.append(
            (
                f"share of {len(clear)} clearly driven joint sites called integration",
                clear.mean(),
                f">= {bound:.4f} (5 % binomial bound of {RECALL})",
                clear.mean() >= bound,
            )
        )
    if called.any():
        n, right = int(called.sum()), joint[called].mean()
        bound = lower_bound(n, PRECISION)
        threshold = f">= {bound:.4f} (5 % binomial bound of {PRECISION})"
        rows.append((f"share of {n} sites called integration that are joint", right, threshold,
                     right >= bound))  # fmt: skip
    for kind in ("sum", "vision", "language", "silent"):
        rows += _mistakes(called[table["kind"] == kind], kind, "called integration")
    for alignment in alignments:
        test = f"nonlinear_{alignment}"
        if test in table:
            passed = table.loc[table["kind"] == "sum", test].eq(True)
            rows += _mistakes(passed, "sum", f"passing the nonlinear test ({alignment})")
    for test in TESTS:
        if f"{test}_strict" in table:
            strict = table[f"{test}_strict"].eq(True) & ~table[f"{test}_weak"].eq(True)
            rows.append((f"strict calls of test {test} that are not weak ones", strict.sum(), "= 0",
                         not strict.any()))  # fmt: skip
    checks = [row_of(name, f"{profile}: {row[0]}", *row[1:]) for row in rows]
    return pd.DataFrame(checks, columns=list(EVALUATION_COLUMNS))


def _mistakes(called: pd.Series, kind: str, what: str) -> list[tuple[str, float, str, bool]]:
    """Bound the share of the sites of a kind that are called though they should not be."""
    if called.empty:
        return []
    share, bound = float(called.mean()), upper_bound(len(called))
    threshold = f"<= {bound:.4f} (95 % binomial bound of {NOMINAL})"
    return [(f"share of {len(called)} {kind} sites {what}", share, threshold, share <= bound)]
