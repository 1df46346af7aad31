"""How much of a planted truth was found.

Thresholds follow from the number of sites and nothing else: a share that should be at most a
nominal rate is compared with the 95 % binomial bound at that rate. A check that no site enters is
left out. With many checks, one in twenty bounds may be passed by chance alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from braid.common import InputError
from braid.inference.expectations import EVALUATION_COLUMNS

NOMINAL = 0.05
FOUND = 0.8  # share of clearly driven sites that a study must find
TRUTH_REQUIRED = ("kind_of_recording", "subject", "site", "kind", "clear")
# what a stimulus without pictures cannot drive
_NEEDS_PICTURES = ("vision", "joint")
_CROSSMODAL = ("shared", "inverted")
_ROLES = {"vision": "trained_vision", "language": "trained_language", "fusion": "trained_fusion"}
_UNTRAINED = "_untrained"


def evaluate(
    tables: Mapping[str, pd.DataFrame],
    truth: pd.DataFrame,
    analyses: Mapping[str, Mapping[str, Any]],
    transfers: Mapping[str, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Compare what a study found with what was planted.

    Which model should find which kind of site is read from the comparisons' names:
    `trained_vision`, `trained_language` and `trained_fusion` name the network of each role as
    their first model (and its untrained twin as their second); `combination` compares features in
    which vision and language are joined with features side by side that join nothing. A vision
    site is one for the vision network, the side-by-side and the joined features; a language site
    likewise; a sum site is one for the latter two; a joint site for the joined features.

    Measures, per analysis:

    - silent sites with p <= .05, and silent sites called significant (q), for the joining
      network (else the first model) and pooled over all models. Each share is at most the 95 %
      binomial bound of .05 with as many trials as there are sites; models of one site are not
      independent, so pooling does not add trials.
    - clearly driven sites (`clear` in the truth) that are significant for at least one model of
      the right kind: at least 0.8 over all kinds; within each kind, where there can be few, at
      least the 5 % binomial bound of 0.8.
    - trained minus untrained score over the driven sites of the role's kinds: mean difference
      above 0 with a one-sided paired t test over sites at p < .05, and the share of sites where
      the trained network is better, above the 95 % binomial bound of one half.
    - joint sites where the combination's comparison has p <= .05, and those where it is
      significant (q): more than the 95 % binomial bound of .05. Other sites: at most that bound.

    In stories there are no pictures: vision and joint sites count as silent there, and sum
    sites as language sites, none of which counts as clear. In films without narration language
    sites count as silent. What is shared by both senses, or inverted between them, counts as a
    language site in stories and as a vision site in such films. Transfers through an alignment are
    left to `evaluate_crossmodal`.

    Measures, per transfer, over the sites that both of its analyses have:

    - silent sites with p <= .05 and called significant, bounded as above. A site is silent here
      if it is silent in either analysis: a model cannot carry over what drives a site in one.
    - clearly driven sites that are significant for at least one model of the right kind, with the
      thresholds above. A site is clear here if it is clear in both analyses.
    - sum sites of which language alone drives one analysis, for which `clear` is not stated: more
      than the 95 % binomial bound of .05 are found.

    Parameters
    ----------
    tables : mapping of str to pandas.DataFrame
        `sites` and `comparisons` of `collect_tables`; with transfers, `transfers` too: the tables
        of `transfer_sites`, joined.
    truth : pandas.DataFrame
        `kind_of_recording` (ieeg or bold), `subject`, `site`, `kind` (vision, language, sum,
        joint or silent), `clear`.
    analyses : mapping
        The config's analyses by name: `kind`, `tasks`, `compare`.
    transfers : mapping, optional
        The config's transfers by name: `source` and `target`.

    Returns
    -------
    pandas.DataFrame
        Columns of `EVALUATION_COLUMNS`; `stage` is the analysis, or `transfer` with the name of
        the transfer before the measure.

    Raises
    ------
    InputError
        If the truth lacks a column, or no tested site of an analysis or a transfer is in it.
    """
    for column in TRUTH_REQUIRED:
        if column not in truth.columns:
            raise InputError(
                f"truth: column '{column}' is missing (it has: {', '.join(truth.columns)})"
            )
    rows: list[dict[str, Any]] = []
    for name, analysis in analyses.items():
        planted = planted_kinds(truth, analysis["kind"], analysis.get("tasks", []))
        sites = _with_truth(tables["sites"], planted, "analysis", name)
        compare = dict(analysis.get("compare") or {})
        rows += silent_checks(name, sites, compare)
        rows += found_checks(name, sites, compare)
        rows += trained_checks(name, sites, compare)
        rows += combination_checks(name, _compared(tables["comparisons"], planted, name))
    for name, entry in (transfers or {}).items():
        if "alignment" in entry:
            continue
        source, target = analyses[entry["source"]], analyses[entry["target"]]
        planted = planted_in_both(truth, source, target)
        sites = _with_truth(tables["transfers"], planted, "transfer", name)
        rows += transfer_checks(name, sites, dict(source.get("compare") or {}))
    return pd.DataFrame(rows, columns=list(EVALUATION_COLUMNS))


