"""Candidates, defaults, corrections and the five tests on tables made by hand."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from braid.common import InputError, read_array, read_table, write_array, write_table
from braid.inference.integration import (
    CHECKS,
    COMPARISONS_COLUMNS,
    TESTS,
    best_chances,
    compare_candidates,
    correct_comparisons,
    integration_tests,
    stack_models,
    weak_and_strict,
)
from braid.inference.integration_labels import (
    label_null,
    labellings,
    relabel_candidates,
)
from braid.inference.integration_profiles import PROFILES, settings
from braid.inference.integration_study import (
    Study,
    integration_columns,
    integration_tables,
    mixed_share,
    sites_columns,
    wilson,
)

BINS = 40
ROLES = {
    "multimodal": ["fusion", "contrast"],
    "unimodal": ["image", "text"],
    "linear": ["joined"],
    "matched": ["contrast", "image"],
    "untrained": {"fusion": "fusion_untrained"},
    "objectives": {"fusion": "fusion", "contrast": "contrastive"},
}
MODELS = ["fusion", "contrast", "image", "text", "joined", "fusion_untrained"]


def summary_of(validation, test, low=None, subject="01"):
    """Summary of one model from (sites, bins)."""
    sites = [f"LT{number}" for number in range(len(validation))]
    low = np.asarray(validation) if low is None else low
    bins = np.round(-0.5 + 0.025 * np.arange(np.shape(validation)[1]), 6)
    count = len(bins)
    return xr.Dataset(
        {
            name: ("target", np.asarray(values, dtype=np.float32).ravel())
            for name, values in (
                ("validation", validation),
                ("test", test),
                ("validation_low", low),
            )
        },
        {
            "target": [f"{site}@{time:+.3f}" for site in sites for time in bins],
            "site": ("target", np.repeat(sites, count)),
            "bin": ("target", np.tile(bins, len(sites))),
            "region": ("target", np.repeat([f"r{i % 2}" for i in range(len(sites))], count)),
        },
        {"subject": subject},
    )


def stack_of(subject="01", n_sites=1, **levels):
    """Scores of models that are flat in time but for noise: level, or (validation, test, bins)."""
    rng = np.random.default_rng(0)
    summaries = {}
    for model in MODELS:
        validation, test, kept = levels.get(model, (0.0, 0.0, 0))
        noise = rng.normal(0, 0.01, (2, n_sites, BINS))
        low = np.full((n_sites, BINS), -0.1)
        low[:, :kept] = 0.05
        summaries[model] = summary_of(validation + noise[0], test + noise[1], low, subject)
    return stack_models(summaries)


def compared(stack, **changes):
    params = settings(**{"events": "fixed", **changes})
    table = compare_candidates(stack, ROLES, params, seed=1)
    return correct_comparisons({"language": [table]}, params).set_index("comparison")


def test_candidates_are_chosen_on_validation_and_compared_on_test():
    stack = stack_of(
        fusion=(0.30, 0.10, 20),
        contrast=(0.20, 0.40, 20),
        image=(0.1, 0.2, 20),
        text=(0.2, 0.1, 20),
    )
    row = compared(stack).loc["multimodal"]
    assert (row["a"], row["b"]) == ("fusion", "text")
    assert row["score_a"] == pytest.approx(0.10, abs=0.01)
    assert row["effect"] == pytest.approx(0.0, abs=0.01)
    assert compared(stack).loc["first", "b"] == "contrast"


def test_a_model_with_few_bins_is_no_candidate_where_another_has_enough():
    stack = stack_of(fusion=(0.5, 0.5, 9), contrast=(0.1, 0.1, 10), image=(0.1, 0.0, 20))
    for bins, defaults in (("own", "apart"), ("union", "tested")):
        row = compared(stack, bins=bins, defaults=defaults).loc["multimodal"]
        assert (row["a"], row["n_bins_a"], row["status"]) == ("contrast", 10, "tested")


def test_default_winners_stand_apart_or_are_tested():
    stack = stack_of(fusion=(0.3, 0.3, 20), image=(0.1, 0.0, 9))
    apart = compared(stack, profile="paper2024").loc["multimodal"]
    assert apart["status"] == "default_a"
    assert np.isnan(apart["p"]) and np.isnan(apart["q"]) and not apart["significant"]
    tested = compared(stack).loc["multimodal"]
    assert tested["status"] == "default_a"
    smallest = 1 / (settings()["bin_draws"] + 1)
    assert tested["p"] == pytest.approx(smallest, rel=0.1) and tested["significant"]
    other = stack_of(image=(0.3, 0.3, 20))
    assert compared(other, profile="paper2024").loc["multimodal", "status"] == "default_b"
    assert compared(other).loc["multimodal", "p"] > 0.99
    nothing = compared(stack_of(image=(0.3, 0.3, 9))).loc["multimodal"]
    assert nothing["status"] == "neither" and np.isnan(nothing["p"])


def test_union_compares_the_same_times_and_own_does_not():
    rng = np.random.default_rng(1)
    course = np.where(np.arange(BINS) < 10, 0.5, 0.1) + rng.normal(0, 0.01, (1, BINS))
    strong = np.where(np.arange(BINS) < 10, 0.05, -0.1)[None]
    everywhere = np.full((1, BINS), 0.05)
    # the image network is the same or better at every time
    stack = stack_models(
        {
            "fusion": summary_of(course, course, strong),
            "image": summary_of(course + 0.02, course + 0.02, everywhere),
        }
    )
    roles = {"multimodal": ["fusion"], "unimodal": ["image"]}
    own = compare_candidates(stack, roles, settings("paper2024"), 1).iloc[0]
    union = compare_candidates(stack, roles, settings(events="fixed"), 1).iloc[0]
    assert own["effect"] > 0.2 and own["p"] < 0.01
    assert union["effect"] == pytest.approx(-0.02, abs=1e-6) and union["p"] > 0.99


def test_interval_of_independent_bins_is_that_of_a_mean():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.3, 0.1, (1, BINS)), rng.normal(0.3, 0.1, (1, BINS))
    stack = stack_models(
        {"fusion": summary_of(a, a, a * 0 + 1), "image": summary_of(b, b, b * 0 + 1)}
    )
    roles = {"multimodal": ["fusion"], "unimodal": ["image"]}
    params = settings(resample="iid", events="fixed", bin_draws=4000)
    row = compare_candidates(stack, roles, params, 1).iloc[0]
    half = 1.96 * np.std(a - b) / np.sqrt(BINS)
    assert row["effect"] == pytest.approx(np.mean(a - b), abs=1e-6)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.06)


def test_blocks_widen_the_interval_of_bins_that_resemble_their_neighbours():
    rng = np.random.default_rng(3)
    slow = np.convolve(rng.standard_normal(BINS + 20), np.ones(12) / 12, "valid")[None, :BINS]
    flat = np.zeros((1, BINS))
    one = np.ones((1, BINS))
    stack = stack_models(
        {"fusion": summary_of(slow, slow, one), "image": summary_of(flat, flat, one)}
    )
    roles = {"multimodal": ["fusion"], "unimodal": ["image"]}
    width = {}
    for resample in ("iid", "block"):
        params = settings(resample=resample, events="fixed")
        row = compare_candidates(stack, roles, params, 1).iloc[0]
        width[resample] = row["high"] - row["low"]
    assert width["block"] > 1.5 * width["iid"]


def test_replicates_of_events_add_their_own_spread():
    stack = stack_of(fusion=(0.3, 0.3, 40), image=(0.25, 0.25, 40))
    rng = np.random.default_rng(4)
    draws = {}
    for model in MODELS:
        at = stack["test"].sel(model=model).values.ravel()
        # all bins of a replicate share what its events did
        shared = rng.normal(0, 0.1 if model == "fusion" else 0.0, (500, 1))
        draws[model] = xr.Dataset({"test": (("draw", "target"), at + shared)})
    params = settings()
    fixed = compare_candidates(stack, ROLES, settings(events="fixed"), 1).set_index("comparison")
    found = compare_candidates(stack, ROLES, params, 1, draws).set_index("comparison")
    row = found.loc["multimodal"]
    assert fixed.loc["multimodal", "p"] < 0.01
    assert row["p"] == pytest.approx(0.31, abs=0.06)  # P(normal(0.05, 0.1) <= 0)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * 0.1, rel=0.15)
    with pytest.raises(InputError, match="needs the draws"):
        compare_candidates(stack, ROLES, params, 1)
    del draws["fusion"]
    with pytest.raises(InputError, match="fusion"):
        compare_candidates(stack, ROLES, params, 1, draws)


def hand_comparisons(p, status, comparison="multimodal", subject="01"):
    count = len(p)
    return pd.DataFrame(
        {
            "subject": subject,
            "comparison": comparison,
            "site": [f"LT{number}" for number in range(count)],
            "a": "fusion",
            "b": "image",
            "n_bins_a": 20,
            "n_bins_b": 20,
            "score_a": 0.2,
            "score_b": 0.1,
            "effect": 0.1,
            "low": 0.0,
            "high": 0.2,
            "p": p,
            "status": status,
        }
    )


def test_false_discoveries_are_pooled_over_subjects_and_alignments_per_comparison():
    p = [np.array([0.001, 0.02, 0.03, 0.6]), np.array([0.004, 0.01, 0.9, 0.2])]
    few = ["tested", "tested", "tested", "default_b"]
    tables = {
        "language": [hand_comparisons(p[0], few)],
        "vision": [hand_comparisons(p[1], "tested", subject="02"),
                   hand_comparisons(p[0], "tested", "matched")],
    }  # fmt: skip
    every = np.concatenate(p)
    kept = np.delete(every, 3)
    for order, entering in (("after_nobs", kept), ("before_nobs", every)):
        table = correct_comparisons(tables, settings(fdr_order=order, defaults="apart"))
        own = table[(table["comparison"] == "multimodal") & (table["status"] == "tested")]
        expected = multipletests(entering, method="fdr_bh")[1]
        expected = np.delete(expected, 3) if len(expected) == 8 else expected
        assert own["q"].to_numpy() == pytest.approx(expected)
        assert table.loc[table["status"] == "default_b", "q"].isna().all()
        matched = table.loc[table["comparison"] == "matched", "q"]
        assert matched.to_numpy() == pytest.approx(multipletests(p[0], method="fdr_bh")[1])
    with pytest.raises(InputError, match="strict"):
        correct_comparisons({"strict": tables["language"]}, settings())
    everyone = correct_comparisons(tables, settings())
    assert everyone["q"].notna().all()
    assert list(everyone) == list(COMPARISONS_COLUMNS)


def hand_tests(passes):
    """Table of tests from sets of electrodes by test and alignment."""
    every = sorted({site for sites in passes.values() for site in sites} | {"LT9"})
    return pd.DataFrame(
        [
            {"subject": "01", "site": site, "alignment": alignment, "test": test,
             "passes": site in sites}
            for (test, alignment), sites in passes.items()
            for site in every
        ]
    )  # fmt: skip


def test_strict_is_the_intersection_at_each_electrode():
    passes = {
        ("multimodal", "language"): {"LT1", "LT2", "LT3"},
        ("multimodal", "vision"): {"LT3", "LT4"},
        ("matched", "language"): {"LT1", "LT2"},
        ("matched", "vision"): {"LT5", "LT6"},
    }
    table = weak_and_strict(hand_tests(passes)).set_index(["test", "site"])
    for test in ("multimodal", "matched"):
        language, vision = passes[test, "language"], passes[test, "vision"]
        found = table.loc[test]
        assert set(found.index[found["strict"]]) == language & vision
        assert set(found.index[found["weak"]]) == language | vision
    # equal counts in both alignments, and no electrode in both
    assert not table.loc["matched", "strict"].any()


def test_an_electrode_that_an_alignment_lacks_is_not_strict():
    tests = hand_tests({("matched", "language"): {"LT1"}, ("matched", "vision"): {"LT1"}})
    tests = tests[~((tests["site"] == "LT1") & (tests["alignment"] == "vision"))]
    found = weak_and_strict(tests).set_index("site").loc["LT1"]
    assert found["weak"] and not found["strict"]
    alone = weak_and_strict(tests[tests["alignment"] == "language"])
    assert alone["weak"].any() and not alone["strict"].any()


def test_weak_counts_are_never_below_strict_counts():
    rng = np.random.default_rng(5)
    for _ in range(50):
        sites = np.array([f"LT{number}" for number in range(12)])
        passes = {
            (test, alignment): set(sites[rng.random(12) < rng.random()])
            for test in TESTS
            for alignment in ("language", "vision")
        }
        table = weak_and_strict(hand_tests(passes))
        for test, part in table.groupby("test"):
            counts = part[["language", "vision", "weak", "strict"]].sum()
            assert counts["strict"] <= min(counts["language"], counts["vision"])
            assert counts["weak"] >= max(counts["language"], counts["vision"])
            assert counts["strict"] == len(passes[test, "language"] & passes[test, "vision"])


def test_the_third_test_needs_every_linear_combination_to_lose():
    p = np.array([0.001, 0.001, 0.4, 0.001])
    other = np.array([0.002, 0.5, 0.001, np.nan])
    status = ["tested", "tested", "tested", "default_a"]
    tables = {
        "language": [
            hand_comparisons(p, "tested", "over_concat").assign(b="concat"),
            hand_comparisons(other, status, "over_linear").assign(b="linear"),
        ]
    }
    table = correct_comparisons(tables, settings(defaults="apart"))
    found = integration_tests(table).set_index("site")
    assert found["passes"].tolist() == [True, False, False, False]
    assert found["default"].tolist() == [False, False, False, True]
    assert found.loc["LT1", "b"] == "linear" and found.loc["LT2", "b"] == "concat"
    assert found.loc["LT1", "p"] == 0.5


def study_of(**changes):
    """Two subjects, two alignments: in one fusion wins everywhere, in the other nowhere."""
    params = settings(**{"events": "fixed", **changes})
    strong = {
        "fusion": (0.4, 0.4, 30), "contrast": (0.2, 0.2, 30), "image": (0.15, 0.15, 30),
        "joined": (0.3, 0.3, 30), "text": (0.1, 0.1, 30),
    }  # fmt: skip
    weak = {**strong, "fusion": (0.1, 0.1, 30), "contrast": (0.1, 0.1, 30)}
    scores = {
        "language": [stack_of("01", 6, **strong), stack_of("02", 4, **strong)],
        "vision": [stack_of("01", 6, **strong), stack_of("02", 4, **weak)],
    }
    return study_from(scores, ROLES, params)


def study_from(scores, roles, params, labels=()):
    """Compare the candidates of every subject and alignment."""
    tables = {
        alignment: [compare_candidates(one, roles, params, 1) for one in some]
        for alignment, some in scores.items()
    }
    return Study(scores, correct_comparisons(tables, params), roles, params, dict(labels))


def test_tables_say_what_was_planted(tmp_path):
    study = study_of()
    tables = integration_tables(study, seed=1, n=500)
    columns = integration_columns(["language", "vision"])
    assert {*tables, "comparisons"} == set(columns)
    for name, table in tables.items():
        # nothing was asked about low-level features
        described = [column for column in columns[name] if not column.startswith(CHECKS)]
        assert list(table) == described
        write_table(tmp_path / f"{name}.tsv", table, columns[name])
        assert len(read_table(tmp_path / f"{name}.tsv")) == len(table)
    sites = tables["sites"].set_index(["subject", "site"])
    assert len(sites) == 10
    assert sites["multimodal_weak"].all() and sites["nonlinear_weak"].all()
    assert sites["multimodal_strict"].tolist() == [True] * 6 + [False] * 4
    assert sites.loc["01", "multimodal_language_effect"].to_numpy() == pytest.approx(0.25, abs=0.01)
    assert sites.loc["01", "multimodal_language_q"].max() <= 0.05
    counts = tables["counts"].set_index(["test", "scope"])
    assert counts.loc[("multimodal", "weak"), "n_passes"] == 10
    assert counts.loc[("multimodal", "strict"), "n_passes"] == 6
    assert counts.loc[("nonlinear", "vision"), "n_passes"] == 6
    assert list(dict.fromkeys(tables["counts"]["test"])) == list(TESTS)
    regions = tables["regions"].set_index(["test", "scope", "region"]).sort_index()
    assert regions.loc[("multimodal", "strict"), "n_sites"].tolist() == [5, 5]
    assert regions.loc[("multimodal", "strict"), "n_passes"].tolist() == [3, 3]
    subjects = tables["subjects"].set_index(["test", "scope", "subject"]).sort_index()
    assert subjects.loc[("multimodal", "strict"), "share"].tolist() == [1.0, 0.0]
    group = tables["group"].set_index(["test", "scope"])
    assert group.loc[("multimodal", "strict"), "share"] == 0.5
    assert group.loc[("multimodal", "strict"), "without_one_low"] == 0.0
    models = tables["models"].set_index(["alignment", "model"])
    assert models.loc[("language", "fusion"), "n_first_tested"] == 10
    assert models.loc[("language", "fusion"), "n_trained"] == 10
    assert models.loc[("language", "fusion"), "n_trained_tested"] == 10
    assert models.loc[("language", "fusion"), "n_trained_default"] == 10
    assert models.loc[("language", "fusion"), "n_untrained"] == 0
    assert models.loc[("language", "fusion"), "score"] == pytest.approx(0.4, abs=0.01)
    assert models.loc[("language", "fusion_untrained"), "side"] == "untrained"
    ranked = tables["objectives"].set_index(["alignment", "rank"])
    assert ranked.loc[("language", 1), "objective"] == "fusion"
    assert ranked.loc[("language", 1), "n_first"] == 10
    assert ranked.loc[("language", 2), "score_mean"] == pytest.approx(0.2, abs=0.01)
    times = tables["times"].set_index(["alignment", "comparison"])
    assert len(times.loc[("language", "multimodal")]) == BINS
    assert times.loc[("language", "multimodal"), "effect"].mean() == pytest.approx(0.25, abs=0.01)


def test_tables_of_the_papers_profile_keep_defaults_apart():
    study = study_of(profile="paper2024")
    models = integration_tables(study, 1, 100)["models"].set_index(["alignment", "model"])
    assert models.loc[("language", "fusion"), "n_trained"] == 0
    assert models.loc[("language", "fusion"), "n_trained_default"] == 10


def test_a_single_subject_has_no_group_interval():
    study = study_of()
    own = study.comparisons[study.comparisons["subject"] == "01"]
    scores = {alignment: some[:1] for alignment, some in study.scores.items()}
    group = integration_tables(Study(scores, own, ROLES, study.params), 1)["group"]
    assert group["share"].notna().all() and group["low"].isna().all()


def test_wilson_equals_statsmodels():
    k, n = np.array([0, 1, 7, 20, 141]), np.array([5, 40, 20, 20, 1090])
    low, high = proportion_confint(k, n, method="wilson")
    found = wilson(k, n)
    assert found[0] == pytest.approx(low, abs=1e-12)
    assert found[1] == pytest.approx(high, abs=1e-12)


def test_mixed_share_covers_the_share_of_a_typical_subject():
    rng = np.random.default_rng(6)
    log_odds, covered = np.log(0.15 / 0.85), []
    for _ in range(60):
        shares = 1 / (1 + np.exp(-(log_odds + 0.5 * rng.standard_normal(6))))
        found = mixed_share([(rng.random(60) < share).astype(float) for share in shares])
        covered.append(found["mixed_low"] <= 0.15 <= found["mixed_high"])
    # fewer than 50 of 60 come with probability .003 if 93 % are covered
    assert sum(covered) >= 50
    assert mixed_share([np.zeros(40), np.zeros(30)]) == {}


def test_the_same_electrodes_give_the_same_share_to_the_last_digit():
    rng = np.random.default_rng(3)
    values = [rng.uniform(size=40) < rate for rate in (0.1, 0.2, 0.3)]
    assert mixed_share(values) == mixed_share(values)


def test_profiles_differ_where_the_paper_does():
    recommended, paper = settings(), settings("paper2024")
    assert set(recommended) == set(paper) == set(PROFILES["paper2024"])
    assert (paper["embargo"], paper["resample"], paper["fdr_order"]) == (0.0, "iid", "before_nobs")
    assert (recommended["embargo"], recommended["block_bins"]) == (4.2, 8)
    assert (recommended["events"], paper["events"]) == ("resampled", "fixed")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"profile": "paper"}, "paper2024"),
        ({"min_bin": 3}, "min_bins"),
        ({"resample": "blocks"}, "block"),
        ({"bins": "own"}, "defaults: apart"),
    ],
)
def test_settings_that_there_are_not_are_refused(changes, named):
    with pytest.raises(InputError, match=named):
        settings(**changes)


def test_models_that_do_not_fit_together_are_refused():
    values = np.zeros((2, BINS))
    one, other = summary_of(values, values), summary_of(values[:, :9], values[:, :9])
    with pytest.raises(InputError, match="other targets"):
        stack_models({"fusion": one, "image": other})
    with pytest.raises(InputError, match="LT1 has 39 bins"):
        stack_models({"fusion": one.isel(target=slice(0, -1))})
    with pytest.raises(InputError, match="'text'"):
        compare_candidates(
            stack_models({"fusion": one, "image": one}),
            {"multimodal": ["fusion"], "unimodal": ["image", "text"]},
            settings(events="fixed"),
            1,
        )


def flat_stack(levels, n_sites=4, subject="01", noise=0.01, kept=30, seed=0):
    """Scores of any models: level of validation and test by model, with noise over bins."""
    rng = np.random.default_rng(seed)
    summaries = {}
    for model, level in levels.items():
        both = np.asarray(level, dtype=float) + rng.normal(0, noise, (2, n_sites, BINS))
        low = np.full((n_sites, BINS), -0.1)
        low[:, :kept] = 0.05
        summaries[model] = summary_of(both[0], both[1], low, subject)
    return stack_models(summaries)


LOW = {
    "multimodal": ["fusion"],
    "unimodal": ["image", "text"],
    "low_level": "low",
    "with_low_level": {name: f"{name}_low" for name in ("fusion", "image", "text")},
}


def low_level_study():
    """Of 4 electrodes two gain by fusion; at one of them and the next the gain is low-level."""
    levels = {
        "fusion": [[0.3], [0.3], [0.1], [0.1]],
        "image": [[0.1]] * 4,
        "text": [[0.05]] * 4,
        "low": [[0.05], [0.4], [0.4], [0.0]],
        "fusion_low": [[0.35], [0.4], [0.4], [0.1]],
        "image_low": [[0.15], [0.42], [0.4], [0.12]],
        "text_low": [[0.1], [0.4], [0.4], [0.0]],
    }
    scores = {alignment: [flat_stack(levels)] for alignment in ("language", "vision")}
    params = settings(events="fixed", labellings=5)
    return study_from(scores, LOW, params)


def test_checks_against_low_level_features_are_no_tests(tmp_path):
    study = low_level_study()
    tables = integration_tables(study, 1, 100)
    sites = tables["sites"]
    assert sites["multimodal_weak"].tolist() == [True, True, False, False]
    assert sites["over_low_level_strict"].tolist() == [True, False, False, True]
    assert sites["beyond_low_level_strict"].tolist() == [True, False, False, False]
    assert sites["beyond_low_level_language_a"].unique().tolist() == ["fusion_low"]
    assert sites["over_low_level_vision_b"].unique().tolist() == ["low"]
    # the gain of a fusion over low-level features is no non-linear integration
    assert not [name for name in sites if name.startswith("nonlinear")]
    counts = tables["counts"].set_index(["test", "scope"])
    assert set(tables["counts"]["test"]) == {"multimodal"}
    row = counts.loc[("multimodal", "strict")]
    assert (row["n_passes"], row["n_over_low_level"], row["n_beyond_low_level"]) == (2, 1, 1)
    columns = sites_columns(["language", "vision"])
    write_table(tmp_path / "sites.tsv", sites, columns)
    roles = {**LOW, "with_low_level": {"fusion": "fusion_low", "image": "image_low"}}
    with pytest.raises(InputError, match="'text' has no combination with the low-level"):
        compare_candidates(study.scores["vision"][0], roles, study.params, 1)
    with pytest.raises(InputError, match="two comparisons are named 'over_low_level'"):
        compare_candidates(
            study.scores["vision"][0], {**LOW, "linear": ["low_level"]}, study.params, 1
        )


def test_best_of_a_random_subset():
    value = np.array([9.0, 7.0, 4.0, 1.0, 0.5, 0.2, 0.1])
    for k in range(1, 8):
        every = [max(some) for some in combinations(value, k)]
        chances = best_chances(7, k)
        assert chances.sum() == pytest.approx(1)
        assert chances @ value[: len(chances)] == pytest.approx(np.mean(every))


@pytest.mark.parametrize("profile", ["recommended", "paper2024"])
def test_an_even_comparison_is_the_mean_over_subsets_of_the_larger_side(profile):
    rng = np.random.default_rng(6)
    names = [f"m{number}" for number in range(4)]
    stack = flat_stack({name: rng.normal(0.2, 0.02, (6, 1)) for name in [*names, "u0", "u1"]}, 6)
    roles = {"multimodal": names, "unimodal": ["u0", "u1"]}
    params = settings(profile, events="fixed", equalise=True)
    if profile == "recommended":
        # the bins that count are those of all that compete, the same in all subsets here
        assert bool((stack["kept"] == stack["kept"][0]).all())
    found = compare_candidates(stack, roles, params, 1).set_index(["comparison", "site"])
    parts = [
        compare_candidates(stack, {**roles, "multimodal": list(some)}, params, 1)
        .set_index(["comparison", "site"])
        .loc["multimodal"]
        for some in combinations(names, 2)
    ]
    effect = np.mean([part["effect"] for part in parts], axis=0)
    assert found.loc["multimodal", "effect"].to_numpy() == pytest.approx(effect, abs=1e-9)
    uneven = compare_candidates(stack, roles, {**params, "equalise": False}, 1)
    uneven = uneven.set_index(["comparison", "site"]).loc["multimodal"]
    assert uneven["a"].tolist() == found.loc["multimodal", "a"].tolist()
    assert not np.allclose(uneven["effect"], effect)
    # a larger unimodal side stays whole
    swapped = {"multimodal": ["u0", "u1"], "unimodal": names}
    one, other = (
        compare_candidates(stack, swapped, {**params, "equalise": equal}, 1)
        for equal in (True, False)
    )
    pd.testing.assert_frame_equal(one, other)


def test_more_candidates_gain_nothing_in_an_even_comparison():
    """12 networks without any difference, whose validation and test scores share noise."""
    rng = np.random.default_rng(7)
    names = [f"n{number}" for number in range(12)]
    shared = {name: rng.normal(0.1, 0.03, (1500, 1)) for name in names}
    stack = flat_stack(shared, 1500, noise=0.02)
    roles = {"multimodal": names[:7], "unimodal": names[7:]}
    mean, error = {}, {}
    for equal in (False, True):
        params = settings(events="fixed", equalise=equal, bin_draws=20)
        table = compare_candidates(stack, roles, params, 1).set_index("comparison")
        effect = table.loc["multimodal", "effect"]
        mean[equal], error[equal] = effect.mean(), effect.std() / np.sqrt(1500)
    assert mean[False] > 3 * error[False]
    assert abs(mean[True]) < 2.5 * error[True]


def labelled(levels, multimodal, unimodal, **changes):
    params = settings(**{"events": "fixed", **changes})
    roles = {"multimodal": multimodal, "unimodal": unimodal}
    found = {
        alignment: [
            relabel_candidates(flat_stack(levels, 5, subject, seed=number), roles, params, 1)
            for number, subject in enumerate(("01", "02"))
        ]
        for alignment in ("language", "vision")
    }
    return found, params


def test_labels_are_exchanged_among_the_candidates():
    every = labellings(6, 3, 200)
    assert every.shape == (20, 3) and every[0].tolist() == [0, 1, 2]
    assert len({tuple(way) for way in every.tolist()}) == 20
    some = labellings(12, 7, 50)
    assert some.shape == (51, 7) and some[0].tolist() == list(range(7))
    assert len({tuple(way) for way in some.tolist()}) == 51
    assert labellings(12, 7, 0).shape == (1, 7)


def test_the_null_of_labels_asks_for_classes_and_not_for_one_good_network():
    good, poor = ["m0", "m1", "m2"], ["u0", "u1", "u2"]
    # every multimodal network is better
    found, params = labelled({**dict.fromkeys(good, 0.3), **dict.fromkeys(poor, 0.2)}, good, poor)
    # any side with one of them wins where the other has none: only the true labels
    table = label_null(found, params).set_index("scope")
    assert list(table.index) == ["language", "vision", "weak", "strict"]
    assert table["n_sites"].tolist() == [10] * 4 and table["n_passes"].tolist() == [10] * 4
    assert table["n_labellings"].tolist() == [19] * 4
    assert table.loc["strict", "p"] == pytest.approx(1 / 20)
    # one network is better by far, and multimodal by chance: half of the labels say as much
    found, params = labelled({**dict.fromkeys([*good, *poor], 0.2), "m1": 0.4}, good, poor)
    table = label_null(found, params).set_index("scope")
    assert table.loc["weak", "n_passes"] == 10
    assert table.loc["weak", "p"] == pytest.approx(10 / 20)
    assert table.loc["weak", "null_high"] == 10
    found, params = labelled(dict.fromkeys([*good, *poor], 0.2), good, poor, labellings=0)
    assert label_null(found, params)["p"].isna().all()
    assert label_null({}, params).empty
    other = labelled(dict.fromkeys([*good, *poor], 0.2), good[:2], poor)[0]
    with pytest.raises(InputError, match="differ in their labels"):
        label_null({**found, "other": other["vision"]}, params)


def test_true_labels_give_the_calls_of_the_study(tmp_path):
    levels = {"m0": 0.3, "m1": 0.25, "m2": 0.2, "u0": 0.22, "u1": 0.2}
    found, params = labelled(levels, ["m0", "m1", "m2"], ["u0", "u1"])
    write_array(tmp_path / "labels.nc", found["vision"][0])
    found["vision"][0] = read_array(tmp_path / "labels.nc")
    roles = {"multimodal": ["m0", "m1", "m2"], "unimodal": ["u0", "u1"]}
    scores = {
        alignment: [flat_stack(levels, 5, subject, seed=n) for n, subject in enumerate("ab")]
        for alignment in found
    }
    made = integration_tables(study_from(scores, roles, params, found), 1, 50)
    counts = made["counts"].set_index(["test", "scope"])["n_passes"]["multimodal"]
    labels = made["labels"].set_index("scope")["n_passes"]
    assert counts.to_dict() == labels.to_dict()


def test_bins_may_be_kept_by_permutation_tests():
    rng = np.random.default_rng(8)
    levels = {"fusion": 0.3, "image": 0.2}
    summaries = {
        name: summary_of(*(np.full((3, BINS), level),) * 2) for name, level in levels.items()
    }
    target = summaries["fusion"]["target"].values
    p = {name: rng.uniform(0, 0.2, len(target)) ** 2 for name in levels}
    p["fusion"][5] = np.nan
    permuted = {
        name: xr.Dataset({"p": ("target", one)}, {"target": target}) for name, one in p.items()
    }
    stack = stack_models(summaries, permuted, level=0.99)
    for number, (name, one) in enumerate(p.items()):
        finite = np.isfinite(one)
        expected = np.zeros(len(target), bool)
        expected[finite] = multipletests(one[finite], 0.01, "fdr_bh")[0]
        assert 0 < expected.sum() < len(target), name
        kept = stack["kept"].values[number]
        assert np.array_equal(kept, expected[stack["target"].values])
    roles = {"multimodal": ["fusion"], "unimodal": ["image"]}
    params = settings(events="fixed", bin_filter="perm_fdr")
    assert compare_candidates(stack, roles, params, 1)["n_bins_a"].tolist() == (
        stack["kept"].sel(model="fusion").sum("bin").values.tolist()
    )
    with pytest.raises(InputError, match="bins were kept by 'boot_ci'"):
        compare_candidates(stack_models(summaries), roles, params, 1)
    with pytest.raises(InputError, match="needs the permutation test of model image"):
        stack_models(summaries, {"fusion": permuted["fusion"]})
    with pytest.raises(InputError, match="model fusion has no p of the targets"):
        stack_models(summaries, {**permuted, "fusion": permuted["fusion"].isel(target=slice(9))})
    other = permuted["fusion"].assign_attrs(layer="blocks.2")
    with pytest.raises(InputError, match=r"of layer blocks.2, its bootstrap of layer n/a"):
        stack_models(summaries, {**permuted, "fusion": other})
    with pytest.raises(InputError, match="bin_filter: 'none'"):
        settings(bin_filter="none")
