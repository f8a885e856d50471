from . import data, plots, reshape, simulate
from .collection import LossWriter, collect
from .curves import FAMILIES, Family, Hyperbola, Parameter, PowerLaw, Sigmoid
from .fitting import (
    Category,
    Fit,
    FitOptions,
    Interval,
    LeastSquaresFit,
    LeastSquaresOptions,
    NoiseModel,
    Status,
    curve_counts,
    fit,
    least_squares,
    load_kernel,
    noise_model,
    profile_interval,
)
from .jobs import FitSummary, combine_fits, compare, fit_store, predict_store, score_store, spectrum_of
from .runs import with_run_components
from .spectrum import Spectrum, decompose
from .store import create_losses, open_fits, open_losses, validate
from .temporal import evolution, forecast, lr_sum, position_law, rank, separation, time_law

__version__: str

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
    "LossWriter",
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
    "data",
    "decompose",
    "evolution",
    "fit",
    "fit_store",
    "forecast",
    "least_squares",
    "load_kernel",
    "lr_sum",
    "noise_model",
    "open_fits",
    "open_losses",
    "plots",
    "position_law",
    "predict_store",
    "profile_interval",
    "rank",
    "reshape",
    "score_store",
    "separation",
    "simulate",
    "spectrum_of",
    "time_law",
    "validate",
    "with_run_components",
]
