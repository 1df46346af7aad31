"""Networks: the registry's entries, loaded with named layers, processors and digests."""

from braid.models.layers import Layer, resolve_layers
from braid.models.loaded import LoadedModel, Tokens
from braid.models.loading import load_model
from braid.models.registry import check_entry, model_folder, read_registry, weight_files

__all__ = [
    "Layer",
    "LoadedModel",
    "Tokens",
    "check_entry",
    "load_model",
    "model_folder",
    "read_registry",
    "resolve_layers",
    "weight_files",
]
