"""From a loss store to a fit store: plan, read, fit, write, resume."""

from .evaluate import MeanCurves, family_of, mean_curves, predict_store
from .job import fit_store
from .plan import DEFAULT_MEMORY, Block, blocks_of, bytes_per_token, device_rows, plan_layout
from .stream import Progress
from .summary import FitSummary

__all__ = [
    "DEFAULT_MEMORY",
    "Block",
    "FitSummary",
    "MeanCurves",
    "Progress",
    "blocks_of",
    "bytes_per_token",
    "device_rows",
    "family_of",
    "fit_store",
    "mean_curves",
    "plan_layout",
    "predict_store",
]
