"""Features: what networks make of the stimuli, kept in a store, and laid out as designs."""

from braid.features.combine import combine_designs
from braid.features.design import build_design
from braid.features.extract import extract
from braid.features.projection import learn_projection
from braid.features.resample import boxcar_matrix, lanczos_matrix, lanczos_resample
from braid.features.shape import design_shape
from braid.features.store import FeatureStore, load_features

__all__ = [
    "FeatureStore",
    "boxcar_matrix",
    "build_design",
    "combine_designs",
    "design_shape",
    "extract",
    "lanczos_matrix",
    "lanczos_resample",
    "learn_projection",
    "load_features",
]
