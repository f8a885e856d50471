"""Pictures of fits and forecasts: for each first the data that would be drawn, then the drawing."""

from ..jobs.learning_times import DomainTimes, LearningTimes, learning_times_data
from .forecast import ForecastCurves, draw_forecast, forecast_data
from .learning_times import draw_learning_times
from .mean_loss import MeanLoss, draw_mean_loss, mean_loss_data
from .position_forecast import PositionForecastCurves, draw_position_forecast, position_forecast_data
from .position_law import PositionPanels, draw_position_law, position_law_data
from .rank import RankBars, draw_rank, rank_data
from .run_comparison import RunComparisonData, draw_run_comparison, run_comparison_data
from .scaling import ScalingCurves, draw_scaling, scaling_data
from .spectrum.groups import GroupSpectra, draw_group_spectra, group_spectra_data
from .spectrum.modes import SingularSpectrum, draw_singular_spectrum, singular_spectrum_data
from .spectrum.parts import SpectrumParts, draw_spectrum_parts, spectrum_parts_data
from .spectrum.pulses import AlignedPulses, aligned_pulses_data, draw_aligned_pulses
from .style import save
from .timescale import TimescaleLine, draw_timescale, timescale_data
from .tokens import TokenGrid, TokenPanel, draw_tokens, tokens_data

__all__ = [
    "AlignedPulses",
    "DomainTimes",
    "ForecastCurves",
    "GroupSpectra",
    "LearningTimes",
    "MeanLoss",
    "PositionForecastCurves",
    "PositionPanels",
    "RankBars",
    "RunComparisonData",
    "ScalingCurves",
    "SingularSpectrum",
    "SpectrumParts",
    "TimescaleLine",
    "TokenGrid",
    "TokenPanel",
    "aligned_pulses_data",
    "draw_aligned_pulses",
    "draw_forecast",
    "draw_group_spectra",
    "draw_learning_times",
    "draw_mean_loss",
    "draw_position_forecast",
    "draw_position_law",
    "draw_rank",
    "draw_run_comparison",
    "draw_scaling",
    "draw_singular_spectrum",
    "draw_spectrum_parts",
    "draw_timescale",
    "draw_tokens",
    "forecast_data",
    "group_spectra_data",
    "learning_times_data",
    "mean_loss_data",
    "position_forecast_data",
    "position_law_data",
    "rank_data",
    "run_comparison_data",
    "save",
    "scaling_data",
    "singular_spectrum_data",
    "spectrum_parts_data",
    "timescale_data",
    "tokens_data",
]
