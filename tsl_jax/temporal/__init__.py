"""Laws of training over time: position law, its evolution, separation and evenness."""

from .collapse import Collapse, collapse
from .cross_validation import held_out_error, leave_one_run_out
from .dynamic_time import Schedule, lr_sum, schedule_from_optax, schedule_from_rates, schedule_from_records
from .evenness import Evenness, evenness
from .evolution import Evolution, evolution
from .forecast import Forecast, ForecastPrior, forecast
from .forecast_prior import prior_from_runs
from .forms import FORMS, Form
from .growth import Growth, growth_exponent
from .history import History, history, join_histories
from .law_fit import LawFit, LawFitOptions, fit_law
from .loss_curve import LossCurve, loss_curve
from .position_bins import log_bins
from .position_forecast import PositionForecast, forecast_positions
from .position_law import PositionLaw, position_law
from .rank import Ranking, rank
from .resampling import resample_position_law
from .schedule_laws import (
    SCHEDULE_LAWS,
    AnnealingLaw,
    MemoryLaw,
    MultiPowerLaw,
    ScheduleLaw,
    StepPowerLaw,
    TimePowerLaw,
)
from .separation import Separation, separation
from .time_law import AxisComparison, TimeLaw, compare_axes, time_law

__all__ = [
    "FORMS",
    "SCHEDULE_LAWS",
    "AnnealingLaw",
    "AxisComparison",
    "Collapse",
    "Evenness",
    "Evolution",
    "Forecast",
    "ForecastPrior",
    "Form",
    "Growth",
    "History",
    "LawFit",
    "LawFitOptions",
    "LossCurve",
    "MemoryLaw",
    "MultiPowerLaw",
    "PositionForecast",
    "PositionLaw",
    "Ranking",
    "Schedule",
    "ScheduleLaw",
    "Separation",
    "StepPowerLaw",
    "TimeLaw",
    "TimePowerLaw",
    "collapse",
    "compare_axes",
    "evenness",
    "evolution",
    "fit_law",
    "forecast",
    "forecast_positions",
    "growth_exponent",
    "held_out_error",
    "history",
    "join_histories",
    "leave_one_run_out",
    "log_bins",
    "loss_curve",
    "lr_sum",
    "position_law",
    "prior_from_runs",
    "rank",
    "resample_position_law",
    "schedule_from_optax",
    "schedule_from_rates",
    "schedule_from_records",
    "separation",
    "time_law",
]