def planted_kinds(truth: pd.DataFrame, recording: str, tasks: Sequence[str]) -> pd.DataFrame:
    """Truth of one kind of recording, with the kinds that the tasks can drive."""
    planted = truth[truth["kind_of_recording"] == recording].copy()
    if list(tasks) == ["story"]:
        silenced = planted["kind"].isin(_NEEDS_PICTURES)
        planted.loc[silenced, "clear"] = False
        planted.loc[silenced, "kind"] = "silent"
        # half of what drives them is absent, and `clear` was stated for the whole
        sums = planted["kind"] == "sum"
        planted.loc[sums, "clear"] = False
        planted.loc[sums, "kind"] = "language"
        # what both senses drive alike is as strong in stories, where `clear` was stated for it
        planted.loc[planted["kind"].isin(_CROSSMODAL), "kind"] = "language"
    if list(tasks) == ["silentfilm"]:
        heard = planted["kind"] == "language"
        planted.loc[heard, "clear"] = False
        planted.loc[heard, "kind"] = "silent"
        planted.loc[planted["kind"].isin(_CROSSMODAL), "kind"] = "vision"
    return planted[["subject", "site", "kind", "clear"]]


def planted_in_both(
    truth: pd.DataFrame, source: Mapping[str, Any], target: Mapping[str, Any]
) -> pd.DataFrame:
    """Truth of the sites of a transfer, with the kinds that both of its analyses can drive.

    Where language alone drives a sum site in one of them, it is a language site for the transfer;
    the column `partial` marks it.
    """
    first, second = (
        planted_kinds(truth, analysis["kind"], analysis.get("tasks", []))
        for analysis in (source, target)
    )
    both = first.merge(second, on=["subject", "site"], suffixes=("_source", "_target"))
    kinds = both[["kind_source", "kind_target"]]
    silent, language = ((kinds == kind).any(axis=1) for kind in ("silent", "language"))
    return pd.DataFrame(
        {
            "subject": both["subject"],
            "site": both["site"],
            "kind": np.select([silent, language], ["silent", "language"], both["kind_source"]),
            "clear": true_of(both["clear_source"]) & true_of(both["clear_target"]),
            "partial": ~silent & (both["kind_source"] != both["kind_target"]),
        }
    )


def upper_bound(n: int, rate: float = NOMINAL) -> float:
    """Largest share of n that a rate gives with 95 % probability."""
    return float(stats.binom.ppf(0.95, n, rate)) / n


def lower_bound(n: int, rate: float) -> float:
    """Smallest share of n that a rate gives with 95 % probability."""
    return float(stats.binom.ppf(0.05, n, rate)) / n


