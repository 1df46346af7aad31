"""Statistics: nulls with retraining, bootstraps, comparisons, groups, ceilings, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.inference.bootstrap import (
        bootstrap_bins,
        bootstrap_predictions,
        bootstrap_scores,
        compare_draws,
        draw_bins,
        draw_weights,
        interval,
        leave_one_out,
        make_blocks,
    )
    from braid.inference.ceilings import (
        cross_subject_scores,
        extrapolate,
        from_repeats,
        inter_subject_correlation,
        ncsnr,
        normalise,
        split_half,
    )
    from braid.inference.decision import bh, fdr, max_t, p_values, smallest_q
    from braid.inference.evaluation import evaluate
    from braid.inference.evaluation_crossmodal import (
        evaluate_ceilings,
        evaluate_crossmodal,
        evaluate_shared,
    )
    from braid.inference.evaluation_integration import evaluate_integration
    from braid.inference.expectations import EVALUATION_COLUMNS, check_expectations
    from braid.inference.group import (
        GROUP_COLUMNS,
        group_table,
        group_test,
        hierarchical_bootstrap,
    )
    from braid.inference.integration import (
        CANDIDATES_COLUMNS,
        compare_candidates,
        correct_comparisons,
        integration_tests,
        stack_models,
        weak_and_strict,
    )
    from braid.inference.integration_bootstrap import (
        bootstrap_events,
        draw_events,
        summarise_events,
    )
    from braid.inference.integration_labels import label_null, relabel_candidates
    from braid.inference.integration_profiles import PROFILES, settings
    from braid.inference.integration_study import Study, integration_columns, integration_tables
    from braid.inference.nulls import Draws, draw_permutations
    from braid.inference.permutation import draw_scores, sequential_scores
    from braid.inference.repeated import CEILINGS_COLUMNS, ceilings_table
    from braid.inference.sequential import sequential_p
    from braid.inference.sites import SITES_COLUMNS, test_sites
    from braid.inference.swap import COMPARISONS_COLUMNS, compare_models
    from braid.inference.tables import COLUMNS, collect_tables
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "bootstrap": (
                *("bootstrap_bins", "bootstrap_predictions", "bootstrap_scores"),
                *("compare_draws", "draw_bins", "draw_weights"),
                *("interval", "leave_one_out", "make_blocks"),
            ),
            "ceilings": (
                *("cross_subject_scores", "extrapolate", "from_repeats"),
                *("inter_subject_correlation", "ncsnr", "normalise", "split_half"),
            ),
            "decision": ("bh", "fdr", "max_t", "p_values", "smallest_q"),
            "evaluation": ("evaluate",),
            "evaluation_crossmodal": (
                *("evaluate_ceilings", "evaluate_crossmodal", "evaluate_shared"),
            ),
            "evaluation_integration": ("evaluate_integration",),
            "expectations": ("EVALUATION_COLUMNS", "check_expectations"),
            "group": ("GROUP_COLUMNS", "group_table", "group_test", "hierarchical_bootstrap"),
            "integration": (
                *(
                    "CANDIDATES_COLUMNS",
                    "compare_candidates",
                    "correct_comparisons",
                    "integration_tests",
                ),
                *("stack_models", "weak_and_strict"),
            ),
            "integration_bootstrap": ("bootstrap_events", "draw_events", "summarise_events"),
            "integration_labels": ("label_null", "relabel_candidates"),
            "integration_profiles": ("PROFILES", "settings"),
            "integration_study": ("Study", "integration_columns", "integration_tables"),
            "nulls": ("Draws", "draw_permutations"),
            "permutation": ("draw_scores", "sequential_scores"),
            "repeated": ("CEILINGS_COLUMNS", "ceilings_table"),
            "sequential": ("sequential_p",),
            "sites": ("SITES_COLUMNS", "test_sites"),
            "swap": ("COMPARISONS_COLUMNS", "compare_models"),
            "tables": ("COLUMNS", "collect_tables"),
        },
    )

__all__ = [
    "CANDIDATES_COLUMNS",
    "CEILINGS_COLUMNS",
    "COLUMNS",
    "COMPARISONS_COLUMNS",
    "EVALUATION_COLUMNS",
    "GROUP_COLUMNS",
    "PROFILES",
    "SITES_COLUMNS",
    "Draws",
    "Study",
    "bh",
    "bootstrap_bins",
    "bootstrap_events",
    "bootstrap_predictions",
    "bootstrap_scores",
    "ceilings_table",
    "check_expectations",
    "collect_tables",
    "compare_candidates",
    "compare_draws",
    "compare_models",
    "correct_comparisons",
    "cross_subject_scores",
    "draw_bins",
    "draw_events",
    "draw_permutations",
    "draw_scores",
    "draw_weights",
    "evaluate",
    "evaluate_ceilings",
    "evaluate_crossmodal",
    "evaluate_integration",
    "evaluate_shared",
    "extrapolate",
    "fdr",
    "from_repeats",
    "group_table",
    "group_test",
    "hierarchical_bootstrap",
    "integration_columns",
    "integration_tables",
    "integration_tests",
    "inter_subject_correlation",
    "interval",
    "label_null",
    "leave_one_out",
    "make_blocks",
    "max_t",
    "ncsnr",
    "normalise",
    "p_values",
    "relabel_candidates",
    "sequential_p",
    "sequential_scores",
    "settings",
    "smallest_q",
    "split_half",
    "stack_models",
    "summarise_events",
    "test_sites",
    "weak_and_strict",
]
