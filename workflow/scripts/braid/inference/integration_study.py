"""Tables of the integration tests: electrodes, models, regions, subjects, the group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from braid.common import InputError, rng, seed_for, t_interval
from braid.inference.group import hierarchical_bootstrap
from braid.inference.integration import (
    CHECKS,
    COMPARISONS_COLUMNS,
    SCOPES,
    TESTS,
    integration_tests,
    weak_and_strict,
)
from braid.inference.integration_labels import LABELS_COLUMNS, label_null

_PRIOR_SHARE = 2.0  # sd of the normal prior of the mean log odds, which hardly binds
_PRIOR_SPREAD = 0.5  # sd of the normal prior of log(sd between subjects), about sd = 1
_ABOUT = {
    "multimodal": "the best multimodal model beats the best unimodal one",
    "matched": "of the matched pair, the model trained with language is better",
    "nonlinear": "the best multimodal model beats every linear combination",
}
_CHECKED = {
    "over_low_level": "the best multimodal model beats the low-level features",
    "beyond_low_level": "the best multimodal model beats the best unimodal one with low-level "
    "features beside those of every model",
}
_SITE = {
    "subject": "Subject label",
    "site": "Electrode",
    "region": "Region label",
    "x": "Position, mm, in the space of the data set",
    "y": "Position, mm",
    "z": "Position, mm",
}
_SHARE = {
    "test": f"Test: {'; '.join(f'{test}, {about}' for test, about in _ABOUT.items())}",
    "scope": "Alignment; weak: passed in any alignment; strict: passed in all of them",
    "n_sites": "Electrodes",
    "n_passes": "Electrodes that pass",
    "share": "n_passes / n_sites",
    "low": "Lower end of the 95 % interval of the share, Wilson's, electrodes taken as independent",
    "high": "Upper end of that interval",
    "n_default": "Further electrodes that would pass if every win by default counted",
}
COUNTS_COLUMNS = _SHARE | {
    f"n_{check}": f"Of n_passes, electrodes where {about}, in the same scope; n/a if not asked"
    for check, about in _CHECKED.items()
}
REGIONS_COLUMNS = {
    "region": _SITE["region"],
    "n_subjects": "Subjects with electrodes there",
} | _SHARE
SUBJECTS_COLUMNS = {"subject": _SITE["subject"]} | _SHARE
GROUP_COLUMNS = {
    "test": _SHARE["test"],
    "scope": _SHARE["scope"],
    "n_subjects": "Subjects",
    "n_sites": _SHARE["n_sites"],
    "share": "Mean over subjects of the share of electrodes that pass",
    "low": "Lower end of the 95 % interval of that mean, hierarchical bootstrap: subjects, then "
    "electrodes",
    "high": "Upper end of that interval",
    "without_one_low": "Smallest mean share when one subject is left out",
    "without_one_high": "Largest mean share when one subject is left out",
    "mixed_share": "Share at a typical subject, logistic mixed model with subjects as random "
    "intercepts",
    "mixed_low": "Lower end of its 95 % interval",
    "mixed_high": "Upper end of its 95 % interval",
    "mixed_sd": "Standard deviation between subjects, log odds",
}
MODELS_COLUMNS = {
    "alignment": "What events are: words (language) or scene cuts (vision)",
    "model": "Network, its untrained twin or a combination",
    "side": "multimodal, unimodal, linear, untrained, or n/a",
    "objective": "Training objective, as the study names it",
    "n_sites": "Electrodes, over subjects",
    "n_enough": "Electrodes where enough bins have a validation score above 0",
    "score": "Median over electrodes with enough bins of the mean test score over its bins, "
    "Pearson r",
    "score_mean": "Mean over subjects of each subject's mean of the same",
    "score_low": "Lower end of the 95 % interval of that mean, Student's t over subjects",
    "score_high": "Upper end of that interval",
    "n_first": "Electrodes where it is the best multimodal model on validation",
    "n_first_tested": "Of these, where it beats the second best, tested",
    "n_trained": "Electrodes where it beats its untrained twin, tested",
    "n_trained_tested": "Electrodes where the two were compared",
    "n_trained_default": "Electrodes where only the trained one has enough bins",
    "n_untrained": "Electrodes where the untrained twin beats it, tested",
    "gain": "Mean over the electrodes compared of its score minus its twin's",
}
OBJECTIVES_COLUMNS = {
    "alignment": MODELS_COLUMNS["alignment"],
    "objective": MODELS_COLUMNS["objective"],
    "rank": "1: the highest mean score",
    "n_models": "Multimodal models trained so",
    "score_mean": "Mean over subjects of the mean over electrodes and models of the test score, "
    "electrodes where any multimodal model has enough bins, and the bins that any of them keeps",
    "score_low": MODELS_COLUMNS["score_low"],
    "score_high": MODELS_COLUMNS["score_high"],
    "n_first": "Electrodes whose best multimodal model on validation is trained so",
    "n_first_tested": MODELS_COLUMNS["n_first_tested"],
}
TIMES_COLUMNS = {
    "alignment": MODELS_COLUMNS["alignment"],
    "comparison": "What is compared",
    "bin": "Start of the window relative to the event, s",
    "n_subjects": "Subjects with electrodes that were compared",
    "effect": "Mean over subjects of the mean over electrodes of the difference in test score of "
    "their candidates a and b (where a side is scored as the best of fewer models, of its best)",
    "low": "Lower end of the 95 % interval, Student's t over subjects",
    "high": "Upper end of that interval",
}


@dataclass(frozen=True)
class Study:
    """What the tables are made of.

    Attributes
    ----------
    scores : mapping of str to sequence of xarray.Dataset
        By alignment, one per subject, from `stack_models`.
    comparisons : pandas.DataFrame
        From `correct_comparisons`.
    roles : mapping
        As `compare_candidates` takes them; and `objectives`, the training objective by model.
    params : mapping
        Of `settings`.
    labels : mapping of str to sequence of xarray.Dataset
        By alignment, one per subject, from `relabel_candidates`; may be empty.
    """

    scores: Mapping[str, Sequence[xr.Dataset]]
    comparisons: pd.DataFrame
    roles: Mapping[str, Any]
    params: Mapping[str, Any]
    labels: Mapping[str, Sequence[xr.Dataset]] = field(default_factory=dict)


def sites_columns(alignments: Sequence[str]) -> dict[str, str]:
    """Describe the columns of the table of electrodes."""
    columns = dict(_SITE)
    for test, about in {**_ABOUT, **_CHECKED}.items():
        for alignment in alignments:
            name = f"{test}_{alignment}"
            where = f"{about} ({alignment})"
            columns |= {
                name: f"Whether {where}: q at most the level of the study",
                f"{name}_default": f"Whether {where} if every win by default counted, and not else",
                f"{name}_status": "tested: both models have enough bins; default_a, default_b: "
                "only that one has; neither",
                f"{name}_p": "One-sided p, second-order bootstrap over bins; the largest of "
                "several comparisons",
                f"{name}_q": "Benjamini-Hochberg false discovery rate of the comparison",
                f"{name}_effect": "Difference in mean test score, Pearson r",
                f"{name}_low": "Lower end of the interval of the effect",
                f"{name}_high": "Upper end of that interval",
                f"{name}_a": "Model asked to be better",
                f"{name}_b": "Model that it was compared with",
            }
        columns |= {
            f"{test}_weak": f"Whether {about} in any alignment",
            f"{test}_strict": f"Whether {about} in all alignments",
        }
    return columns


def integration_columns(alignments: Sequence[str]) -> dict[str, dict[str, str]]:
    """Describe the columns of each table of a study."""
    return {
        "sites": sites_columns(alignments),
        "counts": COUNTS_COLUMNS,
        "regions": REGIONS_COLUMNS,
        "subjects": SUBJECTS_COLUMNS,
        "group": GROUP_COLUMNS,
        "models": MODELS_COLUMNS,
        "objectives": OBJECTIVES_COLUMNS,
        "times": TIMES_COLUMNS,
        "labels": LABELS_COLUMNS,
        "comparisons": COMPARISONS_COLUMNS,
    }


def integration_tables(study: Study, seed: int, n: int = 10_000) -> dict[str, pd.DataFrame]:
    """Sum the study up.

    Parameters
    ----------
    study : Study
    seed, n : int
        Of the hierarchical bootstrap.

    Returns
    -------
    dict of str to pandas.DataFrame
        `sites` (columns of `sites_columns`), `counts`, `regions`, `subjects`, `group`, `models`,
        `objectives`, `times`, with the columns described in this module; `labels`, from
        `label_null`.
    """
    tests = integration_tests(study.comparisons)
    checked = [check for check in CHECKS if check in set(study.comparisons["comparison"])]
    checks = integration_tests(study.comparisons, checked) if checked else tests.iloc[:0]
    sites = sites_table(pd.concat([tests, checks]), study.scores)
    calls = _calls(tests, sites)
    return {
        "sites": sites,
        "counts": _checked_counts(calls, _calls(checks, sites))[list(COUNTS_COLUMNS)],
        "regions": shares(calls, ["region"])[list(REGIONS_COLUMNS)],
        "subjects": shares(calls, ["subject"])[list(SUBJECTS_COLUMNS)],
        "group": group_shares(calls, seed, n),
        "models": models_table(study),
        "objectives": objectives_table(study),
        "times": times_table(study),
        "labels": label_null(study.labels, study.params),
    }


def sites_table(tests: pd.DataFrame, scores: Mapping[str, Sequence[xr.Dataset]]) -> pd.DataFrame:
    """One row per electrode, with what each test says in each alignment.

    Parameters
    ----------
    tests : pandas.DataFrame
        From `integration_tests`.
    scores : mapping of str to sequence of xarray.Dataset
        For the electrodes' regions and positions.

    Returns
    -------
    pandas.DataFrame
        Columns of `sites_columns`, without those of tests that were not made.
    """
    by = ["subject", "site"]
    table, flags = _places(scores), []
    for test in (test for test in (*TESTS, *CHECKS) if test in set(tests["test"])):
        own = tests[tests["test"] == test]
        for alignment in scores:
            name = f"{test}_{alignment}"
            part = own[own["alignment"] == alignment].drop(columns=["alignment", "test"])
            part = part.set_index(by).add_prefix(f"{name}_")
            table = table.join(part.rename(columns={f"{name}_passes": name}), on=by)
            flags += [name, f"{name}_default"]
        decided = weak_and_strict(own).set_index(by)[list(SCOPES)]
        table = table.join(decided.add_prefix(f"{test}_"), on=by)
        flags += [f"{test}_{scope}" for scope in SCOPES]
    # an electrode that an alignment lacks does not pass there
    table[flags] = table[flags].eq(True)
    return table[[name for name in sites_columns(list(scores)) if name in table]]


def shares(calls: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Electrodes that pass, with Wilson intervals, by test, scope and further columns.

    Parameters
    ----------
    calls : pandas.DataFrame
        `subject region test scope passes default`, one row per electrode, test and scope.
    by : sequence of str

    Returns
    -------
    pandas.DataFrame
    """
    groups = calls.groupby([*by, "test", "scope"], sort=False, dropna=False)
    table = groups.agg(
        n_subjects=("subject", "nunique"),
        n_sites=("passes", "size"),
        n_passes=("passes", "sum"),
        n_default=("default", "sum"),
    ).reset_index()
    table["share"] = table["n_passes"] / table["n_sites"]
    low, high = wilson(table["n_passes"].to_numpy(), table["n_sites"].to_numpy())
    return table.assign(low=low, high=high)