def silent_checks(
    stage: str, sites: pd.DataFrame, compare: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Count false positives among silent sites."""
    silent = sites[(sites["kind"] == "silent") & sites["p"].notna()]
    if silent.empty:
        return []
    n = len(silent[["subject", "site"]].drop_duplicates())
    models = list(dict.fromkeys(silent["model"]))
    fusion = _role(compare, "fusion")
    model = fusion if fusion in models else models[0]
    bound = upper_bound(n)
    rows = []
    parts = {f"by {model}": silent[silent["model"] == model]}
    if len(models) > 1:
        parts["over models"] = silent
    for who, part in parts.items():
        for what, share in (
            ("with p <= .05", (part["p"] <= NOMINAL).mean()),
            ("called significant", true_of(part["significant"]).mean()),
        ):
            rows.append(
                row_of(
                    stage,
                    f"share of {n} silent sites {what} {who}",
                    share,
                    f"<= {bound:.4f} (95 % binomial bound of {NOMINAL})",
                    share <= bound,
                )
            )
    return rows


def found_checks(
    stage: str, sites: pd.DataFrame, compare: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Count clearly driven sites that were found by a model of the right kind."""
    clear = sites[true_of(sites["clear"]) & (sites["kind"] != "silent")]
    found = {}
    for kind, group in clear.groupby("kind"):
        right = group[group["model"].isin(right_models(compare, str(kind)))]
        if len(right):
            found[str(kind)] = found_of(right)
    if not found:
        return []
    every = pd.concat(found.values())
    rows = [
        row_of(
            stage,
            f"share of {len(every)} clearly driven sites found",
            every.mean(),
            f">= {FOUND}",
            every.mean() >= FOUND,
        )
    ]
    for kind, values in found.items():
        measure = f"share of {len(values)} clearly driven {kind} sites found"
        share, bound = values.mean(), lower_bound(len(values), FOUND)
        threshold = f">= {bound:.4f} (5 % binomial bound of {FOUND})"
        rows.append(row_of(stage, measure, share, threshold, share >= bound))
    return rows


def trained_checks(
    stage: str, sites: pd.DataFrame, compare: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Trained against untrained networks on the sites that they should predict."""
    rows = []
    for role in _ROLES:
        trained = _role(compare, role)
        if trained is None:
            continue
        kinds = [kind for kind in ("vision", "language", "sum", "joint") if _drives(role, kind)]
        driven = sites[sites["kind"].isin(kinds)].set_index(["subject", "site"])
        scores = pd.DataFrame(
            {
                model: driven.loc[driven["model"] == model, "score"]
                for model in (trained, trained + _UNTRAINED)
            }
        ).dropna()
        if len(scores) < 2:
            continue
        difference = scores[trained] - scores[trained + _UNTRAINED]
        p = float(stats.ttest_1samp(difference, 0.0, alternative="greater").pvalue)
        n, about = len(difference), f"{len(difference)} driven sites ({', '.join(kinds)})"
        rows.append(
            row_of(
                stage,
                f"{trained} minus untrained, mean r over {about}",
                difference.mean(),
                f"> 0 with p < .05, paired t test over sites (p = {p:.2g})",
                difference.mean() > 0 and p < NOMINAL,
            )
        )
        share, bound = float((difference > 0).mean()), upper_bound(n, 0.5)
        rows.append(
            row_of(
                stage,
                f"{trained} better than untrained, share of {about}",
                share,
                f"> {bound:.4f} (95 % binomial bound of 0.5)",
                share > bound,
            )
        )
    return rows


def combination_checks(stage: str, comparisons: pd.DataFrame) -> list[dict[str, Any]]:
    """Joint sites found by the combination's comparison, and others mistaken for them."""
    called = comparisons[(comparisons["comparison"] == "combination") & comparisons["p"].notna()]
    rows = []
    for kind in ("joint", "sum", "vision", "language", "silent"):
        part = called[called["kind"] == kind]
        if part.empty:
            continue
        n, bound, joint = len(part), upper_bound(len(part)), kind == "joint"
        for what, share in (
            ("called combination", float(true_of(part["significant"]).mean())),
            ("with combination p <= .05", float((part["p"] <= NOMINAL).mean())),
        ):
            rows.append(
                row_of(
                    stage,
                    f"share of {n} {kind} sites {what}",
                    share,
                    f"{'>' if joint else '<='} {bound:.4f} (95 % binomial bound of {NOMINAL})",
                    share > bound if joint else share <= bound,
                )
            )
    return rows


def transfer_checks(
    name: str, sites: pd.DataFrame, compare: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Count false positives and found sites of one transfer; `compare` is its source's."""
    stage = "transfer"
    rows = [*silent_checks(stage, sites, compare), *found_checks(stage, sites, compare)]
    part = sites[sites["partial"] & sites["model"].isin(right_models(compare, "language"))]
    if len(part):
        found = found_of(part)
        share, bound = found.mean(), upper_bound(len(found))
        threshold = f"> {bound:.4f} (95 % binomial bound of {NOMINAL})"
        measure = f"share of {len(found)} sum sites found"
        rows.append(row_of(stage, measure, share, threshold, share > bound))
    return [{**row, "measure": f"{name}: {row['measure']}"} for row in rows]


def right_models(compare: Mapping[str, Sequence[str]], kind: str) -> list[str]:
    """Models that should find a kind of site (see `evaluate`)."""
    models = [_role(compare, role) for role in _ROLES if _drives(role, kind)]
    if kind != "joint" and "combination" in compare:
        models.append(compare["combination"][1])
    if "combination" in compare:
        models.append(compare["combination"][0])
    return [model for model in dict.fromkeys(models) if model is not None]


def _drives(role: str, kind: str) -> bool:
    """Whether the network of a role should predict a kind of site."""
    return role == "fusion" or kind in (role, "sum")


def _role(compare: Mapping[str, Sequence[str]], role: str) -> str | None:
    """Network of a role, from the comparison that is named after it."""
    pair = compare.get(_ROLES[role])
    return str(pair[0]) if pair is not None and pair[1] == pair[0] + _UNTRAINED else None


def _with_truth(table: pd.DataFrame, planted: pd.DataFrame, column: str, name: str) -> pd.DataFrame:
    """Rows of one analysis or transfer whose sites have a truth, with it; there must be some."""
    rows = table[table[column] == name].merge(planted, on=["subject", "site"], how="inner")
    if rows.empty:
        raise InputError(
            f"truth: none of the tested sites of {column} '{name}' is in it; "
            "subjects and sites must be named alike"
        )
    return rows


def _compared(table: pd.DataFrame, planted: pd.DataFrame, analysis: str) -> pd.DataFrame:
    """Rows of the comparisons of an analysis, which may have none, with their truth."""
    return table[table["analysis"] == analysis].merge(planted, on=["subject", "site"])


def found_of(sites: pd.DataFrame) -> pd.Series:
    """Whether each site is significant for at least one model."""
    return true_of(sites["significant"]).groupby([sites["subject"], sites["site"]]).any()


def true_of(values: pd.Series) -> pd.Series:
    """Read a column of truth values that may have come as text."""
    return values.astype(str).str.lower().isin(["true", "1", "1.0"])


def row_of(stage: str, measure: str, value: Any, threshold: str, passed: Any) -> dict[str, Any]:
    """One check."""
    number = float(value) if np.isfinite(value) else np.nan
    return {
        "stage": stage,
        "measure": measure,
        "value": number,
        "threshold": threshold,
        "pass": bool(passed),
    }
