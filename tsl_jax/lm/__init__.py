"""The fitting engine."""

from .fit import check_axis, fit
from .options import FitOptions
from .result import Category, Fit, Status, curve_counts, has_parameters, predict

__all__ = ["Category", "Fit", "FitOptions", "Status", "check_axis", "curve_counts", "fit", "has_parameters", "predict"]