def wilson(k: np.ndarray, n: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    Parameters
    ----------
    k, n : array of int
        Successes and trials, n > 0.
    level : float
    """
    z = stats.norm.ppf(0.5 + level / 2)
    share = k / n
    centre = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    # exact at the ends, where rounding would leave less than nothing
    return np.where(k == 0, 0.0, low), np.where(k == n, 1.0, high)


def group_shares(calls: pd.DataFrame, seed: int, n: int = 10_000) -> pd.DataFrame:
    """Share of passing electrodes with subjects as a random effect.

    Parameters
    ----------
    calls : pandas.DataFrame
        As `shares` takes it.
    seed, n : int
        Of the hierarchical bootstrap.

    Returns
    -------
    pandas.DataFrame
        Columns of `GROUP_COLUMNS`; intervals are NaN for a single subject.
    """
    rows = []
    for (test, scope), part in calls.groupby(["test", "scope"], sort=False):
        of_subject = [one.to_numpy(dtype=float) for _, one in part.groupby("subject")["passes"]]
        means = np.array([one.mean() for one in of_subject])
        row = {
            "test": test,
            "scope": scope,
            "n_subjects": len(means),
            "n_sites": len(part),
            "share": means.mean(),
        }
        if len(means) > 1:
            _, drawn = hierarchical_bootstrap(of_subject, n, seed_for(seed, test, scope))
            row["low"], row["high"] = np.quantile(drawn[:, 0], [0.025, 0.975])
            without = (means.sum() - means) / (len(means) - 1)
            row["without_one_low"], row["without_one_high"] = without.min(), without.max()
            row |= mixed_share(of_subject)
        rows.append(row)
    return pd.DataFrame(rows).reindex(columns=list(GROUP_COLUMNS))


def mixed_share(values: Sequence[np.ndarray]) -> dict[str, float]:
    """Share at a typical subject, from a logistic mixed model with random intercepts.

    The posterior mode with its curvature, under weak priors: log odds normal with sd 2, log of the
    sd between subjects normal with sd 0.5. A linear mixed model of the same data fails where few
    electrodes pass, as its variance between subjects goes to 0; with variational Bayes intervals
    are too narrow. Coverage in 60 data sets each: 6 subjects of 70 electrodes, 12 % passing, sd
    0.5: .93 (linear .85, variational .77); 3 subjects: .97; 2 % passing: .90; 10 subjects, 30 %,
    sd 1: .87.

    Parameters
    ----------
    values : sequence of array, (electrodes,)
        0 and 1, one array per subject, at least two.

    Returns
    -------
    dict of str to float
        `mixed_share`, `mixed_low`, `mixed_high` (95 %), `mixed_sd` (log odds); nothing where no
        electrode passes or all do, which has no finite estimate.
    """
    from scipy import sparse
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    if len(values) < 2:
        raise InputError("mixed model: one subject has no variance between subjects; give more")
    passed = np.concatenate(values).astype(float)
    if passed.min() == passed.max():
        return {}
    subject = np.repeat(np.arange(len(values)), [len(one) for one in values])
    member = sparse.csr_matrix((np.ones(len(subject)), (np.arange(len(subject)), subject)))
    model = BinomialBayesMixedGLM(
        passed,
        np.ones((len(passed), 1)),
        member,
        np.zeros(len(values), dtype=int),
        vcp_p=_PRIOR_SPREAD,
        fe_p=_PRIOR_SHARE,
    )
    # where the search starts is drawn, and shows in the seventh digit
    found = model.fit_map(rng=rng(0, "mixed model"))
    mean, half = found.fe_mean[0], stats.norm.ppf(0.975) * found.fe_sd[0]
    odds = np.array([mean, mean - half, mean + half])
    share, low, high = 1.0 / (1.0 + np.exp(-odds))
    return {
        "mixed_share": float(share),
        "mixed_low": float(low),
        "mixed_high": float(high),
        "mixed_sd": float(np.exp(found.vcp_mean[0])),
    }


def models_table(study: Study) -> pd.DataFrame:
    """One row per alignment and model: scores, wins over the second best and its untrained twin."""
    minimum = study.params["min_bins"]
    rows = []
    for alignment, some in study.scores.items():
        for model in some[0]["model"].values.tolist():
            of_subject, n_sites = [], 0
            for one in some:
                kept = one["kept"].sel(model=model)
                enough = (kept.sum("bin") >= minimum).values
                means = one["test"].sel(model=model).where(kept).mean("bin").values
                of_subject.append(means[enough].astype(float))
                n_sites += len(enough)
            row: dict[str, Any] = {
                "alignment": alignment,
                "model": model,
                "side": _side_of(study.roles, model),
                "objective": study.roles.get("objectives", {}).get(model, "n/a"),
                "n_sites": n_sites,
                "n_enough": sum(map(len, of_subject)),
                "score": _median(np.concatenate(of_subject)),
            }
            row |= _over_subjects([one.mean() for one in of_subject if len(one)], "score_")
            rows.append(row | _wins(study.comparisons, alignment, model))
    return pd.DataFrame(rows)[list(MODELS_COLUMNS)]


def objectives_table(study: Study) -> pd.DataFrame:
    """Rank the training objectives of the multimodal models, per alignment."""
    objective = study.roles.get("objectives", {})
    named = {
        model: objective[model] for model in study.roles.get("multimodal", ()) if model in objective
    }
    minimum = study.params["min_bins"]
    first = study.comparisons[study.comparisons["comparison"] == "first"]
    tables = []
    for alignment, some in study.scores.items():
        rows = []
        for name in dict.fromkeys(named.values()):
            models = [model for model, one in named.items() if one == name]
            means = [_common_mean(one, list(named), models, minimum) for one in some]
            best = first[(first["alignment"] == alignment) & first["a"].isin(models)]
            best = best[best["n_bins_a"] >= minimum]
            row = {"alignment": alignment, "objective": name, "n_models": len(models)}
            row |= _over_subjects([mean for mean in means if np.isfinite(mean)], "score_")
            row |= {"n_first": len(best), "n_first_tested": int(best["significant"].sum())}
            rows.append(row)
        table = pd.DataFrame(rows)
        if len(table):
            table["rank"] = table["score_mean"].rank(ascending=False, method="min").astype("Int64")
            tables.append(table.sort_values("rank", kind="stable"))
    if not tables:
        return pd.DataFrame(columns=list(OBJECTIVES_COLUMNS))
    return pd.concat(tables, ignore_index=True)[list(OBJECTIVES_COLUMNS)]


def times_table(study: Study) -> pd.DataFrame:
    """Advantage of one candidate over the other in every bin around the event.

    All bins of the electrodes that were tested, whether their validation score is above 0 or not.
    """
    tested = study.comparisons[study.comparisons["status"] == "tested"]
    parts = []
    for alignment, some in study.scores.items():
        here = tested[tested["alignment"] == alignment]
        for comparison in dict.fromkeys(here["comparison"]):
            rows = here[here["comparison"] == comparison]
            means = [_advantage(one, rows) for one in some]
            means = [mean for mean in means if len(mean)]
            effect, low, high = _t_interval(np.stack(means))
            part = pd.DataFrame({"bin": some[0]["bin"].values, "effect": effect})
            parts.append(
                part.assign(
                    alignment=alignment,
                    comparison=comparison,
                    n_subjects=len(means),
                    low=low,
                    high=high,
                )
            )
    if not parts:
        return pd.DataFrame(columns=list(TIMES_COLUMNS))
    return pd.concat(parts, ignore_index=True)[list(TIMES_COLUMNS)]


def _advantage(scores: xr.Dataset, rows: pd.DataFrame) -> np.ndarray:
    """Mean difference of a subject's electrodes in every bin, (bins,); empty without electrodes."""
    own = rows[rows["subject"] == scores.attrs["subject"]]
    if not len(own):
        return np.empty(0)
    site = xr.DataArray(own["site"].to_numpy(), dims="row")
    a, b = (
        scores["test"].sel(model=xr.DataArray(own[side].to_numpy(), dims="row"), site=site)
        for side in ("a", "b")
    )
    return (a - b).transpose("row", "bin").values.mean(axis=0, dtype=np.float64)


def _places(scores: Mapping[str, Sequence[xr.Dataset]]) -> pd.DataFrame:
    """Every electrode of any alignment once, with its region and position."""
    parts = []
    for some in scores.values():
        for one in some:
            columns = {
                name: one[name].values if name in one.coords else missing
                for name, missing in (("region", "n/a"), *((axis, np.nan) for axis in "xyz"))
            }
            place = pd.DataFrame({"site": one["site"].values, **columns})
            place.insert(0, "subject", one.attrs["subject"])
            parts.append(place)
    every = pd.concat(parts, ignore_index=True)
    return every.drop_duplicates(["subject", "site"], ignore_index=True)


def _calls(tests: pd.DataFrame, sites: pd.DataFrame) -> pd.DataFrame:
    """One row per electrode, test and scope: whether it passes, whether it would by default."""
    by = ["subject", "site", "test"]
    passes = weak_and_strict(tests)
    either = weak_and_strict(tests.assign(won=tests["passes"] | tests["default"]), "won")
    long = passes.melt(by, var_name="scope", value_name="passes")
    long["default"] = either.melt(by, value_name="won")["won"] & ~long["passes"]
    rank = (*TESTS, *CHECKS).index
    long = long.sort_values("test", key=lambda tests: tests.map(rank), kind="stable")
    return long.merge(sites[["subject", "site", "region"]], on=["subject", "site"], how="left")


def _checked_counts(calls: pd.DataFrame, checks: pd.DataFrame) -> pd.DataFrame:
    """Count the electrodes that pass, and those of them that pass each check as well."""
    table, by = shares(calls, []), ["subject", "site", "scope"]
    for check in CHECKS:
        own = checks[checks["test"] == check].set_index(by)["passes"].rename("both")
        if not len(own):
            table[f"n_{check}"] = "n/a"
            continue
        joined = calls.join(own, on=by)
        both = (joined["passes"] & joined["both"].eq(True)).groupby(
            [joined["test"], joined["scope"]], sort=False
        )
        table[f"n_{check}"] = both.sum().to_numpy()
    return table


def _side_of(roles: Mapping[str, Any], model: str) -> str:
    """Side on which a model stands."""
    for side in ("multimodal", "unimodal", "linear"):
        if model in roles.get(side, ()):
            return side
    return "untrained" if model in roles.get("untrained", {}).values() else "n/a"


def _wins(comparisons: pd.DataFrame, alignment: str, model: str) -> dict[str, Any]:
    """Count the wins of a model over the second best and over its twin."""
    own = comparisons[comparisons["alignment"] == alignment]
    first = own[(own["comparison"] == "first") & (own["a"] == model)]
    first = first[first["status"].isin(("tested", "default_a"))]
    trained = own[(own["comparison"] == "trained") & (own["a"] == model)]
    worse = own[(own["comparison"] == "untrained") & (own["b"] == model)]
    compared = trained[trained["p"].notna()]
    return {
        "n_first": len(first),
        "n_first_tested": int(first["significant"].sum()),
        "n_trained": int(trained["significant"].sum()),
        "n_trained_tested": len(compared),
        "n_trained_default": int((trained["status"] == "default_a").sum()),
        "n_untrained": int(worse["significant"].sum()),
        "gain": float(compared["effect"].mean()) if len(compared) else np.nan,
    }


def _common_mean(
    scores: xr.Dataset, every: Sequence[str], models: Sequence[str], minimum: int
) -> float:
    """Mean test score of some models where any of all competes, on the bins that any keeps."""
    kept = scores["kept"].sel(model=list(every))
    sites = (kept.sum("bin") >= minimum).any("model")
    used = kept.any("model") & sites
    values = scores["test"].sel(model=list(models)).where(used)
    return float(values.mean(("bin", "model")).mean("site")) if bool(sites.any()) else np.nan


def _over_subjects(means: Sequence[float], prefix: str) -> dict[str, float]:
    """Mean over subjects with its interval."""
    mean, low, high = _t_interval(np.asarray(means, dtype=float)[:, None])
    return {f"{prefix}mean": mean[0], f"{prefix}low": low[0], f"{prefix}high": high[0]}


def _t_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of (subjects, columns) and its 95 % interval; NaN with fewer than two subjects."""
    nothing = np.full(values.shape[1:], np.nan)
    if len(values) < 2:
        return (values[0] if len(values) else nothing), nothing, nothing
    low, high = np.transpose([t_interval(column) for column in values.T])
    return values.mean(axis=0), low, high


def _median(values: np.ndarray) -> float:
    """Median; NaN of nothing."""
    return float(np.median(values)) if len(values) else np.nan
