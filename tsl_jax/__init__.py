"""Laws of language-model training, fitted to every token."""

import importlib
from typing import TYPE_CHECKING

from .curves import FAMILIES, Family, Hyperbola, Parameter, PowerLaw, Sigmoid
from .lm import (
    Category,
    Fit,
    FitOptions,
    LeastSquaresFit,
    LeastSquaresOptions,
    Status,
    curve_counts,
    fit,
    least_squares,
)

if TYPE_CHECKING:
    from .pipeline import FitSummary, fit_store, predict_store
    from .store import create_losses, open_fits, open_losses, validate

__version__ = "0.1.0"

__all__ = [
    "FAMILIES",
    "Category",
    "Family",
    "Fit",
    "FitOptions",
    "FitSummary",
    "Hyperbola",
    "LeastSquaresFit",
    "LeastSquaresOptions",
    "Parameter",
    "PowerLaw",
    "Sigmoid",
    "Status",
    "create_losses",
    "curve_counts",
    "fit",
    "fit_store",
    "least_squares",
    "open_fits",
    "open_losses",
    "predict_store",
    "validate",
]

# Stores need zarr, which takes longer to import than all of the engine: loaded when first used.
_LAZY = {
    "FitSummary": "pipeline",
    "create_losses": "store",
    "fit_store": "pipeline",
    "open_fits": "store",
    "open_losses": "store",
    "predict_store": "pipeline",
    "validate": "store",
}


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
