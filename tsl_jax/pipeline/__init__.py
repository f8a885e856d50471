"""From a loss store to a fit store: plan, read, fit, write, resume; from fit stores to spectra and comparisons."""

from .combined_fits import combine_fits
from .compare_runs import compare
from .evaluate import MeanCurves, family_of, mean_curves, predict_store
from .job import fit_store
from .noise import noise_of_fits
from .plan import DEFAULT_MEMORY, Block, blocks_of, bytes_per_token, device_rows, plan_layout
from .position_losses import PositionLosses, position_losses
from .sample_weights import SampleWeights, bucket_losses, score_store
from .simulated_losses import planted_tokens, simulate_store
from .spectrum_analysis import analyse, coarse_lags
from .spectrum_results import Analysis, AnalysisOptions
from .spectrum_store import LossSums, StoreSpectrum, TokenGroups, read_spectrum, spectrum_from_store
from .speed import Speed, measure_speed
from .stages import StageSeconds
from .stream import Progress
from .summary import FitSummary, describe_tokens
from .token_groups import Grouping

__all__ = [
    "DEFAULT_MEMORY",
    "Analysis",
    "AnalysisOptions",
    "Block",
    "FitSummary",
    "Grouping",
    "LossSums",
    "MeanCurves",
    "PositionLosses",
    "Progress",
    "SampleWeights",
    "Speed",
    "StageSeconds",
    "StoreSpectrum",
    "TokenGroups",
    "analyse",
    "blocks_of",
    "bucket_losses",
    "bytes_per_token",
    "coarse_lags",
    "combine_fits",
    "compare",
    "describe_tokens",
    "device_rows",
    "family_of",
    "fit_store",
    "mean_curves",
    "measure_speed",
    "noise_of_fits",
    "plan_layout",
    "planted_tokens",
    "position_losses",
    "predict_store",
    "read_spectrum",
    "score_store",
    "simulate_store",
    "spectrum_from_store",
]
