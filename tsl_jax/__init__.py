"""Laws of language-model training, fitted to every token."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import data
    from . import plots
    from . import reshape
    from . import simulate
    from .collection import collect
    from .curves import FAMILIES, Family, Hyperbola, Parameter, PowerLaw, Sigmoid
    from .fitting import Category, Fit, FitOptions, Interval, LeastSquaresFit, LeastSquaresOptions, NoiseModel, Status, curve_counts, fit, least_squares, noise_model, profile_interval
    from .jobs import FitSummary, combine_fits, compare, fit_store, predict_store, score_store
    from .runs import with_run_components
    from .spectrum import Spectrum, decompose
    from .store import create_losses, open_fits, open_losses, validate
    from .temporal import evolution, forecast, lr_sum, position_law, rank, separation, time_law

__version__ = "0.1.0"

__all__ = [
    "FAMILIES",
    "Category",
    "Family",
    "Fit",
    "FitOptions",
    "FitSummary",
    "Hyperbola",
    "Interval",
    "LeastSquaresFit",
    "LeastSquaresOptions",
    "NoiseModel",
    "Parameter",
    "PowerLaw",
    "Sigmoid",
    "Spectrum",
    "Status",
    "collect",
    "combine_fits",
    "compare",
    "create_losses",
    "curve_counts",
    "decompose",
    "evolution",
    "fit",
    "fit_store",
    "forecast",
    "least_squares",
    "lr_sum",
    "noise_model",
    "open_fits",
    "open_losses",
    "position_law",
    "predict_store",
    "profile_interval",
    "rank",
    "score_store",
    "separation",
    "time_law",
    "validate",
    "with_run_components",
]

# Names are loaded when first used: `tsl --help` needs no JAX, and `tsl.fit` no Zarr.
_PACKAGES = {
    "collect": ("collect",),
    "curves": ("FAMILIES", "Family", "Hyperbola", "Parameter", "PowerLaw", "Sigmoid"),
    "lm": (
        *("Category", "Fit", "FitOptions", "Interval", "LeastSquaresFit", "LeastSquaresOptions", "NoiseModel"),
        *("Status", "curve_counts", "fit", "least_squares", "noise_model", "profile_interval"),
    ),
    "pipeline": ("FitSummary", "combine_fits", "compare", "fit_store", "predict_store", "score_store"),
    "runs": ("with_run_components",),
    "spectrum": ("Spectrum", "decompose"),
    "store": ("create_losses", "open_fits", "open_losses", "validate"),
    "temporal": ("evolution", "forecast", "lr_sum", "position_law", "rank", "separation", "time_law"),
}
#: More packages that ``import tsl_jax; tsl_jax.data`` finds.
_MORE = ("data", "plots", "reshape", "simulate")
_PACKAGE_OF = {name: package for package, names in _PACKAGES.items() for name in names}


def __getattr__(name: str):
    if name in _PACKAGES or name in _MORE:
        return importlib.import_module(f".{name}", __name__)
    if name in _PACKAGE_OF:
        return getattr(importlib.import_module(f".{_PACKAGE_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES, *_MORE})
