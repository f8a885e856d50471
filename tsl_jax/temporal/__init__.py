"""Laws of training over time: position law, its evolution, separation and evenness."""

from .clock.axis_comparison import AxisComparison, compare_axes
from .clock.common_curve import Collapse, collapse
from .clock.dynamic_time import Schedule, lr_sum, schedule_from_optax, schedule_from_rates, schedule_from_records
from .clock.growth import Growth, growth_exponent
from .clock.measured_curve import LossCurve, loss_curve
from .clock.schedule_rows import History, history, join_histories
from .clock.time_power_law import TimeLaw, time_law
from .forecasts.mean_loss import Forecast, forecast
from .forecasts.prior import default_prior, prior_from_runs
from .forecasts.prior_numbers import ForecastPrior
from .forecasts.ranking import Ranking, rank
from .laws.cross_validation import held_out_error, leave_one_run_out
from .laws.interface import ScheduleLaw
from .laws.law_fit import LawFit, LawFitOptions, fit_law
from .laws.schedule_choice import ScheduleChoice, best_schedule
from .laws.schedule_laws import (
    SCHEDULE_LAWS,
    AnnealingLaw,
    MemoryLaw,
    MultiPowerLaw,
    StepPowerLaw,
    TimePowerLaw,
)
from .laws.schedule_shapes import SCHEDULE_SHAPES, ScheduleShape
from .laws.selection import LawAverage, LawChoice, SizeRuns, choose_laws, fit_laws
from .laws.size_fit import SizeLawFit, fit_size_law
from .laws.size_laws import SIZE_LAWS, ChinchillaLaw, DataConstrainedLaw, KaplanLaw, SizeLaw
from .laws.size_optimum import ComputeOptimum
from .positions.bins import log_bins
from .positions.courses import Evolution, evolution
from .positions.even_fall import Evenness, evenness
from .positions.forecast import PositionForecast, forecast_positions
from .positions.forms import FORMS, Form
from .positions.law import PositionLaw, position_law
from .positions.resampling import resample_position_law
from .positions.separation_point import Separation, separation

__all__ = [
    "FORMS",
    "SCHEDULE_LAWS",
    "SCHEDULE_SHAPES",
    "SIZE_LAWS",
    "AnnealingLaw",
    "AxisComparison",
    "ChinchillaLaw",
    "Collapse",
    "ComputeOptimum",
    "DataConstrainedLaw",
    "Evenness",
    "Evolution",
    "Forecast",
    "ForecastPrior",
    "Form",
    "Growth",
    "History",
    "KaplanLaw",
    "LawAverage",
    "LawChoice",
    "LawFit",
    "LawFitOptions",
    "LossCurve",
    "MemoryLaw",
    "MultiPowerLaw",
    "PositionForecast",
    "PositionLaw",
    "Ranking",
    "Schedule",
    "ScheduleChoice",
    "ScheduleLaw",
    "ScheduleShape",
    "Separation",
    "SizeLaw",
    "SizeLawFit",
    "SizeRuns",
    "StepPowerLaw",
    "TimeLaw",
    "TimePowerLaw",
    "best_schedule",
    "choose_laws",
    "collapse",
    "compare_axes",
    "default_prior",
    "evenness",
    "evolution",
    "fit_law",
    "fit_laws",
    "fit_size_law",
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
