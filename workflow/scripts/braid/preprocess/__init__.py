"""From raw iEEG, BOLD or parcels to clean signals with a table of their targets."""

from braid.preprocess.bold import preprocess_bold
from braid.preprocess.cleaned import EXCLUDED_COLUMNS, QUALITY_COLUMNS, Cleaned
from braid.preprocess.defaults import BOLD, IEEG, PARCELS
from braid.preprocess.ieeg import preprocess_ieeg
from braid.preprocess.parcels import preprocess_parcels

__all__ = [
    "BOLD",
    "EXCLUDED_COLUMNS",
    "IEEG",
    "PARCELS",
    "QUALITY_COLUMNS",
    "Cleaned",
    "preprocess_bold",
    "preprocess_ieeg",
    "preprocess_parcels",
]
