"""The fitting engine."""

from .fit import check_axis, fit, row_multiple
from .kernel import tile_size
from .least_squares import LeastSquaresFit, LeastSquaresOptions, least_squares
from .native_kernel import chosen_kernel
from .noise import POINTS_A_PARAMETER, NoiseModel
from .noise_estimation import TooFewCurvesError, noise_model
from .options import FitOptions
from .result import EVENT_CATEGORIES, Category, Fit, Status, curve_counts, has_parameters, predict
from .statistics import degrees_of_freedom, probability_before

__all__ = [
    "EVENT_CATEGORIES",
    "POINTS_A_PARAMETER",
    "Category",
    "Fit",
    "FitOptions",
    "LeastSquaresFit",
    "LeastSquaresOptions",
    "NoiseModel",
    "Status",
    "TooFewCurvesError",
    "check_axis",
    "chosen_kernel",
    "curve_counts",
    "degrees_of_freedom",
    "fit",
    "has_parameters",
    "least_squares",
    "noise_model",
    "predict",
    "probability_before",
    "row_multiple",
    "tile_size",
]
