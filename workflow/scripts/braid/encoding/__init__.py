"""Encoding models: ridge from features to responses, with nested folds and blocked targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braid.common import lazy_names

if TYPE_CHECKING:
    from braid.encoding.band_search import draw_gammas
    from braid.encoding.banded import cross_validate_banded, split_r2
    from braid.encoding.banded_estimator import BandedRidgeCV
    from braid.encoding.design import check_aligned, delayed, layer_names, read_design
    from braid.encoding.estimator import RidgeCV
    from braid.encoding.factors import factor_store
    from braid.encoding.fit import fit_encoding, refit_weights
    from braid.encoding.folds import Chunks, Fold, Split, folds_of, make_folds, run_labels
    from braid.encoding.freedman_lane import unique_part_test
    from braid.encoding.grid import Grid, make_grid
    from braid.encoding.lags import LAG_COLUMNS, lag_scan
    from braid.encoding.partition import variance_partition
    from braid.encoding.planner import Plan, plan_memory, predict_bootstrap_mb, predict_job_mb
    from braid.encoding.solver import prepare
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "band_search": ("draw_gammas",),
            "banded": (
                "cross_validate_banded",
                "split_r2",
            ),
            "banded_estimator": ("BandedRidgeCV",),
            "design": (
                "check_aligned",
                "delayed",
                "layer_names",
                "read_design",
            ),
            "estimator": ("RidgeCV",),
            "factors": ("factor_store",),
            "fit": (
                "fit_encoding",
                "refit_weights",
            ),
            "folds": (
                "Chunks",
                "Fold",
                "Split",
                "folds_of",
                "make_folds",
                "run_labels",
            ),
            "freedman_lane": ("unique_part_test",),
            "grid": (
                "Grid",
                "make_grid",
            ),
            "lags": ("LAG_COLUMNS", "lag_scan"),
            "partition": ("variance_partition",),
            "planner": (
                "Plan",
                "plan_memory",
                "predict_bootstrap_mb",
                "predict_job_mb",
            ),
            "solver": ("prepare",),
        },
    )

__all__ = [
    "LAG_COLUMNS",
    "BandedRidgeCV",
    "Chunks",
    "Fold",
    "Grid",
    "Plan",
    "RidgeCV",
    "Split",
    "check_aligned",
    "cross_validate_banded",
    "delayed",
    "draw_gammas",
    "factor_store",
    "fit_encoding",
    "folds_of",
    "lag_scan",
    "layer_names",
    "make_folds",
    "make_grid",
    "plan_memory",
    "predict_bootstrap_mb",
    "predict_job_mb",
    "prepare",
    "read_design",
    "refit_weights",
    "run_labels",
    "split_r2",
    "unique_part_test",
    "variance_partition",
]
