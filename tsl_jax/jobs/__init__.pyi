from .comparing.combination import combine_fits
from .comparing.runs import compare
from .fit.job import fit_store
from .fit.noise import noise_of_fits
from .fit.speed import Speed, measure_speed
from .fit.summary import FitSummary, describe_tokens
from .positions import PositionLosses, position_losses
from .predict import MeanCurves, family_of, mean_curves, predict_store
from .scores.buckets import BucketCurves, bucket_losses
from .scores.weights import SampleWeights, score_store
from .simulate import planted_tokens, simulate_store
from .spectrum.analysis import analyse
from .spectrum.curves import coarse_lags
from .spectrum.reading import LossSums, StoreSpectrum, TokenGroups, read_spectrum, spectrum_of
from .spectrum.results import Analysis, AnalysisOptions
from .spectrum.token_groups import Grouping
from .tables.files import TABLE_FILES, export_fits
from .tables.frames import to_pandas, to_xarray
from .tables.html import to_html
from .tables.loading import load_fit

__all__ = [
    "TABLE_FILES",
    "Analysis",
    "AnalysisOptions",
    "BucketCurves",
    "FitSummary",
    "Grouping",
    "LossSums",
    "MeanCurves",
    "PositionLosses",
    "SampleWeights",
    "Speed",
    "StoreSpectrum",
    "TokenGroups",
    "analyse",
    "bucket_losses",
    "coarse_lags",
    "combine_fits",
    "compare",
    "describe_tokens",
    "export_fits",
    "family_of",
    "fit_store",
    "load_fit",
    "mean_curves",
    "measure_speed",
    "noise_of_fits",
    "planted_tokens",
    "position_losses",
    "predict_store",
    "read_spectrum",
    "score_store",
    "simulate_store",
    "spectrum_of",
    "to_html",
    "to_pandas",
    "to_xarray",
]
