"""Laws of language-model training, fitted to every token."""

import importlib
from typing import TYPE_CHECKING

from .curves import FAMILIES, Family, Hyperbola, Parameter, PowerLaw, Sigmoid
from .lm import Category, Fit, FitOptions, Status, curve_counts, fit

if TYPE_CHECKING:
    from .pipeline import fit_store

__version__ = "0.1.0"

__all__ = [
    "FAMILIES",
    "Category",
    "Family",
    "Fit",
    "FitOptions",
    "Hyperbola",
    "Parameter",
    "PowerLaw",
    "Sigmoid",
    "Status",
    "curve_counts",
    "fit",
    "fit_store",
]

# Stores need zarr, which takes longer to import than all of the engine: loaded when first used.
_LAZY = {"fit_store": "pipeline"}


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
