"""The fitting engine."""

from .fit import check_axis, fit, row_multiple
from .kernel import tile_size
from .least_squares import LeastSquaresFit, LeastSquaresOptions, least_squares
from .native_kernel import chosen_kernel
from .options import FitOptions
from .result import Category, Fit, Status, curve_counts, has_parameters, predict

__all__ = [
    "Category",
    "Fit",
    "FitOptions",
    "LeastSquaresFit",
    "LeastSquaresOptions",
    "Status",
    "check_axis",
    "chosen_kernel",
    "curve_counts",
    "fit",
    "has_parameters",
    "least_squares",
    "predict",
    "row_multiple",
    "tile_size",
]
