"""From a loss store to a fit store: plan, read, fit, write, resume; from fit stores to spectra and comparisons."""

from .compare.combination import combine_fits
from .compare.runs import compare
from .predict import MeanCurves, family_of, mean_curves, predict_store
from .fit.job import fit_store
from .fit.noise import noise_of_fits
from ..stream.plan import DEFAULT_MEMORY, Block, blocks_of, bytes_per_token, device_rows, plan_layout
from .positions import PositionLosses, position_losses
from .scores.weights import SampleWeights, bucket_losses, score_store
from .simulate import planted_tokens, simulate_store
from .spectrum.analysis import analyse, coarse_lags
from .spectrum.results import Analysis, AnalysisOptions
from .spectrum.reading import LossSums, StoreSpectrum, TokenGroups, read_spectrum, spectrum_from_store
from .fit.speed import Speed, measure_speed
from ..stream.stages import StageSeconds
from ..stream.blocks import Progress
from .fit.summary import FitSummary, describe_tokens
from .spectrum.token_groups import Grouping

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
