"""The fitting engine."""

from .block_fit import row_multiple
from .checks import check_axis
from .codes import EVENT_CATEGORIES, Category, Status, curve_counts, has_parameters
from .interface import fit
from .intervals import Interval, error_interval
from .kernel_choice import chosen_kernel, load_kernel
from .least_squares.interface import least_squares
from .least_squares.options import LeastSquaresOptions
from .least_squares.result import LeastSquaresFit
from .noise import POINTS_A_PARAMETER, NoiseModel, degrees_of_freedom
from .noise_estimation import TooFewCurvesError, noise_model
from .options import FitOptions
from .profiles.interval import profile_interval
from .result import Fit, predict
from .statistics import probability_before
from .xla.kernel import tile_size

__all__ = [
    "EVENT_CATEGORIES",
    "POINTS_A_PARAMETER",
    "Category",
    "Fit",
    "FitOptions",
    "Interval",
    "LeastSquaresFit",
    "LeastSquaresOptions",
    "NoiseModel",
    "Status",
    "TooFewCurvesError",
    "check_axis",
    "chosen_kernel",
    "curve_counts",
    "degrees_of_freedom",
    "error_interval",
    "fit",
    "has_parameters",
    "least_squares",
    "load_kernel",
    "noise_model",
    "predict",
    "probability_before",
    "profile_interval",
    "row_multiple",
    "tile_size",
]
